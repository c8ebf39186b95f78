//! The waits of one frame.

use std::mem;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::Wait;
use crate::clock::Moment;

/// The waits of a frame: the first lies in place, for most frames wait for one call at a time.
#[derive(Default)]
pub(super) struct Waits {
    /// Whether the frame is in its actor's table.
    pub(super) entered: bool,
    pub(super) count: u32,
    /// The number of the first free place in `more`, or 0.
    free: u32,
    first: Option<Waiting>,
    /// Place `n` has number `n + 2`.
    more: Vec<Slot>,
}

enum Slot {
    Waiting(Waiting),
    /// And the number of the next free one, or 0.
    Free(u32),
}

pub(super) struct Waiting {
    pub(super) wait: Arc<dyn Wait>,
    /// Its number among the waits of this node, once a probe saw it.
    serial: u64,
    /// When it sends its next probe.
    pub(super) due: Option<Moment>,
    pub(super) sent: u32,
}

impl Waiting {
    pub(super) fn new(wait: Arc<dyn Wait>) -> Self {
        Waiting { wait, serial: 0, due: None, sent: 0 }
    }

    pub(super) fn number(&mut self, number: impl FnOnce() -> u64) -> u64 {
        if self.serial == 0 {
            self.serial = number();
        }
        self.serial
    }
}

impl Waits {
    pub(super) fn insert(&mut self, waiting: Waiting) -> NonZeroU32 {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(waiting);
            return NonZeroU32::MIN;
        }
        let number = match self.free {
            0 => {
                self.more.push(Slot::Waiting(waiting));
                self.more.len() as u32 + 1
            }
            number => {
                if let Some(slot) = self.more.get_mut(number as usize - 2)
                    && let Slot::Free(next) = mem::replace(slot, Slot::Waiting(waiting))
                {
                    self.free = next;
                }
                number
            }
        };
        NonZeroU32::MIN.saturating_add(number - 1)
    }

    pub(super) fn remove(&mut self, at: NonZeroU32) -> Option<Waiting> {
        let removed = match at.get() {
            1 => self.first.take(),
            number => {
                let slot = self.more.get_mut(number as usize - 2)?;
                match mem::replace(slot, Slot::Free(self.free)) {
                    Slot::Waiting(waiting) => {
                        self.free = number;
                        Some(waiting)
                    }
                    free @ Slot::Free(_) => {
                        *slot = free;
                        None
                    }
                }
            }
        };
        self.count -= u32::from(removed.is_some());
        removed
    }

    pub(super) fn each(&mut self, mut look: impl FnMut(&mut Waiting)) {
        self.first.iter_mut().for_each(&mut look);
        for slot in &mut self.more {
            if let Slot::Waiting(waiting) = slot {
                look(waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Held, Place};
    use super::*;
    use crate::id::{ActorId, Life};
    use proptest::prelude::*;

    struct Never(u64);

    impl Wait for Never {
        fn actor(&self) -> ActorId {
            ActorId { life: Life(1), serial: self.0 }
        }
        fn place(&self) -> Place {
            Place::Here
        }
        fn held(&self) -> Held {
            Held::Not
        }
        fn deadlock(&self, _: Vec<ActorId>) {}
    }

    proptest! {
        #[test]
        fn a_frame_keeps_each_wait_until_it_is_over(steps in prop::collection::vec((any::<bool>(), 0_usize..64), 0..200)) {
            let (mut waits, mut known) = (Waits::default(), Vec::new());
            for (serial, (add, which)) in (1_u64..).zip(steps) {
                if add || known.is_empty() {
                    let wait = Arc::new(Never(serial));
                    known.push((waits.insert(Waiting::new(wait)), serial));
                } else {
                    let (at, serial) = known.swap_remove(which % known.len());
                    prop_assert_eq!(waits.remove(at).map(|waiting| waiting.wait.actor().serial), Some(serial));
                    prop_assert!(waits.remove(at).is_none());
                }
                let mut found = Vec::new();
                waits.each(|waiting| found.push(waiting.wait.actor().serial));
                let mut expected: Vec<_> = known.iter().map(|(_, serial)| *serial).collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(waits.count as usize, known.len());
                prop_assert!(waits.more.len() <= 200);
            }
        }
    }
}
