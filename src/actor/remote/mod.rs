//! Actors on other nodes: what a call becomes on its way out, what it is where it arrives, and its reply on the way back.
//!
//! ```text
//! caller's node                                   host's node
//! Slot -> Peer::request -> link  ===========>  link -> Hosted::deliver -> RemoteJob in the mailbox
//! Slot <- Caller::answered <- link <===========  link <- Peer::settle <- RemoteJob::finish
//! ```

pub(crate) mod anew;
pub(crate) mod arrivals;
pub(crate) mod ask;
pub(crate) mod host;
pub(crate) mod items;
pub(crate) mod placed;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::args::{self, Arguments};
use super::error::{CallError, EndReason, Executed, Part, Waiting};
use super::frame::{self, Chain, Frames};
use super::inbox::Host;
use super::lifetime::At;
use super::line::Line;
use super::restart::Restarts;
use crate::clock::Moment;
use crate::id::{ActorId, Epoch, GroupId, Incarnation, Key, Life, NodeId, ObjectId, Placement};
use crate::object::entry::Entry as Object;
use crate::schedule::Resources;
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed, EncodeError};
use crate::wire::packet::{Amount, CallFault, Flags, Lifetime, Outcome, Request, Spawn};

/// The node that encodes and decodes, as the codec carries it: an [`Arc<Here>`](Here).
pub(crate) type NodeRef = Arc<dyn Any + Send + Sync>;

/// What handles attach to when they are decoded.
///
/// Weak: a node holds this, and must end when its cluster does.
pub(crate) struct Here(pub(crate) Weak<dyn Host>);

/// The node at the other end of a link. Implemented by the node's link; one of the three upward traits.
///
/// Nothing here waits: a request that finds no credit stands in line, and the link sends it when credit comes.
pub(crate) trait Peer: Send + Sync + 'static {
    /// Which node it is.
    fn node(&self) -> NodeId;
    /// Its life at the other end.
    fn life(&self) -> Life;
    /// The node at this end.
    fn here(&self) -> &NodeRef;
    /// Opens a stream of calls: those of one stream stay in order.
    fn open_stream(&self) -> u64;
    /// Nobody sends on the stream any more.
    fn close_stream(&self, stream: u64);
    /// Takes an encoded request in line; `caller` is told what becomes of it.
    fn request(&self, stream: u64, request: Outgoing<'_>, caller: &Arc<dyn Caller>) -> Result<Sent, CallError>;
    /// The same; it waits for a peer that falls silent until that is heard again or its life ends.
    fn request_patiently(
        &self,
        stream: u64,
        request: Outgoing<'_>,
        caller: &Arc<dyn Caller>,
    ) -> Result<Sent, CallError>;
    /// Takes an encoded request only if it can go at once.
    fn try_request(
        &self,
        stream: u64,
        request: Outgoing<'_>,
        caller: &Arc<dyn Caller>,
    ) -> Result<Option<Sent>, CallError>;
    /// The number of a call, none while it waits for credit; nothing once it is over.
    fn standing(&self, ticket: u64) -> Option<Option<u64>>;
    /// Nobody waits for this call any more. Says whether it may have run.
    fn cancel(&self, ticket: u64) -> Executed;
    /// This call is to run no more, and its caller is told of its end unless it never left.
    fn call_off(&self, ticket: u64) -> Executed;
    /// What a request enclosed that was cancelled before it was sent never left.
    fn not_sent(&self, enclosed: &Enclosed);
    /// Pins arguments that the peer reads where they lie, and says so beside them. They are a request's that is sent next: its
    /// end on the way ends the pins.
    fn pin(&self, enclosed: &mut Enclosed);
    /// The consumer of a streaming reply took an item whose packet had this length.
    fn took_item(&self, ticket: u64, length: usize);
    /// A request waits in its actor's line for the values of its arguments, which may have to come from the peer: it does not
    /// keep the peer from sending them, or what brings them.
    fn waits(&self, arrival: Arrival);
    /// Such a request leaves that line for the mailbox.
    fn comes(&self, arrival: Arrival);
    /// An object that a request of the peer was passed is lost: what the peer has in its place.
    fn instead_of(&self, object: ObjectId) -> BoxFuture<'static, Instead>;
    /// A request of the peer that began goes again here. Ready when its caller counts that; `false` if nobody waits for it any
    /// more, or if the peer cannot be told.
    fn goes_again(&self, call: u64) -> BoxFuture<'static, bool>;
    /// A request to the peer goes again there: whether somebody waits for it.
    fn went_again(&self, call: u64) -> bool;
    /// Whether somebody waits for a request of the peer that has not left its mailbox, or has to: a tell runs.
    fn is_wanted(&self, arrival: Arrival) -> bool;
    /// A request leaves its mailbox, to run or to be refused. Its stream should have this share of the mailbox's credit.
    fn begin(&self, arrival: Arrival, share: u32) -> Begun;
    /// Sends an encoded answer of a request that has left its mailbox; whether that is under way. It is not if the request was
    /// answered before, or if the caller's node leaves too much unread.
    fn answer(&self, call: u64, packet: &[u8], enclosed: &Enclosed) -> bool;
    /// Sends an encoded item of a streaming reply.
    fn item(&self, call: u64, packet: &[u8], enclosed: &Enclosed) -> ItemSent;
    /// Runs a task on this node.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Runs a task on this node that is of use to the peer only: it is dropped when the link ends.
    fn spawn_linked(&self, task: BoxFuture<'static, ()>);
}

/// A request of the peer that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its work number: what the answer names.
    pub(crate) call: u64,
    /// The peer's number of its stream.
    pub(crate) stream: u32,
    /// Whether its caller waits for no answer.
    pub(crate) tell: bool,
    /// Whether no other request of its stream was waiting: one stream more at that mailbox.
    pub(crate) opens: bool,
    /// The size of its packet.
    pub(crate) bytes: usize,
}

/// What a request that leaves its mailbox finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Whether it runs: it does not if it was cancelled, or its caller is no more.
    pub(crate) runs: bool,
    /// Whether no other request of its stream is waiting: one stream less at that mailbox.
    pub(crate) closes: bool,
}

/// What there is in the place of an object that is lost.
pub(crate) enum Instead {
    /// This one, whose value it was.
    Object(Arc<Object>),
    /// Nothing: that one is lost as well, and why.
    Lost(ObjectId, String),
    /// Nothing that the peer would know of.
    Nothing,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemSent {
    /// It is under way.
    Sent,
    /// The consumer is behind: [`Served::room`](host::Served::room) says when to try again.
    Full,
    /// Nobody waits for it.
    Gone,
}

/// An encoded request.
pub(crate) struct Outgoing<'a> {
    pub(crate) packet: &'a mut [u8],
    /// When its caller stops waiting.
    pub(crate) deadline: Option<Moment>,
    pub(crate) enclosed: &'a Enclosed,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// An ask goes out under this ticket.
    Asked(u64),
    /// A tell goes out: it is done.
    Told,
    /// It waits for credit, under this ticket.
    Waiting(u64),
}

/// The caller of a request, as the link knows it.
pub(crate) trait Caller: Send + Sync {
    /// A tell that waited for credit was sent.
    fn told(&self);
    /// An item of its streaming reply, whose packet had this length.
    fn item(self: Arc<Self>, enclosed: Enclosed, body: &[u8], length: usize);
    /// Its one answer.
    fn answered(self: Arc<Self>, outcome: Outcome<'_>, enclosed: Enclosed);
    /// No answer will come.
    fn failed(self: Arc<Self>, error: CallError);
    /// It goes again where it is. Whether it is still wanted.
    fn went_again(&self) -> bool {
        false
    }
    /// The object that its answer settles, if nobody waits for the answer itself.
    fn makes(&self) -> Option<ObjectId> {
        None
    }
}

/// Why there is no reply where the caller's node was sent more than is kept for one.
const UNREAD: &str = "its node keeps no more for this one, which leaves hundreds of megabytes of replies unread";

/// An actor on another node: one for all its handles here, so that their calls are one stream.
pub(crate) struct RemoteActor {
    pub(crate) id: ActorId,
    pub(crate) type_key: Key,
    pub(crate) placement: Placement,
    pub(crate) peer: Arc<dyn Peer>,
    /// The stream of the default group, which most calls are of.
    stream: u64,
    /// The others, of those that were needed.
    others: Mutex<Vec<(Of, u64)>>,
    /// Calls that wait for arguments; made by the first.
    line: OnceLock<Arc<Line>>,
    /// Why it ended, once that was said.
    end: OnceLock<EndReason>,
}

/// What goes in a stream of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The calls of a group.
    Group(u8),
    /// Those of a group that are made once more, for replies that are lost: those in the other may wait for these.
    Anew(u8),
    /// Kills and watches, which pass calls that wait (PROTOCOLS §1.12).
    End,
}

impl RemoteActor {
    pub(crate) fn new(id: ActorId, type_key: Key, placement: Placement, peer: Arc<dyn Peer>) -> Arc<Self> {
        let stream = peer.open_stream();
        let (others, line, end) = (Mutex::default(), OnceLock::new(), OnceLock::new());
        Arc::new(RemoteActor { id, type_key, placement, peer, stream, others, line, end })
    }

    pub(crate) fn line(&self) -> &OnceLock<Arc<Line>> {
        &self.line
    }

    /// The node at this end, unless it is gone.
    pub(crate) fn here(&self) -> Option<Arc<dyn Host>> {
        self.peer.here().downcast_ref::<Here>()?.0.upgrade()
    }

    pub(crate) fn stream(&self, group: u8) -> u64 {
        if group == 0 { self.stream } else { self.other_stream(Of::Group(group)) }
    }

    /// The stream of calls that are made once more.
    pub(crate) fn stream_anew(&self, group: u8) -> u64 {
        self.other_stream(Of::Anew(group))
    }

    /// The stream of what stands behind no call.
    pub(crate) fn stream_ahead(&self) -> u64 {
        self.other_stream(Of::End)
    }

    fn other_stream(&self, of: Of) -> u64 {
        let mut others = self.others.lock();
        match others.iter().find(|(known, _)| *known == of) {
            Some((_, stream)) => *stream,
            None => {
                let stream = self.peer.open_stream();
                others.push((of, stream));
                stream
            }
        }
    }

    /// Whether it is known to have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Where it is.
    pub(crate) fn at(&self) -> At {
        At { host: self.peer.life(), placement: self.placement }
    }
}

impl Drop for RemoteActor {
    fn drop(&mut self) {
        self.peer.close_stream(self.stream);
        self.others.get_mut().drain(..).for_each(|(_, stream)| self.peer.close_stream(stream));
    }
}

/// What a request carries beside its arguments.
pub(crate) struct Envelope<'a> {
    pub(crate) flags: Flags,
    pub(crate) actor: ActorId,
    pub(crate) placement: Placement,
    pub(crate) method: Key,
    /// How often the host may try it again.
    pub(crate) retries: u8,
    /// The actor that calls, if the head may place it again.
    pub(crate) caller: Option<(ActorId, Incarnation)>,
    pub(crate) up: Option<&'a Arc<Chain>>,
}

thread_local! {
    /// Scratch space of an encoding: a body and a packet. Part of the encoding's scope.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Lends two empty buffers that keep their capacity from call to call.
pub(crate) fn with_scratch<R>(run: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> R) -> R {
    SCRATCH.with(|scratch| {
        // What is encoded is user code, which may call somebody else meanwhile.
        let Ok(mut scratch) = scratch.try_borrow_mut() else { return run(&mut Vec::new(), &mut Vec::new()) };
        let (body, packet) = &mut *scratch;
        // One that panicked left them as they were.
        body.clear();
        packet.clear();
        let result = run(body, packet);
        for buffer in [body, packet] {
            if buffer.capacity() > 4 * crate::limits::BODY_INLINE {
                *buffer = Vec::new();
            }
        }
        result
    })
}

/// Encodes a request with `message` as its arguments, and gives it to `send`, which sends it to this peer.
pub(crate) fn encode_request<M: Arguments + serde::Serialize, R>(
    envelope: &Envelope<'_>,
    peer: &dyn Peer,
    message: &mut M,
    send: impl FnOnce(&mut [u8], &Enclosed) -> Result<R, CallError>,
) -> Result<R, CallError> {
    with_scratch(|body, packet| {
        let mut enclosed = encode_arguments(peer.here(), message, body)?;
        peer.pin(&mut enclosed);
        let frames = envelope.up.map_or_else(Frames::new, |chain| chain.frames());
        let request = Request {
            flags: envelope.flags,
            stream: 0,
            time_left: None,
            placement: envelope.placement,
            actor: envelope.actor,
            method: envelope.method,
            retries: u32::from(envelope.retries),
            caller: envelope.caller,
            chain: List::Items(&frames),
            refs: List::Items(&enclosed.refs),
            body,
        };
        request.encode(packet);
        send(packet, &enclosed)
    })
}

/// What says of an actor what another node is to make: id and placement, constructor and type, restarts, what is reserved for
/// it. Its spawner owns it.
pub(crate) type SpawnOf<'a> = ((ActorId, Placement), (Key, Key), Restarts, ReservedOf<'a>);

/// Resources of another node, the head that reserved them, and of which bundle, if not of the node.
pub(crate) type ReservedOf<'a> = (&'a Resources, Epoch, Option<(GroupId, Option<u32>)>);

/// Encodes a request that makes an actor, with `message` as its constructor's arguments.
pub(crate) fn encode_spawn<M: Arguments + serde::Serialize, R>(
    ((actor, placement), (constructor, type_key), restarts, (resources, epoch, bundle)): SpawnOf<'_>,
    here: &NodeRef,
    message: &mut M,
    send: impl FnOnce(&mut [u8], &Enclosed) -> Result<R, CallError>,
) -> Result<R, CallError> {
    let amounts = resources.iter().map(|(name, amount)| Amount { name, units: amount.as_ten_thousandths() });
    let resources: Vec<_> = amounts.collect();
    with_scratch(|arguments, packet| {
        let enclosed = encode_arguments(here, message, arguments)?;
        let mut body = Vec::with_capacity(arguments.len() + 64);
        let (lifetime, namespace, name) = (Lifetime::Owned, "", None);
        let resources = List::Items(&resources);
        let Restarts { limit: restarts, window } = restarts;
        let spawn =
            Spawn { type_key, lifetime, restarts, window, namespace, name, resources, epoch, bundle, arguments };
        spawn.encode(&mut body);
        let request = Request {
            flags: Flags::SPAWN,
            stream: 0,
            time_left: None,
            placement,
            actor,
            method: constructor,
            retries: 0,
            // Whoever awaits it makes the actor.
            caller: frame::caller(),
            chain: List::EMPTY,
            refs: List::Items(&enclosed.refs),
            body: &body,
        };
        request.encode(packet);
        send(packet, &enclosed)
    })
}

/// Encodes arguments. If they are too large for a packet, those that are large become objects of this node, and travel as
/// references.
fn encode_arguments<M: Arguments + serde::Serialize>(
    here: &NodeRef,
    message: &mut M,
    body: &mut Vec<u8>,
) -> Result<Enclosed, CallError> {
    let (what, executed) = (Part::Arguments, Executed::No);
    let encode = |message: &M, body: &mut Vec<u8>| {
        args::encode(message, body, codec::encode_message).map_err(|error| encode_error(what, executed, &error))
    };
    let enclosed = encode(message, body)?;
    if check_bound(what, executed, body.len()).is_ok() {
        return Ok(enclosed);
    }
    drop(enclosed);
    args::lift(message, here);
    body.clear();
    let enclosed = encode(message, body)?;
    check_bound(what, executed, body.len())?;
    Ok(enclosed)
}

/// Encodes a part of a call's traffic, bounded.
pub(crate) fn encode_part<T: serde::Serialize + 'static>(
    what: Part,
    executed: Executed,
    value: &T,
    body: &mut Vec<u8>,
) -> Result<Enclosed, CallError> {
    let enclosed = encode_unbounded(what, executed, value, body)?;
    check_bound(what, executed, body.len())?;
    Ok(enclosed)
}

/// Encodes a part of a call's traffic, whatever its size.
pub(crate) fn encode_unbounded<T: serde::Serialize + 'static>(
    what: Part,
    executed: Executed,
    value: &T,
    body: &mut Vec<u8>,
) -> Result<Enclosed, CallError> {
    codec::encode_owned(value, body).map_err(|error| encode_error(what, executed, &error))
}

/// Whether a body of so many bytes travels inside a packet.
pub(crate) fn check_bound(what: Part, executed: Executed, bytes: usize) -> Result<(), CallError> {
    let limit = crate::limits::BODY_INLINE;
    if bytes > limit { Err(CallError::TooLarge { what, bytes, limit, executed }) } else { Ok(()) }
}

fn encode_error(what: Part, executed: Executed, error: &EncodeError) -> CallError {
    CallError::Encode { what, message: error.to_string(), executed }
}

/// What a fault of the wire is to the caller of `method`.
pub(crate) fn fault_to_error(
    fault: CallFault<'_>,
    executed: Executed,
    actor: ActorId,
    node: NodeId,
    (method, signature): (&'static str, &'static str),
) -> CallError {
    let died = |reason| CallError::ActorDied { actor, reason, executed };
    match fault {
        CallFault::NotHere => died(EndReason::Unknown),
        CallFault::ActorRestarted => CallError::ActorRestarted { actor, executed },
        CallFault::ActorDied(end) => died(EndReason::from_wire(end)),
        CallFault::Panicked { message } => CallError::Panicked { method: method.into(), message: message.into() },
        CallFault::UnknownType | CallFault::UnknownMethod => {
            CallError::UnknownMethod { method: method.into(), signature: signature.into(), executed }
        }
        CallFault::Decode { message } => CallError::Decode { what: Part::Arguments, message: message.into(), executed },
        CallFault::Encode { message } => CallError::Encode { what: Part::Reply, message: message.into(), executed },
        CallFault::ReplyTooLarge { bytes } => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            CallError::TooLarge { what: Part::Reply, bytes, limit: crate::limits::BODY_INLINE, executed }
        }
        CallFault::Deadlock { cycle } => CallError::Deadlock { cycle: cycle.iter().collect(), executed },
        CallFault::ChainTooLong => CallError::Deadlock { cycle: vec![actor, actor], executed },
        CallFault::Argument { object, message } => CallError::Argument { object, why: message.into(), executed },
        CallFault::Stale => CallError::Stale { executed },
        // Who waits puts its own limit there.
        CallFault::TimeUp => CallError::Timeout { after: Duration::ZERO, waiting: Waiting::InMailbox, executed },
        CallFault::Fenced => CallError::NodeDied { node, executed },
        CallFault::Unread => CallError::Encode { what: Part::Reply, message: UNREAD.into(), executed },
        _ => CallError::Cancelled { executed },
    }
}
