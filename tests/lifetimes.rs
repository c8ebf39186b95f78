//! How long actors live: until their last handle is gone, wherever it went; and what detached and named ones do instead.

mod common;

use common::*;
use mobula::prelude::*;
use mobula::{CallError, EndReason};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mobula::test_worker!();

/// Counts what it is told, and says how much that was when it stops.
#[actor]
struct Tally {
    count: u64,
    report: Option<TallyHandle>,
    own: Option<TallyHandle>,
}

#[methods]
impl Tally {
    #[constructor(default)]
    pub fn new() -> Self {
        Self { count: 0, report: None, own: None }
    }

    /// One that tells `report` what it counted when it stops.
    #[constructor]
    pub fn reporting(report: TallyHandle) -> Self {
        Self { count: 0, report: Some(report), own: None }
    }

    pub fn add(&mut self, by: u64) {
        self.count += by;
    }

    pub fn add_all(&mut self, all: Vec<u64>) {
        self.count += all.iter().sum::<u64>();
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn weak(&self, ctx: &mut ActorContext<Self>) -> TallyHandle {
        ctx.handle()
    }

    pub fn counted(&self, ctx: &mut ActorContext<Self>) -> TallyHandle {
        ctx.counted_handle()
    }

    pub fn keep_itself(&mut self, ctx: &mut ActorContext<Self>) {
        self.own = Some(ctx.counted_handle());
    }

    pub fn let_itself_go(&mut self) {
        self.own = None;
    }

    #[on_stop]
    async fn reports(&mut self, _: &mut ActorContext<Self>) {
        if let Some(report) = &self.report {
            let _ = report.add(self.count).await;
        }
    }
}

/// Holds handles of others.
#[actor]
struct Holder {
    held: Vec<TallyHandle>,
    object: Option<ObjectRef<Vec<TallyHandle>>>,
}

#[methods]
impl Holder {
    #[constructor]
    pub fn new() -> Self {
        Self { held: Vec::new(), object: None }
    }

    pub fn hold(&mut self, handle: TallyHandle) {
        self.held.push(handle);
    }

    pub fn hold_object(&mut self, object: Vec<ObjectRef<Vec<TallyHandle>>>) {
        self.object = object.into_iter().next();
    }

    pub async fn open(&mut self) -> mobula::Result<()> {
        if let Some(object) = self.object.take() {
            self.held.extend(object.await?);
        }
        Ok(())
    }

    pub async fn pass_on(&mut self, to: HolderHandle) -> mobula::Result<()> {
        for handle in self.held.drain(..) {
            to.hold(handle).await?;
        }
        Ok(())
    }

    /// Tells all it holds, and lets go at once.
    pub async fn tell_and_forget(&mut self, times: u64) -> mobula::Result<()> {
        for handle in self.held.drain(..) {
            for _ in 0..times {
                handle.add(1).tell().await?;
            }
        }
        Ok(())
    }

    pub async fn make(&self, ctx: &mut ActorContext<Self>, length: usize) -> mobula::Result<ObjectRef<Vec<u64>>> {
        Ok(ctx.cluster().put(vec![1; length]).await?)
    }

    pub async fn sees_ends(&mut self) -> mobula::Result<Vec<EndReason>> {
        let mut reasons = Vec::new();
        for handle in &self.held {
            reasons.push(handle.ended().await?);
        }
        Ok(reasons)
    }

    pub fn forget(&mut self) {
        self.held.clear();
        self.object = None;
    }

    pub async fn spawn_there(&mut self, ctx: &mut ActorContext<Self>) -> mobula::Result<TallyHandle> {
        Ok(Tally::spawn(&ctx.cluster()).await?)
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Watches for an actor's end from now on, without keeping it.
async fn watched<H: Handle>(tally: &H) -> impl Future<Output = Result<EndReason, CallError>> + use<H> {
    let mut ended = Box::pin(tally.ended());
    assert!(futures::poll!(&mut ended).is_pending(), "it lives");
    ended
}

/// An actor stopped by itself, with nobody asking for it.
async fn stops(ended: impl IntoFuture<Output = Result<EndReason, CallError>>) {
    assert_eq!(bounded(ended).await, Ok(EndReason::Stopped));
}

/// A driver and two workers: one holder on each.
async fn holders(cluster: &Cluster) -> [HolderHandle; 2] {
    let [one, two] = workers(cluster)[..] else { panic!("two workers") };
    [bounded(Holder::spawn(cluster).on(one.0)).await.unwrap(), bounded(Holder::spawn(cluster).on(two.0)).await.unwrap()]
}

#[tokio::test]
async fn an_actor_stops_with_its_last_handle_and_runs_what_it_was_told_first() {
    let cluster = Cluster::local().await.unwrap();
    let report = Tally::spawn(&cluster).await.unwrap();
    let tally = Tally::spawn_reporting(&cluster, report.clone()).await.unwrap();
    let clone = tally.clone();
    let ended = watched(&clone).await;
    for _ in 0..500 {
        tally.add(1).tell().await.unwrap();
    }
    drop(tally);
    assert_eq!(bounded(clone.count()).await, Ok(500), "a clone keeps it");
    let last = clone.add(1).submit();
    drop(clone);
    bounded(last).await.unwrap();
    stops(ended).await;
    assert_eq!(bounded(report.count()).await, Ok(501), "and `on_stop` ran");
}

#[tokio::test]
async fn its_own_handle_keeps_an_actor_only_if_it_asks_for_that() {
    let cluster = Cluster::local().await.unwrap();
    let tally = Tally::spawn(&cluster).await.unwrap();
    let (ended, weak) = (watched(&tally).await, bounded(tally.weak()).await.unwrap());
    drop(tally);
    stops(ended).await;
    assert!(bounded(weak.count()).await.is_err());

    let tally = Tally::spawn(&cluster).await.unwrap();
    let (ended, counted) = (watched(&tally).await, bounded(tally.counted()).await.unwrap());
    drop(tally);
    assert_eq!(bounded(counted.count()).await, Ok(0));
    let weak = bounded(counted.weak()).await.unwrap();
    bounded(counted.keep_itself()).await.unwrap();
    drop(counted);
    assert_eq!(bounded(weak.count()).await, Ok(0), "it keeps itself");
    bounded(weak.let_itself_go()).await.unwrap();
    stops(ended).await;
}

#[tokio::test]
async fn handles_in_the_state_of_others_and_in_objects_keep_an_actor() {
    let cluster = Cluster::local().await.unwrap();
    let holder = Holder::spawn(&cluster).await.unwrap();
    let tally = Tally::spawn(&cluster).await.unwrap();
    let ended = watched(&tally).await;
    holder.hold(&tally).await.unwrap();
    let object = cluster.put(vec![tally.clone()]).await.unwrap();
    drop(tally);
    bounded(holder.forget()).await.unwrap();
    let inside = bounded(cluster.get(&object)).await.unwrap();
    assert_eq!(bounded(inside[0].count()).await, Ok(0));
    drop(object);
    assert_eq!(bounded(inside[0].count()).await, Ok(0));
    drop(inside);
    stops(ended).await;
}

#[tokio::test]
async fn actors_that_hold_each_other_go_with_who_held_them() {
    let cluster = Cluster::local().await.unwrap();
    let holder = Holder::spawn(&cluster).await.unwrap();
    let tally = Tally::spawn(&cluster).await.unwrap();
    let (ended, holder_ended) = (watched(&tally).await, watched(&holder).await);
    bounded(holder.hold(tally)).await.unwrap();
    drop(holder);
    stops(holder_ended).await;
    stops(ended).await;
}

#[tokio::test]
async fn a_detached_actor_needs_no_handle_and_a_named_one_does() {
    let cluster = Cluster::local().await.unwrap();
    drop(Tally::spawn(&cluster).name("detached").detached().await.unwrap());
    let found = bounded(Tally::lookup(&cluster, "detached")).await.unwrap();
    assert_eq!(bounded(found.count()).await, Ok(0));
    bounded(found.stop()).await.unwrap();

    let named = Tally::spawn(&cluster).name("named").await.unwrap();
    let found = bounded(Tally::lookup(&cluster, "named")).await.unwrap();
    let ended = watched(&named).await;
    drop(named);
    assert_eq!(bounded(found.count()).await, Ok(0), "one that was looked up keeps it");
    drop(found);
    stops(ended).await;
    assert!(bounded(Tally::lookup(&cluster, "named")).await.is_err(), "its name is free");
    bounded(Tally::spawn(&cluster).name("named")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_in_another_process_stops_with_its_last_handle_and_runs_what_it_was_told_first() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let report = bounded(Tally::spawn(&cluster)).await.unwrap();
    for _ in 0..10 {
        let tally = bounded(Tally::spawn_reporting(&cluster, report.clone())).await.unwrap();
        assert_ne!(bounded(tally.process()).await, Ok(std::process::id()));
        let ended = watched(&tally).await;
        for _ in 0..100 {
            tally.add(1).tell().await.unwrap();
        }
        drop(tally);
        stops(ended).await;
    }
    assert_eq!(bounded(report.count()).await, Ok(1_000));
    ends_without_a_trace(cluster).await;
}

/// The owner of the argument stands still while the call arrives and its actor is asked to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_its_argument_at_the_host_runs_before_a_stop_that_came_after_it() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = holders(&cluster).await;
    let owner = bounded(two.process()).await.unwrap();
    let report = bounded(Tally::spawn(&cluster)).await.unwrap();
    let length = 200_000;
    for asks in [false, true] {
        let borrowed: ObjectRef<Vec<u64>> = bounded(two.make(length)).await.unwrap();
        let spawned = Tally::spawn_reporting(&cluster, report.clone()).on(workers(&cluster)[0].0);
        let tally = bounded(spawned).await.unwrap();
        let (weak, ended) = (bounded(tally.weak()).await.unwrap(), watched(&tally).await);
        assert_eq!(bounded(cluster.get(&borrowed)).await.unwrap().len(), length, "known to be there");
        signal(owner, Signal::STOP);
        bounded(tally.add_all(&borrowed).tell()).await.unwrap();
        bounded(tally.add(1).tell()).await.unwrap();
        if asks {
            let mut stop = Box::pin(weak.stop().into_future());
            assert!(futures::poll!(&mut stop).is_pending());
        }
        drop(tally);
        // Through the same link, behind the stop.
        bounded(one.process()).await.unwrap();
        signal(owner, Signal::CONT);
        stops(ended).await;
    }
    assert_eq!(bounded(report.count()).await, Ok(2 * (length as u64 + 1)));
    drop((one, two));
    ends_without_a_trace(cluster).await;
}

/// For longer than the calls to a silent node wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_stands_still_for_a_while_loses_no_object() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = holders(&cluster).await;
    let owner = bounded(two.process()).await.unwrap();
    let make = async || -> ObjectRef<Vec<u64>> { bounded(two.make(1_000)).await.unwrap() };
    let [before, meanwhile, passed] = [make().await, make().await, make().await];
    signal(owner, Signal::STOP);
    let mut asked_before = Box::pin(cluster.get(&before).into_future());
    assert!(futures::poll!(&mut asked_before).is_pending());
    let call = bounded(two.process()).await;
    assert!(matches!(call, Err(CallError::Unreachable { .. })), "calls do not wait so long: {call:?}");
    let mut asked_meanwhile = Box::pin(cluster.get(&meanwhile).into_future());
    assert!(futures::poll!(&mut asked_before).is_pending() && futures::poll!(&mut asked_meanwhile).is_pending());
    let report = bounded(Tally::spawn(&cluster).on(workers(&cluster)[0].0)).await.unwrap();
    let mut called = Box::pin(report.add_all(&passed).into_future());
    assert!(futures::poll!(&mut called).is_pending());
    signal(owner, Signal::CONT);
    bounded(called).await.unwrap();
    for got in [bounded(asked_before).await, bounded(asked_meanwhile).await] {
        assert_eq!(got.unwrap().len(), 1_000);
    }
    assert_eq!(bounded(report.count()).await, Ok(1_000));
    drop((one, two));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_keep_an_actor_wherever_they_went() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = holders(&cluster).await;
    let report = bounded(Tally::spawn(&cluster)).await.unwrap();
    let tally = bounded(Tally::spawn_reporting(&cluster, report.clone())).await.unwrap();
    let (weak, ended) = (bounded(tally.weak()).await.unwrap(), watched(&tally).await);
    bounded(one.hold(tally)).await.unwrap();
    assert_eq!(bounded(weak.count()).await, Ok(0), "another process holds it");
    bounded(one.pass_on(two.clone())).await.unwrap();
    assert_eq!(bounded(weak.count()).await, Ok(0), "and one to which that one gave it");
    bounded(two.tell_and_forget(300)).await.unwrap();
    stops(ended).await;
    assert_eq!(bounded(report.count()).await, Ok(300), "what its last holder told it ran first");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_of_an_actor_that_is_known_to_have_ended_are_given_back_as_well() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = holders(&cluster).await;
    let lent = || cluster.shared_objects().lent;
    let before = lent();
    let on = workers(&cluster)[0].0;
    let tallies =
        [bounded(Tally::spawn(&cluster).on(on)).await.unwrap(), bounded(Tally::spawn(&cluster).on(on)).await.unwrap()];
    for (tally, holder) in tallies.iter().zip([&one, &two]) {
        bounded(holder.hold(tally.clone())).await.unwrap();
    }
    assert_eq!(lent(), before + 2, "one in the process that hosts both, one in the other");
    for tally in &tallies {
        assert_eq!(bounded(tally.kill()).await, Ok(EndReason::Killed));
    }
    for holder in [&one, &two] {
        assert_eq!(bounded(holder.sees_ends()).await, Ok(vec![EndReason::Killed]));
        bounded(holder.forget()).await.unwrap();
    }
    until("they are given back", || lent() == before).await;
    drop((tallies, one, two));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_inside_an_object_of_another_process_keeps_an_actor() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = holders(&cluster).await;
    let tally = bounded(Tally::spawn(&cluster)).await.unwrap();
    let (weak, ended) = (bounded(tally.weak()).await.unwrap(), watched(&tally).await);
    let object = cluster.put(vec![tally.clone()]).await.unwrap();
    bounded(one.hold_object(vec![object.clone()])).await.unwrap();
    bounded(two.hold_object(vec![object.clone()])).await.unwrap();
    drop((tally, object));
    assert_eq!(bounded(weak.count()).await, Ok(0), "the object holds it");
    bounded(one.open()).await.unwrap();
    bounded(two.forget()).await.unwrap();
    assert_eq!(bounded(weak.count()).await, Ok(0), "and who read it there");
    bounded(one.forget()).await.unwrap();
    stops(ended).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_looked_up_elsewhere_keeps_its_actor() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, _] = holders(&cluster).await;
    let named = bounded(Tally::spawn(&cluster).name("named")).await.unwrap();
    let (weak, ended) = (bounded(named.weak()).await.unwrap(), watched(&named).await);
    let seeker = bounded(Seeker::spawn(&cluster).on(workers(&cluster)[0].0)).await.unwrap();
    bounded(seeker.seek("named")).await.unwrap();
    drop(named);
    assert_eq!(bounded(weak.count()).await, Ok(0));
    bounded(seeker.forget()).await.unwrap();
    stops(ended).await;
    drop(one);
    ends_without_a_trace(cluster).await;
}

/// Finds others by their names.
#[actor]
struct Seeker {
    found: Vec<TallyHandle>,
}

#[methods]
impl Seeker {
    #[constructor]
    pub fn new() -> Self {
        Self { found: Vec::new() }
    }

    pub async fn seek(&mut self, name: String, ctx: &mut ActorContext<Self>) -> mobula::Result<u64> {
        self.found.push(ctx.cluster().lookup::<Tally>(name).await?);
        Ok(self.found[0].count().await?)
    }

    pub fn forget(&mut self) {
        self.found.clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_held_is_let_go_and_what_it_spawned_ends() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = holders(&cluster).await;
    let victim = bounded(two.process()).await.unwrap();
    // Hosted by the one that lives, whatever dies.
    let tally = bounded(Tally::spawn(&cluster).on(workers(&cluster)[0].0)).await.unwrap();
    let (weak, ended) = (bounded(tally.weak()).await.unwrap(), watched(&tally).await);
    bounded(two.hold(tally)).await.unwrap();
    let theirs = bounded(two.spawn_there()).await.unwrap();
    let theirs_ended = watched(&theirs).await;
    assert_eq!(bounded(weak.count()).await, Ok(0));
    kill(victim);
    stops(ended).await;
    let reason = bounded(theirs_ended).await;
    assert!(matches!(reason, Ok(EndReason::OwnerDied | EndReason::NodeDied)), "{reason:?}");
    drop((one, theirs));
    bounded(cluster.shutdown()).await;
}

#[tokio::test]
async fn calls_that_are_under_way_keep_their_actor() {
    let cluster = Cluster::local().await.unwrap();
    let (runs, tells) = (Arc::new(AtomicU64::new(0)), 50);
    for _ in 0..tells {
        let tally = Tally::spawn(&cluster).await.unwrap();
        let call = tally.count();
        drop(tally);
        assert_eq!(bounded(call).await, Ok(0), "one that was made and not sent");
        runs.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(runs.load(Ordering::Relaxed), tells);
}
