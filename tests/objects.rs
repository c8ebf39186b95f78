//! Objects within one process: references, what they promise before the value is there, and calls that take them.

use mobula::prelude::*;
use mobula::{CallError, Executed, GetError, TryTellError};
use std::time::Duration;

#[actor]
struct Counter {
    total: u64,
    seen: Vec<String>,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn starting_at(total: u64) -> Self {
        Self { total, seen: Vec::new() }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.seen.push(format!("{by}"));
        self.total
    }

    pub fn fails(&mut self, why: &str) -> mobula::Result<u64> {
        Err(why.to_owned())?
    }

    pub fn panics(&mut self) -> u64 {
        panic!("as asked")
    }

    pub fn sum(&mut self, of: &[f32]) -> f32 {
        of.iter().sum()
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.clone()
    }
}

async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future.into_future()).await.expect("within 20 s")
}

#[tokio::test]
async fn what_is_put_is_got_and_a_slice_is_read_in_place() {
    let cluster = Cluster::local().await.unwrap();
    let words = cluster.put(vec!["a".to_owned(), "b".to_owned()]).await.unwrap();
    assert_eq!(bounded(cluster.get(&words)).await.unwrap(), ["a", "b"]);
    assert_eq!(bounded(words.clone()).await.unwrap().len(), 2, "a reference is a future");
    let (one, two) = (cluster.view(&words), cluster.view(&words));
    assert!(std::ptr::eq(&*bounded(one).await.unwrap(), &*bounded(two).await.unwrap()), "nothing is copied");
    assert_ne!(words.id(), cluster.put(0_u8).await.unwrap().id());
}

/// An object that holds a reference to the one before it.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Link {
    number: u32,
    before: Option<ObjectRef<Link>>,
}

#[tokio::test]
async fn a_chain_of_objects_of_any_length_goes_with_its_last_reference() {
    let cluster = Cluster::local().await.unwrap();
    let first: ObjectRef<Link> = cluster.put(Link { number: 0, before: None }).await.unwrap();
    let mut last = first.clone();
    for number in 1..=100_000 {
        last = cluster.put(Link { number, before: Some(last) }).await.unwrap();
    }
    let before = bounded(last.clone()).await.unwrap().before.unwrap();
    assert_eq!(bounded(before).await.unwrap().number, 99_999);
    drop(last);
    assert_eq!(bounded(first).await.unwrap().number, 0, "what is referred to otherwise stays");
}

#[tokio::test]
async fn a_submitted_call_gives_a_reference_that_is_passed_on_before_it_is_there() {
    let cluster = Cluster::local().await.unwrap();
    let (counter, other) = (Counter::spawn(&cluster, 10).await.unwrap(), Counter::spawn(&cluster, 0).await.unwrap());
    let first: ObjectRef<u64> = counter.add(5).submit();
    let second = other.add(&first).submit();
    let third = other.add(second.clone());
    assert_eq!(bounded(third).await, Ok(30));
    assert_eq!((bounded(first).await, bounded(second).await), (Ok(15), Ok(15)));
    let items = cluster.put(1.5_f32).await.unwrap();
    assert_eq!(bounded(items).await, Ok(1.5));
    assert_eq!(bounded(counter.sum(vec![1.0, 2.5])).await, Ok(3.5));
}

#[tokio::test]
async fn a_full_mailbox_gives_back_a_call_with_a_reference_as_any_other() {
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster, 0).await.unwrap();
    let one = cluster.put(1_u64).await.unwrap();
    // The actor has no turn before something here waits.
    let mut taken = 0;
    let back = loop {
        match counter.add(&one).try_tell() {
            Ok(()) => taken += 1,
            Err(TryTellError::Full(call)) => break call,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 2_000, "a mailbox is bounded");
    };
    bounded(back.tell()).await.unwrap();
    assert_eq!(bounded(counter.add(0)).await, Ok(taken + 1));
}

#[tokio::test]
async fn a_call_whose_argument_is_not_there_holds_back_those_after_it_and_only_those() {
    let cluster = Cluster::local().await.unwrap();
    let (slow, counter) = (Slow::spawn(&cluster).await.unwrap(), Counter::spawn(&cluster, 0).await.unwrap());
    let other = Counter::spawn(&cluster, 0).await.unwrap();
    let late = slow.wait(3).submit();
    let calls = [counter.add(&late).submit(), counter.add(1).submit(), counter.add(2).submit()];
    let told = tokio::spawn(counter.add(4).tell());
    assert_eq!(bounded(other.add(7)).await, Ok(7), "another actor is not held back");
    assert!(calls.iter().all(|call| !call.is_settled()));
    bounded(slow.go()).await.unwrap();
    assert_eq!(bounded(cluster.get_all(&calls)).await, Ok(vec![3, 4, 6]));
    bounded(told).await.unwrap().unwrap();
    assert_eq!(bounded(counter.seen()).await.unwrap(), ["3", "1", "2", "4"]);
}

#[tokio::test]
async fn what_a_maker_fails_with_is_what_the_reference_gives() {
    let cluster = Cluster::local().await.unwrap();
    let counter = Counter::spawn(&cluster, 0).await.unwrap();
    let failed = counter.fails("no more").submit();
    let error = bounded(cluster.get(&failed)).await.unwrap_err();
    assert!(matches!(&error, GetError::App(failure) if failure.to_string() == "no more"), "{error:?}");
    let passed = bounded(counter.add(&failed)).await.unwrap_err();
    assert!(matches!(&passed, CallError::Argument { object, why, .. } if *object == failed.id() && why == "no more"));
    assert_eq!(passed.executed(), Executed::No);
    assert_eq!(bounded(counter.add(1)).await, Ok(1), "what follows goes on");
    let erased = failed.erase();
    let error = bounded(erased).await.unwrap_err();
    assert!(matches!(&error, GetError::Call { message, .. } if message == "no more"), "{error:?}");
    let gone = bounded(counter.panics().submit()).await.unwrap_err();
    assert!(matches!(gone, GetError::Panicked { ref message, .. } if message == "as asked"), "{gone:?}");
    let late = bounded(counter.add(1).submit()).await.unwrap_err();
    assert_eq!(late.executed(), Executed::No, "{late}");
}

#[tokio::test]
async fn a_wait_gives_what_is_there_first_and_keeps_the_rest() {
    let cluster = Cluster::local().await.unwrap();
    let slow = Slow::spawn(&cluster).await.unwrap();
    let late = slow.wait(1).submit();
    let there = cluster.put(2_u64).await.unwrap();
    let of: Vec<ObjectRef<u64>> = vec![late.clone().erase(), there.clone()];
    let (settled, pending) = bounded(cluster.wait(of, 1)).await;
    let pending = pending.into_pending();
    assert_eq!((settled[0].id(), pending[0].id()), (there.id(), late.id()));
    let error = bounded(cluster.get(&late).timeout(Duration::from_millis(5))).await.unwrap_err();
    assert!(matches!(error, GetError::Timeout { .. }), "{error}");
    let all = [there.clone(), late.clone().erase()];
    let error = bounded(cluster.get_all(&all).timeout(Duration::from_millis(5))).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("1 of 2 objects are there, then object {}: nothing within 5ms", late.id())),
        "{error}"
    );
    assert!(error.contains("the call that makes it has no answer yet"), "{error}");
    let both = [pending[0].clone(), there];
    let (settled, pending) = bounded(cluster.wait(both, 2).timeout(Duration::ZERO)).await;
    assert_eq!((settled.len(), pending.len()), (1, 1), "what is there when the time is over, and what is not");
    bounded(slow.go()).await.unwrap();
    let (settled, mut pending) = bounded(cluster.wait(pending, 1)).await;
    assert_eq!((settled.len(), pending.len()), (1, 0));
    let (one, two) = (cluster.put(3).await.unwrap(), cluster.put(4).await.unwrap());
    pending.extend([one.clone(), two.clone()]);
    let (settled, left) = bounded(cluster.wait(pending, 1)).await;
    assert_eq!((settled[0].id(), left.iter().map(ObjectRef::id).collect::<Vec<_>>()), (one.id(), vec![two.id()]));
    let (settled, left) = bounded(cluster.wait(left, 5)).await;
    assert_eq!((settled.len(), left.is_empty()), (1, true), "no more than there are");
}

/// Answers `wait` once `go` was called.
#[actor]
struct Slow {
    gate: tokio::sync::watch::Sender<bool>,
}

#[methods(concurrency = 4)]
impl Slow {
    #[constructor]
    pub fn new() -> Self {
        Self { gate: tokio::sync::watch::Sender::new(false) }
    }

    pub async fn wait(&self, value: u64) -> mobula::Result<u64> {
        self.gate.subscribe().wait_for(|open| *open).await?;
        Ok(value)
    }

    pub fn go(&self) {
        self.gate.send_replace(true);
    }
}
