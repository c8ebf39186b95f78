//! `Request`: a call of an actor's method, or the making of an actor.
//!
//! ```text
//! request  = 01 . flags u8 . stream u32 . time left u32 . placement u64      what is patched when it is sent lies here
//!          . actor . method u64 . [retries varint] . [caller actor . placement varint . restart varint]
//!          . chain . refs . body
//! flags    = 01 tell . 02 spawn . 04 stream . 08 retries follow . 10 the caller follows
//! time left = microseconds; ffffffff: none, or more than that says
//! ```

use super::{Frame, REQUEST, Ref, body, put_incarnation, read_chain, read_incarnation};
use crate::id::{ActorId, Incarnation, Key, Placement};
use crate::limits::{MESSAGE_REFS, RETRIES};
use crate::wire::bytes::{Element, List, Reader, WireError, put_varint};
use std::time::Duration;

const STREAM_AT: usize = 2;
const TIME_LEFT_AT: usize = 6;
const PLACEMENT_AT: usize = 10;
const PATCHED: usize = 18;
const NO_TIME: u32 = u32::MAX;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// A plain ask.
    pub const ASK: Flags = Flags(0);
    /// No answer is expected.
    pub const TELL: Flags = Flags(1);
    /// The method is a constructor: the host makes the actor under the id and placement given. The body is a
    /// [`Spawn`](super::Spawn).
    pub const SPAWN: Flags = Flags(2);
    /// The reply is a stream of items, then an answer.
    pub const STREAM: Flags = Flags(4);
    const RETRIES: u8 = 8;
    const CALLER: u8 = 16;
    const CHOSEN: u8 = 7;

    /// Both.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A call of an actor's method, or the making of an actor. Its work number is the call's id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    /// The kind.
    pub flags: Flags,
    /// The caller's number of the stream that it is part of; set when the link sends it.
    pub stream: u32,
    /// How long its caller still waits; none: without end.
    pub time_left: Option<Duration>,
    /// Where the caller believes the actor to be: another placement answers `NotHere`.
    pub placement: Placement,
    /// Whom it calls.
    pub actor: ActorId,
    /// The method's key, or the constructor's.
    pub method: Key,
    /// How often it may begin again in a later incarnation.
    pub retries: u32,
    /// The actor that calls, if the head has placed it and may do so again.
    pub caller: Option<(ActorId, Incarnation)>,
    /// The frames that this call happens inside of, the outermost first.
    pub chain: List<'a, Frame>,
    /// The references inside the body.
    pub refs: List<'a, Ref>,
    /// The arguments.
    pub body: &'a [u8],
}

/// What the link reads of an arriving request before anyone decodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The caller's number of its stream.
    pub stream: u32,
    /// Whether its caller waits for no answer.
    pub tell: bool,
    /// Whether it is answered by items.
    pub streaming: bool,
}

impl Arrived {
    /// Reads the front of a work packet; none if it is no request.
    #[inline]
    pub fn of(packet: &[u8]) -> Result<Option<Arrived>, WireError> {
        let front: &[u8; PATCHED] = match packet.first_chunk() {
            Some(front) if front[0] == REQUEST => front,
            None if packet.first().is_none_or(|tag| *tag == REQUEST) => {
                return Err(WireError::Truncated("a request"));
            }
            _ => return Ok(None),
        };
        let flags = Flags(front[1]);
        let stream = u32::from_le_bytes([front[2], front[3], front[4], front[5]]);
        Ok(Some(Arrived { stream, tell: flags.has(Flags::TELL), streaming: flags.has(Flags::STREAM) }))
    }
}

/// Whether an encoded request may be tried again in a later incarnation: a stream may not, of which items were taken.
#[inline]
#[must_use]
pub fn may_be_tried_again(request: &[u8]) -> bool {
    request.get(1).is_some_and(|flags| flags & Flags::RETRIES != 0 && flags & Flags::STREAM.0 == 0)
}

/// Writes the stream's number into an encoded request.
#[inline]
pub fn set_stream(request: &mut [u8], stream: u32) {
    patch(request, STREAM_AT, stream.to_le_bytes());
}

/// Writes the time left into an encoded request.
#[inline]
pub fn set_time_left(request: &mut [u8], time_left: Option<Duration>) {
    patch(request, TIME_LEFT_AT, micros(time_left).to_le_bytes());
}

/// Writes the placement into an encoded request: its stream was bound anew before it was sent.
pub fn set_placement(request: &mut [u8], placement: Placement) {
    patch(request, PLACEMENT_AT, placement.0.to_le_bytes());
}

#[inline]
fn patch<const N: usize>(request: &mut [u8], at: usize, bytes: [u8; N]) {
    debug_assert_eq!(request.first(), Some(&REQUEST), "only requests are patched");
    if let Some(place) = request.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

fn micros(time_left: Option<Duration>) -> u32 {
    time_left.map_or(NO_TIME, |left| u32::try_from(left.as_micros()).unwrap_or(NO_TIME))
}

impl<'a> Request<'a> {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = self.flags.0 & Flags::CHOSEN;
        flags |= if self.retries > 0 { Flags::RETRIES } else { 0 };
        flags |= if self.caller.is_some() { Flags::CALLER } else { 0 };
        out.extend_from_slice(&[REQUEST, flags]);
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.extend_from_slice(&micros(self.time_left).to_le_bytes());
        out.extend_from_slice(&self.placement.0.to_le_bytes());
        self.actor.put(out);
        out.extend_from_slice(&self.method.0.to_le_bytes());
        if self.retries > 0 {
            put_varint(out, u64::from(self.retries));
        }
        if let Some((actor, incarnation)) = self.caller {
            actor.put(out);
            put_incarnation(incarnation, out);
        }
        self.chain.put(out);
        self.refs.put(out);
        out.extend_from_slice(self.body);
    }

    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let flags = reader.u8("a request")?;
        if flags & !(Flags::CHOSEN | Flags::RETRIES | Flags::CALLER) != 0 {
            return Err(WireError::Tag { what: "a request's flags", tag: flags });
        }
        let stream = reader.u32("a request")?;
        let time_left = reader.u32("a request")?;
        let placement = Placement(reader.u64("a request")?);
        let actor = ActorId::read(&mut reader)?;
        let method = Key(reader.u64("a request")?);
        let retries = match flags & Flags::RETRIES {
            0 => 0,
            _ => u32::try_from(reader.bounded(u64::from(RETRIES), "a request's retries")?).unwrap_or(RETRIES),
        };
        let caller = match flags & Flags::CALLER {
            0 => None,
            _ => Some((ActorId::read(&mut reader)?, read_incarnation(&mut reader)?)),
        };
        let chain = read_chain(&mut reader)?;
        let refs = List::read(&mut reader, MESSAGE_REFS)?;
        Ok(Request {
            flags: Flags(flags & Flags::CHOSEN),
            stream,
            time_left: (time_left != NO_TIME).then(|| Duration::from_micros(u64::from(time_left))),
            placement,
            actor,
            method,
            retries,
            caller,
            chain,
            refs,
            body: body(reader)?,
        })
    }
}
