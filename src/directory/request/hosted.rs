//! `Hosted`: a node made an actor as ordered, or could not.

use crate::directory::actors::Phase;
use crate::directory::request::{Gone, IsolationError, ReportError, Spawn};
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life, Placement};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The order to make an actor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Under this placement.
    pub placement: Placement,
    /// How often it may yet be placed again.
    pub restarts: u32,
    /// All about it.
    pub spawn: Arc<Spawn>,
    /// What was saved of it where it was before: its constructor does not run then.
    pub saved: Option<Bytes>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosted {
    /// The actor.
    pub actor: ActorId,
    /// Its placement.
    pub placement: Placement,
    /// Whether its constructor returned an actor.
    pub made: Result<(), Failure>,
}

/// Why an actor could not be made. Its constructor has not run where that is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Its constructor returned an error.
    #[error("the constructor failed: {text}")]
    Error {
        /// The error, encoded.
        error: Bytes,
        /// What it says.
        text: Arc<str>,
    },
    /// Its constructor panicked.
    #[error("the constructor panicked: {0}")]
    Panicked(Arc<str>),
    /// It could not be made of its checkpoint.
    #[error("it could not be made of its checkpoint: {0}")]
    NotRestored(Arc<str>),
    /// The constructor's arguments do not decode there; it has not run.
    #[error("the constructor's arguments do not decode on the node that was to run it: {0}; it has not run")]
    Arguments(Arc<str>),
    /// The host does not have the type or constructor; it has not run.
    #[error("the node that was to make the actor does not have its type or constructor; it has not run")]
    Unknown,
    /// It got no process of its own; it has not run.
    #[error("{0}; the constructor has not run")]
    Isolation(IsolationError),
}

impl Directory {
    pub(in crate::directory) fn hosted(
        &mut self,
        life: Life,
        hosted: Hosted,
        effects: &mut Effects,
    ) -> Result<(), ReportError> {
        let actor = self.actors.all.get(&hosted.actor).ok_or(ReportError::NotKnown)?;
        if actor.placement != hosted.placement || actor.host() != Some(life) {
            return Err(ReportError::Stale(actor.placement));
        }
        match hosted.made {
            Ok(()) if !actor.is_made_there() => return Err(ReportError::Stale(actor.placement)),
            Ok(()) if actor.phase == Phase::Placing(life) => self.made(hosted.actor, life, effects),
            Ok(()) => {}
            Err(failure) => self.gone(hosted.actor, Gone::Unmade(failure.cut()), effects),
        }
        Ok(())
    }
}

impl Failure {
    pub(super) fn cut(self) -> Failure {
        use crate::limits::BODY_INLINE;
        let short = super::ended::cut;
        match self {
            Failure::Error { error, text } if error.len() <= BODY_INLINE => Failure::Error { error, text: short(text) },
            Failure::Error { text, .. } => Failure::Error { error: Bytes::new(), text: short(text) },
            Failure::Panicked(text) => Failure::Panicked(short(text)),
            Failure::NotRestored(text) => Failure::NotRestored(short(text)),
            Failure::Arguments(text) => Failure::Arguments(short(text)),
            Failure::Unknown => Failure::Unknown,
            Failure::Isolation(why) => Failure::Isolation(why.cut()),
        }
    }
}
