//! How often an actor is started again where it is, and how long it waits before that (PROTOCOLS §1.14).

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::limits::{RESTART_CALM, RESTART_PAUSE_FIRST, RESTART_PAUSE_LAST, RESTART_WINDOW};

/// How often an actor is started again after a panic: `#[actor(restarts = 3, restart_window = "1m")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restarts {
    /// So often, and no more.
    pub limit: u32,
    /// Within any such time; over its whole life if there is none.
    pub window: Option<Duration>,
}

impl Restarts {
    /// It ends with its first panic.
    pub const NEVER: Restarts = Restarts { limit: 0, window: None };

    pub(crate) const fn allow_any(self) -> bool {
        self.limit > 0
    }

    /// Whether restarts can be counted within such a time.
    pub(crate) fn count_within(window: Duration) -> bool {
        (Duration::from_millis(1)..=RESTART_WINDOW).contains(&window)
    }
}

/// What the restarts of an actor, or of a supervisor's children, have come to.
#[derive(Debug)]
pub(crate) struct Tally {
    policy: Restarts,
    /// Over its life.
    made: u32,
    /// When those were that are within the window. Pauses keep it short: see [`RESTART_PAUSE_LAST`].
    recent: VecDeque<Moment>,
    /// How many failed in a row without running for a while.
    in_a_row: u32,
    /// When the present run began, if it did.
    began: Option<Moment>,
}

impl Tally {
    pub(crate) fn new(policy: Restarts, now: Moment) -> Self {
        Tally { policy, made: 0, recent: VecDeque::new(), in_a_row: 0, began: Some(now) }
    }

    /// How often it may be started again.
    pub(crate) fn limit(&self) -> u32 {
        self.policy.limit
    }

    /// Another run has begun.
    pub(crate) fn runs(&mut self, now: Moment) {
        self.began = Some(now);
    }

    /// A run has failed, or did not come to be: how long to wait before the next one, if there may be one.
    pub(crate) fn failed(&mut self, now: Moment) -> Option<Duration> {
        let spent = match self.policy.window {
            None => self.made as usize,
            Some(window) => {
                while self.recent.front().is_some_and(|then| now.since(*then) >= window) {
                    self.recent.pop_front();
                }
                self.recent.len()
            }
        };
        if spent >= self.policy.limit as usize {
            return None;
        }
        self.made = self.made.saturating_add(1);
        if self.policy.window.is_some() {
            self.recent.push_back(now);
        }
        if self.began.take().is_some_and(|began| now.since(began) >= RESTART_CALM) {
            self.in_a_row = 0;
        }
        let pause = match self.in_a_row {
            0 => Duration::ZERO,
            before => RESTART_PAUSE_FIRST.saturating_mul(1 << (before - 1).min(16)).min(RESTART_PAUSE_LAST),
        };
        self.in_a_row += 1;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(limit: u32, window: Option<Duration>) -> Tally {
        Tally::new(Restarts { limit, window }, Moment(0))
    }

    #[test]
    fn without_a_window_restarts_are_counted_over_the_whole_life() {
        let mut tally = tally(2, None);
        let hour = Duration::from_secs(3_600);
        assert_eq!(tally.failed(Moment(0) + hour), Some(Duration::ZERO));
        assert!(tally.failed(Moment(0) + hour * 2).is_some());
        assert_eq!(tally.failed(Moment(0) + hour * 3), None);
    }

    #[test]
    fn within_a_window_restarts_are_counted_and_forgotten_after_it() {
        let window = Duration::from_secs(60);
        let mut tally = tally(2, Some(window));
        let at = |seconds| Moment(0) + Duration::from_secs(seconds);
        assert!(tally.failed(at(0)).is_some() && tally.failed(at(30)).is_some());
        assert_eq!(tally.failed(at(59)), None);
        assert!(tally.failed(at(60)).is_some(), "the first is a whole window ago");
        assert_eq!(tally.failed(at(61)), None);
    }

    #[test]
    fn the_first_restart_is_at_once_and_those_after_it_wait_ever_longer_up_to_a_bound() {
        let mut tally = tally(u32::MAX, None);
        assert_eq!(tally.failed(Moment(0)), Some(Duration::ZERO));
        let pauses: Vec<Duration> = (0..40).filter_map(|_| tally.failed(Moment(0))).collect();
        assert_eq!(pauses[..3], [1, 2, 4].map(|times| RESTART_PAUSE_FIRST * times));
        assert!(pauses.is_sorted() && pauses.len() == 40);
        assert_eq!(pauses.last(), Some(&RESTART_PAUSE_LAST));
        tally.runs(Moment(0));
        assert_eq!(tally.failed(Moment(0) + RESTART_CALM), Some(Duration::ZERO), "it ran well for a while");
    }
}
