//! The tail of a long queue: what queued tasks take of memory for their arguments is counted, and beyond
//! [`QUEUE_MEMORY`] the arguments of those that come are written to disk, by who submits them. They are read where they are
//! needed, and stay on disk until their task runs or is answered.
//!
//! A disk that takes nothing leaves them in memory; who is short of it then has `submit_wait`.

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::remote::NodeRef;
use crate::clock::{self, Moment};
use crate::limits::{QUEUE_MEMORY, SPILL_PAUSE};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::store::{Record, SpillError, SpillLog};
use crate::wire::codec::Enclosed;

/// Where a node's tasks wait.
pub(crate) struct Tail {
    /// Bytes of arguments in memory.
    held: AtomicU64,
    /// Where the log is to be; none if nothing is written.
    folder: Option<PathBuf>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    made: Option<Arc<SpillLog>>,
    /// When writing failed.
    failed: Option<Moment>,
}

/// What a task's arguments take of memory, while it is held.
pub(crate) struct Weight {
    tail: Arc<Tail>,
    bytes: u64,
}

/// A task's arguments on disk.
pub(crate) struct OnDisk {
    pub(crate) record: Record,
    /// What they enclose, and those that are references: their positions, and to what.
    pub(crate) enclosed: Enclosed,
    pub(crate) passed: Vec<(u32, Arc<Entry>)>,
    /// What they are decoded for.
    pub(crate) here: NodeRef,
}

impl Tail {
    pub(crate) fn new(folder: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Tail { held: AtomicU64::new(0), folder, log: Mutex::default() })
    }

    /// Whether anything is ever written.
    pub(crate) fn is_bounded(&self) -> bool {
        self.folder.is_some()
    }

    /// Counts arguments that stay in memory, if there is room for them.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Weight> {
        let bytes = bytes as u64;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= QUEUE_MEMORY);
        let held = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        held.is_ok().then(|| Weight { tail: self.clone(), bytes })
    }

    /// The same, though there is none.
    pub(crate) fn hold_more(self: &Arc<Self>, bytes: usize) -> Weight {
        self.held.fetch_add(bytes as u64, Ordering::Relaxed);
        Weight { tail: self.clone(), bytes: bytes as u64 }
    }

    /// Whether it is worth while to write: it failed some time ago, if it did.
    pub(crate) fn writes(&self) -> bool {
        self.log.lock().failed.is_none_or(|at| clock::now().since(at) >= SPILL_PAUSE)
    }

    /// Writes arguments. None if the disk takes none. Blocks.
    pub(crate) fn write(&self, bytes: &[u8]) -> Option<Record> {
        let written = self.log().and_then(|log| log.write(bytes));
        if let Err(error) = &written {
            tracing::warn!(%error, "arguments of queued tasks stay in memory");
        }
        self.log.lock().failed = written.is_err().then(clock::now);
        written.ok()
    }

    fn log(&self) -> Result<Arc<SpillLog>, SpillError> {
        let mut log = self.log.lock();
        if let Some(made) = &log.made {
            return Ok(made.clone());
        }
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        Ok(log.made.insert(Arc::new(SpillLog::make(&folder)?)).clone())
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.tail.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl OnDisk {
    /// What was written. Blocks.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Fault> {
        self.record.read().map_err(|error| GetError::ArgumentsLost { why: error.to_string() })
    }

    /// What arguments that are references refer to.
    pub(crate) fn references(&self) -> Vec<Arc<Entry>> {
        // One that leads nowhere is settled, and fails when its value is put in its place.
        let followed = |entry: &Arc<Entry>| entry.followed().unwrap_or_else(|_| entry.clone());
        self.passed.iter().map(|(_, entry)| followed(entry)).collect()
    }
}
