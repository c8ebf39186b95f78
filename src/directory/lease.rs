//! The head's side of leases: when a life was heard last, when its silence makes it suspect, when it ends it.
//!
//! ```text
//! heard ──── suspect_after ────▶ suspect: nothing new is placed there ──── lease (since heard) ────▶ ended
//! ```
//!
//! A life of an earlier reign counts as heard at this head's start, so none ends by time before a full lease (L4).

use crate::clock::Moment;
use crate::id::Life;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a life's silence has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Suspect,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Moment,
    suspect: bool,
}

#[derive(Debug)]
pub(super) struct Leases {
    lease: Duration,
    suspect_after: Duration,
    heard: BTreeMap<Life, Heard>,
    due: BTreeSet<(Moment, Life)>,
}

impl Leases {
    pub(super) fn new(lease: Duration, suspect_after: Duration) -> Leases {
        Leases { lease, suspect_after: suspect_after.min(lease), heard: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// A beat of this life, or its first word.
    pub(super) fn heard(&mut self, now: Moment, life: Life) {
        self.put(life, Heard { at: now, suspect: false });
    }

    /// Suspect before its time: its session closed.
    pub(super) fn suspect(&mut self, life: Life) {
        if let Some(heard) = self.heard.get(&life).copied() {
            self.put(life, Heard { suspect: true, ..heard });
        }
    }

    pub(super) fn forget(&mut self, life: Life) {
        if let Some(heard) = self.heard.remove(&life) {
            self.due.remove(&(self.next(heard), life));
        }
    }

    /// The next silence that has lasted long enough.
    pub(super) fn overdue(&mut self, now: Moment) -> Option<(Life, Silence)> {
        let &(at, life) = self.due.first()?;
        if at > now {
            return None;
        }
        let heard = self.heard.get(&life).copied()?;
        if !heard.suspect {
            self.put(life, Heard { suspect: true, ..heard });
            return Some((life, Silence::Suspect));
        }
        self.forget(life);
        Some((life, Silence::Over))
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    fn put(&mut self, life: Life, heard: Heard) {
        self.forget(life);
        self.heard.insert(life, heard);
        self.due.insert((self.next(heard), life));
    }

    fn next(&self, heard: Heard) -> Moment {
        heard.at + if heard.suspect { self.lease } else { self.suspect_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_silence_makes_suspect_and_ends_no_life_before_a_full_lease() {
        let second = Duration::from_secs(1);
        let mut leases = Leases::new(30 * second, 5 * second);
        let at = |n: u32| Moment(7) + n * second;
        leases.heard(at(0), Life(1));
        leases.heard(at(0), Life(2));
        leases.heard(at(3), Life(2));
        assert_eq!((leases.deadline(), leases.overdue(at(4))), (Some(at(5)), None));
        assert_eq!(leases.overdue(at(6)), Some((Life(1), Silence::Suspect)));
        assert_eq!(leases.overdue(at(6)), None);
        leases.suspect(Life(2));
        leases.heard(at(20), Life(1));
        assert_eq!(leases.overdue(at(25)), Some((Life(1), Silence::Suspect)));
        assert_eq!(leases.overdue(at(32)), None);
        assert_eq!(leases.overdue(at(33)), Some((Life(2), Silence::Over)));
        assert_eq!(leases.overdue(at(49)), None);
        assert_eq!(leases.overdue(at(50)), Some((Life(1), Silence::Over)));
        assert_eq!((leases.overdue(at(99)), leases.deadline()), (None, None));
    }
}
