//! Rows between processes, over `ipc` and, `, tcp`, through the guard; `, busy polling` where each looks for messages rather than
//! sleeps. The driver's runtime has one thread, for one core.

use crate::cores;
use crate::local::{Counter, CounterHandle};
use crate::measure::{Effort, Group, a_second, median, rows};
use anyhow::Context;
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use mobula::ask_all;
use mobula::id::NodeId;
use mobula::prelude::*;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

const TRIPS: u64 = 20_000;
const WARM: u64 = 1_000;
const BODY: usize = 100;
/// Calls that are submitted, then all awaited.
const BURST: u64 = 1_000;
/// Actors that are created at a time.
const BATCH: usize = 100;
pub const TIME: Duration = Duration::from_secs(3);
/// How long a process looks for the next message where it polls.
const SPIN: Duration = Duration::from_micros(100);

/// What joins the processes.
#[derive(Clone, Copy)]
pub enum Way {
    Ipc,
    Tcp,
    IpcPolling,
    TcpPolling,
}

pub fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    let mut add = |suffix: &str, named: &[(&str, &'static str)], times, run| {
        groups.push(Group { rows: rows(suffix, named), spans_processes: true, times, run });
    };
    let both = [(Way::Ipc, ""), (Way::Tcp, ", tcp")];
    let polling = [(Way::IpcPolling, ", busy polling"), (Way::TcpPolling, ", tcp, busy polling")];
    for (way, suffix) in both.into_iter().chain(polling) {
        let trips = [("round trip p50", "us"), ("round trip p99", "us")];
        add(suffix, &trips, 1, Box::new(move |effort| on_one_thread(round_trips(way, effort))));
        let sync = [("1:1 actor calls sync", "1/s")];
        add(suffix, &sync, 1, Box::new(move |effort| on_one_thread(one_to_one(way, effort, 1))));
    }
    for (way, suffix) in both {
        add(suffix, &[("start a cluster", "s")], 5, Box::new(move |_| on_one_thread(start(way))));
        let burst = [("1:1 actor calls async", "1/s")];
        add(suffix, &burst, 1, Box::new(move |effort| on_one_thread(one_to_one(way, effort, BURST))));
        let crossing = [("n:n actor calls async", "1/s")];
        add(suffix, &crossing, 1, Box::new(move |effort| on_one_thread(n_to_n(way, effort))));
        let killed = [("actors created, called once and killed", "1/s")];
        add(suffix, &killed, 1, Box::new(move |effort| on_one_thread(created_and_killed(way, effort))));
    }
    groups
}

/// A process's part in the rows: its echo, and its caller.
#[actor]
struct Peer;

#[methods]
impl Peer {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn echo(&mut self, body: Bytes) -> Bytes {
        body
    }

    /// Moves its process to the first core, where processes are pinned.
    pub fn move_to_first_core(&self) -> mobula::Result<()> {
        Ok(cores::move_to_first()?)
    }

    /// Calls `counter` for `time`; gives the calls a second.
    pub async fn call(&mut self, counter: CounterHandle, time: Duration) -> mobula::Result<f64> {
        bursts(&counter, BURST, time).await.map_err(|error| mobula::Failure::from(error.to_string()))
    }
}

/// Runs as a task like any other: what a runtime blocks on is looked at once its tasks have had their turn.
pub fn on_one_thread<T: Send + 'static>(
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(async { tokio::spawn(work).await? })
}

pub async fn cluster(way: Way, workers: usize) -> anyhow::Result<Cluster> {
    let local = Cluster::local().workers(workers);
    Ok(match way {
        Way::Ipc => local.await?,
        Way::Tcp => local.listen("tcp://127.0.0.1:0").await?,
        Way::IpcPolling => local.busy_poll(SPIN).await?,
        Way::TcpPolling => local.listen("tcp://127.0.0.1:0").busy_poll(SPIN).await?,
    })
}

/// The nodes that host actors.
fn workers<const N: usize>(cluster: &Cluster) -> anyhow::Result<[NodeId; N]> {
    let hosts: Vec<_> = cluster.nodes().into_iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    hosts.try_into().map_err(|hosts: Vec<_>| anyhow::anyhow!("{} workers instead of {N}", hosts.len()))
}

async fn start(way: Way) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let cluster = cluster(way, 2).await?;
    for worker in workers::<2>(&cluster)? {
        let counter = Counter::spawn(&cluster, 0).on(worker).await?;
        counter.add(1).await?;
    }
    let took = start.elapsed().as_secs_f64();
    cluster.shutdown().await;
    Ok(vec![took])
}

async fn round_trips(way: Way, effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(way, 1).await?;
    let peer = Peer::spawn(&cluster).await?;
    let body = Bytes::from(vec![7; BODY]);
    for _ in 0..effort.count(WARM) {
        peer.echo(body.clone()).await?;
    }
    let mut trips = Vec::new();
    for _ in 0..effort.count(TRIPS) {
        let start = Instant::now();
        let echoed = peer.echo(body.clone()).await?;
        trips.push(start.elapsed().as_nanos() as f64 / 1e3);
        anyhow::ensure!(echoed == body, "what comes back is what was sent");
    }
    cluster.shutdown().await;
    trips.sort_by(f64::total_cmp);
    let p99 = trips[trips.len() * 99 / 100];
    Ok(vec![median(trips), p99])
}

async fn one_to_one(way: Way, effort: Effort, burst: u64) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(way, 1).await?;
    let counter = Counter::spawn(&cluster, 0).await?;
    let rate = bursts(&counter, burst, effort.time(TIME)).await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}

/// Submits `burst` calls and awaits them all, again and again.
async fn bursts(counter: &CounterHandle, burst: u64, time: Duration) -> anyhow::Result<f64> {
    a_second(time, || async {
        ask_all((0..burst).map(|_| counter.add(1))).await?;
        Ok(burst)
    })
    .await
}

/// Two workers on a core each, and the driver waits.
async fn n_to_n(way: Way, effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(way, 2).await?;
    let [first, second] = workers(&cluster)?;
    let callers = [Peer::spawn(&cluster).on(first).await?, Peer::spawn(&cluster).on(second).await?];
    let targets = [Counter::spawn(&cluster, 0).on(second).await?, Counter::spawn(&cluster, 0).on(first).await?];
    callers[0].move_to_first_core().await?;
    let time = effort.time(TIME);
    let calls = callers.iter().zip(targets).map(|(caller, target)| caller.call(target, time));
    let rates = try_join_all(calls).await?;
    cluster.shutdown().await;
    Ok(vec![rates.iter().sum()])
}

async fn created_and_killed(way: Way, effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(way, 1).await?;
    let rate = a_second(effort.time(TIME), || async {
        let counters = try_join_all((0..BATCH).map(|_| Counter::spawn(&cluster, 0))).await?;
        ask_all(counters.iter().map(|counter| counter.add(1))).await?;
        for ended in join_all(counters.iter().map(Handle::kill)).await {
            ended.context("a killed actor ends")?;
        }
        Ok(BATCH as u64)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}
