//! The fence of calling actors (PROTOCOLS §2, L2): a run of an actor that the head has replaced on another node is refused by
//! whoever has taken a call of the later one.
//!
//! Its node's life has ended, but that may not be known here yet, and what it sent before may lie in a socket of this process
//! while the later run calls over another. Only the head places anew, so placements are what is compared: the runs of one
//! placement come one after the other on one node (I7), and what an earlier one had sent when it panicked is as good as what
//! it had put into a mailbox.
//!
//! What was seen is forgotten when the ends of all former hosts are known here, for from then on the fence of lives refuses
//! whatever they sent: the head tells of an end before it places anew (L3), so they are known once all is that it had told
//! when the call was taken.

use crate::clock::Moment;
use crate::id::{ActorId, Placement};
use crate::limits::CALLERS;
use std::collections::BTreeMap;

/// Fewer than so many are not looked through for what can be forgotten.
const FEW: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    placement: Placement,
    at: Moment,
}

/// Whose calls were taken here.
#[derive(Debug, Default)]
pub struct Callers {
    seen: BTreeMap<ActorId, Seen>,
    /// How many there may be before those are forgotten that can be.
    crowded: usize,
}

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// A later run of the calling actor has called.
    #[error("the calling actor has been placed again since, as {0}")]
    Stale(Placement),
    /// As many actors have called within a moment as may be remembered.
    #[error(
        "{CALLERS} actors of other nodes have called within a moment, as many as can be told apart from former runs"
    )]
    Full,
}

impl Callers {
    /// Takes a call of an actor that the head has placed, unless it is of a former run. All that the head had told before
    /// the moment that `caught_up` gives is known here.
    ///
    /// # Errors
    /// It is not to begin.
    pub fn admit(
        &mut self,
        now: Moment,
        caught_up: impl FnOnce() -> Moment,
        actor: ActorId,
        placement: Placement,
    ) -> Result<(), NotTaken> {
        if let Some(seen) = self.seen.get_mut(&actor) {
            if placement < seen.placement {
                return Err(NotTaken::Stale(seen.placement));
            }
            if placement > seen.placement {
                *seen = Seen { placement, at: now };
            }
            return Ok(());
        }
        if self.seen.len() >= self.crowded.clamp(FEW, CALLERS) {
            self.forget(caught_up());
            self.crowded = 2 * self.seen.len();
            if self.seen.len() >= CALLERS {
                return Err(NotTaken::Full);
            }
        }
        self.seen.insert(actor, Seen { placement, at: now });
        Ok(())
    }

    /// Forgets those whose former hosts' ends are known here.
    pub fn forget(&mut self, caught_up: Moment) {
        self.seen.retain(|_, seen| seen.at >= caught_up);
    }

    /// A new life has met nobody: who has ended by then, it is told when it joins.
    pub fn clear(&mut self) {
        *self = Callers::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Life;
    use proptest::prelude::*;

    const ACTOR: ActorId = ActorId { life: Life(3), serial: 7 };
    const START: Moment = Moment(0);

    fn other(serial: u64) -> ActorId {
        ActorId { life: Life(9), serial }
    }

    #[test]
    fn l2_who_took_a_call_of_a_later_run_takes_none_of_a_former_one() {
        let mut callers = Callers::default();
        let mut admit = |placement| callers.admit(Moment(1), || START, ACTOR, Placement(placement));
        assert_eq!((admit(2), admit(2), admit(5)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(admit(4), Err(NotTaken::Stale(Placement(5))));
        assert_eq!(admit(5), Ok(()));
        assert_eq!(callers.admit(Moment(1), || START, other(1), Placement(1)), Ok(()), "of others nothing is known");
    }

    #[test]
    fn what_the_fence_of_lives_refuses_by_now_is_forgotten_and_nothing_else() {
        let mut callers = Callers::default();
        callers.admit(Moment(1), || START, ACTOR, Placement(5)).unwrap();
        for serial in 0..10 * FEW as u64 {
            callers.admit(Moment(2), || Moment(1), other(serial), Placement(1)).unwrap();
        }
        assert_eq!(callers.admit(Moment(2), || Moment(1), ACTOR, Placement(4)), Err(NotTaken::Stale(Placement(5))));
        for serial in 0..100 * FEW as u64 {
            let now = Moment(3 + serial);
            callers.admit(now, || now, other(serial), Placement(1)).unwrap();
        }
        assert!(callers.seen.len() <= 20 * FEW, "{} are kept", callers.seen.len());
        assert_eq!(callers.admit(Moment(9_999_999), || Moment(2), ACTOR, Placement(6)), Ok(()));
    }

    #[test]
    fn more_than_can_be_remembered_are_refused_until_the_head_is_heard() {
        let mut callers = Callers::default();
        for serial in 0..CALLERS as u64 {
            callers.admit(Moment(1), || START, other(serial), Placement(1)).unwrap();
        }
        assert_eq!(callers.admit(Moment(1), || START, ACTOR, Placement(1)), Err(NotTaken::Full));
        assert_eq!(callers.admit(Moment(1), || START, other(0), Placement(1)), Ok(()), "who is known goes on");
        assert_eq!(callers.admit(Moment(3), || Moment(2), ACTOR, Placement(1)), Ok(()));
        assert_eq!(callers.seen.len(), 1);
    }

    proptest! {
        #[test]
        fn none_is_taken_below_one_that_was_seen_since_the_head_was_heard(
            steps in prop::collection::vec((0_u64..600, 1_u64..6, any::<bool>()), 0..2_000),
        ) {
            let (mut callers, mut caught_up) = (Callers::default(), START);
            let mut taken: BTreeMap<u64, Vec<(u64, Moment)>> = BTreeMap::new();
            for (now, (serial, placement, heard)) in (1..).map(Moment).zip(steps) {
                if heard {
                    caught_up = Moment(now.0 - 1);
                }
                let before = taken.entry(serial).or_default();
                let recent = before.iter().filter(|(_, at)| *at >= caught_up).map(|(placement, _)| *placement).max();
                let result = callers.admit(now, || caught_up, other(serial), Placement(placement));
                prop_assert!(result.is_err() || recent.is_none_or(|recent| placement >= recent));
                let highest = before.iter().map(|(placement, _)| *placement).max();
                prop_assert!(result.is_ok() || highest.is_some_and(|highest| placement < highest));
                // A run counts from when it was first seen.
                if result.is_ok() && !before.iter().any(|(known, _)| *known == placement) {
                    before.push((placement, now));
                }
            }
        }
    }
}
