//! Actors in processes of their own: `isolation = "process"`.
//!
//! ```text
//! spawner ── isolate: actor, memory ──▶ host ── starts this executable again ──▶ child: joins, is nobody else's host
//!         ◀───────── the child's life ──
//!         ── Spawn ────────────────────────────────────────────────────────────▶ makes the actor
//! ```
//!
//! What the head has reserved for the actor lies at its host, which gives it back when the child has ended. A child ends with
//! its actor, with its host's life, and if its actor never comes.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::actors::Reserved;
use super::core::link::Party;
use super::fetch::ask_node;
use super::links::Links;
use super::runtime::Node;
use super::store::StoreSettings;
use super::worker::{self, Orders, WorkerError};
use crate::actor::error::CallError;
use crate::actor::inbox::Host;
use crate::actor::remote::ask::{Plain, answer_value, nonsense};
use crate::actor::remote::host::Incoming;
use crate::directory::KnownLives;
use crate::directory::request::{Ended, Gone};
use crate::id::{ActorId, Key, Life, NodeId, Placement};
use crate::limits::{ACK_DELAY, FAREWELL, ISOLATED_ACTORS, ISOLATED_JOIN};
use crate::net::{Address, ClusterKey, Identity};
use crate::wire::codec;
use crate::wire::packet::{CallFault, Executed};

/// What the request is called.
pub(super) const ISOLATE: Key = Key::of("mobula", "isolate");

/// Whose process this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolated {
    /// The only actor that may be made here.
    pub(crate) actor: ActorId,
    /// How much memory it may take, in bytes, beside what the process has at its start.
    pub(crate) memory: Option<u64>,
}

/// Why an actor got no process of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// There are no processes that could reach each other.
    #[error(
        "this cluster is one process, without sockets, which a process of an actor's own could not reach: start it with `.workers(n)` or `.listen(..)`"
    )]
    OneProcess,
    /// The node has as many as it may.
    #[error("the node has {0} actors in processes of their own, as many as one node starts")]
    Full(usize),
    /// It was not started.
    #[error("{0}")]
    NotStarted(String),
    /// It ended before it had joined.
    #[error("the actor's process ended before it had joined the cluster: {status}")]
    Ended {
        /// What it ended with.
        status: String,
    },
    /// It did not join in time.
    #[error("the actor's process has not joined the cluster within {0:?}")]
    NotJoined(Duration),
}

impl From<WorkerError> for IsolationError {
    fn from(error: WorkerError) -> Self {
        IsolationError::NotStarted(error.to_string())
    }
}

/// What processes of actors are started with, and those that are there.
pub(crate) struct Nursery {
    pub(crate) key: ClusterKey,
    /// Where the head is.
    pub(crate) head: String,
    pub(crate) head_wait: Duration,
    pub(crate) store: StoreSettings,
    /// Where processes are watched: what runs on the node delays it nowhere.
    pub(crate) control: tokio::runtime::Handle,
    pub(crate) children: Mutex<FxHashMap<ActorId, Child>>,
}

/// The process of an actor, which ends when this is dropped.
pub(crate) struct Child {
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// What the head has reserved here for the actor.
    reserved: Option<Arc<Reserved>>,
}

/// What a node has to do with processes of single actors.
pub(super) struct Processes {
    nursery: OnceLock<Nursery>,
    only: Option<Only>,
}

impl Processes {
    pub(super) fn new(isolated: Option<Isolated>) -> Processes {
        Processes { nursery: OnceLock::new(), only: isolated.map(Only::new) }
    }
}

/// An actor is asked to be made in a process of its own.
#[derive(Serialize, Deserialize)]
struct Isolate {
    of: Isolated,
    /// What the head has reserved for it at whom this is asked of.
    reserved: Option<Arc<Reserved>>,
}

impl Node {
    /// It may start processes for actors, by these.
    pub(crate) fn set_nursery(&self, nursery: Nursery) {
        let _ = self.processes().nursery.set(nursery);
    }

    fn nursery(&self) -> Option<&Nursery> {
        self.processes().nursery.get()
    }

    /// The one actor that it may host, if it is that one's process.
    pub(super) fn only(&self) -> Option<&Only> {
        self.processes().only.as_ref()
    }

    /// Waits until there is no more for it to do; for ever if it is no actor's own process.
    pub(crate) async fn done(&self) {
        match self.only() {
            Some(only) => only.done(self.links()).await,
            None => std::future::pending().await,
        }
    }

    /// A process for an actor of this node, at a node that is to be its host. Gives the process's node and life.
    pub(crate) async fn isolated_at(
        self: &Arc<Self>,
        host: Party,
        of: Isolated,
        reserved: Option<Arc<Reserved>>,
    ) -> Result<(NodeId, Life), Result<IsolationError, CallError>> {
        let made = if host.life == Host::life(&**self) {
            self.isolate(of, reserved).await
        } else {
            let gone = || Err(CallError::NodeDied { node: host.node, executed: Executed::No });
            let link = self.link(host).ok_or_else(gone)?;
            let mut body = Vec::new();
            codec::encode(&Isolate { of, reserved }, &mut body)
                .map_err(|error| Ok(IsolationError::NotStarted(error.to_string())))?;
            match ask_node(&link, ISOLATE, &body).await.map_err(Err)? {
                Plain::Value(_, body) => {
                    codec::decode(&body).map_err(|error| Ok(IsolationError::NotStarted(error.to_string())))?
                }
                Plain::App(..) | Plain::Elsewhere(_) => return Err(Err(nonsense())),
            }
        };
        let (node, life) = made.map_err(Ok)?;
        // It has joined, and this node hears of it soon.
        let met = self.until_member(|known| known.get(life).is_some());
        match tokio::time::timeout(ISOLATED_JOIN, met).await {
            Ok(()) => Ok((node, life)),
            Err(_) => Err(Ok(IsolationError::NotJoined(ISOLATED_JOIN))),
        }
    }

    /// Waits until the members are so.
    async fn until_member(&self, is_so: impl Fn(&KnownLives) -> bool) {
        loop {
            // Made before the look: a change in between is not missed.
            let changed = self.members_changed();
            if self.known(|known| is_so(known)) {
                return;
            }
            changed.await;
        }
    }

    /// A peer wants an actor of its own to be made here, in a process of its own.
    pub(super) fn serve_isolate(&self, incoming: &Incoming<'_>) {
        let Ok(Isolate { of, reserved }) = codec::decode::<Isolate>(incoming.request.body) else {
            incoming.refuse(CallFault::Decode { message: "a request for a process names an actor" });
            return;
        };
        if !self.hosts_actors() {
            incoming.refuse(CallFault::NoResources);
            return;
        }
        if !incoming.begin() {
            return;
        }
        let (node, peer, call) = (self.shared(), incoming.peer.clone(), incoming.arrival.call);
        self.runtime().spawn(async move {
            let made = node.isolate(of, reserved).await;
            answer_value(&*peer, call, &made);
        });
    }

    /// Starts a process for an actor, and waits until it has joined.
    async fn isolate(
        self: &Arc<Self>,
        of: Isolated,
        reserved: Option<Arc<Reserved>>,
    ) -> Result<(NodeId, Life), IsolationError> {
        let nursery = self.nursery().ok_or(IsolationError::OneProcess)?;
        let failed = |error: &dyn std::fmt::Display| IsolationError::NotStarted(error.to_string());
        let identity = Identity::generate().map_err(|error| failed(&error))?;
        let id = identity.node_id();
        let listen = match nursery.head.starts_with("tcp:") {
            true => "tcp://127.0.0.1:0".to_owned(),
            false => Address::private().to_string(),
        };
        let mut orders = Orders::new(&nursery.key, &identity, nursery.head.clone(), listen, nursery.store.clone());
        orders.namespace = self.namespace().to_string();
        orders.head_wait = nursery.head_wait;
        orders.isolated = Some(of);
        let epoch = reserved.as_ref().map(|reserved| reserved.epoch);
        let (end, ended) = oneshot::channel();
        let (died, mut status) = oneshot::channel();
        let (started, start) = oneshot::channel();
        {
            let mut children = nursery.children.lock();
            if children.len() >= ISOLATED_ACTORS {
                return Err(IsolationError::Full(ISOLATED_ACTORS));
            }
            let node = self.clone();
            let task = nursery.control.spawn(async move {
                let mut process = match worker::start(&orders) {
                    Ok(process) => process,
                    Err(error) => {
                        node.isolated_over(of.actor);
                        return drop(started.send(Err(error)));
                    }
                };
                drop(orders);
                let _ = started.send(Ok(()));
                process.watched(ended, &node, id, |status| _ = died.send(status)).await;
                node.isolated_over(of.actor);
            });
            children.insert(of.actor, Child { end: Some(end), task, reserved });
        }
        // The same look: its spawner may have ended, and the order to end this have found nothing.
        if self.known(|known| known.has_ended(of.actor.life)) {
            self.end_isolated_of(of.actor);
        }
        // Looked at once it is among them: it was in what a later head was told, or that head is seen here.
        if epoch.is_some_and(|epoch| epoch < self.served()) {
            self.isolated_over(of.actor);
            return Err(failed(&"the head that reserved its resources is no more: try again"));
        }
        match start.await {
            Ok(started) => started?,
            Err(_) => return Err(failed(&"the node is ending")),
        }
        let joined = self.until_member(|known| known.of_node(id).is_some());
        tokio::select! {
            () = joined => {}
            Ok(status) = &mut status => return Err(IsolationError::Ended { status: status.to_string() }),
            () = tokio::time::sleep(ISOLATED_JOIN) => {
                self.isolated_over(of.actor);
                return Err(IsolationError::NotJoined(ISOLATED_JOIN));
            }
        }
        let life = self.known(|known| known.of_node(id));
        life.map(|life| (id, life)).ok_or_else(|| failed(&"it ended as soon as it had joined"))
    }

    /// A process has ended, or never began: its actor takes nothing any more.
    fn isolated_over(&self, actor: ActorId) {
        let child = self.nursery().and_then(|nursery| nursery.children.lock().remove(&actor));
        if child.is_some_and(|child| child.reserved.is_some()) {
            self.client().report(Ended { actor, placement: Placement(0), why: Gone::Killed });
        }
    }

    /// Ends the process of an actor, if this node has started one. The head hears of it when it has ended.
    pub(super) fn end_isolated_of(&self, actor: ActorId) -> bool {
        let Some(nursery) = self.nursery() else { return false };
        let mut children = nursery.children.lock();
        let end = children.get_mut(&actor).map(|child| child.end.take());
        drop(children);
        end.is_some()
    }

    /// What the head has reserved here for actors in processes of their own.
    pub(super) fn isolated_reserved(&self) -> Vec<(ActorId, Arc<Reserved>)> {
        let Some(nursery) = self.nursery() else { return Vec::new() };
        let children = nursery.children.lock();
        children.iter().filter_map(|(actor, child)| Some((*actor, child.reserved.clone()?))).collect()
    }

    /// Ends the processes of actors that this node started, and gives what waits for that.
    pub(crate) fn end_isolated(&self) -> impl Future<Output = ()> + use<> {
        let children = self.nursery().map(|nursery| std::mem::take(&mut *nursery.children.lock())).unwrap_or_default();
        let tasks: Vec<JoinHandle<()>> = children.into_values().map(|child| child.task).collect();
        async move {
            for task in tasks {
                let _ = task.await;
            }
        }
    }
}

/// How far the one actor of this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Expected,
    Made,
    Over,
}

/// What a node knows that is the process of one actor.
pub(super) struct Only {
    pub(super) of: Isolated,
    stage: watch::Sender<Stage>,
}

impl Only {
    fn new(of: Isolated) -> Only {
        Only { of, stage: watch::Sender::new(Stage::Expected) }
    }

    pub(super) fn made(&self) {
        self.stage.send_replace(Stage::Made);
    }

    pub(super) fn over(&self) {
        self.stage.send_replace(Stage::Over);
    }

    /// Waits until there is no more for this process to do: its actor has ended, and its callers have heard of that, or it
    /// never came.
    async fn done(&self, links: &Links) {
        let mut stage = self.stage.subscribe();
        let come = stage.wait_for(|stage| *stage != Stage::Expected);
        if tokio::time::timeout(ISOLATED_JOIN, come).await.is_err() {
            return;
        }
        let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
        let heard = async {
            while !links.all_answered() {
                tokio::time::sleep(ACK_DELAY).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, heard).await;
    }
}
