//! `ObjectRef<T, E>`: a typed reference to an object that exists, or will.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use super::entry::Entry;
use super::failure::{Never, WireError};
use super::get::Get;
use super::param::Object;
use crate::id::ObjectId;
use crate::wire::codec::{Hold, scope};
use crate::wire::packet::Ref;

/// A reference to an immutable value of type `T` that exists, or will: what `put` and `submit` give. `E` is what its maker
/// may fail with.
///
/// It is passed wherever a `T` is expected as an argument, before the value is there, too. Clones refer to the same
/// object, which stays while a reference to it is left anywhere. It is a future as well: `reference.await?` is
/// [`cluster.get(&reference).await?`](crate::Cluster::get).
pub struct ObjectRef<T: ?Sized, E = Never> {
    entry: Arc<Entry>,
    of: Of<T, E>,
}

/// Of which types it is. Function pointers own neither, so it is `Send + Sync` whatever they are.
pub(super) type Of<T, E> = PhantomData<(fn() -> Box<T>, fn() -> E)>;

impl<T: ?Sized, E> ObjectRef<T, E> {
    pub(crate) fn new(entry: Arc<Entry>) -> Self {
        ObjectRef { entry, of: PhantomData }
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The object's identity.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.entry.id()
    }

    /// Whether it is there, or has failed, as far as is known here: of an object of another node that is known once somebody
    /// here has waited for it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.entry.is_there()
    }

    /// The same reference where nobody knows the maker's error type: the error arrives as its text.
    #[must_use]
    pub fn erase(self) -> ObjectRef<T> {
        ObjectRef::new(self.entry)
    }
}

/// Into the list of references beside a message. Elsewhere nobody would count it, so there it is an error.
impl<T: ?Sized, E> Serialize for ObjectRef<T, E> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let entry = self.entry.travelling();
        let object = entry.id();
        let hold: Hold = entry;
        let index = scope::put(Ref::Object { object }, Some(hold)).map_err(S::Error::custom)?;
        to.serialize_u32(index)
    }
}

impl<'de, T: ?Sized, E> Deserialize<'de> for ObjectRef<T, E> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let hold = scope::take_hold(u32::deserialize(from)?).map_err(D::Error::custom)?;
        hold.downcast().map(ObjectRef::new).map_err(|_| D::Error::custom("the message holds no object there"))
    }
}

impl<T: ?Sized, E> Clone for ObjectRef<T, E> {
    fn clone(&self) -> Self {
        ObjectRef::new(self.entry.clone())
    }
}

impl<T: ?Sized, E> fmt::Debug for ObjectRef<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef({})", self.entry.id())
    }
}

impl<T: ?Sized + Object, E: WireError> IntoFuture for ObjectRef<T, E> {
    type Output = <Get<T, E> as Future>::Output;
    type IntoFuture = Get<T, E>;

    fn into_future(self) -> Get<T, E> {
        Get::new(&self)
    }
}
