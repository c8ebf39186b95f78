//! Many short things on disk, in any order: one after another in files, each framed as a spilled object is, with a checksum
//! of its own.
//!
//! ```text
//! log ──▶ file: record . record . record ..      at most LOG_FILE long, then the next one begins
//!                  ▲
//!         Record ──┘                             a file goes with the last record that is in it
//! ```

use super::spill::{Folder, SpillError, Spilled, framed};
use crate::limits::LOG_FILE;
use parking_lot::Mutex;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Weak};

/// Where things are written one after another. Its folder goes with the last of its records.
pub(crate) struct SpillLog {
    folder: Arc<Folder>,
    open: Mutex<Option<Open>>,
}

/// The file that is written, while it has records.
struct Open {
    file: Weak<Spilled>,
    writer: Arc<File>,
    /// Where the next record begins.
    end: u64,
}

/// Something that was written, until dropped.
#[derive(Debug)]
pub(crate) struct Record {
    file: Arc<Spilled>,
    at: u64,
    length: usize,
}

impl SpillLog {
    /// A log in a folder of its own, which is made in this one; what dead ones left there is removed.
    pub(crate) fn make(parent: &Path) -> Result<SpillLog, SpillError> {
        Ok(SpillLog { folder: Arc::new(Folder::make(parent)?), open: Mutex::new(None) })
    }

    /// Writes a record. Blocks.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Record, SpillError> {
        let (file, writer, at) = self.reserve(bytes.len() as u64)?;
        // What is not written is a gap.
        file.write(&writer, at, bytes)?;
        Ok(Record { file, at, length: bytes.len() })
    }

    /// Where a record goes.
    fn reserve(&self, length: u64) -> Result<(Arc<Spilled>, Arc<File>, u64), SpillError> {
        let mut open = self.open.lock();
        if let Some(Open { file, writer, end }) = &mut *open
            && let Some(file) = file.upgrade()
            && end.saturating_add(framed(length)) <= LOG_FILE
        {
            let at = std::mem::replace(end, end.saturating_add(framed(length)));
            return Ok((file, writer.clone(), at));
        }
        let (file, writer) = Spilled::make(&self.folder, length)?;
        let (file, writer, end) = (Arc::new(file), Arc::new(writer), framed(length));
        *open = Some(Open { file: Arc::downgrade(&file), writer: writer.clone(), end });
        Ok((file, writer, 0))
    }
}

impl Record {
    /// Reads it. Blocks.
    pub(crate) fn read(&self) -> Result<Vec<u8>, SpillError> {
        let mut bytes = vec![0; self.length];
        self.file.read(self.at, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_in_any_order_and_files_go_with_their_last_one() {
        let parent = tempfile::tempdir().unwrap();
        let log = SpillLog::make(&parent.path().join("log")).unwrap();
        let files = || {
            let folder = std::fs::read_dir(parent.path().join("log")).unwrap().next().unwrap().unwrap().path();
            std::fs::read_dir(folder).unwrap().count()
        };
        let half = usize::try_from(LOG_FILE / 2 - framed(0)).unwrap();
        let write = |byte: u8, length: usize| log.write(&vec![byte; length]).unwrap();
        let mut records = vec![write(1, half), write(2, 0), write(3, half), write(4, 10)];
        assert_eq!(files(), 2, "the third does not fit beside the others");
        let longer = write(5, 2 * half + 1_000);
        assert_eq!(files(), 3, "one that is too long for any has a file of its own");
        for (byte, length) in [(4, 10), (3, half), (2, 0), (1, half)] {
            assert!(records.pop().unwrap().read().unwrap() == vec![byte; length]);
        }
        assert_eq!(files(), 1);
        drop(longer);
        assert_eq!(files(), 0);
        assert_eq!(write(6, 3).read().unwrap(), [6; 3], "a file that is gone is followed by another");
        let kept = write(7, 3);
        drop(log);
        assert_eq!(kept.read().unwrap(), [7; 3], "records outlive their log");
        drop(kept);
        assert_eq!(std::fs::read_dir(parent.path().join("log")).unwrap().count(), 0);
    }
}
