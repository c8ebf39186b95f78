//! Many calls or tasks in one go: the first are on their way while others follow.

use mobula::prelude::*;
use mobula::{ask_all, task};
use std::pin::pin;
use std::time::Instant;

mod common;
use common::{BOUND, bounded, ends_without_a_trace};

mobula::test_worker!();

/// More than a task of the runtime does before others have their turn.
const MANY: u64 = 2_000;

#[task]
fn doubled(number: u64) -> u64 {
    2 * number
}

#[actor]
struct Sum(u64);

#[methods]
impl Sum {
    #[constructor]
    pub fn new() -> Self {
        Sum(0)
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.0 += by;
        self.0
    }

    /// As long as there are no more than `most`.
    pub fn add_up_to(&mut self, by: u64, most: u64) -> mobula::Result<u64> {
        if self.0 + by > most {
            Err(format!("{by} more than {} are too many", self.0))?;
        }
        Ok(self.add(by))
    }
}

async fn sums(cluster: &Cluster) {
    let sum = bounded(Sum::spawn(cluster)).await.unwrap();
    let sums = bounded(ask_all((1..=MANY).map(|by| sum.add(by)))).await.unwrap();
    assert_eq!(sums, (1..=MANY).map(|last| last * (last + 1) / 2).collect::<Vec<_>>(), "in their order");
    assert_eq!(bounded(ask_all::<u64, Never>([])).await.unwrap(), [0_u64; 0]);

    let other = bounded(Sum::spawn(cluster)).await.unwrap();
    let error = bounded(ask_all((0..10).map(|by| other.add_up_to(by, 10)))).await.unwrap_err();
    assert!(error.to_string().contains("5 more than 10 are too many"), "the first of them: {error}");
}

#[tokio::test]
async fn calls_that_are_asked_at_once_give_their_replies_in_order_or_the_first_error() {
    let here = bounded(Cluster::local()).await.unwrap();
    sums(&here).await;
    ends_without_a_trace(here).await;
    let elsewhere = bounded(Cluster::local().workers(1)).await.unwrap();
    sums(&elsewhere).await;
    ends_without_a_trace(elsewhere).await;
}

#[tokio::test]
async fn calls_that_are_asked_at_once_let_others_have_their_turn_while_they_are_sent() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let sum = bounded(Sum::spawn(&cluster)).await.unwrap();
    let calls = ask_all((0..MANY).map(|_| sum.add(1)));
    // As a task of the runtime, which has a budget.
    tokio::spawn(async move {
        let mut calls = pin!(calls);
        assert!(futures::poll!(&mut calls).is_pending());
        let sent = format!("{calls:?}").replace("sent: 0,", "");
        assert!(sent.contains("sent: ") && !sent.contains(&format!("sent: {MANY}")), "others have their turn: {sent}");
    })
    .await
    .unwrap();
    assert!(bounded(sum.add(0)).await.unwrap() < MANY, "what is dropped and has not begun never runs");
    ends_without_a_trace(cluster).await;
}

#[tokio::test]
async fn tasks_that_are_submitted_in_turn_let_others_have_theirs() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let here = cluster.clone();
    let submitted = tokio::spawn(async move {
        let mut submitted = Vec::new();
        let mut all = Box::pin(async {
            for number in 0..MANY {
                submitted.push(doubled::call(&here, number).submit_wait().await);
            }
        });
        assert!(futures::poll!(&mut all).is_pending(), "some are submitted, then others have their turn");
        bounded(all).await;
        submitted
    });
    let submitted = bounded(submitted).await.unwrap();
    let values = bounded(cluster.get_all(&submitted)).await.unwrap();
    assert!(values.into_iter().eq((0..MANY).map(|number| 2 * number)));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_while_the_thread_that_submitted_them_goes_on() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let sum = bounded(Sum::spawn(&cluster)).await.unwrap();
    assert_eq!(bounded(sum.add(0)).await, Ok(0));
    // On one of the two threads, which it does not leave.
    let goes_on = tokio::spawn(async move {
        let submitted: Vec<_> = (0..MANY).map(|_| sum.add(1).submit()).collect();
        let began = Instant::now();
        while !submitted[0].is_settled() {
            assert!(began.elapsed() < BOUND, "the first of them has run");
            std::thread::yield_now();
        }
        submitted
    });
    let submitted = goes_on.await.unwrap();
    assert_eq!(bounded(cluster.get_all(&submitted)).await.unwrap().last(), Some(&MANY));
    ends_without_a_trace(cluster).await;
}
