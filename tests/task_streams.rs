//! Tasks that stream their results, in one process and across worker processes.
#![allow(missing_docs)]

mod common;

use common::*;
use futures::{Stream, StreamExt, stream};
use mobula::limits::STREAM_ITEMS;
use mobula::prelude::*;
use mobula::{Executed, GetError};
use std::io::Write;
use std::path::Path;

mobula::test_worker!();

#[task]
fn count(upto: u64) -> impl Stream<Item = u64> {
    stream::iter(0..upto)
}

#[task]
async fn count_later(upto: u64) -> impl Stream<Item = u64> {
    tokio::task::yield_now().await;
    stream::unfold(0, move |at| async move {
        tokio::task::yield_now().await;
        (at < upto).then_some((at, at + 1))
    })
}

/// For ever; writes a byte for each item that it makes, and leaves a file when it ends.
#[task]
fn makes(made: String, left: String) -> impl Stream<Item = u64> {
    let (mut file, leaves) = (std::fs::File::create(made).expect("a file"), Leaves(left));
    stream::iter(0..).inspect(move |_| {
        let _leaves = &leaves;
        file.write_all(b".").expect("a byte");
    })
}

#[task]
async fn makes_later(made: String, left: String) -> impl Stream<Item = u64> {
    let (mut file, leaves) = (std::fs::File::create(made).expect("a file"), Leaves(left));
    stream::iter(0..).inspect(move |_| {
        let _leaves = &leaves;
        file.write_all(b".").expect("a byte");
    })
}

/// Waits for what never comes after one item.
#[task]
async fn stalls(left: String) -> impl Stream<Item = u64> {
    let leaves = Leaves(left);
    stream::once(async { 1 }).chain(stream::pending()).inspect(move |_| _ = &leaves)
}

#[task]
fn stalls_on_the_pool(left: String) -> impl Stream<Item = u64> {
    let leaves = Leaves(left);
    stream::once(async { 1 }).chain(stream::pending()).inspect(move |_| _ = &leaves)
}

#[task]
fn panics_after(items: u64) -> impl Stream<Item = u64> {
    stream::iter(0..).inspect(move |at| assert!(*at < items, "as asked"))
}

#[task]
async fn panics_later(items: u64) -> impl Stream<Item = u64> {
    stream::iter(0..).inspect(move |at| assert!(*at < items, "as asked"))
}

#[task]
fn perhaps(words: Vec<String>) -> Result<impl Stream<Item = Result<u64, String>>, String> {
    if words.is_empty() {
        return Err("no words".to_owned());
    }
    Ok(stream::iter(words).map(|word| word.parse().map_err(|_| word)))
}

fn is_early(why: &mobula::Failure) -> bool {
    why.to_string() == "early"
}

#[task(retries = 2, retry_on = is_early)]
fn at_third(ctx: &TaskContext, upto: u64) -> mobula::Result<impl Stream<Item = u64>> {
    if ctx.attempt() < 3 { Err("early".into()) } else { Ok(stream::iter(0..upto)) }
}

#[task]
fn large(items: usize) -> impl Stream<Item = Vec<u16>> {
    stream::iter(0..items).map(|at| vec![at as u16; 100_000])
}

#[task]
fn references(ctx: &TaskContext, upto: u64) -> impl Stream<Item = ObjectRef<u64>> {
    let cluster = ctx.cluster();
    stream::iter(0..upto).map(move |at| add::submit(&cluster, at, 1))
}

#[task]
fn add(one: u64, other: u64) -> u64 {
    one + other
}

/// Ends its process after three items where `file` is not there yet, and makes it.
#[task]
fn dies_after_three(file: String, upto: u64) -> impl Stream<Item = u64> {
    stream::iter(0..upto).inspect(move |at| {
        if *at == 3 && std::fs::File::create_new(&file).is_ok() {
            std::process::abort();
        }
    })
}

/// Takes one item of a stream that it began, and then waits for ever.
#[task]
async fn consumes(ctx: &TaskContext, says: Queue<u64>, left: String) -> mobula::Result<u64> {
    let mut items = stalls::submit(&ctx.cluster(), left);
    let first = items.next().await.ok_or("no item")??.await?;
    says.put(first).await?;
    std::future::pending().await
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

async fn all<T, E>(items: ObjectRefStream<T, E>) -> Vec<ObjectRef<T, E>>
where
    E: mobula::WireError,
    ObjectRefStream<T, E>: Stream<Item = Result<ObjectRef<T, E>, GetError<E>>>,
{
    bounded(items.map(|item| item.expect("an item")).collect()).await
}

async fn next<T, E: mobula::WireError>(
    items: &mut ObjectRefStream<T, E>,
) -> Option<Result<ObjectRef<T, E>, GetError<E>>> {
    bounded(items.next()).await
}

async fn items_are_objects_in_order_and_outlive_the_stream(cluster: &Cluster) {
    for items in [count::submit(cluster, 100), count_later::call(cluster, 100).cpus(0.5).submit()] {
        let items = all(items).await;
        let sums: Vec<ObjectRef<u64>> = items.iter().map(|item| add::submit(cluster, item, 1)).collect();
        assert_eq!(bounded(cluster.get_all(&items)).await.unwrap(), (0..100).collect::<Vec<_>>());
        assert_eq!(bounded(cluster.get_all(&sums)).await.unwrap(), (1..=100).collect::<Vec<_>>());
    }
    let none = all(bounded(count::call(cluster, 0).submit_wait()).await).await;
    assert!(none.is_empty());
    assert_eq!(bounded(count(3).collect::<Vec<_>>()).await, [0, 1, 2], "it is still a function");
}

async fn the_producer_is_held_while_its_consumer_is_behind(cluster: &Cluster) {
    for streams in [makes::submit, makes_later::submit] {
        let folder = Folder::new();
        let (made, left) = (folder.file("made"), folder.file("left"));
        let mut items = streams(cluster, made.clone(), left.clone());
        // It makes as many as may wait, and one that waits for room.
        let most = u64::from(STREAM_ITEMS) + 1;
        let len = || std::fs::metadata(&made).map_or(0, |made| made.len());
        until("it fills what room there is", || len() >= most - 1).await;
        for taken in 1..=200 {
            let item = next(&mut items).await.unwrap().unwrap();
            assert_eq!(bounded(item).await, Ok(taken - 1));
            assert_eq!(bounded(add::submit(cluster, taken, 1)).await, Ok(taken + 1), "it has time to run ahead");
            assert!(len() <= taken + most, "{} made, {taken} taken", len());
        }
        drop(items);
        until("it was dropped", || Path::new(&left).exists()).await;
    }
}

async fn a_dropped_stream_cancels_its_task(cluster: &Cluster) {
    for streams in [stalls::submit, stalls_on_the_pool::submit] {
        let folder = Folder::new();
        let left = folder.file("left");
        let mut items = streams(cluster, left.clone());
        let first = next(&mut items).await.unwrap().unwrap();
        drop(items);
        until("it was dropped", || Path::new(&left).exists()).await;
        assert_eq!(bounded(first).await, Ok(1), "what came stays");
    }
}

async fn a_stream_ends_with_the_task_that_began_it(cluster: &Cluster) {
    let (folder, says) = (Folder::new(), bounded(Queue::bounded(cluster, 1)).await.unwrap());
    let left = folder.file("left");
    let parent = consumes::submit(cluster, says.clone(), left.clone());
    assert_eq!(bounded(says.get()).await, Ok(1));
    cluster.cancel(&parent);
    until("it was dropped", || Path::new(&left).exists()).await;
}

async fn a_panic_is_the_last_item(cluster: &Cluster) {
    for streams in [panics_after::call, panics_later::call] {
        let mut items = streams(cluster, 20).name("May").submit();
        for at in 0..20 {
            assert_eq!(bounded(next(&mut items).await.unwrap().unwrap()).await, Ok(at));
        }
        let error = next(&mut items).await.unwrap().unwrap_err();
        let GetError::Panicked { what, message } = &error else { panic!("{error:?}") };
        assert!(what.starts_with("May (") && message == "as asked", "{error}");
        assert!(next(&mut items).await.is_none());
    }
}

async fn errors_of_the_function_and_of_its_items_arrive_typed(cluster: &Cluster) {
    let mut none = perhaps::submit(cluster, vec![]);
    assert_eq!(next(&mut none).await.unwrap().unwrap_err(), GetError::App("no words".to_owned()));
    assert!(next(&mut none).await.is_none());
    let words = ["1", "two"].map(str::to_owned).to_vec();
    let items = all(perhaps::submit(cluster, words)).await;
    let items: Vec<Result<u64, String>> = bounded(cluster.get_all(&items)).await.unwrap();
    assert_eq!(items, [Ok(1), Err("two".to_owned())]);
    assert_eq!(all(at_third::submit(cluster, 5)).await.len(), 5);
    let mut refused = at_third::call(cluster, 5).retries(1).submit();
    assert_eq!(next(&mut refused).await.unwrap().unwrap_err(), GetError::App(mobula::Failure::from("early")));
    let mut unknown = count::call(cluster, 5).resource("unicorns", 1.0).submit();
    let error = next(&mut unknown).await.unwrap().unwrap_err();
    assert_eq!(error.executed(), Executed::No, "{error}");
}

async fn items_may_be_large_and_hold_references(cluster: &Cluster) {
    for (at, item) in all(large::submit(cluster, 40)).await.into_iter().enumerate() {
        let item = bounded(item).await.unwrap();
        assert!(item.len() == 100_000 && item.iter().all(|value| usize::from(*value) == at));
    }
    for (at, item) in (0..).zip(all(references::submit(cluster, 40)).await) {
        assert_eq!(bounded(bounded(item).await.unwrap()).await, Ok(at + 1));
    }
}

async fn many_streams_at_once_are_all_read(cluster: &Cluster) {
    let streams = (0..50).map(|_| all(count::submit(cluster, 100)));
    let counted = futures::future::join_all(streams).await;
    assert!(counted.iter().all(|items| items.len() == 100));
}

hold! {
    items_are_objects_in_order_and_outlive_the_stream
    the_producer_is_held_while_its_consumer_is_behind
    a_dropped_stream_cancels_its_task
    a_stream_ends_with_the_task_that_began_it
    a_panic_is_the_last_item
    errors_of_the_function_and_of_its_items_arrive_typed
    items_may_be_large_and_hold_references
    many_streams_at_once_are_all_read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_node_dies_ends_with_that_and_goes_on_if_it_may_be_run_again() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap(); // of which two die
    let folder = Folder::new();
    let mut items = dies_after_three::submit(&cluster, folder.file("once"), 50);
    let mut came = 0;
    let error = loop {
        match next(&mut items).await.expect("an error before the end") {
            Ok(item) => assert_eq!(bounded(item).await, Ok(came)),
            Err(error) => break error,
        }
        came += 1;
    };
    assert!(matches!(error, GetError::NodeDied { executed: Executed::Maybe | Executed::Yes, .. }), "{error:?}");
    assert!(came <= 3 && next(&mut items).await.is_none());
    let again = dies_after_three::call(&cluster, folder.file("twice"), 50).retries(1).submit();
    let items = all(again).await;
    let values = bounded(cluster.get_all(&items)).await.unwrap();
    assert_eq!(values, (0..50).collect::<Vec<_>>(), "each item once");
    bounded(cluster.shutdown()).await;
}
