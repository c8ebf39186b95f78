//! A call that was not sent yet: its message, and whom it is for.
//!
//! One that is told while there is room enters the mailbox as it is: nobody else knows it, and nothing of it is counted. Any
//! other goes into a slot, which its caller and whoever runs it share.

use parking_lot::Mutex;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::{Listener, Pending, Sink, Slot, Stage, State, Turn, Wants};
use crate::actor::args;
use crate::actor::bring;
use crate::actor::context::ActorContext;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed};
use crate::actor::frame::{self, Above, Chain};
use crate::actor::handle::{ActorRef, Route};
use crate::actor::inbox::{Host, Inbox};
use crate::actor::job::{self, Access, Begun, BegunShared, Nobody, Told};
use crate::actor::line::Line;
use crate::actor::mailbox::{Item, Place};
use crate::id::ActorId;
use crate::wire::packet::Flags;

/// A call that was not sent yet, as its caller holds it: reply and error are known, the message is not.
pub(crate) trait Drafted<T, E>: Send + Sync {
    /// How often it is tried again in later runs of its actor.
    fn retry(&mut self, retries: u8);
    /// The node that it is made on.
    fn here(&self) -> Option<Arc<dyn Host>>;
    /// Whom it is for.
    fn target(&self) -> ActorId;
    /// Asks for `sink`, for as long as it takes.
    fn submit(self: Box<Self>, sink: Sink<T, E>);
    /// Asks; in line if there is no room. `limit` is how long `caller` will wait.
    fn ask(self: Box<Self>, limit: Option<Duration>, caller: &Waker) -> Result<Arc<dyn Pending<T, E>>, CallError>;
    /// Sends it one way; gives what to wait with if it stands in line, or its caller's turn is over.
    fn tell(self: Box<Self>, turn: Turn) -> Result<Option<Arc<dyn Pending<T, E>>>, CallError>;
    /// Sends it one way if there is room; gives it back if there is none.
    fn try_tell(self: Box<Self>) -> Result<Option<Box<dyn Drafted<T, E>>>, CallError>;
}

pub(crate) struct Draft<M: Method> {
    /// None once it was told and let go of: then nobody asks where it went, and the count of the actor's addresses does
    /// not travel from the sender's processor to the cell's.
    to: Option<ActorRef<M::Actor>>,
    /// The lock is never taken: who has the draft has it alone, and messages need not be `Sync`.
    message: Mutex<M>,
    /// Whether an argument was passed by reference.
    by_reference: bool,
    retries: u8,
}

impl<M: Method> Draft<M> {
    #[inline]
    pub(crate) fn new(to: ActorRef<M::Actor>, message: M) -> Self {
        let by_reference = message.has_references();
        if by_reference && let Some(line) = to.route().line() {
            line.get_or_init(Arc::default);
        }
        Draft { to: Some(to), message: Mutex::new(message), by_reference, retries: M::RETRIES }
    }

    /// Whom it is for. Who let go of it has it no more.
    #[inline]
    fn to(&self) -> &ActorRef<M::Actor> {
        self.to.as_ref().expect("a draft is for somebody until it is let go of")
    }

    /// The slot that its caller and whoever runs it share.
    #[inline]
    fn into_slot(self, wants: Wants, caller: Listener<M::Reply, M::Error>, up: Option<Arc<Chain>>) -> Arc<Slot<M>> {
        let Draft { to, message, by_reference, retries } = self;
        let to = to.expect("a draft is for somebody until it is let go of");
        Slot::new(to, up, State { by_reference, ..State::new(message.into_inner(), wants, caller, retries) })
    }

    /// Tells an actor of this process if there is room; gives it back if it was not taken.
    #[inline]
    fn let_go(mut self: Box<Self>) -> Result<Option<Box<Self>>, CallError> {
        if self.retries > 0 || !matches!(self.to().route(), Route::Local(_)) || self.line().is_some() {
            return Ok(Some(self));
        }
        let Some(to) = self.to.take() else { return Ok(Some(self)) };
        let Route::Local(inbox) = to.route() else { return Ok(Some(self)) };
        let mut draft = Some(self);
        let pushed = inbox.mailbox().try_push(|| Item::Told(draft.take().expect("asked for once")));
        let Some(mut draft) = draft else { return Ok(None) };
        let left = match pushed {
            Err(reason) if to.moved().is_none() => Err(to.refused(reason)),
            _ => Ok(()),
        };
        draft.to = Some(to);
        left.map(|()| Some(draft))
    }

    /// The line that it must stand in.
    fn line(&self) -> Option<Arc<Line>> {
        self.to().line(|| self.by_reference)
    }

    /// Whether its actor is in this process, and was not placed elsewhere since.
    fn stays(&self) -> bool {
        matches!(self.to().route(), Route::Local(_)) && self.to().moved().is_none()
    }

    /// What it is called from, if that is to be said: an actor of this process that is told or submitted to could be
    /// nobody else's.
    fn origin(&self) -> Option<Arc<Chain>> {
        if self.stays() { None } else { frame::origin() }
    }

    /// Puts values in the places of the references that it was passed; `false` if one is not there yet, or a call before it
    /// waits.
    fn resolve_now(&mut self) -> Result<bool, CallError> {
        let Some(line) = self.line() else { return Ok(true) };
        if line.is_occupied() {
            return Ok(false);
        }
        let (away, message) = (self.to().goes_away(), self.message.get_mut());
        let gathered = bring::gather(message);
        if args::references(message).iter().any(|entry| !entry.is_settled()) || !(away || gathered.is_whole()) {
            return Ok(false);
        }
        let resolved = if away { args::leave(message, |_| false) } else { args::resolve(message) };
        resolved.map_err(|(object, why)| CallError::Argument { object, why })?;
        Ok(true)
    }

    /// Sends one way what is to leave this process or may be tried again, if that can be at once; gives it back if not.
    fn try_send(self) -> Result<Option<Self>, CallError> {
        let (origin, by_reference) = (self.origin(), self.by_reference);
        let slot = self.into_slot(Wants::Nothing, Listener::Nobody, origin);
        let sent = match slot.to.route() {
            Route::Local(inbox) => match slot.to.moved() {
                Some(placed) => slot.try_send_placed(placed)?.is_some(),
                None => {
                    let pushed = inbox.mailbox().try_push(|| Item::Call(slot.clone()));
                    pushed.map_err(|reason| slot.to.refused(reason))?
                }
            },
            Route::Elsewhere(there) => slot.try_send_away(there)?.is_some(),
        };
        if sent {
            return Ok(None);
        }
        let mut state = slot.state.lock();
        let retries = state.retries;
        let Stage::Made(message) = mem::replace(&mut state.stage, Stage::Over) else {
            return Err(CallError::Cancelled { executed: Executed::No });
        };
        drop(state);
        let (to, message) = (Some(slot.to.clone()), Mutex::new(message));
        Ok(Some(Draft { to, message, by_reference, retries }))
    }
}

impl<M: Method> Drafted<M::Reply, M::Error> for Draft<M> {
    fn retry(&mut self, retries: u8) {
        self.retries = retries;
    }

    fn here(&self) -> Option<Arc<dyn Host>> {
        self.to().here()
    }

    fn target(&self) -> ActorId {
        self.to().id()
    }

    fn submit(self: Box<Self>, sink: Sink<M::Reply, M::Error>) {
        let origin = self.origin();
        let slot = self.into_slot(Wants::Reply, Listener::Object(sink), origin);
        if let Err(error) = slot.push(Flags::ASK, None) {
            slot.finish(Err(error.widen()));
        }
    }

    fn ask(
        self: Box<Self>,
        limit: Option<Duration>,
        caller: &Waker,
    ) -> Result<Arc<dyn Pending<M::Reply, M::Error>>, CallError> {
        let slot = self.into_slot(Wants::Reply, Listener::Task(caller.clone()), frame::origin());
        match &slot.up {
            Some(frame) if frame.is_frame() => slot.ask_in(frame, limit)?,
            _ => drop(slot.push(Flags::ASK, limit)?),
        }
        Ok(slot)
    }

    fn tell(self: Box<Self>, turn: Turn) -> Result<Option<Arc<dyn Pending<M::Reply, M::Error>>>, CallError> {
        let left = match turn {
            Turn::Lasts => self.let_go()?,
            Turn::IsOver => Some(self),
        };
        let Some(draft) = left else { return Ok(None) };
        let slot = draft.into_slot(Wants::Room, Listener::Nobody, frame::origin());
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

    fn try_tell(self: Box<Self>) -> Result<Option<Box<dyn Drafted<M::Reply, M::Error>>>, CallError> {
        let Some(mut draft) = self.let_go()? else { return Ok(None) };
        if !draft.resolve_now()? {
            return Ok(Some(draft));
        }
        let left = match draft.stays() && draft.retries == 0 {
            // With its values in their places it is as any other.
            true if mem::take(&mut draft.by_reference) => draft.let_go()?,
            true => Some(draft),
            false => draft.try_send()?.map(Box::new),
        };
        Ok(left.map(|draft| draft as Box<dyn Drafted<M::Reply, M::Error>>))
    }
}

impl<M: Method> Told<M::Actor> for Draft<M> {
    fn access(&self) -> Access {
        Access::of::<M>()
    }

    fn begin<'a>(
        self: Box<Self>,
        actor: &'a mut M::Actor,
        ctx: &'a mut ActorContext<M::Actor>,
        home: &Arc<Inbox<M::Actor>>,
    ) -> Begun<'a, M::Actor> {
        job::begin(self.message.into_inner(), (Nobody, None), Above::Nobody, actor, ctx, home)
    }

    fn begin_shared(self: Box<Self>, actor: Arc<M::Actor>, ctx: ActorContext<M::Actor>) -> BegunShared<M::Actor>
    where
        M::Actor: Sync,
    {
        job::begin_shared(self.message.into_inner(), (Nobody, None), Above::Nobody, actor, ctx)
    }
}
