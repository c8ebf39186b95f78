//! Who is connected: the bounds on connections and handshakes, and the way from an identity to its connection's task.

use super::relay::{Control, Order};
use super::zmtp::PeerIdentity;
use super::{Ending, Limits};
use crate::net::counters::{Count, Counters};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Notify;

/// Told of each connection that had an identity before a ROUTER, once, when it ends.
pub(super) type Ended = Box<dyn Fn(PeerIdentity, Ending) + Send + Sync>;

/// Every connection that was accepted and has not ended.
pub(super) struct Seats {
    limits: Limits,
    counters: Arc<Counters>,
    ended: Ended,
    table: Mutex<Table>,
    left: Notify,
}

#[derive(Default)]
struct Table {
    closed: bool,
    serial: u64,
    connections: BTreeMap<u64, Connection>,
    /// How many of them gave way: they no longer count, but their tasks have not ended yet.
    leaving: usize,
    addresses: HashMap<IpAddr, Address>,
    identities: HashMap<PeerIdentity, u64>,
    /// In the order of their arrival.
    handshakes: BTreeMap<u64, IpAddr>,
}

struct Connection {
    control: Arc<Control>,
    address: IpAddr,
    leaving: bool,
}

#[derive(Default)]
struct Address {
    connections: usize,
    handshakes: usize,
}

/// One connection's place; dropping it gives it back.
pub(super) struct Seat {
    seats: Arc<Seats>,
    serial: u64,
    control: Arc<Control>,
    identity: PeerIdentity,
    presented: bool,
    ending: Ending,
}

impl Seats {
    pub(super) fn new(limits: Limits, counters: Arc<Counters>, ended: Ended) -> Arc<Self> {
        Arc::new(Self { limits, counters, ended, table: Mutex::default(), left: Notify::new() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A place for a connection from `address`, for which the oldest handshake may have to give way.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, identity: PeerIdentity) -> Option<Seat> {
        let address = network(address);
        let control = Arc::new(Control::default());
        let mut table = self.table.lock();
        if table.closed || !table.make_room(address, &self.limits) || table.identities.contains_key(&identity) {
            return None;
        }
        table.serial += 1;
        let serial = table.serial;
        table.connections.insert(serial, Connection { control: control.clone(), address, leaving: false });
        table.identities.insert(identity, serial);
        table.handshakes.insert(serial, address);
        let of_address = table.addresses.entry(address).or_default();
        of_address.connections += 1;
        of_address.handshakes += 1;
        drop(table);
        let seats = self.clone();
        Some(Seat { seats, serial, control, identity, presented: false, ending: Ending::Closed })
    }

    /// The handshake of this connection is done.
    pub(super) fn admit(&self, identity: &PeerIdentity) {
        let mut table = self.table.lock();
        let Some(&serial) = table.identities.get(identity) else { return };
        if table.end_handshake(serial) {
            self.counters.add(Count::GuardAdmitted);
            table.tell(serial, Order::Admitted);
        }
    }

    /// Ends this connection.
    pub(super) fn close(&self, identity: &PeerIdentity) {
        let table = self.table.lock();
        if let Some(&serial) = table.identities.get(identity) {
            table.tell(serial, Order::Close);
        }
    }

    /// Ends all connections and admits none any more.
    pub(super) fn close_all(&self) {
        let mut table = self.table.lock();
        table.closed = true;
        for connection in table.connections.values() {
            connection.control.tell(Order::Close);
        }
    }

    /// Waits until the last connection's task has ended.
    pub(super) async fn emptied(&self) {
        self.until(|table| table.connections.is_empty()).await;
    }

    /// Waits until the tasks of those that gave way have caught up with a burst of newcomers.
    pub(super) async fn settled(&self) {
        self.until(|table| table.leaving < self.limits.handshakes).await;
    }

    async fn until(&self, holds: impl Fn(&Table) -> bool) {
        loop {
            let left = self.left.notified();
            if holds(&self.table.lock()) {
                return;
            }
            left.await;
        }
    }

    /// Connections that have not ended.
    pub(super) fn len(&self) -> usize {
        self.table.lock().connections.len()
    }
}

impl Table {
    fn make_room(&mut self, address: IpAddr, limits: &Limits) -> bool {
        if self.leaving >= limits.handshakes {
            return false;
        }
        if self.addresses.get(&address).is_some_and(|address| address.connections >= limits.connections_per_address) {
            return self.crowd_out(address);
        }
        if self.connections.len() - self.leaving >= limits.connections || self.handshakes.len() >= limits.handshakes {
            let busiest = self.addresses.iter().max_by_key(|(_, address)| address.handshakes);
            return busiest.map(|(&address, _)| address).is_some_and(|address| self.crowd_out(address));
        }
        true
    }

    /// Makes the oldest handshake of `address` give way.
    fn crowd_out(&mut self, address: IpAddr) -> bool {
        let oldest = self.handshakes.iter().find(|&(_, &of)| of == address).map(|(&serial, _)| serial);
        let Some(serial) = oldest else { return false };
        self.end_handshake(serial);
        self.leave(serial);
        self.tell(serial, Order::CrowdedOut);
        true
    }

    fn end_handshake(&mut self, serial: u64) -> bool {
        let Some(address) = self.handshakes.remove(&serial) else { return false };
        if let Some(address) = self.addresses.get_mut(&address) {
            address.handshakes -= 1;
        }
        true
    }

    /// Stops counting it against the bounds, once.
    fn leave(&mut self, serial: u64) {
        let Some(connection) = self.connections.get_mut(&serial).filter(|connection| !connection.leaving) else {
            return;
        };
        connection.leaving = true;
        self.leaving += 1;
        let address = connection.address;
        if let Some(of_address) = self.addresses.get_mut(&address) {
            of_address.connections -= 1;
            if of_address.connections == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    fn remove(&mut self, serial: u64, identity: &PeerIdentity) {
        self.end_handshake(serial);
        self.leave(serial);
        self.leaving -= 1;
        self.connections.remove(&serial);
        self.identities.remove(identity);
    }

    fn tell(&self, serial: u64, order: Order) {
        if let Some(connection) = self.connections.get(&serial) {
            connection.control.tell(order);
        }
    }
}

impl Seat {
    pub(super) fn control(&self) -> Arc<Control> {
        self.control.clone()
    }

    /// The identity, which a ROUTER is about to learn: from now on its end will be told.
    pub(super) fn present(&mut self) -> PeerIdentity {
        self.presented = true;
        self.identity
    }

    /// Gives the place back.
    pub(super) fn end(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.seats.table.lock();
        table.remove(self.serial, &self.identity);
        drop(table);
        self.seats.counters.add(Count::GuardEnded);
        self.seats.counters.add(self.ending.count());
        if self.presented {
            (self.seats.ended)(self.identity, self.ending);
        }
        self.seats.left.notify_waiters();
    }
}

/// What is bounded as one address: who has one IPv6 address has its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::guard::Violation;

    fn seats(limits: Limits) -> Arc<Seats> {
        Seats::new(limits, Arc::default(), Box::new(|_, _| {}))
    }

    fn enter(seats: &Arc<Seats>, address: &str, number: u8) -> Option<Seat> {
        seats.enter(address.parse().unwrap(), PeerIdentity([number; 16]))
    }

    #[test]
    fn who_has_one_ipv6_address_has_its_network() {
        let seats = seats(Limits { connections_per_address: 1, handshakes: 8, ..Limits::default() });
        let first = enter(&seats, "2001:db8::1", 1);
        seats.admit(&PeerIdentity([1; 16]));
        assert!(first.is_some() && enter(&seats, "2001:db8::ffff:2", 2).is_none());
        assert!(enter(&seats, "2001:db8:0:1::1", 3).is_some());
        let mapped = enter(&seats, "::ffff:10.0.0.1", 4);
        seats.admit(&PeerIdentity([4; 16]));
        assert!(mapped.is_some() && enter(&seats, "10.0.0.1", 5).is_none());
    }

    #[test]
    fn those_that_gave_way_are_bounded_until_their_tasks_have_ended() {
        let seats = seats(Limits { handshakes: 2, ..Limits::default() });
        let mut held: Vec<_> = (0..4).map(|number| enter(&seats, "10.0.0.1", number).unwrap()).collect();
        assert!(enter(&seats, "10.0.0.2", 9).is_none(), "two handshakes, two that leave");
        assert_eq!(seats.len(), 4);
        held.remove(0).end(Ending::Refused(Violation::Command)); // it ended before it learned that it gave way
        held.push(enter(&seats, "10.0.0.2", 9).unwrap());
        held.clear();
        let table = seats.table.lock();
        assert_eq!((table.connections.len(), table.leaving, table.addresses.len()), (0, 0, 0));
        assert!(table.identities.is_empty() && table.handshakes.is_empty());
    }

    #[test]
    fn the_address_with_the_most_handshakes_gives_way() {
        let seats = seats(Limits { handshakes: 4, ..Limits::default() });
        let held: Vec<_> = [("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.2", 3), ("10.0.0.2", 4), ("10.0.0.3", 5)]
            .into_iter()
            .map(|(address, number)| enter(&seats, address, number).unwrap())
            .collect();
        let waiting: Vec<u64> = seats.table.lock().handshakes.keys().copied().collect();
        assert_eq!(waiting, [1, 3, 4, 5], "the oldest of 10.0.0.2 gave way");
        drop(held);
    }

    #[test]
    fn a_closed_table_takes_nobody() {
        let seats = seats(Limits::default());
        seats.close_all();
        assert!(enter(&seats, "10.0.0.1", 1).is_none());
    }
}
