//! The connections of one listening socket: who said what, and whose time is up. Every half-open connection has the
//! same time, so their deadlines expire in the order of arrival and a queue holds them.

use super::connection::{Connection, Door};
use super::preface::Lane;
use super::session::Closed;
use super::transport::{Step, Wire};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::time::Instant;

/// What a socket calls a peer: 16 bytes that this side made, for a peer that chose its own could take another's place.
pub(crate) type PeerName = [u8; 16];

/// Who bounds the handshakes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Net: beyond the bound, the newest is told that the node is busy.
    Bounded,
    /// The guard, among connections whose addresses it knows: the oldest gives way.
    Guarded,
}

/// The connections of one listening socket, each by its name.
pub(crate) struct Peers {
    door: Arc<Door>,
    lane: Lane,
    crowd: Crowd,
    connections: FxHashMap<PeerName, Connection>,
    half_open: VecDeque<(Instant, PeerName)>,
    scratch: Vec<u8>,
}

impl Peers {
    pub(crate) fn new(door: Arc<Door>, lane: Lane, crowd: Crowd) -> Peers {
        let (connections, half_open, scratch) = Default::default();
        Peers { door, lane, crowd, connections, half_open, scratch }
    }

    /// A peer is there, which the transport may tell before or after its first message.
    pub(crate) fn connected(&mut self, name: PeerName, wire: impl FnOnce() -> Arc<dyn Wire>) -> &mut Connection {
        match self.connections.entry(name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let connection = Connection::accepted(self.door.clone(), self.lane, self.crowd, wire());
                self.half_open.extend(connection.deadline().map(|deadline| (deadline, name)));
                entry.insert(connection)
            }
        }
    }

    /// A message of a peer, known or not.
    pub(crate) fn message(&mut self, name: PeerName, message: &[u8], wire: impl FnOnce() -> Arc<dyn Wire>) -> Step {
        let mut scratch = std::mem::take(&mut self.scratch);
        let step = self.connected(name, wire).message(message, &mut scratch);
        self.scratch = scratch;
        if step == Step::Leave {
            self.connections.remove(&name);
        }
        step
    }

    /// A peer is gone, or is to go.
    pub(crate) fn ended(&mut self, name: PeerName, why: Closed) {
        if let Some(connection) = self.connections.remove(&name) {
            connection.ended(why);
        }
    }

    /// When [`Peers::expire`] has something to do.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        while let Some(&(deadline, name)) = self.half_open.front() {
            if self.connections.get(&name).is_some_and(|connection| connection.deadline() == Some(deadline)) {
                return Some(deadline);
            }
            self.half_open.pop_front();
        }
        None
    }

    /// Ends the next peer whose time for the handshake was up by `now`.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<PeerName> {
        let name = self.deadline().filter(|&deadline| deadline <= now).and(self.half_open.pop_front())?.1;
        if let Some(connection) = self.connections.remove(&name) {
            connection.expired();
        }
        Some(name)
    }

    /// All are to go, for the node closes.
    pub(crate) fn end_all(&mut self) {
        self.connections.drain().for_each(|(_, connection)| connection.ended(Closed::Here));
    }
}
