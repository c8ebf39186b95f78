//! `GiveBack`: an owner keeps fewer slots of a grant, since they idle or the head asked for them. It says what it keeps,
//! so that saying it again, to this head or a later one, changes nothing. Of a grant that is over, its node says so.

use crate::directory::grants::{Claim, ClaimId, Grant};
use crate::directory::message::Command;
use crate::directory::request::Needs;
use crate::directory::state::{Directory, Effects};
use crate::id::{GrantId, GroupId, Key, Life};
use crate::schedule::{Requirement, Strategy};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Slots are free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// Of which grant.
    pub grant: GrantId,
    /// Slots that are kept; at zero the grant is over.
    pub keep: u32,
}

/// Why a grant is over at once, whatever runs under it. Nothing new begins; its owner cancels what does. What runs all the
/// same holds its slots until its node says that it does no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Revoked {
    /// Its node did not have it when a new head came.
    #[error("the grant was not known to its node when the head came back")]
    NotKnown,
    /// The placement group that it took of was removed.
    #[error("placement group {0} was removed")]
    GroupRemoved(GroupId),
    /// Its node is about to leave.
    #[error("its node is about to leave")]
    Leaving,
}

impl Directory {
    pub(in crate::directory) fn give_back(&mut self, from: Life, back: GiveBack, effects: &mut Effects) {
        if let Some((_, holding)) = self.grants.awaited.get_mut(&back.grant).filter(|(of, _)| *of == from) {
            holding.slots = holding.slots.min(back.keep);
        }
        let Some(grant) = self.grants.all.get_mut(&back.grant).filter(|grant| grant.speaker() == from) else { return };
        let keep = back.keep.min(grant.slots);
        if keep == 0 {
            return self.end_grant(back.grant, effects);
        }
        let (freed, fewer) = (grant.slots - keep, grant.keep.saturating_sub(keep));
        (grant.slots, grant.keep) = (keep, grant.keep - fewer);
        let grant = grant.clone();
        if let Some(living) = self.lives.get_mut(grant.host) {
            living.room.give_slots(&grant.size, freed, grant.bundle);
        }
        self.count(&grant, fewer);
        if freed > 0 {
            self.fill(grant.host, effects);
        }
    }

    /// A grant is over: its slots are free, for actors that wait first.
    pub(in crate::directory) fn end_grant(&mut self, id: GrantId, effects: &mut Effects) {
        if let Some(grant) = self.forget_grant(id) {
            self.fill(grant.host, effects);
        }
    }

    pub(in crate::directory) fn revoke(&mut self, id: GrantId, why: Revoked, effects: &mut Effects) {
        if let Some(owner) = self.grants.all.get(&id).map(|grant| grant.owner) {
            self.order(owner, Command::Revoke { grant: id, why }, effects);
            self.vacate_grant(id, effects);
        }
    }

    pub(in crate::directory) fn insert_grant(&mut self, id: GrantId, grant: Grant) {
        if let Some(living) = self.lives.get_mut(grant.host) {
            living.lent.insert(id);
        }
        if let Some(living) = self.lives.get_mut(grant.owner).filter(|_| !grant.over) {
            living.held.insert(id);
        }
        if grant.confirmed {
            self.claim_grant(id, &grant);
        }
        self.grants.insert(id, grant);
    }

    /// Counts a grant among what its class has. An owner that has not said yet what it wants has a claim all the same.
    pub(super) fn claim_grant(&mut self, id: GrantId, grant: &Grant) {
        let claim = self.grants.claims.entry((grant.owner, grant.class)).or_insert_with(|| {
            let needs = Needs { resources: grant.size.clone(), ..Needs::default() };
            let nameless = crate::directory::request::ActorType { key: Key(0), name: "".into() };
            let strategy = grant.bundle.map(|(group, index)| Strategy::Bundle { group, index: Some(index) });
            let need = needs.of(&nameless, None);
            Claim::new(Arc::new(Requirement { strategy: strategy.unwrap_or(need.strategy), ..need }))
        });
        if claim.grants.insert(id) {
            claim.kept += grant.keep;
        }
        self.weigh((grant.owner, grant.class));
    }

    /// Slots fewer that a claim may keep.
    pub(super) fn count(&mut self, grant: &Grant, fewer: u32) {
        let id: ClaimId = (grant.owner, grant.class);
        if let Some(claim) = self.grants.claims.get_mut(&id) {
            claim.kept = claim.kept.saturating_sub(fewer);
        }
        self.weigh(id);
        self.grants.due = true;
    }

    pub(in crate::directory) fn forget_grant(&mut self, id: GrantId) -> Option<Grant> {
        let grant = self.grants.remove(id)?;
        if let Some(living) = self.lives.get_mut(grant.host) {
            living.lent.remove(&id);
            living.room.give_slots(&grant.size, grant.slots, grant.bundle);
            grant.bundle.filter(|_| grant.over).into_iter().for_each(|bundle| living.room.leaves(bundle));
        }
        if let Some(living) = self.lives.get_mut(grant.owner) {
            living.held.remove(&id);
        }
        if let Some(claim) = self.grants.claims.get_mut(&(grant.owner, grant.class)) {
            claim.grants.remove(&id);
        }
        self.count(&grant, if grant.confirmed { grant.keep } else { 0 });
        Some(grant)
    }

    /// A life has ended, and with it its claims and all grants that were on it. Those that it owned elsewhere are over.
    pub(in crate::directory) fn end_grants_of(&mut self, life: Life, grants: Vec<GrantId>, effects: &mut Effects) {
        self.grants.awaited.retain(|_, (owner, holding)| *owner != life && holding.life != life);
        let classes: Vec<ClaimId> = self.grants.claims.keys().filter(|(owner, _)| *owner == life).copied().collect();
        for id in &classes {
            if let Some(claim) = self.grants.claims.get_mut(id) {
                claim.want = None;
            }
            self.weigh(*id);
        }
        for id in grants {
            match self.grants.all.get(&id).is_some_and(|grant| grant.host == life) {
                true => self.end_grant(id, effects),
                false => self.vacate_grant(id, effects),
            }
        }
        for id in classes {
            self.weigh(id);
        }
    }
}
