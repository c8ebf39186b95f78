//! ZMTP 3.0 headers, checked before a byte of what they announce is passed on. Pure: byte slices in, verdicts out.
//!
//! ```text
//! greeting, 64 bytes   ff ........ 7f | major minor | mechanism, 20 bytes | as-server | zeros, 31 bytes
//! frame                flags | length (1 byte, or 8 bytes big-endian if flags has LONG) | body
//! flags                0 0 0 0 0 COMMAND LONG MORE
//! READY                frame with COMMAND: 5 "READY" { name length (1), name, value length (4, big-endian), value }*
//! ```
//!
//! An opening is greeting, READY and, on the accepting side, the preface as the first message. What follows is messages
//! of one part each: [`Frames`] passes whole headers on only once they are checked.

use crate::net::preface::{ANSWER_BYTES, PREFACE_BYTES};
use std::fmt;
use thiserror::Error;

/// The greeting's length.
pub const GREETING_BYTES: usize = 64;
/// The longest opening: greeting, READY, preface, and what a preface of another version may be longer.
pub const OPENING_BYTES: usize = GREETING_BYTES + SHORT_HEADER + u8::MAX as usize + SHORT_HEADER + PREFACE_MAX;
/// The bytes of a READY with an identity of ours, and of the greeting before it.
pub const GREETING_AND_READY_BYTES: usize = 160;

const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
const COMMAND: u8 = 0b100;
const SHORT_HEADER: usize = 2;
const LONG_HEADER: usize = 9;
const PREFACE_MAX: usize = 4 * PREFACE_BYTES;
const MECHANISM: [u8; 20] = *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const VERSION_AT: usize = 10;
const MECHANISM_AT: usize = 12;
const SIGNATURE_END: usize = 9;

/// What a peer sent that no peer of ours sends.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Not a greeting of ZMTP 3 with the NULL mechanism.
    #[error("the peer does not speak ZMTP 3 with the NULL mechanism")]
    Greeting,
    /// The greeting is not followed by a well-formed, short READY of the socket expected.
    #[error("the peer's READY is malformed, too long, or of another kind of socket")]
    Ready,
    /// READY holds an identity: it would replace another peer's route.
    #[error("the peer chose its own identity, which only the guard may")]
    Identity,
    /// The first message is too short or too long for any version's preface.
    #[error("the peer's first message is no preface")]
    Preface,
    /// A frame's declared length is over what any peer may send.
    #[error("the peer declared a frame of {declared} bytes, over the bound of {bound}")]
    FrameTooLong {
        /// The length in the frame's header.
        declared: u64,
        /// The bound.
        bound: usize,
    },
    /// MORE is set: a message has one part here.
    #[error("the peer sent a message of several parts")]
    Multipart,
    /// A command after READY.
    #[error("the peer sent a command after its READY")]
    Command,
    /// Flags that ZMTP reserves.
    #[error("the peer set reserved flags in a frame's header")]
    ReservedFlags,
}

/// The kinds of socket that meet across the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Dials.
    Dealer,
    /// Is dialled.
    Router,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Kind::Dealer => "DEALER",
            Kind::Router => "ROUTER",
        }
    }
}

/// The identity that the guard gives a connection: the ROUTER behind it knows the peer by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIdentity(pub [u8; 16]);

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Appends the greeting and the READY of a `kind` of socket.
pub fn write_greeting_and_ready(kind: Kind, identity: Option<&PeerIdentity>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + GREETING_BYTES, 0);
    let greeting = &mut out[start..];
    greeting[0] = 0xff;
    greeting[SIGNATURE_END] = 0x7f;
    greeting[VERSION_AT] = 3;
    greeting[MECHANISM_AT..MECHANISM_AT + MECHANISM.len()].copy_from_slice(&MECHANISM);
    let mut body = b"\x05READY".to_vec();
    write_property("Socket-Type", kind.text().as_bytes(), &mut body);
    if let Some(identity) = identity {
        write_property("Identity", &identity.0, &mut body);
    }
    out.extend_from_slice(&[COMMAND, body.len() as u8]);
    out.extend_from_slice(&body);
}

fn write_property(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// The end of greeting and READY of a `kind` of socket at the front of `bytes`; `None` while they are incomplete.
///
/// # Errors
/// At the first byte that cannot belong to them.
pub fn greeting_and_ready(bytes: &[u8], kind: Kind) -> Result<Option<usize>, Violation> {
    let (greeting, rest) = bytes.split_at(bytes.len().min(GREETING_BYTES));
    check_greeting(greeting)?;
    if rest.first().is_some_and(|&flags| flags != COMMAND) {
        return Err(Violation::Ready);
    }
    let Some((&length, body)) = rest.get(1..).and_then(<[u8]>::split_first) else { return Ok(None) };
    let length = usize::from(length);
    let Some(body) = body.get(..length) else { return Ok(None) };
    check_ready(body, kind)?;
    Ok(Some(GREETING_BYTES + SHORT_HEADER + length))
}

/// The first message, from `bytes` that begin after READY, and where it ends; `None` while it is incomplete.
///
/// # Errors
/// At the first byte that cannot begin a preface's frame.
pub fn first_message(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Violation> {
    let Some(header) = Header::read(bytes)? else { return Ok(None) };
    let length = usize::try_from(header.length)
        .ok()
        .filter(|length| (ANSWER_BYTES..=PREFACE_MAX).contains(length))
        .ok_or(Violation::Preface)?;
    let end = header.bytes + length;
    Ok(bytes.get(header.bytes..end).map(|message| (message, end)))
}

fn check_greeting(bytes: &[u8]) -> Result<(), Violation> {
    let fits = bytes.iter().enumerate().all(|(at, &byte)| match at {
        0 => byte == 0xff,
        SIGNATURE_END => byte == 0x7f,
        VERSION_AT => byte >= 3,
        MECHANISM_AT..=31 => byte == MECHANISM[at - MECHANISM_AT],
        _ => true,
    });
    if fits { Ok(()) } else { Err(Violation::Greeting) }
}

fn check_ready(body: &[u8], kind: Kind) -> Result<(), Violation> {
    let mut rest = body.strip_prefix(b"\x05READY").ok_or(Violation::Ready)?;
    let mut found = None;
    while !rest.is_empty() {
        let (name, value, after) = property(rest).ok_or(Violation::Ready)?;
        if name.eq_ignore_ascii_case(b"Identity") && !value.is_empty() {
            return Err(Violation::Identity);
        }
        if name.eq_ignore_ascii_case(b"Socket-Type") && found.replace(value).is_some() {
            return Err(Violation::Ready);
        }
        rest = after;
    }
    if found == Some(kind.text().as_bytes()) { Ok(()) } else { Err(Violation::Ready) }
}

fn property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((name, value, rest))
}

struct Header {
    bytes: usize,
    length: u64,
}

impl Header {
    /// The message frame's header at the front; `None` while it is incomplete.
    fn read(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(&flags) = bytes.first() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(Violation::ReservedFlags);
        }
        if flags & COMMAND != 0 {
            return Err(Violation::Command);
        }
        if flags & MORE != 0 {
            return Err(Violation::Multipart);
        }
        Ok(match bytes[1..] {
            [length, ..] if flags & LONG == 0 => Some(Header { bytes: SHORT_HEADER, length: u64::from(length) }),
            [a, b, c, d, e, f, g, h, ..] if flags & LONG != 0 => {
                Some(Header { bytes: LONG_HEADER, length: u64::from_be_bytes([a, b, c, d, e, f, g, h]) })
            }
            _ => None,
        })
    }
}

/// What may be passed on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Frames up to `frame` bytes, and `total` bytes in all, headers included; longer ones wait for the admission.
    Handshake {
        /// The longest frame.
        frame: usize,
        /// What is left of the bytes in all.
        total: usize,
    },
    /// Anything within the bound of every frame.
    Admitted,
}

/// Checks the frames that follow an opening, in whatever pieces they arrive.
///
/// A frame over `bound` is refused whenever it is declared. One that only the allowance forbids is held back: a peer
/// that has finished the handshake may go on before this side has admitted it.
#[derive(Clone, Debug)]
pub struct Frames {
    bound: usize,
    allowance: Allowance,
    body_left: usize,
}

impl Frames {
    /// At the beginning of a frame; none may be over `bound` bytes.
    #[must_use]
    pub const fn new(bound: usize, allowance: Allowance) -> Self {
        Self { bound, allowance, body_left: 0 }
    }

    /// The handshake is done: frames up to the bound pass.
    pub fn admit(&mut self) {
        self.allowance = Allowance::Admitted;
    }

    /// How many bytes at the front of `bytes` may be passed on. The rest, a header that is incomplete or held back and
    /// what follows it, is to be given again, with more bytes behind it or after [`Frames::admit`].
    ///
    /// # Errors
    /// As soon as a header is complete enough to be refused.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut at = self.body_left.min(bytes.len());
        self.body_left -= at;
        while self.body_left == 0 {
            let Some(header) = Header::read(&bytes[at..])? else { break };
            let length = usize::try_from(header.length)
                .ok()
                .filter(|&length| length <= self.bound)
                .ok_or(Violation::FrameTooLong { declared: header.length, bound: self.bound })?;
            if !self.allow(length, header.bytes + length) {
                break;
            }
            at += header.bytes;
            let body = length.min(bytes.len() - at);
            at += body;
            self.body_left = length - body;
        }
        Ok(at)
    }

    fn allow(&mut self, length: usize, with_header: usize) -> bool {
        match &mut self.allowance {
            Allowance::Admitted => true,
            Allowance::Handshake { frame, total } if length <= *frame && with_header <= *total => {
                *total -= with_header;
                true
            }
            Allowance::Handshake { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
