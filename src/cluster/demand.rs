//! What is wanted of the cluster and not there: for people, and for who adds nodes.

use super::client::Cluster;
use super::status::ResourceAmount;
use crate::directory::AskError;
use crate::directory::request::{DemandLine, GroupLine, GroupState, Page, Query};
use crate::id::{GroupId, Life};
use crate::node::runtime::Node;
use crate::schedule::{Packing, Resources};

/// One class of one node's tasks, as the head knows it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Demand {
    /// The life of the node that submitted them.
    pub owner: Life,
    /// The function.
    pub task: String,
    /// What each takes of its node.
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
    /// What owners of tasks want of the cluster, those that have it included: for whoever adds nodes, and to see why tasks
    /// wait.
    ///
    /// # Errors
    /// The head could not be asked, as for [`status`](Cluster::status).
    pub async fn demand(&self) -> Result<Vec<Demand>, AskError> {
        let mut lines: Vec<DemandLine> = Vec::new();
        loop {
            let after = lines.last().map(|line| (line.owner, line.class));
            match self.node().look(Query::Demand { after }).await? {
                Page::Demand(page) if page.is_empty() => break,
                Page::Demand(page) => lines.extend(page),
                _ => return Err(AskError::Nonsense),
            }
        }
        Ok(lines.into_iter().map(demand).collect())
    }

    /// The cluster's placement groups.
    ///
    /// # Errors
    /// The head could not be asked, as for [`status`](Cluster::status).
    pub async fn placement_groups(&self) -> Result<Vec<PlacementGroupStatus>, AskError> {
        let mut lines: Vec<GroupLine> = Vec::new();
        loop {
            let page = self.node().groups_after(lines.last().map(|line| line.group)).await?;
            if page.is_empty() {
                break;
            }
            lines.extend(page);
        }
        let status = |line: GroupLine| PlacementGroupStatus {
            id: line.group,
            name: line.name.map(|full| full.name.to_string()),
            bundles: line.bundles.iter().map(amounts).collect(),
            strategy: line.packing,
            state: line.state,
        };
        Ok(lines.into_iter().map(status).collect())
    }
}

impl Node {
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
