//! Whose the slots of a node are: who holds one, who waits for one, and which may be lent.
//!
//! A task that waits is *parked*: it holds its slot no longer. For each of them one slot may be lent to a task of this
//! node's own, under a grant that the node makes for that one task alone. Such a grant has no slot of its own: its task
//! holds one of the grant that it is lent *of*, and gives that back when it waits itself, as any task does.

use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

use super::super::grants::Vacates;
use super::super::line::Line;
use super::super::results::Results;
use super::ALONE;
use crate::id::{Epoch, GrantId, GroupId, Life};
use crate::limits::{GRANTS, PUSH_DEPTH_MAX};
use crate::schedule::Resources;

/// A grant on this node.
pub(super) struct Lent {
    pub(super) owner: Life,
    pub(super) slots: u32,
    pub(super) size: Resources,
    pub(super) bundle: Option<(GroupId, u32)>,
    pub(super) line: Line,
    pub(super) results: Results,
    /// Its tasks that hold a slot, and those that are parked.
    running: u32,
    parked: u32,
    /// Slots lent to tasks that hold them, or are about to; and such tasks that are parked.
    lent: u32,
    lent_parked: u32,
    /// Parked threads that go on as soon as there is a slot.
    resuming: u32,
    /// Peers' tasks that stand behind others, and will be in its line when those are over.
    pub(super) behind: u32,
    /// The grant of whose slots its task takes one.
    of: Option<GrantId>,
    /// How many of its tasks are parked, as its owner was told last; and how often it was told.
    told: u32,
    tells: u32,
    /// Nobody is to use it any more, and the head hears when this is dropped.
    vacates: Option<Vacates>,
}

/// How many tasks of a grant are parked, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node::tasks) struct Tell {
    pub(in crate::node::tasks) owner: Life,
    pub(in crate::node::tasks) grant: GrantId,
    pub(in crate::node::tasks) parked: u32,
    /// Of two, the one with the higher number is true.
    pub(in crate::node::tasks) number: u32,
}

/// What becomes of a task that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Parks,
    GoesOn,
    EndsRunning,
    EndsParked,
}

impl Lent {
    pub(super) fn new(owner: Life, slots: u32, size: Resources, bundle: Option<(GroupId, u32)>) -> Lent {
        let (line, results, of) = (Line::default(), Results::default(), None);
        let (running, parked, lent, lent_parked, resuming, behind, told, tells) = (0, 0, 0, 0, 0, 0, 0, 0);
        Lent {
            owner,
            slots,
            size,
            bundle,
            line,
            results,
            running,
            parked,
            lent,
            lent_parked,
            resuming,
            behind,
            of,
            told,
            tells,
            vacates: None,
        }
    }

    /// Slots that a head which has just come is to count.
    pub(super) fn counts(&self) -> u32 {
        match self.slots {
            0 if self.vacates.is_some() => (self.running + self.lent).max(1),
            slots => slots,
        }
    }

    fn has_slot(&self) -> bool {
        self.running + self.lent + self.resuming < self.slots
    }

    /// Whether a parked thread may go on. Where its slots were given back meanwhile, one does after another.
    pub(super) fn may_resume(&self) -> bool {
        self.running + self.lent < self.slots.max(1)
    }

    /// Whether its line takes one more, or one that stands behind others: an owner pushes no more than that.
    pub(super) fn takes_more(&self) -> bool {
        self.slots > 0
            && self.line.len() + u64::from(self.behind)
                < u64::from(self.slots) * u64::from(PUSH_DEPTH_MAX) + u64::from(self.told)
    }

    fn is_over(&self) -> bool {
        self.slots == 0 && self.has_none_begun() && self.lent + self.lent_parked == 0
    }

    pub(super) fn has_none_begun(&self) -> bool {
        self.running + self.parked == 0
    }

    /// What is of a placement group's bundle is for what is within the group, which its owner pushes.
    fn may_lend(&self) -> bool {
        self.of.is_none() && self.bundle.is_none() && self.parked + self.lent_parked > self.lent && self.has_slot()
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Parks => (self.running, self.parked) = (self.running - 1, self.parked + 1),
            Turn::GoesOn => (self.running, self.parked) = (self.running + 1, self.parked - 1),
            Turn::EndsRunning => self.running -= 1,
            Turn::EndsParked => self.parked -= 1,
        }
    }

    fn lent_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Parks => (self.lent, self.lent_parked) = (self.lent - 1, self.lent_parked + 1),
            Turn::GoesOn => (self.lent, self.lent_parked) = (self.lent + 1, self.lent_parked - 1),
            Turn::EndsRunning => self.lent -= 1,
            Turn::EndsParked => self.lent_parked -= 1,
        }
    }

    /// What its owner is to be told: that a slot idles although it takes all of them for used, or that it has been told of
    /// more than there are: what it pushes for those would find no slot.
    pub(super) fn tell(&mut self, grant: GrantId) -> Option<Tell> {
        let more = self.parked > self.told && self.line.is_empty() && self.has_slot();
        let fewer = self.parked < self.told;
        if !(more || fewer) || self.of.is_some() || grant == ALONE || self.slots == 0 {
            return None;
        }
        (self.told, self.tells) = (self.parked, self.tells.wrapping_add(1));
        Some(Tell { owner: self.owner, grant, parked: self.parked, number: self.tells })
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) grants: FxHashMap<GrantId, Lent>,
    /// Grants of earlier heads that are not known here are refused.
    pub(super) epoch: Epoch,
    /// Grants by which this node lends slots to its own tasks.
    local: u64,
    /// Grants of which a slot may be lent.
    lendable: BTreeSet<GrantId>,
    /// The latest that nobody is to use any more: their owners' words may yet be under way.
    vacated: BTreeSet<GrantId>,
}

impl State {
    /// The grant of whose slots the tasks of this one take theirs.
    pub(super) fn root(&self, grant: GrantId) -> GrantId {
        self.grants.get(&grant).and_then(|lent| lent.of).unwrap_or(grant)
    }

    pub(super) fn any_lendable(&self) -> bool {
        !self.lendable.is_empty()
    }

    /// After a change of a grant: it is forgotten if it is over. It is to be dropped outside of the lock: results go with
    /// it.
    pub(super) fn changed(&mut self, grant: GrantId) -> Option<Lent> {
        let lent = self.grants.get(&grant)?;
        match lent.may_lend() && grant != ALONE {
            true => self.lendable.insert(grant),
            false => self.lendable.remove(&grant),
        };
        lent.is_over().then(|| self.grants.remove(&grant))?
    }

    /// Whether a grant has a task to begin and a slot for it: then the task has the slot. Else what its owner is to be
    /// told.
    pub(super) fn next(&mut self, grant: GrantId) -> Result<super::Ready, Option<Tell>> {
        let lent = self.grants.get_mut(&grant).ok_or(None)?;
        // A task in a lent slot has it already.
        let next = if lent.of.is_some() || lent.has_slot() { lent.line.pop() } else { None };
        next.ok_or_else(|| lent.tell(grant))
    }

    /// A task of this grant has begun.
    pub(super) fn began(&mut self, grant: GrantId) {
        if let Some(lent) = self.grants.get_mut(&grant) {
            lent.running += 1;
        }
        // It is not over.
        drop(self.changed(grant));
    }

    /// Something becomes of a task that has begun. Gives what is over.
    pub(super) fn turn(&mut self, grant: GrantId, turn: Turn) -> [Option<Lent>; 2] {
        let Some(lent) = self.grants.get_mut(&grant) else { return [None, None] };
        lent.turn(turn);
        let Some(of) = lent.of else { return [self.changed(grant), None] };
        if lent.has_none_begun() {
            lent.slots = 0;
        }
        if let Some(lender) = self.grants.get_mut(&of) {
            lender.lent_turn(turn);
        }
        [self.changed(grant), self.changed(of)]
    }

    /// A parked thread wants to go on, or does.
    pub(super) fn resuming(&mut self, root: GrantId, more: bool) {
        if let Some(lent) = self.grants.get_mut(&root) {
            lent.resuming = if more { lent.resuming + 1 } else { lent.resuming - 1 };
        }
        drop(self.changed(root));
    }

    /// Lends a slot whose size will do, under a new grant.
    pub(super) fn lend(&mut self, to: Life, fits: impl Fn(&Resources) -> bool) -> Option<(GrantId, Resources)> {
        let fits = |of: &&GrantId| self.grants.get(of).is_some_and(|lent| fits(&lent.size));
        let of = *self.lendable.iter().find(fits)?;
        let lender = self.grants.get_mut(&of)?;
        lender.lent += 1;
        let size = lender.size.clone();
        self.local += 1;
        let grant = GrantId(ALONE.0 - self.local);
        self.grants.insert(grant, Lent { of: Some(of), ..Lent::new(to, 1, size.clone(), None) });
        drop(self.changed(of));
        Some((grant, size))
    }

    /// Ends a grant: what has not begun under it is given, and the slot of one whose task has not begun is free again.
    pub(super) fn end(&mut self, grant: GrantId) -> (Line, [Option<Lent>; 2]) {
        let Some(lent) = self.grants.get_mut(&grant).filter(|lent| lent.slots > 0) else {
            return (Line::default(), [None, None]);
        };
        lent.slots = 0;
        let line = std::mem::take(&mut lent.line);
        let of = lent.of.filter(|_| lent.has_none_begun());
        if let Some(lender) = of.and_then(|of| self.grants.get_mut(&of)) {
            lender.lent -= 1;
        }
        (line, [self.changed(grant), of.and_then(|of| self.changed(of))])
    }

    /// Nobody is to use a grant any more. Gives what has not begun, and what is over; none if there is no such grant.
    pub(super) fn vacate(
        &mut self,
        grant: GrantId,
        vacates: impl FnOnce() -> Vacates,
    ) -> Option<(Line, [Option<Lent>; 2])> {
        self.vacated.insert(grant);
        if self.vacated.len() > GRANTS {
            self.vacated.pop_first();
        }
        self.grants.get_mut(&grant)?.vacates.get_or_insert_with(vacates);
        Some(self.end(grant))
    }

    pub(super) fn is_vacated(&self, grant: GrantId) -> bool {
        self.vacated.contains(&grant)
    }

    /// A lent slot that nobody has taken is free again: of which grant it is.
    pub(super) fn unlend(&mut self, grant: GrantId) -> Option<(GrantId, [Option<Lent>; 2])> {
        let lent = self.grants.get(&grant).filter(|lent| lent.has_none_begun())?;
        let of = lent.of?;
        Some((of, self.end(grant).1))
    }
}
