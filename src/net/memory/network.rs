//! A network without sockets: ordered, reliable connections between hosts, that take time and break. Pure: driven step
//! by step by whoever owns it, with one seed and the time they say it is; equal calls give equal deliveries.
//!
//! 1. What one end sends arrives at the other in order and whole, or the connection ends, at both ends.
//! 2. Connections are independent: what is sent later on one may arrive earlier than on another.
//! 3. Loss is what TCP makes of it: a lost message and all after it never arrive, and the connection breaks.
//! 4. A silent cut holds everything back until it is healed, a breaking one ends connections and lets none be opened.

use crate::clock::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a network behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// The least time that a message takes.
    pub delay: Duration,
    /// How much longer it may take: drawn evenly for each message.
    pub jitter: Duration,
    /// Of a million messages, how many are lost, each with its connection.
    pub loss: u32,
}

/// A host of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u32);

/// A connection of the network; numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The end that connected.
    Dialer = 0,
    /// The other.
    Listener = 1,
}

impl End {
    /// The opposite end.
    #[must_use]
    pub const fn other(self) -> End {
        match self {
            End::Dialer => End::Listener,
            End::Listener => End::Dialer,
        }
    }
}

/// What a cut does to what is between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing arrives and nobody is told, until it is healed: then it arrives after all.
    Silent,
    /// Connections end, and none can be opened.
    Breaking,
}

/// What happens at one end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival<T> {
    /// The other end has connected: the first thing that a listener hears.
    Opened,
    /// A message.
    Message(T),
    /// The connection is over: the last thing that an end hears.
    Closed,
}

/// An arrival, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<T> {
    /// The connection.
    pub connection: ConnectionId,
    /// The end at which it arrives.
    pub end: End,
    /// What arrives.
    pub what: Arrival<T>,
}

/// SplitMix64: small, seeded, good enough to draw delays.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        let range = u128::from(most) + 1;
        ((u128::from(self.next()) * range) >> 64) as u64
    }
}

#[derive(Clone, Debug)]
struct Connection {
    hosts: [Host; 2],
    /// Whether each end still takes arrivals.
    open: [bool; 2],
    /// Whether what is sent from here on gets anywhere.
    whole: bool,
    /// When what was last sent to each end arrives.
    last: [Moment; 2],
}

/// The network: `T` is a message.
#[derive(Clone, Debug)]
pub struct Network<T> {
    random: Random,
    weather: Weather,
    connections: BTreeMap<ConnectionId, Connection>,
    /// By when and in which order they were sent.
    arrivals: BTreeMap<(Moment, u64), Delivery<T>>,
    /// What silent cuts hold back, in the order in which it was sent.
    held: BTreeMap<u64, Delivery<T>>,
    cuts: BTreeMap<(Host, Host), Cut>,
    serial: u64,
}

fn pair(a: Host, b: Host) -> (Host, Host) {
    (a.min(b), a.max(b))
}

impl<T> Network<T> {
    /// A network whose delays and losses are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> Network<T> {
        Network {
            random: Random(seed),
            weather,
            connections: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            held: BTreeMap::new(),
            cuts: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Changes how it behaves from here on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Opens a connection; `None` if a cut refuses it. The dialer may send at once.
    pub fn connect(&mut self, now: Moment, dialer: Host, listener: Host) -> Option<ConnectionId> {
        if self.cut_between(dialer, listener) == Some(Cut::Breaking) {
            return None;
        }
        self.serial += 1;
        let id = ConnectionId(self.serial);
        let hosts = [dialer, listener];
        self.connections.insert(id, Connection { hosts, open: [true; 2], whole: true, last: [now; 2] });
        self.schedule(now, id, End::Listener, Arrival::Opened);
        Some(id)
    }

    /// Sends a message from one end. Returns whether that end is still open: if so, and only if the connection does not
    /// end before, it arrives.
    pub fn send(&mut self, now: Moment, id: ConnectionId, from: End, message: T) -> bool {
        match self.connections.get(&id) {
            Some(connection) if connection.open[from as usize] => {
                if !connection.whole {
                    return true;
                }
            }
            _ => return false,
        }
        if self.weather.loss > 0 && self.random.up_to(999_999) < u64::from(self.weather.loss) {
            self.end(now, id);
        } else {
            self.schedule(now, id, from.other(), Arrival::Message(message));
        }
        true
    }

    /// One end closes: nothing arrives there any more, and the other hears of it after what was sent before.
    pub fn close(&mut self, now: Moment, id: ConnectionId, end: End) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let was_whole = std::mem::replace(&mut connection.whole, false);
        connection.open[end as usize] = false;
        if !connection.open[end.other() as usize] {
            self.connections.remove(&id);
        } else if was_whole {
            self.schedule(now, id, end.other(), Arrival::Closed);
        }
    }

    /// Breaks one connection: both ends hear of it after what was sent before.
    pub fn end(&mut self, now: Moment, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::replace(&mut connection.whole, false) {
            self.schedule(now, id, End::Dialer, Arrival::Closed);
            self.schedule(now, id, End::Listener, Arrival::Closed);
        }
    }

    /// Cuts two hosts off from each other, or changes how they are.
    pub fn cut(&mut self, now: Moment, a: Host, b: Host, cut: Cut) {
        if self.cuts.insert(pair(a, b), cut) == Some(Cut::Silent) {
            self.release(now, a, b);
        }
        match cut {
            Cut::Silent => {
                let between = self.between(a, b);
                let cut_off = self.arrivals.extract_if(.., |_, arrival| between.contains(&arrival.connection));
                self.held.extend(cut_off.map(|((_, serial), arrival)| (serial, arrival)));
            }
            Cut::Breaking => {
                let between = self.between(a, b);
                self.arrivals.retain(|_, arrival| !between.contains(&arrival.connection));
                for id in between {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.whole = true;
                        connection.last = [now; 2];
                    }
                    self.end(now, id);
                }
            }
        }
    }

    /// Ends a cut.
    pub fn heal(&mut self, now: Moment, a: Host, b: Host) {
        if self.cuts.remove(&pair(a, b)) == Some(Cut::Silent) {
            self.release(now, a, b);
        }
    }

    /// When the next arrival is due.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.arrivals.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The next arrival that is due by `now`.
    pub fn step(&mut self, now: Moment) -> Option<Delivery<T>> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, arrival) = self.arrivals.pop_first()?;
            let Some(connection) = self.connections.get_mut(&arrival.connection) else { continue };
            if !connection.open[arrival.end as usize] {
                continue;
            }
            if matches!(arrival.what, Arrival::Closed) {
                connection.open[arrival.end as usize] = false;
                if !connection.open[arrival.end.other() as usize] {
                    self.connections.remove(&arrival.connection);
                }
            }
            return Some(arrival);
        }
        None
    }

    /// Connections that have not ended at both ends.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn cut_between(&self, a: Host, b: Host) -> Option<Cut> {
        self.cuts.get(&pair(a, b)).copied()
    }

    fn between(&self, a: Host, b: Host) -> BTreeSet<ConnectionId> {
        let between = |connection: &Connection| pair(connection.hosts[0], connection.hosts[1]) == pair(a, b);
        self.connections.iter().filter(|(_, connection)| between(connection)).map(|(&id, _)| id).collect()
    }

    /// What a silent cut held back is on its way again.
    fn release(&mut self, now: Moment, a: Host, b: Host) {
        let between = self.between(a, b);
        for id in &between {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.last = [now; 2];
            }
        }
        let released: Vec<_> = self.held.extract_if(.., |_, arrival| between.contains(&arrival.connection)).collect();
        for (_, Delivery { connection, end, what }) in released {
            self.schedule(now, connection, end, what);
        }
    }

    fn schedule(&mut self, now: Moment, id: ConnectionId, end: End, what: Arrival<T>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.serial += 1;
        let arrival = Delivery { connection: id, end, what };
        let [a, b] = connection.hosts;
        if self.cuts.get(&pair(a, b)) == Some(&Cut::Silent) {
            self.held.insert(self.serial, arrival);
            return;
        }
        let jitter = self.random.up_to(u64::try_from(self.weather.jitter.as_nanos()).unwrap_or(u64::MAX));
        let last = &mut connection.last[end as usize];
        *last = (now + self.weather.delay + Duration::from_nanos(jitter)).max(*last);
        self.arrivals.insert((*last, self.serial), arrival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Host = Host(1);
    const B: Host = Host(2);
    const C: Host = Host(3);

    fn millis(millis: u64) -> Moment {
        Moment(millis * 1_000_000)
    }

    fn stormy() -> Weather {
        Weather { delay: Duration::from_millis(1), jitter: Duration::from_millis(20), loss: 0 }
    }

    fn drain(network: &mut Network<u32>) -> Vec<(Moment, Delivery<u32>)> {
        std::iter::from_fn(|| {
            let at = network.next()?;
            network.step(at).map(|arrival| (at, arrival))
        })
        .collect()
    }

    fn messages(arrivals: &[(Moment, Delivery<u32>)], id: ConnectionId, end: End) -> Vec<u32> {
        let of = |(_, arrival): &&(_, Delivery<u32>)| arrival.connection == id && arrival.end == end;
        arrivals
            .iter()
            .filter(of)
            .filter_map(|(_, a)| if let Arrival::Message(n) = a.what { Some(n) } else { None })
            .collect()
    }

    #[test]
    fn a_connection_keeps_order_and_connections_overtake_each_other() {
        let mut network = Network::new(7, stormy());
        let ids = [network.connect(millis(0), A, B).unwrap(), network.connect(millis(0), A, B).unwrap()];
        for n in 0..100 {
            assert!(network.send(millis(u64::from(n)), ids[n as usize % 2], End::Dialer, n));
        }
        let arrivals = drain(&mut network);
        for (id, first) in ids.iter().zip(0..) {
            let opened = arrivals.iter().find(|(_, arrival)| arrival.connection == *id).unwrap();
            assert_eq!(opened.1.what, Arrival::Opened);
            assert_eq!(messages(&arrivals, *id, End::Listener), (0..50).map(|n| 2 * n + first).collect::<Vec<_>>());
        }
        let all: Vec<_> = arrivals
            .iter()
            .filter_map(|(_, a)| if let Arrival::Message(n) = a.what { Some(n) } else { None })
            .collect();
        assert!(!all.is_sorted(), "seed 7 reorders connections");
    }

    #[test]
    fn a_close_is_heard_after_what_was_sent_before() {
        let mut network = Network::new(1, stormy());
        let id = network.connect(millis(0), A, B).unwrap();
        assert!(network.send(millis(0), id, End::Dialer, 1));
        assert!(network.send(millis(0), id, End::Listener, 9));
        network.close(millis(0), id, End::Dialer);
        assert!(!network.send(millis(0), id, End::Dialer, 2));
        assert!(network.send(millis(0), id, End::Listener, 3), "the listener does not know yet");
        let heard: Vec<_> = drain(&mut network).into_iter().map(|(_, arrival)| (arrival.end, arrival.what)).collect();
        let at_listener = [Arrival::Opened, Arrival::Message(1), Arrival::Closed].map(|what| (End::Listener, what));
        assert_eq!(heard, at_listener);
        assert!(!network.send(millis(9), id, End::Listener, 4));
        assert_eq!(network.connections(), 0);
    }

    #[test]
    fn a_lost_message_takes_its_connection_with_it() {
        let mut network = Network::new(3, Weather { loss: 100_000, ..stormy() });
        let id = network.connect(millis(0), A, B).unwrap();
        let sent = (0..1_000).take_while(|&n| network.send(millis(0), id, End::Dialer, n)).count();
        assert_eq!(sent, 1_000, "nobody is told before it is heard");
        let arrivals = drain(&mut network);
        let heard = messages(&arrivals, id, End::Listener);
        assert!(heard.len() < 100 && heard == (0..heard.len() as u32).collect::<Vec<_>>());
        let ends: Vec<_> = arrivals.iter().filter(|(_, a)| a.what == Arrival::Closed).map(|(_, a)| a.end).collect();
        assert_eq!(ends.len(), 2);
        assert_eq!(network.connections(), 0);
    }

    #[test]
    fn a_silent_cut_delays_and_a_breaking_one_ends() {
        let mut network = Network::new(5, stormy());
        let (cut, other) = (network.connect(millis(0), A, B).unwrap(), network.connect(millis(0), A, C).unwrap());
        network.send(millis(0), cut, End::Dialer, 1);
        network.cut(millis(0), B, A, Cut::Silent);
        network.send(millis(1), cut, End::Dialer, 2);
        network.send(millis(1), other, End::Dialer, 3);
        let during = drain(&mut network);
        assert!(during.iter().all(|(_, arrival)| arrival.connection == other));
        network.heal(millis(1_000), A, B);
        network.send(millis(1_000), cut, End::Dialer, 4);
        let after = drain(&mut network);
        assert!(after.iter().all(|(at, _)| *at >= millis(1_000)));
        assert_eq!(messages(&after, cut, End::Listener), [1, 2, 4]);

        network.send(millis(2_000), cut, End::Dialer, 5);
        network.cut(millis(2_000), A, B, Cut::Breaking);
        let heard: Vec<_> =
            drain(&mut network).into_iter().map(|(_, arrival)| (arrival.connection, arrival.what)).collect();
        assert_eq!(heard, [(cut, Arrival::Closed), (cut, Arrival::Closed)]);
        assert_eq!(network.connect(millis(3_000), B, A), None);
        network.heal(millis(3_000), A, B);
        assert!(network.connect(millis(3_000), B, A).is_some());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Connect(u32, u32),
        Send(prop::sample::Index, bool),
        Close(prop::sample::Index, bool),
        Cut(u32, u32, bool),
        Heal(u32, u32),
        Wait(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        let host = || 0u32..3;
        let connection = any::<prop::sample::Index>;
        prop_oneof![
            2 => (host(), host()).prop_map(|(a, b)| Act::Connect(a, b)),
            8 => (connection(), any::<bool>()).prop_map(|(at, end)| Act::Send(at, end)),
            1 => (connection(), any::<bool>()).prop_map(|(at, end)| Act::Close(at, end)),
            1 => (host(), host(), any::<bool>()).prop_map(|(a, b, silent)| Act::Cut(a, b, silent)),
            1 => (host(), host()).prop_map(|(a, b)| Act::Heal(a, b)),
            4 => (0u64..20).prop_map(Act::Wait),
        ]
    }

    fn play(seed: u64, acts: &[Act]) -> Vec<(Moment, Delivery<u32>)> {
        let mut network = Network::new(seed, Weather { loss: 10_000, ..stormy() });
        let (mut now, mut ids, mut arrivals) = (millis(0), Vec::new(), Vec::new());
        for (n, act) in (0..).zip(acts) {
            let end = |dialer: bool| if dialer { End::Dialer } else { End::Listener };
            match *act {
                Act::Connect(a, b) => ids.extend(network.connect(now, Host(a), Host(b))),
                Act::Send(at, from) if !ids.is_empty() => {
                    network.send(now, *at.get(&ids), end(from), n);
                }
                Act::Close(at, by) if !ids.is_empty() => network.close(now, *at.get(&ids), end(by)),
                Act::Cut(a, b, silent) => {
                    network.cut(now, Host(a), Host(b), if silent { Cut::Silent } else { Cut::Breaking });
                }
                Act::Heal(a, b) => network.heal(now, Host(a), Host(b)),
                Act::Wait(millis) => now = now + Duration::from_millis(millis),
                Act::Send(..) | Act::Close(..) => {}
            }
            arrivals.extend(std::iter::from_fn(|| network.step(now)).map(|arrival| (now, arrival)));
        }
        (0..3).for_each(|a| (0..3).for_each(|b| network.heal(now, Host(a), Host(b))));
        arrivals.extend(drain(&mut network));
        arrivals
    }

    proptest! {
        #[test]
        fn every_end_hears_messages_in_order_then_at_most_one_close(seed: u64, acts in prop::collection::vec(act(), 0..120)) {
            let arrivals = play(seed, &acts);
            let mut heard: BTreeMap<(ConnectionId, End), Vec<&Arrival<u32>>> = BTreeMap::new();
            for (_, arrival) in &arrivals {
                heard.entry((arrival.connection, arrival.end)).or_default().push(&arrival.what);
            }
            for ((_, end), heard) in heard {
                let numbers: Vec<_> = heard.iter().filter_map(|what| if let Arrival::Message(n) = what { Some(n) } else { None }).collect();
                prop_assert!(numbers.is_sorted());
                let opened = heard.iter().position(|what| **what == Arrival::Opened);
                prop_assert!(matches!((end, opened), (End::Dialer, None) | (End::Listener, Some(0) | None)));
                let closed = heard.iter().position(|what| **what == Arrival::Closed);
                prop_assert!(closed.is_none_or(|at| at + 1 == heard.len()));
            }
            prop_assert_eq!(play(seed, &acts), arrivals, "equal seeds, equal deliveries");
        }
    }
}
