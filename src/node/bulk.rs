//! The bulk lane: chunks of objects, so that a large one delays neither beats nor calls. Both ends of it on one node.
//!
//! ```text
//! pull ── ask ──▶ BulkSession ══ words (wire/chunk.rs) ══ BulkSession ──▶ serve: the object's bytes, if there is a place
//!      ◀─ said ── target                                             ◀── chunk
//! ```
//!
//! A session is between two nodes, not lives: objects are asked for by name, and a name is of one life. Either end asks over
//! it. It is opened by the first pull, and closed when nothing was asked for a while; each node keeps the one that it dialled and the one that it accepted, so that
//! two that dial each other at once do not close both.

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use super::core::link::Party;
use super::core::places::Places;
use super::fetch::ask_node;
use super::link::PeerLink;
use super::runtime::Node;
use crate::actor::remote::host::Incoming;
use crate::actor::remote::{Peer, with_scratch};
use crate::id::{Key, Life, NodeId, ObjectId};
use crate::limits::BULK_OPEN;
use crate::net::{Closed, Inlet, Lane, Refused, Session};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::packet::{Answer, CallFault, Outcome};

mod serve;
mod session;
mod target;
mod unread;

pub(super) use session::BulkSession;
pub(super) use target::{Memory, Target};

use session::BulkInlet;

/// What asks a node to dial this one on the bulk lane is called.
pub(super) const DIAL: Key = Key::of("mobula", "bulk");
/// What tells an object's owner who has a copy is called: serial u64 . 1 or 0.
pub(super) const HOLDS: Key = Key::of("mobula", "holds");

/// A node's part in the bulk lane.
#[derive(Default)]
pub(super) struct Bulk {
    peers: Mutex<FxHashMap<NodeId, Sessions>>,
    /// Who is sent what.
    places: Mutex<Places>,
    /// Objects of others of which their owners were told that a copy is here.
    copies: Mutex<FxHashSet<ObjectId>>,
}

/// Those with one node.
#[derive(Default)]
struct Sessions {
    dialled: Option<Arc<BulkSession>>,
    accepted: Option<Arc<BulkSession>>,
    /// Held by the one that opens one.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Sessions {
    fn place(&mut self, dialled: bool) -> &mut Option<Arc<BulkSession>> {
        if dialled { &mut self.dialled } else { &mut self.accepted }
    }
}

impl Bulk {
    fn open(&self, node: NodeId) -> Option<Arc<BulkSession>> {
        let peers = self.peers.lock();
        let sessions = peers.get(&node)?;
        sessions.dialled.as_ref().or(sessions.accepted.as_ref()).cloned()
    }

    fn opening(&self, node: NodeId) -> Arc<tokio::sync::Mutex<()>> {
        self.peers.lock().entry(node).or_default().opening.clone()
    }

    fn seat(&self, bulk: &Arc<BulkSession>) -> Option<Arc<BulkSession>> {
        let mut peers = self.peers.lock();
        peers.entry(bulk.peer()).or_default().place(bulk.dialled()).replace(bulk.clone())
    }

    /// A session is over.
    fn closed(&self, bulk: &Arc<BulkSession>) {
        let mut gone = None;
        if let Slot::Occupied(mut sessions) = self.peers.lock().entry(bulk.peer()) {
            let place = sessions.get_mut().place(bulk.dialled());
            gone = place.take_if(|current| Arc::ptr_eq(current, bulk));
            let Sessions { dialled, accepted, opening } = sessions.get();
            if dialled.is_none() && accepted.is_none() && Arc::strong_count(opening) == 1 {
                sessions.remove();
            }
        }
        drop(gone);
        self.places.lock().closed(bulk.id());
    }

    /// Sessions with nodes that are no members any more end.
    pub(super) fn end(&self, ended: impl Fn(NodeId) -> bool) {
        let nodes: Vec<NodeId> = self.peers.lock().keys().copied().collect();
        for node in nodes.into_iter().filter(|node| ended(*node)) {
            let sessions = self.peers.lock().remove(&node);
            let sessions = sessions.map(|sessions| [sessions.dialled, sessions.accepted]);
            sessions.into_iter().flatten().flatten().for_each(|bulk| bulk.close(Closed::Ended));
        }
    }
}

impl Node {
    /// A session of the bulk lane: who receives what comes over it.
    pub(super) fn bulk_session(&self, session: Session) -> Result<Box<dyn Inlet>, Refused> {
        let bulk = BulkSession::new(session);
        if let Some(former) = self.bulk().seat(&bulk) {
            former.close(Closed::Superseded);
        }
        // Who dialled it sees to that: of two who close at once, each might take the other's next one for this.
        if bulk.dialled() {
            self.runtime().spawn(BulkSession::close_when_idle(Arc::downgrade(&bulk)));
        }
        Ok(Box::new(BulkInlet::new(self.shared(), bulk)))
    }

    /// A session with the node that lives this life, if one is open.
    pub(super) fn bulk_open(&self, life: Life) -> Option<Arc<BulkSession>> {
        self.bulk().open(self.node_of(life)?)
    }

    /// A session with the node that lives this life, opened if there is none; none if it cannot be had in time.
    pub(super) async fn bulk_to(self: &Arc<Self>, life: Life) -> Option<Arc<BulkSession>> {
        // What this node has it need not ask for.
        let node = self.node_of(life).filter(|node| *node != self.id())?;
        if let Some(open) = self.bulk().open(node) {
            return Some(open);
        }
        let opening = self.bulk().opening(node);
        let open = async {
            let _one = opening.lock().await;
            // Another may have opened it meanwhile.
            if self.bulk().open(node).is_none() {
                self.open_bulk(Party { node, life }).await;
            }
        };
        // Whether it was in time is seen below.
        let _ = tokio::time::timeout(BULK_OPEN, open).await;
        self.bulk().open(node)
    }

    async fn open_bulk(self: &Arc<Self>, peer: Party) {
        match self.addresses(peer.life) {
            Some(addresses) if addresses.is_empty() => {
                // It listens nowhere: it is asked to dial, and does or does not.
                let Some(link) = self.link(peer) else { return };
                if let Err(error) = ask_node(&link, DIAL, &[]).await {
                    tracing::debug!(node = %peer.node, %error, "the peer cannot be asked to dial on the bulk lane");
                }
            }
            Some(addresses) => self.dial_any(peer.node, &addresses, Lane::Bulk).await,
            None => {}
        }
    }

    /// A peer that this node can dial asks to be, on the bulk lane.
    pub(super) fn serve_dial(&self, incoming: &Incoming<'_>) {
        if !incoming.begin() {
            return;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        let (node, life) = (self.shared(), peer.life());
        peer.clone().spawn_linked(Box::pin(async move {
            // Whoever cannot be dialled either is not asked to in turn.
            if node.addresses(life).is_some_and(|addresses| !addresses.is_empty()) {
                node.bulk_to(life).await;
            }
            done(&*peer, arrival.call);
        }));
    }

    /// A peer says whether it has a copy of an object of this node.
    pub(super) fn serve_holds(&self, incoming: &Incoming<'_>) {
        let body = incoming.request.body.split_first_chunk();
        let Some((serial, &[held @ (0 | 1)])) = body.map(|(serial, rest)| (u64::from_le_bytes(*serial), rest)) else {
            incoming.refuse(CallFault::Decode { message: "who has a copy of an object names its serial" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        // One that nobody holds any more is not of interest.
        if let Some(entry) = self.exposed(ObjectId { life: self.last_life(), serial }) {
            entry.held_by(incoming.peer.life(), held == 1);
        }
        done(&**incoming.peer, incoming.arrival.call);
    }

    /// An object of another life has come here, all of it: its owner is told, who names this node to others.
    pub(super) fn has_copy(&self, object: ObjectId, owner: &Arc<PeerLink>) {
        self.bulk().copies.lock().insert(object);
        tell_holds(owner, object, true);
    }

    /// A copy is gone, if there was one.
    pub(super) fn lost_copy(&self, object: ObjectId) {
        if self.bulk().copies.lock().remove(&object)
            && let Some(link) = self.links().get(object.life)
        {
            tell_holds(&link, object, false);
        }
    }
}

/// Not waited for: an owner that is not told names this node in vain, or does not name it.
fn tell_holds(owner: &Arc<PeerLink>, object: ObjectId, held: bool) {
    let mut body = object.serial.to_le_bytes().to_vec();
    body.push(u8::from(held));
    let _ = super::fetch::begin_ask(owner, HOLDS, &Enclosed::default(), &body);
}

fn done(peer: &dyn Peer, call: u64) {
    with_scratch(|_, packet| {
        Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body: &[] } }.encode(packet);
        peer.answer(call, packet, &Enclosed::default());
    });
}
