//! Generic actors and tasks on the wire: each instance that is registered is one that other processes find, by a name of its own.

use mobula::error::{NotFound, NotGranted};
use mobula::prelude::*;
use mobula::{GetError, LookupError, Message, SpawnError, actor, methods, task};
use serde::{Deserialize, Serialize};

mod common;
use common::{bounded, ends_without_a_trace, found, kill};

mobula::test_worker!();

mobula::register!(
    Holder<u32>,
    Holder<String>,
    Holder<inner::Item> as "holder of items",
    Window<u8, 3>,
    fn largest::<u64>,
    fn largest::<String>,
    fn inner::paired::<u8, 2> as "pairs of bytes",
);

/// Keeps what it was told last, of whatever type.
#[actor(restarts = 3)]
struct Holder<T: Message + Clone> {
    held: T,
    runs_in: u32,
}

#[methods]
impl<T: Message + Clone> Holder<T> {
    #[constructor]
    fn of(held: T) -> Self {
        Self { held, runs_in: std::process::id() }
    }

    pub fn hold(&mut self, other: T) -> T {
        std::mem::replace(&mut self.held, other)
    }

    pub fn held(&self) -> T {
        self.held.clone()
    }

    pub fn process(&self) -> u32 {
        self.runs_in
    }

    /// Takes a handle of another instance.
    pub async fn count(&self, words: HolderHandle<String>) -> mobula::Result<usize> {
        Ok(words.held().await?.len())
    }
}

/// The last few.
#[actor]
struct Window<T: Message + Copy, const N: usize> {
    seen: Vec<T>,
}

#[methods]
impl<T: Message + Copy, const N: usize> Window<T, N> {
    #[constructor]
    fn new() -> Self {
        Self { seen: Vec::new() }
    }

    pub fn see(&mut self, one: T) -> Vec<T> {
        self.seen.push(one);
        self.seen.drain(..self.seen.len().saturating_sub(N));
        self.seen.clone()
    }
}

mod inner {
    use super::{Deserialize, Message, Serialize, task};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Item {
        pub name: String,
    }

    #[task]
    pub fn paired<T: Message + Copy, const N: usize>(item: T) -> (Vec<T>, u32) {
        (vec![item; N], std::process::id())
    }
}

#[task]
fn largest<T: Message + Ord>(items: Vec<T>) -> (Option<T>, u32) {
    (items.into_iter().max(), std::process::id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_an_actor_live_in_other_processes_side_by_side() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let number = bounded(Holder::<u32>::spawn(&cluster, 7).name("number")).await.unwrap();
    let words = bounded(Holder::<String>::spawn(&cluster, "long ago".to_owned())).await.unwrap();
    let item = inner::Item { name: "cup".to_owned() };
    let items = bounded(Holder::<inner::Item>::spawn(&cluster, item.clone()).detached()).await.unwrap();
    let window = bounded(Window::<u8, 3>::spawn(&cluster)).await.unwrap();
    assert_eq!(bounded(number.hold(8)).await, Ok(7));
    assert_eq!(bounded(number.count(&words)).await, Ok(8), "a handle travels, and is of its own instance");
    assert_eq!(bounded(items.held()).await, Ok(item));
    for one in 1..=3 {
        bounded(window.see(one)).await.unwrap();
    }
    assert_eq!(bounded(window.see(4)).await, Ok(vec![2, 3, 4]));
    let process = bounded(words.process()).await.unwrap();
    assert_ne!(process, std::process::id());
    assert_eq!(bounded(number.process()).await, Ok(process));

    let same = bounded(Holder::<u32>::lookup(&cluster, "number")).await.unwrap();
    assert_eq!(bounded(same.held()).await, Ok(8));
    let error = bounded(Holder::<String>::lookup(&cluster, "number")).await.unwrap_err();
    assert!(matches!(error, LookupError::NotFound(NotFound::OtherType { .. })), "{error:?}");
    assert!(error.to_string().contains("generics::Holder<u32>"), "{error}");

    let types: Vec<String> = bounded(cluster.status()).await.unwrap().actors.into_iter().map(|a| a.type_name).collect();
    assert!(types.contains(&"generics::Holder<u32>".to_owned()), "{types:?}");
    assert!(types.contains(&"holder of items".to_owned()), "{types:?}");
    drop((number, words, items, window, same));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_placed_again_on_a_node_that_has_it() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let words = bounded(Holder::<String>::spawn(&cluster, "once".to_owned()).name("words")).await.unwrap();
    let first = bounded(words.process()).await.unwrap();
    bounded(words.hold("more".to_owned())).await.unwrap();
    kill(first);
    assert_ne!(found(|| words.process()).await, first);
    assert_eq!(bounded(words.held()).await, Ok("once".to_owned()), "made anew of its constructor's arguments");
    drop(words);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_a_task_run_in_other_processes() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let (number, process) = bounded(largest::call(&cluster, vec![1_u64, 3, 2])).await.unwrap();
    assert_eq!(number, Some(3));
    assert_ne!(process, std::process::id());
    let word = largest::submit(&cluster, vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(bounded(cluster.get(&word)).await.unwrap().0.as_deref(), Some("b"));
    assert_eq!(bounded(inner::paired::call::<u8, 2>(&cluster, 5)).await, Ok((vec![5, 5], process)));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_not_registered_is_refused_and_named() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let error = bounded(Holder::<bool>::spawn(&cluster, true)).await.unwrap_err();
    assert!(matches!(error, SpawnError::NotPlaced(_)), "{error:?}");
    assert!(error.to_string().contains("generics::Holder<_>"), "{error}");
    let error = bounded(largest::call(&cluster, vec![true])).await.unwrap_err();
    assert!(matches!(error, GetError::NotPlaced { why: NotGranted::UnknownTask { .. }, .. }), "{error:?}");
    assert!(error.to_string().contains("generics::largest<_>"), "{error}");
    ends_without_a_trace(cluster).await;
}

#[tokio::test]
async fn what_is_not_registered_works_within_its_process() {
    let cluster = Cluster::local().await.unwrap();
    let holder = bounded(Holder::<bool>::spawn(&cluster, true)).await.unwrap();
    assert_eq!(bounded(holder.hold(false)).await, Ok(true));
    assert_eq!(bounded(largest::call(&cluster, vec![true])).await.unwrap().0, Some(true));
}
