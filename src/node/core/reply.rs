//! Streaming replies (PROTOCOLS §1.11): items run ahead of their consumer by 16, or by 256 KiB.

use crate::limits::{STREAM_BYTES, STREAM_ITEMS};
use std::collections::VecDeque;

/// The host's side: what was sent and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Producer {
    ahead: VecDeque<u32>,
    bytes: usize,
    /// Whether a producer was told to wait.
    waits: bool,
}

impl Producer {
    /// Counts an item of `length` bytes; false if it must wait.
    pub(super) fn send(&mut self, length: usize) -> bool {
        let room = self.ahead.len() < STREAM_ITEMS as usize && (self.bytes + length <= STREAM_BYTES || self.bytes == 0);
        if room {
            self.ahead.push_back(length as u32);
            self.bytes += length;
        }
        self.waits = !room;
        room
    }

    /// The consumer took `count` items. Whether a waiting producer may try again; none if there were not so many.
    pub(super) fn room(&mut self, count: u32) -> Option<bool> {
        for _ in 0..count {
            self.bytes -= self.ahead.pop_front()? as usize;
        }
        Some(std::mem::take(&mut self.waits))
    }
}

/// The caller's side: what arrived and was not yet taken, what was taken and not yet said.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    next: u64,
    held: u32,
    taken: u32,
    taken_bytes: usize,
}

impl Consumer {
    /// An item arrives; false if it is not the next one, or one more than there was room for.
    pub(super) fn arrive(&mut self, index: u64) -> bool {
        let expected = index == self.next && self.held + self.taken < STREAM_ITEMS;
        self.next += 1;
        self.held += 1;
        expected
    }

    /// The consumer took an item of `length` bytes; so much room is to be given now.
    pub(super) fn take(&mut self, length: usize) -> Option<u32> {
        self.held = self.held.checked_sub(1)?;
        self.taken += 1;
        self.taken_bytes += length;
        let due = self.held == 0 || self.taken >= STREAM_ITEMS / 2 || self.taken_bytes >= STREAM_BYTES / 4;
        due.then(|| {
            self.taken_bytes = 0;
            std::mem::take(&mut self.taken)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_run_ahead_by_number_and_by_bytes() {
        let mut producer = Producer::default();
        assert!((0..16).all(|_| producer.send(10)));
        assert!(!producer.send(10));
        assert_eq!(producer.room(1), Some(true));
        assert!(producer.send(10));
        assert_eq!(producer.room(1), Some(false), "nobody waited");
        assert_eq!(producer.room(16), None, "a consumer takes only what was sent");

        let mut large = Producer::default();
        assert!(large.send(200 << 10));
        assert!(!large.send(60 << 10));
        assert_eq!(large.room(1), Some(true));
        assert!(large.send(300 << 10), "alone, any item goes");
    }

    #[test]
    fn room_is_given_by_halves_and_when_nothing_is_left() {
        let mut consumer = Consumer::default();
        assert!((0..16).all(|index| consumer.arrive(index)));
        let rooms: Vec<_> = (0..16).filter_map(|_| consumer.take(10)).collect();
        assert_eq!(rooms, [8, 8]);
        assert_eq!(consumer.take(10), None);
        assert!(consumer.arrive(16));
        assert_eq!(consumer.take(10), Some(1));
        assert!(!consumer.arrive(18), "an item was left out");
    }
}
