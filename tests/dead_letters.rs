//! Tells that were accepted and die with their actor are counted where the actor was, by why it ended.
#![allow(missing_docs)]

mod common;

use common::{bounded, ends_without_a_trace, workers};
use mobula::prelude::*;
use mobula::task;
use std::collections::BTreeMap;

mobula::test_worker!();

/// Runs one call at a time, and can be kept from it.
#[actor]
struct Reader {
    read: u64,
}

#[methods]
impl Reader {
    #[constructor]
    pub fn new() -> Self {
        Self { read: 0 }
    }

    /// Never ends, and says that it has begun.
    pub async fn stays(&mut self, says: Queue<u64>) -> mobula::Result<()> {
        says.put(0).await?;
        std::future::pending().await
    }

    pub fn read(&mut self) {
        self.read += 1;
    }

    pub fn has_read(&mut self) -> u64 {
        self.read
    }

    /// Panics once it is let.
    pub async fn falls(&mut self, says: Queue<u64>, once: Queue<u64>) -> mobula::Result<()> {
        says.put(0).await?;
        once.get().await?;
        panic!("as asked")
    }
}

/// Runs two calls at a time, so that others stand in a line of their own once they have left the mailbox.
#[actor]
struct Readers;

#[methods(concurrency = 2)]
impl Readers {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub async fn stays(&self, says: Queue<u64>) -> mobula::Result<()> {
        says.put(0).await?;
        std::future::pending().await
    }

    pub fn read(&self) {}
}

type Letters = BTreeMap<String, u64>;

/// The dead letters of a node, less the reasons of which there are none.
fn letters(cluster: &Cluster) -> Letters {
    let counted =
        cluster.counters().into_iter().filter(|(name, number)| name.starts_with("dead_letter_") && *number > 0);
    counted.map(|(name, number)| (name.to_owned(), number)).collect()
}

#[task]
fn letters_there(ctx: &TaskContext) -> Letters {
    letters(&ctx.cluster())
}

fn of(reasons: &[(&str, u64)]) -> Letters {
    reasons.iter().map(|(reason, number)| (format!("dead_letter_{reason}"), *number)).collect()
}

#[tokio::test]
async fn tells_that_never_began_are_counted_by_why_their_actor_ended_and_asks_are_not() {
    let cluster = Cluster::local().await.unwrap();
    let says = bounded(Queue::bounded(&cluster, 4)).await.unwrap();
    assert!(cluster.counters().iter().any(|(name, _)| *name == "dead_letter_killed"), "also without sockets");
    let killed = bounded(Reader::spawn(&cluster)).await.unwrap();
    bounded(killed.stays(says.clone()).tell()).await.unwrap();
    bounded(says.get()).await.unwrap();
    for _ in 0..3 {
        bounded(killed.read().tell()).await.unwrap();
    }
    killed.read().try_tell().unwrap();
    let asked = killed.has_read().submit();
    bounded(killed.kill()).await.unwrap();
    assert!(bounded(asked).await.is_err());
    assert!(bounded(killed.read().tell()).await.is_err(), "its teller is told");
    assert_eq!(letters(&cluster), of(&[("killed", 4)]), "neither the call that ran nor those who were told");

    let once = bounded(Queue::bounded(&cluster, 1)).await.unwrap();
    let falls = bounded(Reader::spawn(&cluster)).await.unwrap();
    bounded(falls.falls(says.clone(), once.clone()).tell()).await.unwrap();
    bounded(says.get()).await.unwrap();
    bounded(falls.read().tell()).await.unwrap();
    bounded(once.put(1)).await.unwrap();
    bounded(falls.ended()).await.unwrap();
    assert_eq!(letters(&cluster), of(&[("killed", 4), ("panicked", 1)]));

    let stopped = bounded(Reader::spawn(&cluster)).await.unwrap();
    for _ in 0..10 {
        bounded(stopped.read().tell()).await.unwrap();
    }
    bounded(stopped.stop()).await.unwrap();
    assert_eq!(letters(&cluster), of(&[("killed", 4), ("panicked", 1)]), "what it was told before still runs");

    let readers = bounded(Readers::spawn(&cluster)).await.unwrap();
    for _ in 0..2 {
        bounded(readers.stays(says.clone()).tell()).await.unwrap();
        bounded(says.get()).await.unwrap();
    }
    for _ in 0..5 {
        bounded(readers.read().tell()).await.unwrap();
    }
    bounded(readers.kill()).await.unwrap();
    assert_eq!(letters(&cluster), of(&[("killed", 9), ("panicked", 1)]), "also of those that had left the mailbox");
}

#[tokio::test]
async fn a_tell_goes_on_in_the_next_run_of_its_actor_and_dies_with_the_last() {
    let cluster = Cluster::local().await.unwrap();
    let (says, once) = (Queue::bounded(&cluster, 4), Queue::bounded(&cluster, 4));
    let (says, once) = (bounded(says).await.unwrap(), bounded(once).await.unwrap());
    let reader = bounded(Reader::spawn(&cluster).restarts(1)).await.unwrap();
    for _ in 0..2 {
        bounded(reader.falls(says.clone(), once.clone()).tell()).await.unwrap();
        bounded(reader.read().tell()).await.unwrap();
    }
    for _ in 0..2 {
        bounded(says.get()).await.unwrap();
        assert_eq!(letters(&cluster), of(&[]));
        bounded(once.put(1)).await.unwrap();
    }
    bounded(reader.ended()).await.unwrap();
    assert_eq!(letters(&cluster), of(&[("restarts_spent", 1)]), "the other was read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_of_the_actor_counts_what_came_over_a_link_before_and_after_its_end() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let there = workers(&cluster)[0].0;
    let counted = async || bounded(letters_there::call(&cluster).on(there)).await.unwrap();
    let says = bounded(Queue::bounded(&cluster, 4)).await.unwrap();
    let reader = bounded(Reader::spawn(&cluster).on(there)).await.unwrap();
    let other = bounded(Reader::spawn(&cluster).on(there)).await.unwrap();
    bounded(reader.stays(says.clone()).tell()).await.unwrap();
    bounded(says.get()).await.unwrap();
    for _ in 0..5 {
        bounded(reader.read().tell()).await.unwrap();
    }
    // What comes after them over the link is answered: they are there.
    assert_eq!(bounded(other.has_read()).await, Ok(0));
    bounded(reader.kill()).await.unwrap();
    assert_eq!(counted().await, of(&[("killed", 5)]));
    // It is accepted here, and its actor is there no more.
    let late = bounded(reader.read().tell()).await.is_ok();
    let mut letters = of(&[("killed", 5 + u64::from(late))]);
    assert_eq!(bounded(other.has_read()).await, Ok(0));
    assert_eq!(counted().await, letters);
    bounded(other.stop()).await.unwrap();
    if bounded(other.read().tell()).await.is_ok() {
        letters.insert("dead_letter_stopped".to_owned(), 1);
    }
    assert_eq!(counted().await, letters);
    assert_eq!(self::letters(&cluster), of(&[]), "the driver hosted none of them");
    drop((reader, other, says));
    ends_without_a_trace(cluster).await;
}
