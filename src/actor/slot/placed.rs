//! A call's slot on its way to an actor that the head may place again: what it takes to send it once more.

use futures_util::future::BoxFuture;
use std::any::Any;
use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use super::away::group_of;
use super::{Slot, Stage};
use crate::actor::args;
use crate::actor::bring;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, EndReason, Executed};
use crate::actor::handle::{Elsewhere, Route};
use crate::actor::inbox::Inbox;
use crate::actor::mailbox::{Entry as _, Item, Place};
use crate::actor::remote::placed::{Binding, Entered, How, Lost, Out, Placed, Queued, Resend};
use crate::actor::remote::{Caller, Outgoing, RemoteActor, Sent};
use crate::wire::packet::Flags;

/// A call that is out, and may have to be sent again.
pub(super) struct Again<M: Method> {
    pub(super) message: M,
    pub(super) how: How,
    /// Where it was sent.
    pub(super) at: Arc<RemoteActor>,
    pub(super) out: Out,
}

/// What of it is known before it is sent.
pub(super) struct Going {
    pub(super) how: How,
    pub(super) at: Arc<RemoteActor>,
    pub(super) out: Out,
}

impl<M: Method> Again<M> {
    /// Notes what a failure says of its actor.
    pub(super) fn lost(&self, error: &CallError) {
        if let CallError::NodeDied { .. } = error {
            self.out.actor().lost(&self.at, Lost::LinkEnded);
        }
    }
}

/// The refusal of a call of a run that is fenced.
const fn stale() -> CallError {
    CallError::Stale { executed: Executed::No }
}

impl<M: Method> Slot<M> {
    /// What a binding to this node leads to.
    fn inbox_at(&self, here: &Arc<dyn Any + Send + Sync>) -> Result<Arc<Inbox<M::Actor>>, CallError> {
        here.clone().downcast().map_err(|_| self.refused(EndReason::Unknown))
    }

    /// The inbox of its actor on this node; if that has moved, the one that it has now, or else the one that it had.
    #[inline]
    pub(super) fn local(&self) -> Option<Cow<'_, Arc<Inbox<M::Actor>>>> {
        match self.to.route() {
            Route::Local(inbox) => {
                let here = inbox.moved().and_then(|placed| placed_inbox::<M>(placed));
                Some(here.map_or(Cow::Borrowed(&inbox.to), Cow::Owned))
            }
            Route::Elsewhere(there) => inbox_of::<M>(there).map(Cow::Owned),
        }
    }
}

/// The inbox of an actor that is on this node.
fn placed_inbox<M: Method>(placed: &Placed) -> Option<Arc<Inbox<M::Actor>>> {
    placed.inbox()?.downcast().ok()
}

/// The inbox of an actor that was elsewhere, and is on this node.
pub(super) fn inbox_of<M: Method>(there: &Elsewhere) -> Option<Arc<Inbox<M::Actor>>> {
    match there {
        Elsewhere::Placed(actor) => placed_inbox::<M>(actor),
        Elsewhere::Remote(_) | Elsewhere::Gone(..) => None,
    }
}

impl<M: Method> Slot<M> {
    /// Sends it where the actor is, or has it stand in line until that is found.
    pub(super) fn send_placed(self: &Arc<Self>, placed: &Arc<Placed>, how: How) -> Result<Place, CallError> {
        let queued = || Queued { call: self.clone(), how };
        match placed.enter(queued) {
            Ok(Entered::Goes(binding, out)) => self.go_to(&binding, out, how),
            Ok(Entered::Waits) => {
                self.ends_if_fenced();
                Ok(Place::InLine)
            }
            Err(reason) => Err(placed.refused(&reason)),
        }
    }

    fn go_to(self: &Arc<Self>, binding: &Binding, out: Out, how: How) -> Result<Place, CallError> {
        let at = match binding {
            Binding::There(at) => at,
            Binding::Here(_) if self.is_fenced() => return Err(stale()),
            Binding::Here(here) => {
                // It came here a moment ago: what was left to travel is put in, if it is at hand.
                if self.has_references() {
                    self.put_values(args::resolve)?;
                }
                return match self.inbox_at(here)?.mailbox().push(self.clone()) {
                    Ok(place) => Ok(place),
                    // With the life of this node: it is sought anew.
                    Err(EndReason::NodeDied) => {
                        out.actor().lost_here(here);
                        self.again_in_line(out, how);
                        Ok(Place::InLine)
                    }
                    Err(reason) => Err(self.refused(reason)),
                };
            }
        };
        let mut going = Some(Going { how, at: at.clone(), out });
        let stream = match how.anew {
            true => at.stream_anew(group_of::<M>()),
            false => at.stream(group_of::<M>()),
        };
        let (caller, deadline) = (self.clone() as Arc<dyn Caller>, how.deadline);
        let sent = self.encode(at, how.flags, &mut going, |packet, enclosed| {
            at.peer.request(stream, Outgoing { packet, deadline, enclosed }, &caller).map(Some)
        });
        match sent {
            Ok(Some(Sent::Waiting(_))) => Ok(Place::InLine),
            Ok(_) => Ok(Place::Admitted),
            Err(error) => self.sent_nowhere(error, going).map(|()| Place::InLine),
        }
    }

    /// It was not sent: if its actor's node has ended, it stands in line.
    fn sent_nowhere(self: &Arc<Self>, error: CallError, going: Option<Going>) -> Result<(), CallError> {
        let (CallError::NodeDied { executed: Executed::No, .. }, Some(Going { how, at, out })) = (&error, going) else {
            return Err(error);
        };
        out.actor().lost(&at, Lost::LinkEnded);
        self.again_in_line(out, how);
        Ok(())
    }

    /// Sends it one way if it can go at once; whether it went.
    pub(super) fn try_send_placed(self: &Arc<Self>, placed: &Arc<Placed>) -> Result<bool, CallError> {
        let refused = |reason| placed.refused(&reason);
        let Some((binding, out)) = placed.try_enter().map_err(refused)? else { return Ok(false) };
        let at = match binding {
            Binding::There(at) => at,
            Binding::Here(_) if self.is_fenced() => return Err(stale()),
            // Its actor was elsewhere a moment ago, where references are read that are none here.
            Binding::Here(_) if self.has_references() => return Ok(false),
            Binding::Here(here) => {
                return match self.inbox_at(&here)?.mailbox().try_push(|| Item::Call(self.clone())) {
                    Ok(pushed) => Ok(pushed),
                    Err(EndReason::NodeDied) => {
                        out.actor().lost_here(&here);
                        Ok(false)
                    }
                    Err(reason) => Err(self.refused(reason)),
                };
            }
        };
        let (stream, caller) = (at.stream(group_of::<M>()), self.clone() as Arc<dyn Caller>);
        let how = How { flags: Flags::TELL, deadline: None, anew: false };
        let mut going = Some(Going { how, at: at.clone(), out });
        let sent = self.encode(&at, Flags::TELL, &mut going, |packet, enclosed| {
            at.peer.try_request(stream, Outgoing { packet, deadline: None, enclosed }, &caller)
        });
        match (sent, going) {
            (Ok(sent), _) => Ok(sent.is_some()),
            (Err(CallError::NodeDied { executed: Executed::No, .. }), Some(Going { at, out, .. })) => {
                out.actor().lost(&at, Lost::LinkEnded);
                Ok(false)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The actor is not where this was sent: it goes again.
    pub(super) fn go_again(self: Arc<Self>, again: Again<M>, why: Lost) {
        let Again { message, how, at, out } = again;
        self.restage(message);
        out.actor().lost(&at, why);
        self.again_in_line(out, how);
    }

    fn again_in_line(self: &Arc<Self>, out: Out, how: How) {
        out.again(Queued { call: self.clone(), how });
        self.ends_if_fenced();
    }

    /// In line until its actor is found: of a run whose node's life has ended it would never go, and what waits for it in a
    /// blocking method may be all that keeps that node from its next life.
    fn ends_if_fenced(&self) {
        if self.is_fenced() {
            self.finish(Err(stale().widen()));
        }
    }

    /// It is to be sent once more, unless its caller has dropped it.
    pub(super) fn restage(&self, message: M) {
        let mut state = self.state.lock();
        let left = match state.stage {
            Stage::Away => mem::replace(&mut state.stage, Stage::Made(message)),
            _ => Stage::Made(message),
        };
        drop(state);
        drop(left);
    }

    /// Whether there are references among its arguments, which would travel.
    fn has_references(&self) -> bool {
        matches!(&self.state.lock().stage, Stage::Made(message) if message.has_references())
    }

    /// Puts values in the places of references that would have travelled, for an actor of this node.
    async fn settle_arguments(self: &Arc<Self>) -> Result<(), CallError> {
        let gathered = match &mut self.state.lock().stage {
            Stage::Made(message) => bring::gather(message),
            _ => return Ok(()),
        };
        let gathered = gathered.bring().await.map_err(CallError::absent)?;
        self.put_values(args::resolve)?;
        // At hand until here.
        drop(gathered);
        Ok(())
    }

    fn told_of(self: &Arc<Self>, sent: Result<Place, CallError>) {
        match sent {
            Ok(Place::Admitted) => self.admitted(),
            Ok(Place::InLine) => {}
            Err(error) => self.finish(Err(error.widen())),
        }
    }
}

impl<M: Method> Resend for Slot<M> {
    fn resend(self: Arc<Self>, to: &Binding, out: Out, how: How) -> Option<BoxFuture<'static, ()>> {
        if !(matches!(to, Binding::Here(_)) && self.has_references()) {
            let sent = self.go_to(to, out, how);
            self.told_of(sent);
            return None;
        }
        let to = to.clone();
        Some(Box::pin(async move {
            let sent = match self.settle_arguments().await {
                Ok(()) => self.go_to(&to, out, how),
                Err(error) => Err(error),
            };
            self.told_of(sent);
        }))
    }

    fn give_up(&self, error: CallError) {
        self.finish(Err(error.widen()));
    }
}
