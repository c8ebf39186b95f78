//! Monitors of actors whose processes are killed or stopped.

use crate::common::{DETECTION, bounded, ends_without_a_trace, kill, runs, signal, until, workers};
use crate::links::{Knot, linked};
use crate::parts::{Diary, PartHandle, part};
use crate::supervisors::Boss;
use crate::support::{Foreman, ForemanHandle, Worker, told_of};
use mobula::prelude::*;
use mobula::{ChildContext, EndReason, Handle, Supervisor};
use rustix::process::Signal;
use std::time::Duration;

/// A cluster with two workers, a foreman on the first, and the other with its process.
async fn apart() -> (Cluster, ForemanHandle, mobula::id::NodeId, u32) {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [(first, _), (other, process)] = workers(&cluster)[..] else { panic!("two workers") };
    let foreman = bounded(Foreman::spawn(&cluster).on(first)).await.unwrap();
    (cluster, foreman, other, process)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_node_is_the_end_of_its_actors() {
    let (cluster, foreman, other, process) = apart().await;
    let (placed, named) = (Worker::spawn(&cluster).on(other), Worker::spawn(&cluster).on(other).name("named"));
    let (placed, named) = (bounded(placed).await.unwrap(), bounded(named).await.unwrap());
    bounded(foreman.watch(placed.clone(), "placed".to_owned())).await.unwrap();
    bounded(foreman.watch(named.clone(), "named".to_owned())).await.unwrap();
    kill(process);
    until("the process to end", || !runs(process)).await;
    let told = tokio::time::timeout(DETECTION, foreman.told(2)).await.expect("a proven death is known soon").unwrap();
    assert!(told.iter().all(|(_, why)| *why == EndReason::NodeDied), "{told:?}");
    bounded(foreman.watch(placed, "again".to_owned())).await.unwrap();
    let mut names: Vec<_> = bounded(foreman.told(3)).await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.pop().as_deref(), Some("again"));
    names.sort();
    assert_eq!(names, ["named", "placed"]);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_be_placed_again_is_no_end() {
    let (cluster, foreman, other, process) = apart().await;
    let stubborn = bounded(Worker::spawn(&cluster).restarts(1).prefer(other)).await.unwrap();
    assert_eq!(bounded(stubborn.process()).await, Ok(process));
    bounded(foreman.watch(stubborn.clone(), "stubborn".to_owned())).await.unwrap();
    kill(process);
    // Asked until it is there: a call without retries that is under way when the node dies fails.
    let moved = async {
        loop {
            if let Ok(now) = stubborn.process().await {
                return now;
            }
        }
    };
    assert_ne!(bounded(moved).await, process);
    assert_eq!(bounded(foreman.told(0)).await, Ok(Vec::new()));
    bounded(stubborn.stop()).await.unwrap();
    told_of(&foreman, &cluster, &[("stubborn", EndReason::Stopped)]).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silence_of_a_node_is_no_end() {
    let (cluster, foreman, other, process) = apart().await;
    let worker = bounded(Worker::spawn(&cluster).on(other)).await.unwrap();
    bounded(foreman.watch(worker.clone(), "silent".to_owned())).await.unwrap();
    signal(process, Signal::STOP);
    // Its threads do not stop at once.
    let silent = async {
        loop {
            if let Err(error) = worker.process().await {
                return error;
            }
        }
    };
    let silent = bounded(silent).await;
    assert!(matches!(silent, CallError::Unreachable { .. }), "{silent:?}");
    assert_eq!(bounded(foreman.told(0)).await, Ok(Vec::new()));
    signal(process, Signal::CONT);
    let heard = async { while worker.process().timeout(Duration::from_secs(1)).await.is_err() {} };
    bounded(heard).await;
    assert_eq!(bounded(foreman.told(0)).await, Ok(Vec::new()));
    bounded(worker.stop()).await.unwrap();
    told_of(&foreman, &cluster, &[("silent", EndReason::Stopped)]).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_is_no_actor_waits_for_an_end_as_well() {
    let (cluster, _, other, process) = apart().await;
    let worker = bounded(Worker::spawn(&cluster).on(other)).await.unwrap();
    let ended = tokio::spawn(worker.ended());
    kill(process);
    assert_eq!(bounded(ended).await.unwrap(), Ok(EndReason::NodeDied));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_of_a_node_that_is_killed_are_started_again_elsewhere_with_those_that_go_along() {
    let (cluster, _, other, process) = apart().await;
    let [(first, _), _] = workers(&cluster)[..] else { panic!("two workers") };
    let diary = bounded(Diary::spawn(&cluster).on(first)).await.unwrap();
    let make = |name: &'static str, node| {
        let part = part(name, &diary);
        move |cluster: &ChildContext<'_>| part(cluster).prefer(node)
    };
    let supervisor =
        Supervisor::one_for_all().child("stays", make("stays", first)).child("moves", make("moves", other));
    let supervisor = bounded(supervisor.start(&cluster)).await.unwrap();
    let former = bounded(supervisor.child::<PartHandle>("moves")).await.unwrap();
    assert_eq!(bounded(former.process()).await, Ok(process));
    kill(process);
    let lines = bounded(diary.lines(5)).await.unwrap();
    assert_eq!(lines, ["stays starts", "moves starts", "stays stops", "stays starts", "moves starts"]);
    assert_eq!(bounded(former.ended()).await, Ok(EndReason::NodeDied));
    let next = bounded(supervisor.child::<PartHandle>("moves")).await.unwrap();
    assert!(bounded(next.process()).await.is_ok_and(|now| now != process));
    assert_eq!(bounded(supervisor.stop()).await, Ok(EndReason::Stopped));
    assert_eq!(bounded(diary.lines(7)).await.unwrap()[5..], ["moves stops", "stays stops"]);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_ends_with_its_process_and_its_children_with_it() {
    let (cluster, _, other, process) = apart().await;
    let [(first, _), _] = workers(&cluster)[..] else { panic!("two workers") };
    let diary = bounded(Diary::spawn(&cluster).on(first)).await.unwrap();
    let boss = bounded(Boss::spawn(&cluster).on(other)).await.unwrap();
    let supervisor = bounded(boss.hire(&diary)).await.unwrap();
    let hired = bounded(supervisor.child::<PartHandle>("hired")).await.unwrap();
    kill(process);
    assert_eq!(bounded(supervisor.ended()).await, Ok(EndReason::NodeDied));
    let ended = bounded(hired.ended()).await;
    assert!(matches!(ended, Ok(EndReason::OwnerDied | EndReason::NodeDied)), "{ended:?}");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_a_node_ends_who_was_linked_with_its_actors() {
    let (cluster, _, other, process) = apart().await;
    let [(first, _), _] = workers(&cluster)[..] else { panic!("two workers") };
    let mut pairs = Vec::new();
    for asks_from_here in [true, false] {
        let here = bounded(Knot::spawn(&cluster).on(first)).await.unwrap();
        let there = bounded(Knot::spawn(&cluster).on(other)).await.unwrap();
        let (asks, asked) = if asks_from_here { (&here, &there) } else { (&there, &here) };
        bounded(asks.ties(asked)).await.unwrap();
        pairs.push((here, there));
    }
    kill(process);
    for (here, there) in pairs {
        let ended = tokio::time::timeout(DETECTION, here.ended()).await.expect("a proven death is known soon");
        assert_eq!(ended, linked(there.id(), "its node died"));
    }
    ends_without_a_trace(cluster).await;
}
