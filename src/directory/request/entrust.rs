//! `Entrust`, `Withdraw`, `Heirs`: objects whose owners gave them to others, so that who meets an owner's end finds them
//! (§3.8).
//!
//! An object that is given is another one of its new owner, which counts as any does. The head only knows which it is, for
//! as long as its first owner keeps it, and when that has ended, for as long as the new owner lives.

use crate::directory::record::Record;
use crate::directory::state::{Directory, Effects};
use crate::id::{Life, ObjectId};
use crate::limits::{ENTRUSTED, HEIRS, OBJECT_HOPS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An owner has given an object away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entrust {
    /// The object, of the life that says so.
    pub object: ObjectId,
    /// What it is now, of its new owner.
    pub to: ObjectId,
}

/// Nobody holds it any more, while its first owner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdraw {
    /// The object, of the life that says so.
    pub object: ObjectId,
}

/// Whose objects are these now? Asked by who meets the end of their owner; at most [`HEIRS`] at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heirs {
    /// The objects.
    pub objects: Vec<ObjectId>,
}

/// Why the head does not know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum EntrustError {
    /// Another life owns it.
    #[error("object {0} is another node's to give")]
    NotOwner(ObjectId),
    /// The new owner has ended.
    #[error("node life {0}, which was to have the object, has ended")]
    Ended(Life),
    /// Too many of living owners.
    #[error("the head knows of {ENTRUSTED} objects that were given away already: let some of them go")]
    Full,
}

/// What each object is now that was given away.
#[derive(Debug, Default)]
pub(in crate::directory) struct Trusts(BTreeMap<ObjectId, ObjectId>);

impl Trusts {
    pub(in crate::directory) fn insert(&mut self, object: ObjectId, to: ObjectId) {
        self.0.insert(object, to);
    }

    pub(in crate::directory) fn remove(&mut self, object: ObjectId) -> bool {
        self.0.remove(&object).is_some()
    }

    /// What was given, and as what.
    pub(in crate::directory) fn iter(&self) -> impl Iterator<Item = (ObjectId, ObjectId)> {
        self.0.iter().map(|(object, to)| (*object, *to))
    }

    /// A life has ended: what it was given is lost, unless it gave that on.
    pub(in crate::directory) fn end_life(&mut self, life: Life) {
        let lost = |to: &ObjectId| to.life == life && !self.0.contains_key(to);
        let lost: Vec<ObjectId> = self.0.iter().filter(|(_, to)| lost(to)).map(|(object, _)| *object).collect();
        for object in lost {
            self.0.remove(&object);
        }
    }
}

impl Directory {
    pub(in crate::directory) fn entrust(
        &mut self,
        life: Life,
        entrust: Entrust,
        effects: &mut Effects,
    ) -> Result<(), EntrustError> {
        let Entrust { object, to } = entrust;
        if object.life != life {
            return Err(EntrustError::NotOwner(object));
        }
        if self.lives.get(to.life).is_none() {
            return Err(EntrustError::Ended(to.life));
        }
        // Said again by an owner that does not know whether it was heard.
        if self.trusts.0.get(&object) == Some(&to) {
            return Ok(());
        }
        if self.trusts.0.len() >= ENTRUSTED {
            self.forget_orphans(effects);
        }
        if self.trusts.0.len() >= ENTRUSTED {
            return Err(EntrustError::Full);
        }
        effects.journal(Record::Entrusted { object, to });
        self.trusts.insert(object, to);
        Ok(())
    }

    /// Those of the life that ended first of all: who held its objects has asked for them long ago.
    fn forget_orphans(&mut self, effects: &mut Effects) {
        let has_ended = |object: &&ObjectId| self.lives.get(object.life).is_none();
        let Some(first) = self.trusts.0.keys().find(has_ended).map(|object| object.life) else { return };
        let of_it = self.trusts.0.keys().filter(|object| object.life == first);
        for object in of_it.copied().collect::<Vec<ObjectId>>() {
            effects.journal(Record::Withdrawn { object });
            self.trusts.remove(object);
        }
    }

    pub(in crate::directory) fn withdraw(&mut self, life: Life, withdraw: Withdraw, effects: &mut Effects) {
        if withdraw.object.life == life && self.trusts.remove(withdraw.object) {
            effects.journal(Record::Withdrawn { object: withdraw.object });
        }
    }

    /// Those that somebody living has.
    pub(in crate::directory) fn heirs(&self, heirs: &Heirs) -> Vec<(ObjectId, ObjectId)> {
        let asked = heirs.objects.iter().take(HEIRS);
        asked.filter_map(|object| Some((*object, self.heir(*object)?))).collect()
    }

    fn heir(&self, object: ObjectId) -> Option<ObjectId> {
        let mut to = *self.trusts.0.get(&object)?;
        for _ in 0..OBJECT_HOPS {
            match self.trusts.0.get(&to) {
                Some(next) => to = *next,
                None => return self.lives.get(to.life).is_some().then_some(to),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::ToHead;
    use crate::directory::request::Leave;
    use crate::directory::state::Event;
    use crate::directory::testing::Head;

    fn of(life: Life, serial: u64) -> ObjectId {
        ObjectId { life, serial }
    }

    fn leaves(head: &mut Head, life: Life) {
        let door = head.doors[&life];
        head.apply(Event::Said(door, ToHead::Leave(Leave { life })));
    }

    fn heir(head: &mut Head, asker: Life, object: ObjectId) -> Option<ObjectId> {
        let heirs = head.asked(asker, Heirs { objects: vec![of(asker, u64::MAX), object] });
        assert!(heirs.len() <= 1 && heirs.iter().all(|(of, _)| *of == object), "nobody gave the other away");
        heirs.first().map(|(_, to)| *to)
    }

    #[test]
    fn what_was_given_is_found_after_its_owners_end_and_over_those_who_gave_it_on() {
        let mut head = Head::new();
        let (owner, first, second, reader) = (head.worker(1), head.worker(2), head.worker(3), head.driver(4));
        assert_eq!(head.asked(owner, Entrust { object: of(owner, 1), to: of(first, 1) }), Ok(()));
        assert_eq!(heir(&mut head, reader, of(owner, 1)), Some(of(first, 1)));
        leaves(&mut head, owner);
        assert_eq!(heir(&mut head, reader, of(owner, 1)), Some(of(first, 1)));
        assert_eq!(head.asked(first, Entrust { object: of(first, 1), to: of(second, 1) }), Ok(()));
        leaves(&mut head, first);
        assert_eq!(heir(&mut head, reader, of(owner, 1)), Some(of(second, 1)));
        leaves(&mut head, second);
        assert_eq!(heir(&mut head, reader, of(owner, 1)), None, "it ended with the last who had it");
    }

    #[test]
    fn only_its_owner_gives_an_object_and_only_to_the_living() {
        let mut head = Head::new();
        let (owner, other, gone) = (head.worker(1), head.worker(2), head.worker(3));
        leaves(&mut head, gone);
        let (mine, theirs) = (of(owner, 1), of(other, 1));
        let refused = |head: &mut Head, object, to| head.asked(owner, Entrust { object, to }).unwrap_err();
        assert_eq!(refused(&mut head, theirs, mine), EntrustError::NotOwner(theirs));
        assert_eq!(refused(&mut head, mine, of(gone, 1)), EntrustError::Ended(gone));
        assert_eq!(head.asked(owner, Entrust { object: mine, to: theirs }), Ok(()));
        assert_eq!(head.asked(other, Withdraw { object: mine }), Ok(()), "and only it takes it back");
        assert_eq!(heir(&mut head, other, mine), Some(theirs));
        assert_eq!(head.asked(owner, Withdraw { object: mine }), Ok(()));
        assert_eq!(heir(&mut head, other, mine), None);
    }

    #[test]
    fn a_full_table_forgets_what_the_longest_dead_had_given() {
        let mut head = Head::new();
        let (dead, living, keeper) = (head.worker(1), head.worker(2), head.worker(3));
        for serial in 1..=ENTRUSTED as u64 / 2 {
            head.directory.trusts.insert(of(dead, serial), of(keeper, serial));
            head.directory.trusts.insert(of(living, serial), of(keeper, serial));
        }
        let next = Entrust { object: of(living, 1 << 40), to: of(keeper, 1 << 40) };
        assert_eq!(head.asked(living, next), Err(EntrustError::Full));
        let again = Entrust { object: of(living, 1), to: of(keeper, 1) };
        assert_eq!(head.asked(living, again), Ok(()), "what it knows takes no room");
        leaves(&mut head, dead);
        assert_eq!(head.asked(living, next), Ok(()));
        assert_eq!(heir(&mut head, living, of(dead, 1)), None);
        assert_eq!(heir(&mut head, living, of(living, 1)), Some(of(keeper, 1)));
    }

    #[test]
    fn a_head_that_starts_again_knows_what_was_given() {
        let mut head = Head::new();
        let (owner, keeper) = (head.worker(1), head.worker(2));
        for serial in [1, 2] {
            assert_eq!(head.asked(owner, Entrust { object: of(owner, serial), to: of(keeper, serial) }), Ok(()));
        }
        assert_eq!(head.asked(owner, Withdraw { object: of(owner, 2) }), Ok(()));
        leaves(&mut head, owner);
        let head = head.restarted();
        let heirs = head.directory.heirs(&Heirs { objects: vec![of(owner, 1), of(owner, 2)] });
        assert_eq!(heirs, [(of(owner, 1), of(keeper, 1))]);
    }
}
