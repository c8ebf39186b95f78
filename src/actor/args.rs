//! Arguments: what a handle's method takes, and how it becomes what the actor's method gets.
//!
//! A parameter of type `T` (or `&T`, `&str`, `&[P]`) accepts `impl IntoArg<T>`. On the way it is an [`Arg<T>`]; the
//! generated code lends it to a borrowing parameter, or takes the value out of it.

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::handle::Handle;

/// What a parameter may be: any serializable owned type, `str`, or a slice of plain data.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a message",
    label = "needs `Serialize + Deserialize`, or to be `str` or a slice of plain data",
    note = "derive both on it, or take it by another type"
)]
pub trait Param: Send + 'static {
    /// What owns such a value on its way.
    type Owned: Borrow<Self> + Send + 'static;
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
}

// Else the compiler speaks of serde's traits, once for each, instead of what `Param` says.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Param for T {
    type Owned = T;
    fn encode<S: Serializer>(this: &T, to: S) -> Result<S::Ok, S::Error> {
        this.serialize(to)
    }
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::deserialize(from)
    }
}

impl Param for str {
    type Owned = String;
    fn encode<S: Serializer>(this: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(this)
    }
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
}

/// Travels as its bytes, in the sender's byte order; little-endian is the only one that Mobula builds for.
impl<P: bytemuck::Pod + Send> Param for [P] {
    type Owned = Vec<P>;
    fn encode<S: Serializer>(this: &[P], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytemuck::cast_slice(this))
    }
    fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<P>, D::Error> {
        from.deserialize_bytes(PlainData(PhantomData))
    }
}

#[cfg(target_endian = "big")]
compile_error!("slices of plain data travel in little-endian byte order");

struct PlainData<P>(PhantomData<P>);

impl<P: bytemuck::Pod> Visitor<'_> for PlainData<P> {
    type Value = Vec<P>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes of a slice of {}", std::any::type_name::<P>())
    }
    /// Copies: the message's bytes may be aligned otherwise.
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<P>, E> {
        match size_of::<P>() {
            0 => Err(E::custom("a slice of a type without a size cannot travel")),
            size if !bytes.len().is_multiple_of(size) => {
                Err(E::custom(format_args!("{} bytes are no whole number of items of {size}", bytes.len())))
            }
            size => Ok(bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect()),
        }
    }
}

/// One argument of a message.
pub struct Arg<T: ?Sized + Param>(T::Owned);

/// What `&T`, `&str` and `&[P]` parameters borrow from.
impl<T: ?Sized + Param> Deref for Arg<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.borrow()
    }
}

impl<T: ?Sized + Param> Arg<T> {
    /// Of a value.
    pub fn value(value: T::Owned) -> Self {
        Arg(value)
    }

    /// The value itself, for parameters by value.
    pub fn into_value(self) -> T::Owned {
        self.0
    }
}

impl<T: ?Sized + Param + fmt::Debug> fmt::Debug for Arg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + Param> Serialize for Arg<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::encode(self, to)
    }
}

impl<'de, T: ?Sized + Param> Deserialize<'de> for Arg<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::decode(from).map(Arg)
    }
}

/// A value where a value is expected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the actor takes `{T}`",
    label = "expected `{T}`",
    note = "an argument is a value of exactly the parameter's type"
)]
pub trait IntoArg<T: ?Sized + Param> {
    /// The argument.
    fn into_arg(self) -> Arg<T>;
}

impl<T: Param<Owned = T>> IntoArg<T> for T {
    fn into_arg(self) -> Arg<T> {
        Arg(self)
    }
}

impl<H: Handle> IntoArg<H> for &H {
    fn into_arg(self) -> Arg<H> {
        Arg(self.clone())
    }
}

macro_rules! into_arg {
    ($($from:ty => $to:ty, $convert:expr;)*) => { $(
        impl IntoArg<$to> for $from {
            fn into_arg(self) -> Arg<$to> {
                let convert: fn($from) -> <$to as Param>::Owned = $convert;
                Arg(convert(self))
            }
        }
    )* }
}
into_arg! {
    &str => String, |text| text.into();
    &String => String, Clone::clone;
    &str => str, |text| text.into();
    &String => str, Clone::clone;
    String => str, |text| text;
    Cow<'_, str> => str, |text| text.into_owned();
    Arc<str> => str, |text| (&*text).into();
}

macro_rules! into_slice {
    ($([$($generic:tt)*] $from:ty, $convert:expr;)*) => { $(
        impl<P: bytemuck::Pod + Send, $($generic)*> IntoArg<[P]> for $from {
            fn into_arg(self) -> Arg<[P]> {
                let convert: fn($from) -> Vec<P> = $convert;
                Arg(convert(self))
            }
        }
    )* }
}
into_slice! {
    [] &[P], |items| items.into();
    [] Vec<P>, |items| items;
    [] &Vec<P>, Clone::clone;
    [const N: usize] [P; N], |items| items.into();
    [const N: usize] &[P; N], |items| items.to_vec();
}

/// Takes the value out of an [`Arg`]; a macro, because references to objects will need the argument's concrete type.
#[doc(hidden)]
#[macro_export]
macro_rules! __take {
    ($arg:expr) => {
        $crate::Arg::into_value($arg)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_plain_data_refuse_a_broken_length() {
        let error = PlainData::<u32>(PhantomData).visit_bytes::<serde::de::value::Error>(&[1, 2, 3]).unwrap_err();
        assert!(error.to_string().contains("no whole number"), "{error}");
    }

    #[test]
    fn slices_of_plain_data_are_read_from_any_alignment() {
        let bytes = [9, 1, 0, 0, 0, 2, 0, 0, 0];
        let read = PlainData::<u32>(PhantomData).visit_bytes::<serde::de::value::Error>(&bytes[1..]).unwrap();
        assert_eq!(read, [1, 2]);
    }
}
