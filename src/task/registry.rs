//! The tasks that this process was compiled with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::recipe::{self, Coming, Make};
use super::slot::Runnable;
use super::spec::Task;
use crate::actor::dispatch::{Instance, TypeName};
use crate::actor::registry::RegisterError;
use crate::id::Key;
use crate::wire::codec::DecodeError;

/// One task: what a node advertises of it.
#[derive(Clone, Copy)]
pub struct TaskRegistration {
    /// What `register!` names.
    pub instance: Instance,
    pub(crate) name: fn() -> TypeName,
    pub(crate) signature: &'static str,
    pub(crate) key: Key,
    arrived: Make,
}

/// Why a task that arrived was not made.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// This process was not compiled with it.
    UnknownTask,
    /// Its signature is another.
    UnknownSignature,
    /// Its arguments do not decode.
    Arguments(DecodeError),
}

impl TaskRegistration {
    /// The registration of `K`.
    #[must_use]
    pub const fn of<K: Task>() -> Self {
        TaskRegistration {
            instance: Instance::of::<K>(K::NAME),
            name: K::type_name,
            signature: K::SIGNATURE,
            key: K::KEY,
            arrived: recipe::arrived::<K>,
        }
    }
}

/// The registered tasks, by the key of their names.
#[derive(Debug, Default)]
pub(crate) struct Tasks(BTreeMap<Key, TaskRegistration>);

impl Tasks {
    /// What the macros registered.
    ///
    /// # Errors
    /// Two of them have one name.
    pub(crate) fn new() -> Result<Self, RegisterError> {
        let mut tasks = BTreeMap::new();
        for task in inventory::iter::<TaskRegistration>.into_iter().copied() {
            let name = (task.name)();
            let former: Option<TaskRegistration> = tasks.insert(name.key(), task);
            if former.is_some_and(|former| former.instance.type_id() != task.instance.type_id()) {
                return Err(RegisterError::DuplicateTask { name: name.to_string() });
            }
        }
        Ok(Tasks(tasks))
    }

    /// A task of this name and signature, of arguments that arrived.
    pub(crate) fn make(&self, (name, signature): (Key, Key), coming: Coming<'_>) -> Result<Arc<dyn Runnable>, NotMade> {
        let task = self.0.get(&name).ok_or(NotMade::UnknownTask)?;
        if task.key != signature {
            return Err(NotMade::UnknownSignature);
        }
        (task.arrived)(coming).map_err(NotMade::Arguments)
    }

    /// Every task: its name, and the key of its signature.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TypeName, Key)> {
        self.0.values().map(|task| ((task.name)(), task.key))
    }
}

impl fmt::Debug for TaskRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskRegistration({}{})", (self.name)(), self.signature)
    }
}

inventory::collect!(TaskRegistration);
