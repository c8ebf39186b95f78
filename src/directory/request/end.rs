//! `End`: an actor stops or is killed. Answered when it has ended, with the reason: perhaps another than asked for.

use crate::directory::actors::{Asker, Want};
use crate::directory::message::{How, Reply, RequestId};
use crate::directory::request::Gone;
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life};
use serde::{Deserialize, Serialize};

/// An actor is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Which.
    pub actor: ActorId,
    /// How. A kill overtakes a stop.
    pub how: How,
}

/// Why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum EndError {
    /// Ephemeral, or ended long ago.
    #[error("the head does not know actor {0}: it ended long ago, or only its spawner knew it")]
    NotKnown(ActorId),
}

impl Directory {
    pub(in crate::directory) fn end(
        &mut self,
        life: Life,
        request: RequestId,
        end: End,
        effects: &mut Effects,
    ) -> Option<Reply> {
        if !self.actors.all.contains_key(&end.actor) {
            return Some(Reply::Ended(self.actors.ended.why(end.actor).cloned().ok_or(EndError::NotKnown(end.actor))));
        }
        self.await_actor(end.actor, Asker { life, request, want: Want::Ended });
        let why = match end.how {
            How::Stop => Gone::Stopped,
            How::Kill => Gone::Killed,
        };
        self.end_actor(end.actor, end.how, why, effects);
        None
    }
}
