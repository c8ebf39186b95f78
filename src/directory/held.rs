//! What a head has to say and may not say yet, because what it follows from is not on disk.
//!
//! ```text
//! apply ─▶ records ──▶ written, in batches
//!      ├─▶ the rest, behind them ─────▶ released once they are there, in order
//!      └─▶ answers to beats ──────────▶ at once
//! ```
//!
//! A beat's answer overtakes: it says that its life goes on, which follows from the record of that life's beginning, and
//! that was on disk before its node knew of it. No record that could yet be lost makes it false, and by L4 a lease that it
//! lengthens at the node was lengthened here first. So a slow disk fences nobody. A look at the cluster overtakes as well: it
//! acknowledges nothing, and is what one wants when the disk stands.

use crate::clock::Moment;
use crate::directory::message::{FromHead, News};
use crate::directory::record::Record;
use crate::directory::state::{Directory, Effect, Effects, Event};
use crate::limits::JOURNAL_HELD;
use std::collections::VecDeque;

/// The line before a head's journal.
#[derive(Debug, Default)]
pub struct Held {
    fresh: Effects,
    /// Not yet taken to be written.
    records: Vec<Record>,
    /// How many records there were ..
    given: u64,
    /// .. and how many of them are on disk.
    written: u64,
    /// What follows from so many records.
    waiting: VecDeque<(u64, Effect)>,
}

/// What is to be written.
#[derive(Debug)]
pub struct Batch {
    /// The records.
    pub records: Vec<Record>,
    /// With these, so many are there.
    pub up_to: u64,
    /// What they are.
    pub kind: Kind,
}

/// What a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is new.
    Records,
    /// The whole state, in the place of all that is there.
    State,
}

/// As much waits as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overfull;

impl Held {
    /// Applies an event. What may be carried out at once goes to `effects`.
    ///
    /// # Errors
    /// More waits than [`JOURNAL_HELD`].
    pub fn apply(
        &mut self,
        directory: &mut Directory,
        now: Moment,
        event: Event,
        effects: &mut Effects,
    ) -> Result<(), Overfull> {
        directory.apply(now, event, &mut self.fresh);
        while let Some(effect) = self.fresh.pop() {
            match effect {
                Effect::Journal(record) => {
                    self.records.push(record);
                    self.given += 1;
                }
                // A later head reigns: nothing is acknowledged any more.
                Effect::Abdicate(_) => {
                    self.waiting.clear();
                    effects.push(effect);
                }
                effect if self.written == self.given || overtakes(&effect) => effects.push(effect),
                effect => self.waiting.push_back((self.given, effect)),
            }
        }
        if self.waiting.len() + self.records.len() > JOURNAL_HELD { Err(Overfull) } else { Ok(()) }
    }

    /// Records that were not taken yet.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many records there were so far.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given
    }

    /// What is to be written next: what is new, if anything is, or the state that it has led to.
    pub fn take(&mut self, directory: &Directory, kind: Kind) -> Option<Batch> {
        if self.records.is_empty() && kind == Kind::Records {
            return None;
        }
        let records = std::mem::take(&mut self.records);
        let records = if kind == Kind::State { directory.records() } else { records };
        Some(Batch { records, up_to: self.given, kind })
    }

    /// So many records are on disk: what follows from no more is to be carried out.
    pub fn release(&mut self, up_to: u64, effects: &mut Effects) {
        self.written = self.written.max(up_to);
        while let Some((_, effect)) = self.waiting.pop_front_if(|(after, _)| *after <= up_to) {
            effects.push(effect);
        }
    }
}

fn overtakes(effect: &Effect) -> bool {
    match effect {
        Effect::Send(_, FromHead { news, .. }) => {
            matches!(news, News::Beaten { .. } | News::WhoAreYou { .. } | News::Status { .. })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::RequestId;
    use crate::directory::ToHead;
    use crate::directory::message::Ask;
    use crate::directory::request::Beat;
    use crate::directory::testing::{Head, spawn};
    use crate::id::Life;

    fn drained(effects: &mut Effects) -> Vec<Effect> {
        std::iter::from_fn(|| effects.pop()).collect()
    }

    #[test]
    fn l3_what_follows_a_record_waits_for_it_and_a_beats_answer_for_nothing() {
        let mut head = Head::new();
        let (worker, driver) = (head.worker(1), head.driver(2));
        let (mut held, mut effects) = (Held::default(), Effects::new());
        let ask = |n, what| ToHead::Ask(Ask { life: driver, request: RequestId(n), settled: Vec::new(), what });
        fn hears(head: &mut Head, held: &mut Held, effects: &mut Effects, life: Life, message: ToHead) {
            let event = Event::Said(head.doors[&life], message);
            held.apply(&mut head.directory, head.now, event, effects).unwrap();
        }
        hears(&mut head, &mut held, &mut effects, driver, ask(1 << 20, spawn(driver, 1).into()));
        assert_eq!(held.records().len(), 2, "spawned and placed");
        assert!(effects.is_empty(), "the order to make it waits");
        let epoch = crate::id::Epoch(1);
        let beat = Beat { life: worker, epoch, number: 9, orders: 0, members: 0, actors: 0 };
        hears(&mut head, &mut held, &mut effects, worker, ToHead::Beat(beat));
        let said = drained(&mut effects);
        assert!(matches!(&said[0], Effect::Send(_, FromHead { news: News::Beaten { beat: 9, .. }, .. })), "{said:?}");
        assert_eq!(said.len(), 1, "nothing else is said");

        let first = held.take(&head.directory, Kind::Records).unwrap();
        assert!(held.take(&head.directory, Kind::Records).is_none());
        hears(&mut head, &mut held, &mut effects, driver, ask(2 << 20, spawn(driver, 2).into()));
        held.release(first.up_to, &mut effects);
        let said = drained(&mut effects);
        let ordered = |said: &[Effect]| {
            said.iter()
                .filter(|effect| matches!(effect, Effect::Send(_, FromHead { news: News::Order(_), .. })))
                .count()
        };
        assert_eq!(ordered(&said), 1, "the first alone: {said:?}");
        let second = held.take(&head.directory, Kind::State).unwrap();
        assert_eq!(second.up_to, held.given());
        held.release(second.up_to, &mut effects);
        assert_eq!(ordered(&drained(&mut effects)), 1);
        hears(&mut head, &mut held, &mut effects, worker, ToHead::Beat(Beat { number: 10, ..beat }));
        assert!(!effects.is_empty(), "with all on disk, everything is said at once");
    }
}
