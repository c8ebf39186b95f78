//! The worker processes that a cluster started.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::config::{ClusterBuilder, StartError};
use super::start::tasks_part;
use crate::id::NodeId;
use crate::limits::IDLE_TIMEOUT;
use crate::net::{Address, ClusterKey, Identity, Net};
use crate::node::machine;
use crate::node::runtime::Node;
use crate::node::worker::{self, Orders};
use crate::schedule::{Amount, Resources};
use tokio::sync::{mpsc, oneshot};

/// How long worker processes may take to join.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// Worker processes, each watched by a task on the control lane's thread. Children are killed as their tasks are dropped.
#[derive(Default)]
pub(crate) struct Workers(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    watched: Vec<Watched>,
    /// They are ended, and no more are started.
    closed: bool,
}

/// Workers that others hold: nobody's, once those have let them go.
pub(super) struct Held(Weak<Mutex<All>>);

/// One of them.
pub(super) struct Watched {
    node: NodeId,
    process: Option<u32>,
    end: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    pub(super) fn node(&self) -> NodeId {
        self.node
    }
}

impl Workers {
    /// Their process ids.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.0.lock().watched.iter().filter_map(|worker| worker.process).collect()
    }

    /// Ends them, and waits until they are gone. No more are started.
    pub(crate) async fn end(&self) {
        let mut watched = {
            let mut all = self.0.lock();
            all.closed = true;
            std::mem::take(&mut all.watched)
        };
        for worker in &mut watched {
            worker.end = None;
        }
        for worker in &mut watched {
            let _ = (&mut worker.task).await;
        }
    }

    /// One more, which ends with these.
    fn add(&self, worker: Watched) {
        let mut all = self.0.lock();
        if !all.closed {
            all.watched.push(worker);
        }
    }

    pub(super) fn held(&self) -> Held {
        Held(Arc::downgrade(&self.0))
    }
}

impl Held {
    /// Looks at those that run; none if no more are to be started.
    pub(super) fn running<R>(&self, look: impl FnOnce(&[Watched]) -> R) -> Option<R> {
        let all = self.0.upgrade()?;
        let mut all = all.lock();
        all.watched.retain(|worker| !worker.task.is_finished());
        (!all.closed).then(|| look(&all.watched))
    }

    pub(super) fn add(&self, worker: Watched) {
        if let Some(all) = self.0.upgrade() {
            Workers(all).add(worker);
        }
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

    /// The CPUs that one worker offers.
    fn cpus(&self) -> f64 {
        let share = || machine::processors() as f64 / self.builder.most_workers() as f64;
        self.builder.cpus.unwrap_or_else(|| share().max(1.0))
    }

    /// What else it offers; the later of one name goes before the former.
    fn others(&self) -> impl Iterator<Item = (String, f64)> {
        let share = |memory| ("memory".to_owned(), tasks_part(memory, self.builder.most_workers()));
        machine::memory().map(share).into_iter().chain(self.builder.resources.iter().cloned())
    }

    /// All that it offers.
    ///
    /// # Errors
    /// It is not allowed.
    pub(super) fn offers(&self) -> Result<Resources, StartError> {
        let mut all = Resources::none().with("cpu", Amount::new(self.cpus())?)?;
        for (name, amount) in self.others() {
            all = all.with(&name, Amount::new(amount)?)?;
        }
        Ok(all)
    }

    /// Starts one, which leaves when it has been idle for so long, and says how it ended to `died`.
    pub(super) async fn start(
        &self,
        idle: Option<Duration>,
        died: mpsc::UnboundedSender<std::process::ExitStatus>,
    ) -> Result<Watched, StartError> {
        let identity = Identity::generate()?;
        let id = identity.node_id();
        let listen = match self.head.starts_with("tcp:") {
            true => "tcp://127.0.0.1:0".to_owned(),
            false => Address::private().to_string(),
        };
        let mut orders = Orders::new(&self.key, &identity, self.head.clone(), listen, self.builder.store_settings());
        orders.cpus = self.cpus();
        orders.resources.extend(self.others());
        orders.labels.clone_from(&self.builder.labels);
        orders.namespace.clone_from(&self.builder.namespace);
        orders.head_wait = self.builder.head_wait;
        orders.allowance = self.builder.allowance;
        orders.idle = idle;
        let (end, ended) = oneshot::channel();
        // Children are watched where their parent's own work does not delay it.
        let (process, task) = self.watch(orders, ended, id, died).await?;
        Ok(Watched { node: id, process, end: Some(end), task })
    }

    async fn watch(
        &self,
        orders: Orders,
        ended: oneshot::Receiver<()>,
        id: NodeId,
        died: mpsc::UnboundedSender<std::process::ExitStatus>,
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
            let died = |status| _ = died.send(status);
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
        let worker = template.start(None, died.clone()).await?;
        nodes.push(worker.node);
        workers.add(worker);
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
