//! Values in the process's own memory that count as the store's: together with the segments they are bounded by its capacity.

use super::{Shared, Store, StoreError};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// So many bytes outside of the store's segments, counted until this is dropped.
pub struct Weight {
    bytes: usize,
    shared: Weak<Shared>,
}

impl Weight {
    pub(super) fn new(bytes: usize, shared: &Arc<Shared>) -> Weight {
        Weight { bytes, shared: Arc::downgrade(shared) }
    }

    /// The bytes that it counts, which keep it.
    #[must_use]
    pub fn of(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Weighed { bytes, _weight: self })
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lighten(self.bytes);
        }
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight({} B)", self.bytes)
    }
}

/// Dropped in this order.
struct Weighed {
    bytes: Bytes,
    _weight: Weight,
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Store {
    /// Counts a value in the process's own memory, if there is room now.
    ///
    /// # Errors
    ///
    /// As [`Store::try_create`].
    pub fn try_weigh(&self, bytes: usize) -> Result<Weight, StoreError> {
        self.shared.weigh_now(bytes)
    }

    /// Counts it after everybody who asked before; as [`Store::create`] gives memory.
    ///
    /// # Errors
    ///
    /// As [`Store::create`].
    pub async fn weigh(&self, bytes: usize, wait: Duration) -> Result<Weight, StoreError> {
        self.shared.weigh(bytes, wait).await
    }

    /// Counts what is there already, whether there is room or not: who comes later waits for it.
    #[must_use]
    pub fn weigh_anyway(&self, bytes: usize) -> Weight {
        self.shared.weigh_anyway(bytes)
    }
}
