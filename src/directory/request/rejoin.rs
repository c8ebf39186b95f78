//! `Rejoin`: a head has started anew, and a life of an earlier reign says what runs there (§2.7). Where both differ, the
//! head's journal decides which placement counts and the node decides what still runs.

use crate::clock::Moment;
use crate::directory::actors::{Actor, Phase, Reservation};
use crate::directory::message::{Command, How, News};
use crate::directory::request::{ActorType, Beat, Ended, Gone, Holdings, Host, LifeEnd, Needs};
use crate::directory::state::{Directory, Door, Effects};
use crate::id::{ActorId, Key, Life, Placement};
use crate::schedule::Resources;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A life goes on under a new head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejoin {
    /// The beat with which it does; its orders and members are counted from zero again.
    pub beat: Beat,
    /// Actors that the head put there.
    pub hosted: Vec<Hosting>,
    /// Ephemeral actors there for which resources are reserved.
    pub reserved: Vec<(ActorId, Resources)>,
    /// Grants that it has or that are on it, and reservations that take of bundles.
    pub holdings: Holdings,
}

/// One actor that a head put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosting {
    /// Which.
    pub actor: ActorId,
    /// Under which placement.
    pub placement: Placement,
    /// How it stands.
    pub standing: Standing,
}

/// How an actor stands on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Its constructor runs, or a process of its own is being started for it.
    Making,
    /// It was made.
    Running,
    /// It has ended; no head has acknowledged that.
    Ended(Gone),
}

impl Directory {
    pub(in crate::directory) fn rejoin(&mut self, now: Moment, door: Door, rejoin: Rejoin, effects: &mut Effects) {
        let life = rejoin.beat.life;
        if rejoin.beat.epoch > self.config.reign.epoch {
            return self.abdicate(rejoin.beat.epoch, effects);
        }
        if self.lives.of_node(door.node) != Some(life) {
            let why = self.members.why_ended(life).unwrap_or(LifeEnd::Forgotten);
            return self.say(door.id, News::Ended { life, why }, effects);
        }
        let Some(living) = self.lives.get_mut(life) else { return };
        if living.known {
            return self.beat(now, door, rejoin.beat, effects);
        }
        living.known = true;
        self.succeed();
        self.lives.attach(life, door.id);
        self.hear(now, life);
        self.say(door.id, News::Beaten { life, beat: rejoin.beat.number }, effects);
        self.catch_up(life, effects);
        for (actor, resources) in rejoin.reserved {
            // In a process of its own: what that takes is taken as it is placed, of whomever it is.
            if self.actors.all.contains_key(&actor) {
                continue;
            }
            let bundled = rejoin.holdings.bundled.iter().find(|(of, _)| *of == actor).map(|(_, strategy)| *strategy);
            self.reserve_again(
                actor,
                Needs { resources, strategy: bundled.unwrap_or_default(), ..Needs::default() },
                life,
            );
        }
        self.take_over(life, rejoin.holdings, effects);
        self.compare(life, rejoin.hosted, effects);
        self.fill(life, effects);
    }

    /// An ephemeral actor's type and constructor are its spawner's affair: only what it holds counts here.
    fn reserve_again(&mut self, actor: ActorId, needs: Needs, host: Life) {
        let nameless = ActorType { key: Key(0), name: "".into() };
        let need = Arc::new(needs.of(&nameless, None));
        self.hold(actor, host, &need);
        self.actors.reservations.insert(actor, Reservation::at(host, need, nameless.name));
    }

    pub(super) fn compare(&mut self, life: Life, hosted: Vec<Hosting>, effects: &mut Effects) {
        let mut there: BTreeMap<ActorId, Hosting> =
            hosted.into_iter().map(|hosting| (hosting.actor, hosting)).collect();
        let expected: Vec<ActorId> =
            self.lives.get(life).map(|living| living.hosted.iter().copied().collect()).unwrap_or_default();
        for id in expected {
            let Some(actor) = self.actors.all.get(&id) else { continue };
            match there.remove(&id).filter(|hosting| hosting.placement == actor.placement) {
                Some(hosting) => self.confirm(life, hosting, effects),
                None if matches!(actor.phase, Phase::Placing(_)) => self.host_again(id, life, effects),
                None => self.host_ended(id, Gone::Lost, effects),
            }
        }
        for (actor, Hosting { placement, standing, .. }) in there {
            // It has not seen yet that the process which it started has joined.
            let has_come = |actor: &Actor| actor.keeper == Some(life) && actor.placement == placement;
            let has_come = self.actors.all.get(&actor).is_some_and(has_come);
            if !has_come && !matches!(standing, Standing::Ended(_)) {
                self.order(life, Command::End { actor, placement, how: How::Kill, why: Gone::Lost }, effects);
            }
        }
    }

    fn confirm(&mut self, life: Life, hosting: Hosting, effects: &mut Effects) {
        let Hosting { actor: id, placement, standing } = hosting;
        match standing {
            Standing::Ended(why) => {
                // Its placement was just compared, so the report counts.
                let _counted = self.ended(life, Ended { actor: id, placement, why }, effects);
                return;
            }
            Standing::Running
                if self
                    .actors
                    .all
                    .get(&id)
                    .is_some_and(|actor| matches!(actor.phase, Phase::Placing(_)) && actor.is_made_there()) =>
            {
                self.made(id, life, effects);
            }
            Standing::Running | Standing::Making => {}
        }
        self.end_again(id, life, effects);
    }

    fn host_again(&mut self, id: ActorId, life: Life, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get(&id) else { return };
        let (placement, restarts, saved) = (actor.placement, actor.restarts_left, actor.saved_state());
        let host = Host { placement, restarts, spawn: actor.spawn.clone(), saved };
        if actor.ending.is_some() {
            return self.host_ended(id, Gone::Lost, effects);
        }
        self.order(life, Command::Host(host), effects);
    }

    fn end_again(&mut self, id: ActorId, life: Life, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get(&id) else { return };
        if let Some((how, why)) = actor.ending.clone() {
            let placement = actor.placement;
            self.order(life, Command::End { actor: id, placement, how, why }, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::state::{Effect, Event};
    use crate::directory::testing::{Head, choose, cpus, spawn};
    use crate::directory::{FromHead, ToHead};

    #[test]
    fn nothing_is_granted_on_a_node_before_it_has_rejoined_and_what_it_holds_is_held_again() {
        let mut head = Head::new();
        let (worker, driver) = (head.worker(1), head.driver(2));
        let (actor, _, placement) = head.spawned(spawn(driver, 1));
        let mut head = head.restarted();
        head.rejoins(driver, 2);
        let waits = head.asks(driver, choose(driver, 2, 1.0));
        assert_eq!(head.reply(waits), None, "the worker has not rejoined");
        let door = head.door(1);
        let told = head.beats_at(worker, door, 0);
        assert!(
            matches!(&told[..], [Effect::Send(_, FromHead { news: News::WhoAreYou { life }, .. })] if *life == worker)
        );
        let beat =
            Beat { life: worker, epoch: head.directory.reign().epoch, number: 1, orders: 0, members: 0, actors: 0 };
        let stranger = ActorId { life: driver, serial: 77 };
        let there = |actor| Hosting { actor, placement, standing: Standing::Running };
        let reserved = vec![(ActorId { life: driver, serial: 9 }, cpus(1.5))];
        let hosted = vec![there(actor), there(stranger)];
        let rejoin = Rejoin { beat, hosted, reserved, holdings: Holdings::default() };
        head.apply(Event::Said(door, ToHead::Rejoin(rejoin)));
        assert_eq!(head.reply(waits), None, "of two CPUs 1.5 are held");
        assert_eq!((head.gone(actor), head.summary().reservations), (None, 2));
        let ordered = head.ordered(stranger).map(|order| order.what);
        assert!(
            matches!(ordered, Some(Command::End { how: How::Kill, why: Gone::Lost, .. })),
            "what the head does not know ends"
        );
    }
}
