//! From submitting a task to its result: in the same process, in another one, with an argument inside the message, with a
//! megabyte passed by reference, and behind 10,000 queued tasks. The controls are a bare tokio task on the same runtime, and
//! a bare tokio blocking task, which is what a synchronous function would be without Mobula.
//!
//! The caller keeps to the first core, the worker process to the last.

use core_affinity::CoreId;
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use mobula::prelude::*;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const INLINE: usize = 10 << 10;
const SHARED: usize = 1 << 20;
const QUEUED: usize = 10_000;

fn main() {
    if std::env::var("MOBULA_ROLE").is_ok_and(|role| role == "worker") {
        pin(core_affinity::get_core_ids().and_then(|cores| cores.last().copied()));
    }
    mobula::enter();
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let [here, there] = runtime.block_on(async {
        let there = Cluster::local().workers(1).await.expect("a worker");
        [Cluster::local().await.expect("a cluster"), there]
    });
    pin(core_affinity::get_core_ids().and_then(|cores| cores.first().copied())); // not before: workers inherit it
    latency(&mut criterion, &runtime, &here, &there);
    behind_a_queue(&mut criterion, &runtime, &here, &there);
    criterion.final_summary();
    runtime.block_on(async { tokio::join!(here.shutdown(), there.shutdown()) });
}

#[task]
fn double(x: u64) -> u64 {
    2 * x
}

#[task]
async fn double_async(x: u64) -> u64 {
    2 * x
}

#[task]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

fn latency(c: &mut Criterion, runtime: &Runtime, here: &Cluster, there: &Cluster) {
    let mut group = c.benchmark_group("submit to result");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3)).sample_size(20);
    each(&mut group, "bare tokio task", runtime, async |x| tokio::spawn(async move { 2 * x }).await.expect("it ends"));
    let blocking = async |x| tokio::task::spawn_blocking(move || 2 * x).await.expect("it ends");
    each(&mut group, "bare tokio blocking task", runtime, blocking);
    for (place, cluster) in [("same process", here), ("other process", there)] {
        let sync = async |x| double::submit(cluster, x).await.expect("it runs");
        each(&mut group, &format!("{place}, synchronous"), runtime, sync);
        let asynchronous = async |x| double_async::submit(cluster, x).await.expect("it runs");
        each(&mut group, &format!("{place}, asynchronous"), runtime, asynchronous);
        let bytes = vec![7_u8; INLINE];
        let inline = async |_| length::submit(cluster, &bytes[..]).await.expect("it runs") as u64;
        each(&mut group, &format!("{place}, 10 KB inside the message"), runtime, inline);
        let shared = runtime.block_on(cluster.put_slice(&vec![7_u8; SHARED])).expect("room");
        let by_reference = async |_| length::submit(cluster, &shared).await.expect("it runs") as u64;
        each(&mut group, &format!("{place}, 1 MB by reference"), runtime, by_reference);
    }
}

/// One at a time, each awaited.
fn each(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, runtime: &Runtime, run: impl AsyncFn(u64) -> u64) {
    group.bench_function(name, |b| {
        b.iter_custom(|times| {
            runtime.block_on(async {
                let start = Instant::now();
                for x in 0..times {
                    std::hint::black_box(run(x).await);
                }
                start.elapsed()
            })
        });
    });
}

/// From submitting one behind [`QUEUED`] others to its result.
fn behind_a_queue(c: &mut Criterion, runtime: &Runtime, here: &Cluster, there: &Cluster) {
    let mut group = c.benchmark_group("submit to result, behind 10,000 queued");
    group.measurement_time(Duration::from_secs(5)).sample_size(10);
    let last_of = async |run: &dyn Fn(u64) -> tokio::task::JoinHandle<u64>, times: u64| {
        let mut waited = Duration::ZERO;
        for _ in 0..times {
            let queued: Vec<_> = (0..QUEUED as u64).map(run).collect();
            let start = Instant::now();
            run(0).await.expect("it ends");
            waited += start.elapsed();
            futures::future::join_all(queued).await;
        }
        waited
    };
    group.bench_function("bare tokio task", |b| {
        let run = |x| tokio::spawn(async move { 2 * x });
        b.iter_custom(|times| runtime.block_on(async { last_of(&run, times).await }));
    });
    for (place, cluster) in [("same process", here), ("other process", there)] {
        group.bench_function(place, |b| {
            b.iter_custom(|times| {
                runtime.block_on(async {
                    let mut waited = Duration::ZERO;
                    for _ in 0..times {
                        let queued: Vec<_> = (0..QUEUED as u64).map(|x| double::submit(cluster, x)).collect();
                        let start = Instant::now();
                        double::submit(cluster, 0).await.expect("it runs");
                        waited += start.elapsed();
                        cluster.get_all(&queued).await.expect("they run");
                    }
                    waited
                })
            });
        });
    }
}

fn pin(core: Option<CoreId>) {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
}
