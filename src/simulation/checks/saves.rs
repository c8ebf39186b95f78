//! L6: what was saved of actors, what of it the head keeps, of what they were made again.

use super::{Checked, Rule, hold};
use crate::directory::Record;
use crate::id::{ActorId, Placement};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What was saved: by which placement, as which of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Save {
    pub(crate) placement: Placement,
    pub(crate) number: u64,
}

impl Save {
    /// The state that is saved: which it is.
    pub(crate) fn encoded(self) -> Bytes {
        [self.placement.0.to_be_bytes(), self.number.to_be_bytes()].concat().into()
    }

    pub(crate) fn decoded(bytes: &[u8]) -> Option<Save> {
        let (placement, number) = bytes.split_at_checked(8)?;
        let placement = Placement(u64::from_be_bytes(placement.try_into().ok()?));
        Some(Save { placement, number: u64::from_be_bytes(number.try_into().ok()?) })
    }
}

/// What is known of one actor.
#[derive(Debug, Default)]
struct History {
    saved: BTreeSet<Save>,
    /// Those that were saved when a later placement had begun.
    late: BTreeSet<Save>,
    /// The last of each placement that the head has acknowledged.
    kept: BTreeMap<Placement, u64>,
    /// Of what each placement was made.
    made_of: BTreeMap<Placement, Option<Save>>,
    /// The last placement that is on the head's disk, and the last that was saved there.
    placed: Placement,
    on_disk: Option<Save>,
}

/// All that was saved.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    actors: BTreeMap<ActorId, History>,
    saved: u64,
    restored: u64,
}

impl Saves {
    /// How often an actor was saved, and made again of that.
    pub(crate) fn count(&self) -> (u64, u64) {
        (self.saved, self.restored)
    }

    /// What an earlier placement than this has saved last.
    pub(crate) fn before(&self, actor: ActorId, placement: Placement) -> Option<Save> {
        let saved = &self.actors.get(&actor)?.saved;
        saved.range(..Save { placement, number: 0 }).next_back().copied()
    }

    /// A record is on the head's disk.
    pub(crate) fn on_disk(&mut self, record: &Record) -> Checked {
        match record {
            Record::Placed { actor, placement, .. } => self.actors.entry(*actor).or_default().placed = *placement,
            Record::Checkpointed { actor, placement, number, state } => {
                let history = self.actors.entry(*actor).or_default();
                let (save, before) = (Save { placement: *placement, number: *number }, history.on_disk);
                let its_own = Save::decoded(state) == Some(save) && save.placement == history.placed;
                history.on_disk = Some(save);
                hold(its_own && before < Some(save), Rule::L6, || {
                    format!("{actor}: as {save:?} of {} the head keeps {state:?} after {before:?}", history.placed)
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A run saves its state.
    pub(crate) fn saves(&mut self, actor: ActorId, save: Save) -> Checked {
        let history = self.actors.entry(actor).or_default();
        self.saved += 1;
        if history.made_of.keys().next_back().is_some_and(|last| *last > save.placement) {
            history.late.insert(save);
        }
        let last = history.of(save.placement).map_or(0, |last| last.number);
        history.saved.insert(save);
        hold(save.number > last, Rule::L6, || format!("{actor} saves {save:?} after number {last}"))
    }

    /// The head has acknowledged it.
    pub(crate) fn keeps(&mut self, actor: ActorId, save: Save) -> Checked {
        let history = self.actors.entry(actor).or_default();
        let last = history.kept.entry(save.placement).or_default();
        *last = save.number.max(*last);
        let mut later = history.made_of.range(save.placement.next()..);
        let missed = later.find(|(_, of)| **of < Some(save));
        hold(missed.is_none(), Rule::L6, || format!("{actor}: {save:?} is kept, and {missed:?} was made"))
    }

    /// The head refuses it: a later run is said to have begun.
    pub(crate) fn refuses(&self, actor: ActorId, save: Save) -> Checked {
        let replaced = self.actors.get(&actor).is_some_and(|history| history.placed > save.placement);
        hold(replaced, Rule::L6, || format!("{actor}: {save:?} is refused, and nothing has replaced it"))
    }

    /// A placement is made.
    pub(crate) fn makes(&mut self, actor: ActorId, placement: Placement, of: Option<Save>) -> Checked {
        let history = self.actors.entry(actor).or_default();
        history.made_of.insert(placement, of);
        self.restored += u64::from(of.is_some());
        let what = || format!("{actor} is made of {of:?} as {placement}");
        if let Some(save) = of {
            let earlier = history.saved.contains(&save) && save.placement < placement;
            hold(earlier, Rule::L6, || format!("{}, which no earlier run has saved", what()))?;
            let late = history.late.contains(&save);
            hold(!late, Rule::L6, || format!("{}, which was saved when a later run had begun", what()))?;
        }
        let kept = history.kept.range(..placement).next_back();
        let kept = kept.map(|(placement, number)| Save { placement: *placement, number: *number });
        hold(of >= kept, Rule::L6, || format!("{}, and {kept:?} was kept", what()))
    }

    /// A run ends, and another one begins where it was.
    pub(crate) fn makes_again(&mut self, actor: ActorId, placement: Placement, of: Option<Save>) -> Checked {
        let Some(history) = self.actors.get(&actor) else { return Ok(()) };
        self.restored += u64::from(of.is_some());
        let last = history.of(placement).or(history.made_of.get(&placement).copied().flatten());
        hold(of == last, Rule::L6, || format!("{actor} is made again of {of:?}, and {last:?} was saved last"))
    }
}

impl History {
    /// What a placement saved last.
    fn of(&self, placement: Placement) -> Option<Save> {
        let all = Save { placement, number: 0 }..=Save { placement, number: u64::MAX };
        self.saved.range(all).next_back().copied()
    }
}
