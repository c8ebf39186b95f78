//! Worker processes that come while something waits for room, and leave when they have nothing to do.

use mobula::prelude::*;
use mobula::{Departed, task};
use std::collections::BTreeSet;
use std::time::Duration;

mod common;
#[path = "common/tenant.rs"]
mod tenant;
use common::{bounded, ends_without_a_trace, kill, until};
use tenant::Tenant;

mobula::test_worker!();

/// Long enough that what is used at once is not taken for idle.
const IDLE: Duration = Duration::from_millis(400);

#[task]
fn filled(length: usize) -> Vec<u8> {
    vec![7; length]
}

async fn scaled(least: usize, most: usize) -> Cluster {
    let scaled = Cluster::local().workers(least).scale_up_to(most).cpus(1.0).idle_timeout(IDLE);
    bounded(scaled).await.unwrap()
}

fn processes(cluster: &Cluster) -> BTreeSet<u32> {
    cluster.worker_processes().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_come_while_actors_wait_and_leave_when_these_are_gone() {
    let cluster = scaled(1, 3).await;
    let first = processes(&cluster);
    assert_eq!(first.len(), 1);
    // One CPU each: each waits for a worker of its own.
    let spawned = futures::future::join_all((0..3).map(|_| async { Tenant::spawn(&cluster).await.unwrap() }));
    let tenants = bounded(spawned).await;
    let mut hosts = BTreeSet::new();
    for tenant in &tenants {
        hosts.insert(bounded(tenant.process()).await.unwrap());
    }
    assert_eq!((hosts.len(), &hosts), (3, &processes(&cluster)));

    let full = bounded(Tenant::spawn(&cluster).timeout(IDLE)).await.unwrap_err();
    assert!(full.to_string().contains("full"), "there are as many as may be: {full}");
    assert_eq!(processes(&cluster), hosts);

    drop(tenants);
    until("idle workers leave", || processes(&cluster) == first).await;
    until("the head knows", || cluster.nodes().iter().filter(|node| node.hosts_actors).count() == 1).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_something_that_others_refer_to_stays() {
    let cluster = scaled(1, 3).await;
    let first = processes(&cluster);
    let tenants = [bounded(Tenant::spawn(&cluster)).await.unwrap(), bounded(Tenant::spawn(&cluster)).await.unwrap()];
    // The others hold their CPUs: this is on a third one, and its result too large to travel with the answer.
    let object = filled::submit(&cluster, 1_000_000);
    assert_eq!(bounded(cluster.wait([&object], 1).without_fetching()).await.0.len(), 1);
    assert_eq!(processes(&cluster).len(), 3);
    drop(tenants);
    until("the idle one leaves", || processes(&cluster).len() == 2).await;
    assert_eq!(bounded(cluster.get(&object)).await.unwrap().len(), 1_000_000);
    drop(object);
    until("so does the other, once nobody refers to its object", || processes(&cluster) == first).await;
    ends_without_a_trace(cluster).await;
}

/// Each round finds the added worker idle, closed, open again, gone, or none yet: nothing is lost whichever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_a_worker_is_about_to_leave_is_not_lost() {
    let cluster = Cluster::local().workers(1).scale_up_to(2).cpus(1.0).idle_timeout(Duration::ZERO);
    let cluster = bounded(cluster).await.unwrap();
    for round in 0..12_u64 {
        let two = async { tokio::join!(Tenant::spawn(&cluster).into_future(), Tenant::spawn(&cluster).into_future()) };
        let (one, other) = bounded(two).await;
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_ne!(bounded(one.process()).await.unwrap(), bounded(other.process()).await.unwrap());
        drop((one, other));
        // Another moment of its leaving in each round.
        tokio::time::sleep(Duration::from_millis(35 * round)).await;
    }
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_stay_are_replaced_when_they_die() {
    let cluster = scaled(2, 3).await;
    let first = processes(&cluster);
    let killed = *first.first().unwrap();
    kill(killed);
    until("another one is there", || {
        let now = processes(&cluster);
        now.len() == 2 && !now.contains(&killed)
    })
    .await;
    until("it has joined", || cluster.nodes().iter().filter(|node| node.hosts_actors).count() == 2).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_tasks_find_room_on_workers_that_come() {
    let cluster = scaled(2, 4).await;
    let tenants = [bounded(Tenant::spawn(&cluster)).await.unwrap(), bounded(Tenant::spawn(&cluster)).await.unwrap()];
    let apart = cluster.placement_group().bundle([("cpu", 1.0)]).bundle([("cpu", 1.0)]);
    let group = bounded(apart.strategy(mobula::Packing::StrictSpread)).await.unwrap();
    assert_eq!(processes(&cluster).len(), 4);
    bounded(group.remove()).await.unwrap();
    let many: Vec<_> = (0..20).map(|_| filled::submit(&cluster, 10)).collect();
    assert_eq!(bounded(cluster.get_all(&many)).await.unwrap().len(), 20);
    drop((tenants, many));
    until("all but two leave", || processes(&cluster).len() == 2).await;

    let three = || {
        let group = (0..3).fold(cluster.placement_group(), |group, _| group.bundle([("cpu", 1.0)]));
        group.strategy(mobula::Packing::StrictSpread)
    };
    let refused = bounded(three()).await.unwrap_err();
    assert!(refused.to_string().contains("would not fit"), "{refused}");
    let group = bounded(three().wait_for_nodes()).await.unwrap();
    assert_eq!(processes(&cluster).len(), 3);
    bounded(group.remove()).await.unwrap();
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_started_by_hand_leaves_when_it_is_idle() {
    let (key, identity) = mobula::ClusterKey::generate().unwrap();
    let head = Cluster::builder().head().cluster_key(key.clone()).identity(identity).listen("tcp://127.0.0.1:0");
    let head = bounded(head).await.unwrap();
    let worker = Cluster::builder().worker_of(&head.addresses()[0]).cluster_key(key).cpus(1.0).idle_timeout(IDLE);
    let worker = bounded(worker).await.unwrap();
    let tenant = bounded(Tenant::spawn(&head)).await.unwrap();
    assert_eq!(bounded(tenant.process()).await, Ok(std::process::id()));
    drop(tenant);
    assert_eq!(bounded(worker.departed()).await, Departed::ShutDown);
    until("the head knows", || !head.nodes().iter().any(|node| node.hosts_actors)).await;
    worker.shutdown().await;
    ends_without_a_trace(head).await;
}
