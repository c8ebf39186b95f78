//! The head, in this process, and workers in processes of their own.

use crate::common::*;
use mobula::NodeInfo;
use mobula::id::NodeId;
use mobula::net::{ClusterKey, Identity};
use mobula::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for nodes to be in doubt before it is over, short enough to wait for its end.
pub const LEASE: Duration = Duration::from_secs(4);
const SUSPECT_AFTER: Duration = Duration::from_millis(1_500);

const HEAD: &str = "MOBULA_TEST_HEAD";
const LISTEN: &str = "MOBULA_TEST_LISTEN";
const ADVERTISE: &str = "MOBULA_TEST_ADVERTISE";
const KEY: &str = "MOBULA_TEST_KEY";

/// The keys of a cluster, in files for its workers.
pub struct Keys {
    key: ClusterKey,
    head: Identity,
    folder: tempfile::TempDir,
}

impl Keys {
    pub fn new() -> Keys {
        let folder = tempfile::tempdir().unwrap();
        let (key, head) = ClusterKey::generate().unwrap();
        key.save(&folder.path().join("key")).unwrap();
        Keys { key, head, folder }
    }

    /// A file of this cluster's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn head(&self, listen: &str, lease: Duration) -> Cluster {
        let head = Cluster::builder().head().listen(listen).cluster_key(self.key.clone()).identity(self.head.clone());
        bounded(head.lease(lease).suspect_after(SUSPECT_AFTER)).await.unwrap()
    }

    /// A worker, once it has joined; within a network namespace, if one is named.
    pub async fn worker(&self, within: Option<&str>, head: &str, listen: &str, advertise: &str) -> Worker {
        let file = self.file("key");
        let text = [(HEAD, head), (LISTEN, listen), (ADVERTISE, advertise)];
        let environment: Vec<(&str, &Path)> =
            text.into_iter().map(|(name, value)| (name, Path::new(value))).chain([(KEY, &*file)]).collect();
        let mut player = Player::start_within(within, "worker", &environment);
        player.reported("joined").await;
        Worker { player }
    }
}

pub struct Worker {
    pub player: Player,
}

impl Worker {
    fn of(&self, cluster: &Cluster) -> Option<NodeInfo> {
        cluster.nodes().into_iter().find(|node| node.process == self.player.process())
    }

    /// Its node, which is a member.
    pub fn id(&self, cluster: &Cluster) -> NodeId {
        self.of(cluster).expect("it is a member").id
    }

    /// Whether it is a member of the cluster that nobody doubts.
    pub fn is_known_to(&self, cluster: &Cluster) -> bool {
        self.of(cluster).is_some_and(|node| !node.suspect)
    }

    /// Whether it is a member, be it in doubt.
    pub fn lives_in(&self, cluster: &Cluster) -> bool {
        self.of(cluster).is_some()
    }
}

/// Runs a worker until it is killed.
pub fn worker() {
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let worker = Cluster::builder().worker_of(given(HEAD)).key(given(KEY)).listen(given(LISTEN));
        let worker = bounded(worker.advertise(given(ADVERTISE)).never_share_memory()).await.unwrap();
        report("joined", worker.node_id());
        std::future::pending::<()>().await;
    });
}
