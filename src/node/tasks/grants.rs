//! What the head says of this node's grants, what ends them, and what a new head is told of them.

use std::sync::Arc;

use super::host::is_local;
use super::owner::{Held, Queued};
use crate::actor::error::Executed;
use crate::directory::request::{GiveBack, Granted, Holding, Holdings, Revoked};
use crate::id::{Epoch, GrantId, Life};
use crate::node::runtime::Node;
use crate::object::error::GetError;

impl Node {
    /// The head gives slots.
    pub(in crate::node) fn granted(self: &Arc<Self>, granted: Granted, epoch: Epoch) {
        let Granted { grant, class, life, node, slots, size, bundle } = granted;
        let held = Held { node, life, slots, size, bundle, epoch, told: false };
        let taken = self.own(|state, now| {
            let known = state.classes.len() > class.0 as usize && !state.closed;
            if known {
                state.grants.insert(grant, held);
                state.queue.granted(now, grant, class, life, slots);
            }
            known
        });
        if !taken {
            self.client().report(GiveBack { grant, keep: 0 });
        }
    }

    /// The head wants slots back.
    pub(in crate::node) fn grant_recalled(self: &Arc<Self>, grant: GrantId, keep: u32) {
        self.own(|state, _| state.queue.recall(grant, keep));
    }

    /// The head ends a grant at once.
    pub(in crate::node) fn grant_revoked(self: &Arc<Self>, grant: GrantId, why: Revoked) {
        let held = self.tasks().owner.state.lock().grants.get(&grant).cloned();
        let lost = self.lose_grant(grant);
        let Some(held) = held else { return };
        if held.told {
            self.tell_terms(grant, &Held { slots: 0, ..held });
        }
        if let Revoked::GroupRemoved(_) = why {
            let executed = Executed::Maybe;
            lost.iter().for_each(|queued| {
                queued.task.fail(GetError::Call { message: why.to_string(), executed });
            });
        }
    }

    /// A grant is over. What was sent under it is answered by its node, or fails with its life; gives that. The rest goes
    /// elsewhere.
    pub(super) fn lose_grant(self: &Arc<Self>, grant: GrantId) -> Vec<Queued> {
        let lost = self.own(|state, _| {
            state.grants.remove(&grant);
            state.queue.lost(grant)
        });
        let (sent, unsent): (Vec<Queued>, Vec<Queued>) =
            lost.into_iter().map(|(_, queued)| queued).partition(|queued| queued.sent);
        unsent.into_iter().for_each(|queued| self.enqueue_again(queued));
        sent
    }

    /// Lives have ended, and with them the grants on them.
    pub(super) fn lose_grants(self: &Arc<Self>, ended: impl Fn(Life) -> bool) {
        let grants: Vec<GrantId> = {
            let state = self.tasks().owner.state.lock();
            let mut gone: Vec<_> =
                state.grants.iter().filter(|(_, held)| ended(held.life)).map(|(grant, _)| *grant).collect();
            gone.sort_unstable();
            gone
        };
        for grant in grants {
            self.lose_grant(grant);
        }
    }

    /// What this node holds, and what is granted here, for the head of this epoch, which is new.
    pub(in crate::node) fn holdings(&self, epoch: Epoch) -> Holdings {
        let lent = self.tasks().host.lendings(epoch);
        let state = self.tasks().owner.state.lock();
        let real = state.queue.held().filter(|held| !is_local(held.grant));
        let held =
            real.map(|held| Holding { grant: held.grant, class: held.class, life: held.life, slots: held.slots });
        Holdings { held: held.collect(), lent, bundled: Vec::new() }
    }

    /// A new head, or a new life: it is told all that is wanted.
    pub(in crate::node) fn want_anew(self: &Arc<Self>) {
        self.own(|state, _| state.queue.new_head());
    }
}
