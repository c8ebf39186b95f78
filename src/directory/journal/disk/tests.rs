//! The file itself: what is not what was written, other versions, disks that fail.

use super::*;
use crate::directory::journal::conformance::{Subject, every_kind, gone};
use crate::directory::request::{Arguments, Spawn};
use crate::directory::testing::{node, spawn};
use crate::id::Life;
use crate::limits::JOURNAL_LOG;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What the disk does to the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::directory::journal) enum DiskFault {
    /// There is no room.
    Full = 1,
    /// It is not written.
    Write,
    /// It is written, and may be on disk or not.
    Sync,
}

pub(in crate::directory::journal) const FAULTS: [DiskFault; 3] = [DiskFault::Full, DiskFault::Write, DiskFault::Sync];

/// A file that fails when it is told to, once.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    fault: Arc<AtomicU8>,
}

impl Faulty {
    fn fails(&self, faults: &[DiskFault], error: impl Fn() -> io::Error) -> io::Result<()> {
        let fails = |fault: &DiskFault| {
            let fault = *fault as u8;
            self.fault.compare_exchange(fault, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if faults.iter().any(fails) { Err(error()) } else { Ok(()) }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fails(&[DiskFault::Sync], || io::Error::other("the disk lost it"))?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fails(&[DiskFault::Full], || io::Error::from(ErrorKind::StorageFull))?;
        self.fails(&[DiskFault::Write], || io::Error::other("the disk is gone"))?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// A folder's journal, on a disk that fails like this.
pub(in crate::directory::journal) fn subject(folder: &Path, fault: DiskFault) -> Subject {
    let folder = folder.join("journal");
    let next = Arc::new(AtomicU8::new(0));
    let fails = next.clone();
    let open = move |opener| {
        prepare(&folder).unwrap();
        let (file, fault) = (folder.join(FILE), next.clone());
        let open = move || {
            let options = OpenOptions::new().read(true).write(true).open(&file);
            let file = FileBackend::new(options.map_err(redb::StorageError::Io)?)?;
            Builder::new().create_with_backend(Faulty { file, fault: fault.clone() })
        };
        open_by(&folder, Box::new(open), opener)
    };
    Subject { open: Box::new(open), fail: Box::new(move || fails.store(fault as u8, Ordering::Relaxed)) }
}

fn opener() -> Opener {
    Opener { cluster: node(1), at_least: Epoch(1 << 30), instance: 9 }
}

/// A folder whose journal has these in batches of ten.
fn written(records: &[Record]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), opener()).unwrap().journal;
    records.chunks(10).for_each(|batch| journal.append(batch).unwrap());
    folder
}

#[test]
fn its_file_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    drop(open(&folder, opener()).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
}

/// Says of a journal that it is of this version, and what it said before.
fn says_version(file: &Path, version: u32) -> u32 {
    let database = Database::create(file).unwrap();
    let transaction = database.begin_write().unwrap();
    let before = {
        let mut head = transaction.open_table(HEAD).unwrap();
        let before = head.insert("version", &version.to_le_bytes()[..]).unwrap().unwrap();
        u32::from_le_bytes(before.value().try_into().unwrap())
    };
    transaction.commit().unwrap();
    before
}

#[test]
fn one_of_an_earlier_version_is_read_and_goes_on_as_one_of_this() {
    let folder = written(&every_kind());
    let file = folder.path().join(FILE);
    assert_eq!(says_version(&file, 1), VERSION);
    let opened = open(folder.path(), opener()).unwrap();
    assert_eq!(opened.records, every_kind());
    drop(opened);
    assert_eq!(says_version(&file, VERSION), VERSION);
}

#[test]
fn another_version_is_named_and_left_as_it_is() {
    let folder = written(&every_kind());
    let file = folder.path().join(FILE);
    says_version(&file, 77);
    let before = std::fs::read(&file).unwrap();
    let error = open(folder.path(), opener()).unwrap_err();
    let expected = JournalError::Version { folder: folder.path().to_owned(), found: 77, known: VERSION };
    assert_eq!(error, expected);
    assert!(error.to_string().contains("version 77") && error.to_string().contains("version 2"), "{error}");
    let records = |bytes: &[u8]| bytes.windows(8).filter(|window| window == b"Panicked").count();
    assert_eq!(records(&std::fs::read(&file).unwrap()), records(&before));
}

#[test]
fn a_torn_or_foreign_file_is_an_error_and_never_other_records() {
    let records: Vec<Record> = (0..300).map(gone).collect();
    let folder = written(&records);
    let file = folder.path().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    let (mut damaged, mut same) = (0, 0);
    let mut tries = |bytes: &[u8], what: &str| {
        std::fs::write(&file, bytes).unwrap();
        match open(folder.path(), opener()) {
            Ok(opened) => {
                assert_eq!(opened.records, records, "{what}");
                same += 1;
            }
            Err(JournalError::Damaged { .. } | JournalError::System { .. } | JournalError::Version { .. }) => {
                damaged += 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    };
    for part in 1..16 {
        tries(&whole[..whole.len() * part / 16], "cut off");
        let mut torn = whole.clone();
        torn[whole.len() * part / 16..].fill(0);
        tries(&torn, "zeros at its end");
        let mut garbled = whole.clone();
        let at = whole.len() * part / 16;
        garbled[at..(at + 64).min(whole.len())].fill(0xa5);
        tries(&garbled, "something else within");
    }
    tries(b"this is no journal, but a text of some length that somebody left here", "a text");
    assert!(damaged > 15, "{damaged} were found, {same} hit nothing that is used");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(open(folder.path(), opener()).unwrap().records, records);
}

#[test]
fn who_lost_it_to_a_later_head_does_not_get_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let subject = subject(folder.path(), DiskFault::Write);
    let mut journal = (subject.open)(opener()).unwrap().journal;
    (subject.fail)();
    journal.append(&[gone(1)]).unwrap_err();
    // Recovering fails as well, and lets go of the lock.
    (subject.fail)();
    journal.recover().unwrap_err();
    let later = (subject.open)(opener()).unwrap();
    let by = later.reign.epoch;
    assert!(matches!(journal.recover(), Err(JournalError::Locked(_))));
    drop(later);
    assert!(matches!(journal.recover(), Err(JournalError::Superseded { by: met, .. }) if met == by));
    journal.append(&[gone(2)]).unwrap_err();
}

#[test]
fn a_journal_that_is_replaced_in_time_stays_short() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path(), opener()).unwrap().journal;
    let arguments = Arguments::Encoded(vec![7; 32 << 10].into());
    let spawned = Record::Spawned { spawn: Arc::new(Spawn { arguments, ..spawn(Life(1), 1) }) };
    let (state, batch) = (vec![spawned.clone(); 50], vec![spawned; 200]);
    let (mut replaced, mut written, mut most) = (0, 0, 0);
    while replaced < 3 {
        journal.append(&batch).unwrap();
        written += 200 * (32 << 10);
        most = most.max(journal.size().whole);
        if journal.size().is_long() {
            journal.replace(&state).unwrap();
            replaced += 1;
        }
    }
    assert!(written > 3 * JOURNAL_LOG);
    assert!(most < 6 * JOURNAL_LOG, "{most} bytes at most");
}
