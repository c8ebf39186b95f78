//! An object as its node keeps it: pending, ready or failed, and who waits for that.

use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use super::content::Content;
use super::error::Fault;
use super::home::Home;
use super::lost::Lost;
use super::promised::Promised;
use crate::id::{Life, ObjectId};
use crate::limits::{ARGUMENT_INLINE, HOLDERS, OBJECT_HOPS};
use crate::wire::codec::{Enclosed, Hold};
use crate::wire::packet::Ref;
use encoded::Travelling;
use pending::{Pending, Watcher};

pub(crate) use pending::{MadeBy, Making, Seat};

/// What became of an object.
pub(crate) type Outcome = Result<Content, Arc<Fault>>;

/// What is told that an object is no longer pending.
pub(crate) trait Watch: Send + Sync {
    /// Once for each time that it was entered; `key` is what it was entered with.
    fn settled(self: Arc<Self>, key: usize);
}

/// What a watcher waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Its value is on this node, or where this node reads it: it is asked for.
    Here,
    /// There is a value, wherever it is.
    Anywhere,
}

/// One object.
pub(crate) struct Entry {
    id: ObjectId,
    /// The number of the task that makes it, in the queue of this node, and one more; zero for none.
    maker: AtomicU64,
    /// Of an object that another life owns: the node, and its life that counts this entry.
    home: Option<(Weak<dyn Home>, Life)>,
    state: Mutex<State>,
}

enum State {
    /// Most have one watcher, or none.
    Pending(Pending),
    /// And what others have of it, once another node has asked for it.
    Settled(Outcome, Option<Box<Shared>>),
    /// Its owner gave it to another: there it is this object.
    Given(Arc<Entry>),
}

impl State {
    fn outcome(&self) -> Option<Outcome> {
        match self {
            State::Settled(outcome, _) => Some(outcome.clone()),
            State::Given(to) => Some(Ok(Content::Elsewhere(to.clone()))),
            State::Pending(_) => None,
        }
    }
}

/// What is known of an object beyond its node.
#[derive(Default)]
struct Shared {
    /// As it travels: what that encloses is held for as long as the object.
    encoded: Option<Travelling>,
    /// Lives that have a copy of it. Of an object that another life owns, none.
    holders: Vec<Life>,
}

impl Entry {
    fn new(id: ObjectId, home: Option<(Weak<dyn Home>, Life)>, state: State) -> Arc<Self> {
        Arc::new(Entry { id, maker: AtomicU64::new(0), home, state: Mutex::new(state) })
    }

    /// The task that makes it, as its node's queue numbered it last.
    pub(crate) fn maker(&self) -> Option<u64> {
        self.maker.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(crate) fn set_maker(&self, task: u64) {
        self.maker.store(task.saturating_add(1), Ordering::Relaxed);
    }

    /// An object that will be. `promised` counts it until it is settled.
    pub(crate) fn pending(id: ObjectId, promised: Option<Promised>) -> Arc<Self> {
        let pending = Pending::promised(promised);
        Entry::new(id, None, State::Pending(pending))
    }

    /// An object that another life owns: its value is fetched when it is wanted.
    pub(crate) fn borrowed(id: ObjectId, home: Weak<dyn Home>, counted_in: Life) -> Arc<Self> {
        Entry::new(id, Some((home, counted_in)), State::Pending(Pending::default()))
    }

    pub(crate) fn settled(id: ObjectId, outcome: Outcome) -> Arc<Self> {
        Entry::new(id, None, State::Settled(outcome, None))
    }

    /// What a message encloses that is this object and nothing else.
    pub(crate) fn enclosed(self: &Arc<Self>) -> Enclosed {
        Entry::enclosed_all(&[&self.travelling()])
    }

    /// What a message encloses that is these objects, under these identities and no others.
    pub(crate) fn enclosed_all(entries: &[&Arc<Entry>]) -> Enclosed {
        let refs = entries.iter().map(|entry| Ref::Object { object: entry.id }).collect();
        let hold = |entry: &&Arc<Entry>| -> Option<Hold> { Some((*entry).clone()) };
        Enclosed::new(refs, entries.iter().map(hold).collect())
    }

    /// The object that a message is, which encloses nothing else.
    pub(crate) fn of_enclosed(enclosed: &Enclosed) -> Option<Arc<Self>> {
        enclosed.holds.iter().flatten().next().and_then(|hold| hold.clone().downcast().ok())
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    /// Whether another life owns it.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.home.is_some()
    }

    /// Says what makes it, until it is settled.
    pub(crate) fn made_by(&self, making: Making) {
        if let State::Pending(pending) = &mut *self.state.lock() {
            pending.making = Some(making);
        }
    }

    /// What makes it, unless it is settled.
    pub(crate) fn making(&self) -> Option<Making> {
        match &*self.state.lock() {
            State::Pending(pending) => pending.making.clone(),
            State::Settled(..) | State::Given(_) => None,
        }
    }

    /// Settles it; what comes later is dropped. A value that another node says is this object's own is none.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let is_large = outcome.as_ref().is_ok_and(|content| content.uncounted().is_some());
        let outcome = if is_large { outcome.map(|content| self.count(content)) } else { outcome };
        let (next, lent) = match &outcome {
            Ok(Content::Elsewhere(next)) => (Some(next.clone()), None),
            Ok(Content::Lent(lent)) => (None, Some(lent.clone())),
            _ => (None, None),
        };
        let mut state = self.state.lock();
        if !matches!(*state, State::Pending(_)) {
            drop(state);
            return;
        }
        let former = std::mem::replace(&mut *state, State::Settled(outcome, None));
        drop(state);
        // Looked at once it can be seen: of two that are led to each other at once, one at least sees the other.
        if let Some(next) = next
            && next.followed().is_err()
        {
            let astray = State::Settled(Err(Arc::new(self.astray())), None);
            let circle = std::mem::replace(&mut *self.state.lock(), astray);
            drop(circle);
        }
        if let State::Pending(pending) = former {
            pending.tell(lent);
        }
    }

    /// A large value of an object that was promised counts as its node's.
    fn count(&self, content: Content) -> Content {
        let home = match &*self.state.lock() {
            State::Pending(pending) => pending.promised.as_ref().and_then(Promised::home),
            State::Settled(..) | State::Given(_) => None,
        };
        match home {
            Some(home) => home.counted(content),
            None => content,
        }
    }

    /// The node that it is on, while it is pending.
    pub(super) fn home(&self) -> Option<Arc<dyn Home>> {
        match (&*self.state.lock(), &self.home) {
            (_, Some((home, _))) => home.upgrade(),
            (State::Pending(pending), None) => pending.promised.as_ref().and_then(Promised::home),
            (State::Settled(..) | State::Given(_), None) => None,
        }
    }

    /// What it waits for, as far as that is known here.
    pub(crate) fn waiting(self: &Arc<Self>) -> String {
        self.home().map_or_else(|| "pending".to_owned(), |home| home.waiting(self))
    }

    /// What became of it, if it is settled.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.state.lock().outcome()
    }

    /// The object whose value this one's is: itself, or the last of those that it leads to so far.
    ///
    /// # Errors
    /// It leads on and on.
    pub(crate) fn followed(self: &Arc<Self>) -> Result<Arc<Entry>, Fault> {
        let mut entry = self.clone();
        for _ in 0..OBJECT_HOPS {
            match entry.outcome() {
                Some(Ok(Content::Elsewhere(next))) => entry = next,
                _ => return Ok(entry),
            }
        }
        Err(self.astray())
    }

    /// What is said of an object that has no value of its own, nor an end of those that it leads to.
    pub(crate) fn astray(&self) -> Fault {
        let why =
            format!("its owner says that its value is another's, and that leads back or on for {OBJECT_HOPS} more");
        Fault::lost(self.id, Lost::Unreadable(why))
    }

    /// What became of it, if that is known and a value is at hand.
    pub(crate) fn at_hand(self: &Arc<Self>) -> Option<Outcome> {
        let last = match self.followed() {
            Ok(last) => last,
            Err(fault) => return Some(Err(Arc::new(fault))),
        };
        match last.outcome()? {
            Ok(content) => content.at_hand().ok().map(Ok),
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Another life has a copy of it, or has none.
    pub(crate) fn held_by(&self, life: Life, held: bool) {
        if let State::Settled(_, shared) = &mut *self.state.lock() {
            match (shared, held) {
                (Some(shared), false) => shared.holders.retain(|holder| *holder != life),
                (None, false) => {}
                (shared, true) => {
                    let holders = &mut shared.get_or_insert_default().holders;
                    if holders.len() < HOLDERS && !holders.contains(&life) {
                        holders.push(life);
                    }
                }
            }
        }
    }

    /// Some of those that have a copy of it, as far as is known, and others each time.
    pub(crate) fn holders(&self, most: usize) -> Vec<Life> {
        let State::Settled(_, Some(shared)) = &mut *self.state.lock() else { return Vec::new() };
        let named = shared.holders.len().min(most);
        shared.holders.rotate_left(named);
        shared.holders.iter().rev().take(named).copied().collect()
    }

    /// All others that have a copy of it, as far as is known.
    pub(crate) fn held_at(&self) -> Vec<Life> {
        match &*self.state.lock() {
            State::Settled(_, Some(shared)) => shared.holders.clone(),
            State::Settled(_, None) | State::Pending(_) | State::Given(_) => Vec::new(),
        }
    }

    /// Whether it is passed as a reference: it is read where it lies, or is large, and encoded once rather than for each
    /// message.
    pub(crate) fn is_passed(&self) -> bool {
        match self.outcome() {
            Some(Ok(Content::Kept(_) | Content::Lent(_))) => true,
            Some(Ok(content)) => self.encoded(&content).is_ok_and(|encoded| encoded.body.len() > ARGUMENT_INLINE),
            Some(Err(_)) | None => false,
        }
    }

    /// Whether it needs nobody to ask for it: this node makes it.
    pub(crate) fn comes_by_itself(&self) -> bool {
        self.home.is_none() && !self.is_settled()
    }

    pub(crate) fn is_settled(&self) -> bool {
        !matches!(*self.state.lock(), State::Pending(_))
    }

    /// Whether there is a value, wherever it is, or none will be, as far as is known here.
    pub(crate) fn is_there(&self) -> bool {
        match &*self.state.lock() {
            State::Pending(pending) => pending.is_there(),
            State::Settled(..) | State::Given(_) => true,
        }
    }

    /// What became of it, or a seat whose waker is woken then. `seat` is the one taken before.
    fn poll(self: &Arc<Self>, seat: &mut Option<Seat>, waker: &Waker) -> Poll<Outcome> {
        // Wakers are other people's code: made and dropped outside of the lock.
        let mut fresh = None;
        loop {
            let mut state = self.state.lock();
            if let Some(outcome) = state.outcome() {
                return Poll::Ready(outcome);
            }
            let State::Pending(pending) = &mut *state else { continue };
            let seated = seat.and_then(|seat| pending.find(seat));
            let former = match (seated, fresh.take()) {
                (Some(Watcher::Task(known)), spare) if known.will_wake(waker) => spare,
                (_, None) => {
                    drop(state);
                    fresh = Some(Watcher::Task(waker.clone()));
                    continue;
                }
                (Some(watcher), Some(fresh)) => Some(std::mem::replace(watcher, fresh)),
                (None, Some(fresh)) => {
                    *seat = Some(pending.sit(Until::Here, fresh));
                    None
                }
            };
            self.ask(Until::Here, state);
            drop(former);
            return Poll::Pending;
        }
    }

    /// Waits for what becomes of it.
    pub(crate) fn settling(self: &Arc<Self>) -> Settling {
        Settling { entry: self.clone(), seat: None }
    }

    /// Has `watch` told when it is settled; none if it is already.
    pub(crate) fn watch(self: &Arc<Self>, watch: &Arc<dyn Watch>, key: usize) -> Option<Seat> {
        self.watch_until(Until::Here, watch, key)
    }

    /// Has `watch` told when there is a value, or none will be; none if that is so already.
    pub(crate) fn watch_until(self: &Arc<Self>, until: Until, watch: &Arc<dyn Watch>, key: usize) -> Option<Seat> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Settled(..) | State::Given(_) => None,
            State::Pending(pending) if until == Until::Anywhere && pending.is_there() => None,
            State::Pending(pending) => {
                let seat = pending.sit(until, Watcher::Watch(watch.clone(), key));
                self.ask(until, state);
                Some(seat)
            }
        }
    }

    /// Somebody waits: of what is elsewhere the value is asked for, or whether there is one; each once.
    fn ask(self: &Arc<Self>, until: Until, mut state: MutexGuard<'_, State>) {
        let State::Pending(pending) = &mut *state else { return };
        let Some((home, _)) = self.home.as_ref().filter(|_| pending.asks(until)) else { return };
        drop(state);
        match home.upgrade() {
            Some(home) => match until {
                Until::Here => home.fetch(self),
                Until::Anywhere => home.look_for(self),
            },
            None => self.settle(Err(Arc::new(Fault::ShutDown))),
        }
    }

    /// Its owner says that there is a value, which nobody has fetched yet.
    pub(crate) fn is_elsewhere(&self) {
        let told = match &mut *self.state.lock() {
            State::Pending(pending) => pending.there(),
            State::Settled(..) | State::Given(_) => return,
        };
        told.into_iter().for_each(Watcher::tell);
    }

    /// How often somebody took a seat, if it is pending.
    #[cfg(test)]
    pub(crate) fn seats(&self) -> Option<u32> {
        match &*self.state.lock() {
            State::Pending(pending) => Some(pending.seats()),
            State::Settled(..) | State::Given(_) => None,
        }
    }

    /// Whoever sat there waits no more.
    pub(crate) fn leave(&self, seat: Seat) {
        let mut state = self.state.lock();
        let (left, lent) = match &mut *state {
            State::Pending(pending) => (pending.leave(seat), None),
            // It was pinned for one who does not read it; another one who was told has it pinned again.
            State::Settled(Ok(Content::Lent(lent)), _) => (None, Some(lent.clone())),
            State::Settled(..) | State::Given(_) => (None, None),
        };
        drop(state);
        drop(left);
        if let Some(lent) = lent {
            lent.unpin();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some((home, counted_in)) = &self.home
            && let Some(home) = home.upgrade()
        {
            home.let_go(self.id, *counted_in);
        }
        let state = self.state.get_mut();
        if !state.is_hollow() {
            falling::fall(std::mem::replace(state, State::Pending(Pending::default())));
        }
    }
}

/// Waits for what becomes of an object; dropped, it waits no more.
#[must_use = "a future is lazy: await it"]
pub(crate) struct Settling {
    entry: Arc<Entry>,
    seat: Option<Seat>,
}

impl Settling {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Future for Settling {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Settling { entry, seat } = &mut *self;
        let polled = entry.poll(seat, cx.waker());
        if polled.is_ready() {
            *seat = None;
        }
        polled
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.entry.leave(seat);
        }
    }
}

mod encoded;
mod falling;
mod given;
mod moved;
mod pending;
mod renewed;
#[cfg(test)]
mod tests;
