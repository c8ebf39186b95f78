//! `Vacate`: what a node runs for nobody any more holds what it takes until the node says that it runs no longer. The owner of
//! it has ended, or its placement group was removed: its node hears of that later than the head, and cannot stop a synchronous
//! task at all. So who is given that room next does not begin beside it.
//!
//! ```text
//! grant         ordered: Vacate ──nothing runs under it──▶ GiveBack { keep: 0 }, by its node
//! reservation   ordered: End    ──the actor has ended──▶   Ended, by its node
//! ```
//!
//! A node's own end frees all of it. After a head's restart the node says what is still there when it rejoins, and is ordered
//! again.

use crate::directory::actors::Actors;
use crate::directory::message::{Command, How};
use crate::directory::request::Gone;
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, GrantId, Life, Placement};

impl Directory {
    /// A grant is over for its owner. Its slots are free once its node has said so.
    pub(super) fn vacate_grant(&mut self, id: GrantId, effects: &mut Effects) {
        let Some(grant) = self.grants.all.get_mut(&id).filter(|grant| !grant.over) else { return };
        let was = grant.clone();
        (grant.over, grant.keep) = (true, 0);
        if let Some(owner) = self.lives.get_mut(was.owner) {
            owner.held.remove(&id);
        }
        if let Some(host) = self.lives.get_mut(was.host) {
            was.bundle.into_iter().for_each(|bundle| host.room.stays_in(bundle));
        }
        if let Some(claim) = self.grants.claims.get_mut(&(was.owner, was.class)) {
            claim.grants.remove(&id);
        }
        self.count(&was, if was.confirmed { was.keep } else { 0 });
        self.order(was.host, Command::Vacate { grant: id }, effects);
    }

    /// The spawner of these actors, which only it knew, has ended. What is reserved for one is free once its node has said so;
    /// one that waits for room waits no more.
    pub(super) fn vacate_reservations(&mut self, spawner: Life, effects: &mut Effects) {
        for actor in Actors::of_spawner(&self.actors.reservations, spawner) {
            match self.actors.reservations.get(&actor).map(|reservation| (reservation.place, reservation.placement)) {
                Some((Ok(host), Placement::BY_SPAWNER)) => self.order_end(actor, host, effects),
                // It has ended, and its process is about to.
                Some((Ok(_), _)) => {}
                Some((Err(_), _)) | None => self.release(actor, effects),
            }
        }
    }

    /// The end of an actor that nobody knows any more but its node; it may never have been made there.
    fn order_end(&mut self, actor: ActorId, host: Life, effects: &mut Effects) {
        let (placement, why) = (Placement(0), Gone::OwnerEnded { life: actor.life });
        self.order(host, Command::End { actor, placement, how: How::Kill, why }, effects);
    }
}

#[cfg(test)]
mod tests;
