//! Handles: the typed address of an actor, the same wherever it lives.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::dispatch::{Actor, Methods};
use super::ending::{End, Ending};
use super::error::{CallError, EndReason, Executed};
use super::frame::Chain;
use super::inbox::{Host, Inbox, Resolved};
use super::job::Access;
use super::lifetime::{Address, At, Keeps};
use super::line::Line;
use super::remote::placed::Placed;
use super::remote::{Here, RemoteActor};
use crate::id::ActorId;
use crate::wire::codec::scope;
use crate::wire::packet::Ref;

/// What every handle can do beside its actor's own methods; those come first where names meet.
///
/// Handles keep their actor: once the last one is gone, wherever it was, what stands in the mailbox still runs, and the
/// actor stops. A handle may be a clone, a field of another actor or of an object, an argument on its way. Handles of
/// *detached* actors keep nothing, and nor does an actor's own [`ctx.handle()`](crate::ActorContext::handle).
pub trait Handle: Clone + fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What it is the address of.
    type Actor: Actor<Handle = Self>;
    /// The typed handle of an address.
    fn from_ref(actor: ActorRef<Self::Actor>) -> Self;
    /// The untyped address.
    fn as_ref(&self) -> &ActorRef<Self::Actor>;

    /// The actor's identity.
    fn id(&self) -> ActorId {
        self.as_ref().id()
    }

    /// Stops the actor: no further call enters, those in its mailbox run, then `on_stop`. Await it for the end.
    ///
    /// Cancel-safe: once polled, the actor stops whether this is awaited to its end or not.
    fn stop(&self) -> Ending<Self::Actor> {
        Ending::new(self.as_ref(), End::Stop)
    }

    /// Ends the actor: what runs is dropped at its next await, what waits never runs, and nor does `on_stop`.
    ///
    /// Cancel-safe: once polled, the actor ends whether this is awaited to its end or not.
    fn kill(&self) -> Ending<Self::Actor> {
        Ending::new(self.as_ref(), End::Kill)
    }

    /// Waits for the actor's end, and asks nothing of it. What waits does not keep the actor.
    fn ended(&self) -> Ending<Self::Actor> {
        Ending::new(self.as_ref(), End::Watch)
    }
}

/// Where calls to an actor go. One of two, so that cloning, dropping and asking a handle take a plain branch.
pub(crate) enum Route<A: Actor> {
    /// It lives in this process.
    Local(Arc<Address<Inbox<A>>>),
    /// It does not, as far as was known when the handle was made.
    Elsewhere(Arc<Elsewhere>),
}

/// An actor that is not of this process.
pub(crate) enum Elsewhere {
    /// It lives on another node.
    Remote(Address<RemoteActor>),
    /// It lives wherever the head has placed it, which was elsewhere, and may place it again.
    Placed(Address<Placed>),
    /// It lives no more.
    Gone(ActorId, EndReason),
}

impl Elsewhere {
    fn id(&self) -> ActorId {
        match self {
            Elsewhere::Remote(actor) => actor.id,
            Elsewhere::Placed(actor) => actor.id,
            Elsewhere::Gone(id, _) => *id,
        }
    }

    /// Where it is, or was last, and how the handle keeps it.
    fn address(&self) -> Result<(At, &Keeps), &EndReason> {
        match self {
            Elsewhere::Remote(actor) => Ok((actor.at(), &actor.keeps)),
            Elsewhere::Placed(actor) => Ok((actor.at(), &actor.keeps)),
            Elsewhere::Gone(_, reason) => Err(reason),
        }
    }

    fn line(&self) -> Option<&OnceLock<Arc<Line>>> {
        match self {
            Elsewhere::Remote(actor) => Some(actor.line()),
            Elsewhere::Placed(actor) => Some(actor.line()),
            Elsewhere::Gone(..) => None,
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Elsewhere::Remote(actor) => actor.has_ended(),
            Elsewhere::Placed(actor) => actor.has_ended(),
            Elsewhere::Gone(..) => true,
        }
    }

    /// The node that the handle is on, unless that is gone.
    pub(crate) fn here(&self) -> Option<Arc<dyn Host>> {
        match self {
            Elsewhere::Remote(actor) => actor.here(),
            Elsewhere::Placed(actor) => actor.here(),
            Elsewhere::Gone(..) => None,
        }
    }
}

impl<A: Actor> Route<A> {
    /// Where this node's calls to it wait for arguments, once one did.
    pub(crate) fn line(&self) -> Option<&OnceLock<Arc<Line>>> {
        match self {
            Route::Local(inbox) => Some(inbox.line()),
            Route::Elsewhere(there) => there.line(),
        }
    }
}

impl<A: Actor> Clone for Route<A> {
    fn clone(&self) -> Self {
        match self {
            Route::Local(inbox) => Route::Local(inbox.clone()),
            Route::Elsewhere(there) => Route::Elsewhere(there.clone()),
        }
    }
}

/// The untyped half of every handle.
pub struct ActorRef<A: Actor> {
    route: Route<A>,
}

impl<A: Actor> ActorRef<A> {
    pub(crate) fn local(inbox: Arc<Inbox<A>>, keeps: Keeps) -> Self {
        ActorRef { route: Route::Local(Arc::new(Address { to: inbox, keeps })) }
    }

    pub(crate) fn remote(to: Arc<RemoteActor>, keeps: Keeps) -> Self {
        Self::elsewhere(Elsewhere::Remote(Address { to, keeps }))
    }

    pub(crate) fn placed(to: Arc<Placed>, keeps: Keeps) -> Self {
        Self::elsewhere(Elsewhere::Placed(Address { to, keeps }))
    }

    fn elsewhere(there: Elsewhere) -> Self {
        ActorRef { route: Route::Elsewhere(Arc::new(there)) }
    }

    /// The address of an actor that a message or the head named.
    pub(crate) fn resolved(id: ActorId, resolved: Resolved, keeps: Keeps) -> Result<Self, WrongType> {
        match resolved {
            Resolved::Here(inbox) => Ok(Self::local(inbox.downcast().map_err(|_| WrongType)?, keeps)),
            Resolved::There(actor) if actor.type_key != A::type_name().key() => Err(WrongType),
            Resolved::There(actor) => Ok(Self::remote(actor, keeps)),
            Resolved::Placed(actor) if actor.type_key != A::type_name().key() => Err(WrongType),
            Resolved::Placed(actor) => Ok(Self::placed(actor, keeps)),
            Resolved::Gone(reason) => Ok(Self::elsewhere(Elsewhere::Gone(id, reason))),
        }
    }

    /// The same address, which keeps nothing.
    pub(crate) fn weakened(&self) -> Self {
        match &self.route {
            Route::Local(inbox) => Self::local(inbox.to.clone(), Keeps::Weak),
            Route::Elsewhere(there) => match &**there {
                Elsewhere::Remote(actor) => Self::remote(actor.to.clone(), Keeps::Weak),
                Elsewhere::Placed(actor) => Self::placed(actor.to.clone(), Keeps::Weak),
                Elsewhere::Gone(..) => self.clone(),
            },
        }
    }

    pub(crate) fn route(&self) -> &Route<A> {
        &self.route
    }

    /// Whether it lives in this process, as far as was known when the handle was made.
    #[inline]
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.route, Route::Local(_))
    }

    /// The actor's identity.
    #[must_use]
    pub fn id(&self) -> ActorId {
        match &self.route {
            Route::Local(inbox) => inbox.id(),
            Route::Elsewhere(there) => there.id(),
        }
    }

    /// The node that calls of it are made on, unless that is gone.
    pub(crate) fn here(&self) -> Option<Arc<dyn Host>> {
        match &self.route {
            Route::Local(inbox) => Some(inbox.host().clone()),
            Route::Elsewhere(there) => there.here(),
        }
    }

    /// Where the actor is that was on this node in an earlier life.
    pub(crate) fn moved(&self) -> Option<&Arc<Placed>> {
        match &self.route {
            Route::Local(inbox) => inbox.moved(),
            Route::Elsewhere(_) => None,
        }
    }

    /// Whether calls go to another node, which has references brought that are read where the objects lie.
    pub(crate) fn goes_away(&self) -> bool {
        match &self.route {
            Route::Local(_) => false,
            Route::Elsewhere(there) => match &**there {
                Elsewhere::Remote(_) => true,
                Elsewhere::Placed(actor) => actor.inbox().is_none(),
                Elsewhere::Gone(..) => false,
            },
        }
    }

    /// The line that a call must stand in: it was passed a reference, or follows a call that waits there.
    #[inline]
    pub(crate) fn line(&self, by_reference: impl FnOnce() -> bool) -> Option<Arc<Line>> {
        // There is none yet where no call was ever passed a reference: most calls look no further.
        let line = self.route.line()?.get()?;
        (line.is_occupied() || by_reference()).then(|| line.clone())
    }

    /// It takes no call, for this reason.
    pub(crate) fn refused(&self, reason: EndReason) -> CallError {
        CallError::ActorDied { actor: self.id(), reason, executed: Executed::No }
    }

    /// Whether the actor has ended once its node has: the head places some of them again.
    pub(crate) fn ends_with_its_node(&self) -> bool {
        match &self.route {
            Route::Local(inbox) => inbox.placement().is_by_spawner(),
            Route::Elsewhere(there) => !matches!(&**there, Elsewhere::Placed(_)),
        }
    }

    /// Whether what a call failed with says that the actor has ended. One that the head places again goes on.
    pub(crate) fn has_ended_by<E>(&self, error: &CallError<E>) -> bool {
        match error {
            CallError::ActorDied { .. } => true,
            CallError::NodeDied { .. } => self.ends_with_its_node(),
            _ => false,
        }
    }

    /// Whether it is known here to have ended.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.route {
            Route::Local(inbox) => match inbox.moved() {
                Some(placed) => placed.has_ended(),
                None => inbox.mailbox().reason().is_some(),
            },
            Route::Elsewhere(there) => there.has_ended(),
        }
    }

    /// Refuses an ask that could never be answered: those who wait for it occupy what it needs. Of an actor elsewhere
    /// its own node says so.
    pub(crate) fn check_cycle(&self, frame: &Chain, access: Access) -> Result<(), CallError>
    where
        A: Methods,
    {
        let (id, executed) = (self.id(), Executed::No);
        if frame.is_too_deep() {
            return Err(CallError::Deadlock { cycle: vec![id, id], executed });
        }
        match &self.route {
            Route::Local(inbox) if frame.passes(id) => match inbox.reentrant(&frame.frames(), access) {
                Some(cycle) => Err(CallError::Deadlock { cycle, executed }),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// The actor is of another type than the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handle is of an actor of another type")]
pub(crate) struct WrongType;

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        ActorRef { route: self.route.clone() }
    }
}

impl<A: Actor> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", A::type_name(), self.id())
    }
}

/// Into the list of references beside a message. Elsewhere nobody would count the handle, so there it is an error.
impl<A: Actor> Serialize for ActorRef<A> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (at, keeps) = match &self.route {
            Route::Local(inbox) => (At { host: inbox.host().life(), placement: inbox.placement() }, &inbox.keeps),
            Route::Elsewhere(there) => there.address().map_err(|reason| {
                S::Error::custom(format_args!("the handle of {} {}: {reason}", A::type_name(), there.id()))
            })?,
        };
        let (actor, type_key, At { host, placement }) = (self.id(), A::type_name().key(), at);
        let (kept, hold) = keeps.to_wire();
        let reference = Ref::Actor { actor, type_key, host, placement, kept };
        to.serialize_u32(scope::put(reference, hold).map_err(S::Error::custom)?)
    }
}

impl<'de, A: Actor> Deserialize<'de> for ActorRef<A> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(from)?;
        let (reference, node) = scope::take(index).map_err(D::Error::custom)?;
        let Ref::Actor { actor, type_key, host: on, placement, kept } = reference else {
            return Err(D::Error::custom(format_args!("the reference is to an object, not to a {}", A::type_name())));
        };
        let here = node.downcast_ref::<Here>().ok_or_else(|| D::Error::custom("handles are decoded by nodes"))?;
        let host = here.0.upgrade().ok_or_else(|| D::Error::custom("the node that decodes is gone"))?;
        let found = match type_key == A::type_name().key() {
            true => {
                let keeps = Keeps::from_wire(kept, scope::take_hold(index).ok());
                ActorRef::resolved(actor, host.resolve(actor, type_key, on, placement), keeps)
            }
            false => Err(WrongType),
        };
        found.map_err(|_| D::Error::custom(format_args!("the handle is not of a {}", A::type_name())))
    }
}
