//! What is wanted of the cluster and not there: for people, and for who adds nodes.

use super::client::Cluster;
use super::status::ResourceAmount;
use crate::directory::AskError;
use crate::directory::request::{DemandLine, GroupLine, GroupState, Page, Query, WaitingLine};
use crate::id::{ActorId, GroupId, Life};
use crate::node::runtime::Node;
use crate::schedule::{Packing, Resources};

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
    /// What each takes of its node; of a group, what its bundles hold together.
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
        let Wanted { tasks, actors, groups } = self.node().wanted().await?;
        let others = actors.into_iter().map(waiting_actor).chain(groups.into_iter().map(waiting_group));
        Ok(tasks.into_iter().map(demand).chain(others).collect())
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
pub(super) struct Wanted {
    /// Classes of tasks, those included that have all that they want.
    pub(super) tasks: Vec<DemandLine>,
    /// Actors that wait.
    pub(super) actors: Vec<WaitingLine>,
    /// Placement groups that wait, or wait again for some of their bundles.
    pub(super) groups: Vec<GroupLine>,
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
    let all = line.bundles.iter().fold(Resources::none(), |all, bundle| all.and(bundle));
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
    pub(super) async fn wanted(&self) -> Result<Wanted, AskError> {
        let mut tasks: Vec<DemandLine> = Vec::new();
        loop {
            let after = tasks.last().map(|line| (line.owner, line.class));
            match self.look(Query::Demand { after }).await? {
                Page::Demand(page) if page.is_empty() => break,
                Page::Demand(page) => tasks.extend(page),
                _ => return Err(AskError::Nonsense),
            }
        }
        let mut actors: Vec<WaitingLine> = Vec::new();
        loop {
            let after = actors.last().map(|line| line.actor);
            match self.look(Query::Waiting { after }).await? {
                Page::Waiting(page) if page.is_empty() => break,
                Page::Waiting(page) => actors.extend(page),
                _ => return Err(AskError::Nonsense),
            }
        }
        let mut groups = self.all_groups().await?;
        groups.retain(|line| !matches!(line.state, GroupState::Placed(_)));
        Ok(Wanted { tasks, actors, groups })
    }

    async fn all_groups(&self) -> Result<Vec<GroupLine>, AskError> {
        let mut lines: Vec<GroupLine> = Vec::new();
        loop {
            let page = self.groups_after(lines.last().map(|line| line.group)).await?;
            if page.is_empty() {
                return Ok(lines);
            }
            lines.extend(page);
        }
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
