//! How long an actor is away: after a panic, until its next run answers, and after the death of its node, until it answers
//! from another. The control of the first is a bare task that panics, is seen to, and is spawned anew.

use criterion::{Criterion, SamplingMode};
use mobula::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

fn main() {
    mobula::enter();
    let mut criterion = Criterion::default().configure_from_args();
    // What panics here does so on purpose.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("restart");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("after a panic", |b| b.iter_custom(|times| runtime.block_on(after_panics(times))));
    group.bench_function("bare task that panics", |b| b.iter_custom(|times| runtime.block_on(bare_panics(times))));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("after its node's death", |b| b.iter_custom(|times| runtime.block_on(after_deaths(times))));
    group.finish();
    criterion.final_summary();
}

#[actor(restarts = 1)]
struct Phoenix;

#[methods]
impl Phoenix {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn burn(&mut self) {
        panic!("on purpose");
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Each by an actor of its own: the first restart is at once, those after it in a row are not.
async fn after_panics(times: u64) -> Duration {
    let cluster = Cluster::local().await.expect("a cluster");
    let mut took = Duration::ZERO;
    for _ in 0..times {
        let phoenix = Phoenix::spawn(&cluster).await.expect("an actor");
        phoenix.process().await.expect("it lives");
        let start = Instant::now();
        phoenix.burn().await.expect_err("it panics");
        phoenix.process().await.expect("its next run");
        took += start.elapsed();
    }
    cluster.shutdown().await;
    took
}

async fn bare_panics(times: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        let start = Instant::now();
        tokio::spawn(async { panic!("on purpose") }).await.expect_err("it panics");
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async { answer.send(std::process::id()) });
        answered.await.expect("its next run");
        took += start.elapsed();
    }
    took
}

/// From the signal to the first answer of its next run; the call that is under way is sent again by itself.
async fn after_deaths(times: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        let cluster = Cluster::local().workers(2).await.expect("a cluster");
        let phoenix = Phoenix::spawn(&cluster).await.expect("an actor");
        let before = phoenix.process().await.expect("it lives");
        let victim = Pid::from_raw(before.cast_signed()).expect("a process");
        let start = Instant::now();
        kill_process(victim, Signal::KILL).expect("it may be killed");
        let after = phoenix.process().retries(1).await.expect("its next run");
        took += start.elapsed();
        assert_ne!(after, before);
        cluster.shutdown().await;
    }
    took
}
