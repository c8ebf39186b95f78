//! Actors inside one process, through the public face.
#![allow(missing_docs)]

mod common;
#[path = "common/semantics.rs"]
mod semantics;

use common::bounded;
use mobula::prelude::*;
use mobula::{EndReason, Executed, TryTellError};
use std::sync::Barrier;

mod every_promise {
    use mobula::Cluster;

    crate::semantics::hold_of!(Cluster::local());
}

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

    pub fn fail(&mut self) {
        panic!("on purpose");
    }

    pub async fn ask_itself(&mut self, ctx: &mut ActorContext<Self>) -> Result<u64, CallError> {
        ctx.handle().add(1).await
    }

    pub fn count_up(&mut self) -> impl Stream<Item = u64> {
        futures::stream::iter(self.total..self.total + 3)
    }
}

#[actor]
struct Meeting {
    all: Barrier,
}

#[methods(concurrency = 64)]
impl Meeting {
    #[constructor]
    pub fn new() -> Self {
        Self { all: Barrier::new(64) }
    }

    #[method(blocking)]
    pub fn join(&self) -> bool {
        self.all.wait().is_leader()
    }
}

#[tokio::test]
async fn blocking_methods_delay_nobody_however_few_processors_there_are() {
    let cluster = Cluster::local().await.unwrap();
    let meeting = Meeting::spawn(&cluster).await.unwrap();
    let joined = bounded(futures::future::join_all((0..64).map(|_| meeting.join()))).await;
    assert_eq!(joined.iter().filter(|leads| **leads == Ok(true)).count(), 1, "{joined:?}");
    assert!(joined.iter().all(Result::is_ok), "{joined:?}");
}

#[tokio::test]
async fn an_ask_is_answered_and_a_tell_runs_before_what_follows_it() {
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster, 10).await.unwrap();
    assert_eq!(bounded(counter.add(5)).await, Ok(15));
    bounded(counter.add(5).tell()).await.unwrap();
    assert_eq!(bounded(counter.add(0)).await, Ok(20));
}

#[tokio::test]
async fn a_panic_fails_its_call_and_ends_its_actor_only() {
    let cluster = Cluster::local().await.unwrap();
    let (counter, other) = (Counter::spawn(&cluster, 0).await.unwrap(), Counter::spawn(&cluster, 1).await.unwrap());
    let error = bounded(counter.fail()).await.unwrap_err();
    assert_eq!(error.executed(), Executed::Yes);
    assert!(error.to_string().contains("on purpose"), "{error}");
    assert!(matches!(bounded(counter.ended()).await, Ok(EndReason::Panicked { .. })));
    assert!(matches!(bounded(counter.add(1)).await, Err(CallError::ActorDied { executed: Executed::No, .. })));
    assert_eq!(bounded(other.add(1)).await, Ok(2));
}

#[tokio::test]
async fn an_actor_that_asks_itself_is_told_of_the_cycle() {
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster, 0).await.unwrap();
    let error = bounded(counter.ask_itself()).await.unwrap_err();
    assert!(
        matches!(error, CallError::App(CallError::Deadlock { cycle, executed: Executed::No }) if cycle == [counter.id(), counter.id()])
    );
}

#[tokio::test]
async fn a_streaming_reply_outlives_its_call() {
    use futures::TryStreamExt;
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster, 7).await.unwrap();
    let items: Vec<u64> = bounded(counter.count_up().try_collect()).await.unwrap();
    assert_eq!(items, [7, 8, 9]);
    let _ = TryTellError::<u64>::Full(counter.add(1));
}
