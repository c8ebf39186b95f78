//! What is to be said to one life: counts that add up until somebody takes them, in as few bytes as they need.
//!
//! Kinds may overtake one another. A claim and a release of one thing are never in here together: who needs again what it
//! was about to give back takes the release back.

use crate::limits::{COUNTED_THINGS, COUNTS};
use crate::wire::bytes::List;
use crate::wire::packet::{Count, Counted, Settle};
use std::collections::BTreeMap;

/// What counts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The holder asks the owner to count it.
    Claim,
    /// The owner did.
    Claimed,
    /// The owner could not.
    Gone,
    /// What a third life sent has arrived, and its owner knows.
    Landed,
    /// The holder gives back what it got.
    Release,
}

const KINDS: [Kind; 5] = [Kind::Claim, Kind::Claimed, Kind::Gone, Kind::Landed, Kind::Release];

impl Kind {
    /// What a settle packet says, if it is one of these.
    #[must_use]
    pub const fn of<'a>(packet: &Settle<'a>) -> Option<(Kind, List<'a, Count>)> {
        Some(match *packet {
            Settle::Claim(counts) => (Kind::Claim, counts),
            Settle::Claimed(counts) => (Kind::Claimed, counts),
            Settle::Gone(counts) => (Kind::Gone, counts),
            Settle::Landed(counts) => (Kind::Landed, counts),
            Settle::Release(counts) => (Kind::Release, counts),
            _ => return None,
        })
    }
}

/// One packet's worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What the counts say.
    pub kind: Kind,
    /// Runs of things with rising serials.
    pub counts: Vec<Count>,
}

impl Said {
    /// As it travels.
    #[must_use]
    pub fn packet(&self) -> Settle<'_> {
        let counts = List::Items(&self.counts);
        match self.kind {
            Kind::Claim => Settle::Claim(counts),
            Kind::Claimed => Settle::Claimed(counts),
            Kind::Gone => Settle::Gone(counts),
            Kind::Landed => Settle::Landed(counts),
            Kind::Release => Settle::Release(counts),
        }
    }
}

/// Whether the shell knows that there is something to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Before,
    Now,
}

/// What is to be said to one life.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    announced: bool,
    kinds: [BTreeMap<Counted, u64>; KINDS.len()],
}

impl Outbox {
    /// Nothing is in it, and nobody is about to look.
    pub(super) fn is_idle(&self) -> bool {
        !self.announced && self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.iter().map(BTreeMap::len).sum()
    }

    pub(super) fn put(&mut self, kind: Kind, counted: Counted, n: u64) -> Announced {
        let waiting = self.kinds[kind as usize].entry(counted).or_insert(0);
        *waiting = waiting.saturating_add(n);
        if std::mem::replace(&mut self.announced, true) { Announced::Before } else { Announced::Now }
    }

    /// Takes back what nobody has taken to say.
    pub(super) fn take_back(&mut self, kind: Kind, counted: Counted) -> u64 {
        self.kinds[kind as usize].remove(&counted).unwrap_or(0)
    }

    pub(super) fn take(&mut self) -> Option<Said> {
        let Some((kind, waiting)) = KINDS.into_iter().zip(&mut self.kinds).find(|(_, waiting)| !waiting.is_empty())
        else {
            self.announced = false;
            return None;
        };
        let (mut counts, mut things) = (Vec::<Count>::new(), 0);
        while things < COUNTED_THINGS
            && let Some(entry) = waiting.first_entry()
        {
            let (counted, n) = (*entry.key(), *entry.get());
            let follows = |last: &&mut Count| last.n == n && last.first.step(u64::from(last.run)) == Some(counted);
            if let Some(last) = counts.last_mut().filter(follows) {
                last.run += 1;
            } else if counts.len() < COUNTS {
                counts.push(Count { first: counted, run: 1, n });
            } else {
                break;
            }
            entry.remove();
            things += 1;
        }
        Some(Said { kind, counts })
    }
}
