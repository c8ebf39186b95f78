//! User values as MessagePack with field names: the only file that names `rmp_serde`.
//!
//! Before a body is decoded it is walked once without allocating: its depth, every declared length and that it is one
//! whole value are checked there, so that nothing a peer declares is believed by a `Deserialize` implementation.
//!
//! `Serialize` and `Deserialize` are the user's code: a panic of theirs is an error like any other that they give, or else
//! it would take down whoever happened to need the bytes, and all that this one had still to do.
//!
//! Handles and references inside a message do not travel in its body. While a message is encoded, [`scope::put`]
//! collects them into the list beside it; while it is decoded, [`scope::take`] attaches them to the node that decodes.

use super::packet::Ref;
use crate::limits::{BODY_DEPTH, MESSAGE_REFS};
use rmp_serde::decode::Error as ReadError;
use rmp_serde::encode::Error as WriteError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

mod skim;

/// Why a value cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It nests deeper than [`BODY_DEPTH`].
    #[error("the value nests deeper than {BODY_DEPTH} levels: flatten it, or send it as an object")]
    TooDeep,
    /// It holds more handles and references than [`MESSAGE_REFS`].
    #[error("the message holds more than {MESSAGE_REFS} handles and references: put them into an object")]
    TooManyRefs,
    /// Its `Serialize` implementation says so.
    #[error("the value does not serialize: {0}")]
    Value(String),
    /// Its `Serialize` implementation panicked.
    #[error("the value does not serialize: its `Serialize` panicked: {0}")]
    Panicked(String),
}

/// Why a body does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It nests deeper than [`BODY_DEPTH`].
    #[error("the body nests deeper than {BODY_DEPTH} levels")]
    TooDeep,
    /// It ends early, or declares more than it holds.
    #[error("the body ends in the middle of a value")]
    Truncated,
    /// It goes on after its value.
    #[error("the body goes on after its value")]
    Trailing,
    /// A byte that MessagePack never uses.
    #[error("the body is no MessagePack")]
    Reserved,
    /// It is not what the type expects.
    #[error("the body is no such value: {0}")]
    Value(String),
    /// The type's `Deserialize` implementation panicked.
    #[error("the body is no such value: its `Deserialize` panicked: {0}")]
    Panicked(String),
}

/// Appends `value`; on an error `out` is as it was.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let mut serializer = rmp_serde::Serializer::new(&mut *out).with_struct_map();
    let encoded = match catch_unwind(AssertUnwindSafe(|| value.serialize(&mut serializer))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(WriteError::DepthLimitExceeded)) => Err(EncodeError::TooDeep),
        Ok(Err(other)) => Err(EncodeError::Value(other.to_string())),
        Err(panic) => Err(EncodeError::Panicked(panic_message(&*panic))),
    };
    let checked = encoded.and_then(|()| match skim::check(&out[start..]) {
        Ok(()) => Ok(()),
        Err(DecodeError::TooDeep) => Err(EncodeError::TooDeep),
        // A `Serialize` that announces one length and writes another.
        Err(other) => Err(EncodeError::Value(other.to_string())),
    });
    if checked.is_err() {
        out.truncate(start);
    }
    checked
}

/// Decodes a whole body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    skim::check(body)?;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    match catch_unwind(AssertUnwindSafe(|| T::deserialize(&mut deserializer))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ReadError::DepthLimitExceeded)) => Err(DecodeError::TooDeep),
        Ok(Err(other)) => Err(DecodeError::Value(other.to_string())),
        Err(panic) => Err(DecodeError::Panicked(panic_message(&*panic))),
    }
}

/// The text of a caught panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// What a message encloses beside its body. Most enclose nothing: then it is one empty word, for one is part of each call.
#[derive(Clone, Default)]
pub struct Enclosed(Option<Box<Lists>>);

/// The two lists of an [`Enclosed`].
#[derive(Clone, Default)]
pub struct Lists {
    /// The references inside the body, in the order in which it names them.
    pub refs: Vec<Ref>,
    /// What keeps each of them, if it is an object: where it is sent until it is counted, where it arrived until the body is
    /// decoded. Empty if none is.
    pub holds: Vec<Option<Hold>>,
}

impl Enclosed {
    /// These references, kept by these holds.
    #[must_use]
    pub fn new(refs: Vec<Ref>, holds: Vec<Option<Hold>>) -> Self {
        Enclosed((!refs.is_empty()).then(|| Box::new(Lists { refs, holds })))
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The lists themselves, to be added to.
    pub fn lists_mut(&mut self) -> &mut Lists {
        self.0.get_or_insert_default()
    }

    /// The lists themselves.
    #[must_use]
    pub fn into_lists(self) -> Lists {
        self.0.map(|lists| *lists).unwrap_or_default()
    }
}

impl Deref for Enclosed {
    type Target = Lists;
    fn deref(&self) -> &Lists {
        static NONE: Lists = Lists { refs: Vec::new(), holds: Vec::new() };
        self.0.as_deref().unwrap_or(&NONE)
    }
}

/// Keeps an object while a message that refers to it is under way.
pub type Hold = Arc<dyn Any + Send + Sync>;

/// Appends a message's body and gives what it encloses; on an error `out` is as it was.
pub fn encode_message<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Enclosed, EncodeError> {
    encode_in(false, value, out)
}

/// The same of a value that owns what it holds: where its type has nothing to drop, it is [plain](encode_plain).
pub fn encode_owned<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<Enclosed, EncodeError> {
    if std::mem::needs_drop::<T>() { encode_message(value, out) } else { encode_plain(value, out) }
}

/// The same of a value that holds no handle and no reference.
pub fn encode_plain<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Enclosed, EncodeError> {
    match scope::is_entered() {
        true => encode_message(value, out),
        false => encode(value, out).map(|()| Enclosed::default()),
    }
}

/// The same of a task's arguments: those that are references still are left out, and the message says elsewhere what they
/// refer to.
pub fn encode_arguments<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Enclosed, EncodeError> {
    encode_in(true, value, out)
}

/// How many bytes a task's arguments take as they are encoded; none if they do not encode.
pub fn weigh_arguments<T: Serialize + ?Sized>(value: &T) -> Option<usize> {
    let mut counted = Counted(0);
    let mut serializer = rmp_serde::Serializer::new(&mut counted).with_struct_map();
    let weighing = AssertUnwindSafe(|| value.serialize(&mut serializer).is_ok());
    let (weighed, _) = scope::collect(true, || catch_unwind(weighing).unwrap_or(false));
    weighed.then_some(counted.0)
}

/// Takes bytes, and keeps only their number.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode_in<T: Serialize + ?Sized>(passes: bool, value: &T, out: &mut Vec<u8>) -> Result<Enclosed, EncodeError> {
    let (encoded, enclosed) = scope::collect(passes, || encode(value, out));
    match (encoded, enclosed) {
        (Ok(()), Some(enclosed)) => Ok(enclosed),
        (Err(error), Some(_)) => Err(error),
        (_, None) => Err(EncodeError::TooManyRefs),
    }
}

/// Decodes a message's body, its handles attached to `node`.
pub fn decode_message<T: DeserializeOwned>(
    body: &[u8],
    enclosed: Enclosed,
    node: &Arc<dyn Any + Send + Sync>,
) -> Result<T, DecodeError> {
    scope::attach(enclosed, Vec::new(), node, || decode(body))
}

/// The same of a task's arguments, of which some were left out: their positions, and the objects that they refer to.
pub fn decode_arguments<T: DeserializeOwned>(
    body: &[u8],
    enclosed: Enclosed,
    passed: Vec<(u32, Hold)>,
    node: &Arc<dyn Any + Send + Sync>,
) -> Result<T, DecodeError> {
    scope::attach(enclosed, passed, node, || decode(body))
}

/// The scope of one encoding or decoding, for the `Serialize` and `Deserialize` of handles and references.
pub mod scope {
    use super::{Any, Arc, Enclosed, Hold, Lists, MESSAGE_REFS, Ref};
    use crate::id::ObjectId;
    use std::cell::RefCell;

    /// Small: each call enters four of them, and comes back to the outer one.
    enum Scope {
        /// `argument` counts those that were put.
        Encoding { enclosed: Enclosed, full: bool, passes: bool, argument: u32 },
        /// If there is anything to take.
        Decoding(Option<Box<Arrived>>),
    }

    /// What a message being decoded encloses.
    struct Arrived {
        enclosed: Enclosed,
        passed: Vec<(u32, Hold)>,
        argument: u32,
        node: Arc<dyn Any + Send + Sync>,
    }

    thread_local! {
        static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
    }

    /// Why a handle or reference cannot be encoded or decoded here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum ScopeError {
        /// No message is being encoded on this thread.
        #[error(
            "handles and references can only be serialized inside a message or an object: a name finds an actor again, and what is not passed on keeps nothing"
        )]
        NotEncoding,
        /// No message is being decoded on this thread.
        #[error("handles and references can only be deserialized out of a message or an object that holds them")]
        NotDecoding,
        /// The message holds too many.
        #[error("a message holds {MESSAGE_REFS} handles and references at most: put them into an object")]
        TooMany,
        /// The body names a reference that its list does not have.
        #[error("the body names reference {0}, which its message does not hold")]
        Missing(u32),
    }

    /// Puts the outer scope back, also when the inner one panics.
    struct Restore(Option<Scope>);

    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPE.replace(self.0.take());
        }
    }

    fn enter(scope: Scope) -> Restore {
        Restore(SCOPE.replace(Some(scope)))
    }

    /// Whether a message is being encoded or decoded on this thread.
    pub(super) fn is_entered() -> bool {
        SCOPE.with_borrow(Option::is_some)
    }

    /// Runs `encoding` and gives what it put; none if that was too many.
    pub(super) fn collect<R>(passes: bool, encoding: impl FnOnce() -> R) -> (R, Option<Enclosed>) {
        let outer = enter(Scope::Encoding { enclosed: Enclosed::default(), full: false, passes, argument: 0 });
        let result = encoding();
        let put = SCOPE.take();
        drop(outer);
        match put {
            Some(Scope::Encoding { enclosed, full: false, .. }) => (result, Some(enclosed)),
            _ => (result, None),
        }
    }

    /// Runs `decoding` with `refs` to take.
    pub(super) fn attach<R>(
        enclosed: Enclosed,
        mut passed: Vec<(u32, Hold)>,
        node: &Arc<dyn Any + Send + Sync>,
        decoding: impl FnOnce() -> R,
    ) -> R {
        let arguments = enclosed.refs.iter().zip(&enclosed.holds);
        passed.extend(arguments.filter_map(|(of, hold)| Some((of.position()?, hold.clone()?))));
        let arrived = (!enclosed.is_empty() || !passed.is_empty())
            .then(|| Box::new(Arrived { enclosed, passed, argument: 0, node: Arc::clone(node) }));
        // Nothing to take, and nothing of an outer message that could be taken instead.
        if arrived.is_none() && !is_entered() {
            return decoding();
        }
        let _outer = enter(Scope::Decoding(arrived));
        decoding()
    }

    /// Whether arguments that are references are left out.
    #[must_use]
    pub fn passes() -> bool {
        SCOPE.with_borrow(|scope| matches!(scope, Some(Scope::Encoding { passes: true, .. })))
    }

    /// The next argument is decoded: what it refers to, if it was left out.
    #[must_use]
    pub fn next_argument() -> Option<Hold> {
        SCOPE.with_borrow_mut(|scope| match scope {
            Some(Scope::Decoding(Some(arrived))) => {
                let at = arrived.argument;
                arrived.argument += 1;
                arrived.passed.iter().find(|(position, _)| *position == at).map(|(_, hold)| Arc::clone(hold))
            }
            _ => None,
        })
    }

    /// Adds a reference to the message being encoded, and what keeps it if it is an object; the body holds its index.
    pub fn put(reference: Ref, hold: Option<Hold>) -> Result<u32, ScopeError> {
        SCOPE.with_borrow_mut(|scope| match scope {
            Some(Scope::Encoding { enclosed, full, .. }) => {
                *full |= enclosed.refs.len() >= MESSAGE_REFS;
                if *full {
                    return Err(ScopeError::TooMany);
                }
                let Lists { refs, holds } = enclosed.lists_mut();
                refs.push(reference);
                if hold.is_some() || !holds.is_empty() {
                    holds.resize(refs.len() - 1, None);
                    holds.push(hold);
                }
                u32::try_from(refs.len() - 1).map_err(|_| ScopeError::TooMany)
            }
            _ => Err(ScopeError::NotEncoding),
        })
    }

    /// The message's next argument is encoded: a value, or a reference in its place. Values alone need no scope.
    pub fn put_argument(passed: Option<(ObjectId, Hold)>) -> Result<(), ScopeError> {
        let position = SCOPE.with_borrow_mut(|scope| match scope {
            Some(Scope::Encoding { argument, .. }) => {
                *argument += 1;
                Some(*argument - 1)
            }
            _ => None,
        });
        match (passed, position) {
            (Some((object, hold)), Some(position)) => put(Ref::Argument { position, object }, Some(hold)).map(drop),
            (Some(_), None) => Err(ScopeError::NotEncoding),
            (None, _) => Ok(()),
        }
    }

    /// The reference at an index of the message being decoded, and the node that decodes it.
    pub fn take(index: u32) -> Result<(Ref, Arc<dyn Any + Send + Sync>), ScopeError> {
        arrived(|arrived| Some((*arrived.enclosed.refs.get(index as usize)?, Arc::clone(&arrived.node))), index)
    }

    /// What keeps the object at an index of the message being decoded.
    pub fn take_hold(index: u32) -> Result<Hold, ScopeError> {
        arrived(|arrived| arrived.enclosed.holds.get(index as usize).cloned().flatten(), index)
    }

    fn arrived<T>(find: impl FnOnce(&Arrived) -> Option<T>, index: u32) -> Result<T, ScopeError> {
        SCOPE.with_borrow(|scope| match scope {
            Some(Scope::Decoding(arrived)) => arrived.as_deref().and_then(find).ok_or(ScopeError::Missing(index)),
            _ => Err(ScopeError::NotDecoding),
        })
    }
}

#[cfg(test)]
mod tests;
