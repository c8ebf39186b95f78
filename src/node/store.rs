//! The node's store: made when the first object goes into it.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lend::Lending;
use super::pull::Pulls;
use super::runtime::Node;
use crate::store::{Draft, Store, StoreConfig, StoreError, Usage, Weight};

/// What a node's store is made with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoreSettings {
    /// Bytes of memory, at most.
    pub(crate) capacity: usize,
    pub(crate) spilling: Spilling,
    /// How long a new object waits for room.
    pub(crate) wait: Duration,
    pub(crate) sharing: Sharing,
}

/// Where objects go that memory is too short for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Spilling {
    /// Into the system's folder for temporary files, if it can be had.
    Anywhere,
    /// Into this folder.
    To(PathBuf),
    /// Nowhere.
    Never,
}

impl Spilling {
    /// Where to, if anywhere.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        match self {
            Spilling::Anywhere => Some(temporary_folder()),
            Spilling::To(folder) => Some(folder.clone()),
            Spilling::Never => None,
        }
    }
}

/// Whether processes of one host read each other's objects in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sharing {
    InPlace,
    /// Bytes travel, as they do between hosts.
    Never,
}

/// The store, and what it is made with.
pub(super) struct NodeStore {
    settings: StoreSettings,
    made: Mutex<Option<Store>>,
    lending: Lending,
    pulls: Pulls,
}

impl NodeStore {
    pub(super) fn new(settings: StoreSettings) -> Self {
        let pulls = Pulls::new(settings.capacity);
        NodeStore { settings, made: Mutex::new(None), lending: Lending::default(), pulls }
    }

    /// The store, if it was made.
    pub(super) fn made(&self) -> Option<Store> {
        self.made.lock().clone()
    }

    /// The store, made if it is the first time.
    fn get(&self) -> Result<Store, StoreError> {
        let mut made = self.made.lock();
        if let Some(store) = &*made {
            return Ok(store.clone());
        }
        let capacity = self.settings.capacity;
        let with = |folder: Option<&Path>| Store::new(StoreConfig { capacity, folder: folder.map(Path::to_owned) });
        let store = match &self.settings.spilling {
            Spilling::Never => with(None),
            Spilling::To(folder) => with(Some(folder)),
            Spilling::Anywhere => with(Some(&temporary_folder())).or_else(|error| match error {
                StoreError::Spill(error) => {
                    tracing::warn!(%error, "objects stay in memory: there is no folder to move them to");
                    with(None)
                }
                error => Err(error),
            }),
        }?;
        Ok(made.insert(store).clone())
    }
}

/// A folder of this user's own.
fn temporary_folder() -> PathBuf {
    std::env::temp_dir().join(format!("mobula-objects-{}", rustix::process::geteuid().as_raw()))
}

impl Node {
    /// Its store.
    pub(crate) fn store(&self) -> Result<Store, StoreError> {
        // Its housekeeper runs where the node's tasks do, whoever asks first.
        let _entered = self.runtime().enter();
        self.node_store().get()
    }

    /// Memory for an object, when there is room.
    pub(crate) async fn draft(&self, length: usize) -> Result<Draft, StoreError> {
        self.store()?.create(length, self.node_store().settings.wait).await
    }

    /// Counts a value in the process's own memory, when there is room.
    pub(crate) async fn weigh(&self, bytes: usize) -> Result<Weight, StoreError> {
        self.store()?.weigh(bytes, self.node_store().settings.wait).await
    }

    pub(super) fn lending(&self) -> &Lending {
        &self.node_store().lending
    }

    pub(super) fn pulls(&self) -> &Pulls {
        &self.node_store().pulls
    }

    pub(super) fn sharing(&self) -> Sharing {
        self.node_store().settings.sharing
    }

    /// What holds the store's memory.
    pub(crate) fn store_usage(&self) -> Usage {
        let store = self.node_store();
        store.made().map_or(Usage { capacity: store.settings.capacity, ..Usage::default() }, |store| store.usage())
    }
}
