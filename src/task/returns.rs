//! What a task's function gives back: one value, or a stream of them; and what its caller gets of it.

use std::sync::Arc;

use super::stream::{Items, ObjectRefStream, Produces};
use crate::actor::reply::Streamed;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::param::Param;
use crate::object::reference::ObjectRef;

/// What a task may return: a value that travels, or a stream of such values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a task",
    label = "needs `Serialize + Deserialize + Send + Sync`, and to own what it holds",
    note = "derive both on it, or return another type"
)]
pub trait Returns: Sized + Send + 'static {
    /// What [`submit`](crate::TaskCall::submit) gives.
    type Submitted<E>;
    #[doc(hidden)]
    const SHAPE: Shape;
    #[doc(hidden)]
    fn submitted<E>(of: Promised) -> Self::Submitted<E>;
    /// Settles what was promised; a stream does so item by item.
    #[doc(hidden)]
    fn settle(self, outlet: Outlet<'_>) -> Option<Produces>;
}

/// How many results there are.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    Stream,
}

/// The objects of a task that is submitted.
#[doc(hidden)]
pub struct Promised {
    /// Settled when the task is over: its result, if it has one.
    pub(crate) whole: Arc<Entry>,
    pub(crate) more: Option<Arc<More>>,
    /// Of one that streams.
    pub(crate) cancel: Option<Cancel>,
}

/// Has a task cancelled.
pub(crate) type Cancel = Box<dyn FnOnce() + Send + Sync>;

/// What a task makes beside, or instead of, its one result.
pub(crate) enum More {
    Items(Items),
}

/// Where a task's results go.
#[doc(hidden)]
pub struct Outlet<'a> {
    pub(crate) whole: &'a Arc<Entry>,
}

#[diagnostic::do_not_recommend]
impl<T: Param<Owned = T>> Returns for T {
    type Submitted<E> = ObjectRef<T, E>;
    const SHAPE: Shape = Shape::One;

    fn submitted<E>(of: Promised) -> ObjectRef<T, E> {
        ObjectRef::new(of.whole)
    }

    fn settle(self, outlet: Outlet<'_>) -> Option<Produces> {
        outlet.whole.settle(Ok(Content::of::<T>(T::share(self))));
        None
    }
}

#[diagnostic::do_not_recommend]
impl<T: Param<Owned = T>> Returns for Streamed<T> {
    type Submitted<E> = ObjectRefStream<T, E>;
    const SHAPE: Shape = Shape::Stream;

    fn submitted<E>(of: Promised) -> ObjectRefStream<T, E> {
        ObjectRefStream::new(of)
    }

    fn settle(self, _: Outlet<'_>) -> Option<Produces> {
        Some(Produces::of(self))
    }
}

impl Shape {
    /// What a task of it makes beside its result.
    pub(crate) fn more(self) -> Option<Arc<More>> {
        match self {
            Shape::One => None,
            Shape::Stream => Some(Arc::new(More::Items(Items::default()))),
        }
    }
}
