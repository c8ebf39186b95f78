//! Asks and tells inside one process. The control does the same by hand, with tokio's mpsc and oneshot.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobula::prelude::*;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

criterion_group!(benches, asks, tells);
criterion_main!(benches);

const MAILBOX: usize = 1_024;

#[actor]
struct Counter {
    total: u64,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self { total: 0 }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }
}

fn asks(c: &mut Criterion) {
    for threads in [1, 2] {
        let mut group = c.benchmark_group(format!("local ask, {threads} threads"));
        group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3)).sample_size(20);
        let runtime = runtime(threads);
        group.bench_function("tokio mpsc and oneshot", |b| {
            b.iter_custom(|times| on(&runtime, ask_tokio(times)));
        });
        group.bench_function("mobula", |b| b.iter_custom(|times| on(&runtime, ask_mobula(times))));
    }
}

fn tells(c: &mut Criterion) {
    for threads in [1, 2] {
        let mut group = c.benchmark_group(format!("local tell, {threads} threads"));
        group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3)).sample_size(20);
        let runtime = runtime(threads);
        group.bench_function("tokio mpsc", |b| b.iter_custom(|times| on(&runtime, tell_tokio(times))));
        group.bench_function("mobula", |b| b.iter_custom(|times| on(&runtime, tell_mobula(times))));
    }
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Runs `work` as a task: the runtime's own threads are what is measured, not the thread that waits for them.
fn on<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    runtime.block_on(runtime.spawn(work)).unwrap()
}

async fn ask_mobula(times: u64) -> Duration {
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster).await.unwrap();
    let start = Instant::now();
    for _ in 0..times {
        counter.add(1).await.unwrap();
    }
    start.elapsed()
}

async fn tell_mobula(times: u64) -> Duration {
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster).await.unwrap();
    let start = Instant::now();
    for _ in 0..times {
        counter.add(1).tell().await.unwrap();
    }
    assert_eq!(counter.add(0).await.unwrap(), times);
    start.elapsed()
}

type Add = (u64, Option<oneshot::Sender<u64>>);

fn tokio_counter() -> mpsc::Sender<Add> {
    let (mailbox, mut inbox) = mpsc::channel::<Add>(MAILBOX);
    tokio::spawn(async move {
        let mut total = 0;
        while let Some((by, reply)) = inbox.recv().await {
            total += by;
            if let Some(reply) = reply {
                let _ = reply.send(total); // the caller may be gone
            }
        }
    });
    mailbox
}

async fn ask_tokio(times: u64) -> Duration {
    let counter = tokio_counter();
    let start = Instant::now();
    for _ in 0..times {
        let (reply, answer) = oneshot::channel();
        counter.send((1, Some(reply))).await.unwrap();
        answer.await.unwrap();
    }
    start.elapsed()
}

async fn tell_tokio(times: u64) -> Duration {
    let counter = tokio_counter();
    let start = Instant::now();
    for _ in 0..times {
        counter.send((1, None)).await.unwrap();
    }
    let (reply, answer) = oneshot::channel();
    counter.send((0, Some(reply))).await.unwrap();
    assert_eq!(answer.await.unwrap(), times);
    start.elapsed()
}
