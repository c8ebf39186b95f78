//! A word that one side says before it looks at what the other side has done.

use super::{AtomicBool, Ordering, fence};

/// Set by one side, which then looks; read by the other side after what it did. **One of both sees the other**: it cannot
/// be that the one looked too early for what was done, and the other too early for what was said.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    /// Says it, before looking.
    pub(crate) fn set(&self, so: bool) {
        self.0.store(so, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// What was said, for who did something just now that is no flag.
    pub(crate) fn hear(&self) -> bool {
        fence(Ordering::SeqCst);
        self.get()
    }

    /// What was said, for who set a flag after what it did, or did it under a lock that the other side takes to look.
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
