//! A journal in memory that fails as disks do, for tests and the simulation.

use crate::directory::fence::Reign;
use crate::directory::journal::{Journal, JournalError, Opened, Opener, Size};
use crate::directory::record::Record;
use crate::id::NodeId;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// What outlives a head: journals are opened on it, one after another.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    cluster: Option<NodeId>,
    reign: Option<Reign>,
    records: Vec<Record>,
    /// How many of them the last replacement had.
    state: usize,
    open: bool,
    fault: Option<Fault>,
}

/// What happens to the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and of what was to be added the first so many records are there nevertheless.
    Torn(usize),
    /// It fails, and is there nevertheless: nobody knows what a sync that failed has left.
    Unsynced,
    /// It fails: there is no room.
    Full,
}

impl MemoryDisk {
    /// Lets the next write fail.
    pub fn fail(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }

    /// How many records are there.
    #[must_use]
    pub fn records(&self) -> usize {
        self.0.lock().records.len()
    }

    /// Opens it, as a head that starts does.
    ///
    /// # Errors
    /// It is open, or another cluster's.
    pub fn open(&self, opener: Opener) -> Result<Opened, JournalError> {
        let mut platter = self.0.lock();
        if platter.open {
            return Err(JournalError::Locked(folder()));
        }
        let cluster = *platter.cluster.get_or_insert(opener.cluster);
        if cluster != opener.cluster {
            return Err(JournalError::Cluster { folder: folder(), found: cluster, this: opener.cluster });
        }
        let reign = opener.next(platter.reign.map(|reign| reign.epoch));
        (platter.open, platter.reign, platter.state) = (true, Some(reign), 0);
        let records = platter.records.clone();
        let journal = Box::new(MemoryJournal { disk: self.clone(), reign, failed: false });
        Ok(Opened { journal, reign, records })
    }
}

/// One that is open.
#[derive(Debug)]
pub struct MemoryJournal {
    disk: MemoryDisk,
    reign: Reign,
    failed: bool,
}

fn folder() -> PathBuf {
    PathBuf::from("memory")
}

impl MemoryJournal {
    fn write(&mut self, records: &[Record], replace: bool) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Failed(folder()));
        }
        let mut platter = self.disk.0.lock();
        let fault = platter.fault.take();
        self.failed = fault.is_some();
        let there = match fault {
            None | Some(Fault::Unsynced) => records.len(),
            Some(Fault::Torn(there)) if !replace => there.min(records.len()),
            Some(Fault::Torn(_) | Fault::Full) => 0,
        };
        match replace {
            true if there == records.len() => {
                platter.records = records.to_vec();
                platter.state = there;
            }
            true => {}
            false => platter.records.extend_from_slice(&records[..there]),
        }
        match fault {
            None => Ok(()),
            Some(Fault::Full) => Err(JournalError::Full(folder())),
            Some(fault) => Err(JournalError::System { folder: folder(), what: format!("{fault:?}").into() }),
        }
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.write(records, false)
    }

    fn replace(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.write(records, true)
    }

    fn recover(&mut self) -> Result<(), JournalError> {
        let platter = self.disk.0.lock();
        match platter.reign.filter(|reign| *reign != self.reign) {
            Some(later) => Err(JournalError::Superseded { folder: folder(), by: later.epoch }),
            None => {
                self.failed = false;
                Ok(())
            }
        }
    }

    fn size(&self) -> Size {
        let platter = self.disk.0.lock();
        let bytes = |records: usize| (records * size_of::<Record>()) as u64;
        let log = platter.records.len() - platter.state;
        Size { log: bytes(log), state: bytes(platter.state), whole: bytes(platter.records.len()) }
    }
}

impl Drop for MemoryJournal {
    fn drop(&mut self) {
        let mut platter = self.disk.0.lock();
        if platter.reign == Some(self.reign) {
            platter.open = false;
        }
    }
}
