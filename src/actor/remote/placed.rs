//! An actor that the head may place again, as the handles of one node reach it: they find it by themselves (PROTOCOLS §1.15).
//! [`Course`] says when a call goes, and in which order; here is the lock around it.

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

use super::RemoteActor;
use super::anew::Anew;
use crate::actor::core::course::{self, Course, Former};
use crate::actor::error::{CallError, EndReason, Executed};
use crate::actor::inbox::Host;
use crate::actor::lifetime::At;
use crate::actor::line::Line;
use crate::clock::Moment;
use crate::id::{ActorId, Key, NodeId};
use crate::wire::packet::Flags;

pub(crate) use crate::actor::core::course::{Lost, after};

/// Where its calls go.
#[derive(Clone)]
pub(crate) enum Binding {
    /// To another node.
    There(Arc<RemoteActor>),
    /// To this inbox: an [`Inbox`](crate::actor::inbox::Inbox) of the actor's type.
    Here(Arc<dyn Any + Send + Sync>),
}

impl Binding {
    fn is(&self, at: &Arc<RemoteActor>) -> bool {
        matches!(self, Binding::There(there) if Arc::ptr_eq(there, at))
    }
}

/// How a call is sent.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) flags: Flags,
    /// When its caller stops waiting.
    pub(crate) deadline: Option<Moment>,
    /// Whether it is made once more for a reply that is lost: on a stream of its own, since calls that stand in the other may
    /// wait for that reply.
    pub(crate) anew: bool,
}

/// A call that is sent once the actor is found.
pub(crate) trait Resend: Send + Sync {
    /// Sends it; what must be done before is given back, to be awaited.
    fn resend(self: Arc<Self>, to: &Binding, out: Out, how: How) -> Option<BoxFuture<'static, ()>>;
    /// It is not sent any more; it knows itself whether it may have run where it was sent before.
    fn give_up(&self, error: CallError);
}

/// A call in line.
pub(crate) struct Queued {
    pub(crate) call: Arc<dyn Resend>,
    pub(crate) how: How,
}

/// Whether a call goes now.
pub(crate) enum Entered {
    /// There.
    Goes(Binding, Out),
    /// It stands in line.
    Waits,
}

struct State {
    /// Where it is, or was last.
    at: At,
    node: Option<NodeId>,
    course: Course<Binding, Queued, EndReason>,
}

/// Such an actor: one for all its handles of a node.
pub(crate) struct Placed {
    pub(crate) id: ActorId,
    pub(crate) type_key: Key,
    host: Weak<dyn Host>,
    /// Calls that wait for arguments; made by the first.
    arguments: OnceLock<Arc<Line>>,
    state: Mutex<State>,
    /// Told when it is found, or will not be.
    settled: Notify,
    /// Calls that are made once more.
    anew: Anew,
}

/// A call that is out: until this is dropped the actor is not sought, since the call may have to be sent again.
pub(crate) struct Out {
    actor: Arc<Placed>,
    order: u64,
}

impl Out {
    /// The actor was lost while the call was out: it goes again once that is found.
    pub(crate) fn again(self, queued: Queued) {
        self.actor.state.lock().course.again(self.order, queued);
    }

    /// Its place in the order of first sending.
    pub(crate) fn order(&self) -> u64 {
        self.order
    }

    /// Whose call it is.
    pub(crate) fn actor(&self) -> &Arc<Placed> {
        &self.actor
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let mut state = self.actor.state.lock();
        state.course.returns();
        self.actor.seek_if_due(state);
    }
}

impl Placed {
    /// One that is there, or was: then it is sought by the first call.
    pub(crate) fn new(
        (id, type_key): (ActorId, Key),
        at: At,
        there: Result<Arc<RemoteActor>, Lost>,
        host: &Arc<dyn Host>,
    ) -> Arc<Self> {
        let node = there.as_ref().ok().map(|there| there.peer.node());
        let state = State { at, node, course: Course::new(there.map(Binding::There)) };
        let (host, arguments, settled) = (Arc::downgrade(host), OnceLock::new(), Notify::new());
        Arc::new(Placed { id, type_key, host, arguments, state: Mutex::new(state), settled, anew: Anew::default() })
    }

    /// Calls that are made once more.
    pub(super) fn anew(&self) -> &Anew {
        &self.anew
    }

    /// Where calls wait for arguments, once one did.
    pub(crate) fn line(&self) -> &OnceLock<Arc<Line>> {
        &self.arguments
    }

    /// The node that calls it, unless that is gone.
    pub(crate) fn here(&self) -> Option<Arc<dyn Host>> {
        self.host.upgrade()
    }

    /// Where it is, or was last.
    pub(crate) fn at(&self) -> At {
        self.state.lock().at
    }

    /// Whether it is known to have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.why_gone().is_some()
    }

    /// Why it has ended, if that is known.
    pub(crate) fn why_gone(&self) -> Option<EndReason> {
        self.state.lock().course.gone().cloned()
    }

    /// Its inbox, if it is on this node.
    pub(crate) fn inbox(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match self.state.lock().course.bound() {
            Some(Binding::Here(inbox)) => Some(inbox.clone()),
            _ => None,
        }
    }

    /// Lets a call go, or has it stand in line; `queued` makes what stands there.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn enter(self: &Arc<Self>, queued: impl FnOnce() -> Queued) -> Result<Entered, EndReason> {
        let mut state = self.state.lock();
        let entered = state.course.enter()?;
        Ok(self.entered(state, entered, queued))
    }

    /// The same of a call that is made once more, and has its order.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn enter_anew(
        self: &Arc<Self>,
        order: u64,
        queued: impl FnOnce() -> Queued,
    ) -> Result<Entered, EndReason> {
        let mut state = self.state.lock();
        let entered = state.course.enter_anew(order)?;
        Ok(self.entered(state, entered, queued))
    }

    fn entered(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        entered: course::Entered<Binding>,
        queued: impl FnOnce() -> Queued,
    ) -> Entered {
        match entered {
            course::Entered::Goes(binding, order) => {
                return Entered::Goes(binding, Out { actor: self.clone(), order });
            }
            course::Entered::Waits(order) => state.course.again(order, queued()),
        }
        self.seek_if_due(state);
        Entered::Waits
    }

    /// Lets a call go if it may at once.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Option<(Binding, Out)>, EndReason> {
        let mut state = self.state.lock();
        if let course::Entered::Goes(binding, order) = state.course.enter()? {
            return Ok(Some((binding, Out { actor: self.clone(), order })));
        }
        state.course.asks();
        self.seek_if_due(state);
        Ok(None)
    }

    /// It is not there any more.
    pub(crate) fn lost(&self, at: &Arc<RemoteActor>, why: Lost) {
        let former = self.state.lock().course.lost(|binding| binding.is(at), why);
        drop(former);
    }

    /// Its inbox on this node has ended with the node's life.
    pub(crate) fn lost_here(&self, inbox: &Arc<dyn Any + Send + Sync>) {
        let is_it = |binding: &Binding| matches!(binding, Binding::Here(here) if Arc::ptr_eq(here, inbox));
        let former = self.state.lock().course.lost(is_it, Lost::NotHere);
        drop(former);
    }

    fn seek_if_due(self: &Arc<Self>, state: MutexGuard<'_, State>) {
        let seeks = state.course.seeks();
        drop(state);
        if seeks {
            self.seek();
        }
    }

    fn seek(self: &Arc<Self>) {
        let mut state = self.state.lock();
        // Who comes first seeks.
        let Some(why) = state.course.seek() else { return };
        let at = state.at;
        drop(state);
        match self.here() {
            Some(host) => host.seek(self.clone(), at, why),
            None => self.gone(EndReason::ShutDown),
        }
    }

    /// It is found: what stands in line goes there, and then what is new.
    pub(crate) async fn found(self: &Arc<Self>, binding: Binding, at: At) {
        let former = {
            let mut state = self.state.lock();
            state.at = at;
            if let Binding::There(there) = &binding {
                state.node = Some(there.peer.node());
            }
            state.course.found(binding.clone())
        };
        drop(former);
        while let Some((out, queued)) = self.next_in_line() {
            if let Some(first) = queued.call.resend(&binding, out, queued.how) {
                first.await;
            }
        }
        self.settled.notify_waiters();
    }

    fn next_in_line(self: &Arc<Self>) -> Option<(Out, Queued)> {
        let (order, queued) = self.state.lock().course.next_in_line()?;
        Some((Out { actor: self.clone(), order }, queued))
    }

    /// It has ended.
    pub(crate) fn gone(&self, reason: EndReason) {
        let left = self.state.lock().course.ends(reason.clone());
        self.give_up(left, &reason);
    }

    /// The head cannot be asked: those in line fail, and the next one has it asked again.
    pub(crate) fn not_found(&self, why: Lost) {
        let left = self.state.lock().course.not_found(why);
        self.give_up(left, &EndReason::NodeDied);
    }

    fn give_up(&self, (line, former): (BTreeMap<u64, Queued>, Former<Binding, EndReason>), reason: &EndReason) {
        drop(former);
        self.settled.notify_waiters();
        for queued in line.into_values() {
            queued.call.give_up(self.refused(reason));
        }
    }

    /// A call to an actor that has ended, which did not go there.
    pub(crate) fn refused(&self, reason: &EndReason) -> CallError {
        let (node, executed) = (self.state.lock().node, Executed::No);
        match (reason, node) {
            (EndReason::NodeDied, Some(node)) => CallError::NodeDied { node, executed },
            _ => CallError::ActorDied { actor: self.id, reason: reason.clone(), executed },
        }
    }

    /// Where it is, once it is found.
    ///
    /// # Errors
    /// Why it has ended; none if the head cannot be asked.
    pub(crate) async fn whereabouts(self: &Arc<Self>) -> Result<Binding, Option<EndReason>> {
        let mut asked = false;
        loop {
            let mut told = std::pin::pin!(self.settled.notified());
            told.as_mut().enable();
            let seeks = {
                let mut state = self.state.lock();
                if let Some(binding) = state.course.bound() {
                    return Ok(binding.clone());
                }
                if let Some(reason) = state.course.gone() {
                    return Err(Some(reason.clone()));
                }
                if asked && state.course.is_lost() {
                    return Err(None);
                }
                state.course.asks();
                state.course.seeks()
            };
            if seeks {
                asked = true;
                self.seek();
            }
            told.await;
        }
    }
}
