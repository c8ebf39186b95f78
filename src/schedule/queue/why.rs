//! Why a task has not finished yet: part of every error of a timeout.

use crate::id::{GrantId, Life};
use crate::schedule::queue::slab::At;
use crate::schedule::queue::{Queue, TaskNumber};
use std::fmt;
use std::sync::Arc;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The grant under which it was pushed ..
    pub grant: GrantId,
    /// .. to this node.
    pub life: Life,
}

/// Why a task has not finished yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// So many of its arguments are not there yet.
    Arguments(u32),
    /// Its class has no slot.
    Grant {
        /// Why, if the head has said.
        why: Option<Arc<str>>,
        /// The priority of what is ready of another class, if that is higher than its own.
        after: Option<i32>,
    },
    /// The slots of its class run other tasks.
    Turn {
        /// How many slots there are.
        slots: u32,
        /// How many tasks of the class are ready.
        ready: u32,
    },
    /// It was pushed.
    Pushed(Whereabouts),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Arguments(1) => f.write_str("waiting for an argument"),
            Why::Arguments(n) => write!(f, "waiting for {n} arguments"),
            Why::Grant { why, after } => {
                f.write_str("waiting for a grant")?;
                after.map_or(Ok(()), |priority| write!(f, " after tasks of priority {priority}"))?;
                why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
            }
            Why::Turn { slots, ready } => {
                write!(f, "waiting for its turn: {ready} tasks of its kind are ready for {slots} slots")
            }
            Why::Pushed(Whereabouts { grant, life }) => write!(f, "sent to node life {life}, under grant {grant}"),
        }
    }
}

impl<K: Ord, T> Queue<K, T> {
    /// Why this task has not finished; none if it has, or never was.
    #[must_use]
    pub fn why(&self, task: TaskNumber) -> Option<Why> {
        let entry = self.slab.get(self.slab.place(task)?)?;
        let state = self.classes.get(entry.class.place())?;
        Some(match entry.at {
            At::Waiting => Why::Arguments(entry.missing),
            At::Ready if state.grants.is_empty() => {
                Why::Grant { why: state.reason.clone(), after: self.first().filter(|first| *first > entry.priority) }
            }
            At::Ready => Why::Turn { slots: state.slots, ready: state.line.len() },
            At::Pushed(grant) => {
                let grant = self.grant(grant)?;
                Why::Pushed(Whereabouts { grant: grant.id, life: grant.life })
            }
        })
    }

    /// The highest priority of what is ready.
    fn first(&self) -> Option<i32> {
        let hungry = self.hungry.iter().filter_map(|class| self.classes.get(class.place()));
        hungry.map(|state| state.line.priority()).max()
    }
}
