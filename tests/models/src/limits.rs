//! Bounds that are small enough to be reached in a few steps.

pub(crate) const MAILBOX_BATCH: usize = 1;
pub(crate) const MAILBOX_CAPACITY: usize = 3;
pub(crate) const MAILBOX_KEPT: usize = 1;
