//! Grants under a new head, which has no record of them. A grant goes on if both its owner and its node say so: the node
//! refuses whatever comes under a grant of an earlier reign that it did not report, so one that only its owner knows is
//! revoked, and one that only its node knows is held until its owner has rejoined or ended; then it is over, and its node is
//! asked ([`vacate`](super::vacate)). So nothing is over-committed.
//!
//! ```text
//! owner first   awaited ──node says so──▶ counted          node first   held, unconfirmed ──owner says so──▶ counted
//!                    └──node does not──▶ revoked                                └──owner does not──▶ over
//! ```

use crate::directory::grants::Grant;
use crate::directory::message::Command;
use crate::directory::request::Revoked;
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, GrantId, GroupId, Life};
use crate::schedule::{Class, Resources, Strategy};
use serde::{Deserialize, Serialize};

/// What a life holds, and what is held on it, that no journal has.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holdings {
    /// Grants that it owns.
    pub held: Vec<Holding>,
    /// Grants on it: those under which something was pushed to it, and those that are over and under which something runs.
    pub lent: Vec<Lending>,
    /// Of the ephemeral actors for which resources are reserved there, those that take of a bundle.
    pub bundled: Vec<(ActorId, Strategy)>,
}

/// A grant as its owner has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Which.
    pub grant: GrantId,
    /// For which class.
    pub class: Class,
    /// On which node.
    pub life: Life,
    /// Slots that were not given back.
    pub slots: u32,
}

/// A grant as its node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lending {
    /// Which.
    pub grant: GrantId,
    /// Whose.
    pub owner: Life,
    /// Slots, as the owner told them first; of one that is over those that are used.
    pub slots: u32,
    /// What one slot takes ..
    pub size: Resources,
    /// .. of which bundle, if not of the node.
    pub bundle: Option<(GroupId, u32)>,
}

impl Directory {
    pub(super) fn take_over(&mut self, life: Life, holdings: Holdings, effects: &mut Effects) {
        for lending in holdings.lent {
            self.lent_again(life, lending, effects);
        }
        // What its owner has told already, and it has not confirmed just now.
        let unknown = self.grants.awaited.iter().filter(|(_, (_, holding))| holding.life == life);
        for (grant, owner) in unknown.map(|(grant, (owner, _))| (*grant, *owner)).collect::<Vec<_>>() {
            self.grants.awaited.remove(&grant);
            self.order(owner, Command::Revoke { grant, why: Revoked::NotKnown }, effects);
        }
        for holding in holdings.held {
            self.held_again(life, holding, effects);
        }
        let unsaid = self.lives.get(life).map(|living| living.held.clone()).unwrap_or_default();
        let unsaid = unsaid.into_iter().filter(|id| self.grants.all.get(id).is_some_and(|grant| !grant.confirmed));
        for grant in unsaid.collect::<Vec<_>>() {
            self.vacate_grant(grant, effects);
        }
    }

    /// A node says that a grant is on it. If it has no room for that, since it has not heard yet of all that owners gave
    /// back to the head before this one, then what runs under the grant has to end.
    fn lent_again(&mut self, host: Life, lending: Lending, effects: &mut Effects) {
        let Lending { grant: id, owner, slots, size, bundle } = lending;
        self.grants.last = self.grants.last.max(id);
        let told = self.grants.awaited.remove(&id);
        let known = self.lives.get(owner).map(|living| living.known);
        let class = told.as_ref().map_or(Class(0), |(_, holding)| holding.class);
        let slots = told.as_ref().map_or(slots, |(_, holding)| holding.slots.min(slots));
        if slots == 0 || self.grants.all.contains_key(&id) {
            return;
        }
        // Its owner has ended, or has rejoined without it: what runs there is yet to end.
        let over = known.is_none() || (known == Some(true) && told.is_none() && owner != host);
        let Some(living) = self.lives.get_mut(host) else { return };
        // A bundle that was removed holds nothing any more: the node does.
        let bundle = bundle.filter(|bundle| !over || living.room.has_bundle(*bundle));
        let fits = living.room.take_slots(&size, slots, bundle);
        let bundle = bundle.filter(|_| fits);
        if !fits {
            living.room.owe_slots(&size, slots);
        }
        let (since, confirmed) = (self.grants.now, told.is_some());
        let grant = Grant { owner, class, host, bundle, size, slots, keep: slots, since, confirmed, over: false };
        self.insert_grant(id, grant);
        if !fits && told.is_some() {
            self.order(owner, Command::Revoke { grant: id, why: Revoked::NotKnown }, effects);
        }
        if over || !fits {
            self.vacate_grant(id, effects);
        }
    }

    /// An owner says that it has a grant.
    fn held_again(&mut self, owner: Life, holding: Holding, effects: &mut Effects) {
        let id = holding.grant;
        self.grants.last = self.grants.last.max(id);
        if let Some(grant) = self.grants.all.get_mut(&id).filter(|grant| grant.owner == owner) {
            if grant.over {
                return self.order(owner, Command::Revoke { grant: id, why: Revoked::NotKnown }, effects);
            }
            let fewer = grant.slots.saturating_sub(holding.slots);
            (grant.class, grant.confirmed) = (holding.class, true);
            (grant.slots, grant.keep) = (grant.slots - fewer, grant.keep.min(holding.slots));
            let grant = grant.clone();
            if let Some(living) = self.lives.get_mut(grant.host) {
                living.room.give_slots(&grant.size, fewer, grant.bundle);
            }
            return self.claim_grant(id, &grant);
        }
        match self.lives.get(holding.life).map(|living| living.known) {
            Some(false) => drop(self.grants.awaited.insert(id, (owner, holding))),
            Some(true) => self.order(owner, Command::Revoke { grant: id, why: Revoked::NotKnown }, effects),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
