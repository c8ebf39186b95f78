//! Actors in processes of their own: a crash there is the actor's death, and nobody else's.
#![allow(missing_docs, clippy::new_without_default)]

#[path = "common/mod.rs"]
mod common;

use common::*;
use mobula::prelude::*;
use mobula::{EndReason, Executed, InvalidOption, IsolationError, SpawnError};

mobula::test_worker!();

/// Does what no actor should.
#[actor(isolation = "process")]
pub struct Risk {
    count: u64,
}

#[methods]
impl Risk {
    #[constructor(default)]
    pub fn new() -> Self {
        Self { count: 0 }
    }

    #[constructor]
    pub fn fails(why: String) -> Result<Self, String> {
        Err(why)
    }

    #[constructor]
    pub fn aborts() -> Self {
        std::process::abort()
    }

    pub fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub fn process(&mut self) -> u32 {
        std::process::id()
    }

    pub fn abort(&mut self) {
        std::process::abort();
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    /// Takes memory, a megabyte at a time, and gives how many.
    pub fn take(&mut self, megabytes: usize) -> usize {
        let taken: Vec<Vec<u8>> = (0..megabytes).map(|_| vec![1; 1 << 20]).collect();
        taken.iter().map(|each| usize::from(each[1 << 19])).sum()
    }

    pub fn sum(&mut self, items: &[u64]) -> u64 {
        items.iter().sum()
    }
}

/// Shares its process with others.
#[actor]
pub struct Meek {}

#[methods]
impl Meek {
    #[constructor]
    pub fn new() -> Self {
        Self {}
    }

    pub fn process(&mut self) -> u32 {
        std::process::id()
    }

    /// Makes an actor in a process of its own, from within a worker.
    pub async fn makes(&mut self, ctx: &mut ActorContext<Self>) -> mobula::Result<RiskHandle> {
        Ok(Risk::spawn(&ctx.cluster()).await?)
    }
}

/// Waits until a process has ended.
async fn gone(process: u32) {
    until("the end of the process", || !runs(process)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_the_death_of_one_actor_and_of_nothing_else() {
    let cluster = bounded(Cluster::local().workers(1).cpus(2.0)).await.unwrap();
    let meek = bounded(Meek::spawn(&cluster)).await.unwrap();
    let [one, other] = [bounded(Risk::spawn(&cluster).cpus(1.0)).await, bounded(Risk::spawn(&cluster)).await];
    let (one, other) = (one.unwrap(), other.unwrap());
    let processes = [bounded(meek.process()).await, bounded(one.process()).await, bounded(other.process()).await];
    let [worker, of_one, of_other] = processes.map(Result::unwrap);
    assert!(worker != of_one && worker != of_other && of_one != of_other);
    assert_eq!(bounded(one.count()).await, Ok(1));
    let watched = tokio::spawn(one.ended());

    let error = bounded(one.abort()).await.unwrap_err();
    assert!(matches!(error, CallError::NodeDied { executed: Executed::Maybe, .. }), "{error:?}");
    assert_eq!(bounded(watched).await.unwrap(), Ok(EndReason::NodeDied));
    assert_eq!(bounded(one.count()).await.unwrap_err().executed(), Executed::No);
    assert_eq!(bounded(other.count()).await, Ok(1));
    assert_eq!(bounded(meek.process()).await, Ok(worker));
    gone(of_one).await;

    // What was reserved for it is free: both CPUs go to the next ones.
    let next = bounded(Risk::spawn(&cluster).cpus(2.0).wait_for_node()).await.unwrap();
    assert_eq!(bounded(next.count()).await, Ok(1));
    let of_next = bounded(next.process()).await.unwrap();
    drop((next, other));
    gone(of_next).await;
    gone(of_other).await;
    drop(meek);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_may_be_started_again_has_a_process_of_its_own_all_the_same() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let meek = bounded(Meek::spawn(&cluster)).await.unwrap();
    let risk = bounded(Risk::spawn(&cluster).restarts(2)).await.unwrap();
    let [worker, process] = [bounded(meek.process()).await, bounded(risk.process()).await].map(Result::unwrap);
    assert!(process != worker && process != std::process::id());
    assert_eq!(bounded(risk.count()).await, Ok(1));
    // A panic is no crash: it is started again where it is.
    assert!(matches!(bounded(risk.falls()).await, Err(CallError::Panicked { .. })));
    assert_eq!(bounded(risk.process()).await, Ok(process));
    assert_eq!(bounded(risk.count()).await, Ok(1), "made anew");
    assert!(matches!(bounded(risk.abort()).await, Err(CallError::NodeDied { executed: Executed::Maybe, .. })));
    assert_eq!(bounded(meek.process()).await, Ok(worker), "nobody else dies of it");
    gone(process).await;
    drop((risk, meek));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_stopped_killed_and_let_go_as_any_other() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let made = async || {
        let actor = bounded(Risk::spawn(&cluster)).await.unwrap();
        let process = bounded(actor.process()).await.unwrap();
        (actor, process)
    };
    let (actor, process) = made().await;
    assert_eq!(bounded(actor.stop()).await, Ok(EndReason::Stopped));
    gone(process).await;
    let (actor, process) = made().await;
    assert_eq!(bounded(actor.kill()).await, Ok(EndReason::Killed));
    gone(process).await;
    let (actor, process) = made().await;
    bounded(actor.count().tell()).await.unwrap();
    drop(actor);
    gone(process).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_takes_the_processes_of_its_actors_along_and_so_does_the_end_of_the_cluster() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [(stays, _), (dies, victim)] = workers(&cluster)[..] else { panic!("two workers") };
    let one = bounded(Risk::spawn(&cluster).on(stays)).await.unwrap();
    let other = bounded(Risk::spawn(&cluster).on(dies)).await.unwrap();
    let of_one = bounded(one.process()).await.unwrap();
    let of_other = bounded(other.process()).await.unwrap();
    kill(victim);
    gone(of_other).await;
    assert_eq!(bounded(one.count()).await, Ok(1));
    ends_without_a_trace(cluster).await;
    assert!(!runs(of_one), "it ends with the cluster");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_of_a_worker_makes_one_in_a_process_of_its_own_and_passes_it_on() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let meek = bounded(Meek::spawn(&cluster)).await.unwrap();
    let risk = bounded(meek.makes()).await.unwrap();
    let worker = bounded(meek.process()).await.unwrap();
    let process = bounded(risk.process()).await.unwrap();
    assert_ne!(process, worker);
    // What lies in shared memory is read there as in any process of the host.
    let items: Vec<u64> = (0..100_000).collect();
    let object = bounded(cluster.put_slice(&items)).await.unwrap();
    assert_eq!(bounded(risk.sum(&object)).await, Ok(items.iter().sum()));
    drop(risk);
    gone(process).await;
    drop((meek, object));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_more_memory_than_it_was_given_is_aborted() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let risk = bounded(Risk::spawn(&cluster).memory(128 << 20)).await.unwrap();
    assert_eq!(bounded(risk.take(64)).await, Ok(64));
    let error = bounded(risk.take(512)).await.unwrap_err();
    assert!(matches!(error, CallError::NodeDied { .. }), "{error:?}");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constructor_that_fails_or_crashes_says_so_and_leaves_nothing() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let members = cluster.nodes().len();
    let error = bounded(Risk::spawn_fails(&cluster, "no".to_owned())).await.err().unwrap();
    assert_eq!(error, SpawnError::App("no".to_owned()));
    let error = bounded(Risk::spawn_aborts(&cluster)).await.err().unwrap();
    assert!(matches!(error, SpawnError::Node(CallError::NodeDied { .. })), "{error:?}");
    until("the end of both processes", || cluster.nodes().len() == members).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_said() {
    let alone = bounded(Cluster::local()).await.unwrap();
    let error = bounded(Risk::spawn(&alone)).await.err().unwrap();
    assert_eq!(error, SpawnError::Isolation(IsolationError::OneProcess));
    bounded(alone.shutdown()).await;
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    for spawn in [Risk::spawn(&cluster).name("risk"), Risk::spawn(&cluster).detached()] {
        let error = bounded(spawn).await.err().unwrap();
        assert_eq!(error, SpawnError::Invalid(InvalidOption::IsolatedForAll));
    }
    // Any actor may be made so.
    let meek = bounded(Meek::spawn(&cluster).isolated()).await.unwrap();
    assert!(!cluster.worker_processes().contains(&bounded(meek.process()).await.unwrap()));
    drop(meek);
    ends_without_a_trace(cluster).await;
}
