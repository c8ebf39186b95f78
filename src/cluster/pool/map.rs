//! A pool's actors called for each of many items.

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Pool, PoolCall, Router};
use crate::actor::call::Call;
use crate::actor::error::{CallError, Never, WireError};
use crate::actor::handle::Handle;
use crate::actor::reply::Reply;

/// Replies that came before their turn wait for so many times the calls under way, before no more items are taken.
const EARLY: usize = 8;

/// Replies of a pool's actors for each of many items: what [`Pool::map`] and [`Pool::map_unordered`] give. Lazy.
#[must_use = "a stream is lazy: poll it"]
pub struct PoolMap<H, I, F, T, E = Never> {
    pool: Pool<H>,
    /// None once it is through.
    items: Option<I>,
    call: F,
    order: Order<T, E>,
    running: FuturesUnordered<Running<H, T, E>>,
    /// Items taken so far.
    taken: usize,
}

enum Order<T, E> {
    AsTheyCome,
    /// Those that were taken and not given yet, in order.
    OfItems(VecDeque<Option<Result<T, CallError<E>>>>),
}

/// One item's call.
struct Running<H, T, E> {
    number: usize,
    call: PoolCall<H, T, E>,
}

impl<H: Handle, T, E> Future for Running<H, T, E> {
    type Output = (usize, Result<T, CallError<E>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let number = self.number;
        Pin::new(&mut self.call).poll(cx).map(|result| (number, result))
    }
}

impl<H, I, F, T, E> PoolMap<H, I, F, T, E>
where
    H: Handle,
    I: Iterator,
    F: FnMut(&H, I::Item) -> Call<T, E>,
    T: Reply,
    E: WireError,
{
    pub(super) fn in_order(pool: Pool<H>, items: I, call: F) -> Self {
        Self::new(pool, items, call, Order::OfItems(VecDeque::new()))
    }

    pub(super) fn as_they_come(pool: Pool<H>, items: I, call: F) -> Self {
        Self::new(pool, items, call, Order::AsTheyCome)
    }

    fn new(pool: Pool<H>, items: I, call: F, order: Order<T, E>) -> Self {
        PoolMap { pool, items: Some(items), call, order, running: FuturesUnordered::new(), taken: 0 }
    }

    /// Begins calls while there is room for them.
    fn fill(&mut self) {
        let room = self.pool.room();
        while self.running.len() < room {
            if let Order::OfItems(waiting) = &self.order
                && waiting.len() >= room * EARLY
            {
                return;
            }
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.items = None;
                return;
            };
            let chosen = self.pool.choose(Router::LeastLoaded);
            let call = PoolCall::new(chosen, |handle| (self.call)(handle, item));
            self.running.push(Running { number: self.taken, call });
            self.taken += 1;
            if let Order::OfItems(waiting) = &mut self.order {
                waiting.push_back(None);
            }
        }
    }
}

impl<H, I, F, T, E> Stream for PoolMap<H, I, F, T, E>
where
    H: Handle,
    I: Iterator,
    F: FnMut(&H, I::Item) -> Call<T, E>,
    T: Reply,
    E: WireError,
{
    type Item = Result<T, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Order::OfItems(waiting) = &mut this.order
                && let Some(first) = waiting.pop_front_if(|first| first.is_some())
            {
                return Poll::Ready(first);
            }
            this.fill();
            let Some((number, result)) = std::task::ready!(this.running.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            match &mut this.order {
                Order::AsTheyCome => {
                    this.fill();
                    return Poll::Ready(Some(result));
                }
                Order::OfItems(waiting) => {
                    let given = this.taken - waiting.len();
                    if let Some(place) = waiting.get_mut(number - given) {
                        *place = Some(result);
                    }
                }
            }
        }
    }
}

impl<H, I, F, T, E> Unpin for PoolMap<H, I, F, T, E> {}

impl<H, I, F, T, E> fmt::Debug for PoolMap<H, I, F, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMap")
            .field("taken", &self.taken)
            .field("under_way", &self.running.len())
            .finish_non_exhaustive()
    }
}
