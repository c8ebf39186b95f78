//! What the head says of this node's grants, what ends them, and what a new head is told of them.

use rustc_hash::FxHashSet;
use std::sync::Arc;

use super::host::{Host, is_local};
use super::line::{Ready, refuse};
use super::owner::{Held, Queued, State};
use super::send::{own_numbers, terms};
use crate::actor::inbox::Host as _;
use crate::directory::Client;
use crate::directory::request::{GiveBack, Granted, Holding, Holdings, Revoked, WantError};
use crate::id::{Epoch, GrantId, Life};
use crate::node::runtime::Node;
use crate::object::error::GetError;
use crate::schedule::TaskNumber;

/// Of tasks whose grant is over, these have not begun on this node.
fn unsend(lost: &mut [(TaskNumber, Queued)], unbegun: &[Ready]) {
    let unbegun: FxHashSet<TaskNumber> = own_numbers(unbegun).into_iter().collect();
    for (number, queued) in lost {
        queued.sent &= !unbegun.contains(number);
    }
}

/// Tells the head, when it is dropped, that nothing runs under a grant on this node any more.
pub(super) struct Vacates {
    client: Client,
    grant: GrantId,
}

impl Drop for Vacates {
    fn drop(&mut self) {
        self.client.report(GiveBack { grant: self.grant, keep: 0 });
    }
}

impl State {
    /// Takes out a grant, and what was pushed under it.
    fn lose(&mut self, grant: GrantId) -> Vec<(TaskNumber, Queued)> {
        self.grants.remove(&grant);
        self.queue.lost(grant)
    }

    /// The same of the grants on these lives.
    fn lose_those(&mut self, ended: impl Fn(Life) -> bool) -> Vec<(TaskNumber, Queued)> {
        let gone = self.grants.iter().filter(|(_, held)| ended(held.life));
        let mut gone: Vec<GrantId> = gone.map(|(grant, _)| *grant).collect();
        gone.sort_unstable();
        gone.into_iter().flat_map(|grant| self.lose(grant)).collect()
    }
}

impl Node {
    /// The head gives slots.
    pub(in crate::node) fn granted(self: &Arc<Self>, granted: Granted, epoch: Epoch) {
        let Granted { grant, class, life, node, slots, size, bundle } = granted;
        let held = Held { node, life, slots, size: size.into(), bundle, epoch, told: false, heard: 0 };
        // An order that is said again on a new session comes after what was missed of members.
        let has_ended = self.known(|known| known.has_ended(life));
        let taken = self.own(|state, now| {
            let known = state.kind(class).is_some() && !state.closed && !has_ended;
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
        let Some(held) = held else { return };
        let (held, told) = (Held { slots: 0, ..held }, held.told);
        let lost = if held.life == self.life() {
            self.lose_here(grant, |host| host.take_terms(held.life, terms(grant, &held)))
        } else {
            let lost = self.lose_grant(grant);
            if told {
                self.tell_terms(grant, &held);
            }
            lost
        };
        if let Revoked::GroupRemoved(group) = why {
            for queued in lost {
                let removed = |executed| GetError::NotPlaced { why: WantError::NoGroup(group), executed };
                let children = self.cancel_task(queued.task.standing(), removed);
                self.cancel_all(children);
            }
        }
    }

    /// Nobody is to use a grant on this node any more: the head hears when nothing runs under it.
    pub(in crate::node) fn grant_vacated(self: &Arc<Self>, grant: GrantId) {
        let vacates = || Vacates { client: self.client().clone(), grant };
        self.lose_here(grant, |host| {
            host.vacate(grant, vacates).unwrap_or_else(|| {
                drop(vacates());
                Vec::new()
            })
        });
    }

    /// A grant is over. What was sent under it is answered by its node, or fails with its life; gives that. The rest goes
    /// elsewhere.
    pub(super) fn lose_grant(self: &Arc<Self>, grant: GrantId) -> Vec<Queued> {
        let lost = self.own(|state, _| state.lose(grant));
        self.go_elsewhere(lost)
    }

    /// The same of one on this node: what `end` gives has not begun here, and goes elsewhere, too. The queue lets go of it
    /// first. So nothing is sent under it meanwhile and refused, of which the head would be told before all has ended.
    fn lose_here(self: &Arc<Self>, grant: GrantId, end: impl FnOnce(&Host) -> Vec<Ready>) -> Vec<Queued> {
        let mut lost = self.own(|state, _| state.lose(grant));
        let unbegun = end(&self.tasks().host);
        unsend(&mut lost, &unbegun);
        refuse(unbegun);
        self.go_elsewhere(lost)
    }

    /// Of tasks whose grant is over, gives those that were sent. The rest goes elsewhere.
    fn go_elsewhere(self: &Arc<Self>, lost: Vec<(TaskNumber, Queued)>) -> Vec<Queued> {
        let (sent, unsent): (Vec<Queued>, Vec<Queued>) =
            lost.into_iter().map(|(_, queued)| queued).partition(|queued| queued.sent);
        unsent.into_iter().for_each(|queued| self.enqueue_again(queued));
        sent
    }

    /// Lives have ended, and with them the grants on them.
    pub(super) fn lose_grants(self: &Arc<Self>, ended: impl Fn(Life) -> bool) {
        let lost = self.own(|state, _| state.lose_those(ended));
        self.go_elsewhere(lost);
    }

    /// All grants are over, and what has not begun here goes elsewhere. All at once, or it would be pushed to grants that are
    /// over already.
    pub(super) fn lose_all_grants(self: &Arc<Self>) {
        let mut lost = self.own(|state, _| state.lose_those(|_| true));
        let unbegun = self.tasks().host.clear();
        unsend(&mut lost, &unbegun);
        self.go_elsewhere(lost);
        refuse(unbegun);
    }

    /// A task of this node's own was to run here, under a grant that is over: both go the way of a peer's that is refused.
    pub(super) fn refused_here(self: &Arc<Self>, grant: GrantId, number: TaskNumber, own: Option<Queued>) {
        let (known, failed, lost) = self.own(|state, _| {
            let known = state.grants.contains_key(&grant);
            let failed = state.queue.failed(number);
            (known, failed, state.lose(grant))
        });
        // Others that were sent with it are refused in turn.
        self.go_elsewhere(lost);
        if known && is_local(grant) {
            self.slot_returned(grant);
        } else if known {
            self.client().report(GiveBack { grant, keep: 0 });
        }
        if let Some(queued) = failed.or(own) {
            self.enqueue_again(queued);
        }
    }

    /// A life begins under the head of this epoch, which knows of no grant on it that earlier ones gave: this node may have
    /// heard nothing of them.
    pub(in crate::node) fn begins_under(&self, epoch: Epoch) {
        self.tasks().host.serves(epoch);
    }

    /// The head that was told last what is here.
    pub(in crate::node) fn served(&self) -> Epoch {
        self.tasks().host.served()
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
