//! Calls that actors make: which runs of the calling actor a host takes calls of, and user code that has all of them ask.

use super::Bug;
use super::node::Node;
use super::routes::Wish;
use super::script::{Kind, Script, Waiter};
use super::stage::{Handle, Stage};
use super::world::World;
use crate::clock::Moment;
use crate::id::{ActorId, Incarnation};
use std::time::Duration;

/// How many actors ask at once.
const ASKING: usize = 20;

impl Node {
    /// Whether a call of this run of an actor may begin here.
    pub(super) fn admits(&mut self, stage: &Stage, now: Moment, actor: ActorId, run: Incarnation) -> bool {
        if run.placement.is_by_spawner() {
            return true;
        }
        // As early as may be, so that it is known to be early enough.
        self.callers.forget(self.core.caught_up());
        let admitted = self.callers.admit(now, || self.core.caught_up(), actor, run.placement);
        admitted.is_ok() || stage.has(Bug::TakesStale)
    }

    /// Has an actor ask another one.
    fn has_ask(&mut self, stage: &mut Stage, actor: Handle, other: Handle) {
        let wish = Wish {
            group: 0,
            kind: Kind::Ask,
            script: Script::Ask(other, Duration::from_secs(4)),
            waiter: Waiter::Outside,
            retries: 0,
            cancels: false,
            size: 20,
            timeout: None,
            drop_after: None,
            from: None,
        };
        self.call(stage, actor, wish);
    }
}

impl World {
    /// Somebody on another node has the actors that the head has placed ask one of this node.
    pub(super) fn all_ask(&mut self, of: usize) {
        let (stage, life) = (&mut self.stage, self.nodes[of].life());
        let other = stage.handles.iter().rev().find(|handle| Some(handle.life) == life).copied();
        let somebody = self.nodes.iter_mut().rev().find(|node| node.index != of && node.up && !node.still);
        let (Some(other), Some(somebody)) = (other, somebody) else { return };
        let asking = stage.handles.iter().rev().filter(|handle| !handle.ephemeral).take(ASKING);
        let asking: Vec<_> = asking.copied().collect();
        asking.into_iter().for_each(|actor| somebody.has_ask(stage, actor, other));
    }
}
