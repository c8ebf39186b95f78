//! Heads that die, and their nodes.

use crate::actors::{Gate, Sloth};
use crate::common::*;
use crate::workers::process;
use mobula::net::{ClusterKey, Identity};
use mobula::prelude::*;
use mobula::{ClusterBuilder, Executed, GetError, LookupError, SpawnError, task};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long the nodes of these tests wait for a head.
const HEAD_WAIT: Duration = Duration::from_millis(700);

/// The keys of a cluster whose head is a process of its own, and its address; in files, for other processes.
pub(crate) struct Keys {
    pub(crate) key: ClusterKey,
    pub(crate) head: Identity,
    pub(crate) address: String,
    folder: PathBuf,
    _kept: Option<tempfile::TempDir>,
}

const FOLDER: &str = "MOBULA_TEST_FOLDER";

impl Keys {
    pub(crate) fn new() -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let (key, head) = ClusterKey::generate().unwrap();
        key.save(&folder.path().join("key")).unwrap();
        head.save(&folder.path().join("head")).unwrap();
        let (address, path) = (address(folder.path()), folder.path().to_owned());
        Keys { key, head, address, folder: path, _kept: Some(folder) }
    }

    /// Those that the process that started this one has made.
    pub(crate) fn given() -> Keys {
        let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the folder of the keys"));
        let key = ClusterKey::load(&folder.join("key")).unwrap();
        let head = Identity::load(&folder.join("head")).unwrap();
        Keys { key, head, address: address(&folder), folder, _kept: None }
    }

    pub(crate) fn environment(&self) -> [(&str, &Path); 1] {
        [(FOLDER, &self.folder)]
    }

    pub(crate) fn driver(&self) -> ClusterBuilder {
        Cluster::connect(&self.address).cluster_key(self.key.clone()).head_wait(HEAD_WAIT)
    }

    pub(crate) fn worker(&self) -> ClusterBuilder {
        Cluster::builder().worker_of(&self.address).cluster_key(self.key.clone()).head_wait(HEAD_WAIT)
    }

    /// A head in a process of its own, ready.
    pub(crate) async fn head(&self) -> Player {
        let mut head = Player::start("head", &self.environment());
        head.reported("ready").await;
        head
    }
}

fn address(folder: &Path) -> String {
    format!("ipc://{}", folder.join("sockets").display())
}

/// Runs a head alone until it is killed.
pub(crate) fn head() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let keys = Keys::given();
        let head = Cluster::builder().head().listen(&keys.address).cluster_key(keys.key).identity(keys.head);
        let head = bounded(head).await.unwrap();
        report("ready", head.node_id());
        std::future::pending::<()>().await;
    });
}

/// Runs a worker until it is killed.
pub(crate) fn worker() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let worker = bounded(Keys::given().worker()).await.unwrap();
        report("joined", worker.node_id());
        std::future::pending::<()>().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_for_which_the_head_cannot_be_asked_says_so_after_its_wait() {
    let keys = Keys::new();
    let head = keys.head().await;
    let mut worker = Player::start("worker", &keys.environment());
    worker.reported("joined").await;
    let driver = bounded(keys.driver()).await.unwrap();
    head.kill();
    let away = bounded(process::call(&driver)).await.unwrap_err();
    assert!(matches!(away, GetError::HeadAway { waited } if waited >= HEAD_WAIT), "{away:?}");
    assert_eq!(away.executed(), Executed::No);
    let head = keys.head().await;
    let back = async {
        loop {
            match bounded(process::call(&driver).wait_for_node()).await {
                Ok(process) => return process,
                Err(error) => assert!(matches!(error, GetError::HeadAway { .. }), "{error:?}"),
            }
        }
    };
    assert_eq!(bounded(back).await, worker.process(), "and goes there when it is back");
    bounded(driver.shutdown()).await;
    worker.kill();
    head.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_the_workers_of_a_head_that_has_just_started_anew() {
    let keys = Keys::new();
    let head = keys.head().await;
    let mut worker = Player::start("worker", &keys.environment());
    worker.reported("joined").await;
    let driver = bounded(keys.driver()).await.unwrap();
    let life = || driver.nodes().into_iter().find(|node| node.id == driver.node_id()).map(|node| node.life);
    assert_eq!(bounded(process::call(&driver)).await, Ok(worker.process()));

    signal(worker.process(), rustix::process::Signal::STOP);
    let before = life();
    head.kill();
    let head = keys.head().await;
    until("the driver under the new head", || life() > before).await;
    let waits = tokio::spawn(process::call(&driver).into_future());
    let held = async {
        while !bounded(driver.demand()).await.is_ok_and(|all| all.iter().any(|demand| demand.why.is_some())) {
            tokio::task::yield_now().await;
        }
    };
    bounded(held).await;
    assert!(!waits.is_finished(), "its worker may yet come back");
    signal(worker.process(), rustix::process::Signal::CONT);
    assert_eq!(bounded(waits).await.unwrap(), Ok(worker.process()));
    bounded(driver.shutdown()).await;
    worker.kill();
    head.kill();
}

/// Waits until this node knows just these as hosts of actors, none of them in doubt.
async fn knows_worker(cluster: &Cluster, worker: &Cluster) {
    let is_it = |node: &mobula::NodeInfo| node.id == worker.node_id() && !node.suspect;
    until("the worker among the members", || {
        let nodes = cluster.nodes();
        nodes.iter().any(is_it) && nodes.iter().filter(|node| node.hosts_actors).count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_head_is_away_and_what_needs_it_says_so_in_time() {
    let keys = Keys::new();
    let head = keys.head().await;
    let worker = bounded(keys.worker()).await.unwrap();
    let driver = bounded(keys.driver()).await.unwrap();
    knows_worker(&driver, &worker).await;
    let gate = bounded(Gate::spawn(&driver)).await.unwrap();
    let sloth = bounded(Sloth::spawn(&driver, &gate).name("sloth")).await.unwrap();
    bounded(sloth.note(1)).await.unwrap();

    head.kill();
    bounded(sloth.note(2)).await.unwrap();
    let asked = Instant::now();
    let found = bounded(Sloth::lookup(&driver, "sloth")).await.unwrap_err();
    assert!(matches!(found, LookupError::Head(_)), "{found:?}");
    assert!(found.to_string().contains("the head has been away"), "{found}");
    let made = bounded(Sloth::spawn(&driver, &gate).name("other")).await.unwrap_err();
    assert!(matches!(made, SpawnError::Head(_)), "{made:?}");
    let waited = asked.elapsed();
    assert!(waited >= HEAD_WAIT && waited < 2 * HEAD_WAIT + DETECTION, "{waited:?}");
    // Where ephemeral actors of this type may go was said before.
    let ephemeral = bounded(Gate::spawn(&driver)).await.unwrap();
    bounded(ephemeral.arrive()).await.unwrap();
    assert_eq!(bounded(sloth.noted()).await, Ok(vec![1, 2]));
    bounded(driver.shutdown()).await;
    bounded(worker.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_a_head_that_starts_anew_under_new_lives_and_without_their_actors() {
    let keys = Keys::new();
    let head = keys.head().await;
    let worker = bounded(keys.worker()).await.unwrap();
    let driver = bounded(keys.driver()).await.unwrap();
    knows_worker(&driver, &worker).await;
    let life = |cluster: &Cluster, of: &Cluster| {
        let nodes = cluster.nodes().into_iter();
        nodes.filter(|node| node.id == of.node_id()).map(|node| node.life).max()
    };
    let before = life(&driver, &worker).unwrap().max(life(&driver, &driver).unwrap());
    let gate = bounded(Gate::spawn(&driver)).await.unwrap();
    let sloth = bounded(Sloth::spawn(&driver, &gate).name("sloth")).await.unwrap();
    let held = tokio::spawn(sloth.hold());
    bounded(gate.opens_at(1)).await.unwrap();

    head.kill();
    let head = keys.head().await;
    assert!(bounded(held).await.unwrap().is_err());
    until("both under new lives", || {
        [&worker, &driver].iter().all(|of| life(&driver, of).is_some_and(|life| life > before))
    })
    .await;
    knows_worker(&driver, &worker).await;
    let lost = bounded(sloth.note(1)).await.unwrap_err();
    assert_eq!(lost.executed(), mobula::Executed::No, "{lost}");
    let found = bounded(Sloth::lookup(&driver, "sloth")).await;
    assert!(matches!(found, Err(LookupError::NotFound(_))), "{found:?}");
    let gate = bounded(Gate::spawn(&driver)).await.unwrap();
    let again = bounded(Sloth::spawn(&driver, &gate).name("sloth")).await.unwrap();
    bounded(again.note(4)).await.unwrap();
    assert_eq!(bounded(again.noted()).await, Ok(vec![4]));
    assert_ne!(again.id(), sloth.id(), "no identity is given twice");
    bounded(driver.shutdown()).await;
    bounded(worker.shutdown()).await;
    head.kill();
}

/// Keeps its CPU for a few milliseconds.
#[task(retries = 10)]
fn works(number: u64) -> u64 {
    let end = Instant::now() + Duration::from_millis(5);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    number + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_tasks_outlive_their_head_and_run_under_the_next() {
    let keys = Keys::new();
    let head = keys.head().await;
    let worker = bounded(keys.worker()).await.unwrap();
    let driver = bounded(keys.driver()).await.unwrap();
    knows_worker(&driver, &worker).await;
    // The next head may hear of them before it hears of the worker again.
    let tasks: Vec<_> = (0..300).map(|number| works::call(&driver, number).wait_for_node().submit()).collect();
    until("the first of them", || tasks.iter().any(ObjectRef::is_settled)).await;

    head.kill();
    let settled = tasks.iter().filter(|task| task.is_settled()).count();
    until("some more, under grants that are held", || tasks.iter().filter(|task| task.is_settled()).count() > settled)
        .await;
    let head = keys.head().await;
    for (number, task) in (0..).zip(&tasks) {
        assert_eq!(bounded(driver.get(task)).await, Ok(number + 1));
    }
    assert_eq!(bounded(works::submit(&driver, 1)).await, Ok(2), "the next head grants");
    bounded(driver.shutdown()).await;
    bounded(worker.shutdown()).await;
    head.kill();
}

static BEGUN: AtomicBool = AtomicBool::new(false);
static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Keeps its CPU until the test opens it.
#[task]
fn keeps() -> u64 {
    BEGUN.store(true, Ordering::Relaxed);
    let mut open = OPEN.0.lock().unwrap();
    while !*open {
        open = OPEN.1.wait(open).unwrap();
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_has_queued_for_itself_runs_in_its_next_life() {
    let keys = Keys::new();
    let head = keys.head().await;
    let worker = bounded(keys.worker().cpus(1.0)).await.unwrap();
    knows_worker(&worker, &worker).await;
    let life = || worker.nodes().iter().filter(|node| node.id == worker.node_id()).map(|node| node.life).max();
    let before = life().unwrap();
    let kept = keeps::submit(&worker);
    let tasks: Vec<_> = (0..100).map(|number| works::submit(&worker, number)).collect();
    // These are pushed behind the first, whose result they take.
    let behind: Vec<_> = (0..10).map(|_| works::submit(&worker, &kept)).collect();
    until("the first to begin", || BEGUN.load(Ordering::Relaxed)).await;
    assert!(!tasks.iter().chain(&behind).any(ObjectRef::is_settled), "the one CPU is kept");

    head.kill();
    let head = keys.head().await;
    until("a new life", || life().is_some_and(|life| life > before)).await;
    *OPEN.0.lock().unwrap() = true;
    OPEN.1.notify_all();
    assert_eq!(bounded(worker.get(&kept)).await, Ok(0));
    for (number, task) in (0..).zip(&tasks) {
        assert_eq!(bounded(worker.get(task)).await, Ok(number + 1));
    }
    for task in &behind {
        assert_eq!(bounded(worker.get(task)).await, Ok(1));
    }
    bounded(worker.shutdown()).await;
    head.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_needs_a_grant_of_a_head_that_is_away_says_so_in_time() {
    let keys = Keys::new();
    let head = keys.head().await;
    let worker = bounded(keys.worker()).await.unwrap();
    let driver = bounded(keys.driver()).await.unwrap();
    knows_worker(&driver, &worker).await;
    head.kill();
    let error = bounded(works::submit(&driver, 1)).await.unwrap_err();
    assert!(error.to_string().contains("the head has been away"), "{error}");
    assert_eq!(error.executed(), mobula::Executed::No);
    bounded(driver.shutdown()).await;
    bounded(worker.shutdown()).await;
}
