//! The cluster as its users hold it.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

use super::config::{ClusterBuilder, Kind};
use super::lookup::Lookup;
use super::workers::Workers;
use crate::actor::dispatch::Actor;
use crate::directory::serve::Head;
use crate::id::{Life, NodeId};
use crate::limits::{DRAIN, FAREWELL};
use crate::net::Net;
use crate::node::control::Tasks;
use crate::node::runtime::Node;
use crate::task::standing::Standing;

/// A cluster, seen from one of its nodes. Clones are the same node; when the last is dropped, the node leaves, its
/// actors end, and worker processes that it started are killed.
///
/// ```standalone_crate
/// use mobula::prelude::*;
///
/// #[actor]
/// struct Counter { total: u64 }
///
/// #[methods]
/// impl Counter {
///     #[constructor]
///     pub fn starting_at(total: u64) -> Self { Self { total } }
///     pub fn add(&mut self, by: u64) -> u64 { self.total += by; self.total }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::local().await?;
/// let counter = Counter::spawn(&cluster, 10).await?;
/// assert_eq!(counter.add(5).await?, 15);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    node: Arc<Node>,
    /// Whether the node ends with this.
    owns: Owns,
    head: Option<Arc<Head>>,
    net: Option<Arc<Net>>,
    tasks: Tasks,
    workers: Mutex<Workers>,
    /// The task whose context gave it.
    of: Option<Arc<Standing>>,
}

/// Whose handle of a node it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owns {
    /// Of who started the node.
    Node,
    /// Of an actor on it.
    Nothing,
}

/// A node of the cluster, as its members know it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
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
    /// Where it may be dialled.
    pub addresses: Vec<String>,
    /// Whether it has been silent for a while.
    pub suspect: bool,
}

impl Cluster {
    /// A cluster inside this process: no sockets, no keys, ready within a millisecond. With
    /// [`workers`](ClusterBuilder::workers), its actors live in worker processes.
    pub fn local() -> ClusterBuilder {
        ClusterBuilder::new(Kind::Local)
    }

    /// Joins the cluster whose head is at `address`, such as `tcp://head:7400`, as a driver. The cluster key's file is
    /// named by [`key`](ClusterBuilder::key) or the environment's `MOBULA_KEY`.
    pub fn connect(address: impl Into<String>) -> ClusterBuilder {
        ClusterBuilder::new(Kind::Driver(address.into()))
    }

    /// Every option there is; a local cluster unless they say otherwise.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::new(Kind::Local)
    }

    pub(super) fn new(inner: Inner) -> Self {
        Cluster { inner: Arc::new(inner) }
    }

    /// A node's cluster as its own actors see it: dropping it ends nothing.
    pub(super) fn of_node(node: Arc<Node>) -> Self {
        let net = node.net();
        let mut inner = Inner::new(node, None, net, Tasks::default());
        inner.owns = Owns::Nothing;
        Cluster::new(inner)
    }

    /// The same, as a task sees it that runs there.
    pub(super) fn of_task(node: Arc<Node>, task: Arc<Standing>) -> Self {
        let net = node.net();
        let mut inner = Inner::new(node, None, net, Tasks::default());
        (inner.owns, inner.of) = (Owns::Nothing, Some(task));
        Cluster::new(inner)
    }

    /// The task whose context gave it.
    pub(super) fn submitter(&self) -> Option<&Standing> {
        self.inner.of.as_deref()
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.inner.node
    }

    pub(crate) fn namespace(&self) -> &Arc<str> {
        self.inner.node.namespace()
    }

    /// This node's identity.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.node.id()
    }

    /// The head's identity: the one that the cluster key pins.
    #[must_use]
    pub fn head_id(&self) -> NodeId {
        self.inner.node.head()
    }

    /// The cluster's nodes, this one included, as far as this one knows.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let info = |member: &Arc<crate::directory::request::Member>| NodeInfo {
            id: member.node,
            life: member.life,
            host_name: member.host_name.to_string(),
            process: member.process,
            hosts_actors: member.hosts,
            addresses: member.addresses.iter().map(ToString::to_string).collect(),
            suspect: member.suspect,
        };
        self.inner.node.known(|known| known.iter().map(info).collect())
    }

    /// Where this node listens, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.inner.net.iter().flat_map(|net| net.addresses()).map(ToString::to_string).collect()
    }

    /// Where the other nodes find this one: what it advertises, or else where it listens.
    #[must_use]
    pub fn advertised(&self) -> Vec<String> {
        let own = |known: &crate::directory::KnownLives| {
            let member = known.of_node(self.node_id()).and_then(|life| known.get(life).cloned());
            member.map_or_else(Vec::new, |member| member.addresses.iter().map(ToString::to_string).collect())
        };
        self.inner.node.known(own)
    }

    /// The process ids of the workers that this cluster started.
    #[must_use]
    pub fn worker_processes(&self) -> Vec<u32> {
        self.inner.workers.lock().processes()
    }

    /// What has happened on this node, counted by name: on its sockets, if it has any, with refused strangers by reason; and
    /// dead letters by reason, `dead_letter_killed` and the like. Those are tells that were accepted, and never began since
    /// their actor on this node had ended.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let sockets = self.inner.net.iter().flat_map(|net| net.counters().snapshot());
        sockets.chain(self.inner.node.dead_letters().snapshot()).collect()
    }

    /// The handle of the actor that has this name, in this cluster's namespace.
    pub fn lookup<A: Actor>(&self, name: impl Into<String>) -> Lookup<A::Handle> {
        Lookup::new(self.clone(), name.into())
    }

    /// Leaves the cluster, and waits until everything that it started is gone: actors, tasks, worker processes,
    /// sockets. A head that runs in this process stops.
    ///
    /// Called by an actor, on the cluster of its context, it ends that actor's node and does not wait.
    pub async fn shutdown(&self) {
        if self.inner.owns == Owns::Nothing {
            self.inner.node.leave();
            return;
        }
        let workers = std::mem::take(&mut *self.inner.workers.lock());
        workers.end().await;
        // A head that was not reached counts the node's lease down: then its names and resources are held that long.
        if self.inner.node.leave() {
            let _ = tokio::time::timeout(FAREWELL, self.inner.node.farewell()).await;
        }
        // After that: what it has placed here is placed elsewhere, and not here again.
        self.inner.node.end_isolated().await;
        if let Some(head) = &self.inner.head {
            head.stop();
        }
        if let Some(net) = &self.inner.net {
            net.close().await;
        }
        if let Some(head) = &self.inner.head {
            // A disk that hangs keeps the journal, and nobody waits for it any longer.
            let _ = tokio::time::timeout(DRAIN, head.closed()).await;
        }
    }
}

impl Inner {
    pub(super) fn new(node: Arc<Node>, head: Option<Arc<Head>>, net: Option<Arc<Net>>, tasks: Tasks) -> Self {
        let workers = Mutex::default();
        Inner { node, owns: Owns::Node, head, net, tasks, workers, of: None }
    }

    pub(super) fn set_workers(&self, workers: Workers) {
        *self.workers.lock() = workers;
    }

    pub(super) fn keep(&self, task: tokio::task::JoinHandle<()>) {
        self.tasks.keep(task);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.owns == Owns::Nothing {
            return;
        }
        self.node.leave();
        if let Some(head) = &self.head {
            head.stop();
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.inner.node.id()).finish_non_exhaustive()
    }
}
