//! The line of a class: what is ready, by priority, and within one by age.

use crate::schedule::queue::slab::{List, Slab};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What is ready of one class.
#[derive(Debug, Default)]
pub(super) struct Line {
    levels: BTreeMap<Reverse<i32>, List>,
    len: u32,
}

impl Line {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The priority of what is first; zero if nothing is ready.
    pub(super) fn priority(&self) -> i32 {
        let first = self.levels.iter().find(|(_, level)| !level.is_empty());
        first.map_or(0, |(priority, _)| priority.0)
    }

    pub(super) fn push_back<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some(priority) = priority(slab, place) else { return };
        self.levels.entry(priority).or_default().push_back(slab, place);
        self.len += 1;
    }

    pub(super) fn push_front<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some(priority) = priority(slab, place) else { return };
        self.levels.entry(priority).or_default().push_front(slab, place);
        self.len += 1;
    }

    pub(super) fn unlink<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some(priority) = priority(slab, place) else { return };
        let Some(level) = self.levels.get_mut(&priority) else { return };
        level.unlink(slab, place);
        // The usual level stays: a queue that empties and fills would else make it anew each time.
        if level.is_empty() && priority != Reverse(0) {
            self.levels.remove(&priority);
        }
        self.len -= 1;
    }

    /// Takes the first.
    pub(super) fn pop<T>(&mut self, slab: &mut Slab<T>) -> Option<u32> {
        let place = self.levels.values().find_map(List::first)?;
        self.unlink(slab, place);
        Some(place)
    }
}

fn priority<T>(slab: &Slab<T>, place: u32) -> Option<Reverse<i32>> {
    slab.get(place).map(|task| Reverse(task.priority))
}
