//! Stores to test with, and ways to wait for what happens in the background.

use mobula::store::{Attached, ReaderId, Server, Store, StoreConfig, Stored};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

pub const MIB: usize = 1 << 20;
/// More than anything here takes.
pub const LONG: Duration = Duration::from_secs(20);

pub fn store(capacity: usize) -> Store {
    Store::new(StoreConfig { capacity, folder: None }).unwrap()
}

/// Waits until something that happens in the background has happened.
pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let looking = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// Bytes that tell where they belong.
pub fn pattern(seed: u8, length: usize) -> Vec<u8> {
    // Not a power of two long: what lies a segment or a page aside differs.
    let period: Vec<u8> = (0..251).map(|at: u8| at.wrapping_mul(31).wrapping_add(seed)).collect();
    let mut bytes = period.repeat(length / period.len() + 1);
    bytes.truncate(length);
    bytes
}

/// A folder that only this user may enter.
pub fn private_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    folder
}

/// A store that serves readers.
pub struct Owner {
    pub store: Store,
    pub path: PathBuf,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Owner {
    pub fn new(capacity: usize) -> Owner {
        Owner::of(store(capacity))
    }

    pub fn of(store: Store) -> Owner {
        let folder = private_folder();
        let path = folder.path().join("store");
        Owner { _server: store.serve(&path).unwrap(), store, path, _folder: folder }
    }

    pub async fn attach(&self) -> (ReaderId, Attached) {
        let (reader, ticket) = self.store.issue_ticket().unwrap();
        (reader, Attached::connect(&self.path, &ticket).await.unwrap())
    }

    pub fn put(&self, bytes: &[u8]) -> Stored {
        self.store.copy_in(bytes).unwrap()
    }
}
