//! A monitor tells once, of every kind of end.

use crate::common::{bounded, ends_without_a_trace, hold};
use crate::support::{Foreman, Worker, WorkerHandle, told_of};
use mobula::limits::MONITORS;
use mobula::prelude::*;
use mobula::{EndReason, Handle};

hold! {
    an_actor_is_told_once_of_every_kind_of_end
    who_watches_too_late_is_told_at_once
    what_is_watched_is_not_kept
    a_named_actor_is_watched_like_any_other
    to_be_started_again_is_no_end
    a_cancelled_monitor_tells_nothing
    a_monitor_ends_with_the_run_of_its_watcher
    a_watcher_that_has_ended_holds_nobody
    an_actor_has_so_many_monitors_and_no_more
}

fn panicked() -> EndReason {
    EndReason::Panicked { message: "`falls`: on purpose".to_owned() }
}

async fn worker(cluster: &Cluster) -> WorkerHandle {
    bounded(Worker::spawn(cluster)).await.unwrap()
}

async fn an_actor_is_told_once_of_every_kind_of_end(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let mut expected = Vec::new();
    for (name, reason) in [("stops", EndReason::Stopped), ("is killed", EndReason::Killed), ("falls", panicked())] {
        let worker = worker(cluster).await;
        bounded(foreman.watch(worker.clone(), name.to_owned())).await.unwrap();
        match name {
            "stops" => assert_eq!(bounded(worker.stop()).await, Ok(EndReason::Stopped)),
            "is killed" => assert_eq!(bounded(worker.kill()).await, Ok(EndReason::Killed)),
            _ => assert!(matches!(bounded(worker.falls()).await, Err(CallError::Panicked { .. }))),
        }
        expected.push((name, reason));
        assert_eq!(bounded(foreman.told(expected.len())).await.unwrap().len(), expected.len());
    }
    told_of(&foreman, cluster, &expected).await;
}

async fn who_watches_too_late_is_told_at_once(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let (killed, fallen) = (worker(cluster).await, worker(cluster).await);
    // A handle that travels to the foreman names an actor which has ended by then: of its own node it hears why.
    let (to_killed, to_fallen) = (killed.clone(), fallen.clone());
    bounded(killed.kill()).await.unwrap();
    bounded(fallen.falls()).await.unwrap_err();
    bounded(fallen.ended()).await.unwrap();
    bounded(foreman.watch(to_killed, "killed".to_owned())).await.unwrap();
    bounded(foreman.told(1)).await.unwrap();
    bounded(foreman.watch(to_fallen, "fallen".to_owned())).await.unwrap();
    told_of(&foreman, cluster, &[("killed", EndReason::Killed), ("fallen", panicked())]).await;
}

async fn what_is_watched_is_not_kept(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    bounded(foreman.watch(worker(cluster).await, "let go".to_owned())).await.unwrap();
    told_of(&foreman, cluster, &[("let go", EndReason::Stopped)]).await;
}

async fn a_named_actor_is_watched_like_any_other(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let named = bounded(Worker::spawn(cluster).name("known")).await.unwrap();
    bounded(foreman.watch(named.clone(), "known".to_owned())).await.unwrap();
    bounded(named.falls()).await.unwrap_err();
    told_of(&foreman, cluster, &[("known", panicked())]).await;
    bounded(Worker::spawn(cluster).name("known")).await.expect("who hears of its end finds its name free");
}

async fn to_be_started_again_is_no_end(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let stubborn = bounded(Worker::spawn(cluster).restarts(1)).await.unwrap();
    bounded(foreman.watch(stubborn.clone(), "stubborn".to_owned())).await.unwrap();
    bounded(stubborn.falls()).await.unwrap_err();
    bounded(stubborn.process()).await.expect("it runs again");
    assert_eq!(bounded(foreman.told(0)).await, Ok(Vec::new()));
    bounded(stubborn.falls()).await.unwrap_err();
    let spent = EndReason::RestartsSpent { restarts: 1, message: "`falls`: on purpose".to_owned() };
    told_of(&foreman, cluster, &[("stubborn", spent)]).await;
}

async fn a_cancelled_monitor_tells_nothing(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let worker = worker(cluster).await;
    for name in ["cancelled", "kept"] {
        bounded(foreman.watch(worker.clone(), name.to_owned())).await.unwrap();
    }
    bounded(foreman.cancel("cancelled")).await.unwrap();
    bounded(worker.kill()).await.unwrap();
    told_of(&foreman, cluster, &[("kept", EndReason::Killed)]).await;
}

async fn a_monitor_ends_with_the_run_of_its_watcher(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let worker = worker(cluster).await;
    bounded(foreman.watch(worker.clone(), "of the former run".to_owned())).await.unwrap();
    bounded(foreman.falls()).await.unwrap_err();
    assert_eq!(bounded(foreman.told(0)).await, Ok(Vec::new()), "it runs again");
    bounded(worker.kill()).await.unwrap();
    told_of(&foreman, cluster, &[]).await;
}

async fn a_watcher_that_has_ended_holds_nobody(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let worker = worker(cluster).await;
    bounded(foreman.watch(worker.clone(), "unheard".to_owned())).await.unwrap();
    assert_eq!(bounded(foreman.stop()).await, Ok(EndReason::Stopped), "it waits for no monitor");
    assert!(bounded(worker.process()).await.is_ok());
    assert_eq!(bounded(worker.stop()).await, Ok(EndReason::Stopped));
}

async fn an_actor_has_so_many_monitors_and_no_more(cluster: &Cluster) {
    let foreman = bounded(Foreman::spawn(cluster)).await.unwrap();
    let worker = worker(cluster).await;
    let (begun, why) = bounded(foreman.watch_often(worker.clone(), MONITORS + 1)).await.unwrap();
    assert_eq!(begun, MONITORS);
    assert!(why.contains(&MONITORS.to_string()) && why.contains("cancel"), "{why}");
    bounded(worker.kill()).await.unwrap();
    assert_eq!(bounded(foreman.told(MONITORS)).await.unwrap().len(), MONITORS);
}
