//! How a cluster is started or joined.

use std::future::IntoFuture;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use super::client::Cluster;
use super::start::{self, StartError};
use crate::actor::dispatch::Methods;
use crate::actor::registry::Registration;
use crate::limits;
use crate::net::{ClusterKey, Identity};
use crate::node::isolated::Isolated;
use crate::node::machine;
use crate::node::store::{Sharing, Spilling, StoreSettings};
use crate::node::worker::Allowance;
use crate::schedule::{Amount, Labels, Resources};

/// Options of a cluster, or of a node that joins one. Await it.
///
/// ```
/// # use mobula::prelude::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder().cpus(2.0).namespace("shop").await?;
/// # cluster.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing starts until this is awaited"]
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    pub(super) kind: Kind,
    pub(super) workers: usize,
    /// How many there may be; none are added beyond `workers` if this is less.
    pub(super) scale_up_to: usize,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) listen: Vec<String>,
    pub(super) advertise: Vec<String>,
    pub(super) key: Option<Key>,
    pub(super) identity: Option<Identity>,
    pub(super) cpus: Option<f64>,
    pub(super) resources: Vec<(String, f64)>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) namespace: String,
    pub(super) lease: Duration,
    pub(super) suspect_after: Duration,
    pub(super) head_wait: Duration,
    pub(super) journal: Option<PathBuf>,
    store_memory: Option<usize>,
    spilling: Spilling,
    store_wait: Duration,
    sharing: Sharing,
    pub(super) allowance: Allowance,
    pub(super) registrations: Vec<Registration>,
    /// The actor whose own process it is, if it is one's.
    pub(super) isolated: Option<Isolated>,
}

/// What is started.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A head and a node in this process.
    Local,
    /// A head alone.
    Head,
    /// A driver of a running cluster.
    Driver(String),
    /// A worker of a running cluster.
    Worker(String),
}

/// Where the cluster key comes from.
#[derive(Debug, Clone)]
pub(super) enum Key {
    File(PathBuf),
    Given(ClusterKey),
}

impl ClusterBuilder {
    pub(super) fn new(kind: Kind) -> Self {
        ClusterBuilder {
            kind,
            workers: 0,
            scale_up_to: 0,
            idle_timeout: None,
            listen: Vec::new(),
            advertise: Vec::new(),
            key: None,
            identity: None,
            cpus: None,
            resources: Vec::new(),
            labels: Vec::new(),
            namespace: "default".into(),
            lease: limits::LEASE,
            suspect_after: limits::SUSPECT_AFTER,
            head_wait: limits::HEAD_WAIT,
            journal: None,
            store_memory: None,
            spilling: Spilling::Anywhere,
            store_wait: limits::STORE_WAIT,
            sharing: Sharing::InPlace,
            allowance: Allowance::default(),
            registrations: Vec::new(),
            isolated: None,
        }
    }

    /// Starts this many worker processes, by running this executable again. Actors then go to them.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Starts more worker processes while something waits for room that they would have, up to this many in all. They end again
    /// once they have been idle for the [`idle_timeout`](Self::idle_timeout); as many as [`workers`](Self::workers) says stay, one at
    /// least, and are replaced when they die. What waits is what [`demand`](Cluster::demand) gives; for what asks for a node, a bundle,
    /// or labels that they have not, none are started. Each has its share of the machine as if all were there. Of a local cluster.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # async fn start() -> Result<Cluster, mobula::StartError> {
    /// Cluster::local().workers(1).scale_up_to(4).await
    /// # }
    /// ```
    pub fn scale_up_to(mut self, workers: usize) -> Self {
        self.scale_up_to = workers;
        self
    }

    /// How long a worker has nothing to do, and keeps nothing that others refer to, until it leaves the cluster and ends. Of a worker
    /// that is started by hand: without this, it stays. Of a cluster that [scales](Self::scale_up_to): of the workers that it added, 60 s
    /// if nothing is said.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle_timeout = Some(idle);
        self
    }

    /// Joins the cluster whose head is at `address` as a driver: a node that hosts nothing.
    pub fn connect(mut self, address: impl Into<String>) -> Self {
        self.kind = Kind::Driver(address.into());
        self
    }

    /// Joins the cluster whose head is at `address` as a worker.
    pub fn worker_of(mut self, address: impl Into<String>) -> Self {
        self.kind = Kind::Worker(address.into());
        self
    }

    /// Starts a head, and hosts nothing.
    pub fn head(mut self) -> Self {
        self.kind = Kind::Head;
        self
    }

    /// Listens at `address`: `tcp://host:port` (port 0: any), or `ipc:///folder`.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Tells peers to dial this address, where it differs from the one listened on.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise.push(address.into());
        self
    }

    /// The cluster key's file, as `mobula key new` wrote it.
    pub fn key(mut self, file: impl Into<PathBuf>) -> Self {
        self.key = Some(Key::File(file.into()));
        self
    }

    /// The cluster key itself.
    pub fn cluster_key(mut self, key: ClusterKey) -> Self {
        self.key = Some(Key::Given(key));
        self
    }

    /// The node's key pair; without, it makes one. A head needs the one that the cluster key pins.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// How many CPUs this node offers to actors and tasks (each worker, where there are any). By default those of the machine,
    /// divided among the workers, but one at least.
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// How much of a resource this node offers (each worker, where there are any). Of `memory`, in bytes, a node offers 70% of
    /// what the machine has, divided among the workers, if nothing is said.
    pub fn resource(mut self, name: impl Into<String>, amount: f64) -> Self {
        self.resources.push((name.into(), amount));
        self
    }

    /// What this node says about itself (each worker, where there are any).
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// Where the names of actors belong that are spawned through this cluster. `default` if nothing is said.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a node lives on without being heard (30 s). Of a head.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Silence after which nothing new is placed on a node (5 s). Of a head.
    pub fn suspect_after(mut self, silence: Duration) -> Self {
        self.suspect_after = silence;
        self
    }

    /// How long what needs the head waits for it (10 s).
    pub fn head_wait(mut self, wait: Duration) -> Self {
        self.head_wait = wait;
        self
    }

    /// Keeps what the head decides in this folder, which is made if need be: it acknowledges nothing that is not on disk there,
    /// and when it starts anew it goes on from there, with nodes, named and detached actors and placement groups. Without one,
    /// they end with the head. Of a head with an [`identity`](Self::identity) of its own, for this alone brings nodes back.
    ///
    /// A folder is one cluster's, and one head's at a time. What constructors of named and detached actors are called with is
    /// written there too.
    pub fn journal(mut self, folder: impl Into<PathBuf>) -> Self {
        self.journal = Some(folder.into());
        self
    }

    /// How many bytes of shared memory this node's objects may take (each worker's, where there are any). By default all the
    /// nodes that this starts share 30% of the machine's memory, or of what the control group may use if that is less. Nothing
    /// is taken before there are objects.
    pub fn store_memory(mut self, bytes: usize) -> Self {
        self.store_memory = Some(bytes);
        self
    }

    /// Moves objects that memory is too short for into this folder, which is made if need be; one that is there must be this
    /// user's alone. By default it is one in the system's folder for temporary files. The arguments of queued tasks go there,
    /// too, beyond [`QUEUE_MEMORY`](crate::limits::QUEUE_MEMORY).
    pub fn spill_to(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spilling = Spilling::To(folder.into());
        self
    }

    /// Moves nothing to disk: objects that memory is too short for wait, then fail, and the arguments of queued tasks take as
    /// much memory as they take.
    pub fn never_spill(mut self) -> Self {
        self.spilling = Spilling::Never;
        self
    }

    /// How long an object that is put or created waits for room in memory (30 s).
    pub fn store_wait(mut self, wait: Duration) -> Self {
        self.store_wait = wait;
        self
    }

    /// Sends objects to other processes of this host as to other hosts, instead of having them read in place.
    pub fn never_share_memory(mut self) -> Self {
        self.sharing = Sharing::Never;
        self
    }

    /// What another node was told.
    pub(super) fn store(mut self, settings: StoreSettings) -> Self {
        let StoreSettings { capacity, spilling, wait, sharing } = settings;
        (self.store_memory, self.spilling, self.store_wait, self.sharing) = (Some(capacity), spilling, wait, sharing);
        self
    }

    /// How many workers there may be at a time.
    pub(super) fn most_workers(&self) -> usize {
        self.workers.max(self.scale_up_to)
    }

    /// The CPUs that a node offers, as one of so many of this machine.
    pub(super) fn cpus_of(&self, nodes: usize) -> f64 {
        self.cpus.unwrap_or_else(|| (machine::processors() as f64 / nodes as f64).max(1.0))
    }

    /// What else it offers; the later of one name goes before the former. Of the memory, what objects do not take.
    pub(super) fn others_of(&self, nodes: usize) -> impl Iterator<Item = (String, f64)> {
        let share = move |memory: usize| ("memory".to_owned(), (memory / 10 * 7 / nodes.max(1)) as f64);
        machine::memory().map(share).into_iter().chain(self.resources.iter().cloned())
    }

    /// All that it offers, and what it says about itself.
    ///
    /// # Errors
    /// It is not allowed.
    pub(super) fn offers_of(&self, nodes: usize) -> Result<(Resources, Labels), StartError> {
        let mut resources = Resources::none().with("cpu", Amount::new(self.cpus_of(nodes))?)?;
        for (name, amount) in self.others_of(nodes) {
            resources = resources.with(&name, Amount::new(amount)?)?;
        }
        let mut labels = Labels::default();
        for (key, value) in &self.labels {
            labels = labels.with(key, value)?;
        }
        Ok((resources, labels))
    }

    /// Of each node that is started: this one, and its workers.
    pub(super) fn store_settings(&self) -> StoreSettings {
        let share =
            || machine::memory().map_or(limits::STORE_UNKNOWN, |bytes| bytes / 10 * 3) / (self.most_workers() + 1);
        let (spilling, wait, sharing) = (self.spilling.clone(), self.store_wait, self.sharing);
        StoreSettings { capacity: self.store_memory.unwrap_or_else(share), spilling, wait, sharing }
    }

    /// How many tasks this node may have queued (each worker, where there are any), waiting for arguments or for their turn
    /// (4 million): beyond it a task fails with [`GetError::QueueFull`](crate::GetError::QueueFull). Tasks that were sent to a
    /// node's CPUs are not counted.
    pub fn max_queued(mut self, tasks: usize) -> Self {
        self.allowance.max_queued = tasks;
        self
    }

    /// For so long after each message that this node has sent or received (each worker, where there are any), it looks for the next
    /// one all the time, instead of sleeping until one comes: to be woken takes longer than all else that a call between processes
    /// needs. Never, if nothing is said. 50 µs or so are enough for calls that follow each other.
    ///
    /// It takes a whole processor meanwhile: it is for processes that have one to themselves. In a runtime of several threads it may
    /// be another of them that waits for messages, and sleeps: one of a single thread always gains.
    pub fn busy_poll(mut self, spin: Duration) -> Self {
        self.allowance.busy_poll = spin;
        self
    }

    /// What another node was told.
    pub(super) fn allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = allowance;
        self
    }

    /// The process of one actor, which nothing else is placed on.
    pub(super) fn isolated(mut self, isolated: Option<Isolated>) -> Self {
        self.isolated = isolated;
        self
    }

    /// Bytes that this node keeps (each worker, where there are any) for making results of its tasks and calls again that are
    /// lost with the nodes where they lie (128 MiB): what they were called with, and values of arguments that are kept for that alone. Only of those that may run
    /// once more ([`retries`](crate::TaskCall::retries)), and while their results are referred to. Beyond it the oldest are dropped, and
    /// results of those are lost with their nodes; with 0, all.
    pub fn lineage_memory(mut self, bytes: u64) -> Self {
        self.allowance.lineage_memory = bytes;
        self
    }

    /// Registers an actor type that its macro did not, on this node: one whose crate the linker might drop, or an instance of a generic
    /// one ([`register!`](crate::register!) gives such a name, and registers it in every process of the program). Worker processes that
    /// this node starts know what their executable registers by itself.
    pub fn register<A: Methods>(mut self) -> Self {
        self.registrations.push(Registration::of::<A>());
        self
    }
}

impl IntoFuture for ClusterBuilder {
    type Output = Result<Cluster, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(start::start(self))
    }
}
