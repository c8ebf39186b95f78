//! Memory that becomes an object: filled in place, then sealed.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::str::Utf8Error;

use super::content::Content;
use super::entry::Entry;
use super::param::Param;
use super::reference::ObjectRef;
use crate::id::ObjectId;
use crate::store::{ALIGNMENT, Draft, Store};

/// What a [`Buffer`] may become: a slice of plain data, or text. Its items are aligned to 64 bytes at most; what needs more does not
/// compile:
///
/// ```compile_fail
/// # use bytemuck::{Pod, Zeroable};
/// #[derive(Clone, Copy)]
/// #[repr(C, align(128))]
/// struct Page([u8; 128]);
/// # unsafe impl Zeroable for Page {}
/// # unsafe impl Pod for Page {}
/// # fn main() {
/// # let cluster: Option<mobula::Cluster> = None;
/// # if let Some(cluster) = cluster {
/// cluster.try_create::<[Page]>(1);
/// # }
/// # }
/// ```
pub trait Fill: Param {
    /// What is filled in: the slice's items, the text's bytes.
    type Item: bytemuck::Pod + Send + Sync;
}

impl<P: bytemuck::Pod + Send + Sync> Fill for [P] {
    type Item = P;
}

impl Fill for str {
    type Item = u8;
}

/// Memory that nobody else sees before it is sealed; then nobody writes it again. What
/// [`Cluster::create`](crate::Cluster::create) gives.
///
/// It is not cleared: what it holds at first is anything. Dropped unsealed, its memory is free.
#[must_use = "it becomes an object by `.seal()`"]
pub struct Buffer<T: ?Sized + Fill> {
    id: ObjectId,
    memory: Memory<T::Item>,
    of: PhantomData<fn() -> Box<T>>,
}

enum Memory<P> {
    /// Of an object too small for the store.
    Own(Vec<P>),
    /// Whole items, aligned.
    Store(Draft, Store),
}

impl<T: ?Sized + Fill> Buffer<T> {
    const ALIGNED: () = assert!(align_of::<T::Item>() <= ALIGNMENT, "items are aligned to 64 bytes at most");

    /// In this process's own memory.
    pub(crate) fn own(id: ObjectId, length: usize) -> Self {
        let () = Self::ALIGNED;
        Buffer { id, memory: Memory::Own(vec![bytemuck::Zeroable::zeroed(); length]), of: PhantomData }
    }

    /// In a store's, whose drafts are aligned for whatever is plain data.
    pub(crate) fn stored(id: ObjectId, draft: Draft, store: Store) -> Self {
        Buffer { id, memory: Memory::Store(draft, store), of: PhantomData }
    }
}

impl<P: bytemuck::Pod + Send + Sync> Buffer<[P]> {
    /// Makes it an object.
    #[must_use]
    pub fn seal(self) -> ObjectRef<[P]> {
        let content = match self.memory {
            Memory::Own(items) => Content::of::<[P]>(<[P]>::share(items)),
            Memory::Store(draft, store) => Content::Kept(store.keep(draft.seal())),
        };
        ObjectRef::new(Entry::settled(self.id, Ok(content)))
    }
}

impl Buffer<str> {
    /// Makes it an object.
    ///
    /// # Errors
    /// What was filled in is no UTF-8.
    pub fn seal(self) -> Result<ObjectRef<str>, Utf8Error> {
        let content = match self.memory {
            Memory::Own(bytes) => {
                let text = String::from_utf8(bytes).map_err(|error| error.utf8_error())?;
                Content::of::<str>(str::share(text))
            }
            Memory::Store(draft, store) => {
                std::str::from_utf8(&draft)?;
                Content::Kept(store.keep(draft.seal()))
            }
        };
        Ok(ObjectRef::new(Entry::settled(self.id, Ok(content))))
    }
}

impl<T: ?Sized + Fill> Deref for Buffer<T> {
    type Target = [T::Item];
    fn deref(&self) -> &[T::Item] {
        match &self.memory {
            Memory::Own(items) => items,
            Memory::Store(draft, _) => bytemuck::cast_slice(draft),
        }
    }
}

impl<T: ?Sized + Fill> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T::Item] {
        match &mut self.memory {
            Memory::Own(items) => items,
            Memory::Store(draft, _) => bytemuck::cast_slice_mut(draft),
        }
    }
}

impl<T: ?Sized + Fill> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({}, {} items)", self.id, self.len())
    }
}
