//! What `#[mobula::main]` expands to, and the entry of worker processes.

use std::process::{ExitCode, Termination};

use tokio::signal::unix::{SignalKind, signal};

use super::client::Cluster;
use super::depart::Departed;
use super::environment::what_to_start;
use super::start::StartError;
use crate::limits::DRAIN;
use crate::node::machine;
use crate::node::worker::{self, Orders};

/// The options of `#[mobula::main(..)]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Main {
    /// Worker processes of a cluster of its own.
    pub workers: usize,
}

/// What a worker process ends with when its orders, or its node, fail.
const FAILED: i32 = 70;

/// Makes this process a worker, if its parent started it as one: then it serves until its parent goes, and never
/// returns. Call it first in `main`; `#[mobula::main]` does.
///
/// ```
/// mobula::enter();
/// // .. the program
/// ```
pub fn enter() {
    match worker::enter() {
        Ok(None) => {}
        Ok(Some(orders)) => work(orders),
        Err(error) => {
            eprintln!("mobula: this worker process has no orders: {error}");
            std::process::exit(FAILED);
        }
    }
}

fn work(orders: Orders) -> ! {
    if let Some(memory) = orders.isolated.and_then(|isolated| isolated.memory)
        && let Err(error) = machine::limit_memory(memory)
    {
        eprintln!("mobula: the memory of this actor's process cannot be limited: {error}");
        std::process::exit(FAILED);
    }
    let served = runtime().map_err(StartError::from).and_then(|runtime| runtime.block_on(serve(orders)));
    if let Err(error) = served {
        eprintln!("mobula: this worker process ends: {error}");
        std::process::exit(FAILED);
    }
    std::process::exit(0)
}

async fn serve(orders: Orders) -> Result<(), StartError> {
    let gone = worker::parent_gone();
    let (key, identity) = orders.keys().ok_or(StartError::NoKey)?;
    let mut builder = Cluster::builder().worker_of(orders.head).listen(orders.listen).cpus(orders.cpus);
    builder = builder.cluster_key(key).identity(identity).namespace(orders.namespace).head_wait(orders.head_wait);
    builder = builder.store(orders.store).allowance(orders.allowance).isolated(orders.isolated);
    builder.idle_timeout = orders.idle;
    for (name, amount) in orders.resources {
        builder = builder.resource(name, amount);
    }
    for (key, value) in orders.labels {
        builder = builder.label(key, value);
    }
    // An interrupt from a terminal goes to the parent as well: it decides, and its end ends this process.
    let _interrupts = signal(SignalKind::interrupt())?;
    let cluster = builder.await?;
    tokio::select! {
        _ = gone => {}
        () = cluster.node().done() => {}
        ended = until_terminated(&cluster, Interrupts::AreTheParents) => ended?,
    }
    cluster.shutdown().await;
    // A parent that was killed could not do this itself; one that lives is not touched.
    crate::net::sweep_dead();
    Ok(())
}

/// Who answers an interrupt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupts {
    /// This process, as it does SIGTERM.
    AreOurs,
    /// The parent.
    AreTheParents,
}

/// Serves until the process is told to end, and lets its actors come to their end; a second telling cuts that short.
async fn until_terminated(cluster: &Cluster, interrupts: Interrupts) -> Result<(), StartError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv(), if interrupts == Interrupts::AreOurs => {}
        }
    };
    tokio::select! {
        () = told() => {}
        why = cluster.departed() => return match why {
            Departed::ShutDown => Ok(()),
            Departed::Refused(why) => Err(StartError::Refused(why)),
            why @ (Departed::Replaced(_) | Departed::Journal(_)) => Err(StartError::Departed(why)),
        },
    }
    tokio::select! {
        drained = cluster.drain(DRAIN) => {
            if !drained {
                tracing::warn!("actors or tasks still ran {DRAIN:?} after this process was told to end: they are ended");
            }
        }
        () = told() => {}
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Runs the body as the environment says: never in a worker; in a driver of the cluster at `MOBULA_ADDRESS`; else in a
/// local cluster.
pub fn run_main<F>(options: Main, body: impl FnOnce(Cluster) -> F) -> ExitCode
where
    F: Future<Output: Termination>,
{
    enter();
    let (start, runtime) = match what_to_start(options.workers).and_then(|start| Ok((start, runtime()?))) {
        Ok(start) => start,
        Err(error) => return failed(&error),
    };
    let code = runtime.block_on(async {
        let cluster = match start.builder.await {
            Ok(cluster) => cluster,
            Err(error) => return failed(&error),
        };
        let code = match start.serves {
            true => until_terminated(&cluster, Interrupts::AreOurs)
                .await
                .map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS),
            false => body(cluster.clone()).await.report(),
        };
        cluster.shutdown().await;
        code
    });
    // What a user left running on blocking threads must not keep the process.
    runtime.shutdown_background();
    code
}

fn failed(error: &StartError) -> ExitCode {
    eprintln!("mobula: {error}");
    ExitCode::FAILURE
}
