//! Starting the processes, sockets and tasks of a node, and of the head where it is in this process.

use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Cluster, Inner};
use super::config::{ClusterBuilder, Key, Kind};
use super::scale;
use super::workers::{self, Template};
use crate::actor::registry::{RegisterError, Registry};
use crate::clock;
use crate::directory::journal::{JournalError, Opener, disk};
use crate::directory::request::{Boot, Join, JoinError};
use crate::directory::serve::{Head, Over};
use crate::directory::{Config, Reign};
use crate::id::{Epoch, Life, NodeId};
use crate::limits;
use crate::net::{
    Address, AddressError, ClusterKey, DialError, Identity, KeyError, Limits, Medium, Net, NetConfig, NetError, Role,
};
use crate::node::control::{self, HeadAt, Sessions, Tasks};
use crate::node::core::life::Stuck;
use crate::node::isolated::Nursery;
use crate::node::machine;
use crate::node::runtime::{Node, Settings, StandingNow, random_number};
use crate::node::worker::WorkerError;
use crate::task::registry::Tasks as TaskTable;

/// How long the head may take to let a node join that it has a session with.
const JOIN_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn start(mut builder: ClusterBuilder) -> Result<Cluster, StartError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(StartError::NoRuntime);
    }
    if builder.most_workers() > limits::WORKERS {
        return Err(StartError::TooManyWorkers { asked: builder.most_workers() });
    }
    if matches!(builder.kind, Kind::Local) && builder.scale_up_to > 0 {
        builder.workers = builder.workers.max(1);
    }
    let is_head = match builder.kind {
        Kind::Local => builder.workers > 0 || !builder.listen.is_empty(),
        Kind::Head => true,
        Kind::Driver(_) | Kind::Worker(_) => false,
    };
    match (&builder.journal, &builder.identity) {
        (Some(_), _) if !is_head => return Err(StartError::NoHeadsJournal),
        (Some(_), None) => return Err(StartError::NoIdentity),
        (Some(_), _) if builder.key.is_none() => return Err(StartError::NoKey),
        _ => {}
    }
    machine::raise_descriptors();
    match builder.kind.clone() {
        Kind::Local if builder.workers == 0 && builder.listen.is_empty() => local(&builder),
        Kind::Local | Kind::Head => with_head(builder).await,
        Kind::Driver(address) => member(builder, &address, Stuck::Stay, false).await,
        Kind::Worker(address) => member(builder, &address, Stuck::Exit, true).await,
    }
}

/// Head and node in this process, without sockets or keys.
fn local(builder: &ClusterBuilder) -> Result<Cluster, StartError> {
    let mut id = [0; 32];
    id.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random_number().to_le_bytes()));
    let settings = settings(builder, NodeId(id), NodeId(id), Vec::new(), true, Stuck::Stay)?;
    let node = Node::new(settings);
    let head = start_head(builder, Beginning::First);
    control::open_here(&node, &head);
    let tasks = Tasks::default();
    tasks.keep(tokio::spawn(keep_head(head.clone(), node.clone())));
    Ok(Cluster::new(Inner::new(node, Some(head), None, tasks)))
}

/// Whether a cluster may have had heads before this one.
#[derive(Clone, Copy)]
enum Beginning {
    /// Its keys were made just now, or need not be.
    First,
    /// Its keys were given: nodes of an earlier start may still be there.
    Again,
}

fn start_head(builder: &ClusterBuilder, beginning: Beginning) -> Arc<Head> {
    let above = match beginning {
        Beginning::First => 0,
        Beginning::Again => microseconds(),
    };
    let reign = Reign { epoch: Epoch(above + 1), instance: random_number() };
    Head::start_after(Config { reign, lease: builder.lease, suspect_after: builder.suspect_after }, Life(above))
}

/// Without a journal, microseconds since 1970 are above every epoch and life that an earlier start gave: no head starts twice
/// in one, nor lets a node join in each. With one they still are above those of a head that had none.
fn microseconds() -> u64 {
    u64::try_from(clock::since_1970().as_micros()).unwrap_or(0)
}

/// A head that goes on from its journal. Its epoch is on disk before anybody hears of it.
async fn start_journaled(builder: &ClusterBuilder, cluster: NodeId, folder: PathBuf) -> Result<Arc<Head>, StartError> {
    let opener = Opener { cluster, at_least: Epoch(microseconds()), instance: random_number() };
    let config = Config { reign: Reign::default(), lease: builder.lease, suspect_after: builder.suspect_after };
    let started = tokio::task::spawn_blocking(move || Head::start_with(config, disk::open(&folder, opener)?));
    match started.await {
        Ok(head) => Ok(head?),
        Err(stopped) => Err(JournalError::Thread(stopped.to_string().into()).into()),
    }
}

async fn keep_head(head: Arc<Head>, node: Arc<Node>) {
    match head.keep_time().await {
        Over::Abdicated(epoch) => node.head_replaced(epoch),
        Over::Journal(why) => node.head_failed(why),
        over => tracing::debug!(%over, "the head has stopped"),
    }
}

/// A head that others reach over sockets, and its own node.
async fn with_head(builder: ClusterBuilder) -> Result<Cluster, StartError> {
    let (key, identity, beginning) = match (&builder.key, builder.identity.clone()) {
        (Some(key), Some(identity)) => (load(key)?, identity, Beginning::Again),
        (Some(_), None) => return Err(StartError::NoIdentity),
        // Nobody but its own workers is to find this head: its keys live and end with it.
        (None, _) => {
            let (key, identity) = ClusterKey::generate()?;
            (key, identity, Beginning::First)
        }
    };
    let listen = match builder.listen.is_empty() {
        true => vec![private_address()],
        false => parse(&builder.listen)?,
    };
    let head = match builder.journal.clone() {
        Some(folder) => start_journaled(&builder, identity.node_id(), folder).await?,
        None => start_head(&builder, beginning),
    };
    let sessions = Sessions::new(Some(head.clone()));
    let net = start_net(identity.clone(), &key, Role::Head, listen, sessions.clone()).await?;
    let addresses = advertised(&builder, &net, None).await?;
    let hosts = matches!(builder.kind, Kind::Local) && builder.workers == 0;
    let node = Node::new(settings(&builder, identity.node_id(), key.head(), addresses.clone(), hosts, Stuck::Stay)?);
    node.set_net(net.clone());
    node.set_nursery(nursery(&builder, &key, addresses.first(), &net));
    sessions.set_node(node.clone());
    let tasks = Tasks::default();
    tasks.keep(net.control().spawn(keep_head(head.clone(), node.clone())));
    tasks.keep(net.control().spawn(node.clone().keep_time()));
    tasks.keep(net.control().spawn(node.clone().watch_neighbours()));
    control::open_here(&node, &head);
    let at = addresses.first().cloned().unwrap_or_default();
    let cluster = Cluster::new(Inner::new(node.clone(), Some(head), Some(net.clone()), tasks));
    let template = Template::new(&builder, &key, &at, &node, &net);
    let workers = match joined(&node).await {
        Ok(()) => workers::start(&template).await,
        Err(error) => Err(error),
    };
    match workers {
        Ok(workers) => {
            if builder.scale_up_to > builder.workers {
                cluster.inner().keep(tokio::spawn(scale::keep(template, workers.held())));
            }
            cluster.inner().set_workers(workers);
            Ok(cluster)
        }
        Err(error) => {
            cluster.shutdown().await;
            Err(error)
        }
    }
}

/// A node of a running cluster.
async fn member(builder: ClusterBuilder, head: &str, stuck: Stuck, hosts: bool) -> Result<Cluster, StartError> {
    let address: Address = head.parse()?;
    let key = match &builder.key {
        Some(key) => load(key)?,
        None => match std::env::var_os("MOBULA_KEY") {
            Some(file) => ClusterKey::load(file.as_ref())?,
            None => return Err(StartError::NoKey),
        },
    };
    let identity = match &builder.identity {
        Some(identity) => identity.clone(),
        None => Identity::generate()?,
    };
    let role = if hosts { Role::Worker } else { Role::Driver };
    let listen = match (hosts, builder.listen.is_empty(), &address) {
        (true, true, Address::Ipc { .. }) => vec![private_address()],
        (true, true, Address::Tcp { .. }) => vec![any_port()],
        _ => parse(&builder.listen)?,
    };
    let sessions = Sessions::new(None);
    let net = start_net(identity.clone(), &key, role, listen, sessions.clone()).await?;
    let addresses = advertised(&builder, &net, Some(&address)).await?;
    let node = Node::new(settings(&builder, identity.node_id(), key.head(), addresses, hosts, stuck)?);
    node.set_net(net.clone());
    node.set_nursery(nursery(&builder, &key, Some(&address.to_string()), &net));
    sessions.set_node(node.clone());
    let tasks = Tasks::default();
    tasks.keep(net.control().spawn(node.clone().keep_time()));
    tasks.keep(net.control().spawn(node.clone().watch_neighbours()));
    let at = HeadAt { id: key.head(), address };
    let inner = Inner::new(node.clone(), None, Some(net.clone()), tasks);
    let cluster = Cluster::new(inner);
    let joined = match control::first_dial(&net, &at, builder.head_wait).await {
        Ok(()) => joined(&node).await,
        Err(error) => Err(StartError::Head(error)),
    };
    if let Err(error) = joined {
        cluster.shutdown().await;
        return Err(error);
    }
    if let Some(idle) = builder.idle_timeout.filter(|_| hosts) {
        cluster.inner().keep(net.control().spawn(node.leave_when_idle(idle)));
    }
    let redial = sessions.redial.clone();
    cluster.inner().keep(net.control().spawn(control::keep_dialled(net.clone(), at, redial)));
    Ok(cluster)
}

/// What the processes of actors are started with on this node.
fn nursery(builder: &ClusterBuilder, key: &ClusterKey, head: Option<&String>, net: &Net) -> Nursery {
    let mut store = builder.store_settings();
    store.capacity = store.capacity.min(limits::ISOLATED_STORE);
    Nursery {
        key: key.clone(),
        head: head.cloned().unwrap_or_default(),
        head_wait: builder.head_wait,
        store,
        allowance: builder.allowance,
        control: net.control(),
        children: Mutex::default(),
    }
}

/// Waits until the head has let the node join.
async fn joined(node: &Arc<Node>) -> Result<(), StartError> {
    let mut standing = node.standing();
    let decided = standing.wait_for(|now| *now != StandingNow::Joining);
    match tokio::time::timeout(JOIN_WAIT, decided).await {
        Ok(Ok(now)) => match &*now {
            StandingNow::Refused(why) => Err(StartError::Refused(why.clone())),
            _ => Ok(()),
        },
        _ => Err(StartError::NoAnswer(JOIN_WAIT)),
    }
}

async fn start_net(
    identity: Identity,
    key: &ClusterKey,
    role: Role,
    listen: Vec<Address>,
    sessions: Arc<Sessions>,
) -> Result<Arc<Net>, StartError> {
    let (cluster, medium, limits) = (key.clone(), Medium::Sockets, Limits::default());
    let config = NetConfig { identity, cluster, role, listen, limits, medium };
    Ok(Arc::new(Net::start(config, sessions).await?))
}

fn load(key: &Key) -> Result<ClusterKey, StartError> {
    Ok(match key {
        Key::File(path) => ClusterKey::load(path)?,
        Key::Given(key) => key.clone(),
    })
}

fn parse(addresses: &[String]) -> Result<Vec<Address>, StartError> {
    addresses.iter().map(|address| Ok(address.parse()?)).collect()
}

fn private_address() -> Address {
    Address::private()
}

fn any_port() -> Address {
    Address::Tcp { host: "0.0.0.0".into(), port: 0 }
}

/// Where peers find this node. Who listens on every interface is found at the one that leads to the head.
async fn advertised(builder: &ClusterBuilder, net: &Net, head: Option<&Address>) -> Result<Vec<String>, StartError> {
    if !builder.advertise.is_empty() {
        return Ok(parse(&builder.advertise)?.iter().map(Address::to_string).collect());
    }
    let every = |bound: &Address| match bound {
        Address::Tcp { host, port } => Some((host.parse().ok().filter(IpAddr::is_unspecified)?, *port)),
        Address::Ipc { .. } | Address::Memory { .. } => None,
    };
    let heads: Vec<SocketAddr> = match head.and_then(Address::host_port) {
        // A name that is not found is told of when it is dialled.
        Some(head) if net.addresses().iter().any(|bound| every(bound).is_some()) => {
            tokio::net::lookup_host(head).await.map(Iterator::collect).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let dialable = |bound: &Address| match every(bound) {
        Some((any, port)) => Address::Tcp { host: machine::address_towards(any, &heads).to_string(), port },
        None => bound.clone(),
    };
    Ok(net.addresses().iter().map(|bound| dialable(bound).to_string()).collect())
}

fn settings(
    builder: &ClusterBuilder,
    node: NodeId,
    head: NodeId,
    addresses: Vec<String>,
    hosts: bool,
    stuck: Stuck,
) -> Result<Settings, StartError> {
    let registry = Registry::new(&builder.registrations)?;
    let tasks = TaskTable::new()?;
    let cpus = machine::processors();
    let offers = hosts && builder.isolated.is_none();
    let (resources, labels) = if offers { builder.offers_of(1)? } else { Default::default() };
    let join = Join {
        attempt: random_number(),
        node,
        boot: Boot(machine::boot()),
        process: std::process::id(),
        host_name: machine::host_name().into(),
        // Nothing is placed on an actor's own process: it is made there by its spawner, or once it has claimed it.
        hosts: offers,
        addresses: addresses.into_iter().map(Into::into).collect(),
        resources,
        labels,
        advertised: Arc::new(Node::advertised(&registry, &tasks)),
        served: Epoch::default(),
        claims: builder.isolated.and_then(|isolated| isolated.claim),
    };
    let namespace = builder.namespace.as_str().into();
    let (head_wait, store, isolated) = (builder.head_wait, builder.store_settings(), builder.isolated);
    Ok(Settings {
        head,
        join,
        registry,
        tasks,
        stuck,
        head_wait,
        // A task takes a whole one.
        cpus: builder.cpus.map_or(cpus, |cpus| cpus as usize).max(1),
        allowance: builder.allowance,
        namespace,
        store,
        isolated,
    })
}

/// Why a cluster does not start, or a node does not join one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A member of a running cluster needs its key.
    #[error(
        "no cluster key is given: `.key(FILE)`, or the environment's MOBULA_KEY, names the file that `mobula key new` wrote"
    )]
    NoKey,
    /// A head that others are to reach needs the identity that they pin.
    #[error(
        "a head needs the identity that `mobula key new` wrote beside the cluster key: `.identity(Identity::load(FILE)?)`"
    )]
    NoIdentity,
    /// A node that is no head was given a journal.
    #[error("a journal is kept by the head of a cluster: this is none that others could come back to")]
    NoHeadsJournal,
    /// The head's journal is not to be had.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The environment asks for a member of a cluster, and does not say which.
    #[error(
        "MOBULA_ROLE asks for a member of a running cluster: set MOBULA_ADDRESS to its head, such as tcp://head:7400"
    )]
    NoAddress,
    /// The environment asks for something that there is not.
    #[error("MOBULA_ROLE is `{0}`: set it to `worker` or `driver`, or leave it out")]
    Role(String),
    /// The environment says of the node what cannot be read.
    #[error("{name} is `{value}`: it takes {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should.
        expected: &'static str,
    },
    /// The node cannot listen.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The head cannot be reached.
    #[error("the head cannot be reached: {0}")]
    Head(DialError),
    /// The head refuses the node.
    #[error("the head refuses this node: {0}")]
    Refused(JoinError),
    /// The head did not answer the node's join.
    #[error("the head was reached, but did not let this node join within {0:?}")]
    NoAnswer(Duration),
    /// The node is out of its cluster for good.
    #[error(transparent)]
    Departed(#[from] super::depart::Departed),
    /// Resources or labels are not allowed.
    #[error(transparent)]
    Resources(#[from] crate::schedule::resources::ResourcesError),
    /// An amount is not allowed.
    #[error(transparent)]
    Amount(#[from] crate::schedule::resources::AmountError),
    /// A label is not allowed.
    #[error(transparent)]
    Labels(#[from] crate::schedule::labels::LabelError),
    /// Types clash.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A worker process does not start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// Too many workers.
    #[error("{asked} worker processes are too many: at most {} are started", limits::WORKERS)]
    TooManyWorkers {
        /// How many were asked for.
        asked: usize,
    },
    /// A worker process ended before it joined.
    #[error("a worker process ended before it joined ({status}): its standard error says why")]
    WorkerEnded {
        /// How.
        status: std::process::ExitStatus,
    },
    /// Workers did not join.
    #[error("{joined} of {asked} worker processes joined within {after:?}")]
    WorkersMissing {
        /// How many joined.
        joined: usize,
        /// How many were started.
        asked: usize,
        /// How long was waited.
        after: Duration,
    },
    /// The system refuses the program a runtime, or word of its signals.
    #[error("no tokio runtime could be started: {0}")]
    Runtime(std::io::Error),
    /// No runtime.
    #[error("a cluster starts inside a tokio runtime: none is running here")]
    NoRuntime,
}

/// By hand: a source's text would be told twice, here and in the chain of sources.
impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        StartError::Runtime(error)
    }
}
