//! Objects as the cluster's users have them: put, get, wait.

use futures_util::StreamExt;

use super::client::Cluster;
use crate::actor::error::WireError;
use crate::actor::inbox::Host;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::GetError;
use crate::object::get::{AsSettled, Get, GetView};
use crate::object::param::{Object, Param};
use crate::object::reference::ObjectRef;

/// How many objects are shared between a node and others: what [`Cluster::shared_objects`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// argument. In this process it is shared, and never copied.
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
    /// # Errors
    /// None yet in this process, where a value stays where it is.
    #[expect(clippy::unused_async, reason = "values of other kinds wait for room in the store")]
    pub async fn put<T: Param<Owned = T>>(&self, value: T) -> Result<ObjectRef<T>, GetError> {
        Ok(self.try_put(value))
    }

    /// Makes a slice of plain data an object, which readers view in place.
    ///
    /// # Errors
    /// None yet in this process, where the copy stays where it is.
    #[expect(clippy::unused_async, reason = "large slices wait for room in the store")]
    pub async fn put_slice<P: bytemuck::Pod + Send + Sync>(&self, items: &[P]) -> Result<ObjectRef<[P]>, GetError> {
        Ok(self.hold::<[P]>(<[P]>::share(items.to_vec())))
    }

    /// The same, without waiting.
    pub fn try_put<T: Param<Owned = T>>(&self, value: T) -> ObjectRef<T> {
        self.hold::<T>(T::share(value))
    }

    fn hold<T: ?Sized + Param>(&self, shared: T::Shared) -> ObjectRef<T> {
        let id = Host::next_object(&**self.node());
        ObjectRef::new(Entry::settled(id, Ok(Content::of::<T>(shared))))
    }

    /// The value of an object, once it is there; a slice's or a text's is a [`View`](crate::View), read in place.
    pub fn get<T: ?Sized + Object, E: WireError>(&self, of: &ObjectRef<T, E>) -> Get<T, E> {
        Get::new(of)
    }

    /// A view of an object, once it is there: also of what cannot be cloned.
    pub fn view<T: ?Sized + Param, E: WireError>(&self, of: &ObjectRef<T, E>) -> GetView<T, E> {
        GetView::new(of)
    }

    /// The values of several objects, in their order.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub async fn get_all<T: ?Sized + Object, E: WireError>(
        &self,
        of: &[ObjectRef<T, E>],
    ) -> Result<Vec<T::Got>, GetError<E>> {
        let mut values = Vec::with_capacity(of.len());
        for reference in of {
            values.push(self.get(reference).await?);
        }
        Ok(values)
    }

    /// Waits until `count` of the objects are there, or have failed: gives those, and the others. To take many one by one,
    /// use [`as_settled`](Cluster::as_settled), which looks at each but once.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing but forgets the references that were passed.
    pub async fn wait<T: ?Sized, E>(
        &self,
        of: impl IntoIterator<Item = ObjectRef<T, E>>,
        count: usize,
    ) -> (Vec<ObjectRef<T, E>>, Vec<ObjectRef<T, E>>) {
        let mut all = AsSettled::new(of);
        let mut settled = Vec::new();
        while settled.len() < count
            && let Some(next) = all.next().await
        {
            settled.push(next);
        }
        (settled, all.into_pending())
    }

    /// How many objects are shared between this node and others.
    #[must_use]
    pub fn shared_objects(&self) -> SharedObjects {
        let load = self.node().reference_load();
        SharedObjects { lent: load.exposed, borrowed: load.held, in_transit: load.transit }
    }

    /// References in the order in which their objects are there, or have failed.
    pub fn as_settled<T: ?Sized, E>(&self, of: impl IntoIterator<Item = ObjectRef<T, E>>) -> AsSettled<T, E> {
        AsSettled::new(of)
    }
}
