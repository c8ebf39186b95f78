//! Calls that may be tried again: as often as was said, whoever dies, and for as long as it takes.

use crate::actors::Rover;
use crate::common::*;
use mobula::Executed;
use mobula::prelude::*;
use rustix::process::Signal;
use std::io::Write;
use std::path::Path;

/// Notes each of its tries in a file, and fails all of them.
#[actor(restarts = 20)]
pub struct Poison {
    alive: bool,
}

#[methods]
impl Poison {
    #[constructor]
    pub fn fresh() -> Self {
        Self { alive: true }
    }

    /// In these tries its process dies, in the others it panics.
    pub fn fails(&mut self, file: String, dies_in: Vec<usize>) -> u64 {
        let mut notes = std::fs::File::options().append(true).create(true).open(&file).unwrap();
        notes.write_all(b"tried\n").unwrap();
        if dies_in.contains(&tries(Path::new(&file))) {
            std::process::abort();
        }
        panic!("on purpose");
    }

    pub fn is_alive(&self) -> bool {
        self.alive
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

fn tries(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_tried_as_often_as_it_may_be_in_all_over_panics_and_deaths() {
    let folder = tempfile::tempdir().unwrap();
    for (case, dies_in) in [vec![], vec![1], vec![2], vec![3], vec![1, 3]].into_iter().enumerate() {
        let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
        let poison = bounded(Poison::spawn(&cluster)).await.unwrap();
        let file = folder.path().join(case.to_string());
        let call = poison.fails(file.to_str().unwrap().to_owned(), dies_in.clone()).retries(3);
        match bounded(call).await {
            Err(CallError::Panicked { message, .. }) => assert_eq!(message, "on purpose"),
            other => panic!("{dies_in:?}: {other:?}"),
        }
        assert_eq!(tries(&file), 4, "{dies_in:?}: the first, and three more");
        assert_eq!(bounded(poison.is_alive()).await, Ok(true));
        bounded(cluster.shutdown()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_last_try_its_node_did_not_survive_says_that_it_may_have_run() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let poison = bounded(Poison::spawn(&cluster)).await.unwrap();
    let file = folder.path().join("tries");
    let call = poison.fails(file.to_str().unwrap().to_owned(), vec![3]).retries(2);
    match bounded(call).await {
        Err(CallError::NodeDied { executed: Executed::Maybe, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(tries(&file), 3);
    bounded(cluster.shutdown()).await;
}

/// Hangs in all of its runs but the first, which ends with its process.
#[actor(restarts = 20)]
pub struct Mire {}

#[methods]
impl Mire {
    #[constructor]
    pub async fn at(file: String, ctx: &mut ActorContext<Self>) -> Self {
        if Path::new(&file).exists() {
            ctx.handle().hangs().tell().await.expect("its mailbox is empty");
        }
        Self {}
    }

    pub async fn hangs(&mut self) {
        std::future::pending().await
    }

    pub fn sinks(&mut self, file: String) {
        std::fs::File::create(file).unwrap();
        std::process::abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_ran_once_and_then_no_more_says_that_it_may_have_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sunk").to_str().unwrap().to_owned();
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let mire = bounded(Mire::spawn(&cluster, file.clone())).await.unwrap();
    let sinks = mire.sinks(file.clone()).retries(3).submit();
    until("its first run", || Path::new(&file).exists()).await;
    // In the next one it stands behind what hangs, also when its time is up there ..
    let late = mire.sinks(file.clone()).timeout(std::time::Duration::from_millis(100));
    assert!(matches!(bounded(late).await, Err(CallError::Timeout { .. } | CallError::NodeDied { .. })));
    // .. or when that is killed.
    assert!(bounded(mire.kill()).await.is_ok());
    match bounded(sinks).await {
        Err(GetError::ActorDied { executed: Executed::Maybe, .. }) => {}
        other => panic!("{other:?}"),
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_retries_wait_for_a_silent_node_and_others_are_told_that_it_is() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let tally = bounded(Rover::spawn(&cluster)).await.unwrap();
    let process = bounded(tally.process()).await.unwrap();
    signal(process, Signal::STOP);
    let patient: Vec<_> = (1..=3).map(|number| tally.note(number).retries(1).submit()).collect();
    match bounded(tally.note(100)).await {
        Err(CallError::Unreachable { .. }) => {}
        other => panic!("{other:?}"),
    }
    // Now that it counts as silent, the ones fail at once and the others stand in line.
    let late = tally.note(4).retries(1).submit();
    match bounded(tally.note(101)).await {
        Err(CallError::Unreachable { executed: Executed::No, .. }) => {}
        other => panic!("{other:?}"),
    }
    signal(process, Signal::CONT);
    for (number, call) in (1..).zip(patient.into_iter().chain([late])) {
        assert_eq!(bounded(call).await, Ok(number));
    }
    let noted = bounded(tally.noted().retries(1)).await.unwrap();
    let mine: Vec<u64> = noted.into_iter().filter(|number| *number < 100).collect();
    assert_eq!(mine, [1, 2, 3, 4], "each once, in their order");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_retries_that_wait_for_a_silent_node_run_elsewhere_when_its_life_ends() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let tally = bounded(Rover::spawn(&cluster)).await.unwrap();
    let process = bounded(tally.process()).await.unwrap();
    signal(process, Signal::STOP);
    let patient: Vec<_> = (1..=3).map(|number| tally.note(number).retries(1).submit()).collect();
    let impatient = tally.note(100).submit();
    assert!(bounded(impatient).await.is_err(), "it has none");
    kill(process);
    for (number, call) in (1..).zip(patient) {
        assert_eq!(bounded(call).await, Ok(number));
    }
    assert_eq!(bounded(tally.noted()).await.unwrap(), [1, 2, 3]);
    bounded(cluster.shutdown()).await;
}
