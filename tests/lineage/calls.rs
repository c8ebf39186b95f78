//! Replies of actors.

use crate::common::{bounded, ends_without_a_trace, kill, until, workers};
use crate::tasks::{Reader, adds, adds_one, length, makes, makes_once};
use crate::{LARGE, Log, Pair, ran};
use bytes::Bytes;
use futures::future::join_all;
use mobula::prelude::*;
use mobula::{CallError, Executed, GetError, Lost};

/// Takes long to travel where no memory is shared.
const MUCH: usize = 128 << 20;

/// Notes what it runs, and in which of its incarnations.
#[actor(restarts = 8)]
pub struct Maker {
    log: String,
}

#[methods]
impl Maker {
    #[constructor]
    pub fn noting(log: String) -> Self {
        Self { log }
    }

    pub fn makes(&mut self, ctx: &mut ActorContext<Self>, name: String, of: u8) -> Bytes {
        self.ran(ctx, &name);
        vec![of; LARGE].into()
    }

    pub fn makes_much(&mut self, ctx: &mut ActorContext<Self>, name: String, of: u8) -> Bytes {
        self.ran(ctx, &name);
        vec![of; MUCH].into()
    }

    pub fn adds_one(&mut self, ctx: &mut ActorContext<Self>, name: String, to: Bytes) -> Bytes {
        self.ran(ctx, &name);
        to.iter().map(|byte| byte.wrapping_add(1)).collect::<Vec<u8>>().into()
    }
}

/// Ends with its node.
#[actor]
struct Passing;

#[methods]
impl Passing {
    #[constructor]
    pub fn by() -> Self {
        Self
    }

    pub fn makes(&self, of: u8) -> Bytes {
        vec![of; LARGE].into()
    }
}

impl Maker {
    fn ran(&self, ctx: &ActorContext<Self>, name: &str) {
        ran(&self.log, name);
        ran(&self.log, &format!("{name} in {:?}", ctx.incarnation()));
    }
}

impl Log {
    /// How often a call ran, never twice in one incarnation.
    pub fn calls(&self, name: &str) -> usize {
        let runs = std::fs::read_to_string(self.path()).unwrap_or_default();
        let mut incarnations: Vec<_> = runs.lines().filter(|run| run.starts_with(&format!("{name} in "))).collect();
        let all = incarnations.len();
        incarnations.sort_unstable();
        incarnations.dedup();
        assert_eq!(incarnations.len(), all, "{name} ran twice in one incarnation: {runs}");
        all
    }

    /// What ran, by name, in order.
    pub fn order(&self) -> Vec<String> {
        let runs = std::fs::read_to_string(self.path()).unwrap_or_default();
        runs.lines().filter(|run| !run.contains(" in ")).map(str::to_owned).collect()
    }
}

impl Pair {
    /// An actor where it will be lost, which outlives that.
    pub async fn maker(&self) -> MakerHandle {
        bounded(Maker::spawn(&self.cluster, self.log.path()).detached().prefer(self.dies)).await.unwrap()
    }

    pub async fn made(&self, call: mobula::Call<Bytes>, retries: u32) -> ObjectRef<Bytes> {
        let reply = call.retries(retries).submit();
        self.settled(&reply).await;
        reply
    }

    /// Detached actors live on.
    pub async fn ends_with(self, maker: MakerHandle) {
        bounded(maker.kill()).await.unwrap();
        drop(maker);
        self.ends_empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_reply_is_made_again_once_by_the_actor_where_it_is_then() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let reply = pair.made(maker.makes("made", 7), 2).await;
    kill(pair.victim);
    join_all((0..3).map(|_| pair.is(&reply, 7))).await;
    assert_eq!(pair.log.calls("made"), 2);
    drop(reply);
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_made_again_in_the_order_of_their_first_sending() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let [one, two, three] = [1, 2, 3].map(|n| maker.makes(n.to_string(), n).retries(1).submit());
    let sum = adds::call(&pair.cluster, pair.log.path(), "sum", &three, &one, &two).prefer(pair.dies).submit();
    pair.settled(&sum).await;
    // Nothing but the lineage of the sum knows of two of them.
    drop((one, two, three));
    kill(pair.victim);
    // It is found before they are made again: nothing else has them in order.
    bounded(maker.makes("found", 0).retries(1)).await.unwrap();
    pair.is(&sum, 6).await;
    assert_eq!(pair.log.order(), ["1", "2", "3", "sum", "found", "1", "2", "3", "sum"]);
    assert_eq!(["1", "2", "3"].map(|name| pair.log.calls(name)), [2; 3]);
    drop(sum);
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_and_calls_that_hang_one_on_the_other_are_made_again_each_once() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let first = pair.makes("first", 1).await;
    let second = pair.made(maker.adds_one("second", &first), 2).await;
    let third = pair.adds_one("third", &second).await;
    let fourth = pair.made(maker.adds_one("fourth", &third), 2).await;
    drop((first, second, third));
    kill(pair.victim);
    pair.is(&fourth, 4).await;
    assert_eq!(["first", "third"].map(|name| pair.log.runs(name)), [2; 2]);
    assert_eq!(["second", "fourth"].map(|name| pair.log.calls(name)), [2; 2]);
    drop(fourth);
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_misses_a_reply_waits_for_it_and_so_does_who_reads_elsewhere() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let reader = bounded(Reader::spawn(&pair.cluster).on(pair.lives)).await.unwrap();
    let (read, unread) = (pair.made(maker.makes("read", 3), 2).await, pair.made(maker.makes("unread", 4), 2).await);
    // Its owner knows where it lies, and that it can be read.
    pair.is(&read, 3).await;
    kill(pair.victim);
    let lengths = [&read, &unread].map(|of| length::call(&pair.cluster, of).on(pair.lives).submit());
    assert_eq!(bounded(pair.cluster.get_all(&lengths)).await, Ok(vec![LARGE; 2]));
    assert_eq!(bounded(reader.first(vec![read.clone(), unread.clone()])).await, Ok(vec![3, 4]));
    assert!(pair.log.calls("read") <= 2 && pair.log.calls("unread") == 2);
    drop((read, unread, lengths, reader));
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_made_again_says_so_with_its_owner_and_the_reason() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let once = pair.made(maker.makes("once", 1), 0).await;
    let once_by_task = pair.there(makes_once::call(&pair.cluster, 1)).await;
    let hangs = pair.made(maker.adds_one("hangs", &once_by_task), 2).await;
    let passing = bounded(Passing::spawn(&pair.cluster).on(pair.dies)).await.unwrap();
    let passed = pair.made(passing.makes(1), 2).await;
    let ended = pair.maker().await;
    let last = pair.made(ended.makes("last", 1), 2).await;
    bounded(ended.kill()).await.unwrap();
    kill(pair.victim);
    assert_eq!(pair.is_lost(&once).await, Lost::NoRetries);
    let expected = Lost::Argument { object: once_by_task.id(), why: Box::new(Lost::NoRetries) };
    assert_eq!(pair.is_lost(&hangs).await, expected);
    match pair.is_lost(&passed).await {
        Lost::NotRepeated { why } => assert!(why.contains(&passing.id().to_string()), "{why}"),
        other => panic!("{other}"),
    }
    match pair.is_lost(&last).await {
        Lost::NotRepeated { why } => assert!(why.contains("killed"), "{why}"),
        other => panic!("{other}"),
    }
    let text = bounded(pair.cluster.get(&once)).await.unwrap_err().to_string();
    assert!(text.contains(&once.id().to_string()) && text.contains("retries"), "{text}");
    assert_eq!(["once", "last"].map(|name| pair.log.calls(name)), [1; 2]);
    drop((once, once_by_task, hangs, passed, last, passing, ended));
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_loss_takes_one_of_a_calls_tries() {
    let cluster = bounded(Cluster::local().workers(3).cpus(2.0)).await.unwrap();
    let all = workers(&cluster);
    let log = Log::new();
    let [(first, first_process), (second, _), ..] = all[..] else { panic!("three workers") };
    let maker = bounded(Maker::spawn(&cluster, log.path()).detached().prefer(first)).await.unwrap();
    let reader = bounded(Reader::spawn(&cluster).on(second)).await.unwrap();
    let made = maker.makes("made", 1).retries(1).submit();
    bounded(cluster.wait([&made], 1).without_fetching()).await;
    kill(first_process);
    // Its owner has no copy of what it does not read.
    assert_eq!(bounded(reader.first(vec![made.clone()])).await, Ok(vec![1]));
    assert_eq!(log.calls("made"), 2);
    // Whichever of them has it now.
    all[1..].iter().for_each(|(_, process)| kill(*process));
    let lost = bounded(cluster.get(&made)).await.unwrap_err();
    assert!(matches!(&lost, GetError::Lost { why: Lost::NoRetries, .. }), "{lost}");
    drop(reader);
    drop((made, maker));
    until("dead workers are known", || workers(&cluster).is_empty()).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_whose_call_there_was_no_room_to_remember_says_so() {
    let pair = Pair::of(Cluster::local().lineage_memory(0)).await;
    let maker = pair.maker().await;
    let made = pair.made(maker.makes("made", 1), 2).await;
    kill(pair.victim);
    assert_eq!(pair.is_lost(&made).await, Lost::Evicted);
    assert_eq!(pair.log.calls("made"), 1);
    drop(made);
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_hangs_on_no_more_results_than_may() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let mut deepest = makes::call(&pair.cluster, pair.log.path(), "first", 0).on(pair.dies).submit();
    for _ in 1..mobula::limits::LINEAGE_DEPTH {
        deepest = adds_one::call(&pair.cluster, pair.log.path(), "others", &deepest).on(pair.dies).submit();
    }
    let beyond = pair.made(maker.adds_one("beyond", &deepest), 2).await;
    let others_are_let_go = || pair.cluster.shared_objects().borrowed == 2;
    until("results are kept that nothing but others' lineage refers to", others_are_let_go).await;
    kill(pair.victim);
    assert_eq!(pair.is_lost(&beyond).await, Lost::TooDeep);
    assert_eq!((pair.log.runs("first"), pair.log.calls("beyond")), (1, 1), "nothing runs in vain");
    drop((beyond, deepest));
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_was_given_away_needs_nobody_to_make_it_again() {
    let pair = Pair::new().await;
    let maker = pair.maker().await;
    let made = pair.made(maker.makes("made", 5), 2).await;
    bounded(made.give(&pair.cluster, pair.lives)).await.unwrap();
    kill(pair.victim);
    pair.is(&made, 5).await;
    assert_eq!(pair.log.calls("made"), 1);
    drop(made);
    pair.ends_with(maker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_awaited_call_whose_reply_is_lost_on_its_way_is_made_again_if_it_may_be() {
    let pair = Pair::of(Cluster::local().never_share_memory()).await;
    let [often, once] = [pair.maker().await, pair.maker().await];
    let made = tokio::spawn(often.makes_much("often", 7).retries(1).into_future());
    let failed = tokio::spawn(once.makes_much("once", 7).into_future());
    until("both have run", || pair.cluster.shared_objects().borrowed == 2).await;
    kill(pair.victim);
    let failed = bounded(failed).await.unwrap().unwrap_err();
    assert!(matches!(failed, CallError::NodeDied { node, executed: Executed::Yes } if node == pair.dies), "{failed}");
    let made = bounded(made).await.unwrap().unwrap();
    assert!(made.len() == MUCH && made.iter().all(|byte| *byte == 7));
    assert_eq!(["often", "once"].map(|name| pair.log.calls(name)), [2, 1]);
    drop(made);
    bounded(once.kill()).await.unwrap();
    drop(once);
    pair.ends_with(often).await;
}
