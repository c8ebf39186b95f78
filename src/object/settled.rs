//! Waiting for some of many objects: each step costs what became ready, not what is pending.
//!
//! ```text
//! references ──▶ AsSettled: watched once each ──▶ settled, one after the other (a stream)
//!      wait(n) ──▶ WaitSettled ──▶ (n of them, the AsSettled with the others) ──▶ wait(n) again
//! ```

use futures_core::Stream;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::entry::{Entry, Seat, Until, Watch};
use super::failure::Never;
use super::limit::Limit;
use super::reference::ObjectRef;
use crate::limits::OBJECT_HOPS;

/// References in the order in which their objects are there, or have failed: what
/// [`Cluster::as_settled`](crate::Cluster::as_settled) gives, and what a [`Cluster::wait`](crate::Cluster::wait) leaves. More
/// can be [pushed](AsSettled::push) meanwhile. Each step costs what became ready, not what is pending.
pub struct AsSettled<T: ?Sized, E = Never> {
    ready: Arc<Ready>,
    until: Until,
    /// Not given yet, by the order in which they came. Those from `watched` on are watched with the next poll.
    pending: BTreeMap<usize, Seated<T, E>>,
    watched: usize,
    next: usize,
}

/// A reference, and where it is watched unless it was settled at first: at its object, or at the one that it leads to so far.
type Seated<T, E> = (ObjectRef<T, E>, Option<(Arc<Entry>, Seat)>);

#[derive(Default)]
struct Ready {
    state: Mutex<ReadyState>,
}

#[derive(Default)]
struct ReadyState {
    keys: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Watch for Ready {
    fn settled(self: Arc<Self>, key: usize) {
        let mut state = self.state.lock();
        state.keys.push_back(key);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: ?Sized, E> AsSettled<T, E> {
    pub(crate) fn new(references: impl IntoIterator<Item = ObjectRef<T, E>>) -> Self {
        let mut all =
            AsSettled { ready: Arc::default(), until: Until::Here, pending: BTreeMap::new(), watched: 0, next: 0 };
        all.extend(references);
        all
    }

    /// Values are not brought here: one that another node has counts when it is there. Those of references that were polled
    /// for before may be on their way already.
    #[must_use = "a stream is lazy: poll it"]
    pub fn without_fetching(mut self) -> Self {
        self.until = Until::Anywhere;
        self
    }

    /// One more.
    pub fn push(&mut self, reference: ObjectRef<T, E>) {
        self.pending.insert(self.next, (reference, None));
        self.next += 1;
    }

    /// How many it has not given.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether it has given all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Those that it has not given, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &ObjectRef<T, E>> {
        self.pending.values().map(|(reference, _)| reference)
    }

    /// Those that it has not given, in the order in which they came.
    #[must_use]
    pub fn into_pending(mut self) -> Vec<ObjectRef<T, E>> {
        self.leave().collect()
    }

    fn leave(&mut self) -> impl Iterator<Item = ObjectRef<T, E>> + use<T, E> {
        std::mem::take(&mut self.pending).into_values().map(|(reference, seat)| {
            if let Some((entry, seat)) = seat {
                entry.leave(seat);
            }
            reference
        })
    }

    /// Watches those that came since the last poll.
    fn watch(&mut self) {
        if self.watched == self.next {
            return;
        }
        for (key, seated) in self.pending.range_mut(self.watched..) {
            if !watch(seated, self.until, &self.ready, *key) {
                self.ready.clone().settled(*key);
            }
        }
        self.watched = self.next;
    }
}

/// Watches an object. One whose value is another's is where that is: watched is the last of those. Whether there is something
/// to wait for.
fn watch<T: ?Sized, E>((reference, seat): &mut Seated<T, E>, until: Until, ready: &Arc<Ready>, key: usize) -> bool {
    let (watch, mut entry): (Arc<dyn Watch>, _) = (ready.clone(), reference.entry().clone());
    for _ in 0..=OBJECT_HOPS {
        if let Some(taken) = entry.watch_until(until, &watch, key) {
            *seat = Some((entry, taken));
            return true;
        }
        match entry.followed() {
            Ok(last) if until == Until::Here && !last.is_settled() => entry = last,
            Ok(_) | Err(_) => break,
        }
    }
    *seat = None;
    false
}

impl<T: ?Sized, E> Extend<ObjectRef<T, E>> for AsSettled<T, E> {
    fn extend<I: IntoIterator<Item = ObjectRef<T, E>>>(&mut self, references: I) {
        references.into_iter().for_each(|reference| self.push(reference));
    }
}

impl<T: ?Sized, E> Stream for AsSettled<T, E> {
    type Item = ObjectRef<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.pending.is_empty() {
            return Poll::Ready(None);
        }
        self.watch();
        // A waker is other people's code: made and dropped outside of the lock.
        let waker = cx.waker().clone();
        loop {
            let mut state = self.ready.state.lock();
            let Some(key) = state.keys.pop_front() else {
                let former = state.waker.replace(waker);
                drop(state);
                drop(former);
                return Poll::Pending;
            };
            drop(state);
            // One that was there at first was followed then.
            let Self { until, ready, pending, .. } = &mut *self;
            let leads_on = |(_, seat): &&mut Seated<T, E>| {
                *until == Until::Here && seat.as_ref().is_some_and(|(entry, _)| entry.leads_to().is_some())
            };
            let led = pending.get_mut(&key).filter(leads_on);
            if led.is_some_and(|seated| watch(seated, *until, ready, key)) {
                continue;
            }
            return Poll::Ready(self.pending.remove(&key).map(|(reference, _)| reference));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T: ?Sized, E> Unpin for AsSettled<T, E> {}

impl<T: ?Sized, E> Drop for AsSettled<T, E> {
    fn drop(&mut self) {
        self.leave().for_each(drop);
    }
}

impl<T: ?Sized, E> fmt::Debug for AsSettled<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsSettled").field("left", &self.len()).finish_non_exhaustive()
    }
}

/// What [`Cluster::wait`](crate::Cluster::wait) waits for: references, borrowed ones, or what an earlier wait has left.
pub trait Awaited {
    /// Of which type they are.
    type Value: ?Sized;
    /// What their makers may fail with.
    type Error;

    /// As they settle.
    fn into_settled(self) -> AsSettled<Self::Value, Self::Error>;
}

/// A reference, or a borrowed one.
pub trait Reference {
    /// Of which type it is.
    type Value: ?Sized;
    /// What its maker may fail with.
    type Error;

    /// The reference.
    fn into_reference(self) -> ObjectRef<Self::Value, Self::Error>;
}

impl<T: ?Sized, E> Reference for ObjectRef<T, E> {
    type Value = T;
    type Error = E;

    fn into_reference(self) -> ObjectRef<T, E> {
        self
    }
}

impl<T: ?Sized, E> Reference for &ObjectRef<T, E> {
    type Value = T;
    type Error = E;

    fn into_reference(self) -> ObjectRef<T, E> {
        self.clone()
    }
}

impl<I: IntoIterator<Item: Reference>> Awaited for I {
    type Value = <I::Item as Reference>::Value;
    type Error = <I::Item as Reference>::Error;

    fn into_settled(self) -> AsSettled<Self::Value, Self::Error> {
        AsSettled::new(self.into_iter().map(Reference::into_reference))
    }
}

impl<T: ?Sized, E> Awaited for AsSettled<T, E> {
    type Value = T;
    type Error = E;

    fn into_settled(self) -> AsSettled<T, E> {
        self
    }
}

/// Waits until some of many objects are there, or have failed: what [`Cluster::wait`](crate::Cluster::wait) gives. It resolves
/// to their references, in the order in which they were there, and to the others, which can be waited for again.
///
/// # Cancel safety
/// Dropping it changes nothing but forgets the references that were passed. To stop waiting and keep them, bound it by
/// [`timeout`](WaitSettled::timeout).
#[must_use = "a future is lazy: await it"]
pub struct WaitSettled<T: ?Sized, E = Never> {
    all: AsSettled<T, E>,
    settled: Vec<ObjectRef<T, E>>,
    count: usize,
    limit: Limit,
}

impl<T: ?Sized, E> WaitSettled<T, E> {
    pub(crate) fn new(all: AsSettled<T, E>, count: usize) -> Self {
        WaitSettled { all, settled: Vec::new(), count, limit: Limit::default() }
    }

    /// Bounds the wait, from the first poll: then it gives those that are there by then. With `Duration::ZERO` it does not wait.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit.set(limit);
        self
    }

    /// Values are not brought here: one that another node has counts when it is there. So are those not that are waited for
    /// again.
    pub fn without_fetching(mut self) -> Self {
        self.all.until = Until::Anywhere;
        self
    }
}

impl<T: ?Sized, E> Unpin for WaitSettled<T, E> {}

impl<T: ?Sized, E> Future for WaitSettled<T, E> {
    type Output = (Vec<ObjectRef<T, E>>, AsSettled<T, E>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.settled.len() < this.count {
            match Pin::new(&mut this.all).poll_next(cx) {
                Poll::Ready(Some(next)) => this.settled.push(next),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    std::task::ready!(this.limit.poll_over(cx));
                    break;
                }
            }
        }
        let left = std::mem::replace(&mut this.all, AsSettled::new([]));
        Poll::Ready((std::mem::take(&mut this.settled), left))
    }
}

impl<T: ?Sized, E> fmt::Debug for WaitSettled<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSettled").field("left", &self.all.len()).field("settled", &self.settled.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Life, ObjectId};
    use crate::object::content::Content;
    use futures_util::FutureExt;

    #[test]
    fn a_loop_of_waits_watches_each_object_once() {
        let entry = |serial| Entry::pending(ObjectId { life: Life(1), serial }, None);
        let entries: Vec<_> = (0..100).map(entry).collect();
        let references: Vec<ObjectRef<u64>> = entries.iter().map(|entry| ObjectRef::new(entry.clone())).collect();
        let mut left = references.into_settled();
        for (turn, entry) in entries.iter().enumerate() {
            let seats: Vec<_> = entries[turn..].iter().map(|entry| entry.seats()).collect();
            assert!(seats.iter().all(|seats| *seats <= Some(1)), "in turn {turn}: {seats:?}");
            entry.settle(Ok(Content::of::<u64>(Arc::new(7))));
            let (settled, pending) = WaitSettled::new(left, 1).now_or_never().expect("one is there");
            assert_eq!((settled.len(), settled[0].id(), pending.len()), (1, entry.id(), 99 - turn));
            left = pending;
        }
        assert!(left.is_empty());
    }

    #[test]
    fn what_is_left_leaves_no_seat_behind() {
        let entry = Entry::pending(ObjectId { life: Life(1), serial: 1 }, None);
        let (one, two) = (ObjectRef::<u64>::new(entry.clone()), ObjectRef::<u64>::new(entry.clone()));
        let mut all = AsSettled::new([one]);
        all.push(two);
        assert!(futures_util::StreamExt::next(&mut all).now_or_never().is_none());
        assert_eq!((entry.seats(), Arc::strong_count(&all.ready)), (Some(2), 3));
        let ready = all.ready.clone();
        assert_eq!(all.into_pending().len(), 2);
        assert_eq!(Arc::strong_count(&ready), 1, "the entry knows it no more");
    }

    #[test]
    fn what_leads_on_is_waited_for_at_the_last_of_those_that_it_leads_to() {
        let entry = |serial| Entry::pending(ObjectId { life: Life(1), serial }, None);
        let [first, second, third] = [1, 2, 3].map(entry);
        let wait = |all: &mut AsSettled<u64>| futures_util::StreamExt::next(all).now_or_never().flatten();
        let mut all = AsSettled::new([ObjectRef::<u64>::new(first.clone())]);
        let mut anywhere = AsSettled::new([ObjectRef::<u64>::new(first.clone())]).without_fetching();
        assert!(wait(&mut all).is_none() && wait(&mut anywhere).is_none());
        second.settle(Ok(Content::Elsewhere(third.clone())));
        first.settle(Ok(Content::Elsewhere(second)));
        assert!(wait(&mut anywhere).is_some(), "there is a value");
        assert!(wait(&mut all).is_none() && third.seats() == Some(1), "which is not here");
        third.settle(Ok(Content::of::<u64>(Arc::new(7))));
        assert_eq!(wait(&mut all).map(|settled| settled.id()), Some(first.id()));
    }
}
