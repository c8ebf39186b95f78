//! Actors that are started again after a panic: with the arguments that they were made with, behind the same handles.
#![allow(missing_docs)]

mod common;

use common::{bounded, ends_without_a_trace, hold, until};
use mobula::id::Incarnation;
use mobula::prelude::*;
use mobula::{EndReason, Executed, FencingToken, InvalidOption, SpawnError};
use std::sync::Mutex;
use std::time::Duration;

mobula::test_worker!();

/// What others did, in order: it outlives their runs. Nothing of it waits for who waits until it is open.
#[actor]
pub struct Ledger {
    lines: Mutex<Vec<String>>,
    fails: Mutex<u32>,
    open: tokio::sync::watch::Sender<bool>,
}

#[methods(concurrency = 16)]
impl Ledger {
    #[constructor]
    pub fn empty() -> Self {
        Self { lines: Mutex::default(), fails: Mutex::default(), open: tokio::sync::watch::Sender::new(false) }
    }

    pub fn write(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// So many are to fail.
    pub fn let_fail(&self, next: u32) {
        *self.fails.lock().unwrap() = next;
    }

    pub fn left_to_fail(&self) -> u32 {
        *self.fails.lock().unwrap()
    }

    pub fn fails(&self) -> bool {
        let mut fails = self.fails.lock().unwrap();
        let now = *fails > 0;
        *fails = fails.saturating_sub(1);
        now
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub async fn opened(&self) {
        self.open.subscribe().wait_for(|open| *open).await.expect("the sender is this actor's own");
    }
}

#[actor(restarts = 2)]
pub struct Counter {
    total: u64,
    ledger: LedgerHandle,
}

#[methods]
impl Counter {
    #[constructor]
    pub async fn starting_at(total: u64, ledger: LedgerHandle) -> Self {
        ledger.write("made").await.expect("the ledger lives");
        assert!(!ledger.fails().await.expect("the ledger lives"), "as it was told to");
        Self { total, ledger }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }

    pub async fn falls(&mut self) {
        self.ledger.opened().await.expect("the ledger lives");
        panic!("on purpose");
    }

    pub fn run(&self, ctx: &mut ActorContext<Self>) -> (Incarnation, FencingToken) {
        (ctx.incarnation(), ctx.fence())
    }

    pub fn reminds(&self, ctx: &mut ActorContext<Self>, after: Duration) {
        ctx.after(after, |me| me.reminded("once"));
        ctx.every(Duration::from_millis(5), |me| me.reminded("often"));
    }

    pub async fn reminded(&mut self, how: &str) {
        self.ledger.write(how).await.expect("the ledger lives");
    }
}

hold! {
    an_actor_is_started_again_with_its_arguments_behind_its_handle
    calls_that_wait_run_in_the_next_run_in_their_order
    an_actor_ends_with_one_panic_more_than_it_may_be_started_again
    a_constructor_that_fails_again_counts_as_well
    one_that_was_never_made_says_why_and_frees_its_name
    no_timer_of_a_former_run_rings
    what_ran_beside_the_panic_is_told_so
    a_blocking_method_of_the_former_run_ends_before_the_next_begins
    an_actors_end_is_told_when_no_method_of_it_runs_any_more
    an_actor_that_waits_to_be_started_again_can_be_killed
    what_an_argument_refers_to_is_kept
    a_name_stays_with_its_actor
    a_window_of_restarts_has_its_bounds
    a_call_with_retries_runs_again_in_the_next_run_before_what_follows
    calls_that_ran_beside_the_panic_run_again_before_what_waits
    a_call_that_panics_in_each_run_fails_after_its_last_try
    a_call_that_nobody_waits_for_is_not_tried_again
    a_call_that_says_no_retries_has_none
}

async fn counter(cluster: &Cluster) -> (CounterHandle, LedgerHandle) {
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    bounded(ledger.open()).await.unwrap();
    let counter = bounded(Counter::spawn(cluster, 10, ledger.clone())).await.unwrap();
    (counter, ledger)
}

async fn one_that_was_never_made_says_why_and_frees_its_name(cluster: &Cluster) {
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    bounded(ledger.let_fail(3)).await.unwrap();
    for _ in 0..3 {
        match bounded(Counter::spawn(cluster, 1, ledger.clone()).name("counter")).await {
            Err(SpawnError::Panicked { message }) => assert!(message.contains("as it was told to"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    let counter = bounded(Counter::spawn(cluster, 1, ledger).name("counter")).await.unwrap();
    assert_eq!(bounded(counter.add(1)).await, Ok(2));
}

async fn panics(counter: &CounterHandle) {
    match bounded(counter.falls()).await {
        Err(CallError::Panicked { message, .. }) => assert_eq!(message, "on purpose"),
        other => panic!("{other:?}"),
    }
}

async fn an_actor_is_started_again_with_its_arguments_behind_its_handle(cluster: &Cluster) {
    let (counter, ledger) = counter(cluster).await;
    assert_eq!(bounded(counter.add(5)).await, Ok(15));
    let (first, token) = bounded(counter.run()).await.unwrap();
    panics(&counter).await;
    assert_eq!(bounded(counter.add(1)).await, Ok(11), "its state is new");
    let (second, later) = bounded(counter.run()).await.unwrap();
    assert_eq!((first.restart, second.restart, second.placement), (0, 1, first.placement));
    assert!(later > token && later.incarnation == second);
    assert_eq!(bounded(ledger.lines()).await.unwrap(), ["made", "made"]);
}

async fn calls_that_wait_run_in_the_next_run_in_their_order(cluster: &Cluster) {
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    let counter = bounded(Counter::spawn(cluster, 0, ledger.clone())).await.unwrap();
    let falls = counter.falls().submit();
    let waits: Vec<_> = (1..=100).map(|by| counter.add(by).submit()).collect();
    bounded(ledger.open()).await.unwrap();
    let totals = bounded(cluster.get_all(&waits)).await.unwrap();
    let expected: Vec<u64> = (1..=100)
        .scan(0, |total, by| {
            *total += by;
            Some(*total)
        })
        .collect();
    assert_eq!(totals, expected);
    assert!(bounded(falls).await.is_err());
}

async fn an_actor_ends_with_one_panic_more_than_it_may_be_started_again(cluster: &Cluster) {
    let (counter, _ledger) = counter(cluster).await;
    let mut ended = counter.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    for _ in 0..3 {
        panics(&counter).await;
    }
    let spent = EndReason::RestartsSpent { restarts: 2, message: "`falls`: on purpose".to_owned() };
    assert_eq!(bounded(ended).await, Ok(spent.clone()));
    match bounded(counter.add(1)).await {
        Err(CallError::ActorDied { reason, executed: Executed::No, .. }) => {
            assert!(reason == spent || reason == EndReason::Unknown, "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

async fn a_constructor_that_fails_again_counts_as_well(cluster: &Cluster) {
    let (counter, ledger) = counter(cluster).await;
    bounded(ledger.let_fail(1)).await.unwrap();
    panics(&counter).await;
    assert_eq!(bounded(counter.run()).await.unwrap().0.restart, 2, "the first failed");
    assert_eq!(bounded(ledger.lines()).await.unwrap(), ["made"; 3]);
    let other = bounded(Counter::spawn(cluster, 10, ledger.clone()).restarts(1)).await.unwrap();
    bounded(ledger.let_fail(1)).await.unwrap();
    let mut ended = other.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    panics(&other).await;
    match bounded(ended).await {
        Ok(EndReason::RestartsSpent { restarts: 1, message }) => {
            assert!(message.contains("as it was told to"), "{message}")
        }
        end => panic!("{end:?}"),
    }
}

async fn no_timer_of_a_former_run_rings(cluster: &Cluster) {
    let (counter, ledger) = counter(cluster).await;
    bounded(counter.reminds(Duration::from_millis(1))).await.unwrap();
    let rung = async { while !bounded(ledger.lines()).await.unwrap().iter().any(|line| line == "often") {} };
    bounded(rung).await;
    panics(&counter).await;
    // What had rung before stands in the mailbox; this comes after it.
    bounded(counter.add(0)).await.unwrap();
    let before = bounded(ledger.lines()).await.unwrap();
    bounded(counter.reminds(Duration::from_secs(3_600))).await.unwrap();
    let again = async { while bounded(ledger.lines()).await.unwrap().len() < before.len() + 10 {} };
    bounded(again).await;
    let lines = bounded(ledger.lines()).await.unwrap();
    assert_eq!(lines.iter().filter(|line| *line == "once").count(), 1);
    // One timer of five milliseconds rings, not two: the other would have left its lines among these.
    panics(&counter).await;
    bounded(counter.add(0)).await.unwrap();
    let silent = bounded(ledger.lines()).await.unwrap().len();
    for _ in 0..20 {
        bounded(counter.add(0)).await.unwrap();
    }
    assert_eq!(bounded(ledger.lines()).await.unwrap().len(), silent, "nothing rings any more");
}

#[actor(restarts = 4, restart_window = "1h")]
pub struct Crowd {
    ledger: LedgerHandle,
}

#[methods(concurrency = 8)]
impl Crowd {
    #[constructor]
    pub fn with(ledger: LedgerHandle) -> Self {
        Self { ledger }
    }

    pub async fn stays(&self) {
        self.ledger.write("stays").await.expect("the ledger lives");
        std::future::pending().await
    }

    #[method(blocking)]
    pub fn computes(&self, begun: &str, end: &str) -> bool {
        let made = std::fs::File::create(begun).is_ok();
        while !std::path::Path::new(end).exists() {
            std::thread::yield_now();
        }
        made
    }

    pub async fn falls(&self) {
        panic!("on purpose");
    }

    pub fn run(&self, ctx: &mut ActorContext<Self>) -> u32 {
        ctx.incarnation().restart
    }
}

async fn what_ran_beside_the_panic_is_told_so(cluster: &Cluster) {
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    let crowd = bounded(Crowd::spawn(cluster, ledger.clone())).await.unwrap();
    let stays: Vec<_> = (0..2).map(|_| tokio::spawn(crowd.stays().into_future())).collect();
    let submitted = crowd.stays().submit();
    let begun = async { while bounded(ledger.lines()).await.unwrap().len() < 3 {} };
    bounded(begun).await;
    assert!(matches!(bounded(crowd.falls()).await, Err(CallError::Panicked { .. })));
    for each in stays {
        let told = bounded(each).await.unwrap();
        assert_eq!(told, Err(CallError::ActorRestarted { actor: crowd.id(), executed: Executed::Maybe }));
    }
    let told = bounded(submitted).await;
    assert_eq!(told, Err(GetError::ActorRestarted { actor: crowd.id(), executed: Executed::Maybe }));
    assert_eq!(bounded(crowd.run()).await, Ok(1));
}

/// A crowd whose blocking method runs until a file is there.
async fn computing(
    cluster: &Cluster,
    folder: &std::path::Path,
) -> (CrowdHandle, tokio::task::JoinHandle<Result<bool, CallError>>, String) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (begun, end) = (path("begun"), path("end"));
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    let crowd = bounded(Crowd::spawn(cluster, ledger)).await.unwrap();
    let computes = tokio::spawn(crowd.computes(&begun, &end).into_future());
    until("the blocking method", || std::path::Path::new(&begun).exists()).await;
    (crowd, computes, end)
}

async fn a_blocking_method_of_the_former_run_ends_before_the_next_begins(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let (crowd, computes, end) = computing(cluster, folder.path()).await;
    assert!(matches!(bounded(crowd.falls()).await, Err(CallError::Panicked { .. })));
    let next = crowd.run().timeout(Duration::from_millis(50));
    assert!(matches!(bounded(next).await, Err(CallError::Timeout { .. })), "the former run has not ended");
    std::fs::File::create(&end).unwrap();
    assert_eq!(bounded(computes).await.unwrap(), Ok(true), "it returned");
    assert_eq!(bounded(crowd.run()).await, Ok(1));
}

async fn an_actors_end_is_told_when_no_method_of_it_runs_any_more(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let (crowd, computes, end) = computing(cluster, folder.path()).await;
    let mut killed = crowd.kill();
    let early = tokio::time::timeout(Duration::from_millis(50), &mut killed).await;
    assert!(early.is_err(), "{early:?}: the method runs");
    std::fs::File::create(&end).unwrap();
    assert_eq!(bounded(killed).await, Ok(EndReason::Killed));
    assert_eq!(bounded(computes).await.unwrap(), Ok(true), "it returned");
}

async fn an_actor_that_waits_to_be_started_again_can_be_killed(cluster: &Cluster) {
    let (_, ledger) = counter(cluster).await;
    let counter = bounded(Counter::spawn(cluster, 10, ledger.clone()).restarts(u32::MAX)).await.unwrap();
    bounded(ledger.let_fail(u32::MAX)).await.unwrap();
    panics(&counter).await;
    let waits = counter.add(1).submit();
    assert_eq!(bounded(counter.kill()).await, Ok(EndReason::Killed));
    assert!(bounded(waits).await.is_err());
}

#[actor(restarts = 1)]
pub struct Keeper {
    kept: Vec<u8>,
}

#[methods]
impl Keeper {
    #[constructor]
    pub fn of(kept: &[u8]) -> Self {
        Self { kept: kept.to_vec() }
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    pub fn kept(&self) -> Vec<u8> {
        self.kept.clone()
    }
}

async fn what_an_argument_refers_to_is_kept(cluster: &Cluster) {
    let object = bounded(cluster.put_slice(&[7_u8; 200_000])).await.unwrap();
    let keeper = bounded(Keeper::spawn(cluster, &object)).await.unwrap();
    drop(object);
    assert!(bounded(keeper.falls()).await.is_err());
    assert!(bounded(keeper.kept()).await.unwrap() == [7; 200_000]);
}

async fn a_name_stays_with_its_actor(cluster: &Cluster) {
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    bounded(ledger.open()).await.unwrap();
    let counter = bounded(Counter::spawn(cluster, 3, ledger.clone()).name("restarts")).await.unwrap();
    panics(&counter).await;
    let found = bounded(cluster.lookup::<Counter>("restarts")).await.unwrap();
    assert_eq!(bounded(found.add(1)).await, Ok(4));
    assert_eq!(bounded(found.run()).await.unwrap().0.restart, 1);
}

async fn a_window_of_restarts_has_its_bounds(cluster: &Cluster) {
    let (_, ledger) = counter(cluster).await;
    for window in [Duration::ZERO, Duration::from_secs(25 * 3_600)] {
        let refused = bounded(Counter::spawn(cluster, 1, ledger.clone()).restart_window(window)).await;
        assert_eq!(refused.err(), Some(SpawnError::Invalid(InvalidOption::RestartWindow(window))));
    }
    let allowed = Counter::spawn(cluster, 1, ledger).restart_window(Duration::from_secs(1)).restarts(1);
    panics(&bounded(allowed).await.unwrap()).await;
}

/// Panics as often as its ledger says.
#[actor(restarts = 8)]
pub struct Stumbler {
    ledger: LedgerHandle,
}

#[methods(concurrency = 4, retries = 2)]
impl Stumbler {
    #[constructor]
    pub fn with(ledger: LedgerHandle) -> Self {
        Self { ledger }
    }

    /// Needs the actor for itself.
    pub async fn alone(&mut self, word: &str) -> String {
        self.writes(word).await;
        assert!(!self.ledger.fails().await.expect("the ledger lives"), "as it was told to");
        word.to_owned()
    }

    pub async fn beside(&self, word: &str) -> String {
        self.writes(word).await;
        self.ledger.opened().await.expect("the ledger lives");
        assert!(!self.ledger.fails().await.expect("the ledger lives"), "as it was told to");
        word.to_owned()
    }

    #[method(retries = 0)]
    pub async fn once(&mut self, word: &str) -> String {
        self.alone(word).await
    }

    async fn writes(&self, word: &str) {
        self.ledger.write(word).await.expect("the ledger lives");
    }
}

async fn stumbler(cluster: &Cluster, falls: u32) -> (StumblerHandle, LedgerHandle) {
    let ledger = bounded(Ledger::spawn(cluster)).await.unwrap();
    bounded(ledger.let_fail(falls)).await.unwrap();
    (bounded(Stumbler::spawn(cluster, ledger.clone())).await.unwrap(), ledger)
}

async fn a_call_with_retries_runs_again_in_the_next_run_before_what_follows(cluster: &Cluster) {
    let (stumbler, ledger) = stumbler(cluster, 2).await;
    let first = stumbler.alone("first").submit();
    bounded(stumbler.alone("second").tell()).await.unwrap();
    let third = stumbler.alone("third").submit();
    assert_eq!(bounded(first).await.unwrap(), "first");
    assert_eq!(bounded(third).await.unwrap(), "third");
    let lines = bounded(ledger.lines()).await.unwrap();
    assert_eq!(lines, ["first", "first", "first", "second", "third"]);
    // A tell is tried again as well.
    bounded(ledger.let_fail(1)).await.unwrap();
    bounded(stumbler.alone("told").tell()).await.unwrap();
    assert_eq!(bounded(stumbler.alone("last")).await.unwrap(), "last");
    assert_eq!(bounded(ledger.lines()).await.unwrap()[5..], ["told", "told", "last"]);
}

async fn calls_that_ran_beside_the_panic_run_again_before_what_waits(cluster: &Cluster) {
    let (stumbler, ledger) = stumbler(cluster, 1).await;
    let words = ["1", "2", "3", "4", "5", "6"];
    let calls: Vec<_> = words.iter().map(|word| stumbler.beside(*word).submit()).collect();
    let begun = async { while bounded(ledger.lines()).await.unwrap().len() < 4 {} };
    bounded(begun).await;
    bounded(ledger.open()).await.unwrap();
    for (word, call) in words.iter().zip(calls) {
        assert_eq!(bounded(call).await.unwrap(), *word);
    }
    let lines = bounded(ledger.lines()).await.unwrap();
    // Some had ended before the panic, and do not run again: those that do come before any that had not begun.
    let again = lines.iter().skip(4).position(|line| line == "5" || line == "6").unwrap_or(0);
    assert!(lines[4..4 + again].is_sorted() && again <= 4, "{lines:?}");
    assert!(words.iter().all(|word| lines.iter().filter(|line| line == word).count() <= 2), "{lines:?}");
}

async fn a_call_that_panics_in_each_run_fails_after_its_last_try(cluster: &Cluster) {
    let (stumbler, ledger) = stumbler(cluster, 100).await;
    for (call, tries) in [(stumbler.alone("it"), 3), (stumbler.alone("it").retries(1), 2)] {
        let before = bounded(ledger.lines()).await.unwrap().len();
        match bounded(call).await {
            Err(CallError::Panicked { message, .. }) => assert_eq!(message, "as it was told to"),
            other => panic!("{other:?}"),
        }
        assert_eq!(bounded(ledger.lines()).await.unwrap().len(), before + tries);
    }
}

async fn a_call_that_nobody_waits_for_is_not_tried_again(cluster: &Cluster) {
    let (stumbler, ledger) = stumbler(cluster, 1).await;
    let mut late = stumbler.beside("late");
    assert!(futures::poll!(&mut late).is_pending());
    bounded(async { while ledger.lines().await.unwrap().is_empty() {} }).await;
    drop(late);
    bounded(ledger.open()).await.unwrap();
    bounded(async { while ledger.left_to_fail().await.unwrap() > 0 {} }).await;
    assert_eq!(bounded(stumbler.beside("next")).await.unwrap(), "next");
    let lines = bounded(ledger.lines()).await.unwrap();
    assert!(lines.iter().filter(|line| *line == "late").count() == 1, "{lines:?}");
}

async fn a_call_that_says_no_retries_has_none(cluster: &Cluster) {
    let (stumbler, ledger) = stumbler(cluster, 1).await;
    assert!(matches!(bounded(stumbler.once("it")).await, Err(CallError::Panicked { .. })));
    assert_eq!(bounded(ledger.lines()).await.unwrap(), ["it"]);
}
