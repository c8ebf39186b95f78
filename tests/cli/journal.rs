//! Heads that are killed and go on from their journal.

use crate::support::{
    BOUND, Clerk, ClerkHandle, Keys, Running, assert_fails, bounded, mobula, nodes, status, text, until,
};
use mobula::error::{NotPlaced, SpawnError};
use mobula::prelude::*;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn folder(keys: &Keys) -> PathBuf {
    keys.folder.path().join("journal")
}

/// A head that keeps its journal in the keys' folder.
fn head(keys: &Keys, listen: &str) -> (Running, String) {
    Running::head(keys, listen, &["--journal", folder(keys).to_str().unwrap()])
}

/// Numbers that differ from run to run; what they are is printed.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed = u64::from(std::process::id()) << 20
            | u64::from(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_nsec.unsigned_abs() as u32);
        println!("seed {seed}");
        Random(seed | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Calls one actor, again and again, and counts.
async fn calls_until(over: Arc<AtomicBool>, clerk: ClerkHandle) -> u64 {
    let mut done = 0;
    while !over.load(Ordering::Relaxed) {
        done += 1;
        assert_eq!(clerk.work().await, Ok(done), "calls go on without the head");
    }
    done
}

/// Makes named actors, one after another: all of them are made, also those that a head took on and did not live to tell of.
async fn spawns_until(
    over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    cluster: Cluster,
    path: String,
    spawner: u64,
) -> Vec<String> {
    let mut names = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let name = format!("{spawner}-{}", names.len());
        let clerk = Clerk::spawn(&cluster, path.clone()).cpus(0.0).name(&name).detached().await;
        assert_eq!(clerk.unwrap_or_else(|error| panic!("{name}: {error}")).work().await, Ok(1));
        made.fetch_add(1, Ordering::Relaxed);
        names.push(name);
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_with_its_head_and_what_runs_goes_on() {
    const SPAWNERS: u64 = 8;
    let (keys, mut random) = (Keys::new(), Random::new());
    let (mut running, address) = head(&keys, "tcp://127.0.0.1:0");
    let worker = Running::start(&mut keys.program(Some("worker"), Some(&address)));
    until(|| nodes(&status(&keys, &address), "worker").len() == 1).await;
    let life = |shown: &serde_json::Value| nodes(shown, "worker")[0]["life"].as_u64();
    let before = status(&keys, &address);
    let cluster = bounded(Cluster::connect(&address).key(keys.file()).head_wait(BOUND)).await.unwrap();

    let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let first = bounded(Clerk::spawn(&cluster, keys.path()).cpus(0.0)).await.unwrap();
    let calls = tokio::spawn(calls_until(over.clone(), first));
    let spawns = |spawner| spawns_until(over.clone(), made.clone(), cluster.clone(), keys.path(), spawner);
    let spawners: Vec<_> = (0..SPAWNERS).map(|spawner| tokio::spawn(spawns(spawner))).collect();
    for kills in 1..=6 {
        let goal = made.load(Ordering::Relaxed) + 1 + random.below(60);
        until(|| made.load(Ordering::Relaxed) >= goal).await;
        running.signal(Signal::KILL);
        running.ended().await;
        let (again, same) = head(&keys, &address);
        assert_eq!(same, address, "after {kills}");
        running = again;
    }
    let goal = made.load(Ordering::Relaxed) + SPAWNERS;
    until(|| made.load(Ordering::Relaxed) >= goal).await;
    over.store(true, Ordering::Relaxed);
    let mut names = Vec::new();
    for spawner in spawners {
        names.extend(bounded(spawner).await.unwrap());
    }
    assert!(bounded(calls).await.unwrap() > 0);
    running.signal(Signal::KILL);
    running.ended().await;
    let (_running, _) = head(&keys, &address);

    for name in &names {
        let clerk =
            bounded(Clerk::lookup(&cluster, name.clone())).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(bounded(clerk.work()).await, Ok(2), "{name} is the one that was made");
    }
    let taken = bounded(Clerk::spawn(&cluster, keys.path()).cpus(0.0).name(&names[0])).await.unwrap_err();
    assert!(matches!(taken, SpawnError::NotPlaced(NotPlaced::NameTaken { .. })), "{taken:?}");
    let after = status(&keys, &address);
    assert_eq!(life(&after), life(&before), "the worker never lost its life");
    assert_eq!(after["actors"].as_array().unwrap().len(), names.len());
    assert!(after["head"]["epoch"].as_u64() > before["head"]["epoch"].as_u64());
    assert!(after["head"]["journal"]["bytes"].as_u64() > Some(0) && after["head"]["journal"]["takes"] == true);
    bounded(cluster.shutdown()).await;
    assert_eq!(worker.terminated().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_one_heads_and_one_clusters() {
    let (keys, others) = (Keys::new(), Keys::new());
    let (running, address) = head(&keys, "tcp://127.0.0.1:0");
    let place = folder(&keys);
    let second = |keys: &Keys| {
        let mut command = mobula(&["head", "--listen", "tcp://127.0.0.1:0", "--journal"]);
        command.arg(&place).arg("--key").arg(keys.file()).output().unwrap()
    };
    let shown = place.display();
    let sentence = format!(
        "mobula: another head has the journal in {shown} open: stop that one first, or give this one a folder of its own"
    );
    assert_fails(&second(&keys), 1, &sentence);
    let table = mobula(&["status", "--address", &address, "--key"]).arg(keys.file()).output().unwrap();
    assert!(text(&table.stdout).contains("The head's journal takes "), "{}", text(&table.stdout));
    assert_eq!(running.terminated().await.0.code(), Some(0));
    let id = |keys: &Keys| mobula::ClusterKey::load(&keys.file()).unwrap().head();
    let sentence = format!(
        "mobula: the journal in {shown} is of the cluster of head {}, and this head is {}: each cluster has a folder of its own",
        id(&keys),
        id(&others)
    );
    assert_fails(&second(&others), 1, &sentence);

    let journal = |builder: mobula::ClusterBuilder| builder.journal(&place);
    let local = bounded(journal(Cluster::local())).await.unwrap_err();
    assert!(matches!(local, mobula::StartError::NoHeadsJournal), "{local}");
    let nameless = bounded(journal(Cluster::builder().head())).await.unwrap_err();
    assert!(matches!(nameless, mobula::StartError::NoIdentity), "{nameless}");
    assert_eq!(head(&keys, &address).0.terminated().await.0.code(), Some(0));
}

/// A head whose files may not grow beyond so many kilobytes.
fn cramped_head(keys: &Keys, kilobytes: u64) -> (Running, String) {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", kilobytes * 2);
    command.args([
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_mobula"),
        "head",
        "--listen",
        "tcp://127.0.0.1:0",
        "--journal",
    ]);
    let head = Running::start(command.arg(folder(keys)).arg("--key").arg(keys.file()));
    let line = head.line_with("mobula head: ready at ");
    let address = line.trim_start_matches("mobula head: ready at ").to_owned();
    (head, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_whose_disk_is_full_acknowledges_nothing_until_there_is_room_and_says_so() {
    let keys = Keys::new();
    let (running, address) = cramped_head(&keys, 4 << 10);
    let worker = Running::start(&mut keys.program(Some("worker"), Some(&address)));
    let cluster = bounded(Cluster::connect(&address).key(keys.file()).head_wait(BOUND)).await.unwrap();
    until(|| cluster.nodes().iter().any(|node| node.process == worker.id())).await;
    let clerk = bounded(Clerk::spawn(&cluster, keys.path()).cpus(0.0)).await.unwrap();

    let mut names = Vec::new();
    let waits = loop {
        let name = format!("clerk-{}", names.len());
        let spawn = Clerk::spawn(&cluster, "x".repeat(60_000)).cpus(0.0).name(&name).detached();
        let mut spawn = tokio::spawn(spawn.into_future());
        let taken = async {
            loop {
                tokio::select! {
                    made = &mut spawn => return made.unwrap().map(|_| true).unwrap(),
                    status = cluster.status() => {
                        if status.unwrap().journal.is_some_and(|journal| !journal.takes) {
                            return false;
                        }
                    }
                }
            }
        };
        if !bounded(taken).await {
            break (name, spawn);
        }
        names.push(name);
    };
    assert!(names.len() > 3, "some fit: {}", names.len());
    assert!(!waits.1.is_finished(), "what is not on disk is not acknowledged");
    assert_eq!(bounded(clerk.work()).await, Ok(1), "calls go on");

    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Fsize);
    let free = Rlimit { current: maximum, maximum };
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    rustix::process::prlimit(Some(pid), Resource::Fsize, free).unwrap();
    bounded(waits.1).await.unwrap().unwrap();
    names.push(waits.0);
    assert!(bounded(cluster.status()).await.unwrap().journal.is_some_and(|journal| journal.takes));
    running.signal(Signal::KILL);
    running.ended().await;
    let (_running, _) = head(&keys, &address);
    for name in names {
        let clerk = bounded(Clerk::lookup(&cluster, name)).await.unwrap();
        assert_eq!(bounded(clerk.work()).await, Ok(1));
    }
    bounded(cluster.shutdown()).await;
}
