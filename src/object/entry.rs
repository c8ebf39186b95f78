//! An object as its node keeps it: pending, ready or failed, and who waits for that.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use super::content::Content;
use super::error::Fault;
use super::home::Home;
use crate::id::ObjectId;
use crate::limits::SUBMITTED;
use crate::wire::codec::{Enclosed, Hold};
use crate::wire::packet::Ref;

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
    /// One more, counted until it is settled; it has failed already if there are [`SUBMITTED`].
    pub(crate) fn promise(&self, id: ObjectId) -> Arc<Entry> {
        let more = |count: usize| (count < SUBMITTED).then_some(count + 1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Entry::pending(id, Some(self.clone())),
            Err(_) => Entry::settled(id, Err(Arc::new(Fault::QueueFull { limit: SUBMITTED }))),
        }
    }

    fn kept(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One object.
pub(crate) struct Entry {
    id: ObjectId,
    /// Of an object that another life owns.
    home: Option<Weak<dyn Home>>,
    state: Mutex<State>,
}

enum State {
    /// Most have one watcher, or none.
    Pending(Pending),
    Settled(Outcome),
}

#[derive(Default)]
struct Pending {
    promised: Option<Promised>,
    /// Whether its value was asked for, where another life owns it.
    fetched: bool,
    next: u32,
    first: Option<(Seat, Watcher)>,
    more: Vec<(Seat, Watcher)>,
}

impl Entry {
    /// An object that will be. `promised` counts it until it is settled.
    pub(crate) fn pending(id: ObjectId, promised: Option<Promised>) -> Arc<Self> {
        let pending = Pending { promised, ..Pending::default() };
        Arc::new(Entry { id, home: None, state: Mutex::new(State::Pending(pending)) })
    }

    /// An object that another life owns: its value is fetched when it is wanted.
    pub(crate) fn borrowed(id: ObjectId, home: Weak<dyn Home>) -> Arc<Self> {
        Arc::new(Entry { id, home: Some(home), state: Mutex::new(State::Pending(Pending::default())) })
    }

    pub(crate) fn settled(id: ObjectId, outcome: Outcome) -> Arc<Self> {
        Arc::new(Entry { id, home: None, state: Mutex::new(State::Settled(outcome)) })
    }

    /// What a message encloses that is this object and nothing else.
    pub(crate) fn enclosed(self: &Arc<Self>) -> Enclosed {
        let hold: Hold = self.clone();
        Enclosed { refs: vec![Ref::Object { object: self.id }], holds: vec![Some(hold)] }
    }

    /// The object that a message is, which encloses nothing else.
    pub(crate) fn of_enclosed(enclosed: &Enclosed) -> Option<Arc<Self>> {
        enclosed.holds.iter().flatten().next().and_then(|hold| hold.clone().downcast().ok())
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    /// Settles it; what comes later is dropped. A value that another node says is this object's own is none.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let outcome = match outcome {
            Ok(Content::Elsewhere(next)) if std::ptr::eq(Arc::as_ptr(&next.followed()), self) => {
                let why = "its owner says that its value is its own".to_owned();
                Err(Arc::new(Fault::Lost { object: self.id, why }))
            }
            outcome => outcome,
        };
        let mut state = self.state.lock();
        if let State::Settled(_) = *state {
            return;
        }
        let former = std::mem::replace(&mut *state, State::Settled(outcome));
        drop(state);
        let State::Pending(Pending { promised, first, more, .. }) = former else { return };
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
            State::Pending(_) => None,
        }
    }

    /// The object whose value this one's is: itself, or the last of those that it leads to so far.
    pub(crate) fn followed(self: &Arc<Self>) -> Arc<Entry> {
        let mut entry = self.clone();
        while let Some(Ok(Content::Elsewhere(next))) = entry.outcome() {
            entry = next;
        }
        entry
    }

    /// What became of it, if that is known and a value is at hand.
    pub(crate) fn at_hand(self: &Arc<Self>) -> Option<Outcome> {
        match self.followed().outcome()? {
            Ok(content) => content.at_hand().map(Ok),
            Err(fault) => Some(Err(fault)),
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(*self.state.lock(), State::Settled(_))
    }

    /// What became of it, or a seat whose waker is woken then. `seat` is the one taken before.
    pub(crate) fn poll(self: &Arc<Self>, seat: &mut Option<Seat>, waker: &Waker) -> Poll<Outcome> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Settled(outcome) => Poll::Ready(outcome.clone()),
            State::Pending(pending) => {
                match seat.and_then(|seat| pending.find(seat)) {
                    Some(Watcher::Task(known)) if known.will_wake(waker) => {}
                    Some(watcher) => *watcher = Watcher::Task(waker.clone()),
                    None => *seat = Some(pending.sit(Watcher::Task(waker.clone()))),
                }
                self.fetch(state);
                Poll::Pending
            }
        }
    }

    /// Has `watch` told when it is settled; none if it is already.
    pub(crate) fn watch(self: &Arc<Self>, watch: &Arc<dyn Watch>, key: usize) -> Option<Seat> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Settled(_) => None,
            State::Pending(pending) => {
                let seat = pending.sit(Watcher::Watch(watch.clone(), key));
                self.fetch(state);
                Some(seat)
            }
        }
    }

    /// Somebody waits: a value that is elsewhere is asked for, once.
    fn fetch(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let State::Pending(pending) = &mut *state else { return };
        let Some(home) = self.home.as_ref().filter(|_| !std::mem::replace(&mut pending.fetched, true)) else { return };
        drop(state);
        match home.upgrade() {
            Some(home) => home.fetch(self),
            None => self.settle(Err(Arc::new(Fault::ShutDown))),
        }
    }

    /// Whoever sat there waits no more.
    pub(crate) fn leave(&self, seat: Seat) {
        let mut state = self.state.lock();
        let left = match &mut *state {
            State::Pending(pending) => pending.leave(seat),
            State::Settled(_) => None,
        };
        drop(state);
        drop(left);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(home) = self.home.as_ref().and_then(Weak::upgrade) {
            home.let_go(self.id);
        }
    }
}

impl Pending {
    fn sit(&mut self, watcher: Watcher) -> Seat {
        let seat = Seat(self.next);
        self.next = self.next.wrapping_add(1);
        match self.first {
            None => self.first = Some((seat, watcher)),
            Some(_) => self.more.push((seat, watcher)),
        }
        seat
    }

    fn find(&mut self, seat: Seat) -> Option<&mut Watcher> {
        let mut all = self.first.iter_mut().chain(&mut self.more);
        all.find(|(at, _)| *at == seat).map(|(_, watcher)| watcher)
    }

    fn leave(&mut self, seat: Seat) -> Option<(Seat, Watcher)> {
        match &self.first {
            Some((at, _)) if *at == seat => self.first.take(),
            _ => self.more.iter().position(|(at, _)| *at == seat).map(|index| self.more.swap_remove(index)),
        }
    }
}
