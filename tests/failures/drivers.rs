//! Drivers that die.

use crate::actors::{Gate, Sloth};
use crate::common::*;
use crate::heads::Keys;
use mobula::EndReason;
use mobula::prelude::*;
use std::path::Path;
use std::time::Duration;

/// Starts workers, keeps them busy, and waits for its end.
pub(crate) fn owner_of_workers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
        let gate = bounded(Gate::spawn(&cluster)).await.unwrap();
        // More than a worker has threads: its end must not depend on them.
        let sloths = futures::future::join_all((0..16).map(|_| Sloth::spawn(&cluster, &gate).into_future()));
        for sloth in bounded(sloths).await {
            bounded(sloth.unwrap().block(600).tell()).await.unwrap();
        }
        report("workers", format_args!("{:?}", cluster.worker_processes()));
        std::future::pending::<()>().await;
    });
}

/// What any later start does: it removes what the dead left.
pub(crate) fn start_and_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { bounded(bounded(Cluster::local().workers(1)).await.unwrap().shutdown()).await });
}

/// Joins a running cluster, spawns, and waits for its end.
pub(crate) fn connected() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cluster = bounded(Keys::given().driver()).await.unwrap();
        let gate = bounded(Gate::spawn(&cluster)).await.unwrap();
        let stays = bounded(Sloth::spawn(&cluster, &gate).name("stays").detached()).await.unwrap();
        let ephemeral = bounded(Sloth::spawn(&cluster, &gate)).await.unwrap();
        bounded(stays.keep(&ephemeral)).await.unwrap();
        let _goes = bounded(Sloth::spawn(&cluster, &gate).name("goes")).await.unwrap();
        report("spawned", cluster.node_id());
        std::future::pending::<()>().await;
    });
}

/// A lease that outlasts every bound of these tests: what ends within them was proved.
const BEYOND_TEST: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_driver_spawned_ends_at_once_and_what_it_detached_stays() {
    let keys = Keys::new();
    let cluster = Cluster::local().workers(1).listen(&keys.address).cluster_key(keys.key.clone());
    let cluster = bounded(cluster.identity(keys.head.clone()).lease(BEYOND_TEST)).await.unwrap();
    let mut driver = Player::start("driver of a running cluster", &keys.environment());
    let id = driver.reported("spawned").await;
    let stays = bounded(Sloth::lookup(&cluster, "stays")).await.unwrap();
    let goes = bounded(Sloth::lookup(&cluster, "goes")).await.unwrap();
    assert!(cluster.nodes().iter().any(|node| node.id.to_string() == id));
    assert_eq!(bounded(goes.noted()).await, Ok(vec![]));
    driver.kill();
    // Nobody of the cluster is its parent: its neighbours see it.
    assert_eq!(bounded(goes.ended()).await, Ok(EndReason::OwnerDied));
    assert_eq!(bounded(stays.end_of_kept()).await, Ok(EndReason::OwnerDied));
    assert!(!cluster.nodes().iter().any(|node| node.id.to_string() == id));
    assert!(bounded(Sloth::lookup(&cluster, "goes")).await.is_err());
    assert_eq!(bounded(stays.noted()).await, Ok(vec![]));
    ends_without_a_trace(cluster).await;
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_killed_driver_takes_its_workers_with_it_and_leaves_no_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = Player::start("owner of workers", &[("XDG_RUNTIME_DIR", folder.path())]);
    let workers: Vec<u32> = serde_json::from_str(&owner.reported("workers").await).unwrap();
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| runs(*worker)));
    owner.kill();
    until("the workers' end", || !workers.iter().any(|worker| runs(*worker))).await;
    Player::start("start and end", &[("XDG_RUNTIME_DIR", folder.path())]).ends().await;
    assert_eq!(entries(folder.path()), [] as [std::path::PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_nobody_of_the_cluster_started_are_seen_dead_by_their_neighbours() {
    let keys = Keys::new();
    let head = Cluster::builder().head().listen(&keys.address).cluster_key(keys.key.clone());
    let head = bounded(head.identity(keys.head.clone()).lease(BEYOND_TEST)).await.unwrap();
    let mut workers = Vec::new();
    for _ in 0..4 {
        let mut worker = Player::start("worker", &keys.environment());
        worker.reported("joined").await;
        workers.push(worker);
    }
    let driver = bounded(keys.driver()).await.unwrap();
    let hosts = || driver.nodes().into_iter().filter(|node| node.hosts_actors).collect::<Vec<_>>();
    until("four workers", || hosts().len() == 4).await;
    let gate = bounded(Gate::spawn(&driver).on(hosts()[0].id)).await.unwrap();
    let mut held = Vec::new();
    for (arrivals, host) in (1..).zip(hosts().into_iter().skip(1)) {
        let sloth = bounded(Sloth::spawn(&driver, &gate).on(host.id)).await.unwrap();
        held.push(tokio::spawn(sloth.hold()));
        bounded(gate.opens_at(arrivals)).await.unwrap();
    }

    // All but one at once, so that some die together with those that watch them.
    let lives = hosts()[0].process;
    let (survives, dead): (Vec<_>, Vec<_>) = workers.into_iter().partition(|worker| worker.process() == lives);
    dead.into_iter().for_each(Player::kill);
    for held in held {
        let ended = bounded(held).await.unwrap();
        assert!(matches!(ended, Err(CallError::NodeDied { .. })), "{ended:?}");
    }
    until("one worker", || hosts().len() == 1).await;
    bounded(driver.shutdown()).await;
    survives.into_iter().for_each(Player::kill);
    until("no worker", || !head.nodes().iter().any(|node| node.hosts_actors)).await;
    bounded(head.shutdown()).await;
}
