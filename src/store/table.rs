//! Which memory is whose: objects in segments, and segments within the store's capacity. Pure: it is given the time and
//! fresh segments, and gives back what is to be released and what readers are to be told.
//!
//! ```text
//!             ┌─ allocate ──▶ in use ── free ─┐
//! grown ──▶ warm ◀───────────────────────────┘
//!             └─ 30 s, over a quarter of the store, or room is needed ──▶ retiring ── no reader maps it ──▶ released
//! ```
//!
//! Objects of 4 MiB and more have a segment each; a warm one serves the next object that fills half of it. Smaller ones
//! share segments, divided by [`blocks`]. A segment counts against the capacity, whole, from its making to its release, and
//! there may be only so many: each takes a descriptor.

pub(super) mod blocks;
#[cfg(test)]
mod tests;

use super::segment::{Segment, Space};
use crate::clock::Moment;
use crate::limits;
use blocks::{Blocks, GRANULE, granules};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The books of a store.
pub(super) struct Table {
    capacity: usize,
    page: usize,
    /// The length of shared segments, and of the shortest object that has one of its own.
    shared: usize,
    own_from: usize,
    /// Segments that there may be: each has a descriptor.
    most: usize,
    now: Moment,
    next_id: u64,
    segments: BTreeMap<u64, Entry>,
    blocks: Blocks,
    /// Warm segments of single objects, by length.
    fitting: BTreeSet<(usize, u64)>,
    totals: Totals,
    effects: Effects,
}

struct Entry {
    segment: Arc<Segment>,
    /// Readers that map it.
    mapped: usize,
    state: State,
}

enum State {
    /// Single: its object has it. Shared: it has so many.
    InUse { objects: usize },
    /// No object has it.
    Warm { since: Moment, at: Free },
    /// Readers have been told, and it goes when the last has unmapped it.
    Retiring(Space),
}

enum Free {
    Single(Space),
    /// The block that is its whole.
    Shared(u32),
}

/// Bytes by what they are for; each includes the rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Of all segments.
    pub(super) held: usize,
    /// Of objects.
    pub(super) used: usize,
    /// Of warm segments.
    pub(super) warm: usize,
    /// Of segments that readers are to unmap.
    pub(super) retiring: usize,
    /// Of values outside of all segments.
    pub(super) heap: usize,
}

/// The memory of one object.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) space: Space,
    pub(super) block: Option<u32>,
}

/// What an object may have.
#[derive(Debug)]
pub(super) enum Room {
    /// Memory.
    Slot(Slot),
    /// Memory, once a segment has been made: then [`Table::grown`], or else [`Table::not_grown`].
    Grow(Growth),
}

/// Room within the capacity for a segment that is to be made.
#[derive(Debug)]
#[must_use = "its bytes are reserved"]
pub(super) struct Growth {
    pub(super) id: u64,
    pub(super) bytes: usize,
    shared: bool,
}

/// There is no room now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What is to be done outside of the store's lock.
#[derive(Default)]
pub(super) struct Effects {
    /// Segments to be unmapped here, by dropping them.
    pub(super) released: Vec<Space>,
    /// Segments to be unmapped by those who read them.
    pub(super) retire: Vec<u64>,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.released.is_empty() && self.retire.is_empty()
    }
}

impl Table {
    pub(super) fn new(capacity: usize, page: usize) -> Table {
        let shared = (capacity / limits::SHARED_SEGMENT_PART).min(limits::SHARED_SEGMENT) / page * page;
        let shared = shared.max(page);
        Table {
            capacity,
            page,
            shared,
            own_from: limits::OWN_SEGMENT.min(shared / 2),
            most: usize::MAX,
            now: Moment::default(),
            next_id: 1,
            segments: BTreeMap::new(),
            blocks: Blocks::new(),
            fitting: BTreeSet::new(),
            totals: Totals::default(),
            effects: Effects::default(),
        }
    }

    /// The same with so many segments at most.
    pub(super) fn of_at_most(self, most: usize) -> Table {
        Table { most, ..self }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether an object so long fits into the store when there is nothing else in it.
    pub(super) fn fits(&self, length: usize) -> bool {
        self.segment_for(length).is_some_and(|bytes| bytes <= self.capacity)
    }

    /// What an object so long adds to the bytes in use.
    pub(super) fn footprint(&self, length: usize) -> usize {
        match length < self.own_from {
            true => granules(length) * GRANULE,
            false => self.segment_for(length).unwrap_or(usize::MAX),
        }
    }

    /// Counts a value outside of all segments, if there is room.
    pub(super) fn weigh(&mut self, bytes: usize) -> Result<(), Full> {
        let fits = self.make_room(bytes);
        self.totals.heap += if fits { bytes } else { 0 };
        if fits { Ok(()) } else { Err(Full) }
    }

    /// Counts one that is there, whether there is room or not.
    pub(super) fn weigh_anyway(&mut self, bytes: usize) {
        self.totals.heap += bytes;
    }

    /// Such a value is gone.
    pub(super) fn lighten(&mut self, bytes: usize) {
        self.totals.heap = self.totals.heap.saturating_sub(bytes);
    }

    /// Memory for an object, warm if there is any.
    pub(super) fn allocate(&mut self, length: usize) -> Result<Room, Full> {
        let shared = length < self.own_from;
        let taken = if shared { self.take_block(length) } else { self.take_fitting(length) };
        if let Some(slot) = taken {
            self.totals.used += slot.space.len();
            return Ok(Room::Slot(slot));
        }
        let bytes = self.segment_for(length).ok_or(Full)?;
        if !self.make_room(bytes) {
            return Err(Full);
        }
        self.retire_oldest(|table, _| table.segments.len() >= table.most);
        if self.segments.len() >= self.most {
            return Err(Full);
        }
        self.totals.held += bytes;
        self.next_id += 1;
        Ok(Room::Grow(Growth { id: self.next_id - 1, bytes, shared }))
    }

    /// The segment has been made; its first object is the one that it was made for.
    pub(super) fn grown(&mut self, growth: Growth, space: Space, length: usize) -> Slot {
        debug_assert_eq!(space.len(), growth.bytes);
        let segment = Arc::clone(space.segment());
        let slot = if growth.shared {
            let at = Free::Shared(self.blocks.insert(space));
            self.totals.warm += growth.bytes;
            self.segments.insert(growth.id, Entry { segment, mapped: 0, state: State::Warm { since: self.now, at } });
            self.take_block(length).expect("an empty segment has room for any object that shares")
        } else {
            self.segments.insert(growth.id, Entry { segment, mapped: 0, state: State::InUse { objects: 1 } });
            Slot { space, block: None }
        };
        self.totals.used += slot.space.len();
        slot
    }

    /// The segment could not be made: what is warm makes way, for it takes what the system has no more of.
    pub(super) fn not_grown(&mut self, growth: Growth) {
        self.totals.held -= growth.bytes;
        self.retire_oldest(|_, _| true);
    }

    /// Takes an object's memory back.
    pub(super) fn free(&mut self, slot: Slot) {
        let Slot { space, block } = slot;
        let id = space.segment().id();
        self.totals.used -= space.len();
        let Some(entry) = self.segments.get_mut(&id) else { return };
        let at = match (block, &mut entry.state) {
            (None, _) => Free::Single(space),
            (Some(block), State::InUse { objects }) if *objects > 1 => {
                *objects -= 1;
                return self.blocks.give(block, space);
            }
            (Some(block), _) => {
                let whole = self.blocks.give_last(block, space);
                Free::Shared(whole.expect("a segment without objects is one free block"))
            }
        };
        let bytes = entry.segment.length();
        if matches!(at, Free::Single(_)) {
            self.fitting.insert((bytes, id));
        }
        entry.state = State::Warm { since: self.now, at };
        self.totals.warm += bytes;
        let most = self.capacity / limits::WARM_PART;
        if bytes > most {
            self.retire(id);
        } else if self.totals.warm > most {
            self.retire_oldest(|table, _| table.totals.warm > most);
        }
    }

    /// Tells the time; segments that have been warm for long enough go.
    pub(super) fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.retire_oldest(|table, since| table.now.since(since) >= limits::WARM);
    }

    /// Tells the time after it was not told for a while: what is warm became so just now.
    pub(super) fn begin_cooling(&mut self, now: Moment) {
        self.now = self.now.max(now);
        for entry in self.segments.values_mut() {
            if let State::Warm { since, .. } = &mut entry.state {
                *since = self.now;
            }
        }
    }

    /// A reader is about to map a segment that it has a pin in.
    pub(super) fn map(&mut self, id: u64) -> Option<Arc<Segment>> {
        let entry = self.segments.get_mut(&id)?;
        entry.mapped += 1;
        Some(Arc::clone(&entry.segment))
    }

    /// A reader that mapped it does so no more.
    pub(super) fn unmap(&mut self, id: u64) {
        let Some(entry) = self.segments.get_mut(&id) else { return };
        entry.mapped = entry.mapped.saturating_sub(1);
        if entry.mapped == 0 && matches!(entry.state, State::Retiring(_)) {
            self.release(id);
        }
    }

    /// What is to be done since the last call.
    pub(super) fn effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The segment that an object so long may need.
    fn segment_for(&self, length: usize) -> Option<usize> {
        match length < self.own_from {
            true => Some(self.shared),
            false => length.checked_next_multiple_of(self.page),
        }
    }

    fn take_block(&mut self, length: usize) -> Option<Slot> {
        let (block, space) = self.blocks.take(length)?;
        self.enter(space.segment().id());
        Some(Slot { space, block: Some(block) })
    }

    /// The shortest warm segment that holds the object and is at least half filled by it.
    fn take_fitting(&mut self, length: usize) -> Option<Slot> {
        let most = length.checked_next_multiple_of(self.page)?.saturating_mul(2);
        let &(bytes, id) = self.fitting.range((length, 0)..=(most, u64::MAX)).next()?;
        let entry = self.segments.get_mut(&id)?;
        let State::Warm { at: Free::Single(space), .. } =
            std::mem::replace(&mut entry.state, State::InUse { objects: 1 })
        else {
            unreachable!("segments of single objects are warm while they are listed as fitting")
        };
        self.fitting.remove(&(bytes, id));
        self.totals.warm -= bytes;
        Some(Slot { space, block: None })
    }

    /// One more object in a shared segment.
    fn enter(&mut self, id: u64) {
        let Some(entry) = self.segments.get_mut(&id) else { return };
        match &mut entry.state {
            State::InUse { objects } => *objects += 1,
            State::Warm { .. } => {
                self.totals.warm -= entry.segment.length();
                entry.state = State::InUse { objects: 1 };
            }
            State::Retiring(_) => unreachable!("a segment that retires has left the blocks"),
        }
    }

    /// Whether `bytes` more fit, after warm segments made way if that helps: those that nobody maps, else all, and then
    /// there will be room when their readers have answered.
    fn make_room(&mut self, bytes: usize) -> bool {
        let held = |table: &Table| table.totals.held.saturating_add(table.totals.heap).saturating_add(bytes);
        if held(self) <= self.capacity {
            return true;
        }
        let warm = self.warm();
        let unmapped: usize = warm.iter().filter(|warm| warm.mapped == 0).map(|warm| warm.bytes).sum();
        if held(self) - unmapped <= self.capacity {
            for one in warm.iter().filter(|warm| warm.mapped == 0) {
                if held(self) > self.capacity {
                    self.retire(one.id);
                }
            }
            return true;
        }
        let going = |table: &Table| held(table) - table.totals.retiring;
        if going(self) - self.totals.warm <= self.capacity {
            for one in warm {
                if going(self) > self.capacity {
                    self.retire(one.id);
                }
            }
        }
        false
    }

    /// Warm segments, the one that has been so for longest first.
    fn warm(&self) -> Vec<Warm> {
        let warm = |(&id, entry): (&u64, &Entry)| match entry.state {
            State::Warm { since, .. } => Some(Warm { since, id, bytes: entry.segment.length(), mapped: entry.mapped }),
            _ => None,
        };
        let mut all: Vec<Warm> = self.segments.iter().filter_map(warm).collect();
        all.sort_unstable_by_key(|warm| (warm.since, warm.id));
        all
    }

    fn retire_oldest(&mut self, still: impl Fn(&Table, Moment) -> bool) {
        if self.totals.warm == 0 {
            return;
        }
        for warm in self.warm() {
            if !still(self, warm.since) {
                return;
            }
            self.retire(warm.id);
        }
    }

    /// A warm segment ends: at once, or when its readers have unmapped it.
    fn retire(&mut self, id: u64) {
        let Some(entry) = self.segments.get_mut(&id) else { return };
        let space = match std::mem::replace(&mut entry.state, State::InUse { objects: 0 }) {
            State::Warm { at: Free::Single(space), .. } => space,
            State::Warm { at: Free::Shared(block), .. } => {
                self.blocks.remove(block).expect("a warm shared segment is one free block")
            }
            other => return entry.state = other,
        };
        let bytes = entry.segment.length();
        entry.state = State::Retiring(space);
        self.fitting.remove(&(bytes, id));
        self.totals.warm -= bytes;
        self.totals.retiring += bytes;
        match entry.mapped {
            0 => self.release(id),
            _ => self.effects.retire.push(id),
        }
    }

    fn release(&mut self, id: u64) {
        if let Some(Entry { state: State::Retiring(space), .. }) = self.segments.remove(&id) {
            self.totals.retiring -= space.len();
            self.totals.held -= space.len();
            self.effects.released.push(space);
        }
    }
}

struct Warm {
    since: Moment,
    id: u64,
    bytes: usize,
    mapped: usize,
}
