//! A node's shared-memory store: immutable objects that other processes of this host read in place. A library below the
//! node: it knows bytes and where they lie, and neither who owns an object nor who asks for it.
//!
//! ```text
//! Store ── create ──▶ Draft ── seal ──▶ Stored ── keep ──▶ Kept ◀── spill, restore ──▶ disk
//!   │                                     │
//!   │ table: whose memory is what         │ pin ──▶ Location ── over a link ──┐
//!   │ segment: memory files               ▼                                   ▼
//!   └─ serve ═══ Unix socket: descriptors, unpins, retirements ═══ Attached ── view ──▶ Foreign
//! ```
//!
//! PROTOCOLS §4 has the rules between owner and readers.

mod copy;
mod keeper;
mod kept;
mod line;
mod log;
mod readers;
mod segment;
mod spill;
mod table;
mod transfer;
mod view;
mod weight;

pub(crate) use kept::Again;
pub use kept::Kept;
pub(crate) use log::{Record, SpillLog};
pub use readers::{PinError, ReaderId, Ticket, TicketError};
pub use segment::MappingError;
pub use spill::SpillError;
pub use transfer::{Attached, Ending, Foreign, ServeError, Server, TransferError};
pub use view::{Draft, Stored};
pub use weight::Weight;

use crate::sync::flag::Flag;
use keeper::Spiller;
use line::State;
use parking_lot::Mutex;
use readers::Readers;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use table::Table;
use thiserror::Error;
use tokio::sync::Notify;

/// How the memory of an object is aligned.
pub(crate) const ALIGNMENT: usize = table::blocks::GRANULE;

/// What [`Store::new`] is given.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Bytes of memory that the store may take, at most.
    pub capacity: usize,
    /// Where objects are spilled that do not fit; it is made if need be. Without one, nothing is spilled.
    pub folder: Option<PathBuf>,
}

/// Where an object is: a range of a segment, for processes that read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The segment, by a number that the store never uses again.
    pub segment: u64,
    /// Bytes from its beginning: a multiple of 64.
    pub offset: u64,
    /// Bytes of the object.
    pub length: u64,
}

/// Why an object has no memory, or is not given back.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum StoreError {
    /// It would not fit if it were alone.
    #[error(
        "an object of {length} bytes exceeds the store's {capacity} bytes; give the store more memory, or split it"
    )]
    TooLarge {
        /// Its bytes.
        length: usize,
        /// The store's.
        capacity: usize,
    },
    /// Others hold the memory.
    #[error("the store has no room for {length} bytes: {usage}{}", because(spill.as_ref()))]
    NoRoom {
        /// The object's bytes.
        length: usize,
        /// What holds the memory.
        usage: Usage,
        /// Why objects could not be spilled, if one could not.
        spill: Option<SpillError>,
    },
    /// Too many wait for room already.
    #[error("{} creations wait for room in the store already; let some end first", crate::limits::STORE_LINE)]
    LineFull,
    /// The system gave no memory file.
    #[error("the system gives no shared memory: {0}")]
    System(#[source] io::Error),
    /// A copy was dropped for want of memory: who has the object is to be asked for it again.
    #[error("the copy was dropped for want of memory, and must be had again")]
    Evicted,
    /// It could not be brought back from disk, or the store could not take its folder.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// Stores are made and used within a tokio runtime, which does their work in the background.
    #[error("there is no tokio runtime here, or it is ending; make and use the store within one")]
    NoRuntime,
}

fn because(spill: Option<&SpillError>) -> String {
    spill.map_or_else(String::new, |error| format!("; nothing could be spilled: {error}"))
}

/// What holds a store's memory, in bytes, rounding included. All but the capacity and `heap` is shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What there may be.
    pub capacity: usize,
    /// What there is: all segments.
    pub held: usize,
    /// Objects that are being written.
    pub drafts: usize,
    /// Sealed objects that no other process reads.
    pub sealed: usize,
    /// Sealed objects that other processes read.
    pub pinned: usize,
    /// Free segments, kept for the next objects.
    pub warm: usize,
    /// Free segments that other processes have not unmapped yet.
    pub retiring: usize,
    /// Values of [`STORED`](crate::limits::STORED) bytes and more in the process's own memory: alive, or as they travel. They are not
    /// moved to disk, and those that arrived may exceed the capacity.
    pub heap: usize,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { capacity, drafts, sealed, pinned, retiring, heap, .. } = self;
        write!(
            f,
            "of {capacity} bytes, drafts hold {drafts}, sealed objects {sealed}, those that other processes read {pinned}, \
             memory that readers still map {retiring}, and values in the process's own memory {heap}"
        )
    }
}

/// A node's store. Clones are the same store; it ends with the last of them and of its objects, and of the pins of readers that
/// are attached while their runtime goes on.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    state: Mutex<State>,
    /// Bytes of objects by what they are; the table knows the sum with the sealed ones.
    drafts: AtomicUsize,
    pinned: AtomicUsize,
    readers: Readers,
    spiller: Spiller,
    /// The housekeeper wants objects to become idle, to spill them.
    hungry: Flag,
    housekeeper: Arc<Notify>,
}

impl Store {
    /// An empty store, which takes memory as objects come.
    ///
    /// # Errors
    ///
    /// Outside of a tokio runtime, and if the folder for spilled objects cannot be had.
    pub fn new(config: StoreConfig) -> Result<Store, StoreError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StoreError::NoRuntime)?;
        let spiller = Spiller::new(config.folder.as_deref())?;
        let table = Table::new(config.capacity, segment::page_size()).of_at_most(segment::most());
        let shared = Arc::new(Shared {
            capacity: config.capacity,
            state: Mutex::new(State::new(table)),
            drafts: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            readers: Readers::default(),
            spiller,
            hungry: Flag::default(),
            housekeeper: Arc::new(Notify::new()),
        });
        runtime.spawn(keeper::run(Arc::downgrade(&shared), Arc::clone(&shared.housekeeper)));
        Ok(Store { shared })
    }

    /// Memory for an object, now.
    ///
    /// # Errors
    ///
    /// If there is no room, or others wait for some. The error says what holds the memory.
    pub fn try_create(&self, length: usize) -> Result<Draft, StoreError> {
        self.shared.draft_now(length)
    }

    /// Memory for an object, after everybody who asked before. Spilling makes room meanwhile, if the store has a folder.
    /// Dropping the future leaves the line and costs nobody else their place.
    ///
    /// # Errors
    ///
    /// If `wait` passes without room, or if there can never be any.
    pub async fn create(&self, length: usize, wait: Duration) -> Result<Draft, StoreError> {
        self.shared.draft(length, wait).await
    }

    /// Stores a copy, if there is room now. Copying takes 0.1 ms a megabyte: call it on a thread that may block if there
    /// are many.
    ///
    /// # Errors
    ///
    /// As [`Store::try_create`].
    pub fn copy_in(&self, bytes: &[u8]) -> Result<Stored, StoreError> {
        let mut draft = self.try_create(bytes.len())?;
        draft.write(bytes);
        Ok(draft.seal())
    }

    /// Lets the store move an object to disk while nobody views it and memory is short. The `Stored` is given up: a view
    /// is had again with [`Kept::get`].
    #[must_use]
    pub fn keep(&self, stored: Stored) -> Kept {
        Kept::new(stored, None, &self.shared)
    }

    /// The same of a copy of what others have: it is dropped instead, while `again` says that it can be had again. That is asked
    /// under no lock of the store's.
    #[must_use]
    pub(crate) fn keep_copy(&self, stored: Stored, again: Again) -> Kept {
        Kept::new(stored, Some(again), &self.shared)
    }

    /// A ticket for one connection of one other process, and what that process is called here.
    ///
    /// # Errors
    ///
    /// If there are too many readers, or the system has no randomness.
    pub fn issue_ticket(&self) -> Result<(ReaderId, Ticket), TicketError> {
        self.shared.readers.issue()
    }

    /// Ends what a ticket allows. Before the reader has connected, its pins end, and it never will. After that it is
    /// given no more segments, and its pins end as always: by its own word, or with its socket.
    pub fn revoke(&self, reader: ReaderId) {
        drop(self.shared.readers.revoke(reader));
    }

    /// Keeps an object in its place for a reader, until that reader says that it is done or its socket ends. To be called
    /// before the reader is told the location; each call is for one [`Attached::view`].
    ///
    /// # Errors
    ///
    /// If the reader is gone, or the object is of another store.
    pub fn pin(&self, stored: &Stored, reader: ReaderId) -> Result<Location, PinError> {
        if !Arc::ptr_eq(stored.shared(), &self.shared) {
            return Err(PinError::OtherStore);
        }
        self.shared.readers.pin(stored, reader)
    }

    /// The same for a reader that has not asked for the object yet and may be long in reading it: none if pins would hold
    /// more of the memory than is left to those who did not ask ([`limits::PINNED_AHEAD`](crate::limits::PINNED_AHEAD)).
    #[must_use]
    pub fn pin_ahead(&self, stored: &Stored, reader: ReaderId) -> Option<Location> {
        let held = self.shared.pinned.load(Ordering::Relaxed) + stored.footprint();
        let fits = stored.is_pinned() || held as f64 <= self.shared.capacity as f64 * crate::limits::PINNED_AHEAD;
        fits.then(|| self.pin(stored, reader).ok()).flatten()
    }

    /// Ends a pin whose location the reader was never told.
    pub fn unpin(&self, location: Location, reader: ReaderId) {
        // With its reader it has ended already.
        drop(self.shared.readers.unpin(reader, (location.segment, location.offset)));
    }

    /// Serves readers on a Unix socket at `path`, in a folder that only this user may enter. Needs a tokio runtime, as
    /// the store does.
    ///
    /// # Errors
    ///
    /// If others may enter the folder, or the socket cannot be made.
    pub fn serve(&self, path: &Path) -> Result<Server, ServeError> {
        Server::start(&self.shared, path)
    }

    /// What holds the memory.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shared.usage()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.usage())
    }
}

impl Shared {
    fn usage(&self) -> Usage {
        let totals = self.state.lock().table.totals();
        // Read one after the other: while objects come and go, the parts may not add up to the sum.
        let (drafts, pinned) = (self.drafts.load(Ordering::Relaxed), self.pinned.load(Ordering::Relaxed));
        Usage {
            capacity: self.capacity,
            held: totals.held,
            drafts,
            sealed: totals.used.saturating_sub(drafts).saturating_sub(pinned),
            pinned,
            warm: totals.warm,
            retiring: totals.retiring,
            heap: totals.heap,
        }
    }

    fn no_room(&self, length: usize) -> StoreError {
        let spill = self.spiller.last_error();
        StoreError::NoRoom { length, usage: self.usage(), spill }
    }

    fn wake(&self) {
        self.housekeeper.notify_one();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // It finds the store gone, and ends.
        self.wake();
    }
}
