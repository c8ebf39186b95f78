//! Calls that wait for each other end in `CallError::Deadlock` (PROTOCOLS §5), within a process and across processes;
//! what merely takes long, or waits for a slot that will be free, is left alone.
#![allow(missing_docs)]

use mobula::id::{ActorId, NodeId};
use mobula::prelude::*;
use mobula::{EndReason, Executed};
use std::time::Duration;

mod references;

mobula::test_worker!();

/// Opens once as many have arrived as it was made for.
#[actor]
struct Gate {
    barrier: tokio::sync::Barrier,
}

#[methods(concurrency = 16)]
impl Gate {
    #[constructor]
    pub fn of(count: usize) -> Self {
        Self { barrier: tokio::sync::Barrier::new(count) }
    }

    pub async fn arrive(&self) {
        self.barrier.wait().await;
    }
}

/// One call at a time.
#[actor]
struct Peer {
    background: Option<tokio::task::JoinHandle<Result<u32, CallError>>>,
}

#[methods]
impl Peer {
    #[constructor]
    pub fn new() -> Self {
        Self { background: None }
    }

    pub fn touch(&mut self) -> u32 {
        1
    }

    pub async fn ask_itself(&mut self, ctx: &mut ActorContext<Self>) -> Result<u32, CallError> {
        ctx.handle().touch().await
    }

    pub async fn stop_itself(&mut self, ctx: &mut ActorContext<Self>) -> Result<u32, CallError> {
        ctx.handle().stop().await.map(|_| 0)
    }

    /// Asks the first of the others, which asks the next, and so on.
    pub async fn ask_along(&mut self, mut others: Vec<PeerHandle>) -> Result<u32, CallError> {
        let Some(next) = others.pop() else { return Ok(1) };
        next.ask_along(others).await.map_err(inner)
    }

    pub async fn cross(&mut self, gate: GateHandle, other: PeerHandle) -> Result<u32, CallError> {
        gate.arrive().await?;
        other.touch().await
    }

    pub async fn cross_blocked(&mut self, gate: GateHandle, other: PeerHandle) -> Result<u32, CallError> {
        gate.arrive().await?;
        other.stop().await.map(|_| 0)
    }

    /// Tells the other more than there is room for.
    pub async fn flood(&mut self, gate: GateHandle, other: PeerHandle) -> Result<u32, CallError> {
        gate.arrive().await?;
        for _ in 0..2_000 {
            other.touch().tell().await?;
        }
        Ok(1)
    }

    /// Asks itself in a task of its own, which nothing here waits for.
    pub async fn ask_itself_later(&mut self, gate: GateHandle, ctx: &mut ActorContext<Self>) -> Result<u32, CallError> {
        let me = ctx.handle();
        self.background = Some(tokio::spawn(async move { me.touch().await }));
        gate.arrive().await?;
        Ok(1)
    }

    pub async fn background(&mut self) -> Result<u32, CallError> {
        self.background.take().expect("it was started").await.expect("it does not panic")
    }

    pub async fn slow(&mut self, time: Duration) -> u32 {
        tokio::time::sleep(time).await;
        1
    }

    pub async fn wait_for_slow(&mut self, other: PeerHandle, time: Duration) -> Result<u32, CallError> {
        other.slow(time).await
    }

    pub async fn reach_back(&mut self, to: OpenHandle) -> Result<u32, CallError> {
        to.touch().await
    }

    #[method(blocking)]
    pub fn block_on(&mut self, gate: GateHandle, other: PeerHandle) -> Result<u32, CallError> {
        futures::executor::block_on(async {
            gate.arrive().await?;
            other.touch().await
        })
    }
}

/// Two calls at a time.
#[actor]
struct Open {
    changes: u32,
}

#[methods(concurrency = 2)]
impl Open {
    #[constructor]
    pub fn new() -> Self {
        Self { changes: 0 }
    }

    pub fn touch(&self) -> u32 {
        1
    }

    pub fn change(&mut self) -> u32 {
        self.changes += 1;
        self.changes
    }

    pub async fn through(
        &self,
        gate: GateHandle,
        via: PeerHandle,
        ctx: &mut ActorContext<Self>,
    ) -> Result<u32, CallError> {
        gate.arrive().await?;
        via.reach_back(ctx.handle()).await.map_err(inner)
    }
}

/// The error that a relaying method passed on.
fn inner(error: CallError<CallError>) -> CallError {
    match error {
        CallError::App(error) => error,
        other => other.into_app().unwrap_or_else(|other| other),
    }
}

const BOUND: Duration = Duration::from_secs(20);

async fn bounded<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(BOUND, work.into_future()).await.expect("the test ends within its bound")
}

/// The cycle that a call ended in.
fn cycle<T: std::fmt::Debug>(result: &Result<T, CallError<CallError>>) -> Option<(Vec<ActorId>, Executed)> {
    match result {
        Err(CallError::App(CallError::Deadlock { cycle, executed })) => Some((cycle.clone(), *executed)),
        _ => None,
    }
}

/// Exactly one of them ended in a cycle, of just these actors; the others went on.
fn one_victim(results: &[Result<u32, CallError<CallError>>], actors: &[ActorId]) {
    let cycles: Vec<_> = results.iter().filter_map(cycle).collect();
    assert_eq!(cycles.len(), 1, "one victim: {results:?}");
    let (mut cycle, _) = cycles.into_iter().next().unwrap();
    assert_eq!(cycle.first(), cycle.last());
    cycle.pop();
    cycle.sort();
    let mut actors = actors.to_vec();
    actors.sort();
    assert_eq!(cycle, actors);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), results.len() - 1, "{results:?}");
}

async fn peers(cluster: &Cluster, on: &[NodeId]) -> Vec<PeerHandle> {
    let mut peers = Vec::new();
    for node in on {
        peers.push(bounded(Peer::spawn(cluster).on(*node)).await.unwrap());
    }
    peers
}

async fn gate(cluster: &Cluster, count: usize) -> GateHandle {
    bounded(Gate::spawn(cluster, count)).await.unwrap()
}

fn ids(peers: &[PeerHandle]) -> Vec<ActorId> {
    peers.iter().map(Handle::id).collect()
}

/// Each asks the next, and the last the first.
async fn ring(cluster: &Cluster, on: &[NodeId]) {
    let (peers, gate) = (peers(cluster, on).await, gate(cluster, on.len()).await);
    let nexts = peers.iter().skip(1).chain(&peers[..1]);
    let calls = peers.iter().zip(nexts).map(|(peer, next)| peer.cross(&gate, next));
    let results = bounded(futures::future::join_all(calls)).await;
    one_victim(&results, &ids(&peers));
    for peer in &peers {
        assert_eq!(bounded(peer.touch()).await, Ok(1), "it goes on");
    }
}

/// A node, as often as actors are to be made there.
fn alone(cluster: &Cluster, count: usize) -> Vec<NodeId> {
    vec![cluster.node_id(); count]
}

async fn two_workers() -> (Cluster, [NodeId; 2]) {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let workers: Vec<_> =
        cluster.nodes().into_iter().map(|node| node.id).filter(|node| *node != cluster.node_id()).collect();
    (cluster, workers.try_into().expect("two workers"))
}

#[tokio::test]
async fn an_actor_that_asks_itself_is_refused_at_once() {
    let cluster = Cluster::local().await.unwrap();
    let peer = bounded(Peer::spawn(&cluster)).await.unwrap();
    let error = bounded(peer.ask_itself()).await;
    assert_eq!(cycle(&error), Some((vec![peer.id(), peer.id()], Executed::No)), "{error:?}");
    assert_eq!(bounded(peer.touch()).await, Ok(1));
}

#[tokio::test]
async fn an_actor_that_waits_for_its_own_end_is_told_and_stops_all_the_same() {
    let cluster = Cluster::local().await.unwrap();
    let peer = bounded(Peer::spawn(&cluster)).await.unwrap();
    let error = bounded(peer.stop_itself()).await;
    assert_eq!(cycle(&error), Some((vec![peer.id(), peer.id()], Executed::Yes)), "{error:?}");
    assert_eq!(bounded(peer.ended()).await, Ok(EndReason::Stopped));
}

#[tokio::test]
async fn asks_that_come_back_are_refused() {
    let cluster = Cluster::local().await.unwrap();
    let peers = peers(&cluster, &alone(&cluster, 3)).await;
    let [a, b, c] = &peers[..] else { panic!("three peers") };
    let error = bounded(a.ask_along(vec![a.clone(), c.clone(), b.clone()])).await;
    assert_eq!(cycle(&error), Some((vec![a.id(), b.id(), c.id(), a.id()], Executed::No)), "{error:?}");
}

#[tokio::test]
async fn crossing_asks_have_one_victim() {
    let cluster = Cluster::local().await.unwrap();
    ring(&cluster, &alone(&cluster, 2)).await;
    ring(&cluster, &alone(&cluster, 5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_across_processes_are_found() {
    let (cluster, [here, there]) = two_workers().await;
    let some = peers(&cluster, &[here, there]).await;
    let [a, b] = &some[..] else { panic!("two peers") };
    let error = bounded(a.ask_along(vec![a.clone(), b.clone()])).await;
    assert_eq!(cycle(&error), Some((vec![a.id(), b.id(), a.id()], Executed::No)), "re-entrant: {error:?}");
    ring(&cluster, &[here, there]).await;
    ring(&cluster, &[here, there, here]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_room_or_credit_is_part_of_a_cycle() {
    let (cluster, [here, there]) = two_workers().await;
    for on in [[here, here], [here, there]] {
        let (peers, gate) = (peers(&cluster, &on).await, gate(&cluster, 2).await);
        let [a, b] = &peers[..] else { panic!("two peers") };
        let (flood, cross) = bounded(async { tokio::join!(a.flood(&gate, b), b.cross(&gate, a)) }).await;
        one_victim(&[flood, cross], &ids(&peers));
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_an_end_is_part_of_a_cycle() {
    let (cluster, [here, there]) = two_workers().await;
    for on in [[here, here], [here, there]] {
        let (peers, gate) = (peers(&cluster, &on).await, gate(&cluster, 2).await);
        let [a, b] = &peers[..] else { panic!("two peers") };
        let (stop, cross) = bounded(async { tokio::join!(a.cross_blocked(&gate, b), b.cross(&gate, a)) }).await;
        let victims = [cycle(&stop), cycle(&cross)].into_iter().flatten().count();
        assert_eq!(victims, 1, "{stop:?} {cross:?}");
        assert!(bounded(b.ended()).await.is_ok(), "it stops all the same");
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_method_has_a_frame() {
    let cluster = Cluster::local().await.unwrap();
    let (peers, gate) = (peers(&cluster, &alone(&cluster, 2)).await, gate(&cluster, 2).await);
    let [a, b] = &peers[..] else { panic!("two peers") };
    let (first, second) = bounded(async { tokio::join!(a.block_on(&gate, b), b.cross(&gate, a)) }).await;
    one_victim(&[first, second], &ids(&peers));
}

#[tokio::test]
async fn a_free_slot_is_no_deadlock() {
    let cluster = Cluster::local().await.unwrap();
    let (open, via) = (bounded(Open::spawn(&cluster)).await.unwrap(), bounded(Peer::spawn(&cluster)).await.unwrap());
    let gate = gate(&cluster, 1).await;
    assert_eq!(bounded(open.through(&gate, &via)).await, Ok(1));
}

#[tokio::test]
async fn slots_that_are_all_taken_by_their_own_askers_are_a_deadlock() {
    let cluster = Cluster::local().await.unwrap();
    let (open, gate) = (bounded(Open::spawn(&cluster)).await.unwrap(), gate(&cluster, 2).await);
    let via = peers(&cluster, &alone(&cluster, 2)).await;
    let (first, second) =
        bounded(async { tokio::join!(open.through(&gate, &via[0]), open.through(&gate, &via[1])) }).await;
    assert!([&first, &second].iter().any(|result| cycle(result).is_some()), "{first:?} {second:?}");
    assert_eq!(bounded(open.touch()).await, Ok(1), "it goes on");
}

#[tokio::test]
async fn a_free_slot_behind_a_call_that_wants_the_actor_alone_is_a_deadlock() {
    let cluster = Cluster::local().await.unwrap();
    let (open, via) = (bounded(Open::spawn(&cluster)).await.unwrap(), bounded(Peer::spawn(&cluster)).await.unwrap());
    let gate = gate(&cluster, 2).await;
    let mut through = std::pin::pin!(open.through(&gate, &via).into_future());
    assert!(futures::poll!(through.as_mut()).is_pending());
    let mut change = std::pin::pin!(open.change().into_future());
    assert!(futures::poll!(change.as_mut()).is_pending());
    bounded(gate.arrive()).await.unwrap();
    let error = bounded(through).await;
    assert!(cycle(&error).is_some(), "{error:?}");
    assert_eq!(bounded(change).await, Ok(1));
}

#[tokio::test]
async fn what_a_spawned_task_asks_is_nobodys_wait() {
    let cluster = Cluster::local().await.unwrap();
    let (peer, gate) = (bounded(Peer::spawn(&cluster)).await.unwrap(), gate(&cluster, 2).await);
    let later = tokio::spawn(peer.ask_itself_later(&gate).into_future());
    // Several probes go meanwhile.
    tokio::time::sleep(Duration::from_millis(500)).await;
    bounded(gate.arrive()).await.unwrap();
    assert_eq!(bounded(later).await.unwrap(), Ok(1));
    assert_eq!(bounded(peer.background()).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_call_is_left_alone() {
    let (cluster, [here, there]) = two_workers().await;
    let peers = peers(&cluster, &[here, there]).await;
    let [a, b] = &peers[..] else { panic!("two peers") };
    let slow = Duration::from_millis(700);
    let queued = futures::future::join_all([a.touch(), b.touch(), a.touch(), b.touch()]);
    let (first, second, queued) = bounded(async { tokio::join!(a.wait_for_slow(b, slow), b.slow(slow), queued) }).await;
    assert_eq!((first, second), (Ok(1), Ok(1)));
    assert!(queued.iter().all(|touched| *touched == Ok(1)), "{queued:?}");
    bounded(cluster.shutdown()).await;
}
