//! The mailbox: a bounded queue that keeps order also for those who wait for room.
//!
//! A call enters the queue at its first poll, whether there is room or not, so callers who wait keep their place:
//! tokio's bounded channel lets a later sender overtake one that waits. The first `MAILBOX_CAPACITY` calls are
//! *admitted*; what stands behind them is memory that its caller holds anyway, until the caller drops it: then it
//! becomes a tombstone, and tombstones are swept before they outnumber the living. One that was told and that nobody
//! else knows is the mailbox's alone.
//!
//! The cell takes calls out in batches, so that senders seldom meet it at the lock. What it has taken and not begun
//! still counts against the capacity. With the last call it also notes that nothing is left: it comes to the lock again
//! only when that has changed.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

use super::error::EndReason;
use crate::limits::{MAILBOX_BATCH, MAILBOX_CAPACITY, MAILBOX_KEPT};
use crate::sync::brief::{Mutex, MutexGuard};
use crate::sync::{AtomicBool, AtomicU32, OnceLock, Ordering};

/// A call that others may know, too.
pub(crate) trait Entry: Send + Sync {
    /// It has come within the capacity.
    fn admitted(&self);
    /// Its caller has dropped it, and it has not begun.
    fn is_abandoned(&self) -> bool;
}

/// What stands in a mailbox.
pub(crate) enum Item<J: ?Sized, T: ?Sized> {
    /// Others may know it, too.
    Call(Arc<J>),
    /// It was told, and nobody else knows it.
    Told(Box<T>),
}

impl<J: Entry + ?Sized, T: ?Sized> Item<J, T> {
    /// The call, if somebody may be waiting for its admission.
    fn call(&self) -> Option<&Arc<J>> {
        match self {
            Item::Call(call) => Some(call),
            Item::Told(_) => None,
        }
    }
}

/// What becomes of an actor that has stopped.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// It has ended.
    Over,
    /// It goes on elsewhere: who calls it here is told that it is not here.
    Elsewhere,
}

impl Then {
    fn reason(self) -> EndReason {
        match self {
            Then::Over => EndReason::Stopped,
            Then::Elsewhere => EndReason::Unknown,
        }
    }
}

/// Whether more may enter.
enum Gate {
    Open,
    /// What stands in it still runs, and what is expected, then the actor stops.
    Draining(Then),
    /// Nothing runs any more.
    Closed(Box<EndReason>),
}

/// Where an entry came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the first `MAILBOX_CAPACITY`.
    Admitted,
    /// In line behind them: [`Entry::admitted`] follows.
    InLine,
}

/// What the cell finds.
pub(crate) enum Next<J: ?Sized, T: ?Sized> {
    /// The next call.
    Job(Item<J, T>),
    /// The actor was asked to stop, and nothing is left.
    Drained,
    /// It ends now, whatever is left.
    Closed,
}

/// In this order: senders write the front all the time, and the cell reads the end of it before each call.
#[repr(C)]
pub(crate) struct Mailbox<J: ?Sized, T: ?Sized> {
    /// Whether the cell has seen that nothing is left for it, and is to be woken once that changes. Written under the lock.
    quiet: AtomicBool,
    inner: Mutex<Inner<J, T>>,
    /// The cell's waker. A cell is a task of its own, and tokio's tasks have one waker all their life: so it is
    /// neither cloned nor dropped for each call.
    cell: OnceLock<Waker>,
    /// Whether the gate is closed, for a cell that has taken calls already.
    closed: AtomicBool,
    /// How many calls the cell has taken and not begun, a batch at most: only the cell writes it. Half a word, beside the
    /// gate's byte: one more word costs each idle actor a hundred bytes of the allocator's.
    left: AtomicU32,
}

/// What the cell has taken and not begun.
pub(crate) struct Taken<J: ?Sized, T: ?Sized> {
    jobs: VecDeque<Item<J, T>>,
}

#[repr(C)]
struct Inner<J: ?Sized, T: ?Sized> {
    line: VecDeque<Item<J, T>>,
    /// How many at its end are not admitted.
    waiting: usize,
    /// How many the cell took last. They count until it comes again.
    taken: usize,
    gate: Gate,
    /// Whether the cell is gone.
    over: bool,
    /// How many calls that have arrived are still to come in: the actor does not stop before.
    expected: u32,
    tombstones: usize,
    /// Told once when the cell is gone; made by the first who waits for that.
    end: Option<Arc<Notify>>,
}

impl<J: ?Sized, T: ?Sized> Default for Taken<J, T> {
    fn default() -> Self {
        Taken { jobs: VecDeque::new() }
    }
}

impl<J: Entry + ?Sized, T: ?Sized> Mailbox<J, T> {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            line: VecDeque::new(),
            waiting: 0,
            taken: 0,
            gate: Gate::Open,
            over: false,
            expected: 0,
            tombstones: 0,
            end: None,
        };
        let (quiet, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Mailbox { quiet, inner: Mutex::new(inner), cell: OnceLock::new(), closed, left: AtomicU32::new(0) }
    }

    /// Takes an entry, in line if there is no room.
    #[inline]
    pub(crate) fn push(&self, entry: Arc<J>) -> Result<Place, EndReason> {
        let mut inner = self.inner.lock();
        inner.open()?;
        let place = inner.take_in(entry);
        self.wake_quiet(inner);
        Ok(place)
    }

    /// An entry is to come that has arrived already: until [`Mailbox::unexpect`], a stop waits for it.
    pub(crate) fn expect(&self) -> Result<(), EndReason> {
        let mut inner = self.inner.lock();
        inner.open()?;
        inner.expected += 1;
        Ok(())
    }

    /// Takes an entry that is expected, also after a stop was asked for.
    pub(crate) fn push_expected(&self, entry: Arc<J>) -> Result<Place, EndReason> {
        let mut inner = self.inner.lock();
        if let Gate::Closed(reason) = &inner.gate {
            return Err((**reason).clone());
        }
        let place = inner.take_in(entry);
        self.wake_quiet(inner);
        Ok(place)
    }

    /// One that was expected has come, or never will.
    pub(crate) fn unexpect(&self) {
        let mut inner = self.inner.lock();
        inner.expected -= 1;
        if inner.expected == 0 && matches!(inner.gate, Gate::Draining(_)) {
            self.wake(inner);
        }
    }

    /// Takes an item if there is room, and only then asks for it; `false` if there is none.
    #[inline]
    pub(crate) fn try_push(&self, item: impl FnOnce() -> Item<J, T>) -> Result<bool, EndReason> {
        let mut inner = self.inner.lock();
        inner.open()?;
        if inner.has_room() {
            inner.line.push_back(item());
            self.wake_quiet(inner);
            return Ok(true);
        }
        if inner.tombstones == 0 {
            return Ok(false);
        }
        let swept = inner.sweep();
        let room = inner.has_room();
        if room {
            inner.line.push_back(item());
            self.wake_quiet(inner);
        } else {
            drop(inner);
        }
        swept.tell();
        Ok(room)
    }

    /// The next entry of those that the cell has taken, while it may begin any.
    #[inline]
    pub(crate) fn next_taken(&self, taken: &mut Taken<J, T>) -> Option<Item<J, T>> {
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let job = taken.jobs.pop_front()?;
        self.left.store(taken.jobs.len() as u32, Ordering::Relaxed);
        Some(job)
    }

    /// Calls that the cell has begun before, and begins again before all others: in this order.
    pub(crate) fn return_taken(&self, taken: &mut Taken<J, T>, returned: impl DoubleEndedIterator<Item = Arc<J>>) {
        returned.rev().for_each(|job| taken.jobs.push_front(Item::Call(job)));
        self.left.store(taken.jobs.len() as u32, Ordering::Relaxed);
    }

    /// The next entry, for the cell.
    pub(crate) fn poll_next(&self, taken: &mut Taken<J, T>, cx: &mut Context<'_>) -> Poll<Next<J, T>> {
        if let Some(job) = self.next_taken(taken) {
            return Poll::Ready(Next::Job(job));
        }
        // What changes that wakes the cell after it has said so: then it is polled again.
        if self.quiet.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let mut inner = self.inner.lock();
        if let Gate::Closed(_) = inner.gate {
            return Poll::Ready(Next::Closed);
        }
        let Some(job) = inner.line.pop_front() else {
            if matches!(inner.gate, Gate::Draining(_)) && inner.expected == 0 {
                return Poll::Ready(Next::Drained);
            }
            inner.rest();
            inner.taken = 0;
            self.watch(cx);
            self.quiet.store(true, Ordering::Relaxed);
            return Poll::Pending;
        };
        inner.hand_over(taken);
        self.left.store(inner.taken as u32, Ordering::Relaxed);
        if inner.taken == 0 && matches!(inner.gate, Gate::Open) {
            inner.rest();
            self.watch(cx);
            self.quiet.store(true, Ordering::Relaxed);
        }
        if inner.waiting > 0 {
            let admitted = inner.admit();
            drop(inner);
            admitted.iter().for_each(|entry| entry.admitted());
        }
        Poll::Ready(Next::Job(job))
    }

    /// Ready when the actor ends now: for a cell that waits for a method to end.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = self.inner.lock();
        if let Gate::Closed(_) = inner.gate {
            return Poll::Ready(());
        }
        self.watch(cx);
        // What comes in meanwhile need not wake it.
        self.quiet.store(false, Ordering::Relaxed);
        Poll::Pending
    }

    /// Whether it lets nothing run any more, for this reason.
    pub(crate) fn is_closed_by(&self, reason: &EndReason) -> bool {
        self.closed.load(Ordering::Relaxed) && matches!(&self.inner.lock().gate, Gate::Closed(why) if **why == *reason)
    }

    /// Lets in no more; what stands in line still runs, and so does what is expected.
    pub(crate) fn drain(&self) {
        let mut inner = self.inner.lock();
        // One that is about to go on elsewhere does not.
        if !matches!(inner.gate, Gate::Closed(_)) {
            inner.gate = Gate::Draining(Then::Over);
            self.wake(inner);
        }
    }

    /// The same of one that does not yet, and says what becomes of the actor.
    pub(crate) fn drain_then(&self, then: Then) {
        let mut inner = self.inner.lock();
        if let Gate::Open = inner.gate {
            inner.gate = Gate::Draining(then);
            self.wake(inner);
        }
    }

    /// Why the actor ends that has run all that stood in it.
    pub(crate) fn drained(&self) -> EndReason {
        match self.inner.lock().gate {
            Gate::Draining(then) => then.reason(),
            Gate::Open | Gate::Closed(_) => EndReason::Stopped,
        }
    }

    /// Lets nothing run any more. The first reason stays.
    pub(crate) fn close(&self, reason: EndReason) {
        let mut inner = self.inner.lock();
        if !matches!(inner.gate, Gate::Closed(_)) {
            inner.gate = Gate::Closed(Box::new(reason));
            self.closed.store(true, Ordering::Relaxed);
            self.wake(inner);
        }
    }

    /// The cell is gone: closes, and hands out what is left.
    pub(crate) fn bury(&self, reason: EndReason, taken: Taken<J, T>) -> impl Iterator<Item = Item<J, T>> + use<J, T> {
        let mut inner = self.inner.lock();
        if !matches!(inner.gate, Gate::Closed(_)) {
            inner.gate = Gate::Closed(Box::new(reason));
        }
        let left = mem::take(&mut inner.line);
        drop(inner);
        taken.jobs.into_iter().chain(left)
    }

    /// Tells who waits for the end that it has come.
    pub(crate) fn tell_end(&self) {
        let mut inner = self.inner.lock();
        inner.over = true;
        let end = inner.end.take();
        drop(inner);
        if let Some(end) = end {
            end.notify_waiters();
        }
    }

    /// Why the actor ends, once it does.
    pub(crate) fn reason(&self) -> Option<EndReason> {
        match &self.inner.lock().gate {
            Gate::Closed(reason) => Some((**reason).clone()),
            Gate::Open | Gate::Draining(_) => None,
        }
    }

    /// Whether the cell is gone and that was told, or what tells when it is.
    pub(crate) fn ended(&self) -> Result<EndReason, Arc<Notify>> {
        let mut inner = self.inner.lock();
        match &inner.gate {
            Gate::Closed(reason) if inner.over => Ok((**reason).clone()),
            _ => Err(inner.end.get_or_insert_with(Arc::default).clone()),
        }
    }

    /// An entry's caller has dropped it before it began.
    pub(crate) fn abandoned(&self) {
        let mut inner = self.inner.lock();
        inner.tombstones += 1;
        if inner.tombstones > MAILBOX_CAPACITY / 8 && inner.tombstones > inner.line.len() / 2 {
            let swept = inner.sweep();
            drop(inner);
            swept.tell();
        }
    }

    /// Wakes the cell if it has seen nothing, once the lock is free.
    #[inline]
    fn wake_quiet(&self, inner: MutexGuard<'_, Inner<J, T>>) {
        if self.quiet.load(Ordering::Relaxed) {
            self.wake(inner);
        }
    }

    /// Wakes the cell, once the lock is free.
    #[inline]
    fn wake(&self, inner: MutexGuard<'_, Inner<J, T>>) {
        self.quiet.store(false, Ordering::Relaxed);
        drop(inner);
        if let Some(cell) = self.cell.get() {
            cell.wake_by_ref();
        }
    }

    /// Notes under the lock whom to wake.
    #[inline]
    fn watch(&self, cx: &Context<'_>) {
        self.cell.get_or_init(|| cx.waker().clone());
    }

    /// How many entries stand in it and have not begun, whether admitted or not.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().line.len() + self.left.load(Ordering::Relaxed) as usize
    }
}

impl<J: Entry + ?Sized, T: ?Sized> Inner<J, T> {
    #[inline]
    fn open(&self) -> Result<(), EndReason> {
        match &self.gate {
            Gate::Open => Ok(()),
            Gate::Draining(then) => Err(then.reason()),
            Gate::Closed(reason) => Err((**reason).clone()),
        }
    }

    /// Whoever waits for room comes first.
    #[inline]
    fn has_room(&self) -> bool {
        self.waiting == 0 && self.line.len() + self.taken < MAILBOX_CAPACITY
    }

    /// Lets an entry in, whether there is room or not.
    #[inline]
    fn take_in(&mut self, entry: Arc<J>) -> Place {
        let place = if self.has_room() { Place::Admitted } else { Place::InLine };
        if place == Place::InLine {
            self.waiting += 1;
        }
        self.line.push_back(Item::Call(entry));
        place
    }

    /// Gives the cell the next batch. Who waits for room stands behind `MAILBOX_CAPACITY` others, so none of those
    /// is in it.
    #[inline]
    fn hand_over(&mut self, taken: &mut Taken<J, T>) {
        self.taken = self.line.len().min(MAILBOX_BATCH);
        if self.taken > 0 {
            taken.jobs.extend(self.line.drain(..self.taken));
        }
    }

    /// Admits those that have come within the capacity, and gives them.
    fn admit(&mut self) -> Vec<Arc<J>> {
        let first = self.line.len() - self.waiting;
        let room = MAILBOX_CAPACITY.saturating_sub(first + self.taken);
        let admitted = self.waiting.min(room);
        self.waiting -= admitted;
        self.line.range(first..first + admitted).filter_map(Item::call).cloned().collect()
    }

    /// Takes tombstones out, which makes room.
    fn sweep(&mut self) -> Swept<J, T> {
        let first = self.line.len() - self.waiting;
        let (left, mut gone) = (VecDeque::with_capacity(self.line.len()), Vec::with_capacity(self.tombstones));
        self.waiting = 0;
        for (at, item) in mem::replace(&mut self.line, left).into_iter().enumerate() {
            if item.call().is_some_and(|call| call.is_abandoned()) {
                gone.push(item);
            } else {
                self.waiting += usize::from(at >= first);
                self.line.push_back(item);
            }
        }
        self.tombstones = 0;
        Swept { admitted: self.admit(), _gone: gone }
    }

    /// An idle actor keeps little memory for the crowds that it once had.
    fn rest(&mut self) {
        if self.line.capacity() > MAILBOX_KEPT {
            self.line = VecDeque::new();
        }
    }
}

/// What a sweep leaves to be done once the lock is free.
struct Swept<J: ?Sized, T: ?Sized> {
    admitted: Vec<Arc<J>>,
    /// The last of an actor's handles may be among them, and ends it: through its mailbox.
    _gone: Vec<Item<J, T>>,
}

impl<J: Entry + ?Sized, T: ?Sized> Swept<J, T> {
    fn tell(self) {
        self.admitted.iter().for_each(|entry| entry.admitted());
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
