//! A job that outlives its processes: `cargo run --release --example survivor [-- --seed S] [--runs N] [--workers N]`.
//!
//! 10,000 tasks that depend on each other and 200 actors with state run on worker processes, while workers and the head are
//! killed, stopped and started again at random. The results must be those of one thread that nobody disturbs.

mod chaos;
mod job;

use anyhow::{Context, bail, ensure};
use chaos::{Chaos, Place};
use mobula::prelude::*;
use std::time::{Duration, Instant};

/// Short, so that what is stopped for longer loses its life within the run.
const LEASE: Duration = Duration::from_secs(4);
/// A run that takes longer hangs.
const BOUND: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &*arguments {
        [role, folder] if role == "head" => return head(&Place::at(folder)?).await,
        [role, folder] if role == "worker" => return worker(&Place::at(folder)?).await,
        _ => {}
    }
    let (mut seed, mut runs, mut workers) = (1, 1, 4);
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--seed" => seed = value.parse().context("--seed")?,
            [name, value] if name == "--runs" => runs = value.parse().context("--runs")?,
            [name, value] if name == "--workers" => workers = value.parse().context("--workers")?,
            _ => bail!("survivor takes --seed S, --runs N and --workers N, not {pair:?}"),
        }
    }
    for seed in seed..seed + runs {
        let ran = tokio::time::timeout(BOUND, run(seed, workers)).await;
        ran.with_context(|| format!("seed {seed}: nothing hangs, but this did"))?
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

async fn run(seed: u64, workers: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    let place = Place::new()?;
    let chaos = Chaos::start(&place, seed, workers).await?;
    let cluster = Cluster::connect(place.address()).key(place.key()).head_wait(Duration::from_secs(30)).await?;
    let (tasks, deposits) = tokio::try_join!(job::tasks(&cluster, seed), job::accounts(&cluster, seed))?;
    let survived = chaos.ends().await;
    cluster.shutdown().await;
    println!(
        "seed {seed}: {tasks} tasks and {deposits} calls, all right, in {:.1} s, through {survived}",
        start.elapsed().as_secs_f64()
    );
    ensure!(survived.faults() > 0, "nothing was broken");
    Ok(())
}

/// Serves a cluster until it is killed.
async fn head(place: &Place) -> anyhow::Result<()> {
    let head = Cluster::builder().head().listen(place.address()).key(place.key()).identity(place.identity()?);
    let head = head.journal(place.journal()).lease(LEASE).suspect_after(LEASE / 4).await?;
    println!("ready");
    Err(head.departed().await.into())
}

/// Runs what it is given until it is killed.
async fn worker(place: &Place) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let worker = Cluster::builder().worker_of(place.address()).key(place.key()).cpus(1.0);
        match worker.await {
            Ok(worker) => return Err(worker.departed().await.into()),
            // The head may be away just now.
            Err(error) if start.elapsed() > BOUND => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
