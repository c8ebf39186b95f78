//! What there is to give, as one look sees it.

use crate::directory::lives::Living;
use crate::directory::request::Join;
use crate::directory::room::BundleId;
use crate::id::Life;
use crate::schedule::{Offer, Requirement, Resources, Strategy};
use std::sync::Arc;

/// A node or a bundle, as it is once what was decided so far is done.
#[derive(Debug)]
pub(in crate::directory::request) struct Room {
    pub(in crate::directory::request) life: Life,
    /// Whose claims alone it is for, if that is so: its node's own, which comes to its end.
    pub(super) only: Option<Life>,
    pub(in crate::directory::request) join: Arc<Join>,
    pub(in crate::directory::request) bundle: Option<BundleId>,
    pub(super) total: Resources,
    /// What is free now, and what is once all slots that were asked back have come, less what is set aside.
    pub(in crate::directory::request) free: Resources,
    pub(in crate::directory::request) soon: Resources,
    pub(super) slots: u32,
    pub(super) slots_soon: u32,
    pub(super) load: u64,
    pub(super) cpus: u64,
    /// The eldest who keeps it: for actors and groups that came later it is full.
    pub(in crate::directory::request) kept: Option<u64>,
}

impl Room {
    /// A node that takes anything, and the bundles there.
    pub(super) fn all_of(life: Life, living: &Living) -> impl Iterator<Item = Room> {
        let only = (!living.open()).then_some(life);
        let slots = living.room.weightless_slots().saturating_sub(living.room.weightless_taken());
        let room = move |bundle, total: &Resources, free: &Resources| Room {
            life,
            only,
            join: living.join.clone(),
            bundle,
            total: total.clone(),
            free: free.clone(),
            soon: free.clone(),
            slots,
            slots_soon: slots,
            load: living.load(),
            cpus: living.cpus(),
            kept: None,
        };
        let node = room(None, &living.join.resources, living.room.free());
        let bundles = living.room.bundles().map(move |(id, total, free)| room(Some(id), total, free));
        std::iter::once(node).chain(bundles)
    }

    pub(in crate::directory::request) fn come(&mut self, size: &Resources, slots: u32) {
        self.soon.give(&size.times(slots));
        self.slots_soon += if size.is_empty() { slots } else { 0 };
    }

    pub(super) fn take(&mut self, size: &Resources) {
        self.free.take(size);
        if size.is_empty() {
            self.slots = self.slots.saturating_sub(1);
            self.load += 1;
        }
        self.set_aside(size);
    }

    pub(super) fn set_aside(&mut self, size: &Resources) {
        self.soon.take(size);
        self.slots_soon = self.slots_soon.saturating_sub(u32::from(size.is_empty()));
    }

    /// Whether nobody keeps it who came before this ticket.
    pub(in crate::directory::request) fn is_for(&self, ticket: u64) -> bool {
        self.kept.is_none_or(|elder| elder >= ticket)
    }

    pub(in crate::directory::request) fn will_have(&self, size: &Resources) -> bool {
        self.soon.lacks(size).is_none() && (!size.is_empty() || self.slots_soon > 0)
    }

    pub(super) fn has_slots(&self, need: &Requirement) -> bool {
        !need.resources.is_empty() || self.slots > 0
    }

    /// Whether it is a node that takes whatever comes.
    pub(in crate::directory::request) fn is_node(&self) -> bool {
        self.bundle.is_none() && self.only.is_none()
    }

    /// Whether it is for whom it is asked, of the kind that the strategy asks for, and its node has the function.
    pub(super) fn has(&self, need: &Requirement, of: Option<Life>) -> bool {
        if self.only.is_some_and(|only| of != Some(only)) {
            return false;
        }
        let of_kind = match (need.strategy, self.bundle) {
            (Strategy::Bundle { group, index }, Some((of, at))) => group == of && index.is_none_or(|index| index == at),
            (Strategy::Bundle { .. }, None) => false,
            (_, bundle) => bundle.is_none(),
        };
        of_kind && self.join.advertised.makes(need)
    }

    pub(super) fn offer(&self) -> Offer<'_> {
        Offer {
            life: self.life,
            node: self.join.node,
            total: &self.total,
            free: &self.free,
            labels: &self.join.labels,
            cpus: self.cpus,
            actors: self.load,
        }
    }
}
