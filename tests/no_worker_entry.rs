//! A program that could not be a worker: it is told so instead of being run again and again.
#![allow(missing_docs)]

mod common;

use common::bounded;
use mobula::net::ClusterKey;
use mobula::prelude::*;
use mobula::{Actor, IsolationError, SpawnError, StartError};

#[actor]
struct Nobody;

#[methods]
impl Nobody {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

#[tokio::test]
async fn workers_need_an_entry_and_the_error_says_which() {
    let error = bounded(Cluster::local().workers(2)).await.unwrap_err();
    assert!(matches!(error, StartError::Worker(_)), "{error:?}");
    for entry in ["#[mobula::main]", "mobula::enter()", "mobula::test_worker!();"] {
        assert!(error.to_string().contains(entry), "{error}");
    }
}

#[tokio::test]
async fn nor_does_an_actor_get_a_process_of_its_own_without_one_and_its_spawner_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("ipc://{}", folder.path().join("sockets").display());
    let (key, head) = ClusterKey::generate().unwrap();
    let cluster = bounded(Cluster::local().listen(address).cluster_key(key).identity(head)).await.unwrap();
    // Twice by a name, which is free again.
    for spawn in
        [Nobody::spawn(&cluster), Nobody::spawn(&cluster).name("nobody"), Nobody::spawn(&cluster).name("nobody")]
    {
        let error = bounded(spawn.isolated().restarts(3)).await.err().unwrap();
        let SpawnError::Isolation(IsolationError::NotStarted(why)) = error else { panic!("{error:?}") };
        assert!(why.contains("mobula::enter()"), "{why}");
    }
    common::ends_without_a_trace(cluster).await;
}

#[tokio::test]
async fn without_workers_no_entry_is_needed() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let nobody = bounded(Nobody::spawn(&cluster)).await.unwrap();
    assert_eq!(nobody.id(), nobody.as_ref().id());
    assert_eq!(Nobody::NAME.to_string(), "no_worker_entry::Nobody");
    common::ends_without_a_trace(cluster).await;
}
