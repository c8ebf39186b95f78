//! What the attributes of actors and tasks say of where they run and what they take there. Real worker processes.
#![allow(missing_docs)]

mod common;

use common::{bounded, ends_without_a_trace, kill, workers};
use mobula::error::SpawnError;
use mobula::prelude::*;
use mobula::{GetError, task};
use std::time::Duration;

mobula::test_worker!();

/// Takes a licence, of which there is one a node.
#[actor(resource("licence", 1), select("zone", "in(north, west)"), restarts = 3)]
struct Licensed;

#[methods]
impl Licensed {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Takes more than there is, and lives elsewhere.
#[actor(gpus = 2, memory = 1_000, label("zone", "south"), isolation = "process")]
struct Foreign;

#[methods]
impl Foreign {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

#[actor(cpus = 3, wait_for_node)]
struct Patient;

#[methods]
impl Patient {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn there(&self) {}
}

#[actor(cpus = 1, spread)]
struct Apart;

#[methods]
impl Apart {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

#[task(select("zone", "!in(south, west)"))]
fn northern() -> u32 {
    std::process::id()
}

#[task(select("zone", "south"))]
fn southern() -> u32 {
    std::process::id()
}

#[task(cpus = 3, wait_for_node)]
fn patient() {}

async fn northern_cluster(count: usize) -> Cluster {
    bounded(Cluster::local().workers(count).cpus(2.0).resource("licence", 1.0).label("zone", "north")).await.unwrap()
}

/// How long is waited for what does not come.
const BRIEFLY: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_actors_attribute_says_holds_for_each_spawn_unless_that_says_otherwise() {
    let cluster = northern_cluster(1).await;
    let only = workers(&cluster)[0].1;
    let holder = bounded(Licensed::spawn(&cluster)).await.unwrap();
    assert_eq!(bounded(holder.process()).await, Ok(only));
    let full = bounded(Licensed::spawn(&cluster).timeout(BRIEFLY)).await.unwrap_err();
    assert!(matches!(full, SpawnError::Timeout { .. }), "its licence is taken: {full}");
    let other = bounded(Licensed::spawn(&cluster).resource("licence", 0.0)).await.unwrap();
    assert_eq!(bounded(other.process()).await, Ok(only), "this one takes none");
    let nowhere = bounded(Licensed::spawn(&cluster).select("zone", "!north")).await.unwrap_err();
    assert!(nowhere.to_string().contains("no node has"), "{nowhere}");
    let foreign = bounded(Foreign::spawn(&cluster)).await.unwrap_err();
    assert!(foreign.to_string().contains("no node has the labels zone=south"), "{foreign}");
    let foreign = bounded(Foreign::spawn(&cluster).label("zone", "north")).await.unwrap_err();
    assert!(foreign.to_string().contains("no node has gpu ≥ 2"), "{foreign}");
    let own = bounded(Foreign::spawn(&cluster).gpus(0.0).memory(0).label("zone", "north")).await.unwrap();
    assert_ne!(bounded(own.process()).await.unwrap(), only, "a process of its own");
    drop((holder, other, own));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_actors_attribute_says_goes_with_it_when_it_is_placed_again() {
    let cluster = northern_cluster(2).await;
    let spawn = || Licensed::spawn(&cluster).name("holder").get_or_spawn();
    let holder = bounded(spawn()).await.unwrap();
    let first = bounded(holder.process()).await.unwrap();
    let same = bounded(spawn()).await.unwrap();
    assert_eq!(bounded(same.process()).await, Ok(first), "the one that holds the name takes no second licence");
    kill(first);
    let second = bounded(async {
        loop {
            if let Ok(process) = holder.process().await {
                break process;
            }
        }
    });
    let second = second.await;
    assert_ne!(second, first);
    let full = bounded(Licensed::spawn(&cluster).timeout(BRIEFLY)).await.unwrap_err();
    assert!(matches!(full, SpawnError::Timeout { .. }), "it has the only licence that is left: {full}");
    drop((holder, same));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attribute_spreads_actors_unless_a_spawn_chooses_their_node() {
    let cluster = northern_cluster(2).await;
    let [(first, process), (second, other)] = workers(&cluster)[..] else { panic!("two workers") };
    let apart = [bounded(Apart::spawn(&cluster)).await.unwrap(), bounded(Apart::spawn(&cluster)).await.unwrap()];
    let mut processes = bounded(mobula::ask_all(apart.iter().map(|one| one.process()))).await.unwrap();
    processes.sort_unstable();
    assert_eq!(processes, [process.min(other), process.max(other)], "one each, though either has room for both");
    drop(apart);
    for (node, process) in [(first, process), (second, other)] {
        let placed = bounded(Apart::spawn(&cluster).on(node)).await.unwrap();
        assert_eq!(bounded(placed.process()).await, Ok(process));
    }
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attribute_selects_nodes_and_waits_for_one_that_has_what_is_needed() {
    let cluster = northern_cluster(1).await;
    let only = workers(&cluster)[0].1;
    assert_eq!(bounded(northern::submit(&cluster)).await, Ok(only));
    let nowhere = bounded(southern::submit(&cluster)).await.unwrap_err();
    assert!(nowhere.to_string().contains("no node has the labels zone=south"), "{nowhere}");
    assert_eq!(bounded(southern::call(&cluster).select("zone", "*")).await, Ok(only));
    let waits = bounded(patient::call(&cluster).timeout(BRIEFLY)).await.unwrap_err();
    assert!(matches!(&waits, GetError::Timeout { .. }) && waits.to_string().contains("no node has cpu ≥ 3"), "{waits}");
    bounded(patient::call(&cluster).cpus(1.0)).await.unwrap();
    let waits = bounded(Patient::spawn(&cluster).timeout(BRIEFLY)).await.unwrap_err();
    assert!(
        matches!(&waits, SpawnError::Timeout { .. }) && waits.to_string().contains("no node has cpu ≥ 3"),
        "{waits}"
    );
    bounded(bounded(Patient::spawn(&cluster).cpus(1.0)).await.unwrap().there()).await.unwrap();
    ends_without_a_trace(cluster).await;
}
