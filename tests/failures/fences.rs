//! A node of the user's own process that is cut off from its head: its actors end, it joins anew, and the handles that it held
//! on them find where they are now.

use crate::actors::{Rover, RoverHandle};
use crate::checkpoints::LEASE;
use crate::common::*;
use crate::heads::Keys;
use mobula::id::Incarnation;
use mobula::prelude::*;
use mobula::{EndReason, Executed, FencingToken};
use rustix::process::Signal;
use std::sync::Mutex;
use std::time::Duration;

/// Keeps the head from hearing and saying anything for a lease: until its nodes have ended their own lives.
async fn cut_off_all(head: &Player) {
    signal(head.process(), Signal::STOP);
    tokio::time::sleep(LEASE).await;
    signal(head.process(), Signal::CONT);
}

/// The same, until an actor of this node has ended with its life.
async fn cut_off(head: &Player, rover: &RoverHandle) {
    signal(head.process(), Signal::STOP);
    let fenced = async {
        loop {
            match rover.run().await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => return error,
            }
        }
    };
    let error = bounded(fenced).await;
    assert_ne!(error.executed(), Executed::Yes, "{error}");
    signal(head.process(), Signal::CONT);
}

/// Asks until the actor is found again; until it is, nothing is said to have run that had not.
async fn found(rover: &RoverHandle) -> (Incarnation, FencingToken, u32) {
    let found = async {
        loop {
            match rover.run().await {
                Ok(run) => return run,
                Err(CallError::NodeDied { .. } | CallError::ActorDied { reason: EndReason::NodeDied, .. }) => {}
                Err(CallError::Unreachable { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    bounded(found).await
}

/// A head that keeps a journal, and a worker of it in this process.
async fn started() -> (Keys, Player, Cluster) {
    let keys = Keys::new();
    let mut head = Player::start("journaled head", &keys.environment());
    head.reported("ready").await;
    let node = bounded(keys.worker()).await.unwrap();
    (keys, head, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_on_the_node_that_was_fenced_finds_its_actor_again() {
    let (_keys, head, node) = started().await;
    let rover = bounded(Rover::spawn(&node).restarts(20).name("rover").detached()).await.unwrap();
    let (first, token, process) = bounded(rover.run()).await.unwrap();
    assert_eq!(process, std::process::id(), "it is on this node");
    cut_off(&head, &rover).await;
    let (second, later, process) = found(&rover).await;
    assert!(second.placement > first.placement && later > token, "{first:?} {second:?}");
    assert_eq!(process, std::process::id(), "in its next life there is no other");
    // The same handle, in order.
    let calls: Vec<_> = (1..=100).map(|number| rover.note(number).submit()).collect();
    let answers: Vec<u64> = bounded(node.get_all(&calls)).await.unwrap();
    assert_eq!(answers, (1..=100).collect::<Vec<_>>());
    assert_eq!(bounded(rover.noted()).await.unwrap(), answers);
    bounded(rover.note(7).tell()).await.unwrap();
    assert!(rover.note(8).try_tell().is_ok());
    // What was passed on before is as good.
    let same = bounded(node.lookup::<Rover>("rover")).await.unwrap();
    assert_eq!(bounded(same.noted()).await.unwrap().len(), 102);
    assert_eq!(bounded(rover.stop()).await, Ok(EndReason::Stopped));
    bounded(node.shutdown()).await;
    head.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_it_on_another_node_as_well_and_back_on_its_own() {
    let (keys, head, node) = started().await;
    let rover = bounded(Rover::spawn(&node).restarts(20).detached()).await.unwrap();
    let mut last = bounded(rover.run()).await.unwrap();
    let mut other = Player::start("worker", &keys.environment());
    other.reported("joined").await;
    let (mut here, mut there) = (0, 0);
    // Both nodes are cut off from the head; who comes back first hosts it.
    for number in 0..3 {
        cut_off_all(&head).await;
        let next = found(&rover).await;
        assert!(next.0.placement > last.0.placement && next.1 > last.1, "{last:?} {next:?}");
        let is_here = next.2 == std::process::id();
        assert!(is_here || next.2 == other.process());
        (here, there) = (here + u32::from(is_here), there + u32::from(!is_here));
        assert_eq!(bounded(rover.note(number)).await, Ok(number));
        assert_eq!(bounded(rover.noted()).await, Ok(vec![number]), "it began anew");
        last = next;
    }
    println!("found {here} times here, {there} times there");
    bounded(node.shutdown()).await;
    other.kill();
    head.kill();
}

/// Keeps what it was told, in its order.
#[actor]
pub struct Sink {
    taken: Vec<FencingToken>,
}

#[methods]
impl Sink {
    #[constructor]
    pub fn empty() -> Self {
        Self { taken: Vec::new() }
    }

    pub fn take(&mut self, token: FencingToken) {
        self.taken.push(token);
    }

    pub fn taken(&self) -> Vec<FencingToken> {
        self.taken.clone()
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Tells a sink of itself, again and again.
#[actor(restarts = 3)]
pub struct Source {
    sink: SinkHandle,
}

#[methods]
impl Source {
    #[constructor]
    pub fn into_sink(sink: SinkHandle) -> Self {
        Self { sink }
    }

    pub async fn pours(&mut self, ctx: &mut ActorContext<Self>) {
        loop {
            // What is refused is tried again: a run that was replaced would go on for ever.
            if self.sink.take(ctx.fence()).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_sends_that_wakes_up_after_its_lease_is_taken_nowhere() {
    let cluster = bounded(Cluster::local().workers(3).lease(LEASE).suspect_after(LEASE / 4)).await.unwrap();
    let [(host, _), (first, stale), _] = workers(&cluster)[..] else { panic!("three workers") };
    let sink = bounded(Sink::spawn(&cluster).on(host)).await.unwrap();
    let source = bounded(Source::spawn(&cluster, &sink).prefer(first)).await.unwrap();
    assert_eq!(bounded(source.process()).await, Ok(stale));
    bounded(source.pours().tell()).await.unwrap();
    let taken = async |more: &dyn Fn(&[FencingToken]) -> bool| {
        let taken = async {
            loop {
                let taken = sink.taken().await.unwrap();
                if more(&taken) {
                    return taken;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        bounded(taken).await
    };
    let before = taken(&|taken| taken.len() > 10).await;
    signal(stale, Signal::STOP);
    let next = async {
        loop {
            match source.process().timeout(LEASE).await {
                Ok(process) => return process,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    assert_ne!(bounded(next).await, stale);
    bounded(source.pours().tell()).await.unwrap();
    let old = before[0];
    let both = taken(&|taken| taken.iter().filter(|token| **token > old).count() > 10).await;
    signal(stale, Signal::CONT);
    // It ends, or comes back without its actors, and had every time to send what it was about to.
    let is_back = || workers(&cluster).iter().any(|(_, process)| *process == stale);
    until("the end of the former run", || !runs(stale) || is_back()).await;
    let all = taken(&|taken| taken.len() > both.len() + 100).await;
    assert!(all.is_sorted(), "nothing of the former run after the later one's");
    assert_eq!(all.first(), Some(&old));
    assert!(all.last().is_some_and(|last| *last > old));
    bounded(cluster.shutdown()).await;
}

/// What a blocking method tells its test, in one process.
static OUTLIVED: Mutex<Outlived> = Mutex::new(Outlived { taken: 0, refused: None });

struct Outlived {
    taken: u64,
    refused: Option<CallError>,
}

/// A method of it goes on whatever becomes of its node.
#[actor(restarts = 20)]
pub struct Outliver {}

#[methods(concurrency = 2)]
impl Outliver {
    #[constructor]
    pub fn new() -> Self {
        Self {}
    }

    /// Calls until it is told that this run is over.
    #[method(blocking)]
    pub fn stays(&self, ctx: &mut ActorContext<Self>, sink: SinkHandle) {
        let token = ctx.fence();
        loop {
            let called = futures::executor::block_on(sink.take(token).into_future());
            let mut outlived = OUTLIVED.lock().unwrap();
            match called {
                Ok(()) => outlived.taken += 1,
                Err(error @ CallError::Stale { .. }) => {
                    outlived.refused = Some(error);
                    return;
                }
                // The sink's node has lost the head as well.
                Err(_) => std::thread::yield_now(),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_outlives_its_nodes_life_calls_nobody_any_more() {
    let (keys, head, node) = started().await;
    let rover = bounded(Rover::spawn(&node).restarts(20).detached()).await.unwrap();
    let outliver = bounded(Outliver::spawn(&node).detached()).await.unwrap();
    let mut other = Player::start("worker", &keys.environment());
    other.reported("joined").await;
    let elsewhere = || {
        let others = node.nodes().into_iter().filter(|other| other.hosts_actors && other.id != node.node_id());
        others.map(|other| other.id).next()
    };
    // The head tells of it a moment after it has joined.
    until("the other among the members", || elsewhere().is_some()).await;
    let elsewhere = elsewhere().unwrap();
    let sink = bounded(Sink::spawn(&node).name("sink").restarts(20).detached().on(elsewhere)).await.unwrap();
    assert_eq!(bounded(sink.process()).await, Ok(other.process()));
    bounded(outliver.stays(&sink).tell()).await.unwrap();
    until("the method", || OUTLIVED.lock().unwrap().taken > 0).await;
    cut_off(&head, &rover).await;
    until("its refusal", || OUTLIVED.lock().unwrap().refused.is_some()).await;
    let refused = OUTLIVED.lock().unwrap().refused.take();
    assert!(refused.as_ref().is_some_and(|error| error.to_string().contains("this run of it is stale")), "{refused:?}");
    assert_eq!(refused, Some(CallError::Stale { executed: Executed::No }));
    // Its node lives again once the method has come to its end.
    found(&rover).await;
    // The same handle is as good as ever for those who live. What it was told came before; of one call nobody knows.
    let sunk = bounded(found_sink(&sink)).await.len() as u64;
    let told = OUTLIVED.lock().unwrap().taken;
    assert!(sunk <= told + 1, "{sunk} of {told}");
    bounded(node.shutdown()).await;
    other.kill();
    head.kill();
}

/// What the sink has taken, once it is found.
async fn found_sink(sink: &SinkHandle) -> Vec<FencingToken> {
    loop {
        match sink.taken().await {
            Ok(taken) => return taken,
            Err(error) => assert_ne!(error.executed(), Executed::Yes, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
