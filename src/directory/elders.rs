//! Who waits for room and is overtaken: what needs much, behind a stream of what needs little.
//!
//! What fits now does not wait behind what does not, so no room idles. But each time it is counted, for all who came before
//! and could have used that room. Who was overtaken [`PLACED_BEFORE`] times keeps rooms: what came later and stays (actors,
//! bundles of placement groups) is not put there until the elder has its place. Slots of tasks still are, for they are
//! asked back. It keeps the fewest of the emptiest rooms that would hold it, were they empty; one more each time that it was
//! overtaken twice as often. So what never ends in one room does not starve it, and what nothing can hold keeps nothing.

use crate::directory::room::BundleId;
use crate::id::Life;
use crate::limits::PLACED_BEFORE;
use std::collections::{BTreeMap, BTreeSet};

/// A node, or a bundle on it.
pub(super) type RoomId = (Life, Option<BundleId>);

/// The ticket of what has only come.
pub(super) const NEWEST: u64 = u64::MAX;
/// The ticket of what keeps nobody from anything: it is asked back, or takes nothing.
pub(super) const ELDEST: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Elders {
    /// How often each was overtaken, by their tickets.
    overtaken: BTreeMap<u64, u64>,
    /// Rooms that are kept, and the eldest for whom.
    kept: BTreeMap<RoomId, u64>,
    /// A bug that a test plants: nobody keeps a room, however often it is overtaken.
    #[cfg(test)]
    pub(super) keep_nothing: bool,
}

impl Elders {
    pub(super) fn is_empty(&self) -> bool {
        self.overtaken.is_empty() && self.kept.is_empty()
    }

    /// Something that came later was placed where it could have been. Whether it keeps a room more from now on.
    pub(super) fn overtaken(&mut self, ticket: u64) -> bool {
        let count = self.overtaken.entry(ticket).or_default();
        *count += 1;
        count.is_multiple_of(PLACED_BEFORE) && (*count / PLACED_BEFORE).is_power_of_two()
    }

    /// How many rooms it keeps beyond those that would hold it; none if it keeps none at all.
    pub(super) fn keeps(&self, ticket: u64) -> Option<usize> {
        #[cfg(test)]
        if self.keep_nothing {
            return None;
        }
        let often = self.overtaken.get(&ticket)? / PLACED_BEFORE;
        often.checked_ilog2().map(|more| more as usize)
    }

    /// Those who do not wait any more are forgotten.
    pub(super) fn wait(&mut self, waiting: &BTreeSet<u64>) {
        self.overtaken.retain(|ticket, _| waiting.contains(ticket));
    }

    /// These rooms are kept from now on. Gives what that changes: the room, for whom it was kept, and for whom it is.
    pub(super) fn keep(&mut self, rooms: BTreeMap<RoomId, u64>) -> Vec<(RoomId, Option<u64>, Option<u64>)> {
        let before = std::mem::replace(&mut self.kept, rooms);
        let all: BTreeSet<RoomId> = before.keys().chain(self.kept.keys()).copied().collect();
        let each = all.into_iter().map(|room| (room, before.get(&room).copied(), self.kept.get(&room).copied()));
        each.filter(|(_, before, after)| before != after).collect()
    }
}
