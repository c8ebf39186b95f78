//! Whose calls the node takes.

use super::Node;
use crate::clock::Moment;
use crate::id::{ActorId, Placement};
use crate::node::core::callers::NotTaken;
use crate::wire::packet::CallFault;

impl Node {
    /// Takes a call of an actor of another node, unless the head has placed that again, and the later run has called here.
    pub(in crate::node) fn admit_caller(
        &self,
        now: Moment,
        actor: ActorId,
        placement: Placement,
    ) -> Result<(), CallFault<'static>> {
        if placement.is_by_spawner() {
            return Ok(());
        }
        let caught_up = || self.machine.lock().life.caught_up();
        let admitted = self.callers.lock().admit(now, caught_up, actor, placement);
        admitted.map_err(|why| {
            tracing::warn!(%actor, %placement, %why, "a call is refused");
            match why {
                NotTaken::Stale(_) => CallFault::Stale,
                NotTaken::Full => CallFault::MailboxFull,
            }
        })
    }
}
