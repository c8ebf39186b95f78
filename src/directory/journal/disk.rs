//! A folder's journal: one redb file, one transaction a batch, which is one sync of the disk.
//!
//! ```text
//! FOLDER/head.redb     of its user alone, locked while a head has it
//!   table "head"       "version"   u32        `batch::VERSION`, also where an earlier one was read that goes on as this
//!                      "cluster"   32 bytes   the head's identity
//!                      "epoch"     u64        of the last start, and ..
//!                      "instance"  u64        .. what tells that start from others
//!                      "first"     u64        the number of the first block
//!   table "records"    number u64 ─▶ block    `batch`: checksum, records; numbers without a gap
//! ```
//!
//! All numbers are little-endian. redb itself writes pages anew and then a header that leads to them, with a checksum over
//! all pages that a transaction wrote: a torn write is a transaction that was not. What it does not check when it reads is
//! checked here: the blocks' own checksums, and that none is missing. The file grows to about twice what its records take,
//! and is used again within.

use crate::directory::fence::Reign;
use crate::directory::journal::batch::{self, READ, VERSION};
use crate::directory::journal::{Journal, JournalError, Opened, Opener, Size};
use crate::directory::record::Record;
use crate::id::{Epoch, NodeId};
use crate::limits::JOURNAL_CACHE;
use crate::wire::codec::panic_message;
use redb::{Builder, Database, DatabaseError, Error, ReadableTable, Table, TableDefinition};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The journal's file in its folder.
pub const FILE: &str = "head.redb";

const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// A folder's journal, open.
pub struct DiskJournal {
    folder: PathBuf,
    open: Open,
    /// None between an error and a recovery that did not come to its end.
    database: Option<Database>,
    reign: Reign,
    /// The number of the next block.
    next: u64,
    size: Size,
    failed: bool,
}

impl fmt::Debug for DiskJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskJournal").field("folder", &self.folder).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Opens the journal of a folder, which is made if there is none. Blocks, for as long as its records take to be read.
///
/// # Errors
/// Another head has it, it is not this cluster's, it cannot be read, or it is not what was written.
pub fn open(folder: &Path, opener: Opener) -> Result<Opened, JournalError> {
    prepare(folder).map_err(|error| of_system(folder, &error))?;
    let file = folder.join(FILE);
    let open = move || {
        let mut builder = Builder::new();
        builder.set_cache_size(JOURNAL_CACHE);
        builder.create(&file)
    };
    open_by(folder, Box::new(open), opener)
}

/// The folder and an empty file in it, for this user alone: records hold what constructors are called with.
fn prepare(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(FILE))?;
    if file.metadata()?.len() == 0 {
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn open_by(folder: &Path, open: Open, opener: Opener) -> Result<Opened, JournalError> {
    let (database, begun) = caught(folder, || {
        let database = open().map_err(|error| of_redb(folder, error.into()))?;
        let begun = begin(folder, &database, opener)?;
        Ok((database, begun))
    })?;
    let Begun { reign, next, records, bytes } = begun;
    let folder = folder.to_owned();
    let size = Size { log: bytes, state: 0, whole: 0 };
    let mut journal = DiskJournal { folder, open, database: Some(database), reign, next, size, failed: false };
    journal.measure();
    Ok(Opened { journal: Box::new(journal), reign, records })
}

struct Begun {
    reign: Reign,
    next: u64,
    records: Vec<Record>,
    bytes: u64,
}

/// Reads everything and begins an epoch, in one transaction.
fn begin(folder: &Path, database: &Database, opener: Opener) -> Result<Begun, JournalError> {
    let failed = |error: Error| of_redb(folder, error);
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    let begun = {
        let mut head = transaction.open_table(HEAD).map_err(|error| failed(error.into()))?;
        let blocks = transaction.open_table(RECORDS).map_err(|error| failed(error.into()))?;
        let last = check(folder, &mut head, &blocks, opener)?;
        let first = number(folder, &head, "first")?;
        let (mut next, mut records, mut bytes) = (first, Vec::new(), 0);
        for block in blocks.iter().map_err(|error| failed(error.into()))? {
            let (at, block) = block.map_err(|error| failed(error.into()))?;
            if at.value() != next {
                return Err(JournalError::damaged(folder, format!("block {next} is missing")));
            }
            batch::unpack(next, block.value(), &mut records)
                .map_err(|error| JournalError::damaged(folder, error.to_string()))?;
            bytes += block.value().len() as u64;
            next += 1;
        }
        let reign = opener.next(last);
        put(folder, &mut head, "epoch", &reign.epoch.0.to_le_bytes())?;
        put(folder, &mut head, "instance", &reign.instance.to_le_bytes())?;
        Begun { reign, next, records, bytes }
    };
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(begun)
}

/// Whether it is a journal of this version and cluster, or none yet. Gives the last epoch.
fn check(
    folder: &Path,
    head: &mut Table<'_, &'static str, &'static [u8]>,
    blocks: &Table<'_, u64, &'static [u8]>,
    opener: Opener,
) -> Result<Option<Epoch>, JournalError> {
    let failed = |error: Error| of_redb(folder, error);
    let is_new = |table: Result<bool, redb::StorageError>| table.map_err(|error| failed(error.into()));
    if is_new(head.iter().map(|mut all| all.next().is_none()))?
        && is_new(blocks.iter().map(|mut all| all.next().is_none()))?
    {
        put(folder, head, "version", &VERSION.to_le_bytes())?;
        put(folder, head, "cluster", &opener.cluster.0)?;
        put(folder, head, "first", &0_u64.to_le_bytes())?;
        return Ok(None);
    }
    let found = u32::from_le_bytes(get(folder, head, "version")?);
    if !READ.contains(&found) {
        return Err(JournalError::Version { folder: folder.to_owned(), found, known: VERSION });
    }
    let found = NodeId(get(folder, head, "cluster")?);
    if found != opener.cluster {
        return Err(JournalError::Cluster { folder: folder.to_owned(), found, this: opener.cluster });
    }
    // What is written from now on an earlier one would not read.
    put(folder, head, "version", &VERSION.to_le_bytes())?;
    number(folder, head, "epoch").map(|epoch| Some(Epoch(epoch)))
}

fn get<const N: usize>(
    folder: &Path,
    head: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<[u8; N], JournalError> {
    let value = head.get(key).map_err(|error| of_redb(folder, error.into()))?;
    let value = value.and_then(|value| <[u8; N]>::try_from(value.value()).ok());
    value.ok_or_else(|| JournalError::damaged(folder, format!("it does not say its `{key}`")))
}

fn number(
    folder: &Path,
    head: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<u64, JournalError> {
    get(folder, head, key).map(u64::from_le_bytes)
}

fn put(
    folder: &Path,
    head: &mut Table<'_, &'static str, &'static [u8]>,
    key: &str,
    value: &[u8],
) -> Result<(), JournalError> {
    head.insert(key, value).map(drop).map_err(|error| of_redb(folder, error.into()))
}

/// What is done with the blocks that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Stay,
    Go,
}

impl DiskJournal {
    fn write(&mut self, records: &[Record], others: Others) -> Result<u64, JournalError> {
        let Some(database) = self.database.as_ref().filter(|_| !self.failed) else {
            return Err(JournalError::Failed(self.folder.clone()));
        };
        let (folder, first) = (&self.folder, self.next);
        let written = batch::pack(first, records).map_err(|error| JournalError::Record(error.to_string().into()));
        let written = written.and_then(|blocks| {
            caught(folder, || {
                commit(database, first, &blocks, others).map_err(|error| of_redb(folder, error))?;
                Ok((blocks.len() as u64, blocks.iter().map(|block| block.len() as u64).sum()))
            })
        });
        self.failed = written.is_err();
        let (blocks, bytes) = written?;
        self.next += blocks;
        self.measure();
        Ok(bytes)
    }

    fn measure(&mut self) {
        self.size.whole = std::fs::metadata(self.folder.join(FILE)).map_or(0, |file| file.len());
    }
}

/// By default, a transaction is on disk when its commit returns.
fn commit(database: &Database, first: u64, blocks: &[Vec<u8>], others: Others) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    if others == Others::Go {
        transaction.delete_table(RECORDS)?;
        transaction.open_table(HEAD)?.insert("first", &first.to_le_bytes()[..])?;
    }
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (number, block) in (first..).zip(blocks) {
            table.insert(number, &block[..])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

impl Journal for DiskJournal {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let bytes = self.write(records, Others::Stay)?;
        self.size.log += bytes;
        Ok(())
    }

    fn replace(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let bytes = self.write(records, Others::Go)?;
        (self.size.log, self.size.state) = (0, bytes);
        Ok(())
    }

    fn recover(&mut self) -> Result<(), JournalError> {
        // The lock goes with it: another head may have the journal before this one has it again.
        self.database = None;
        let folder = &self.folder;
        let (database, next) = caught(folder, || {
            let failed = |error: Error| of_redb(folder, error);
            let database = (self.open)().map_err(|error| failed(error.into()))?;
            let read = database.begin_write().map_err(|error| failed(error.into()))?;
            let head = read.open_table(HEAD).map_err(|error| failed(error.into()))?;
            let reign =
                Reign { epoch: Epoch(number(folder, &head, "epoch")?), instance: number(folder, &head, "instance")? };
            if reign != self.reign {
                return Err(JournalError::Superseded { folder: folder.clone(), by: reign.epoch });
            }
            let blocks = read.open_table(RECORDS).map_err(|error| failed(error.into()))?;
            let last = blocks.last().map_err(|error| failed(error.into()))?.map(|(at, _)| at.value());
            drop((head, blocks));
            drop(read);
            Ok((database, last.map_or(0, |last| last + 1)))
        })?;
        self.next = self.next.max(next);
        self.database = Some(database);
        self.failed = false;
        Ok(())
    }

    fn size(&self) -> Size {
        self.size
    }
}

/// What a damaged file makes redb do is an error, whatever it is.
fn caught<T>(folder: &Path, work: impl FnOnce() -> Result<T, JournalError>) -> Result<T, JournalError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(JournalError::damaged(folder, panic_message(&*panic))))
}

fn of_redb(folder: &Path, error: Error) -> JournalError {
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => JournalError::Locked(folder.to_owned()),
        Error::Io(error) => of_system(folder, &error),
        Error::PreviousIo | Error::DatabaseClosed => JournalError::Failed(folder.to_owned()),
        error @ (Error::Corrupted(_)
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. }
        | Error::RepairAborted) => JournalError::damaged(folder, error.to_string()),
        error => JournalError::System { folder: folder.to_owned(), what: error.to_string().into() },
    }
}

fn of_system(folder: &Path, error: &std::io::Error) -> JournalError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            JournalError::Full(folder.to_owned())
        }
        ErrorKind::InvalidData => JournalError::damaged(folder, error.to_string()),
        _ => JournalError::System { folder: folder.to_owned(), what: error.to_string().into() },
    }
}

#[cfg(test)]
pub(super) mod tests;
