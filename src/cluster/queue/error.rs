//! Why a queue's operation failed.

use serde::{Deserialize, Serialize};

use crate::actor::error::{CallError, Executed};

/// Why nothing was put into a queue, or taken out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It was closed: nothing is put any more, and nothing is left to take.
    #[error("the queue is closed")]
    Closed,
    /// It has no room, and the caller would not wait.
    #[error("the queue holds {capacity} items, as many as it may: wait with `put`, or take some")]
    Full {
        /// How many it may hold.
        capacity: usize,
    },
    /// More items at once than it may ever hold.
    #[error("{items} items at once never fit into a queue of {capacity}: put them in parts")]
    TooMany {
        /// So many.
        items: usize,
        /// How many it may hold.
        capacity: usize,
    },
    /// It cannot be made so small, or so large.
    #[error("a queue holds between 1 and {limit} items, not {capacity}")]
    Capacity {
        /// What was asked for.
        capacity: usize,
        /// The bound.
        limit: usize,
    },
    /// As many callers wait as may.
    #[error("{limit} callers wait for the queue already")]
    Waiting {
        /// The bound.
        limit: usize,
    },
    /// The item is of another type than the queue's user says, or cannot be encoded or decoded.
    #[error("the queue's item: {message}")]
    Item {
        /// What the codec said.
        message: String,
    },
    /// The queue could not be reached, or ended.
    #[error("the queue: {0}")]
    Call(CallError),
}

impl QueueError {
    /// Whether something may have been put, or taken.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            QueueError::Item { .. } => Executed::Yes,
            QueueError::Call(error) => error.executed(),
            _ => Executed::No,
        }
    }
}

impl From<CallError<QueueError>> for QueueError {
    fn from(error: CallError<QueueError>) -> Self {
        error.into_app().unwrap_or_else(QueueError::Call)
    }
}
