//! Arguments of actors' calls that are lost on their way.

use crate::Pair;
use crate::common::{bounded, kill, until, workers};
use crate::tasks::{makes_once, makes_once_of};
use bytes::Bytes;
use mobula::id::NodeId;
use mobula::prelude::*;

/// Notes the first bytes of what it is given.
#[actor]
pub struct Taker {
    noted: Vec<u8>,
}

#[methods]
impl Taker {
    #[constructor]
    pub fn of_nothing() -> Self {
        Self { noted: Vec::new() }
    }

    pub fn takes(&mut self, of: Bytes) -> u8 {
        self.noted.push(of[0]);
        of[0]
    }

    pub fn notes(&mut self, number: u8) {
        self.noted.push(number);
    }

    pub fn noted(&self) -> Vec<u8> {
        self.noted.clone()
    }
}

/// Reads an object and holds on to it.
#[actor]
struct Holder {
    held: Vec<ObjectRef<Bytes>>,
}

#[methods]
impl Holder {
    #[constructor]
    pub fn of_nothing() -> Self {
        Self { held: Vec::new() }
    }

    pub async fn reads(&mut self, of: Vec<ObjectRef<Bytes>>) -> mobula::Result<u8> {
        let first = of[0].clone().await?[0];
        self.held = of;
        Ok(first)
    }

    pub fn takes(&self, of: Bytes) -> u8 {
        of[0]
    }

    pub fn knows(&self, node: NodeId, ctx: &mut ActorContext<Self>) -> bool {
        ctx.cluster().nodes().iter().any(|known| known.id == node)
    }
}

impl Pair {
    /// Where it is not lost.
    async fn taker(&self) -> TakerHandle {
        bounded(Taker::spawn(&self.cluster).on(self.lives)).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_waits_for_an_argument_that_is_made_again_and_holds_back_those_behind_it() {
    let pair = Pair::new().await;
    let taker = pair.taker().await;
    let made = pair.makes("made", 9).await;
    // Its owner knows where it lies, and that it can be read.
    pair.is(&made, 9).await;
    kill(pair.victim);
    // Nobody but the call refers to it.
    let taken = taker.takes(made).submit();
    let behind = taker.notes(1).submit();
    assert_eq!(bounded(pair.cluster.get(&taken)).await, Ok(9));
    bounded(pair.cluster.get(&behind)).await.unwrap();
    assert_eq!(bounded(taker.noted()).await, Ok(vec![9, 1]));
    assert_eq!(pair.log.runs("made"), 2);
    drop((taken, behind, taker));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_caller_has_read_is_passed_as_it_has_it() {
    let pair = Pair::new().await;
    let (taker, maker) = (pair.taker().await, pair.maker().await);
    let made = pair.made(maker.makes("made", 5), 2).await;
    pair.is(&made, 5).await;
    kill(pair.victim);
    assert_eq!(bounded(taker.takes(&made)).await, Ok(5));
    assert_eq!(pair.log.calls("made"), 1);
    drop((made, taker));
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_at_its_actor_does_not_keep_what_it_waits_for_from_being_made_there() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let reply = pair.made(maker.makes("reply", 1), 2).await;
    let task = pair.adds_one("task", &reply).await;
    pair.is(&task, 2).await;
    drop(reply);
    until("the reply is let go", || pair.cluster.shared_objects().borrowed == 1).await;
    kill(pair.victim);
    let next = maker.adds_one("next", &task).retries(2).submit();
    let last = maker.adds_one("last", &next).retries(2).submit();
    pair.is(&last, 4).await;
    assert_eq!(pair.log.order(), ["reply", "task", "reply", "task", "next", "last"]);
    assert_eq!(["reply", "next", "last"].map(|name| pair.log.calls(name)), [2, 1, 1]);
    drop((task, next, last));
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_argument_is_lost_for_good_names_it_and_the_reason() {
    let pair = Pair::new().await;
    let taker = pair.taker().await;
    let [read, unread] =
        [pair.there(makes_once::call(&pair.cluster, 1)).await, pair.there(makes_once::call(&pair.cluster, 2)).await];
    pair.is(&read, 1).await;
    kill(pair.victim);
    for lost in [&read, &unread] {
        match bounded(taker.takes(lost)).await {
            Err(CallError::Argument { object, why, .. }) => {
                assert!(object == lost.id() && why.contains("retries"), "{object} instead of {}: {why}", lost.id());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bounded(taker.noted()).await, Ok(vec![]), "neither ran");
    drop((read, unread, taker));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_after_the_end_of_its_node_is_what_is_known_of_it_there() {
    let pair = Pair::new().await;
    let holder = bounded(Holder::spawn(&pair.cluster).on(pair.lives)).await.unwrap();
    let made = pair.makes("made", 3).await;
    // Both know where it lies, and that it can be read.
    pair.is(&made, 3).await;
    assert_eq!(bounded(holder.reads(vec![made.clone()])).await, Ok(3));
    kill(pair.victim);
    bounded(async { while holder.knows(pair.dies).await.unwrap() {} }).await;
    assert_eq!(bounded(holder.takes(&made)).await, Ok(3));
    drop((made, holder));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_has_gone_to_disk_is_passed_and_may_go_there_again() {
    const MEMORY: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().never_share_memory().store_memory(MEMORY).spill_to(folder.path().join("objects"));
    let pair = Pair::of(builder).await;
    let taker = pair.taker().await;
    let made = pair.there(makes_once_of::call(&pair.cluster, 7, MEMORY / 2)).await;
    assert_eq!(bounded(pair.cluster.get(&made)).await.unwrap()[0], 7);
    kill(pair.victim);
    until("its end is known", || workers(&pair.cluster).len() == 1).await;
    for _ in 0..2 {
        // All else makes way.
        drop(bounded(pair.cluster.put(Bytes::from(vec![0; MEMORY]))).await.unwrap());
        assert_eq!(bounded(taker.takes(&made)).await, Ok(7));
    }
    drop((made, taker));
    pair.ends_empty().await;
}
