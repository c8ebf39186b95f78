//! Workers that are told to end (SIGTERM): what would outlive them leaves, and what they have begun comes to its end.
#![allow(missing_docs)]

mod common;

use common::*;
use mobula::prelude::*;
use mobula::task;
use rustix::process::Signal;
use std::path::Path;

mobula::test_worker!();

#[actor]
struct Site {}

#[methods]
impl Site {
    #[constructor]
    pub fn new() -> Self {
        Self {}
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    /// Says by `begun` that it runs, and ends when `go` is there.
    #[method(blocking)]
    pub fn hold(&mut self, begun: String, go: String) -> u32 {
        wait(&begun, &go)
    }
}

#[task]
fn process() -> u32 {
    std::process::id()
}

/// As `Site::hold`.
#[task]
fn hold(begun: &str, go: &str) -> u32 {
    wait(begun, go)
}

fn wait(begun: &str, go: &str) -> u32 {
    std::fs::write(begun, std::process::id().to_string()).expect("a file");
    while !Path::new(go).exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    std::process::id()
}

fn paths(folder: &tempfile::TempDir) -> [String; 2] {
    ["begun", "go"].map(|name| folder.path().join(name).to_str().expect("a path of text").to_owned())
}

async fn written(path: &str) -> u32 {
    let read = || std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok());
    until("what runs there", || read().is_some()).await;
    read().expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_may_be_placed_again_leaves_a_worker_that_is_told_to_end_and_spends_no_restart() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let (folder, traces) = (tempfile::tempdir().unwrap(), Traces::of(&cluster));
    let [begun, go] = paths(&folder);
    let site = bounded(Site::spawn(&cluster).name("site").detached().restarts(1)).await.unwrap();
    let held: ObjectRef<u32> = site.hold(begun.clone(), go.clone()).submit();
    let first = written(&begun).await;
    let next: ObjectRef<u32> = site.process().submit();
    signal(first, Signal::TERM);
    std::fs::write(&go, "").unwrap();
    assert_eq!(bounded(held).await, Ok(first), "what it had begun came to its end there");
    bounded(next).await.expect("there, or where it is next");
    until("its end", || !runs(first)).await;
    let second = bounded(site.process()).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(bounded(Site::lookup(&cluster, "site")).await.unwrap().id(), site.id(), "it has its name still");
    kill(second);
    let third = found(|| site.process()).await;
    assert!(third != first && third != second, "the restart was left");
    bounded(site.kill()).await.unwrap();
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_a_worker_that_is_told_to_end_go_on_if_they_have_begun_and_go_elsewhere_if_not() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (folder, traces) = (tempfile::tempdir().unwrap(), Traces::of(&cluster));
    let [begun, go] = paths(&folder);
    let held: ObjectRef<u32> = hold::submit(&cluster, begun.clone(), go.clone());
    let first = written(&begun).await;
    let all = || cluster.worker_processes().into_iter().filter(|process| *process != first);
    // The other one is held as well, so that some are sent to each and wait there.
    let other = tempfile::tempdir().unwrap();
    let [other_begun, other_go] = paths(&other);
    let rest: Vec<ObjectRef<u32>> = std::iter::once(hold::submit(&cluster, other_begun.clone(), other_go.clone()))
        .chain((0..200).map(|_| process::submit(&cluster)))
        .collect();
    written(&other_begun).await;
    signal(first, Signal::TERM);
    std::fs::write(&other_go, "").unwrap();
    let ran = bounded(cluster.get_all(&rest)).await.expect("none of them is lost");
    let second = all().next();
    assert_eq!(ran.last().copied(), second, "what had not begun ran on the other");
    std::fs::write(&go, "").unwrap();
    assert_eq!(bounded(held).await, Ok(first), "it came to its end");
    until("its end", || !runs(first)).await;
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}
