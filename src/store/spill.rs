//! Spilled objects: a file each, in a folder that its store alone uses. [`log`](super::log) puts many into one file, each
//! written as it is here.
//!
//! ```text
//! folder   <given, 0700>/spill-<16 hex digits>/    locked while its store lives: an unlocked one is a dead store's
//! file     <folder>/<serial>.object                made with O_EXCL, 0600, removed with its object
//!
//! offset  0   magic      "MOBSPILL"
//!         8   version    u32, little endian as all
//!        12   checksum   u32, CRC-32 of everything behind it
//!        16   length     u64
//!        24   the object's bytes
//! ```
//!
//! Files are not synced: they serve this life of the store, and no other.

use super::readers::random;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"MOBSPILL";
const VERSION: u32 = 1;
const HEADER: usize = 24;
const PREFIX: &str = "spill-";
const SUFFIX: &str = ".object";
/// How often making a folder is tried: who sweeps at the same time may take it for a dead one before it is locked.
const TRIES: usize = 8;

/// Why an object was not spilled, or not brought back.
#[non_exhaustive]
#[derive(Clone, Debug, Error)]
pub enum SpillError {
    /// There is no room on the disk.
    #[error("the disk has no room for {bytes} bytes more in {}; free some, or spill to another disk", folder.display())]
    DiskFull {
        /// The store's folder.
        folder: PathBuf,
        /// The object's bytes.
        bytes: u64,
    },
    /// The file is not what was written.
    #[error("{} was damaged on disk ({what}), and what was in it: make that again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Others could read or replace what is spilled.
    #[error("{} is not this user's alone; give the store a folder with mode 0700", path.display())]
    OpenFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
}

impl SpillError {
    fn io(path: &Path) -> impl Fn(io::Error) -> SpillError {
        |error| SpillError::Io { path: path.to_owned(), error: Arc::new(error) }
    }
}

/// A folder that one store alone uses, until dropped; then it goes.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    serial: AtomicU64,
    /// Locked: the lock ends with the process, whatever ends it.
    _lock: File,
}

impl Folder {
    /// Makes a folder in `parent`, and removes those that dead stores left there.
    pub(super) fn make(parent: &Path) -> Result<Folder, SpillError> {
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(SpillError::io(parent)(error)),
            _ => is_private(parent),
        }?;
        sweep(parent);
        let mut tries = 0;
        loop {
            let mut name = [0; 8];
            random(&mut name).map_err(SpillError::io(parent))?;
            let path = parent.join(format!("{PREFIX}{:016x}", u64::from_le_bytes(name)));
            DirBuilder::new().mode(0o700).create(&path).map_err(SpillError::io(&path))?;
            tries += 1;
            match Folder::lock(&path) {
                Ok(lock) => return Ok(Folder { path, serial: AtomicU64::new(0), _lock: lock }),
                // Who sweeps has it for a moment, or has removed it.
                Err(_) if tries < TRIES => {}
                Err(error) => return Err(SpillError::io(&path)(error)),
            }
        }
    }

    /// Locks a folder of this user that still is where it was opened.
    fn lock(path: &Path) -> io::Result<File> {
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
        let lock = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        lock.try_lock().map_err(io::Error::from)?;
        let (opened, there) = (lock.metadata()?, fs::symlink_metadata(path)?);
        let same = (opened.dev(), opened.ino()) == (there.dev(), there.ino());
        match same && opened.uid() == rustix::process::geteuid().as_raw() {
            true => Ok(lock),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Objects' files go with their objects, all of which are gone; a file of somebody else's is not ours to remove.
        let _ = fs::remove_dir(&self.path);
    }
}

fn is_private(path: &Path) -> Result<(), SpillError> {
    let metadata = fs::metadata(path).map_err(SpillError::io(path))?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    match metadata.is_dir() && ours && metadata.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(SpillError::OpenFolder { path: path.to_owned() }),
    }
}

/// Removes the folders of stores that have ended without doing so: those that nobody has locked.
fn sweep(parent: &Path) {
    let is_number = |digits: &str| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ours = |path: &PathBuf, prefix: &str, suffix: &str| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(prefix)?.strip_suffix(suffix)).is_some_and(is_number)
    };
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let folders = entries(parent).into_iter().filter(|path| ours(path, PREFIX, ""));
    for path in folders.take(crate::limits::SPILL_SWEPT) {
        // One that is in use, or of another user, is refused.
        let Ok(_lock) = Folder::lock(&path) else { continue };
        let files = entries(&path).into_iter().filter(|path| ours(path, "", SUFFIX));
        files.for_each(|file| drop(fs::remove_file(file)));
        // Somebody may have put a file of their own there; that one is not ours to remove.
        let _ = fs::remove_dir(&path);
    }
}

/// A file of spilled bytes, until dropped.
#[derive(Debug)]
pub(super) struct Spilled {
    path: PathBuf,
    /// Goes after its last file.
    folder: Arc<Folder>,
}

/// What precedes an object's bytes.
pub(super) const fn framed(length: u64) -> u64 {
    length.saturating_add(HEADER as u64)
}

impl Spilled {
    /// Makes a file, for bytes so long at first.
    pub(super) fn make(folder: &Arc<Folder>, length: u64) -> Result<(Spilled, File), SpillError> {
        let serial = folder.serial.fetch_add(1, Ordering::Relaxed);
        let path = folder.path.join(format!("{serial:016x}{SUFFIX}"));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(not_written(folder, &path, length))?;
        Ok((Spilled { path, folder: Arc::clone(folder) }, file))
    }

    /// Writes bytes at an offset, framed. Blocks.
    pub(super) fn write(&self, file: &File, at: u64, bytes: &[u8]) -> Result<(), SpillError> {
        let length = bytes.len() as u64;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&checksum(length, bytes).to_le_bytes());
        header[16..].copy_from_slice(&length.to_le_bytes());
        let written = file.write_all_at(&header, at).and_then(|()| file.write_all_at(bytes, framed(at)));
        written.map_err(not_written(&self.folder, &self.path, length))
    }

    /// Reads what was written there. Blocks.
    pub(super) fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), SpillError> {
        let corrupt = |what| SpillError::Corrupt { path: self.path.clone(), what };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => corrupt("it is shorter than it was"),
            io::ErrorKind::NotFound => corrupt("somebody removed it"),
            _ => SpillError::io(&self.path)(error),
        };
        let file = File::open(&self.path).map_err(failed)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, at).map_err(failed)?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if &header[..8] != MAGIC || number(8) != VERSION {
            return Err(corrupt("its header is another's"));
        }
        if header[16..] != (bytes.len() as u64).to_le_bytes() {
            return Err(corrupt("it has another length"));
        }
        file.read_exact_at(bytes, framed(at)).map_err(failed)?;
        match checksum(bytes.len() as u64, bytes) == number(12) {
            true => Ok(()),
            false => Err(corrupt("its checksum differs")),
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        // If it cannot be removed now, the next store's sweep does so.
        let _ = fs::remove_file(&self.path);
    }
}

fn not_written(folder: &Folder, path: &Path, bytes: u64) -> impl Fn(io::Error) -> SpillError {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            SpillError::DiskFull { folder: folder.path.clone(), bytes }
        }
        _ => SpillError::io(path)(error),
    }
}

/// An object on disk, until dropped.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: Spilled,
    length: u64,
}

impl SpillFile {
    /// Writes an object. Blocks.
    pub(super) fn write(folder: &Arc<Folder>, bytes: &[u8]) -> Result<SpillFile, SpillError> {
        let length = bytes.len() as u64;
        let (spilled, file) = Spilled::make(folder, length)?;
        // From here on, dropping it removes the file.
        spilled.write(&file, 0, bytes)?;
        Ok(SpillFile { file: spilled, length })
    }

    /// Reads the object into memory of its length. Blocks.
    pub(super) fn read(&self, bytes: &mut [u8]) -> Result<(), SpillError> {
        match bytes.len() as u64 == self.length {
            true => self.file.read(0, bytes),
            false => Err(SpillError::Corrupt { path: self.file.path.clone(), what: "it has another length" }),
        }
    }
}

fn checksum(length: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, Arc<Folder>) {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::make(&parent.path().join("objects")).unwrap();
        (parent, Arc::new(folder))
    }

    #[test]
    fn what_is_written_is_read_and_leaves_nothing() {
        let (parent, folder) = folder();
        for bytes in [&b""[..], b"shark", &[7; 100_000]] {
            let file = SpillFile::write(&folder, bytes).unwrap();
            assert_eq!(fs::metadata(&file.file.path).unwrap().permissions().mode() & 0o777, 0o600);
            let mut read = vec![0; bytes.len()];
            file.read(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        assert_eq!(fs::metadata(&folder.path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 0);
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists() && parent.path().exists());
    }

    #[test]
    fn a_damaged_file_is_told_from_a_good_one_wherever_the_damage_is() {
        let (_parent, folder) = folder();
        let file = SpillFile::write(&folder, b"0123456789").unwrap();
        let good = fs::read(&file.file.path).unwrap();
        let mut read = [0; 10];
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file.file.path, &bad).unwrap();
            assert!(matches!(file.read(&mut read), Err(SpillError::Corrupt { .. })), "byte {at}");
        }
        for length in 0..good.len() {
            fs::write(&file.file.path, &good[..length]).unwrap();
            assert!(matches!(file.read(&mut read), Err(SpillError::Corrupt { .. })), "cut at {length}");
        }
        fs::write(&file.file.path, &good).unwrap();
        file.read(&mut read).unwrap();
        fs::remove_file(&file.file.path).unwrap();
        assert!(matches!(file.read(&mut read), Err(SpillError::Corrupt { .. })));
    }

    #[test]
    fn a_file_that_is_there_already_is_not_written() {
        let (_parent, folder) = folder();
        let there = folder.path.join("0000000000000000.object");
        fs::write(&there, "another's").unwrap();
        assert!(matches!(SpillFile::write(&folder, b"shark"), Err(SpillError::Io { .. })));
        assert_eq!(fs::read(&there).unwrap(), b"another's");
    }

    #[test]
    fn what_dead_stores_left_is_swept_and_what_lives_is_not() {
        let (parent, living) = folder();
        let parent = parent.path().join("objects");
        let kept = SpillFile::write(&living, b"shark").unwrap();
        let dead = parent.join("spill-0123456789abcdef");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("0000000000000001.object"), "left").unwrap();
        let used = parent.join("spill-00000000000000ff");
        fs::create_dir(&used).unwrap();
        fs::write(used.join("letter"), "a user's").unwrap();
        let link = parent.join("spill-00000000000000aa");
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("0000000000000001.object"), "not the store's").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let _other = Folder::make(&parent).unwrap();
        assert!(!dead.exists() && kept.file.path.exists() && used.join("letter").exists());
        assert!(elsewhere.path().join("0000000000000001.object").exists());
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Folder::make(parent.path()), Err(SpillError::OpenFolder { .. })));
    }
}
