//! Classes of this node's tasks: what those are that one slot is as good for as for the other.
//!
//! Where there are as many as may be, the queue gives those back that nothing is of. A task that comes back then is of a new
//! one, and one that would be near a node is of that of no node if there is no other left.

use std::sync::Arc;

use super::Submitted;
use super::owner::{State, not_placed};
use crate::directory::request::{ActorType, Needs, Patience, WantError};
use crate::id::{Key, NodeId};
use crate::object::error::GetError;
use crate::schedule::{Class, Resources, Strategy};

/// Tasks of equal function and needs are of one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassKey {
    name: Key,
    signature: Key,
    patience: Patience,
    needs: Option<Arc<Needs>>,
    near: Option<NodeId>,
}

/// What the head is told of a class.
pub(super) struct Kind {
    pub(super) class: Class,
    pub(super) kind: ActorType,
    pub(super) signature: Key,
    pub(super) needs: Needs,
    pub(super) patience: Patience,
    /// Its tasks give what they hold back when they first wait: they hold CPUs and nothing else.
    pub(super) yields: bool,
    key: ClassKey,
}

impl State {
    /// What a class is, if it is one still.
    pub(super) fn kind(&self, class: Class) -> Option<&Arc<Kind>> {
        self.classes.get(class.place()).filter(|kind| kind.class == class)
    }

    /// The class of a task that is near a node, if any; that of no node where there are too many.
    pub(super) fn class(&mut self, submitted: &Submitted, near: Option<NodeId>) -> Result<Arc<Kind>, GetError> {
        let kind = submitted.task.kind();
        let (name, signature, patience) = (kind.name.key(), kind.signature, submitted.patience);
        let chooses = submitted.needs.as_ref().is_some_and(|needs| needs.strategy != Strategy::Default);
        let near = near.filter(|_| !chooses);
        let key = ClassKey { name, signature, patience, needs: submitted.needs.clone(), near };
        let plain = near.map(|_| ClassKey { near: None, ..key.clone() });
        let mut of = |key| self.class_of(key, || ActorType { key: name, name: kind.name.to_string().into() });
        match (of(key), plain) {
            (Err(_), Some(plain)) => of(plain),
            (class, _) => class,
        }
    }

    /// The class of a task that comes back: it may have been given back meanwhile.
    pub(super) fn class_again(&mut self, kind: &Arc<Kind>) -> Result<Arc<Kind>, GetError> {
        match self.kind(kind.class) {
            Some(kind) => Ok(kind.clone()),
            None => self.class_of(kind.key.clone(), || kind.kind.clone()),
        }
    }

    /// The same class near a node; none if its tasks say where they go, or there are too many classes.
    pub(super) fn class_near(&mut self, kind: &Kind, near: Option<NodeId>) -> Option<Arc<Kind>> {
        let chooses = kind.needs.strategy != Strategy::Default;
        let key = ClassKey { near, ..kind.key.clone() };
        if chooses { None } else { self.class_of(key, || kind.kind.clone()).ok() }
    }

    fn class_of(&mut self, key: ClassKey, kind: impl FnOnce() -> ActorType) -> Result<Arc<Kind>, GetError> {
        let class = self.queue.class(key.clone()).map_err(|_| not_placed(WantError::Invalid))?;
        if let Some(kind) = self.kind(class) {
            return Ok(kind.clone());
        }
        let ClassKey { signature, patience, .. } = key;
        let mut needs = key.needs.as_deref().cloned().unwrap_or_else(one_cpu);
        if let Some(node) = key.near {
            needs.strategy = Strategy::Prefer(node);
        }
        let yields = needs.are_cpus();
        let kind = Arc::new(Kind { class, kind: kind(), signature, needs, patience, yields, key });
        // The next place, or that of a class that was given back.
        match self.classes.get_mut(class.place()) {
            Some(former) => *former = kind.clone(),
            None => self.classes.push(kind.clone()),
        }
        Ok(kind)
    }
}

/// What a task takes that says nothing.
fn one_cpu() -> Needs {
    let resources = Resources::none().with("cpu", crate::schedule::Amount::ONE).unwrap_or_default();
    Needs { resources, ..Needs::default() }
}
