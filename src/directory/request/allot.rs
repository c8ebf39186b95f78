//! Who gets what is free. One look at all that waits, after each event that changed something:
//!
//! 1. Elders, by how long they wait: actors in line, placement groups, and classes of tasks that hold no slot at all.
//! 2. Tasks, a slot at a time, to the owner with the least dominant share of the cluster, and there to the class of the
//!    highest priority, and of those to the one with the least; grants alone count for a share.
//!
//! Who finds no room now gets what is coming back, if that will do: it is set aside, so that nobody takes it bit by bit.
//! Else slots are asked back ([`recall`](super::recall)): for elders of anyone, for tasks of owners (of classes of the same
//! owner and priority) whose share is still no less than its own would be after that. So each change makes shares more equal,
//! and none is undone by the next. A class that holds no slot may also ask for slots that were held for [`GRANT_TURN`]: where
//! there are more classes than slots, or one slot is more than a share, they take turns.
//!
//! Priorities are an owner's own: they order its classes, and say nothing to other owners. A class gives all that it has to
//! one of a higher priority. While that lacks slots it gets nothing from it, is no elder, and has no turns.
//!
//! Who is overtaken too often by actors and groups that came later keeps rooms from them ([`keep`](super::keep)).
//!
//! Actors come first and hold what they have: room that falls free goes to them before it goes to tasks, and they have
//! slots asked back. But a class that holds nothing gets its first slot in its turn among them, so a stream of actors does
//! not keep a class from running. Nothing is killed: a slot comes back when its task has finished.

mod groups;
mod room;
mod why;

use crate::clock::Moment;
use crate::directory::elders::{ELDEST, RoomId};
use crate::directory::grants::{Claim, ClaimId, Total, Used};
use crate::directory::message::Command;
use crate::directory::request::keep::Kept;
use crate::directory::request::recall::{Givers, Richest};
use crate::directory::room::BundleId;
use crate::directory::state::{Directory, Effects};
use crate::id::{GrantId, GroupId, Life};
use crate::limits::{DEMAND_FREE, DEMAND_REST, GRANT_TURN, RECALLS_AT_ONCE};
use crate::schedule::placement::Rank;
use crate::schedule::{Fit, Requirement, Resources, Why};
use groups::Round;
use room::Room;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// One look.
pub(super) struct Look<'a> {
    pub(super) head: &'a Directory,
    pub(super) rooms: Vec<Room>,
    pub(super) at: BTreeMap<(Life, Option<BundleId>), usize>,
    pub(super) total: Total,
    pub(super) owners: BTreeMap<Life, Used>,
    pub(super) classes: BTreeMap<ClaimId, Used>,
    /// Slots that come back of each owner, and are set aside for none of its claims yet.
    coming: BTreeMap<Life, u32>,
    /// Of each owner's claims that have slots: the lowest priority.
    pub(super) lowest: BTreeMap<Life, i32>,
    /// Of each owner's claims that lack slots, and for which there are rooms: the highest priority.
    highest: BTreeMap<Life, i32>,
    best: BTreeMap<ClaimId, BinaryHeap<Reverse<(Rank, usize)>>>,
    given: BTreeMap<(ClaimId, usize), u32>,
    /// Slots that claims get, now or of what comes back.
    served: BTreeMap<ClaimId, u32>,
    pub(super) recalled: BTreeMap<GrantId, u32>,
    /// Who has what, while that is not known to have changed.
    pub(super) richest: Option<Arc<Richest>>,
    /// Slots that may yet be asked back in this look.
    pub(super) budget: u32,
    grouped: Vec<(GroupId, Vec<Life>)>,
    /// Groups that found no room.
    ungrouped: Vec<GroupId>,
    round: Round,
    /// Claims that found none; of which priority those are that they are behind, if they are.
    blocked: Vec<(ClaimId, Option<i32>)>,
    /// Of these, one that holds nothing, and so may have its turn later.
    hungry: bool,
    /// The tickets of all elders.
    waiting: BTreeSet<u64>,
    pub(super) looked: u32,
    /// Whose claim is looked at; nobody's, for actors and groups.
    of: Option<Life>,
}

/// The place of a claim in the order in which slots are given.
type Turn = (u64, Reverse<i32>, u64, u64, ClaimId);

/// What comes of a look.
struct Decisions {
    given: BTreeMap<(ClaimId, Life, Option<BundleId>), u32>,
    recalled: BTreeMap<GrantId, u32>,
    grouped: Vec<(GroupId, Vec<Life>)>,
    ungrouped: Vec<GroupId>,
    round: Round,
    blocked: Vec<(ClaimId, Option<i32>)>,
    /// Claims that get slots.
    served: Vec<ClaimId>,
    /// More is to be asked back than one look may.
    more: bool,
    /// A class that holds nothing found no room.
    hungry: bool,
    waiting: BTreeSet<u64>,
    kept: BTreeMap<RoomId, u64>,
    looked: u32,
}

enum Elder<'a> {
    Actor(&'a Arc<Requirement>),
    Group(GroupId),
    Claim(ClaimId),
}

impl Directory {
    /// Looks at the demand, if that is due.
    pub(in crate::directory) fn allot(&mut self, now: Moment, effects: &mut Effects) {
        self.grants.due |= self.grants.turn.is_some_and(|at| at <= now);
        if !(self.grants.due || self.grants.left) || now < self.grants.rest {
            return;
        }
        self.groups.again |= self.grants.due && self.groups.looked > 0;
        self.grants.turn = None;
        (self.grants.due, self.grants.left) = (false, false);
        let idle = self.grants.claims.values().all(|claim| claim.unmet() == 0);
        if idle
            && self.groups.waiting.is_empty()
            && (self.actors.lines.is_empty() || self.grants.all.is_empty())
            && self.elders.is_empty()
        {
            return;
        }
        self.grants.looks_from = Some(now);
        let decisions = Look::new(self).decide();
        if decisions.looked > DEMAND_FREE {
            self.grants.rest = now + DEMAND_REST * decisions.looked;
        }
        for (group, hosts) in &decisions.grouped {
            self.place_group(*group, hosts, effects);
        }
        for ((claim, life, bundle), slots) in decisions.given {
            self.lend(claim, life, bundle, slots, effects);
        }
        for (grant, slots) in decisions.recalled {
            self.ask_back(grant, slots, effects);
        }
        for host in decisions.grouped.into_iter().flat_map(|(_, hosts)| hosts) {
            self.fill(host, effects);
        }
        decisions.ungrouped.into_iter().for_each(|group| self.explain_group(group, effects));
        decisions.served.into_iter().for_each(|id| self.explain(id, None));
        for (id, behind) in decisions.blocked {
            self.explain(id, Some(behind.map_or(Why::Full, Why::Outranked)));
        }
        self.elders.wait(&decisions.waiting);
        self.keep_rooms(decisions.kept, effects);
        self.grants.due |= decisions.more;
        self.grants.due |= self.groups.looked_until(decisions.round.looked());
        self.grants.left = decisions.round.more;
        self.grants.turn = decisions.hungry.then(|| now + GRANT_TURN);
    }

    fn ask_back(&mut self, id: GrantId, slots: u32, effects: &mut Effects) {
        let Some(grant) = self.grants.all.get_mut(&id) else { return };
        let fewer = slots.min(grant.keep);
        grant.keep -= fewer;
        let (keep, grant) = (grant.keep, grant.clone());
        self.count(&grant, fewer);
        self.order(grant.owner, Command::Recall { grant: id, keep }, effects);
    }
}

impl<'a> Look<'a> {
    fn new(head: &'a Directory) -> Look<'a> {
        let mut look = Look {
            head,
            rooms: Vec::new(),
            at: BTreeMap::new(),
            total: Total::default(),
            owners: BTreeMap::new(),
            classes: BTreeMap::new(),
            coming: BTreeMap::new(),
            lowest: BTreeMap::new(),
            highest: BTreeMap::new(),
            best: BTreeMap::new(),
            given: BTreeMap::new(),
            served: BTreeMap::new(),
            recalled: BTreeMap::new(),
            richest: None,
            budget: RECALLS_AT_ONCE,
            grouped: Vec::new(),
            ungrouped: Vec::new(),
            round: Round::default(),
            blocked: Vec::new(),
            hungry: false,
            waiting: BTreeSet::new(),
            looked: 0,
            of: None,
        };
        look.enter_rooms();
        look.enter_grants();
        look.enter_priorities();
        look
    }

    fn enter_rooms(&mut self) {
        let head = self.head;
        for (life, living) in head.lives.iter().filter(|(_, living)| living.join.hosts) {
            self.total.of = self.total.of.and(&living.join.resources);
            self.total.weightless += u64::from(living.room.weightless_slots());
            if living.open_to_itself() {
                for room in Room::all_of(life, living) {
                    self.at.insert((life, room.bundle), self.rooms.len());
                    self.rooms.push(room);
                }
            }
        }
    }

    fn enter_grants(&mut self) {
        // When slots of one that is over come is nobody's promise.
        for grant in self.head.grants.all.values().filter(|grant| !grant.over) {
            let coming = grant.slots - grant.keep;
            if let Some(at) = self.at.get(&(grant.host, grant.bundle)).filter(|_| coming > 0) {
                self.rooms[*at].come(&grant.size, coming);
                *self.coming.entry(grant.owner).or_default() += coming;
            }
            self.use_more(grant.owner, (grant.owner, grant.class), &grant.size, grant.keep);
        }
    }

    fn enter_priorities(&mut self) {
        let head = self.head;
        for (id, claim) in &head.grants.claims {
            self.of = Some(id.0);
            let (priority, highest) = (claim.priority(), self.highest.get(&id.0).copied());
            if claim.unmet() > 0 && highest.is_none_or(|highest| highest < priority) && self.has_room_for(&claim.need) {
                self.highest.insert(id.0, priority);
            }
            if claim.kept > 0 {
                let lowest = self.lowest.entry(id.0).or_insert(priority);
                *lowest = priority.min(*lowest);
            }
        }
    }

    /// Whether there is a room that would do, were it empty.
    fn has_room_for(&mut self, need: &Requirement) -> bool {
        self.looked = self.looked.saturating_add(self.rooms.len() as u32);
        (0..self.rooms.len()).any(|at| self.suits(need, at))
    }

    fn use_more(&mut self, owner: Life, class: ClaimId, size: &Resources, slots: u32) {
        self.richest = None;
        let used = self.owners.entry(owner).or_default();
        *used = used.with(size, slots);
        let used = self.classes.entry(class).or_default();
        *used = used.with(size, slots);
    }

    fn decide(mut self) -> Decisions {
        self.elders();
        self.by_share();
        let kept = self.rooms.iter().filter_map(|room| Some(((room.life, room.bundle), room.kept?))).collect();
        let given = self.given.into_iter().filter(|(_, slots)| *slots > 0).map(|((claim, at), slots)| {
            let room = &self.rooms[at];
            ((claim, room.life, room.bundle), slots)
        });
        Decisions {
            given: given.collect(),
            recalled: self.recalled,
            grouped: self.grouped,
            ungrouped: self.ungrouped,
            round: self.round,
            blocked: self.blocked,
            served: self.served.into_keys().collect(),
            more: self.budget == 0,
            hungry: self.hungry,
            waiting: self.waiting,
            kept,
            looked: self.looked,
        }
    }

    fn elders(&mut self) {
        let head = self.head;
        let actors = head.actors.lines.heads().map(|(ticket, need)| (ticket, Elder::Actor(need)));
        let groups = head.groups.waiting.iter().map(|(ticket, group)| (*ticket, Elder::Group(*group)));
        let hungry = head.grants.hungry.iter().map(|(ticket, claim)| (*ticket, Elder::Claim(*claim)));
        let mut elders: Vec<(u64, Elder<'_>)> = actors.chain(groups).chain(hungry).collect();
        elders.sort_by_key(|(ticket, _)| *ticket);
        self.waiting = elders.iter().map(|(ticket, _)| *ticket).collect();
        for (ticket, elder) in elders {
            match elder {
                Elder::Claim(id) if head.obeys(id.0) && !self.is_behind(id) => self.room_for_claim(id, ticket),
                Elder::Claim(_) => {}
                Elder::Actor(need) => self.room_for_actor(need, ticket),
                Elder::Group(group) if self.is_turn_of(ticket) => self.room_for_group(group, ticket),
                Elder::Group(_) => {}
            }
        }
    }

    fn by_share(&mut self) {
        let head = self.head;
        let mut left: BTreeMap<ClaimId, u32> = BTreeMap::new();
        for (id, claim) in head.grants.claims.iter().filter(|(id, claim)| claim.unmet() > 0 && head.obeys(id.0)) {
            let served = self.served.get(id).copied().unwrap_or(0);
            left.insert(*id, claim.unmet().saturating_sub(served));
        }
        let mut line: BTreeSet<_> = left.keys().map(|id| self.turn(*id)).collect();
        while let Some(first) = line.pop_first() {
            let id = first.4;
            let Some(slots) = left.get_mut(&id).filter(|slots| **slots > 0) else { continue };
            let turn = self.turn(id);
            if turn > first {
                line.insert(turn);
            } else if self.serve(id) {
                *slots -= 1;
                line.insert(self.turn(id));
            }
        }
    }

    /// The place of a claim in the order of shares.
    fn turn(&self, id: ClaimId) -> Turn {
        let share = |used: Option<&Used>| used.map_or(0, |used| used.share(&self.total));
        let ticket = self.head.grants.claims.get(&id).map_or(0, |claim| claim.ticket);
        let (of_owner, of_class) = (share(self.owners.get(&id.0)), share(self.classes.get(&id)));
        (of_owner, Reverse(self.priority(id)), of_class, ticket, id)
    }

    pub(super) fn priority(&self, id: ClaimId) -> i32 {
        self.head.grants.claims.get(&id).map_or(0, Claim::priority)
    }

    /// One more slot for a claim: now, of what comes back, or of what is asked back.
    fn serve(&mut self, id: ClaimId) -> bool {
        let Some(need) = self.head.grants.claims.get(&id).map(|claim| claim.need.clone()) else { return false };
        self.of = Some(id.0);
        if let Some(at) = self.best(id, &need) {
            self.rooms[at].take(&need.resources);
            *self.given.entry((id, at)).or_default() += 1;
        } else if let Some(at) = self.later(id, &need) {
            self.rooms[at].set_aside(&need.resources);
        } else {
            self.hungry |= self.has_turns(id) && self.has_room_for(&need);
            self.blocked.push((id, self.behind(id)));
            return false;
        }
        *self.served.entry(id).or_default() += 1;
        self.use_more(id.0, id, &need.resources, 1);
        true
    }

    /// A room in which a slot comes back. What comes of others may go to elders then: what lower claims of its owner have is
    /// asked back whether or not.
    fn later(&mut self, id: ClaimId, need: &Requirement) -> Option<usize> {
        let lower = if self.comes_of_owner(id) { None } else { self.ask_for(Givers::Lower(id), need, ELDEST) };
        lower.or_else(|| self.soonest(need, ELDEST)).or_else(|| self.ask_for(Givers::Richer(id), need, ELDEST))
    }

    /// Whether a slot that its owner was asked for comes back, which no claim of that counts on yet: this one does now.
    fn comes_of_owner(&mut self, id: ClaimId) -> bool {
        let Some(coming) = self.coming.get_mut(&id.0) else { return false };
        let one_left = *coming > 0;
        *coming = coming.saturating_sub(1);
        one_left
    }

    /// Whether a claim of the same owner goes before this one.
    fn is_behind(&self, id: ClaimId) -> bool {
        self.behind(id).is_some()
    }

    /// The priority of that claim.
    fn behind(&self, id: ClaimId) -> Option<i32> {
        self.highest.get(&id.0).copied().filter(|highest| *highest > self.priority(id))
    }

    /// Whether a claim holds nothing, gets nothing in this look so far, and is behind none of its owner.
    pub(super) fn has_turns(&self, id: ClaimId) -> bool {
        let holds = self.head.grants.claims.get(&id).is_some_and(|claim| !claim.grants.is_empty());
        !holds && !self.is_behind(id) && self.classes.get(&id).is_none_or(Used::is_nothing)
    }

    /// One slot for a class that holds none.
    fn room_for_claim(&mut self, id: ClaimId, ticket: u64) {
        self.serve(id);
        let given = self.given.range((id, 0)..=(id, usize::MAX)).any(|(_, slots)| *slots > 0);
        if !given && let Some(claim) = self.head.grants.claims.get(&id) {
            self.keep(ticket, &Kept::Slot(&claim.need));
        }
    }

    fn room_for_actor(&mut self, need: &Requirement, ticket: u64) {
        self.of = None;
        let kept = self.keep(ticket, &Kept::Slot(need));
        let asked = kept.into_iter().find(|at| self.ask_in(*at, &need.resources));
        let found = asked.or_else(|| self.soonest(need, ticket)).or_else(|| self.ask_for(Givers::Anyone, need, ticket));
        if let Some(at) = found {
            self.rooms[at].set_aside(&need.resources);
        }
    }

    /// The best room for one slot now. Room only shrinks in a look, so ranks only get worse, and each is looked at again
    /// when it seems to be the best.
    fn best(&mut self, id: ClaimId, need: &Requirement) -> Option<usize> {
        let mut heap = match self.best.remove(&id) {
            Some(heap) => heap,
            None => {
                self.looked += self.rooms.len() as u32;
                let ranked = |at: usize| match self.fit(need, at) {
                    Fit::Now(rank) => Some(Reverse((rank, at))),
                    Fit::Later | Fit::Never(_) => None,
                };
                (0..self.rooms.len()).filter_map(ranked).collect()
            }
        };
        let mut found = None;
        while let Some(Reverse((ranked, at))) = heap.pop() {
            self.looked += 1;
            match self.fit(need, at) {
                Fit::Now(rank) if rank <= ranked => {
                    heap.push(Reverse((rank, at)));
                    found = Some(at);
                    break;
                }
                Fit::Now(rank) => heap.push(Reverse((rank, at))),
                Fit::Later | Fit::Never(_) => {}
            }
        }
        self.best.insert(id, heap);
        found
    }

    /// A room that will do once what was asked back has come.
    fn soonest(&mut self, need: &Requirement, ticket: u64) -> Option<usize> {
        self.looked += self.rooms.len() as u32;
        let will_do = |room: &Room| room.is_for(ticket) && room.will_have(&need.resources);
        (0..self.rooms.len()).find(|at| will_do(&self.rooms[*at]) && self.suits(need, *at))
    }

    fn fit(&self, need: &Requirement, at: usize) -> Fit {
        let room = &self.rooms[at];
        if !room.has(need, self.of) {
            return Fit::Never(Why::NoNode);
        }
        match room.will_have(&need.resources) && room.has_slots(need) {
            true => need.fit(&room.offer()),
            false => Fit::Later,
        }
    }

    /// Whether a room would do, were it empty.
    pub(super) fn suits(&self, need: &Requirement, at: usize) -> bool {
        let room = &self.rooms[at];
        room.has(need, self.of) && !matches!(need.fit(&room.offer()), Fit::Never(_))
    }
}

#[cfg(test)]
mod properties;
