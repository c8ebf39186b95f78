//! Memory files that several processes see and only their owner writes. The only file with what `mmap` needs of the system,
//! and with `unsafe` but for `copy.rs`.
//!
//! ```text
//! owner    memory file ── the one writable mapping ── Space ── split ──▶ Space, Space ── join ──▶ Space
//! reader   descriptor  ── checked ── read-only mapping ── Mapping
//! ```
//!
//! - **M1** Each byte of a segment belongs to at most one [`Space`], which is neither copied nor made from numbers. So
//!   whoever has a `&[u8]` of it holds a borrow of that space, and nobody can write there meanwhile.
//! - **M2** A segment is sealed before its descriptor can be had: from then on the kernel lets nobody write it, map it
//!   writable or change its length, except through the mapping that exists already. Before, for microseconds, a process
//!   of the same user could open it through `/proc`, as it could write this process's memory with `ptrace`: the kernel
//!   guards against mistakes of readers, not against a hostile process of the same user.
//! - **M3** A segment stays mapped for as long as there is a space of it.
#![allow(unsafe_code)]

use rustix::fs::{FileType, MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::process::{Resource, getrlimit};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use thiserror::Error;

use crate::limits::SEGMENTS_PART;

/// What a reader must be able to rely on: the length stays (no `SIGBUS`), and nobody maps it writable again.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE);

/// The unit of memory files.
pub(super) fn page_size() -> usize {
    rustix::param::page_size()
}

/// How many segments a store may have: the rest of the process, and other stores in it, need descriptors as well.
pub(super) fn most() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(usize::MAX, |limit| (limit / SEGMENTS_PART).max(1))
}

/// Whether a segment could not be made for want of descriptors, of this process or of the system.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Addresses that belong to this process until dropped.
struct Pages {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: mapped addresses are the process's, not a thread's; `Pages` itself neither reads nor writes them.
unsafe impl Send for Pages {}
// SAFETY: as above: through `&Pages` there is only the address.
unsafe impl Sync for Pages {}

impl Pages {
    fn map(file: impl AsFd, length: usize, access: ProtFlags) -> io::Result<Pages> {
        // SAFETY: at no given address, so the kernel chooses addresses that nothing else has.
        let base = unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, file, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Pages { base, length })
    }

    /// Keeps forked children from inheriting these pages: they could write what others read (tried).
    fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: the range is one mapping of ours, and the advice changes nothing in this process.
        Ok(unsafe { madvise(self.base.as_ptr().cast(), self.length, Advice::LinuxDontFork) }?)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and every slice of it borrows its owner, which is being dropped.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped: {unmapped:?}");
    }
}

/// A sealed memory file with the one writable mapping of it.
pub(super) struct Segment {
    id: u64,
    pages: Pages,
    file: OwnedFd,
}

impl Segment {
    /// A fresh memory file of `length` bytes, all zero, as one space. Costs no memory before it is written.
    ///
    /// # Errors
    ///
    /// The system's: no descriptors, no addresses, or a `length` of zero.
    pub(super) fn create(id: u64, length: usize) -> io::Result<Space> {
        let name = format!("mobula-{id}");
        // A file that may hold code would be refused on systems set up to do so.
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match memfd_create(name.as_str(), flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3 does not know the flag.
            Err(Errno::INVAL) => memfd_create(name.as_str(), flags)?,
            made => made?,
        };
        ftruncate(&file, length as u64)?;
        let pages = Pages::map(&file, length, ProtFlags::READ | ProtFlags::WRITE)?;
        pages.keep_from_children()?;
        fcntl_add_seals(&file, SEALS)?;
        Ok(Space { segment: Arc::new(Segment { id, pages, file }), start: 0, length })
    }

    /// Its number, never used again by this store.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// All its bytes.
    pub(super) fn length(&self) -> usize {
        self.pages.length
    }

    /// The descriptor for readers: nothing can be written through it.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A range of a segment that nobody else has.
pub(super) struct Space {
    segment: Arc<Segment>,
    start: usize,
    length: usize,
}

impl Space {
    /// The segment that it is of.
    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where it begins in its segment.
    pub(super) fn offset(&self) -> usize {
        self.start
    }

    /// Cuts off what lies behind the first `at` bytes.
    ///
    /// # Panics
    ///
    /// If it has fewer.
    pub(super) fn split_off(&mut self, at: usize) -> Space {
        assert!(at <= self.length, "a space of {} bytes is cut at {at}", self.length);
        let rest = Space { segment: Arc::clone(&self.segment), start: self.start + at, length: self.length - at };
        self.length = at;
        rest
    }

    /// Becomes one with the space right behind it.
    ///
    /// # Panics
    ///
    /// If `next` does not begin where this one ends.
    pub(super) fn join(&mut self, next: Space) {
        let adjacent = Arc::ptr_eq(&self.segment, &next.segment) && self.start + self.length == next.start;
        assert!(adjacent, "{next:?} does not follow {self:?}");
        self.length += next.length;
    }
}

impl Deref for Space {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in pages that stay mapped (M3), hence in one allocation that is no longer than `isize::MAX`,
        // and is initialised, for memory files begin as zeros. It is this space's alone (M1), and nobody writes it while
        // `self` is borrowed: not another process either (M2).
        unsafe { std::slice::from_raw_parts(self.segment.pages.base.as_ptr().add(self.start), self.length) }
    }
}

impl DerefMut for Space {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; `self` is borrowed exclusively, and with it the range. Processes that read it without
        // a pin break PROTOCOLS §4.1, to their own harm.
        unsafe { std::slice::from_raw_parts_mut(self.segment.pages.base.as_ptr().add(self.start), self.length) }
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} [{}..{}]", self.segment.id, self.start, self.start + self.length)
    }
}

/// Why a descriptor that a store's owner sent is not mapped.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum MappingError {
    /// It is not a memory file.
    #[error("the descriptor is no memory file; the store's owner is broken")]
    NotMemory,
    /// It could be changed or cut off under its readers.
    #[error("the memory file lacks the seals {missing}, so its bytes could change while they are read; it is refused")]
    Unsealed {
        /// Which seals.
        missing: String,
    },
    /// It is not as long as its owner says.
    #[error("the memory file has {found} bytes where its owner says {said}; it is refused")]
    WrongSize {
        /// What the owner says.
        said: u64,
        /// What the system says.
        found: u64,
    },
    /// The system would not map it.
    #[error("the memory file could not be mapped: {0}")]
    System(#[from] io::Error),
}

/// Another process's segment, mapped read-only.
pub(super) struct Mapping(Pages);

impl Mapping {
    /// Maps the memory file that a store's owner sent, if it is one, sealed, and of that length.
    pub(super) fn open(file: &OwnedFd, said: u64) -> Result<Mapping, MappingError> {
        let status = fstat(file).map_err(io::Error::from)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(MappingError::NotMemory);
        }
        // Only memory files have seals.
        let missing = SEALS.difference(fcntl_get_seals(file).map_err(|_| MappingError::NotMemory)?);
        if !missing.is_empty() {
            let names = missing.iter_names().map(|(name, _)| name).collect::<Vec<_>>();
            return Err(MappingError::Unsealed { missing: names.join(", ") });
        }
        // Asked after the seals: the length is final.
        let found = fstat(file).map_err(io::Error::from)?.st_size.cast_unsigned();
        match usize::try_from(found) {
            Ok(length) if found == said && length > 0 && isize::try_from(length).is_ok() => {
                Ok(Mapping(Pages::map(file, length, ProtFlags::READ)?))
            }
            _ => Err(MappingError::WrongSize { said, found }),
        }
    }

    /// A range of it; none if it does not lie within. The caller holds a pin on that range (PROTOCOLS §4.1): without one
    /// the owner may be writing it.
    pub(super) fn pinned(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let (start, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        if start.checked_add(length)? > self.0.length {
            return None;
        }
        // SAFETY: the range lies within pages that stay mapped while `self` is borrowed, whose file cannot shrink (its
        // seals were checked), and which this process cannot write. The owner does not either while the range is pinned
        // (PROTOCOLS §4.4, P1), which is the protocol's promise and no more checkable here than another process's code.
        Some(unsafe { std::slice::from_raw_parts(self.0.base.as_ptr().add(start), length) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    use std::fs::File;

    fn descriptor(space: &Space) -> OwnedFd {
        space.segment().file().try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_segment_can_be_written_by_its_owner_alone() {
        let mut space = Segment::create(1, 2 * page_size()).unwrap();
        space[..5].copy_from_slice(b"shark");
        let file = descriptor(&space);
        assert!(matches!(ftruncate(&file, 0), Err(Errno::PERM)));
        assert!(matches!(ftruncate(&file, 1 << 20), Err(Errno::PERM)));
        assert!(matches!(rustix::io::pwrite(&file, b"x", 0), Err(Errno::PERM)));
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert!(matches!(fallocate(&file, hole, 0, page_size() as u64), Err(Errno::PERM)));
        let writable = Pages::map(&file, page_size(), ProtFlags::READ | ProtFlags::WRITE);
        assert!(writable.is_err_and(|error| error.raw_os_error() == Some(Errno::PERM.raw_os_error())));
        space[0] = b'S';
        let mapping = Mapping::open(&file, space.len() as u64).unwrap();
        assert_eq!(mapping.pinned(0, 5).unwrap(), b"Shark");
    }

    #[test]
    fn a_mapping_gives_no_byte_outside_of_itself() {
        let space = Segment::create(1, page_size()).unwrap();
        let length = space.len() as u64;
        let mapping = Mapping::open(&descriptor(&space), length).unwrap();
        assert_eq!(mapping.pinned(length, 0).unwrap(), b"");
        for (offset, bytes) in [(0, length + 1), (length, 1), (u64::MAX, 1), (1, u64::MAX), (length + 1, 0)] {
            assert!(mapping.pinned(offset, bytes).is_none(), "{offset} {bytes}");
        }
    }

    #[test]
    fn what_is_no_sealed_memory_file_of_its_length_is_refused() {
        let plain: OwnedFd = tempfile::tempfile().unwrap().into();
        assert!(matches!(Mapping::open(&plain, 0), Err(MappingError::NotMemory)));
        let device: OwnedFd = File::open("/dev/zero").unwrap().into();
        assert!(matches!(Mapping::open(&device, 4096), Err(MappingError::NotMemory)));
        let loose = memfd_create("loose", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&loose, 4096).unwrap();
        fcntl_add_seals(&loose, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        let refused = Mapping::open(&loose, 4096);
        assert!(matches!(refused, Err(MappingError::Unsealed { missing }) if missing == "FUTURE_WRITE"));
        let space = Segment::create(1, page_size()).unwrap();
        let refused = Mapping::open(&descriptor(&space), 1);
        assert!(matches!(refused, Err(MappingError::WrongSize { said: 1, .. })));
        let empty = memfd_create("empty", MemfdFlags::ALLOW_SEALING).unwrap();
        fcntl_add_seals(&empty, SEALS).unwrap();
        assert!(matches!(Mapping::open(&empty, 0), Err(MappingError::WrongSize { .. })));
    }

    #[test]
    fn spaces_split_and_join_to_what_they_were() {
        let mut space = Segment::create(7, page_size()).unwrap();
        let mut second = space.split_off(64);
        let third = second.split_off(128);
        assert_eq!((second.offset(), second.len(), third.offset()), (64, 128, 192));
        second.join(third);
        space.join(second);
        assert_eq!((space.offset(), space.len(), space.segment().length()), (0, page_size(), page_size()));
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn spaces_that_do_not_touch_are_not_joined() {
        let mut space = Segment::create(7, page_size()).unwrap();
        let mut second = space.split_off(64);
        let third = second.split_off(128);
        space.join(third);
    }
}
