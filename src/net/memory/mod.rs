//! The transport inside one process: nodes in a [`MemoryNetwork`] reach each other as over sockets, handshake and all,
//! through a [`Network`] whose delays, losses and cuts come from one seed. Tests and the simulation share that core;
//! this is its thin shell on tokio, whose clock may be paused.
//!
//! One task, the pump, is every node's receive loop.

mod network;

pub use network::{Arrival, ConnectionId, Cut, Delivery, End, Host, Network, Weather};

use super::address::Address;
use super::connection::{Connection, Dialing, Door};
use super::peers::Crowd;
use super::preface::Lane;
use super::session::Closed;
use super::transport::{Gone, Step, Transport, Wire};
use super::{DialError, NetError};
use crate::clock::Moment;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Sees, changes, drops, repeats and swaps the messages of a connection: is given the end that sends, how many that end
/// has sent before, and the message; returns what goes on its way instead.
pub type Tap = Box<dyn FnMut(End, usize, Bytes) -> Vec<Bytes> + Send>;

type At = (ConnectionId, End);

/// Nodes of one process that reach each other by name. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    start: Instant,
    /// The pump is told of whatever may be due sooner than it thinks, and of the network's end.
    changed: Arc<Notify>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

struct State {
    network: Network<Bytes>,
    hosts: BTreeMap<String, Host>,
    listening: BTreeMap<String, Arc<Door>>,
    lines: BTreeMap<ConnectionId, Line>,
    ends: BTreeMap<At, Held>,
    deadlines: BTreeSet<(Instant, At)>,
    closing: VecDeque<At>,
    /// What arrived early, and is due now.
    late: VecDeque<Delivery<Bytes>>,
    taps: BTreeMap<String, (String, Tap)>,
}

/// What the network does not know of a connection.
struct Line {
    lane: Lane,
    listener: String,
    tap: Option<Tap>,
    sent: [usize; 2],
}

/// An end that this process holds, and whose it is. Its connection is elsewhere while it is made, or the pump is at it.
struct Held {
    host: Host,
    connection: Option<Connection>,
    /// What arrived before the connection was made.
    early: Vec<Delivery<Bytes>>,
}

impl Held {
    fn of(host: Host) -> Held {
        Held { host, connection: None, early: Vec::new() }
    }
}

impl MemoryNetwork {
    /// An empty network. Its pump runs on the runtime that this is called on, and ends with its last clone.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> MemoryNetwork {
        let state = State {
            network: Network::new(seed, weather),
            hosts: BTreeMap::new(),
            listening: BTreeMap::new(),
            lines: BTreeMap::new(),
            ends: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            closing: VecDeque::new(),
            late: VecDeque::new(),
            taps: BTreeMap::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), start: Instant::now(), changed: Arc::default() });
        tokio::spawn(pump(Arc::downgrade(&shared)));
        MemoryNetwork(shared)
    }

    /// Changes how it behaves from here on.
    pub fn set_weather(&self, weather: Weather) {
        self.0.state.lock().network.set_weather(weather);
    }

    /// Cuts two nodes, by their names, off from each other.
    pub fn cut(&self, a: &str, b: &str, cut: Cut) {
        self.change(|state, now| {
            let (a, b) = (state.host(a), state.host(b));
            state.network.cut(now, a, b, cut);
        });
    }

    /// Ends a cut.
    pub fn heal(&self, a: &str, b: &str) {
        self.change(|state, now| {
            let (a, b) = (state.host(a), state.host(b));
            state.network.heal(now, a, b);
        });
    }

    /// Puts `tap` in front of the node `target`: the next connection to the name `at` goes through it to there.
    pub fn tap(&self, at: &str, target: &str, tap: Tap) {
        self.0.state.lock().taps.insert(at.to_owned(), (target.to_owned(), tap));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        self.0.change(change)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

impl Shared {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State, Moment) -> T) -> T {
        let changed = change(&mut self.state.lock(), self.now());
        self.changed.notify_one();
        changed
    }
}

impl State {
    fn host(&mut self, name: &str) -> Host {
        let next = Host(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX));
        *self.hosts.entry(name.to_owned()).or_insert(next)
    }

    /// Keeps an end with its connection, unless its node was closed meanwhile.
    fn hold(&mut self, at: At, connection: Connection) {
        if let Some(held) = self.ends.get_mut(&at) {
            self.deadlines.extend(connection.deadline().map(|deadline| (deadline, at)));
            held.connection = Some(connection);
            self.late.extend(held.early.drain(..));
        }
    }

    /// Takes an end out for good.
    fn release(&mut self, at: At) -> Option<Connection> {
        let held = self.ends.remove(&at);
        if !self.ends.contains_key(&(at.0, at.1.other())) {
            self.lines.remove(&at.0);
        }
        held?.connection
    }
}

// ---- the pump ----

/// What the pump does next.
enum Task {
    Deliver(Delivery<Bytes>),
    Close(At),
    Expire(At),
    Wait(Option<Instant>),
}

async fn pump(network: Weak<Shared>) {
    let mut scratch = Vec::new();
    while let Some(shared) = network.upgrade() {
        match shared.next() {
            Task::Deliver(delivery) => shared.deliver(delivery, &mut scratch),
            Task::Close(at) => shared.end(at, |connection| connection.ended(Closed::Here)),
            Task::Expire(at) => {
                shared.change(|state, now| state.network.close(now, at.0, at.1));
                shared.end(at, Connection::expired);
            }
            Task::Wait(until) => {
                let changed = shared.changed.clone();
                drop(shared);
                match until {
                    // Either way there is something to look at.
                    Some(until) => drop(tokio::time::timeout_at(until, changed.notified()).await),
                    None => changed.notified().await,
                }
            }
        }
    }
}

impl Shared {
    fn next(self: &Arc<Self>) -> Task {
        let mut state = self.state.lock();
        if let Some(at) = state.closing.pop_front() {
            return Task::Close(at);
        }
        if let Some(delivery) = state.late.pop_front() {
            return Task::Deliver(delivery);
        }
        if let Some(delivery) = state.network.step(self.now()) {
            return Task::Deliver(delivery);
        }
        while let Some(&(deadline, at)) = state.deadlines.first() {
            let connection = state.ends.get(&at).and_then(|held| held.connection.as_ref());
            let stands = connection.is_some_and(|connection| connection.deadline() == Some(deadline));
            if stands && deadline > Instant::now() {
                break;
            }
            state.deadlines.pop_first();
            if stands {
                return Task::Expire(at);
            }
        }
        let arrival = state.network.next().map(|at| self.start + at.since(Moment(0)));
        let deadline = state.deadlines.first().map(|&(deadline, _)| deadline);
        Task::Wait(arrival.into_iter().chain(deadline).min())
    }

    fn deliver(self: &Arc<Self>, delivery: Delivery<Bytes>, scratch: &mut Vec<u8>) {
        let at = (delivery.connection, delivery.end);
        let mut state = self.state.lock();
        let Some(held) = state.ends.get_mut(&at) else {
            drop(state);
            return if delivery.what == Arrival::Opened {
                self.accept(at)
            };
        };
        let Some(mut connection) = held.connection.take() else { return held.early.push(delivery) };
        match delivery.what {
            Arrival::Message(message) => {
                drop(state);
                match connection.message(&message, scratch) {
                    Step::Stay => self.state.lock().hold(at, connection),
                    Step::Leave => {
                        self.change(|state, now| state.network.close(now, at.0, at.1));
                        self.end(at, |_| ());
                        connection.ended(Closed::Here);
                    }
                }
            }
            Arrival::Opened | Arrival::Closed => {
                state.release(at);
                drop(state);
                connection.ended(Closed::Peer);
            }
        }
    }

    fn accept(self: &Arc<Self>, at: At) {
        let mut state = self.state.lock();
        let line = state.lines.get(&at.0).map(|line| (line.listener.clone(), line.lane));
        let door = line.as_ref().and_then(|(listener, _)| state.listening.get(listener).cloned());
        match (line, door) {
            (Some((listener, lane)), Some(door)) => {
                let host = state.host(&listener);
                state.ends.insert(at, Held::of(host));
                drop(state);
                let connection = Connection::accepted(door, lane, Crowd::Bounded, self.wire(at));
                self.state.lock().hold(at, connection);
            }
            _ => {
                let now = self.now();
                state.network.close(now, at.0, at.1);
            }
        }
    }

    fn end(&self, at: At, how: impl FnOnce(Connection)) {
        let released = self.state.lock().release(at);
        if let Some(connection) = released {
            how(connection);
        }
    }

    fn wire(self: &Arc<Self>, at: At) -> Arc<dyn Wire> {
        Arc::new(MemoryWire { network: Arc::downgrade(self), at })
    }
}

// ---- a node's side ----

struct MemoryWire {
    network: Weak<Shared>,
    at: At,
}

impl Wire for MemoryWire {
    fn send(&self, message: Bytes) -> BoxFuture<'_, Result<(), Gone>> {
        let (id, end) = self.at;
        let sent = self.network.upgrade().is_some_and(|network| {
            network.change(|state, now| {
                let State { lines, network, .. } = state;
                let Some(line) = lines.get_mut(&id) else { return false };
                let nth = line.sent[end as usize];
                line.sent[end as usize] += 1;
                match &mut line.tap {
                    Some(tap) => tap(end, nth, message).into_iter().all(|message| network.send(now, id, end, message)),
                    None => network.send(now, id, end, message),
                }
            })
        });
        ready(if sent { Ok(()) } else { Err(Gone) }).boxed()
    }

    fn admit(&self) {}

    fn close(&self) {
        if let Some(network) = self.network.upgrade() {
            network.change(|state, now| {
                state.network.close(now, self.at.0, self.at.1);
                state.closing.push_back(self.at);
            });
        }
    }
}

/// One node's place in a memory network.
pub(super) struct Memory {
    network: MemoryNetwork,
    name: String,
    runtime: Handle,
}

impl Memory {
    pub(super) fn new(network: MemoryNetwork, name: String) -> Memory {
        Memory { network, name, runtime: Handle::current() }
    }

    fn connect(&self, dialing: &Dialing) -> Result<At, DialError> {
        let to = dialing.to.clone();
        let Address::Memory { name } = &to else { return Err(DialError::Unsupported { to }) };
        let at = self.network.change(|state, now| {
            let (listener, tap) = match state.taps.remove(name) {
                Some((target, tap)) => (target, Some(tap)),
                None => (name.clone(), None),
            };
            if !state.listening.contains_key(&listener) {
                return None;
            }
            let (host, far) = (state.host(&self.name), state.host(&listener));
            let id = state.network.connect(now, host, far)?;
            state.lines.insert(id, Line { lane: dialing.lane, listener, tap, sent: [0; 2] });
            state.ends.insert((id, End::Dialer), Held::of(host));
            Some((id, End::Dialer))
        });
        at.ok_or_else(|| DialError::Unreachable { to, error: io::ErrorKind::ConnectionRefused.into() })
    }
}

impl Memory {
    fn leave(&self) {
        let ended = self.network.change(|state, now| {
            let host = state.host(&self.name);
            let State { listening, hosts, .. } = state;
            listening.retain(|name, _| hosts.get(name) != Some(&host));
            let ours: Vec<_> = state.ends.iter().filter(|(_, held)| held.host == host).map(|(&at, _)| at).collect();
            ours.iter().for_each(|at| state.network.close(now, at.0, at.1));
            ours.into_iter().filter_map(|at| state.release(at)).collect::<Vec<_>>()
        });
        ended.into_iter().for_each(|connection| connection.ended(Closed::Here));
    }
}

impl Transport for Memory {
    fn listen<'a>(&'a self, address: &'a Address, door: &'a Arc<Door>) -> BoxFuture<'a, Result<Address, NetError>> {
        let listen = || {
            let Address::Memory { name } = address else {
                return Err(NetError::Unsupported { address: address.to_string() });
            };
            self.network.change(|state, _| {
                let host = state.host(&self.name);
                // Another name of the same node: cuts know it by either.
                if state.listening.contains_key(name) || *state.hosts.entry(name.clone()).or_insert(host) != host {
                    return Err(NetError::InUse { address: address.to_string() });
                }
                state.listening.insert(name.clone(), door.clone());
                Ok(address.clone())
            })
        };
        ready(listen()).boxed()
    }

    fn dial(&self, dialing: Dialing) -> BoxFuture<'_, Result<(), DialError>> {
        let dial = || {
            let at = self.connect(&dialing)?;
            let connection = dialing.connected(self.network.0.wire(at));
            self.network.change(|state, _| state.hold(at, connection));
            Ok(())
        };
        ready(dial()).boxed()
    }

    fn control(&self) -> Handle {
        self.runtime.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.leave();
        ready(()).boxed()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.leave();
    }
}
