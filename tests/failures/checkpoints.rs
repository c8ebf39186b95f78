//! Actors that save their state, and go on from there when their node, or the head that keeps it, is killed.

use crate::common::*;
use crate::heads::Keys;
use mobula::id::Incarnation;
use mobula::prelude::*;
use mobula::{CheckpointError, EndReason};
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::Path;
use std::time::Duration;

/// Short enough to wait for its end.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// What is saved: whether it can be read again is said in it.
#[derive(Serialize)]
pub struct Saved {
    total: u64,
    friend: Option<TillHandle>,
    readable: bool,
}

impl<'de> Deserialize<'de> for Saved {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            total: u64,
            friend: Option<TillHandle>,
            readable: bool,
        }
        let Fields { total, friend, readable } = Fields::deserialize(from)?;
        if !readable {
            return Err(serde::de::Error::custom("as it was told to"));
        }
        Ok(Saved { total, friend, readable })
    }
}

#[actor(restarts = 3)]
pub struct Till {
    total: u64,
    friend: Option<TillHandle>,
    restored: bool,
}

#[methods]
impl Till {
    #[constructor]
    pub fn with(total: u64) -> Self {
        Self { total, friend: None, restored: false }
    }

    /// Is answered once it is safe.
    pub async fn add(&mut self, by: u64, ctx: &mut ActorContext<Self>) -> Result<u64, CheckpointError> {
        self.total += by;
        ctx.checkpoint(self).await?;
        Ok(self.total)
    }

    pub async fn befriend(&mut self, friend: TillHandle, ctx: &mut ActorContext<Self>) -> Result<(), CheckpointError> {
        self.friend = Some(friend);
        ctx.checkpoint(self).await
    }

    pub async fn asks_its_friend(&self) -> mobula::Result<(u64, bool)> {
        Ok(self.friend.as_ref().ok_or("it has none")?.state().await?)
    }

    /// Saves what is never read again.
    pub async fn spoils(&mut self, ctx: &mut ActorContext<Self>) -> Result<(), CheckpointError> {
        self.total = u64::MAX;
        ctx.checkpoint(self).await
    }

    /// Adds and saves again and again, and notes in a file what was said of each.
    pub async fn goes_on(&mut self, file: String, ctx: &mut ActorContext<Self>) -> mobula::Result<()> {
        loop {
            self.total += 1;
            let outcome = ctx.checkpoint(self).await;
            std::fs::write(&file, format!("{outcome:?}"))?;
        }
    }

    pub fn state(&self) -> (u64, bool) {
        (self.total, self.restored)
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn run(&self, ctx: &mut ActorContext<Self>) -> Incarnation {
        ctx.incarnation()
    }

    #[checkpoint]
    fn save(&self) -> Saved {
        Saved { total: self.total, friend: self.friend.clone(), readable: self.total < u64::MAX }
    }

    #[restore]
    fn restored(saved: Saved) -> Self {
        Self { total: saved.total, friend: saved.friend, restored: true }
    }
}

/// Asks until it is found on another node.
async fn state(till: &TillHandle) -> (u64, bool) {
    found(|| till.state()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_whose_process_is_killed_goes_on_from_its_last_checkpoint() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let till = bounded(Till::spawn(&cluster, 5)).await.unwrap();
    let first = bounded(till.run()).await.unwrap();
    for by in 1..=20 {
        bounded(till.add(by)).await.unwrap();
    }
    kill(bounded(till.process()).await.unwrap());
    assert_eq!(state(&till).await, (215, true));
    assert!(bounded(till.run()).await.unwrap().placement > first.placement);
    // Its new node saves in the place of what the former had saved.
    assert_eq!(bounded(till.add(5)).await, Ok(220));
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_inside_of_a_checkpoint_reach_their_actors_from_the_next_node() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let friend = bounded(Till::spawn(&cluster, 77)).await.unwrap();
    let till = bounded(Till::spawn(&cluster, 5)).await.unwrap();
    bounded(till.befriend(&friend)).await.unwrap();
    kill(bounded(till.process()).await.unwrap());
    assert!(state(&till).await.1);
    // Its friend may have been on the same node.
    let asked = async {
        loop {
            match till.asks_its_friend().await {
                Ok((total, _)) => return total,
                Err(error) => assert!(error.to_string().contains("died"), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(bounded(asked).await, 77);
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_next_node_cannot_read_ends_the_actor_and_says_so() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let till = bounded(Till::spawn(&cluster, 5)).await.unwrap();
    bounded(till.spoils()).await.unwrap();
    let mut ended = till.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    kill(bounded(till.process()).await.unwrap());
    match bounded(ended).await {
        Ok(EndReason::NotRestored { message }) => assert!(message.contains("as it was told to"), "{message}"),
        other => panic!("{other:?}"),
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_wakes_up_after_its_lease_saves_nothing_over_what_a_later_one_has() {
    let cluster = bounded(Cluster::local().workers(2).lease(LEASE).suspect_after(LEASE / 4)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outcome");
    let till = bounded(Till::spawn(&cluster, 5)).await.unwrap();
    let process = bounded(till.process()).await.unwrap();
    let path = file.to_str().unwrap().to_owned();
    bounded(till.goes_on(path).tell()).await.unwrap();
    until("a checkpoint", || file.exists()).await;
    signal(process, Signal::STOP);
    let (saved, restored) = state(&till).await;
    assert!(restored && saved > 5);
    // Far from anything that the former run would save.
    assert_eq!(bounded(till.add(1_000_000_000)).await, Ok(saved + 1_000_000_000));
    signal(process, Signal::CONT);
    // It ends, or comes back without its actors: either way the head hears of it again.
    let id = |cluster: &Cluster| workers(cluster).iter().any(|(_, each)| *each == process);
    until("the end of the former run", || !runs(process) || id(&cluster)).await;
    // Nothing took the place of what the second run saved: the third is made of that.
    let second = bounded(till.process()).await.unwrap();
    until("a node for the third", || cluster.nodes().iter().any(|node| node.hosts_actors && node.process != second))
        .await;
    kill(second);
    assert_eq!(state(&till).await, (saved + 1_000_000_000, true));
    bounded(cluster.shutdown()).await;
}

/// A head that keeps a journal.
pub(crate) fn journaled_head(lease: Duration) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let keys = Keys::given();
        let folder = std::env::var_os("MOBULA_TEST_FOLDER").expect("the folder of the keys");
        let head = Cluster::builder().head().listen(&keys.address).cluster_key(keys.key).identity(keys.head);
        let head = head.lease(lease).suspect_after(lease / 4).journal(Path::new(&folder).join("journal"));
        let head = bounded(head).await.unwrap();
        report("ready", head.node_id());
        std::future::pending::<()>().await;
    });
}

async fn begin(keys: &Keys) -> Player {
    let mut head = Player::start("journaled head", &keys.environment());
    head.reported("ready").await;
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_in_a_process_of_its_own_goes_on_under_the_next_head_which_has_it_made_again() {
    let keys = Keys::new();
    let head = begin(&keys).await;
    let mut worker = Player::start("worker", &keys.environment());
    worker.reported("joined").await;
    let driver = bounded(keys.driver()).await.unwrap();
    let till = bounded(Till::spawn(&driver, 5).isolated().name("till")).await.unwrap();
    let process = bounded(till.process()).await.unwrap();
    assert_ne!(process, worker.process());
    assert_eq!(bounded(till.add(1)).await, Ok(6));
    head.kill();
    assert_eq!(bounded(till.state()).await, Ok((6, false)), "calls go on");
    let head = begin(&keys).await;
    // Kept by the new head once both have come back to it.
    let kept = async {
        while let Err(error) = till.add(0).await {
            assert!(matches!(error, CallError::App(CheckpointError::Unknown { .. })), "{error:?}");
        }
    };
    bounded(kept).await;
    assert_eq!(bounded(till.process()).await, Ok(process));
    kill(process);
    assert_eq!(state(&till).await, (6, true));
    let next = bounded(till.process()).await.unwrap();
    assert!(next != process && next != worker.process());
    let found = bounded(driver.lookup::<Till>("till")).await.unwrap();
    assert_eq!(bounded(found.process()).await, Ok(next));
    drop((till, found));
    until("the end of its process", || !runs(next)).await;
    bounded(driver.shutdown()).await;
    worker.kill();
    head.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_checkpoint_survives_the_death_of_the_head_and_then_of_the_node() {
    let keys = Keys::new();
    let head = begin(&keys).await;
    let mut worker = Player::start("worker", &keys.environment());
    worker.reported("joined").await;
    let driver = bounded(keys.driver()).await.unwrap();
    let till = bounded(Till::spawn(&driver, 5)).await.unwrap();
    assert_eq!(bounded(till.process()).await, Ok(worker.process()));
    for total in 6..=30 {
        assert_eq!(bounded(till.add(1)).await, Ok(total));
    }
    head.kill();
    // Nobody keeps it meanwhile, and that is said.
    assert!(matches!(bounded(till.add(1)).await, Err(CallError::App(CheckpointError::Unknown { .. }))));
    let head = begin(&keys).await;
    let mut second = Player::start("worker", &keys.environment());
    second.reported("joined").await;
    worker.kill();
    let (total, restored) = state(&till).await;
    assert!(restored && (30..=31).contains(&total), "{total}");
    assert_eq!(bounded(till.process()).await, Ok(second.process()));
    bounded(driver.shutdown()).await;
    second.kill();
    head.kill();
}
