//! Objects that outlive who made them: handed to the cluster's care, or given to another node.

use super::common::signal as signal_to;
use super::processes::{ReaderHandle, readers, sum};
use super::support::{MIB, bounded, numbers, until, used};
use mobula::prelude::*;
use mobula::{GiveError, task};
use rustix::process::Signal;
use std::time::Duration;

/// Makes objects of several kinds, and keeps what it is given.
#[actor]
struct Maker {
    words: Option<ObjectRef<Vec<String>>>,
    nested: Option<ObjectRef<Vec<ObjectRef<[u64]>>>>,
}

#[methods]
impl Maker {
    #[constructor]
    pub fn new() -> Self {
        Self { words: None, nested: None }
    }

    pub async fn words(
        &mut self,
        ctx: &mut ActorContext<Self>,
        count: usize,
    ) -> mobula::Result<ObjectRef<Vec<String>>> {
        Ok(ctx.cluster().put((0..count).map(|word| word.to_string()).collect::<Vec<_>>()).await?)
    }

    pub fn keep(&mut self, words: ObjectRef<Vec<String>>) {
        self.words = Some(words);
    }

    pub fn keep_nested(&mut self, nested: ObjectRef<Vec<ObjectRef<[u64]>>>) {
        self.nested = Some(nested);
    }

    pub async fn count(&mut self) -> mobula::Result<usize> {
        Ok(self.words.take().ok_or("nothing is kept")?.await?.len())
    }

    pub async fn total(&mut self) -> mobula::Result<u64> {
        let mut total = 0_u64;
        for inner in self.nested.take().ok_or("nothing is kept")?.await? {
            total = total.wrapping_add(sum(&inner.await?));
        }
        Ok(total)
    }

    pub fn shared(&mut self, ctx: &mut ActorContext<Self>) -> (usize, usize, usize) {
        let shared = ctx.cluster().shared_objects();
        (shared.lent, shared.borrowed, shared.in_transit)
    }
}

async fn kill(cluster: &Cluster, reader: &ReaderHandle) {
    let process = bounded(reader.process()).await.unwrap();
    signal_to(process, Signal::KILL);
    until("its end to be known", || cluster.nodes().iter().all(|node| node.process != process)).await;
}

async fn in_store(reader: &ReaderHandle) -> usize {
    bounded(reader.used()).await.unwrap().0
}

/// Waits until no store holds anything.
async fn nothing_is_held(cluster: &Cluster, readers: &[&ReaderHandle]) {
    bounded(async {
        for reader in readers {
            while in_store(reader).await > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .await;
    super::support::all_is_free(cluster).await;
}

async fn an_object_in_the_clusters_care_outlives_its_maker_and_ends_with_its_last_reference() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let [maker, one, two] = &readers(&cluster).await[..] else { panic!("three workers") };
    for bytes in [800, 5 * MIB] {
        let object = bounded(maker.make(1, bytes)).await.unwrap();
        let held_before = bounded(maker.used()).await.unwrap().0;
        bounded(one.keep(vec![object.clone()])).await.unwrap();
        bounded(object.persist(&cluster)).await.unwrap();
        bounded(object.persist(&cluster)).await.expect("it is in good hands already");
        if bytes > MIB {
            assert!(held_before >= bytes);
            until_held(maker, 0).await;
            let held = in_store(one).await + in_store(two).await + used(&cluster);
            assert!(held >= bytes, "its memory has moved");
        }
        assert_eq!(*bounded(cluster.get(&object)).await.unwrap(), *numbers(1, bytes));
        drop(object);
        bounded(one.view()).await.unwrap();
        bounded(one.close()).await.unwrap();
        bounded(one.forget()).await.unwrap();
        nothing_is_held(&cluster, &[maker, one, two]).await;
    }

    let object = bounded(maker.make(2, 5 * MIB)).await.unwrap();
    bounded(one.keep(vec![object.clone()])).await.unwrap();
    bounded(object.persist(&cluster)).await.unwrap();
    kill(&cluster, maker).await;
    assert_eq!(bounded(one.view()).await.unwrap().0, sum(&numbers(2, 5 * MIB)), "who held it, and had not read it");
    assert_eq!(bounded(two.total(&object)).await.unwrap().0, sum(&numbers(2, 5 * MIB)), "who had not even held it");
    assert_eq!(*bounded(cluster.get(&object)).await.unwrap(), *numbers(2, 5 * MIB));
    bounded(one.close()).await.unwrap();
    bounded(one.forget()).await.unwrap();
    assert_eq!(bounded(two.total(&object)).await.unwrap().0, sum(&numbers(2, 5 * MIB)), "one reference is left");
    drop(object);
    nothing_is_held(&cluster, &[one, two]).await;
    bounded(cluster.shutdown()).await;
}

async fn until_held(reader: &ReaderHandle, bytes: usize) {
    bounded(async {
        while in_store(reader).await != bytes {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn an_object_is_given_on_and_on_and_only_the_last_owner_is_needed() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let readers = readers(&cluster).await;
    let [first, second, last] = &readers[..] else { panic!("three workers") };
    let nodes: Vec<_> = cluster.nodes().into_iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    let object = bounded(first.make(3, 5 * MIB)).await.unwrap();
    for (to, from, owner) in [(1, first, second), (2, second, last)] {
        bounded(object.give(&cluster, nodes[to])).await.unwrap();
        until_held(from, 0).await;
        until_held(owner, 5 * MIB).await;
    }
    let view = bounded(cluster.get(&object)).await.unwrap();
    kill(&cluster, first).await;
    kill(&cluster, second).await;
    assert_eq!(bounded(last.total(&object)).await.unwrap().0, sum(&numbers(3, 5 * MIB)));
    assert_eq!(*view, *numbers(3, 5 * MIB));
    // Back to the driver, who then has it by itself.
    bounded(object.give(&cluster, cluster.node_id())).await.unwrap();
    drop(view);
    until_held(last, 0).await;
    assert_eq!(used(&cluster), 5 * MIB);
    kill(&cluster, last).await;
    assert_eq!(*bounded(cluster.get(&object)).await.unwrap(), *numbers(3, 5 * MIB));
    drop(object);
    super::support::all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

#[task]
fn words_of(words: Vec<String>) -> usize {
    words.len()
}

async fn values_of_any_kind_and_what_is_inside_of_them_are_found_by_those_who_were_not_told() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let readers = readers(&cluster).await;
    let nodes: Vec<_> = cluster.nodes().into_iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    let mut makers = Vec::new();
    for node in &nodes {
        makers.push(bounded(Maker::spawn(&cluster).on(*node)).await.unwrap());
    }
    let words = bounded(makers[0].words(20_000)).await.unwrap();
    bounded(makers[2].keep(words.clone())).await.unwrap();
    let inner = bounded(readers[0].make(4, 2 * MIB)).await.unwrap();
    // Inside of an object that is encoded before its owner has heard of anything.
    let nested = bounded(cluster.put(vec![inner.clone()])).await.unwrap();
    bounded(makers[1].keep_nested(nested.clone())).await.unwrap();
    assert_eq!(bounded(makers[1].total()).await.unwrap(), sum(&numbers(4, 2 * MIB)));
    bounded(words.give(&cluster, nodes[1])).await.unwrap();
    bounded(inner.give(&cluster, nodes[1])).await.unwrap();
    drop(inner);
    kill(&cluster, &readers[0]).await;
    assert_eq!(bounded(makers[2].count()).await.unwrap(), 20_000);
    assert_eq!(bounded(words_of::call(&cluster, &words)).await.unwrap(), 20_000);
    assert_eq!(bounded(cluster.get(&words)).await.unwrap().len(), 20_000);
    // It has the identity that its owner gave it, and asks the head whose it is now.
    bounded(makers[2].keep_nested(nested.clone())).await.unwrap();
    assert_eq!(bounded(makers[2].total()).await.unwrap(), sum(&numbers(4, 2 * MIB)));
    drop((words, nested));
    nothing_is_held(&cluster, &[&readers[1], &readers[2]]).await;
    for maker in &makers[1..] {
        bounded(async {
            while bounded(maker.shared()).await.unwrap() != (0, 0, 0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    bounded(cluster.shutdown()).await;
}

#[task]
fn words_up_to(count: usize) -> Vec<String> {
    (0..count).map(|word| word.to_string()).collect()
}

async fn a_result_that_lies_where_it_was_made_is_brought_to_who_owns_it() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [maker, other] = &readers(&cluster).await[..] else { panic!("two workers") };
    let node = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap().id;
    // The driver's own object, whose value is another's: too large for the answer.
    let words = words_up_to::call(&cluster, 30_000).on(node).submit();
    bounded(words.persist(&cluster)).await.unwrap();
    kill(&cluster, maker).await;
    assert_eq!(bounded(cluster.get(&words)).await.unwrap().len(), 30_000);
    assert_eq!(bounded(words_of::call(&cluster, &words)).await.unwrap(), 30_000);
    drop(words);
    nothing_is_held(&cluster, &[other]).await;
    bounded(cluster.shutdown()).await;
}

async fn who_gives_at_the_same_time_gives_once_and_views_stay_as_they_are() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = &readers(&cluster).await[..] else { panic!("two workers") };
    let nodes: Vec<_> = cluster.nodes().into_iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    let object = bounded(cluster.put_slice(&numbers(5, 5 * MIB))).await.unwrap();
    let mine = bounded(cluster.get(&object)).await.unwrap();
    bounded(one.keep(vec![object.clone()])).await.unwrap();
    bounded(one.view()).await.unwrap();
    let gifts = [object.give(&cluster, nodes[0]), object.give(&cluster, nodes[1]), object.give(&cluster, nodes[0])];
    for given in bounded(futures::future::join_all(gifts)).await {
        given.unwrap();
    }
    assert_eq!(*mine, *numbers(5, 5 * MIB));
    assert_eq!(bounded(one.views()).await, Ok(sum(&mine)), "views go on in the memory of who had it");
    drop(mine);
    bounded(one.close()).await.unwrap();
    super::support::all_is_free(&cluster).await;
    let held = in_store(one).await + in_store(two).await;
    assert_eq!(held, 5 * MIB, "one of them has it");
    assert_eq!(bounded(one.view()).await.unwrap().0, sum(&numbers(5, 5 * MIB)));
    bounded(one.close()).await.unwrap();
    bounded(one.forget()).await.unwrap();
    drop(object);
    nothing_is_held(&cluster, &[one, two]).await;
    bounded(cluster.shutdown()).await;
}

async fn who_persists_what_is_being_given_waits_until_all_know_of_it() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let [maker, holder, taker] = &readers(&cluster).await[..] else { panic!("three workers") };
    let to = cluster.nodes().into_iter().rfind(|node| node.hosts_actors).unwrap().id;
    let object = bounded(maker.make(10, 5 * MIB)).await.unwrap();
    bounded(holder.keep(vec![object.clone()])).await.unwrap();
    let holds = bounded(holder.process()).await.unwrap();
    // Until then its claim may be on its way, and its owner does not know that it is to be told.
    until("the holder to be counted", || cluster.shared_objects().in_transit == 0).await;
    // It holds the object, and cannot be told.
    signal_to(holds, Signal::STOP);
    let (mut first, mut second) = (Box::pin(object.give(&cluster, to)), Box::pin(object.persist(&cluster)));
    let moved = async {
        until_held(taker, 5 * MIB).await;
        until_held(maker, 0).await;
    };
    let (mut given, mut persisted) = tokio::select! {
        given = &mut first => (Some(given), None),
        () = moved => (None, None),
    };
    for _ in 0..20 {
        tokio::select! {
            biased;
            done = &mut first, if given.is_none() => given = Some(done),
            done = &mut second, if persisted.is_none() => persisted = Some(done),
            // Its answer comes after those of whatever does not wait.
            _ = in_store(maker) => {}
        }
    }
    signal_to(holds, Signal::CONT);
    // A holder that is silent for too long is not waited for.
    assert!(given.is_some() || persisted.is_none(), "{persisted:?}, and not all know of it");
    if given.is_none() {
        given = Some(bounded(&mut first).await);
    }
    if persisted.is_none() {
        persisted = Some(bounded(&mut second).await);
    }
    assert_eq!((given, persisted), (Some(Ok(())), Some(Ok(()))));
    drop((first, second));
    kill(&cluster, maker).await;
    bounded(object.persist(&cluster)).await.expect("its owner has ended, and the head knows of it");
    assert_eq!(bounded(holder.view()).await.unwrap().0, sum(&numbers(10, 5 * MIB)));
    bounded(holder.close()).await.unwrap();
    bounded(holder.forget()).await.unwrap();
    drop(object);
    nothing_is_held(&cluster, &[holder, taker]).await;
    bounded(cluster.shutdown()).await;
}

async fn what_cannot_be_given_says_why_and_stays() {
    let alone = bounded(Cluster::local()).await.unwrap();
    let object = bounded(alone.put_slice(&numbers(6, MIB))).await.unwrap();
    bounded(object.persist(&alone)).await.expect("nothing outlives the head's own process");
    let nobody = mobula::id::NodeId([7; 32]);
    assert_eq!(bounded(object.give(&alone, nobody)).await, Err(GiveError::NoNode { node: nobody }));
    drop(object);

    let builder = Cluster::local().workers(2).store_memory(8 * MIB).never_spill().store_wait(Duration::from_millis(50));
    let cluster = bounded(builder).await.unwrap();
    let [full, other] = &readers(&cluster).await[..] else { panic!("two workers") };
    let node = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap().id;
    let theirs = bounded(full.make(7, 5 * MIB)).await.unwrap();
    let object = bounded(other.make(8, 5 * MIB)).await.unwrap();
    let refused = bounded(object.give(&cluster, node)).await.unwrap_err();
    assert!(matches!(&refused, GiveError::NotGiven { .. }), "{refused}");
    assert!(refused.to_string().contains("has no room"), "{refused}");
    assert_eq!(*bounded(cluster.get(&object)).await.unwrap(), *numbers(8, 5 * MIB));
    drop(theirs);
    until_held(full, 0).await;
    bounded(object.give(&cluster, node)).await.expect("there is room now");
    let owner = bounded(other.make(9, MIB)).await.unwrap();
    kill(&cluster, other).await;
    let lost = bounded(owner.persist(&cluster)).await.unwrap_err();
    assert!(matches!(&lost, GiveError::NotThere { .. }), "{lost}");
    assert_eq!(*bounded(cluster.get(&object)).await.unwrap(), *numbers(8, 5 * MIB));
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    an_object_in_the_clusters_care_outlives_its_maker_and_ends_with_its_last_reference
    an_object_is_given_on_and_on_and_only_the_last_owner_is_needed
    values_of_any_kind_and_what_is_inside_of_them_are_found_by_those_who_were_not_told
    a_result_that_lies_where_it_was_made_is_brought_to_who_owns_it
    who_gives_at_the_same_time_gives_once_and_views_stay_as_they_are
    who_persists_what_is_being_given_waits_until_all_know_of_it
    what_cannot_be_given_says_why_and_stays
}
