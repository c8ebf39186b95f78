//! The virtual network: connections between processes that deliver in order and whole, or break.
//!
//! Connections are independent of each other: what is sent later on one may arrive earlier than on another. From one machine
//! to another the way may be dark: what is on it waits, in that direction alone, until there is light again. What waits for a
//! process that stands still waits in its socket.

use super::random::Random;
use super::stage::{Event, Queue};
use crate::clock::Moment;
use crate::directory::{FromHead, ToHead};
use crate::id::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A process: the head's, or a node's. A process that is started again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Head { run: u32 },
    Node { index: usize, run: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialer = 0,
    Listener = 1,
}

impl Side {
    pub(super) const fn other(self) -> Side {
        match self {
            Side::Dialer => Side::Listener,
            Side::Listener => Side::Dialer,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Control,
    Calls,
}

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    ToHead(Box<ToHead>),
    FromHead(Box<FromHead>),
    Batch(Vec<u8>),
    /// The peer's life is known as ended.
    Ended,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// The connection stands, both ends have proved who they are.
    Opened,
    Message(Wire),
    Closed,
}

/// One connection, as an end is told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    pub(super) lane: Lane,
    /// The process at this end, and who the other one is.
    pub(super) place: Place,
    pub(super) peer: NodeId,
}

#[derive(Debug)]
struct Connection {
    lane: Lane,
    places: [Place; 2],
    machines: [usize; 2],
    nodes: [NodeId; 2],
    open: [bool; 2],
    whole: bool,
    /// Towards each end: when it arrives, and what.
    ways: [VecDeque<(Moment, What)>; 2],
    last: [Moment; 2],
}

/// How long messages take, and how many of a million are lost with their connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) delay: u64,
    pub(super) jitter: u64,
    pub(super) loss: u64,
}

impl Weather {
    pub(super) const CALM: Weather = Weather { delay: 50, jitter: 200, loss: 0 };
}

/// Who listens at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub(super) place: Place,
    pub(super) machine: usize,
    pub(super) node: NodeId,
}

#[derive(Debug)]
pub(super) struct Network {
    random: Random,
    pub(super) weather: Weather,
    connections: BTreeMap<u64, Connection>,
    dark: BTreeSet<(usize, usize)>,
    pub(super) still: BTreeSet<Place>,
    pub(super) listeners: BTreeMap<Place, Listener>,
    last: u64,
}

impl Network {
    pub(super) fn new(random: Random) -> Network {
        Network {
            random,
            weather: Weather::CALM,
            connections: BTreeMap::new(),
            dark: BTreeSet::new(),
            still: BTreeSet::new(),
            listeners: BTreeMap::new(),
            last: 0,
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_micros(self.weather.delay + self.random.below(self.weather.jitter + 1))
    }

    /// Begins to connect. The dialer hears `Opened`, or `Closed` if nobody listens there.
    pub(super) fn connect(
        &mut self,
        queue: &mut Queue,
        lane: Lane,
        from: Listener,
        to: Result<Listener, usize>,
    ) -> u64 {
        self.last += 1;
        let id = self.last;
        let listener = to.unwrap_or_else(|machine| Listener { machine, ..from });
        let connection = Connection {
            lane,
            places: [from.place, listener.place],
            machines: [from.machine, listener.machine],
            nodes: [from.node, listener.node],
            open: [true; 2],
            whole: true,
            ways: Default::default(),
            last: [queue.now; 2],
        };
        self.connections.insert(id, connection);
        if to.is_ok() {
            self.schedule(queue, id, Side::Listener, What::Opened);
        } else {
            self.schedule(queue, id, Side::Dialer, What::Closed);
        }
        id
    }

    pub(super) fn send(&mut self, queue: &mut Queue, id: u64, from: Side, message: Wire) {
        let Some(connection) = self.connections.get(&id).filter(|connection| connection.whole) else { return };
        if !connection.open[from as usize] {
            return;
        }
        if self.weather.loss > 0 && self.random.below(1_000_000) < self.weather.loss {
            return self.cut(queue, id);
        }
        self.schedule(queue, id, from.other(), What::Message(message));
    }

    /// One end closes: the other hears of it after what was sent before.
    pub(super) fn close(&mut self, queue: &mut Queue, id: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.open[side as usize] = false;
        connection.ways[side as usize].clear();
        let whole = std::mem::replace(&mut connection.whole, false);
        if !connection.open[side.other() as usize] {
            self.connections.remove(&id);
        } else if whole {
            self.schedule(queue, id, side.other(), What::Closed);
        }
    }

    /// Breaks a connection: of what is on its way, each end gets some first part.
    pub(super) fn cut(&mut self, queue: &mut Queue, id: u64) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.whole) else { return };
        connection.whole = false;
        for way in &mut connection.ways {
            let kept = self.random.index(way.len() + 1);
            way.truncate(kept);
        }
        self.schedule(queue, id, Side::Dialer, What::Closed);
        self.schedule(queue, id, Side::Listener, What::Closed);
    }

    /// A process is no more. Its peers hear of it, unless its machine went with it: then only after a long silence.
    pub(super) fn died(&mut self, queue: &mut Queue, place: Place, silence: Duration) {
        self.listeners.remove(&place);
        self.still.remove(&place);
        let its: Vec<(u64, Side)> = self.ends_of(place).collect();
        for (id, side) in its {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let other = side.other() as usize;
            connection.last[other] = connection.last[other].max(queue.now) + silence;
            self.close(queue, id, side);
        }
    }

    fn ends_of(&self, place: Place) -> impl Iterator<Item = (u64, Side)> {
        self.connections.iter().flat_map(move |(id, connection)| {
            let sides = [Side::Dialer, Side::Listener];
            let here = move |side: &Side| connection.places[*side as usize] == place && connection.open[*side as usize];
            sides.into_iter().filter(here).map(|side| (*id, side))
        })
    }

    /// Nothing gets from one machine to another.
    pub(super) fn darken(&mut self, from: usize, to: usize) {
        self.dark.insert((from, to));
    }

    /// There is light again; connections over which something waited go on, or have broken meanwhile.
    pub(super) fn lighten(&mut self, queue: &mut Queue, from: usize, to: usize) {
        if !self.dark.remove(&(from, to)) {
            return;
        }
        let sides = [Side::Dialer, Side::Listener];
        let towards = |connection: &Connection, side: Side| {
            connection.machines[side as usize] == to && connection.machines[side.other() as usize] == from
        };
        let ends: Vec<(u64, Side)> = self
            .connections
            .iter()
            .flat_map(|(id, connection)| sides.map(|side| (*id, side, towards(connection, side))))
            .filter_map(|(id, side, towards)| towards.then_some((id, side)))
            .collect();
        for (id, side) in ends {
            if self.random.one_in(2) {
                self.cut(queue, id);
            }
            self.flow(queue, id, side);
        }
    }

    pub(super) fn lighten_all(&mut self, queue: &mut Queue) {
        for (from, to) in self.dark.clone() {
            self.lighten(queue, from, to);
        }
    }

    /// A process goes on: what waits in its sockets is there now.
    pub(super) fn goes_on(&mut self, queue: &mut Queue, place: Place) {
        if self.still.remove(&place) {
            let its: Vec<(u64, Side)> = self.ends_of(place).collect();
            its.into_iter().for_each(|(id, side)| self.flow(queue, id, side));
        }
    }

    fn flow(&mut self, queue: &mut Queue, id: u64, side: Side) {
        let Some(connection) = self.connections.get(&id) else { return };
        let waiting = connection.ways[side as usize].iter().filter(|(due, _)| *due <= queue.now).count();
        for _ in 0..waiting {
            queue.at(queue.now, Event::Arrival(id, side));
        }
    }

    fn schedule(&mut self, queue: &mut Queue, id: u64, side: Side, what: What) {
        let delay = self.delay();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let last = &mut connection.last[side as usize];
        *last = (queue.now + delay).max(*last);
        connection.ways[side as usize].push_back((*last, what));
        queue.at(*last, Event::Arrival(id, side));
    }

    /// What arrives now at this end, if anything can.
    pub(super) fn arrive(&mut self, queue: &mut Queue, id: u64, side: Side) -> Option<(Whose, What)> {
        let connection = self.connections.get_mut(&id)?;
        let (here, there) = (side as usize, side.other() as usize);
        let dark = self.dark.contains(&(connection.machines[there], connection.machines[here]));
        if dark || !connection.open[here] || self.still.contains(&connection.places[here]) {
            return None;
        }
        if connection.ways[here].front()?.0 > queue.now {
            return None;
        }
        let (_, what) = connection.ways[here].pop_front()?;
        let whose = Whose { lane: connection.lane, place: connection.places[here], peer: connection.nodes[there] };
        match what {
            What::Closed => {
                connection.open[here] = false;
                if !connection.open[there] {
                    self.connections.remove(&id);
                }
            }
            What::Opened if side == Side::Listener => self.schedule(queue, id, Side::Dialer, What::Opened),
            _ => {}
        }
        Some((whose, what))
    }

    /// One of the connections.
    pub(super) fn any(&self, random: &mut Random) -> Option<u64> {
        let whole = self.connections.iter().filter(|(_, connection)| connection.whole);
        let ids: Vec<u64> = whole.map(|(id, _)| *id).collect();
        (!ids.is_empty()).then(|| ids[random.index(ids.len())])
    }
}
