//! Memory that an object is pulled into. Nobody reads it before all has come.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::Draft;
use crate::wire::chunk::Range;

/// Where it goes.
pub(in crate::node) enum Memory {
    /// The node's store: as long as the object.
    Store(Draft),
    /// The process's own memory: as long as what has come, for what an owner declares is not reserved.
    Own(Vec<u8>),
}

/// The memory of one pull, which what arrives is written into where it arrives.
pub(in crate::node) struct Target {
    /// Gone once the pull is over: what comes later is dropped.
    memory: Mutex<Option<Memory>>,
    /// There was not enough.
    short: AtomicBool,
}

impl Target {
    pub(in crate::node) fn new(memory: Memory) -> Self {
        Target { memory: Mutex::new(Some(memory)), short: AtomicBool::new(false) }
    }

    /// Writes a range that was asked for. Two sources may bring the same.
    pub(super) fn write(&self, range: Range, bytes: &[u8]) {
        let mut memory = self.memory.lock();
        let written = match memory.as_mut() {
            Some(Memory::Store(draft)) => write(draft, range, bytes),
            Some(Memory::Own(own)) => grow(own, range) && write(own, range, bytes),
            None => true,
        };
        if !written {
            self.short.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something that came had no room.
    pub(in crate::node) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// All has come, or nothing more is wanted.
    pub(in crate::node) fn take(&self) -> Option<Memory> {
        self.memory.lock().take()
    }
}

fn write(memory: &mut [u8], range: Range, bytes: &[u8]) -> bool {
    match range.within(memory.len()) {
        Some(within) if within.len() == bytes.len() => memory[within].copy_from_slice(bytes),
        _ => return false,
    }
    true
}

fn grow(own: &mut Vec<u8>, range: Range) -> bool {
    let Some(end) = range.end().and_then(|end| usize::try_from(end).ok()) else { return false };
    let more = end.saturating_sub(own.len());
    if own.try_reserve(more).is_err() {
        return false;
    }
    own.resize(own.len() + more, 0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_in_any_order_and_what_comes_too_late_is_dropped() {
        let target = Target::new(Memory::Own(Vec::new()));
        let range = |offset, length| Range { offset, length };
        target.write(range(3, 2), b"de");
        target.write(range(0, 3), b"abc");
        target.write(range(3, 2), b"de");
        assert!(!target.is_short());
        let Some(Memory::Own(own)) = target.take() else { panic!("it is there") };
        assert_eq!(own, b"abcde");
        target.write(range(0, 3), b"xyz");
        assert!(target.take().is_none() && !target.is_short());
    }

    #[test]
    fn a_range_that_no_memory_has_is_told() {
        for range in [Range { offset: u64::MAX, length: 2 }, Range { offset: 1 << 62, length: 2 }] {
            let target = Target::new(Memory::Own(Vec::new()));
            target.write(range, b"ab");
            assert!(target.is_short(), "{range:?}");
        }
    }
}
