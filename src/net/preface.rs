//! What a dialer says first, in clear: who it is for, which wire version, which lane. The preface is bound into the
//! handshake's prologue; it only lets another version be told apart from a wrong key.
//!
//! ```text
//! preface, 16 bytes, the first message of a connection
//!    0        6         8      9            16
//!    | MOBULA | version | lane | reserved 0 |      version: u16, little-endian
//!
//! answer, 8 bytes, then the connection is closed
//!    | MOBULA | version |                           version: the answering node's; if it is the dialer's own, the node is busy
//! ```
//!
//! The first eight bytes never change between versions; the length and the rest may.

use crate::limits::WIRE_VERSION;
use thiserror::Error;

/// The first bytes of every connection.
pub const MAGIC: [u8; 6] = *b"MOBULA";
/// The length of this version's preface.
pub const PREFACE_BYTES: usize = 16;
/// The length of the answer to another version.
pub const ANSWER_BYTES: usize = 8;

/// One of the connections between two nodes: a large object never delays a beat, and no lane's receiver serves another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Beats and leases.
    Control = 0,
    /// Calls and their answers.
    Calls = 1,
    /// Chunks of objects.
    Bulk = 2,
}

impl Lane {
    /// Every lane, by its number.
    pub const ALL: [Lane; 3] = [Lane::Control, Lane::Calls, Lane::Bulk];

    /// The lane of this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Lane> {
        Lane::ALL.get(usize::from(number)).copied()
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name: of its Unix socket, and in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Control => "control",
            Lane::Calls => "calls",
            Lane::Bulk => "bulk",
        }
    }
}

/// Why a connection's first message is no preface of ours.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PrefaceError {
    /// Whoever connected does not speak this protocol.
    #[error("the peer is no Mobula node: its first message is not a preface")]
    NotMobula,
    /// A Mobula node of another wire version: it is answered, then closed.
    #[error("the peer speaks wire version {theirs}, this node {WIRE_VERSION}: run the same version of mobula on both")]
    WireVersion {
        /// The peer's version.
        theirs: u16,
    },
    /// Our version, but not a preface that it can have sent.
    #[error("the peer's preface names no lane or sets reserved bytes")]
    Malformed,
}

/// The preface that opens `lane`.
#[must_use]
pub fn preface(lane: Lane) -> [u8; PREFACE_BYTES] {
    let mut bytes = [0; PREFACE_BYTES];
    bytes[..ANSWER_BYTES].copy_from_slice(&answer());
    bytes[ANSWER_BYTES] = lane.number();
    bytes
}

/// Reads a connection's whole first message.
///
/// # Errors
/// Tells a stranger, another version and a malformed preface apart.
pub fn read_preface(message: &[u8]) -> Result<Lane, PrefaceError> {
    match version(message) {
        None => return Err(PrefaceError::NotMobula),
        Some(WIRE_VERSION) => {}
        Some(theirs) => return Err(PrefaceError::WireVersion { theirs }),
    }
    match message[ANSWER_BYTES..] {
        [lane, 0, 0, 0, 0, 0, 0, 0] => Lane::from_number(lane).ok_or(PrefaceError::Malformed),
        _ => Err(PrefaceError::Malformed),
    }
}

/// What a peer of another version is answered in clear.
#[must_use]
pub fn answer() -> [u8; ANSWER_BYTES] {
    let mut bytes = [0; ANSWER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(&WIRE_VERSION.to_le_bytes());
    bytes
}

/// The other version, if `message` is an answer to a preface: anything else is the handshake's.
#[must_use]
pub fn read_answer(message: &[u8]) -> Option<u16> {
    if message.len() == ANSWER_BYTES { version(message) } else { None }
}

fn version(message: &[u8]) -> Option<u16> {
    match message.strip_prefix(&MAGIC)? {
        [low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        assert_eq!(preface(Lane::Calls), *b"MOBULA\x01\x00\x01\0\0\0\0\0\0\0");
        assert_eq!(preface(Lane::Bulk)[8], 2);
        assert_eq!(answer(), *b"MOBULA\x01\x00");
    }

    #[test]
    fn every_lane_is_read_back() {
        for lane in Lane::ALL {
            assert_eq!(read_preface(&preface(lane)), Ok(lane));
        }
    }

    #[test]
    fn another_version_is_told_from_a_stranger_whatever_follows_it() {
        let mut other = preface(Lane::Control);
        other[6..8].copy_from_slice(&[0x02, 0x01]);
        assert_eq!(read_preface(&other), Err(PrefaceError::WireVersion { theirs: 0x0102 }));
        assert_eq!(read_preface(&other[..8]), Err(PrefaceError::WireVersion { theirs: 0x0102 }));
        assert_eq!(read_answer(&other[..8]), Some(0x0102));
        for stranger in [&b""[..], b"MOBULA", b"MOBULA\x01", b"mobula\x01\x00\x01\0\0\0\0\0\0\0", b"GET / HTTP/1.1\r\n"]
        {
            assert_eq!(read_preface(stranger), Err(PrefaceError::NotMobula));
            assert_eq!(read_answer(stranger), None);
        }
    }

    #[test]
    fn a_preface_of_our_version_has_a_lane_zeros_and_sixteen_bytes() {
        for at in 9..PREFACE_BYTES {
            let mut bytes = preface(Lane::Control);
            bytes[at] = 1;
            assert_eq!(read_preface(&bytes), Err(PrefaceError::Malformed));
        }
        let mut bytes = preface(Lane::Control);
        bytes[8] = 3;
        assert_eq!(read_preface(&bytes), Err(PrefaceError::Malformed));
        assert_eq!(read_preface(&preface(Lane::Control)[..15]), Err(PrefaceError::Malformed));
        assert_eq!(read_preface(&[&preface(Lane::Control)[..], &[0]].concat()), Err(PrefaceError::Malformed));
    }
}
