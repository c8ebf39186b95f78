//! Actors that save their state: a later run is made of what was saved last, in the place of the constructor.
#![allow(missing_docs)]

mod common;

use common::{bounded, ends_without_a_trace, hold, kill, until};
use mobula::prelude::*;
use mobula::{CheckpointError, EndReason};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

mobula::test_worker!();

/// What is saved of a [`Purse`]. It can refuse to be read again.
#[derive(Serialize)]
pub struct Saved {
    total: u64,
    readable: bool,
}

impl<'de> Deserialize<'de> for Saved {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            total: u64,
            readable: bool,
        }
        let Fields { total, readable } = Fields::deserialize(from)?;
        match readable {
            true => Ok(Saved { total, readable }),
            false => Err(serde::de::Error::custom("as it was told to")),
        }
    }
}

#[actor(restarts = 5)]
pub struct Purse {
    total: u64,
    /// Of how many runs it knows that were made of what was saved.
    restored: u64,
    readable: bool,
    refuses: bool,
}

#[methods]
impl Purse {
    #[constructor]
    pub fn with(total: u64) -> Self {
        Self { total, restored: 0, readable: true, refuses: false }
    }

    pub fn add(&mut self, by: u64) -> u64 {
        self.total += by;
        self.total
    }

    pub async fn saves(&mut self, ctx: &mut ActorContext<Self>) -> Result<u64, CheckpointError> {
        ctx.checkpoint(self).await?;
        Ok(self.total)
    }

    /// Asks for a checkpoint, and goes on before that is sent.
    pub async fn saves_what_was(&mut self, ctx: &mut ActorContext<Self>) -> Result<u64, CheckpointError> {
        let saving = ctx.checkpoint(self);
        self.total += 1_000;
        saving.await?;
        Ok(self.total)
    }

    pub fn be(&mut self, readable: bool, refuses: bool) {
        (self.readable, self.refuses) = (readable, refuses);
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    pub fn state(&self, ctx: &mut ActorContext<Self>) -> (u64, u64, u32) {
        (self.total, self.restored, ctx.incarnation().restart)
    }

    #[checkpoint]
    fn save(&self) -> Result<Saved, String> {
        match self.refuses {
            true => Err("it does not want to".to_owned()),
            false => Ok(Saved { total: self.total, readable: self.readable }),
        }
    }

    #[restore]
    async fn restored(saved: Saved, ctx: &mut ActorContext<Self>) -> Result<Self, String> {
        tokio::task::yield_now().await;
        match saved.total {
            13 => Err("not with thirteen".to_owned()),
            total => Ok(Self {
                total,
                restored: u64::from(ctx.incarnation().restart),
                readable: saved.readable,
                refuses: false,
            }),
        }
    }
}

hold! {
    a_run_after_a_panic_is_made_of_the_last_checkpoint
    without_a_checkpoint_the_constructor_runs
    what_is_saved_is_the_state_when_it_was_asked_for
    one_that_is_refused_leaves_the_former
    what_does_not_decode_ends_the_actor_and_says_so
    what_cannot_be_restored_counts_as_a_failed_start
    an_actor_saves_by_itself_after_so_many_calls
    an_actor_saves_by_itself_every_so_often
    a_crowd_saves_by_itself
    one_that_is_never_started_again_saves_nothing
}

async fn falls(purse: &PurseHandle) {
    assert!(matches!(bounded(purse.falls()).await, Err(CallError::Panicked { .. })));
}

async fn a_run_after_a_panic_is_made_of_the_last_checkpoint(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 10)).await.unwrap();
    for total in [11, 12] {
        bounded(purse.add(1)).await.unwrap();
        assert_eq!(bounded(purse.saves()).await, Ok(total));
    }
    bounded(purse.add(100)).await.unwrap();
    falls(&purse).await;
    assert_eq!(bounded(purse.state()).await, Ok((12, 1, 1)));
    // It is kept for the runs after that as well.
    falls(&purse).await;
    assert_eq!(bounded(purse.state()).await, Ok((12, 2, 2)));
    bounded(purse.add(8)).await.unwrap();
    assert_eq!(bounded(purse.saves()).await, Ok(20));
    falls(&purse).await;
    assert_eq!(bounded(purse.state()).await, Ok((20, 3, 3)));
}

async fn without_a_checkpoint_the_constructor_runs(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 10)).await.unwrap();
    bounded(purse.add(1)).await.unwrap();
    falls(&purse).await;
    assert_eq!(bounded(purse.state()).await, Ok((10, 0, 1)));
}

async fn what_is_saved_is_the_state_when_it_was_asked_for(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 10)).await.unwrap();
    assert_eq!(bounded(purse.saves_what_was()).await, Ok(1_010));
    falls(&purse).await;
    assert_eq!(bounded(purse.state()).await, Ok((10, 1, 1)));
}

async fn one_that_is_refused_leaves_the_former(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 10)).await.unwrap();
    assert_eq!(bounded(purse.saves()).await, Ok(10));
    bounded(purse.add(1)).await.unwrap();
    bounded(purse.be(true, true)).await.unwrap();
    let refused = CheckpointError::Refused { message: "it does not want to".to_owned() };
    assert_eq!(bounded(purse.saves()).await, Err(CallError::App(refused)));
    falls(&purse).await;
    assert_eq!(bounded(purse.state()).await, Ok((10, 1, 1)));
}

async fn what_does_not_decode_ends_the_actor_and_says_so(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 10)).await.unwrap();
    bounded(purse.be(false, false)).await.unwrap();
    assert_eq!(bounded(purse.saves()).await, Ok(10));
    let mut ended = purse.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    falls(&purse).await;
    match bounded(ended).await {
        Ok(EndReason::NotRestored { message }) => assert!(message.contains("as it was told to"), "{message}"),
        other => panic!("{other:?}"),
    }
}

async fn what_cannot_be_restored_counts_as_a_failed_start(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 13).restarts(2)).await.unwrap();
    assert_eq!(bounded(purse.saves()).await, Ok(13));
    let mut ended = purse.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    falls(&purse).await;
    match bounded(ended).await {
        Ok(EndReason::RestartsSpent { restarts: 2, message }) => {
            assert!(message.contains("not with thirteen"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Saves by itself after each third call, and says how often it has.
#[actor(restarts = 3)]
pub struct Third {
    calls: Vec<u64>,
}

#[methods(checkpoint_every = 3)]
impl Third {
    #[constructor]
    pub fn empty() -> Self {
        Self { calls: Vec::new() }
    }

    pub fn note(&mut self, number: u64) -> Vec<u64> {
        self.calls.push(number);
        self.calls.clone()
    }

    pub async fn notes_later(&mut self, number: u64) {
        tokio::task::yield_now().await;
        self.calls.push(number);
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    #[checkpoint]
    fn save(&self) -> Vec<u64> {
        self.calls.clone()
    }

    #[restore]
    fn restored(calls: Vec<u64>) -> Self {
        Self { calls }
    }
}

async fn an_actor_saves_by_itself_after_so_many_calls(cluster: &Cluster) {
    let third = bounded(Third::spawn(cluster)).await.unwrap();
    for number in 1..=4 {
        bounded(third.note(number)).await.unwrap();
    }
    bounded(third.notes_later(5)).await.unwrap();
    assert!(bounded(third.falls()).await.is_err());
    // The panic was the sixth call: what it left behind is gone.
    assert_eq!(bounded(third.note(6)).await.unwrap(), [1, 2, 3, 6]);
}

/// Saves by itself every so often.
#[actor(restarts = 3)]
pub struct Often {
    total: u64,
    restored: bool,
}

#[methods(checkpoint_every = "5ms")]
impl Often {
    #[constructor]
    pub fn empty() -> Self {
        Self { total: 0, restored: false }
    }

    pub fn add(&mut self) {
        self.total += 1;
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    pub fn state(&self) -> (u64, bool) {
        (self.total, self.restored)
    }

    #[checkpoint]
    fn save(&self) -> u64 {
        self.total
    }

    #[restore]
    fn restored(total: u64) -> Self {
        Self { total, restored: true }
    }
}

async fn an_actor_saves_by_itself_every_so_often(cluster: &Cluster) {
    // Whether it has saved by then shows only in what the next run knows; the one that fell before does not count.
    let saved = async {
        loop {
            let often = bounded(Often::spawn(cluster)).await.unwrap();
            bounded(often.add()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(bounded(often.falls()).await.is_err());
            match bounded(often.state()).await.unwrap() {
                (1, true) => break,
                (0, _) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    bounded(saved).await;
}

/// Its `&self` methods run beside one another.
#[actor(restarts = 3)]
pub struct Crowd {
    total: std::sync::atomic::AtomicU64,
}

#[methods(concurrency = 4, checkpoint_every = "5ms")]
impl Crowd {
    #[constructor]
    pub fn empty() -> Self {
        Self { total: 0.into() }
    }

    pub async fn add(&self, by: u64) -> u64 {
        tokio::task::yield_now().await;
        self.total.fetch_add(by, std::sync::atomic::Ordering::Relaxed) + by
    }

    pub async fn saves(&self, ctx: &mut ActorContext<Self>) -> Result<(), CheckpointError> {
        ctx.checkpoint(self).await
    }

    pub async fn falls(&self) {
        panic!("on purpose");
    }

    #[checkpoint]
    fn save(&self) -> u64 {
        self.total.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[restore]
    fn restored(total: u64) -> Self {
        Self { total: total.into() }
    }
}

async fn a_crowd_saves_by_itself(cluster: &Cluster) {
    let crowd = bounded(Crowd::spawn(cluster)).await.unwrap();
    bounded(crowd.add(7)).await.unwrap();
    assert_eq!(bounded(crowd.saves()).await, Ok(()));
    assert!(bounded(crowd.falls()).await.is_err());
    assert_eq!(bounded(crowd.add(0)).await, Ok(7));
    let by_itself = async {
        loop {
            let crowd = bounded(Crowd::spawn(cluster)).await.unwrap();
            bounded(crowd.add(7)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(bounded(crowd.falls()).await.is_err());
            if bounded(crowd.add(0)).await == Ok(7) {
                break;
            }
        }
    };
    bounded(by_itself).await;
}

async fn one_that_is_never_started_again_saves_nothing(cluster: &Cluster) {
    let purse = bounded(Purse::spawn(cluster, 10).restarts(0)).await.unwrap();
    assert_eq!(bounded(purse.saves()).await, Ok(10));
    falls(&purse).await;
    until("its end", || futures::executor::block_on(purse.state().into_future()).is_err()).await;
}

/// Is as large as it is told.
#[actor(restarts = 1)]
pub struct Heavy {
    bytes: Vec<u8>,
    object: Option<ObjectRef<u64>>,
}

#[methods]
impl Heavy {
    #[constructor]
    pub fn empty() -> Self {
        Self { bytes: Vec::new(), object: None }
    }

    pub fn weigh(&mut self, bytes: usize) {
        self.bytes = vec![7; bytes];
    }

    pub fn hold(&mut self, object: Option<ObjectRef<u64>>) {
        self.object = object;
    }

    pub fn weight(&self) -> usize {
        self.bytes.len()
    }

    pub async fn saves(&mut self, ctx: &mut ActorContext<Self>) -> Result<(), CheckpointError> {
        ctx.checkpoint(self).await
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    #[checkpoint]
    fn save(&self) -> (Vec<u8>, Option<ObjectRef<u64>>) {
        (self.bytes.clone(), self.object.clone())
    }

    #[restore]
    fn restored((bytes, object): (Vec<u8>, Option<ObjectRef<u64>>)) -> Self {
        Self { bytes, object }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_leaves_the_former_also_where_another_node_keeps_it() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let heavy = bounded(Heavy::spawn(&cluster)).await.unwrap();
    bounded(heavy.weigh(60_000)).await.unwrap();
    assert_eq!(bounded(heavy.saves()).await, Ok(()));
    bounded(heavy.weigh(70_000)).await.unwrap();
    assert_eq!(bounded(heavy.saves()).await, Ok(()), "too large for the head, and kept by another node");
    bounded(heavy.weigh(1)).await.unwrap();
    let object = bounded(cluster.put(7_u64)).await.unwrap();
    bounded(heavy.hold(Some(object))).await.unwrap();
    assert!(matches!(bounded(heavy.saves()).await, Err(CallError::App(CheckpointError::Encode { .. }))));
    assert!(bounded(heavy.falls()).await.is_err());
    assert_eq!(bounded(heavy.weight()).await, Ok(70_000));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_store_has_room_for_is_refused_and_the_former_stays() {
    let cluster = bounded(Cluster::local().workers(2).store_memory(2 << 20)).await.unwrap();
    let heavy = bounded(Heavy::spawn(&cluster)).await.unwrap();
    bounded(heavy.weigh(100_000)).await.unwrap();
    assert_eq!(bounded(heavy.saves()).await, Ok(()));
    let host = bounded(heavy.process()).await.unwrap();
    bounded(heavy.weigh(3 << 20)).await.unwrap();
    match bounded(heavy.saves()).await {
        Err(CallError::App(CheckpointError::NoKeeper { bytes, why })) => {
            assert!(bytes > 3 << 20 && why.contains("store"), "{bytes}: {why}");
        }
        other => panic!("{other:?}"),
    }
    kill(host);
    let restored = async {
        loop {
            match heavy.weight().await {
                Ok(weight) => return weight,
                Err(error) => assert!(matches!(error, CallError::NodeDied { .. }), "{error:?}"),
            }
        }
    };
    assert_eq!(bounded(restored).await, 100_000);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_its_own_process_keeps_may_be_large_and_refer_to_objects() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let heavy = bounded(Heavy::spawn(&cluster)).await.unwrap();
    let object = bounded(cluster.put(7_u64)).await.unwrap();
    bounded(heavy.hold(Some(object))).await.unwrap();
    bounded(heavy.weigh(1_000_000)).await.unwrap();
    assert_eq!(bounded(heavy.saves()).await, Ok(()));
    assert!(bounded(heavy.falls()).await.is_err());
    assert_eq!(bounded(heavy.weight()).await, Ok(1_000_000));
    bounded(cluster.shutdown()).await;
}
