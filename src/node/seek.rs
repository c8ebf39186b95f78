//! Finding an actor that its host has lost: the head says where it is now (PROTOCOLS §1.15).

use std::sync::{Arc, Weak};

use super::core::link::Party;
use super::runtime::Node;
use super::spawn::end_reason;
use crate::actor::error::EndReason;
use crate::actor::inbox::{Host, Resolved};
use crate::actor::lifetime::At;
use crate::actor::remote::RemoteActor;
use crate::actor::remote::placed::{Binding, Lost, Placed, after};
use crate::directory::request::{Locate, LocateError, Located};
use crate::id::{ActorId, Key, Placement};

impl Node {
    /// The one address of an actor that the head placed elsewhere.
    pub(crate) fn placed(&self, actor: ActorId, type_key: Key, at: At) -> Arc<Placed> {
        // Not under the lock of addresses.
        let link = self.link_to(at.host).ok_or(Lost::LinkEnded);
        self.one_address((actor, type_key), at, || {
            link.map(|link| RemoteActor::new(actor, type_key, at.placement, link))
        })
    }

    /// The one address of an actor that the head had placed here, in a life that has ended.
    pub(crate) fn placed_after(&self, actor: ActorId, type_key: Key, at: At) -> Arc<Placed> {
        self.one_address((actor, type_key), at, || Err(Lost::NotHere))
    }

    fn one_address(
        &self,
        (actor, type_key): (ActorId, Key),
        at: At,
        there: impl FnOnce() -> Result<Arc<RemoteActor>, Lost>,
    ) -> Arc<Placed> {
        let host: Arc<dyn Host> = self.shared();
        let mut all = self.links().placed().lock();
        if let Some(known) = all.get(&actor).and_then(Weak::upgrade) {
            return known;
        }
        let placed = Placed::new((actor, type_key), at, there(), &host);
        all.insert(actor, Arc::downgrade(&placed));
        // Addresses that nobody holds are forgotten when they are half of what is kept.
        if all.len() > 64 && all.len() == all.capacity() {
            all.retain(|_, placed| placed.strong_count() > 0);
        }
        placed
    }

    pub(super) fn seek_placed(&self, actor: Arc<Placed>, at: At, why: Lost) {
        let node = self.shared();
        let lives = !self.known(|known| known.has_ended(at.host));
        self.runtime().spawn(async move { node.find(&actor, after(at.placement, lives, why), why).await });
    }

    async fn find(self: Arc<Self>, actor: &Arc<Placed>, mut after: Placement, why: Lost) {
        loop {
            let located = match self.client().ask(Locate { actor: actor.id, after }).await {
                Ok(Ok(located)) => located,
                Ok(Err(LocateError::Ended(gone))) => return actor.gone(end_reason(&gone)),
                Ok(Err(LocateError::NotKnown(_))) => return actor.gone(EndReason::Unknown),
                Err(error) => {
                    tracing::debug!(actor = %actor.id, %error, "the head cannot be asked where an actor is");
                    return actor.not_found(why);
                }
            };
            let at = At { host: located.life, placement: located.placement };
            match self.bind(actor, located) {
                Some(binding) => return actor.found(binding, at).await,
                // It is there no more: the head knows of another place, or soon will.
                None => after = located.placement,
            }
        }
    }

    fn bind(&self, actor: &Placed, Located { placement, life, node }: Located) -> Option<Binding> {
        if life == Host::life(self) {
            return match self.hosted(actor.id) {
                Resolved::Here(inbox) => Some(Binding::Here(inbox)),
                Resolved::There(_) | Resolved::Placed(_) | Resolved::Gone(_) => None,
            };
        }
        let link = self.link(Party { node, life })?;
        Some(Binding::There(RemoteActor::new(actor.id, actor.type_key, placement, link)))
    }
}
