//! A node's links, one for each life of a peer, and the sessions that they live on.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::core::link::{Failure, Party};
use super::link::{PeerLink, Surroundings};
use super::runtime::Node;
use crate::actor::error::EndReason;
use crate::actor::inbox::Resolved;
use crate::actor::lifetime::At;
use crate::actor::remote::host::{Incoming, Served};
use crate::actor::remote::placed::Placed;
use crate::actor::remote::{NodeRef, Peer, RemoteActor};
use crate::clock::Moment;
use crate::directory::known::Unfit;
use crate::directory::request::DialMe;
use crate::id::{ActorId, Key, Life, NodeId, Placement};
use crate::limits::HANDSHAKE_TIME;
use crate::net::{Address, Closed, Count, Inlet, Lane, Refused, Session};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::frame::Batch;
use crate::wire::packet::{Probe, Ref, Settle};

/// The table of links, and of the actors reached over them.
#[derive(Default)]
pub(crate) struct Links {
    by_life: Mutex<FxHashMap<Life, Arc<PeerLink>>>,
    actors: Mutex<FxHashMap<ActorId, Weak<RemoteActor>>>,
    /// Those that the head placed.
    placed: Mutex<FxHashMap<ActorId, Weak<Placed>>>,
}

impl Links {
    /// The link to this life.
    pub(super) fn get(&self, life: Life) -> Option<Arc<PeerLink>> {
        self.by_life.lock().get(&life).cloned()
    }

    /// The actors that the head placed elsewhere.
    pub(super) fn placed(&self) -> &Mutex<FxHashMap<ActorId, Weak<Placed>>> {
        &self.placed
    }

    /// Lives have ended: so do their links.
    pub(super) fn end(&self, ended: impl Fn(Life) -> bool) {
        let lives: Vec<_> = self.by_life.lock().keys().copied().collect();
        for life in lives.into_iter().filter(|life| ended(*life)) {
            let link = self.by_life.lock().remove(&life);
            if let Some(link) = link {
                link.end(Failure::Ended);
            }
        }
    }

    /// This node's life has ended, and all its links with it.
    pub(super) fn end_all(&self) {
        let links: Vec<_> = self.by_life.lock().drain().map(|(_, link)| link).collect();
        links.iter().for_each(|link| link.end(Failure::Ended));
        self.actors.lock().clear();
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<PeerLink>> {
        self.by_life.lock().values().cloned().collect()
    }

    /// Whether every peer has acknowledged all that was sent to it.
    pub(super) fn all_acknowledged(&self) -> bool {
        self.by_life.lock().values().all(|link| link.is_acknowledged())
    }

    /// Whether every peer has been answered all that it asked, too.
    pub(super) fn all_answered(&self) -> bool {
        self.by_life.lock().values().all(|link| link.is_answered() && link.is_acknowledged())
    }

    /// How many packets have come from peers whose lives go on.
    pub(super) fn received(&self) -> u64 {
        self.by_life.lock().values().map(|link| link.received()).sum()
    }

    fn of_node(&self, node: NodeId) -> Option<Arc<PeerLink>> {
        let by_life = self.by_life.lock();
        by_life.values().filter(|link| link.party().node == node).max_by_key(|link| link.party().life).cloned()
    }
}

/// Why there is no link with a peer in the life that it says it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmet {
    #[error("this node is between two lives")]
    BetweenLives,
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl Node {
    /// The link to a peer's life, made if there is none; none if that life has ended.
    pub(crate) fn link(&self, peer: Party) -> Option<Arc<PeerLink>> {
        self.linked(peer).ok()
    }

    /// The same of a peer that proved to be this node, and says which life it lives.
    fn linked(&self, peer: Party) -> Result<Arc<PeerLink>, Unmet> {
        let mut by_life = self.links().by_life.lock();
        if let Some(link) = by_life.get(&peer.life) {
            let met = Some(link.clone()).filter(|link| link.party().node == peer.node);
            return met.ok_or(Unfit::Foreign(peer.life).into());
        }
        // Under the lock: if either life ends meanwhile, or is another node's as the head says, the link is there to be ended.
        let own = Party { node: self.id(), life: self.life_to_meet(peer)? };
        let former = self.unseen(&by_life, peer.node);
        if let Some(now) = former.filter(|former| *former > peer.life) {
            return Err(Unfit::Superseded { life: peer.life, now }.into());
        }
        let former = former.and_then(|former| by_life.remove(&former));
        let link = PeerLink::start(own, peer, self.shared());
        by_life.insert(peer.life, link.clone());
        drop(by_life);
        if let Some(former) = former {
            former.end(Failure::Ended);
            self.broken(former.party().life);
        }
        Ok(link)
    }

    /// The life under which a node is linked with this one that the head has not told of: there is one at most, the last, or a
    /// member that makes lives up could make as many links.
    fn unseen(&self, by_life: &FxHashMap<Life, Arc<PeerLink>>, node: NodeId) -> Option<Life> {
        let of_node = by_life.values().map(|link| link.party()).filter(|party| party.node == node);
        let lives: Vec<Life> = of_node.map(|party| party.life).collect();
        self.known(|known| lives.into_iter().filter(|life| known.is_unseen(*life)).max())
    }

    /// The head has told of members: what another node had linked with this one under the life of such a member ends.
    pub(super) fn end_claimed(&self) {
        let met: Vec<Party> = self.links().all().iter().map(|link| link.party()).collect();
        let claimed = |party: &Party| self.known(|known| known.is_anothers(party.node, party.life));
        let claimed: Vec<Life> = met.iter().filter(|party| claimed(party)).map(|party| party.life).collect();
        self.links().end(|life| claimed.contains(&life));
    }

    /// The link to a life. One that has dialled this node may not be known as a member yet: the head tells of it a moment later.
    pub(super) fn link_to(&self, life: Life) -> Option<Arc<PeerLink>> {
        self.links().get(life).or_else(|| self.link(Party { node: self.node_of(life)?, life }))
    }

    /// The node that lives this life.
    pub(super) fn node_of(&self, life: Life) -> Option<NodeId> {
        let linked = self.links().get(life).map(|link| link.party().node);
        linked.or_else(|| self.known(|known| known.get(life).map(|member| member.node)))
    }

    /// Where calls to an actor on another node go. The head places actors, and places them again; their spawners do not.
    pub(crate) fn elsewhere(&self, actor: ActorId, type_key: Key, at: At) -> Resolved {
        if at.placement != Placement::BY_SPAWNER {
            return Resolved::Placed(self.placed(actor, type_key, at));
        }
        match self.link_to(at.host) {
            Some(link) => Resolved::There(self.reach(actor, type_key, at.placement, link)),
            None => Resolved::Gone(EndReason::NodeDied),
        }
    }

    /// The one address of an actor beyond a link, so that all its handles here share a stream.
    pub(crate) fn reach(
        &self,
        actor: ActorId,
        type_key: Key,
        placement: Placement,
        link: Arc<PeerLink>,
    ) -> Arc<RemoteActor> {
        let mut actors = self.links().actors.lock();
        if let Some(known) = actors.get(&actor).and_then(Weak::upgrade)
            && known.placement >= placement
        {
            return known;
        }
        let remote = RemoteActor::new(actor, type_key, placement, link);
        actors.insert(actor, Arc::downgrade(&remote));
        // Addresses that nobody holds are forgotten when they are half of what is kept.
        if actors.len() > 64 && actors.len() == actors.capacity() {
            actors.retain(|_, remote| remote.strong_count() > 0);
        }
        remote
    }

    /// The same, if somebody here holds it.
    pub(super) fn reached(&self, actor: ActorId) -> Option<Arc<RemoteActor>> {
        self.links().actors.lock().get(&actor).and_then(Weak::upgrade)
    }

    /// A peer that this node can dial asks to be.
    pub(super) fn dial_caller(&self, life: Life, node: NodeId) {
        if let Some(link) = self.link(Party { node, life }) {
            self.connect(&link);
        }
    }

    /// A session of the calls lane: who receives what comes over it.
    pub(crate) fn calls_session(&self, session: Session) -> Result<Box<dyn Inlet>, Refused> {
        let node = self.shared();
        if !session.dialled() {
            let greeted = Arc::new(AtomicBool::new(false));
            self.runtime().spawn(close_mute(session.clone(), greeted.clone()));
            return Ok(Box::new(CallsInlet { node, session, link: None, greeted }));
        }
        let link = self.links().of_node(session.peer()).ok_or(Refused::Unknown)?;
        link.dialled(&session).map_err(|_| Refused::Duplicate)?;
        let peer: Arc<dyn Peer> = link.clone();
        Ok(Box::new(CallsInlet { node, session, link: Some((link, peer)), greeted: Arc::default() }))
    }

    /// Dials a link's peer until there is a session, or its life has ended.
    async fn dial(self: Arc<Self>, link: Arc<PeerLink>) {
        while link.wants_session() {
            let pause = link.redial_pause();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            if link.wants_session() {
                self.dial_once(&link).await;
            }
        }
        link.end_connecting();
        // One that closed in between found somebody who saw to it.
        if link.wants_session() {
            self.connect(&link);
        }
    }

    async fn dial_once(&self, link: &PeerLink) {
        let peer = link.party();
        match self.addresses(peer.life) {
            None => link.end(Failure::Ended),
            Some(addresses) if addresses.is_empty() => {
                // It listens nowhere: it is asked to dial, and does or does not.
                if let Ok(Err(error)) = self.client().ask(DialMe { peer: peer.life }).await {
                    tracing::debug!(node = %peer.node, %error, "the peer cannot be asked to dial");
                }
            }
            Some(addresses) => self.dial_any(peer.node, &addresses, Lane::Calls).await,
        }
    }

    pub(super) async fn dial_any(&self, node: NodeId, addresses: &[Address], lane: Lane) {
        let Some(net) = self.net() else { return };
        for address in addresses {
            match net.dial(node, address, lane).await {
                Ok(_) => return,
                Err(error) => tracing::debug!(%node, %address, %error, "a peer could not be dialled"),
            }
        }
    }

    /// Where a life may be dialled; none if it has ended.
    pub(super) fn addresses(&self, life: Life) -> Option<Vec<Address>> {
        self.known(|known| {
            let member = known.get(life);
            match member {
                Some(member) => Some(member.addresses.iter().filter_map(|address| address.parse().ok()).collect()),
                None if known.has_ended(life) => None,
                None => Some(Vec::new()),
            }
        })
    }
}

impl Surroundings for Node {
    fn request(&self, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        self.serve(incoming)
    }

    fn may_send(&self, now: Moment) -> bool {
        Node::may_send(self, now)
    }

    fn after_message(&self, now: Moment) {
        if let Some(polls) = self.busy_poll().after_message(now) {
            self.runtime().spawn(polls);
        }
    }

    fn connect(&self, link: &Arc<PeerLink>) {
        if link.begin_connecting() {
            self.runtime().spawn(self.shared().dial(link.clone()));
        }
    }

    fn run(&self, task: BoxFuture<'static, ()>) {
        self.runtime().spawn(task);
    }

    fn here(&self) -> &NodeRef {
        Node::here(self)
    }

    fn probed(&self, link: &PeerLink, probe: &Probe<'_>) {
        self.follow(link, probe);
    }

    fn attach(&self, from: Life, refs: &List<'_, Ref>) -> Enclosed {
        self.references_arrived(from, refs)
    }

    fn enclose(&self, to: Life, enclosed: &Enclosed) {
        if !enclosed.holds.is_empty() {
            self.references_leave(to, enclosed);
        }
    }

    fn not_sent(&self, to: Life, enclosed: &Enclosed) {
        if !enclosed.holds.is_empty() {
            self.references_stay(to, enclosed);
            self.unpin_arguments(enclosed);
        }
    }

    fn pin(&self, to: Life, enclosed: &mut Enclosed) {
        self.pin_arguments(to, enclosed);
    }

    fn broken(&self, with: Life) {
        self.shared().holder_ended(with);
    }

    fn counted(&self, from: Life, settle: &Settle<'_>) -> bool {
        self.references_counted(from, settle)
    }
}

/// Takes what arrives over a session of the calls lane. One that the peer dialled has no link before its hello.
struct CallsInlet {
    node: Arc<Node>,
    session: Session,
    link: Option<(Arc<PeerLink>, Arc<dyn Peer>)>,
    /// Whether the peer has said hello, or is gone.
    greeted: Arc<AtomicBool>,
}

/// Closes a session whose dialer does not say hello: no link is there yet to see to that.
async fn close_mute(session: Session, greeted: Arc<AtomicBool>) {
    tokio::time::sleep(HANDSHAKE_TIME).await;
    if !greeted.load(Ordering::Acquire) {
        session.close(Closed::Protocol);
    }
}

impl Inlet for CallsInlet {
    fn receive(&mut self, plaintext: &[u8]) {
        match &self.link {
            Some((link, peer)) => link.receive(peer, &self.session, plaintext),
            None => self.hello(plaintext),
        }
    }

    fn closed(&mut self, why: Closed) {
        tracing::debug!(peer = %self.session.peer(), %why, "a session has ended");
        self.greeted.store(true, Ordering::Release);
        if let Some((link, _)) = self.link.take() {
            link.closed(&self.session);
        }
    }
}

impl CallsInlet {
    fn hello(&mut self, plaintext: &[u8]) {
        self.greeted.store(true, Ordering::Release);
        let Ok(Batch::Hello(hello)) = Batch::decode(plaintext) else {
            return self.session.close(Closed::Protocol);
        };
        let peer = Party { node: self.session.peer(), life: hello.life };
        let link = match self.node.linked(peer) {
            Ok(link) => link,
            Err(unmet) => {
                if let Unmet::Unfit(unfit) = unmet {
                    tracing::warn!(node = %peer.node, %unfit, "a session is refused");
                    self.node.count_socket(Count::RefusedLife);
                }
                return self.session.close(Closed::Ended);
            }
        };
        match link.accepted(&self.session, &hello) {
            Ok(()) => self.link = Some((link.clone(), link)),
            Err(refused) => {
                tracing::debug!(node = %peer.node, %refused, "a session is refused");
                self.session.close(Closed::Superseded);
            }
        }
    }
}
