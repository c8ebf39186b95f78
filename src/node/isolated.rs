//! Actors in processes of their own: `isolation = "process"`. One that only its spawner knows is made there by that:
//!
//! ```text
//! spawner ── isolate: actor, memory ──▶ host ── starts this executable again ──▶ child: joins, is nobody else's host
//!         ◀───────── the child's life ──
//!         ── Spawn ────────────────────────────────────────────────────────────▶ makes the actor
//! ```
//!
//! One that the head places is made there by the head's order (`directory/request/isolated.rs`):
//!
//! ```text
//! head ── Host ──▶ host ── starts this executable again ──▶ child ── Join { claims } ──▶ head ── Host ──▶ child
//!      ◀── Hosted: Err, or Ended: the child has ended, and did not claim it ──┘
//! ```
//!
//! What the head has reserved for the actor lies at its host, which gives it back when the child has ended. A child ends with
//! its actor, with its host's life, and if its actor never comes.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::actors::Reserved;
use super::core::link::Party;
use super::fetch::ask_node;
use super::runtime::Node;
use super::store::StoreSettings;
use super::worker::{self, Allowance, Orders, WorkerError};
use crate::actor::error::CallError;
use crate::actor::inbox::Host;
use crate::actor::remote::ask::{Plain, answer_value, nonsense};
use crate::actor::remote::host::Incoming;
use crate::directory::KnownLives;
use crate::directory::request::{self, Claim, Ended, Failure, Gone, Hosted, IsolationError};
use crate::id::{ActorId, Key, Life, NodeId, Placement};
use crate::limits::{ISOLATED_ACTORS, ISOLATED_JOIN};
use crate::net::{Address, ClusterKey, Identity};
use crate::schedule::Resources;
use crate::wire::codec;
use crate::wire::packet::{CallFault, Executed};

mod only;
use only::Only;

/// What the request is called.
pub(super) const ISOLATE: Key = Key::of("mobula", "isolate");

/// Whose process this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolated {
    /// The only actor that may be made here.
    pub(crate) actor: ActorId,
    /// How much memory it may take, in bytes, beside what the process has at its start.
    pub(crate) memory: Option<u64>,
    /// What the process says when it joins, if the head has placed the actor.
    pub(crate) claim: Option<Claim>,
}

impl Isolated {
    /// The process of an actor that is to take this.
    pub(crate) fn new(actor: ActorId, resources: Option<&Resources>, claim: Option<Claim>) -> Isolated {
        let memory = resources.map(|resources| resources.get("memory").as_ten_thousandths() / 10_000);
        Isolated { actor, memory: memory.filter(|bytes| *bytes > 0), claim }
    }

    /// Under which placement.
    fn placement(&self) -> Placement {
        self.claim.map_or(Placement::BY_SPAWNER, |claim| claim.placement)
    }
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
    pub(crate) allowance: Allowance,
    /// Where processes are watched: what runs on the node delays it nowhere.
    pub(crate) control: tokio::runtime::Handle,
    pub(crate) children: Mutex<FxHashMap<ChildId, Child>>,
}

/// Whose process it is, under which placement.
type ChildId = (ActorId, Placement);

/// The process of an actor, which is told to end when `end` is dropped.
pub(crate) struct Child {
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    says: Says,
    /// What the head has reserved here for the actor.
    reserved: Option<Arc<Reserved>>,
}

/// What the head is told once a process has ended.
enum Says {
    /// Nothing: nobody waits to be told.
    Nothing,
    /// That what it reserved here for the actor is free.
    Free,
    /// That an actor which it placed here was not made: for this reason, if it is known before.
    NotMade(Option<IsolationError>),
    /// That an actor which it placed here has ended, as it ordered.
    Ended(Gone),
}

/// A process that was begun.
struct Begun {
    node: NodeId,
    start: oneshot::Receiver<Result<(), WorkerError>>,
    /// None comes if it was told to end.
    status: oneshot::Receiver<ExitStatus>,
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
            Some(only) => only.done(self.links(), self.client()).await,
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
        let asked = codec::decode::<Isolate>(incoming.request.body).ok().filter(|asked| asked.of.claim.is_none());
        let Some(Isolate { of, reserved }) = asked else {
            incoming.refuse(CallFault::Decode { message: "a request for a process names an actor of its own" });
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
        let epoch = reserved.as_ref().map(|reserved| reserved.epoch);
        let begun = self.begin_child(of, reserved, Says::Free)?;
        let id = (of.actor, of.placement());
        // The same look: its spawner may have ended, and the order to end this have found nothing.
        if self.known(|known| known.has_ended(of.actor.life)) {
            self.end_child(id, None);
        }
        // Looked at once it is among them: it was in what a later head was told, or that head is seen here.
        if epoch.is_some_and(|epoch| epoch < self.served()) {
            self.end_child(id, None);
            let why = "the head that reserved its resources is no more: try again";
            return Err(IsolationError::NotStarted(why.to_owned()));
        }
        self.child_joins(id, begun).await
    }

    /// The head placed an actor here that is to have a process of its own (an order). What comes of it is reported once the
    /// process has ended, unless it has joined: then it reports itself.
    pub(super) fn isolate_placed(self: Arc<Self>, host: &request::Host) {
        let (actor, placement) = (host.spawn.actor, host.placement);
        let claim = Claim { actor, placement, host: self.last_life() };
        let of = Isolated::new(actor, Some(&host.spawn.needs.resources), Some(claim));
        let id = (actor, placement);
        // A head that was started anew does not know that it has come to this.
        if self.nursery().is_some_and(|nursery| nursery.children.lock().contains_key(&id)) {
            return;
        }
        let needs = &host.spawn.needs;
        let reserved = Reserved::of(needs.resources.clone(), needs.strategy, self.epoch());
        match self.begin_child(of, reserved, Says::NotMade(None)) {
            Ok(begun) => {
                let node = self.clone();
                self.runtime().spawn(async move { drop(node.child_joins(id, begun).await) });
            }
            Err(why) => {
                let made = Err(Failure::Isolation(why));
                self.client().report(Hosted { actor, placement, made });
            }
        }
    }

    /// Starts a process for an actor. From then on it is among the children, until it has ended and the head was told.
    fn begin_child(
        self: &Arc<Self>,
        of: Isolated,
        reserved: Option<Arc<Reserved>>,
        says: Says,
    ) -> Result<Begun, IsolationError> {
        let nursery = self.nursery().ok_or(IsolationError::OneProcess)?;
        let identity = Identity::generate().map_err(|error| IsolationError::NotStarted(error.to_string()))?;
        let (node, id) = (identity.node_id(), (of.actor, of.placement()));
        let orders = self.orders(nursery, &identity, of);
        let (end, ended) = oneshot::channel();
        let (died, status) = oneshot::channel();
        let (started, start) = oneshot::channel();
        let mut children = nursery.children.lock();
        if children.len() >= ISOLATED_ACTORS {
            return Err(IsolationError::Full(ISOLATED_ACTORS));
        }
        let here = self.clone();
        let task = nursery.control.spawn(async move {
            let mut process = match worker::start(&orders) {
                Ok(process) => process,
                Err(error) => {
                    let why = IsolationError::NotStarted(error.to_string());
                    let _ = started.send(Err(error));
                    return here.child_over(id, why).await;
                }
            };
            drop(orders);
            let _ = started.send(Ok(()));
            let mut why = IsolationError::NotStarted("it was told to end".to_owned());
            let note = |status: ExitStatus| {
                why = IsolationError::Ended { status: status.to_string() };
                let _ = died.send(status);
            };
            process.watched(ended, &here, node, note).await;
            here.child_over(id, why).await;
        });
        children.insert(id, Child { end: Some(end), task, says, reserved });
        Ok(Begun { node, start, status })
    }

    /// What a process of an actor is told.
    fn orders(&self, nursery: &Nursery, identity: &Identity, of: Isolated) -> Orders {
        let listen = match nursery.head.starts_with("tcp:") {
            true => "tcp://127.0.0.1:0".to_owned(),
            false => Address::private().to_string(),
        };
        let mut orders = Orders::new(&nursery.key, identity, nursery.head.clone(), listen, nursery.store.clone());
        orders.namespace = self.namespace().to_string();
        orders.head_wait = nursery.head_wait;
        orders.allowance = nursery.allowance;
        orders.isolated = Some(of);
        orders
    }

    /// Waits until a process has joined, which ends if it takes too long.
    async fn child_joins(self: &Arc<Self>, id: ChildId, begun: Begun) -> Result<(NodeId, Life), IsolationError> {
        let failed = |why: &str| IsolationError::NotStarted(why.to_owned());
        let Begun { node, start, status } = begun;
        start.await.map_err(|_| failed("the node is ending"))??;
        let joined = self.until_member(|known| known.of_node(node).is_some());
        tokio::select! {
            () = joined => {}
            status = status => {
                let ended = |status: ExitStatus| IsolationError::Ended { status: status.to_string() };
                return Err(status.map_or_else(|_| failed("it was told to end"), ended));
            }
            () = tokio::time::sleep(ISOLATED_JOIN) => {
                self.end_child(id, Some(IsolationError::NotJoined(ISOLATED_JOIN)));
                return Err(IsolationError::NotJoined(ISOLATED_JOIN));
            }
        }
        self.change_child(id, |child| {
            if let Says::NotMade(_) = child.says {
                child.says = Says::Free;
            }
        });
        let life = self.known(|known| known.of_node(node));
        life.map(|life| (node, life)).ok_or_else(|| failed("it ended as soon as it had joined"))
    }

    /// A process has ended, or never began. It is forgotten once the head knows what that is to it.
    async fn child_over(&self, (actor, placement): ChildId, why: IsolationError) {
        let id = (actor, placement);
        let says = self.change_child(id, |child| match std::mem::replace(&mut child.says, Says::Nothing) {
            Says::Free if child.reserved.is_none() => Says::Nothing,
            says => says,
        });
        let known = match says {
            None | Some(Says::Nothing) => None,
            Some(Says::Free) => {
                self.client().report(Ended { actor, placement, why: Gone::Killed });
                None
            }
            Some(Says::NotMade(before)) => {
                let made = Err(Failure::Isolation(before.unwrap_or(why)));
                Some(self.client().report_until_known(Hosted { actor, placement, made }))
            }
            Some(Says::Ended(why)) => Some(self.client().report_until_known(Ended { actor, placement, why })),
        };
        if let Some(known) = known {
            known.await;
        }
        let child = self.nursery().and_then(|nursery| nursery.children.lock().remove(&id));
        drop(child);
    }

    fn change_child<T>(&self, id: ChildId, change: impl FnOnce(&mut Child) -> T) -> Option<T> {
        self.nursery()?.children.lock().get_mut(&id).map(change)
    }

    /// Tells the process of an actor to end, if there is one; and why it has, if the head is to be told that it did not make it.
    fn end_child(&self, id: ChildId, why: Option<IsolationError>) -> bool {
        let end = self.change_child(id, |child| {
            if let (Says::NotMade(known), Some(why)) = (&mut child.says, why) {
                *known = Some(why);
            }
            child.end.take()
        });
        end.is_some()
    }

    /// The head ends an actor for which this node has started a process. It hears of it when that has ended.
    pub(super) fn end_isolated_of(&self, actor: ActorId, placement: Placement, why: &Gone) -> bool {
        self.change_child((actor, placement), |child| {
            if let Says::NotMade(_) = child.says {
                child.says = Says::Ended(why.clone());
            }
        });
        self.end_child((actor, placement), None)
    }

    /// What the head has reserved here for actors in processes of their own.
    pub(super) fn isolated_reserved(&self) -> Vec<(ActorId, Arc<Reserved>)> {
        self.of_children(|(actor, _), child| match child.says {
            Says::Free => Some((actor, child.reserved.clone()?)),
            Says::Nothing | Says::NotMade(_) | Says::Ended(_) => None,
        })
    }

    /// The actors that the head placed here and whose processes have not joined yet.
    pub(super) fn isolated_awaited(&self) -> Vec<ChildId> {
        self.of_children(|id, child| matches!(child.says, Says::NotMade(_) | Says::Ended(_)).then_some(id))
    }

    fn of_children<T>(&self, which: impl Fn(ChildId, &Child) -> Option<T>) -> Vec<T> {
        let Some(nursery) = self.nursery() else { return Vec::new() };
        let children = nursery.children.lock();
        children.iter().filter_map(|(id, child)| which(*id, child)).collect()
    }

    /// This node's life is over, and what the head had reserved in it: the processes of actors that it started are told to end.
    pub(super) fn isolated_life_over(&self) {
        let Some(nursery) = self.nursery() else { return };
        let over = |child: &mut Child| {
            child.says = Says::Nothing;
            child.end.take()
        };
        let ends: Vec<_> = nursery.children.lock().values_mut().map(over).collect();
        drop(ends);
    }

    /// How many there are.
    pub(super) fn isolated_children(&self) -> usize {
        self.nursery().map_or(0, |nursery| nursery.children.lock().len())
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
