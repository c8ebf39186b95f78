//! A call that was not sent yet: its message, and whom it is for.
//!
//! One that is told enters the mailbox of an actor of this process as it is, if there is room, it waits for no argument and is
//! not to be tried again: then nobody else knows it. Any other goes into a slot, which its caller and whoever runs it share. One to
//! an actor elsewhere is born as a slot (`unsent`).

use parking_lot::Mutex;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::{Listener, Pending, Sink, Slot, Stage, State, Turn, Waits, Wants};
use crate::actor::args;
use crate::actor::bring;
use crate::actor::context::ActorContext;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed};
use crate::actor::frame::{self, Above, Chain};
use crate::actor::handle::{ActorRef, Route};
use crate::actor::inbox::{Host, Inbox};
use crate::actor::job::{self, Access, Begun, BegunShared, Nobody, Told};
use crate::actor::mailbox::Item;
use crate::id::ActorId;

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
    fn tell(self: Box<Self>, turn: Turn) -> Result<Waits<T, E>, CallError>;
    /// Sends it one way if there is room; gives it back if there is none.
    fn try_tell(self: Box<Self>) -> Result<Option<Box<dyn Drafted<T, E>>>, CallError>;
}

pub(crate) struct Draft<M: Method> {
    /// None in a mailbox: nobody asks there where it went, and the count of the actor's addresses does not travel from the
    /// sender's processor to the cell's.
    to: Option<ActorRef<M::Actor>>,
    /// The lock is never taken: who has the draft has it alone, and messages need not be `Sync`.
    message: Mutex<M>,
    /// Whether an argument was passed by reference.
    by_reference: bool,
    retries: u8,
}

/// Whether an argument was passed by reference: then there is a line where it is waited for.
#[inline]
pub(super) fn noted<M: Method>(to: &ActorRef<M::Actor>, message: &M) -> bool {
    let by_reference = message.has_references();
    if by_reference && let Some(line) = to.route().line() {
        line.get_or_init(Arc::default);
    }
    by_reference
}

/// Only a mailbox has one that is for nobody.
const ADDRESSED: &str = "a draft is for somebody until a mailbox has it";

impl<M: Method> Draft<M> {
    #[inline]
    pub(crate) fn new(to: ActorRef<M::Actor>, message: M) -> Self {
        let by_reference = noted(&to, &message);
        Draft::again(to, message, by_reference, M::RETRIES)
    }

    pub(super) fn again(to: ActorRef<M::Actor>, message: M, by_reference: bool, retries: u8) -> Self {
        Draft { to: Some(to), message: Mutex::new(message), by_reference, retries }
    }

    #[inline]
    fn to(&self) -> &ActorRef<M::Actor> {
        self.to.as_ref().expect(ADDRESSED)
    }

    /// The slot that its caller and whoever runs it share.
    #[inline(always)]
    fn into_slot(self, wants: Wants, caller: Listener<M::Reply, M::Error>, up: Option<Arc<Chain>>) -> Arc<Slot<M>> {
        let Draft { to, message, by_reference, retries } = self;
        Slot::new(to.expect(ADDRESSED), up, State::new(message.into_inner(), wants, caller, by_reference, retries))
    }

    /// Tells an actor of this process if there is room; gives it back if it was not taken.
    #[inline]
    fn tell_now(mut self: Box<Self>) -> Result<Option<Box<Self>>, CallError> {
        let to = self.to.take().expect(ADDRESSED);
        let plain = self.retries == 0 && to.line(|| self.by_reference).is_none();
        let mut draft = Some(self);
        let pushed = match to.route() {
            Route::Local(inbox) if plain => {
                inbox.mailbox().try_push(|| Item::Told(draft.take().expect("asked for once")))
            }
            _ => Ok(false),
        };
        let Some(mut draft) = draft else { return Ok(None) };
        let left = match pushed {
            Err(reason) if to.moved().is_none() => Err(to.refused(reason)),
            _ => Ok(()),
        };
        draft.to = Some(to);
        left.map(|()| Some(draft))
    }

    /// Puts values in the places of the references that it was passed; `false` if one is not there yet, or a call before it
    /// waits.
    fn resolve_now(&mut self) -> Result<bool, CallError> {
        let Some(line) = self.to().line(|| self.by_reference) else { return Ok(true) };
        if line.is_occupied() {
            return Ok(false);
        }
        let (away, message) = (self.to().goes_away(), self.message.get_mut());
        let gathered = bring::gather(message);
        if args::references(message).iter().any(|entry| !entry.is_settled()) || !(away || gathered.is_whole()) {
            return Ok(false);
        }
        let resolved = if away { args::leave(message, |_| false) } else { args::resolve(message) };
        resolved.map_err(CallError::absent)?;
        Ok(true)
    }

    /// Sends it one way as what may be needed again, if it can go at once; gives it back if it cannot.
    fn try_send(self) -> Result<Option<Self>, CallError> {
        let by_reference = self.by_reference;
        let slot = self.into_slot(Wants::Told, Listener::Nobody, frame::origin());
        if slot.try_send()? {
            return Ok(None);
        }
        let mut state = slot.state.lock();
        let (retries, stage) = (state.retries, mem::replace(&mut state.stage, Stage::Over));
        drop(state);
        // Nobody else knew it.
        let Stage::Made(message) = stage else { return Err(CallError::Cancelled { executed: Executed::No }) };
        Ok(Some(Draft::again(slot.to.clone(), message, by_reference, retries)))
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

    fn submit(mut self: Box<Self>, sink: Sink<M::Reply, M::Error>) {
        let passed = if self.by_reference { args::references(self.message.get_mut()) } else { Vec::new() };
        sink.made_by(self.to().id(), M::KEY, &passed);
        self.into_slot(Wants::Reply, Listener::Object(sink), frame::origin()).send_submitted();
    }

    fn ask(
        self: Box<Self>,
        limit: Option<Duration>,
        caller: &Waker,
    ) -> Result<Arc<dyn Pending<M::Reply, M::Error>>, CallError> {
        self.into_slot(Wants::Reply, Listener::Task(caller.clone()), frame::origin()).send_asked(limit)
    }

    fn tell(self: Box<Self>, turn: Turn) -> Result<Waits<M::Reply, M::Error>, CallError> {
        let left = match turn {
            Turn::Lasts => self.tell_now()?,
            Turn::IsOver => Some(self),
        };
        let Some(draft) = left else { return Ok(None) };
        draft.into_slot(Wants::Room, Listener::Nobody, frame::origin()).send_told(turn)
    }

    fn try_tell(self: Box<Self>) -> Result<Option<Box<dyn Drafted<M::Reply, M::Error>>>, CallError> {
        let Some(mut draft) = self.tell_now()? else { return Ok(None) };
        if !draft.resolve_now()? {
            return Ok(Some(draft));
        }
        let left = draft.try_send()?;
        Ok(left.map(|draft| Box::new(draft) as Box<dyn Drafted<M::Reply, M::Error>>))
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
