//! Waiting for objects: one, all, or some of many.

use futures_core::Stream;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Sleep;

use super::content::Content;
use super::entry::{Entry, Outcome, Seat, Settling, Watch};
use super::error::GetError;
use super::failure::{Never, WireError};
use super::param::{Object, Param, View};
use super::reference::{ObjectRef, Of};
use crate::limits::{GET_AHEAD, OBJECT_HOPS};
use crate::wire::packet::Executed;

/// The value of an outcome, shared.
pub(crate) fn shared<T: ?Sized + Param, E: WireError>(outcome: Outcome) -> Result<T::Shared, GetError<E>> {
    match outcome {
        Ok(content) => content.shared::<T, E>(),
        Err(fault) => Err(GetError::from_fault(Arc::unwrap_or_clone(fault))),
    }
}

/// Waits for the value of an object, wherever it is, and has it at hand then.
pub(crate) struct Value {
    of: Settling,
    /// How many objects led to it.
    hops: usize,
    bringing: Option<BoxFuture<'static, Outcome>>,
}

impl Value {
    pub(crate) fn of(entry: Arc<Entry>) -> Self {
        Value { of: entry.settling(), hops: 0, bringing: None }
    }
}

impl Future for Value {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        if let Some(bringing) = &mut this.bringing {
            return bringing.as_mut().poll(cx);
        }
        loop {
            let outcome = std::task::ready!(Pin::new(&mut this.of).poll(cx));
            let content = match outcome {
                Ok(Content::Elsewhere(_)) if this.hops >= OBJECT_HOPS => {
                    return Poll::Ready(Err(Arc::new(this.of.entry().astray())));
                }
                Ok(Content::Elsewhere(next)) => {
                    (this.of, this.hops) = (next.settling(), this.hops + 1);
                    continue;
                }
                Ok(content) => content,
                Err(fault) => return Poll::Ready(Err(fault)),
            };
            if let Some(content) = content.at_hand() {
                return Poll::Ready(Ok(content));
            }
            let bringing = this.bringing.insert(Box::pin(content.brought(this.of.entry().id())));
            return bringing.as_mut().poll(cx);
        }
    }
}

/// Waits for an object's value, for so long.
struct Waits {
    value: Value,
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Waits {
    fn new(entry: Arc<Entry>) -> Self {
        Waits { value: Value::of(entry), limit: None, timer: None }
    }

    fn poll<E>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, GetError<E>>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.value).poll(cx) {
            return Poll::Ready(Ok(outcome));
        }
        let Some(after) = self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        std::task::ready!(timer.as_mut().poll(cx));
        let last = self.value.of.entry();
        let (what, waiting) = (format!("object {}", last.id()), last.waiting());
        Poll::Ready(Err(GetError::Timeout { what, after, waiting, executed: Executed::Maybe }))
    }
}

/// Waits for an object's value: what [`Cluster::get`](crate::Cluster::get) gives. Cancel-safe: dropping it changes nothing.
#[must_use = "a future is lazy: await it"]
pub struct Get<T: ?Sized, E = Never> {
    waits: Waits,
    of: Of<T, E>,
}

impl<T: ?Sized, E> Get<T, E> {
    pub(crate) fn new(of: &ObjectRef<T, E>) -> Self {
        Get { waits: Waits::new(of.entry().clone()), of: PhantomData }
    }

    /// Bounds the wait, from the first poll. What makes the object goes on.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.waits.limit = Some(limit);
        self
    }
}

impl<T: ?Sized + Object, E: WireError> Future for Get<T, E> {
    type Output = Result<T::Got, GetError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(self.waits.poll::<E>(cx))?;
        Poll::Ready(shared::<T, E>(outcome).map(T::got))
    }
}

/// Waits for an object and gives a view of it: what [`Cluster::view`](crate::Cluster::view) gives.
#[must_use = "a future is lazy: await it"]
pub struct GetView<T: ?Sized, E = Never>(Get<T, E>);

impl<T: ?Sized, E> GetView<T, E> {
    pub(crate) fn new(of: &ObjectRef<T, E>) -> Self {
        GetView(Get::new(of))
    }

    /// Bounds the wait, from the first poll.
    pub fn timeout(self, limit: Duration) -> Self {
        GetView(self.0.timeout(limit))
    }
}

impl<T: ?Sized + Param, E: WireError> Future for GetView<T, E> {
    type Output = Result<View<T>, GetError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(self.0.waits.poll::<E>(cx))?;
        Poll::Ready(shared::<T, E>(outcome).map(View::new))
    }
}

/// Waits for the values of several objects, in their order: what [`Cluster::get_all`](crate::Cluster::get_all) does.
#[must_use = "a future is lazy: await it"]
pub(crate) struct GetAll<'a, T: ?Sized + Object, E: WireError> {
    left: std::slice::Iter<'a, ObjectRef<T, E>>,
    begun: VecDeque<MaybeDone<Get<T, E>>>,
    values: Vec<T::Got>,
}

impl<'a, T: ?Sized + Object, E: WireError> GetAll<'a, T, E> {
    pub(crate) fn new(of: &'a [ObjectRef<T, E>]) -> Self {
        GetAll { left: of.iter(), begun: VecDeque::new(), values: Vec::with_capacity(of.len()) }
    }
}

impl<T: ?Sized + Object, E: WireError> Unpin for GetAll<'_, T, E> {}

impl<T: ?Sized + Object, E: WireError> Future for GetAll<'_, T, E> {
    type Output = Result<Vec<T::Got>, GetError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            while this.begun.len() < GET_AHEAD
                && let Some(next) = this.left.next()
            {
                let mut get = maybe_done(Get::new(next));
                // What is made here comes by itself; what is elsewhere, or on disk, comes once it is asked for.
                if !next.entry().comes_by_itself() {
                    let _ = Pin::new(&mut get).poll(cx);
                }
                this.begun.push_back(get);
            }
            let Some(first) = this.begun.front_mut() else { return Poll::Ready(Ok(std::mem::take(&mut this.values))) };
            std::task::ready!(Pin::new(&mut *first).poll(cx));
            if let Some(value) = Pin::new(first).take_output() {
                this.values.push(value?);
            }
            this.begun.pop_front();
        }
    }
}

impl<T: ?Sized, E> fmt::Debug for Get<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Get").field(&self.waits.value.of.entry().id()).finish()
    }
}

impl<T: ?Sized, E> fmt::Debug for GetView<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetView").field(&self.0.waits.value.of.entry().id()).finish()
    }
}

/// References in the order in which their objects are there, or have failed: what
/// [`Cluster::as_settled`](crate::Cluster::as_settled) gives. Each step costs what became ready, not what is pending.
#[must_use = "a stream is lazy: poll it"]
pub struct AsSettled<T: ?Sized, E = Never> {
    ready: Arc<Ready>,
    /// By key; none once given.
    waiting: Vec<Option<Seated<T, E>>>,
    left: usize,
}

/// A reference, and where it is watched if it was not settled at first.
type Seated<T, E> = (ObjectRef<T, E>, Option<Seat>);

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
        let ready = Arc::<Ready>::default();
        let watch: Arc<dyn Watch> = ready.clone();
        let mut waiting = Vec::new();
        for (key, reference) in references.into_iter().enumerate() {
            let seat = reference.entry().watch(&watch, key);
            if seat.is_none() {
                ready.clone().settled(key);
            }
            waiting.push(Some((reference, seat)));
        }
        AsSettled { ready, left: waiting.len(), waiting }
    }

    /// Those that it has not given.
    #[must_use]
    pub fn into_pending(mut self) -> Vec<ObjectRef<T, E>> {
        self.leave().collect()
    }

    fn leave(&mut self) -> impl Iterator<Item = ObjectRef<T, E>> + use<T, E> {
        std::mem::take(&mut self.waiting).into_iter().flatten().map(|(reference, seat)| {
            if let Some(seat) = seat {
                reference.entry().leave(seat);
            }
            reference
        })
    }
}

/// Waits until some of many objects are there, or have failed: what [`Cluster::wait`](crate::Cluster::wait) gives. It resolves
/// to their references, in the order in which they were there, and to the others, in the order in which they were passed.
///
/// # Cancel safety
/// Dropping it changes nothing but forgets the references that were passed. To stop waiting and keep them, bound it by
/// [`timeout`](WaitSettled::timeout).
#[must_use = "a future is lazy: await it"]
pub struct WaitSettled<T: ?Sized, E = Never> {
    all: AsSettled<T, E>,
    settled: Vec<ObjectRef<T, E>>,
    count: usize,
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T: ?Sized, E> WaitSettled<T, E> {
    pub(crate) fn new(references: impl IntoIterator<Item = ObjectRef<T, E>>, count: usize) -> Self {
        WaitSettled { all: AsSettled::new(references), settled: Vec::new(), count, limit: None, timer: None }
    }

    /// Bounds the wait, from the first poll: then it gives those that are there by then. With `Duration::ZERO` it does not wait.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl<T: ?Sized, E> Unpin for WaitSettled<T, E> {}

impl<T: ?Sized, E> Future for WaitSettled<T, E> {
    type Output = (Vec<ObjectRef<T, E>>, Vec<ObjectRef<T, E>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.settled.len() < this.count {
            match Pin::new(&mut this.all).poll_next(cx) {
                Poll::Ready(Some(next)) => this.settled.push(next),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    let Some(limit) = this.limit else { return Poll::Pending };
                    let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                    std::task::ready!(timer.as_mut().poll(cx));
                    break;
                }
            }
        }
        Poll::Ready((std::mem::take(&mut this.settled), this.all.leave().collect()))
    }
}

impl<T: ?Sized, E> fmt::Debug for WaitSettled<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSettled").field("left", &self.all.left).field("settled", &self.settled.len()).finish()
    }
}

impl<T: ?Sized, E> Stream for AsSettled<T, E> {
    type Item = ObjectRef<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // A waker is other people's code: made and dropped outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.ready.state.lock();
        let Some(key) = state.keys.pop_front() else {
            let former = state.waker.replace(waker);
            drop(state);
            drop(former);
            return Poll::Pending;
        };
        drop(state);
        self.left -= 1;
        let given = self.waiting.get_mut(key).and_then(Option::take);
        Poll::Ready(given.map(|(reference, _)| reference))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
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
        f.debug_struct("AsSettled").field("left", &self.left).finish_non_exhaustive()
    }
}
