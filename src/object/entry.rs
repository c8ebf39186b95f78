//! An object as its node keeps it: pending, ready or failed, and who waits for that.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use super::content::Content;
use super::error::Fault;
use crate::id::ObjectId;

/// What became of an object.
pub(crate) type Outcome = Result<Content, Arc<Fault>>;

/// What is told that an object is no longer pending.
pub(crate) trait Watch: Send + Sync {
    /// Once for each time that it was entered; `key` is what it was entered with.
    fn settled(self: Arc<Self>, key: usize);
}

enum Watcher {
    Task(Waker),
    Watch(Arc<dyn Watch>, usize),
}

/// Names a watcher of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(u32);

/// Counts the objects that a node has promised and that are not settled.
#[derive(Clone, Default)]
pub(crate) struct Promised(Arc<AtomicUsize>);

impl Promised {
    /// Counts one more, if there are fewer than `most`.
    pub(crate) fn promise(&self, most: usize) -> bool {
        let more = |count: usize| (count < most).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn kept(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One object.
pub(crate) struct Entry {
    id: ObjectId,
    state: Mutex<State>,
}

enum State {
    /// Most have one watcher, or none.
    Pending {
        promised: Option<Promised>,
        next: u32,
        first: Option<(Seat, Watcher)>,
        more: Vec<(Seat, Watcher)>,
    },
    Settled(Outcome),
}

impl Entry {
    /// An object that will be. `promised` counts it until it is settled.
    pub(crate) fn pending(id: ObjectId, promised: Option<Promised>) -> Arc<Self> {
        let state = State::Pending { promised, next: 0, first: None, more: Vec::new() };
        Arc::new(Entry { id, state: Mutex::new(state) })
    }

    pub(crate) fn settled(id: ObjectId, outcome: Outcome) -> Arc<Self> {
        Arc::new(Entry { id, state: Mutex::new(State::Settled(outcome)) })
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    /// Settles it; what comes later is dropped.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        if let State::Settled(_) = *state {
            return;
        }
        let former = std::mem::replace(&mut *state, State::Settled(outcome));
        drop(state);
        let State::Pending { promised, first, more, .. } = former else { return };
        if let Some(promised) = promised {
            promised.kept();
        }
        for (_, watcher) in first.into_iter().chain(more) {
            match watcher {
                Watcher::Task(waker) => waker.wake(),
                Watcher::Watch(watch, key) => watch.settled(key),
            }
        }
    }

    /// What became of it, if it is settled.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match &*self.state.lock() {
            State::Settled(outcome) => Some(outcome.clone()),
            State::Pending { .. } => None,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(*self.state.lock(), State::Settled(_))
    }

    /// What became of it, or a seat whose waker is woken then. `seat` is the one taken before.
    pub(crate) fn poll(&self, seat: &mut Option<Seat>, waker: &Waker) -> Poll<Outcome> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Settled(outcome) => Poll::Ready(outcome.clone()),
            pending => {
                match seat.and_then(|seat| pending.find(seat)) {
                    Some(Watcher::Task(known)) if known.will_wake(waker) => {}
                    Some(watcher) => *watcher = Watcher::Task(waker.clone()),
                    None => *seat = Some(pending.sit(Watcher::Task(waker.clone()))),
                }
                Poll::Pending
            }
        }
    }

    /// Has `watch` told when it is settled; false if it is already.
    pub(crate) fn watch(&self, watch: &Arc<dyn Watch>, key: usize) -> Option<Seat> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Settled(_) => None,
            pending => Some(pending.sit(Watcher::Watch(watch.clone(), key))),
        }
    }

    /// Whoever sat there waits no more.
    pub(crate) fn leave(&self, seat: Seat) {
        let mut state = self.state.lock();
        let left = match &mut *state {
            State::Pending { first, .. } if first.as_ref().is_some_and(|(at, _)| *at == seat) => first.take(),
            State::Pending { more, .. } => {
                more.iter().position(|(at, _)| *at == seat).map(|index| more.swap_remove(index))
            }
            State::Settled(_) => None,
        };
        drop(state);
        drop(left);
    }
}

impl State {
    fn sit(&mut self, watcher: Watcher) -> Seat {
        let State::Pending { next, first, more, .. } = self else { return Seat(0) };
        let seat = Seat(*next);
        *next = next.wrapping_add(1);
        match first {
            None => *first = Some((seat, watcher)),
            Some(_) => more.push((seat, watcher)),
        }
        seat
    }

    fn find(&mut self, seat: Seat) -> Option<&mut Watcher> {
        let State::Pending { first, more, .. } = self else { return None };
        let mut all = first.iter_mut().chain(more);
        all.find(|(at, _)| *at == seat).map(|(_, watcher)| watcher)
    }
}
