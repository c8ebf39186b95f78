//! An owner hears how many of its tasks are parked where that leaves a slot idle: it takes them for running, and would push
//! nothing more. So tasks that wait for one of the same owner never hold all there are.

use std::sync::Arc;

use super::host::Tell;
use super::send::tell_node;
use super::terms::{PARKED, Parked};
use crate::actor::inbox::Host as _;
use crate::actor::remote::host::Incoming;
use crate::id::Life;
use crate::node::runtime::Node;
use crate::wire::codec;

impl Node {
    /// Tells a grant's owner of tasks that are parked here.
    pub(super) fn tell_parked(self: &Arc<Self>, tell: &Tell) {
        let Tell { owner, grant, parked: tasks, number } = *tell;
        let parked = Parked { grant, tasks, number };
        if owner == self.life() {
            return self.are_parked(owner, parked);
        }
        // Else who owned it has ended, and the grant with it.
        if let Some(link) = self.link_to(owner) {
            tell_node(&link, PARKED, &parked);
        }
    }

    /// A node says how many tasks of a grant of this one's are parked there.
    pub(super) fn parked_arrived(self: &Arc<Self>, incoming: &Incoming<'_>) {
        incoming.begin();
        let peer = incoming.peer;
        match codec::decode::<Parked>(incoming.request.body) {
            Ok(parked) => self.are_parked(peer.life(), parked),
            Err(error) => {
                tracing::warn!(node = %peer.node(), %error, "what a peer says of parked tasks does not decode")
            }
        }
    }

    fn are_parked(self: &Arc<Self>, on: Life, parked: Parked) {
        let Parked { grant, tasks, number } = parked;
        self.own(|state, _| {
            // Two that were said at once may come in either order.
            if let Some(held) = state.grants.get_mut(&grant).filter(|held| held.life == on && held.heard < number) {
                held.heard = number;
                state.queue.parked(grant, tasks);
            }
        });
    }
}
