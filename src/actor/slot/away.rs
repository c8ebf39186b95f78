//! A call's slot while the call is with another node.

use std::mem;
use std::sync::Arc;

use super::placed::{Again, Going};
use super::repeat::{Replied, repeated};
use super::submit::Sink;
use super::{Listener, Slot, Stage};
use crate::actor::args;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed, Part, Waiting};
use crate::actor::frame;
use crate::actor::handle::{Elsewhere, Route};
use crate::actor::job::Access;
use crate::actor::mailbox::{Entry as _, Place};
use crate::actor::remote::placed::{How, Lost};
use crate::actor::remote::{self, Caller, Envelope, Outgoing, RemoteActor, Sent};
use crate::actor::reply::{Arriving, Asked, Reply};
use crate::id::{NodeId, ObjectId};
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::lost::Lost as ObjectLost;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::{self, CallFault, Flags};

/// What a call over a link keeps beside its stage. Most keep no more than their ticket: nothing is allocated for those.
pub(super) enum Away<M: Method> {
    /// It is being sent.
    Asking,
    Asked(u64),
    /// Its reply is a stream, or its arguments enclose references.
    Keeps(Box<Keeps<M>>),
    /// An item of its reply is being read, by user code; with what it failed with meanwhile.
    Reading(Option<Box<CallError>>),
}

pub(super) struct Keeps<M: Method> {
    arriving: <M::Reply as Reply>::Arriving,
    ticket: Option<u64>,
    /// The references among its arguments: held until the answer (PROTOCOLS §3.5).
    enclosed: Enclosed,
    /// Objects whose values those are: one that is lost on its way is made again (PROTOCOLS §7).
    _passed: Vec<(u32, Arc<Entry>)>,
    /// What it takes to send it again, if its actor may be placed again.
    again: Option<Again<M>>,
}

impl<M: Method> Away<M> {
    fn asking() -> Self {
        // A plain value arrives at once: nothing is kept of it.
        match size_of::<<M::Reply as Reply>::Arriving>() {
            0 => Away::Asking,
            _ => Away::keeps(None, Enclosed::default(), Vec::new()),
        }
    }

    fn keeps(ticket: Option<u64>, enclosed: Enclosed, passed: Vec<(u32, Arc<Entry>)>) -> Self {
        let arriving = Default::default();
        Away::Keeps(Box::new(Keeps { arriving, ticket, enclosed, _passed: passed, again: None }))
    }

    /// Keeps what it takes to send it again.
    fn keep(&mut self, again: Again<M>) {
        if let Away::Asking | Away::Asked(_) = self {
            *self = Away::keeps(self.ticket(), Enclosed::default(), Vec::new());
        }
        if let Away::Keeps(keeps) = self {
            keeps.again = Some(again);
        }
    }

    fn again(&mut self) -> Option<Again<M>> {
        match self {
            Away::Keeps(keeps) => keeps.again.take(),
            Away::Asking | Away::Asked(_) | Away::Reading(_) => None,
        }
    }

    fn asked(&mut self, ticket: u64, enclosed: &Enclosed, passed: Vec<(u32, Arc<Entry>)>) {
        match self {
            Away::Keeps(keeps) => {
                (keeps.ticket, keeps.enclosed, keeps._passed) = (Some(ticket), enclosed.clone(), passed);
            }
            _ if enclosed.is_empty() => *self = Away::Asked(ticket),
            _ => *self = Away::keeps(Some(ticket), enclosed.clone(), passed),
        }
    }

    pub(super) fn ticket(&self) -> Option<u64> {
        match self {
            Away::Asking | Away::Reading(_) => None,
            Away::Asked(ticket) => Some(*ticket),
            Away::Keeps(keeps) => keeps.ticket,
        }
    }

    /// What the answer is read by.
    fn arriving<R>(&mut self, read: impl FnOnce(&mut <M::Reply as Reply>::Arriving) -> R) -> R {
        match self {
            Away::Asking | Away::Asked(_) | Away::Reading(_) => read(&mut Default::default()),
            Away::Keeps(keeps) => read(&mut keeps.arriving),
        }
    }
}

/// The group whose stream a call is part of.
pub(super) const fn group_of<M: Method>() -> u8 {
    match Access::of::<M>() {
        Access::Exclusive => 0,
        Access::Shared(group) => group,
    }
}

/// The arguments that are references to what lies at other nodes, and their positions.
fn leading<M: Method>(message: &mut M) -> Vec<(u32, Arc<Entry>)> {
    args::positions(message, |entry| entry.leads_to().is_some().then(|| entry.clone()))
}

impl<M: Method> Slot<M> {
    /// Sends it to another node, or has it stand in line.
    pub(super) fn send_away(self: &Arc<Self>, there: &Elsewhere, how: How) -> Result<Place, CallError> {
        let actor = match there {
            Elsewhere::Remote(actor) => actor,
            Elsewhere::Placed(actor) => return self.send_placed(&actor.to, how),
            Elsewhere::Gone(_, reason) => return Err(self.refused(reason.clone())),
        };
        let (stream, How { flags, deadline, .. }) = (actor.stream(group_of::<M>()), how);
        let caller: Arc<dyn Caller> = self.clone();
        let sent = self.encode(actor, flags, &mut None, |packet, enclosed| {
            actor.peer.request(stream, Outgoing { packet, deadline, enclosed }, &caller).map(Some)
        })?;
        Ok(if let Some(Sent::Waiting(_)) = sent { Place::InLine } else { Place::Admitted })
    }

    /// Sends it one way if it can go at once; whether it went.
    pub(super) fn try_send_away(self: &Arc<Self>, there: &Elsewhere) -> Result<bool, CallError> {
        let actor = match there {
            Elsewhere::Remote(actor) => actor,
            Elsewhere::Placed(actor) => return self.try_send_placed(&actor.to),
            Elsewhere::Gone(_, reason) => return Err(self.refused(reason.clone())),
        };
        let (stream, caller) = (actor.stream(group_of::<M>()), self.clone() as Arc<dyn Caller>);
        let sent = self.encode(actor, Flags::TELL, &mut None, |packet, enclosed| {
            actor.peer.try_request(stream, Outgoing { packet, deadline: None, enclosed }, &caller)
        })?;
        Ok(sent.is_some())
    }

    /// Encodes the message for another node and gives it to `send`; what was not sent is as it was. `going` is taken and kept
    /// with the message while the call is out, if it may have to go again.
    pub(super) fn encode(
        &self,
        actor: &RemoteActor,
        flags: Flags,
        going: &mut Option<Going>,
        send: impl FnOnce(&mut [u8], &Enclosed) -> Result<Option<Sent>, CallError>,
    ) -> Result<Option<Sent>, CallError> {
        let caller = frame::caller_of(self.up.as_ref())?;
        let mut state = self.state.lock();
        let mut message = match mem::replace(&mut state.stage, Stage::Away) {
            Stage::Made(message) => message,
            other => {
                state.stage = other;
                return Ok(None);
            }
        };
        state.away = Some(Away::asking());
        let (retries, by_reference) = (state.retries, state.by_reference);
        let waiter = self.waiter(&state);
        drop(state);
        // What goes again has them itself.
        let mut passed = if by_reference && going.is_none() { leading(&mut message) } else { Vec::new() };
        let envelope = Envelope {
            flags: flags.and(<M::Reply as Reply>::Arriving::FLAGS),
            actor: actor.id,
            placement: actor.placement,
            method: M::KEY,
            retries,
            caller,
            up: waiter,
        };
        let (keeps, mut held) = (going.is_some(), None);
        let sent = remote::encode_request(&envelope, &*actor.peer, &mut message, |packet, enclosed| {
            // Held while it is sent: an answer that comes at once finds the ticket.
            let mut state = self.state.lock();
            let sent = send(packet, enclosed)?;
            if let (Some(Sent::Asked(ticket) | Sent::Waiting(ticket)), Some(away)) = (sent, &mut state.away) {
                away.asked(ticket, enclosed, mem::take(&mut passed));
            }
            // Until the message is kept: a failure that comes at once finds it.
            held = keeps.then_some(state);
            Ok(sent)
        });
        match sent {
            Ok(Some(Sent::Asked(_) | Sent::Waiting(_))) if let Some(mut state) = held => {
                if let (Some(Going { how, at, out }), Some(away)) = (going.take(), &mut state.away) {
                    away.keep(Again { message, how, at, out });
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                drop(held);
                self.state.lock().stage = Stage::Made(message);
            }
            Err(_) if going.is_some() => {
                let mut state = self.state.lock();
                let away = state.away.take();
                let left = match state.stage {
                    Stage::Away => mem::replace(&mut state.stage, Stage::Made(message)),
                    _ => Stage::Made(message),
                };
                drop(state);
                drop((away, left));
            }
            // Whoever sends it says so to the caller, who may be waiting by now.
            Err(_) => drop(self.take_away()),
        }
        sent
    }

    pub(super) fn cancel_remote(&self, away: Option<Away<M>>) -> (Waiting, Executed) {
        let actor = away.as_ref().and_then(|away| self.remote(away));
        match (actor, away.as_ref().and_then(Away::ticket)) {
            (Some(actor), Some(ticket)) => match actor.peer.cancel(ticket) {
                Executed::No => {
                    if let Some(Away::Keeps(keeps)) = &away {
                        actor.peer.not_sent(&keeps.enclosed);
                    }
                    (Waiting::ForCredit, Executed::No)
                }
                executed => (Waiting::OnTheWay, executed),
            },
            _ => (Waiting::OnTheWay, Executed::Maybe),
        }
    }

    /// What an answer needs to be decoded.
    fn asked(&self, away: &Away<M>) -> Option<Asked> {
        Some(Asked { peer: self.remote(away)?.peer.clone(), ticket: away.ticket()? })
    }

    /// Where it was sent.
    pub(super) fn remote<'a>(&'a self, away: &'a Away<M>) -> Option<&'a Arc<RemoteActor>> {
        if let Route::Elsewhere(there) = self.to.route()
            && let Elsewhere::Remote(actor) = &**there
        {
            return Some(&actor.to);
        }
        let Away::Keeps(keeps) = away else { return None };
        keeps.again.as_ref().map(|again| &again.at)
    }

    /// Takes what a call over a link keeps, while user code decodes.
    fn take_away(&self) -> Option<Away<M>> {
        self.state.lock().away.take()
    }

    /// The reply is an object of the answering node: an object that waits for it leads there, a caller has it fetched.
    fn led_elsewhere(self: Arc<Self>, mut away: Away<M>, enclosed: Enclosed) {
        let decode = |message: String| {
            let (what, executed) = (Part::Reply, Executed::Yes);
            CallError::Decode { what, message, executed }
        };
        let object = Entry::of_enclosed(&enclosed);
        let (Some(object), Some(from)) = (object, self.asked(&away)) else {
            return self.finish(Err(decode("the answer names no object".to_owned())));
        };
        let mut state = self.state.lock();
        match mem::take(&mut state.caller) {
            Listener::Object(sink) => {
                state.stage = Stage::Over;
                let retries = state.retries;
                drop(state);
                return self.lies_there(&sink, &object, away.again(), retries);
            }
            caller => state.caller = caller,
        }
        drop(state);
        let peer = from.peer.clone();
        peer.spawn(Box::pin(async move {
            let value = match object.settling().await {
                Ok(Content::Encoded(encoded)) => away
                    .arriving(|arriving| arriving.value(&from, encoded.enclosed, &encoded.body))
                    .map_err(|error| decode(error.to_string())),
                Ok(_) => Err(decode("the object was not sent".to_owned())),
                Err(fault) => return self.reply_lost(away, from.peer.node(), &fault),
            };
            if let Some(result) = value.transpose() {
                self.finish(result);
            }
        }));
    }

    /// Its reply lay where it ran, and cannot be had. If that node has ended, it is made once more, if it may be.
    fn reply_lost(self: Arc<Self>, away: Away<M>, node: NodeId, fault: &Fault) {
        let executed = Executed::Yes;
        let error = match fault {
            GetError::Lost { why: ObjectLost::OwnerDied, .. } => CallError::NodeDied { node, executed },
            fault => CallError::Decode { what: Part::Reply, message: fault.to_string(), executed },
        };
        self.failed_there(away, error, |slot, again| {
            let (actor, order) = (again.out.actor().clone(), again.out.order());
            slot.restage(again.message);
            actor.make_again(order, slot);
        });
    }

    /// It failed where it was sent: `try_again` has it tried once more, if it may be; else its caller is told.
    fn failed_there(self: Arc<Self>, mut away: Away<M>, error: CallError, try_again: impl FnOnce(Arc<Self>, Again<M>)) {
        if let Some(again) = away.again() {
            again.lost(&error);
            if self.tries_again(&error) {
                return try_again(self, again);
            }
        }
        if let Some(error) = away.arriving(|arriving| arriving.failed(error)) {
            self.finish(Err(error.widen()));
        }
    }

    /// The value of an object that waits for the reply is this one, and may be lost with its node.
    fn lies_there(&self, sink: &Sink<M::Reply, M::Error>, value: &Arc<Entry>, again: Option<Again<M>>, retries: u8) {
        let (reply, fill) = sink.of();
        let Some(host) = self.to.here() else { return };
        let how = match again {
            None => Replied::ByOneThatEnds(self.to.id()),
            Some(_) if retries == 0 => Replied::Once,
            Some(again) => Replied::Repeats(repeated(again, fill), retries),
        };
        host.replied(reply, value, how);
    }

    fn app_error(from: &Asked, enclosed: Enclosed, body: &[u8]) -> CallError<M::Error> {
        codec::decode_message(body, enclosed, from.here()).map_or_else(
            |error| {
                let (what, message) = (Part::Error, error.to_string());
                CallError::Decode { what, message, executed: Executed::Yes }
            },
            CallError::App,
        )
    }

    /// The result that an answer brings; none if a stream that began ends with it.
    fn result(
        &self,
        from: &Asked,
        away: &mut Away<M>,
        outcome: packet::Outcome<'_>,
        enclosed: Enclosed,
    ) -> Option<Result<M::Reply, CallError<M::Error>>> {
        match outcome {
            packet::Outcome::Value { body, .. } => match away.arriving(|arriving| arriving.value(from, enclosed, body))
            {
                Ok(reply) => reply.map(Ok),
                Err(error) => {
                    let (what, message) = (Part::Reply, error.to_string());
                    Some(Err(CallError::Decode { what, message, executed: Executed::Yes }))
                }
            },
            // Taken care of before.
            packet::Outcome::Elsewhere { .. } => None,
            packet::Outcome::App { body, .. } => Some(Err(Self::app_error(from, enclosed, body))),
            packet::Outcome::Error { executed, fault } => {
                let method = (M::NAME, M::SIGNATURE);
                let error = remote::fault_to_error(fault, executed, self.to.id(), from.peer.node(), method);
                away.arriving(|arriving| arriving.failed(error)).map(|error| Err(error.widen()))
            }
        }
    }
}

impl<M: Method> Caller for Slot<M> {
    fn told(&self) {
        self.admitted();
    }

    fn makes(&self) -> Option<ObjectId> {
        match &self.state.lock().caller {
            Listener::Object(sink) => Some(sink.of().0.id()),
            Listener::Nobody | Listener::Task(_) => None,
        }
    }

    fn item(self: Arc<Self>, enclosed: Enclosed, body: &[u8], length: usize) {
        let Some(mut away) = self.state.lock().away.replace(Away::Reading(None)) else { return };
        let from = self.asked(&away);
        let reply = from.and_then(|from| away.arriving(|arriving| arriving.item(&from, enclosed, body, length)));
        let meanwhile = self.state.lock().away.replace(away);
        if let Some(reply) = reply {
            self.finish(Ok(reply));
        }
        if let Some(Away::Reading(Some(error))) = meanwhile {
            self.failed(*error);
        }
    }

    fn answered(self: Arc<Self>, outcome: packet::Outcome<'_>, enclosed: Enclosed) {
        let Some(mut away) = self.take_away() else { return };
        if let packet::Outcome::Error { executed: Executed::No, fault: CallFault::NotHere } = outcome
            && let Some(again) = away.again()
        {
            return self.go_again(again, Lost::NotHere);
        }
        if let packet::Outcome::Elsewhere { .. } = outcome {
            return self.led_elsewhere(away, enclosed);
        }
        if let Some(result) = self.asked(&away).and_then(|from| self.result(&from, &mut away, outcome, enclosed)) {
            self.finish(result);
        }
    }

    fn went_again(&self) -> bool {
        self.tried()
    }

    fn failed(self: Arc<Self>, error: CallError) {
        let away = {
            let mut state = self.state.lock();
            if let Some(Away::Reading(failed)) = &mut state.away {
                *failed = Some(Box::new(error));
                return;
            }
            state.away.take()
        };
        let Some(away) = away else { return };
        // It waited in line: what it encloses never left.
        if let (Some(actor), Away::Keeps(keeps), Executed::No) = (self.remote(&away), &away, error.executed()) {
            actor.peer.not_sent(&keeps.enclosed);
        }
        self.failed_there(away, error, |slot, again| slot.go_again(again, Lost::LinkEnded));
    }
}
