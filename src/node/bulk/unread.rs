//! What a peer has asked for and not read yet, so that one that reads nothing costs its holder a window of chunks.
//!
//! ```text
//! asked ≥ answered ≥ had:     asked − had ≤ BULK_ASKS
//! ```
//!
//! A transport takes a message long before its peer reads it, and has no bound in bytes. So it is the peer that says how many
//! answers it has had; it is believed as far as they were sent, as acknowledgements of a link are.

use crate::limits::BULK_ASKS;

/// One peer's asks over one session.
#[derive(Debug, Default)]
pub(super) struct Unread {
    asked: u64,
    answered: u64,
    had: u64,
}

impl Unread {
    /// The peer asks, and has had so many answers: whether it may. Asks may overtake one another, so that a later one says less.
    #[must_use]
    pub(super) fn asked(&mut self, had: u64) -> bool {
        self.asked += 1;
        self.had = self.had.max(had);
        had <= self.answered && self.asked - self.had <= BULK_ASKS as u64
    }

    /// Whether all that was asked for is answered.
    pub(super) fn is_served(&self) -> bool {
        self.asked == self.answered
    }

    /// An ask is about to be answered.
    pub(super) fn answered(&mut self) {
        self.answered += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = BULK_ASKS as u64;

    #[test]
    fn a_peer_that_reads_nothing_is_served_one_window() {
        let mut unread = Unread::default();
        for _ in 0..MOST {
            assert!(unread.asked(0));
            unread.answered();
        }
        assert!(!unread.asked(0), "though all was sent");
    }

    #[test]
    fn a_peer_that_reads_asks_for_as_many_more_and_its_asks_may_overtake_one_another() {
        let mut unread = Unread::default();
        (0..MOST).for_each(|_| assert!(unread.asked(0)));
        (0..MOST).for_each(|_| unread.answered());
        assert!(unread.asked(2) && unread.asked(1) && !unread.asked(2));
    }

    #[test]
    fn a_peer_has_had_no_more_than_was_sent() {
        let mut unread = Unread::default();
        assert!(unread.asked(0) && !unread.asked(1));
        let mut unread = Unread::default();
        assert!(unread.asked(0));
        unread.answered();
        assert!(unread.asked(1) && !unread.asked(u64::MAX));
    }
}
