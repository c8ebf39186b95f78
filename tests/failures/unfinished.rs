//! What still runs of an owner that has ended, or of a spawner that gave up, holds its CPU until it is over.

use crate::common::*;
use crate::heads::Keys;
use mobula::prelude::*;
use mobula::{Demand, DemandKind, ResourceStatus, SpawnError};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(3);
const FOLDER: &str = "MOBULA_TEST_WORK";

/// Files by which a piece of work in another process is seen, and let go.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Work(PathBuf);

impl Work {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn note(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Keeps its thread until it is let go, whatever it is told.
    fn keep_on(&self) {
        self.note("begun");
        while !self.has("go") {
            std::thread::yield_now();
        }
        self.note("over");
    }
}

/// Cannot be stopped.
#[task]
pub(crate) fn keeps_on(work: Work) {
    work.keep_on();
}

/// Whether what came before it was over when it began.
#[task]
pub(crate) fn comes_next(work: Work) -> bool {
    work.has("over")
}

/// Cannot be stopped while it is made, or in a method.
#[actor]
pub struct Stubborn {
    work: Work,
    was_over: bool,
}

#[methods]
impl Stubborn {
    #[constructor(default)]
    pub fn next(work: Work) -> Self {
        Self { was_over: work.has("over"), work }
    }

    #[constructor]
    pub fn slowly(work: Work) -> Self {
        work.keep_on();
        Self { was_over: false, work }
    }

    pub fn keep_on(&mut self) {
        self.work.keep_on();
    }

    pub fn came_when_it_was_over(&self) -> bool {
        self.was_over
    }
}

/// Begins something that it does not see the end of.
pub(crate) fn driver() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let work = Work(std::env::var_os(FOLDER).unwrap().into());
        let cluster = bounded(Keys::given().driver()).await.unwrap();
        if work.has("by an actor") {
            let stubborn = bounded(Stubborn::spawn(&cluster, work).cpus(1.0)).await.unwrap();
            report("begins", cluster.node_id());
            let _ = stubborn.keep_on().await;
        } else {
            let _running = keeps_on::submit(&cluster, work);
            report("begins", cluster.node_id());
            std::future::pending::<()>().await;
        }
    });
}

/// A cluster of one worker with one CPU, which others can join.
async fn one_cpu(keys: &Keys) -> Cluster {
    let cluster = Cluster::local().workers(1).cpus(1.0).listen(&keys.address).cluster_key(keys.key.clone());
    bounded(cluster.identity(keys.head.clone()).lease(LEASE)).await.unwrap()
}

async fn demand(cluster: &Cluster, is_it: impl Fn(&Demand) -> bool) -> Demand {
    let seen = async {
        loop {
            if let Some(line) = cluster.demand().await.unwrap().into_iter().find(&is_it) {
                return line;
            }
        }
    };
    bounded(seen).await
}

/// CPUs that the head counts as free, of all nodes.
async fn free_cpus(cluster: &Cluster) -> f64 {
    let nodes = bounded(cluster.status()).await.unwrap().nodes;
    let cpus = nodes.iter().flat_map(|node| &node.resources).filter(|resource| resource.name == "cpu");
    cpus.map(|resource: &ResourceStatus| resource.free).sum()
}

/// Something runs on the only CPU of a driver that is killed then; gives what the others see.
async fn left_behind(keys: &Keys, cluster: &Cluster, work: &Work) {
    let environment: [(&str, &Path); 2] = [keys.environment()[0], (FOLDER, &work.0)];
    let mut driver = Player::start("driver that leaves work behind", &environment);
    let id = driver.reported("begins").await;
    until("the work", || work.has("begun")).await;
    driver.kill();
    until("its end", || !cluster.nodes().iter().any(|node| node.id.to_string() == id)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_outlives_its_owner_holds_its_cpu_until_it_is_over() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let (cluster, work) = (one_cpu(&keys).await, Work(folder.path().into()));
    left_behind(&keys, &cluster, &work).await;
    let next = comes_next::submit(&cluster, work.clone());
    let line = demand(&cluster, |line| line.kind == DemandKind::Tasks && line.task.ends_with("::comes_next")).await;
    assert_eq!((line.wanted, line.granted), (1, 0), "{line:?}");
    assert_eq!(free_cpus(&cluster).await, 0.0);
    work.note("go");
    assert_eq!(bounded(next).await, Ok(true), "it began when the other was over");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_outlives_its_owner_holds_its_cpu_until_it_is_over() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let (cluster, work) = (one_cpu(&keys).await, Work(folder.path().into()));
    work.note("by an actor");
    left_behind(&keys, &cluster, &work).await;
    let next = tokio::spawn(Stubborn::spawn(&cluster, work.clone()).cpus(1.0).into_future());
    demand(&cluster, |line| matches!(line.kind, DemandKind::Actor(_))).await;
    assert_eq!(free_cpus(&cluster).await, 0.0);
    work.note("go");
    let next = bounded(next).await.unwrap().unwrap();
    assert_eq!(bounded(next.came_when_it_was_over()).await, Ok(true));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_was_given_up_while_it_was_made_holds_its_cpu_until_it_is_gone() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let (cluster, work) = (one_cpu(&keys).await, Work(folder.path().into()));
    let slow = tokio::spawn(Stubborn::spawn_slowly(&cluster, work.clone()).cpus(1.0).into_future());
    until("its constructor", || work.has("begun")).await;
    slow.abort();
    assert!(slow.await.is_err_and(|error| error.is_cancelled()));
    let next = tokio::spawn(Stubborn::spawn(&cluster, work.clone()).cpus(1.0).into_future());
    demand(&cluster, |line| matches!(line.kind, DemandKind::Actor(_))).await;
    assert_eq!(free_cpus(&cluster).await, 0.0);
    work.note("go");
    let next = bounded(next).await.unwrap();
    assert!(!matches!(next, Err(SpawnError::NotPlaced(_))));
    assert_eq!(bounded(next.unwrap().came_when_it_was_over()).await, Ok(true));
    ends_without_a_trace(cluster).await;
}
