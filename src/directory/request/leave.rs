//! `Leave`: a life ends by its own will. Also how every life ends: journal, tell the members, only then place again what
//! restarts and free names and resources (§2.4, §2.5, L3).

use crate::clock::Moment;
use crate::directory::actors::{Actor, Actors, Phase, Waiting};
use crate::directory::elders::ELDEST;
use crate::directory::grants::ClaimId;
use crate::directory::lives::Living;
use crate::directory::message::{How, News};
use crate::directory::record::Record;
use crate::directory::request::{Arguments, Change, Gone};
use crate::directory::room::BundleId;
use crate::directory::state::{Directory, Door, Effects};
use crate::id::{ActorId, Life};
use crate::schedule::{Fit, Offer, Requirement};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A node ends its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Which.
    pub life: Life,
}

/// Why a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LifeEnd {
    /// It left.
    #[error("it left the cluster")]
    Left,
    /// A process of its machine saw it dead.
    #[error("its process died, as node life {by} saw")]
    Proved {
        /// Who saw it.
        by: Life,
    },
    /// Its lease ran out.
    #[error("it was silent for its whole lease")]
    Silence,
    /// Its node began a later one.
    #[error("its node joined anew")]
    JoinedAnew,
    /// It ended longer ago than is remembered.
    #[error("it ended before this head remembers")]
    Forgotten,
}

impl Actor {
    pub(super) fn may_be_placed_again(&self) -> bool {
        self.ending.is_none() && self.restarts_left > 0 && self.spawn.arguments != Arguments::Held
    }
}

impl Directory {
    pub(in crate::directory) fn leave(&mut self, now: Moment, door: Door, leave: Leave, effects: &mut Effects) {
        if self.lives.of_node(door.node) == Some(leave.life) {
            self.lives.attach(leave.life, door.id);
            self.end_life(now, leave.life, LifeEnd::Left, effects);
        } else {
            self.say(door.id, News::Ended { life: leave.life, why: LifeEnd::Left }, effects);
        }
    }

    pub(in crate::directory) fn end_life(&mut self, now: Moment, life: Life, why: LifeEnd, effects: &mut Effects) {
        let Some(ended) = self.lives.get(life) else { return };
        let node = ended.join.node;
        effects.journal(Record::NodeEnded { life, why });
        self.tell(life, News::Ended { life, why }, effects);
        self.leases.forget(life);
        let owned = Actors::of_spawner(&self.actors.all, life);
        let Some(ended) = self.lives.remove(life) else { return };
        self.members.log(Change::Ended { life, node, why });
        // All know of the end before anything is ended or given away that was the life's: what it sent them on its way is refused
        // then. Of those that had nothing anywhere, many that leave together are told of together.
        let reserved = Actors::of_spawner(&self.actors.reservations, life);
        let groups = self.groups.owned_by(life).into_iter().next();
        if !(ended.is_unused() && owned.is_empty() && reserved.is_empty() && groups.is_none()) {
            self.push_members_now(now, effects);
        }
        for actor in ended.answers.waited_for() {
            self.forget_asker(actor, life);
        }
        for actor in &ended.reserved {
            self.actors.reservations.remove(actor);
        }
        let grants = ended.lent.union(&ended.held).copied().collect();
        self.end_grants_of(life, grants, effects);
        self.end_groups_of(life, effects);
        self.trusts.end_life(life);
        self.vacate_reservations(life, effects);
        for actor in owned {
            self.end_owned(actor, effects);
        }
        for actor in ended.hosted {
            self.host_ended(actor, Gone::NodeEnded { life, why }, effects);
        }
    }

    /// Its spawner's life ended: so does the actor, unless it is detached.
    fn end_owned(&mut self, id: ActorId, effects: &mut Effects) {
        if self.actors.all.get(&id).is_some_and(|actor| !actor.spawn.detached) {
            self.end_actor(id, How::Kill, Gone::OwnerEnded { life: id.life }, effects);
        }
    }

    /// Its host's life ended, or no longer has it: it is placed again if it may be, else it is gone.
    pub(in crate::directory) fn host_ended(&mut self, id: ActorId, why: Gone, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        if !actor.may_be_placed_again() {
            self.gone(id, why, effects);
            return;
        }
        actor.restarts_left -= 1;
        self.put_elsewhere(id, effects);
    }

    /// Its host is about to leave, and has let it come to its end there: no restart is spent.
    pub(super) fn moves_on(&mut self, id: ActorId, why: Gone, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get(&id) else { return };
        if !actor.may_be_placed_again() {
            return self.gone(id, why, effects);
        }
        let (placement, restarts) = (actor.placement, actor.restarts_left);
        effects.journal(Record::Unplaced { actor: id, placement, restarts });
        self.put_elsewhere(id, effects);
    }

    fn put_elsewhere(&mut self, id: ActorId, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get(&id) else { return };
        let need = actor.need.clone();
        if let Some(seat) = actor.seat() {
            self.leave_seat(seat, id, &need);
            if let Some(actor) = self.actors.all.get_mut(&id) {
                (actor.phase, actor.keeper) = (Phase::Unplaced(0), None);
            }
            self.put(id, effects);
            self.fill(seat.room, effects);
        }
    }

    fn forget_asker(&mut self, id: ActorId, life: Life) {
        if let Some(actor) = self.actors.all.get_mut(&id) {
            actor.askers.retain(|asker| asker.life != life);
        }
    }

    /// Gives back what was reserved for an ephemeral actor, or takes it out of its line.
    pub(in crate::directory) fn release(&mut self, id: ActorId, effects: &mut Effects) {
        let Some(reservation) = self.actors.reservations.remove(&id) else { return };
        match reservation.place {
            Err(ticket) => self.actors.lines.leave(&reservation.need, ticket),
            Ok(host) => {
                self.vacate(host, id, &reservation.need);
                self.fill(host, effects);
            }
        }
    }

    /// Places what waits and fits on `life`, which has new room: actors, and before them classes of tasks that hold
    /// nothing and have waited for longer. What is left is for [`Directory::allot`] to give.
    pub(in crate::directory) fn fill(&mut self, life: Life, effects: &mut Effects) {
        self.grants.due = true;
        while !self.actors.lines.is_empty() {
            let Some((ticket, need)) = self.first_for(life) else { return };
            if self.feed_older(life, ticket, effects) {
                continue;
            }
            match self.actors.lines.take(&need, ticket) {
                Some(Waiting::Actor(actor)) => self.place_on(actor, life, ticket, effects),
                Some(Waiting::Reservation(actor)) => self.reserve_on(actor, life, ticket, effects),
                None => return,
            }
        }
    }

    /// The ticket and need of who is first to have something on `life`.
    fn first_for(&self, life: Life) -> Option<(u64, Arc<Requirement>)> {
        let living = self.lives.get(life)?;
        let will_do = |ticket: u64, need: &Requirement| living.will_do(life, need, ticket);
        if living.open() {
            return self.actors.lines.first(|_| true, will_do);
        }
        let asks = |what| match what {
            Waiting::Reservation(id) => id.life == life,
            Waiting::Actor(id) => self.actors.all.get(&id).and_then(Actor::asked_by) == Some(life),
        };
        living.open_to_itself().then(|| self.actors.lines.first(asks, will_do))?
    }

    /// One slot for a class that holds nothing and has waited for longer than `ticket`.
    fn feed_older(&mut self, life: Life, ticket: u64, effects: &mut Effects) -> bool {
        let older: Vec<ClaimId> = self.grants.hungry.range(..ticket).map(|(_, claim)| *claim).collect();
        older.into_iter().any(|id| {
            let Some(need) = self.grants.claims.get(&id).map(|claim| claim.need.clone()) else { return false };
            let takes = |living: &&Living| self.obeys(id.0) && (living.open() || id.0 == life);
            let Some(living) = self.lives.get(life).filter(takes) else { return false };
            let fitting = |(offer, bundle): (Offer<'_>, Option<BundleId>)| match need.fit(&offer) {
                Fit::Now(_) if living.join.advertised.makes(&need) => Some(bundle),
                _ => None,
            };
            let fits = living.offers(life, &need, ELDEST).find_map(fitting);
            fits.is_some_and(|bundle| self.lend(id, life, bundle, 1, effects))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::message::Members;
    use crate::directory::request::{Ended, Locate, LocateError, Located, Spawn};
    use crate::directory::state::{Effect, Event};
    use crate::directory::testing::{Head, choose, name, spawn};
    use crate::directory::{FromHead, ToHead};
    use crate::id::Placement;

    fn leaves(head: &mut Head, life: Life) -> Vec<Effect> {
        let door = head.doors[&life];
        head.apply(Event::Said(door, ToHead::Leave(Leave { life })))
    }

    #[test]
    fn l3_nothing_is_placed_again_before_the_end_is_journaled_and_told() {
        let mut head = Head::new();
        let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(3));
        let (actor, host, placement) = head.spawned(Spawn { restarts: 1, ..spawn(driver, 1) });
        assert_eq!(host, first);
        let effects = leaves(&mut head, first);
        let at = |wanted: &dyn Fn(&Effect) -> bool| effects.iter().position(wanted).expect("an effect");
        let ended = at(&|effect| *effect == Effect::Journal(Record::NodeEnded { life: first, why: LifeEnd::Left }));
        let told = at(&|effect| {
            matches!(effect, Effect::Send(_, FromHead { news: News::Members(Members::Changes { .. }), .. }))
        });
        let placed = at(&|effect| matches!(effect, Effect::Journal(Record::Placed { host, .. }) if *host == second));
        let ordered = at(&|effect| matches!(effect, Effect::Send(_, FromHead { news: News::Order(_), .. })));
        assert!(ended < told && told < placed && placed < ordered, "{effects:?}");
        let located = head.asks(driver, Locate { actor, after: placement });
        assert_eq!(head.reply(located), None, "answered once it is made");
        head.obeys(actor);
        let node = crate::directory::testing::node(2);
        assert_eq!(
            head.answer::<Locate>(located),
            Some(Ok(Located { placement: placement.next(), life: second, node }))
        );
    }

    #[test]
    fn an_actor_ends_with_its_spawner_unless_detached() {
        let mut head = Head::new();
        let (_, driver) = (head.worker(1), head.driver(3));
        let (owned, host, placement) = head.spawned(Spawn { name: Some(name("owned")), ..spawn(driver, 1) });
        let (detached, ..) = head.spawned(Spawn { detached: true, ..spawn(driver, 2) });
        leaves(&mut head, driver);
        head.obeys(owned);
        assert_eq!(head.gone(owned), Some(Gone::OwnerEnded { life: driver }));
        assert_eq!((head.gone(detached), head.summary().names), (None, 0));
        assert!(head.asked(host, Ended { actor: owned, placement, why: Gone::Stopped }).is_err());
    }

    #[test]
    fn without_restarts_left_the_actor_ends_with_its_node_and_the_name_is_free() {
        let mut head = Head::new();
        let (first, _second, driver) = (head.worker(1), head.worker(2), head.driver(3));
        let (actor, host, _) = head.spawned(Spawn { name: Some(name("a")), ..spawn(driver, 1) });
        assert_eq!(host, first);
        leaves(&mut head, first);
        let gone = Gone::NodeEnded { life: first, why: LifeEnd::Left };
        assert_eq!(head.asked(driver, Locate { actor, after: Placement(0) }), Err(LocateError::Ended(gone)));
        head.spawned(Spawn { name: Some(name("a")), ..spawn(driver, 2) });
    }

    #[test]
    fn a_head_whose_journal_ends_with_a_nodes_end_knows_why_its_actors_ended() {
        let mut head = Head::new();
        let (first, driver) = (head.worker(1), head.driver(3));
        let (actor, ..) = head.spawned(spawn(driver, 1));
        leaves(&mut head, first);
        let ended = Record::NodeEnded { life: first, why: LifeEnd::Left };
        let torn = head.journal.iter().position(|record| *record == ended).expect("journaled");
        head.journal.truncate(torn + 1);
        let mut head = head.restarted();
        head.rejoins(driver, 3);
        let gone = Gone::NodeEnded { life: first, why: LifeEnd::Left };
        assert_eq!(head.asked(driver, Locate { actor, after: Placement(0) }), Err(LocateError::Ended(gone)));
    }

    #[test]
    fn what_a_life_reserved_or_hosted_is_free_when_it_ends() {
        let mut head = Head::new();
        let (worker, one, other) = (head.worker(1), head.driver(2), head.driver(3));
        assert!(head.asked(one, choose(one, 1, 2.0)).is_ok());
        let waits = head.asks(other, choose(other, 1, 2.0));
        assert_eq!(head.reply(waits), None);
        leaves(&mut head, one);
        head.obeys(ActorId { life: one, serial: 1 });
        assert!(head.reply(waits).is_some(), "the room goes to who waits");
        leaves(&mut head, worker);
        assert_eq!((head.summary().reservations, head.summary().waiting), (0, 0));
    }
}
