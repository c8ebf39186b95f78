//! Tasks that are cancelled, bounded in time, or wait for others, in one process and across worker processes.
#![allow(missing_docs)]

mod common;

use common::*;
use mobula::error::NotGranted;
use mobula::prelude::*;
use mobula::{Executed, GetError, SharedObjects};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mobula::test_worker!();

/// Says that it runs, waits for what never comes, and leaves a file when it is dropped.
#[task]
async fn waits(says: Queue<u32>, file: &str) -> mobula::Result<u64> {
    let _leaves = Leaves(file.to_owned());
    says.put(std::process::id()).await?;
    std::future::pending().await
}

/// The same, for a task that waits for a task.
#[task]
async fn waits_for_another(ctx: &TaskContext, says: Queue<u32>, file: &str, child: Child) -> mobula::Result<u64> {
    let call = waits::call(&ctx.cluster(), says, format!("{file}.child"));
    let _leaves = Leaves(file.to_owned());
    let waited = match child {
        Child::Follows => call.await?,
        Child::IsDetached => call.detached().await?,
    };
    Ok(waited)
}

#[derive(serde::Serialize, serde::Deserialize, Clone, Copy)]
enum Child {
    Follows,
    IsDetached,
}

/// Runs until it is cancelled.
#[task]
fn spins(ctx: &TaskContext, begun: &str, file: &str) -> u64 {
    let _ = std::fs::write(begun, "begun"); // the folder of a test that is over is gone
    while !ctx.cancelled() {
        std::thread::yield_now();
    }
    let _ = std::fs::write(file, "left");
    7
}

/// Looks whether it was cancelled, and takes its time then: longer than slots idle before they are given back.
#[task]
fn lingers(ctx: &TaskContext, begun: &str, file: &str) -> u64 {
    let _left = Leaves(file.to_owned());
    let _ = std::fs::write(begun, "begun"); // the folder of a test that is over is gone
    while !ctx.cancelled() {
        std::thread::yield_now();
    }
    std::thread::sleep(4 * mobula::limits::GRANT_IDLE);
    7
}

/// Whether a file is there.
#[task]
fn finds(file: &str) -> bool {
    Path::new(file).exists()
}

#[task]
fn add(one: u64, two: u64) -> u64 {
    one + two
}

static RAN: [AtomicBool; 3000] = [const { AtomicBool::new(false) }; 3000];

#[task]
fn marks(place: u64) {
    RAN[place as usize].store(true, Ordering::SeqCst);
}

#[task]
async fn marks_later(place: u64) {
    RAN[place as usize].store(true, Ordering::SeqCst);
}

#[task]
async fn cancels(ctx: &TaskContext, of: Vec<ObjectRef<u64>>) {
    of.iter().for_each(|reference| ctx.cluster().cancel(reference));
}

/// Adds a line to the file for each of its runs, says that it runs, and waits for what never comes.
#[task]
async fn mourned(says: Queue<u32>, file: &str) -> mobula::Result<u64> {
    use std::io::Write;
    writeln!(std::fs::OpenOptions::new().create(true).append(true).open(file)?, "run")?;
    says.put(std::process::id()).await?;
    std::future::pending().await
}

/// Calls itself twice, and waits for both on its own thread.
#[task]
fn fibonacci(ctx: &TaskContext, n: u64) -> mobula::Result<u64> {
    if n < 2 {
        return Ok(n);
    }
    let [one, other] = [n - 1, n - 2].map(|n| fibonacci::submit(&ctx.cluster(), n));
    Ok(ctx.get(&one)? + ctx.get(&other)?)
}

#[task]
fn nested(ctx: &TaskContext, depth: u64) -> mobula::Result<u64> {
    match depth {
        0 => Ok(0),
        _ => Ok(1 + ctx.get(&nested::submit(&ctx.cluster(), depth - 1))?),
    }
}

/// Submits the next and waits for it; the last says that it runs, waits for what never comes, and leaves a file.
#[task]
async fn deep(ctx: &TaskContext, says: Queue<u32>, file: &str, depth: u64) -> mobula::Result<u64> {
    if depth > 0 {
        return Ok(deep::call(&ctx.cluster(), says, file, depth - 1).await?);
    }
    let _leaves = Leaves(file.to_owned());
    says.put(std::process::id()).await?;
    std::future::pending().await
}

/// Waits for a value on its own thread; what it passes by reference stays one inside of a list.
#[task]
fn waits_here(ctx: &TaskContext, of: Vec<ObjectRef<u64>>) -> Result<u64, GetError> {
    ctx.get(&of[0])
}

/// Submits tasks that take the value, and waits for each on its own thread.
#[task]
fn adds_each(ctx: &TaskContext, of: Vec<ObjectRef<u64>>, times: u64) -> Result<u64, GetError> {
    (0..times).try_fold(0, |sum, time| Ok(sum + ctx.get(&add::submit(&ctx.cluster(), &of[0], time))?))
}

#[task]
async fn waits_wrongly(ctx: &TaskContext, of: Vec<ObjectRef<u64>>) -> Result<u64, GetError> {
    ctx.get(&of[0])
}

#[task]
fn waits_elsewhere(ctx: &TaskContext, of: Vec<ObjectRef<u64>>) -> Result<u64, GetError> {
    let (ctx, of) = (ctx.clone(), of.into_iter().next().expect("one"));
    std::thread::spawn(move || ctx.get(&of)).join().expect("no panic")
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

async fn appears(file: &str) {
    until(file, || Path::new(file).exists()).await;
}

hold! {
    a_cancelled_task_that_waits_for_arguments_never_runs
    an_asynchronous_task_that_is_cancelled_is_dropped_at_its_await
    a_synchronous_task_that_is_cancelled_sees_it
    what_a_cancelled_task_submitted_is_cancelled_with_it_unless_detached
    whoever_has_a_reference_cancels_its_task
    what_is_there_already_or_no_task_makes_is_not_cancelled
    a_timeout_says_what_the_task_was_waiting_for
    synchronous_tasks_wait_for_tasks_however_deep_they_nest
    a_task_that_is_waited_for_while_it_begins_or_is_sent_has_its_arguments
    a_task_that_waits_on_its_thread_is_told_what_became_of_the_object
    where_a_task_must_not_block_it_is_told_so
}

async fn a_cancelled_task_that_waits_for_arguments_never_runs(cluster: &Cluster) {
    let folder = Folder::new();
    let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let first = waits::submit(cluster, says.clone(), folder.file("first"));
    let pending: Vec<_> = (0..100).map(|_| add::submit(cluster, &first, 1)).collect();
    bounded(says.get()).await.unwrap();
    for reference in &pending {
        cluster.cancel(reference);
        let error = bounded(cluster.get(reference)).await.unwrap_err();
        assert_eq!((&error, error.executed()), (&GetError::Cancelled { executed: Executed::No }, Executed::No));
    }
    let depends = add::submit(cluster, &pending[0], 1);
    assert!(matches!(bounded(depends).await, Err(GetError::Argument { .. })), "its result is none");
    cluster.cancel(&first);
    assert_eq!(bounded(add::submit(cluster, 1, 2)).await, Ok(3), "others run");
}

async fn an_asynchronous_task_that_is_cancelled_is_dropped_at_its_await(cluster: &Cluster) {
    let folder = Folder::new();
    let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let file = folder.file("dropped");
    let task = waits::call(cluster, says.clone(), &file).retries(5).submit();
    bounded(says.get()).await.unwrap();
    let others: Vec<_> = (0..3).map(|_| tokio::spawn(cluster.get(&task))).collect();
    assert!(!Path::new(&file).exists());
    cluster.cancel(&task);
    for other in others {
        let error = bounded(other).await.unwrap().unwrap_err();
        assert!(matches!(error, GetError::Cancelled { executed: Executed::Maybe }), "{error:?}");
    }
    appears(&file).await;
}

async fn a_synchronous_task_that_is_cancelled_sees_it(cluster: &Cluster) {
    let folder = Folder::new();
    let (begun, file) = (folder.file("begun"), folder.file("seen"));
    let task = spins::submit(cluster, &begun, &file);
    appears(&begun).await;
    cluster.cancel(&task);
    let error = bounded(cluster.get(&task)).await.unwrap_err();
    assert!(matches!(error, GetError::Cancelled { executed: Executed::Maybe }), "{error:?}");
    appears(&file).await;
    assert_eq!(bounded(add::submit(cluster, 1, 2)).await, Ok(3), "its CPU is free again");
}

async fn what_a_cancelled_task_submitted_is_cancelled_with_it_unless_detached(cluster: &Cluster) {
    let folder = Folder::new();
    for (child, follows) in [(Child::Follows, true), (Child::IsDetached, false)] {
        let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
        let file = folder.file(if follows { "follows" } else { "detached" });
        let task = waits_for_another::submit(cluster, says.clone(), &file, child);
        bounded(says.get()).await.unwrap();
        cluster.cancel(&task);
        assert!(matches!(bounded(cluster.get(&task)).await, Err(GetError::Cancelled { .. })));
        appears(&file).await;
        let childs = format!("{file}.child");
        if follows {
            appears(&childs).await;
        }
        assert_eq!(Path::new(&childs).exists(), follows);
    }
}

async fn whoever_has_a_reference_cancels_its_task(cluster: &Cluster) {
    let folder = Folder::new();
    let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let file = folder.file("dropped");
    let task = waits::submit(cluster, says.clone(), &file);
    bounded(says.get()).await.unwrap();
    bounded(cancels::call(cluster, vec![task.clone().erase()])).await.unwrap();
    assert!(matches!(bounded(cluster.get(&task)).await, Err(GetError::Cancelled { .. })));
    appears(&file).await;
}

async fn what_is_there_already_or_no_task_makes_is_not_cancelled(cluster: &Cluster) {
    let put = cluster.put(5_u64).await.unwrap();
    let sum = add::submit(cluster, &put, 1);
    assert_eq!(bounded(cluster.get(&sum)).await, Ok(6));
    cluster.cancel(&sum);
    cluster.cancel(&put);
    bounded(cancels::call(cluster, vec![put.clone(), sum.clone()])).await.unwrap();
    assert_eq!((bounded(put).await, bounded(sum).await), (Ok(5), Ok(6)));
}

async fn a_timeout_says_what_the_task_was_waiting_for(cluster: &Cluster) {
    const SOON: Duration = Duration::from_millis(50);
    let folder = Folder::new();
    let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let endless = waits::submit(cluster, says.clone(), folder.file("endless"));
    bounded(says.get()).await.unwrap();
    let depends = bounded(add::call(cluster, &endless, 1).timeout(SOON)).await.unwrap_err();
    let GetError::Timeout { after: SOON, waiting, executed: Executed::No, .. } = &depends else {
        panic!("{depends:?}")
    };
    assert!(["waiting for arguments", "waiting for an argument"].contains(&&**waiting), "{waiting}");
    cluster.cancel(&endless);
    let file = folder.file("dropped");
    let mut limit = SOON;
    let runs = loop {
        let runs = waits::call(cluster, says.clone(), &file).timeout(limit).submit();
        tokio::select! {
            _ = bounded(says.get()) => break runs,
            _ = cluster.get(&runs) => limit *= 2, // its time was up before it began
        }
    };
    let error = bounded(cluster.get(&runs)).await.unwrap_err();
    assert!(matches!(error, GetError::Timeout { executed: Executed::Maybe, .. }), "{error:?}");
    assert!(error.to_string().contains("running on node"), "{error}");
    appears(&file).await;
    let never = bounded(add::call(cluster, 1, 2).gpus(1.0).wait_for_node().timeout(SOON)).await.unwrap_err();
    assert!(never.to_string().contains("no node has gpu ≥ 1"), "{never}");
    // All CPUs are taken, and as many tasks wait for one.
    let (machine, nodes) =
        (std::thread::available_parallelism().unwrap().get(), cluster.worker_processes().len().max(1));
    let cpus = (machine / nodes).max(1) * nodes; // the workers of a machine share its CPUs
    let many = 2 * cpus;
    let begun: Vec<PathBuf> = (0..many).map(|spin| folder.file(&format!("spin{spin}")).into()).collect();
    let spun: Vec<_> = begun
        .iter()
        .map(|file| spins::submit(cluster, file.to_str().unwrap(), format!("{}.seen", file.to_str().unwrap())))
        .collect();
    until("all CPUs spin", || begun.iter().filter(|file| file.exists()).count() == cpus).await;
    let late = bounded(add::call(cluster, 1, 2).timeout(SOON)).await.unwrap_err();
    spun.iter().for_each(|task| cluster.cancel(task));
    assert!(late.to_string().contains("waiting for a"), "{late}");
    assert_eq!(late.executed(), Executed::No);
    for task in &spun {
        assert!(matches!(bounded(cluster.get(task)).await, Err(GetError::Cancelled { .. })));
    }
    assert_eq!(bounded(add::call(cluster, 1, 2).timeout(BOUND)).await, Ok(3), "one that is quick enough");
    for file in begun.iter().filter(|file| file.exists()) {
        appears(&format!("{}.seen", file.display())).await;
    }
}

async fn synchronous_tasks_wait_for_tasks_however_deep_they_nest(cluster: &Cluster) {
    assert_eq!(bounded(fibonacci::submit(cluster, 9)).await.unwrap(), 34);
    assert_eq!(bounded(nested::submit(cluster, 150)).await.unwrap(), 150);
    let many: Vec<_> = (0..8).map(|_| nested::submit(cluster, 8)).collect();
    assert_eq!(bounded(cluster.get_all(&many)).await.unwrap(), [8; 8]);
}

async fn a_task_that_is_waited_for_while_it_begins_or_is_sent_has_its_arguments(cluster: &Cluster) {
    let put = cluster.put(5_u64).await.unwrap();
    let many: Vec<_> = (0..16).map(|_| adds_each::submit(cluster, vec![put.clone()], 200)).collect();
    for sum in bounded(cluster.get_all(&many)).await.unwrap() {
        assert_eq!(sum, 200 * 5 + 199 * 200 / 2);
    }
}

async fn a_task_that_waits_on_its_thread_is_told_what_became_of_the_object(cluster: &Cluster) {
    let folder = Folder::new();
    let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let put = cluster.put(5_u64).await.unwrap();
    assert_eq!(bounded(waits_here::submit(cluster, vec![put.clone()])).await, Ok(5));
    let endless = waits::submit(cluster, says.clone(), folder.file("endless"));
    bounded(says.get()).await.unwrap();
    // More than there are CPUs: each gives its own to the next.
    let more = if cluster.worker_processes().is_empty() { 20 } else { 1 };
    let waiting: Vec<_> = (0..more).map(|_| waits_here::submit(cluster, vec![endless.clone().erase()])).collect();
    assert_eq!(bounded(waits_here::submit(cluster, vec![put])).await, Ok(5));
    cluster.cancel(&waiting[0]);
    assert!(matches!(bounded(cluster.get(&waiting[0])).await, Err(GetError::Cancelled { .. })));
    cluster.cancel(&endless);
    for waits in &waiting[1..] {
        let error = bounded(cluster.get(waits)).await.unwrap_err();
        assert!(matches!(error, GetError::App(GetError::Cancelled { .. })), "{error:?}");
    }
}

async fn where_a_task_must_not_block_it_is_told_so(cluster: &Cluster) {
    let put = cluster.put(5_u64).await.unwrap();
    for refused in [waits_wrongly::submit(cluster, vec![put.clone()]), waits_elsewhere::submit(cluster, vec![put])] {
        let error = bounded(refused).await.unwrap_err();
        assert!(matches!(error, GetError::App(GetError::Call { executed: Executed::No, .. })), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_threads_wait_than_may() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let folder = Folder::new();
    let says = bounded(Queue::bounded(&cluster, 4)).await.unwrap();
    let endless = waits::submit(&cluster, says.clone(), folder.file("endless"));
    bounded(says.get()).await.unwrap();
    let all = mobula::limits::PARKED_THREADS + 44;
    let waiting: Vec<_> = (0..all).map(|_| waits_here::submit(&cluster, vec![endless.clone().erase()])).collect();
    let (refused, others) = bounded(cluster.wait(waiting, 44)).await;
    for refused in &refused {
        let error = bounded(cluster.get(refused)).await.unwrap_err();
        assert!(matches!(error, GetError::App(GetError::NestingTooDeep { limit: 256 })), "{error:?}");
    }
    assert!(others.iter().all(|other| !other.is_settled()));
    cluster.cancel(&endless);
    for other in others.iter() {
        let error = bounded(cluster.get(other)).await.unwrap_err();
        assert!(matches!(error, GetError::App(GetError::Cancelled { .. })), "{error:?}");
    }
    assert_eq!(bounded(fibonacci::submit(&cluster, 5)).await.unwrap(), 5);
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_cancelled_however_deep_they_nest() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let folder = Folder::new();
    let says = bounded(Queue::bounded(&cluster, 4)).await.unwrap();
    let file = folder.file("last");
    let root = deep::submit(&cluster, says.clone(), &file, 10_000);
    bounded(says.get()).await.unwrap();
    cluster.cancel(&root);
    let error = bounded(cluster.get(&root)).await.unwrap_err();
    assert!(matches!(error, GetError::Cancelled { executed: Executed::Maybe }), "{error:?}");
    appears(&file).await;
    assert_eq!(bounded(add::submit(&cluster, 1, 2)).await, Ok(3), "others run");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_which_it_is_said_that_it_did_not_run_never_does() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let mut unrun = Vec::new();
    for place in 0..RAN.len() {
        let task = match place % 2 {
            0 => marks::submit(&cluster, place as u64),
            _ => marks_later::submit(&cluster, place as u64),
        };
        cluster.cancel(&task);
        match bounded(cluster.get(&task)).await {
            Err(GetError::Cancelled { executed: Executed::No }) => unrun.push(place),
            Ok(()) | Err(GetError::Cancelled { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    bounded(cluster.shutdown()).await;
    let ran: Vec<_> = unrun.into_iter().filter(|place| RAN[*place].load(Ordering::SeqCst)).collect();
    assert!(ran.is_empty(), "{ran:?}");
}

#[task]
fn leaves_a_file(file: String) {
    let _ = std::fs::write(file, "ran");
}

/// They are cancelled while they are queued, on their way, in line and running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_that_was_on_its_way_to_another_node() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let folder = Folder::new();
    let mut unrun = Vec::new();
    for place in 0..400 {
        let file = folder.file(&place.to_string());
        let task = leaves_a_file::submit(&cluster, &file);
        if place % 4 > 0 {
            let other = leaves_a_file::submit(&cluster, folder.file("other"));
            let canceller = (cluster.clone(), task.clone());
            let cancels = tokio::spawn(async move { canceller.0.cancel(&canceller.1) });
            bounded(other).await.unwrap();
            bounded(cancels).await.unwrap();
        }
        cluster.cancel(&task);
        match bounded(cluster.get(&task)).await {
            Err(GetError::Cancelled { executed: Executed::No }) => unrun.push(file),
            Ok(()) | Err(GetError::Cancelled { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    bounded(cluster.shutdown()).await;
    let ran: Vec<_> = unrun.into_iter().filter(|file| std::path::Path::new(file).exists()).collect();
    assert!(ran.is_empty(), "{ran:?}");
}

#[task]
fn counts(text: Vec<String>, of: Vec<ObjectRef<u64>>) -> usize {
    text.len() + of.len()
}

/// Their arguments travel as an object, which is asked for when the task has arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_cancelled_while_its_arguments_are_on_their_way_lets_them_go() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let held = bounded(cluster.put(7)).await.unwrap();
    let counts = |lines| counts::submit(&cluster, vec!["a line".repeat(100); lines], vec![held.clone()]);
    for place in 0..100 {
        // Its slot is there for the next one.
        assert_eq!(bounded(counts(1)).await, Ok(2));
        let task = counts(200);
        if place % 2 > 0 {
            tokio::task::yield_now().await;
        }
        cluster.cancel(&task);
        let cancelled = bounded(cluster.get(&task)).await;
        assert!(matches!(cancelled, Ok(201) | Err(GetError::Cancelled { .. })), "{cancelled:?}");
    }
    drop(held);
    until("nothing is shared", || cluster.shared_objects() == SharedObjects::default()).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_within_a_group_that_is_removed_is_cancelled_with_what_it_submitted() {
    let cluster = bounded(Cluster::local().workers(1).cpus(3.0)).await.unwrap();
    let folder = Folder::new();
    let [begun, spun, waited] = ["begun", "spun", "waited"].map(|name| folder.file(name));
    let group = bounded(cluster.placement_group().bundle([("cpu", 2.0)])).await.unwrap();
    let says = bounded(Queue::bounded(&cluster, 4)).await.unwrap();
    let spins = spins::call(&cluster, &begun, &spun).within(&group).submit();
    let waits = waits_for_another::call(&cluster, says.clone(), &waited, Child::Follows).within(&group).submit();
    appears(&begun).await;
    bounded(says.get()).await.unwrap();
    bounded(group.remove()).await.unwrap();
    let removed = || GetError::NotPlaced { why: NotGranted::NoGroup(group.id()), executed: Executed::Maybe };
    assert_eq!(bounded(spins).await.unwrap_err(), removed());
    assert_eq!(bounded(waits).await.unwrap_err().to_string(), removed().to_string());
    for left in [&spun, &waited, &format!("{waited}.child")] {
        appears(left).await;
    }
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_is_never_run_again() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let folder = Folder::new();
    let says = bounded(Queue::bounded(&cluster, 4).on(workers(&cluster)[0].0)).await.unwrap();
    let file = folder.file("runs");
    let task = mourned::call(&cluster, says.clone(), &file).on(workers(&cluster)[1].0).retries(9).submit();
    let process = bounded(says.get()).await.unwrap();
    cluster.cancel(&task);
    kill(process);
    assert!(matches!(bounded(cluster.get(&task)).await, Err(GetError::Cancelled { .. })));
    let still = mourned::call(&cluster, says.clone(), folder.file("others")).submit();
    bounded(says.get()).await.unwrap();
    cluster.cancel(&still);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "run\n");
    bounded(cluster.shutdown()).await;
}

/// Of another kind, so that it takes a grant of its own from the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_task_holds_its_cpu_until_its_function_has_returned() {
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (begun, left) = (path("begun"), path("left"));
    let lingers = lingers::submit(&cluster, &begun, &left);
    until("the task that takes the only CPU", || Path::new(&begun).exists()).await;
    cluster.cancel(&lingers);
    assert_eq!(bounded(lingers).await, Err(GetError::Cancelled { executed: Executed::Maybe }));
    assert!(!Path::new(&left).exists(), "who waits is told at once");
    let found = [0.5, 1.0].map(|cpus| finds::call(&cluster, &left).cpus(cpus).submit());
    assert_eq!(bounded(cluster.get_all(&found)).await, Ok(vec![true, true]), "there was no CPU for them before");
    ends_without_a_trace(cluster).await;
}
