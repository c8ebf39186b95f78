//! The closed set of packets. Encoded by hand, decoded without copying: bodies and lists borrow from the batch.
//!
//! ```text
//! packet   = tag u8 . fields
//! work     = 01 Request | 02 Run | 03 Recall | 04 Stop
//! settle   = 11 Answer | 12 Item | 13 Room | 14 Credit | 15 Cancel | 16 Claim | 17 Claimed | 18 Release | 19 Landed
//!          | 1a Probe | 1b Gone
//!
//! Run      = grant varint . task varint . attempt varint . refs . body
//! Recall   = grant varint . count varint
//! Stop     = actor . placement varint . mode u8 (0 drain, 1 kill)
//! Item     = call varint . index varint . refs . body
//! Room     = call varint . count varint
//! Credit   = stream varint . count varint
//! Cancel   = call varint
//! Claim, Claimed, Release, Landed, Gone = counts
//! Probe    = to . origin . path of hops            to   = actor . method u64 . (0 | 1 . call varint)
//!
//! actor    = life varint . serial varint           wait = life varint . serial varint
//! frame    = actor . frame varint                  hop  = wait . actor
//! refs, chain, path, counts = count varint . that many
//! body     = what is left
//! ```
//!
//! `Request`, `Answer`, references and the options of a spawn have their own files. `Hello` begins a session instead of
//! travelling in a channel, so it is a kind of batch (`frame.rs`). A call is named by the work number of its request, a
//! stream by a number that its caller chose.

mod answer;
mod reference;
mod request;
mod spawn;

pub use answer::{Answer, CallFault, End, Executed, Outcome};
pub use reference::{Count, Counted, Kept, Pin, Ref};
pub use request::{Arrived, Flags, Request, may_be_tried_again, set_placement, set_stream, set_time_left};
pub use spawn::{Amount, Lifetime, Spawn};

use super::bytes::{Element, List, Reader, WireError, put_varint};
use crate::id::{ActorId, Incarnation, Key, Life, ObjectId, Placement};
use crate::limits::{BODY_INLINE, CHAIN_FRAMES, MESSAGE_REFS, PROBE_HOPS};

const REQUEST: u8 = 0x01;
const RUN: u8 = 0x02;
const RECALL: u8 = 0x03;
const STOP: u8 = 0x04;
const ANSWER: u8 = 0x11;
const ITEM: u8 = 0x12;
const ROOM: u8 = 0x13;
const CREDIT: u8 = 0x14;
const CANCEL: u8 = 0x15;
const CLAIM: u8 = 0x16;
const CLAIMED: u8 = 0x17;
const RELEASE: u8 = 0x18;
const LANDED: u8 = 0x19;
const PROBE: u8 = 0x1a;
const GONE: u8 = 0x1b;

/// A packet of the work channel: it may wait at its receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work<'a> {
    /// A call of an actor's method, or the making of an actor.
    Request(Request<'a>),
    /// A task under a grant.
    Run {
        /// Which grant it runs under.
        grant: u64,
        /// Which task it is.
        task: u64,
        /// Which attempt of it.
        attempt: u32,
        /// The references inside the body.
        refs: List<'a, Ref>,
        /// What to run.
        body: &'a [u8],
    },
    /// Asks for tasks back that have not begun.
    Recall {
        /// Of which grant.
        grant: u64,
        /// How many.
        count: u32,
    },
    /// Ends an actor, after the requests sent before it.
    Stop {
        /// Which actor.
        actor: ActorId,
        /// Where it was put.
        placement: Placement,
        /// How it ends.
        mode: StopMode,
    },
}

/// How a `Stop` ends an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// It runs what is in its mailbox, then its `on_stop`.
    Drain,
    /// It runs nothing more.
    Kill,
}

/// A packet of the settle channel: always read and applied at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Settle<'a> {
    /// The one answer of an ask.
    Answer(Answer<'a>),
    /// An item of a streaming reply.
    Item {
        /// The call that it answers.
        call: u64,
        /// Counts the items of the call from zero.
        index: u64,
        /// The references inside the body.
        refs: List<'a, Ref>,
        /// The item.
        body: &'a [u8],
    },
    /// The consumer of a streaming reply took items: so many more may be sent.
    Room {
        /// The call.
        call: u64,
        /// How many items were taken.
        count: u32,
    },
    /// Requests of a stream have begun: so many more may be sent.
    Credit {
        /// The stream, by its caller's number.
        stream: u32,
        /// How many requests.
        count: u32,
    },
    /// Nobody waits for this call any more.
    Cancel {
        /// The call.
        call: u64,
    },
    /// A holder asks the owner to count it.
    Claim(List<'a, Count>),
    /// The owner counted it.
    Claimed(List<'a, Count>),
    /// The owner could not count it: it is not there any more.
    Gone(List<'a, Count>),
    /// A holder's last handle went.
    Release(List<'a, Count>),
    /// References sent by a third node have arrived.
    Landed(List<'a, Count>),
    /// Follows a wait to see whether it waits for itself.
    Probe(Probe<'a>),
}

/// One wait of a handler's frame, anywhere in the cluster (PROTOCOLS §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId {
    /// The life of the node that waits.
    pub life: Life,
    /// Counts that life's waits.
    pub serial: u64,
}

/// A step of a probe: the wait that it went along, and whom that waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The wait.
    pub wait: WaitId,
    /// The actor that it waits for.
    pub actor: ActorId,
}

/// A running handler: one of those that an ask happens inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// Whose handler.
    pub actor: ActorId,
    /// Which run of it: unique among the frames of that actor's node.
    pub frame: u64,
}

/// The call that a probe follows next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTo {
    /// Whom it asks.
    pub actor: ActorId,
    /// The method's key: what it needs of the actor.
    pub method: Key,
    /// Its number over this link; none while it waits for credit.
    pub call: Option<u64>,
}

/// Follows a wait to see whether it waits for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe<'a> {
    /// What to look at.
    pub to: ProbeTo,
    /// The wait that sent it first.
    pub origin: WaitId,
    /// The waits that it went along, the origin's first.
    pub path: List<'a, Hop>,
}

impl<'a> Work<'a> {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Work::Request(ref request) => request.encode(out),
            Work::Run { grant, task, attempt, refs, body } => {
                out.push(RUN);
                put_varint(out, grant);
                put_varint(out, task);
                put_varint(out, u64::from(attempt));
                refs.put(out);
                out.extend_from_slice(body);
            }
            Work::Recall { grant, count } => {
                out.push(RECALL);
                put_varint(out, grant);
                put_varint(out, u64::from(count));
            }
            Work::Stop { actor, placement, mode } => {
                out.push(STOP);
                actor.put(out);
                put_varint(out, placement.0);
                out.push(mode as u8);
            }
        }
    }

    /// Reads one whole packet.
    #[inline]
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(packet);
        match reader.u8("a work packet")? {
            REQUEST => Request::read(reader).map(Work::Request),
            tag => Self::decode_rare(tag, reader),
        }
    }

    fn decode_rare(tag: u8, mut reader: Reader<'a>) -> Result<Self, WireError> {
        let packet = match tag {
            RUN => {
                let (grant, task) = (reader.varint("a grant")?, reader.varint("a task")?);
                let attempt = reader.varint32("an attempt")?;
                let refs = List::read(&mut reader, MESSAGE_REFS)?;
                return Ok(Work::Run { grant, task, attempt, refs, body: body(reader)? });
            }
            RECALL => Work::Recall { grant: reader.varint("a grant")?, count: reader.varint32("a count of tasks")? },
            STOP => Work::Stop {
                actor: ActorId::read(&mut reader)?,
                placement: Placement(reader.varint("a placement")?),
                mode: match reader.u8("a stop's mode")? {
                    0 => StopMode::Drain,
                    1 => StopMode::Kill,
                    tag => return Err(WireError::Tag { what: "a stop's mode", tag }),
                },
            },
            tag => return Err(WireError::Tag { what: "a work packet", tag }),
        };
        reader.end("a work packet")?;
        Ok(packet)
    }
}

impl<'a> Settle<'a> {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = |out: &mut Vec<u8>, tag: u8, numbers: &[u64]| {
            out.push(tag);
            numbers.iter().for_each(|number| put_varint(out, *number));
        };
        let counts = |out: &mut Vec<u8>, tag: u8, counts: &List<'_, Count>| {
            out.push(tag);
            counts.put(out);
        };
        match self {
            Settle::Answer(answer) => answer.encode(out),
            Settle::Item { call, index, refs, body } => {
                numbers(out, ITEM, &[*call, *index]);
                refs.put(out);
                out.extend_from_slice(body);
            }
            Settle::Room { call, count } => numbers(out, ROOM, &[*call, u64::from(*count)]),
            Settle::Credit { stream, count } => numbers(out, CREDIT, &[u64::from(*stream), u64::from(*count)]),
            Settle::Cancel { call } => numbers(out, CANCEL, &[*call]),
            Settle::Claim(list) => counts(out, CLAIM, list),
            Settle::Claimed(list) => counts(out, CLAIMED, list),
            Settle::Gone(list) => counts(out, GONE, list),
            Settle::Release(list) => counts(out, RELEASE, list),
            Settle::Landed(list) => counts(out, LANDED, list),
            Settle::Probe(probe) => probe.encode(out),
        }
    }

    /// Reads one whole packet.
    #[inline]
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(packet);
        match reader.u8("a settle packet")? {
            ANSWER => Answer::read(reader).map(Settle::Answer),
            tag => Self::decode_rare(tag, reader),
        }
    }

    fn decode_rare(tag: u8, mut reader: Reader<'a>) -> Result<Self, WireError> {
        let packet = match tag {
            ITEM => {
                let (call, index) = (reader.varint("a call")?, reader.varint("an item's index")?);
                let refs = List::read(&mut reader, MESSAGE_REFS)?;
                return Ok(Settle::Item { call, index, refs, body: body(reader)? });
            }
            ROOM => Settle::Room { call: reader.varint("a call")?, count: reader.varint32("a count of items")? },
            CREDIT => Settle::Credit { stream: reader.varint32("a stream")?, count: reader.varint32("a credit")? },
            CANCEL => Settle::Cancel { call: reader.varint("a call")? },
            CLAIM => Settle::Claim(List::read(&mut reader, MESSAGE_REFS)?),
            CLAIMED => Settle::Claimed(List::read(&mut reader, MESSAGE_REFS)?),
            GONE => Settle::Gone(List::read(&mut reader, MESSAGE_REFS)?),
            RELEASE => Settle::Release(List::read(&mut reader, MESSAGE_REFS)?),
            LANDED => Settle::Landed(List::read(&mut reader, MESSAGE_REFS)?),
            PROBE => Settle::Probe(Probe::read(&mut reader)?),
            tag => return Err(WireError::Tag { what: "a settle packet", tag }),
        };
        reader.end("a settle packet")?;
        Ok(packet)
    }
}

impl<'a> Probe<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(PROBE);
        self.to.put(out);
        self.origin.put(out);
        self.path.put(out);
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let to = ProbeTo::read(reader)?;
        Ok(Probe { to, origin: WaitId::read(reader)?, path: List::read(reader, PROBE_HOPS)? })
    }
}

impl ProbeTo {
    fn put(&self, out: &mut Vec<u8>) {
        self.actor.put(out);
        out.extend_from_slice(&self.method.0.to_le_bytes());
        match self.call {
            None => out.push(0),
            Some(call) => {
                out.push(1);
                put_varint(out, call);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let actor = ActorId::read(reader)?;
        let method = Key(reader.u64("the method that a probe follows")?);
        let call = match reader.u8("what a probe follows")? {
            0 => None,
            1 => Some(reader.varint("a call")?),
            tag => return Err(WireError::Tag { what: "what a probe follows", tag }),
        };
        Ok(ProbeTo { actor, method, call })
    }
}

fn body(reader: Reader<'_>) -> Result<&[u8], WireError> {
    let (body, most) = (reader.rest(), BODY_INLINE);
    if body.len() > most {
        return Err(WireError::TooLarge { what: "a body", found: body.len() as u64, most: most as u64 });
    }
    Ok(body)
}

fn read_chain<'a>(reader: &mut Reader<'a>) -> Result<List<'a, Frame>, WireError> {
    List::read(reader, CHAIN_FRAMES)
}

impl Element<'_> for ActorId {
    const WHAT: &'static str = "a list of actors";
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.life.0);
        put_varint(out, self.serial);
    }
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(ActorId { life: Life(reader.varint("an actor")?), serial: reader.varint("an actor")? })
    }
}

impl Element<'_> for ObjectId {
    const WHAT: &'static str = "a list of objects";
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.life.0);
        put_varint(out, self.serial);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(ObjectId { life: Life(reader.varint("an object")?), serial: reader.varint("an object")? })
    }
}

impl Element<'_> for WaitId {
    const WHAT: &'static str = "a list of waits";
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.life.0);
        put_varint(out, self.serial);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(WaitId { life: Life(reader.varint("a wait")?), serial: reader.varint("a wait")? })
    }
}

impl Element<'_> for Frame {
    const WHAT: &'static str = "a chain of frames";
    fn put(&self, out: &mut Vec<u8>) {
        self.actor.put(out);
        put_varint(out, self.frame);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Frame { actor: ActorId::read(reader)?, frame: reader.varint("a frame")? })
    }
}

impl Element<'_> for Hop {
    const WHAT: &'static str = "a probe's path";
    fn put(&self, out: &mut Vec<u8>) {
        self.wait.put(out);
        self.actor.put(out);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Hop { wait: WaitId::read(reader)?, actor: ActorId::read(reader)? })
    }
}

fn put_incarnation(incarnation: Incarnation, out: &mut Vec<u8>) {
    put_varint(out, incarnation.placement.0);
    put_varint(out, u64::from(incarnation.restart));
}

fn read_incarnation(reader: &mut Reader<'_>) -> Result<Incarnation, WireError> {
    Ok(Incarnation {
        placement: Placement(reader.varint("an incarnation")?),
        restart: reader.varint32("an incarnation")?,
    })
}

#[cfg(test)]
mod tests;
