//! The value of an object, as its node holds it: alive, as it was put; as the bytes that it travels as; or as plain bytes that
//! come and go, which are brought before they are read.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use super::body::Body;
use super::entry::Entry;
use super::entry::Outcome;
use super::error::{Fault, GetError};
use super::lent::Lent;
use super::lost::Lost;
use super::param::{Erased, Object, Param};
use super::weigh;
use crate::id::ObjectId;
use crate::limits::STORED;
use crate::store::{Kept, SpillError, StoreError, Weight};
use crate::wire::codec::{self, Enclosed, EncodeError};

/// How the bytes of an object's body are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// MessagePack, its references beside it.
    Packed,
    /// The items of a slice, or text, as they lie in memory.
    Plain,
}

/// The value of an object.
#[derive(Clone)]
pub(crate) enum Content {
    /// As it was put, shared within this process.
    Live(Live),
    /// As it arrived.
    Encoded(Encoded),
    /// Plain bytes in this node's store, in memory or on disk.
    Kept(Kept),
    /// Plain bytes in the store of another process of this host.
    Lent(Arc<Lent>),
    /// It is the value of another object.
    Elsewhere(Arc<Entry>),
}

/// A value of a type that is not known here, and how it is encoded.
#[derive(Clone)]
pub(crate) struct Live {
    value: Erased,
    write: Write,
    /// What it takes, and what counts that, if it was counted.
    takes: usize,
    /// No object, which would end with it.
    refers_to_nothing: bool,
    /// What it takes is all that it owns.
    is_flat: bool,
    counted: Option<Arc<Weight>>,
}

/// Writes a value after what is there, and says how it is to be read.
type Write = fn(&Erased, &mut Vec<u8>) -> Result<(Form, Enclosed), EncodeError>;

impl Live {
    /// Whether it is known to be large.
    pub(super) fn is_large(&self) -> bool {
        self.takes >= STORED
    }

    /// Writes it after what is there, and says how it is to be read; on an error `body` is as it was.
    pub(super) fn write(&self, body: &mut Vec<u8>) -> Result<(Form, Enclosed), EncodeError> {
        (self.write)(&self.value, body)
    }
}

/// A value as it travels.
#[derive(Clone)]
pub(crate) struct Encoded {
    pub(crate) form: Form,
    pub(crate) body: Body,
    pub(crate) enclosed: Enclosed,
    /// The node that its references attach to, where it has any.
    pub(crate) node: Option<Arc<dyn Any + Send + Sync>>,
}

impl Content {
    pub(crate) fn of<T: ?Sized + Param>(shared: T::Shared) -> Self {
        let (takes, refers_to_nothing) = (shared.takes(), weigh::refers_to_nothing::<T::Owned>());
        let is_flat = refers_to_nothing || shared.plain().is_some();
        Content::Live(Live {
            value: T::erase(shared),
            write: write::<T>,
            takes,
            refers_to_nothing,
            is_flat,
            counted: None,
        })
    }

    /// What it takes where it is, as far as is known without encoding it.
    pub(crate) fn length(&self) -> usize {
        match self {
            Content::Live(live) => live.takes,
            Content::Encoded(encoded) => encoded.body.len(),
            Content::Kept(kept) => kept.len(),
            Content::Lent(lent) => lent.len(),
            Content::Elsewhere(_) => 0,
        }
    }

    /// Whether it may refer to objects, which end with it.
    pub(super) fn refers(&self) -> bool {
        match self {
            Content::Live(live) => !live.refers_to_nothing,
            Content::Encoded(encoded) => !encoded.enclosed.is_empty(),
            Content::Elsewhere(_) => true,
            Content::Kept(_) | Content::Lent(_) => false,
        }
    }

    /// What it takes of this process's own memory and does not count, if that is much.
    pub(crate) fn uncounted(&self) -> Option<usize> {
        let takes = match self {
            Content::Live(Live { takes, counted: None, .. }) => *takes,
            Content::Encoded(encoded) => encoded.body.len(),
            Content::Live(_) | Content::Kept(_) | Content::Lent(_) | Content::Elsewhere(_) => 0,
        };
        (takes >= STORED).then_some(takes)
    }

    /// The same value, which counts from now on.
    pub(crate) fn counted(self, weight: Weight) -> Content {
        match self {
            Content::Live(live) => Content::Live(Live { counted: Some(Arc::new(weight)), ..live }),
            Content::Encoded(encoded) => {
                let body = weight.of(encoded.body.into()).into();
                Content::Encoded(Encoded { body, ..encoded })
            }
            uncounted => uncounted,
        }
    }

    /// As it can be read now.
    ///
    /// # Errors
    /// The same, if it must be brought first.
    pub(crate) fn at_hand(self) -> Result<Content, Content> {
        let at_hand = match &self {
            Content::Live(_) | Content::Encoded(_) => return Ok(self),
            Content::Kept(kept) => kept.in_memory().map(|stored| Content::plain(Bytes::from_owner(stored))),
            Content::Lent(lent) => lent.now(),
            Content::Elsewhere(_) => None,
        };
        at_hand.ok_or(self)
    }

    /// Brings what is not at hand: then it stays while the result is held.
    pub(crate) async fn brought(self, object: ObjectId) -> Outcome {
        match self {
            Content::Kept(kept) => kept_now(object, &kept).await,
            Content::Lent(lent) => lent.bring().await,
            at_hand => Ok(at_hand),
        }
    }

    /// Its bytes, if it is plain and lies in this process's own memory.
    pub(crate) fn own_plain(&self) -> Option<Bytes> {
        match self {
            Content::Live(live) => live.value.downcast_ref::<Bytes>().cloned(),
            Content::Encoded(encoded) => (encoded.form == Form::Plain).then(|| encoded.body.clone().into()),
            Content::Kept(_) | Content::Lent(_) | Content::Elsewhere(_) => None,
        }
    }

    pub(crate) fn plain(body: Bytes) -> Self {
        let (body, enclosed) = (body.into(), Enclosed::default());
        Content::Encoded(Encoded { form: Form::Plain, body, enclosed, node: None })
    }

    /// Whether it is encoded already, or known to be small.
    pub(crate) fn encodes_at_once(&self) -> bool {
        match self {
            Content::Live(live) => live.is_flat && live.takes < STORED,
            Content::Encoded(_) | Content::Kept(_) | Content::Lent(_) | Content::Elsewhere(_) => true,
        }
    }

    /// As it travels.
    pub(crate) fn encode(&self) -> Result<Encoded, EncodeError> {
        match self {
            Content::Live(live) => Encoded::written(|body| live.write(body)),
            Content::Encoded(encoded) => Ok(encoded.clone()),
            Content::Kept(_) | Content::Lent(_) | Content::Elsewhere(_) => {
                Err(EncodeError::Value(NOT_BROUGHT.to_owned()))
            }
        }
    }

    /// The value as whoever takes it gets it.
    pub(crate) fn got<T: ?Sized + Object, E>(self) -> Result<T::Got, GetError<E>> {
        match self {
            Content::Encoded(packed) if packed.form == Form::Packed => {
                packed.unpack::<T>().map(T::got_owned).map_err(|message| GetError::Codec { message })
            }
            shared => shared.shared::<T, E>().map(T::got),
        }
    }

    /// The value as a `T`.
    pub(crate) fn shared<T: ?Sized + Param, E>(self) -> Result<T::Shared, GetError<E>> {
        match self {
            Content::Live(live) => T::restore(live.value)
                .ok_or_else(|| GetError::WrongType { expected: std::any::type_name::<T>().to_owned() }),
            Content::Encoded(encoded) => encoded.decode::<T>().map_err(|message| GetError::Codec { message }),
            Content::Kept(_) | Content::Lent(_) | Content::Elsewhere(_) => {
                Err(GetError::Codec { message: NOT_BROUGHT.to_owned() })
            }
        }
    }
}

const NOT_BROUGHT: &str = "it is not at hand";

/// Brings what is in this node's store.
pub(super) async fn kept_now(object: ObjectId, kept: &Kept) -> Outcome {
    match kept.get().await {
        Ok(stored) => Ok(Content::plain(Bytes::from_owner(stored))),
        Err(error) => Err(Arc::new(not_brought(object, &error))),
    }
}

/// Why an object of this node's store cannot be read.
fn not_brought(object: ObjectId, error: &StoreError) -> Fault {
    let why = error.to_string();
    match error {
        StoreError::Spill(SpillError::Corrupt { .. }) => GetError::lost(object, Lost::Unreadable(why)),
        StoreError::NoRuntime => GetError::ShutDown,
        _ => GetError::OnDisk { object, why },
    }
}

impl Encoded {
    /// Of what came to this node, or is kept here: its references, if it has any, attach to `here`.
    pub(crate) fn at(here: &Arc<dyn Any + Send + Sync>, form: Form, body: impl Into<Body>, enclosed: Enclosed) -> Self {
        let node = (!enclosed.is_empty()).then(|| here.clone());
        Encoded { form, body: body.into(), enclosed, node }
    }

    pub(crate) fn of<T: ?Sized + Param>(value: &T) -> Result<Self, EncodeError> {
        Encoded::written(|body| write_value(value, body))
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(Form, Enclosed), EncodeError>) -> Result<Self, EncodeError> {
        let mut body = Vec::new();
        let (form, enclosed) = write(&mut body)?;
        Ok(Encoded { form, body: body.into(), enclosed, node: None })
    }

    fn decode<T: ?Sized + Param>(self) -> Result<T::Shared, String> {
        match self.form {
            Form::Plain => T::from_plain(self.body.into()),
            Form::Packed => self.unpack::<T>().map(T::share),
        }
    }

    fn unpack<T: ?Sized + Param>(self) -> Result<T::Owned, String> {
        let decoded = match &self.node {
            Some(node) => codec::decode_message::<Read<T>>(&self.body, self.enclosed, node),
            None => codec::decode::<Read<T>>(&self.body),
        };
        decoded.map(|read| read.0).map_err(|error| error.to_string())
    }
}

fn write<T: ?Sized + Param>(value: &Erased, body: &mut Vec<u8>) -> Result<(Form, Enclosed), EncodeError> {
    let shared = T::restore(value.clone()).ok_or_else(|| EncodeError::Value("another type".to_owned()))?;
    write_value::<T>(&shared, body)
}

fn write_value<T: ?Sized + Param>(value: &T, body: &mut Vec<u8>) -> Result<(Form, Enclosed), EncodeError> {
    if let Some(plain) = value.plain() {
        body.extend_from_slice(plain);
        return Ok((Form::Plain, Enclosed::default()));
    }
    Ok((Form::Packed, codec::encode_message(&Borrowed::<T>(value), body)?))
}

struct Borrowed<'a, T: ?Sized>(&'a T);

impl<T: ?Sized + Param> Serialize for Borrowed<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::encode(self.0, to)
    }
}

struct Read<T: ?Sized + Param>(T::Owned, PhantomData<T>);

impl<'de, T: ?Sized + Param> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::decode(from).map(|value| Read(value, PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::failure::Never;

    fn travelled<T: ?Sized + Param>(content: &Content) -> Result<T::Shared, GetError<Never>> {
        Content::Encoded(content.encode().unwrap()).shared::<T, Never>()
    }

    #[test]
    fn a_value_is_the_same_alive_and_after_it_has_travelled() {
        let words = Content::of::<Vec<String>>(Arc::new(vec!["a".into(), "b".into()]));
        assert_eq!(*words.clone().shared::<Vec<String>, Never>().unwrap(), ["a", "b"]);
        assert_eq!(*travelled::<Vec<String>>(&words).unwrap(), ["a", "b"]);
        let items = Content::of::<[u32]>(<[u32]>::share(vec![1, 2, 3]));
        assert_eq!(items.encode().unwrap().form, Form::Plain);
        assert_eq!(&*travelled::<[u32]>(&items).unwrap(), [1, 2, 3]);
        let text = Content::of::<str>(str::share("text".into()));
        assert_eq!(&*travelled::<str>(&text).unwrap(), "text");
    }

    #[test]
    fn a_value_of_another_type_is_refused_alive_and_after_it_has_travelled() {
        let items = Content::of::<[u32]>(<[u32]>::share(vec![1, 2, 3]));
        assert!(matches!(items.clone().shared::<u32, Never>(), Err(GetError::WrongType { .. })));
        assert!(matches!(travelled::<u32>(&items), Err(GetError::Codec { .. })));
        assert!(matches!(travelled::<[u64]>(&items), Err(GetError::Codec { .. })), "12 bytes are no whole number");
        let text = Content::of::<String>(Arc::new("text".into()));
        assert!(matches!(travelled::<u32>(&text), Err(GetError::Codec { .. })));
    }
}
