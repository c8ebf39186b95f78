//! Calls that actors make: which runs of the calling actor a host takes calls of.

use super::node::Node;
use crate::clock::Moment;
use crate::id::{ActorId, Incarnation};

impl Node {
    /// Whether a call of this run of an actor may begin here.
    pub(super) fn admits(&mut self, now: Moment, actor: ActorId, run: Incarnation) -> bool {
        if run.placement.is_by_spawner() {
            return true;
        }
        // As early as may be, so that it is known to be early enough.
        self.callers.forget(self.core.caught_up());
        self.callers.admit(now, || self.core.caught_up(), actor, run.placement).is_ok()
    }
}
