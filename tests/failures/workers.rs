//! Workers that die.

use crate::actors::{Gate, Sloth};
use crate::common::*;
use futures::StreamExt;
use mobula::prelude::*;
use mobula::{EndReason, Executed, GroupState, Packing, PlacementError, SpawnError, TryTellError};
use std::time::{Duration, Instant};

#[track_caller]
fn node_died<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, CallError<E>>) -> Executed {
    match result {
        Err(CallError::NodeDied { executed, .. }) => executed,
        other => panic!("the node died: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_waits_for_a_killed_worker_ends_at_once_and_says_so() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let traces = Traces::of(&cluster);
    let [(lives, _), (dies, victim)] = workers(&cluster)[..] else { panic!("two workers") };
    let gate = bounded(Gate::spawn(&cluster).on(lives)).await.unwrap();
    let busy = bounded(Sloth::spawn(&cluster, &gate).on(dies)).await.unwrap();
    let talker = bounded(Sloth::spawn(&cluster, &gate).on(dies)).await.unwrap();
    let asker = bounded(Sloth::spawn(&cluster, &gate).on(lives)).await.unwrap();
    let target = bounded(Sloth::spawn(&cluster, &gate).on(dies).name("target")).await.unwrap();

    let runs = tokio::spawn(busy.hold());
    let across = tokio::spawn(asker.relay(&target));
    let mut items = talker.stall();
    for item in 0..3 {
        assert_eq!(bounded(items.next()).await, Some(Ok(item)));
    }
    let made = tokio::spawn(Sloth::spawn_never(&cluster, &gate).on(dies).into_future());
    let named = tokio::spawn(Sloth::spawn_never(&cluster, &gate).on(dies).name("never").into_future());
    let watched = tokio::spawn(busy.ended());
    bounded(gate.opens_at(5)).await.unwrap();
    let mut waits = busy.note(0);
    assert!(futures::poll!(&mut waits).is_pending());
    while busy.note(1).try_tell().is_ok() {}
    let (mut told, mut queued) = (busy.note(2).tell(), busy.note(3));
    assert!(futures::poll!(&mut told).is_pending() && futures::poll!(&mut queued).is_pending());
    let next = tokio::spawn(async move { items.next().await });

    kill(victim);
    let killed = Instant::now();
    assert_eq!(node_died(bounded(runs).await.unwrap()), Executed::Maybe);
    assert_eq!(
        node_died(bounded(across).await.unwrap().map_err(|error| error.into_app::<mobula::Never>().unwrap())),
        Executed::Maybe
    );
    assert_eq!(node_died(bounded(waits).await), Executed::Maybe);
    assert_eq!(node_died(bounded(told).await), Executed::No);
    assert_eq!(node_died(bounded(queued).await), Executed::No);
    assert_eq!(node_died(bounded(next).await.unwrap().unwrap()), Executed::Maybe);
    assert!(matches!(bounded(made).await.unwrap(), Err(SpawnError::Node(CallError::NodeDied { .. }))));
    let named = bounded(named).await.unwrap();
    assert!(matches!(named, Err(SpawnError::NotPlaced(_))), "{named:?}");
    assert_eq!(bounded(watched).await.unwrap(), Ok(EndReason::NodeDied));
    assert!(killed.elapsed() < DETECTION, "it took {:?}", killed.elapsed());

    assert_eq!(node_died(bounded(busy.note(4)).await), Executed::No);
    assert_eq!(node_died(bounded(busy.note(4).tell()).await), Executed::No);
    assert!(matches!(busy.note(4).try_tell(), Err(TryTellError::Failed(CallError::NodeDied { .. }))));
    assert!(bounded(Sloth::lookup(&cluster, "target")).await.is_err());
    assert_eq!(workers(&cluster).len(), 1);
    let again = bounded(Sloth::spawn(&cluster, &gate).name("target")).await.unwrap();
    assert_eq!(bounded(again.noted()).await, Ok(vec![]));
    assert_eq!(bounded(asker.noted()).await, Ok(vec![]));
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}

#[task]
pub(crate) fn process() -> u32 {
    std::process::id()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_stopped_beyond_its_lease_joins_anew_without_actors_and_runs_tasks_again() {
    let cluster = bounded(Cluster::local().workers(1).lease(Duration::from_secs(4))).await.unwrap();
    let traces = Traces::of(&cluster);
    let host = |cluster: &Cluster| cluster.nodes().into_iter().find(|node| node.hosts_actors);
    let before = host(&cluster).unwrap();
    let gate = bounded(Gate::spawn(&cluster)).await.unwrap();
    let sloth = bounded(Sloth::spawn(&cluster, &gate)).await.unwrap();
    let holds = tokio::spawn(sloth.hold());
    bounded(gate.opens_at(1)).await.unwrap();
    assert_eq!(bounded(process::call(&cluster)).await, Ok(before.process));

    signal(before.process, rustix::process::Signal::STOP);
    until("the end of the stopped worker's life", || host(&cluster).is_none()).await;
    assert_eq!(node_died(bounded(holds).await.unwrap()), Executed::Maybe);
    let waits = tokio::spawn(process::call(&cluster).wait_for_node().into_future());
    signal(before.process, rustix::process::Signal::CONT);
    until("the worker's next life", || host(&cluster).is_some()).await;

    let after = host(&cluster).unwrap();
    assert_eq!((after.process, after.life > before.life), (before.process, true), "it did not exit");
    assert_eq!(node_died(bounded(sloth.note(1)).await), Executed::No);
    assert_eq!(bounded(waits).await.unwrap(), Ok(before.process));
    assert_eq!(bounded(process::call(&cluster)).await, Ok(before.process));
    let gate = bounded(Gate::spawn(&cluster)).await.unwrap();
    let sloth = bounded(Sloth::spawn(&cluster, &gate)).await.unwrap();
    assert_eq!(bounded(sloth.noted()).await, Ok(vec![]));
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_whose_worker_was_killed_is_placed_on_another_where_tasks_within_it_go_on() {
    let cluster = bounded(Cluster::local().workers(3).cpus(1.0)).await.unwrap();
    let traces = Traces::of(&cluster);
    let one = [("cpu", 1.0)];
    let group = cluster.placement_group().bundle(one).bundle(one).strategy(Packing::StrictSpread);
    let group = bounded(group).await.unwrap();
    let process_of = |life| cluster.nodes().into_iter().find(|node| node.life == life).map(|node| node.process);
    let before = bounded(group.ready()).await.unwrap();
    let lost = process_of(before[0]).unwrap();
    assert_eq!(bounded(process::call(&cluster).within_bundle(&group, 0)).await, Ok(lost));
    kill(lost);
    until("the end of the worker's life", || process_of(before[0]).is_none()).await;

    let there = bounded(process::call(&cluster).within_bundle(&group, 0)).await.unwrap();
    let after = bounded(group.ready()).await.unwrap();
    assert_eq!((after[1], process_of(after[0])), (before[1], Some(there)), "the other bundle stays where it is");
    assert!(!before.contains(&after[0]));

    kill(there);
    until("the end of the third worker's life", || process_of(after[0]).is_none()).await;
    let waits = process::call(&cluster).within_bundle(&group, 0).submit();
    let late = bounded(group.ready().timeout(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(late, PlacementError::Timeout { .. }), "{late:?}");
    let listed = bounded(cluster.placement_groups()).await.unwrap();
    assert_eq!(listed[0].state, GroupState::Partly(vec![None, Some(before[1])]));
    assert!(!waits.is_settled(), "no node is left for it");
    let stays = bounded(process::call(&cluster).within_bundle(&group, 1)).await;
    assert_eq!(stays, Ok(process_of(before[1]).unwrap()));
    bounded(group.remove()).await.unwrap();
    assert!(bounded(waits).await.is_err());
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}
