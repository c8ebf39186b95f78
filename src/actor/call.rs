//! Calls: one message to an actor, not sent before it is awaited.

use futures_core::Stream;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::coop::poll_proceed;

use super::dispatch::Method;
use super::error::{CallError, Never, WireError};
use super::frame;
use super::handle::ActorRef;
use super::inbox::Host;
use super::reply::{Reply, Streamed};
use super::slot::{Draft, Drafted, Pending, Sink, Slot, Turn, Unsent, promise};
use crate::id::ActorId;
use crate::object::limit::Limit;
use crate::object::param::Param;
use crate::object::reference::ObjectRef;

/// One call that was not sent yet. `.await` asks; see also [`tell`](Call::tell), [`try_tell`](Call::try_tell) and
/// [`timeout`](Call::timeout).
///
/// It takes its place in the actor's mailbox when it is first polled: calls of one handle run in the order of their
/// first polls. Dropping it before then sends nothing. Dropping it later cancels it: what has not begun never runs;
/// what runs is dropped at its next await if the method is marked `#[method(cancel)]`, else it finishes and its reply
/// is discarded.
///
/// What goes to another process leaves when the runtime's tasks have their turn: who makes many in one go asks them by
/// [`ask_all`](crate::ask_all).
#[must_use = "a call is lazy: `.await` it, or `.tell().await` it"]
pub struct Call<T, E = Never> {
    stage: Stage<T, E>,
    limit: Limit,
}

const _: () = {
    const fn promised<C: Future + Send + Unpin + 'static>() {}
    promised::<Call<u64>>();
};

impl<T: Reply, E: WireError> Call<T, E> {
    /// A call of a method. Only generated code makes one.
    #[doc(hidden)]
    #[inline]
    pub fn new<M: Method<Reply = T, Error = E>>(to: &ActorRef<M::Actor>, message: M) -> Self {
        let stage = match to.is_local() {
            true => Stage::Made(Box::new(Draft::new(to.clone(), message))),
            false => Stage::Unsent(Slot::unsent(to.clone(), message)),
        };
        Call { stage, limit: Limit::default() }
    }

    /// Bounds the wait, from the first poll: [`CallError::Timeout`] then says what it was waiting for, and the call is
    /// cancelled as if it were dropped.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit.set(limit);
        self
    }

    /// Tries it again up to so often where its actor was started again while it ran, in the later run; at most 255 times. On one
    /// node so often, and on as many nodes after the deaths of former ones. It comes before the calls that were sent after
    /// it. 0 by default, or what `#[method(retries = 3)]` says.
    ///
    /// It is made again as well where its reply was too large to travel and lay at the actor's node, and that has died: if the
    /// actor is one that is started again on another node. One that was [submitted](Call::submit) is when somebody wants the reply.
    ///
    /// So it may run more than once, though never twice in one run of its actor. Streams are not tried again, and nor is what
    /// failed by the method's own error.
    pub fn retries(mut self, retries: u32) -> Self {
        let retries = u8::try_from(retries).unwrap_or(u8::MAX);
        match &mut self.stage {
            Stage::Made(draft) => draft.retry(retries),
            // Nobody else knows it yet.
            Stage::Unsent(slot) => drop(Arc::get_mut(slot).map(|slot| slot.retry(retries))),
            Stage::Sent(_) | Stage::Over => {}
        }
        self
    }

    /// Sends it now, and gives a reference to its reply, which can be passed on before it is there: Ray's `.remote()`. Never
    /// waits: a full mailbox lets the call stand in line.
    ///
    /// Dropping the reference does not cancel the call. With too many submitted ([`SUBMITTED`](crate::limits::SUBMITTED)),
    /// the object has failed with [`GetError::QueueFull`](crate::GetError::QueueFull).
    pub fn submit(mut self) -> ObjectRef<T, E>
    where
        T: Param<Owned = T>,
    {
        let entry = promise(self.stage.here());
        if !entry.is_settled() {
            let sink = Sink::new(entry.clone());
            match self.stage.take() {
                Stage::Made(draft) if self.limit.after().is_none() => draft.submit(sink),
                Stage::Unsent(slot) if self.limit.after().is_none() => slot.submit(sink),
                stage => {
                    self.stage = stage;
                    self.submit_bounded(sink);
                }
            }
        }
        ObjectRef::new(entry)
    }

    /// With a time limit somebody must look at the clock.
    fn submit_bounded(mut self, sink: Sink<T, E>)
    where
        T: Param<Owned = T>,
    {
        if let Stage::Sent(slot) = &self.stage {
            slot.is_left();
        }
        // It takes its place in the mailbox now. Who submits it goes on, also from a method or task.
        let poll = || Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(result) = frame::unwaited(poll) {
            return sink.fill(result);
        }
        self.conclude(move |result| sink.fill(result));
    }

    /// Sends one way: waits for room in the mailbox, not for the method. What the method returns is discarded, also of a call
    /// that was polled before: that was sent, and goes on.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the message leaves its place in line and never runs.
    #[inline]
    pub fn tell(mut self) -> Tell<T, E> {
        if let Stage::Sent(slot) = &self.stage {
            slot.detach();
        }
        Tell { stage: self.stage.take() }
    }

    /// Sends one way, at once. A call that was polled before was sent, and goes on.
    ///
    /// # Errors
    /// [`TryTellError::Full`] gives the call back when the mailbox is full.
    pub fn try_tell(mut self) -> Result<(), TryTellError<T, E>> {
        let draft = match self.stage.take() {
            Stage::Made(draft) => draft,
            Stage::Unsent(slot) => slot.into_draft().map_err(TryTellError::Failed)?,
            Stage::Sent(slot) => {
                slot.detach();
                return Ok(());
            }
            Stage::Over => return Ok(()),
        };
        match draft.try_tell() {
            Ok(None) => Ok(()),
            Ok(Some(full)) => {
                self.stage = Stage::Made(full);
                Err(TryTellError::Full(self))
            }
            Err(error) => Err(TryTellError::Failed(error)),
        }
    }

    /// Goes on without whoever awaited it, and hands over its result.
    pub(crate) fn conclude(self, then: impl FnOnce(Result<T, CallError<E>>) + Send + 'static)
    where
        T: 'static,
    {
        if let Some(host) = self.stage.here() {
            host.spawn(Box::pin(async move { then(self.await) }));
        }
    }

    /// The actor it goes to.
    #[must_use]
    pub fn target(&self) -> Option<ActorId> {
        self.stage.target()
    }
}

impl<T, E> Future for Call<T, E> {
    type Output = Result<T, CallError<E>>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let slot = match this.stage.take() {
            Stage::Unsent(slot) => match slot.ask(this.limit.after(), cx.waker()) {
                Ok(slot) => {
                    // What sends it has its turn while others are sent, if those who poll many at once heed a budget at all.
                    let _ = poll_proceed(cx).map(|progress| progress.made_progress());
                    slot
                }
                Err(error) => return Poll::Ready(Err(error.widen())),
            },
            Stage::Made(draft) => match draft.ask(this.limit.after(), cx.waker()) {
                Ok(slot) => slot,
                Err(error) => return Poll::Ready(Err(error.widen())),
            },
            Stage::Sent(slot) => match slot.poll_reply(cx) {
                Ok(Err(error)) => return Poll::Ready(Err(error.over(this.limit.after()))),
                Ok(reply) => return Poll::Ready(reply),
                Err(slot) => slot,
            },
            Stage::Over => panic!("a call is not polled again after it was ready"),
        };
        this.stage = Stage::Sent(slot);
        let after = std::task::ready!(this.limit.poll_over(cx));
        // A reply that came with the timer's end is still a reply.
        let Stage::Sent(slot) = this.stage.take() else { return Poll::Pending };
        Poll::Ready(match slot.poll_reply(cx) {
            Ok(result) => result.map_err(|error| error.over(Some(after))),
            Err(slot) => {
                let (waiting, executed) = slot.cancel();
                Err(CallError::Timeout { after, waiting, executed })
            }
        })
    }
}

impl<T, E> Drop for Call<T, E> {
    fn drop(&mut self) {
        self.stage.cancel();
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = !matches!(self.stage, Stage::Made(_) | Stage::Unsent(_));
        f.debug_struct("Call").field("target", &self.stage.target()).field("sent", &sent).finish_non_exhaustive()
    }
}

/// A one-way call: what [`Call::tell`] gives. Lazy, like the call.
#[must_use = "a tell is lazy: await it; it waits for room in the mailbox, not for the method"]
pub struct Tell<T, E = Never> {
    stage: Stage<T, E>,
}

impl<T, E> Future for Tell<T, E> {
    type Output = Result<(), CallError>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // A loop of tells lets other tasks have their turn, the cell above all. The message enters the mailbox now all the same:
        // calls run in the order of their first polls.
        let turn = match &this.stage {
            Stage::Made(_) | Stage::Unsent(_) => poll_proceed(cx).map(|progress| progress.made_progress()),
            Stage::Sent(_) | Stage::Over => Poll::Ready(()),
        };
        let turn = if turn.is_ready() { Turn::Lasts } else { Turn::IsOver };
        let left = match this.stage.take() {
            Stage::Made(draft) => draft.tell(turn)?,
            Stage::Unsent(slot) => slot.tell(turn)?,
            Stage::Sent(slot) => Some(slot),
            Stage::Over => panic!("a tell is not polled again after it was ready"),
        };
        let Some(slot) = left else { return Poll::Ready(Ok(())) };
        let polled = if turn == Turn::Lasts { slot.poll_admitted(cx) } else { Poll::Pending };
        if polled.is_pending() {
            this.stage = Stage::Sent(slot);
        }
        polled
    }
}

impl<T, E> fmt::Debug for Tell<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = !matches!(self.stage, Stage::Made(_) | Stage::Unsent(_));
        f.debug_struct("Tell").field("target", &self.stage.target()).field("sent", &sent).finish_non_exhaustive()
    }
}

impl<T, E> Drop for Tell<T, E> {
    fn drop(&mut self) {
        self.stage.cancel();
    }
}

/// How far a call came.
enum Stage<T, E> {
    /// Not sent.
    Made(Box<dyn Drafted<T, E>>),
    /// Nor is this: it will leave the process.
    Unsent(Arc<dyn Unsent<T, E>>),
    Sent(Arc<dyn Pending<T, E>>),
    /// It gave its result, or somebody else has it.
    Over,
}

impl<T, E> Stage<T, E> {
    #[inline]
    fn take(&mut self) -> Self {
        mem::replace(self, Stage::Over)
    }

    /// Whoever waited for it has left.
    #[inline]
    fn cancel(&self) {
        if let Stage::Sent(slot) = self {
            slot.cancel();
        }
    }

    fn target(&self) -> Option<ActorId> {
        match self {
            Stage::Made(draft) => Some(draft.target()),
            Stage::Unsent(slot) => Some(slot.target()),
            Stage::Sent(slot) => Some(slot.target()),
            Stage::Over => None,
        }
    }

    /// The node that it is made on, unless that is gone.
    fn here(&self) -> Option<Arc<dyn Host>> {
        match self {
            Stage::Made(draft) => draft.here(),
            Stage::Unsent(slot) => slot.here(),
            Stage::Sent(slot) => slot.here(),
            Stage::Over => None,
        }
    }
}

/// Why [`Call::try_tell`] did not send.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TryTellError<T, E = Never> {
    /// The mailbox is full: here is the call again.
    #[error("the actor's mailbox is full")]
    Full(Call<T, E>),
    /// It can never be sent.
    #[error("{0}")]
    Failed(CallError),
}

impl<T, E> fmt::Debug for TryTellError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryTellError::Full(call) => f.debug_tuple("Full").field(call).finish(),
            TryTellError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

/// A streaming call: itself a stream, sent when first polled. It ends after its first error.
#[must_use = "a stream is lazy: poll it"]
pub struct StreamCall<T, E = Never> {
    state: Streaming<T, E>,
}

enum Streaming<T, E> {
    Asking(Call<Streamed<T>, E>),
    Items(Streamed<T>),
    Over,
}

impl<T, E> From<Call<Streamed<T>, E>> for StreamCall<T, E> {
    fn from(call: Call<Streamed<T>, E>) -> Self {
        StreamCall { state: Streaming::Asking(call) }
    }
}

impl<T, E> Stream for StreamCall<T, E> {
    type Item = Result<T, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Streaming::Asking(call) = &mut self.state {
            match std::task::ready!(Pin::new(call).poll(cx)) {
                Ok(items) => self.state = Streaming::Items(items),
                Err(error) => {
                    self.state = Streaming::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let Streaming::Items(items) = &mut self.state else { return Poll::Ready(None) };
        let item = std::task::ready!(Pin::new(items).poll_next(cx));
        if !matches!(item, Some(Ok(_))) {
            self.state = Streaming::Over;
        }
        Poll::Ready(item.map(|item| item.map_err(CallError::widen)))
    }
}

impl<T, E> Unpin for StreamCall<T, E> {}

impl<T, E> fmt::Debug for StreamCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamCall(")?;
        match &self.state {
            Streaming::Asking(call) => fmt::Debug::fmt(call, f)?,
            Streaming::Items(items) => fmt::Debug::fmt(items, f)?,
            Streaming::Over => f.write_str("over")?,
        }
        f.write_str(")")
    }
}
