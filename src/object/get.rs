//! Waiting for the values of objects: of one, or of several.

use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::content::Content;
use super::entry::{Entry, Outcome, Settling};
use super::error::GetError;
use super::failure::{Never, WireError};
use super::home::Waited;
use super::limit::Limit;
use super::param::{Object, Param, View};
use super::reference::{ObjectRef, Of};
use crate::limits::{GET_AHEAD, OBJECT_HOPS};
use crate::wire::packet::Executed;

/// The value of an outcome, as whoever takes it gets it.
pub(crate) fn got<T: ?Sized + Object, E: WireError>(outcome: Outcome) -> Result<T::Got, GetError<E>> {
    content(outcome)?.got::<T, E>()
}

/// The value of an outcome, shared.
pub(crate) fn shared<T: ?Sized + Param, E: WireError>(outcome: Outcome) -> Result<T::Shared, GetError<E>> {
    content(outcome)?.shared::<T, E>()
}

fn content<E: WireError>(outcome: Outcome) -> Result<Content, GetError<E>> {
    outcome.map_err(|fault| GetError::from_fault(Arc::unwrap_or_clone(fault)))
}

/// Waits for the value of an object, wherever it is, and has it at hand then.
pub(crate) struct Value {
    of: Settling,
    /// How many objects led to it.
    hops: usize,
    /// The first of them: whoever wants its value again, when that is lost, is told by it.
    first: Option<Arc<Entry>>,
    bringing: Option<BoxFuture<'static, Outcome>>,
    /// Whether it was polled before it was there, and what it waits with since then.
    waits: bool,
    waited: Option<Box<dyn Waited>>,
}

impl Value {
    pub(crate) fn of(entry: Arc<Entry>) -> Self {
        Value { of: entry.settling(), hops: 0, first: None, bringing: None, waits: false, waited: None }
    }
}

impl Future for Value {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = self.poll_value(cx);
        if polled.is_ready() {
            self.waited = None;
            return polled;
        }
        // Whoever waits in a method or a task may be in a circle.
        if !std::mem::replace(&mut self.waits, true) {
            let entry = self.of.entry();
            self.waited = entry.home().and_then(|home| home.waits(entry));
        }
        let Some(fault) = self.waited.as_ref().and_then(|waited| waited.poll(cx)) else { return Poll::Pending };
        self.waited = None;
        Poll::Ready(Err(fault))
    }
}

impl Value {
    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = self;
        if let Some(bringing) = &mut this.bringing {
            return bringing.as_mut().poll(cx);
        }
        loop {
            let outcome = std::task::ready!(Pin::new(&mut this.of).poll(cx));
            let absent = match outcome {
                Ok(Content::Elsewhere(_)) if this.hops >= OBJECT_HOPS => {
                    return Poll::Ready(Err(Arc::new(this.of.entry().astray())));
                }
                Ok(Content::Elsewhere(next)) => {
                    let former = std::mem::replace(&mut this.of, next.settling());
                    this.first.get_or_insert_with(|| former.entry().clone());
                    this.hops += 1;
                    continue;
                }
                Ok(content) => match content.at_hand() {
                    Ok(content) => return Poll::Ready(Ok(content)),
                    Err(absent) => absent,
                },
                Err(fault) => return Poll::Ready(Err(fault)),
            };
            let bringing = this.bringing.insert(Box::pin(absent.brought(this.of.entry().id())));
            return bringing.as_mut().poll(cx);
        }
    }
}

/// Waits for an object's value, for so long.
struct Waits {
    value: Value,
    limit: Limit,
}

impl Waits {
    fn new(entry: Arc<Entry>) -> Self {
        Waits { value: Value::of(entry), limit: Limit::default() }
    }

    fn poll<E>(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, GetError<E>>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.value).poll(cx) {
            return Poll::Ready(Ok(outcome));
        }
        let after = std::task::ready!(self.limit.poll_over(cx));
        self.value.waited = None;
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
        self.waits.limit.set(limit);
        self
    }

    /// Others are waited for before it: it is asked for, and is no wait of its own yet.
    fn ahead(mut self) -> Self {
        self.waits.value.waits = true;
        self
    }

    /// It is waited for.
    fn comes_first(&mut self) {
        let value = &mut self.waits.value;
        value.waits = value.waited.is_some();
    }
}

impl<T: ?Sized + Object, E: WireError> Future for Get<T, E> {
    type Output = Result<T::Got, GetError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(self.waits.poll::<E>(cx))?;
        Poll::Ready(got::<T, E>(outcome))
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

/// Waits for the values of several objects, in their order: what [`Cluster::get_all`](crate::Cluster::get_all) gives.
/// Cancel-safe: dropping it changes nothing.
#[must_use = "a future is lazy: await it"]
pub struct GetAll<'a, T: ?Sized + Object, E: WireError = Never> {
    of: &'a [ObjectRef<T, E>],
    /// How many of them were begun.
    asked: usize,
    begun: VecDeque<MaybeDone<Get<T, E>>>,
    values: Vec<T::Got>,
    limit: Limit,
}

impl<'a, T: ?Sized + Object, E: WireError> GetAll<'a, T, E> {
    pub(crate) fn new(of: &'a [ObjectRef<T, E>]) -> Self {
        let (begun, values) = (VecDeque::new(), Vec::with_capacity(of.len()));
        GetAll { of, asked: 0, begun, values, limit: Limit::default() }
    }

    /// Bounds the wait for all of them, from the first poll. The error says how many are there, and what the first that is not
    /// waits for. What makes them goes on.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit.set(limit);
        self
    }

    /// The values, once all are there.
    fn poll_values(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<T::Got>, GetError<E>>> {
        loop {
            while self.begun.len() < GET_AHEAD
                && let Some(next) = self.of.get(self.asked)
            {
                self.asked += 1;
                let mut get = maybe_done(Get::new(next).ahead());
                // What is made here comes by itself; what is elsewhere, or on disk, comes once it is asked for.
                if !next.entry().comes_by_itself() {
                    let _ = Pin::new(&mut get).poll(cx);
                }
                self.begun.push_back(get);
            }
            let Some(first) = self.begun.front_mut() else { return Poll::Ready(Ok(std::mem::take(&mut self.values))) };
            if let MaybeDone::Future(first) = &mut *first {
                first.comes_first();
            }
            std::task::ready!(Pin::new(&mut *first).poll(cx));
            if let Some(value) = Pin::new(first).take_output() {
                self.values.push(value?);
            }
            self.begun.pop_front();
        }
    }
}

impl<T: ?Sized + Object, E: WireError> Unpin for GetAll<'_, T, E> {}

impl<T: ?Sized + Object, E: WireError> Future for GetAll<'_, T, E> {
    type Output = Result<Vec<T::Got>, GetError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(values) = self.poll_values(cx) {
            return Poll::Ready(values);
        }
        let after = std::task::ready!(self.limit.poll_over(cx));
        let (there, first) = (self.values.len(), &self.of[self.values.len()]);
        let what = format!("{there} of {} objects are there, then object {}", self.of.len(), first.id());
        let (waiting, executed) = (first.entry().waiting(), Executed::Maybe);
        Poll::Ready(Err(GetError::Timeout { what, after, waiting, executed }))
    }
}

impl<T: ?Sized, E> fmt::Debug for Get<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Get").field(&self.waits.value.of.entry().id()).finish()
    }
}

impl<T: ?Sized + Object, E: WireError> fmt::Debug for GetAll<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetAll").field("of", &self.of.len()).field("there", &self.values.len()).finish_non_exhaustive()
    }
}

impl<T: ?Sized, E> fmt::Debug for GetView<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetView").field(&self.0.waits.value.of.entry().id()).finish()
    }
}
