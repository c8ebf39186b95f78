//! Which slots are asked back for someone who finds no room: of the richest first, and only where that makes enough room.

use crate::directory::grants::{ClaimId, Grant, Used};
use crate::directory::lives::Living;
use crate::directory::request::allot::Look;
use crate::id::{GrantId, Life};
use crate::limits::{GRANT_ORDERS, GRANT_TURN};
use crate::schedule::{Requirement, Resources};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Of whom slots are asked back.
#[derive(Clone, Copy)]
pub(super) enum Givers {
    /// For an elder.
    Anyone,
    /// For this claim, of those that have more.
    Richer(ClaimId),
    /// For this claim, of those of its owner with lower priorities.
    Lower(ClaimId),
}

impl Givers {
    fn claim(self) -> Option<ClaimId> {
        match self {
            Givers::Anyone => None,
            Givers::Richer(claim) | Givers::Lower(claim) => Some(claim),
        }
    }
}

/// What would be asked back in one room.
#[derive(Default)]
struct Plan {
    slots: BTreeMap<GrantId, u32>,
    owners: BTreeMap<Life, Used>,
    classes: BTreeMap<ClaimId, Used>,
}

/// Claims that have something, and the place of each.
pub(super) struct Richest {
    claims: Vec<ClaimId>,
    ranks: BTreeMap<ClaimId, usize>,
}

impl<'a> Look<'a> {
    /// A room in which enough comes back for `need`, which came at this ticket.
    pub(super) fn ask_for(&mut self, of: Givers, need: &Requirement, ticket: u64) -> Option<usize> {
        if self.budget == 0 || matches!(of, Givers::Lower(claim) if !self.has_lower(claim)) {
            return None;
        }
        let richest = self.richest();
        let turns = self.takes_turns(of);
        // What would come back in a room is the same whoever led there.
        let mut planned = BTreeSet::new();
        for rich in &richest.claims {
            if !turns && !self.may_ask(of, need, *rich, &Plan::default()) {
                continue;
            }
            let grants = self.head.grants.claims.get(rich).map(|claim| &claim.grants);
            let rooms = grants.into_iter().flatten().filter_map(|grant| self.room_of(*grant));
            for at in rooms.filter(|at| planned.insert(*at)).collect::<Vec<_>>() {
                self.looked += 1;
                if self.rooms[at].is_for(ticket)
                    && self.suits(need, at)
                    && let Some(plan) = self.plan(of, need, at, &richest)
                {
                    self.carry_out(plan, at);
                    return Some(at);
                }
            }
        }
        None
    }

    /// Claims by what their owners have, by their priorities there, and by what they have: who is to give comes first. It stays
    /// as it is while nothing is given or asked back: most of many classes ask in vain.
    fn richest(&mut self) -> Arc<Richest> {
        if let Some(richest) = &self.richest {
            return richest.clone();
        }
        let share = |used: Option<&Used>| used.map_or(0, |used| used.share(&self.total));
        let kept = |id: &ClaimId| self.head.grants.claims.get(id).is_some_and(|claim| claim.kept > 0);
        let claims = self.classes.iter().filter(|(id, _)| kept(id));
        let rich = claims
            .map(|(id, used)| (share(self.owners.get(&id.0)), Reverse(self.priority(*id)), share(Some(used)), *id));
        let mut rich: Vec<_> = rich.collect();
        rich.sort_unstable_by(|one, other| other.cmp(one));
        self.looked = self.looked.saturating_add(rich.len() as u32);
        let claims: Vec<ClaimId> = rich.into_iter().map(|(.., id)| id).collect();
        let ranks = claims.iter().zip(0..).map(|(id, rank)| (*id, rank)).collect();
        self.richest.insert(Arc::new(Richest { claims, ranks })).clone()
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

    /// Whether one more slot of a claim may be asked back: it has no less after that than who asks then has. Of the same owner
    /// all goes to a higher priority, and nothing to a lower one.
    fn may_ask(&self, of: Givers, need: &Requirement, rich: ClaimId, plan: &Plan) -> bool {
        let Some(poor) = of.claim() else { return true };
        let Some(size) = self.head.grants.claims.get(&rich).map(|claim| &claim.need.resources) else { return false };
        match self.before(poor, rich) {
            Ordering::Equal if !matches!(of, Givers::Lower(_)) => {}
            order => return order == Ordering::Less,
        }
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

    fn takes_turns(&self, of: Givers) -> bool {
        matches!(of, Givers::Richer(claim) if self.has_turns(claim))
    }

    fn has_lower(&self, id: ClaimId) -> bool {
        self.lowest.get(&id.0).is_some_and(|lowest| *lowest < self.priority(id))
    }

    /// Less if the one goes before the other, which only one of the same owner does.
    fn before(&self, one: ClaimId, other: ClaimId) -> Ordering {
        match one.0 == other.0 {
            true => self.priority(other).cmp(&self.priority(one)),
            false => Ordering::Equal,
        }
    }

    fn plan(&mut self, of: Givers, need: &Requirement, at: usize, richest: &Richest) -> Option<Plan> {
        let there = self.by_riches(at, richest);
        self.looked = self.looked.saturating_add(there.len() as u32);
        let room = &self.rooms[at];
        let mut come = match of {
            // Nothing of what it needs, whatever else comes.
            Givers::Lower(_) => (need.resources.times(0), false),
            Givers::Anyone | Givers::Richer(_) => (room.soon.clone(), room.will_have(&need.resources)),
        };
        let mut plan = Plan::default();
        let turns = self.takes_turns(of);
        for (_, id, grant) in there {
            let rich = (grant.owner, grant.class);
            // Weightless slots and resources do not stand in for each other.
            let helps = grant.size.is_empty() == need.resources.is_empty();
            let is_before = of.claim().is_some_and(|claim| self.before(rich, claim) == Ordering::Less);
            let turn_over = turns && !is_before && grant.since + GRANT_TURN <= self.head.grants.now;
            let may_ask = |plan: &Plan| turn_over || self.may_ask(of, need, rich, plan);
            while helps && !come.1 && self.left(id, grant, &plan) > 0 && may_ask(&plan) {
                plan.add(self, id, grant);
                come.0.give(&grant.size);
                come.1 = need.resources.is_empty() || come.0.lacks(&need.resources).is_none();
            }
            if come.1 {
                break;
            }
        }
        come.1.then_some(plan)
    }

    /// The grants of a room, those of the richest first.
    fn by_riches(&self, at: usize, richest: &Richest) -> Vec<(usize, GrantId, &'a Grant)> {
        let (room, head) = (&self.rooms[at], self.head);
        let lent = head.lives.get(room.life).map(|living| &living.lent);
        let grants = lent.into_iter().flatten().filter_map(|id| Some((*id, head.grants.all.get(id)?)));
        let there = grants.filter(|(_, grant)| grant.bundle == room.bundle);
        let ranked =
            there.filter_map(|(id, grant)| Some((*richest.ranks.get(&(grant.owner, grant.class))?, id, grant)));
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_unstable_by_key(|(rank, id, _)| (*rank, *id));
        ranked
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
        self.richest = None;
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

    /// Asks back in this room until so much will be free, and says whether it will.
    pub(super) fn ask_in(&mut self, at: usize, size: &Resources) -> bool {
        let (richest, need) = (self.richest(), Requirement::of_resources(size));
        if !self.rooms[at].will_have(size)
            && let Some(plan) = self.plan(Givers::Anyone, &need, at, &richest)
        {
            self.carry_out(plan, at);
        }
        self.rooms[at].will_have(size)
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
