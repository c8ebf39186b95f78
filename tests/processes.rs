//! Actors in worker processes, over encrypted links, through the public face.
#![allow(missing_docs)]

mod common;
#[path = "common/semantics.rs"]
mod semantics;

use common::*;
use futures::future::try_join_all;
use mobula::directory::request::SpawnError as Taken;
use mobula::prelude::*;
use mobula::{EndReason, SpawnError};
use semantics::{Clerk, ClerkHandle, Gate};
use std::time::Duration;

mod every_promise {
    use mobula::Cluster;

    crate::semantics::hold_of!(Cluster::local().workers(1));
}

mobula::test_worker!();

#[actor]
struct Counter {
    total: u64,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn starting_at(total: u64) -> Self {
        Self { total }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn count_up(&mut self, to: u64) -> impl Stream<Item = u64> {
        futures::stream::iter(self.total..self.total + to)
    }

    pub async fn relay(&mut self, other: CounterHandle, by: u64) -> Result<u64, CallError> {
        other.add(by).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_in_another_process_is_asked_told_and_ended() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let counter = bounded(Counter::spawn(&cluster, 10)).await.unwrap();
    assert_eq!(bounded(counter.add(5)).await, Ok(15));
    bounded(counter.add(5).tell()).await.unwrap();
    assert_eq!(bounded(counter.add(0)).await, Ok(20));
    assert_ne!(bounded(counter.process()).await, Ok(std::process::id()));
    let items: Vec<u64> = bounded(futures::TryStreamExt::try_collect(counter.count_up(100))).await.unwrap();
    assert_eq!(items, (20..120).collect::<Vec<_>>());
    let other = bounded(Counter::spawn(&cluster, 0)).await.unwrap();
    assert_eq!(bounded(counter.relay(&other, 7)).await, Ok(7));
    bounded(counter.stop()).await.unwrap();
    assert!(bounded(counter.add(1)).await.is_err());
    bounded(cluster.shutdown()).await;
}

/// User and system time that a process has taken, in ticks of the system's clock.
fn ticks(process: u32) -> u64 {
    stat(process).unwrap()[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn nodes_that_poll_for_messages_answer_keep_looking_and_end_as_others_do() {
    // They look for longer than the test runs: until they end.
    let cluster = bounded(Cluster::local().workers(2).busy_poll(Duration::from_secs(3_600))).await.unwrap();
    let counters = bounded(try_join_all((0..4).map(|total| Counter::spawn(&cluster, total)))).await.unwrap();
    let sums = bounded(try_join_all(counters.iter().map(|counter| counter.add(10)))).await.unwrap();
    assert_eq!(sums, [10, 11, 12, 13]);
    for (_, process) in workers(&cluster) {
        let before = ticks(process);
        // One that sleeps takes next to nothing, however long it is looked at.
        until("a worker that nobody calls looks for messages", || ticks(process) > before + 20).await;
    }
    drop(counters);
    ends_without_a_trace(cluster).await;
}

/// Tells, spawns and looks up from a node of its own.
#[actor]
struct Agent {
    kept: Option<CounterHandle>,
}

#[methods]
impl Agent {
    #[constructor]
    pub fn new() -> Self {
        Self { kept: None }
    }

    /// Tells so many numbers, each the agent's mark and how many went before.
    pub async fn tell_all(&mut self, clerk: ClerkHandle, mark: u64, count: u64) -> Result<(), CallError> {
        for number in 0..count {
            clerk.note(mark + number).tell().await?;
        }
        Ok(())
    }

    pub async fn get_or_spawn(&mut self, name: String, ctx: &mut ActorContext<Self>) -> mobula::Result<CounterHandle> {
        Ok(Counter::spawn(&ctx.cluster(), 100).name(name).get_or_spawn().await?)
    }

    pub async fn detach(&mut self, name: String, ctx: &mut ActorContext<Self>) -> mobula::Result<CounterHandle> {
        let cluster = ctx.cluster();
        let here = cluster.node_id();
        let elsewhere = cluster.nodes().into_iter().find(|node| node.hosts_actors && node.id != here);
        let elsewhere = elsewhere.ok_or("no other node")?;
        let mine = Counter::spawn(&cluster, 1).on(elsewhere.id).name("owned").await?;
        mine.add(0).await?;
        self.kept = Some(mine);
        Ok(Counter::spawn(&cluster, 1).on(elsewhere.id).name(name).detached().await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_of_two_nodes_stay_in_order_and_fill_no_more_than_a_mailbox() {
    const COUNT: u64 = 50_000;
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [(near, host), (far, _)] = workers(&cluster)[..] else { panic!("two workers") };
    let gate = bounded(Gate::spawn(&cluster).on(near)).await.unwrap();
    let clerk = bounded(Clerk::spawn(&cluster, &gate).on(near)).await.unwrap();
    let agent = bounded(Agent::spawn(&cluster).on(far)).await.unwrap();
    let before = resident(host);
    let theirs = tokio::spawn(agent.tell_all(&clerk, COUNT, COUNT));
    for number in 0..COUNT {
        bounded(clerk.note(number).tell()).await.unwrap();
    }
    bounded(theirs).await.unwrap().unwrap();
    // An ask of each node runs after all that the node told.
    let all = async {
        loop {
            let noted: u64 = bounded(clerk.count()).await.unwrap();
            if noted == 2 * COUNT {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bounded(all).await;
    assert_eq!(bounded(clerk.out_of_order(COUNT)).await, Ok(None));
    let most = bounded(clerk.most_waiting()).await.unwrap();
    // The credit of two streams; what the cell took last counts until it takes more.
    assert!(most <= 2 * mobula::limits::MAILBOX_CAPACITY + mobula::limits::MAILBOX_BATCH, "{most}");
    let grown = resident(host).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for {} bytes of notes", 2 * COUNT * 8);
    ends_without_a_trace(cluster).await;
}

#[actor]
struct Sink;

#[methods]
impl Sink {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn take(&mut self, beside: String, value: String) -> usize {
        beside.len() + value.len()
    }
}

/// Calls with values that the callee's node has to fetch from this one.
#[actor]
struct Flood;

#[methods]
impl Flood {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub async fn pour(
        &mut self,
        ctx: &mut ActorContext<Self>,
        into: SinkHandle,
        calls: usize,
    ) -> mobula::Result<usize> {
        let (beside, mut values) = ("x".repeat(60_000), Vec::new());
        for _ in 0..calls {
            values.push(ctx.cluster().put("y".repeat(20_000)).await?);
        }
        let calls = values.iter().map(|value| into.take(beside.clone(), value).into_future());
        Ok(futures::future::try_join_all(calls).await?.into_iter().sum())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_cross_and_wait_for_values_of_their_callers_do_not_keep_these_from_coming() {
    // More than a node holds for a peer before it acknowledges no more, and the window beyond.
    const CALLS: usize = (mobula::limits::HELD_BYTES + mobula::limits::WORK_WINDOW_MAX) / 60_000 + 50;
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (mut floods, mut sinks) = (Vec::new(), Vec::new());
    for (node, _) in workers(&cluster) {
        floods.push(bounded(Flood::spawn(&cluster).on(node)).await.unwrap());
        sinks.push(bounded(Sink::spawn(&cluster).on(node)).await.unwrap());
    }
    let crossing = futures::future::join(
        floods[0].pour(&sinks[1], CALLS).into_future(),
        floods[1].pour(&sinks[0], CALLS).into_future(),
    );
    // A hundred megabytes between two processes: only who waits for ever takes as long.
    let (one, other) = tokio::time::timeout(5 * BOUND, crossing).await.expect("neither waits for the other");
    assert_eq!((one.unwrap(), other.unwrap()), (CALLS * 80_000, CALLS * 80_000));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_given_once_and_whoever_wants_it_is_told_who_holds_it() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let holder = bounded(Counter::spawn(&cluster, 1).name("hits")).await.unwrap();
    let taken = bounded(Counter::spawn(&cluster, 2).name("hits")).await.unwrap_err();
    let SpawnError::NotPlaced(Taken::NameTaken { holder: by, .. }) = &taken else { panic!("{taken:?}") };
    assert_eq!(*by, holder.id());
    for part in ["hits", "processes::Counter", &holder.id().to_string()] {
        assert!(taken.to_string().contains(part), "{taken}");
    }
    let elsewhere = bounded(Counter::spawn(&cluster, 3).name("hits").namespace("other")).await.unwrap();
    assert_ne!(elsewhere.id(), holder.id());
    bounded(holder.stop()).await.unwrap();
    let next = bounded(Counter::spawn(&cluster, 4).name("hits")).await.unwrap();
    assert_eq!(bounded(next.add(0)).await, Ok(4));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_get_or_spawn_get_one_actor() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let mut agents = Vec::new();
    for (node, _) in workers(&cluster) {
        agents.push(bounded(Agent::spawn(&cluster).on(node)).await.unwrap());
    }
    for round in 0..20 {
        let name = format!("shared {round}");
        let own = Counter::spawn(&cluster, 100).name(name.clone()).get_or_spawn().into_future();
        let theirs = agents.iter().map(|agent| agent.get_or_spawn(name.clone()));
        let (own, theirs) = bounded(futures::future::join(own, futures::future::join_all(theirs))).await;
        let own = own.unwrap();
        for handle in theirs {
            assert_eq!(handle.unwrap().id(), own.id());
        }
        assert_eq!(bounded(own.add(1)).await, Ok(101));
    }
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_actor_outlives_the_node_that_spawned_it_and_others_do_not() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let traces = Traces::of(&cluster);
    let [(spawner, process), _] = workers(&cluster)[..] else { panic!("two workers") };
    let agent = bounded(Agent::spawn(&cluster).on(spawner)).await.unwrap();
    let detached = bounded(agent.detach("detached".to_owned())).await.unwrap();
    let owned = bounded(Counter::lookup(&cluster, "owned")).await.unwrap();
    let mut ending = owned.ended();
    assert!(futures::poll!(&mut ending).is_pending());
    // It stands in line behind the watch.
    assert_eq!(bounded(owned.add(0)).await, Ok(1));
    kill(process);
    assert_eq!(bounded(ending).await, Ok(EndReason::OwnerDied));
    assert_eq!(bounded(detached.add(1)).await, Ok(2));
    let found = bounded(Counter::lookup(&cluster, "detached")).await.unwrap();
    assert_eq!(found.id(), detached.id());
    assert!(bounded(Counter::lookup(&cluster, "owned")).await.is_err());
    bounded(found.stop()).await.unwrap();
    assert!(bounded(Counter::lookup(&cluster, "detached")).await.is_err());
    bounded(cluster.shutdown()).await;
    traces.are_gone();
}
