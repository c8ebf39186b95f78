//! The objects that a node has promised: bounded, and known to the node that makes them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::entry::Entry;
use super::error::Fault;
use super::home::Home;
use crate::id::ObjectId;
use crate::limits::SUBMITTED;

/// Counts the objects that a node has promised and that are not settled.
#[derive(Clone)]
pub(crate) struct Promised(Arc<Promises>);

struct Promises {
    count: AtomicUsize,
    home: Weak<dyn Home>,
}

impl Promised {
    pub(crate) fn new(home: Weak<dyn Home>) -> Self {
        Promised(Arc::new(Promises { count: AtomicUsize::new(0), home }))
    }

    /// One more, counted until it is settled; it has failed already if there are [`SUBMITTED`].
    pub(crate) fn promise(&self, id: ObjectId) -> Arc<Entry> {
        let more = |count: usize| (count < SUBMITTED).then_some(count + 1);
        match self.0.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Entry::pending(id, Some(self.clone())),
            Err(_) => Entry::settled(id, Err(Arc::new(Fault::QueueFull { limit: SUBMITTED }))),
        }
    }

    /// One of them is settled.
    pub(super) fn kept(&self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// The node.
    pub(super) fn home(&self) -> Option<Arc<dyn Home>> {
        self.0.home.upgrade()
    }
}
