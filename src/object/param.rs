//! What a parameter or an object may be, and how it is held: owned, shared, encoded, or as plain bytes.
//!
//! ```text
//! T                    one value              shared: Arc<T>            as an object's body: MessagePack
//! [P], P plain data    a slice                shared: SharedSlice<P>    as an object's body: its bytes
//! str                  text                   shared: ByteString        as an object's body: its bytes
//! Bytes                bytes                  shared: Arc<Bytes>        as an object's body: they themselves
//! ```

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::Any;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::weigh;

/// A shared value whose type is not known: what [`Param::erase`] gives.
pub type Erased = Arc<dyn Any + Send + Sync>;

/// What a parameter or an object may be: any serializable owned type, `str`, or a slice of plain data.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a message",
    label = "needs `Serialize + Deserialize + Send + Sync`, or to be `str` or a slice of plain data",
    note = "derive both on it, or take it by another type"
)]
pub trait Param: Send + Sync + 'static {
    /// What owns such a value on its way.
    type Owned: Borrow<Self> + Send + Sync + 'static;
    /// What several hold at once.
    type Shared: Deref<Target = Self> + Clone + Send + Sync + 'static;
    /// Writes the value.
    ///
    /// # Errors
    /// What the serializer errs with.
    fn encode<S: Serializer>(this: &Self, to: S) -> Result<S::Ok, S::Error>;
    /// Reads a value.
    ///
    /// # Errors
    /// What the deserializer errs with.
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Self::Owned, D::Error>;
    /// Lets several hold it.
    fn share(owned: Self::Owned) -> Self::Shared;
    /// Forgets the type.
    #[doc(hidden)]
    fn erase(shared: Self::Shared) -> Erased;
    /// Remembers it; none if it was another.
    #[doc(hidden)]
    fn restore(erased: Erased) -> Option<Self::Shared>;
    /// Its bytes, where they are an object's whole body.
    #[doc(hidden)]
    fn plain(&self) -> Option<&[u8]> {
        None
    }
    /// What it takes of memory, as far as its type says.
    #[doc(hidden)]
    fn takes(&self) -> usize;
    /// A value of such bytes, without a copy where they allow it.
    #[doc(hidden)]
    fn from_plain(bytes: Bytes) -> Result<Self::Shared, String>;
}

// Else the compiler speaks of serde's traits, once for each, instead of what `Param` says.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Param for T {
    type Owned = T;
    type Shared = Arc<T>;
    fn encode<S: Serializer>(this: &T, to: S) -> Result<S::Ok, S::Error> {
        this.serialize(to)
    }
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::deserialize(from)
    }
    fn share(owned: T) -> Arc<T> {
        Arc::new(owned)
    }
    fn erase(shared: Arc<T>) -> Erased {
        shared
    }
    fn restore(erased: Erased) -> Option<Arc<T>> {
        erased.downcast().ok()
    }
    fn plain(&self) -> Option<&[u8]> {
        // The one type of these that is plain bytes: which it is, the compiler knows.
        (self as &dyn Any).downcast_ref::<Bytes>().map(AsRef::as_ref)
    }
    fn takes(&self) -> usize {
        weigh::of_any(self)
    }
    fn from_plain(bytes: Bytes) -> Result<Arc<T>, String> {
        let shared: Erased = Arc::new(bytes);
        shared
            .downcast()
            .map_err(|_| format!("the object is plain bytes, and no encoded `{}`", std::any::type_name::<T>()))
    }
}

impl Param for str {
    type Owned = String;
    type Shared = ByteString;
    fn encode<S: Serializer>(this: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(this)
    }
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
    fn share(owned: String) -> ByteString {
        owned.into()
    }
    fn erase(shared: ByteString) -> Erased {
        Arc::new(shared)
    }
    fn restore(erased: Erased) -> Option<ByteString> {
        erased.downcast_ref::<ByteString>().cloned()
    }
    fn plain(&self) -> Option<&[u8]> {
        Some(self.as_bytes())
    }
    fn takes(&self) -> usize {
        self.len()
    }
    fn from_plain(bytes: Bytes) -> Result<ByteString, String> {
        ByteString::try_from(bytes).map_err(|error| error.to_string())
    }
}

/// Travels as its bytes, in the sender's byte order; little-endian is the only one that Mobula builds for.
impl<P: bytemuck::Pod + Send + Sync> Param for [P] {
    type Owned = Vec<P>;
    type Shared = SharedSlice<P>;
    fn encode<S: Serializer>(this: &[P], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytemuck::cast_slice(this))
    }
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<P>, D::Error> {
        from.deserialize_bytes(PlainData(PhantomData))
    }
    fn share(owned: Vec<P>) -> SharedSlice<P> {
        SharedSlice(Items::Owned(Arc::new(owned)))
    }
    fn erase(shared: SharedSlice<P>) -> Erased {
        Arc::new(shared)
    }
    fn restore(erased: Erased) -> Option<SharedSlice<P>> {
        erased.downcast_ref::<SharedSlice<P>>().cloned()
    }
    fn plain(&self) -> Option<&[u8]> {
        Some(bytemuck::cast_slice(self))
    }
    fn takes(&self) -> usize {
        size_of_val(self)
    }
    fn from_plain(bytes: Bytes) -> Result<SharedSlice<P>, String> {
        match bytemuck::try_cast_slice::<u8, P>(&bytes) {
            Ok(_) => Ok(SharedSlice(Items::Stored(bytes))),
            // The bytes of a message may be aligned otherwise: these are copied.
            Err(_) => items_of(&bytes).map(<[P]>::share),
        }
    }
}

#[cfg(target_endian = "big")]
compile_error!("slices of plain data travel in little-endian byte order");

/// A slice that several hold: of this process's own memory, or of a segment that several processes read.
pub struct SharedSlice<P>(Items<P>);

enum Items<P> {
    Owned(Arc<Vec<P>>),
    /// Whole items, aligned.
    Stored(Bytes),
}

impl<P> Clone for SharedSlice<P> {
    fn clone(&self) -> Self {
        SharedSlice(match &self.0 {
            Items::Owned(items) => Items::Owned(items.clone()),
            Items::Stored(bytes) => Items::Stored(bytes.clone()),
        })
    }
}

impl<P: bytemuck::Pod> Deref for SharedSlice<P> {
    type Target = [P];
    fn deref(&self) -> &[P] {
        match &self.0 {
            Items::Owned(items) => items,
            Items::Stored(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

#[cfg(feature = "arrow")]
impl<P: bytemuck::Pod + Send + Sync> SharedSlice<P> {
    /// Its bytes, where they lie.
    pub(super) fn into_bytes(self) -> Bytes {
        struct Owner<P>(Arc<Vec<P>>);
        impl<P: bytemuck::Pod> AsRef<[u8]> for Owner<P> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        match self.0 {
            Items::Owned(items) => Bytes::from_owner(Owner(items)),
            Items::Stored(bytes) => bytes,
        }
    }
}

/// The items whose bytes these are, copied: they may be aligned otherwise.
fn items_of<P: bytemuck::Pod>(bytes: &[u8]) -> Result<Vec<P>, String> {
    match size_of::<P>() {
        0 => Err("a slice of a type without a size cannot travel".to_owned()),
        size if !bytes.len().is_multiple_of(size) => {
            Err(format!("{} bytes are no whole number of items of {size}", bytes.len()))
        }
        size => Ok(bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect()),
    }
}

struct PlainData<P>(PhantomData<P>);

impl<P: bytemuck::Pod> Visitor<'_> for PlainData<P> {
    type Value = Vec<P>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes of a slice of {}", std::any::type_name::<P>())
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<P>, E> {
        items_of(bytes).map_err(E::custom)
    }
}

/// An immutable value that several hold, read where it lies: in this process's memory, or in a segment that several
/// processes read. Clones are the same value; it stays while one is left.
pub struct View<T: ?Sized + Param>(T::Shared);

impl<T: ?Sized + Param> View<T> {
    pub(crate) fn new(shared: T::Shared) -> Self {
        View(shared)
    }

    pub(crate) fn into_shared(self) -> T::Shared {
        self.0
    }
}

impl<T: ?Sized + Param> Clone for View<T> {
    fn clone(&self) -> Self {
        View(self.0.clone())
    }
}

impl<T: ?Sized + Param> Deref for View<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + Param + fmt::Debug> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What [`get`](crate::Cluster::get) gives of an object: the value itself, cloned if others hold it; of a slice or text a
/// [`View`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken out of an object",
    label = "needs `Clone`: others may hold it too",
    note = "derive `Clone` on it, or read it in place by `cluster.view(&reference)`"
)]
pub trait Object: Param {
    /// What `get` gives.
    type Got: Send + 'static;
    /// Of what is shared.
    #[doc(hidden)]
    fn got(shared: Self::Shared) -> Self::Got;
    /// Of what nobody shares.
    #[doc(hidden)]
    fn got_owned(owned: Self::Owned) -> Self::Got {
        Self::got(Self::share(owned))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Object for T {
    type Got = T;
    fn got(shared: Arc<T>) -> T {
        Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone())
    }
    fn got_owned(owned: T) -> T {
        owned
    }
}

impl Object for str {
    type Got = View<str>;
    fn got(shared: ByteString) -> View<str> {
        View(shared)
    }
}

impl<P: bytemuck::Pod + Send + Sync> Object for [P] {
    type Got = View<[P]>;
    fn got(shared: SharedSlice<P>) -> View<[P]> {
        View(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_plain_data_refuse_a_broken_length() {
        let error = PlainData::<u32>(PhantomData).visit_bytes::<serde::de::value::Error>(&[1, 2, 3]).unwrap_err();
        assert!(error.to_string().contains("no whole number"), "{error}");
        assert!(<[u32]>::from_plain(Bytes::from_static(&[1, 2, 3])).is_err());
    }

    #[test]
    fn slices_of_plain_data_are_read_from_any_alignment() {
        let bytes = [9, 1, 0, 0, 0, 2, 0, 0, 0];
        let read = PlainData::<u32>(PhantomData).visit_bytes::<serde::de::value::Error>(&bytes[1..]).unwrap();
        assert_eq!(read, [1, 2]);
        let bytes = Bytes::copy_from_slice(&bytes);
        for at in 0..4 {
            let eight = bytes.slice(at..at + 4);
            assert_eq!(<[u32]>::from_plain(eight.clone()).unwrap().len(), 1);
            assert_eq!(<[u32]>::from_plain(eight.clone()).unwrap()[0].to_le_bytes(), eight[..]);
        }
    }

    #[test]
    fn a_value_is_restored_as_its_own_type_and_as_no_other() {
        let erased = <[u8]>::erase(<[u8]>::share(vec![1, 2]));
        assert_eq!(<[u8]>::restore(erased.clone()).map(|shared| shared.to_vec()), Some(vec![1, 2]));
        assert!(<[i8]>::restore(erased).is_none());
        let text = str::erase(str::share("text".into()));
        assert_eq!(&*View::<str>::new(str::restore(text.clone()).unwrap()), "text");
        assert!(String::restore(text).is_none());
        assert!(str::from_plain(Bytes::from_static(b"\xff")).is_err());
    }
}
