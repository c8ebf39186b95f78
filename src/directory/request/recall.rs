//! Which slots are asked back for someone who finds no room: of the richest first, and only where that makes enough room.

use crate::directory::grants::{ClaimId, Grant, Used};
use crate::directory::lives::Living;
use crate::directory::request::allot::Look;
use crate::id::{GrantId, Life};
use crate::limits::{GRANT_ORDERS, GRANT_TURN};
use crate::schedule::{Requirement, Resources};
use std::collections::BTreeMap;

/// What would be asked back in one room.
#[derive(Default)]
struct Plan {
    slots: BTreeMap<GrantId, u32>,
    owners: BTreeMap<Life, Used>,
    classes: BTreeMap<ClaimId, Used>,
}

impl Look<'_> {
    /// A room in which enough comes back for `need`, of those that have more than `claim`, or of anyone for an elder.
    pub(super) fn ask_for(&mut self, claim: Option<ClaimId>, need: &Requirement) -> Option<usize> {
        if self.budget == 0 {
            return None;
        }
        let richest = self.richest();
        let turns = claim.is_some_and(|claim| self.is_hungry(claim));
        for (_, rich) in &richest {
            if !turns && !self.may_ask(claim, need, *rich, &Plan::default()) {
                continue;
            }
            let grants = self.head.grants.claims.get(rich).map(|claim| &claim.grants);
            let rooms = grants.into_iter().flatten().filter_map(|grant| self.room_of(*grant));
            for at in rooms.collect::<Vec<_>>() {
                self.looked += 1;
                if self.suits(need, at)
                    && let Some(plan) = self.plan(claim, need, at, &richest)
                {
                    self.carry_out(plan, at);
                    return Some(at);
                }
            }
        }
        None
    }

    /// Claims by what they and their owners have, the richest first.
    fn richest(&self) -> Vec<((u64, u64), ClaimId)> {
        let share = |used: Option<&Used>| used.map_or(0, |used| used.share(&self.total));
        let shares = |id: &ClaimId| (share(self.owners.get(&id.0)), share(self.classes.get(id)));
        let claims = self.head.grants.claims.iter().filter(|(_, claim)| claim.kept > 0);
        let mut rich: Vec<_> = claims.map(|(id, _)| (shares(id), *id)).collect();
        rich.sort_unstable_by(|one, other| other.cmp(one));
        rich
    }

    fn room_of(&self, grant: GrantId) -> Option<usize> {
        let grant = self.head.grants.all.get(&grant)?;
        self.at.get(&(grant.host, grant.bundle)).copied()
    }

    /// Slots of a grant that may yet be asked back.
    fn left(&self, id: GrantId, grant: &Grant, plan: &Plan) -> u32 {
        let asked = self.recalled.get(&id).copied().unwrap_or(0) + plan.slots.get(&id).copied().unwrap_or(0);
        // Who acknowledges nothing is told no more.
        let told = |owner: &Living| owner.known && owner.orders.len() < 2 * GRANT_ORDERS;
        let may_be_told = self.head.lives.get(grant.owner).is_some_and(told);
        if may_be_told { grant.keep.saturating_sub(asked) } else { 0 }
    }

    /// Whether one more slot of a claim may be asked back: it has no less after that than who asks then has.
    fn may_ask(&self, claim: Option<ClaimId>, need: &Requirement, rich: ClaimId, plan: &Plan) -> bool {
        let Some(poor) = claim else { return true };
        let Some(size) = self.head.grants.claims.get(&rich).map(|claim| &claim.need.resources) else { return false };
        let none = Used::default();
        let (rich_has, poor_has) = if rich.0 == poor.0 {
            let rich_has = plan.classes.get(&rich).or_else(|| self.classes.get(&rich));
            (rich_has, self.classes.get(&poor))
        } else {
            let rich_has = plan.owners.get(&rich.0).or_else(|| self.owners.get(&rich.0));
            (rich_has, self.owners.get(&poor.0))
        };
        let after = rich_has.unwrap_or(&none).without(size, 1).share(&self.total);
        rich != poor && after >= poor_has.unwrap_or(&none).with(&need.resources, 1).share(&self.total)
    }

    fn plan(
        &self,
        claim: Option<ClaimId>,
        need: &Requirement,
        at: usize,
        richest: &[((u64, u64), ClaimId)],
    ) -> Option<Plan> {
        let room = &self.rooms[at];
        let (mut plan, mut come) = (Plan::default(), (room.soon.clone(), room.will_have(&need.resources)));
        let turns = claim.is_some_and(|claim| self.is_hungry(claim));
        let there = self.head.lives.get(room.life).map(|living| &living.lent)?;
        for (_, rich) in richest {
            let theirs = there.iter().filter_map(|id| Some((*id, self.head.grants.all.get(id)?)));
            let theirs = theirs.filter(|(_, grant)| (grant.owner, grant.class) == *rich && grant.bundle == room.bundle);
            for (id, grant) in theirs {
                // Weightless slots and resources do not stand in for each other.
                let helps = grant.size.is_empty() == need.resources.is_empty();
                let turn_over = turns && grant.since + GRANT_TURN <= self.head.grants.now;
                let may_ask = |plan: &Plan| turn_over || self.may_ask(claim, need, *rich, plan);
                while helps && !come.1 && self.left(id, grant, &plan) > 0 && may_ask(&plan) {
                    plan.add(self, id, grant);
                    come.0.give(&grant.size);
                    come.1 = need.resources.is_empty() || come.0.lacks(&need.resources).is_none();
                }
            }
        }
        come.1.then_some(plan)
    }

    fn carry_out(&mut self, plan: Plan, at: usize) {
        for (id, slots) in plan.slots {
            let Some(grant) = self.head.grants.all.get(&id) else { continue };
            *self.recalled.entry(id).or_default() += slots;
            self.budget = self.budget.saturating_sub(slots);
            self.rooms[at].come(&grant.size, slots);
        }
        self.owners.extend(plan.owners);
        self.classes.extend(plan.classes);
    }

    /// All that could be asked back in a room.
    pub(super) fn recallable(&self, at: usize) -> Resources {
        let room = &self.rooms[at];
        let lent = self.head.lives.get(room.life).map(|living| &living.lent);
        let grants = lent.into_iter().flatten().filter_map(|id| Some((*id, self.head.grants.all.get(id)?)));
        let there = grants.filter(|(_, grant)| grant.bundle == room.bundle);
        there.fold(Resources::none(), |sum, (id, grant)| {
            sum.and(&grant.size.times(self.left(id, grant, &Plan::default())))
        })
    }

    /// Asks back in this room until a bundle will fit.
    pub(super) fn ask_in(&mut self, at: usize, bundle: &Resources) {
        let richest = self.richest();
        let need = Requirement::of_resources(bundle);
        if !self.rooms[at].will_have(bundle)
            && let Some(plan) = self.plan(None, &need, at, &richest)
        {
            self.carry_out(plan, at);
        }
    }
}

impl Plan {
    fn add(&mut self, look: &Look<'_>, id: GrantId, grant: &Grant) {
        *self.slots.entry(id).or_default() += 1;
        let class = (grant.owner, grant.class);
        let owner = self.owners.entry(grant.owner);
        let owner = owner.or_insert_with(|| look.owners.get(&grant.owner).cloned().unwrap_or_default());
        *owner = owner.without(&grant.size, 1);
        let used = self.classes.entry(class);
        let used = used.or_insert_with(|| look.classes.get(&class).cloned().unwrap_or_default());
        *used = used.without(&grant.size, 1);
    }
}
