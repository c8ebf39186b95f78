//! Tables of calls: by their work number, and by a ticket that holds from first poll to end.

use std::collections::{BTreeMap, VecDeque};

/// What is known of calls, by work number. Numbers rise, and most calls end soon: the recent ones lie in a ring, one
/// slot a number, and the few that outlive their neighbours move to a map.
#[derive(Debug)]
pub(super) struct Calls<V> {
    /// The number of the ring's first slot.
    base: u64,
    recent: VecDeque<Option<V>>,
    old: BTreeMap<u64, V>,
    live: usize,
}

impl<V> Calls<V> {
    pub(super) const fn new() -> Self {
        Self { base: 0, recent: VecDeque::new(), old: BTreeMap::new(), live: 0 }
    }

    /// How many calls there are.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// The ring may have so many slots: gaps and ended calls are at most four fifths of it.
    const fn most(&self) -> usize {
        64 + 4 * self.live
    }

    /// Adds a call whose number is higher than that of any before it.
    #[inline]
    pub(super) fn insert(&mut self, number: u64, value: V) {
        if self.recent.is_empty() {
            self.base = number;
        }
        let gap = (number - self.base) as usize - self.recent.len();
        if gap > 0 {
            self.skip(number, gap);
        }
        self.recent.push_back(Some(value));
        self.live += 1;
        while self.recent.len() > self.most() {
            self.retire_front();
        }
    }

    fn skip(&mut self, number: u64, gap: usize) {
        if gap <= self.most() {
            self.recent.extend(std::iter::repeat_with(|| None).take(gap));
        } else {
            while !self.recent.is_empty() {
                self.retire_front();
            }
            self.base = number;
        }
    }

    fn retire_front(&mut self) {
        if let Some(Some(value)) = self.recent.pop_front() {
            self.old.insert(self.base, value);
        }
        self.base += 1;
    }

    /// The call, if there is one.
    #[inline]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        match number.checked_sub(self.base) {
            Some(slot) => self.recent.get_mut(usize::try_from(slot).ok()?)?.as_mut(),
            None => self.old.get_mut(&number),
        }
    }

    /// Removes a call.
    #[inline]
    pub(super) fn remove(&mut self, number: u64) -> Option<V> {
        let value = match number.checked_sub(self.base) {
            Some(slot) => self.recent.get_mut(usize::try_from(slot).ok()?)?.take()?,
            None => self.old.remove(&number)?,
        };
        self.live -= 1;
        while let Some(None) = self.recent.front() {
            self.recent.pop_front();
            self.base += 1;
        }
        Some(value)
    }

    /// Removes all, in the order of their numbers.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, V)> + use<V> {
        let (base, old, recent) = (self.base, std::mem::take(&mut self.old), std::mem::take(&mut self.recent));
        self.live = 0;
        let recent = (base..).zip(recent).filter_map(|(number, value)| Some((number, value?)));
        old.into_iter().chain(recent)
    }
}

/// Names an entry of a [`Slab`], and no later one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot {
    pub(super) index: u32,
    generation: u32,
}

impl Slot {
    /// For a shell that keeps it where this type is not known.
    pub(super) const fn bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Slot { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Values that stay in their place, named by slots that are never valid again once the value is gone.
#[derive(Debug)]
pub(super) struct Slab<V> {
    entries: Vec<(u32, Option<V>)>,
    free: Vec<u32>,
}

impl<V> Slab<V> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    #[inline]
    pub(super) fn insert(&mut self, value: V) -> Slot {
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            entry.1 = Some(value);
            return Slot { index, generation: entry.0 };
        }
        self.entries.push((0, Some(value)));
        Slot { index: self.entries.len() as u32 - 1, generation: 0 }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut V> {
        self.entries.get_mut(slot.index as usize).filter(|entry| entry.0 == slot.generation)?.1.as_mut()
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&V> {
        self.entries.get(slot.index as usize).filter(|entry| entry.0 == slot.generation)?.1.as_ref()
    }

    #[inline]
    pub(super) fn remove(&mut self, slot: Slot) -> Option<V> {
        let entry = self.entries.get_mut(slot.index as usize).filter(|entry| entry.0 == slot.generation)?;
        let value = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(slot.index);
        Some(value)
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The slots in use.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let used = self.entries.iter().enumerate().filter(|(_, entry)| entry.1.is_some());
        used.map(|(index, entry)| Slot { index: index as u32, generation: entry.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_call_that_lasts_does_not_keep_the_ring_long() {
        let mut calls = Calls::new();
        calls.insert(1, 'a');
        for number in (2..200_000).step_by(3) {
            calls.insert(number, 'b');
            assert_eq!(calls.remove(number), Some('b'));
            assert!(calls.recent.len() <= 80);
        }
        assert_eq!(calls.get_mut(1), Some(&mut 'a'));
        calls.insert(9_000_000, 'c');
        assert_eq!(calls.drain().collect::<Vec<_>>(), [(1, 'a'), (9_000_000, 'c')]);
    }

    #[test]
    fn a_slot_never_names_a_later_value() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(first.index, second.index);
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
        assert_eq!(slab.remove(first), None);
    }

    proptest! {
        #[test]
        fn the_table_is_a_map(steps in prop::collection::vec((1_u64..300, any::<prop::sample::Index>(), 0..3), 1..400)) {
            let (mut calls, mut map, mut number) = (Calls::new(), BTreeMap::new(), 0);
            for (gap, pick, removals) in steps {
                number += if gap < 250 { 1 } else { gap };
                calls.insert(number, gap);
                map.insert(number, gap);
                for _ in 0..removals {
                    let Some(key) = (!map.is_empty()).then(|| *map.keys().nth(pick.index(map.len())).unwrap()) else {
                        break;
                    };
                    prop_assert_eq!(calls.get_mut(key).copied(), map.get(&key).copied());
                    prop_assert_eq!(calls.remove(key), map.remove(&key));
                    prop_assert_eq!(calls.remove(key), None);
                }
                prop_assert_eq!(calls.len(), map.len());
            }
            prop_assert!(calls.drain().eq(map));
        }
    }
}
