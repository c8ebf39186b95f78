//! The one allocation of a call: its arguments, its reply and its caller's waker. The mailbox holds a pointer to it.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::mem;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::context::ActorContext;
use super::dispatch::{Method, OnCancel};
use super::error::{CallError, EndReason, Executed, Waiting};
use super::frame::{self, Above, Chain, Serves};
use super::handle::{ActorRef, Route};
use super::inbox::Inbox;
use super::job::{self, Access, Begun, BegunShared, Job, Nobody, Outcome, Verdict};
use super::mailbox::{Entry, Place};
use super::remote::placed::How;
use super::restart::Kept;
use crate::clock::{self, Moment};
use crate::id::{ActorId, Life};
use crate::object::entry::Entry as Object;
use crate::sync::alone::alone;
use crate::wire::packet::Flags;

mod away;
mod placed;
mod repeat;
mod retry;
mod stalled;
mod submit;
mod take;
mod wait;
use away::Away;
pub(crate) use repeat::{Repeat, Replied};
use stalled::Stalled;
use submit::Awaited;
pub(crate) use submit::{Listener, Sink, to_get_error};
use take::Taken;

/// A call as its caller holds it: reply and error are known, the message is not.
pub(crate) trait Pending<T, E>: Send + Sync {
    /// How often it is tried again in later runs of its actor. Only ever said before it is sent.
    fn retry(&mut self, retries: u8);
    /// Notes whom the reply is to wake. Only ever called while no mailbox knows the call.
    fn prepare(&mut self, caller: &Waker);
    /// An object for its reply, which may have failed already.
    fn promise(&self) -> Arc<Object>;
    /// Asks for `sink`, for as long as it takes.
    fn submit(self: Arc<Self>, sink: Sink<T, E>);
    /// Runs a task on the node that the call is made on.
    fn run(&self, task: BoxFuture<'static, ()>);
    /// Asks; in line if there is no room. `limit` is how long its caller will wait. Gives it back to wait with.
    fn ask(self: Arc<Self>, limit: Option<Duration>) -> Result<Arc<dyn Pending<T, E>>, CallError>;
    /// Sends it one way; gives it back if it stands in line, or its caller's turn is over.
    fn tell(self: Arc<Self>, turn: Turn) -> Result<Option<Arc<dyn Pending<T, E>>>, CallError>;
    /// Sends it one way if there is room; gives it back if there is none.
    fn try_tell(self: Arc<Self>) -> Result<Option<Arc<dyn Pending<T, E>>>, CallError>;
    /// The reply; gives it back if there is none yet, to be woken.
    fn poll_reply(self: Arc<Self>, cx: &mut Context<'_>) -> Polled<T, E>;
    /// Ready when there was room for it.
    fn poll_admitted(&self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>>;
    /// Its caller no longer waits. Says how far it had come.
    fn cancel(&self) -> (Waiting, Executed);
    /// What it waits for.
    fn target(&self) -> ActorId;
}

/// The reply, or the call to wait with.
pub(crate) type Polled<T, E> = Result<Result<T, CallError<E>>, Arc<dyn Pending<T, E>>>;

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
    /// None once it was told and let go of: then nobody asks where it went, and the count of the actor's addresses does
    /// not travel from the sender's processor to the cell's.
    to: Option<ActorRef<M::Actor>>,
    /// What it is called from. Not said where an actor of this process is told or submitted to, whom nobody else could be.
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

impl<M: Method> Slot<M> {
    #[inline]
    pub(crate) fn new(to: ActorRef<M::Actor>, message: M) -> Self {
        let (wants, caller) = (Wants::Nothing, Listener::Nobody);
        let by_reference = message.has_references();
        if by_reference && let Some(line) = to.route().line() {
            line.get_or_init(Arc::default);
        }
        let state = State {
            stage: Stage::Made(message),
            wants,
            caller,
            by_reference,
            retries: M::RETRIES,
            ran: false,
            away: None,
            wait: None,
        };
        Slot { to: Some(to), up: None, state: Mutex::new(state) }
    }

    fn refused(&self, reason: EndReason) -> CallError {
        CallError::ActorDied { actor: self.id(), reason, executed: Executed::No }
    }

    #[inline]
    fn route(&self) -> Option<&Route<M::Actor>> {
        self.to.as_ref().map(ActorRef::route)
    }

    /// Whom it is for; of one that was told and let go of, nobody asks.
    fn id(&self) -> ActorId {
        self.to.as_ref().map_or(ActorId { life: Life(0), serial: 0 }, ActorRef::id)
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
        match self.route() {
            None => Err(self.refused(EndReason::Unknown)),
            Some(Route::Local(inbox)) => match inbox.mailbox().push(self.clone()) {
                Ok(place) => Ok(place),
                Err(reason) => match inbox.moved() {
                    Some(placed) => self.send_placed(placed, How { flags, deadline, anew: false }),
                    None => Err(self.refused(reason)),
                },
            },
            Some(Route::Elsewhere(there)) => self.send_away(there, How { flags, deadline, anew: false }),
        }
    }

    /// Tells an actor of this process if there is room, and lets go of the message; gives it back if it was not taken.
    #[inline]
    fn let_go(mut self: Arc<Self>) -> Result<Option<Arc<Self>>, CallError> {
        // No mailbox knows it yet.
        let Some(slot) = Arc::get_mut(&mut self) else { return Ok(Some(self)) };
        let retries = slot.state.get_mut().retries;
        if !matches!(slot.route(), Some(Route::Local(_))) || slot.line().is_some() || retries > 0 {
            return Ok(Some(self));
        }
        let Some(to) = slot.to.take() else { return Ok(Some(self)) };
        let Route::Local(inbox) = to.route() else { return Ok(Some(self)) };
        let mut message = Some(self);
        let pushed = inbox.mailbox().try_push(|| message.take().expect("asked for once"));
        if let Some(slot) = message.as_mut().and_then(Arc::get_mut) {
            slot.to = Some(to);
        }
        match (pushed, message) {
            (Ok(_), message) => Ok(message),
            (Err(_), Some(message)) if message.moved().is_some() => Ok(Some(message)),
            (Err(reason), Some(message)) => Err(message.refused(reason)),
            (Err(_), None) => Ok(None),
        }
    }
}

impl<M: Method> Pending<M::Reply, M::Error> for Slot<M> {
    fn retry(&mut self, retries: u8) {
        self.state.get_mut().retries = retries;
    }

    fn prepare(&mut self, caller: &Waker) {
        let state = self.state.get_mut();
        (state.wants, state.caller) = (Wants::Reply, Listener::Task(caller.clone()));
        self.up = frame::origin();
    }

    fn promise(&self) -> Arc<Object> {
        Slot::promise(self)
    }

    fn run(&self, task: BoxFuture<'static, ()>) {
        self.run_beside(task);
    }

    fn submit(self: Arc<Self>, sink: Sink<M::Reply, M::Error>) {
        self.ask_for(sink);
    }

    fn ask(self: Arc<Self>, limit: Option<Duration>) -> Result<Arc<dyn Pending<M::Reply, M::Error>>, CallError> {
        match &self.up {
            Some(frame) if frame.is_frame() => self.ask_in(frame, limit)?,
            _ => drop(self.push(Flags::ASK, limit)?),
        }
        Ok(self)
    }

    fn tell(self: Arc<Self>, turn: Turn) -> Result<Option<Arc<dyn Pending<M::Reply, M::Error>>>, CallError> {
        let left = match turn {
            Turn::Lasts => self.let_go()?,
            Turn::IsOver => Some(self),
        };
        let Some(mut slot) = left else { return Ok(None) };
        if let Some(slot) = Arc::get_mut(&mut slot) {
            slot.state.get_mut().wants = Wants::Room;
            slot.up = frame::origin();
        }
        Ok(match slot.push(Flags::TELL, None)? {
            Place::Admitted if turn == Turn::Lasts => None,
            Place::Admitted => {
                slot.state.lock().wants = Wants::Told;
                Some(slot)
            }
            Place::InLine => {
                if let Some(frame) = slot.up.as_ref().filter(|origin| origin.is_frame()) {
                    slot.begin_wait(frame);
                }
                Some(slot)
            }
        })
    }

    fn try_tell(self: Arc<Self>) -> Result<Option<Arc<dyn Pending<M::Reply, M::Error>>>, CallError> {
        let Some(mut slot) = self.let_go()? else { return Ok(None) };
        if !slot.resolve_now()? {
            return Ok(Some(slot));
        }
        slot.note_origin();
        // With its values in their places it is as any other.
        if matches!(slot.route(), Some(Route::Local(_)))
            && let Some(resolved) = Arc::get_mut(&mut slot)
            && mem::take(&mut resolved.state.get_mut().by_reference)
        {
            return Ok(slot.let_go()?.map(|slot| slot as Arc<dyn Pending<M::Reply, M::Error>>));
        }
        match slot.route() {
            Some(Route::Local(inbox)) if let Some(placed) = inbox.moved() => {
                Ok(slot.try_send_placed(placed)?.is_none().then_some(slot))
            }
            None | Some(Route::Local(_)) => Ok(Some(slot)),
            Some(Route::Elsewhere(there)) => Ok(slot.try_send_away(there)?.is_none().then_some(slot)),
        }
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

    fn cancel(&self) -> (Waiting, Executed) {
        self.end_wait();
        self.withdraw(self.state.lock())
    }

    fn target(&self) -> ActorId {
        self.id()
    }
}

impl<M: Method> State<M> {
    fn watch(&mut self, cx: &Context<'_>) {
        match &self.caller {
            Listener::Task(caller) if caller.will_wake(cx.waker()) => {}
            _ => self.caller = Listener::Task(cx.waker().clone()),
        }
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

    fn refuse(self: Arc<Self>, reason: EndReason) {
        let (actor, ran) = (self.id(), self.state.lock().ran);
        let executed = if ran { Executed::Maybe } else { Executed::No };
        let error = CallError::ActorDied { actor, reason, executed };
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
        let caller = match mem::take(&mut state.caller) {
            Listener::Object(sink) => {
                state.stage = Stage::Over;
                drop(state);
                return sink.fill(result);
            }
            caller => caller,
        };
        let discarded = match state.wants {
            Wants::Reply | Wants::Room => mem::replace(&mut state.stage, Stage::Done(result.map_err(Box::new))),
            Wants::Told | Wants::Nothing => {
                state.stage = Stage::Over;
                drop(state);
                return drop(result);
            }
        };
        drop(state);
        drop(discarded);
        caller.wake();
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
