//! The actor types that this process was compiled with. A node advertises them; a request for another is refused.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;

use super::dispatch::{Methods, Spawn, TypeName};
use crate::id::Key;

/// One actor type: what a node advertises of it, and how it makes actors of it.
#[derive(Clone, Copy)]
pub struct Registration {
    pub(crate) name: TypeName,
    pub(crate) type_id: fn() -> TypeId,
    pub(crate) constructors: fn() -> Vec<Constructs>,
    pub(crate) methods: fn() -> Vec<Message>,
}

/// One constructor of a registered type.
#[derive(Clone, Copy)]
pub(crate) struct Constructs {
    pub(crate) message: Message,
    pub(crate) spawn: Spawn,
}

/// The name of a message, and what a request calls it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) key: Key,
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({})", self.name)
    }
}

inventory::collect!(Registration);

impl Registration {
    /// The registration of `A`.
    #[must_use]
    pub const fn of<A: Methods>() -> Self {
        Registration { name: A::NAME, type_id: TypeId::of::<A>, constructors: constructors::<A>, methods: methods::<A> }
    }
}

fn constructors<A: Methods>() -> Vec<Constructs> {
    let entry = |entry: &super::dispatch::ConstructorEntry<A>| Constructs {
        message: Message { key: entry.key, name: entry.name, signature: entry.signature },
        spawn: entry.spawn,
    };
    A::CONSTRUCTORS.iter().map(entry).collect()
}

fn methods<A: Methods>() -> Vec<Message> {
    let entry = |entry: &super::dispatch::MethodEntry<A>| Message {
        key: entry.key,
        name: entry.name,
        signature: entry.signature,
    };
    A::METHODS.iter().map(entry).collect()
}

/// Why the types of a process cannot be registered together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Two types have one name.
    #[error("two actor types are called `{name}`: give one of them `#[actor(name = \"..\")]`")]
    DuplicateType {
        /// The name.
        name: String,
    },
    /// Two tasks have one name.
    #[error("two tasks are called `{name}`: give one of them `#[task(name = \"..\")]`")]
    DuplicateTask {
        /// The name.
        name: String,
    },
    /// Two messages of a type have one key.
    #[error("`{name}` has two messages that a request cannot tell apart, `{first}` and `{second}`: rename one")]
    DuplicateMessage {
        /// The type.
        name: String,
        /// A message.
        first: String,
        /// Another.
        second: String,
    },
}

/// The registered types, by the key of their names.
#[derive(Default)]
pub(crate) struct Registry {
    types: BTreeMap<Key, Registered>,
}

pub(crate) struct Registered {
    pub(crate) name: TypeName,
    type_id: TypeId,
    pub(crate) constructors: Vec<Constructs>,
}

impl Registry {
    /// What the macros registered, and `more`.
    pub(crate) fn new(more: &[Registration]) -> Result<Self, RegisterError> {
        let mut registry = Registry::default();
        for registration in inventory::iter::<Registration>.into_iter().copied().chain(more.iter().copied()) {
            registry.add(&registration)?;
        }
        Ok(registry)
    }

    fn add(&mut self, registration: &Registration) -> Result<(), RegisterError> {
        let (name, type_id) = (registration.name, (registration.type_id)());
        if let Some(other) = self.types.get(&name.key()) {
            // The same type registered by its macro and by hand is one type.
            return match other.type_id == type_id {
                true => Ok(()),
                false => Err(RegisterError::DuplicateType { name: name.to_string() }),
            };
        }
        let constructors = (registration.constructors)();
        let mut seen: BTreeMap<Key, &str> = BTreeMap::new();
        let messages = (registration.methods)().into_iter().chain(constructors.iter().map(|each| each.message));
        for message in messages {
            if let Some(first) = seen.insert(message.key, message.name) {
                let (first, second) = (first.to_owned(), message.name.to_owned());
                return Err(RegisterError::DuplicateMessage { name: name.to_string(), first, second });
            }
        }
        self.types.insert(name.key(), Registered { name, type_id, constructors });
        Ok(())
    }

    /// The type of this key.
    pub(crate) fn get(&self, key: Key) -> Option<&Registered> {
        self.types.get(&key)
    }

    /// Every type.
    pub(crate) fn types(&self) -> impl Iterator<Item = (Key, &Registered)> {
        self.types.iter().map(|(key, registered)| (*key, registered))
    }
}
