//! How a node stands in its cluster.

use super::Node;
use crate::directory::journal::JournalError;
use crate::directory::request::JoinError;
use crate::id::{Epoch, Life};

/// A node's standing in its cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StandingNow {
    Joining,
    Member(Life),
    Refused(JoinError),
    /// The head was in this process, and a later one has taken over.
    Replaced(Epoch),
    /// The head was in this process, and its journal is not to be had.
    Unwritten(JournalError),
    Left,
}

impl StandingNow {
    /// Whether there is no head any more that could be asked.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, StandingNow::Left | StandingNow::Replaced(_) | StandingNow::Unwritten(_))
    }
}

impl Node {
    /// The head was in this process, and a later one has taken over: nothing here can go on.
    pub(crate) fn head_replaced(&self, by: Epoch) {
        tracing::error!(epoch = %by, "another head has taken over: this one has stopped");
        self.standing.send_replace(StandingNow::Replaced(by));
    }

    /// The head was in this process, and cannot write what it decides: nothing here can go on.
    pub(crate) fn head_failed(&self, why: JournalError) {
        tracing::error!(%why, "the head has stopped");
        self.standing.send_replace(StandingNow::Unwritten(why));
    }
}
