//! Long copies into the store, past the caches.
//!
//! What is longer than the caches only empties them on its way through, and each line of the target is read before it is
//! overwritten. Stores that go to memory directly spare that, for which a C library waits until a copy is longer than most of
//! the machine's cache; here it comes in pieces, between which others of the thread have their turn, and whoever copies knows
//! that more follow.
//!
//! - **M4** Stores that bypass the caches are in order before anything is said of them: each copy ends with a fence.
#![allow(unsafe_code)]

/// Copies `from` to `to`, past the caches where that is quicker.
///
/// # Panics
/// When they are not of one length.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn past_caches(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

#[cfg(target_arch = "x86_64")]
pub(super) use streaming::past_caches;

#[cfg(target_arch = "x86_64")]
mod streaming {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    /// What a store writes.
    const STORE: usize = size_of::<__m128i>();
    /// What the memory is written in.
    const LINE: usize = 64;
    const PAGE: usize = 4 << 10;
    /// Pages that are copied side by side, line by line: a processor fetches each in advance, and one alone not fast enough.
    const PAGES: usize = 4;
    const BLOCK: usize = PAGES * PAGE;

    pub(in super::super) fn past_caches(to: &mut [u8], from: &[u8]) {
        assert_eq!(to.len(), from.len(), "a copy is as long as what is copied");
        let first = to.as_ptr().align_offset(LINE).min(to.len());
        let ((start, to), (from_start, from)) = (to.split_at_mut(first), from.split_at(first));
        start.copy_from_slice(from_start);
        let (mut blocks, mut from_blocks) = (to.chunks_exact_mut(BLOCK), from.chunks_exact(BLOCK));
        for (to, from) in blocks.by_ref().zip(from_blocks.by_ref()) {
            block(to, from);
        }
        // SAFETY: part of what every x86-64 processor has; it touches no memory itself.
        unsafe { _mm_sfence() };
        blocks.into_remainder().copy_from_slice(from_blocks.remainder());
    }

    /// Copies a block; whoever calls it ends with a fence.
    fn block(to: &mut [u8], from: &[u8]) {
        assert!(to.len() == BLOCK && from.len() == BLOCK && to.as_ptr().cast::<__m128i>().is_aligned());
        let (to, from) = (to.as_mut_ptr(), from.as_ptr());
        for line in (0..PAGE).step_by(LINE) {
            for page in (0..BLOCK).step_by(PAGE) {
                for at in (page + line..page + line + LINE).step_by(STORE) {
                    // SAFETY: both are `BLOCK` long, of which `at` is a multiple of `STORE` below the end: what is read and
                    // written lies within. The read needs no alignment; the write's is that of `to`, which was looked at.
                    // `to` is borrowed exclusively until the fence.
                    unsafe { _mm_stream_si128(to.add(at).cast(), _mm_loadu_si128(from.add(at).cast())) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::past_caches;

    #[test]
    fn all_is_copied_and_nothing_beside_it_from_any_place_to_any_other() {
        const BLOCK: usize = 16 << 10;
        let from: Vec<u8> = (0..3 * BLOCK).map(|at| (at % 251) as u8).collect();
        for length in [0, 1, 63, 64, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 777] {
            for (offset, other) in [(0, 0), (1, 0), (0, 1), (15, 33), (64, 7), (100, 100)] {
                let mut to = vec![255; 3 * BLOCK];
                past_caches(&mut to[offset..offset + length], &from[other..other + length]);
                assert_eq!(to[offset..offset + length], from[other..other + length]);
                assert!(to[..offset].iter().chain(&to[offset + length..]).all(|byte| *byte == 255));
            }
        }
    }
}
