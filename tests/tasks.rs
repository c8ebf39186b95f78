//! Tasks: functions that are submitted, what they are given, what becomes of them.

mod common;

use common::{ends_without_a_trace, hold};
use mobula::prelude::*;
use mobula::{CallError, Executed, GetError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::future::IntoFuture;
use std::sync::Barrier;
use std::time::Duration;

mobula::test_worker!();

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task(cpus = 0.5, retries = 1)]
async fn add(one: u64, other: u64) -> u64 {
    tokio::task::yield_now().await;
    one + other
}

/// Borrowed arguments, and the context in any place.
#[task]
fn describe(of: &[f32], ctx: &TaskContext, name: &str, more: &BTreeSet<String>) -> String {
    format!("{name}: {} of {}, {}, attempt {}", of.iter().sum::<f32>(), of.len(), more.len(), ctx.attempt())
}

#[task]
async fn describe_later(name: &str, of: &[f32]) -> String {
    tokio::task::yield_now().await;
    format!("{name}: {}", of.len())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Overdrawn {
    by: u64,
}

impl fmt::Display for Overdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overdrawn by {}", self.by)
    }
}

impl std::error::Error for Overdrawn {}

#[task]
fn withdraw(from: u64, amount: u64) -> Result<u64, Overdrawn> {
    from.checked_sub(amount).ok_or_else(|| Overdrawn { by: amount - from })
}

#[task]
async fn parse(text: &str) -> mobula::Result<u64> {
    Ok(text.parse()?)
}

#[task]
fn panics(why: &str) {
    panic!("{why}");
}

#[task]
async fn panics_later(why: String) -> u64 {
    tokio::task::yield_now().await;
    panic!("{why}")
}

#[task]
async fn called(ctx: &TaskContext) -> Option<String> {
    ctx.name().map(Into::into)
}

#[task]
async fn never() -> u64 {
    std::future::pending().await
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Flaky {
    Transient(u32),
    Fatal(u32),
    /// One that the predicate panics of.
    Odd(u32),
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn is_transient(error: &Flaky) -> bool {
    match error {
        Flaky::Transient(_) => true,
        Flaky::Fatal(_) => false,
        Flaky::Odd(_) => panic!("as asked"),
    }
}

/// Owns what it cannot clone.
#[derive(Serialize, Deserialize)]
struct Uncloned(u32);

/// Succeeds at an attempt, with its number.
#[task(retries = 3, retry_on = is_transient)]
fn succeeds_at(ctx: &TaskContext, attempt: Uncloned, of: &[u32], name: String) -> Result<String, Flaky> {
    match ctx.attempt() {
        now if now < attempt.0 => Err(Flaky::Transient(now)),
        now => Ok(format!("{name}: {now} of {of:?}")),
    }
}

#[task(retries = 3, retry_on = is_transient)]
async fn succeeds_later(ctx: &TaskContext, attempt: u32) -> Result<u32, Flaky> {
    tokio::task::yield_now().await;
    match ctx.attempt() {
        now if now < attempt => Err(Flaky::Transient(now)),
        now => Ok(now),
    }
}

#[task(retries = 3, retry_on = is_transient)]
fn fails_as(ctx: &TaskContext, error: Flaky) -> Result<u32, Flaky> {
    match error {
        Flaky::Transient(_) => Err(Flaky::Transient(ctx.attempt())),
        Flaky::Fatal(_) => Err(Flaky::Fatal(ctx.attempt())),
        Flaky::Odd(_) => Err(Flaky::Odd(ctx.attempt())),
    }
}

/// Says that it runs, and fails once it is cancelled.
#[task(retries = 3, retry_on = is_transient)]
fn fails_when_cancelled(ctx: &TaskContext, says: Queue<u32>) -> Result<u32, Flaky> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { says.put(ctx.attempt()).await.expect("a queue that is there") });
    while !ctx.cancelled() {
        std::thread::yield_now();
    }
    runtime.block_on(async { says.put(100).await.expect("a queue that is there") });
    Err(Flaky::Transient(ctx.attempt()))
}

/// Submits tasks of its own.
#[task]
async fn sum_of_squares(ctx: &TaskContext, upto: u64) -> mobula::Result<u64> {
    let cluster = ctx.cluster();
    let squares: Vec<ObjectRef<u64>> = (0..upto).map(|x| square::submit(&cluster, x)).collect();
    Ok(cluster.get_all(&squares).await?.into_iter().sum())
}

#[task]
fn largest<T: Message + Clone + PartialOrd, const N: usize>(items: Vec<T>, least: &T) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().filter(|item| item >= least).collect();
    items.truncate(N);
    items
}

/// Nothing that is passed tells its parameter.
#[task]
async fn default_of<T>() -> T
where
    T: Message + Default,
{
    T::default()
}

#[task]
fn mean<P: bytemuck::Pod + Send + Sync + Into<f64>>(of: &[P]) -> f64 {
    of.iter().map(|&item| item.into()).sum::<f64>() / of.len() as f64
}

#[actor]
struct Account {
    total: u64,
    gate: tokio::sync::watch::Sender<bool>,
}

#[methods(concurrency = 4)]
impl Account {
    #[constructor]
    pub fn with(total: u64) -> Self {
        Self { total, gate: tokio::sync::watch::Sender::new(false) }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }

    pub fn fails(&self) -> Result<u64, Overdrawn> {
        Err(Overdrawn { by: 1 })
    }

    /// Answers once `open` was called.
    pub async fn wait(&self, value: u64) -> mobula::Result<u64> {
        self.gate.subscribe().wait_for(|open| *open).await?;
        Ok(value)
    }

    pub async fn wait_and_fail(&self) -> Result<u64, Overdrawn> {
        let _ = self.gate.subscribe().wait_for(|open| *open).await;
        Err(Overdrawn { by: 2 })
    }

    pub fn open(&self) {
        self.gate.send_replace(true);
    }
}

async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future.into_future()).await.expect("within 60 s")
}

#[tokio::test]
async fn a_task_is_called_as_a_function_submitted_and_awaited() {
    let cluster = Cluster::local().await.unwrap();
    assert_eq!(square(3), 9);
    assert_eq!(add(1, 2).await, 3);
    let submitted: ObjectRef<u64> = square::submit(&cluster, 4);
    assert_eq!(bounded(cluster.get(&submitted)).await, Ok(16));
    assert_eq!(bounded(submitted).await, Ok(16), "a reference is a future");
    assert_eq!(bounded(square::call(&cluster, 5)).await, Ok(25));
    let called: ObjectRef<u64> = add::call(&cluster, 1, 2).submit();
    assert_eq!(bounded(called).await, Ok(3));
}

#[tokio::test]
async fn references_are_passed_where_values_are_before_they_are_there() {
    let cluster = Cluster::local().await.unwrap();
    let account = Account::spawn(&cluster, 1).await.unwrap();
    let put = cluster.put(2_u64).await.unwrap();
    let late = account.wait(3).submit();
    let sum = add::submit(&cluster, square::submit(&cluster, &put), &late);
    let more = square::submit(&cluster, &sum);
    assert!(!sum.is_settled() && !more.is_settled());
    bounded(account.open()).await.unwrap();
    assert_eq!(bounded(cluster.get_all(&[sum, more.clone()])).await, Ok(vec![7, 49]));
    assert_eq!(bounded(account.add(&more)).await, Ok(50), "a result is an actor's argument");
    assert_eq!(bounded(account.add(add::submit(&cluster, more, late))).await, Ok(102));
}

#[tokio::test]
async fn a_call_that_is_dropped_holds_back_nothing_behind_it() {
    let cluster = Cluster::local().await.unwrap();
    let (gate, account) = (Account::spawn(&cluster, 1).await.unwrap(), Account::spawn(&cluster, 1).await.unwrap());
    let late = gate.wait(3).submit();
    let mut first = account.add(&late);
    assert!(futures::poll!(&mut first).is_pending());
    let behind = account.add(1).submit();
    assert!(!behind.is_settled());
    drop(first);
    assert_eq!(bounded(behind).await, Ok(2));
    bounded(gate.open()).await.unwrap();
}

#[tokio::test]
async fn a_chain_of_a_hundred_is_submitted_at_once() {
    let cluster = Cluster::local().await.unwrap();
    let mut last = square::submit(&cluster, 0);
    for _ in 0..100 {
        last = add::submit(&cluster, last, square::submit(&cluster, 1));
    }
    assert_eq!(bounded(last).await, Ok(100));
}

#[tokio::test]
async fn what_is_borrowed_is_lent_of_values_and_of_objects() {
    let cluster = Cluster::local().await.unwrap();
    let floats = cluster.put(vec![1.0_f32, 2.0]).await.unwrap();
    assert_eq!(bounded(floats.clone()).await, Ok(vec![1.0, 2.0]));
    let words = cluster.put(BTreeSet::from(["a".to_owned(), "b".to_owned()])).await.unwrap();
    let described = describe::submit(&cluster, [1.0_f32, 2.5], "some", &words);
    assert_eq!(bounded(described).await.unwrap(), "some: 3.5 of 2, 2, attempt 1");
    let described = describe::call(&cluster, &[1.0_f32][..], String::from("one"), BTreeSet::new());
    assert_eq!(bounded(described).await.unwrap(), "one: 1 of 1, 0, attempt 1");
    assert_eq!(bounded(words).await.unwrap().len(), 2, "what was lent is still there");
    assert_eq!(bounded(describe_later::submit(&cluster, "later", vec![0.0; 3])).await.unwrap(), "later: 3");
}

#[tokio::test]
async fn an_error_arrives_typed_and_with_one_question_mark() {
    let cluster = Cluster::local().await.unwrap();
    async fn twice(cluster: &Cluster) -> Result<u64, GetError<Overdrawn>> {
        let rest = withdraw::call(cluster, 5, 3).await?;
        withdraw::submit(cluster, rest, 3).await
    }
    let error = bounded(twice(&cluster)).await.unwrap_err();
    assert_eq!(error, GetError::App(Overdrawn { by: 1 }));
    assert_eq!(error.executed(), Executed::Yes);
    assert_eq!(bounded(parse::call(&cluster, "12")).await.unwrap(), 12);
    let error = bounded(parse::submit(&cluster, "twelve")).await.unwrap_err();
    assert!(matches!(&error, GetError::App(why) if why.to_string().contains("invalid digit")), "{error}");
}

#[tokio::test]
async fn a_failed_argument_fails_what_depends_on_it_and_says_which() {
    let cluster = Cluster::local().await.unwrap();
    let account = Account::spawn(&cluster, 0).await.unwrap();
    for failed in [withdraw::submit(&cluster, 0, 1), account.fails().submit()] {
        let dependent = add::submit(&cluster, 1, &failed);
        let error = bounded(dependent.clone()).await.unwrap_err();
        let GetError::Argument { object, why, .. } = &error else { panic!("{error}") };
        assert_eq!((*object, &**why), (failed.id(), "overdrawn by 1"));
        assert_eq!(error.executed(), Executed::No);
        let error = bounded(square::submit(&cluster, &dependent)).await.unwrap_err();
        assert!(matches!(&error, GetError::Argument { object, .. } if *object == dependent.id()), "{error}");
        let error = bounded(account.add(&dependent)).await.unwrap_err();
        assert!(matches!(&error, CallError::Argument { object, .. } if *object == dependent.id()), "{error}");
    }
    assert_eq!(bounded(square::submit(&cluster, 2)).await, Ok(4));
}

#[tokio::test]
async fn a_failure_runs_down_a_long_chain() {
    let cluster = Cluster::local().await.unwrap();
    let account = Account::spawn(&cluster, 0).await.unwrap();
    let failed = account.wait_and_fail().submit();
    let mut last = add::submit(&cluster, 0, &failed);
    for at in 0..100_000 {
        last = add::submit(&cluster, at, last);
    }
    bounded(account.open()).await.unwrap();
    let error = bounded(last).await.unwrap_err();
    assert!(matches!(error, GetError::Argument { .. }), "{error}");
}

#[tokio::test]
async fn a_panic_fails_its_task_alone() {
    let cluster = Cluster::local().await.unwrap();
    let name = concat!(env!("CARGO_CRATE_NAME"), "::panics");
    for _ in 0..20 {
        let error = bounded(panics::submit(&cluster, "as asked")).await.unwrap_err();
        assert_eq!(error, GetError::Panicked { what: name.to_owned(), message: "as asked".to_owned() });
        let error = bounded(panics_later::submit(&cluster, "later")).await.unwrap_err();
        assert!(matches!(&error, GetError::Panicked { message, .. } if message == "later"), "{error}");
    }
    assert_eq!(bounded(square::submit(&cluster, 2)).await, Ok(4));
}

#[tokio::test]
async fn tasks_submit_tasks_and_wait_for_them() {
    let cluster = Cluster::local().cpus(2.0).await.unwrap();
    assert_eq!(bounded(sum_of_squares::submit(&cluster, 10)).await.unwrap(), 285);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_at_once_all_run() {
    let cluster = Cluster::local().await.unwrap();
    let squares: Vec<ObjectRef<u64>> = (0..100_000).map(|x| square::submit(&cluster, x)).collect();
    let sums: Vec<ObjectRef<u64>> = squares.iter().map(|x| add::submit(&cluster, x, 1)).collect();
    let sums = bounded(cluster.get_all(&sums)).await.unwrap();
    assert!(sums.iter().zip(0_u64..).all(|(sum, x)| *sum == x * x + 1));
}

#[tokio::test]
async fn more_than_may_be_queued_fail_at_once_and_what_is_queued_runs() {
    for takes in [None, Some(0.5)] {
        let cluster = Cluster::builder().max_queued(3).cpus(1.0).await.unwrap();
        let account = Account::spawn(&cluster, 0).await.unwrap();
        let late = account.wait(3).submit();
        // Each waits for an argument, so none leaves the queue; in a cluster of one process a task that names no resources
        // goes another way.
        let call = || square::call(&cluster, &late);
        let submit = || takes.map_or_else(call, |cpus| call().cpus(cpus)).submit();
        let queued: Vec<_> = (0..3).map(|_| submit()).collect();
        assert_eq!(bounded(submit()).await, Err(GetError::QueueFull { limit: 3 }));
        bounded(account.open()).await.unwrap();
        assert_eq!(bounded(cluster.get_all(&queued)).await, Ok(vec![9, 9, 9]));
        assert_eq!(bounded(submit()).await, Ok(9), "there is room again");
    }
}

#[tokio::test]
async fn a_generic_function_is_a_task_for_each_of_its_types() {
    let cluster = Cluster::local().await.unwrap();
    let words = vec!["a".to_owned(), "c".to_owned(), "b".to_owned()];
    let largest_words = largest::submit::<String, 1>(&cluster, words, "b".to_owned());
    assert_eq!(bounded(largest_words).await.unwrap(), ["c"]);
    assert_eq!(bounded(largest::call::<u8, 3>(&cluster, vec![1, 2, 3], 2)).await.unwrap(), [2, 3]);
    assert_eq!(bounded(default_of::submit::<String>(&cluster)).await.unwrap(), "");
    assert_eq!(bounded(default_of::submit::<u8>(&cluster)).await.unwrap(), 0);
    assert_eq!(bounded(mean::submit::<f32>(&cluster, [1.0, 2.0])).await, Ok(1.5));
    assert_eq!(bounded(mean::submit(&cluster, vec![1_u8, 2])).await, Ok(1.5), "what is passed tells the type");
    assert_eq!((mean(&[1.0_f32]), largest::<u8, 1>(vec![1, 2], &0)), (1.0, vec![1]));
}

async fn a_run_is_called_by_the_name_it_was_given(cluster: &Cluster) {
    assert_eq!(bounded(called::call(cluster).name("May")).await, Ok(Some("May".to_owned())));
    assert_eq!(bounded(called::submit(cluster)).await, Ok(None));
    let function = |name: &str| format!("{}::{name}", env!("CARGO_CRATE_NAME"));
    let error = bounded(panics::call(cluster, "as asked").name("May")).await.unwrap_err();
    let what = format!("May ({})", function("panics"));
    assert_eq!(error, GetError::Panicked { what, message: "as asked".to_owned() });
    let late = bounded(never::call(cluster).name("June").timeout(Duration::from_millis(20))).await.unwrap_err();
    let begins = format!("task `June ({})`: nothing within 20ms", function("never"));
    assert!(late.to_string().starts_with(&begins), "{late}");
    let late = bounded(never::call(cluster).timeout(Duration::from_millis(20))).await.unwrap_err();
    assert!(late.to_string().starts_with(&format!("task `{}`: ", function("never"))), "{late}");
    for name in [String::new(), "n".repeat(257), "two\nlines".to_owned()] {
        let error = bounded(called::call(cluster).name(&name)).await.unwrap_err();
        assert!(error.to_string().contains("is no name for a task's run"), "{error}");
        assert_eq!(error.executed(), Executed::No);
    }
}

async fn an_error_that_the_predicate_accepts_is_worth_another_attempt(cluster: &Cluster) {
    let put = bounded(cluster.put_slice(&[1_u32, 2])).await.unwrap();
    let done = bounded(succeeds_at::submit(cluster, Uncloned(3), &put, "owned")).await;
    assert_eq!(done.as_deref(), Ok("owned: 3 of [1, 2]"), "each attempt has all arguments");
    assert_eq!(bounded(succeeds_later::submit(cluster, 4)).await, Ok(4));
    let error = bounded(succeeds_later::submit(cluster, 5)).await;
    assert_eq!(error, Err(GetError::App(Flaky::Transient(4))), "three further attempts, and no more");
    assert_eq!(bounded(succeeds_later::call(cluster, 6).retries(5)).await, Ok(6));
    assert_eq!(bounded(succeeds_later::call(cluster, 2).cpus(0.5).priority(1)).await, Ok(2));
    assert_eq!(
        bounded(fails_as::call(cluster, Flaky::Transient(0)).retries(0)).await,
        Err(GetError::App(Flaky::Transient(1)))
    );
}

async fn an_error_that_the_predicate_refuses_is_the_result_at_once(cluster: &Cluster) {
    for error in [Flaky::Fatal(1), Flaky::Odd(1)] {
        assert_eq!(bounded(fails_as::submit(cluster, error.clone())).await, Err(GetError::App(error)));
    }
}

async fn a_cancelled_task_is_not_tried_again(cluster: &Cluster) {
    let says = bounded(Queue::bounded(cluster, 4)).await.unwrap();
    let runs = fails_when_cancelled::submit(cluster, says.clone());
    assert_eq!(bounded(says.get()).await, Ok(1));
    cluster.cancel(&runs);
    assert_eq!(bounded(runs).await, Err(GetError::Cancelled { executed: Executed::Maybe }));
    assert_eq!(bounded(says.get()).await, Ok(100), "it has seen that it was cancelled");
    assert_eq!(bounded(square::submit(cluster, 2)).await, Ok(4));
    assert!(bounded(says.is_empty()).await.unwrap(), "no other attempt has begun");
}

/// As many as a node has slots for run at once, however many processors the machine has.
#[task]
fn meets() {
    static ALL: Barrier = Barrier::new(16);
    ALL.wait();
}

#[task(cpus = 0.25)]
fn parts_meet() {
    static ALL: Barrier = Barrier::new(64);
    ALL.wait();
}

#[tokio::test]
async fn a_task_that_has_its_slot_runs_however_few_processors_there_are() {
    let cluster = bounded(Cluster::local().cpus(16.0)).await.unwrap();
    let all: Vec<_> = (0..16).map(|_| meets::submit(&cluster)).collect();
    bounded(cluster.get_all(&all)).await.unwrap();
    let parts: Vec<_> = (0..64).map(|_| parts_meet::submit(&cluster)).collect();
    bounded(cluster.get_all(&parts)).await.unwrap();
    ends_without_a_trace(cluster).await;
}

hold! {
    a_run_is_called_by_the_name_it_was_given
    an_error_that_the_predicate_accepts_is_worth_another_attempt
    an_error_that_the_predicate_refuses_is_the_result_at_once
    a_cancelled_task_is_not_tried_again
}
