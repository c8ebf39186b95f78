//! Who may read a store, who does, and what is pinned for them (PROTOCOLS §4). A reader is one connection of one process:
//!
//! ```text
//! issue ──▶ invited ── attach: its ticket, once ──▶ attached ── end of its socket ──▶ gone, and its pins with it
//!              └─ revoke ──▶ gone                      └─ revoke ──▶ given nothing more
//! ```
//!
//! A pin keeps its object's memory. No clock is involved: a reader that was stopped keeps its pins. The pins lie in the store,
//! and do not keep it: else neither would ever end whose runtime ended first. What keeps a store for the readers that are
//! attached is the task that talks with each ([`Keeper`]).

use super::view::{Pinned, Stored};
use super::{Location, Shared};
use crate::limits;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// What a store calls a process that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId(u64);

impl ReaderId {
    /// Its number, which its store never uses again.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The one of this number.
    #[must_use]
    pub fn from_number(number: u64) -> ReaderId {
        ReaderId(number)
    }
}

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
    /// Of the task that talks with it, once it has connected.
    keeper: Weak<Keeper>,
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
    pinned: Pinned,
    count: usize,
}

/// Keeps the store while its reader has pins, and is dropped with the task that talks with it, or with the runtime of that.
#[derive(Default)]
pub(super) struct Keeper(Mutex<Option<Arc<Shared>>>);

impl Keeper {
    fn keep(&self, shared: &Arc<Shared>) {
        self.0.lock().get_or_insert_with(|| Arc::clone(shared));
    }

    fn let_go(&self) -> Option<Arc<Shared>> {
        self.0.lock().take()
    }
}

/// A reader that has connected.
pub(super) struct Admitted {
    pub(super) reader: ReaderId,
    /// Segments that it is asked to unmap.
    pub(super) retired: mpsc::UnboundedReceiver<u64>,
    /// To be held for as long as it is talked with.
    pub(super) keeper: Arc<Keeper>,
}

/// What a reader had: to be dropped outside of any lock, and in this order.
#[derive(Default)]
pub(super) struct Left {
    _pins: Vec<Pinned>,
    mapped: Vec<u64>,
    _store: Option<Arc<Shared>>,
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
        let (keeper, pins, mapped) = Default::default();
        book.readers.insert(id, Reader { door, keeper, pins, mapped });
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

    /// The reader of this store whose ticket this is, now attached.
    pub(super) fn attach(&self, shared: &Arc<Shared>, ticket: &[u8; Ticket::BYTES]) -> Option<Admitted> {
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
        let (send, retired) = mpsc::unbounded_channel();
        reader.door = Door::Attached(send);
        let keeper = Arc::new(Keeper::default());
        reader.keeper = Arc::downgrade(&keeper);
        if !reader.pins.is_empty() {
            keeper.keep(shared);
        }
        Some(Admitted { reader: ReaderId(found?), retired, keeper })
    }

    pub(super) fn pin(&self, stored: &Stored, ReaderId(id): ReaderId) -> Result<Location, PinError> {
        let location = stored.location();
        let mut book = self.book.lock();
        let reader = book.readers.get_mut(&id).ok_or(PinError::ReaderGone)?;
        if matches!(reader.door, Door::Closed) {
            return Err(PinError::ReaderGone);
        }
        if reader.pins.is_empty()
            && let Some(keeper) = reader.keeper.upgrade()
        {
            keeper.keep(stored.shared());
        }
        let pin = reader.pins.entry((location.segment, location.offset));
        pin.or_insert_with(|| Pin { pinned: stored.pinned(), count: 0 }).count += 1;
        Ok(location)
    }

    /// Ends one pin. What is given back is to be dropped outside of any lock.
    pub(super) fn unpin(&self, ReaderId(id): ReaderId, at: (u64, u64)) -> Result<Left, Misbehaved> {
        let mut book = self.book.lock();
        let Reader { pins, keeper, .. } = book.readers.get_mut(&id).ok_or(Misbehaved)?;
        let pin = pins.get_mut(&at).ok_or(Misbehaved)?;
        pin.count -= 1;
        if pin.count > 0 {
            return Ok(Left::default());
        }
        let ended = pins.remove(&at).map(|pin| pin.pinned);
        let keeper = if pins.is_empty() { keeper.upgrade() } else { None };
        let store = keeper.and_then(|keeper| keeper.let_go());
        Ok(Left { _pins: ended.into_iter().collect(), mapped: Vec::new(), _store: store })
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
        let pins = reader.pins.into_values().map(|pin| pin.pinned).collect();
        let store = reader.keeper.upgrade().and_then(|keeper| keeper.let_go());
        Left { _pins: pins, mapped: reader.mapped.into_iter().collect(), _store: store }
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
