//! What `#[task]` generates for each function.

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

use super::context::TaskContext;
use super::returns::Returns;
use crate::actor::args::Arguments;
use crate::actor::dispatch::{PlacementOptions, TypeName};
use crate::id::Key;
use crate::object::failure::WireError;

/// The arguments of one task. Implemented by `#[task]`.
pub trait Task: Arguments + Serialize + DeserializeOwned {
    /// What it returns.
    type Reply: Returns;
    /// What it fails with.
    type Error: WireError;
    /// Its stable name: the crate and the function, or the explicit name alone.
    const NAME: TypeName;
    /// What nodes call it by: its stable name, that of this instance if it is generic.
    fn type_name() -> TypeName {
        Self::NAME
    }
    /// Its parameters' and return type's tokens.
    const SIGNATURE: &'static str;
    /// Its body.
    const CODE: Code<Self>;
    /// Of which of its errors it is run again.
    const RETRY_ON: Option<RetryOn<Self>> = None;
    /// What the attribute says of each run; a call may say otherwise.
    const DEFAULTS: Defaults = Defaults::NONE;
    /// What a node that runs it is asked for by.
    const KEY: Key = Key::of(Self::NAME.name, Self::SIGNATURE);
}

type ResultOf<K> = Result<<K as Task>::Reply, <K as Task>::Error>;

/// Of which of its errors a task is run again.
pub struct RetryOn<K: Task> {
    /// Whether another attempt is worth it.
    pub on: fn(&K::Error) -> bool,
    /// The same arguments twice: for this attempt, and for another one.
    pub twice: fn(K) -> (K, K),
}

/// A task's body.
pub enum Code<K: Task> {
    /// Synchronous: runs on the compute pool.
    Blocking(fn(K, &TaskContext) -> ResultOf<K>),
    /// Asynchronous: runs on the runtime.
    Async(for<'a> fn(K, &'a TaskContext) -> BoxFuture<'a, ResultOf<K>>),
}

/// What `#[task(..)]` says of each run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// What it takes of its node, and which one that may be.
    pub placement: PlacementOptions,
    /// Further attempts, each after the failed one is known to be over.
    pub retries: u32,
    /// Who comes first among those that wait: higher numbers.
    pub priority: i32,
    /// How long after it was submitted it is cancelled.
    pub timeout: Option<Duration>,
}

impl Defaults {
    /// One CPU, and nothing else: like Ray's.
    pub const NONE: Defaults = Defaults {
        placement: PlacementOptions { cpus: 1.0, ..PlacementOptions::NONE },
        retries: 0,
        priority: 0,
        timeout: None,
    };
}
