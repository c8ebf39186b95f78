//! Objects as the cluster's users have them: put, get, wait.

use super::client::Cluster;
use crate::actor::error::WireError;
use crate::actor::inbox::Host;
use crate::limits::STORED;
use crate::object::buffer::{Buffer, Fill};
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::get::{Get, GetAll, GetView};
use crate::object::param::{Object, Param};
use crate::object::reference::ObjectRef;
use crate::object::settled::{AsSettled, Awaited, WaitSettled};
use crate::object::weigh::Weigh;
use crate::store::{StoreError, Usage as StoreUsage};

/// How many objects, and actors by their handles, are shared between a node and others: what [`Cluster::shared_objects`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SharedObjects {
    /// Of this node, and held by others.
    pub lent: usize,
    /// Of others, and held by this one.
    pub borrowed: usize,
    /// Of others, held until a node to which this one sent them has told their owner.
    pub in_transit: usize,
}

impl Cluster {
    /// Makes a value an object: what is passed by reference is sent once to each node that reads it, however often it is an
    /// argument. In this process it is shared, and never copied; but for [`Bytes`](bytes::Bytes), which are copied into the
    /// store if they are large, where all processes of this host read them in place.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mobula::Result<()> {
    /// let cluster = Cluster::local().await?;
    /// let words = cluster.put(vec!["a".to_string(), "b".to_string()]).await?;
    /// assert_eq!(cluster.get(&words).await?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A value of [`STORED`] bytes and more counts as the store's. What a type owns beside its [`size_of`] counts if that is text,
    /// bytes or a vector of numbers; of other types [`put_weighed`](Cluster::put_weighed) counts it.
    ///
    /// # Errors
    /// The store has no room for it, as for [`put_slice`](Cluster::put_slice). Smaller values always fit.
    ///
    /// # Cancel safety
    /// Dropping it drops the value.
    pub async fn put<T: Param<Owned = T>>(&self, value: T) -> Result<ObjectRef<T>, StoreError> {
        if let Some(bytes) = large(&value) {
            return self.copy_in(bytes).await;
        }
        match value.takes() {
            takes if takes >= STORED => self.put_counted(value, takes).await,
            _ => Ok(self.hold::<T>(T::share(value))),
        }
    }

    /// The same of a value that says what it takes of memory, all that it owns included.
    ///
    /// # Errors
    /// As [`put`](Cluster::put)'s.
    ///
    /// # Cancel safety
    /// Dropping it drops the value.
    pub async fn put_weighed<T: Param<Owned = T> + Weigh>(&self, value: T) -> Result<ObjectRef<T>, StoreError> {
        match value.weigh() {
            takes if takes >= STORED && value.plain().is_none() => self.put_counted(value, takes).await,
            _ => self.put(value).await,
        }
    }

    async fn put_counted<T: Param<Owned = T>>(&self, value: T, takes: usize) -> Result<ObjectRef<T>, StoreError> {
        let weight = self.node().weigh(takes).await?;
        Ok(self.object(Content::of::<T>(T::share(value)).counted(weight)))
    }

    /// [`put_weighed`](Cluster::put_weighed) without waiting for room.
    ///
    /// # Errors
    /// As [`put`](Cluster::put)'s, at once.
    pub fn try_put_weighed<T: Param<Owned = T> + Weigh>(&self, value: T) -> Result<ObjectRef<T>, StoreError> {
        match value.weigh() {
            takes if takes >= STORED && value.plain().is_none() => {
                let weight = self.node().store()?.try_weigh(takes)?;
                Ok(self.object(Content::of::<T>(T::share(value)).counted(weight)))
            }
            _ => self.try_put(value),
        }
    }

    /// The same, without waiting for room.
    ///
    /// # Errors
    /// As [`put`](Cluster::put)'s, at once.
    pub fn try_put<T: Param<Owned = T>>(&self, value: T) -> Result<ObjectRef<T>, StoreError> {
        if let Some(bytes) = large(&value) {
            return self.copy_in_now(bytes);
        }
        let content = match value.takes() {
            takes if takes >= STORED => {
                let weight = self.node().store()?.try_weigh(takes)?;
                Content::of::<T>(T::share(value)).counted(weight)
            }
            _ => Content::of::<T>(T::share(value)),
        };
        Ok(self.object(content))
    }

    /// Makes a slice of plain data an object, which readers view in place: it is copied once, into shared memory unless it is
    /// small ([`STORED`]). To spare the copy, [`create`](Cluster::create) the memory and fill it.
    ///
    /// # Errors
    /// It exceeds the store, or there is no room for it within [`store_wait`](crate::ClusterBuilder::store_wait): the error
    /// says what holds the memory.
    ///
    /// # Cancel safety
    /// Dropping it frees what was copied.
    pub async fn put_slice<P: bytemuck::Pod + Send + Sync>(&self, items: &[P]) -> Result<ObjectRef<[P]>, StoreError> {
        match large(items) {
            Some(bytes) => self.copy_in(bytes).await,
            None => Ok(self.hold::<[P]>(<[P]>::share(items.to_vec()))),
        }
    }

    /// The same, without waiting for room. Copying takes 0.1 ms a megabyte: on a thread that may block if there are many.
    ///
    /// # Errors
    /// As [`put_slice`](Cluster::put_slice)'s, at once.
    pub fn try_put_slice<P: bytemuck::Pod + Send + Sync>(&self, items: &[P]) -> Result<ObjectRef<[P]>, StoreError> {
        match large(items) {
            Some(bytes) => self.copy_in_now(bytes),
            None => Ok(self.hold::<[P]>(<[P]>::share(items.to_vec()))),
        }
    }

    /// Makes a text an object, as [`put_slice`](Cluster::put_slice) does a slice.
    ///
    /// # Errors
    /// As [`put_slice`](Cluster::put_slice)'s.
    pub async fn put_str(&self, text: &str) -> Result<ObjectRef<str>, StoreError> {
        match large(text) {
            Some(bytes) => self.copy_in(bytes).await,
            None => Ok(self.hold::<str>(str::share(text.to_owned()))),
        }
    }

    /// The same, without waiting for room.
    ///
    /// # Errors
    /// As [`put_slice`](Cluster::put_slice)'s, at once.
    pub fn try_put_str(&self, text: &str) -> Result<ObjectRef<str>, StoreError> {
        match large(text) {
            Some(bytes) => self.copy_in_now(bytes),
            None => Ok(self.hold::<str>(str::share(text.to_owned()))),
        }
    }

    /// Memory for a slice of `length` items, or a text of `length` bytes, to be filled in place and sealed: nothing is copied.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mobula::Result<()> {
    /// let cluster = Cluster::local().await?;
    /// let mut squares = cluster.create::<[u64]>(100_000).await?;
    /// for (square, root) in squares.iter_mut().zip(0_u64..) {
    ///     *square = root * root;
    /// }
    /// let squares: ObjectRef<[u64]> = squares.seal();
    /// assert_eq!(cluster.get(&squares).await?[300], 90_000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put_slice`](Cluster::put_slice)'s.
    pub async fn create<T: ?Sized + Fill>(&self, length: usize) -> Result<Buffer<T>, StoreError> {
        let id = Host::next_object(&**self.node());
        match bytes_of::<T>(length) {
            bytes if bytes < STORED => Ok(Buffer::own(id, length)),
            bytes => Ok(Buffer::stored(id, self.node().draft(bytes).await?, self.node().store()?)),
        }
    }

    /// The same, without waiting for room.
    ///
    /// # Errors
    /// As [`put_slice`](Cluster::put_slice)'s, at once.
    pub fn try_create<T: ?Sized + Fill>(&self, length: usize) -> Result<Buffer<T>, StoreError> {
        let id = Host::next_object(&**self.node());
        match bytes_of::<T>(length) {
            bytes if bytes < STORED => Ok(Buffer::own(id, length)),
            bytes => {
                let store = self.node().store()?;
                Ok(Buffer::stored(id, store.try_create(bytes)?, store))
            }
        }
    }

    /// What holds the memory of this node's store.
    #[must_use]
    pub fn store_usage(&self) -> StoreUsage {
        self.node().store_usage()
    }

    fn hold<T: ?Sized + Param>(&self, shared: T::Shared) -> ObjectRef<T> {
        self.object(Content::of::<T>(shared))
    }

    fn object<T: ?Sized>(&self, content: Content) -> ObjectRef<T> {
        ObjectRef::new(Entry::settled(Host::next_object(&**self.node()), Ok(content)))
    }

    async fn copy_in<T: ?Sized>(&self, bytes: &[u8]) -> Result<ObjectRef<T>, StoreError> {
        let mut draft = self.node().draft(bytes.len()).await?;
        // The slice is borrowed, so no other thread can do it; others of this one are not to wait for all of it.
        draft.write_in_turns(bytes).await;
        Ok(self.object(Content::Kept(self.node().store()?.keep(draft.seal()))))
    }

    fn copy_in_now<T: ?Sized>(&self, bytes: &[u8]) -> Result<ObjectRef<T>, StoreError> {
        let store = self.node().store()?;
        Ok(self.object(Content::Kept(store.keep(store.copy_in(bytes)?))))
    }

    /// The value of an object, once it is there; a slice's or a text's is a [`View`](crate::View), read in place.
    pub fn get<T: ?Sized + Object, E: WireError>(&self, of: &ObjectRef<T, E>) -> Get<T, E> {
        Get::new(of)
    }

    /// A view of an object, once it is there: also of what cannot be cloned.
    pub fn view<T: ?Sized + Param, E: WireError>(&self, of: &ObjectRef<T, E>) -> GetView<T, E> {
        GetView::new(of)
    }

    /// The values of several objects, in their order, or the first error. Those of other nodes are read several at once.
    /// [`timeout`](GetAll::timeout) bounds the wait for all.
    pub fn get_all<'a, T: ?Sized + Object, E: WireError>(&self, of: &'a [ObjectRef<T, E>]) -> GetAll<'a, T, E> {
        GetAll::new(of)
    }

    /// Waits until `count` of the objects are there, or have failed, or for as long as a
    /// [`timeout`](WaitSettled::timeout) says: gives those, and the others. The others can be waited for again, with more
    /// [pushed](AsSettled::push) to them, at the cost of what became ready. Values of other nodes are brought here, unless
    /// [`without_fetching`](WaitSettled::without_fetching) says that it is enough to know that they are there. Who only wants
    /// them to be there passes `&references`, keeps those, and leaves what this gives.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mobula::Result<()> {
    /// # let cluster = Cluster::local().await?;
    /// let (mut sum, mut next) = (0, 0..100);
    /// // No more than eight at a time.
    /// let mut pending = cluster.as_settled(next.by_ref().take(8).map(|x| square::submit(&cluster, x)));
    /// while !pending.is_empty() {
    ///     let (settled, mut others) = cluster.wait(pending, 1).await;
    ///     for reference in settled {
    ///         sum += cluster.get(&reference).await?;
    ///         others.extend(next.next().map(|x| square::submit(&cluster, x)));
    ///     }
    ///     pending = others;
    /// }
    /// assert_eq!(sum, 328_350);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait<A: Awaited>(&self, of: A, count: usize) -> WaitSettled<A::Value, A::Error> {
        WaitSettled::new(of.into_settled(), count)
    }

    /// Lets the task that makes this object run no more, from whichever node: what has not begun never runs, what runs
    /// asynchronously is dropped at its next await, and a synchronous function sees it by
    /// [`TaskContext::cancelled`](crate::TaskContext::cancelled). Who waits for the result gets
    /// [`GetError::Cancelled`](crate::GetError::Cancelled) at once; nothing is run again. The tasks that it submitted follow,
    /// unless they are [`detached`](crate::TaskCall::detached), and theirs.
    ///
    /// Does nothing if the object is there already, or no task makes it. Does not wait.
    pub fn cancel<T: ?Sized, E>(&self, of: &ObjectRef<T, E>) {
        self.node().cancel_object(of.entry());
    }

    /// How many objects are shared between this node and others.
    #[must_use]
    pub fn shared_objects(&self) -> SharedObjects {
        let load = self.node().reference_load();
        SharedObjects { lent: load.exposed, borrowed: load.held, in_transit: load.transit }
    }

    /// References in the order in which their objects are there, or have failed.
    #[must_use = "a stream is lazy: poll it"]
    pub fn as_settled<T: ?Sized, E>(&self, of: impl IntoIterator<Item = ObjectRef<T, E>>) -> AsSettled<T, E> {
        AsSettled::new(of)
    }
}

/// The bytes of a plain value that is too large to be passed along.
fn large<T: ?Sized + Param>(value: &T) -> Option<&[u8]> {
    value.plain().filter(|bytes| bytes.len() >= STORED)
}

/// What so many items take; more than any store has if that is no number.
fn bytes_of<T: ?Sized + Fill>(items: usize) -> usize {
    items.saturating_mul(size_of::<T::Item>())
}
