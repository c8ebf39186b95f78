//! A look at the whole cluster, as its head knows it.

use std::collections::BTreeMap;

use super::client::Cluster;
use crate::directory::AskError;
use crate::directory::request::{ActorLine, ActorState, JournalStatus, NodeLine, Page, Query};
use crate::id::{ActorId, Epoch, Life, NodeId};
use crate::node::runtime::Node;

/// What [`Cluster::status`] gives: the cluster as its head sees it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The head's identity.
    pub head: NodeId,
    /// The head's epoch: it rises whenever the head starts anew.
    pub epoch: Epoch,
    /// The living nodes, in the order in which they joined.
    pub nodes: Vec<NodeStatus>,
    /// The named and detached actors. Others are known to their spawners alone; [`NodeStatus::actors`] counts them.
    pub actors: Vec<ActorStatus>,
    /// How many actors wait until a node has room for them.
    pub waiting: usize,
    /// The head's journal; none if it keeps its state in memory.
    pub journal: Option<JournalStatus>,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its identity.
    pub id: NodeId,
    /// Its life.
    pub life: Life,
    /// Its machine's name.
    pub host_name: String,
    /// Its process id there.
    pub process: u32,
    /// Whether actors may be placed on it.
    pub hosts_actors: bool,
    /// Whether it has been silent for a while.
    pub suspect: bool,
    /// Where it may be dialled.
    pub addresses: Vec<String>,
    /// How many actors run there, by its last word.
    pub actors: u64,
    /// What it offers, in the order of the names.
    pub resources: Vec<ResourceStatus>,
}

/// How much of a resource a node has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ResourceStatus {
    /// `cpu`, `gpu`, `memory`, or another name.
    pub name: String,
    /// All of it.
    pub total: f64,
    /// What no actor, task or placement group has taken.
    pub free: f64,
}

/// So much of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceAmount {
    /// `cpu`, `gpu`, `memory`, or another name.
    pub name: String,
    /// How much.
    pub amount: f64,
}

/// One actor that the head knows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ActorStatus {
    /// Its identity.
    pub id: ActorId,
    /// Its type, as `crate_name::Type`.
    pub type_name: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The namespace of its name.
    pub namespace: Option<String>,
    /// How it stands.
    pub state: ActorState,
    /// The node that it runs on, once it is placed.
    pub node: Option<NodeId>,
    /// Whether it outlives its spawner.
    pub detached: bool,
}

impl Cluster {
    /// Looks at the cluster through its head: nodes, what they have, and the actors that the head knows.
    ///
    /// Large clusters are shown in pages, one after another, so what joins or ends meanwhile may be missing.
    ///
    /// # Errors
    /// The head could not be asked within [`head_wait`](super::config::ClusterBuilder::head_wait), or this node has left.
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::local().cpus(2.0).await?;
    /// let status = cluster.status().await?;
    /// assert_eq!(status.nodes[0].id, cluster.node_id());
    /// assert_eq!(status.nodes[0].resources[0].total, 2.0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn status(&self) -> Result<ClusterStatus, AskError> {
        let Page::Summary(summary) = self.node().look(Query::Summary).await? else { return Err(AskError::Nonsense) };
        let nodes = self.node().all_nodes().await?;
        let after = |last: Option<&ActorLine>| Query::Actors { after: last.map(|line| line.actor) };
        let actors = self.node().pages(after, |page| if let Page::Actors(lines) = page { Some(lines) } else { None });
        let actors = actors.await?;
        let node_of: BTreeMap<Life, NodeId> = nodes.iter().map(|line| (line.life, line.node)).collect();
        Ok(ClusterStatus {
            head: self.head_id(),
            epoch: summary.reign.epoch,
            nodes: nodes.into_iter().map(node_status).collect(),
            actors: actors.into_iter().map(|line| actor_status(line, &node_of)).collect(),
            waiting: summary.waiting,
            journal: summary.journal,
        })
    }
}

impl Node {
    /// The living nodes, in the order in which they joined.
    pub(super) async fn all_nodes(&self) -> Result<Vec<NodeLine>, AskError> {
        let after = |last: Option<&NodeLine>| Query::Nodes { after: last.map_or(Life::default(), |line| line.life) };
        self.pages(after, |page| if let Page::Nodes(lines) = page { Some(lines) } else { None }).await
    }

    /// All lines, page by page: the query for those after the last one, and the lines of a page.
    pub(super) async fn pages<L>(
        &self,
        after: impl Fn(Option<&L>) -> Query,
        of: impl Fn(Page) -> Option<Vec<L>>,
    ) -> Result<Vec<L>, AskError> {
        let mut lines = Vec::new();
        loop {
            let page = of(self.look(after(lines.last())).await?).ok_or(AskError::Nonsense)?;
            if page.is_empty() {
                return Ok(lines);
            }
            lines.extend(page);
        }
    }
}

fn node_status(line: NodeLine) -> NodeStatus {
    let resource = |(name, total): (&std::sync::Arc<str>, crate::schedule::Amount)| ResourceStatus {
        name: name.to_string(),
        total: total.quantity(),
        free: line.free.get(name).quantity(),
    };
    NodeStatus {
        id: line.node,
        life: line.life,
        host_name: line.host_name.to_string(),
        process: line.process,
        hosts_actors: line.hosts,
        suspect: line.suspect,
        resources: line.total.iter().map(resource).collect(),
        addresses: line.addresses.iter().map(ToString::to_string).collect(),
        actors: line.actors,
    }
}

fn actor_status(line: ActorLine, node_of: &BTreeMap<Life, NodeId>) -> ActorStatus {
    let (namespace, name) = line.name.map(|full| (full.namespace.to_string(), full.name.to_string())).unzip();
    ActorStatus {
        id: line.actor,
        type_name: line.type_name.to_string(),
        name,
        namespace,
        state: line.state,
        node: line.host.and_then(|host| node_of.get(&host).copied()),
        detached: line.detached,
    }
}
