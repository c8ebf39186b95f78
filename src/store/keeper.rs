//! The store's housekeeper: a task that gives warm segments back to the system in time, and moves objects to disk when
//! memory is short. It sleeps while there is neither.

use super::Shared;
use super::kept::{Keep, Spill};
use super::line::State;
use super::spill::{Folder, SpillError, SpillFile};
use super::view::Stored;
use crate::clock;
use crate::limits;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Objects looked at for one to spill while nobody waits for its memory: those that are viewed are passed over.
const LOOKED_AT: usize = 128;

/// What can be spilled, and what is being.
pub(super) struct Spiller {
    /// Without one, only what can be had again makes way.
    folder: Option<Arc<Folder>>,
    kept: Mutex<LeastRecentlyUsed>,
    /// Objects that are being written, and their bytes.
    writing: AtomicUsize,
    writing_bytes: AtomicUsize,
    /// The housekeeper knows that memory is short.
    told: AtomicBool,
    failed: Mutex<Option<(clock::Moment, SpillError)>>,
}

#[derive(Default)]
struct LeastRecentlyUsed {
    last: u64,
    /// But for those that were viewed when they were looked at, and that nobody has used or left since.
    by_use: BTreeMap<u64, Weak<Keep>>,
}

impl Spiller {
    pub(super) fn new(parent: Option<&Path>) -> Result<Spiller, SpillError> {
        Ok(Spiller {
            folder: parent.map(Folder::make).transpose()?.map(Arc::new),
            kept: Mutex::default(),
            writing: AtomicUsize::new(0),
            writing_bytes: AtomicUsize::new(0),
            told: AtomicBool::new(false),
            failed: Mutex::new(None),
        })
    }

    /// Whether it writes objects to disk.
    pub(super) fn writes(&self) -> bool {
        self.folder.is_some()
    }

    /// Why the last object could not be spilled, if it could not.
    pub(super) fn last_error(&self) -> Option<SpillError> {
        self.failed.lock().as_ref().map(|(_, error)| error.clone())
    }

    pub(super) fn touch(&self, keep: &Arc<Keep>) {
        let mut kept = self.kept.lock();
        kept.last += 1;
        let now = kept.last;
        let before = keep.used.swap(now, Ordering::Relaxed);
        let known = kept.by_use.remove(&before);
        kept.by_use.insert(now, known.unwrap_or_else(|| Arc::downgrade(keep)));
    }

    pub(super) fn forget(&self, keep: &Keep) {
        self.kept.lock().by_use.remove(&keep.used.load(Ordering::Relaxed));
    }

    /// Takes the object that was used least recently off the list, if it was before `until`.
    fn oldest(&self, until: u64) -> Option<Arc<Keep>> {
        loop {
            let mut kept = self.kept.lock();
            let first = kept.by_use.first_entry().filter(|first| *first.key() <= until)?;
            let keep = first.remove().upgrade();
            drop(kept);
            if let Some(keep) = keep {
                return Some(keep);
            }
        }
    }
}

/// What has been found to spill.
enum Victim {
    /// It is to be written.
    Write(Arc<Keep>, Stored),
    /// It was on disk already; its memory is free.
    Freed,
}

/// Runs until the store is gone.
pub(super) async fn run(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let rest = strong.cool().into_iter().chain(strong.spill()).min();
        drop(strong);
        match rest {
            // Woken or not, there is something to look at.
            Some(rest) => drop(tokio::time::timeout(rest, wake.notified()).await),
            None => wake.notified().await,
        }
    }
}

impl Shared {
    /// Releases segments that have been warm for long enough. Gives the time until the next look.
    fn cool(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        state.table.advance(clock::now());
        state.cooling = state.table.totals().warm > 0;
        let cooling = state.cooling;
        drop(state);
        self.carry_out();
        cooling.then_some(limits::WARM_LOOK)
    }

    fn is_short(&self, state: &State, spiller: &Spiller) -> bool {
        let totals = state.table.totals();
        let used = (totals.used + totals.heap).saturating_sub(spiller.writing_bytes.load(Ordering::Relaxed));
        state.is_waited_for() || used as f64 > self.capacity as f64 * limits::SPILL_FROM
    }

    /// Whether the housekeeper is to be told that memory is short.
    pub(super) fn wants_to_spill(&self, state: &State) -> bool {
        self.is_short(state, &self.spiller) && !self.spiller.told.swap(true, Ordering::Relaxed)
    }

    /// An object more can be spilled.
    pub(super) fn consider_spilling(&self) {
        if self.hungry.get() || self.wants_to_spill(&self.state.lock()) {
            self.wake();
        }
    }

    /// Begins to write objects to disk, as many as is sensible. Gives the time until another try after a failure.
    fn spill(self: &Arc<Self>) -> Option<Duration> {
        let spiller = &self.spiller;
        loop {
            // Whoever finds memory short from here on tells.
            spiller.told.store(false, Ordering::Relaxed);
            let (short, waited_for) = {
                let state = self.state.lock();
                (self.is_short(&state, spiller), state.is_waited_for())
            };
            spiller.told.store(short, Ordering::Relaxed);
            // Before looking: an object that becomes idle after that wakes the housekeeper.
            self.hungry.set(short);
            if !short || spiller.writing.load(Ordering::Relaxed) >= limits::SPILLS {
                return None;
            }
            let failed = spiller.failed.lock().as_ref().map(|(at, _)| clock::now().since(*at));
            let pause = failed.and_then(|ago| limits::SPILL_PAUSE.checked_sub(ago)).filter(|left| !left.is_zero());
            // What need not be written goes on making way.
            let writes = spiller.writes() && pause.is_none();
            match self.victim(spiller, if waited_for { usize::MAX } else { LOOKED_AT }, writes) {
                Some(Victim::Write(keep, stored)) => self.write(keep, stored),
                Some(Victim::Freed) => {}
                None => return pause,
            }
        }
    }

    /// The object to write next: of those that nobody views, the least recently used.
    fn victim(&self, spiller: &Spiller, most: usize, writes: bool) -> Option<Victim> {
        let until = spiller.kept.lock().last;
        for _ in 0..most {
            let keep = spiller.oldest(until)?;
            match keep.begin(writes) {
                Spill::Write(stored) => return Some(Victim::Write(keep, stored)),
                Spill::Done => return Some(Victim::Freed),
                Spill::Viewed => keep.set_aside(),
                Spill::Nowhere => keep.touch(),
            }
        }
        None
    }

    fn write(self: &Arc<Self>, keep: Arc<Keep>, stored: Stored) {
        let shared = Arc::clone(self);
        let bytes = shared.state.lock().table.footprint(keep.length());
        let spiller = &self.spiller;
        let Some(folder) = spiller.folder.clone() else { return };
        spiller.writing.fetch_add(1, Ordering::Relaxed);
        spiller.writing_bytes.fetch_add(bytes, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || {
            let written = SpillFile::write(&folder, &stored);
            drop(folder);
            let spiller = &shared.spiller;
            if let Err(error) = &written {
                tracing::warn!(%error, "an object could not be spilled");
            }
            *spiller.failed.lock() = written.as_ref().err().map(|error| (clock::now(), error.clone()));
            keep.end(stored, written);
            spiller.writing.fetch_sub(1, Ordering::Relaxed);
            spiller.writing_bytes.fetch_sub(bytes, Ordering::Relaxed);
            shared.wake();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Again;
    use super::super::{Store, StoreConfig};
    use super::*;
    use futures_util::FutureExt;

    const MIB: usize = 1 << 20;

    /// Says so of each copy, and counts how often it is asked.
    fn again(so: bool) -> (Again, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = asked.clone();
        let again: Again = Arc::new(move || {
            counts.fetch_add(1, Ordering::Relaxed);
            so
        });
        (again, asked)
    }

    #[tokio::test]
    async fn what_can_go_nowhere_is_not_looked_at_again_and_again() {
        let store = Store::new(StoreConfig { capacity: 8 * MIB, folder: None }).unwrap();
        let (again, asked) = again(false);
        let copy = store.keep_copy(store.copy_in(&vec![0; 7 * MIB]).unwrap(), again);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!((1..8).contains(&asked.load(Ordering::Relaxed)), "{asked:?}");
        assert!(copy.is_in_memory());
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_does_not_keep_what_can_be_had_again() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("objects");
        let store = Store::new(StoreConfig { capacity: 8 * MIB, folder: Some(parent.clone()) }).unwrap();
        let full = SpillError::DiskFull { folder: parent, bytes: 1 };
        *store.shared.spiller.failed.lock() = Some((clock::now(), full));
        let stays = store.keep(store.copy_in(&vec![0; 2 * MIB]).unwrap());
        let goes = store.keep_copy(store.copy_in(&vec![0; 4 * MIB]).unwrap(), again(true).0);
        // Less than the pause: it makes way at once.
        let made = store.create(4 * MIB, limits::SPILL_PAUSE / 4).await;
        assert_eq!(made.unwrap().len(), 4 * MIB);
        assert!(stays.is_in_memory() && !goes.is_in_memory());
    }

    #[tokio::test]
    async fn a_copy_that_is_kept_for_good_is_not_dropped_and_says_if_it_was() {
        let store = Store::new(StoreConfig { capacity: 8 * MIB, folder: None }).unwrap();
        let copy = || store.keep_copy(store.copy_in(&vec![0; 4 * MIB]).unwrap(), again(true).0);
        let first = copy();
        assert!(first.for_good() && first.is_there());
        assert!(store.create(6 * MIB, Duration::from_millis(20)).await.is_err());
        assert!(first.is_in_memory());
        drop(first);
        let second = copy();
        drop(store.create(6 * MIB, limits::SPILL_PAUSE).await.unwrap());
        assert!(!second.is_there() && !second.for_good());
    }

    #[tokio::test]
    async fn what_is_viewed_is_looked_at_again_when_a_view_of_it_ends_and_not_before() {
        const OBJECTS: usize = 64;
        let store = Store::new(StoreConfig { capacity: 8 * MIB, folder: None }).unwrap();
        let (again, asked) = again(true);
        let copy = || store.keep_copy(store.copy_in(&vec![0; MIB / 16]).unwrap(), again.clone());
        let copies: Vec<_> = (0..OBJECTS).map(|_| copy()).collect();
        let mut views: Vec<_> = copies.iter().map(|copy| copy.in_memory().unwrap()).collect();
        let mut waiting = Box::pin(store.create(8 * MIB, limits::SPILL_PAUSE));
        let mut idle = || (&mut waiting).now_or_never();
        for _ in 0..100 {
            // One of two views of the same.
            drop(views[0].clone());
            assert!(idle().is_none());
            tokio::task::yield_now().await;
        }
        let looks = asked.load(Ordering::Relaxed);
        assert!((OBJECTS..4 * OBJECTS + 200).contains(&looks), "{looks} looks at {OBJECTS} objects");
        views.clear();
        assert_eq!(waiting.await.unwrap().len(), 8 * MIB);
    }
}
