//! One direction of one numbered channel (PROTOCOLS §1.1, §1.2): what the sender keeps until it is acknowledged, and
//! what the receiver remembers.
//!
//! ```text
//! acked          sent            next
//!   | taken ..     | not taken ..  |
//!   v              v               v
//! [ section ][ section ][ section ..   each: packets with consecutive numbers, their bytes side by side in one ring
//! ```
//!
//! A packet costs its bytes and nothing else: numbers and lengths are kept by section.

use crate::limits::{SECTION_BYTES, WINDOW_PACKETS};
use crate::wire::bytes::varint_len;
use std::collections::VecDeque;

/// A ring that shrank below this keeps its memory.
const KEPT_BYTES: usize = 2 * SECTION_BYTES;

#[derive(Clone, Copy, Debug)]
struct Section {
    first: u64,
    count: u32,
    length: u32,
}

/// The sender's half: plaintext from its number until its acknowledgement.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: VecDeque<u8>,
    sections: VecDeque<Section>,
    /// Sections handed to this session, and their bytes.
    taken: usize,
    taken_bytes: usize,
    /// The number of the next packet; the last ever handed to a session; the last acknowledged.
    next: u64,
    sent: u64,
    acked: u64,
    /// The most bytes held since the ring was last looked at for shrinking.
    peak: usize,
}

/// Sections that a batch will take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    sections: usize,
    pub(super) first: u64,
    pub(super) length: usize,
}

/// An acknowledgement or a `received` of packets that were never sent, or that goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeverSent;

impl Outbox {
    pub(super) const fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            sections: VecDeque::new(),
            taken: 0,
            taken_bytes: 0,
            next: 1,
            sent: 0,
            acked: 0,
            peak: 0,
        }
    }

    /// The last packet that was ever handed to a session.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that are not acknowledged.
    pub(super) fn unacked_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that no session was handed yet.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.taken_bytes
    }

    /// The last packet that has a number, and the last that is acknowledged.
    pub(super) const fn progress(&self) -> (u64, u64) {
        (self.next - 1, self.acked)
    }

    /// Packets that are not acknowledged.
    pub(super) const fn unacked(&self) -> u64 {
        self.next - 1 - self.acked
    }

    /// Whether a packet of `length` bytes fits into the window.
    #[inline]
    pub(super) fn fits(&self, length: usize, window: usize) -> bool {
        self.bytes.len() + length + varint_len(length as u64) <= window && self.unacked() < WINDOW_PACKETS
    }

    /// Gives the packet its number.
    #[inline]
    pub(super) fn push(&mut self, packet: &[u8]) -> u64 {
        let number = self.next;
        self.next += 1;
        let length = self.put_length(packet.len()) + packet.len();
        self.bytes.extend(packet);
        let open = self.taken < self.sections.len();
        match self.sections.back_mut() {
            Some(open_section) if open && open_section.length as usize + length <= SECTION_BYTES => {
                open_section.count += 1;
                open_section.length += length as u32;
            }
            _ => self.sections.push_back(Section { first: number, count: 1, length: length as u32 }),
        }
        number
    }

    #[inline]
    fn put_length(&mut self, length: usize) -> usize {
        let mut rest = length;
        while rest >= 0x80 {
            self.bytes.push_back(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push_back(rest as u8);
        varint_len(length as u64)
    }

    /// What fits into `budget` bytes of a batch while no more than `window` bytes and [`WINDOW_PACKETS`] are with the session; of
    /// an empty window one section goes in any case.
    pub(super) fn plan(&self, budget: usize, window: usize) -> Plan {
        let mut plan = Plan::default();
        for section in self.sections.range(self.taken..) {
            let length = plan.length + section.length as usize;
            let packets = section.first + u64::from(section.count) - 1 - self.acked;
            let full = self.taken_bytes + length > window || packets > WINDOW_PACKETS;
            if length > budget || (full && self.taken_bytes + plan.length > 0) {
                break;
            }
            plan = Plan { sections: plan.sections + 1, first: 0, length };
        }
        plan.first = self.sections.get(self.taken).map_or(0, |section| section.first);
        plan
    }

    /// Appends the planned packets: they are with the session now.
    pub(super) fn take(&mut self, plan: Plan, out: &mut Vec<u8>) {
        let (from, to) = (self.taken_bytes, self.taken_bytes + plan.length);
        let (front, back) = self.bytes.as_slices();
        let middle = front.len();
        out.extend_from_slice(&front[from.min(middle)..to.min(middle)]);
        out.extend_from_slice(&back[from.max(middle) - middle..to.max(middle) - middle]);
        self.taken += plan.sections;
        self.taken_bytes = to;
        if let Some(last) = self.taken.checked_sub(1).and_then(|last| self.sections.get(last)) {
            self.sent = self.sent.max(last.first + u64::from(last.count) - 1);
        }
        self.peak = self.peak.max(self.bytes.len());
    }

    /// Forgets what `number` acknowledges: whole sections.
    pub(super) fn acknowledge(&mut self, number: u64) -> Result<(), NeverSent> {
        if number > self.sent {
            return Err(NeverSent);
        }
        if number <= self.acked {
            return Ok(());
        }
        self.acked = number;
        let mut length = 0;
        while let Some(section) = self.sections.front()
            && section.first + u64::from(section.count) - 1 <= number
        {
            length += section.length as usize;
            self.sections.pop_front();
            self.taken = self.taken.saturating_sub(1);
        }
        self.bytes.drain(..length);
        self.taken_bytes = self.taken_bytes.saturating_sub(length);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.shrink();
        }
        Ok(())
    }

    /// A ring that was mostly unused since it was last empty gives memory back.
    fn shrink(&mut self) {
        if self.peak * 4 < self.bytes.capacity() {
            self.bytes.shrink_to((self.peak * 2).max(KEPT_BYTES));
        }
        self.peak = 0;
    }

    /// Whether a peer that says it has applied up to `received` can have done so, and has forgotten nothing.
    pub(super) const fn can_resume(&self, received: u64) -> Result<(), NeverSent> {
        if received < self.acked || received > self.sent { Err(NeverSent) } else { Ok(()) }
    }

    /// A new session: the peer has applied up to `received`, what follows is sent again (PROTOCOLS §1.5).
    pub(super) fn resume(&mut self, received: u64) -> Result<(), NeverSent> {
        self.can_resume(received)?;
        self.acknowledge(received)?;
        if let Some(front) = self.sections.front().copied()
            && front.first <= received
        {
            let skipped = received + 1 - front.first;
            let length = (0..skipped).fold(0, |at, _| at + self.framed_at(at));
            self.bytes.drain(..length);
            if let Some(front) = self.sections.front_mut() {
                front.first = received + 1;
                front.count -= skipped as u32;
                front.length -= length as u32;
            }
        }
        (self.taken, self.taken_bytes) = (0, 0);
        Ok(())
    }

    /// The bytes of the packet at `at`, its length before it included.
    fn framed_at(&self, at: usize) -> usize {
        let (mut length, mut shift) = (0, 0);
        for byte in self.bytes.range(at..) {
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        length + varint_len(length as u64)
    }
}

/// The receiver's half.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The last packet that was applied.
    pub(super) received: u64,
    /// The last packet whose acknowledgement was sent.
    pub(super) acked: u64,
    /// Bytes applied since then.
    pub(super) unacked_bytes: usize,
}

impl Inbox {
    /// The acknowledgement for the next batch: all that was applied.
    pub(super) fn acknowledge(&mut self) {
        (self.acked, self.unacked_bytes) = (self.received, 0);
    }

    /// Whether something was applied that is not acknowledged.
    pub(super) const fn owes(&self) -> bool {
        self.received > self.acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BATCH_BYTES;
    use crate::wire::frame::Section as Wire;

    fn drain(outbox: &mut Outbox, window: usize) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let plan = outbox.plan(BATCH_BYTES, window);
            if plan.length == 0 {
                return all;
            }
            let mut bytes = Vec::new();
            outbox.take(plan, &mut bytes);
            assert_eq!(bytes.len(), plan.length);
            let section = Wire { first: plan.first, packets: &bytes };
            all.extend(
                section.packets().map(|packet| packet.unwrap()).map(|(number, packet)| (number, packet.to_vec())),
            );
        }
    }

    fn packet(number: u64) -> Vec<u8> {
        vec![number as u8; (number as usize * 37) % 3_000]
    }

    #[test]
    fn i1_a_resumed_outbox_sends_exactly_what_the_peer_has_not_applied() {
        for received in [0, 1, 17, 99, 100] {
            let mut outbox = Outbox::new();
            for number in 1..=100 {
                assert_eq!(outbox.push(&packet(number)), number);
            }
            assert_eq!(drain(&mut outbox, usize::MAX).len(), 100);
            outbox.acknowledge(received / 2).unwrap();
            outbox.push(&packet(101));
            outbox.resume(received).unwrap();
            let again = drain(&mut outbox, usize::MAX);
            let expected: Vec<_> = (received + 1..=101).map(|number| (number, packet(number))).collect();
            assert_eq!(again, expected, "received {received}");
            outbox.acknowledge(101).unwrap();
            assert_eq!((outbox.unacked(), outbox.unacked_bytes()), (0, 0));
        }
    }

    #[test]
    fn i5_no_more_than_the_window_is_with_a_session() {
        let mut outbox = Outbox::new();
        for _ in 0..1_000 {
            outbox.push(&[0; 1_000]);
        }
        let first = drain(&mut outbox, 300_000);
        assert!((200..300).contains(&first.len()), "{}", first.len());
        assert!(drain(&mut outbox, 300_000).is_empty());
        outbox.acknowledge(first.len() as u64).unwrap();
        let second = drain(&mut outbox, 300_000);
        assert_eq!(second[0].0, first.len() as u64 + 1);
    }

    #[test]
    fn i5_nor_more_packets_than_the_window_has() {
        let mut outbox = Outbox::new();
        (0..3 * WINDOW_PACKETS).for_each(|_| _ = outbox.push(&[0]));
        let first = drain(&mut outbox, usize::MAX).len() as u64;
        assert!((WINDOW_PACKETS / 2..=WINDOW_PACKETS).contains(&first), "{first}");
        outbox.acknowledge(1_000).unwrap();
        let second = drain(&mut outbox, usize::MAX).len() as u64;
        assert!(first + second <= WINDOW_PACKETS + 1_000, "{first} and {second}");
        outbox.acknowledge(first).unwrap();
        assert!(!drain(&mut outbox, usize::MAX).is_empty());
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mut outbox = Outbox::new();
        outbox.push(&[1]);
        assert_eq!(outbox.acknowledge(1), Err(NeverSent));
        drain(&mut outbox, usize::MAX);
        outbox.acknowledge(1).unwrap();
        assert_eq!(outbox.resume(0), Err(NeverSent), "a peer cannot forget what it acknowledged");
        assert_eq!(outbox.resume(2), Err(NeverSent));
    }

    #[test]
    fn a_ring_that_was_large_once_gives_its_memory_back() {
        let mut outbox = Outbox::new();
        for burst in [2_000, 1, 1] {
            (0..burst).for_each(|_| _ = outbox.push(&[0; 1_000]));
            drain(&mut outbox, usize::MAX);
            outbox.acknowledge(outbox.sent()).unwrap();
        }
        assert!(outbox.bytes.capacity() <= KEPT_BYTES, "{}", outbox.bytes.capacity());
    }
}
