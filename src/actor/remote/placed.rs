//! An actor that the head may place again, as the handles of one node reach it: they find it by themselves (PROTOCOLS §1.15).
//!
//! ```text
//! bound ──its host has ended, or has it no more──▶ lost ──no call is out, and someone asks──▶ sought ──found──▶ moving ──▶ bound
//!                                                                                               └ it has ended ──▶ gone
//! ```
//!
//! Calls have an order of first sending. What is to be sent again stands in a line by that order, and so does what comes
//! meanwhile; when the actor is found they go in that order, and only then what is new.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

use super::RemoteActor;
use crate::actor::error::{CallError, EndReason, Executed};
use crate::actor::inbox::Host;
use crate::actor::lifetime::At;
use crate::actor::line::Line;
use crate::clock::Moment;
use crate::id::{ActorId, Key, NodeId, Placement};
use crate::wire::packet::Flags;

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
}

/// A call that is sent once the actor is found.
pub(crate) trait Resend: Send + Sync {
    /// Sends it; what must be done before is given back, to be awaited.
    fn resend(self: Arc<Self>, to: &Binding, out: Out, how: How) -> Option<BoxFuture<'static, ()>>;
    /// It is not sent any more.
    fn give_up(&self, error: CallError);
}

/// A call in line.
pub(crate) struct Queued {
    pub(crate) call: Arc<dyn Resend>,
    pub(crate) how: How,
    /// Whether it may have run where it was sent before.
    pub(crate) executed: Executed,
}

/// Whether a call goes now.
pub(crate) enum Entered {
    /// There.
    Goes(Binding, Out),
    /// It stands in line.
    Waits,
}

/// Why an actor is not where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The link to its host has ended.
    LinkEnded,
    /// Its host has it no more.
    NotHere,
}

enum Stage {
    Bound(Binding),
    Lost(Lost),
    Sought,
    /// What stands in line goes there.
    Moving(Binding),
    Gone(EndReason),
}

struct State {
    /// Where it is, or was last.
    at: At,
    node: Option<NodeId>,
    stage: Stage,
    /// Calls that are sent, or being sent, and have no answer.
    out: usize,
    /// Of the last call that entered.
    order: u64,
    line: BTreeMap<u64, Queued>,
    /// Whether somebody waits for it to be found who does not stand in line.
    asked: bool,
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
}

/// A call that is out: until this is dropped the actor is not sought, since the call may have to be sent again.
pub(crate) struct Out {
    actor: Arc<Placed>,
    order: u64,
}

impl Out {
    /// The actor was lost while the call was out: it goes again once that is found.
    pub(crate) fn again(self, queued: Queued) {
        self.actor.state.lock().line.insert(self.order, queued);
    }

    /// Whose call it is.
    pub(crate) fn actor(&self) -> &Arc<Placed> {
        &self.actor
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let mut state = self.actor.state.lock();
        state.out -= 1;
        let seeks = state.seeks(false);
        drop(state);
        if seeks {
            self.actor.seek();
        }
    }
}

impl State {
    /// Whether the actor is to be sought now, for those in line or for who asks.
    fn seeks(&mut self, asked: bool) -> bool {
        self.asked |= asked;
        matches!(self.stage, Stage::Lost(_)) && self.out == 0 && (self.asked || !self.line.is_empty())
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}

impl Placed {
    /// One that is there, or was: then it is sought by the first call.
    pub(crate) fn new(
        (id, type_key): (ActorId, Key),
        at: At,
        there: Option<Arc<RemoteActor>>,
        host: &Arc<dyn Host>,
    ) -> Arc<Self> {
        let node = there.as_ref().map(|there| there.peer.node());
        let stage = there.map_or(Stage::Lost(Lost::LinkEnded), |there| Stage::Bound(Binding::There(there)));
        let state = State { at, node, stage, out: 0, order: 0, line: BTreeMap::new(), asked: false };
        let (host, arguments, settled) = (Arc::downgrade(host), OnceLock::new(), Notify::new());
        Arc::new(Placed { id, type_key, host, arguments, state: Mutex::new(state), settled })
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
        matches!(self.state.lock().stage, Stage::Gone(_))
    }

    /// Its inbox, if it is on this node.
    pub(crate) fn inbox(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.state.lock().stage {
            Stage::Bound(Binding::Here(inbox)) => Some(inbox.clone()),
            _ => None,
        }
    }

    /// Lets a call go, or has it stand in line; `queued` makes what stands there.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn enter(self: &Arc<Self>, queued: impl FnOnce() -> Queued) -> Result<Entered, EndReason> {
        let mut state = self.state.lock();
        let order = match &state.stage {
            Stage::Gone(reason) => return Err(reason.clone()),
            _ => state.next_order(),
        };
        if let Stage::Bound(binding) = &state.stage {
            let binding = binding.clone();
            state.out += 1;
            return Ok(Entered::Goes(binding, Out { actor: self.clone(), order }));
        }
        state.line.insert(order, queued());
        let seeks = state.seeks(false);
        drop(state);
        if seeks {
            self.seek();
        }
        Ok(Entered::Waits)
    }

    /// Lets a call go if it may at once.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Option<(Binding, Out)>, EndReason> {
        let mut state = self.state.lock();
        match &state.stage {
            Stage::Gone(reason) => return Err(reason.clone()),
            Stage::Bound(binding) => {
                let binding = binding.clone();
                (state.order, state.out) = (state.order + 1, state.out + 1);
                let order = state.order;
                return Ok(Some((binding, Out { actor: self.clone(), order })));
            }
            Stage::Lost(_) | Stage::Sought | Stage::Moving(_) => {}
        }
        let seeks = state.seeks(true);
        drop(state);
        if seeks {
            self.seek();
        }
        Ok(None)
    }

    /// It is not there any more.
    pub(crate) fn lost(&self, at: &Arc<RemoteActor>, why: Lost) {
        let mut state = self.state.lock();
        let former = match &state.stage {
            Stage::Bound(binding) | Stage::Moving(binding) if binding.is(at) => {
                mem::replace(&mut state.stage, Stage::Lost(why))
            }
            _ => return,
        };
        drop(state);
        drop(former);
    }

    fn seek(self: &Arc<Self>) {
        let mut state = self.state.lock();
        // Who comes first seeks.
        let Stage::Lost(why) = state.stage else { return };
        (state.stage, state.asked) = (Stage::Sought, false);
        let at = state.at;
        drop(state);
        match self.here() {
            Some(host) => host.seek(self.clone(), at, why),
            None => self.gone(EndReason::ShutDown),
        }
    }

    /// It is found: what stands in line goes there, and then what is new.
    pub(crate) async fn found(self: &Arc<Self>, binding: Binding, at: At) {
        {
            let mut state = self.state.lock();
            state.at = at;
            state.stage = Stage::Moving(binding.clone());
            if let Binding::There(there) = &binding {
                state.node = Some(there.peer.node());
            }
        }
        while let Some((out, queued)) = self.next_in_line(&binding) {
            if let Some(first) = queued.call.resend(&binding, out, queued.how) {
                first.await;
            }
        }
        self.settled.notify_waiters();
    }

    /// The next call that goes there. With the last one it is bound; lost again meanwhile, whoever is out seeks it.
    fn next_in_line(self: &Arc<Self>, binding: &Binding) -> Option<(Out, Queued)> {
        let mut state = self.state.lock();
        if !matches!(state.stage, Stage::Moving(_)) {
            return None;
        }
        let Some((order, queued)) = state.line.pop_first() else {
            state.stage = Stage::Bound(binding.clone());
            return None;
        };
        state.out += 1;
        Some((Out { actor: self.clone(), order }, queued))
    }

    /// It has ended.
    pub(crate) fn gone(&self, reason: EndReason) {
        for queued in self.leave(Stage::Gone(reason.clone())).into_values() {
            queued.call.give_up(self.refused(&reason, queued.executed));
        }
    }

    /// The head cannot be asked: those in line fail, and the next one has it asked again.
    pub(crate) fn not_found(&self, why: Lost) {
        for queued in self.leave(Stage::Lost(why)).into_values() {
            queued.call.give_up(self.refused(&EndReason::NodeDied, queued.executed));
        }
    }

    /// A call to an actor that has ended.
    pub(crate) fn refused(&self, reason: &EndReason, executed: Executed) -> CallError {
        let node = self.state.lock().node;
        match (reason, node) {
            (EndReason::NodeDied, Some(node)) => CallError::NodeDied { node, executed },
            _ => CallError::ActorDied { actor: self.id, reason: reason.clone(), executed },
        }
    }

    fn leave(&self, stage: Stage) -> BTreeMap<u64, Queued> {
        let mut state = self.state.lock();
        let former = mem::replace(&mut state.stage, stage);
        let left = mem::take(&mut state.line);
        drop(state);
        drop(former);
        self.settled.notify_waiters();
        left
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
                match &state.stage {
                    Stage::Bound(binding) => return Ok(binding.clone()),
                    Stage::Gone(reason) => return Err(Some(reason.clone())),
                    Stage::Lost(_) if asked => return Err(None),
                    Stage::Lost(_) | Stage::Sought | Stage::Moving(_) => {}
                }
                state.seeks(true)
            };
            if seeks {
                asked = true;
                self.seek();
            }
            told.await;
        }
    }

    /// The placement after which it is to be found, if its host has ended or has it no more.
    pub(crate) fn after(at: At, host_lives: bool, why: Lost) -> Placement {
        match (why, host_lives) {
            // Not its host has ended, but the link: it may be where it was.
            (Lost::LinkEnded, true) => Placement(at.placement.0.saturating_sub(1)),
            _ => at.placement,
        }
    }
}
