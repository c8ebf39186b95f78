//! Tasks with several results, in one process and across worker processes.
#![allow(missing_docs)]

mod common;

use common::*;
use mobula::prelude::*;
use mobula::{Executed, GetError};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

mobula::test_worker!();

#[task(returns = 2)]
fn split(number: u64, by: u64) -> (u64, u64) {
    (number / by, number % by)
}

#[task(returns = 2)]
async fn split_later(number: u64, by: u64) -> mobula::Result<(u64, String)> {
    tokio::task::yield_now().await;
    let left = number.checked_rem(by).ok_or("nothing divides by 0")?;
    Ok((number / by, format!("{left} left")))
}

#[task]
fn add(one: u64, other: u64) -> u64 {
    one + other
}

/// A small one, a large one, a large one of plain bytes, and one with references.
#[task(returns = 4)]
fn mixed(ctx: &TaskContext, size: usize) -> (u64, Vec<u16>, bytes::Bytes, Vec<ObjectRef<u64>>) {
    let refs = (0..2_000).map(|at| add::submit(&ctx.cluster(), at, 1)).collect();
    (7, vec![9; size], vec![5; size].into(), refs)
}

#[task]
fn bytes_of(size: usize) -> bytes::Bytes {
    vec![3; size].into()
}

#[task(returns = 8)]
fn eight(of: &str) -> (u8, u16, u32, u64, i8, String, (), Option<bool>) {
    (1, 2, 3, 4, -5, of.to_owned(), (), Some(true))
}

#[task(returns = 2)]
fn panics() -> (u64, u64) {
    panic!("as asked")
}

/// Leaves a file when it is dropped.
struct Leaves(String);

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.0, "left"); // one that a test left to run finds the test's folder gone
    }
}

/// Says that it runs, and waits for what never comes.
#[task(returns = 2)]
async fn stalls(says: Queue<u64>, left: String) -> mobula::Result<(u64, u64)> {
    let _leaves = Leaves(left);
    says.put(1).await?;
    std::future::pending().await
}

fn is_early(why: &mobula::Failure) -> bool {
    why.to_string() == "early"
}

#[task(returns = 2, retries = 2, retry_on = is_early)]
fn at_third(ctx: &TaskContext) -> mobula::Result<(u32, u32)> {
    if ctx.attempt() < 3 { Err("early".into()) } else { Ok((1, ctx.attempt())) }
}

#[task]
fn waits_in_task(ctx: &TaskContext, number: u64) -> mobula::Result<u64> {
    let (whole, rest) = split::submit(&ctx.cluster(), number, 10);
    Ok(ctx.get(&whole)? + ctx.get(&rest)?)
}

async fn each_result_is_an_object_by_itself(cluster: &Cluster) {
    let (whole, rest): (ObjectRef<u64>, ObjectRef<u64>) = split::submit(cluster, 17, 5);
    assert_ne!(whole.id(), rest.id());
    let sum = add::submit(cluster, &whole, &rest);
    drop(whole);
    assert_eq!((bounded(rest).await, bounded(sum).await), (Ok(2), Ok(5)));
    let (whole, rest) = bounded(split_later::call(cluster, 17, 5).submit_wait()).await;
    assert_eq!(bounded(rest).await.unwrap(), "2 left");
    let (again, _) = split::submit(cluster, whole.clone().erase(), 2_u64);
    assert_eq!((bounded(whole).await.unwrap(), bounded(again).await), (3, Ok(1)), "it is an argument, too");
    assert_eq!(bounded(split::call(cluster, 17, 5).cpus(0.5)).await, Ok((3, 2)), "awaited, it is the tuple");
    assert_eq!(split(17, 5), (3, 2), "it is still a function");
    assert_eq!(bounded(waits_in_task::submit(cluster, 47)).await.unwrap(), 11);
    let (a, _, _, _, e, f, (), h) = bounded(eight::call(cluster, "six")).await.unwrap();
    assert_eq!((a, e, &*f, h), (1, -5, "six", Some(true)));
}

async fn results_may_be_large_and_hold_references(cluster: &Cluster) {
    for size in [10, 30_000, 40_000, 200_000] {
        let (small, values, bytes, refs) = mixed::submit(cluster, size);
        let last = bounded(refs).await.unwrap().pop().unwrap();
        assert_eq!((bounded(last).await, bounded(small).await), (Ok(2_000), Ok(7)));
        assert_eq!(bounded(values).await.unwrap(), vec![9; size]);
        assert_eq!(bounded(bytes).await.unwrap(), vec![5; size]);
        assert_eq!(bounded(bytes_of::submit(cluster, size)).await.unwrap(), vec![3; size]);
    }
}

async fn an_error_reaches_all_results(cluster: &Cluster) {
    let (whole, rest) = split_later::submit(cluster, 1, 0);
    for error in [bounded(whole).await.unwrap_err(), bounded(rest).await.unwrap_err()] {
        assert_eq!(error, GetError::App(mobula::Failure::from("nothing divides by 0")));
    }
    let (one, other) = panics::call(cluster).name("May").submit();
    for error in [bounded(one).await.unwrap_err(), bounded(other).await.unwrap_err()] {
        assert!(matches!(&error, GetError::Panicked { what, .. } if what.starts_with("May (")), "{error:?}");
    }
    let (one, other) = split::call(cluster, 1, 2).resource("unicorns", 1.0).submit();
    for error in [bounded(one).await.unwrap_err(), bounded(other).await.unwrap_err()] {
        assert_eq!(error.executed(), Executed::No, "{error:?}");
    }
    assert_eq!(bounded(at_third::call(cluster)).await.unwrap(), (1, 3));
}

async fn whoever_cancels_one_result_cancels_the_task(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left").to_str().unwrap().to_owned();
    let says = bounded(Queue::bounded(cluster, 1)).await.unwrap();
    let (one, other) = stalls::submit(cluster, says.clone(), left.clone());
    assert_eq!(bounded(says.get()).await, Ok(1));
    cluster.cancel(&other);
    for error in [bounded(one).await.unwrap_err(), bounded(other).await.unwrap_err()] {
        assert_eq!(error, GetError::Cancelled { executed: Executed::Maybe });
    }
    until("it was dropped", || Path::new(&left).exists()).await;
}

async fn a_result_is_freed_when_its_own_reference_is_gone(cluster: &Cluster) {
    let before = cluster.shared_objects();
    let (small, values, bytes, refs) = mixed::submit(cluster, 200_000);
    assert_eq!(bounded(small).await, Ok(7));
    drop((values, bytes, refs));
    until("nothing is shared any more", || cluster.shared_objects() == before).await;
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Counted while it lives.
#[derive(serde::Serialize, serde::Deserialize)]
struct Counted(u64);

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[task(returns = 2)]
fn counted() -> (Counted, Counted) {
    LIVE.fetch_add(2, Ordering::SeqCst);
    (Counted(1), Counted(2))
}

#[tokio::test]
async fn in_one_process_each_value_goes_with_its_last_reference() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let (one, other) = counted::submit(&cluster);
    assert_eq!(bounded(cluster.view(&other)).await.unwrap().0, 2);
    assert_eq!(LIVE.load(Ordering::SeqCst), 2);
    drop(one);
    until("the first is gone", || LIVE.load(Ordering::SeqCst) == 1).await;
    drop(other);
    until("the other is gone", || LIVE.load(Ordering::SeqCst) == 0).await;
}

hold! {
    each_result_is_an_object_by_itself
    results_may_be_large_and_hold_references
    an_error_reaches_all_results
    whoever_cancels_one_result_cancels_the_task
    a_result_is_freed_when_its_own_reference_is_gone
}
