//! The classes of a queue's tasks: a place for each, which is given to another when nothing is of the one that has it.

use super::{ClassState, Queue};
use crate::limits;

/// Tasks of one function and equal needs: numbered by their owner, from zero. A number whose class was given back is
/// followed by another at its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Class(pub u32);

impl Class {
    /// Its place among the classes of its owner: less than [`TASK_CLASSES`](limits::TASK_CLASSES).
    #[must_use]
    pub fn place(self) -> usize {
        self.0 as usize % limits::TASK_CLASSES
    }
}

/// As many classes as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "one node's tasks have at most {} different combinations of function, resources, labels and strategy at a time",
    limits::TASK_CLASSES
)]
pub struct TooManyClasses;

impl ClassState {
    /// Whether anything is of it, or said of it.
    fn is_used(&self) -> bool {
        self.tasks > 0 || !self.grants.is_empty() || self.told > 0 || self.due.is_some() || self.dirty
    }
}

impl<K: Ord, T> Queue<K, T> {
    /// The class of this key, a new one if there is none. Where there are as many as may be, those that have no tasks and hold
    /// no slots are given back: their numbers are none of this queue's any more.
    ///
    /// # Errors
    /// There are too many in use.
    pub fn class(&mut self, key: K) -> Result<Class, TooManyClasses> {
        if let Some(class) = self.keys.get(&key) {
            return Ok(*class);
        }
        let class = self.new_class()?;
        self.keys.insert(key, class);
        Ok(class)
    }

    fn new_class(&mut self) -> Result<Class, TooManyClasses> {
        if self.classes.len() < limits::TASK_CLASSES {
            let number = Class(self.classes.len() as u32);
            self.classes.push(ClassState { number, ..ClassState::default() });
            return Ok(number);
        }
        if self.free.is_empty() {
            let (classes, free) = (&self.classes, &mut self.free);
            self.keys.retain(|_, class| {
                let used = classes.get(class.place()).is_some_and(ClassState::is_used);
                free.extend((!used).then_some(class.place() as u32));
                used
            });
        }
        let state = self.free.pop().and_then(|place| self.classes.get_mut(place as usize)).ok_or(TooManyClasses)?;
        let number = Class(state.number.0.wrapping_add(limits::TASK_CLASSES as u32));
        *state = ClassState { number, ..ClassState::default() };
        Ok(number)
    }

    /// Whether a class is one of this queue's.
    pub(super) fn has(&self, class: Class) -> bool {
        self.classes.get(class.place()).is_some_and(|state| state.number == class)
    }
}
