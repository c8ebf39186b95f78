//! The worker processes that a cluster started.

use parking_lot::Mutex;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::config::ClusterBuilder;
use super::start::StartError;
use crate::id::NodeId;
use crate::limits::IDLE_TIMEOUT;
use crate::net::{Address, ClusterKey, Identity, Net};
use crate::node::runtime::Node;
use crate::node::worker::{self, Orders};
use crate::schedule::{Labels, Resources};
use tokio::sync::{mpsc, oneshot};

/// How long a worker process may take to join.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// Worker processes, each watched by a task on the control lane's thread. Children are killed as their tasks are dropped.
#[derive(Default)]
pub(crate) struct Workers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    all: Mutex<All>,
    /// Held while one is started: who ends them waits for it, and has it among them.
    starting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct All {
    watched: Vec<Watched>,
    /// They are ended, and no more are started.
    closed: bool,
}

/// Workers that others hold: nobody's, once those have let them go.
pub(super) struct Held(Weak<Shared>);

/// One of them.
struct Watched {
    node: NodeId,
    process: Option<u32>,
    started: Instant,
    /// Whether it was seen among the members.
    joined: bool,
    end: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

/// How workers stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) running: usize,
    /// Those of them that have not joined yet.
    pub(super) starting: usize,
    /// Those that ended before they had joined, or have not joined in time, since the last count.
    pub(super) failed: usize,
}

impl Workers {
    /// Their process ids.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.0.all.lock().watched.iter().filter_map(|worker| worker.process).collect()
    }

    /// Ends them, and waits until they are gone. No more are started.
    pub(crate) async fn end(&self) {
        self.0.all.lock().closed = true;
        let _none_starts = self.0.starting.lock().await;
        let mut watched = std::mem::take(&mut self.0.all.lock().watched);
        for worker in &mut watched {
            worker.end = None;
        }
        for worker in &mut watched {
            let _ = (&mut worker.task).await;
        }
    }

    pub(super) fn held(&self) -> Held {
        Held(Arc::downgrade(&self.0))
    }
}

impl Held {
    /// Counts those that run; none if no more are to be started.
    pub(super) fn count(&self, node: &Node) -> Option<Count> {
        let shared = self.0.upgrade()?;
        let mut all = shared.all.lock();
        if all.closed {
            return None;
        }
        let mut count = Count::default();
        all.watched.retain_mut(|worker| {
            worker.joined |= node.known(|known| known.of_node(worker.node).is_some());
            let (over, late) = (worker.task.is_finished(), worker.started.elapsed() > JOIN_WAIT);
            let failed = !worker.joined && (over || late);
            count.failed += usize::from(failed);
            count.starting += usize::from(!worker.joined && !failed);
            // One that hangs is killed.
            !over && !failed
        });
        count.running = all.watched.len();
        Some(count)
    }

    /// Starts one more; none if no more are to be started.
    pub(super) async fn start(&self, template: &Template, idle: Option<Duration>) -> Result<(), StartError> {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let _starting = shared.starting.lock().await;
        if shared.all.lock().closed {
            return Ok(());
        }
        // How it ends is seen when they are counted.
        let worker = template.start(idle, |_| {}).await?;
        shared.all.lock().watched.push(worker);
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What workers are started with.
pub(super) struct Template {
    builder: ClusterBuilder,
    key: ClusterKey,
    /// The head's address.
    head: String,
    node: Arc<Node>,
    net: Arc<Net>,
}

impl Template {
    pub(super) fn new(
        builder: &ClusterBuilder,
        key: &ClusterKey,
        head: &str,
        node: &Arc<Node>,
        net: &Arc<Net>,
    ) -> Template {
        let (builder, key, head) = (builder.clone(), key.clone(), head.to_owned());
        Template { builder, key, head, node: node.clone(), net: net.clone() }
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// How many workers stay, and how many there may be.
    pub(super) fn bounds(&self) -> (usize, usize) {
        (self.builder.workers, self.builder.most_workers())
    }

    /// How long one that came for a while is idle before it leaves.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.builder.idle_timeout.unwrap_or(IDLE_TIMEOUT)
    }

    /// All that one worker offers, and what it says about itself.
    ///
    /// # Errors
    /// It is not allowed.
    pub(super) fn offers(&self) -> Result<(Resources, Labels), StartError> {
        self.builder.offers_of(self.builder.most_workers())
    }

    /// Starts one, which leaves when it has been idle for so long, and says how it ended to `died`.
    async fn start(
        &self,
        idle: Option<Duration>,
        died: impl FnOnce(ExitStatus) + Send + 'static,
    ) -> Result<Watched, StartError> {
        let identity = Identity::generate()?;
        let id = identity.node_id();
        let listen = match self.head.starts_with("tcp:") {
            true => "tcp://127.0.0.1:0".to_owned(),
            false => Address::private().to_string(),
        };
        let mut orders = Orders::new(&self.key, &identity, self.head.clone(), listen, self.builder.store_settings());
        let nodes = self.builder.most_workers();
        orders.cpus = self.builder.cpus_of(nodes);
        orders.resources.extend(self.builder.others_of(nodes));
        orders.labels.clone_from(&self.builder.labels);
        orders.namespace.clone_from(&self.builder.namespace);
        orders.head_wait = self.builder.head_wait;
        orders.allowance = self.builder.allowance;
        orders.idle = idle;
        let (end, ended) = oneshot::channel();
        // Children are watched where their parent's own work does not delay it.
        let (process, task) = self.watch(orders, ended, id, died).await?;
        Ok(Watched { node: id, process, started: Instant::now(), joined: false, end: Some(end), task })
    }

    async fn watch(
        &self,
        orders: Orders,
        ended: oneshot::Receiver<()>,
        id: NodeId,
        died: impl FnOnce(ExitStatus) + Send + 'static,
    ) -> Result<(Option<u32>, tokio::task::JoinHandle<()>), StartError> {
        let (started, start) = oneshot::channel();
        let node = self.node.clone();
        let task = self.net.control().spawn(async move {
            let mut worker = match worker::start(&orders) {
                Ok(worker) => worker,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(orders);
            let _ = started.send(Ok(worker.process()));
            worker.watched(ended, &node, id, died).await;
        });
        match start.await {
            Ok(Ok(process)) => Ok((process, task)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StartError::NoRuntime),
        }
    }
}

/// Starts as many as were asked for, and waits until they have joined.
pub(super) async fn start(template: &Template) -> Result<Workers, StartError> {
    let (workers, count) = (Workers::default(), template.builder.workers);
    let (died, mut deaths) = mpsc::unbounded_channel();
    let mut nodes = Vec::with_capacity(count);
    for _ in 0..count {
        let died = died.clone();
        let worker = template.start(None, move |status| _ = died.send(status)).await?;
        nodes.push(worker.node);
        workers.0.all.lock().watched.push(worker);
    }
    drop(died);
    let start = tokio::time::Instant::now();
    loop {
        let has_joined = |node: &&NodeId| template.node.known(|known| known.of_node(**node).is_some());
        let joined = nodes.iter().filter(has_joined).count();
        if joined == count {
            return Ok(workers);
        }
        tokio::select! {
            () = template.node.members_changed() => {}
            status = deaths.recv() => {
                if let Some(status) = status {
                    return Err(StartError::WorkerEnded { status });
                }
            }
            () = tokio::time::sleep_until(start + JOIN_WAIT) => {
                return Err(StartError::WorkersMissing { joined, asked: count, after: JOIN_WAIT });
            }
        }
    }
}
