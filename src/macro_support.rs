//! What only generated code names. Nothing here is part of the stable face.

pub use crate::__take as take;
pub use crate::actor::args::{Arguments, Form, Unresolved, by_value};
pub use crate::actor::cell::{Cell, drive_exclusive, drive_shared};
pub use crate::actor::checkpoint::{Checkpoint, Checkpointed, Every, checkpoint};
pub use crate::actor::dispatch::{
    Code, Constructor, ConstructorEntry, GroupLimit, Instance, Method, MethodEntry, Methods, OnCancel,
    PlacementOptions, Ran, TypeName, constructor, instance, method,
};
pub use crate::actor::registry::Registration;
pub use crate::actor::reply::{Streamed, assert_reply};
pub use crate::actor::restart::Restarts;
pub use crate::cluster::main::{Main, run_main};
pub use crate::cluster::spawn::constructed;
pub use crate::cluster::tasks::task;
pub use crate::directory::request::Patience;
pub use crate::node::worker::WorkerEntry;
pub use crate::schedule::Strategy;
pub use crate::task::registry::TaskRegistration;
pub use crate::task::returns::Several;
pub use crate::task::spec::{Code as TaskCode, Defaults, RetryOn, Task};
pub use futures_util::future::BoxFuture;
pub use inventory;
pub use serde;

use futures_core::Stream;
use std::marker::PhantomData;

/// A method's stream as its reply.
pub fn streamed<T>(items: impl Stream<Item = T> + Send + 'static) -> Streamed<T> {
    Streamed::new(items)
}

/// Gives the error "future cannot be sent" at the span of its argument, and, being opaque, hides the future from every
/// outer one.
pub fn send_future<F: Future + Send>(future: F) -> impl Future<Output = F::Output> + Send {
    future
}

/// A return type that the macros flatten.
#[diagnostic::on_unimplemented(
    message = "this return type is called `Result`, but `{Self}` is not `std::result::Result`",
    label = "not `std::result::Result`",
    note = "rename it, or write `#[method(plain)]` or `#[task(plain)]`"
)]
pub trait Fallible {
    /// What it succeeds with.
    type Ok;
    /// What it fails with.
    type Err;
}

impl<T, E> Fallible for Result<T, E> {
    type Ok = T;
    type Err = E;
}

/// Tells whether a type is a `Result` under another name.
pub struct Probe<T: ?Sized>(PhantomData<T>);

/// Of types that are none.
pub trait NotResult {
    /// They are none.
    const IS_RESULT: bool = false;
}

impl<T: ?Sized> NotResult for Probe<T> {}

impl<T, E> Probe<Result<T, E>> {
    /// It is one.
    pub const IS_RESULT: bool = true;
}
