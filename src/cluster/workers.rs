//! The worker processes that a cluster started.

use std::sync::Arc;
use std::time::Duration;

use super::config::{ClusterBuilder, StartError};
use super::start::tasks_part;
use crate::id::NodeId;
use crate::net::{Address, ClusterKey, Identity, Net};
use crate::node::machine;
use crate::node::runtime::Node;
use crate::node::worker::{self, Orders};
use tokio::sync::{mpsc, oneshot};

/// How long worker processes may take to join.
const JOIN_WAIT: Duration = Duration::from_secs(30);

/// Worker processes, each watched by a task on the control lane's thread.
pub(crate) struct Workers(Vec<Watched>);

struct Watched {
    node: NodeId,
    process: Option<u32>,
    end: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Workers {
    pub(crate) fn none() -> Self {
        Workers(Vec::new())
    }

    /// Their process ids.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.0.iter().filter_map(|worker| worker.process).collect()
    }

    /// Ends them, and waits until they are gone.
    pub(crate) async fn end(mut self) {
        for worker in &mut self.0 {
            worker.end = None;
        }
        for worker in &mut self.0 {
            let _ = (&mut worker.task).await;
        }
        self.0.clear();
    }
}

impl Drop for Workers {
    /// Children are killed as their tasks are dropped.
    fn drop(&mut self) {
        self.0.iter().for_each(|worker| worker.task.abort());
    }
}

/// Starts as many as were asked for, and waits until they have joined.
pub(super) async fn start(
    builder: &ClusterBuilder,
    key: &ClusterKey,
    head: &str,
    node: &Arc<Node>,
    net: &Arc<Net>,
) -> Result<Workers, StartError> {
    let count = builder.workers;
    let mut workers = Workers::none();
    let (died, mut deaths) = mpsc::unbounded_channel();
    for _ in 0..count {
        let identity = Identity::generate()?;
        let id = identity.node_id();
        let listen = match head.starts_with("tcp:") {
            true => "tcp://127.0.0.1:0".to_owned(),
            false => Address::private().to_string(),
        };
        let mut orders = Orders::new(key, &identity, head.to_owned(), listen, builder.store_settings());
        orders.cpus = builder.cpus.unwrap_or((machine::processors() as f64 / count as f64).max(1.0));
        if let Some(memory) = machine::memory() {
            orders.resources.push(("memory".to_owned(), tasks_part(memory, count)));
        }
        orders.resources.extend_from_slice(&builder.resources);
        orders.labels.clone_from(&builder.labels);
        orders.namespace.clone_from(&builder.namespace);
        orders.head_wait = builder.head_wait;
        orders.allowance = builder.allowance;
        let (end, ended) = oneshot::channel();
        // Children are watched where their parent's own work does not delay it.
        let (process, task) = watch(net, orders, ended, node.clone(), id, died.clone()).await?;
        workers.0.push(Watched { node: id, process, end: Some(end), task });
    }
    drop(died);
    let start = tokio::time::Instant::now();
    loop {
        let joined = workers.0.iter().filter(|worker| node.known(|known| known.of_node(worker.node).is_some())).count();
        if joined == count {
            return Ok(workers);
        }
        tokio::select! {
            () = node.members_changed() => {}
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

async fn watch(
    net: &Arc<Net>,
    orders: Orders,
    ended: oneshot::Receiver<()>,
    node: Arc<Node>,
    id: NodeId,
    died: mpsc::UnboundedSender<std::process::ExitStatus>,
) -> Result<(Option<u32>, tokio::task::JoinHandle<()>), StartError> {
    let (started, start) = oneshot::channel();
    let task = net.control().spawn(async move {
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
