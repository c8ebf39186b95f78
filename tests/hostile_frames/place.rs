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

    /// A text of that length.
    pub fn page(&mut self, length: u64) -> String {
        self.echoed += 1;
        "x".repeat(length as usize)
    }

    /// A reference to an object of the worker's own.
    pub async fn lend(&mut self, ctx: &mut ActorContext<Self>, number: u64) -> ObjectRef<u64> {
        self.echoed += 1;
        ctx.cluster().put(number).await.unwrap()
    }

    /// The sum, read in place if it lies in shared memory.
    pub fn sum(&mut self, of: &[u64]) -> u64 {
        self.echoed += 1;
        of.iter().sum()
    }

    /// How many objects of the worker others hold.
    pub fn lent(&self, ctx: &mut ActorContext<Self>) -> usize {
        ctx.cluster().shared_objects().lent
    }

    /// An object of the worker's own.
    pub async fn make(&self, ctx: &mut ActorContext<Self>, items: Vec<u64>) -> mobula::Result<ObjectRef<[u64]>> {
        Ok(ctx.cluster().put_slice(&items).await?)
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
        Place::with_workers(1).await
    }

    /// The witness is on the first of so many.
    pub(crate) async fn with_workers(count: usize) -> Place {
        Place::of(Cluster::local().workers(count)).await
    }

    /// Its processes share no memory.
    pub(crate) async fn apart() -> Place {
        Place::of(Cluster::local().workers(1).never_share_memory()).await
    }

    async fn of(builder: mobula::ClusterBuilder) -> Place {
        let (key, identity) = ClusterKey::generate().unwrap();
        let head = identity.node_id();
        let cluster = builder.listen("tcp://127.0.0.1:0").cluster_key(key.clone());
        let cluster = bounded(cluster.identity(identity)).await.unwrap();
        let worker = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap();
        let witness = bounded(Witness::spawn(&cluster).on(worker.id)).await.unwrap();
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
            // On a machine under load it may be silent for longer than calls wait.
            At::Worker => {
                bounded(async {
                    loop {
                        match self.witness.counted().await {
                            Err(CallError::Unreachable { .. }) => {}
                            counted => break counted.unwrap(),
                        }
                    }
                })
                .await
            }
        }
    }

    /// What a node has counted, once nothing is open there but its legitimate peer's connections: one of each lane.
    pub(crate) async fn at_rest(&self, at: At) -> Counted {
        let mut counted = BTreeMap::new();
        let waiting = async {
            loop {
                counted = self.counted(at).await;
                if open(&counted) == (2, 2) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(BOUND, waiting).await;
        assert!(came.is_ok(), "(connections, sessions) open at {at:?}: {:?}, {counted:?}", open(&counted));
        counted
    }

    /// Waits until a node has counted so much since it was at rest, has done with `strangers` connections, and is at rest
    /// again. On a machine under load a legitimate peer may have lapsed and come again meanwhile: each of its connections may
    /// add one to whatever is counted, and nothing else may. Gives what was counted since, and how many those were.
    pub(crate) async fn has_counted(
        &self,
        at: At,
        before: &Counted,
        strangers: u64,
        expected: &[(&str, u64)],
    ) -> (Counted, u64) {
        let mut since = BTreeMap::new();
        let number = |since: &Counted, name: &str| since.get(name).copied().unwrap_or_default();
        let waiting = async {
            loop {
                since = grown(before, &self.at_rest(at).await);
                let came = number(&since, "guard_accepted") >= strangers;
                if came && expected.iter().all(|(name, least)| number(&since, name) >= *least) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(BOUND, waiting).await;
        let all = number(&since, "guard_accepted") + number(&since, "guard_dialled");
        let again = all.saturating_sub(strangers);
        for (name, least) in expected {
            let most = least + again;
            assert!((*least..=most).contains(&number(&since, name)), "{name} {least}..={most} at {at:?}: {since:?}");
        }
        came.unwrap_or_else(|_| panic!("{strangers} strangers at {at:?}: {since:?}"));
        assert_eq!(number(&since, "guard_ended"), all, "each connection ends once: {since:?}");
        (since, again)
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

/// Guarded connections, and sessions, that are open.
fn open(counted: &Counted) -> (u64, u64) {
    let of = |name: &str| counted[name];
    let connections = of("guard_accepted") + of("guard_dialled") - of("guard_ended");
    (connections, of("session_accepted") + of("session_dialled") - of("session_closed"))
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
