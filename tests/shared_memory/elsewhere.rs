//! Waiting for what other nodes have, and leaving it there.

use super::support::{MIB, bounded, used};
use bytes::Bytes;
use mobula::prelude::*;
use mobula::{GetError, WaitSettled};
use std::time::Duration;

const SIZE: usize = 3 * MIB;

/// Answers once it is open.
#[actor]
struct Gate {
    open: tokio::sync::watch::Sender<bool>,
}

#[methods(concurrency = 8)]
impl Gate {
    #[constructor]
    pub fn new() -> Self {
        Self { open: tokio::sync::watch::Sender::new(false) }
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub async fn bytes(&self, size: usize) -> mobula::Result<Bytes> {
        self.open.subscribe().wait_for(|open| *open).await?;
        match size {
            0 => Err("nothing of that size")?,
            size => Ok(Bytes::from(vec![7; size])),
        }
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

/// Owns the results of calls that it does not wait for.
#[actor]
struct Owner;

#[methods]
impl Owner {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn ask(&mut self, of: GateHandle, sizes: Vec<usize>) -> Vec<ObjectRef<Bytes>> {
        sizes.into_iter().map(|size| of.bytes(size).submit().erase()).collect()
    }
}

async fn gate() -> (Cluster, GateHandle, OwnerHandle) {
    let cluster = bounded(Cluster::local().workers(1).never_share_memory()).await.unwrap();
    let (gate, owner) = (bounded(Gate::spawn(&cluster)).await.unwrap(), bounded(Owner::spawn(&cluster)).await.unwrap());
    (cluster, gate, owner)
}

fn at_once(wait: WaitSettled<Bytes>) -> WaitSettled<Bytes> {
    wait.without_fetching().timeout(Duration::ZERO)
}

async fn a_wait_without_fetching_learns_that_values_are_there_and_leaves_them_there() {
    let (cluster, gate, owner) = gate().await;
    let theirs = bounded(owner.ask(gate.clone(), vec![SIZE, SIZE, 100, 0])).await.unwrap();
    let (settled, pending) = bounded(at_once(cluster.wait(theirs.clone(), 4))).await;
    assert_eq!((settled.len(), pending.len()), (0, 4), "none of them is there");
    assert!(theirs.iter().all(|reference| !reference.is_settled()));
    let waiting = tokio::spawn(cluster.wait(pending, 4));
    bounded(gate.open()).await.unwrap();
    let (settled, pending) = bounded(waiting).await.unwrap();
    assert_eq!((settled.len(), pending.len(), used(&cluster)), (4, 0, 0), "all are there, and none is here");
    assert!(theirs.iter().all(ObjectRef::is_settled));
    let (settled, _) = bounded(at_once(cluster.wait(theirs.clone(), 4))).await;
    assert_eq!((settled.len(), used(&cluster)), (4, 0), "and that is known now");
    let failed = bounded(cluster.get(&theirs[3])).await.unwrap_err();
    assert!(failed.to_string().contains("nothing of that size"), "{failed}");
    assert_eq!(bounded(cluster.get(&theirs[0])).await.unwrap(), vec![7; SIZE], "it comes when it is read");
    assert_eq!((used(&cluster), bounded(cluster.get(&theirs[2])).await.unwrap().len()), (SIZE, 100));
    // One who wants the value waits for the value.
    let (settled, _) = bounded(cluster.wait([theirs[1].clone()], 1)).await;
    assert_eq!((settled.len(), used(&cluster)), (1, 2 * SIZE));
    bounded(cluster.shutdown()).await;
}

async fn who_reads_and_who_only_waits_are_both_told() {
    let (cluster, gate, owner) = gate().await;
    let theirs = bounded(owner.ask(gate.clone(), vec![SIZE, SIZE])).await.unwrap();
    let read_first = tokio::spawn(cluster.get(&theirs[0]).into_future());
    let mut stream = cluster.as_settled(theirs.clone()).without_fetching();
    let waiting = tokio::spawn(async move {
        let mut order = Vec::new();
        while let Some(next) = futures::StreamExt::next(&mut stream).await {
            order.push(next.id());
        }
        order
    });
    let (none, _) = bounded(at_once(cluster.wait([theirs[1].clone()], 1))).await;
    assert!(none.is_empty());
    let read_last = tokio::spawn(cluster.get(&theirs[1]).into_future());
    bounded(gate.open()).await.unwrap();
    assert_eq!(bounded(waiting).await.unwrap().len(), 2);
    for read in [read_first, read_last] {
        assert_eq!(bounded(read).await.unwrap().unwrap().len(), SIZE);
    }
    bounded(cluster.shutdown()).await;
}

async fn an_owner_that_ends_ends_the_wait() {
    let (cluster, gate, owner) = gate().await;
    let theirs = bounded(owner.ask(gate.clone(), vec![SIZE])).await.unwrap();
    let process = bounded(gate.process()).await.unwrap();
    let (none, pending) = bounded(at_once(cluster.wait(theirs, 1))).await;
    assert!(none.is_empty());
    let waiting = tokio::spawn(cluster.wait(pending, 1));
    super::common::kill(process);
    let (settled, _) = bounded(waiting).await.unwrap();
    let error = bounded(cluster.get(&settled[0])).await.unwrap_err();
    assert!(matches!(error, GetError::Lost { .. }), "{error}");
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    a_wait_without_fetching_learns_that_values_are_there_and_leaves_them_there
    who_reads_and_who_only_waits_are_both_told
    an_owner_that_ends_ends_the_wait
}
