//! What of a node is free: the only place where resources are taken and given back, so that nothing is over-committed.
//!
//! ```text
//! node ─┬─ actors and reservations        take by their id
//!       ├─ slots of grants                take by number; those that declare nothing take one of a node's weightless slots
//!       └─ bundles of placement groups ── actors, reservations and slots take of the bundle
//! ```

use crate::id::{ActorId, GroupId};
use crate::limits::WEIGHTLESS_SLOTS;
use crate::schedule::{Requirement, Resources, Strategy};
use std::collections::BTreeMap;

/// A bundle of a placement group, by its number.
pub(super) type BundleId = (GroupId, u32);

/// What one room offers: all of it, what is free, and which bundle it is if it is no node.
pub(super) type Offered<'a> = (&'a Resources, &'a Resources, Option<BundleId>);

#[derive(Clone, Debug)]
struct Bundle {
    total: Resources,
    free: Resources,
    /// Actors within it.
    actors: usize,
    /// Grants of it that are over, and not free yet. Others are counted by the head's table, and are over with the group.
    over: usize,
    /// Its group was removed: it goes with the last of both.
    closing: bool,
    /// The eldest who keeps it.
    kept: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Room {
    free: Resources,
    /// What is taken beyond what there is: an actor that an earlier head had chosen this node for may be made after a later
    /// one has heard from it, and has given its room away; and what runs under a grant may have lost its room to others that
    /// the earlier head knew to be over. It comes back first.
    owed: Resources,
    /// Slots for tasks that declare nothing: taken, and in all.
    weightless: (u32, u32),
    bundles: BTreeMap<BundleId, Bundle>,
    /// Of which bundle an actor took.
    within: BTreeMap<ActorId, BundleId>,
    /// The eldest who keeps the node. Those who came later find nothing free.
    kept: Option<u64>,
    nothing: Resources,
}

impl Room {
    pub(super) fn new(total: &Resources) -> Room {
        let cpus = u32::try_from(total.get("cpu").as_ten_thousandths() / 10_000).unwrap_or(u32::MAX);
        let slots = cpus.saturating_mul(WEIGHTLESS_SLOTS).max(1);
        let (free, owed) = (total.clone(), Resources::none());
        let (bundles, within, nothing) = (BTreeMap::new(), BTreeMap::new(), Resources::none());
        Room { free, owed, weightless: (0, slots), bundles, within, kept: None, nothing }
    }

    fn take(&mut self, need: &Resources) {
        if self.free.lacks(need).is_some() {
            self.owed = self.owed.and(&need.beyond(&self.free));
        }
        self.free.take(need);
    }

    fn give(&mut self, back: &Resources) {
        if self.owed.is_empty() {
            return self.free.give(back);
        }
        let more = back.beyond(&self.owed);
        self.owed = self.owed.beyond(back);
        self.free.give(&more);
    }

    pub(super) fn free(&self) -> &Resources {
        &self.free
    }

    pub(super) fn weightless_taken(&self) -> u32 {
        self.weightless.0
    }

    /// Slots for tasks that declare nothing.
    pub(super) fn weightless_slots(&self) -> u32 {
        self.weightless.1
    }

    /// The rooms that a strategy may use, and what of them is free for who came at this ticket.
    pub(super) fn offered<'a>(&'a self, total: &'a Resources, strategy: Strategy, ticket: u64) -> Vec<Offered<'a>> {
        let of = |kept: Option<u64>, free| if kept.is_some_and(|elder| elder < ticket) { &self.nothing } else { free };
        match strategy {
            Strategy::Bundle { group, index } => {
                let (first, last) = ((group, index.unwrap_or(0)), (group, index.unwrap_or(u32::MAX)));
                let open = self.bundles.range(first..=last).filter(|(_, bundle)| !bundle.closing);
                open.map(|(id, bundle)| (&bundle.total, of(bundle.kept, &bundle.free), Some(*id))).collect()
            }
            _ => vec![(total, of(self.kept, &self.free), None)],
        }
    }

    /// All bundles that are not about to go.
    pub(super) fn bundles(&self) -> impl Iterator<Item = (BundleId, &Resources, &Resources)> {
        let open = self.bundles.iter().filter(|(_, bundle)| !bundle.closing);
        open.map(|(id, bundle)| (*id, &bundle.total, &bundle.free))
    }

    /// Whether the node is kept for somebody.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether there are any, those included.
    pub(super) fn has_bundles(&self) -> bool {
        !self.bundles.is_empty()
    }

    /// What is free for bundles of a group that came at this ticket.
    pub(super) fn free_at(&self, ticket: u64) -> &Resources {
        if self.kept.is_some_and(|elder| elder < ticket) { &self.nothing } else { &self.free }
    }

    /// Who keeps the node, or this bundle of it, from now on.
    pub(super) fn keep(&mut self, bundle: Option<BundleId>, elder: Option<u64>) {
        match bundle {
            None => self.kept = elder,
            Some(id) => drop(self.bundles.get_mut(&id).map(|bundle| bundle.kept = elder)),
        }
    }

    /// Of which bundle an actor took.
    pub(super) fn bundle_of(&self, actor: ActorId) -> Option<BundleId> {
        self.within.get(&actor).copied()
    }

    /// An actor takes what it needs; of the first bundle that has it, if it needs one: rather of one that nobody keeps.
    pub(super) fn take_for(&mut self, actor: ActorId, need: &Requirement) {
        let Strategy::Bundle { group, index } = need.strategy else { return self.take(&need.resources) };
        let (first, last) = ((group, index.unwrap_or(0)), (group, index.unwrap_or(u32::MAX)));
        let room = |(_, bundle): &(&BundleId, &mut Bundle)| bundle.free.lacks(&need.resources).is_none();
        let bundles = self.bundles.range_mut(first..=last).filter(room);
        if let Some((id, bundle)) = bundles.min_by_key(|(_, bundle)| bundle.kept.is_some()) {
            bundle.free.take(&need.resources);
            bundle.actors += 1;
            self.within.insert(actor, *id);
        }
    }

    pub(super) fn give_for(&mut self, actor: ActorId, need: &Requirement) {
        if !matches!(need.strategy, Strategy::Bundle { .. }) {
            return self.give(&need.resources);
        }
        let Some(id) = self.within.remove(&actor) else { return };
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        bundle.free.give(&need.resources);
        bundle.actors -= 1;
        self.close_if_over(id);
    }

    /// Takes slots of this size, if they are there.
    pub(super) fn take_slots(&mut self, size: &Resources, slots: u32, bundle: Option<BundleId>) -> bool {
        if size.is_empty() {
            let there = self.weightless.1.saturating_sub(self.weightless.0) >= slots;
            self.weightless.0 += if there { slots } else { 0 };
            return there;
        }
        let all = size.times(slots);
        let free = match bundle {
            None => Some(&mut self.free),
            Some(id) => self.bundles.get_mut(&id).map(|bundle| &mut bundle.free),
        };
        let Some(free) = free.filter(|free| free.lacks(&all).is_none()) else { return false };
        free.take(&all);
        true
    }

    /// Takes slots that are used already, whether or not there is room.
    pub(super) fn owe_slots(&mut self, size: &Resources, slots: u32) {
        if size.is_empty() {
            self.weightless.0 = self.weightless.0.saturating_add(slots);
        } else {
            self.take(&size.times(slots));
        }
    }

    pub(super) fn give_slots(&mut self, size: &Resources, slots: u32, bundle: Option<BundleId>) {
        match bundle {
            _ if size.is_empty() => self.weightless.0 = self.weightless.0.saturating_sub(slots),
            None => self.give(&size.times(slots)),
            Some(id) => {
                if let Some(bundle) = self.bundles.get_mut(&id) {
                    bundle.free.give(&size.times(slots));
                }
            }
        }
    }

    /// A group's bundle is placed here.
    pub(super) fn add_bundle(&mut self, id: BundleId, total: &Resources) {
        self.take(total);
        let (total, free) = (total.clone(), total.clone());
        let bundle = Bundle { total, free, actors: 0, over: 0, closing: false, kept: None };
        self.bundles.insert(id, bundle);
    }

    pub(super) fn has_bundle(&self, id: BundleId) -> bool {
        self.bundles.contains_key(&id)
    }

    /// A grant of a bundle is over, and the bundle stays until its slots are free ..
    pub(super) fn stays_in(&mut self, id: BundleId) {
        if let Some(bundle) = self.bundles.get_mut(&id) {
            bundle.over += 1;
        }
    }

    /// .. which they are.
    pub(super) fn leaves(&mut self, id: BundleId) {
        if let Some(bundle) = self.bundles.get_mut(&id) {
            bundle.over = bundle.over.saturating_sub(1);
        }
        self.close_if_over(id);
    }

    /// A group's bundle goes: at once, or with the last actor in it.
    pub(super) fn remove_bundle(&mut self, id: BundleId) {
        if let Some(bundle) = self.bundles.get_mut(&id) {
            bundle.closing = true;
        }
        self.close_if_over(id);
    }

    /// All of a group's.
    pub(super) fn close_bundles(&mut self, group: GroupId) {
        let all = self.bundles.range((group, 0)..=(group, u32::MAX));
        for id in all.map(|(id, _)| *id).collect::<Vec<BundleId>>() {
            self.remove_bundle(id);
        }
    }

    /// Bundles that go with the last actor in them. Grants are in no record: without them it would be gone.
    pub(super) fn closing(&self) -> impl Iterator<Item = (BundleId, &Resources)> {
        let closing = self.bundles.iter().filter(|(_, bundle)| bundle.closing && bundle.actors > 0);
        closing.map(|(id, bundle)| (*id, &bundle.total))
    }

    fn close_if_over(&mut self, id: BundleId) {
        if self.bundles.get(&id).is_some_and(|bundle| bundle.closing && bundle.actors + bundle.over == 0)
            && let Some(bundle) = self.bundles.remove(&id)
        {
            self.give(&bundle.total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::cpus;
    use crate::id::{Key, Life};
    use crate::schedule::Selectors;

    #[test]
    fn what_was_taken_beyond_what_there_is_comes_back_before_anything_is_free() {
        let mut room = Room::new(&cpus(4.0));
        let bundle = |serial| (GroupId { life: Life(1), serial }, 0);
        let late = ActorId { life: Life(1), serial: 9 };
        let (type_key, labels, strategy) = (Key(1), Selectors::default(), Strategy::Default);
        let need = Requirement { type_key, constructor: None, resources: cpus(1.0), labels, strategy };
        room.add_bundle(bundle(1), &cpus(2.0));
        room.add_bundle(bundle(2), &cpus(2.0));
        room.take_for(late, &need);
        room.give_for(late, &need);
        assert!(!room.take_slots(&cpus(1.0), 1, None), "the bundles have all of it");
        room.take_for(late, &need);
        room.remove_bundle(bundle(1));
        assert!(!room.take_slots(&cpus(2.0), 1, None) && room.take_slots(&cpus(1.0), 1, None));
        room.give_slots(&cpus(1.0), 1, None);
        room.give_for(late, &need);
        room.remove_bundle(bundle(2));
        assert_eq!(*room.free(), cpus(4.0));
    }
}
