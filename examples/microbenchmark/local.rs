//! Rows of one process, measured as `tokio::spawn`ed tasks: asks, tells, spawns, the memory of an idle actor, the start.

use crate::measure::{Effort, Group, nanoseconds_each, rows};
use anyhow::Context;
use mobula::prelude::*;
use std::future::Future;
use std::time::Instant;
use tokio::runtime::Builder;

const ASKS: u64 = 300_000;
const TELLS: u64 = 1_000_000;
const SPAWNS: u64 = 100_000;

pub fn groups() -> Vec<Group> {
    let group = |rows, times, run| Group { rows, spans_processes: false, times, run };
    let mut groups = vec![
        group(rows("", &[("start a local cluster", "s")]), 5, Box::new(|_| on_threads(2, start()))),
        group(
            rows("", &[("local spawn", "ns"), ("memory of an idle actor", "B")]),
            1,
            Box::new(|effort| on_threads(1, spawn(effort.count(SPAWNS)))),
        ),
    ];
    groups.extend([1, 2].map(|threads| {
        let rows = rows(&format!(", {threads} threads"), &[("local ask", "ns"), ("local tell", "ns")]);
        group(rows, 1, Box::new(move |effort| on_threads(threads, ask_and_tell(effort))))
    }));
    groups
}

#[actor]
pub struct Counter {
    total: u64,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn starting_at(total: u64) -> Self {
        Self { total }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }
}

fn on_threads<T: Send + 'static>(
    threads: usize,
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(work).await? })
}

async fn start() -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let cluster = Cluster::local().await?;
    let counter = Counter::spawn(&cluster, 1).await?;
    counter.add(1).await?;
    Ok(vec![start.elapsed().as_secs_f64()])
}

async fn ask_and_tell(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let (asks, tells) = (effort.count(ASKS), effort.count(TELLS));
    let cluster = Cluster::local().await?;
    let counter = Counter::spawn(&cluster, 0).await?;
    let start = Instant::now();
    for _ in 0..asks {
        counter.add(1).await?;
    }
    let ask = nanoseconds_each(start, asks);
    let start = Instant::now();
    for _ in 0..tells {
        counter.add(1).tell().await?;
    }
    let total = counter.add(0).await?;
    let tell = nanoseconds_each(start, tells);
    anyhow::ensure!(total == asks + tells, "every call counts once: {total}");
    Ok(vec![ask, tell])
}

async fn spawn(count: u64) -> anyhow::Result<Vec<f64>> {
    let cluster = Cluster::local().await?;
    let mut spawned = Vec::with_capacity(count as usize);
    let (before, start) = (resident_bytes()?, Instant::now());
    for _ in 0..count {
        spawned.push(Counter::spawn(&cluster, 0).await?);
    }
    let spawn = nanoseconds_each(start, count);
    let memory = (resident_bytes()? - before) / count as f64;
    anyhow::ensure!(spawned[0].add(1).await? == 1, "an idle actor answers");
    Ok(vec![spawn, memory])
}

fn resident_bytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    let kilobytes: f64 = resident.context("/proc/self/status names no VmRSS")?.trim().parse()?;
    Ok(kilobytes * 1024.0)
}
