//! The stream that a task returned: polled while its caller keeps up, in the place of the task.
//!
//! That of a synchronous function is polled on the compute pool, one item at a time: what it computes in between delays no
//! call. Only when it waits, for others or for room, does it give its slot back.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::{Notify, oneshot};

use super::super::arrive::Arrived;
use super::super::line::Whose;
use super::Place;
use crate::actor::error::{CallError, Executed};
use crate::actor::inbox::Host as _;
use crate::actor::remote::items::{Consumer, send_item};
use crate::actor::reply::Answering;
use crate::limits::BODY_INLINE;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::task::returns::More;
use crate::task::slot::{Runnable, Streams};
use crate::task::stream::Produces;

/// Where a stream is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Polled {
    OnRuntime,
    OnPool,
}

/// A stream of results under way.
pub(super) struct Streaming {
    place: Place,
    task: Arc<dyn Runnable>,
    items: Option<Produces>,
    polled: Polled,
    to: To,
}

/// Where its items go.
enum To {
    /// To a caller on this node.
    Here(Arc<More>, Arc<Consumer>),
    /// Over a link.
    Peer(Arc<Arrived>, Answering),
    /// Nobody streams what is no stream.
    Nowhere,
}

struct Wakes(Notify);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

type Item = Option<Result<Content, Fault>>;

impl Streaming {
    pub(super) fn new(place: Place, streams: Streams, polled: Polled) -> Self {
        let Streams { task, items } = streams;
        let to = match (&place.whose, task.more().and_then(|more| Some((more, more.items()?)))) {
            (Whose::Peer(arrived), _) => To::Peer(arrived.clone(), arrived.answering()),
            (_, Some((more, items))) => To::Here(more.clone(), items.begins_here()),
            (_, None) => To::Nowhere,
        };
        Streaming { place, task, items: Some(items), polled, to }
    }

    /// Polls it to its end, or until nobody wants more.
    pub(super) async fn run(mut self) {
        let mut index = 0;
        let outcome = loop {
            match self.next().await {
                Ok(Some(Ok(item))) => match self.send(index, item).await {
                    Ok(()) => index += 1,
                    Err(fault) => break Err(fault),
                },
                Ok(None) => break Ok(()),
                Ok(Some(Err(fault))) | Err(fault) => break Err(fault),
            }
        };
        // The stream is other people's code: it ends before its caller hears of the end.
        self.items = None;
        match outcome {
            Ok(()) => self.task.done(),
            Err(GetError::Panicked { message, .. }) => {
                self.task.fail(GetError::Panicked { what: self.task.label(), message });
            }
            Err(fault) => self.task.fail(fault),
        }
    }

    /// The next item.
    async fn next(&mut self) -> Result<Item, Fault> {
        match self.polled {
            Polled::OnRuntime => {
                let Streaming { place, task, items, .. } = self;
                let Some(Produces(items)) = items else { return Ok(None) };
                let first = poll_fn(|cx| Poll::Ready(poll_unless_cancelled(task, cx, |cx| items.poll_next(cx)))).await;
                if let Poll::Ready(item) = first {
                    return item;
                }
                place.wait();
                poll_fn(|cx| poll_unless_cancelled(task, cx, |cx| items.poll_next(cx))).await
            }
            Polled::OnPool => self.next_on_pool().await,
        }
    }

    /// The same, polled on the compute pool.
    async fn next_on_pool(&mut self) -> Result<Item, Fault> {
        let wakes = Arc::new(Wakes(Notify::new()));
        while let Some(mut items) = self.items.take() {
            let (waker, node) = (Waker::from(wakes.clone()), self.place.node.clone());
            let (gives, given) = oneshot::channel();
            self.place.node.compute().run(Box::new(move || {
                let _runtime = node.runtime().enter();
                let polled = items.0.poll_next(&mut Context::from_waker(&waker));
                // Whoever waited for it ended with the node.
                let _ = gives.send((items, polled));
            }));
            let Ok((items, polled)) = given.await else { return Err(GetError::ShutDown) };
            self.items = Some(items);
            if self.task.standing().is_cancelled() {
                return Err(cancelled());
            }
            if let Poll::Ready(item) = polled {
                return Ok(item);
            }
            self.place.wait();
            let mut woken = pin!(wakes.0.notified());
            poll_fn(|cx| poll_unless_cancelled(&self.task, cx, |cx| woken.as_mut().poll(cx))).await?;
        }
        Ok(None)
    }

    /// Gives an item to the caller, once there is room for it.
    async fn send(&mut self, index: u64, item: Content) -> Result<(), Fault> {
        let Streaming { place, task, to, .. } = self;
        match to {
            To::Nowhere => Ok(()),
            To::Here(more, room) => {
                let Some(items) = more.items() else { return Ok(()) };
                let mut item = Entry::settled(place.node.next_object(), Ok(item));
                while let Err(back) = items.try_push(item) {
                    item = back;
                    place.wait();
                    poll_fn(|cx| poll_unless_cancelled(task, cx, |cx| room.poll_room(cx))).await?;
                }
                Ok(())
            }
            To::Peer(arrived, answering) => {
                let (body, enclosed) = place.node.encoded_part(item, BODY_INLINE)?;
                let mut sending = pin!(send_item(answering, arrived.consumer(), (index, &body), &enclosed));
                let first = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
                let sent = match first {
                    Poll::Ready(sent) => sent,
                    Poll::Pending => {
                        place.wait();
                        poll_fn(|cx| poll_unless_cancelled(task, cx, |cx| sending.as_mut().poll(cx))).await?
                    }
                };
                sent.map_err(|_: CallError| cancelled())
            }
        }
    }
}

fn cancelled() -> Fault {
    GetError::Cancelled { executed: Executed::Maybe }
}

/// Polls, unless the task was cancelled; then it is woken.
fn poll_unless_cancelled<T>(
    task: &Arc<dyn Runnable>,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<Result<T, Fault>> {
    match task.standing().poll_cancelled(cx.waker()) {
        true => Poll::Ready(Err(cancelled())),
        false => poll(cx).map(Ok),
    }
}
