//! One node: what it hosts, whom it is linked to, and its life in the cluster.
//!
//! ```text
//! Cluster ── Node ── actors: what it hosts            life: beats, fence, members (pure)
//!             │      links:  one a peer's life         client: its requests to the head
//!             └────  door to the head: in this process, or a session of the control lane
//! ```

use futures_util::FutureExt;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

use super::actors::Actors;
use super::bulk::Bulk;
use super::busy_poll::BusyPoll;
use super::checkpoints::Checkpoints;
use super::compute::Compute;
use super::core::callers::Callers;
use super::core::life::{Effect, NodeLife, Stuck, Vitals};
use super::core::link::Party;
use super::give::Givings;
use super::isolated::{Isolated, Processes};
use super::links::{Links, Unmet};
use super::look::Looks;
use super::machine;
use super::objects::Objects;
use super::prober::Prober;
use super::spawn::Seeds;
use super::store::{NodeStore, StoreSettings};
use super::tasks::Tasks;
use super::worker::Allowance;
use crate::actor::error::EndReason;
use crate::actor::inbox::{Host, Resolved};
use crate::actor::letters::DeadLetters;
use crate::actor::registry::Registry;
use crate::actor::remote::{Here, NodeRef};
use crate::clock::{self, Moment};
use crate::directory::client::{AskError, Client, Say};
use crate::directory::message::{FromHead, News};
use crate::directory::request::{Advertised, AdvertisedType, Join};
use crate::id::{ActorId, Epoch, Life, NodeId};
use crate::limits::LEASE_LOOK;
use crate::net::{Count, Net};
use crate::object::home::Home;
use crate::object::promised::Promised;
use crate::task::registry::Tasks as TaskTable;
use crate::task::tail::Tail;
use crate::wire::packet::Executed;

mod callers;
mod effects;
mod parts;
mod standing;

pub(crate) use standing::StandingNow;

/// What a node is started with.
pub(crate) struct Settings {
    /// The head's node id.
    pub(crate) head: NodeId,
    pub(crate) join: Join,
    pub(crate) registry: Registry,
    pub(crate) tasks: TaskTable,
    pub(crate) stuck: Stuck,
    pub(crate) head_wait: std::time::Duration,
    /// Tasks that a cluster of one process runs at a time.
    pub(crate) cpus: usize,
    pub(crate) allowance: Allowance,
    pub(crate) namespace: Arc<str>,
    pub(crate) store: StoreSettings,
    /// The actor whose own process it is, if it is one's.
    pub(crate) isolated: Option<Isolated>,
}

/// One node of a cluster.
pub(crate) struct Node {
    me: Weak<Node>,
    here: OnceLock<NodeRef>,
    id: NodeId,
    head: NodeId,
    hosts: bool,
    namespace: Arc<str>,
    runtime: tokio::runtime::Handle,
    compute: Compute,
    registry: Registry,
    task_table: TaskTable,
    life: AtomicU64,
    /// From when on nothing is sent.
    fence_at: AtomicU64,
    serial: AtomicU64,
    object_serial: AtomicU64,
    promised: Promised,
    tasks: Tasks,
    objects: Objects,
    givings: Givings,
    checkpoints: Checkpoints,
    bulk: Bulk,
    store: NodeStore,
    processes: Processes,
    machine: Mutex<Machine>,
    /// Told when the machine's deadline may have moved.
    sooner: Notify,
    /// Told when the node's standing in the cluster changes.
    standing: tokio::sync::watch::Sender<StandingNow>,
    client: Client,
    looks: Looks,
    actors: Actors,
    dead_letters: DeadLetters,
    /// Which runs of actors elsewhere have called.
    callers: Mutex<Callers>,
    links: Links,
    busy_poll: Arc<BusyPoll>,
    prober: Prober,
    seeds: Seeds,
    /// Whether it was ever given sockets.
    connected: AtomicBool,
    net: Mutex<Option<Arc<Net>>>,
    members: Notify,
    /// Told when the head knows that this life is over, or can no longer say so.
    farewell: Notify,
}

struct Machine {
    life: NodeLife,
    /// The open door to the head.
    say: Option<Say>,
    /// Closes that door, so that another is opened.
    hang_up: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Node {
    /// A node that has not joined yet. Called on the runtime that its actors will run on.
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let Settings { head, join, registry, tasks, stuck, head_wait, cpus, namespace, store, isolated, .. } = settings;
        let Allowance { max_queued, lineage_memory: lineage, busy_poll } = settings.allowance;
        let (id, hosts, declared) = (join.node, join.hosts, join.resources.clone());
        let machine = Machine { life: NodeLife::new(join, stuck), say: None, hang_up: None };
        let node = Arc::new_cyclic(|me| Node {
            me: me.clone(),
            here: OnceLock::new(),
            id,
            head,
            hosts,
            namespace,
            runtime: tokio::runtime::Handle::current(),
            compute: Compute::new(machine::processors(), tokio::runtime::Handle::current()),
            registry,
            task_table: tasks,
            life: AtomicU64::new(0),
            fence_at: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            object_serial: AtomicU64::new(0),
            promised: Promised::new(me.clone() as Weak<dyn Home>, max_queued),
            tasks: Tasks::new(me.clone(), max_queued, cpus, declared, Tail::new(store.spilling.folder()), lineage),
            objects: Objects::default(),
            givings: Givings::default(),
            checkpoints: Checkpoints::default(),
            bulk: Bulk::default(),
            store: NodeStore::new(store),
            processes: Processes::new(isolated),
            machine: Mutex::new(machine),
            sooner: Notify::new(),
            standing: tokio::sync::watch::Sender::new(StandingNow::Joining),
            client: Client::new(head_wait),
            looks: Looks::default(),
            actors: Actors::default(),
            dead_letters: DeadLetters::default(),
            callers: Mutex::default(),
            links: Links::default(),
            busy_poll: BusyPoll::new(busy_poll),
            prober: Prober::default(),
            seeds: Seeds::default(),
            connected: AtomicBool::new(false),
            net: Mutex::new(None),
            members: Notify::new(),
            farewell: Notify::new(),
        });
        let host: Arc<dyn Host> = node.clone();
        let here: NodeRef = Arc::new(Here(Arc::downgrade(&host)));
        let _ = node.here.set(here);
        node
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// The head's node id.
    pub(crate) fn head(&self) -> NodeId {
        self.head
    }

    /// Whether actors may be placed on it.
    pub(crate) fn hosts_actors(&self) -> bool {
        self.hosts
    }

    /// Where names belong that are given on this node.
    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.namespace
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    pub(crate) fn net(&self) -> Option<Arc<Net>> {
        self.net.lock().clone()
    }

    /// Counts what happened on its sockets.
    pub(super) fn count_socket(&self, count: Count) {
        if let Some(net) = self.net() {
            net.counters().add(count);
        }
    }

    pub(crate) fn set_net(&self, net: Arc<Net>) {
        self.connected.store(true, Ordering::Release);
        *self.net.lock() = Some(net);
    }

    /// Whether it is a cluster by itself: actors are made in this process, and nothing is encoded.
    pub(crate) fn is_alone(&self) -> bool {
        !self.connected.load(Ordering::Relaxed)
    }

    /// The actor of this identity, if it is here.
    pub(crate) fn hosted(&self, actor: ActorId) -> Resolved {
        match self.actors.get(actor) {
            Some(hosted) => Resolved::Here(hosted.as_any()),
            None => Resolved::Gone(self.actors.end_of(actor).unwrap_or(EndReason::Unknown)),
        }
    }

    /// The life that is lived, or was lived last.
    pub(super) fn last_life(&self) -> Life {
        Life(self.life.load(Ordering::Acquire))
    }

    /// Whether what this life has to say may still be said.
    pub(super) fn may_send(&self, now: Moment) -> bool {
        now.0 < self.fence_at.load(Ordering::Acquire)
    }

    /// The epoch of the head that is obeyed; zero before the first.
    pub(super) fn epoch(&self) -> Epoch {
        self.machine.lock().life.reign().unwrap_or_default().epoch
    }

    pub(super) fn next_object_serial(&self) -> u64 {
        1 + self.object_serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for the next change of membership.
    pub(crate) fn members_changed(&self) -> impl Future<Output = ()> {
        self.members.notified()
    }

    pub(crate) fn here(&self) -> &NodeRef {
        self.here.get().expect("set when the node was made")
    }

    pub(super) fn shared(&self) -> Arc<Node> {
        self.me.upgrade().expect("a method runs on a living node")
    }

    /// The identity of the next actor that this node spawns.
    pub(crate) fn next_actor(&self) -> ActorId {
        ActorId { life: Host::life(self), serial: 1 + self.serial.fetch_add(1, Ordering::Relaxed) }
    }

    /// What this process was compiled with, for its `Join`.
    pub(crate) fn advertised(registry: &Registry, tasks: &TaskTable) -> Advertised {
        let types = registry.types().map(|(key, registered)| AdvertisedType {
            key,
            name: registered.name.to_string().into(),
            constructors: registered.constructors.iter().map(|each| each.message.key).collect(),
        });
        // A task is a type whose one constructor is its signature.
        let tasks = tasks.iter().map(|(name, signature)| AdvertisedType {
            key: name.key(),
            name: name.to_string().into(),
            constructors: vec![signature],
        });
        Advertised::new(types.chain(tasks))
    }

    /// Where the node stands, and changes of that.
    pub(crate) fn standing(&self) -> tokio::sync::watch::Receiver<StandingNow> {
        self.standing.subscribe()
    }

    /// Whether it has left, for good.
    pub(super) fn has_left(&self) -> bool {
        matches!(*self.standing.borrow(), StandingNow::Left)
    }

    /// The life being lived; between two, waits for the next as long as requests wait for the head.
    ///
    /// # Errors
    /// The head is away, or there will be no other life.
    pub(crate) async fn living(&self) -> Result<Life, AskError> {
        let (waited, executed) = (self.client.head_wait(), Executed::No);
        let mut standing = self.standing.subscribe();
        let settled = async {
            match standing.wait_for(|standing| *standing != StandingNow::Joining).await.as_deref() {
                Ok(StandingNow::Member(life)) => Ok(*life),
                _ => Err(AskError::LifeOver { executed }),
            }
        };
        tokio::time::timeout(waited, settled).await.unwrap_or(Err(AskError::HeadAway { waited, executed }))
    }

    /// The life being lived, if a peer that proved to be this party may be spoken to.
    pub(super) fn life_to_meet(&self, peer: Party) -> Result<Life, Unmet> {
        let machine = self.machine.lock();
        machine.life.known().admit(peer.node, peer.life)?;
        machine.life.life().ok_or(Unmet::BetweenLives)
    }

    /// What is known of the other members.
    pub(crate) fn known<R>(&self, look: impl FnOnce(&crate::directory::KnownLives) -> R) -> R {
        look(self.machine.lock().life.known())
    }

    /// A door to the head has opened. `hang_up` closes it.
    pub(crate) fn attached(&self, say: Say, hang_up: Arc<dyn Fn() + Send + Sync>) {
        self.step(|machine, effects| {
            machine.say = Some(say);
            machine.hang_up = Some(hang_up);
            machine.life.attached(clock::now(), effects);
        });
        if let Some(life) = self.is_member() {
            self.attach_client(life);
        }
        self.looks.attached();
    }

    /// That door has closed.
    pub(crate) fn detached(&self) {
        let mut machine = self.machine.lock();
        machine.life.detached();
        machine.say = None;
        machine.hang_up = None;
        drop(machine);
        self.client.detached();
        self.looks.detached();
        self.farewell.notify_one();
    }

    /// The head has spoken.
    pub(crate) fn heard(&self, message: FromHead) {
        if matches!(message.news, News::Ended { life, .. } if life == Host::life(self)) {
            self.farewell.notify_one();
        }
        self.step(|machine, effects| machine.life.said(clock::now(), message, effects));
        self.meet();
    }

    /// Leaves the cluster: the head is told, actors end, links close. Whether a head will answer with its
    /// [`farewell`](Self::farewell).
    pub(crate) fn leave(&self) -> bool {
        let told = self.say_leave();
        self.client.close();
        self.standing.send_replace(StandingNow::Left);
        self.actors.close(&EndReason::ShutDown, |_| true);
        self.links.end_all();
        self.bulk.end(|_| true);
        self.lending_over();
        // Whoever dials is told that the sockets are closed; the node and they must not keep each other alive.
        self.net.lock().take();
        told
    }

    /// Tells the head, if it has not been told, and says whether it was.
    pub(super) fn say_leave(&self) -> bool {
        // An earlier door that closed is no farewell.
        let _ = self.farewell.notified().now_or_never();
        let mut told = false;
        self.step(|machine, effects| {
            machine.life.leave(clock::now(), effects);
            told = machine.say.is_some() && effects.iter().any(|effect| matches!(effect, Effect::Send(_)));
        });
        told
    }

    /// Waits until the head knows that this node has left, or its door closes.
    pub(crate) async fn farewell(&self) {
        self.farewell.notified().await;
    }

    pub(super) fn is_member(&self) -> Option<Life> {
        self.machine.lock().life.life()
    }

    fn attach_client(&self, life: Life) {
        if let Some(say) = self.machine.lock().say.clone() {
            self.client.attached(life, say);
        }
    }

    /// Lets time pass for the life: beats, fence, exit. Runs on the control lane's thread.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let deadline = {
                let mut machine = self.machine.lock();
                machine.life.set_vitals(Vitals { actors: self.actors.len() as u64 });
                machine.life.deadline()
            };
            let now = clock::now();
            match deadline {
                Some(at) if at <= now => self.step(|machine, effects| machine.life.tick(clock::now(), effects)),
                Some(at) => {
                    // The runtime's clock stands still while the machine is suspended, and a lease does not.
                    let pause = at.since(now).min(LEASE_LOOK);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
        }
    }

    fn step(&self, change: impl FnOnce(&mut Machine, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let before = {
            let mut machine = self.machine.lock();
            let before = machine.life.known().version();
            change(&mut machine, &mut effects);
            // Whoever sees the members of a new life also sees that life.
            if let Some(life) = machine.life.life() {
                self.life.store(life.0, Ordering::Release);
            }
            self.fence_at.store(machine.life.fence_at().0, Ordering::Release);
            before
        };
        self.sooner.notify_one();
        for effect in effects {
            self.carry_out(effect);
        }
        let version = self.machine.lock().life.known().version();
        self.client.members(version);
        if version != before {
            self.end_claimed();
            self.members.notify_waiters();
        }
    }
}

/// A random number: of an attempt to join, of a head's start.
pub(crate) fn random_number() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the system for each value; needs to be unlikely to repeat, not secret.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
