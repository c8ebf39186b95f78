//! The checker's own, in the place of `src/sync`.

#[path = "../../../../src/sync/alone.rs"]
pub(crate) mod alone;
#[path = "../../../../src/sync/flag.rs"]
pub(crate) mod flag;

/// The checker's lock stands for either.
pub(crate) mod brief {
    pub(crate) use super::{Mutex, MutexGuard};
}

mod one_of_both_sees;
mod who_is_alone;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
pub(crate) use loom::sync::{Arc as Counted, MutexGuard};
use std::task::Waker;

/// A lock without poisoning.
#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a failed model ends at once")
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().expect("a failed model ends at once")
    }
}

/// Set once. The checker sees the flag, with the orders that `std` promises; the value itself is set within one step.
pub(crate) struct OnceLock<T> {
    there: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        OnceLock { there: AtomicBool::new(false), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.there.load(Ordering::Acquire).then(|| self.value.get()).flatten()
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let value = self.value.get_or_init(make);
        self.there.store(true, Ordering::Release);
        value
    }
}

#[derive(Default)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}
