//! What may be asked of nodes for an actor, a task or a bundle, and what may not.

use crate::limits::{NAME_BYTES, RESTART_WINDOW};
use crate::schedule::labels::LabelError;
use crate::schedule::resources::{AmountError, ResourcesError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An option that is not allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOption {
    /// The name of a task's run.
    #[error("{0:?} is no name for a task's run: give 1 to {NAME_BYTES} bytes without control characters")]
    Name(String),
    /// An amount.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// A resource.
    #[error(transparent)]
    Resource(#[from] ResourcesError),
    /// A label.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The time within which restarts are counted.
    #[error("restarts cannot be counted within {0:?}: give 1 ms to {RESTART_WINDOW:?}")]
    RestartWindow(Duration),
}
