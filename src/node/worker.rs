//! Worker processes of a local cluster: this executable again, told what to be through its standard input, which is
//! also its life line: when the parent goes, however it goes, the pipe ends and the worker with it.
//!
//! ```text
//! parent ── Orders (text, then the pipe stays open) ──▶ child's standard input
//! parent ◀── exit status: proof of death (PROTOCOLS §2.4) ── child
//! ```

use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::isolated::Isolated;
use super::runtime::Node;
use super::store::StoreSettings;
use crate::directory::request::Died;
use crate::id::NodeId;
use crate::net::{ClusterKey, Identity};
use crate::wire::codec;

/// Says what a process is: `worker`.
pub(crate) const ROLE: &str = "MOBULA_ROLE";
/// Says that a worker's orders come through its standard input.
const ORDERS: &str = "MOBULA_ORDERS";

/// How many processes were started by one another up to this one: a worker starts no workers, an actor's process nothing.
const DEPTH: &str = "MOBULA_DEPTH";

/// The longest orders: a key, an address, some resources.
const ORDERS_BYTES: u32 = 64 << 10;
/// How long a worker that was told to end may take; then its parent kills it.
const GRACE: Duration = Duration::from_secs(2);
/// How long its own orderly end may take. A worker whose parent was killed has nobody who would end it.
const ORDERLY_END: Duration = Duration::from_secs(1);
/// What it ends with then: as a fenced process in which a handler still runs does (PROTOCOLS §2.3).
const STUCK: i32 = 75;

/// Whether this process can be a worker: it passed `mobula::enter()`, or said how to.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// How a binary with an entry of its own is started as a worker: what `mobula::test_worker!()` leaves.
#[derive(Debug)]
pub struct WorkerEntry {
    /// The arguments that lead to the entry.
    pub arguments: &'static [&'static str],
}

inventory::collect!(WorkerEntry);

/// What a process may take: of memory for its tasks and calls, of its processor's time for messages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Allowance {
    /// Tasks that may be queued.
    pub(crate) max_queued: usize,
    /// Bytes for making lost results again.
    pub(crate) lineage_memory: u64,
    /// How long it looks for the next message after each.
    pub(crate) busy_poll: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        let (max_queued, lineage_memory) = (crate::limits::QUEUED_TASKS, crate::limits::LINEAGE_MEMORY);
        Allowance { max_queued, lineage_memory, busy_poll: Duration::ZERO }
    }
}

/// What a worker is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Orders {
    key: String,
    identity: String,
    pub(crate) head: String,
    pub(crate) listen: String,
    pub(crate) cpus: f64,
    pub(crate) resources: Vec<(String, f64)>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) namespace: String,
    pub(crate) head_wait: Duration,
    pub(crate) store: StoreSettings,
    pub(crate) allowance: Allowance,
    /// How long it is idle before it leaves; without, it stays.
    pub(crate) idle: Option<Duration>,
    /// The actor whose own process it is, if it is one's.
    pub(crate) isolated: Option<Isolated>,
}

impl Orders {
    pub(crate) fn new(
        key: &ClusterKey,
        identity: &Identity,
        head: String,
        listen: String,
        store: StoreSettings,
    ) -> Self {
        Orders {
            key: key.to_text().to_string(),
            identity: identity.to_text().to_string(),
            head,
            listen,
            cpus: 1.0,
            resources: Vec::new(),
            labels: Vec::new(),
            namespace: String::new(),
            head_wait: crate::limits::HEAD_WAIT,
            store,
            allowance: Allowance::default(),
            idle: None,
            isolated: None,
        }
    }

    pub(crate) fn keys(&self) -> Option<(ClusterKey, Identity)> {
        Some((ClusterKey::from_text(&self.key).ok()?, Identity::from_text(&self.identity).ok()?))
    }
}

/// Notes that this process can be a worker. Gives its orders if it is one.
///
/// # Errors
/// The orders do not arrive whole.
pub(crate) fn enter() -> io::Result<Option<Orders>> {
    ENTERED.store(true, Ordering::Release);
    if std::env::var_os(ORDERS).is_none() {
        return Ok(None);
    }
    let mut length = [0; 4];
    io::stdin().read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > ORDERS_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    io::stdin().read_exact(&mut text)?;
    codec::decode(&text).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn depth() -> usize {
    std::env::var(DEPTH).ok().and_then(|depth| depth.parse().ok()).unwrap_or(0)
}

/// Waits for the end of the parent. The process then has a moment for its own, and ends in any case: methods that block
/// may hold every thread of its runtime.
pub(crate) fn parent_gone() -> oneshot::Receiver<()> {
    let (gone, told) = oneshot::channel();
    // Blocks for ever in a read: a thread of its own, which ends with the process.
    let watch = std::thread::Builder::new().name("mobula-parent".into()).spawn(move || {
        let mut rest = [0; 64];
        while matches!(io::stdin().read(&mut rest), Ok(1..)) {}
        let _ = gone.send(());
        std::thread::sleep(ORDERLY_END);
        eprintln!("mobula: a method still runs in this worker process, whose parent has gone: it ends nevertheless");
        std::process::exit(STUCK);
    });
    if let Err(error) = watch {
        tracing::error!(%error, "the parent's end cannot be watched: this worker ends");
    }
    told
}

/// Why a worker process was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Running this executable again would not make a worker.
    #[error(
        "this program has no entry for worker processes: use `#[mobula::main]`, or call `mobula::enter()` first in \
         `main`; tests write `mobula::test_worker!();`"
    )]
    NoWorkerEntry,
    /// A worker asked for workers, or an actor's own process for another.
    #[error(
        "a worker process cannot start workers of its own, nor an actor's own process anything: that is its parent's"
    )]
    Nested,
    /// The system refused.
    #[error("a worker process could not be started: {0}")]
    Start(io::Error),
}

/// By hand: a source's text would be told twice, here and in the chain of sources.
impl From<io::Error> for WorkerError {
    fn from(error: io::Error) -> Self {
        WorkerError::Start(error)
    }
}

/// Starts a worker with these orders. It is killed when the child is dropped.
pub(crate) fn start(orders: &Orders) -> Result<Worker, WorkerError> {
    let depth = depth();
    if depth > usize::from(orders.isolated.is_some()) {
        return Err(WorkerError::Nested);
    }
    let entry = inventory::iter::<WorkerEntry>.into_iter().next();
    if entry.is_none() && !ENTERED.load(Ordering::Acquire) {
        return Err(WorkerError::NoWorkerEntry);
    }
    let mut text = vec![0; 4];
    codec::encode(orders, &mut text).map_err(io::Error::other)?;
    let length = u32::try_from(text.len() - 4).unwrap_or(u32::MAX);
    text[..4].copy_from_slice(&length.to_le_bytes());
    let mut command = Command::new(std::env::current_exe()?);
    match entry {
        Some(entry) => command.args(entry.arguments).stdout(Stdio::null()),
        None => command.args(std::env::args_os().skip(1)),
    };
    command.env(ROLE, "worker").env(ORDERS, "stdin").env(DEPTH, (depth + 1).to_string());
    let child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut worker = Worker { child, line: None };
    let pipe = worker.child.stdin.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    let mut pipe = std::fs::File::from(pipe.into_owned_fd()?);
    // Fits into the pipe, whose other end is new: this does not wait.
    rustix::io::ioctl_fionbio(&pipe, false).map_err(io::Error::from)?;
    pipe.write_all(&text)?;
    worker.line = Some(pipe);
    Ok(worker)
}

/// How a process ended that was told to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    /// It could not say that it left.
    Forced,
}

/// A worker process.
pub(crate) struct Worker {
    child: Child,
    /// Its life line.
    line: Option<std::fs::File>,
}

impl Worker {
    /// The process id.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Until it ends, or is told to. Its end is proof of its node's death (PROTOCOLS §2.4); `died` is told of it.
    pub(crate) async fn watched(
        &mut self,
        ended: oneshot::Receiver<()>,
        node: &Arc<Node>,
        id: NodeId,
        died: impl FnOnce(ExitStatus),
    ) {
        let status = tokio::select! {
            status = self.ended() => status,
            _ = ended => {
                if self.end().await == End::Forced {
                    node.client().report(Died { node: id, life: None });
                }
                return;
            }
        };
        if let Ok(status) = status {
            if !status.success() {
                tracing::warn!(node = %id, %status, "a worker process has ended");
            }
            died(status);
        }
        node.client().report(Died { node: id, life: None });
        // One that was killed could not remove its sockets.
        let _ = tokio::task::spawn_blocking(crate::net::sweep_dead).await;
    }

    /// Tells it to end, waits, and kills it if it takes too long.
    async fn end(&mut self) -> End {
        self.line = None;
        match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(_) => End::Orderly,
            Err(_) => {
                let _ = self.child.kill().await;
                End::Forced
            }
        }
    }
}
