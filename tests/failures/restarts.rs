//! Actors that are started again on another node when theirs is killed: whoever holds a handle finds them by itself.

use crate::common::{bounded, ends_without_a_trace, kill, until};
use mobula::id::Incarnation;
use mobula::prelude::*;
use mobula::{EndReason, Executed, FencingToken, Waiting};
use std::time::Duration;

#[actor(restarts = 2)]
pub struct Roll {
    noted: Vec<u64>,
}

#[methods]
impl Roll {
    #[constructor]
    pub fn starting_with(first: u64) -> Self {
        Self { noted: vec![first] }
    }

    pub fn note(&mut self, number: u64) -> u64 {
        self.noted.push(number);
        number
    }

    pub fn noted(&self) -> Vec<u64> {
        self.noted.clone()
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn run(&self, ctx: &mut ActorContext<Self>) -> (Incarnation, FencingToken) {
        (ctx.incarnation(), ctx.fence())
    }

    pub async fn never(&mut self) {
        std::future::pending().await
    }
}

/// Holds a handle on another node.
#[actor]
pub struct Friend {
    of: RollHandle,
}

#[methods]
impl Friend {
    #[constructor]
    pub fn of(roll: RollHandle) -> Self {
        Self { of: roll }
    }

    pub async fn notes(&self, number: u64) -> Result<u64, CallError> {
        self.of.note(number).await
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

async fn cluster() -> Cluster {
    bounded(Cluster::local().workers(2)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_finds_its_actor_on_another_node_when_its_own_is_killed() {
    let cluster = cluster().await;
    let roll = bounded(Roll::spawn(&cluster, 7)).await.unwrap();
    assert_eq!(bounded(roll.note(8)).await, Ok(8));
    let (first, token) = bounded(roll.run()).await.unwrap();
    let process = bounded(roll.process()).await.unwrap();
    let killed = std::time::Instant::now();
    kill(process);
    // What is sent before the death is known may have run, and says so; what follows finds it.
    let again = loop {
        match bounded(roll.noted()).await {
            Ok(noted) => break noted,
            Err(CallError::NodeDied { executed: Executed::Maybe, .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    println!("{:?} from the kill to the answer of the next run", killed.elapsed());
    assert_eq!(again, [7], "made anew with its arguments");
    let (second, later) = bounded(roll.run()).await.unwrap();
    assert!(second.placement > first.placement && later > token, "{first:?} {second:?}");
    assert_ne!(bounded(roll.process()).await.unwrap(), process);
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_its_actor_to_be_placed_again_says_so() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let roll = bounded(Roll::spawn(&cluster, 7)).await.unwrap();
    kill(bounded(roll.process()).await.unwrap());
    // No node is left that could have it. What is sent before the death is known is on its way, or stays in the link.
    let executed = loop {
        match bounded(roll.note(8).timeout(Duration::from_millis(100))).await {
            Err(CallError::Timeout { waiting: Waiting::ForActor, executed, .. }) => break executed,
            Err(CallError::NodeDied { .. }) => {}
            Err(CallError::Timeout { waiting: Waiting::OnTheWay | Waiting::ForCredit, .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(executed, Executed::No);
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_of_other_nodes_find_it_as_well() {
    let cluster = cluster().await;
    let roll = bounded(Roll::spawn(&cluster, 7)).await.unwrap();
    let process = bounded(roll.process()).await.unwrap();
    let friend = loop {
        let friend = bounded(Friend::spawn(&cluster, &roll).spread()).await.unwrap();
        if bounded(friend.process()).await.unwrap() != process {
            break friend;
        }
    };
    assert_eq!(bounded(friend.notes(8)).await, Ok(Ok(8)).map(|inner: Result<u64, CallError>| inner.unwrap()));
    kill(process);
    let told = loop {
        match bounded(friend.notes(9)).await {
            Ok(number) => break number,
            Err(CallError::App(CallError::NodeDied { executed: Executed::Maybe, .. })) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told, 9);
    assert!(bounded(roll.noted()).await.unwrap().contains(&9), "the same actor");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_in_the_order_of_their_first_sending_or_say_that_they_may_have() {
    let cluster = cluster().await;
    let roll = bounded(Roll::spawn(&cluster, 0)).await.unwrap();
    let process = bounded(roll.process()).await.unwrap();
    // It never answers, so those behind it stand in its mailbox, and more than it takes wait here.
    let never = roll.never().submit();
    let calls: Vec<_> = (1..=3_000).map(|number| roll.note(number).submit()).collect();
    kill(process);
    assert!(bounded(never).await.is_err());
    let mut ran = vec![0];
    for (number, call) in (1..).zip(calls) {
        match bounded(call).await {
            Ok(answer) => {
                assert_eq!(answer, number);
                ran.push(number);
            }
            Err(mobula::GetError::NodeDied { executed: Executed::Maybe, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(ran.len() > 1_000, "those that never left run: {}", ran.len());
    assert_eq!(bounded(roll.noted()).await.unwrap(), ran, "in their order, and nothing else");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_end_is_told_when_it_has_ended_for_good() {
    let cluster = cluster().await;
    let roll = bounded(Roll::spawn(&cluster, 0).restarts(1)).await.unwrap();
    let mut ended = roll.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    kill(bounded(roll.process()).await.unwrap());
    let process = loop {
        if let Ok(process) = bounded(roll.process()).await {
            break process;
        }
    };
    assert!(futures::poll!(&mut ended).is_pending(), "it goes on");
    kill(process);
    assert_eq!(bounded(ended).await, Ok(EndReason::NodeDied));
    match bounded(roll.noted()).await {
        Err(CallError::NodeDied { executed: Executed::No, .. }) => {}
        other => panic!("{other:?}"),
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placed_actor_that_has_ended_says_why_and_is_stopped_wherever_it_is() {
    let cluster = cluster().await;
    let roll = bounded(Roll::spawn(&cluster, 0)).await.unwrap();
    kill(bounded(roll.process()).await.unwrap());
    assert_eq!(bounded(roll.stop()).await, Ok(EndReason::Stopped), "on the other node");
    match bounded(roll.noted()).await {
        Err(CallError::ActorDied { reason: EndReason::Stopped, executed: Executed::No, .. }) => {}
        other => panic!("{other:?}"),
    }
    let other = bounded(Roll::spawn(&cluster, 0)).await.unwrap();
    let id = other.id();
    drop(other);
    // The last handle is gone, so it stops, though the head has placed it.
    until("the end of an actor that nobody holds", || {
        futures::executor::block_on(cluster.status())
            .is_ok_and(|status| status.actors.iter().all(|actor| actor.id != id))
    })
    .await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_retries_run_once_more_in_their_order() {
    let cluster = cluster().await;
    let roll = bounded(Roll::spawn(&cluster, 0)).await.unwrap();
    let process = bounded(roll.process()).await.unwrap();
    let never = roll.never().submit();
    let calls: Vec<_> = (1..=2_000).map(|number| roll.note(number).retries(1).submit()).collect();
    kill(process);
    assert!(bounded(never).await.is_err(), "it has none");
    let all: Vec<u64> = bounded(cluster.get_all(&calls)).await.unwrap();
    assert_eq!(all, (1..=2_000).collect::<Vec<_>>());
    assert_eq!(
        bounded(roll.noted()).await.unwrap(),
        (0..=2_000).collect::<Vec<_>>(),
        "each once in this run, in order"
    );
    bounded(cluster.shutdown()).await;
}
