//! The small objects' allocator: two-level segregated fit (Masmano et al., 2004) over all shared segments, with its
//! books outside of the memory that it hands out, which others can read. Taking and giving back are a few steps whatever
//! the store holds, neighbours that are free become one at once, and any mix of sizes goes into any segment.
//!
//! ```text
//! granules of 64 B   n < 16: row 0, column n          n ≥ 16: row log2(n) - 3, column the 4 bits behind the first
//! bin = row, column  free blocks of those lengths     row bitmap and column bitmaps find the first one that fits
//! recent             for each length below 16 granules, the block given back last: handed out again as it is
//! ```

use super::super::segment::Space;

/// What objects are aligned to: a cache line, and more than any vector load asks for.
pub(in crate::store) const GRANULE: usize = 64;
const COLUMN_BITS: u32 = 4;
const COLUMNS: usize = 1 << COLUMN_BITS;
/// Blocks of less than 2^31 granules: 128 GiB, and shared segments have 32 MiB at most.
const ROWS: usize = 28;
const NONE: u32 = u32::MAX;

/// A piece of a segment: free, and then it has its space, or handed out.
struct Block {
    space: Option<Space>,
    granules: u32,
    /// The blocks before and behind it in its segment.
    before: u32,
    behind: u32,
    /// The blocks before and behind it in its bin.
    previous: u32,
    next: u32,
}

/// All shared segments, as blocks.
pub(super) struct Blocks {
    blocks: Vec<Block>,
    vacant: Vec<u32>,
    bins: [u32; ROWS * COLUMNS],
    rows: u32,
    columns: [u16; ROWS],
    /// Neither free nor handed out. Always of segments with objects, so that one without is one free block.
    recent: [Option<(u32, Space)>; COLUMNS],
}

/// The granules that an object takes: one at least, so that no two objects lie at one offset.
pub(super) fn granules(length: usize) -> usize {
    length.div_ceil(GRANULE).max(1)
}

/// The bin of blocks of that length.
fn bin(granules: u32) -> (usize, usize) {
    if granules < COLUMNS as u32 {
        return (0, granules as usize);
    }
    let log = granules.ilog2();
    let column = (granules >> (log - COLUMN_BITS)) as usize & (COLUMNS - 1);
    ((log - COLUMN_BITS + 1) as usize, column)
}

/// The first bin whose blocks all are at least that long.
fn bin_that_fits(granules: u32) -> (usize, usize) {
    let step = if granules < COLUMNS as u32 { 0 } else { (1 << (granules.ilog2() - COLUMN_BITS)) - 1 };
    bin(granules.saturating_add(step))
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks {
            blocks: Vec::new(),
            vacant: Vec::new(),
            bins: [NONE; ROWS * COLUMNS],
            rows: 0,
            columns: [0; ROWS],
            recent: std::array::from_fn(|_| None),
        }
    }

    /// Takes in a segment, all of it free: one block.
    pub(super) fn insert(&mut self, space: Space) -> u32 {
        let granules = (space.len() / GRANULE) as u32;
        let at = self.add(Block { space: None, granules, before: NONE, behind: NONE, previous: NONE, next: NONE });
        self.link(at, space);
        at
    }

    /// A block for an object of so many bytes, if one is free.
    pub(super) fn take(&mut self, length: usize) -> Option<(u32, Space)> {
        let wanted = u32::try_from(granules(length)).ok()?;
        if let Some(recent) = self.recent.get_mut(wanted as usize).and_then(Option::take) {
            return Some(recent);
        }
        let at = match self.find(wanted) {
            Some(at) => at,
            None if self.merge_recent() => self.find(wanted)?,
            None => return None,
        };
        let mut space = self.unlink(at)?;
        if self.blocks[at as usize].granules > wanted {
            let rest = space.split_off(wanted as usize * GRANULE);
            let behind = self.blocks[at as usize].behind;
            let granules = self.blocks[at as usize].granules - wanted;
            let cut = self.add(Block { space: None, granules, before: at, behind, previous: NONE, next: NONE });
            self.blocks[at as usize].granules = wanted;
            self.blocks[at as usize].behind = cut;
            if behind != NONE {
                self.blocks[behind as usize].before = cut;
            }
            self.link(cut, rest);
        }
        Some((at, space))
    }

    /// Takes a block back, whose segment has other objects.
    pub(super) fn give(&mut self, at: u32, space: Space) {
        match self.recent.get_mut(self.blocks[at as usize].granules as usize) {
            Some(recent @ None) => *recent = Some((at, space)),
            _ => drop(self.merge(at, space)),
        }
    }

    /// Takes the last block of a segment back. Gives the free block that is the whole segment.
    pub(super) fn give_last(&mut self, at: u32, space: Space) -> Option<u32> {
        self.merge_recent();
        self.merge(at, space)
    }

    /// Frees what was kept to be handed out as it is; whether there was any.
    fn merge_recent(&mut self) -> bool {
        let mut any = false;
        for length in 0..COLUMNS {
            if let Some((at, space)) = self.recent[length].take() {
                self.merge(at, space);
                any = true;
            }
        }
        any
    }

    /// Frees a block, with its free neighbours. Gives the free block if that now is its whole segment.
    fn merge(&mut self, mut at: u32, mut space: Space) -> Option<u32> {
        let behind = self.blocks[at as usize].behind;
        if behind != NONE
            && let Some(next) = self.unlink(behind)
        {
            space.join(next);
            self.absorb(at, behind);
        }
        let before = self.blocks[at as usize].before;
        if before != NONE
            && let Some(mut first) = self.unlink(before)
        {
            first.join(space);
            space = first;
            self.absorb(before, at);
            at = before;
        }
        self.link(at, space);
        let block = &self.blocks[at as usize];
        (block.before == NONE && block.behind == NONE).then_some(at)
    }

    /// Takes out a segment that is all free: the block that [`Blocks::give_last`] named.
    pub(super) fn remove(&mut self, at: u32) -> Option<Space> {
        let space = self.unlink(at)?;
        self.vacant.push(at);
        Some(space)
    }

    fn find(&self, wanted: u32) -> Option<u32> {
        let (row, column) = bin_that_fits(wanted);
        let right = self.columns.get(row)? & (u16::MAX << column);
        let (row, columns) = if right != 0 {
            (row, right)
        } else {
            let below = self.rows & u32::MAX.checked_shl(row as u32 + 1)?;
            let row = below.trailing_zeros() as usize;
            (row, *self.columns.get(row)?)
        };
        Some(self.bins[row * COLUMNS + columns.trailing_zeros() as usize])
    }

    fn add(&mut self, block: Block) -> u32 {
        if let Some(at) = self.vacant.pop() {
            self.blocks[at as usize] = block;
            return at;
        }
        self.blocks.push(block);
        (self.blocks.len() - 1) as u32
    }

    /// `at` grows over the block behind it, which is no more.
    fn absorb(&mut self, at: u32, behind: u32) {
        let (granules, next) = (self.blocks[behind as usize].granules, self.blocks[behind as usize].behind);
        self.blocks[at as usize].granules += granules;
        self.blocks[at as usize].behind = next;
        if next != NONE {
            self.blocks[next as usize].before = at;
        }
        self.vacant.push(behind);
    }

    /// Puts a free block at the head of its bin.
    fn link(&mut self, at: u32, space: Space) {
        let (row, column) = bin(self.blocks[at as usize].granules);
        let head = std::mem::replace(&mut self.bins[row * COLUMNS + column], at);
        if head != NONE {
            self.blocks[head as usize].previous = at;
        }
        let block = &mut self.blocks[at as usize];
        (block.space, block.previous, block.next) = (Some(space), NONE, head);
        self.columns[row] |= 1 << column;
        self.rows |= 1 << row;
    }

    /// Takes a block out of its bin, if it is free.
    fn unlink(&mut self, at: u32) -> Option<Space> {
        let block = &mut self.blocks[at as usize];
        let space = block.space.take()?;
        let (previous, next) = (block.previous, block.next);
        let (row, column) = bin(block.granules);
        if next != NONE {
            self.blocks[next as usize].previous = previous;
        }
        if previous != NONE {
            self.blocks[previous as usize].next = next;
            return Some(space);
        }
        self.bins[row * COLUMNS + column] = next;
        if next == NONE {
            self.columns[row] &= !(1 << column);
            if self.columns[row] == 0 {
                self.rows &= !(1 << row);
            }
        }
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::segment::{Segment, page_size};
    use super::*;

    #[test]
    fn every_block_of_a_bin_that_fits_is_long_enough() {
        let mut last = (0, 0);
        for granules in (1..100_000).chain((17..31).flat_map(|log| [(1 << log) - 1, 1 << log, (1 << log) + 1])) {
            let (own, fits) = (bin(granules), bin_that_fits(granules));
            assert!(own >= last || granules < 100_000, "bins rise with the length: {granules}");
            assert!(fits >= own && fits.0 < ROWS);
            assert!(granules == 1 || own == fits || bin(granules - 1) <= own);
            last = own;
        }
        // The shortest block of a bin is the one for which the bin is its own and the one that fits.
        for granules in 1..100_000 {
            let shortest = (granules..).find(|&longer| bin(longer) == bin_that_fits(granules)).unwrap();
            assert!(shortest >= granules && shortest - granules <= granules / COLUMNS as u32);
        }
    }

    #[test]
    fn blocks_given_back_in_any_order_become_one() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut blocks = Blocks::new();
            blocks.insert(Segment::create(1, page_size()).unwrap());
            let mut taken: Vec<_> = (0..3).map(|_| blocks.take(100)).collect();
            let mut give = |at: usize, last: bool| {
                let (block, space) = taken[at].take().unwrap();
                if last { blocks.give_last(block, space) } else { blocks.merge(block, space) }
            };
            let whole = [give(order[0], false), give(order[1], false), give(order[2], true)];
            assert_eq!(whole.map(|whole| whole.is_some()), [false, false, true], "{order:?}");
            assert_eq!(blocks.blocks.len() - blocks.vacant.len(), 1);
        }
    }

    #[test]
    fn what_was_given_back_last_is_taken_next_and_merged_when_it_is_in_the_way() {
        let mut blocks = Blocks::new();
        blocks.insert(Segment::create(1, page_size()).unwrap());
        let (_first, _space) = blocks.take(page_size() / 2).unwrap();
        let (at, space) = blocks.take(128).unwrap();
        let offset = space.offset();
        blocks.give(at, space);
        let (again, space) = blocks.take(100).unwrap();
        assert_eq!((again, space.offset()), (at, offset));
        blocks.give(again, space);
        assert_eq!(blocks.take(page_size() / 2).unwrap().1.offset(), offset);
    }

    #[test]
    fn a_segment_is_used_to_its_last_granule() {
        let mut blocks = Blocks::new();
        blocks.insert(Segment::create(1, page_size()).unwrap());
        let taken: Vec<_> = (0..page_size() / GRANULE).map(|_| blocks.take(0).unwrap()).collect();
        assert!(blocks.take(1).is_none());
        let mut taken = taken.into_iter();
        let (last, space) = taken.next().unwrap();
        taken.for_each(|(at, space)| blocks.give(at, space));
        let whole = blocks.give_last(last, space).unwrap();
        assert_eq!(blocks.remove(whole).unwrap().len(), page_size());
        assert!(blocks.take(1).is_none() && blocks.rows == 0);
    }
}
