//! What the parts that are shared without a lock, or with one for each call, are made of. They name it here and nowhere
//! else, so that `tests/models/` can put a checker's own primitives in its place and try every order that memory allows.

pub(crate) use futures_util::task::AtomicWaker;
pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
pub(crate) use std::sync::{Arc as Counted, OnceLock};

pub(crate) mod alone;
pub(crate) mod brief;
pub(crate) mod flag;
