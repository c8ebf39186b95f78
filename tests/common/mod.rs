//! What tests of whole clusters share: bounded waits, other processes, and what must be gone afterwards.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary takes what it needs")]

use mobula::Cluster;
use mobula::id::NodeId;
use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long anything in a test may take.
pub const BOUND: Duration = Duration::from_secs(20);
/// Within this, a death that is proved is known to all that waited for the dead (PROTOCOLS §2.4).
pub const DETECTION: Duration = Duration::from_secs(1);

/// Fails a test that waits for what does not come.
pub async fn bounded<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(BOUND, work.into_future()).await.expect("the test ends within its bound")
}

/// Polls a condition that others bring about; the pause only keeps the core free for them.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(BOUND, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// Asks an actor until it is found on another node: what was sent before the end of its node is known may have run.
pub async fn found<T: fmt::Debug>(ask: impl Fn() -> mobula::Call<T>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Ok(found) => return found,
                Err(mobula::CallError::NodeDied { .. } | mobula::CallError::Unreachable { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
            // The pause only keeps the core free for those who find it.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    bounded(asking).await
}

/// Ends a process as no process can prevent.
pub fn kill(process: u32) {
    signal(process, rustix::process::Signal::KILL);
}

/// Sends a signal to a process that runs. One that is stopped stands still once this returns: its threads stop one by one.
pub fn signal(process: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(process.cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("a process that runs");
    let stands = || signal != rustix::process::Signal::STOP || stands_still(process);
    assert!(comes_to_be(BOUND, stands), "{process} does not stop");
}

/// Whether something holds within a time.
fn comes_to_be(within: Duration, holds: impl Fn() -> bool) -> bool {
    let deadline = std::time::Instant::now() + within;
    while !holds() {
        if std::time::Instant::now() >= deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Whether all threads of a process are stopped.
fn stands_still(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process that runs");
    let state = |thread: std::fs::DirEntry| stat(format!("{process}/task/{}", thread.file_name().display()));
    threads.flatten().all(|thread| state(thread).is_none_or(|fields| matches!(&*fields[0], "T" | "Z" | "X")))
}

/// What the system says of a process, or of `process/task/thread`: the fields from its state on. None of one that is gone.
pub fn stat(process: impl std::fmt::Display) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The parent of a process, if it is there.
pub fn parent(process: u32) -> Option<u32> {
    stat(process)?[1].parse().ok()
}

/// Whether a process runs. One that has ended does not, though nobody may have taken its status yet.
pub fn runs(process: u32) -> bool {
    stat(process).is_some_and(|fields| !matches!(&*fields[0], "Z" | "X"))
}

/// Leaves a file when it is dropped.
pub struct Leaves(pub String);

impl Drop for Leaves {
    fn drop(&mut self) {
        // One that a test left to run finds the test's folder gone.
        let _ = std::fs::write(&self.0, "left");
    }
}

/// Bytes of memory that a process has resident.
pub fn resident(process: u32) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// The nodes that host actors, in the order in which they joined, with their processes.
pub fn workers(cluster: &Cluster) -> Vec<(NodeId, u32)> {
    let hosts = cluster.nodes().into_iter().filter(|node| node.hosts_actors);
    hosts.map(|node| (node.id, node.process)).collect()
}

/// What a cluster must not leave behind.
pub struct Traces {
    processes: Vec<u32>,
    folders: Vec<PathBuf>,
}

impl Traces {
    /// Those of a cluster that this process started.
    pub fn of(cluster: &Cluster) -> Traces {
        let addresses = cluster.nodes().into_iter().flat_map(|node| node.addresses);
        let folder = |address: String| address.strip_prefix("ipc://").map(PathBuf::from);
        let folders = addresses.chain(cluster.addresses()).filter_map(folder).collect();
        Traces { processes: cluster.worker_processes(), folders }
    }

    /// Fails if anything is left.
    pub fn are_gone(&self) {
        for process in &self.processes {
            assert!(!runs(*process), "worker process {process} was left behind");
        }
        for folder in &self.folders {
            // Another process that sweeps at the same time may be the one that removes it.
            assert!(comes_to_be(DETECTION, || !folder.exists()), "{} was left behind", folder.display());
        }
    }
}

/// Ends a cluster, and looks whether it left anything.
pub async fn ends_without_a_trace(cluster: Cluster) {
    let traces = Traces::of(&cluster);
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}

/// Tests of promises that hold in one process and with two workers.
macro_rules! hold {
    ($($promise:ident)*) => {
        mod in_one_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let cluster = super::bounded(mobula::Cluster::local()).await.unwrap();
                super::$promise(&cluster).await;
                super::bounded(cluster.shutdown()).await;
            })*
        }
        mod across_processes {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let cluster = super::bounded(mobula::Cluster::local().workers(2)).await.unwrap();
                super::$promise(&cluster).await;
                super::ends_without_a_trace(cluster).await;
            })*
        }
    };
}
pub(crate) use hold;

/// Says which part this process plays in a test of another process.
const PART: &str = "MOBULA_TEST_PART";

/// The part that another process of this test binary is to play, if this is one.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Says something to the process that started this one.
pub fn report(word: &str, more: impl std::fmt::Display) {
    // The test harness may have begun a line.
    println!("\n@{word} {more}");
}

/// A process that runs this test binary's test `plays` in a part. It is killed when dropped.
pub struct Player {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Player {
    pub fn start(part: &str, environment: &[(&str, &Path)]) -> Player {
        Player::start_within(None, part, environment)
    }

    /// The same, in a network namespace if one is named.
    pub fn start_within(namespace: Option<&str>, part: &str, environment: &[(&str, &Path)]) -> Player {
        let executable = std::env::current_exe().unwrap();
        let mut command = match namespace {
            None => Command::new(executable),
            Some(namespace) => {
                let mut within = Command::new("ip");
                within.args(["netns", "exec", namespace]).arg(executable);
                within
            }
        };
        command.args(["--exact", "plays", "--nocapture"]).env(PART, part);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = say.send(line); // the test may be over
            }
        });
        Player { child, said }
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has reported `word`, and gives what it added.
    pub async fn reported(&mut self, word: &str) -> String {
        let start = format!("@{word} ");
        let mut found = None;
        until(word, || {
            while let Ok(line) = self.said.try_recv() {
                found = line.strip_prefix(&start).map(str::to_owned).or(found.take());
            }
            found.is_some()
        })
        .await;
        found.unwrap_or_default()
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself, in success.
    pub async fn ends(mut self) {
        let mut status = None;
        until("the other process to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
