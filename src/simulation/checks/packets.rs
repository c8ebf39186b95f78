//! I1 and I5: packets by their numbers, as they pass between two lives.

use super::{Checked, Rule, Violation, hold};
use crate::id::Life;
use crate::limits::{SETTLE_WINDOW, WINDOW_PACKETS, WORK_WINDOW_MAX};
use crate::wire::frame::{Batch, Header, Section};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// One channel in one direction.
#[derive(Debug, Default)]
struct Channel {
    /// A hash and the length of each packet that was sent and is not acknowledged.
    sent: VecDeque<(u64, usize)>,
    bytes: usize,
    acked: u64,
    applied: u64,
}

impl Channel {
    fn sends(&mut self, section: &Section<'_>, window: usize) -> Checked {
        for packet in section.packets() {
            let (number, packet) = packet.map_err(|error| sound(&error))?;
            let seen = (hash(packet), packet.len());
            let place = number.checked_sub(self.acked + 1);
            match place.map(|place| self.sent.get(place as usize)) {
                // Acknowledged, but its sender does not know yet.
                None => {}
                Some(Some(before)) => {
                    hold(*before == seen, Rule::I1, || {
                        format!("packet {number} is another one when it is sent again")
                    })?;
                }
                Some(None) => {
                    let next = self.acked + 1 + self.sent.len() as u64;
                    hold(number == next, Rule::I1, || format!("packet {number} is sent where {next} was due"))?;
                    self.bytes += seen.1;
                    self.sent.push_back(seen);
                }
            }
        }
        let held = self.sent.len() as u64;
        hold(self.bytes <= window && held <= WINDOW_PACKETS, Rule::I5, || {
            format!("{held} packets of {} bytes are on their way, beyond their window", self.bytes)
        })
    }

    fn acknowledged(&mut self, number: u64) -> Checked {
        hold(number <= self.applied, Rule::I1, || {
            format!("packet {number} is acknowledged, but only {} were applied", self.applied)
        })?;
        while self.acked < number
            && let Some((_, length)) = self.sent.pop_front()
        {
            self.acked += 1;
            self.bytes -= length;
        }
        Ok(())
    }

    /// What of a section must be applied now: its end, for the front was before.
    fn arrives(&mut self, batch: &[u8], section: &Section<'_>) -> Checked<Range<usize>> {
        let (mut fresh, end) = (None, offset(batch, section.packets) + section.packets.len());
        for packet in section.packets() {
            let (number, packet) = packet.map_err(|error| sound(&error))?;
            if number <= self.applied {
                continue;
            }
            let due = self.applied + 1;
            hold(number == due, Rule::I1, || format!("packet {number} arrives where {due} is due"))?;
            self.applied = number;
            fresh.get_or_insert(offset(batch, packet));
        }
        Ok(fresh.unwrap_or(end)..end)
    }
}

/// Where packets lie in a batch that are to be applied now.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Fresh {
    settle: Range<usize>,
    work: Range<usize>,
}

/// Whatever travelled between two lives.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    settle: BTreeMap<(Life, Life), Channel>,
    work: BTreeMap<(Life, Life), Channel>,
}

impl Packets {
    /// A batch leaves.
    pub(crate) fn sends(&mut self, from: Life, to: Life, batch: &[u8]) -> Checked {
        let Batch::Packets { settle, work, .. } = decoded(batch)? else { return Ok(()) };
        self.settle.entry((from, to)).or_default().sends(&settle, SETTLE_WINDOW)?;
        self.work.entry((from, to)).or_default().sends(&work, WORK_WINDOW_MAX)
    }

    /// A batch arrives on the session that the link lives on. Gives what of it is to be applied.
    pub(crate) fn arrives(&mut self, from: Life, to: Life, batch: &[u8]) -> Checked<Fresh> {
        let Batch::Packets { header, settle, work } = decoded(batch)? else { return Ok(Fresh::default()) };
        self.acknowledges(from, to, &header)?;
        let settle = self.settle.entry((from, to)).or_default().arrives(batch, &settle)?;
        Ok(Fresh { settle, work: self.work.entry((from, to)).or_default().arrives(batch, &work)? })
    }

    fn acknowledges(&mut self, from: Life, to: Life, header: &Header) -> Checked {
        self.settle.entry((to, from)).or_default().acknowledged(header.ack_settle)?;
        self.work.entry((to, from)).or_default().acknowledged(header.ack_work)
    }

    /// These packets of the batch were handed over, in this order.
    pub(crate) fn applied<'a>(&self, batch: &[u8], fresh: &Fresh, packets: impl Iterator<Item = &'a [u8]>) -> Checked {
        let (mut settle, mut work) = (fresh.settle.start, fresh.work.start);
        for packet in packets {
            let at = offset(batch, packet);
            let (next, range) =
                if fresh.settle.contains(&at) { (&mut settle, &fresh.settle) } else { (&mut work, &fresh.work) };
            hold(range.contains(&at), Rule::I1, || format!("the packet at byte {at} was applied before"))?;
            hold(at >= *next, Rule::I1, || format!("the packet at byte {at} is applied twice, or out of order"))?;
            *next = at + packet.len();
        }
        Ok(())
    }
}

fn decoded(batch: &[u8]) -> Checked<Batch<'_>> {
    Batch::decode(batch).map_err(|error| sound(&error))
}

fn sound(error: &crate::wire::bytes::WireError) -> Violation {
    Violation { rule: Rule::I1, what: format!("a batch does not decode: {error}") }
}

fn offset(batch: &[u8], part: &[u8]) -> usize {
    if part.is_empty() { batch.len() } else { part.as_ptr() as usize - batch.as_ptr() as usize }
}

fn hash(packet: &[u8]) -> u64 {
    let mut words = packet.chunks_exact(8);
    let whole = words.by_ref().fold(packet.len() as u64, |hash, word| {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
    });
    words
        .remainder()
        .iter()
        .fold(whole, |hash, byte| (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
