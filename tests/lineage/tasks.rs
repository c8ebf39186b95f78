//! Results of tasks.

use crate::common::{bounded, ends_without_a_trace, kill, until, workers};
use crate::{LARGE, Log, Pair, ran};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use mobula::id::NodeId;
use mobula::prelude::*;
use mobula::{GetError, Lost, task};

#[task(retries = 2)]
pub fn makes(log: &str, name: &str, of: u8) -> Bytes {
    ran(log, name);
    vec![of; LARGE].into()
}

#[task]
pub fn makes_once(of: u8) -> Bytes {
    vec![of; LARGE].into()
}

#[task]
pub fn makes_once_of(of: u8, length: usize) -> Bytes {
    vec![of; length].into()
}

#[task(retries = 2)]
pub fn adds_one(log: &str, name: &str, to: Bytes) -> Bytes {
    ran(log, name);
    to.iter().map(|byte| byte.wrapping_add(1)).collect::<Vec<u8>>().into()
}

#[task(retries = 2)]
pub fn adds(log: &str, name: &str, one: Bytes, two: Bytes, three: Bytes) -> Bytes {
    ran(log, name);
    one.iter().zip(&two).zip(&three).map(|((one, two), three)| one + two + three).collect::<Vec<u8>>().into()
}

#[task(retries = 2, returns = 2)]
fn parts(log: &str, name: &str) -> (Bytes, Bytes) {
    ran(log, name);
    (vec![1; LARGE].into(), vec![2; LARGE].into())
}

#[task(retries = 2)]
fn streams(count: u8) -> impl Stream<Item = Bytes> {
    futures::stream::iter(0..count).map(|n| Bytes::from(vec![n; LARGE]))
}

/// Puts a value where it runs.
#[task]
async fn leaves(ctx: &TaskContext, of: u8) -> mobula::Result<ObjectRef<Bytes>> {
    Ok(ctx.cluster().put(Bytes::from(vec![of; LARGE])).await?)
}

#[task]
pub fn length(of: Bytes) -> usize {
    of.len()
}

#[actor]
pub struct Reader;

#[methods(concurrency = 8)]
impl Reader {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub async fn first(&self, of: Vec<ObjectRef<Bytes>>) -> mobula::Result<Vec<u8>> {
        let mut first = Vec::new();
        for object in of {
            first.push(object.await?[0]);
        }
        Ok(first)
    }

    pub fn shared(&self, ctx: &mut ActorContext<Self>) -> (usize, usize, usize) {
        let shared = ctx.cluster().shared_objects();
        (shared.lent, shared.borrowed, shared.in_transit)
    }
}

/// Owns what a task makes that it submits.
#[actor]
struct Owner {
    made: Option<ObjectRef<Bytes>>,
}

#[methods]
impl Owner {
    #[constructor]
    pub fn new() -> Self {
        Self { made: None }
    }

    /// Gives once the result is there, which stays on its node.
    pub async fn has_made(&mut self, log: &str, there: NodeId, ctx: &mut ActorContext<Self>) {
        let made = makes::call(&ctx.cluster(), log, "made", 1).prefer(there).submit();
        ctx.cluster().wait([&made], 1).without_fetching().await;
        self.made = Some(made);
    }

    /// Why it cannot be had.
    pub async fn why(&mut self) -> Option<GetError> {
        self.made.take()?.await.err()
    }
}

impl Pair {
    pub async fn makes(&self, name: &str, of: u8) -> ObjectRef<Bytes> {
        self.there(makes::call(&self.cluster, self.log.path(), name, of)).await
    }

    pub async fn adds_one(&self, name: &str, to: &ObjectRef<Bytes>) -> ObjectRef<Bytes> {
        self.there(adds_one::call(&self.cluster, self.log.path(), name, to)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_large_results_is_made_again_each_once() {
    let pair = Pair::new().await;
    let mut chain = vec![pair.makes("0", 7).await];
    for n in 1..6 {
        chain.push(pair.adds_one(&n.to_string(), &chain[n - 1]).await);
    }
    kill(pair.victim);
    pair.is(&chain[5], 12).await;
    for (n, object) in chain.iter().enumerate() {
        pair.is(object, 7 + n as u8).await;
        assert_eq!(pair.log.runs(&n.to_string()), 2, "{n}");
    }
    drop(chain);
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_arguments_were_let_go_is_made_again_from_theirs() {
    let pair = Pair::new().await;
    let mut last = pair.makes("first", 1).await;
    for _ in 0..4 {
        last = pair.adds_one("others", &last).await;
    }
    kill(pair.victim);
    pair.is(&last, 5).await;
    assert_eq!((pair.log.runs("first"), pair.log.runs("others")), (2, 8));
    drop(last);
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_the_same_at_once_has_it_made_once_wherever_they_are() {
    let pair = Pair::new().await;
    let reader = bounded(Reader::spawn(&pair.cluster).on(pair.lives)).await.unwrap();
    let path = pair.log.path();
    let (one, two, three) = (pair.makes("one", 1).await, pair.makes("two", 2).await, pair.makes("three", 3).await);
    let sum = pair.there(adds::call(&pair.cluster, path.clone(), "sum", &one, &two, &three)).await;
    kill(pair.victim);
    let here = join_all((0..4).map(|_| pair.is(&sum, 6)));
    let there = join_all((0..4).map(|_| reader.first(vec![sum.clone(), one.clone(), two.clone()]).into_future()));
    let sums = (0..4).map(|_| adds_one::submit(&pair.cluster, path.clone(), "next", &sum)).collect::<Vec<_>>();
    let next = join_all(sums.iter().map(|next| pair.is(next, 7)));
    let (_, there, _) = bounded(async { tokio::join!(here, there, next) }).await;
    there.into_iter().for_each(|first| assert_eq!(first, Ok(vec![6, 1, 2])));
    for name in ["one", "two", "three", "sum"] {
        assert_eq!(pair.log.runs(name), 2, "{name}");
    }
    drop((one, two, three, sum, sums));
    bounded(async { while bounded(reader.shared()).await.unwrap() != (0, 0, 0) {} }).await;
    drop(reader);
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_elsewhere_finds_the_new_copy_by_itself() {
    let pair = Pair::new().await;
    let reader = bounded(Reader::spawn(&pair.cluster).on(pair.lives)).await.unwrap();
    let known = pair.makes("known", 4).await;
    assert_eq!(bounded(reader.first(vec![known.clone()])).await, Ok(vec![4]), "it has been there before");
    let unknown = pair.makes("unknown", 5).await;
    kill(pair.victim);
    assert_eq!(bounded(reader.first(vec![unknown.clone(), known.clone()])).await, Ok(vec![5, 4]));
    assert!(pair.log.runs("unknown") == 2 && pair.log.runs("known") <= 2);
    pair.is(&known, 4).await;
    drop((known, unknown, reader));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_argument_is_lost_on_its_way_waits_until_it_is_made_again() {
    let pair = Pair::new().await;
    let made = pair.makes("made", 9).await;
    // Its owner knows where it lies, and that it can be read.
    pair.is(&made, 9).await;
    kill(pair.victim);
    let lengths = (0..3).map(|_| length::call(&pair.cluster, &made).on(pair.lives).submit()).collect::<Vec<_>>();
    assert_eq!(bounded(pair.cluster.get_all(&lengths)).await, Ok(vec![LARGE; 3]));
    assert!(pair.log.runs("made") <= 2);
    drop((made, lengths));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_several_results_is_made_again_by_one_run() {
    let pair = Pair::new().await;
    let (one, two) = parts::call(&pair.cluster, pair.log.path(), "parts").prefer(pair.dies).submit();
    pair.settled(&one).await;
    pair.settled(&two).await;
    kill(pair.victim);
    pair.is(&two, 2).await;
    pair.is(&one, 1).await;
    assert_eq!(pair.log.runs("parts"), 2);
    drop((one, two));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_is_the_rule_and_what_may_not_run_again_says_so() {
    let pair = Pair::new().await;
    let once = pair.there(makes_once::call(&pair.cluster, 1)).await;
    let hangs = pair.adds_one("hangs", &once).await;
    let mut items = streams::call(&pair.cluster, 1).prefer(pair.dies).submit();
    let item = bounded(items.next()).await.unwrap().unwrap();
    kill(pair.victim);
    assert_eq!(pair.is_lost(&once).await, Lost::NoRetries);
    let expected = Lost::Argument { object: once.id(), why: Box::new(Lost::NoRetries) };
    assert_eq!(pair.is_lost(&hangs).await, expected);
    assert_eq!(pair.is_lost(&item).await, Lost::Streamed);
    let depends = bounded(length::call(&pair.cluster, &once).on(pair.lives)).await.unwrap_err();
    assert!(matches!(&depends, GetError::Argument { .. }), "{depends}");
    assert_eq!(pair.log.runs("hangs"), 1);
    drop((once, hangs, item, items));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_loss_takes_an_attempt() {
    let cluster = bounded(Cluster::local().workers(3).cpus(2.0)).await.unwrap();
    let all = workers(&cluster);
    let log = Log::new();
    let [(first, first_process), ..] = all[..] else { panic!("three workers") };
    let made = makes::call(&cluster, log.path(), "made", 1).retries(1).prefer(first).submit();
    bounded(cluster.wait([&made], 1)).await;
    kill(first_process);
    assert_eq!(bounded(cluster.get(&made)).await.map(|made| made.len()), Ok(LARGE));
    assert_eq!(log.runs("made"), 2);
    // Whichever of them has it now.
    all[1..].iter().for_each(|(_, process)| kill(*process));
    let lost = bounded(async {
        loop {
            match cluster.get(&made).await {
                // What was read is at hand until its views are gone.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    })
    .await;
    assert!(matches!(&lost, GetError::Lost { why: Lost::NoRetries, .. }), "{lost}");
    drop(made);
    until("dead workers are known", || workers(&cluster).is_empty()).await;
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_was_no_room_to_remember_is_lost_and_says_so() {
    let pair = Pair::of(Cluster::local().lineage_memory(0)).await;
    let made = pair.makes("made", 1).await;
    kill(pair.victim);
    assert_eq!(pair.is_lost(&made).await, Lost::Evicted);
    assert_eq!(pair.log.runs("made"), 1);
    drop(made);
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_remembers_no_more_than_its_cluster_says() {
    let pair = Pair::of(Cluster::local().lineage_memory(0)).await;
    let owner = bounded(Owner::spawn(&pair.cluster).on(pair.lives)).await.unwrap();
    bounded(owner.has_made(pair.log.path(), pair.dies)).await.unwrap();
    kill(pair.victim);
    let why = bounded(owner.why()).await.unwrap();
    assert!(matches!(why, Some(GetError::Lost { why: Lost::Evicted, .. })), "{why:?}");
    assert_eq!(pair.log.runs("made"), 1);
    drop(owner);
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_is_never_made_again_and_what_hangs_on_it_names_it() {
    let pair = Pair::new().await;
    let put = bounded(leaves::call(&pair.cluster, 3).on(pair.dies)).await.unwrap();
    let hangs = pair.adds_one("hangs", &put).await;
    let mine = bounded(pair.cluster.put(Bytes::from(vec![3; LARGE]))).await.unwrap();
    let kept = pair.adds_one("kept", &mine).await;
    drop(mine);
    kill(pair.victim);
    let expected = Lost::Argument { object: put.id(), why: Box::new(Lost::OwnerDied) };
    assert_eq!(pair.is_lost(&hangs).await, expected);
    assert_eq!(pair.is_lost(&put).await, Lost::OwnerDied);
    pair.is(&kept, 4).await;
    assert_eq!((pair.log.runs("hangs"), pair.log.runs("kept")), (1, 2), "an argument that is put here is kept for it");
    drop((put, hangs, kept));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_results_hang_on_one_another_than_may() {
    let pair = Pair::new().await;
    let (log, cluster) = (pair.log.path(), &pair.cluster);
    let mut deepest = makes::call(cluster, log.clone(), "first", 0).on(pair.dies).submit();
    for _ in 1..mobula::limits::LINEAGE_DEPTH {
        deepest = adds_one::call(cluster, log.clone(), "others", &deepest).on(pair.dies).submit();
    }
    let beyond = adds_one::call(cluster, log, "beyond", &deepest).on(pair.dies).submit();
    pair.settled(&beyond).await;
    // What is being read as its node ends is made again by itself: nothing is, from here on.
    drop(bounded(cluster.get(&deepest)).await.unwrap());
    let others_are_let_go = || pair.cluster.shared_objects().borrowed == 2;
    until("results are kept that nothing but others' lineage refers to", others_are_let_go).await;
    kill(pair.victim);
    assert_eq!(pair.is_lost(&beyond).await, Lost::TooDeep);
    // One less is tried, and finds no node where it may run.
    let tried = bounded(cluster.get(&deepest)).await.unwrap_err();
    assert!(tried.to_string().contains("no member"), "{tried}");
    assert_eq!(pair.log.runs("first"), 1, "nothing runs in vain");
    drop((beyond, deepest));
    pair.ends_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_waited_for_is_here_and_what_was_left_there_is_lost() {
    let pair = Pair::of(Cluster::local().never_share_memory()).await;
    let made = |of| makes_once::call(&pair.cluster, of).prefer(pair.dies).submit();
    let (waited, streamed, left) = (made(1), made(2), made(3));
    bounded(pair.cluster.wait([&waited], 1)).await;
    assert!(bounded(pair.cluster.as_settled([streamed.clone()]).next()).await.is_some());
    pair.settled(&left).await;
    kill(pair.victim);
    pair.is(&waited, 1).await;
    pair.is(&streamed, 2).await;
    assert_eq!(pair.is_lost(&left).await, Lost::NoRetries);
    drop((waited, streamed, left));
    pair.ends_empty().await;
}
