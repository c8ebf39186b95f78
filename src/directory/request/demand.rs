//! What owners want and do not have, and the placement groups: pages of `status`, for people and for who adds nodes.

use crate::directory::actors::Phase;
use crate::directory::request::{FullName, WantError};
use crate::directory::state::Directory;
use crate::id::{ActorId, GroupId, Life};
use crate::limits::STATUS_PAGE;
use crate::schedule::{Class, Packing, Requirement, Resources, Selectors, Strategy, Why};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// One class of tasks of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemandLine {
    /// Whose.
    pub owner: Life,
    /// Its number for the class.
    pub class: Class,
    /// The task's function.
    pub name: Arc<str>,
    /// What one slot takes.
    pub resources: Resources,
    /// The labels that its node must have.
    pub labels: Selectors,
    /// How it chooses among nodes.
    pub strategy: Strategy,
    /// Slots wanted in all.
    pub wanted: u32,
    /// Slots granted and not asked back.
    pub granted: u32,
    /// Slots asked back that have not come yet.
    pub recalled: u32,
    /// Why it has less than it wants; none if it has not.
    pub why: Option<WantError>,
}

/// One actor that waits for a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLine {
    /// Its id.
    pub actor: ActorId,
    /// Its type.
    pub name: Arc<str>,
    /// What it takes.
    pub resources: Resources,
    /// The labels that its node must have.
    pub labels: Selectors,
    /// How it chooses among nodes.
    pub strategy: Strategy,
    /// Why it waits; none if its turn has come.
    pub why: Option<Why>,
}

/// One placement group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    /// Its id.
    pub group: GroupId,
    /// Its name.
    pub name: Option<FullName>,
    /// What its bundles hold.
    pub bundles: Vec<Resources>,
    /// How they are placed.
    pub packing: Packing,
    /// How it stands.
    pub state: GroupState,
    /// Why bundles of it are on no node; none if all are on nodes, or will be in a moment.
    pub why: Option<Why>,
    /// Whether it outlives the life that asked for it.
    pub detached: bool,
}

/// How a group stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// It waits for room.
    Waiting,
    /// Its bundles are on these lives.
    Placed(Vec<Life>),
    /// Nodes that held some of its bundles have ended: these wait for room. The others are on these lives.
    Partly(Vec<Option<Life>>),
}

impl GroupLine {
    /// Its bundles that are on no node.
    pub fn missing(&self) -> impl Iterator<Item = &Resources> + Clone {
        let missing = |index: usize| match &self.state {
            GroupState::Waiting => true,
            GroupState::Placed(_) => false,
            GroupState::Partly(hosts) => hosts.get(index).is_some_and(Option::is_none),
        };
        self.bundles.iter().enumerate().filter(move |(index, _)| missing(*index)).map(|(_, bundle)| bundle)
    }
}

impl Directory {
    pub(super) fn demand_lines(&self, after: Option<(Life, Class)>) -> Vec<DemandLine> {
        let from = after.map_or(Unbounded, Excluded);
        let line = |(id, claim): (&(Life, Class), &crate::directory::grants::Claim)| {
            let grants = claim.grants.iter().filter_map(|grant| self.grants.all.get(grant));
            DemandLine {
                owner: id.0,
                class: id.1,
                name: claim.want.as_ref().map_or_else(|| "".into(), |want| want.kind.name.clone()),
                resources: claim.need.resources.clone(),
                labels: claim.need.labels.clone(),
                strategy: claim.need.strategy,
                wanted: claim.wanted(),
                granted: claim.kept,
                recalled: grants.map(|grant| grant.slots - grant.keep).sum(),
                why: claim.why.clone().filter(|_| claim.unmet() > 0),
            }
        };
        self.grants.claims.range((from, Unbounded)).take(STATUS_PAGE).map(line).collect()
    }

    pub(super) fn waiting_lines(&self, after: Option<ActorId>) -> Vec<WaitingLine> {
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        let named = self.actors.all.range(from).filter(|(_, actor)| matches!(actor.phase, Phase::Unplaced(_)));
        let named = named.map(|(id, actor)| (*id, &actor.spawn.kind.name, &actor.need));
        let others = self.actors.reservations.range(from).filter(|(_, reservation)| reservation.place.is_err());
        let others = others.map(|(id, reservation)| (*id, &reservation.name, &reservation.need));
        let mut waiting: Vec<_> = named.take(STATUS_PAGE).chain(others.take(STATUS_PAGE)).collect();
        waiting.sort_unstable_by_key(|(id, ..)| *id);
        waiting.truncate(STATUS_PAGE);
        // Many wait for the same.
        let mut reasons: BTreeMap<&Requirement, Option<Why>> = BTreeMap::new();
        let mut lines = Vec::with_capacity(waiting.len());
        for (actor, name, need) in waiting {
            let why = reasons.entry(need).or_insert_with(|| need.best(self.lives.offers(need)).err());
            let (name, why, strategy) = (name.clone(), why.clone(), need.strategy);
            let (resources, labels) = (need.resources.clone(), need.labels.clone());
            lines.push(WaitingLine { actor, name, resources, labels, strategy, why });
        }
        lines
    }

    pub(super) fn group_lines(&self, after: Option<GroupId>) -> Vec<GroupLine> {
        let from = after.map_or(Unbounded, Excluded);
        let line = |(id, group): (&GroupId, &crate::directory::groups::Group)| GroupLine {
            group: *id,
            name: group.create.name.clone(),
            bundles: group.create.bundles.clone(),
            packing: group.create.packing,
            state: match group.whole() {
                Some(hosts) => GroupState::Placed(hosts),
                None if group.hosts().iter().all(Option::is_none) => GroupState::Waiting,
                None => GroupState::Partly(group.hosts().to_vec()),
            },
            why: group.why.clone(),
            detached: group.create.detached,
        };
        self.groups.all.range((from, Unbounded)).take(STATUS_PAGE).map(line).collect()
    }
}
