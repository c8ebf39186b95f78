//! Who may ask a holder for ranges of an object: a place for each pull that is served, a few for each object. The others are told
//! that the holder is busy, and find one among those that were served before them.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::id::ObjectId;
use crate::limits::{HOLDER_PULLS, PULL_IDLE};

/// The places of one holder, by session.
#[derive(Debug, Default)]
pub struct Places {
    taken: BTreeMap<ObjectId, Vec<Place>>,
    /// At how many objects it is looked for places that were left.
    sweep_at: usize,
}

#[derive(Debug)]
struct Place {
    session: u64,
    /// Asks that are not answered yet.
    asks: usize,
    last: Moment,
}

impl Place {
    fn is_left(&self, now: Moment) -> bool {
        self.asks == 0 && now.since(self.last) >= PULL_IDLE
    }
}

impl Places {
    /// Somebody asks for a range; whether he is served. If so, [`Places::answered`] follows.
    #[must_use]
    pub fn ask(&mut self, now: Moment, object: ObjectId, session: u64) -> bool {
        if self.taken.len() >= self.sweep_at {
            self.sweep(now);
        }
        let places = self.taken.entry(object).or_default();
        let own = places.iter().position(|place| place.session == session);
        let at = match own {
            Some(at) => at,
            None if places.len() < HOLDER_PULLS => {
                places.push(Place { session, asks: 0, last: now });
                places.len() - 1
            }
            None => {
                // One that has fallen silent in the middle of its pull comes again, and finds a place or another holder.
                let Some(at) = places.iter().position(|place| place.is_left(now)) else { return false };
                places[at] = Place { session, asks: 0, last: now };
                at
            }
        };
        places[at].asks += 1;
        places[at].last = now;
        true
    }

    /// An ask was answered, or its session is over.
    pub fn answered(&mut self, now: Moment, object: ObjectId, session: u64) {
        let places = self.taken.get_mut(&object);
        if let Some(place) = places.and_then(|places| places.iter_mut().find(|place| place.session == session)) {
            place.asks = place.asks.saturating_sub(1);
            place.last = now;
        }
    }

    /// Pulls whose end nobody told: the more there are, the seldomer all are looked at.
    fn sweep(&mut self, now: Moment) {
        self.taken.retain(|_, places| {
            places.retain(|place| !place.is_left(now));
            !places.is_empty()
        });
        self.sweep_at = 2 * self.taken.len() + 16;
    }

    /// A pull is over.
    pub fn end(&mut self, object: ObjectId, session: u64) {
        if let Some(places) = self.taken.get_mut(&object) {
            places.retain(|place| place.session != session);
            if places.is_empty() {
                self.taken.remove(&object);
            }
        }
    }

    /// A session is over, and all its pulls.
    pub fn closed(&mut self, session: u64) {
        self.taken.retain(|_, places| {
            places.retain(|place| place.session != session);
            !places.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Life;

    const OBJECT: ObjectId = ObjectId { life: Life(1), serial: 1 };

    #[test]
    fn a_holder_serves_a_few_pulls_of_an_object_at_once_and_whoever_comes_when_one_is_over() {
        let (mut places, now) = (Places::default(), Moment(0));
        for session in 0..HOLDER_PULLS as u64 {
            assert!(places.ask(now, OBJECT, session) && places.ask(now, OBJECT, session));
        }
        assert!(!places.ask(now, OBJECT, 99));
        assert!(places.ask(now, ObjectId { serial: 2, ..OBJECT }, 99), "another object has places of its own");
        places.end(OBJECT, 0);
        assert!(places.ask(now, OBJECT, 99));
        assert!(!places.ask(now, OBJECT, 0));
        places.closed(1);
        assert!(places.ask(now, OBJECT, 0));
        [0, 99].into_iter().for_each(|session| places.closed(session));
        assert!(places.taken.is_empty(), "what nobody pulls takes no memory");
    }

    #[test]
    fn places_of_pulls_whose_end_nobody_told_do_not_add_up() {
        let mut places = Places::default();
        for serial in 0..10_000 {
            let (now, object) = (Moment(0) + PULL_IDLE * serial, ObjectId { life: Life(1), serial: serial.into() });
            assert!(places.ask(now, object, 1));
            places.answered(now, object, 1);
            assert!(places.taken.len() <= 18, "{} objects", places.taken.len());
        }
    }

    #[test]
    fn a_pull_that_asks_for_nothing_leaves_its_place_and_one_that_waits_for_an_answer_does_not() {
        let (mut places, now) = (Places::default(), Moment(0));
        for session in 0..HOLDER_PULLS as u64 {
            assert!(places.ask(now, OBJECT, session));
        }
        let later = now + PULL_IDLE;
        assert!(!places.ask(later, OBJECT, 99));
        places.answered(now, OBJECT, 0);
        assert!(!places.ask(now, OBJECT, 99));
        assert!(places.ask(later, OBJECT, 99));
        places.answered(later, OBJECT, 0);
        assert!(!places.ask(later, OBJECT, 0), "it has to find another");
    }
}
