//! Actors whose saved state is too large for the head: another node keeps it, and whoever dies next, it is there.

use crate::common::*;
use crate::heads::Keys;
use mobula::id::NodeId;
use mobula::prelude::*;
use mobula::{CheckpointError, EndReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a state that no head keeps.
const LARGE: usize = 1_000_000;

/// Many numbers, which tell whether they are all of one edition.
#[derive(Serialize, Deserialize)]
pub struct Page {
    total: u64,
    lines: Vec<u64>,
}

#[actor(restarts = 2)]
pub struct Book {
    total: u64,
    lines: usize,
    restored: bool,
}

#[methods]
impl Book {
    #[constructor]
    pub fn of(lines: usize) -> Self {
        Self { total: 0, lines, restored: false }
    }

    /// Is answered once it is safe.
    pub async fn add(&mut self, by: u64, ctx: &mut ActorContext<Self>) -> Result<u64, CheckpointError> {
        self.total += by;
        ctx.checkpoint(self).await?;
        Ok(self.total)
    }

    pub fn shrink(&mut self, lines: usize) {
        self.lines = lines;
    }

    /// What it has, how long it is, and whether it was made of what was saved.
    pub fn state(&self) -> (u64, usize, bool) {
        (self.total, self.lines, self.restored)
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    #[checkpoint]
    fn save(&self) -> Page {
        // No number of nine bytes is shorter.
        Page { total: self.total, lines: (0..self.lines as u64).map(|line| u64::MAX - self.total - line).collect() }
    }

    #[restore]
    fn restored(page: Page) -> mobula::Result<Self> {
        let Page { total, lines } = page;
        let whole = (0_u64..).zip(&lines).all(|(line, number)| *number == u64::MAX - total - line);
        if !whole {
            return Err("its lines are not of one edition".into());
        }
        Ok(Self { total, lines: lines.len(), restored: true })
    }
}

/// Says what is stored on its node.
#[actor]
pub struct Meter;

#[methods]
impl Meter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn stored(&self, ctx: &mut ActorContext<Self>) -> usize {
        ctx.cluster().store_usage().sealed
    }
}

/// A meter on each node that hosts actors.
struct Meters(BTreeMap<NodeId, MeterHandle>);

impl Meters {
    async fn of(cluster: &Cluster) -> Meters {
        let mut all = BTreeMap::new();
        for (node, _) in workers(cluster) {
            all.insert(node, bounded(Meter::spawn(cluster).on(node)).await.unwrap());
        }
        Meters(all)
    }

    /// What is stored on the nodes that live, the driver's own among them.
    async fn stored(&self, cluster: &Cluster) -> BTreeMap<NodeId, usize> {
        let mut stored = BTreeMap::from([(cluster.node_id(), cluster.store_usage().sealed)]);
        for (node, meter) in &self.0 {
            if let Ok(used) = bounded(meter.stored()).await {
                stored.insert(*node, used);
            }
        }
        stored
    }

    /// Waits until what is stored is so.
    async fn until(
        &self,
        cluster: &Cluster,
        what: &str,
        holds: impl Fn(&BTreeMap<NodeId, usize>) -> bool,
    ) -> BTreeMap<NodeId, usize> {
        let waiting = async {
            loop {
                let stored = self.stored(cluster).await;
                if holds(&stored) {
                    return stored;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(BOUND, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"))
    }

    async fn until_nothing(&self, cluster: &Cluster) {
        self.until(cluster, "nothing is kept", |stored| stored.values().all(|used| *used == 0)).await;
    }
}

/// Asks until it is found on another node.
async fn state(book: &BookHandle) -> (u64, usize, bool) {
    found(|| book.state()).await
}

async fn begin(keys: &Keys) -> Player {
    let mut head = Player::start("patient head", &keys.environment());
    head.reported("ready").await;
    head
}

fn kept(stored: &BTreeMap<NodeId, usize>) -> Vec<NodeId> {
    stored.iter().filter(|(_, used)| **used >= LARGE).map(|(node, _)| *node).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_goes_on_from_node_to_node_and_is_kept_once() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let meters = Meters::of(&cluster).await;
    let lines = LARGE / 8;
    let book = bounded(Book::spawn(&cluster, lines)).await.unwrap();
    for total in 1..=20 {
        assert_eq!(bounded(book.add(1)).await, Ok(total));
    }
    let once = |stored: &BTreeMap<NodeId, usize>| stored.values().sum::<usize>() < 2 * LARGE && kept(stored).len() == 1;
    meters.until(&cluster, "the last one is kept alone", once).await;
    // The second time the driver's node is to keep it: the only worker that is left hosts the actor.
    for total in [20, 21] {
        kill(bounded(book.process()).await.unwrap());
        assert_eq!(state(&book).await, (total, lines, true));
        assert_eq!(bounded(book.add(1)).await, Ok(total + 1));
        meters.until(&cluster, "it is kept once", once).await;
    }
    bounded(book.stop()).await.unwrap();
    meters.until_nothing(&cluster).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_its_keeper_is_killed_another_node_keeps_it_unasked() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let meters = Meters::of(&cluster).await;
    let book = bounded(Book::spawn(&cluster, LARGE / 8)).await.unwrap();
    assert_eq!(bounded(book.add(7)).await, Ok(7));
    let host = bounded(book.process()).await.unwrap();
    let stored = meters.until(&cluster, "it is kept", |stored| kept(stored).len() == 1).await;
    let keeper = kept(&stored)[0];
    let process = workers(&cluster).into_iter().find(|(node, _)| *node == keeper).unwrap().1;
    assert_ne!(process, host);
    kill(process);
    let by_another = |stored: &BTreeMap<NodeId, usize>| kept(stored).first().is_some_and(|node| *node != keeper);
    meters.until(&cluster, "another one keeps it", by_another).await;
    // The head may not have been told yet: what is saved next comes behind that.
    assert_eq!(bounded(book.add(0)).await, Ok(7));
    kill(host);
    assert_eq!(state(&book).await, (7, LARGE / 8, true));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_head_keeps_again_and_what_ends_with_its_host_is_let_go_of() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let meters = Meters::of(&cluster).await;
    let book = bounded(Book::spawn(&cluster, LARGE / 8)).await.unwrap();
    assert_eq!(bounded(book.add(1)).await, Ok(1));
    meters.until(&cluster, "it is kept", |stored| kept(stored).len() == 1).await;
    bounded(book.shrink(10)).await.unwrap();
    assert_eq!(bounded(book.add(1)).await, Ok(2));
    meters.until_nothing(&cluster).await;
    bounded(book.shrink(LARGE / 8)).await.unwrap();
    assert_eq!(bounded(book.add(1)).await, Ok(3));
    // It is placed again twice, and no more: nobody tells its keeper of that end.
    for _ in 0..2 {
        kill(bounded(book.process()).await.unwrap());
        assert_eq!(state(&book).await, (3, LARGE / 8, true));
        // Its next host may have been its keeper: from here on another one is.
        assert_eq!(bounded(book.add(0)).await, Ok(3));
    }
    let mut ended = book.ended();
    assert!(futures::poll!(&mut ended).is_pending());
    kill(bounded(book.process()).await.unwrap());
    assert!(matches!(bounded(ended).await, Ok(EndReason::NodeDied)));
    meters.until_nothing(&cluster).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_in_a_process_of_its_own_is_not_kept_by_the_node_that_it_ends_with() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    // It may be placed on its former node again before the end of that is known.
    let book = bounded(Book::spawn(&cluster, LARGE / 8).isolated().restarts(5)).await.unwrap();
    for total in [4, 8] {
        assert_eq!(bounded(book.add(4)).await, Ok(total));
        let own = bounded(book.process()).await.unwrap();
        let parent = parent(own).unwrap();
        let ends = if total == 4 { parent } else { own };
        assert!(workers(&cluster).iter().any(|(_, process)| *process == parent));
        kill(ends);
        until("its process ends with its node's", || !runs(own)).await;
        assert_eq!(state(&book).await, (total, LARGE / 8, true));
    }
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_there_under_the_next_head() {
    // Nobody is fenced while it is away: then the actor and its keeper would end.
    let keys = Keys::new();
    let head = begin(&keys).await;
    let mut nodes = [Player::start("worker", &keys.environment()), Player::start("worker", &keys.environment())];
    for node in &mut nodes {
        node.reported("joined").await;
    }
    let driver = bounded(keys.driver()).await.unwrap();
    let book = bounded(Book::spawn(&driver, LARGE / 8)).await.unwrap();
    assert_eq!(bounded(book.add(9)).await, Ok(9));
    let host = bounded(book.process()).await.unwrap();
    head.kill();
    let head = begin(&keys).await;
    let [first, second] = nodes;
    let (host, keeper) = if first.process() == host { (first, second) } else { (second, first) };
    host.kill();
    assert_eq!(state(&book).await, (9, LARGE / 8, true));
    assert_eq!(bounded(book.process()).await, Ok(keeper.process()));
    bounded(driver.shutdown()).await;
    keeper.kill();
    head.kill();
}
