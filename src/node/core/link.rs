//! `Link`: everything two node lives owe each other about calls, over any number of sessions (PROTOCOLS §1).
//!
//! ```text
//!  caller's poll        cell                     session opened, closed      life ended
//!       | send, cancel    | begin, answer, item       | dialled, hello            | end
//!       v                 v                           v                           v
//!  +--------------------------------- Link -----------------------------------------+
//!  |  streams -> work Outbox ->|                                                    |
//!  |           settle Outbox ->| take_batch -> sealed and sent outside of the lock   |
//!  |  receive -> Inboxes, tables -> deliveries, applied outside of the lock          |
//!  +--------------------------------------------------------------------------------+
//! ```
//!
//! The shell holds the link in a lock that it never keeps while user code runs: packets are encoded before it is
//! taken, and what arrives leaves as [`Delivery`]s that hold places in the batch, not decoded values. Tokens are given
//! back and never dropped in here, for their drop may be the user's. `received` rises when [`Link::receive`] returns,
//! so the shell applies its deliveries, in their order, before it receives again or lets a new session say hello: one
//! more lock, held around both.
//!
//! `T` is the caller's token of a call, the shell's way to whoever waits for it.

use super::calls::{Calls, Slab, Slot};
use super::channel::{Inbox, Outbox};
use super::reply::{Consumer, Producer};
use super::stream::{Incoming, Outgoing};
use crate::clock::Moment;
use crate::id::{Life, NodeId};
use crate::limits::{
    ACK_BYTES, BATCH_BYTES, BATCH_HEADER, HANDSHAKE_TIME, KEEPALIVE, SETTLE_BACKLOG, SETTLE_WINDOW, UNREACHABLE_AFTER,
    WORK_WINDOW,
};
use crate::wire::frame::{Header, Hello, Section};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod caller;
mod delivery;
mod host;
mod receive;
mod session;

#[cfg(test)]
mod tests;

pub use caller::{Called, Demand, Patience, Sent, Taken};
pub use delivery::{Arrival, Breach, Delivery, Failure, Span};
pub use host::{Answered, Begin, Begun, ItemSent};
pub use session::{SessionRefused, Side};

/// A node in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub life: Life,
}

/// Names a call of this node over one link, from its first poll to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(Slot);

impl Ticket {
    /// The name as a number, for layers that do not know this type.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// The name of this number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(Slot::from_bits(bits))
    }
}

/// Names a stream of this node over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Slot);

impl StreamId {
    /// The name as a number, for layers that do not know this type.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.bits()
    }

    /// The name of this number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(Slot::from_bits(bits))
    }
}

/// Whether work is acknowledged as it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// At once.
    Given,
    /// Not while this node's mailboxes hold more than they should.
    Withheld,
}

/// How much a link holds (I5), for counters and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load {
    /// Work packets and their bytes that the peer has not acknowledged.
    pub work: (u64, usize),
    /// Settle packets and their bytes that the peer has not acknowledged.
    pub settle: (u64, usize),
    /// Calls of this node that wait, or were sent and not answered.
    pub asks: usize,
    /// Asks of the peer that were not answered.
    pub serving: usize,
    /// Streams of this node with credit out.
    pub streams_out: usize,
    /// Requests of the peer that have not begun.
    pub queued: u64,
}

/// A call of this node.
#[derive(Debug)]
struct Ask<T> {
    /// None once nobody waits.
    token: Option<T>,
    stream: Slot,
    order: u64,
    deadline: Option<Moment>,
    patience: Patience,
    tell: bool,
    /// The packet, while it waits.
    waiting: Option<Box<[u8]>>,
    /// Its work number, once sent.
    call: u64,
    consumer: Option<Box<Consumer>>,
}

/// An ask of the peer.
#[derive(Clone, Copy, Debug)]
struct Served {
    stream: u32,
    begun: bool,
}

/// The session that the link lives on now.
#[derive(Clone, Copy, Debug)]
struct Session {
    /// The shell's name for it.
    id: u64,
    /// Its dialer's number.
    number: u64,
    dialer: Side,
    since: Moment,
    said_hello: bool,
    heard_hello: bool,
}

/// The state of one link between two lives.
#[derive(Debug)]
pub struct Link<T> {
    own: Party,
    peer: Party,
    ended: bool,
    session: Option<Session>,
    /// How many sessions this node has dialled; the highest number of the peer's.
    dials: u64,
    peer_dials: u64,

    work: Outbox,
    settle: Outbox,
    work_in: Inbox,
    settle_in: Inbox,
    /// Bytes of work that the peer allows unacknowledged; that this node allows.
    window: usize,
    room: usize,
    /// Bytes of work applied since the room last changed.
    room_used: usize,
    acks: Acks,
    ack_at: Option<Moment>,
    ack_now: bool,

    asks: Slab<Ask<T>>,
    pending: Calls<Slot>,
    streams: Slab<Outgoing>,
    /// By number on the wire.
    numbers: Vec<Option<Slot>>,
    free_numbers: Vec<u32>,
    /// Streams that wait for nothing but the window.
    line: VecDeque<Slot>,
    order: u64,

    serving: Calls<Served>,
    incoming: Vec<Incoming>,
    owing: Vec<u32>,
    credit_at: Option<Moment>,
    cancelled_early: BTreeSet<u64>,
    producers: BTreeMap<u64, Producer>,
    /// Those of them that wait for the peer to read what was sent before.
    stalled: BTreeSet<u64>,

    /// When the peer was last heard; since when something is expected of it; when it was last asked for a sign.
    heard: Moment,
    expecting: Option<Moment>,
    echoed: Moment,
    unreachable: bool,
    /// Whether the sender task knows that there is something to take.
    sender_knows: bool,
    packet: Vec<u8>,
}

impl<T: Clone> Link<T> {
    /// The link from `own` to `peer`, before any session.
    #[must_use]
    pub fn new(now: Moment, own: Party, peer: Party) -> Self {
        Self {
            own,
            peer,
            ended: false,
            session: None,
            dials: 0,
            peer_dials: 0,
            work: Outbox::new(),
            settle: Outbox::new(),
            work_in: Inbox::default(),
            settle_in: Inbox::default(),
            window: WORK_WINDOW,
            room: WORK_WINDOW,
            room_used: 0,
            acks: Acks::Given,
            ack_at: None,
            ack_now: false,
            asks: Slab::new(),
            pending: Calls::new(),
            streams: Slab::new(),
            numbers: Vec::new(),
            free_numbers: Vec::new(),
            line: VecDeque::new(),
            order: 0,
            serving: Calls::new(),
            incoming: Vec::new(),
            owing: Vec::new(),
            credit_at: None,
            cancelled_early: BTreeSet::new(),
            producers: BTreeMap::new(),
            stalled: BTreeSet::new(),
            heard: now,
            expecting: None,
            echoed: now,
            unreachable: false,
            sender_knows: false,
            packet: Vec::new(),
        }
    }

    /// The other side.
    #[must_use]
    pub const fn peer(&self) -> Party {
        self.peer
    }

    /// Whether the link has ended.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether the peer counts as unreachable.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// The number of the last request that was sent, and of the last that the peer has acknowledged: it has them all.
    #[must_use]
    pub const fn work_progress(&self) -> (u64, u64) {
        self.work.progress()
    }

    /// How much it holds.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            work: (self.work.unacked(), self.work.unacked_bytes()),
            settle: (self.settle.unacked(), self.settle.unacked_bytes()),
            asks: self.asks.len(),
            serving: self.serving.len(),
            streams_out: self.numbers.len() - self.free_numbers.len(),
            queued: self.incoming.iter().map(|stream| u64::from(stream.queued)).sum(),
        }
    }

    /// Bytes of work that no session was handed yet.
    #[must_use]
    pub fn waiting_work(&self) -> usize {
        self.work.waiting_bytes()
    }

    /// Whether packets can flow: there is a session, and both sides have said hello.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.session.is_some_and(|session| session.said_hello && session.heard_hello)
    }

    /// Whether the shell should see to a session: something is to be sent or expected, and there is none.
    #[must_use]
    pub fn wants_session(&self) -> bool {
        self.session.is_none() && !self.ended && self.expects()
    }

    /// True once whenever the sender task has something new to take and does not know yet: wake it.
    #[must_use]
    pub fn wake_sender(&mut self, now: Moment) -> bool {
        let wake = !self.sender_knows && self.has_batch(now);
        self.sender_knows |= wake;
        wake
    }

    fn has_batch(&self, now: Moment) -> bool {
        let Some(session) = self.session else { return false };
        if !session.said_hello || !session.heard_hello {
            return !session.said_hello;
        }
        let budget = BATCH_BYTES - BATCH_HEADER;
        self.ack_due(now)
            || self.echo_due(now)
            || self.settle.plan(budget, SETTLE_WINDOW).length > 0
            || self.work.plan(budget, self.window).length > 0
    }

    /// Writes the next batch, at most `BATCH_BYTES`, for the session whose name it gives. None: nothing to send now,
    /// and the next [`Link::wake_sender`] will say when there is.
    pub fn take_batch(&mut self, now: Moment, out: &mut Vec<u8>) -> Option<u64> {
        out.clear();
        if !self.has_batch(now) {
            self.sender_knows = false;
            return None;
        }
        let session = self.session.as_mut()?;
        let (id, number) = (session.id, session.number);
        if !session.said_hello {
            session.said_hello = true;
            self.say_hello(number, out);
            return Some(id);
        }
        let (budget, withheld) = (BATCH_BYTES - BATCH_HEADER, self.withholds());
        let settle = self.settle.plan(budget, SETTLE_WINDOW);
        let work = self.work.plan(budget - settle.length, self.window);
        let echo = self.echo_due(now);
        let header = self.header(number, echo);
        header.encode(settle.length > 0, work.length > 0, out);
        for (plan, outbox) in [(settle, &mut self.settle), (work, &mut self.work)] {
            if plan.length > 0 {
                Section::begin(plan.first, plan.length, out);
                outbox.take(plan, out);
            }
        }
        if echo {
            self.echoed = now;
        }
        if withheld && !self.withholds() && self.work_in.owes() {
            self.ack_now = true;
        }
        self.expect(now);
        Some(id)
    }

    /// How many packets were applied.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.work_in.received + self.settle_in.received
    }

    fn say_hello(&mut self, session: u64, out: &mut Vec<u8>) {
        self.settle_in.acknowledge();
        self.work_in.acknowledge();
        let (received_work, received_settle) = (self.work_in.received, self.settle_in.received);
        let (life, to, dialled) = (self.own.life, self.peer.life, self.dials);
        Hello { life, to, session, dialled, received_work, received_settle }.encode(out);
    }

    fn header(&mut self, session: u64, echo: bool) -> Header {
        self.settle_in.acknowledge();
        if self.withholds() {
            (self.room, self.room_used) = (WORK_WINDOW, 0);
        } else {
            self.work_in.acknowledge();
        }
        (self.ack_at, self.ack_now) = (None, false);
        let (ack_work, ack_settle) = (self.work_in.acked, self.settle_in.acked);
        Header { session, ack_work, ack_settle, room_work: self.room as u64, echo }
    }

    /// Acknowledges work as it is applied, or holds that back.
    pub fn set_acks(&mut self, acks: Acks) {
        if acks == Acks::Given && self.acks == Acks::Withheld && self.work_in.owes() {
            self.ack_now = true;
        }
        if acks == Acks::Withheld {
            (self.room, self.room_used) = (WORK_WINDOW, 0);
        }
        self.acks = acks;
    }

    /// Whether work is not acknowledged as it is applied: mailboxes hold too much, or the peer leaves too much unread. What it
    /// asks now, it would have answered behind that.
    fn withholds(&self) -> bool {
        self.acks == Acks::Withheld || self.settle.waiting_bytes() > SETTLE_BACKLOG
    }

    fn owes_ack(&self) -> bool {
        self.settle_in.owes() || (!self.withholds() && self.work_in.owes())
    }

    fn ack_due(&self, now: Moment) -> bool {
        let bytes = self.settle_in.unacked_bytes + if self.withholds() { 0 } else { self.work_in.unacked_bytes };
        self.ack_now || bytes >= ACK_BYTES || (self.owes_ack() && self.ack_at.is_some_and(|at| at <= now))
    }

    /// Whether anything is expected of the peer: an answer, credit or room for what waits, an acknowledgement.
    fn expects(&self) -> bool {
        self.asks.len() > 0 || self.work.unacked() > 0 || self.settle.unacked() > 0
    }

    /// Begins to count the peer's silence, or stops.
    fn expect(&mut self, now: Moment) {
        self.expecting = match self.expecting {
            _ if self.ended || !self.expects() => None,
            None => Some(now),
            since => since,
        };
    }

    fn silent_since(&self) -> Option<Moment> {
        self.expecting.map(|since| since.max(self.heard))
    }

    fn echo_due(&self, now: Moment) -> bool {
        self.silent_since().is_some_and(|since| since.max(self.echoed) + KEEPALIVE <= now)
    }

    /// When [`Link::tick`] has something to do, or [`Link::wake_sender`] something to say, at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let session = self.session.filter(|_| !self.ended);
        let established = self.is_established();
        let hello = session.filter(|session| !session.heard_hello).map(|session| session.since + HANDSHAKE_TIME);
        let ack = self.ack_at.filter(|_| established && self.owes_ack());
        let echo = self.silent_since().filter(|_| established).map(|since| since.max(self.echoed) + KEEPALIVE);
        let silence = self.silent_since().filter(|_| !self.unreachable).map(|since| since + UNREACHABLE_AFTER);
        [hello, ack, echo, silence, self.credit_at].into_iter().flatten().min()
    }

    /// Does what is due. Gives the name of a session that is to be closed: its peer never said hello.
    pub fn tick(&mut self, now: Moment, deliveries: &mut Vec<Delivery<T>>) -> Option<u64> {
        if self.credit_at.is_some_and(|at| at <= now) {
            self.return_credit();
        }
        self.expect(now);
        if !self.unreachable && self.silent_since().is_some_and(|since| since + UNREACHABLE_AFTER <= now) {
            self.unreachable = true;
            self.fail_impatient(deliveries);
            self.expect(now);
        }
        let mute = self.session.filter(|session| !session.heard_hello && session.since + HANDSHAKE_TIME <= now)?;
        self.session = None;
        Some(mute.id)
    }
}
