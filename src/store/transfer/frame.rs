//! What owner and reader say to each other.
//!
//! ```text
//! reader, once   magic "MOBSTORE", version u32, zero u32, ticket 32 bytes
//! then, both     kind u8, zeros 7 bytes, a u64, b u64                          little endian as all
//!
//! owner to reader                                reader to owner
//! 1 Welcome                                      1 Ask      {segment}
//! 2 Refused  {reason}                            2 Unpin    {segment, offset}
//! 3 Segment  {segment, length} + descriptor      3 Unmapped {segment}
//! 4 Retire   {segment}
//! ```

use super::super::readers::Ticket;

/// Bytes of a message.
pub(super) const FRAME: usize = 24;
/// Bytes of a reader's first words.
pub(super) const GREETING: usize = 16 + Ticket::BYTES;
const MAGIC: &[u8; 8] = b"MOBSTORE";
const VERSION: u32 = 1;

/// What is wrong with bytes that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Why an owner refuses a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Version,
    Ticket,
}

/// From the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToReader {
    Welcome,
    Refused(Refusal),
    Segment { segment: u64, length: u64 },
    Retire { segment: u64 },
}

/// From the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToOwner {
    Ask { segment: u64 },
    Unpin { segment: u64, offset: u64 },
    Unmapped { segment: u64 },
}

fn frame(kind: u8, a: u64, b: u64) -> [u8; FRAME] {
    let mut bytes = [0; FRAME];
    bytes[0] = kind;
    bytes[8..16].copy_from_slice(&a.to_le_bytes());
    bytes[16..].copy_from_slice(&b.to_le_bytes());
    bytes
}

fn parts(bytes: &[u8; FRAME]) -> Result<(u8, u64, u64), Malformed> {
    let [kind, zeros @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = bytes;
    let (words, _) = bytes[8..].as_chunks::<8>();
    match (zeros, words) {
        ([0, 0, 0, 0, 0, 0, 0], &[a, b]) => Ok((*kind, u64::from_le_bytes(a), u64::from_le_bytes(b))),
        _ => Err(Malformed),
    }
}

impl ToReader {
    pub(super) fn encode(self) -> [u8; FRAME] {
        match self {
            ToReader::Welcome => frame(1, 0, 0),
            ToReader::Refused(Refusal::Version) => frame(2, 1, 0),
            ToReader::Refused(Refusal::Ticket) => frame(2, 2, 0),
            ToReader::Segment { segment, length } => frame(3, segment, length),
            ToReader::Retire { segment } => frame(4, segment, 0),
        }
    }

    pub(super) fn decode(bytes: &[u8; FRAME]) -> Result<ToReader, Malformed> {
        match parts(bytes)? {
            (1, 0, 0) => Ok(ToReader::Welcome),
            (2, 1, 0) => Ok(ToReader::Refused(Refusal::Version)),
            (2, 2, 0) => Ok(ToReader::Refused(Refusal::Ticket)),
            (3, segment, length) => Ok(ToReader::Segment { segment, length }),
            (4, segment, 0) => Ok(ToReader::Retire { segment }),
            _ => Err(Malformed),
        }
    }
}

impl ToOwner {
    pub(super) fn encode(self) -> [u8; FRAME] {
        match self {
            ToOwner::Ask { segment } => frame(1, segment, 0),
            ToOwner::Unpin { segment, offset } => frame(2, segment, offset),
            ToOwner::Unmapped { segment } => frame(3, segment, 0),
        }
    }

    pub(super) fn decode(bytes: &[u8; FRAME]) -> Result<ToOwner, Malformed> {
        match parts(bytes)? {
            (1, segment, 0) => Ok(ToOwner::Ask { segment }),
            (2, segment, offset) => Ok(ToOwner::Unpin { segment, offset }),
            (3, segment, 0) => Ok(ToOwner::Unmapped { segment }),
            _ => Err(Malformed),
        }
    }
}

/// A reader's first words.
pub(super) fn greeting(ticket: &Ticket) -> [u8; GREETING] {
    let mut bytes = [0; GREETING];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..].copy_from_slice(ticket.as_bytes());
    bytes
}

/// The ticket in a reader's first words.
pub(super) fn ticket(greeting: &[u8; GREETING]) -> Result<&[u8; Ticket::BYTES], Refusal> {
    let (head, ticket) = greeting.split_first_chunk::<16>().ok_or(Refusal::Version)?;
    let right = &head[..8] == MAGIC && head[8..12] == VERSION.to_le_bytes() && head[12..] == [0; 4];
    match right {
        true => ticket.first_chunk().ok_or(Refusal::Version),
        false => Err(Refusal::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written_and_nothing_else_is_taken(bytes: [u8; FRAME], kind in 0_u8..6, zeros: bool) {
            let mut bytes = bytes;
            bytes[0] = kind;
            if zeros {
                bytes[1..8].fill(0);
            }
            if let Ok(message) = ToReader::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
            if let Ok(message) = ToOwner::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
            prop_assert!(zeros || bytes[1..8] == [0; 7] || ToOwner::decode(&bytes) == Err(Malformed));
        }
    }

    #[test]
    fn a_greeting_of_another_version_is_told_from_a_ticket() {
        let good = greeting(&Ticket::from_bytes([7; 32]));
        assert_eq!(ticket(&good), Ok(&[7; 32]));
        for at in 0..16 {
            let mut other = good;
            other[at] ^= 1;
            assert_eq!(ticket(&other), Err(Refusal::Version));
        }
    }
}
