//! `Locate {actor, after}`: where an actor is under a later placement than `after`; answered once it is there (§1.15).

use crate::directory::actors::{Asker, Want};
use crate::directory::message::{Reply, RequestId};
use crate::directory::request::Gone;
use crate::directory::state::Directory;
use crate::id::{ActorId, Life, NodeId, Placement};
use serde::{Deserialize, Serialize};

/// Where an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locate {
    /// Which.
    pub actor: ActorId,
    /// The placement under which it is no longer; zero if none is known.
    pub after: Placement,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The placement.
    pub placement: Placement,
    /// The life.
    pub life: Life,
    /// Its node.
    pub node: NodeId,
}

/// Why it is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// It has ended.
    #[error("the actor has ended: {0}")]
    Ended(Gone),
    /// Ephemeral, or ended long ago.
    #[error("the head does not know actor {0}: it ended long ago, or only its spawner knew it")]
    NotKnown(ActorId),
}

impl Directory {
    pub(in crate::directory) fn locate(&mut self, life: Life, request: RequestId, locate: Locate) -> Option<Reply> {
        if self.actors.all.contains_key(&locate.actor) {
            let want = Want::Located { after: locate.after };
            return self.await_actor(locate.actor, Asker { life, request, want });
        }
        Some(Reply::Located(Err(match self.actors.ended.why(locate.actor) {
            Some(why) => LocateError::Ended(why.clone()),
            None => LocateError::NotKnown(locate.actor),
        })))
    }
}
