//! The host's side of a link: requests that begin, answers, items, credit.

use super::{Arrival, Link};
use crate::clock::Moment;
use crate::limits::{ACK_DELAY, SETTLE_BACKLOG, SETTLE_UNREAD, SETTLE_WINDOW};
use crate::node::core::stream::Due;
use crate::wire::packet::{Answer, CallFault, Executed, Outcome, Settle};

/// Whether a request that leaves its mailbox runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It begins: an ask is answered later.
    Run,
    /// It was cancelled, or its caller is no more: it never runs.
    Gone,
}

/// What a request that leaves its mailbox does to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Whether it runs.
    pub begin: Begin,
    /// Whether no other request of its stream is waiting: one stream less at that mailbox.
    pub closes: bool,
}

/// Whether an answer is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is.
    Sent,
    /// The peer leaves so much unread that it is answered by a fault instead: what the answer enclosed never leaves.
    Unread,
    /// The call was answered already, or its caller is no more.
    Gone,
}

/// Whether an item is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemSent {
    /// It is.
    Sent,
    /// The consumer is behind: [`Delivery::Room`](super::Delivery::Room) says when to try again.
    Full,
    /// Nobody waits for it.
    Gone,
}

impl<T: Clone> Link<T> {
    /// A request leaves its mailbox, to run or to be dropped. `share` is the credit that the mailbox would like each of
    /// its streams to have: its capacity divided by their number. An ask that was refused instead is only answered.
    pub fn begin(&mut self, now: Moment, arrival: Arrival, share: u32) -> Begun {
        let closes = self.left_mailbox(now, arrival.stream, share);
        let begin = match self.serving.get_mut(arrival.call) {
            _ if arrival.tell => Begin::Run,
            Some(served) => {
                served.begun = true;
                Begin::Run
            }
            None => Begin::Gone,
        };
        Begun { begin, closes }
    }

    pub(super) fn left_mailbox(&mut self, now: Moment, number: u32, share: u32) -> bool {
        let Some(stream) = self.incoming.get_mut(number as usize) else { return false };
        let due = stream.begin(share);
        let closes = stream.queued == 0;
        match due {
            Due::Now(count) => self.push_settle(&Settle::Credit { stream: number, count }),
            Due::Soon if self.ended => {}
            Due::Soon => {
                self.owing.push(number);
                self.credit_at.get_or_insert(now + ACK_DELAY);
            }
            Due::Listed => {}
        }
        closes
    }

    /// Returns the credit that is owed in small amounts, and forgets streams that are whole again.
    pub(super) fn return_credit(&mut self) {
        self.credit_at = None;
        let mut owing = std::mem::take(&mut self.owing);
        for number in owing.drain(..) {
            let count = self.incoming.get_mut(number as usize).map_or(0, |stream| stream.settle());
            if count > 0 {
                self.push_settle(&Settle::Credit { stream: number, count });
            }
        }
        self.owing = owing;
    }

    /// Whether an ask of the peer has begun; nothing if it was answered, or is not here.
    #[must_use]
    pub fn has_begun(&mut self, call: u64) -> Option<bool> {
        self.serving.get_mut(call).map(|served| served.begun)
    }

    /// Sends the encoded `Answer` of `call`. One that has not begun is hereby refused: it has left its mailbox.
    pub fn answer(&mut self, now: Moment, call: u64, packet: &[u8]) -> Answered {
        let Some(served) = self.serving.remove(call) else { return Answered::Gone };
        self.producers.remove(&call);
        self.stalled.remove(&call);
        if !served.begun {
            self.left_mailbox(now, served.stream, u32::MAX);
        }
        if self.ended {
            return Answered::Gone;
        }
        if self.settle.waiting_bytes() + packet.len() > SETTLE_UNREAD {
            let executed = if served.begun { Executed::Yes } else { Executed::No };
            self.push_settle(&Settle::Answer(fault(call, executed, CallFault::Unread)));
            return Answered::Unread;
        }
        self.settle.push(packet);
        Answered::Sent
    }

    /// Sends the encoded `Item` of a streaming reply.
    pub fn send_item(&mut self, call: u64, packet: &[u8]) -> ItemSent {
        if self.ended || self.serving.get_mut(call).is_none() {
            return ItemSent::Gone;
        }
        if self.settle.waiting_bytes() > SETTLE_BACKLOG {
            self.stalled.insert(call);
            return ItemSent::Full;
        }
        let producer = self.producers.entry(call).or_default();
        if !producer.send(packet.len()) {
            return ItemSent::Full;
        }
        self.settle.push(packet);
        ItemSent::Sent
    }

    /// Sends an encoded `Run`, `Recall` or `Stop`: after the requests that have their numbers.
    pub fn send_work(&mut self, now: Moment, packet: &[u8]) {
        if !self.ended {
            self.work.push(packet);
            self.expect(now);
        }
    }

    /// Sends an encoded `Probe`, unless the peer leaves much unread: a later one will do.
    pub fn send_probe(&mut self, packet: &[u8]) {
        if self.settle.waiting_bytes() < SETTLE_WINDOW {
            self.send_settle(packet);
        }
    }

    /// Sends an encoded `Claim`, `Claimed`, `Gone`, `Release` or `Landed`.
    pub fn send_settle(&mut self, packet: &[u8]) {
        if !self.ended {
            self.settle.push(packet);
        }
    }

    pub(super) fn push_settle(&mut self, settle: &Settle<'_>) {
        if !self.ended {
            self.packet.clear();
            settle.encode(&mut self.packet);
            self.settle.push(&self.packet);
        }
    }

    /// The peer takes a call back (PROTOCOLS §1.10). True if it has begun.
    pub(super) fn cancelled(&mut self, call: u64) -> bool {
        match self.serving.get_mut(call) {
            Some(served) if served.begun => true,
            Some(_) => {
                self.serving.remove(call);
                self.push_settle(&Settle::Answer(fault(call, Executed::No, CallFault::Cancelled)));
                false
            }
            None => {
                if call > self.work_in.received {
                    self.cancelled_early.insert(call);
                }
                false
            }
        }
    }
}

const fn fault(call: u64, executed: Executed, fault: CallFault<'_>) -> Answer<'_> {
    Answer { call, outcome: Outcome::Error { executed, fault } }
}
