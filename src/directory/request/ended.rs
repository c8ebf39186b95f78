//! `Ended`: an actor has ended where it ran. For one that the head knows, name and resources are free then; for one that
//! only its spawner knows, what was reserved for it is.

use crate::directory::request::{Failure, LifeEnd, SpawnError};
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, GroupId, Life, Placement};
use crate::limits::FAILURE_TEXT;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An actor has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub actor: ActorId,
    /// The placement that ended; zero for an ephemeral actor.
    pub placement: Placement,
    /// Why.
    pub why: Gone,
}

/// Why an actor has ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Gone {
    /// It was asked to stop, and has finished.
    #[error("it was stopped")]
    Stopped,
    /// It was killed.
    #[error("it was killed")]
    Killed,
    /// A method panicked.
    #[error("it panicked: {0}")]
    Panicked(Arc<str>),
    /// It panicked once more than it may be started again.
    #[error("it was started again {restarts} times, which is as often as it may be, and then failed in {text}")]
    RestartsSpent {
        /// How often it may be.
        restarts: u32,
        /// What failed last, and what it said.
        text: Arc<str>,
    },
    /// It was linked with another, which ended.
    #[error("it was linked with actor {actor}, which ended: {text}")]
    Linked {
        /// The one that ended first.
        actor: ActorId,
        /// Why that did.
        text: Arc<str>,
    },
    /// It was never made.
    #[error("{0}")]
    Unmade(Failure),
    /// The node that spawned it has ended, and it was not detached.
    #[error("the node that spawned it (life {life}) has ended, and it was not detached")]
    OwnerEnded {
        /// The spawner's life.
        life: Life,
    },
    /// The node it ran on has ended.
    #[error("the node it ran on (life {life}) has ended: {why}")]
    NodeEnded {
        /// The host's life.
        life: Life,
        /// Why that ended.
        why: LifeEnd,
    },
    /// The placement group that it was in was removed.
    #[error("placement group {group}, which it was in, was removed")]
    GroupRemoved {
        /// The group.
        group: GroupId,
    },
    /// Its host no longer had it when the head came back.
    #[error("the node it ran on no longer had it when the head came back")]
    Lost,
}

impl Gone {
    pub(in crate::directory) fn into_spawn_error(self) -> SpawnError {
        match self {
            Gone::Unmade(failure) => SpawnError::Unmade(failure),
            other => SpawnError::Ended(other),
        }
    }
}

/// Why a host's report does not count. The host ends what it reported on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The actor has ended, or never was.
    #[error("the head does not know this actor")]
    NotKnown,
    /// It was placed again.
    #[error("the actor is elsewhere, under {0:?}")]
    Stale(Placement),
}

impl Directory {
    pub(in crate::directory) fn ended(
        &mut self,
        life: Life,
        ended: Ended,
        effects: &mut Effects,
    ) -> Result<(), ReportError> {
        let id = ended.actor;
        if let Some(reservation) = self.actors.reservations.get(&id) {
            let is_there = reservation.place == Ok(life);
            match reservation.placement {
                Placement::BY_SPAWNER if id.life == life || is_there => {}
                Placement::BY_SPAWNER => return Err(ReportError::NotKnown),
                // Only who has started a process knows that it is over.
                placement if placement == ended.placement && is_there => {}
                placement => return Err(ReportError::Stale(placement)),
            }
            self.release(id, effects);
            return Ok(());
        }
        let actor = self.actors.all.get(&id).ok_or(ReportError::NotKnown)?;
        if actor.placement != ended.placement || actor.host() != Some(life) {
            return Err(ReportError::Stale(actor.placement));
        }
        let why = match ended.why {
            Gone::Panicked(text) => Gone::Panicked(cut(text)),
            Gone::RestartsSpent { restarts, text } => Gone::RestartsSpent { restarts, text: cut(text) },
            Gone::Unmade(failure) => Gone::Unmade(failure.cut()),
            Gone::Linked { actor, text } => Gone::Linked { actor, text: cut(text) },
            why => why,
        };
        match why {
            why @ Gone::NodeEnded { .. } => self.moves_on(id, why, effects),
            why => self.gone(id, why, effects),
        }
        Ok(())
    }
}

pub(super) fn cut(text: Arc<str>) -> Arc<str> {
    if text.len() <= FAILURE_TEXT { text } else { text[..text.floor_char_boundary(FAILURE_TEXT)].into() }
}
