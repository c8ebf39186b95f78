//! What has ended, and why: the newest of it, so that who asks for it once more is told, and it is not begun again.

use crate::limits::TOMBSTONES;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub(super) struct Buried<Id, Why> {
    all: BTreeMap<Id, Why>,
    in_order: VecDeque<Id>,
}

impl<Id, Why> Default for Buried<Id, Why> {
    fn default() -> Self {
        Buried { all: BTreeMap::new(), in_order: VecDeque::new() }
    }
}

impl<Id: Copy + Ord, Why> Buried<Id, Why> {
    pub(super) fn bury(&mut self, id: Id, why: Why) {
        if self.all.insert(id, why).is_none() {
            self.in_order.push_back(id);
        }
        if self.in_order.len() > TOMBSTONES
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }

    /// All that is remembered, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Why)> {
        self.in_order.iter().filter_map(|id| Some((*id, self.all.get(id)?)))
    }

    /// Why it ended, while that is remembered.
    pub(super) fn why(&self, id: Id) -> Option<&Why> {
        self.all.get(&id)
    }
}
