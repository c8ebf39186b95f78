//! Folders of Unix sockets: a user's own (`ipc://`), or a private one that nobody is told of. A folder is 0700, so only
//! this user connects, and locked while in use, so what a dead process left behind in it is known to be dead.

use super::NetError;
use super::handshake::random;
use super::preface::Lane;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "mobula-";
/// How often taking a folder is tried: others that sweep at the same time may hold it, or remove it before it is locked.
const TRIES: usize = 8;
/// The pause before another try; a sweep holds a folder for microseconds.
const PAUSE: Duration = Duration::from_millis(1);
/// How many folders of dead processes one start removes.
const SWEPT: usize = 64;

/// A folder that this process alone uses, until dropped; then it goes, if this process made it, with its sockets.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    made: bool,
    /// Locked: the lock ends with the process, whatever ends it.
    _lock: File,
}

impl Folder {
    /// Takes the folder at `path`, or makes it.
    pub(crate) fn take(path: &Path) -> Result<Folder, NetError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Folder::take_now(path) {
                // Others that sweep at the same time hold a new folder for a moment, or have removed it.
                Err(NetError::InUse { .. }) if tries < TRIES && !path.join(Lane::Calls.name()).exists() => {
                    std::thread::sleep(PAUSE);
                }
                taken => return taken,
            }
        }
    }

    fn take_now(path: &Path) -> Result<Folder, NetError> {
        let failed = |error| NetError::Folder { path: path.to_owned(), error };
        let made = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let in_use = || NetError::InUse { address: format!("ipc://{}", path.display()) };
        let lock = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => in_use(),
            _ => failed(error),
        })?;
        let metadata = lock.metadata().map_err(failed)?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !ours || metadata.mode() & 0o077 != 0 {
            return Err(NetError::Shared { path: path.to_owned() });
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(in_use()),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        // A start elsewhere may have swept the folder away between its making and its locking.
        let there = fs::metadata(path).map_err(|_| in_use())?;
        if (there.dev(), there.ino()) != (metadata.dev(), metadata.ino()) {
            return Err(in_use());
        }
        let folder = Folder { path: path.to_owned(), made, _lock: lock };
        folder.clear();
        Ok(folder)
    }

    /// Makes a folder of a name that nobody knows, for the sockets behind a guard.
    pub(crate) fn private() -> Result<Folder, NetError> {
        let parent = parent();
        sweep(&parent);
        let mut bytes = [0; 8];
        random(&mut bytes).map_err(|error| NetError::Folder { path: parent.clone(), error })?;
        Folder::take(&parent.join(format!("{PREFIX}{:016x}", u64::from_le_bytes(bytes))))
    }

    /// A path in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Listens on a lane's socket.
    pub(crate) fn listen(&self, lane: Lane) -> Result<UnixListener, NetError> {
        let path = self.join(lane.name());
        UnixListener::bind(&path).map_err(|error| NetError::Folder { path, error })
    }

    fn clear(&self) {
        for lane in Lane::ALL {
            // There may be none; one that cannot be removed fails the bind, with its path.
            let _ = fs::remove_file(self.join(lane.name()));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.clear();
        if self.made {
            // Somebody may have put a file of their own there; that one is not ours to remove.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The path of a folder that does not exist yet.
pub(super) fn fresh() -> PathBuf {
    let mut bytes = [0; 8];
    // Without randomness the name is that of every such start, and taking the folder says that it is in use.
    let _ = random(&mut bytes);
    parent().join(format!("{PREFIX}{:016x}", u64::from_le_bytes(bytes)))
}

fn parent() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    runtime.unwrap_or_else(std::env::temp_dir)
}

/// Removes the private folders that processes of this user left behind when they were killed.
pub(crate) fn sweep_dead() {
    sweep(&parent());
}

/// Removes the private folders of processes that have ended without doing so: those that nobody has locked.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let ours = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for entry in entries.filter_map(Result::ok).filter(ours).take(SWEPT) {
        // One that is in use, or of another user, is refused.
        if let Ok(mut folder) = Folder::take_now(&entry.path()) {
            folder.made = true;
            // Such a folder holds nothing but sockets: of lanes, and of dials that never connected.
            let left = fs::read_dir(&folder.path).into_iter().flatten().filter_map(Result::ok);
            left.for_each(|left| drop(fs::remove_file(left.path())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_has_one_user_and_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("node");
        let folder = Folder::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let _listener = folder.listen(Lane::Calls).unwrap();
        assert!(matches!(Folder::take(&path), Err(NetError::InUse { .. })));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_given_folder_is_cleared_of_dead_sockets_and_stays() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
        drop(UnixListener::bind(parent.path().join("calls")).unwrap());
        let folder = Folder::take(parent.path()).unwrap();
        let _listener = folder.listen(Lane::Calls).unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Folder::take(parent.path()), Err(NetError::Shared { .. })));
    }

    #[test]
    fn what_dead_processes_left_is_swept_and_what_lives_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("mobula-0123456789abcdef");
        DirBuilder::new().mode(0o700).create(&dead).unwrap();
        drop(UnixListener::bind(dead.join("control")).unwrap());
        drop(UnixListener::bind(dead.join("17")).unwrap());
        let living = Folder::take(&parent.path().join("mobula-00000000000000ff")).unwrap();
        let other = parent.path().join("mobula-keys");
        DirBuilder::new().mode(0o700).create(&other).unwrap();
        sweep(parent.path());
        assert!(!dead.exists() && living.path.exists() && other.exists());
    }
}
