//! What users of a store hold: a [`Draft`] that is being written, and then a [`Stored`] that nobody writes again.

use super::copy::past_caches;
use super::kept::Keep;
use super::table::Slot;
use super::{Location, Shared};
use crate::limits::{STORE_COPY, STORE_STREAMED};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// An object's memory, which goes back to its store when dropped, or to the system if there is no store any more. What keeps
/// the store as well is a [`Draft`] and a [`Stored`], and not a [`Pinned`], which the store has itself.
struct Held {
    /// There until dropped.
    slot: Option<Slot>,
    shared: Weak<Shared>,
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
        if let (Some(slot), Some(shared)) = (self.slot.take(), self.shared.upgrade()) {
            shared.free(slot);
        }
    }
}

/// Memory that is to become an object: the caller's alone, aligned to 64 bytes, with whatever was there before in it.
pub struct Draft {
    held: Drafted,
    length: usize,
}

/// Counts as a draft while it is one.
struct Drafted {
    held: Option<Held>,
    shared: Arc<Shared>,
}

impl Drafted {
    fn end(&mut self) -> Option<Held> {
        let held = self.held.take()?;
        self.shared.drafts.fetch_sub(held.footprint(), Ordering::Relaxed);
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
        let held = Held { slot: Some(slot), shared: Arc::downgrade(shared) };
        shared.drafts.fetch_add(held.footprint(), Ordering::Relaxed);
        Draft { held: Drafted { held: Some(held), shared: Arc::clone(shared) }, length }
    }

    /// Writes all of its bytes.
    ///
    /// # Panics
    /// When there are more or fewer.
    pub fn write(&mut self, bytes: &[u8]) {
        let length = self.length;
        copy(self, bytes, length);
    }

    /// The same in pieces, between which others of the thread have their turn.
    ///
    /// # Panics
    /// As [`Draft::write`].
    pub async fn write_in_turns(&mut self, bytes: &[u8]) {
        let (length, mut done) = (self.length, 0);
        assert_eq!(length, bytes.len(), "all of its bytes");
        for piece in bytes.chunks(STORE_COPY) {
            let from = done;
            done += piece.len();
            copy(&mut self[from..done], piece, length);
            if done < length {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Ends the writing: the bytes never change again.
    #[must_use]
    pub fn seal(mut self) -> Stored {
        let held = self.held.end();
        let held = held.expect("a draft has its memory until it is sealed, which consumes it");
        let object = Arc::new(Object { held, length: self.length, pins: AtomicUsize::new(0), keep: OnceLock::new() });
        Stored { object: Some(object), shared: Arc::clone(&self.held.shared) }
    }
}

/// Copies a part of an object that is so long in all.
fn copy(to: &mut [u8], from: &[u8], length: usize) {
    if length >= STORE_STREAMED { past_caches(to, from) } else { to.copy_from_slice(from) }
}

impl Deref for Draft {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.held.held.as_ref().map_or(&[], |held| held.bytes(self.length))
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut [u8] {
        let slot = self.held.held.as_mut().and_then(|held| held.slot.as_mut());
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
    /// There until dropped, and before the store.
    object: Option<Arc<Object>>,
    shared: Arc<Shared>,
}

/// What a pin has of an object: it keeps its memory where it is, and not its store. Counts for [`Usage`](super::Usage).
pub(super) struct Pinned {
    /// There until dropped.
    object: Option<Arc<Object>>,
}

/// The bytes behind an `Arc` are only ever shared: that is what sealing is, within this process.
struct Object {
    held: Held,
    length: usize,
    pins: AtomicUsize,
    /// What may move it to disk.
    keep: OnceLock<Weak<Keep>>,
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

    /// Its views are those of what may move it to disk.
    pub(super) fn is_of(&self, keep: &Arc<Keep>) {
        if let Some(object) = &self.object {
            object.keep.get_or_init(|| Arc::downgrade(keep));
        }
    }

    /// Whether nobody but the asker has it: neither a clone nor a pin.
    pub(super) fn is_only_one_of(&self, clones: usize) -> bool {
        self.object.as_ref().is_some_and(|object| Arc::strong_count(object) == clones)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether a reader has it pinned.
    pub(super) fn is_pinned(&self) -> bool {
        self.object.as_ref().is_some_and(|object| object.pins.load(Ordering::Relaxed) > 0)
    }

    /// What it takes in the store, rounding included.
    pub(super) fn footprint(&self) -> usize {
        self.object.as_ref().map_or(0, |object| object.held.footprint())
    }

    /// Pins it.
    pub(super) fn pinned(&self) -> Pinned {
        if let Some(object) = &self.object
            && object.pins.fetch_add(1, Ordering::Relaxed) == 0
        {
            self.shared.pinned.fetch_add(object.held.footprint(), Ordering::Relaxed);
        }
        Pinned { object: self.object.clone() }
    }
}

impl Clone for Stored {
    fn clone(&self) -> Stored {
        Stored { object: self.object.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            let_go(object, &self.shared);
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        // A store that ends under its pins has no books any more.
        let Some(shared) = object.held.shared.upgrade() else { return };
        if object.pins.fetch_sub(1, Ordering::Relaxed) == 1 {
            shared.pinned.fetch_sub(object.held.footprint(), Ordering::Relaxed);
        }
        let_go(object, &shared);
    }
}

/// One of those that have an object has it no more.
fn let_go(object: Arc<Object>, shared: &Shared) {
    let is_last = Arc::strong_count(&object) == 1;
    let keep = if is_last { None } else { object.keep.get().cloned() };
    drop(object);
    if !is_last {
        // The object may be idle now, which the housekeeper may wait for: asked after the clone has gone, or else it could
        // miss both.
        if let Some(keep) = keep.as_ref().and_then(Weak::upgrade) {
            keep.view_ended();
        }
        if shared.hungry.hear() {
            shared.wake();
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
