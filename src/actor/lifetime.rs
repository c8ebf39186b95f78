//! How long an actor lives: for as long as a handle keeps it (PROTOCOLS §3.6).
//!
//! ```text
//! handles on a node ──Arc──▶ Address ──Arc──▶ Lifetime: one a node and actor; its drop gives the actor back
//!                            weak, detached: no lifetime
//! ```
//!
//! On the spawner's node it is also what the counts of other nodes hold; when it is gone there, the actor stops: what
//! stands in its mailbox runs first.

use std::ops::Deref;
use std::sync::{Arc, OnceLock, Weak};

use super::inbox::Host;
use crate::id::{ActorId, Key, Life, Placement};
use crate::wire::codec::Hold;
use crate::wire::packet::Kept;

/// Where an actor is, as far as whoever holds it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) host: Life,
    pub(crate) placement: Placement,
}

/// Who put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// Its spawner.
    BySpawner,
    /// The head, which may put it elsewhere.
    ByHead,
}

/// What a lifetime says when it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LetGo {
    pub(crate) actor: ActorId,
    pub(crate) type_key: Key,
    pub(crate) at: At,
    pub(crate) placed: Placed,
    /// The life of the node that counts it.
    pub(crate) counted_in: Life,
}

/// Keeps an actor for the handles of one node.
pub(crate) struct Lifetime {
    actor: ActorId,
    type_key: Key,
    placed: Placed,
    counted_in: Life,
    /// Unknown before the actor was made: then there is nothing to give back.
    at: OnceLock<At>,
    /// What else lives as long.
    with: OnceLock<Vec<Hold>>,
    host: Weak<dyn Host>,
}

impl Lifetime {
    /// Of an actor that is being made, or was named by somebody.
    pub(crate) fn new(
        (actor, type_key): (ActorId, Key),
        placed: Placed,
        counted_in: Life,
        host: &Arc<dyn Host>,
    ) -> Arc<Self> {
        let (at, with) = (OnceLock::new(), OnceLock::new());
        Arc::new(Lifetime { actor, type_key, placed, counted_in, at, with, host: Arc::downgrade(host) })
    }

    /// It is there, and is given back from now on.
    pub(crate) fn is_at(&self, at: At) {
        self.at.get_or_init(|| at);
    }

    /// Keeps what the head makes the actor of for as long as the actor.
    pub(crate) fn with(&self, holds: Vec<Hold>) {
        self.with.get_or_init(|| holds);
    }
}

impl Drop for Lifetime {
    fn drop(&mut self) {
        let Lifetime { actor, type_key, placed, counted_in, .. } = *self;
        if let Some(at) = self.at.get().copied()
            && let Some(host) = self.host.upgrade()
        {
            host.let_go(LetGo { actor, type_key, at, placed, counted_in });
        }
    }
}

/// What a handle does for its actor.
#[derive(Clone)]
pub(crate) enum Keeps {
    Counted(Arc<Lifetime>),
    Detached,
    Weak,
}

impl Keeps {
    /// As it travels, and what keeps it on the way.
    pub(crate) fn to_wire(&self) -> (Kept, Option<Hold>) {
        match self {
            Keeps::Counted(lifetime) => (Kept::Counted, Some(lifetime.clone())),
            Keeps::Detached => (Kept::Detached, None),
            Keeps::Weak => (Kept::Weak, None),
        }
    }

    /// As it arrived. One that is lost keeps nothing.
    pub(crate) fn from_wire(kept: Kept, hold: Option<Hold>) -> Self {
        match kept {
            Kept::Counted => hold.and_then(|hold| hold.downcast().ok()).map_or(Keeps::Weak, Keeps::Counted),
            Kept::Detached => Keeps::Detached,
            Kept::Weak => Keeps::Weak,
        }
    }
}

/// Where an actor is reached, and what that does for it: what the clones of a handle share, so that cloning one counts once.
pub(crate) struct Address<T> {
    /// Given back before the address is gone: that knows whether the actor has ended.
    pub(crate) keeps: Keeps,
    pub(crate) to: Arc<T>,
}

impl<T> Deref for Address<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.to
    }
}
