//! Arguments: what a handle's method or a task takes, and how it becomes what the method or function gets.
//!
//! A parameter of type `T` (or `&T`, `&str`, `&[P]`) accepts `impl IntoArg<T>`: a value, or a reference to an object. On the
//! way it is an [`Arg<T>`]; a reference has become a view of its value before the method runs. The generated code lends it
//! to a borrowing parameter, or takes the value out of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::bring::Absent;
use super::error::{Never, panic_message};
use super::handle::Handle;
use super::inbox::Host;
use super::remote::{Here, NodeRef};
use crate::id::ObjectId;
use crate::limits::ARGUMENT_INLINE;
use crate::object::content::{Content, Encoded};
use crate::object::entry::Entry;
use crate::object::error::GetError;
use crate::object::get::shared;
use crate::object::param::{Param, View};
use crate::object::reference::ObjectRef;
use crate::wire::codec::{self, Enclosed, EncodeError, Hold, scope};

/// One argument of a message.
pub struct Arg<T: ?Sized + Param>(State<T>);

enum State<T: ?Sized + Param> {
    Value(T::Owned),
    /// Of an object.
    View(View<T>),
    /// To an object, of which a view takes its place before the method runs.
    Reference(ObjectRef<T>),
}

/// What `&T`, `&str` and `&[P]` parameters borrow from.
///
/// # Panics
/// Of a reference that no view has taken the place of.
impl<T: ?Sized + Param> Deref for Arg<T> {
    type Target = T;
    fn deref(&self) -> &T {
        match &self.0 {
            State::Value(value) => value.borrow(),
            State::View(view) => view,
            State::Reference(_) => unreachable!("a view takes a reference's place before the method runs"),
        }
    }
}

impl<T: ?Sized + Param> Arg<T> {
    fn of(value: T::Owned) -> Self {
        Arg(State::Value(value))
    }

    /// Whether a reference was passed, whose value is not in its place yet.
    #[inline]
    fn is_reference(&self) -> bool {
        matches!(self.0, State::Reference(_))
    }

    /// What it is.
    #[doc(hidden)]
    #[inline]
    pub fn form(&self) -> Form {
        let plain = !std::mem::needs_drop::<T::Owned>() && matches!(self.0, State::Value(_));
        Form { references: self.is_reference(), plain }
    }

    /// The same argument twice: both hold its value from now on.
    #[doc(hidden)]
    #[must_use]
    pub fn twice(self) -> (Self, Self) {
        let view = match self.0 {
            State::Value(value) => View::new(T::share(value)),
            State::View(view) => view,
            State::Reference(reference) => {
                return (Arg(State::Reference(reference.clone())), Arg(State::Reference(reference)));
            }
        };
        (Arg(State::View(view.clone())), Arg(State::View(view)))
    }

    /// The value itself, if it came as one.
    fn into_value(self) -> Result<T::Owned, View<T>> {
        match self.0 {
            State::Value(value) => Ok(value),
            State::View(view) => Err(view),
            State::Reference(_) => unreachable!("a view takes a reference's place before the method runs"),
        }
    }
}

/// An argument of whatever type, while it may still be a reference.
pub trait Unresolved: Send {
    /// The object that it refers to.
    #[doc(hidden)]
    fn entry(&self) -> Option<Pending<'_>>;
    /// Puts the value in its place, which must be there.
    ///
    /// # Errors
    /// Why it cannot be had.
    #[doc(hidden)]
    fn resolve(&mut self) -> Result<(), String>;
    /// Refers to another object from now on, if it refers to one.
    #[doc(hidden)]
    fn refer_to(&mut self, object: Pending<'_>);
    /// Puts an object in the place of a large value.
    #[doc(hidden)]
    fn lift(&mut self, owner: &Owner<'_>);
}

/// What arguments are, one or several.
#[derive(Clone, Copy)]
pub struct Form {
    references: bool,
    plain: bool,
}

impl Form {
    /// Of no arguments.
    pub const NONE: Form = Form { references: false, plain: true };

    /// Of these, and another one.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Form) -> Form {
        Form { references: self.references || other.references, plain: self.plain && other.plain }
    }
}

/// The arguments of one message: a method's, a constructor's, a task's.
pub trait Arguments: Send + 'static {
    /// What they are, all together.
    fn form(&self) -> Form;
    /// Whether any was passed by reference, and has no view in its place yet.
    #[inline]
    fn has_references(&self) -> bool {
        self.form().references
    }
    /// Whether each is a value of a type that has nothing to drop: such hold no handle and no reference.
    #[inline]
    fn is_plain(&self) -> bool {
        self.form().plain
    }
    /// Each of them, in order.
    fn each<'a>(&'a mut self, visit: &mut dyn FnMut(&'a mut dyn Unresolved));
}

impl Arguments for () {
    fn form(&self) -> Form {
        Form::NONE
    }
    fn each<'a>(&'a mut self, _: &mut dyn FnMut(&'a mut dyn Unresolved)) {}
}

/// Appends arguments to `body`: as `otherwise` does, unless they can enclose nothing.
pub(crate) fn encode<M: Arguments + Serialize>(
    message: &M,
    body: &mut Vec<u8>,
    otherwise: fn(&M, &mut Vec<u8>) -> Result<Enclosed, EncodeError>,
) -> Result<Enclosed, EncodeError> {
    if message.is_plain() { codec::encode_plain(message, body) } else { otherwise(message, body) }
}

/// The objects that arguments refer to, in order.
pub(crate) fn references<M: Arguments>(message: &mut M) -> Vec<Arc<Entry>> {
    let mut entries = Vec::new();
    // One that leads nowhere is settled, and fails when its value is put in its place.
    let followed = |pending: Pending<'_>| pending.0.followed().unwrap_or_else(|_| pending.0.clone());
    message.each(&mut |argument| entries.extend(argument.entry().map(followed)));
    entries
}

/// The positions of those that refer to an object of which `of` says something, and what it says.
pub(crate) fn positions<M: Arguments, T>(message: &mut M, of: impl Fn(&Arc<Entry>) -> Option<T>) -> Vec<(u32, T)> {
    let (mut found, mut positions) = (Vec::new(), 0..);
    message.each(&mut |argument| {
        let said = argument.entry().and_then(|pending| of(pending.0));
        found.extend(positions.next().zip(said));
    });
    found
}

/// The object that was passed whose value cannot be had: this is it, or the last of those that it leads to.
pub(crate) fn passed_as<M: Arguments>(message: &mut M, absent: ObjectId) -> Option<ObjectId> {
    let leads_there = |entry: &Arc<Entry>| entry.followed().is_ok_and(|last| last.id() == absent);
    let passed = positions(message, |entry| leads_there(entry).then(|| entry.id()));
    passed.into_iter().next().map(|(_, object)| object)
}

/// Puts another object in the place of one that was passed.
pub(crate) fn replace<M: Arguments>(message: &mut M, passed: ObjectId, by: &Arc<Entry>) {
    message.each(&mut |argument| {
        if argument.entry().is_some_and(|pending| pending.0.id() == passed) {
            argument.refer_to(Pending(by));
        }
    });
}

/// Puts the values in the places of the references, which must all be there.
///
/// # Errors
/// Which one cannot be had, and why.
pub(crate) fn resolve<M: Arguments>(message: &mut M) -> Result<(), Absent> {
    resolve_but(message, |_, _| false)
}

fn resolve_but<M: Arguments>(message: &mut M, but: impl Fn(u32, &Arc<Entry>) -> bool) -> Result<(), Absent> {
    let (mut failed, mut positions) = (None, 0..);
    message.each(&mut |argument| {
        let position = positions.next().unwrap_or(u32::MAX);
        let pending = argument.entry().filter(|pending| !but(position, pending.0));
        let Some(id) = pending.map(|pending| pending.0.id()) else { return };
        // A value's type and what takes its place may panic as they are decoded and dropped.
        let resolved = catch_unwind(AssertUnwindSafe(|| argument.resolve()))
            .unwrap_or_else(|panic| Err(format!("its type panicked: {}", panic_message(&*panic))));
        if let Err(why) = resolved {
            failed.get_or_insert((id, why));
        }
    });
    failed.map_or(Ok(()), Err)
}

/// Puts values in the places of those references that do not travel as such: what is read where it lies does, and so do those
/// at some positions. All must be there.
///
/// # Errors
/// Which one cannot be had, and why.
pub(crate) fn leave<M: Arguments>(message: &mut M, but: impl Fn(u32) -> bool) -> Result<(), Absent> {
    resolve_but(message, |position, entry| but(position) || entry.followed().is_ok_and(|last| last.is_passed()))
}

/// Makes objects of large values: as references to those they are not part of the body.
pub(crate) fn lift<M: Arguments>(message: &mut M, here: &NodeRef) {
    if let Some(host) = here.downcast_ref::<Here>().and_then(|here| here.0.upgrade()) {
        message.each(&mut |argument| argument.lift(&Owner { here, host: &host }));
    }
}

/// Whose the objects are that values become.
#[doc(hidden)]
pub struct Owner<'a> {
    here: &'a NodeRef,
    host: &'a Arc<dyn Host>,
}

/// An object that an argument refers to.
#[doc(hidden)]
pub struct Pending<'a>(pub(crate) &'a Arc<Entry>);

impl<T: ?Sized + Param> Unresolved for Arg<T> {
    fn entry(&self) -> Option<Pending<'_>> {
        match &self.0 {
            State::Reference(reference) => Some(Pending(reference.entry())),
            State::Value(_) | State::View(_) => None,
        }
    }

    fn resolve(&mut self) -> Result<(), String> {
        let State::Reference(reference) = &self.0 else { return Ok(()) };
        let outcome = reference.entry().at_hand().ok_or("its value is not there yet")?;
        let shared = shared::<T, Never>(outcome).map_err(|error| match error {
            // The reason at the end of the chain, however long it is: texts that hold each other grow with every link.
            GetError::Argument { why, .. } => why,
            error => error.to_string(),
        })?;
        self.0 = State::View(View::new(shared));
        Ok(())
    }

    fn refer_to(&mut self, object: Pending<'_>) {
        if let State::Reference(reference) = &mut self.0 {
            *reference = ObjectRef::new(object.0.clone());
        }
    }

    fn lift(&mut self, owner: &Owner<'_>) {
        if self.is_reference() {
            return;
        }
        // What does not encode stays, and says so as a part of its message.
        let Ok(mut encoded) = Encoded::of::<T>(self) else { return };
        if encoded.body.len() > ARGUMENT_INLINE {
            encoded.node = Some(owner.here.clone());
            let content = Content::Encoded(encoded);
            let content = match owner.host.promised().home() {
                Some(home) => home.counted(content),
                None => content,
            };
            let entry = Entry::settled(owner.host.next_object(), Ok(content));
            self.0 = State::Reference(ObjectRef::new(entry));
        }
    }
}

impl<T: ?Sized + Param> fmt::Debug for Arg<T>
where
    T: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Reference(reference) => fmt::Debug::fmt(reference, f),
            State::Value(_) | State::View(_) => fmt::Debug::fmt(&**self, f),
        }
    }
}

/// A view travels as its value. A reference does to what is read where it lies, in the list beside the message, or is one
/// of those of which who encodes says otherwise what they refer to: nothing is in their places.
impl<T: ?Sized + Param> Serialize for Arg<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let State::Reference(reference) = &self.0 else {
            scope::put_argument(None).map_err(S::Error::custom)?;
            return T::encode(self, to);
        };
        let passed = reference.entry().followed().ok().filter(|entry| entry.is_passed());
        if passed.is_none() && !scope::passes() {
            return Err(S::Error::custom("the value that it refers to is not there yet"));
        }
        scope::put_argument(passed.map(|entry| (entry.id(), entry as Hold))).map_err(S::Error::custom)?;
        to.serialize_unit()
    }
}

impl<'de, T: ?Sized + Param> Deserialize<'de> for Arg<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Some(hold) = scope::next_argument() else { return T::decode(from).map(Arg::of) };
        serde::de::IgnoredAny::deserialize(from)?;
        let entry = hold.downcast().map_err(|_| serde::de::Error::custom("what was passed is no object"))?;
        Ok(Arg(State::Reference(ObjectRef::new(entry))))
    }
}

/// A value where a value is expected, or a reference to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the actor or task takes `{T}`",
    label = "expected `{T}`, or an `ObjectRef<{T}>`",
    note = "an argument is a value of exactly the parameter's type, or an `ObjectRef` to one"
)]
pub trait IntoArg<T: ?Sized + Param> {
    /// The argument.
    fn into_arg(self) -> Arg<T>;
}

impl<T: Param<Owned = T>> IntoArg<T> for T {
    fn into_arg(self) -> Arg<T> {
        Arg::of(self)
    }
}

impl<H: Handle> IntoArg<H> for &H {
    fn into_arg(self) -> Arg<H> {
        Arg::of(self.clone())
    }
}

impl<T: ?Sized + Param, E> IntoArg<T> for ObjectRef<T, E> {
    fn into_arg(self) -> Arg<T> {
        Arg(State::Reference(self.erase()))
    }
}

impl<T: ?Sized + Param, E> IntoArg<T> for &ObjectRef<T, E> {
    fn into_arg(self) -> Arg<T> {
        self.clone().into_arg()
    }
}

impl<P: bytemuck::Pod + Send + Sync> IntoArg<[P]> for View<[P]> {
    fn into_arg(self) -> Arg<[P]> {
        Arg(State::View(self))
    }
}

impl IntoArg<str> for View<str> {
    fn into_arg(self) -> Arg<str> {
        Arg(State::View(self))
    }
}

macro_rules! into_arg {
    ($($from:ty => $to:ty, $convert:expr;)*) => { $(
        impl IntoArg<$to> for $from {
            fn into_arg(self) -> Arg<$to> {
                let convert: fn($from) -> <$to as Param>::Owned = $convert;
                Arg::of(convert(self))
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
        impl<P: bytemuck::Pod + Send + Sync, $($generic)*> IntoArg<[P]> for $from {
            fn into_arg(self) -> Arg<[P]> {
                let convert: fn($from) -> Vec<P> = $convert;
                Arg::of(convert(self))
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

/// Takes the value out of an argument, for parameters by value; of a shared object it is a copy: a clone where the type can
/// be cloned, which is found by autoref, for generated code names the concrete type.
#[doc(hidden)]
pub mod by_value {
    use super::{Arg, Param};
    use crate::wire::codec;
    use std::sync::Arc;

    /// An argument to be taken.
    pub struct Take<T: Param>(pub Option<Arg<T>>);

    impl<T: Param> Take<T> {
        fn once(&mut self) -> Arg<T> {
            self.0.take().expect("an argument is taken once")
        }
    }

    /// Of types that can be cloned.
    pub trait ByClone<T> {
        /// The value.
        fn take(&mut self) -> T;
    }

    /// Of those that cannot.
    pub trait ByCodec<T> {
        /// The value.
        fn take(&mut self) -> T;
    }

    impl<T: Param<Owned = T, Shared = Arc<T>> + Clone> ByClone<T> for Take<T> {
        fn take(&mut self) -> T {
            let value = self.once().into_value();
            value.unwrap_or_else(|view| Arc::unwrap_or_clone(view.into_shared()))
        }
    }

    impl<T> ByCodec<T> for &mut Take<T>
    where
        T: Param<Owned = T, Shared = Arc<T>> + serde::Serialize + serde::de::DeserializeOwned,
    {
        /// # Panics
        /// If others hold the object, and its value does not survive encoding.
        fn take(&mut self) -> T {
            let value = self.once().into_value();
            value.unwrap_or_else(|view| Arc::try_unwrap(view.into_shared()).unwrap_or_else(|shared| copy(&shared)))
        }
    }

    fn copy<T: serde::Serialize + serde::de::DeserializeOwned>(shared: &T) -> T {
        let mut body = Vec::new();
        let copied = codec::encode(shared, &mut body).map_err(|error| error.to_string());
        let copied = copied.and_then(|()| codec::decode(&body).map_err(|error| error.to_string()));
        copied.unwrap_or_else(|error| {
            let name = std::any::type_name::<T>();
            panic!("`{name}` is shared and must be copied, but is no `Clone` and does not survive encoding: {error}")
        })
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __take {
    ($arg:expr) => {{
        #[allow(unused_imports)]
        use $crate::macro_support::by_value::{ByClone as _, ByCodec as _};
        (&mut $crate::macro_support::by_value::Take(::core::option::Option::Some($arg))).take()
    }};
}
