//! Records as bytes, in blocks that are written and checked as a whole.
//!
//! ```text
//! block    checksum  u32   CRC-32 of the block's number (u64) and of what follows; all numbers little-endian
//!          record ..
//! record   length    u32
//!          body            MessagePack with field names
//! ```
//!
//! [`VERSION`] names all of this, the records' own shape included: a record that reads differently is another version. What
//! version 1 wrote reads as it did: it knew of no actors in processes of their own (`Spawn::isolated`, `Join::claims`,
//! `Record::Claimed`).

use crate::directory::record::Record;
use crate::limits::JOURNAL_BLOCK;
use crate::wire::codec::{self, EncodeError};

/// The format's version.
pub const VERSION: u32 = 2;

/// The versions that are read.
pub const READ: std::ops::RangeInclusive<u32> = 1..=VERSION;

const CHECKSUM: usize = 4;

/// Why bytes are no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Its checksum is another one.
    #[error("block {0} does not have its checksum")]
    Checksum(u64),
    /// A record ends early.
    #[error("block {0} ends in the middle of a record")]
    Short(u64),
    /// A record is none.
    #[error("block {block} holds no such record: {why}")]
    Record {
        /// Which.
        block: u64,
        /// What is wrong.
        why: String,
    },
}

/// Records as blocks, the first of which gets this number. A block ends once it is [`JOURNAL_BLOCK`] long.
///
/// # Errors
/// A record does not encode.
pub fn pack(first: u64, records: &[Record]) -> Result<Vec<Vec<u8>>, EncodeError> {
    let mut blocks = Vec::new();
    let mut block = vec![0; CHECKSUM];
    for record in records {
        let start = block.len();
        block.extend([0; 4]);
        codec::encode(record, &mut block)?;
        let length = u32::try_from(block.len() - start - 4).unwrap_or(u32::MAX);
        block[start..start + 4].copy_from_slice(&length.to_le_bytes());
        if block.len() >= JOURNAL_BLOCK {
            blocks.push(std::mem::replace(&mut block, vec![0; CHECKSUM]));
        }
    }
    if block.len() > CHECKSUM {
        blocks.push(block);
    }
    for (block, number) in blocks.iter_mut().zip(first..) {
        let sum = checksum(number, &block[CHECKSUM..]);
        block[..CHECKSUM].copy_from_slice(&sum.to_le_bytes());
    }
    Ok(blocks)
}

/// The records of a block.
///
/// # Errors
/// It is not what was written under this number.
pub fn unpack(number: u64, block: &[u8], records: &mut Vec<Record>) -> Result<(), BlockError> {
    let (sum, mut rest) = block.split_first_chunk::<CHECKSUM>().ok_or(BlockError::Short(number))?;
    if u32::from_le_bytes(*sum) != checksum(number, rest) {
        return Err(BlockError::Checksum(number));
    }
    while !rest.is_empty() {
        let (length, body) = rest.split_first_chunk::<4>().ok_or(BlockError::Short(number))?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (body, after) = body.split_at_checked(length).ok_or(BlockError::Short(number))?;
        let record = codec::decode(body);
        records.push(record.map_err(|why| BlockError::Record { block: number, why: why.to_string() })?);
        rest = after;
    }
    Ok(())
}

fn checksum(number: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
