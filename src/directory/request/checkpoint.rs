//! `Checkpoint`: what was saved of an actor, kept for its next host in the place of what was saved before.
//!
//! Only the life that the actor is placed on is heard, under its present placement: what an earlier one says is refused, so
//! that nothing takes the place of what a later run has saved.

use crate::directory::actors::{Actor, Phase};
use crate::directory::record::Record;
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life, Placement};
use crate::limits::{BODY_INLINE, DIRECTORY_ARGUMENTS, KEPT_ASKED, MESSAGE_REFS};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What was saved of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The actor.
    pub actor: ActorId,
    /// The placement that saved it.
    pub placement: Placement,
    /// Which it is of those that this placement saved: it rises.
    pub number: u64,
    /// What was saved, encoded, behind its list of references; the head does not look in.
    pub state: Bytes,
}

/// The same, as the head keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub(in crate::directory) placement: Placement,
    pub(in crate::directory) number: u64,
    pub(in crate::directory) state: Bytes,
}

/// What of these actors is needed that lies with the asker? At most [`KEPT_ASKED`](crate::limits::KEPT_ASKED) at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StillKept {
    /// The actors.
    pub actors: Vec<ActorId>,
}

/// What is needed of an actor that may be placed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSaved {
    /// Its present placement: what that saved later is about to be known.
    pub placement: Placement,
    /// The last that is known: who saved it, and which of those it is.
    pub saved: Option<(Placement, u64)>,
}

/// Why it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum NotKept {
    /// There is no such actor, or no more.
    #[error("the head does not know this actor")]
    NotKnown,
    /// The actor was placed again, or has saved something later.
    #[error("a later run of the actor has begun")]
    Stale,
    /// Beyond what a message may hold.
    #[error("what was saved is {bytes} bytes; the head keeps {limit} for an actor")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The head holds as much as it can.
    #[error("the head keeps as many bytes of its actors as it can")]
    Full,
}

/// The most that is kept: a body and its references.
const MOST: usize = BODY_INLINE + MESSAGE_REFS * 64;

impl Directory {
    pub(in crate::directory) fn checkpoint(
        &mut self,
        life: Life,
        checkpoint: Checkpoint,
        effects: &mut Effects,
    ) -> Result<(), NotKept> {
        let Checkpoint { actor: id, placement, number, state } = checkpoint;
        let actor = self.actors.all.get(&id).ok_or(NotKept::NotKnown)?;
        if actor.placement != placement || actor.host() != Some(life) {
            return Err(NotKept::Stale);
        }
        let last = actor.saved.as_ref().map(|saved| (saved.placement, saved.number));
        match last.cmp(&Some((placement, number))) {
            Ordering::Less => {}
            // It is asked again, because its answer was lost with an earlier head.
            Ordering::Equal => return Ok(()),
            Ordering::Greater => return Err(NotKept::Stale),
        }
        // Nobody will ask for it.
        if !actor.may_be_placed_again() {
            return Ok(());
        }
        let bytes = state.len();
        if bytes > MOST {
            return Err(NotKept::TooLarge { bytes, limit: BODY_INLINE });
        }
        let former = actor.saved.as_ref().map_or(0, |saved| saved.state.len());
        if self.actors.arguments - former + bytes > DIRECTORY_ARGUMENTS {
            return Err(NotKept::Full);
        }
        effects.journal(Record::Checkpointed { actor: id, placement, number, state: state.clone() });
        self.save(id, Saved { placement, number, state });
        Ok(())
    }

    /// In the order of the actors; nothing is needed of one that has ended.
    pub(in crate::directory) fn still_kept(&self, kept: &StillKept) -> Vec<Option<LastSaved>> {
        let needed = |id: &ActorId| {
            let is_made = |actor: &Actor| matches!(actor.phase, Phase::Running(_));
            let actor = self.actors.all.get(id).filter(|actor| actor.may_be_placed_again() || !is_made(actor))?;
            let saved = actor.saved.as_ref().map(|saved| (saved.placement, saved.number));
            Some(LastSaved { placement: actor.placement, saved })
        };
        kept.actors.iter().take(KEPT_ASKED).map(needed).collect()
    }

    /// It takes the place of the former.
    pub(super) fn save(&mut self, id: ActorId, saved: Saved) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        self.actors.arguments += saved.state.len();
        let former = actor.saved.replace(saved);
        self.actors.arguments -= former.map_or(0, |former| former.state.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::ToHead;
    use crate::directory::message::Command;
    use crate::directory::request::{Hosted, Leave, Spawn};
    use crate::directory::state::Event;
    use crate::directory::testing::{Head, spawn};

    fn saves(actor: ActorId, placement: Placement, number: u64, state: &'static [u8]) -> Checkpoint {
        Checkpoint { actor, placement, number, state: Bytes::from_static(state) }
    }

    fn leaves(head: &mut Head, life: Life) {
        let door = head.doors[&life];
        head.apply(Event::Said(door, ToHead::Leave(Leave { life })));
    }

    /// What the actor's host was ordered to make it of.
    fn given(head: &Head, actor: ActorId) -> Option<Bytes> {
        match head.ordered(actor).map(|order| order.what) {
            Some(Command::Host(host)) => host.saved,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_checkpoint_goes_to_the_next_host_and_an_earlier_run_is_refused() {
        let mut head = Head::new();
        let (first, _second, driver) = (head.worker(1), head.worker(2), head.driver(3));
        let (actor, host, placement) = head.spawned(Spawn { restarts: 2, ..spawn(driver, 1) });
        assert_eq!((host, given(&head, actor)), (first, None));
        assert_eq!(head.asked(first, saves(actor, placement, 1, b"one")), Ok(()));
        assert_eq!(head.asked(first, saves(actor, placement, 3, b"three")), Ok(()));
        assert_eq!(head.asked(first, saves(actor, placement, 2, b"two")), Err(NotKept::Stale), "it comes late");
        assert_eq!(head.asked(driver, saves(actor, placement, 4, b"four")), Err(NotKept::Stale), "it is not there");
        leaves(&mut head, first);
        assert_eq!(given(&head, actor).as_deref(), Some(&b"three"[..]));
        let second = head.directory.actors.all[&actor].host().unwrap();
        assert_eq!(
            head.asked(second, saves(actor, placement, 9, b"nine")),
            Err(NotKept::Stale),
            "of another placement"
        );
        assert_eq!(head.asked(second, saves(actor, placement.next(), 1, b"later")), Ok(()));
        assert_eq!(head.directory.actors.all[&actor].saved_state().as_deref(), Some(&b"later"[..]));
    }

    #[test]
    fn one_checkpoint_is_kept_and_counted_and_none_of_an_actor_that_is_not_placed_again() {
        let mut head = Head::new();
        let (host, driver) = (head.worker(1), head.driver(3));
        let (actor, _, placement) = head.spawned(Spawn { restarts: 1, ..spawn(driver, 1) });
        let before = head.directory.actors.arguments;
        assert_eq!(head.asked(host, saves(actor, placement, 1, &[7; 1_000])), Ok(()));
        assert_eq!(head.asked(host, saves(actor, placement, 2, &[7; 500])), Ok(()));
        assert_eq!(head.directory.actors.arguments, before + 500);
        let large = Checkpoint { actor, placement, number: 3, state: vec![0; MOST + 1].into() };
        assert_eq!(head.asked(host, large), Err(NotKept::TooLarge { bytes: MOST + 1, limit: BODY_INLINE }));
        head.directory.actors.arguments = DIRECTORY_ARGUMENTS;
        assert_eq!(head.asked(host, saves(actor, placement, 3, &[7; 501])), Err(NotKept::Full));
        assert_eq!(head.asked(host, saves(actor, placement, 3, &[7; 500])), Ok(()), "in the place of the former");
        head.directory.actors.arguments = before + 500;
        let (once, host, placement) = head.spawned(spawn(driver, 2));
        assert_eq!(head.asked(host, saves(once, placement, 1, b"for nobody")), Ok(()));
        assert!(head.directory.actors.all[&once].saved.is_none());
        let nobody = ActorId { life: driver, serial: 99 };
        assert_eq!(head.asked(host, saves(nobody, placement, 1, b"")), Err(NotKept::NotKnown));
    }

    #[test]
    fn what_lies_with_others_is_needed_as_long_as_the_head_knows_of_it() {
        let mut head = Head::new();
        let (first, _second, driver) = (head.worker(1), head.worker(2), head.driver(3));
        let (actor, _, placement) = head.spawned(Spawn { restarts: 1, ..spawn(driver, 1) });
        let nobody = ActorId { life: driver, serial: 99 };
        let ask = |head: &Head| head.directory.still_kept(&StillKept { actors: vec![actor, nobody] });
        let of = |placement, saved| vec![Some(LastSaved { placement, saved }), None];
        assert_eq!(ask(&head), of(placement, None));
        assert_eq!(head.asked(first, saves(actor, placement, 3, b"with another")), Ok(()));
        assert_eq!(ask(&head), of(placement, Some((placement, 3))));
        leaves(&mut head, first);
        let next = head.directory.actors.all[&actor].placement;
        assert_eq!(ask(&head), of(next, Some((placement, 3))), "its next host is being made of it");
        let second = head.directory.actors.all[&actor].host().unwrap();
        assert_eq!(head.asked(second, Hosted { actor, placement: next, made: Ok(()) }), Ok(()));
        assert_eq!(ask(&head), [None, None], "there is no next one");
    }

    #[test]
    fn a_head_that_starts_again_has_the_checkpoint_from_its_records_and_from_its_state() {
        let mut head = Head::new();
        let (host, driver) = (head.worker(1), head.driver(3));
        let (actor, _, placement) = head.spawned(Spawn { restarts: 1, ..spawn(driver, 1) });
        for number in 1..=2 {
            assert_eq!(head.asked(host, saves(actor, placement, number, b"state")), Ok(()));
        }
        let bytes = head.directory.actors.arguments;
        let state = head.directory.records();
        assert_eq!(head.asked(host, saves(actor, placement, 2, b"state")), Ok(()), "its answer was lost");
        assert_eq!(head.directory.records(), state, "it is kept already");
        let again = head.restarted();
        assert_eq!(again.directory.actors.all[&actor].saved, head_saved(placement, 2));
        assert_eq!(again.directory.actors.arguments, bytes);
        let checkpoints = state.iter().filter(|record| matches!(record, Record::Checkpointed { .. })).count();
        assert_eq!(checkpoints, 1);
        assert_eq!(again.directory.records(), state);
    }

    fn head_saved(placement: Placement, number: u64) -> Option<Saved> {
        Some(Saved { placement, number, state: Bytes::from_static(b"state") })
    }
}
