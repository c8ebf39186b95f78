//! Queues that are longer than memory should hold: the arguments of their tails wait on disk.
#![allow(missing_docs)]

mod common;

use common::{Leaves, bounded, resident, until, workers};
use mobula::prelude::*;
use mobula::{Executed, GetError, task};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

mobula::test_worker!();

const MIB: usize = 1 << 20;
/// A text, which a packet carries.
const TEXT: usize = 32 << 10;
/// Tasks whose texts a node keeps in memory ..
const KEPT: usize = 64 * MIB / TEXT;
/// .. and how many wait in the longest queue.
const QUEUED: usize = 160 * MIB / TEXT;
/// Says that this process is one that another test started, and where its folder is.
const CHILD: &str = "MOBULA_QUEUE_ON_DISK";

/// One at a time: what they take of memory is measured.
static TURN: Mutex<()> = Mutex::const_new(());
/// Tasks that have run in this process.
static RAN: AtomicU64 = AtomicU64::new(0);

#[task]
fn blocks(file: &str, begun: &str) -> bool {
    let made = std::fs::File::create(begun).is_ok();
    while !Path::new(file).exists() {
        std::thread::yield_now();
    }
    made
}

/// What it was given, in short, and how many ran before it.
#[task]
fn reads(text: &str) -> (usize, usize, u64) {
    (text.len(), text[..8].parse().unwrap(), RAN.fetch_add(1, Ordering::Relaxed))
}

/// The same, asynchronously.
#[task]
async fn reads_later(text: String) -> (usize, usize) {
    tokio::task::yield_now().await;
    (text.len(), text[..8].parse().unwrap())
}

#[task]
fn number(of: u64) -> u64 {
    of
}

#[task]
async fn gathers(text: &str, one: u64, others: Vec<ObjectRef<u64>>, counts: CounterHandle) -> mobula::Result<u64> {
    let mut sum = one + text.len() as u64;
    for other in others {
        sum += other.await?;
    }
    Ok(counts.add(sum).await?)
}

fn always(_: &Refused) -> bool {
    true
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("as asked")]
struct Refused;

#[task(retries = 1, retry_on = always)]
fn fails_once(ctx: &TaskContext, text: &str) -> Result<usize, Refused> {
    match ctx.attempt() {
        1 => Err(Refused),
        _ => Ok(text.len()),
    }
}

/// Ends its process where the file is not there yet, and makes it.
#[task(retries = 2)]
fn survives(text: &str, file: &str) -> usize {
    if std::fs::File::create_new(file).is_ok() {
        std::process::abort();
    }
    text.len()
}

#[task]
fn leaves(text: &str, file: String) -> usize {
    let _ran = Leaves(file);
    text.len()
}

#[actor]
struct Counter {
    sum: u64,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self { sum: 0 }
    }
    pub fn add(&mut self, by: u64) -> u64 {
        self.sum += by;
        self.sum
    }
}

/// A text that says which it is.
fn text(number: usize) -> String {
    format!("{number:08}").repeat(TEXT / 8)
}

/// How tasks run.
#[derive(Clone, Copy, PartialEq)]
enum Where {
    /// In this process, as many as it has threads for.
    Here,
    /// In this process, under a grant of the head for its one CPU.
    Granted,
    /// In so many workers of one CPU.
    Workers(usize),
}

/// A cluster whose CPUs are taken until they are let go.
struct Taken {
    cluster: Cluster,
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
    blocks: Vec<ObjectRef<bool>>,
    _turn: MutexGuard<'static, ()>,
}

impl Taken {
    async fn of(of: Where) -> Taken {
        let temporary = tempfile::tempdir().unwrap();
        let taken = Taken::within(temporary.path().to_owned(), of).await;
        Taken { temporary: Some(temporary), ..taken }
    }

    async fn within(folder: PathBuf, of: Where) -> Taken {
        let turn = TURN.lock().await;
        let (workers, count) = match of {
            Where::Here | Where::Granted => (0, 1),
            Where::Workers(workers) => (workers, workers),
        };
        let builder = Cluster::local().workers(workers).cpus(1.0).spill_to(folder.join("objects"));
        let cluster = bounded(builder).await.unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let begun = |at| path(&format!("begun-{at}"));
        let block = |at| {
            let call = blocks::call(&cluster, path("end"), begun(at));
            if of == Where::Granted { call.cpus(1.0) } else { call }.submit()
        };
        let blocks = (0..count).map(block).collect();
        until("the tasks that take all CPUs", || (0..count).all(|at| Path::new(&begun(at)).exists())).await;
        RAN.store(0, Ordering::Relaxed);
        Taken { cluster, folder, temporary: None, blocks, _turn: turn }
    }

    /// What waits on disk.
    fn files(&self) -> Vec<PathBuf> {
        files(&self.folder)
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }

    async fn let_go(&self) {
        std::fs::File::create(self.folder.join("end")).unwrap();
        assert_eq!(bounded(self.cluster.get_all(&self.blocks)).await, Ok(vec![true; self.blocks.len()]));
    }

    /// Tasks that leave no room in memory for the arguments of others.
    fn fill(&self) -> Vec<ObjectRef<(usize, usize, u64)>> {
        (0..=KEPT).map(|at| reads::submit(&self.cluster, text(at))).collect()
    }

    /// Nothing is left of it.
    async fn ends(self) {
        let Taken { cluster, folder, temporary, blocks, _turn } = self;
        drop(blocks);
        until("an empty disk", || files(&folder).is_empty()).await;
        common::ends_without_a_trace(cluster).await;
        until("no folder", || folders(&folder).is_empty()).await;
        drop(temporary);
    }
}

fn entries(path: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    entries(&parent.join("objects"))
}

fn files(parent: &Path) -> Vec<PathBuf> {
    folders(parent).iter().flat_map(|folder| entries(folder)).collect()
}

async fn a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order(of: Where, test: &str) {
    if std::env::var_os(CHILD).is_none() {
        // What other tests have used of memory and given back is not measured.
        let folder = tempfile::tempdir().unwrap();
        let (passed, said) = in_a_process(test, "", folder.path());
        return assert!(passed, "{said}");
    }
    let taken = Taken::of(of).await;
    let before = resident(std::process::id());
    let call = |at| {
        let call = reads::call(&taken.cluster, text(at));
        if of == Where::Granted { call.cpus(1.0) } else { call }
    };
    let mut tasks: Vec<_> = (0..QUEUED).map(|at| call(at).submit()).collect();
    let held = (resident(std::process::id()) - before) / MIB;
    println!("{held} MiB for {QUEUED} tasks, {} MiB on disk", taken.bytes() / MIB as u64);
    assert!(held < 64 + 24, "{held} MiB for {QUEUED} tasks");
    assert!(taken.bytes() >= ((QUEUED - KEPT - 2) * TEXT) as u64, "{} bytes are on disk", taken.bytes());
    let later: Vec<_> = (0..4).map(|at| reads_later::submit(&taken.cluster, text(at))).collect();
    tasks.push(call(QUEUED).priority(1).submit());
    taken.let_go().await;
    let got = bounded(taken.cluster.get_all(&tasks)).await.unwrap();
    for (at, (length, number, ran)) in got.into_iter().enumerate() {
        let turn = if at == QUEUED { 0 } else { at + 1 };
        assert_eq!((length, number), (TEXT, at));
        assert!(of == Where::Here || ran == turn as u64, "{at} was {ran}, not {turn}");
    }
    for (at, got) in bounded(taken.cluster.get_all(&later)).await.unwrap().into_iter().enumerate() {
        assert_eq!(got, (TEXT, at));
    }
    taken.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order_in_one_process() {
    let test = "a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order_in_one_process";
    a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order(Where::Here, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order_under_a_grant() {
    let test = "a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order_under_a_grant";
    a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order(Where::Granted, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order_in_a_worker() {
    let test = "a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order_in_a_worker";
    a_long_queue_takes_no_more_memory_than_it_may_and_runs_in_its_order(Where::Workers(1), test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arguments_on_disk_refer_to_lives_until_they_are_read() {
    for of in [Where::Here, Where::Workers(1)] {
        let taken = Taken::of(of).await;
        let cluster = &taken.cluster;
        let filled = taken.fill();
        let counter = bounded(Counter::spawn(cluster)).await.unwrap();
        let there = bounded(cluster.put(10_u64)).await.unwrap();
        // Of one that is not there yet, of one that is, and of some in a list.
        let one = number::submit(cluster, 1);
        let list = vec![there.clone(), number::submit(cluster, 100)];
        let pending = gathers::submit(cluster, text(1), &one, list, &counter);
        let ready = gathers::submit(cluster, text(2), &there, vec![], &counter);
        assert!(taken.bytes() >= 2 * TEXT as u64);
        drop((one, there, counter));
        taken.let_go().await;
        let mut sums = [bounded(pending).await.unwrap(), bounded(ready).await.unwrap()];
        sums.sort_unstable();
        let (first, second) = (TEXT as u64 + 111, TEXT as u64 + 10);
        assert!(sums[1] == first + second && [first, second].contains(&sums[0]), "{sums:?}");
        drop(bounded(cluster.get_all(&filled)).await.unwrap());
        taken.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_on_disk_are_cancelled_timed_out_and_retried_as_others_are() {
    for of in [Where::Here, Where::Workers(1)] {
        let taken = Taken::of(of).await;
        let cluster = &taken.cluster;
        let filled = taken.fill();
        let path = |name: &str| taken.folder.join(name).to_str().unwrap().to_owned();
        let empty = taken.bytes();
        let cancelled = leaves::submit(cluster, text(0), path("ran"));
        let late = leaves::call(cluster, text(1), path("late")).timeout(Duration::from_millis(20)).submit();
        assert!(taken.bytes() >= empty + TEXT as u64);
        cluster.cancel(&cancelled);
        assert_eq!(bounded(cancelled).await, Err(GetError::Cancelled { executed: Executed::No }));
        let late = bounded(late).await.unwrap_err();
        assert!(matches!(late, GetError::Timeout { executed: Executed::No, .. }), "{late}");
        let retried = fails_once::submit(cluster, text(2));
        taken.let_go().await;
        assert_eq!(bounded(retried).await.unwrap(), TEXT);
        drop(bounded(cluster.get_all(&filled)).await.unwrap());
        assert!(!Path::new(&path("ran")).exists() && !Path::new(&path("late")).exists());
        taken.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_on_disk_is_read_again_for_another_node_when_its_own_ends() {
    let taken = Taken::of(Where::Workers(2)).await;
    let cluster = &taken.cluster;
    let path = |name: &str| taken.folder.join(name).to_str().unwrap().to_owned();
    let filled = taken.fill();
    let survives = survives::submit(cluster, text(0), path("ended"));
    assert!(taken.bytes() >= TEXT as u64);
    taken.let_go().await;
    assert_eq!(bounded(survives).await, Ok(TEXT));
    assert_eq!(workers(cluster).len(), 1);
    // What ran there at the same time may be lost.
    for task in filled {
        assert!(
            bounded(task).await.map_or_else(|error| matches!(error, GetError::NodeDied { .. }), |got| got.0 == TEXT)
        );
    }
    // The worker that ended had no time to remove its folder.
    until("an empty disk", || taken.files().is_empty()).await;
    bounded(taken.cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_costs_the_tasks_whose_arguments_it_damages_and_no_other() {
    for of in [Where::Here, Where::Workers(1)] {
        let taken = Taken::of(of).await;
        let cluster = &taken.cluster;
        let mut filled = taken.fill();
        filled.extend((0..5).map(|at| reads::submit(cluster, text(at))));
        let file = taken.files().remove(0);
        let file = std::fs::File::options().write(true).open(file).unwrap();
        // In the midst of the second and of the fourth.
        for at in [TEXT + TEXT / 2, 3 * TEXT + TEXT / 2] {
            file.write_all_at(b"bad", at as u64).unwrap();
        }
        taken.let_go().await;
        let mut lost = 0;
        for task in filled {
            match bounded(task).await {
                Ok((length, ..)) => assert_eq!(length, TEXT),
                Err(error) => {
                    assert!(matches!(&error, GetError::ArgumentsLost { why } if why.contains("checksum")), "{error}");
                    assert_eq!(error.executed(), Executed::No);
                    lost += 1;
                }
            }
        }
        assert_eq!(lost, 2);
        taken.ends().await;
    }
}

/// Runs a test of this file in a process of its own, in a shell with this prelude.
fn in_a_process(test: &str, prelude: &str, folder: &Path) -> (bool, String) {
    let this = std::env::current_exe().unwrap();
    let script = format!("{prelude} exec \"$0\" --exact \"$1\" --nocapture");
    let mut command = Command::new("sh");
    let output = command.args(["-c", &script]).arg(this).arg(test).env(CHILD, folder).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success() && said.contains("1 passed"), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_leaves_tasks_in_memory_and_all_run() {
    if std::env::var_os(CHILD).is_none() {
        // A limit on the length of files is what a full disk is to a write. The signal that comes with it is ignored.
        let folder = tempfile::tempdir().unwrap();
        let test = "a_full_disk_leaves_tasks_in_memory_and_all_run";
        let (passed, said) = in_a_process(test, "trap '' XFSZ; ulimit -f 8;", folder.path());
        return assert!(passed, "{said}");
    }
    let taken = Taken::of(Where::Here).await;
    let tasks: Vec<_> = (0..KEPT + 8).map(|at| reads::submit(&taken.cluster, text(at))).collect();
    assert_eq!(taken.bytes(), 0, "what was written in part is removed");
    taken.let_go().await;
    for (at, (length, number, _)) in bounded(taken.cluster.get_all(&tasks)).await.unwrap().into_iter().enumerate() {
        assert_eq!((length, number), (TEXT, at));
    }
    taken.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_left_on_disk_is_gone_when_the_next_one_writes_there() {
    let queue = |taken: &Taken| (0..KEPT + 8).map(|at| reads::submit(&taken.cluster, text(at))).collect::<Vec<_>>();
    if let Some(folder) = std::env::var_os(CHILD) {
        let taken = Taken::within(folder.into(), Where::Here).await;
        let _tasks = queue(&taken);
        std::process::abort();
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "what_a_killed_process_left_on_disk_is_gone_when_the_next_one_writes_there";
    let (passed, said) = in_a_process(test, "", folder.path());
    let left = folders(folder.path());
    assert!(!passed && left.len() == 1 && !files(folder.path()).is_empty(), "{said}");
    let begun = entries(folder.path()).into_iter().filter(|path| path.is_file());
    begun.for_each(|begun| std::fs::remove_file(begun).unwrap());
    let taken = Taken::within(folder.path().to_owned(), Where::Here).await;
    let tasks = queue(&taken);
    assert!(!left[0].exists() && folders(folder.path()).len() == 1);
    taken.let_go().await;
    assert_eq!(bounded(taken.cluster.get_all(&tasks)).await.unwrap().len(), KEPT + 8);
    taken.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_nothing_on_disk_has_all_in_memory() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let cluster = bounded(Cluster::local().cpus(1.0).never_spill()).await.unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let blocks = blocks::submit(&cluster, path("end"), path("begun"));
    let tasks: Vec<_> = (0..KEPT + 8).map(|at| reads::submit(&cluster, text(at))).collect();
    std::fs::File::create(path("end")).unwrap();
    assert_eq!(bounded(blocks).await, Ok(true));
    assert_eq!(bounded(cluster.get_all(&tasks)).await.unwrap().len(), KEPT + 8);
    bounded(cluster.shutdown()).await;
}
