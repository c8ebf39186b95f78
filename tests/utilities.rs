//! Queues, pools and groups, in one process and across worker processes.
#![allow(missing_docs)]

mod common;

use common::*;
use futures::{FutureExt, StreamExt, TryStreamExt, poll};
use mobula::prelude::*;
use mobula::{Executed, GroupError, QueueError, Router, SpawnError};
use std::collections::BTreeSet;
use std::pin::pin;
use std::task::Poll;

mobula::test_worker!();

#[actor]
struct Worker {
    seen: Vec<u64>,
    gate: Option<Queue<u64>>,
}

#[methods]
impl Worker {
    #[constructor(default)]
    pub fn new() -> Self {
        Worker { seen: Vec::new(), gate: None }
    }

    #[constructor]
    pub fn gated(gate: Queue<u64>) -> Self {
        Worker { seen: Vec::new(), gate: Some(gate) }
    }

    pub fn square(&mut self, x: u64) -> u64 {
        self.seen.push(x);
        x * x
    }

    /// Waits until the gate gives something.
    pub async fn pass(&mut self, x: u64) -> Result<u64, QueueError> {
        if let Some(gate) = &self.gate {
            gate.get().await?;
        }
        Ok(x)
    }

    pub fn seen(&self) -> Vec<u64> {
        self.seen.clone()
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

#[actor]
struct Other;

#[methods]
impl Other {
    #[constructor]
    pub fn new() -> Self {
        Other
    }
}

#[task]
async fn moves(from: Queue<u64>, to: Queue<u64>, many: u64) -> mobula::Result<u32> {
    for _ in 0..many {
        to.put(from.get().await? * 2).await?;
    }
    Ok(std::process::id())
}

#[task]
async fn takes(from: Queue<u64>) -> mobula::Result<u64> {
    Ok(from.get().await?)
}

async fn workers_of(cluster: &Cluster, many: usize) -> Vec<WorkerHandle> {
    bounded(futures::future::try_join_all((0..many).map(|_| Worker::spawn(cluster)))).await.unwrap()
}

hold! {
    a_queue_gives_its_items_in_order_and_holds_no_more_than_it_may
    who_waits_for_room_or_an_item_is_served_in_turn
    a_closed_queue_gives_what_it_holds_and_takes_no_more
    a_get_that_is_dropped_loses_no_item
    a_put_that_is_dropped_leaves_the_line
    a_queue_gives_no_more_references_at_once_than_travel
    a_queue_is_found_by_its_name_and_its_item_is_what_it_is
    a_queue_carries_handles_and_references
    a_queue_travels_in_a_task
    a_map_gives_replies_in_order_and_an_unordered_one_all_of_them
    routers_choose_in_turn_by_load_and_by_key
    a_pool_leaves_out_actors_that_ended
    a_group_calls_and_tells_all_that_joined
    a_group_forgets_members_that_ended
    a_group_is_of_one_type
}

async fn a_queue_gives_its_items_in_order_and_holds_no_more_than_it_may(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 3)).await.unwrap();
    for item in 1..=3_u64 {
        bounded(queue.put(item)).await.unwrap();
    }
    let full = bounded(queue.try_put(4)).await.unwrap_err();
    assert_eq!((&full, full.executed()), (&QueueError::Full { capacity: 3 }, Executed::No));
    assert_eq!((queue.len().await, queue.capacity().await, queue.is_empty().await), (Ok(3), Ok(3), Ok(false)));
    assert_eq!(bounded(queue.get()).await, Ok(1));
    assert_eq!(bounded(queue.get_many(10)).await, Ok(vec![2, 3]));
    assert_eq!(bounded(queue.try_get()).await, Ok(None));
    let too_many = bounded(queue.put_all(0..4)).await;
    assert_eq!(too_many, Err(QueueError::TooMany { items: 4, capacity: 3 }));
    bounded(queue.put_all(5..8)).await.unwrap();
    assert_eq!(bounded(queue.get_many(2)).await, Ok(vec![5, 6]));
    for capacity in [0, usize::MAX] {
        let refused = bounded(Queue::<u64>::bounded(cluster, capacity)).await.unwrap_err();
        assert!(matches!(refused, SpawnError::App(QueueError::Capacity { .. })), "{refused:?}");
    }
}

async fn who_waits_for_room_or_an_item_is_served_in_turn(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 1)).await.unwrap();
    let mut gets: Vec<_> = (0..3).map(|_| queue.get().boxed()).collect();
    for get in &mut gets {
        assert!(poll!(get).is_pending());
    }
    bounded(until_waiting(&queue, 3)).await;
    for item in 0..3_u64 {
        bounded(queue.put(item)).await.unwrap();
    }
    assert_eq!(bounded(futures::future::join_all(gets)).await, [Ok(0), Ok(1), Ok(2)]);
    let mut puts: Vec<_> = (0..4).map(|item| queue.put(item).boxed()).collect();
    for put in &mut puts {
        let _ = poll!(put);
    }
    let all = futures::future::join_all(puts);
    let taken = async { [queue.get().await, queue.get().await, queue.get().await, queue.get().await] };
    let (put, taken) = bounded(futures::future::join(all, taken)).await;
    assert!(put.iter().all(Result::is_ok), "{put:?}");
    assert_eq!(taken, [Ok(0), Ok(1), Ok(2), Ok(3)]);
}

async fn until_waiting(queue: &Queue<u64>, many: usize) {
    while queue.waiting().await.unwrap() != many {
        tokio::task::yield_now().await;
    }
}

async fn a_closed_queue_gives_what_it_holds_and_takes_no_more(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 2)).await.unwrap();
    bounded(queue.put_all([1_u64, 2])).await.unwrap();
    let mut waits = pin!(queue.put(3));
    assert!(poll!(&mut waits).is_pending());
    assert_eq!(bounded(queue.close()).await, Ok(2));
    assert_eq!(bounded(waits).await, Err(QueueError::Closed));
    assert_eq!(bounded(queue.put(4)).await, Err(QueueError::Closed));
    assert_eq!((bounded(queue.get()).await, bounded(queue.get()).await), (Ok(1), Ok(2)));
    assert_eq!(bounded(queue.get()).await, Err(QueueError::Closed));
    assert_eq!(bounded(queue.try_get()).await, Err(QueueError::Closed));
    bounded(queue.delete()).await.unwrap();
    let gone = bounded(queue.get()).await.unwrap_err();
    assert!(matches!(gone, QueueError::Call(CallError::ActorDied { .. })), "{gone:?}");
}

async fn a_get_that_is_dropped_loses_no_item(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 8)).await.unwrap();
    let items = 200_u64;
    let producer = {
        let queue = queue.clone();
        tokio::spawn(async move {
            for item in 0..items {
                queue.put(item).await.unwrap();
            }
        })
    };
    let mut taken = BTreeSet::new();
    let mut round = 0_u32;
    let all = async {
        while (taken.len() as u64) < items {
            // Dropped after none, one, or a few turns: before, while and after the item is on its way.
            let mut get = queue.get().boxed();
            let mut given = None;
            for _ in 0..round % 5 {
                if let Poll::Ready(item) = poll!(&mut get) {
                    given = Some(item.unwrap());
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(get);
            round += 1;
            if round.is_multiple_of(3) && given.is_none() {
                given = queue.try_get().await.unwrap();
            }
            if let Some(item) = given {
                assert!(taken.insert(item), "{item} was given twice");
            }
        }
    };
    bounded(all).await;
    bounded(producer).await.unwrap();
    assert_eq!(taken, (0..items).collect());
    bounded(until_waiting(&queue, 0)).await;
}

async fn a_put_that_is_dropped_leaves_the_line(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 1)).await.unwrap();
    bounded(queue.put(1_u64)).await.unwrap();
    let mut dropped = queue.put(2).boxed();
    assert!(poll!(&mut dropped).is_pending());
    let mut kept = queue.put(3).boxed();
    assert!(poll!(&mut kept).is_pending());
    // Both are in line once a call behind them was answered.
    assert_eq!(bounded(queue.len()).await, Ok(1));
    drop(dropped);
    assert_eq!(bounded(queue.get()).await, Ok(1));
    bounded(kept).await.unwrap();
    let mut left = Vec::new();
    while let Some(item) = bounded(queue.try_get()).await.unwrap() {
        left.push(item);
    }
    assert_eq!(left.last(), Some(&3), "what was dropped may have come first, and holds back nobody");
}

async fn a_queue_gives_no_more_references_at_once_than_travel(cluster: &Cluster) {
    const MANY: usize = mobula::limits::MESSAGE_REFS + 10;
    let queue = bounded(Queue::bounded(cluster, MANY)).await.unwrap();
    let number = cluster.put(7_u64).await.unwrap();
    for _ in 0..2 {
        bounded(queue.put_all((0..MANY / 2).map(|_| number.clone()))).await.unwrap();
    }
    let first = bounded(queue.get_many(MANY)).await.unwrap();
    let rest = bounded(queue.get_many(MANY)).await.unwrap();
    assert_eq!((first.len(), rest.len()), (mobula::limits::MESSAGE_REFS, 10));
    assert_eq!(bounded(cluster.get(rest.last().unwrap())).await, Ok(7));
}

async fn a_queue_is_found_by_its_name_and_its_item_is_what_it_is(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 4).name("words")).await.unwrap();
    bounded(queue.put("one".to_owned())).await.unwrap();
    bounded(queue.put("two".to_owned())).await.unwrap();
    let taken = bounded(Queue::<u64>::bounded(cluster, 4).name("words")).await.unwrap_err();
    assert!(matches!(taken, SpawnError::NotPlaced(_)), "{taken:?}");
    let same = bounded(Queue::<u64>::bounded(cluster, 9).name("words").get_or_make()).await.unwrap();
    assert_eq!((same.id(), bounded(same.capacity()).await), (queue.id(), Ok(4)));
    let other = bounded(same.get()).await.unwrap_err();
    assert!(matches!(other, QueueError::Item { .. }), "{other:?}");
    let found = bounded(Queue::<String>::lookup(cluster, "words")).await.unwrap();
    assert_eq!(bounded(found.get()).await, Ok("two".to_owned()));
    assert!(bounded(Queue::<String>::lookup(cluster, "nothing")).await.is_err());
}

async fn a_queue_carries_handles_and_references(cluster: &Cluster) {
    let queue = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let worker = bounded(Worker::spawn(cluster)).await.unwrap();
    let number = cluster.put(7_u64).await.unwrap();
    bounded(queue.put((worker.clone(), number.clone()))).await.unwrap();
    drop(number);
    let (found, number): (WorkerHandle, ObjectRef<u64>) = bounded(queue.get()).await.unwrap();
    assert_eq!(found.id(), worker.id());
    assert_eq!(bounded(found.square(&number)).await, Ok(49));
}

async fn a_queue_travels_in_a_task(cluster: &Cluster) {
    let from = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let to = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let movers: Vec<_> = (0..4).map(|_| moves::submit(cluster, from.clone(), to.clone(), 25)).collect();
    let puts = async {
        for item in 0..100 {
            from.put(item).await.unwrap();
        }
    };
    let gets = async {
        let mut got = BTreeSet::new();
        while got.len() < 100 {
            got.extend(to.get_many(3).await.unwrap());
        }
        got
    };
    let ((), got) = bounded(futures::future::join(puts, gets)).await;
    assert_eq!(got, (0..100).map(|item| item * 2).collect());
    bounded(cluster.get_all(&movers)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_while_it_waits_takes_no_item_with_it() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let all = workers(&cluster);
    let queue = bounded(Queue::bounded(&cluster, 4).on(all[0].0)).await.unwrap();
    let waits = takes::call(&cluster, queue.clone()).on(all[1].0).submit();
    bounded(until_waiting(&queue, 1)).await;
    kill(all[1].1);
    assert!(bounded(cluster.get(&waits)).await.is_err());
    bounded(until_waiting(&queue, 0)).await;
    bounded(queue.put(1)).await.unwrap();
    assert_eq!(bounded(queue.get()).await, Ok(1));
    bounded(cluster.shutdown()).await;
}

async fn a_map_gives_replies_in_order_and_an_unordered_one_all_of_them(cluster: &Cluster) {
    let pool = Pool::new(workers_of(cluster, 3).await);
    let squares: Vec<u64> = bounded(pool.map(0..500, |one, x| one.square(x)).try_collect()).await.unwrap();
    assert_eq!(squares, (0..500).map(|x| x * x).collect::<Vec<_>>());
    let mapped = pool.clone().depth(5).map_unordered(0..500, |one, x| one.square(x));
    let squares: BTreeSet<u64> = bounded(mapped.try_collect()).await.unwrap();
    assert_eq!(squares, (0..500).map(|x| x * x).collect());
    let shares = bounded(futures::future::join_all(pool.actors().iter().map(WorkerHandle::seen))).await;
    let shares: Vec<usize> = shares.into_iter().map(|seen| seen.unwrap().len()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 1_000);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    // One that is slow holds back neither the others nor, beyond a bound, the items.
    let gate = bounded(Queue::bounded(cluster, 1)).await.unwrap();
    let slow = bounded(Worker::spawn_gated(cluster, gate.clone())).await.unwrap();
    let mixed = Pool::new([slow, workers_of(cluster, 1).await.remove(0)]).depth(1);
    let taken = std::sync::atomic::AtomicU64::new(0);
    let items = (0..100_u64).inspect(|_| _ = taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut replies = mixed.map(items, |one, x| one.pass(x));
    let first = replies.next();
    let opens = async {
        bounded(until_waiting(&gate, 1)).await;
        until("the other runs ahead", || taken.load(std::sync::atomic::Ordering::Relaxed) == 16).await;
        gate.put(0).await.unwrap();
    };
    let (first, ()) = bounded(futures::future::join(first, opens)).await;
    assert_eq!(first, Some(Ok(0)));
    drop(replies);
    bounded(until("dropping it ends its calls", || mixed.under_way() == 0)).await;
}

async fn routers_choose_in_turn_by_load_and_by_key(cluster: &Cluster) {
    let workers = workers_of(cluster, 3).await;
    let pool = Pool::new(workers.clone());
    let in_turn = pool.clone().router(Router::RoundRobin);
    let chosen: Vec<_> = (0..6).map(|x| in_turn.call(|one| one.square(x)).target()).collect();
    assert_eq!(chosen[..3], chosen[3..]);
    assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(pool.under_way(), 0, "what was dropped does not count");
    let held: Vec<_> = (0..3).map(|x| pool.call(|one| one.square(x))).collect();
    let busy: BTreeSet<_> = held.iter().map(|call| call.target()).collect();
    assert_eq!((busy.len(), pool.under_way()), (3, 3), "each had the fewest in turn");
    drop(held);
    let submitted: Vec<_> = (0..30).map(|x| pool.submit(|one| one.square(x))).collect();
    assert_eq!(bounded(cluster.get_all(&submitted)).await.unwrap()[29], 841);
    bounded(until("submitted calls are over", || pool.under_way() == 0)).await;
    // By key: the same everywhere, spread, and only the keys of who leaves move.
    let elsewhere = Pool::new(workers.iter().rev().cloned());
    let homes: Vec<_> = (0..60_u32).map(|key| pool.call_for(&key, |one| one.process()).target()).collect();
    let others: Vec<_> = (0..60_u32).map(|key| elsewhere.call_for(&key, |one| one.process()).target()).collect();
    assert_eq!(homes, others);
    assert!(workers.iter().all(|one| homes.iter().filter(|home| **home == one.id()).count() > 5), "{homes:?}");
    let gone = elsewhere.remove(workers[0].id()).unwrap().id();
    let moved = (0..60_u32).map(|key| elsewhere.call_for(&key, |one| one.process()).target());
    assert!(moved.zip(&homes).all(|(now, before)| now == *before || *before == gone));
    assert_eq!(bounded(pool.submit_for("key", |one| one.square(4))).await, Ok(16));
}

async fn a_pool_leaves_out_actors_that_ended(cluster: &Cluster) {
    let workers = workers_of(cluster, 3).await;
    let pool = Pool::new(workers.clone()).router(Router::RoundRobin);
    bounded(workers[0].kill()).await.unwrap();
    let refused = bounded(pool.map_unordered(0..30, |one, x| one.square(x)).collect::<Vec<_>>()).await;
    assert!(refused.iter().filter(|reply| reply.is_err()).count() <= 2, "{refused:?}");
    assert_eq!(pool.actors().len(), 2);
    let submitted: Vec<_> = (0..9).map(|x| pool.submit(|one| one.square(x))).collect();
    assert_eq!(bounded(cluster.get_all(&submitted)).await.unwrap().len(), 9);
    bounded(workers[1].kill()).await.unwrap();
    bounded(workers[2].kill()).await.unwrap();
    let all_gone = bounded(pool.call(|one| one.square(1))).await.unwrap_err();
    assert!(matches!(all_gone, CallError::ActorDied { .. }), "{all_gone:?}");
    let all_gone = bounded(pool.submit(|one| one.square(1))).await.unwrap_err();
    assert!(matches!(all_gone, GetError::ActorDied { executed: Executed::No, .. }), "{all_gone:?}");
    pool.push(bounded(Worker::spawn(cluster)).await.unwrap());
    assert_eq!(bounded(pool.call(|one| one.square(3))).await, Ok(9));
}

#[test]
#[should_panic(expected = "a pool has at least one actor")]
fn a_pool_of_nobody_is_refused() {
    drop(Pool::<WorkerHandle>::new([]));
}

async fn a_group_calls_and_tells_all_that_joined(cluster: &Cluster) {
    let group = bounded(Group::<WorkerHandle>::open(cluster, "squares")).await.unwrap();
    assert_eq!(bounded(group.broadcast(|one| one.square(1))).await.unwrap().told, 0);
    let workers = workers_of(cluster, 5).await;
    for worker in workers.iter().chain(&workers[..2]) {
        bounded(group.join(worker)).await.unwrap();
    }
    let same = bounded(Group::<WorkerHandle>::open(cluster, "squares")).await.unwrap();
    let told = bounded(same.broadcast(|one| one.square(3))).await.unwrap();
    assert_eq!((told.told, told.failed), (5, vec![]));
    let replies = bounded(same.call_all(|one| one.seen())).await.unwrap();
    assert!(replies.iter().all(|(_, seen)| *seen == Ok(vec![3])), "{replies:?}");
    assert!(replies.iter().map(|(one, _)| one.id()).eq(workers.iter().map(Handle::id)), "in the order of joining");
    assert_eq!(bounded(group.leave(&workers[0])).await, Ok(true));
    assert_eq!(bounded(group.leave(&workers[0])).await, Ok(false));
    assert_eq!(bounded(group.members()).await.unwrap().len(), 4);
    bounded(same.dissolve()).await.unwrap();
    assert!(matches!(bounded(group.members()).await, Err(GroupError::Call(CallError::ActorDied { .. }))));
    let anew = bounded(Group::<WorkerHandle>::open(cluster, "squares")).await.unwrap();
    assert_eq!(bounded(anew.members()).await.unwrap().len(), 0);
    bounded(anew.dissolve()).await.unwrap();
}

async fn a_group_forgets_members_that_ended(cluster: &Cluster) {
    let group = bounded(Group::<WorkerHandle>::open(cluster, "mortals")).await.unwrap();
    let workers = workers_of(cluster, 3).await;
    for worker in &workers {
        bounded(group.join(worker)).await.unwrap();
    }
    bounded(workers[1].kill()).await.unwrap();
    // Whether a message found its actor alive is only known where the actor is.
    let told = bounded(group.broadcast(|one| one.square(3))).await.unwrap();
    assert!(told.told + told.failed.len() == 3 && told.failed.iter().all(|(id, _)| *id == workers[1].id()), "{told:?}");
    let replies = bounded(group.call_all(|one| one.seen())).await.unwrap();
    assert_eq!(replies.iter().filter(|(_, seen)| *seen == Ok(vec![3])).count(), 2, "{replies:?}");
    assert_eq!(bounded(group.members()).await.unwrap().len(), 2);
    bounded(workers[0].stop()).await.unwrap();
    let replies = bounded(group.call_all(|one| one.square(2))).await.unwrap();
    assert!(matches!(replies[0].1, Err(CallError::ActorDied { .. })) && replies[1].1 == Ok(4), "{replies:?}");
    assert_eq!(bounded(group.members()).await.unwrap().len(), 1);
    bounded(group.dissolve()).await.unwrap();
}

/// A call of an actor whose node died failed, and yet the actor lives on elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_and_groups_keep_an_actor_that_is_placed_again() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let here = workers(&cluster)[0];
    let gate = bounded(Queue::bounded(&cluster, 4).on(here.0)).await.unwrap();
    let (lives_on, process) = loop {
        let one = bounded(Worker::spawn_gated(&cluster, gate.clone()).restarts(3)).await.unwrap();
        let process = bounded(one.process()).await.unwrap();
        if process != here.1 {
            break (one, process);
        }
    };
    let pool = Pool::new([lives_on.clone()]);
    let group = bounded(Group::<WorkerHandle>::open(&cluster, "moved")).await.unwrap();
    bounded(group.join(&lives_on)).await.unwrap();

    let called = tokio::spawn(pool.call(|one| one.pass(1)));
    let submitted = pool.submit(|one| one.pass(2));
    let all = tokio::spawn({
        let group = group.clone();
        async move { group.call_all(|one| one.pass(3)).await }
    });
    bounded(until_waiting(&gate, 1)).await;
    kill(process);
    let error = bounded(called).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::NodeDied { .. }), "{error:?}");
    // These never left, or may have: each ends, and nobody takes the actor for ended.
    for _ in 0..2 {
        bounded(gate.put(0)).await.unwrap();
    }
    drop(bounded(submitted).await);
    drop(bounded(all).await.unwrap().unwrap());
    assert_eq!(pool.actors().len(), 1);
    assert_eq!(bounded(pool.call(|one| one.square(3))).await, Ok(9));
    assert_eq!(bounded(group.members()).await.unwrap().len(), 1);
    bounded(cluster.shutdown()).await;
}

async fn a_group_is_of_one_type(cluster: &Cluster) {
    let group = bounded(Group::<WorkerHandle>::open(cluster, "mixed")).await.unwrap();
    let other = bounded(Group::<OtherHandle>::open(cluster, "mixed")).await.unwrap_err();
    assert!(other.to_string().contains("utilities::Worker"), "{other}");
    assert!(matches!(other, SpawnError::App(GroupError::OtherType { .. })), "{other:?}");
    drop(bounded(Other::spawn(cluster)).await.unwrap());
    bounded(group.dissolve()).await.unwrap();
}
