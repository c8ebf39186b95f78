//! What the caller of a call that was sent and whoever runs it share: its arguments, its reply and its caller's waker.

use std::mem;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::context::ActorContext;
use super::dispatch::{Method, OnCancel};
use super::error::{CallError, EndReason, Executed, Waiting};
use super::frame::{Above, Chain, Serves};
use super::handle::{ActorRef, Route};
use super::inbox::{Host, Inbox};
use super::job::{self, Access, Begun, BegunShared, Job, Nobody, Outcome, Verdict};
use super::mailbox::{Entry, Item, Place};
use super::remote::placed::How;
use super::restart::Kept;
use crate::clock::{self, Moment};
use crate::id::ActorId;
use crate::sync::alone::alone;
use crate::sync::brief::Mutex;
use crate::wire::packet::Flags;

mod away;
mod draft;
mod placed;
mod repeat;
mod retry;
mod stalled;
mod submit;
mod take;
mod unsent;
mod wait;
use away::Away;
pub(crate) use draft::{Draft, Drafted};
pub(crate) use repeat::{Repeat, Replied};
use stalled::Stalled;
use submit::Awaited;
pub(crate) use submit::{Listener, Sink, promise, to_get_error};
use take::Taken;
pub(crate) use unsent::Unsent;

/// A call that was sent, as its caller holds it: reply and error are known, the message is not.
pub(crate) trait Pending<T, E>: Send + Sync {
    /// The node that it was made on.
    fn here(&self) -> Option<Arc<dyn Host>>;
    /// The reply; gives it back if there is none yet, to be woken.
    fn poll_reply(self: Arc<Self>, cx: &mut Context<'_>) -> Polled<T, E>;
    /// Ready when there was room for it.
    fn poll_admitted(&self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>>;
    /// Its caller's method or task goes on, and somebody else waits for the reply.
    fn is_left(&self);
    /// Its caller goes on without its reply.
    fn detach(&self);
    /// Its caller no longer waits. Says how far it had come.
    fn cancel(&self) -> (Waiting, Executed);
    /// What it waits for.
    fn target(&self) -> ActorId;
}

/// The reply, or the call to wait with.
pub(crate) type Polled<T, E> = Result<Result<T, CallError<E>>, Arc<dyn Pending<T, E>>>;

/// A tell that stands in line, or whose caller's turn is over, to wait with; none of one that is through.
pub(crate) type Waits<T, E> = Option<Arc<dyn Pending<T, E>>>;

/// What a call's caller still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// An ask: its reply.
    Reply,
    /// A tell: room in the mailbox.
    Room,
    /// Nothing more: it is a tell, and there was room.
    Told,
    /// Nothing: it was dropped, or timed out.
    Nothing,
}

/// Whether the task of a caller may go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may.
    Lasts,
    /// It has done enough for one turn, and other tasks of its thread come first.
    IsOver,
}

pub(crate) struct Slot<M: Method> {
    to: ActorRef<M::Actor>,
    /// What it is called from.
    up: Option<Arc<Chain>>,
    state: Mutex<State<M>>,
}

struct State<M: Method> {
    stage: Stage<M>,
    wants: Wants,
    caller: Listener<M::Reply, M::Error>,
    /// Whether an argument was passed by reference.
    by_reference: bool,
    /// How often it may be tried again.
    retries: u8,
    /// Whether it may have run in an earlier try.
    ran: bool,
    /// Of a call to another node, until its answer; of a streaming reply also after its first item.
    away: Option<Away<M>>,
    /// Its number among the waits of its caller's frame.
    wait: Option<NonZeroU32>,
}

enum Stage<M: Method> {
    Made(M),
    /// It is at the head of its line, and values take the places of the references that it was passed.
    Resolving,
    /// It is with another node.
    Away,
    /// With the waker of the cell that runs it, if it can be cancelled.
    Begun(Option<Box<Waker>>),
    Done(Result<M::Reply, Box<CallError<M::Error>>>),
    Over,
}

impl<M: Method> State<M> {
    /// One that was made now. Inlined wherever calls are made: what is moved about just after it was written in pieces waits for
    /// its own stores.
    #[inline(always)]
    fn new(message: M, wants: Wants, caller: Listener<M::Reply, M::Error>, by_reference: bool, retries: u8) -> Self {
        State { stage: Stage::Made(message), wants, caller, by_reference, retries, ran: false, away: None, wait: None }
    }

    fn watch(&mut self, cx: &Context<'_>) {
        match &self.caller {
            Listener::Task(caller) if caller.will_wake(cx.waker()) => {}
            _ => self.caller = Listener::Task(cx.waker().clone()),
        }
    }
}

impl<M: Method> Slot<M> {
    #[inline(always)]
    fn new(to: ActorRef<M::Actor>, up: Option<Arc<Chain>>, state: State<M>) -> Arc<Self> {
        Arc::new(Slot { to, up, state: Mutex::new(state) })
    }

    fn refused(&self, reason: EndReason) -> CallError {
        self.to.refused(reason)
    }

    /// Sends it, unless an argument is not there yet, of it or of a call before it.
    #[inline]
    fn push(self: &Arc<Self>, flags: Flags, limit: Option<Duration>) -> Result<Place, CallError> {
        let deadline = limit.map(|limit| clock::now() + limit);
        match self.line() {
            Some(line) => {
                line.enter(Stalled::new(self.clone(), flags, deadline, &line));
                Ok(Place::InLine)
            }
            None => self.send(flags, deadline),
        }
    }

    #[inline]
    fn send(self: &Arc<Self>, flags: Flags, deadline: Option<Moment>) -> Result<Place, CallError> {
        match self.to.route() {
            Route::Local(inbox) => match inbox.mailbox().push(self.clone()) {
                Ok(place) => Ok(place),
                Err(reason) => match inbox.moved() {
                    Some(placed) => self.send_placed(placed, How { flags, deadline, anew: false }),
                    None => Err(self.refused(reason)),
                },
            },
            Route::Elsewhere(there) => self.send_away(there, How { flags, deadline, anew: false }),
        }
    }

    /// Asks; in line if there is no room.
    #[inline]
    fn send_asked(self: Arc<Self>, limit: Option<Duration>) -> Result<Arc<dyn Pending<M::Reply, M::Error>>, CallError> {
        match &self.up {
            Some(frame) if frame.is_frame() => self.ask_in(frame, limit)?,
            _ => drop(self.push(Flags::ASK, limit)?),
        }
        Ok(self)
    }

    /// Asks for an object.
    fn send_submitted(self: Arc<Self>) {
        if let Err(error) = self.push(Flags::ASK, None) {
            self.finish(Err(error.widen()));
        }
    }

    /// Sends it one way; gives it back if it stands in line, or its caller's turn is over.
    fn send_told(self: Arc<Self>, turn: Turn) -> Result<Waits<M::Reply, M::Error>, CallError> {
        Ok(match self.push(Flags::TELL, None)? {
            Place::Admitted => {
                self.state.lock().wants = Wants::Told;
                (turn == Turn::IsOver).then_some(self)
            }
            Place::InLine => {
                if let Some(frame) = self.up.as_ref().filter(|origin| origin.is_frame()) {
                    self.begin_wait(frame);
                }
                Some(self)
            }
        })
    }

    /// Sends it one way if it can go at once; whether it went.
    fn try_send(self: &Arc<Self>) -> Result<bool, CallError> {
        match self.to.route() {
            Route::Local(inbox) => match inbox.mailbox().try_push(|| Item::Call(self.clone())) {
                Ok(pushed) => Ok(pushed),
                Err(reason) => match inbox.moved() {
                    Some(placed) => self.try_send_placed(placed),
                    None => Err(self.refused(reason)),
                },
            },
            Route::Elsewhere(there) => self.try_send_away(there),
        }
    }
}

impl<M: Method> Pending<M::Reply, M::Error> for Slot<M> {
    fn here(&self) -> Option<Arc<dyn Host>> {
        self.to.here()
    }

    fn poll_reply(self: Arc<Self>, cx: &mut Context<'_>) -> Polled<M::Reply, M::Error> {
        // Mostly whoever ran it has let go of it by now, and so has the frame that would wait for it.
        let slot = match alone(self) {
            Ok(mut slot) => match mem::replace(&mut slot.state.get_mut().stage, Stage::Over) {
                Stage::Done(result) => return Ok(result.map_err(|error| *error)),
                stage => {
                    slot.state.get_mut().stage = stage;
                    Arc::new(slot)
                }
            },
            Err(slot) => slot,
        };
        let mut state = slot.state.lock();
        if let Stage::Done(_) = state.stage
            && let Stage::Done(result) = mem::replace(&mut state.stage, Stage::Over)
        {
            drop(state);
            slot.end_wait();
            return Ok(result.map_err(|error| *error));
        }
        state.watch(cx);
        drop(state);
        Err(slot)
    }

    fn poll_admitted(&self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let mut state = self.state.lock();
        if let Stage::Made(_) | Stage::Resolving | Stage::Away = state.stage
            && state.wants != Wants::Told
        {
            state.watch(cx);
            return Poll::Pending;
        }
        let failed = match &state.stage {
            Stage::Done(Err(error)) if state.wants != Wants::Told => error.executed() == Executed::No,
            _ => false,
        };
        let stage = if failed { mem::replace(&mut state.stage, Stage::Over) } else { Stage::Over };
        drop(state);
        self.end_wait();
        Poll::Ready(match stage {
            Stage::Done(Err(error)) => error.into_app().map_or_else(Err, |_| Ok(())),
            _ => Ok(()),
        })
    }

    fn is_left(&self) {
        self.end_wait();
    }

    fn detach(&self) {
        self.end_wait();
        let mut state = self.state.lock();
        state.wants = Wants::Told;
        let reply = match state.stage {
            Stage::Done(_) => mem::replace(&mut state.stage, Stage::Over),
            _ => Stage::Over,
        };
        let caller = mem::take(&mut state.caller);
        drop(state);
        drop((reply, caller));
    }

    fn cancel(&self) -> (Waiting, Executed) {
        self.end_wait();
        self.withdraw(self.state.lock())
    }

    fn target(&self) -> ActorId {
        self.to.id()
    }
}

impl<M: Method> Entry for Slot<M> {
    fn admitted(&self) {
        let mut state = self.state.lock();
        if state.wants != Wants::Room {
            return;
        }
        state.wants = Wants::Told;
        let caller = mem::take(&mut state.caller);
        drop(state);
        caller.wake();
    }

    fn is_abandoned(&self) -> bool {
        matches!(self.state.lock().stage, Stage::Over | Stage::Done(_))
    }
}

impl<M: Method> Job<M::Actor> for Slot<M> {
    fn access(&self) -> Access {
        Access::of::<M>()
    }

    fn begin<'a>(
        self: Arc<Self>,
        actor: &'a mut M::Actor,
        ctx: &'a mut ActorContext<M::Actor>,
        home: &Arc<Inbox<M::Actor>>,
    ) -> Begun<'a, M::Actor> {
        match self.take() {
            Taken::Told(message) => job::begin(message, (Nobody, None), Above::Nobody, actor, ctx, home),
            Taken::Submitted(message, to) => job::begin(message, (to, None), Above::Nobody, actor, ctx, home),
            Taken::Asked(message, slot, above) => job::begin(message, slot, above, actor, ctx, home),
            Taken::Abandoned => Begun::Over(Verdict::Continue),
        }
    }

    fn begin_shared(self: Arc<Self>, actor: Arc<M::Actor>, ctx: ActorContext<M::Actor>) -> BegunShared<M::Actor>
    where
        M::Actor: Sync,
    {
        match self.take() {
            Taken::Told(message) => job::begin_shared(message, (Nobody, None), Above::Nobody, actor, ctx),
            Taken::Submitted(message, to) => job::begin_shared(message, (to, None), Above::Nobody, actor, ctx),
            Taken::Asked(message, slot, above) => job::begin_shared(message, slot, above, actor, ctx),
            Taken::Abandoned => BegunShared::Over(Verdict::Continue),
        }
    }

    fn is_letter(&self) -> bool {
        let state = self.state.lock();
        state.wants == Wants::Told && !state.ran && matches!(state.stage, Stage::Made(_) | Stage::Resolving)
    }

    fn refuse(self: Arc<Self>, reason: EndReason) {
        let error = CallError::ActorDied { actor: self.to.id(), reason, executed: Executed::No };
        self.finish(Err(error));
    }
}

impl<M: Method> Slot<M> {
    #[inline]
    fn finish(&self, result: Result<M::Reply, CallError<M::Error>>) {
        let mut state = self.state.lock();
        if let Stage::Over | Stage::Done(_) = state.stage {
            return;
        }
        let result = if state.ran { result.map_err(CallError::after_a_try) } else { result };
        let caller = match mem::take(&mut state.caller) {
            Listener::Object(sink) => {
                let discarded = mem::replace(&mut state.stage, Stage::Over);
                drop(state);
                drop(discarded);
                return sink.fill(result);
            }
            caller => caller,
        };
        let discarded = match state.wants {
            Wants::Reply | Wants::Room => mem::replace(&mut state.stage, Stage::Done(result.map_err(Box::new))),
            Wants::Told | Wants::Nothing => {
                let discarded = mem::replace(&mut state.stage, Stage::Over);
                drop(state);
                return job::discard((discarded, result));
            }
        };
        drop(state);
        // First: the end of what is discarded is user code.
        caller.wake();
        drop(discarded);
    }
}

impl<M: Method> Outcome<M> for Arc<Slot<M>> {
    fn finish(&self, result: Result<M::Reply, CallError<M::Error>>) {
        Slot::finish(self, result);
    }

    fn poll_cancelled(&self, waker: &Waker) -> bool {
        debug_assert!(M::CANCEL == OnCancel::Drop, "only these keep the cell's waker");
        let mut state = self.state.lock();
        if state.wants == Wants::Nothing {
            return true;
        }
        if let Stage::Begun(cell) = &mut state.stage
            && !cell.as_ref().is_some_and(|cell| cell.will_wake(waker))
        {
            *cell = Some(Box::new(waker.clone()));
        }
        false
    }

    fn abandoned(&self) -> CallError {
        self.local().map_or(CallError::Cancelled { executed: Executed::Yes }, |inbox| inbox.abandoned())
    }

    fn serves(&self) -> Serves {
        Slot::serves(self)
    }

    fn again(&self, kept: &Kept, frame: u64) -> bool {
        Slot::again(self, kept, frame)
    }
}
