//! Asks of the node that hosts an actor, rather than of the actor: to make one, to end one, to watch its end.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

use super::host::{Incoming, Served, answer_fault};
use super::{Caller, Envelope, Outgoing, Peer, RemoteActor, Sent, encode_request, fault_to_error, with_scratch};
use crate::actor::dispatch::Actor;
use crate::actor::ending::{End, ended};
use crate::actor::error::{CallError, EndReason, Executed, Part};
use crate::actor::frame::Chain;
use crate::actor::inbox::Inbox;
use crate::actor::link;
use crate::id::{ActorId, Incarnation, Key, NodeId};
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::{Answer, CallFault, Flags, Outcome};

const STOP: Key = Key::of("mobula", "stop");
const KILL: Key = Key::of("mobula", "kill");
const WATCH: Key = Key::of("mobula", "ended");

/// The name of such a request.
pub(crate) const fn name(end: End) -> Key {
    match end {
        End::Stop => STOP,
        End::Kill => KILL,
        End::Watch => WATCH,
    }
}

/// Which of them has this name.
pub(crate) fn end_of(name: Key) -> Option<End> {
    match name {
        STOP => Some(End::Stop),
        KILL => Some(End::Kill),
        WATCH => Some(End::Watch),
        _ => None,
    }
}

/// What the node answered.
pub(crate) enum Plain {
    /// A value.
    Value(Enclosed, Vec<u8>),
    /// The constructor's own error.
    App(Enclosed, Vec<u8>),
    /// An object whose value it is.
    Elsewhere(Enclosed),
}

/// One such ask, as the link knows it.
pub(crate) struct NodeAsk {
    actor: ActorId,
    node: NodeId,
    what: (&'static str, &'static str),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answer: Option<Result<Plain, CallError>>,
    waker: Option<Waker>,
}

impl NodeAsk {
    /// `what` names the constructor and its signature, for errors.
    pub(crate) fn new(actor: ActorId, node: NodeId, what: (&'static str, &'static str)) -> Arc<Self> {
        Arc::new(NodeAsk { actor, node, what, state: Mutex::default() })
    }

    fn tell(&self, result: Result<Plain, CallError>) {
        let mut state = self.state.lock();
        state.answer.get_or_insert(result);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The answer, once.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Plain, CallError>> {
        // A waker is other people's code: made and dropped outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.state.lock();
        if let Some(result) = state.answer.take() {
            drop(state);
            return Poll::Ready(result);
        }
        let former = state.waker.replace(waker);
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl Caller for NodeAsk {
    fn told(&self) {}

    fn item(self: Arc<Self>, _: Enclosed, _: &[u8], _: usize) {}

    fn answered(self: Arc<Self>, outcome: Outcome<'_>, enclosed: Enclosed) {
        self.tell(match outcome {
            Outcome::Value { body, .. } => Ok(Plain::Value(enclosed, body.into())),
            Outcome::App { body, .. } => Ok(Plain::App(enclosed, body.into())),
            Outcome::Elsewhere { .. } => Ok(Plain::Elsewhere(enclosed)),
            Outcome::Error { executed, fault } => {
                Err(fault_to_error(fault, executed, self.actor, self.node, self.what))
            }
        });
    }

    fn failed(self: Arc<Self>, error: CallError) {
        self.tell(Err(error));
    }
}

/// An end that was asked for.
pub(crate) struct EndAsked {
    /// Of the request, for as long as it waits.
    pub(crate) ticket: Option<u64>,
    pub(crate) answer: BoxFuture<'static, Result<EndReason, CallError>>,
}

/// Asks an actor's node for its end, inside of this frame; `caller` is the actor that does. A stop stands in the same line
/// as the calls of this node to that actor; the others stand behind none.
pub(crate) fn end(
    actor: &Arc<RemoteActor>,
    end: End,
    caller: Option<(ActorId, Incarnation)>,
    up: Option<&Arc<Chain>>,
) -> Result<EndAsked, CallError> {
    if let Some(reason) = actor.end.get() {
        return Ok(EndAsked { ticket: None, answer: Box::pin(ready(Ok(reason.clone()))) });
    }
    let method = name(end);
    let flags = Flags::ASK;
    let envelope = Envelope { flags, actor: actor.id, placement: actor.placement, method, retries: 0, caller, up };
    let ask = NodeAsk::new(actor.id, actor.peer.node(), ("end", ""));
    let caller: Arc<dyn Caller> = ask.clone();
    let sent = encode_request(&envelope, &*actor.peer, &mut (), |packet, enclosed| {
        let request = Outgoing { packet, deadline: None, enclosed };
        match end {
            End::Stop => actor.peer.request(actor.stream(0), request, &caller),
            End::Kill => actor.peer.request(actor.stream_ahead(), request, &caller),
            // A node that is silent may be heard again, and the actor go on: that is not its end.
            End::Watch => actor.peer.request_patiently(actor.stream_ahead(), request, &caller),
        }
    });
    let (ticket, sent) = match sent {
        Ok(Sent::Asked(ticket) | Sent::Waiting(ticket)) => (Some(ticket), Ok(())),
        Ok(Sent::Told) => (None, Ok(())),
        Err(error) => (None, Err(error)),
    };
    let actor = actor.clone();
    let watches = ticket.filter(|_| end == End::Watch).map(|ticket| Watches { peer: actor.peer.clone(), ticket });
    let answer = Box::pin(async move {
        let _watches = watches;
        let answer = match sent {
            Ok(()) => poll_fn(|cx| ask.poll(cx)).await,
            Err(error) => Err(error),
        };
        let reason = match answer {
            Ok(Plain::Elsewhere(_)) => return Err(nonsense()),
            Ok(Plain::Value(_, body) | Plain::App(_, body)) => codec::decode(&body).map_err(|error| {
                let (what, message) = (Part::Reply, error.to_string());
                CallError::Decode { what, message, executed: Executed::Yes }
            })?,
            // An actor that is not there has ended, and one that ends meanwhile ends as asked.
            Err(CallError::ActorDied { reason, .. }) => reason,
            Err(CallError::NodeDied { .. }) => EndReason::NodeDied,
            Err(error) => return Err(error),
        };
        // Its node forgets it; its handles here do not.
        Ok(actor.end.get_or_init(|| reason).clone())
    });
    Ok(EndAsked { ticket, answer })
}

/// A watch of an end: taken back when nobody waits for it any more.
struct Watches {
    peer: Arc<dyn Peer>,
    ticket: u64,
}

impl Drop for Watches {
    fn drop(&mut self) {
        // One that was answered is gone already.
        self.peer.cancel(self.ticket);
    }
}

/// An object, where a value of Mobula's own was asked for.
pub(crate) fn nonsense() -> CallError {
    let message = "the node answered by an object".to_owned();
    CallError::Decode { what: Part::Reply, message, executed: Executed::Yes }
}

/// A request that may be about the end of an actor, or its links.
pub(crate) enum AboutEnd {
    /// It is not.
    Not,
    /// It is taken.
    Taken,
    /// It waits for the end, and its caller may wait no more.
    Watched(Arc<dyn Served>),
}

/// Takes a request that ends or watches an actor of this node.
pub(crate) fn serve_end<A: Actor>(inbox: &Arc<Inbox<A>>, incoming: &Incoming<'_>) -> AboutEnd {
    let Some(end) = end_of(incoming.request.method) else { return link::serve(inbox, incoming) };
    end.of(inbox);
    let (inbox, peer, arrival) = (inbox.clone(), incoming.peer.clone(), incoming.arrival);
    let begun = peer.begin(arrival, inbox.share());
    inbox.stream_left(begun.closes);
    if arrival.tell || !begun.runs {
        return AboutEnd::Taken;
    }
    let chain: Vec<_> = incoming.request.chain.iter().collect();
    if let Some(cycle) = inbox.reentrant_end(&chain) {
        answer_fault(&*peer, arrival.call, end.executed(), CallFault::Deadlock { cycle: List::Items(&cycle) });
        return AboutEnd::Taken;
    }
    let watched = Arc::new(Watched::default());
    let served = watched.clone();
    peer.clone().spawn_linked(Box::pin(async move {
        tokio::select! {
            biased;
            reason = ended(&inbox) => answer_value(&*peer, arrival.call, &reason),
            () = watched.cancelled.notified() => {
                answer_fault(&*peer, arrival.call, end.executed(), CallFault::Cancelled);
            }
        }
    }));
    AboutEnd::Watched(served)
}

/// A caller that waits for an actor's end.
#[derive(Default)]
struct Watched {
    cancelled: Notify,
}

impl Served for Watched {
    fn cancel(&self) {
        self.cancelled.notify_one();
    }

    fn room(&self) {}
}

/// Answers a call with a value of Mobula's own.
pub(crate) fn answer_value<T: serde::Serialize>(peer: &dyn Peer, call: u64, value: &T) {
    with_scratch(|body, packet| match codec::encode(value, body) {
        Ok(()) => {
            Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body } }.encode(packet);
            peer.answer(call, packet, &Enclosed::default());
        }
        Err(error) => answer_fault(peer, call, Executed::Yes, CallFault::Encode { message: &error.to_string() }),
    });
}
