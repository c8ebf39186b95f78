//! The lifetimes of actors: counted by the node that spawned them, kept by handles anywhere (PROTOCOLS §3.6).
//!
//! ```text
//! last handle here gone ─▶ the host has acknowledged all that was asked of it ─▶ spawned here: the actor stops
//!                     │                                                      └▶ elsewhere: its spawner's node is told
//!                     └─ of an actor that is known to have ended: at once, and nothing is to stop
//! ```
//!
//! So tells that were sent by a handle that is gone stand in the mailbox before the actor stops (PROTOCOLS §3.5).

use std::sync::{Arc, Weak};

use super::core::refs::{Effects, Hold as Held};
use super::objects::State;
use super::runtime::Node;
use crate::actor::ending::End;
use crate::actor::inbox::Host;
use crate::actor::lifetime::{At, Keeps, LetGo, Lifetime, Placed};
use crate::actor::mailbox::Then;
use crate::actor::remote::ask;
use crate::directory::message::How;
use crate::directory::request;
use crate::id::{ActorId, Key, Life};
use crate::limits::COUNTED_THINGS;
use crate::wire::bytes::List;
use crate::wire::codec::Hold;
use crate::wire::packet::{Count, Counted, Ref};

impl State {
    fn lifetime(&self, actor: ActorId) -> Option<Arc<Lifetime>> {
        self.lifetimes.get(&actor).and_then(Weak::upgrade)
    }

    /// The lifetime of an actor that another life counts, of which this node has one hold more.
    fn borrow_actor(
        &mut self,
        (actor, type_key): (ActorId, Key),
        at: At,
        host: &Arc<dyn Host>,
        effects: &mut Effects<Hold>,
    ) -> Option<Arc<Lifetime>> {
        let Held::Taken = self.refs.hold(Counted::Actor(actor), effects) else { return None };
        let lifetime = Lifetime::new((actor, type_key), Placed::BySpawner, self.refs.life(), host);
        lifetime.is_at(at);
        self.lifetimes.insert(actor, Arc::downgrade(&lifetime));
        Some(lifetime)
    }

    /// What a handle keeps that a packet brought; none if it is lost.
    pub(super) fn actor_arrived(
        &mut self,
        from: Life,
        (actor, type_key): (ActorId, Key),
        at: At,
        host: &Arc<dyn Host>,
        effects: &mut Effects<Hold>,
    ) -> Option<Hold> {
        match self.refs.arrived(from, Counted::Actor(actor), effects) {
            Held::Own(token) => return Some(token),
            Held::Lost(_) => return None,
            Held::Taken => {}
        }
        let known = self.lifetime(actor);
        let lifetime = known.or_else(|| self.borrow_actor((actor, type_key), at, host, effects));
        // The packet's own hold: the lifetime has one now.
        self.refs.unhold(Counted::Actor(actor), effects);
        Some(lifetime?)
    }

    /// Lets actors of this node be counted that are claimed: no other node may hold them yet. Gives what keeps them
    /// meanwhile, for [`State::claimed`].
    pub(super) fn claimable(&mut self, counts: &List<'_, Count>) -> Vec<(Counted, Hold)> {
        let mut left = COUNTED_THINGS;
        let mut found = Vec::new();
        for Count { first, run, .. } in counts.iter() {
            let steps = u64::from(run).min(left);
            left -= steps;
            for counted in (0..steps).filter_map(|step| first.step(step)) {
                if let Counted::Actor(actor) = counted
                    && actor.life == self.refs.life()
                    && let Some(lifetime) = self.lifetime(actor)
                {
                    let token: Hold = lifetime;
                    self.refs.contain(counted, &token);
                    found.push((counted, token));
                }
            }
        }
        found
    }

    /// They are counted, or were not to be.
    pub(super) fn claimed(&mut self, claimed: &[(Counted, Hold)], effects: &mut Effects<Hold>) {
        for (counted, _) in claimed {
            self.refs.unhold(*counted, effects);
        }
    }

    /// Forgets a lifetime that is over; whether it was of this life of the node.
    fn forget_lifetime(&mut self, gone: &LetGo, effects: &mut Effects<Hold>) -> bool {
        if gone.counted_in != self.refs.life() {
            return false;
        }
        // Another may have taken its place meanwhile.
        if self.lifetimes.get(&gone.actor).is_some_and(|lifetime| lifetime.strong_count() == 0) {
            self.lifetimes.remove(&gone.actor);
        }
        if gone.actor.life != gone.counted_in {
            self.refs.unhold(Counted::Actor(gone.actor), effects);
        }
        true
    }
}

impl Node {
    /// The lifetime of an actor that this node spawns.
    pub(crate) fn own_actor(&self, actor: ActorId, type_key: Key, placed: Placed) -> Arc<Lifetime> {
        let host: Arc<dyn Host> = self.shared();
        let lifetime = Lifetime::new((actor, type_key), placed, actor.life, &host);
        self.count(|state, _| {
            if state.refs.life() == actor.life {
                state.lifetimes.insert(actor, Arc::downgrade(&lifetime));
            }
        });
        lifetime
    }

    /// What one more handle keeps of an actor that no counted handle named.
    pub(crate) fn keep_actor(&self, actor: ActorId, type_key: Key, at: At) -> Keeps {
        let host: Arc<dyn Host> = self.shared();
        let kept = self.count(|state, effects| {
            let known = state.lifetime(actor);
            match actor.life == state.refs.life() {
                true => known,
                false => known.or_else(|| state.borrow_actor((actor, type_key), at, &host, effects)),
            }
        });
        kept.map_or(Keeps::Weak, Keeps::Counted)
    }

    /// What keeps the actors whose handles the head was given: those who gave them hold them until the actor is made.
    pub(super) fn keep_named(&self, refs: &[Ref]) -> Vec<Option<Hold>> {
        let keep = |reference: &Ref| match (reference.counted(), *reference) {
            (Some(Counted::Actor(actor)), Ref::Actor { type_key, host, placement, .. }) => {
                let keeps = self.keep_actor(actor, type_key, At { host, placement });
                keeps.to_wire().1
            }
            _ => None,
        };
        refs.iter().map(keep).collect()
    }

    /// The last handle here is gone.
    pub(super) fn let_actor_go(&self, gone: LetGo) {
        let link = if gone.at.host == self.last_life() { None } else { self.links().get(gone.at.host) };
        let Some(link) = link else { return self.give_actor_back(gone) };
        if gone.at.placement.is_by_spawner() && self.reached(gone.actor).is_some_and(|actor| actor.has_ended()) {
            self.count(|state, effects| state.forget_lifetime(&gone, effects));
            return;
        }
        let node = Arc::downgrade(&self.shared());
        link.after_acknowledged(Box::new(move || {
            if let Some(node) = node.upgrade() {
                node.give_actor_back(gone);
            }
        }));
    }

    fn give_actor_back(&self, gone: LetGo) {
        let counted = self.count(|state, effects| state.forget_lifetime(&gone, effects));
        if counted && gone.actor.life == gone.counted_in {
            self.stop_unheld(gone);
        }
    }

    /// Nobody holds an actor that this node spawned: it stops, and what stands in its mailbox runs first.
    fn stop_unheld(&self, LetGo { actor, type_key, at, placed, .. }: LetGo) {
        if placed == Placed::ByHead {
            let asking = self.client().ask(request::End { actor, how: How::Stop });
            self.runtime().spawn(async move { drop(asking.await) });
            return;
        }
        if at.host == self.last_life() {
            if let Some(hosted) = self.actors().get(actor).filter(|hosted| hosted.placement() == at.placement) {
                hosted.stop(Then::Over);
            }
            return;
        }
        let Some(link) = self.link_to(at.host) else { return };
        if let Ok(asked) = ask::end(&self.reach(actor, type_key, at.placement, link), End::Stop, None, None) {
            // Until it is answered, its stream stays open.
            self.runtime().spawn(async move { drop(asked.answer.await) });
        }
    }
}
