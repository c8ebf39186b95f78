//! Actors in processes of their own: the head places one on a node as any other, which starts the process; that joins as a
//! node of its own, claims the actor, and is its host from then on (§2.12).
//!
//! ```text
//! placing at H, order: Host ──▶ H starts a process ──▶ Join { claims } ──▶ placing at the process, order: Host ──▶ Hosted
//!            └──▶ Hosted (Err), Ended: it did not come to that                what it takes stays taken of H
//! ```
//!
//! What it takes is free once the process has ended: by the end of its life, or as H says of one whose actor ended before.
//!
//! So a process of an earlier placement, or whose actor is to end, gets no life; and what comes after a claim is what comes
//! of any actor on any node.

use crate::directory::actors::{Actor, Phase, Reservation};
use crate::directory::message::Command;
use crate::directory::record::Record;
use crate::directory::request::{Host, JoinError};
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life, Placement};
use crate::schedule::Requirement;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A node that joins is the process of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// Whose.
    pub actor: ActorId,
    /// Under which placement it was ordered.
    pub placement: Placement,
    /// Who started it.
    pub host: Life,
}

/// Why an actor got no process of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// There are no processes that could reach each other.
    #[error(
        "this cluster is one process, without sockets, which a process of an actor's own could not reach: start it with `.workers(n)` or `.listen(..)`"
    )]
    OneProcess,
    /// The node has as many as it may.
    #[error("the node has {0} actors in processes of their own, as many as one node starts")]
    Full(usize),
    /// It was not started.
    #[error("{0}")]
    NotStarted(String),
    /// It ended before it had joined.
    #[error("the actor's process ended before it had joined the cluster: {status}")]
    Ended {
        /// What it ended with.
        status: String,
    },
    /// It did not join in time.
    #[error("the actor's process has not joined the cluster within {0:?}")]
    NotJoined(Duration),
}

impl IsolationError {
    /// The same, in no more bytes than the head keeps.
    pub(super) fn cut(self) -> IsolationError {
        let short = |text: String| super::ended::cut(text.into()).to_string();
        match self {
            IsolationError::NotStarted(why) => IsolationError::NotStarted(short(why)),
            IsolationError::Ended { status } => IsolationError::Ended { status: short(status) },
            other => other,
        }
    }
}

/// Where an actor is, and of which node it takes what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::directory) struct Seat {
    pub(in crate::directory) host: Life,
    pub(in crate::directory) room: Life,
}

impl Actor {
    pub(in crate::directory) fn seat(&self) -> Option<Seat> {
        self.host().map(|host| Seat { host, room: self.keeper.unwrap_or(host) })
    }

    /// Whether it is made where it is: else a process of its own is being started there.
    pub(super) fn is_made_there(&self) -> bool {
        !self.spawn.isolated || self.keeper.is_some()
    }
}

impl Directory {
    /// Whether a node that joins as an actor's process is waited for.
    pub(super) fn may_claim(&self, claim: Claim) -> Result<(), JoinError> {
        let waits = |actor: &&Actor| {
            actor.phase == Phase::Placing(claim.host)
                && actor.placement == claim.placement
                && !actor.is_made_there()
                && actor.ending.is_none()
        };
        self.actors.all.get(&claim.actor).filter(waits).map(|_| ()).ok_or(JoinError::NotAwaited(claim.actor))
    }

    /// It has joined as this life, which is ordered to make the actor.
    pub(super) fn claim(&mut self, claim: Claim, life: Life, effects: &mut Effects) {
        effects.journal(Record::Claimed { actor: claim.actor, life });
        self.moves_into(claim.actor, life);
        let Some(actor) = self.actors.all.get(&claim.actor) else { return };
        let (placement, restarts, saved) = (actor.placement, actor.restarts_left, actor.saved_state());
        let host = Host { placement, restarts, spawn: actor.spawn.clone(), saved };
        self.order(life, Command::Host(host), effects);
    }

    /// An actor that is being placed is in a process of its own from now on. Its host keeps the room for it.
    pub(super) fn moves_into(&mut self, id: ActorId, life: Life) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        let Phase::Placing(host) = actor.phase else { return };
        (actor.phase, actor.keeper) = (Phase::Placing(life), Some(host));
        if let Some(host) = self.lives.get_mut(host)
            && host.hosted.remove(&id)
        {
            host.isolated.insert(id);
        }
        if let Some(own) = self.lives.get_mut(life) {
            own.hosted.insert(id);
        }
    }

    /// What an actor takes that is about to be forgotten, and of whom, if it is in a process of its own that goes on: its room is
    /// nobody's from here on, until [`Directory::stays_taken`].
    pub(super) fn outlasts(&mut self, id: ActorId) -> Option<(Life, Reservation)> {
        let actor = self.actors.all.get(&id)?;
        let (host, own) = (actor.keeper?, actor.host()?);
        self.lives.get(own)?;
        let living = self.lives.get_mut(host).filter(|_| !actor.need.resources.is_empty())?;
        let (need, name, placement) = (actor.need.clone(), actor.spawn.kind.name.clone(), actor.placement);
        let reservation = Reservation { need, name, place: Ok(host), placement, asker: None };
        living.isolated.remove(&id).then_some((host, reservation))
    }

    /// It is free once the process has ended, as its host reports; a head that starts learns of it when that rejoins.
    pub(super) fn stays_taken(&mut self, id: ActorId, host: Life, reservation: Reservation) {
        if let Some(living) = self.lives.get_mut(host) {
            living.reserved.insert(id);
        }
        self.actors.reservations.insert(id, reservation);
    }

    /// An actor is no longer where it was: what it took is free.
    pub(in crate::directory) fn leave_seat(&mut self, seat: Seat, id: ActorId, need: &Requirement) {
        if seat.room != seat.host
            && let Some(own) = self.lives.get_mut(seat.host)
        {
            own.hosted.remove(&id);
        }
        self.vacate(seat.room, id, need);
    }
}

#[cfg(test)]
mod tests;
