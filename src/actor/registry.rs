//! The actor types that this process was compiled with. A node advertises them; a request for another is refused.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::dispatch::{Instance, Methods, Spawn, TypeName};
use crate::id::Key;

/// One actor type: what a node advertises of it, and how it makes actors of it.
#[derive(Clone, Copy)]
pub struct Registration {
    /// What `register!` names.
    pub instance: Instance,
    pub(crate) name: fn() -> TypeName,
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
        write!(f, "Registration({})", (self.name)())
    }
}

inventory::collect!(Registration);

impl Registration {
    /// The registration of `A`.
    #[must_use]
    pub const fn of<A: Methods>() -> Self {
        Registration {
            instance: Instance::of::<A>(A::NAME),
            name: A::type_name,
            constructors: constructors::<A>,
            methods: methods::<A>,
        }
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
    #[error(
        "two actor types are called `{name}`: give one of them `#[actor(name = \"..\")]`, or each `mobula::register!` if they are generic"
    )]
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
    /// A generic actor was registered by hand, without a name of this instance.
    #[error("`{name}` says nothing of its parameters: `mobula::register!` names an instance, and registers it")]
    Unnamed {
        /// The type.
        name: String,
    },
    /// An instance of a generic actor or task has two names.
    #[error("`{first}` and `{second}` are one: leave out one `mobula::register!`")]
    TwoNames {
        /// A name.
        first: String,
        /// Another.
        second: String,
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
        one_name_each(Instance::all())?;
        let mut registry = Registry::default();
        for registration in inventory::iter::<Registration>.into_iter().copied().chain(more.iter().copied()) {
            registry.add(&registration)?;
        }
        Ok(registry)
    }

    fn add(&mut self, registration: &Registration) -> Result<(), RegisterError> {
        let (name, type_id) = ((registration.name)(), registration.instance.type_id());
        if name.is_unnamed() {
            return Err(RegisterError::Unnamed { name: name.to_string() });
        }
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

/// Of instances, of which any number may share a name: that is found as they are registered.
fn one_name_each(instances: impl Iterator<Item = (TypeId, TypeName)>) -> Result<(), RegisterError> {
    let mut names: HashMap<TypeId, TypeName> = HashMap::new();
    for (instance, name) in instances {
        let former = names.insert(instance, name).unwrap_or(name);
        if former != name {
            return Err(RegisterError::TwoNames { first: former.to_string(), second: name.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_one_name_and_a_name_may_come_twice() {
        let (one, two) = (TypeId::of::<u8>(), TypeId::of::<u16>());
        let (short, long) =
            (TypeName::within("shelf::of", "Holder").instance("<u8>"), TypeName::given("holder of bytes"));
        assert_eq!(short.to_string(), "shelf::Holder<u8>");
        assert_eq!(one_name_each([(one, short), (two, long), (one, short)].into_iter()), Ok(()));
        let error = one_name_each([(one, short), (two, long), (one, long)].into_iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`shelf::Holder<u8>` and `holder of bytes` are one: leave out one `mobula::register!`"
        );
    }

    #[test]
    fn an_instance_without_a_name_is_not_registered() {
        let mut registry = Registry::default();
        let instance = Instance::of::<u8>(TypeName::within("shelf", "Holder").generic());
        let name = || TypeName::within("shelf", "Holder").generic();
        let unnamed = Registration { instance, name, constructors: Vec::new, methods: Vec::new };
        let error = registry.add(&unnamed).unwrap_err();
        assert!(matches!(error, RegisterError::Unnamed { .. }), "{error:?}");
        let named = || TypeName::within("shelf", "Holder").instance("<u8>");
        registry.add(&Registration { name: named, ..unnamed }).unwrap();
    }

    #[test]
    fn instances_have_keys_of_their_own() {
        let holder = TypeName::within("shelf", "Holder");
        let keys = ["", "<_>", "<u8>", "<u16>"].map(|arguments| holder.instance(arguments).key());
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_eq!(keys[0], Key::of("shelf", "Holder"), "what has no parameters is called as before");
    }
}
