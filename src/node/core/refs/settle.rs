//! Counts that arrive (PROTOCOLS §3, R3).

use super::{Effects, Kind, Refs};
use crate::id::Life;
use crate::limits::COUNTED_THINGS;
use crate::wire::bytes::List;
use crate::wire::packet::{Count, Counted};

/// What a peer that keeps to the protocol never says: the link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A count of nothing, or of things beyond the last serial.
    #[error("a count of references names {0} for nothing, or runs beyond the last serial")]
    Empty(Counted),
    /// More things than a packet may name, or references than a number can count.
    #[error("a packet counts more than {COUNTED_THINGS} things, or more references than there can be")]
    TooMany,
    /// Said to, or by, a life that does not own it.
    #[error("{0} is owned by another life")]
    NotOwner(Counted),
    /// More than it had (R3).
    #[error("{n} references to {counted} were released, and the life held {had}")]
    Released {
        /// The thing.
        counted: Counted,
        /// What the life held.
        had: u64,
        /// What it gave back.
        n: u64,
    },
    /// More than were sent there (R3).
    #[error("{n} references to {counted} were said to have landed, and {had} were on their way")]
    Landed {
        /// The thing.
        counted: Counted,
        /// What was on its way.
        had: u64,
        /// What has landed.
        n: u64,
    },
    /// An answer to a claim that was not made.
    #[error("a claim of {0} was answered that was not made")]
    Unasked(Counted),
}

impl<T: Clone> Refs<T> {
    /// A packet of counts from a peer. A life that has ended is not listened to. After a breach the tables hold what came
    /// before it: the link ends, and [`Refs::node_ended`] follows.
    pub fn apply(
        &mut self,
        from: Life,
        kind: Kind,
        counts: &List<'_, Count>,
        effects: &mut Effects<T>,
    ) -> Result<(), Breach> {
        if self.has_ended(from) {
            return Ok(());
        }
        let mut things = 0;
        for Count { first, run, n } in counts.iter() {
            things += u64::from(run);
            if things > COUNTED_THINGS {
                return Err(Breach::TooMany);
            }
            if run == 0 || n == 0 || first.step(u64::from(run) - 1).is_none() {
                return Err(Breach::Empty(first));
            }
            for counted in (0..u64::from(run)).filter_map(|step| first.step(step)) {
                self.apply_one(from, kind, counted, n, effects)?;
            }
        }
        Ok(())
    }

    fn apply_one(
        &mut self,
        from: Life,
        kind: Kind,
        counted: Counted,
        n: u64,
        effects: &mut Effects<T>,
    ) -> Result<(), Breach> {
        match kind {
            Kind::Claim => self.on_claim(from, counted, n, effects),
            Kind::Release => self.on_release(from, counted, n, effects),
            Kind::Claimed | Kind::Gone if counted.owner() != from => Err(Breach::NotOwner(counted)),
            // A claim is of one reference.
            Kind::Claimed | Kind::Gone if n != 1 => Err(Breach::Unasked(counted)),
            Kind::Claimed | Kind::Gone => self.on_answer(kind, counted, effects),
            Kind::Landed => self.on_landed(from, counted, n, effects),
        }
    }
}
