//! What a link hands to the shell, and what it says of a peer that breaks the protocol.

use crate::wire::bytes::WireError;
use crate::wire::packet::Executed;

/// A request of the peer that was handed over. Every one is begun or answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arrival {
    /// Its work number: what the answer names.
    pub call: u64,
    /// The peer's number of its stream.
    pub stream: u32,
    /// Whether its caller waits for no answer.
    pub tell: bool,
    /// Whether no other request of its stream was waiting: one stream more at that mailbox.
    pub opens: bool,
}

/// A place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `packet` lies in `batch`, of which it is a part.
    #[inline]
    pub(crate) fn within(batch: &[u8], packet: &[u8]) -> Span {
        let start = packet.as_ptr() as usize - batch.as_ptr() as usize;
        Span { start: start as u32, end: (start + packet.len()) as u32 }
    }

    /// The bytes at this place of the batch it was found in.
    #[inline]
    #[must_use]
    pub fn of(self, batch: &[u8]) -> &[u8] {
        batch.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }
}

/// Something for the shell to hand over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delivery<T> {
    /// A `Request` for one of this node's actors.
    Request {
        /// Names it.
        arrival: Arrival,
        /// The packet.
        at: Span,
    },
    /// `Run`, `Recall`, `Stop`, or a `Request` that was cancelled before it came: what it encloses has arrived.
    Work {
        /// The packet.
        at: Span,
    },
    /// The `Answer` of an ask: its ticket is void.
    Answer {
        /// Whose.
        token: T,
        /// When it was first sent among the calls of this link: what a retry keeps.
        order: u64,
        /// The packet.
        at: Span,
    },
    /// An `Item` of a streaming reply.
    Item {
        /// Whose.
        token: T,
        /// The packet.
        at: Span,
    },
    /// A waiting tell was sent: its ticket is void.
    Told {
        /// Whose.
        token: T,
    },
    /// The producer of a streaming reply may go on.
    Room {
        /// The call.
        call: u64,
    },
    /// Nobody waits any more for a call that has begun.
    Cancel {
        /// The call.
        call: u64,
    },
    /// `Claim`, `Claimed`, `Gone`, `Release`, `Landed` or `Probe`, or an `Answer` or `Item` that nobody waits for any more:
    /// what it encloses has arrived.
    Settle {
        /// The packet.
        at: Span,
    },
    /// An ask has no answer to come: its ticket is void.
    Failed {
        /// Whose.
        token: T,
        /// When it was first sent.
        order: u64,
        /// Whether it may have begun: `No` if it never left this node.
        executed: Executed,
        /// Why.
        why: Failure,
    },
}

/// Why asks fail without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer has been silent for too long (PROTOCOLS §1.16).
    Unreachable,
    /// The peer's life has ended, or the link is broken.
    Ended,
}

/// What a peer did that no correct peer does. The link is broken: [`Link::end`](super::Link::end) it, and close its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// Its bytes are not the wire's.
    #[error("the peer sent what is no batch: {0}")]
    Wire(#[from] WireError),
    /// A packet is missing.
    #[error("the peer sent packet {found} where {expected} was due")]
    Gap {
        /// The number due.
        expected: u64,
        /// The number sent.
        found: u64,
    },
    /// It has forgotten what it applied, or applied what was never sent.
    #[error("the peer acknowledges up to packet {0}, which does not fit to what was sent: one side lost its state")]
    Broken(u64),
    /// It has more unacknowledged than its window.
    #[error("the peer sent more than its window")]
    Window,
    /// It sent a request without credit, or under a stream number that cannot be.
    #[error("the peer sent a request of stream {0} without credit for it")]
    Credit(u32),
    /// It gave back more credit than it was owed.
    #[error("the peer returned credit to stream {0} that was never used")]
    CreditReturned(u32),
    /// It answered a call that it was not asked.
    #[error("the peer answered call {0}, which waits for no answer")]
    Answer(u64),
    /// It sent items out of order, or without room.
    #[error("the peer sent an item of call {0} that is not the next one, or without room for it")]
    Item(u64),
    /// It made room for items that were never sent.
    #[error("the peer made room for items of call {0} that it never had")]
    Room(u64),
    /// It cancelled calls far beyond those that it sent.
    #[error("the peer cancelled call {0}, which is beyond its window")]
    Cancel(u64),
    /// It reads nothing of what it has answered.
    #[error("the peer leaves more unread than is kept for one")]
    Unread,
    /// It sent work that is on no node's wire.
    #[error("the peer sent work other than requests")]
    Work,
    /// It gave back references that it did not have.
    #[error("the peer miscounts references")]
    Counts,
    /// It began to send before it said hello, or said hello twice.
    #[error("the peer's hello came at another time than first")]
    Hello,
}
