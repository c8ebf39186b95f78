//! Where a head's records are kept: what was written here is known to the head that starts next (PROTOCOLS §2.7, L3, L5).
//!
//! ```text
//! open ─▶ lock, epoch of this start, records ─▶ Directory::start
//!         append: records behind the others     ─▶ once it returns, a crash does not lose them
//!         replace: the state in their place     ─▶ all of it, or what was there before
//!         recover: after an error, if nobody has begun a later epoch
//! ```
//!
//! A journal promises, and `conformance` asks of each kind:
//!
//! - **J1** Records come back in their order, each once, also after a crash at any moment: those of every `append` that
//!   returned, and of one that did not perhaps a first part.
//! - **J2** `replace` leaves what was there before or all that it was given, never a mixture.
//! - **J3** One at a time: a second `open` fails, or ends the writing of the first for good.
//! - **J4** Epochs only rise, and one is on disk before `open` gives it.
//! - **J5** After an error nothing more is written before `recover`, and what follows that begins with `replace`.
//! - **J6** What cannot be what was written is an error, never other records.
//!
//! A folder has one in [`disk`]; [`memory`] has one for tests and the simulation, which can fail as disks do.

use crate::directory::fence::Reign;
use crate::directory::record::Record;
use crate::id::{Epoch, NodeId};
use crate::limits::{EPOCH_FIRST, EPOCHS_APART, JOURNAL_LOG};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod batch;
pub mod disk;
#[cfg(any(test, feature = "simulation"))]
pub mod memory;

#[cfg(test)]
mod conformance;

/// Where records are kept, open for one head.
pub trait Journal: Send + fmt::Debug {
    /// Adds records behind those that are there. Once it returns they outlive a crash. Blocks.
    ///
    /// # Errors
    /// Of these, perhaps a first part is there.
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError>;

    /// Puts these in the place of all records. Blocks.
    ///
    /// # Errors
    /// Either is there.
    fn replace(&mut self, records: &[Record]) -> Result<(), JournalError>;

    /// After an error: opens anew, if nobody else has meanwhile. What was written last may be there or not, so the state
    /// as a whole is to be written next, by [`Journal::replace`].
    ///
    /// # Errors
    /// It is still not to be had, or a later head has begun.
    fn recover(&mut self) -> Result<(), JournalError>;

    /// What it takes.
    fn size(&self) -> Size;
}

/// What a journal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Size {
    /// Bytes of records that were written since the last [`Journal::replace`] ..
    pub log: u64,
    /// .. and by that.
    pub state: u64,
    /// Bytes of the file or whatever it is.
    pub whole: u64,
}

impl Size {
    /// Whether it is time to replace the records by the state: then at least as many bytes are saved as are written.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.log > JOURNAL_LOG.max(self.state.saturating_mul(2))
    }
}

/// A journal that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub journal: Box<dyn Journal>,
    /// This start of a head: on disk, and above all earlier ones.
    pub reign: Reign,
    /// What was written before.
    pub records: Vec<Record>,
}

/// What a head says of itself when it opens a journal.
#[derive(Clone, Copy, Debug)]
pub struct Opener {
    /// The head's identity, which all its nodes pin.
    pub cluster: NodeId,
    /// Its epoch is at least this.
    pub at_least: Epoch,
    /// Tells this start apart from all others.
    pub instance: u64,
}

impl Opener {
    /// The reign that follows `last`. It skips epochs: grants are numbered within one.
    #[must_use]
    pub fn next(&self, last: Option<Epoch>) -> Reign {
        let after = Epoch(last.map_or(EPOCH_FIRST, |last| last.0.saturating_add(EPOCHS_APART)));
        Reign { epoch: after.max(self.at_least), instance: self.instance }
    }
}

/// Why a journal is not to be had, or does not take what is to be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another head has it.
    #[error("another head has the journal in {} open: stop that one first, or give this one a folder of its own", .0.display())]
    Locked(PathBuf),
    /// Another head had it in the meantime.
    #[error("a head of epoch {by} has taken over the journal in {}: this one has stopped", .folder.display())]
    Superseded {
        /// Where.
        folder: PathBuf,
        /// Its epoch.
        by: Epoch,
    },
    /// It is in another format.
    #[error(
        "the journal in {} has version {found}, and this head reads version {known}: run the release that wrote it, or move \
         the folder away to start without what it holds",
        .folder.display()
    )]
    Version {
        /// Where.
        folder: PathBuf,
        /// Its version.
        found: u32,
        /// The version of this head.
        known: u32,
    },
    /// It is another cluster's.
    #[error(
        "the journal in {} is of the cluster of head {found}, and this head is {this}: each cluster has a folder of its own",
        .folder.display()
    )]
    Cluster {
        /// Where.
        folder: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who wants it.
        this: NodeId,
    },
    /// It is not what was written.
    #[error("the journal in {} is damaged ({what}): restore the folder from a copy, or move it away to start empty", .folder.display())]
    Damaged {
        /// Where.
        folder: PathBuf,
        /// What is wrong with it.
        what: Arc<str>,
    },
    /// There is no room.
    #[error("the disk of the journal in {} is full: nothing is acknowledged before there is room", .0.display())]
    Full(PathBuf),
    /// The system does not let it be read or written.
    #[error("the journal in {} cannot be read or written: {what}", .folder.display())]
    System {
        /// Where.
        folder: PathBuf,
        /// What the system says.
        what: Arc<str>,
    },
    /// There is no thread that writes it.
    #[error("the head's journal has no thread that writes it: {0}")]
    Thread(Arc<str>),
    /// A record that was to be written cannot be.
    #[error("a record does not fit into the journal: {0}")]
    Record(Arc<str>),
    /// It has taken nothing for long.
    #[error("the journal has taken nothing for so long that {0} messages wait for it: this head gives up")]
    Stands(usize),
    /// An earlier error has not been recovered from.
    #[error("the journal in {} has failed before, and nothing was written since", .0.display())]
    Failed(PathBuf),
}

impl JournalError {
    /// Whether trying again may help: not if somebody else has it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, JournalError::Superseded { .. } | JournalError::Record(_) | JournalError::Stands(_))
    }

    fn damaged(folder: &Path, what: impl Into<Arc<str>>) -> JournalError {
        JournalError::Damaged { folder: folder.to_owned(), what: what.into() }
    }
}
