//! Placement groups that wait, in one look. To seek places for one takes long where there are many nodes, so not all that
//! find none are looked at: the eldest always are, of the others some in each look, in turn.

use super::Look;
use crate::directory::groups::Group;
use crate::directory::request::keep::Kept;
use crate::id::{GroupId, Life};
use crate::limits::GROUPS_A_LOOK;
use crate::schedule::Resources;

/// How far a look has come.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Groups beyond the eldest that were looked at.
    others: usize,
    /// The ticket of the last of these.
    last: u64,
    /// There are more after it.
    pub(super) more: bool,
}

impl Round {
    /// Those who came until then were looked at, if more are to be.
    pub(super) fn looked(&self) -> u64 {
        if self.more { self.last } else { 0 }
    }
}

impl Look<'_> {
    /// Whether it is the turn of a group that came at this ticket.
    pub(super) fn is_turn_of(&mut self, ticket: u64) -> bool {
        if self.ungrouped.len() < GROUPS_A_LOOK {
            return true;
        }
        if ticket <= self.head.groups.looked {
            return false;
        }
        if self.round.others >= GROUPS_A_LOOK {
            self.round.more = true;
            return false;
        }
        (self.round.others, self.round.last) = (self.round.others + 1, ticket);
        true
    }

    pub(super) fn room_for_group(&mut self, id: GroupId, ticket: u64) {
        let Some(missing) = self.head.groups.all.get(&id).map(Group::missing) else { return };
        self.looked += self.rooms.len() as u32;
        let is_for = |at: &usize| self.rooms[*at].is_node() && self.rooms[*at].is_for(ticket);
        let nodes: Vec<usize> = (0..self.rooms.len()).filter(is_for).collect();
        let place = |look: &Self, nodes: &[usize], free: &dyn Fn(&Self, usize) -> Resources| {
            let free: Vec<(Life, Resources)> = nodes.iter().map(|at| (look.rooms[*at].life, free(look, *at))).collect();
            missing.place(&free)
        };
        let now = place(self, &nodes, &|look, at| look.rooms[at].free.least(&look.rooms[at].soon));
        let mut kept = if now.is_some() { Vec::new() } else { self.keep(ticket, &Kept::Bundles(&missing)) };
        kept.sort_unstable();
        let soon = |look: &Self, at: usize| look.rooms[at].soon.clone();
        let recalled = |look: &Self, at: usize| look.rooms[at].soon.and(&look.recallable(at));
        let later = || place(self, &kept, &recalled).or_else(|| place(self, &nodes, &soon));
        let hosts = now.clone().or_else(later).or_else(|| place(self, &nodes, &recalled));
        let taken: Vec<(usize, Resources)> = hosts
            .iter()
            .flatten()
            .zip(&missing.bundles)
            .filter_map(|(life, bundle)| Some((*self.at.get(&(*life, None))?, bundle.clone())))
            .collect();
        for (at, bundle) in taken {
            if now.is_some() {
                self.rooms[at].take(&bundle);
            } else {
                self.ask_in(at, &bundle);
                self.rooms[at].set_aside(&bundle);
            }
        }
        match now {
            Some(hosts) => self.grouped.push((id, hosts)),
            None => {
                self.looked += self.rooms.len() as u32;
                self.ungrouped.push(id);
            }
        }
    }
}
