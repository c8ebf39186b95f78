//! How a batch of plaintext is sealed into one ZeroMQ message, and opened.
//!
//! ```text
//! message = full record* last record
//! record  = length, u16 little-endian | ciphertext of that length, the last 16 bytes its tag
//! full    = 65,519 bytes of plaintext: length 65,535
//! last    = 0 to 65,518 bytes of plaintext
//! ```
//!
//! Where a message ends is bound as well: exactly its last record is not full, so no message can be cut, or joined
//! with the next, at a record's end. Nonces count the records of each direction from 0 and are on no wire: a record
//! dropped, repeated or out of order does not open, and that ends the session. [`Sealer`] and [`Opener`] cannot be
//! cloned or set back, so no nonce is used twice.

use super::handshake::Cipher;
use crate::limits::{MESSAGE_PLAINTEXT, RECORD_PLAINTEXT, SESSION_BYTES, SESSION_RECORDS};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use thiserror::Error;

const TAG: usize = 16;
const HEADER: usize = 2;
const FULL: usize = RECORD_PLAINTEXT + TAG;
/// Shorter messages are allocated at their exact size; only longer ones are worth a buffer from the pool.
const POOLED_FROM: usize = 16 << 10;
/// Buffers kept for the next messages, each of at most [`KEPT_BYTES`].
const KEPT: usize = 16;
const KEPT_BYTES: usize = 320 << 10;

/// The sealed length of a batch.
pub(crate) const fn sealed_len(plaintext: usize) -> usize {
    plaintext + (plaintext / RECORD_PLAINTEXT + 1) * (HEADER + TAG)
}

/// What is wrong with a received message.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The message ends within a record, or a record is shorter than its tag.
    #[error("a record is cut short")]
    Short,
    /// Bytes follow a message's last record.
    #[error("bytes follow the last record of a message")]
    Long,
    /// The ciphertext is not the next one of this session.
    #[error("a record does not open: it was altered, dropped, repeated or reordered on its way")]
    Forged,
}

/// Why a batch cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    TooLong,
    /// The session's keys have sealed all they should: go on with a new session.
    WornOut,
}

/// Buffers of long messages, given back by the transport when it has copied them. Shared by the sessions of a node.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self, length: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        buffer
    }
}

struct Lent {
    buffer: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.buffer.len() <= KEPT_BYTES {
            let mut kept = self.home.0.lock();
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.buffer));
            }
        }
    }
}

/// Seals what this node sends in a session.
pub(crate) struct Sealer {
    cipher: Arc<Cipher>,
    nonce: u64,
    bytes: u64,
    buffers: Buffers,
}

/// Opens what this node receives in a session.
pub(crate) struct Opener {
    cipher: Arc<Cipher>,
    nonce: u64,
}

/// The two directions of a session.
pub(crate) fn directions(cipher: Cipher, buffers: Buffers) -> (Sealer, Opener) {
    let cipher = Arc::new(cipher);
    (Sealer { cipher: cipher.clone(), nonce: 0, bytes: 0, buffers }, Opener { cipher, nonce: 0 })
}

impl Sealer {
    /// Seals one batch. What was sealed must be sent, next: the peer counts along.
    pub(crate) fn seal(&mut self, plaintext: &[u8]) -> Result<Bytes, SealError> {
        if plaintext.len() > MESSAGE_PLAINTEXT {
            return Err(SealError::TooLong);
        }
        self.bytes += plaintext.len() as u64;
        if self.nonce > SESSION_RECORDS || self.bytes > SESSION_BYTES {
            return Err(SealError::WornOut);
        }
        let length = sealed_len(plaintext.len());
        if length < POOLED_FROM {
            let mut message = vec![0; length];
            self.fill(plaintext, &mut message)?;
            return Ok(Bytes::from(message));
        }
        let mut buffer = self.buffers.take(length);
        self.fill(plaintext, &mut buffer[..length])?;
        Ok(Bytes::from_owner(Lent { buffer, length, home: self.buffers.clone() }))
    }

    fn fill(&mut self, mut plaintext: &[u8], mut out: &mut [u8]) -> Result<(), SealError> {
        loop {
            let (record, rest) = plaintext.split_at(plaintext.len().min(RECORD_PLAINTEXT));
            let sealed = record.len() + TAG;
            let (header, body) = out.split_at_mut(HEADER);
            header.copy_from_slice(&(sealed as u16).to_le_bytes());
            let (body, following) = body.split_at_mut(sealed);
            self.cipher.seal(self.nonce, record, body).ok_or(SealError::WornOut)?;
            self.nonce += 1;
            if sealed < FULL {
                return Ok(());
            }
            (plaintext, out) = (rest, following);
        }
    }
}

impl Opener {
    /// Opens one message into the front of `opened`, which grows as needed, and returns the plaintext's length.
    /// After an error the session is over: what `opened` holds then is not authenticated.
    pub(crate) fn open(&mut self, mut message: &[u8], opened: &mut Vec<u8>) -> Result<usize, RecordError> {
        if opened.len() < message.len() {
            opened.resize(message.len(), 0);
        }
        let mut length = 0;
        loop {
            let (&header, rest) = message.split_first_chunk::<HEADER>().ok_or(RecordError::Short)?;
            let sealed = usize::from(u16::from_le_bytes(header));
            if sealed < TAG || sealed > rest.len() {
                return Err(RecordError::Short);
            }
            let (record, rest) = rest.split_at(sealed);
            if sealed < FULL && !rest.is_empty() {
                return Err(RecordError::Long);
            }
            length += self.cipher.open(self.nonce, record, &mut opened[length..]).ok_or(RecordError::Forged)?;
            self.nonce += 1;
            if sealed < FULL {
                return Ok(length);
            }
            message = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAME_AFTER_HANDSHAKE;
    use crate::net::handshake::tests::ciphers;
    use proptest::prelude::*;

    fn pair() -> (Sealer, Opener) {
        let (here, there) = ciphers();
        (directions(here, Buffers::default()).0, directions(there, Buffers::default()).1)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn a_batch_of_every_interesting_length_arrives_whole() {
        let (mut sealer, mut opener) = pair();
        let mut opened = Vec::new();
        let edge = RECORD_PLAINTEXT;
        for length in [0, 1, 100, POOLED_FROM, edge - 1, edge, edge + 1, 2 * edge, 5 * edge + 7, MESSAGE_PLAINTEXT] {
            let plaintext = pattern(length);
            let message = sealer.seal(&plaintext).unwrap();
            assert_eq!(message.len(), sealed_len(length));
            assert!(message.len() <= FRAME_AFTER_HANDSHAKE);
            assert_eq!(opener.open(&message, &mut opened), Ok(length));
            assert!(opened[..length] == plaintext);
        }
        assert_eq!(sealer.seal(&pattern(MESSAGE_PLAINTEXT + 1)), Err(SealError::TooLong));
        assert!(sealed_len(MESSAGE_PLAINTEXT + 1) > FRAME_AFTER_HANDSHAKE);
    }

    #[test]
    fn golden_layout() {
        let (mut sealer, _) = pair();
        assert_eq!(sealer.seal(b"").unwrap()[..2], [16, 0]);
        assert_eq!(sealer.seal(&[0; 300]).unwrap()[..2], [60, 1]);
        let two = sealer.seal(&[0; RECORD_PLAINTEXT + 1]).unwrap();
        assert_eq!((&two[..2], &two[65_537..65_539], two.len()), (&[255, 255][..], &[17, 0][..], 65_556));
    }

    #[test]
    fn long_buffers_are_used_again_and_short_ones_not_kept() {
        let (mut sealer, _) = pair();
        let at = |message: &Bytes| message.as_ptr();
        let first = sealer.seal(&pattern(100_000)).unwrap();
        let address = at(&first);
        drop(first);
        assert_eq!(at(&sealer.seal(&pattern(90_000)).unwrap()), address);
        let many: Vec<_> = (0..2 * KEPT).map(|_| sealer.seal(&pattern(20_000)).unwrap()).collect();
        drop(many);
        drop(sealer.seal(&pattern(MESSAGE_PLAINTEXT)).unwrap());
        let kept = sealer.buffers.0.lock();
        assert!(kept.len() <= KEPT && kept.iter().all(|buffer| buffer.len() <= KEPT_BYTES));
    }

    #[test]
    fn a_message_cut_or_joined_at_records_ends_does_not_open() {
        let (mut sealer, mut opener) = pair();
        let whole = sealer.seal(&pattern(RECORD_PLAINTEXT + 9)).unwrap();
        assert_eq!(opener.open(&whole[..HEADER + FULL], &mut Vec::new()), Err(RecordError::Short));
        let (mut sealer, mut opener) = pair();
        let (first, second) = (sealer.seal(b"one").unwrap(), sealer.seal(b"two").unwrap());
        assert_eq!(opener.open(&[first, second].concat(), &mut Vec::new()), Err(RecordError::Long));
        let (_, mut opener) = pair();
        assert_eq!(opener.open(&[], &mut Vec::new()), Err(RecordError::Short));
        assert_eq!(opener.open(&[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut Vec::new()), {
            Err(RecordError::Short)
        });
    }

    #[test]
    fn a_record_dropped_repeated_or_reordered_does_not_open() {
        for (order, good) in [(&[1][..], 0), (&[0, 0], 1), (&[0, 2], 1), (&[0, 2, 1], 1), (&[0, 1, 0], 2)] {
            let (mut sealer, mut opener) = pair();
            let messages = [b"one", b"two", b"six"].map(|text| sealer.seal(text).unwrap());
            let mut opened = Vec::new();
            let verdicts: Vec<_> = order.iter().map(|&at| opener.open(&messages[at], &mut opened)).collect();
            assert!(verdicts[..good].iter().all(Result::is_ok));
            assert_eq!(verdicts[good], Err(RecordError::Forged), "{order:?}");
        }
    }

    #[test]
    fn worn_out_keys_seal_no_more() {
        let (mut sealer, _) = pair();
        sealer.bytes = SESSION_BYTES - 3;
        assert!(sealer.seal(b"one").is_ok());
        assert_eq!(sealer.seal(b"!"), Err(SealError::WornOut));
        let (mut sealer, _) = pair();
        sealer.nonce = SESSION_RECORDS + 1;
        assert_eq!(sealer.seal(b""), Err(SealError::WornOut));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flipped_bit_anywhere_does_not_open(length in 0usize..70_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (mut sealer, mut opener) = pair();
            let mut message = sealer.seal(&pattern(length)).unwrap().to_vec();
            let at = at.index(message.len());
            message[at] ^= 1 << bit;
            prop_assert!(opener.open(&message, &mut Vec::new()).is_err());
        }

        #[test]
        fn random_bytes_neither_open_nor_panic(message in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(pair().1.open(&message, &mut Vec::new()).is_err());
        }
    }
}
