//! Who may read a store, who does, and what is pinned for them (PROTOCOLS §4). A reader is one connection of one process:
//!
//! ```text
//! issue ──▶ invited ── attach: its ticket, once ──▶ attached ── end of its socket ──▶ gone, and its pins with it
//!              └─ revoke ──▶ gone                      └─ revoke ──▶ given nothing more
//! ```
//!
//! A pin is a clone of the object's [`Stored`]. No clock is involved: a reader that was stopped keeps its pins.

use super::view::Stored;
use super::{Location, Shared};
use crate::limits;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// What a store calls a process that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId(u64);

/// Lets one process connect to a store, once. A secret: it travels over encrypted links only.
#[derive(Clone)]
pub struct Ticket(Zeroizing<[u8; Ticket::BYTES]>);

impl Ticket {
    /// How long a ticket is.
    pub const BYTES: usize = 32;

    /// The ticket that was sent as these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Ticket::BYTES]) -> Ticket {
        Ticket(Zeroizing::new(bytes))
    }

    /// Its bytes, to be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Ticket::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// Why no ticket was issued.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum TicketError {
    /// There are too many readers.
    #[error("the store has {} readers, which is the most; let one end first", limits::STORE_READERS)]
    TooMany,
    /// The system has no randomness.
    #[error("the system gives no randomness for a ticket: {0}")]
    Randomness(#[source] io::Error),
}

/// Why an object was not pinned.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PinError {
    /// The reader's socket ended, or its ticket was revoked.
    #[error("the reader is gone; send the object's bytes, or issue another ticket")]
    ReaderGone,
    /// The object lies in another store.
    #[error("the object is of another store; pin it there")]
    OtherStore,
}

/// A reader did what no reader does.
#[derive(Debug)]
pub(super) struct Misbehaved;

/// All readers of a store.
#[derive(Default)]
pub(super) struct Readers {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    next: u64,
    readers: FxHashMap<u64, Reader>,
}

struct Reader {
    door: Door,
    pins: FxHashMap<(u64, u64), Pin>,
    /// Segments that it was given and has not said to have unmapped.
    mapped: FxHashSet<u64>,
}

enum Door {
    /// It may connect.
    Invited(Ticket),
    /// It has; segments to unmap go this way. There are no more of them than it was given.
    Attached(mpsc::UnboundedSender<u64>),
    /// It is given nothing more.
    Closed,
}

struct Pin {
    stored: Stored,
    count: usize,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.stored.unpinned();
    }
}

/// What a reader had: to be dropped outside of any lock.
#[derive(Default)]
pub(super) struct Left {
    _pins: Vec<Pin>,
    mapped: Vec<u64>,
}

impl Readers {
    pub(super) fn issue(&self) -> Result<(ReaderId, Ticket), TicketError> {
        let mut ticket = Ticket(Zeroizing::new([0; Ticket::BYTES]));
        random(&mut *ticket.0).map_err(TicketError::Randomness)?;
        let mut book = self.book.lock();
        if book.readers.len() >= limits::STORE_READERS {
            return Err(TicketError::TooMany);
        }
        let id = book.next;
        book.next += 1;
        let door = Door::Invited(ticket.clone());
        book.readers.insert(id, Reader { door, pins: FxHashMap::default(), mapped: FxHashSet::default() });
        Ok((ReaderId(id), ticket))
    }

    pub(super) fn revoke(&self, ReaderId(id): ReaderId) -> Left {
        let mut book = self.book.lock();
        let Some(reader) = book.readers.get_mut(&id) else { return Left::default() };
        match std::mem::replace(&mut reader.door, Door::Closed) {
            // Nothing was ever mapped: nobody reads under these pins.
            Door::Invited(_) => book.remove(id),
            Door::Attached(_) | Door::Closed => Left::default(),
        }
    }

    /// The reader whose ticket this is, now attached, and the segments that it will be asked to unmap.
    pub(super) fn attach(&self, ticket: &[u8; Ticket::BYTES]) -> Option<(ReaderId, mpsc::UnboundedReceiver<u64>)> {
        let mut book = self.book.lock();
        let mut found = None;
        for (&id, reader) in &book.readers {
            // All are compared, each to its end: the time says nothing about how much of a guess was right.
            if let Door::Invited(invited) = &reader.door
                && bool::from(invited.as_bytes().ct_eq(ticket))
            {
                found = Some(id);
            }
        }
        let reader = book.readers.get_mut(&found?)?;
        let (send, receive) = mpsc::unbounded_channel();
        reader.door = Door::Attached(send);
        Some((ReaderId(found?), receive))
    }

    pub(super) fn pin(&self, stored: &Stored, ReaderId(id): ReaderId) -> Result<Location, PinError> {
        let location = stored.location();
        let mut book = self.book.lock();
        let reader = book.readers.get_mut(&id).ok_or(PinError::ReaderGone)?;
        if matches!(reader.door, Door::Closed) {
            return Err(PinError::ReaderGone);
        }
        let pin = reader.pins.entry((location.segment, location.offset)).or_insert_with(|| {
            stored.pinned();
            Pin { stored: stored.clone(), count: 0 }
        });
        pin.count += 1;
        Ok(location)
    }

    /// Ends one pin. What is given back is to be dropped outside of any lock.
    pub(super) fn unpin(&self, ReaderId(id): ReaderId, at: (u64, u64)) -> Result<Left, Misbehaved> {
        let mut book = self.book.lock();
        let pins = &mut book.readers.get_mut(&id).ok_or(Misbehaved)?.pins;
        let pin = pins.get_mut(&at).ok_or(Misbehaved)?;
        pin.count -= 1;
        let ended = if pin.count == 0 { pins.remove(&at) } else { None };
        Ok(Left { _pins: ended.into_iter().collect(), mapped: Vec::new() })
    }

    /// Notes that a reader maps a segment, once and only where something is pinned for it. False if its ticket was
    /// revoked: then it is given none, which is not its fault.
    pub(super) fn map(&self, ReaderId(id): ReaderId, segment: u64) -> Result<bool, Misbehaved> {
        let mut book = self.book.lock();
        let reader = book.readers.get_mut(&id).ok_or(Misbehaved)?;
        if matches!(reader.door, Door::Closed) {
            return Ok(false);
        }
        let pinned = reader.pins.keys().any(|&(at, _)| at == segment);
        match pinned && reader.mapped.insert(segment) {
            true => Ok(true),
            false => Err(Misbehaved),
        }
    }

    /// Notes that a reader has unmapped a segment.
    pub(super) fn unmap(&self, ReaderId(id): ReaderId, segment: u64) -> Result<(), Misbehaved> {
        let mut book = self.book.lock();
        let reader = book.readers.get_mut(&id).ok_or(Misbehaved)?;
        match reader.mapped.remove(&segment) {
            true => Ok(()),
            false => Err(Misbehaved),
        }
    }

    /// Asks who maps these segments to do so no more.
    pub(super) fn retire(&self, segments: &[u64]) {
        if segments.is_empty() {
            return;
        }
        let book = self.book.lock();
        for reader in book.readers.values() {
            let Door::Attached(out) = &reader.door else { continue };
            for segment in segments.iter().filter(|segment| reader.mapped.contains(segment)) {
                // Who is gone has unmapped it, and its end says so.
                let _ = out.send(*segment);
            }
        }
    }

    /// The reader's socket has ended: nobody is left who could read under its pins.
    pub(super) fn end(&self, ReaderId(id): ReaderId) -> Left {
        self.book.lock().remove(id)
    }
}

impl Book {
    fn remove(&mut self, id: u64) -> Left {
        let Some(reader) = self.readers.remove(&id) else { return Left::default() };
        Left { _pins: reader.pins.into_values().collect(), mapped: reader.mapped.into_iter().collect() }
    }
}

impl Shared {
    /// Ends all that a reader had.
    pub(super) fn reader_ended(self: &Arc<Self>, reader: ReaderId) {
        let left = self.readers.end(reader);
        for &segment in &left.mapped {
            self.state.lock().table.unmap(segment);
        }
        drop(left);
        self.settle();
    }
}

pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}
