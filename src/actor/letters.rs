//! Dead letters: tells that were accepted and never began, for their actor had ended (PROTOCOLS §1.9). Who told them has gone
//! on, so the node where the actor was counts them, by why it ended.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::EndReason;

/// The names of the counters.
const NAMES: [&str; 12] = [
    "dead_letter_stopped",
    "dead_letter_killed",
    "dead_letter_panicked",
    "dead_letter_restarts_spent",
    "dead_letter_not_restored",
    "dead_letter_children_failed",
    "dead_letter_linked",
    "dead_letter_not_constructed",
    "dead_letter_node_died",
    "dead_letter_owner_died",
    "dead_letter_shut_down",
    "dead_letter_unknown",
];

/// How many there were on one node, for each reason. They only rise.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters([AtomicU64; NAMES.len()]);

impl DeadLetters {
    /// Counts one more, of an actor that ended so.
    pub(crate) fn add(&self, why: &EndReason) {
        let at = match why {
            EndReason::Stopped => 0,
            EndReason::Killed => 1,
            EndReason::Panicked { .. } => 2,
            EndReason::RestartsSpent { .. } => 3,
            EndReason::NotRestored { .. } => 4,
            EndReason::ChildrenFailed { .. } => 5,
            EndReason::Linked(_) => 6,
            EndReason::NotConstructed => 7,
            EndReason::NodeDied => 8,
            EndReason::OwnerDied => 9,
            EndReason::ShutDown => 10,
            EndReason::Unknown => 11,
        };
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    /// All names with their numbers.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::error::FirstEnd;
    use crate::id::{ActorId, Life};

    #[test]
    fn each_reason_has_a_number_of_its_own() {
        let message = || "no more".to_owned();
        let actor = ActorId { life: Life(1), serial: 1 };
        let reasons = [
            EndReason::Stopped,
            EndReason::Killed,
            EndReason::Panicked { message: message() },
            EndReason::RestartsSpent { restarts: 1, message: message() },
            EndReason::NotRestored { message: message() },
            EndReason::ChildrenFailed { restarts: 1, message: message() },
            EndReason::Linked(Box::new(FirstEnd { actor, message: message() })),
            EndReason::NotConstructed,
            EndReason::NodeDied,
            EndReason::OwnerDied,
            EndReason::ShutDown,
            EndReason::Unknown,
        ];
        let letters = DeadLetters::default();
        for (at, why) in reasons.iter().enumerate() {
            (0..=at).for_each(|_| letters.add(why));
        }
        assert!(letters.snapshot().map(|(_, number)| number).eq(1..=reasons.len() as u64));
    }
}
