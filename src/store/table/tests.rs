//! The table against a list of what was handed out, on real memory.

use super::super::segment::page_size;
use super::*;
use proptest::prelude::*;
use std::time::Duration;

const CAPACITY: usize = 4 << 20;

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Free(usize),
    Advance(u64),
    Map(usize),
    Unmap(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![
        4 => 0_usize..300,
        4 => 0_usize..20_000,
        2 => 100_000_usize..200_000,
        1 => 200_000_usize..3_000_000,
    ];
    let step = prop_oneof![
        8 => length.prop_map(Step::Create),
        7 => any::<usize>().prop_map(Step::Free),
        1 => (0_u64..40).prop_map(Step::Advance),
        1 => any::<usize>().prop_map(Step::Map),
        1 => any::<usize>().prop_map(Step::Unmap),
    ];
    prop::collection::vec(step, 1..300)
}

struct Live {
    slot: Slot,
    length: usize,
    mark: u8,
}

/// What the table should know.
struct World {
    table: Table,
    live: Vec<Live>,
    mapped: Vec<u64>,
    now: Moment,
    mark: u8,
}

impl World {
    fn new(capacity: usize) -> World {
        let table = Table::new(capacity, page_size());
        World { table, live: Vec::new(), mapped: Vec::new(), now: Moment::default(), mark: 0 }
    }

    fn create(&mut self, length: usize) -> bool {
        let mut slot = match self.table.allocate(length) {
            Ok(Room::Slot(slot)) => slot,
            Ok(Room::Grow(growth)) => {
                let space = Segment::create(growth.id, growth.bytes).unwrap();
                self.table.grown(growth, space, length)
            }
            Err(Full) => return false,
        };
        assert!(slot.space.len() >= length && slot.space.offset().is_multiple_of(64));
        assert!(slot.space.as_ptr().addr().is_multiple_of(64));
        assert!(slot.space.len() <= 2 * length.next_multiple_of(page_size()).max(page_size()));
        self.mark = self.mark.wrapping_add(1);
        slot.space[..length].fill(self.mark);
        self.live.push(Live { slot, length, mark: self.mark });
        true
    }

    fn free(&mut self, at: usize) {
        let Live { slot, length, mark } = self.live.swap_remove(at);
        assert!(slot.space[..length].iter().all(|&byte| byte == mark), "somebody else wrote {:?}", slot.space);
        self.table.free(slot);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Create(length) => drop(self.create(length)),
            Step::Free(at) if !self.live.is_empty() => self.free(at % self.live.len()),
            Step::Map(at) if !self.live.is_empty() => {
                let id = self.live[at % self.live.len()].slot.space.segment().id();
                assert_eq!(self.table.map(id).unwrap().id(), id);
                self.mapped.push(id);
            }
            Step::Unmap(at) if !self.mapped.is_empty() => {
                let id = self.mapped.swap_remove(at % self.mapped.len());
                self.table.unmap(id);
            }
            Step::Advance(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.table.advance(self.now);
            }
            Step::Free(_) | Step::Map(_) | Step::Unmap(_) => {}
        }
        for released in self.table.effects().released {
            let id = released.segment().id();
            assert!(!self.mapped.contains(&id) && released.len() == released.segment().length());
            assert!(self.live.iter().all(|live| live.slot.space.segment().id() != id));
        }
    }

    fn check(&self) {
        let mut ranges: Vec<_> = self.live.iter().map(|live| &live.slot.space).collect();
        ranges.sort_by_key(|space| (space.segment().id(), space.offset()));
        for pair in ranges.windows(2) {
            let apart = pair[0].segment().id() != pair[1].segment().id()
                || pair[0].offset() + pair[0].len() <= pair[1].offset();
            assert!(apart, "{pair:?}");
        }
        let totals = self.table.totals();
        assert_eq!(totals.used, ranges.iter().map(|space| space.len()).sum::<usize>());
        let held = |state: fn(&State) -> bool| {
            let entries = self.table.segments.values().filter(|entry| state(&entry.state));
            entries.map(|entry| entry.segment.length()).sum::<usize>()
        };
        assert_eq!(totals.held, held(|_| true));
        assert_eq!(totals.warm, held(|state| matches!(state, State::Warm { .. })));
        assert_eq!(totals.retiring, held(|state| matches!(state, State::Retiring(_))));
        assert!(totals.held <= self.table.capacity && totals.warm <= self.table.capacity / 4);
        for (id, entry) in &self.table.segments {
            let objects = ranges.iter().filter(|space| space.segment().id() == *id).count();
            match entry.state {
                State::InUse { objects: said } => assert_eq!((said, objects > 0), (objects, true)),
                _ => assert_eq!(objects, 0),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn objects_never_overlap_and_the_books_are_exact(steps in steps()) {
        let mut world = World::new(CAPACITY);
        for step in &steps {
            world.step(step);
            world.check();
        }
        while !world.live.is_empty() {
            world.free(0);
        }
        world.check();
        world.now = world.now + limits::WARM;
        world.table.advance(world.now);
        for id in std::mem::take(&mut world.mapped) {
            world.table.unmap(id);
        }
        prop_assert_eq!(world.table.totals(), Totals::default());
        prop_assert!(world.table.segments.is_empty());
    }
}

#[test]
fn nothing_is_made_before_it_is_needed_and_warm_segments_serve_again() {
    let mut world = World::new(64 << 20);
    assert_eq!(world.table.totals().held, 0);
    assert!(world.create(8 << 20));
    let first = world.live[0].slot.space.segment().id();
    world.free(0);
    assert!(world.create(5 << 20));
    assert_eq!(world.live[0].slot.space.segment().id(), first);
    world.free(0);
    // It would be filled to less than half: another segment.
    assert!(world.create((4 << 20) - 4096));
    assert_ne!(world.live[0].slot.space.segment().id(), first);
}

#[test]
fn warm_segments_stay_thirty_seconds_and_are_a_quarter_at_most() {
    let mut world = World::new(64 << 20);
    for _ in 0..4 {
        assert!(world.create(8 << 20));
    }
    while !world.live.is_empty() {
        world.free(0);
    }
    assert_eq!(world.table.totals().warm, 16 << 20);
    world.step(&Step::Advance(29));
    assert_eq!(world.table.totals().warm, 16 << 20);
    world.step(&Step::Advance(1));
    assert_eq!(world.table.totals(), Totals::default());
}

#[test]
fn a_segment_that_readers_map_is_released_when_they_have_unmapped_it() {
    let mut world = World::new(16 << 20);
    assert!(world.create(4 << 20));
    let id = world.live[0].slot.space.segment().id();
    assert!(world.table.map(id).is_some());
    world.free(0);
    assert!(world.table.allocate(16 << 20).is_err());
    assert_eq!(world.table.effects().retire, [id]);
    // It still is somebody's memory, and nobody is told twice.
    assert!(world.table.allocate(16 << 20).is_err());
    assert!(!world.table.has_effects());
    assert_eq!(world.table.totals().retiring, 4 << 20);
    world.table.unmap(id);
    assert!(world.create(16 << 20));
}

#[test]
fn room_that_cannot_be_made_leaves_warm_segments_alone() {
    let mut world = World::new(16 << 20);
    assert!(world.create(12 << 20) && world.create(4 << 20));
    world.free(1);
    assert!(!world.create(6 << 20));
    assert_eq!(world.table.totals().warm, 4 << 20);
    assert!(!world.table.fits((16 << 20) + 1) && world.table.fits(16 << 20));
}

#[test]
fn there_are_only_so_many_segments_and_warm_ones_make_way() {
    let mut world = World::new(64 << 20);
    world.table = Table::new(64 << 20, page_size()).of_at_most(2);
    assert!(world.create(4 << 20) && world.create(4 << 20));
    assert!(!world.create(9 << 20), "there are two");
    world.free(0);
    assert!(world.create(9 << 20), "one of them was warm");
    assert_eq!(world.table.totals().held, 13 << 20);
    assert!(!world.create(4 << 20));
}
