//! `Beat`: a life goes on (§2.2). The head counts its lease from when it hears the beat, the node from when it sent it, so
//! the node's ends first. A beat also says what arrived, so that a new session brings what an old one lost.

use crate::clock::Moment;
use crate::directory::lives::Living;
use crate::directory::message::News;
use crate::directory::request::{Change, LifeEnd};
use crate::directory::state::{Directory, Door, Effects, Keeps};
use crate::id::{Epoch, Life};
use serde::{Deserialize, Serialize};

/// A life goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Which.
    pub life: Life,
    /// The highest epoch that the node has met.
    pub epoch: Epoch,
    /// Rises with each beat of a life.
    pub number: u64,
    /// The last order obeyed in this reign.
    pub orders: u64,
    /// The version of membership known in this reign.
    pub members: u64,
    /// Actors that run there.
    pub actors: u64,
}

impl Directory {
    pub(in crate::directory) fn beat(&mut self, now: Moment, door: Door, beat: Beat, effects: &mut Effects) {
        if beat.epoch > self.config.reign.epoch {
            return self.abdicate(beat.epoch, effects);
        }
        let life = beat.life;
        if self.lives.of_node(door.node) != Some(life) {
            let why = self.members.why_ended(life).unwrap_or(LifeEnd::Forgotten);
            return self.say(door.id, News::Ended { life, why }, effects);
        }
        let moved = self.lives.get(life).is_some_and(|living| living.door != Some(door.id));
        let was_heard = self.lives.get(life).is_some_and(Living::is_heard) && self.obeys(life);
        // A sign of life, also when it comes late over an older session, where nobody reads an answer.
        self.hear(now, life);
        if !self.lives.attach(life, door.id) {
            return;
        }
        let Some(living) = self.lives.get_mut(life) else { return };
        if !living.known {
            return self.say(door.id, News::WhoAreYou { life }, effects);
        }
        living.load = beat.actors;
        living.orders.acknowledged(beat.orders);
        if moved {
            living.told = beat.members;
        }
        let missed: Vec<_> = if moved { living.orders.unacknowledged().cloned().collect() } else { Vec::new() };
        self.say(door.id, News::Beaten { life, beat: beat.number }, effects);
        // Before the orders, as they were first: what is to be ended may be of an owner that has.
        self.catch_up(life, effects);
        for order in missed {
            self.say(door.id, News::Order(order), effects);
        }
        if !was_heard {
            self.fill(life, effects);
        }
    }

    /// A life has been heard: its lease runs anew, and it is no longer suspect.
    pub(in crate::directory) fn hear(&mut self, now: Moment, life: Life) {
        let Some(living) = self.lives.get_mut(life) else { return };
        if living.keeps == Keeps::Lease {
            self.leases.heard(now, life);
        }
        if living.set_suspect(false) {
            self.members.log(Change::Back(life));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::message::Members;
    use crate::directory::state::{Effect, Event};
    use crate::directory::testing::{Head, choose, spawn};
    use crate::directory::{FromHead, ToHead};
    use crate::id::ActorId;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn l4_beats_keep_a_life_and_silence_ends_it_after_a_full_lease() {
        let mut head = Head::new();
        let (quiet, steady) = (head.worker(1), head.worker(2));
        for _ in 0..29 {
            head.pass(SECOND);
            head.beats(steady);
        }
        assert_eq!(head.summary().nodes, 2);
        assert_eq!(head.summary().suspect, 1);
        head.pass(SECOND);
        assert_eq!(head.summary().nodes, 1);
        assert!(head.journal.contains(&Record::NodeEnded { life: quiet, why: LifeEnd::Silence }));
        assert!(
            matches!(&head.beats(quiet)[..], [Effect::Send(_, FromHead { news: News::Ended { life, why: LifeEnd::Silence }, .. })] if *life == quiet)
        );
    }

    #[test]
    fn l4_a_head_that_starts_ends_no_life_before_a_full_lease() {
        let mut head = Head::new();
        let life = head.worker(1);
        head.pass(29 * SECOND);
        let mut head = head.restarted();
        head.pass(29 * SECOND);
        assert_eq!(head.summary().nodes, 1);
        head.pass(SECOND);
        assert!(head.journal.contains(&Record::NodeEnded { life, why: LifeEnd::Silence }));
    }

    #[test]
    fn l5_a_head_that_meets_a_later_epoch_stops_at_once() {
        let mut head = Head::new();
        let life = head.worker(1);
        let beat = Beat { life, epoch: Epoch(9), number: 1, orders: 0, members: 0, actors: 0 };
        let door = head.doors[&life];
        assert_eq!(head.apply(Event::Said(door, ToHead::Beat(beat))), [Effect::Abdicate(Epoch(9))]);
        assert_eq!(head.beats(life), [], "nothing is acknowledged any more");
    }

    #[test]
    fn a_new_session_brings_the_orders_and_changes_that_the_old_one_lost() {
        let mut head = Head::new();
        let (worker, driver) = (head.worker(1), head.driver(2));
        head.asks(driver, spawn(driver, 1));
        let old = head.doors[&worker];
        let door = head.door(1);
        let effects = head.beats_at(worker, door, 0);
        let at_door = |effect: &&Effect| matches!(effect, Effect::Send(to, _) if *to == door.id);
        assert_eq!(effects.iter().filter(at_door).count(), 3, "{effects:?}");
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(_, FromHead { news: News::Order(_), .. }))));
        assert!(
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Send(_, FromHead { news: News::Members(Members::All(_)), .. })))
        );
        assert_eq!(head.beats_at(worker, door, 1).len(), 1, "nothing twice on one session");
        assert_eq!(head.beats_at(worker, old, 0), [], "what an older session still brings is ignored");
        assert_eq!(head.summary().orders, 0);
    }

    #[test]
    fn what_waits_is_placed_when_a_silent_node_is_heard_again() {
        let mut head = Head::new();
        let (worker, driver) = (head.worker(1), head.driver(2));
        head.pass(6 * SECOND);
        let chosen = head.asks(driver, choose(driver, 1, 0.0));
        let spawned = head.asks(driver, spawn(driver, 2));
        assert_eq!((head.reply(chosen), head.reply(spawned)), (None, None), "nothing is placed on a suspect");
        head.beats(worker);
        assert!(head.reply(chosen).is_some());
        head.obeys(ActorId { life: driver, serial: 2 });
        assert!(head.reply(spawned).is_some());
    }

    #[test]
    fn a_closed_session_makes_suspect_and_moves_nothing() {
        let mut head = Head::new();
        let (worker, other) = (head.worker(1), head.worker(2));
        let (actor, host, _) = head.spawned(crate::directory::request::Spawn { restarts: 1, ..spawn(other, 1) });
        assert_eq!(host, worker);
        let door = head.doors[&worker];
        head.apply(Event::Closed(door.id));
        head.pass(SECOND);
        assert_eq!((head.summary().suspect, head.gone(actor)), (1, None));
        assert!(head.news_to(other).iter().any(|news| matches!(news, News::Members(Members::Changes { changes, .. }) if changes.contains(&Change::Suspect(worker)))));
        let (_, elsewhere, _) = head.spawned(spawn(other, 2));
        assert_eq!(elsewhere, other, "nothing new is placed on it");
        let door = head.door(1);
        head.beats_at(worker, door, 9);
        assert_eq!(head.summary().suspect, 0);
    }
    use crate::directory::record::Record;
}
