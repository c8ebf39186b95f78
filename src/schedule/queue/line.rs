//! The line of a class: what is ready, by priority, and within one by age.
//!
//! Tasks that prefer a node stand in a list of that node. Who fills a slot there takes of it first, then of those that
//! prefer nothing, then the oldest of the others. A slot that is only filled ahead leaves tasks to the node they prefer as
//! long as that has a grant; an idle one leaves nothing, so no task waits for the node it prefers while another idles. And
//! no task is passed for ever: after [`OVERTAKES`] that were taken out of line, the oldest is next.

use crate::id::Life;
use crate::limits::OVERTAKES;
use crate::schedule::queue::slab::{List, Slab};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How far a slot that is to be filled may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It idles: for any task.
    Any,
    /// It is filled ahead: not for what another node with a grant is preferred for.
    Ahead,
}

#[derive(Debug, Default)]
struct Level {
    anywhere: List,
    near: BTreeMap<Life, List>,
    overtaken: u32,
}

impl Level {
    fn list(&mut self, prefers: Option<Life>) -> &mut List {
        match prefers {
            None => &mut self.anywhere,
            Some(life) => self.near.entry(life).or_default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.anywhere.is_empty() && self.near.is_empty()
    }

    /// Whose list holds the oldest of what may be taken.
    fn oldest<T>(&self, slab: &Slab<T>, may: impl Fn(Life) -> bool) -> Option<Option<Life>> {
        let age = |list: &List| list.first().and_then(|place| slab.get(place)).map(|task| task.age);
        let near = self.near.iter().filter(|(life, _)| may(**life)).map(|(life, list)| (age(list), Some(*life)));
        let all = std::iter::once((age(&self.anywhere), None)).chain(near);
        all.filter_map(|(age, prefers)| Some((age?, prefers))).min().map(|(_, prefers)| prefers)
    }

    fn choose<T>(&mut self, slab: &Slab<T>, life: Life, may: impl Fn(Life) -> bool) -> Option<Option<Life>> {
        if self.near.is_empty() {
            return Some(None);
        }
        if self.overtaken >= OVERTAKES {
            self.overtaken = 0;
            return self.oldest(slab, |_| true);
        }
        if self.near.contains_key(&life) {
            self.overtaken += u32::from(!self.anywhere.is_empty() || self.near.len() > 1);
            return Some(Some(life));
        }
        if !self.anywhere.is_empty() {
            self.overtaken += 1;
            return Some(None);
        }
        self.oldest(slab, may)
    }
}

/// What is ready of one class.
#[derive(Debug, Default)]
pub(super) struct Line {
    levels: BTreeMap<Reverse<i32>, Level>,
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
        let Some((priority, prefers)) = key(slab, place) else { return };
        self.levels.entry(priority).or_default().list(prefers).push_back(slab, place);
        self.len += 1;
    }

    pub(super) fn push_front<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some((priority, prefers)) = key(slab, place) else { return };
        self.levels.entry(priority).or_default().list(prefers).push_front(slab, place);
        self.len += 1;
    }

    pub(super) fn unlink<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some((priority, prefers)) = key(slab, place) else { return };
        let Some(level) = self.levels.get_mut(&priority) else { return };
        let list = level.list(prefers);
        list.unlink(slab, place);
        if list.is_empty()
            && let Some(life) = prefers
        {
            level.near.remove(&life);
        }
        // The usual level stays: a queue that empties and fills would else make it anew each time.
        if level.is_empty() && priority != Reverse(0) {
            self.levels.remove(&priority);
        }
        self.len -= 1;
    }

    /// Takes the next task for a slot on `life`. `granted` says whether another life has a grant.
    pub(super) fn take<T>(
        &mut self,
        slab: &mut Slab<T>,
        life: Life,
        reach: Reach,
        granted: impl Fn(Life) -> bool,
    ) -> Option<u32> {
        let level = self.levels.values_mut().find(|level| !level.is_empty())?;
        let prefers = level.choose(slab, life, |other| reach == Reach::Any || !granted(other))?;
        let place = level.list(prefers).first()?;
        self.unlink(slab, place);
        Some(place)
    }

    /// Whether tasks of the first priority prefer this life.
    pub(super) fn prefers(&self, life: Life) -> bool {
        self.levels.values().find(|level| !level.is_empty()).is_some_and(|level| level.near.contains_key(&life))
    }

    /// The lives that tasks of the first priority prefer.
    pub(super) fn preferred(&self) -> Vec<Life> {
        let first = self.levels.values().find(|level| !level.is_empty());
        first.map(|level| level.near.keys().copied().collect()).unwrap_or_default()
    }
}

fn key<T>(slab: &Slab<T>, place: u32) -> Option<(Reverse<i32>, Option<Life>)> {
    slab.get(place).map(|task| (Reverse(task.priority), task.prefers))
}
