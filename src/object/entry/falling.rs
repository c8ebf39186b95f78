//! The end of an object's value, which may hold the last references to others, and those to others yet: they go one after the
//! other instead of one within the other, so that a chain of any length takes no more stack than one.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::State;

thread_local! {
    /// Values that ended while another one is dropped on this thread.
    static FALLING: RefCell<Option<Vec<State>>> = const { RefCell::new(None) };
}

impl State {
    /// Whether it may hold others.
    pub(super) fn is_hollow(&self) -> bool {
        match self {
            State::Pending(_) | State::Settled(Err(_), None) => true,
            State::Settled(Ok(content), None) => !content.refers(),
            State::Settled(..) | State::Given(_) => false,
        }
    }
}

/// Drops a value, and what ends with it. A destructor that panics, which is the user's code, keeps none of the others.
pub(super) fn fall(value: State) {
    let mut first = Some(value);
    let outermost = FALLING.try_with(|falling| match &mut *falling.borrow_mut() {
        Some(later) => {
            later.extend(first.take());
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    // When the thread itself ends there is no list any more.
    if outermost != Ok(true) {
        return;
    }
    let mut panicked: Option<Box<dyn Any + Send>> = None;
    while let Some(value) = first.take().or_else(|| FALLING.with_borrow_mut(|later| later.as_mut()?.pop())) {
        panicked = catch_unwind(AssertUnwindSafe(|| drop(value))).err().or(panicked);
    }
    FALLING.set(None);
    if let Some(panic) = panicked.filter(|_| !std::thread::panicking()) {
        resume_unwind(panic);
    }
}
