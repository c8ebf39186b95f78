//! Streaming replies over a link. The link counts how far the host may run ahead (PROTOCOLS §1.11); here are the two ends:
//! items that arrived and were not taken, and the task that polls a method's stream while its consumer keeps up.

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use super::host::send_fault;
use super::{ItemSent, encode_part, with_scratch};
use crate::actor::error::{CallError, Executed, Never, Part};
use crate::actor::reply::{Answering, Asked, Streamed};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::packet::{Answer, Outcome, Settle};

/// The items that have arrived and were not taken yet: at most `STREAM_ITEMS` are let come.
#[doc(hidden)]
pub struct Inflow<T, E = CallError, U = Asked> {
    from: U,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    /// With the length of their packets.
    items: VecDeque<(T, usize)>,
    end: Option<Option<E>>,
    consumer: Option<Waker>,
}

/// Where items come from: told as they are taken, and when no more are wanted.
#[doc(hidden)]
pub trait Upstream {
    /// One was taken, whose packet had this length.
    fn took(&self, length: usize);
    /// No more are wanted.
    fn cancel(&self);
}

impl Upstream for Asked {
    fn took(&self, length: usize) {
        self.peer.took_item(self.ticket, length);
    }

    fn cancel(&self) {
        self.peer.cancel(self.ticket);
    }
}

impl<T, E, U: Upstream> Inflow<T, E, U> {
    pub(crate) fn new(from: U) -> Self {
        Inflow { from, state: Mutex::new(State { items: VecDeque::new(), end: None, consumer: None }) }
    }

    pub(crate) fn from(&self) -> &U {
        &self.from
    }

    /// How many were not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    pub(crate) fn push(&self, item: T, length: usize) {
        self.change(|state| state.items.push_back((item, length)));
    }

    pub(crate) fn end(&self) {
        self.change(|state| _ = state.end.get_or_insert(None));
    }

    pub(crate) fn fail(&self, error: E) {
        self.change(|state| _ = state.end.get_or_insert(Some(error)));
    }

    fn change(&self, change: impl FnOnce(&mut State<T, E>)) {
        let mut state = self.state.lock();
        change(&mut state);
        let consumer = state.consumer.take();
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
    }

    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<T, E>>> {
        let mut state = self.state.lock();
        match (state.items.pop_front(), &mut state.end) {
            (Some((item, length)), end) => {
                let more = end.is_none();
                drop(state);
                if more {
                    self.from.took(length);
                }
                Poll::Ready(Some(Ok(item)))
            }
            (None, Some(end)) => Poll::Ready(end.take().map(Err)),
            (None, None) => {
                state.consumer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The consumer is gone.
    pub(crate) fn cancel(&self) {
        let over = self.state.lock().end.replace(None).is_some();
        if !over {
            self.from.cancel();
        }
    }
}

/// What the host knows of a consumer elsewhere.
#[derive(Default)]
pub(crate) struct Consumer {
    state: Mutex<ConsumerState>,
}

#[derive(Default)]
struct ConsumerState {
    gone: bool,
    /// Room was given since an item was last refused.
    room: bool,
    pump: Option<Waker>,
}

impl Consumer {
    pub(crate) fn room(&self) {
        self.change(|state| state.room = true);
    }

    pub(crate) fn gone(&self) {
        self.change(|state| state.gone = true);
    }

    fn change(&self, change: impl FnOnce(&mut ConsumerState)) {
        let mut state = self.state.lock();
        change(&mut state);
        let pump = state.pump.take();
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    /// Ready when the consumer is gone.
    fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        state.pump = Some(cx.waker().clone());
        if state.gone { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when there is room, or the consumer is gone.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        state.pump = Some(cx.waker().clone());
        if std::mem::take(&mut state.room) || state.gone { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Sends a stream's items to its consumer as that takes them, in a task of its own: the method itself has returned.
pub(crate) fn pump<T: Serialize + DeserializeOwned + Send + 'static>(mut items: Streamed<T>, to: Answering) {
    let consumer = to.consumer.clone().unwrap_or_default();
    let peer = to.peer.clone();
    peer.spawn(Box::pin(async move {
        let mut index = 0;
        loop {
            let next = poll_fn(|cx| match consumer.poll_gone(cx) {
                Poll::Ready(()) => Poll::Ready(Err(CallError::Cancelled { executed: Executed::Yes })),
                Poll::Pending => items.poll_next_unpin(cx).map(Option::transpose),
            });
            let sent = match next.await {
                Ok(Some(item)) => match encode_item(item) {
                    Ok((body, enclosed)) => send_item(&to, &consumer, (index, &body), &enclosed).await,
                    Err(error) => Err(error),
                },
                Ok(None) => break send_end(&to),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                break send_fault::<Never>(&to, &error);
            }
            index += 1;
        }
    }));
}

fn encode_item<T: Serialize + 'static>(item: T) -> Result<(Vec<u8>, Enclosed), CallError> {
    let mut body = Vec::new();
    let enclosed = encode_part(Part::Item, Executed::Yes, &item, &mut body)?;
    Ok((body, enclosed))
}

/// Sends one item by its index, once there is room for it.
pub(crate) async fn send_item(
    to: &Answering,
    consumer: &Consumer,
    (index, body): (u64, &[u8]),
    enclosed: &Enclosed,
) -> Result<(), CallError> {
    let mut packet = Vec::new();
    Settle::Item { call: to.call, index, refs: List::Items(&enclosed.refs), body }.encode(&mut packet);
    loop {
        match to.peer.item(to.call, &packet, enclosed) {
            ItemSent::Sent => return Ok(()),
            ItemSent::Gone => return Err(CallError::Cancelled { executed: Executed::Yes }),
            ItemSent::Full => poll_fn(|cx| consumer.poll_room(cx)).await,
        }
    }
}

fn send_end(to: &Answering) {
    with_scratch(|_, packet| {
        Answer { call: to.call, outcome: Outcome::Value { refs: List::EMPTY, body: &[] } }.encode(packet);
        to.peer.answer(to.call, packet, &Enclosed::default());
    });
}
