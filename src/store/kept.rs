//! An object that its store may move to disk and back.
//!
//! ```text
//! in memory ── idle, and the least recently used ──▶ being written ── still idle ──▶ on disk
//!     ▲  ▲                                                  └─ viewed meanwhile ─┐     │ get
//!     │  └───────────────────────────────────────────────────────────────────────┘     │
//!     └────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A copy of what others have is dropped instead, and has to be had again. The bytes never change, so a file once written stays: moving the object out again costs nothing.

use super::spill::{SpillError, SpillFile};
use super::view::Stored;
use super::{Shared, StoreError};
use crate::limits;
use crate::sync::flag::Flag;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// An object that is in memory or on disk. Clones are the same object.
#[derive(Clone)]
pub struct Kept(Arc<Keep>);

pub(super) struct Keep {
    shared: Arc<Shared>,
    length: usize,
    place: Mutex<Place>,
    /// Held by the one that brings it back.
    restoring: tokio::sync::Mutex<()>,
    /// When it was used last, as its store counts; zero while it is not to be spilled.
    pub(super) used: AtomicU64,
    /// Of a copy: says whether it can be had again.
    again: Mutex<Option<Again>>,
    /// It was viewed when it was looked at for one to spill: whoever ends a view of it has it looked at again.
    aside: Flag,
}

/// Says whether an object can be had again that its store drops.
pub(crate) type Again = Arc<dyn Fn() -> bool + Send + Sync>;

/// One of the two is there, or both.
struct Place {
    memory: Option<Stored>,
    file: Option<Arc<SpillFile>>,
}

/// What spilling an object takes.
pub(super) enum Spill {
    /// Somebody views it.
    Viewed,
    /// It would have to be written, and cannot be.
    Nowhere,
    /// Nothing: it was on disk already, or can be had again, and its memory is free.
    Done,
    /// Writing this.
    Write(Stored),
}

impl Kept {
    pub(super) fn new(stored: Stored, again: Option<Again>, shared: &Arc<Shared>) -> Kept {
        let keep = Keep {
            shared: Arc::clone(shared),
            length: stored.len(),
            place: Mutex::new(Place { memory: Some(stored), file: None }),
            restoring: tokio::sync::Mutex::new(()),
            used: AtomicU64::new(0),
            again: Mutex::new(again),
            aside: Flag::default(),
        };
        let kept = Kept(Arc::new(keep));
        if let Some(stored) = &kept.0.place.lock().memory {
            stored.is_of(&kept.0);
        }
        kept.0.touch();
        shared.consider_spilling();
        kept
    }

    /// A view of it, brought back from disk if need be; while there is one, the object stays in memory. Dropping the
    /// future is harmless.
    ///
    /// # Errors
    ///
    /// If its file was damaged, or if there is no room for it in time; or it was a copy, and was dropped.
    pub async fn get(&self) -> Result<Stored, StoreError> {
        if let Some(stored) = self.0.in_memory() {
            return Ok(stored);
        }
        let _one = self.0.restoring.lock().await;
        // Another may have brought it back meanwhile.
        if let Some(stored) = self.0.in_memory() {
            return Ok(stored);
        }
        let file = self.0.place.lock().file.clone();
        let file = file.ok_or(StoreError::Evicted)?;
        let mut draft = self.0.shared.draft(self.0.length, limits::RESTORE_WAIT).await?;
        let read = move || file.read(&mut draft).map(|()| draft);
        let draft = tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::NoRuntime)??;
        let stored = draft.seal();
        stored.is_of(&self.0);
        self.0.place.lock().memory = Some(stored.clone());
        self.0.touch();
        Ok(stored)
    }

    /// A view of it, if it is in memory now.
    #[must_use]
    pub fn in_memory(&self) -> Option<Stored> {
        self.0.in_memory()
    }

    /// It is no copy any more that could be had again. Whether it is there: one that was dropped before is not.
    pub(crate) fn for_good(&self) -> bool {
        let again = self.0.again.lock().take();
        drop(again);
        self.0.touch();
        self.is_there()
    }

    /// Whether it is in memory or on disk: a copy may have been dropped.
    pub(crate) fn is_there(&self) -> bool {
        let place = self.0.place.lock();
        place.memory.is_some() || place.file.is_some()
    }

    /// Whether it is in memory now.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.0.place.lock().memory.is_some()
    }

    /// Its bytes' number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.length
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.length == 0
    }
}

impl Keep {
    fn in_memory(self: &Arc<Self>) -> Option<Stored> {
        let stored = self.place.lock().memory.clone()?;
        self.touch();
        Some(stored)
    }

    /// It was used just now.
    pub(super) fn touch(self: &Arc<Self>) {
        let spiller = &self.shared.spiller;
        if spiller.writes() || self.again.lock().is_some() {
            spiller.touch(self);
        }
    }

    /// It is viewed, and not looked at again before a view of it ends; at once if one has ended meanwhile.
    pub(super) fn set_aside(self: &Arc<Self>) {
        self.aside.set(true);
        if self.place.lock().memory.as_ref().is_some_and(|stored| stored.is_only_one_of(1)) {
            self.view_ended();
        }
    }

    /// A view of it has ended.
    pub(super) fn view_ended(self: &Arc<Self>) {
        if self.aside.hear() {
            self.aside.set(false);
            self.touch();
        }
    }

    /// Whether it may be dropped.
    fn can_be_had_again(&self) -> bool {
        let again = self.again.lock().clone();
        again.is_some_and(|again| again())
    }

    /// Begins to move it to disk, if it may be written and nobody views it: who would has to ask here, under the lock.
    pub(super) fn begin(&self, writes: bool) -> Spill {
        let evict = self.can_be_had_again();
        let mut place = self.place.lock();
        // It may have been kept for good meanwhile, by who looks whether it is there after that.
        let evict = evict && self.again.lock().is_some();
        match (&place.memory, &place.file) {
            (Some(stored), None) if !evict && stored.is_only_one_of(1) => match writes {
                true => Spill::Write(stored.clone()),
                false => Spill::Nowhere,
            },
            (Some(stored), _) if stored.is_only_one_of(1) => {
                let stored = place.memory.take();
                drop(place);
                drop(stored);
                Spill::Done
            }
            (Some(_), _) => Spill::Viewed,
            (None, _) => Spill::Done,
        }
    }

    /// It has been written, or has not. Its memory goes unless somebody views it.
    pub(super) fn end(self: &Arc<Self>, stored: Stored, written: Result<SpillFile, SpillError>) {
        let mut place = self.place.lock();
        let failed = written.is_err();
        if let Ok(file) = written {
            place.file = Some(Arc::new(file));
        }
        // The place has one and the writer the other.
        let idle = !failed && stored.is_only_one_of(2);
        let gone = if idle { place.memory.take() } else { None };
        drop(place);
        drop((gone, stored));
        if !idle {
            self.touch();
        }
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.shared.spiller.forget(self);
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} B, {})", self.0.length, if self.is_in_memory() { "in memory" } else { "on disk" })
    }
}
