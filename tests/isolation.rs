//! Actors in processes of their own: a crash there is the actor's death, and nobody else's.
#![allow(missing_docs, clippy::new_without_default)]

#[path = "common/mod.rs"]
mod common;

use common::*;
use mobula::id::{Incarnation, NodeId};
use mobula::prelude::*;
use mobula::{CheckpointError, EndReason, Executed, FencingToken, IsolationError, LookupError, SpawnError};

mobula::test_worker!();

/// Is encoded, and never decoded.
#[derive(serde::Serialize)]
pub struct Closed;

impl<'de> serde::Deserialize<'de> for Closed {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it stays closed"))
    }
}

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
    pub fn of(_: Closed) -> Self {
        Self { count: 0 }
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

    /// Finds an actor by its name, and has it count.
    pub async fn counts(&mut self, name: String, ctx: &mut ActorContext<Self>) -> mobula::Result<u64> {
        Ok(ctx.cluster().lookup::<Risk>(name).await?.count().await?)
    }

    /// Makes one that outlives this process, with this name, on a node.
    pub async fn leaves(&mut self, name: String, on: NodeId, ctx: &mut ActorContext<Self>) -> mobula::Result<u32> {
        Ok(Risk::spawn(&ctx.cluster()).name(name).detached().on(on).await?.process().await?)
    }

    /// Makes an actor in a process of its own, from within a worker.
    pub async fn makes(&mut self, ctx: &mut ActorContext<Self>) -> mobula::Result<RiskHandle> {
        Ok(Risk::spawn(&ctx.cluster()).await?)
    }
}

/// Is made of what it saved when it is started again.
#[actor(isolation = "process", restarts = 2)]
pub struct Safe {
    total: u64,
    restored: bool,
}

#[methods]
impl Safe {
    #[constructor]
    pub fn with(total: u64) -> Self {
        Self { total, restored: false }
    }

    pub async fn add(&mut self, by: u64, ctx: &mut ActorContext<Self>) -> Result<u64, CheckpointError> {
        self.total += by;
        ctx.checkpoint(self).await?;
        Ok(self.total)
    }

    pub fn state(&self) -> (u64, bool) {
        (self.total, self.restored)
    }

    pub fn run(&self, ctx: &mut ActorContext<Self>) -> (u32, Incarnation, FencingToken) {
        (std::process::id(), ctx.incarnation(), ctx.fence())
    }

    pub fn abort(&mut self) {
        std::process::abort();
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    #[checkpoint]
    fn save(&self) -> u64 {
        self.total
    }

    #[restore]
    fn restored(total: u64) -> Self {
        Self { total, restored: true }
    }
}

/// Asks once more until it is found where it is now: what was sent before its end was known may have run.
async fn found<T>(ask: impl AsyncFn() -> Result<T, CallError>) -> T {
    let found = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(CallError::NodeDied { executed: Executed::Maybe, .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    bounded(found).await
}

/// The process that started another.
fn parent(process: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process that runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("its parent");
    parent.trim().parse().expect("a number")
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
    let next = found(async || risk.process().await).await;
    assert!(next != process && next != worker && parent(next) == worker);
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
    let error = bounded(Risk::spawn_of(&cluster, Closed)).await.err().unwrap();
    assert!(error.to_string().contains("it stays closed"), "{error}");
    until("the end of both processes", || cluster.nodes().len() == members).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_starts_it_again_in_another_process_with_what_it_saved_until_that_is_spent() {
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0)).await.unwrap();
    let [(_, worker)] = workers(&cluster)[..] else { panic!("a worker") };
    // All that the worker has: each process takes the room of the one before it.
    let safe = bounded(Safe::spawn(&cluster, 10).cpus(1.0)).await.unwrap();
    assert_eq!(bounded(safe.add(1)).await, Ok(11));
    let (first, incarnation, fence) = bounded(safe.run()).await.unwrap();
    assert_eq!(parent(first), worker);
    // A panic is counted by itself, and moves nothing.
    assert!(matches!(bounded(safe.falls()).await, Err(CallError::Panicked { .. })));
    let (same, restarted, later) = bounded(safe.run()).await.unwrap();
    assert_eq!((same, restarted.placement, restarted.restart), (first, incarnation.placement, 1));
    assert!(later > fence);
    let ended = tokio::spawn(safe.ended());
    let (mut last, mut latest) = (first, later);
    for _ in 0..2 {
        assert!(bounded(safe.abort()).await.is_err());
        assert_eq!(found(async || safe.state().await).await, (11, true));
        let (process, incarnation, fence) = bounded(safe.run()).await.unwrap();
        assert!(process != last && parent(process) == worker && fence > latest, "{incarnation:?}");
        gone(last).await;
        (last, latest) = (process, fence);
    }
    assert!(!ended.is_finished(), "it went on");
    assert!(bounded(safe.abort()).await.is_err());
    assert_eq!(bounded(ended).await.unwrap(), Ok(EndReason::NodeDied));
    gone(last).await;
    let next = bounded(Safe::spawn(&cluster, 1).cpus(1.0).wait_for_node()).await.unwrap();
    assert_eq!(bounded(next.state()).await, Ok((1, false)), "its room is free");
    // Nor does one begin that needs the room of another before its process has ended.
    let (process, ..) = bounded(next.run()).await.unwrap();
    assert_eq!(bounded(next.stop()).await, Ok(EndReason::Stopped));
    let last = bounded(Safe::spawn(&cluster, 2).cpus(1.0)).await.unwrap();
    assert!(!runs(process), "they would take the same CPU");
    assert_eq!(bounded(last.state()).await, Ok((2, false)));
    drop((safe, next, last));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_a_name_that_other_nodes_find_it_by() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let meek = bounded(Meek::spawn(&cluster)).await.unwrap();
    let made = || Risk::spawn(&cluster).name("risk").restarts(1).get_or_spawn();
    let [one, other] = [made(), made()].map(|spawn| tokio::spawn(spawn.into_future()));
    let (one, other) = (bounded(one).await.unwrap().unwrap(), bounded(other).await.unwrap().unwrap());
    assert_eq!(one.id(), other.id());
    let process = bounded(one.process()).await.unwrap();
    assert_eq!(bounded(one.count()).await, Ok(1));
    assert_eq!(bounded(meek.counts("risk".to_owned())).await, Ok(2));
    let error = bounded(Risk::spawn(&cluster).name("risk")).await.err().unwrap();
    assert!(matches!(error, SpawnError::NotPlaced(_)) && error.to_string().contains("is taken"), "{error:?}");
    // It keeps its name in the next process.
    assert!(bounded(one.abort()).await.is_err());
    gone(process).await;
    let next = found(async || other.process().await).await;
    assert_eq!(bounded(meek.counts("risk".to_owned())).await, Ok(1));
    assert_ne!(next, process);
    assert_eq!(bounded(one.stop()).await, Ok(EndReason::Stopped));
    gone(next).await;
    let found = bounded(cluster.lookup::<Risk>("risk")).await.err();
    assert!(matches!(found, Some(LookupError::NotFound(_))), "{found:?}");
    drop((one, other, meek));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_one_outlives_who_made_it_until_it_is_killed() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [(host, parent_of), (dies, victim)] = workers(&cluster)[..] else { panic!("two workers") };
    let meek = bounded(Meek::spawn(&cluster).on(dies)).await.unwrap();
    let process = bounded(meek.leaves("stays".to_owned(), host)).await.unwrap();
    assert_eq!(parent(process), parent_of);
    kill(victim);
    until("the end of its maker", || workers(&cluster).len() == 1).await;
    let stays = bounded(cluster.lookup::<Risk>("stays")).await.unwrap();
    assert_eq!((bounded(stays.process()).await, bounded(stays.count()).await), (Ok(process), Ok(1)));
    drop(stays);
    let stays = bounded(cluster.lookup::<Risk>("stays")).await.unwrap();
    assert_eq!(bounded(stays.count()).await, Ok(2), "nor does it hang on a handle");
    assert_eq!(bounded(stays.kill()).await, Ok(EndReason::Killed));
    gone(process).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_takes_its_process_along_and_it_comes_back_elsewhere() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [(first, victim), (_, other)] = workers(&cluster)[..] else { panic!("two workers") };
    let safe = bounded(Safe::spawn(&cluster, 7).name("safe").prefer(first)).await.unwrap();
    assert_eq!(bounded(safe.add(1)).await, Ok(8));
    let (process, incarnation, fence) = bounded(safe.run()).await.unwrap();
    assert_eq!(parent(process), victim);
    kill(victim);
    gone(process).await;
    assert_eq!(found(async || safe.state().await).await, (8, true));
    let (next, later, newer) = bounded(safe.run()).await.unwrap();
    assert_eq!(parent(next), other);
    assert!(later.placement > incarnation.placement && newer > fence);
    let named = bounded(cluster.lookup::<Safe>("safe")).await.unwrap();
    assert_eq!(bounded(named.run()).await.map(|(process, ..)| process), Ok(next));
    drop((safe, named));
    gone(next).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_heads_care_a_constructor_that_fails_or_crashes_says_so_and_frees_its_name() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let members = cluster.nodes().len();
    let error = bounded(Risk::spawn_fails(&cluster, "no".to_owned()).name("risk").restarts(2)).await.err().unwrap();
    assert_eq!(error, SpawnError::App("no".to_owned()));
    let error = bounded(Risk::spawn_aborts(&cluster).name("risk").restarts(1)).await.err().unwrap();
    assert!(matches!(error, SpawnError::NotPlaced(_)), "{error:?}");
    assert!(error.to_string().contains("the node it ran on"), "{error}");
    // One that its spawner waits for no longer, however far it has come.
    for _ in 0..3 {
        let late = Risk::spawn(&cluster).name("risk").timeout(std::time::Duration::from_millis(1));
        assert!(matches!(bounded(late).await, Err(SpawnError::Timeout { .. })));
        let next = loop {
            match bounded(Risk::spawn(&cluster).name("risk")).await {
                Ok(next) => break next,
                // The former one is about to end; the pause only keeps the core free for that.
                Err(SpawnError::NotPlaced(_)) => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(bounded(next.stop()).await, Ok(EndReason::Stopped));
    }
    until("the end of all processes", || cluster.nodes().len() == members).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_said() {
    let alone = bounded(Cluster::local()).await.unwrap();
    for spawn in [Risk::spawn(&alone), Risk::spawn(&alone).name("risk"), Risk::spawn(&alone).detached()] {
        let error = bounded(spawn).await.err().unwrap();
        assert_eq!(error, SpawnError::Isolation(IsolationError::OneProcess));
    }
    bounded(alone.shutdown()).await;
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    // Any actor may be made so.
    let meek = bounded(Meek::spawn(&cluster).isolated()).await.unwrap();
    assert!(!cluster.worker_processes().contains(&bounded(meek.process()).await.unwrap()));
    drop(meek);
    ends_without_a_trace(cluster).await;
}
