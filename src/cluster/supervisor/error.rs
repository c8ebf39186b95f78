//! Why a supervisor was not started, or gives no child.

use serde::{Deserialize, Serialize};

use crate::actor::error::CallError;
use crate::cluster::spawn::SpawnError;

/// Why a supervisor could not be started, or what it was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// Two children have this name.
    #[error("two children are called `{name}`: give each a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// There are more children than it may have.
    #[error("a supervisor has at most {limit} children: put some of them under supervisors of their own")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The window of its intensity cannot be counted within.
    #[error("restarts are counted within a time of at least 1 ms and at most 24 hours")]
    Window,
    /// A child could not be started, so those before it were stopped again.
    #[error("the child `{name}` could not be started: {message}")]
    NotStarted {
        /// The child.
        name: String,
        /// What its spawn said.
        message: String,
    },
    /// The supervisor itself could not be made.
    #[error("the supervisor could not be made: {message}")]
    NotMade {
        /// What its spawn said.
        message: String,
    },
    /// It has no such child.
    #[error("the supervisor has no child `{name}`")]
    NoChild {
        /// The name.
        name: String,
    },
    /// The child does not run yet: who is started before it cannot have its handle.
    #[error("the child `{name}` does not run yet: say it before those that need it")]
    NotYet {
        /// The child.
        name: String,
    },
    /// The child has ended, and is of a kind that is not started again for that.
    #[error("the child `{name}` has ended, and is not started again")]
    Over {
        /// The child.
        name: String,
    },
    /// The child is of another type.
    #[error("the child `{name}` is a `{kind}`")]
    OtherType {
        /// The child.
        name: String,
        /// Its type.
        kind: String,
    },
    /// The child's handle does not decode.
    #[error("the handle of the child `{name}`: {message}")]
    Handle {
        /// The child.
        name: String,
        /// What the codec said.
        message: String,
    },
    /// The supervisor could not be reached, or has ended.
    #[error("the supervisor: {0}")]
    Call(CallError),
}

impl From<CallError<SupervisorError>> for SupervisorError {
    fn from(error: CallError<SupervisorError>) -> Self {
        error.into_app().unwrap_or_else(SupervisorError::Call)
    }
}

impl From<SpawnError<SupervisorError>> for SupervisorError {
    fn from(error: SpawnError<SupervisorError>) -> Self {
        match error {
            SpawnError::App(error) => error,
            other => SupervisorError::NotMade { message: other.to_string() },
        }
    }
}
