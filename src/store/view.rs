//! What users of a store hold: a [`Draft`] that is being written, and then a [`Stored`] that nobody writes again.

use super::table::Slot;
use super::{Location, Shared};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An object's memory, which goes back to its store when dropped.
struct Held {
    /// There until dropped.
    slot: Option<Slot>,
    shared: Arc<Shared>,
}

impl Held {
    /// What it takes in the store, rounding included.
    fn footprint(&self) -> usize {
        self.slot.as_ref().map_or(0, |slot| slot.space.len())
    }

    fn bytes(&self, length: usize) -> &[u8] {
        self.slot.as_ref().map_or(&[], |slot| &slot.space[..length])
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.free(slot);
        }
    }
}

/// Memory that is to become an object: the caller's alone, aligned to 64 bytes, with whatever was there before in it.
pub struct Draft {
    held: Drafted,
    length: usize,
}

/// Counts as a draft while it is one.
struct Drafted(Option<Held>);

impl Drafted {
    fn end(&mut self) -> Option<Held> {
        let held = self.0.take()?;
        held.shared.drafts.fetch_sub(held.footprint(), Ordering::Relaxed);
        Some(held)
    }
}

impl Drop for Drafted {
    fn drop(&mut self) {
        self.end();
    }
}

impl Draft {
    pub(super) fn new(slot: Slot, length: usize, shared: &Arc<Shared>) -> Draft {
        let held = Held { slot: Some(slot), shared: Arc::clone(shared) };
        shared.drafts.fetch_add(held.footprint(), Ordering::Relaxed);
        Draft { held: Drafted(Some(held)), length }
    }

    /// Ends the writing: the bytes never change again.
    #[must_use]
    pub fn seal(mut self) -> Stored {
        let held = self.held.end();
        let held = held.expect("a draft has its memory until it is sealed, which consumes it");
        Stored { object: Some(Arc::new(Object { held, length: self.length, pins: AtomicUsize::new(0) })) }
    }
}

impl Deref for Draft {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.held.0.as_ref().map_or(&[], |held| held.bytes(self.length))
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut [u8] {
        let slot = self.held.0.as_mut().and_then(|held| held.slot.as_mut());
        slot.map_or(&mut [], |slot| &mut slot.space[..self.length])
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} B)", self.length)
    }
}

/// An object that is sealed. Its memory is free when the last clone is dropped: pins of other processes hold one.
pub struct Stored {
    /// There until dropped.
    object: Option<Arc<Object>>,
}

/// The bytes behind an `Arc` are only ever shared: that is what sealing is, within this process.
struct Object {
    held: Held,
    length: usize,
    pins: AtomicUsize,
}

impl Stored {
    /// Where it is, for a process that maps its segment.
    #[must_use]
    pub fn location(&self) -> Location {
        let slot = self.object.as_ref().and_then(|object| object.held.slot.as_ref());
        slot.map_or_else(Location::default, |slot| Location {
            segment: slot.space.segment().id(),
            offset: slot.space.offset() as u64,
            length: self.len() as u64,
        })
    }

    /// Whether nobody but the asker has it: neither a clone nor a pin.
    pub(super) fn is_only_one_of(&self, clones: usize) -> bool {
        self.object.as_ref().is_some_and(|object| Arc::strong_count(object) == clones)
    }

    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.object.as_ref().map(|object| &object.held.shared)
    }

    /// Counts it as pinned, for [`Usage`](super::Usage).
    pub(super) fn pinned(&self) {
        let Some(object) = &self.object else { return };
        if object.pins.fetch_add(1, Ordering::Relaxed) == 0 {
            object.held.shared.pinned.fetch_add(object.held.footprint(), Ordering::Relaxed);
        }
    }

    /// The reverse of [`Stored::pinned`].
    pub(super) fn unpinned(&self) {
        let Some(object) = &self.object else { return };
        if object.pins.fetch_sub(1, Ordering::Relaxed) == 1 {
            object.held.shared.pinned.fetch_sub(object.held.footprint(), Ordering::Relaxed);
        }
    }
}

impl Clone for Stored {
    fn clone(&self) -> Stored {
        Stored { object: self.object.clone() }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if Arc::strong_count(&object) > 1 {
            // The object may be idle now, which the housekeeper may wait for: asked after the clone has gone, or else
            // it could miss both.
            let shared = Arc::clone(&object.held.shared);
            drop(object);
            if shared.hungry.hear() {
                shared.wake();
            }
        }
    }
}

impl Deref for Stored {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.object.as_ref().map_or(&[], |object| object.held.bytes(object.length))
    }
}

impl AsRef<[u8]> for Stored {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({:?})", self.location())
    }
}
