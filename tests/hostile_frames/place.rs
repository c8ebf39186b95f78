//! A head in this process and a worker in another, both on TCP, and what is seen of them.

use crate::common::*;
use mobula::net::{ClusterKey, Identity, Lane, NetConfig, Role};
use mobula::prelude::*;
use mobula::{id, net};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often everything that is counted has happened at one node.
pub(crate) type Counted = BTreeMap<String, u64>;

/// Says what its process counts, and whether it is there.
#[actor]
pub(crate) struct Witness {
    echoed: u64,
}

#[methods]
impl Witness {
    #[constructor]
    pub fn new() -> Self {
        Self { echoed: 0 }
    }

    pub fn echo(&mut self, number: u64) -> u64 {
        self.echoed += 1;
        number
    }

    pub fn echoed(&self) -> u64 {
        self.echoed
    }

    pub fn counted(&self, ctx: &mut ActorContext<Self>) -> Counted {
        counted(&ctx.cluster())
    }
}

fn counted(cluster: &Cluster) -> Counted {
    cluster.counters().into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
}

/// Whose port a test attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Head,
    Worker,
}

pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    pub(crate) key: ClusterKey,
    pub(crate) head: id::NodeId,
    pub(crate) worker: mobula::NodeInfo,
    pub(crate) witness: WitnessHandle,
}

impl Place {
    pub(crate) async fn start() -> Place {
        let (key, identity) = ClusterKey::generate().unwrap();
        let head = identity.node_id();
        let cluster = Cluster::local().workers(1).listen("tcp://127.0.0.1:0").cluster_key(key.clone());
        let cluster = bounded(cluster.identity(identity)).await.unwrap();
        let worker = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap();
        let witness = bounded(Witness::spawn(&cluster)).await.unwrap();
        Place { cluster, key, head, worker, witness }
    }

    /// `host:port` of a node.
    pub(crate) fn port(&self, at: At) -> String {
        self.address(at).host_port().unwrap()
    }

    pub(crate) fn address(&self, at: At) -> net::Address {
        let address = match at {
            At::Head => self.cluster.addresses().remove(0),
            At::Worker => self.worker.addresses[0].clone(),
        };
        address.parse().unwrap()
    }

    pub(crate) fn node(&self, at: At) -> id::NodeId {
        match at {
            At::Head => self.head,
            At::Worker => self.worker.id,
        }
    }

    pub(crate) async fn counted(&self, at: At) -> Counted {
        match at {
            At::Head => counted(&self.cluster),
            At::Worker => bounded(self.witness.counted()).await.unwrap(),
        }
    }

    /// Waits until a node has counted so much since `before`, and no other refusal than these.
    pub(crate) async fn has_counted(&self, at: At, before: &Counted, expected: &[(&str, u64)]) {
        let mut since = BTreeMap::new();
        let waiting = async {
            loop {
                since = grown(before, &self.counted(at).await);
                if expected.iter().all(|(name, least)| since.get(*name).is_some_and(|grown| grown >= least)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(BOUND, waiting).await;
        for (name, number) in expected {
            assert_eq!(since.get(*name), Some(number), "{name} at {at:?}: {since:?}");
        }
        came.expect("it is counted");
    }

    /// The legitimate peers are served as if nobody else were there.
    pub(crate) async fn is_undisturbed(&self) {
        assert_eq!(bounded(self.witness.echo(7)).await, Ok(7));
    }

    /// Bytes of memory that a node's process has resident.
    pub(crate) fn resident(&self, at: At) -> usize {
        resident(match at {
            At::Head => std::process::id(),
            At::Worker => self.worker.process,
        })
    }

    /// A member's configuration, with the right key.
    pub(crate) fn member(&self) -> NetConfig {
        NetConfig {
            identity: Identity::generate().unwrap(),
            cluster: self.key.clone(),
            role: Role::Worker,
            listen: Vec::new(),
            limits: net::Limits::default(),
            medium: net::Medium::Sockets,
        }
    }

    pub(crate) async fn end(self) {
        self.is_undisturbed().await;
        ends_without_a_trace(self.cluster).await;
    }
}

fn grown(before: &Counted, now: &Counted) -> Counted {
    let grown = now.iter().map(|(name, number)| (name.clone(), number - before.get(name).unwrap_or(&0)));
    grown.filter(|(_, grown)| *grown > 0).collect()
}

/// The lanes on which a node of this kind takes sessions.
pub(crate) const fn lane(at: At) -> Lane {
    match at {
        At::Head => Lane::Control,
        At::Worker => Lane::Calls,
    }
}
