//! What is wanted of the cluster and not there: for people, and for who adds nodes.

use super::client::Cluster;
use super::status::ResourceAmount;
use crate::directory::AskError;
use crate::directory::request::{DemandLine, GroupLine, GroupState, Page, Query, WaitingLine, WantError};
use crate::id::{ActorId, GroupId, Life};
use crate::node::runtime::Node;
use crate::schedule::{Packing, Resources, Selectors, Strategy};

/// What is wanted of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DemandKind {
    /// Slots for tasks of one function and needs, of one node.
    Tasks,
    /// A node for this actor, which waits for it.
    Actor(ActorId),
    /// Nodes for the bundles of this placement group, which waits for them.
    Group(GroupId),
}

/// One class of one node's tasks, an actor that waits, or a placement group that does, as the head knows it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Demand {
    /// What it is.
    pub kind: DemandKind,
    /// The life of the node that submitted them, or spawned or made it.
    pub owner: Life,
    /// The function; the actor's type, or the group's name.
    pub task: String,
    /// What each takes of its node; of a group, what those of its bundles hold together that are on no node.
    pub resources: Vec<ResourceAmount>,
    /// How many could run at once, of those that are queued and that run.
    pub wanted: u32,
    /// For how many of these there is room.
    pub granted: u32,
    /// Why there is no room for the others; none if there is, or will be in a moment.
    pub why: Option<String>,
}

/// One placement group.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PlacementGroupStatus {
    /// Its identity.
    pub id: GroupId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What each bundle holds.
    pub bundles: Vec<Vec<ResourceAmount>>,
    /// How they are placed.
    pub strategy: Packing,
    /// How it stands.
    pub state: GroupState,
}

impl Cluster {
    /// What owners of tasks want of the cluster, those that have it included, and which actors and placement groups wait: for
    /// whoever adds nodes, and to see why something waits.
    ///
    /// # Errors
    /// The head could not be asked, as for [`status`](Cluster::status).
    pub async fn demand(&self) -> Result<Vec<Demand>, AskError> {
        Ok(self.node().wanted().await?.into_demand())
    }

    /// The cluster's placement groups.
    ///
    /// # Errors
    /// The head could not be asked, as for [`status`](Cluster::status).
    pub async fn placement_groups(&self) -> Result<Vec<PlacementGroupStatus>, AskError> {
        let status = |line: GroupLine| PlacementGroupStatus {
            id: line.group,
            name: line.name.map(|full| full.name.to_string()),
            bundles: line.bundles.iter().map(amounts).collect(),
            strategy: line.packing,
            state: line.state,
        };
        Ok(self.node().all_groups().await?.into_iter().map(status).collect())
    }
}

/// What the head knows to be wanted.
pub(crate) struct Wanted {
    /// Classes of tasks, those included that have all that they want.
    pub(super) tasks: Vec<DemandLine>,
    /// Actors that wait.
    pub(super) actors: Vec<WaitingLine>,
    /// Placement groups that wait, or wait again for some of their bundles.
    pub(super) groups: Vec<GroupLine>,
}

impl Wanted {
    /// What waits for a node, whichever: what one slot, actor or bundle takes, and of how many. Of what is granted in a moment, nothing.
    #[cfg(feature = "ops")]
    pub(crate) fn missing(&self) -> impl Iterator<Item = (&Resources, u32)> {
        self.singly(|_| true).chain(self.together().flat_map(|line| line.missing().map(|bundle| (bundle, 1))))
    }

    /// The groups that wait for room.
    pub(super) fn together(&self) -> impl Iterator<Item = &GroupLine> {
        self.groups.iter().filter(|line| line.why.is_some())
    }

    /// The same of slots and actors, where their labels will do.
    pub(super) fn singly<'a>(
        &'a self,
        will_do: impl Fn(&Selectors) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = (&'a Resources, u32)> {
        let might = move |strategy: Strategy, asks: &Selectors| {
            !matches!(strategy, Strategy::Node(_) | Strategy::Bundle { .. }) && will_do(asks)
        };
        let tasks = self.tasks.iter().filter(move |line| might(line.strategy, &line.labels)).map(|line| {
            let waits = matches!(&line.why, Some(WantError::Unplaced(_)));
            (&line.resources, if waits { line.wanted.saturating_sub(line.granted) } else { 0 })
        });
        let actors = self.actors.iter().filter(move |line| might(line.strategy, &line.labels));
        let actors = actors.map(|line| (&line.resources, u32::from(line.why.is_some())));
        tasks.chain(actors).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn into_demand(self) -> Vec<Demand> {
        let Wanted { tasks, actors, groups } = self;
        let others = actors.into_iter().map(waiting_actor).chain(groups.into_iter().map(waiting_group));
        tasks.into_iter().map(demand).chain(others).collect()
    }
}

fn waiting_actor(line: WaitingLine) -> Demand {
    Demand {
        kind: DemandKind::Actor(line.actor),
        owner: line.actor.life,
        task: line.name.to_string(),
        resources: amounts(&line.resources),
        wanted: 1,
        granted: 0,
        why: line.why.map(|why| why.to_string()),
    }
}

fn waiting_group(line: GroupLine) -> Demand {
    let all = line.missing().fold(Resources::none(), |all, bundle| all.and(bundle));
    Demand {
        kind: DemandKind::Group(line.group),
        owner: line.group.life,
        task: line.name.map(|full| full.name.to_string()).unwrap_or_default(),
        resources: amounts(&all),
        wanted: 1,
        granted: 0,
        why: line.why.map(|why| why.to_string()),
    }
}

impl Node {
    pub(crate) async fn wanted(&self) -> Result<Wanted, AskError> {
        let tasks = self.pages(
            |last: Option<&DemandLine>| Query::Demand { after: last.map(|line| (line.owner, line.class)) },
            |page| if let Page::Demand(lines) = page { Some(lines) } else { None },
        );
        let tasks = tasks.await?;
        let actors = self.pages(
            |last: Option<&WaitingLine>| Query::Waiting { after: last.map(|line| line.actor) },
            |page| if let Page::Waiting(lines) = page { Some(lines) } else { None },
        );
        let actors = actors.await?;
        let mut groups = self.all_groups().await?;
        groups.retain(|line| !matches!(line.state, GroupState::Placed(_)));
        Ok(Wanted { tasks, actors, groups })
    }

    async fn all_groups(&self) -> Result<Vec<GroupLine>, AskError> {
        let after = |last: Option<&GroupLine>| Query::Groups { after: last.map(|line| line.group) };
        self.pages(after, |page| if let Page::Groups(lines) = page { Some(lines) } else { None }).await
    }

    /// A page of the placement groups, by their identities.
    pub(super) async fn groups_after(&self, after: Option<GroupId>) -> Result<Vec<GroupLine>, AskError> {
        match self.look(Query::Groups { after }).await? {
            Page::Groups(page) => Ok(page),
            _ => Err(AskError::Nonsense),
        }
    }
}

fn demand(line: DemandLine) -> Demand {
    Demand {
        kind: DemandKind::Tasks,
        owner: line.owner,
        task: line.name.to_string(),
        resources: amounts(&line.resources),
        wanted: line.wanted,
        granted: line.granted,
        why: line.why.map(|why| why.to_string()),
    }
}

fn amounts(resources: &Resources) -> Vec<ResourceAmount> {
    resources
        .iter()
        .map(|(name, amount)| ResourceAmount { name: name.to_string(), amount: amount.quantity() })
        .collect()
}
