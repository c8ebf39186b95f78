//! Walks a MessagePack value without building it.
//!
//! The walk keeps one counter a level, so it neither recurses nor allocates. A count of items is compared with the
//! bytes that are left, each item taking at least one: after it, every declared length is true.

use super::DecodeError;
use crate::limits::BODY_DEPTH;

/// Whether `body` is exactly one value, nesting at most [`BODY_DEPTH`] deep.
pub(super) fn check(body: &[u8]) -> Result<(), DecodeError> {
    let mut rest = body;
    // Most messages are a list of plain values: for those, one counter is enough.
    let mut plain = open(&mut rest)?;
    while plain > 0 {
        plain -= 1;
        let items = open(&mut rest)?;
        if items > 0 {
            check_nested(&mut rest, plain, items)?;
            break;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
}

/// Goes on inside a container: `items` of it are left, and `around` of the one that it lies in.
fn check_nested(rest: &mut &[u8], around: usize, items: usize) -> Result<(), DecodeError> {
    let mut left = [0_usize; BODY_DEPTH];
    let mut depth = 2;
    left[..2].copy_from_slice(&[around, items]);
    while depth > 0 {
        let Some(items) = left[depth - 1].checked_sub(1) else {
            depth -= 1;
            continue;
        };
        left[depth - 1] = items;
        let items = open(rest)?;
        if items > 0 {
            *left.get_mut(depth).ok_or(DecodeError::TooDeep)? = items;
            depth += 1;
        }
    }
    Ok(())
}

/// Skips one marker with its payload; gives how many values nest directly inside, for which there are bytes.
#[inline]
fn open(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    let items = skip_one(rest)?;
    if items > rest.len() { Err(DecodeError::Truncated) } else { Ok(items) }
}

/// Skips one marker with its payload; gives how many values nest directly inside.
#[inline]
fn skip_one(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    let marker = number(rest, 1)?;
    let (payload, items) = match marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0),
        0x80..=0x8f => (0, 2 * (marker & 0x0f)),
        0x90..=0x9f => (0, marker & 0x0f),
        0xa0..=0xbf => (marker & 0x1f, 0),
        0xc4 | 0xd9 => (number(rest, 1)?, 0),
        0xc5 | 0xda => (number(rest, 2)?, 0),
        0xc6 | 0xdb => (number(rest, 4)?, 0),
        0xc7 => (number(rest, 1)? + 1, 0),
        0xc8 => (number(rest, 2)? + 1, 0),
        0xc9 => (number(rest, 4)? + 1, 0),
        0xcc | 0xd0 => (1, 0),
        0xcd | 0xd1 => (2, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
        0xdc => (0, number(rest, 2)?),
        0xdd => (0, number(rest, 4)?),
        0xde => (0, 2 * number(rest, 2)?),
        0xdf => (0, 2 * number(rest, 4)?),
        _ => return Err(DecodeError::Reserved),
    };
    let payload = usize::try_from(payload).map_err(|_| DecodeError::Truncated)?;
    *rest = rest.get(payload..).ok_or(DecodeError::Truncated)?;
    usize::try_from(items).map_err(|_| DecodeError::Truncated)
}

/// A big-endian number of `bytes` bytes.
#[inline]
fn number(rest: &mut &[u8], bytes: usize) -> Result<u64, DecodeError> {
    let (head, tail) = rest.split_at_checked(bytes).ok_or(DecodeError::Truncated)?;
    *rest = tail;
    Ok(head.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
