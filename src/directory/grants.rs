//! What owners want for their tasks, and what they were granted.

use crate::clock::Moment;
use crate::directory::message::RequestId;
use crate::directory::request::{Holding, Want, WantError};
use crate::directory::room::BundleId;
use crate::id::{Epoch, GrantId, GroupId, Life};
use crate::limits::EPOCH_FIRST;
use crate::schedule::{Amount, Class, Requirement, Resources};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A class of tasks of one owner.
pub(super) type ClaimId = (Life, Class);

/// What an owner wants for one class, and has.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) want: Option<Want>,
    /// What one slot needs.
    pub(super) need: Arc<Requirement>,
    /// The request that said so last: an older one changes nothing.
    pub(super) asked: RequestId,
    /// Its place among all that wait; renewed when it holds nothing any more.
    pub(super) ticket: u64,
    pub(super) grants: BTreeSet<GrantId>,
    /// Slots that it may keep.
    pub(super) kept: u32,
    /// Why it has less than it wants.
    pub(super) why: Option<WantError>,
}

impl Claim {
    pub(super) fn wanted(&self) -> u32 {
        self.want.as_ref().map_or(0, |want| want.slots)
    }

    /// Its place among the claims of its owner: the highest is served first.
    pub(super) fn priority(&self) -> i32 {
        self.want.as_ref().map_or(0, |want| want.priority)
    }

    pub(super) fn unmet(&self) -> u32 {
        self.wanted().saturating_sub(self.kept)
    }
}

/// Slots of one owner on one node.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) owner: Life,
    pub(super) class: Class,
    pub(super) host: Life,
    pub(super) bundle: Option<BundleId>,
    /// What one slot takes.
    pub(super) size: Resources,
    /// Slots taken, and those of them that are not to be given back.
    pub(super) slots: u32,
    pub(super) keep: u32,
    /// When it was given, or told to this head.
    pub(super) since: Moment,
    /// Its owner has told this head of it, or got it from this head.
    pub(super) confirmed: bool,
    /// Nobody is to use it any more; what still runs under it holds its slots until its node says that nothing does.
    pub(super) over: bool,
}

impl Grant {
    /// Who says how many of its slots are still used.
    pub(super) fn speaker(&self) -> Life {
        if self.over { self.host } else { self.owner }
    }
}

/// What an owner or a class has, for its share.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    of: Resources,
    weightless: u64,
}

impl Used {
    pub(super) fn with(&self, size: &Resources, slots: u32) -> Used {
        match size.is_empty() {
            true => Used { of: self.of.clone(), weightless: self.weightless + u64::from(slots) },
            false => Used { of: self.of.and(&size.times(slots)), weightless: self.weightless },
        }
    }

    pub(super) fn without(&self, size: &Resources, slots: u32) -> Used {
        let mut rest = self.clone();
        match size.is_empty() {
            true => rest.weightless = rest.weightless.saturating_sub(u64::from(slots)),
            false => rest.of.take(&size.times(slots)),
        }
        rest
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.weightless == 0 && self.of.iter().all(|(_, amount)| amount == Amount::ZERO)
    }

    /// The dominant share, in parts of 2^32.
    pub(super) fn share(&self, cluster: &Total) -> u64 {
        let weightless = (u128::from(self.weightless) << 32) / u128::from(cluster.weightless.max(1));
        self.of.dominant_share(&cluster.of).max(u64::try_from(weightless).unwrap_or(u64::MAX))
    }
}

/// All that the cluster has.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) of: Resources,
    pub(super) weightless: u64,
}

#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) claims: BTreeMap<ClaimId, Claim>,
    pub(super) all: BTreeMap<GrantId, Grant>,
    /// Those of placement groups' bundles, by the groups.
    pub(super) grouped: BTreeSet<(GroupId, GrantId)>,
    /// What owners held under an earlier head, on nodes that have not rejoined yet.
    pub(super) awaited: BTreeMap<GrantId, (Life, Holding)>,
    /// Claims that hold nothing and want something, by their tickets.
    pub(super) hungry: BTreeMap<u64, ClaimId>,
    pub(super) last: GrantId,
    /// The time of the event that is applied.
    pub(super) now: Moment,
    /// Something changed: the demand is to be looked at ..
    pub(super) due: bool,
    /// Or some groups that wait are left to look at ..
    pub(super) left: bool,
    /// .. but not before then.
    pub(super) rest: Moment,
    /// When the last look began, until whoever keeps time has said how long it took.
    pub(super) looks_from: Option<Moment>,
    /// A class that holds nothing looks again whose turn is over.
    pub(super) turn: Option<Moment>,
}

impl Grants {
    /// Grants of this head get numbers above those that heads of earlier epochs gave, for no record of these is kept, and
    /// below 2^63, for nodes number beyond that what they lend themselves. Epochs are counted, or are microseconds from
    /// [`EPOCH_FIRST`] on: then fewer grants than 256 begin in one.
    pub(super) fn begin_in(&mut self, epoch: Epoch) {
        let bits = if epoch.0 < EPOCH_FIRST { 40 } else { 8 };
        self.last = GrantId((epoch.0 << bits) & (u64::MAX >> 1));
    }

    pub(super) fn insert(&mut self, id: GrantId, grant: Grant) {
        if let Some((group, _)) = grant.bundle {
            self.grouped.insert((group, id));
        }
        self.all.insert(id, grant);
    }

    pub(super) fn remove(&mut self, id: GrantId) -> Option<Grant> {
        let grant = self.all.remove(&id)?;
        if let Some((group, _)) = grant.bundle {
            self.grouped.remove(&(group, id));
        }
        Some(grant)
    }

    /// Those of a placement group's bundles.
    pub(super) fn within(&self, group: GroupId) -> Vec<GrantId> {
        let all = self.grouped.range((group, GrantId(0))..=(group, GrantId(u64::MAX)));
        all.map(|(_, grant)| *grant).collect()
    }

    pub(super) fn next(&mut self) -> GrantId {
        self.last = self.last.next();
        self.last
    }

    /// When the demand is to be looked at.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let due = (self.due || self.left).then_some(self.rest);
        due.into_iter().chain(self.turn.map(|at| at.max(self.rest))).min()
    }

    /// Keeps the list of those that hold nothing. `ticket` makes a new one for who has come to hold nothing.
    pub(super) fn weigh(&mut self, id: ClaimId, ticket: impl FnOnce() -> u64) {
        let Some(claim) = self.claims.get_mut(&id) else { return };
        let hungry = claim.grants.is_empty() && claim.unmet() > 0;
        let listed = self.hungry.get(&claim.ticket) == Some(&id);
        if hungry && !listed {
            claim.ticket = ticket();
            self.hungry.insert(claim.ticket, id);
        } else if !hungry && listed {
            self.hungry.remove(&claim.ticket);
        }
        if claim.grants.is_empty() && claim.wanted() == 0 {
            self.claims.remove(&id);
        }
    }
}
