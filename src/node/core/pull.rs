//! What one pull asks of whom: an object's ranges, shared out among those who have it.
//!
//! ```text
//! chunks    asked for never │ come │ under way │ given back, to be asked for again
//!                      ◀── next
//! sources   untried ─▶ proved ─▶ spent (busy, or it failed) ── next round ─▶ untried        lied: not asked again
//! ```
//!
//! One that is untried is asked for one chunk, so that a source that is silent keeps no more than that from the others; and
//! when nothing else is left, that one is asked of another as well. So is all that is under way once nothing comes. A round ends when there is nobody to ask: then the owner
//! says who has the object now.

use std::collections::{BTreeMap, VecDeque};

use crate::id::Life;
use crate::limits::{OBJECT_CHUNK, PULL_CHUNKS, PULL_ROUNDS, PULL_SOURCES};
use crate::wire::chunk::{Range, Refusal};

/// What became of one ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The range has come.
    Came,
    /// It will not, by the source's word.
    No(Refusal),
    /// The source cannot be reached, or fell silent.
    Lost,
    /// It sent what was not asked for.
    Lied,
}

/// An ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of whom, until the round ends.
    pub source: usize,
    /// Its life.
    pub life: Life,
    /// What for.
    pub range: Range,
}

/// Why a pull cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// Round after round.
    #[error("no node that has it sends it: they cannot be reached, or have let it go")]
    NobodySends,
    /// The owner's word is what all others are measured by.
    #[error("its owner sends something else than it says")]
    OwnerLied,
}

/// What comes before another round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Rounds in a row that brought nothing: the more, the longer.
    pub rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    Proved,
    Spent,
}

#[derive(Debug)]
struct Source {
    life: Life,
    standing: Standing,
    under_way: usize,
}

/// One pull.
#[derive(Debug)]
pub struct Plan {
    length: u64,
    owner: Life,
    /// Where the first chunk begins that was never asked for.
    next: u64,
    back: VecDeque<u64>,
    /// By their offsets: of whom they are asked.
    under_way: BTreeMap<u64, Vec<usize>>,
    sources: Vec<Source>,
    lied: Vec<Life>,
    /// Whether something came in this round, or at least somebody said that he is busy.
    came: bool,
    heard: bool,
    /// Nothing has come for a while, from anybody.
    stalled: bool,
    /// Rounds in a row in which nothing came; in which nothing was even heard.
    idle: u32,
    barren: u32,
}

impl Plan {
    /// An object of so many bytes, which its owner says these others have as well.
    #[must_use]
    pub fn new(length: u64, owner: Life, holders: &[Life]) -> Self {
        let mut plan = Plan {
            length,
            owner,
            next: 0,
            back: VecDeque::new(),
            under_way: BTreeMap::new(),
            sources: Vec::new(),
            lied: Vec::new(),
            came: false,
            heard: false,
            stalled: false,
            idle: 0,
            barren: 0,
        };
        plan.name(holders);
        plan
    }

    /// The owner comes last: what others send it need not.
    fn name(&mut self, holders: &[Life]) {
        self.sources.clear();
        for life in holders.iter().copied().filter(|life| *life != self.owner).chain([self.owner]) {
            if !self.lied.contains(&life) && !self.sources.iter().any(|source| source.life == life) {
                self.sources.push(Source { life, standing: Standing::Untried, under_way: 0 });
            }
        }
    }

    /// The next ask, if there is any to make now.
    pub fn ask(&mut self) -> Option<Ask> {
        // One that is spent may have some under way still.
        if self.sources.iter().map(|source| source.under_way).sum::<usize>() >= PULL_SOURCES * PULL_CHUNKS {
            return None;
        }
        let usable = self.sources.iter().enumerate().filter(|(_, source)| source.standing != Standing::Spent);
        let room = usable.take(PULL_SOURCES).filter(|(_, source)| source.under_way < source.most());
        let source = room.min_by_key(|(_, source)| source.under_way)?.0;
        let offset = self.take(source)?;
        self.sources[source].under_way += 1;
        self.under_way.entry(offset).or_default().push(source);
        let life = self.sources[source].life;
        Some(Ask { source, life, range: self.range(offset) })
    }

    fn range(&self, offset: u64) -> Range {
        let length = (self.length - offset).min(OBJECT_CHUNK as u64);
        Range { offset, length: length as u32 }
    }

    /// A chunk for this source.
    fn take(&mut self, source: usize) -> Option<u64> {
        if let Some(offset) = self.back.pop_front() {
            return Some(offset);
        }
        if self.next < self.length {
            let offset = self.next;
            self.next = offset.saturating_add(OBJECT_CHUNK as u64);
            return Some(offset);
        }
        // One that has sent nothing yet is not to do another's work, unless nobody does it.
        if self.sources[source].standing != Standing::Proved && !self.stalled {
            return None;
        }
        let late = |of: usize| self.stalled || self.sources[of].standing == Standing::Untried;
        let alone = self.under_way.iter().find(|(_, of)| matches!(of[..], [of] if of != source && late(of)));
        alone.map(|(offset, _)| *offset)
    }

    /// Nothing has come for a while: what is under way is asked of another as well, if there is one with room.
    pub fn stall(&mut self) {
        self.stalled = true;
    }

    /// What became of an ask.
    pub fn said(&mut self, ask: &Ask, said: Said) {
        let offset = ask.range.offset;
        let source = &mut self.sources[ask.source];
        source.under_way = source.under_way.saturating_sub(1);
        match said {
            Said::Came => {
                if source.standing == Standing::Untried {
                    source.standing = Standing::Proved;
                }
                (self.came, self.heard, self.stalled) = (true, true, false);
                // A second one that comes later finds nothing.
                self.under_way.remove(&offset);
                return;
            }
            Said::No(why) => {
                source.standing = Standing::Spent;
                self.heard |= why == Refusal::Busy;
                if why == Refusal::Range && ask.life == self.owner {
                    self.lied.push(ask.life);
                }
            }
            Said::Lost => source.standing = Standing::Spent,
            Said::Lied => {
                source.standing = Standing::Spent;
                if !self.lied.contains(&ask.life) {
                    self.lied.push(ask.life);
                }
            }
        }
        if let Some(asked) = self.under_way.get_mut(&offset) {
            asked.retain(|source| *source != ask.source);
            if asked.is_empty() {
                self.under_way.remove(&offset);
                self.back.push_back(offset);
            }
        }
    }

    /// Whether all has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.next >= self.length && self.back.is_empty() && self.under_way.is_empty()
    }

    /// Nobody is left to ask, and nothing is under way: how to go on.
    ///
    /// # Errors
    /// It is of no use.
    pub fn round_over(&mut self) -> Result<Pause, Stuck> {
        if self.lied.contains(&self.owner) {
            return Err(Stuck::OwnerLied);
        }
        self.barren = if self.heard { 0 } else { self.barren + 1 };
        self.idle = if self.came { 0 } else { self.idle.saturating_add(1) };
        (self.heard, self.came) = (false, false);
        match self.barren {
            PULL_ROUNDS.. => Err(Stuck::NobodySends),
            _ => Ok(Pause { rounds: self.idle }),
        }
    }

    /// Another round, with those that have it now.
    pub fn again(&mut self, holders: &[Life]) {
        debug_assert!(self.under_way.is_empty(), "asks name sources of their round");
        self.name(holders);
    }

    /// Those of this round who were asked for anything: they are told when the pull is over.
    pub fn asked(&self) -> impl Iterator<Item = Life> {
        let was_asked = |source: &&Source| source.standing != Standing::Untried || source.under_way > 0;
        self.sources.iter().filter(was_asked).map(|source| source.life)
    }
}

impl Source {
    fn most(&self) -> usize {
        if self.standing == Standing::Proved { PULL_CHUNKS } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::id::ObjectId;
    use crate::limits::HOLDERS_NAMED;
    use crate::node::core::places::Places;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const OWNER: Life = Life(1);
    const CHUNK: u64 = OBJECT_CHUNK as u64;

    fn all(plan: &mut Plan) -> Vec<Ask> {
        std::iter::from_fn(|| plan.ask()).collect()
    }

    #[test]
    fn an_untried_source_gets_one_chunk_and_a_proved_one_a_window() {
        let mut plan = Plan::new(100 * CHUNK, OWNER, &[Life(2)]);
        let first = all(&mut plan);
        assert_eq!(first.iter().map(|ask| ask.life).collect::<Vec<_>>(), [Life(2), OWNER], "the owner comes last");
        plan.said(&first[0], Said::Came);
        assert_eq!(all(&mut plan).len(), PULL_CHUNKS);
    }

    #[test]
    fn a_range_whose_source_fails_is_asked_of_another_and_of_a_liar_never_again() {
        let mut plan = Plan::new(2 * CHUNK + 5, OWNER, &[Life(2), Life(3)]);
        let first = all(&mut plan);
        assert_eq!(first[2].range, Range { offset: 2 * CHUNK, length: 5 });
        plan.said(&first[0], Said::Lied);
        plan.said(&first[1], Said::No(Refusal::Gone));
        plan.said(&first[2], Said::Came);
        let second = all(&mut plan);
        assert_eq!(
            second.iter().map(|ask| (ask.life, ask.range.offset)).collect::<Vec<_>>(),
            [(OWNER, 0), (OWNER, CHUNK)]
        );
        second.iter().for_each(|ask| plan.said(ask, Said::Lost));
        assert!(!plan.is_whole() && plan.ask().is_none());
        assert_eq!(plan.round_over(), Ok(Pause { rounds: 0 }), "something came");
        plan.again(&[Life(2), Life(3)]);
        let third = all(&mut plan);
        assert_eq!(third.iter().map(|ask| ask.life).collect::<Vec<_>>(), [Life(3), OWNER]);
        third.iter().for_each(|ask| plan.said(ask, Said::Came));
        assert!(plan.is_whole());
    }

    #[test]
    fn the_chunk_of_a_silent_source_is_asked_of_another_when_nothing_else_is_left() {
        let mut plan = Plan::new(3 * CHUNK, OWNER, &[Life(2)]);
        let first = all(&mut plan);
        plan.said(&first[1], Said::Came);
        let more = all(&mut plan);
        assert_eq!(more.iter().map(|ask| ask.range.offset).collect::<Vec<_>>(), [2 * CHUNK, 0]);
        more.iter().for_each(|ask| plan.said(ask, Said::Came));
        assert!(plan.is_whole(), "whatever the other says");
        plan.said(&first[0], Said::Came);
        assert!(plan.is_whole());
    }

    #[test]
    fn what_a_source_that_falls_silent_keeps_is_asked_of_another_as_well() {
        let mut plan = Plan::new(12 * CHUNK, OWNER, &[Life(2)]);
        let first = all(&mut plan);
        plan.said(&first[0], Said::Came);
        plan.said(&first[1], Said::Came);
        let more = all(&mut plan);
        assert_eq!(more.len(), 10);
        more.iter().filter(|ask| ask.life == OWNER).for_each(|ask| plan.said(ask, Said::Came));
        assert!(plan.ask().is_none(), "each is asked of somebody who sends");
        plan.stall();
        let again = all(&mut plan);
        let kept = more.iter().filter(|ask| ask.life != OWNER).map(|ask| ask.range);
        assert_eq!(again.iter().map(|ask| ask.range).collect::<Vec<_>>(), kept.collect::<Vec<_>>());
        again.iter().for_each(|ask| plan.said(ask, Said::Came));
        assert!(plan.is_whole());
    }

    #[test]
    fn a_pull_gives_up_when_nobody_sends_and_not_while_somebody_is_busy() {
        let mut plan = Plan::new(CHUNK, OWNER, &[]);
        let round = |plan: &mut Plan, said| {
            let asks = all(plan);
            asks.iter().for_each(|ask| plan.said(ask, said));
            let over = plan.round_over();
            plan.again(&[]);
            over
        };
        for rounds in 1..10 * PULL_ROUNDS {
            assert_eq!(round(&mut plan, Said::No(Refusal::Busy)), Ok(Pause { rounds }));
        }
        for _ in 1..PULL_ROUNDS {
            assert!(round(&mut plan, Said::Lost).is_ok());
        }
        assert_eq!(round(&mut plan, Said::No(Refusal::Gone)), Err(Stuck::NobodySends));
        let mut lied = Plan::new(u64::MAX, OWNER, &[]);
        assert_eq!(round(&mut lied, Said::No(Refusal::Range)), Err(Stuck::OwnerLied));
    }

    /// A node of a broadcast: what it pulls, whom it serves, when it asks again.
    struct Node {
        plan: Plan,
        under_way: usize,
        rests_until: u64,
        is_holder: bool,
        places: Places,
        to_send: VecDeque<(usize, Ask)>,
    }

    /// How long it takes until all have an object of 16 chunks that one of them owns, where each sends two chunks a tick.
    fn broadcast(nodes: usize) -> u64 {
        const OBJECT: ObjectId = ObjectId { life: Life(0), serial: 1 };
        let node = |at| Node {
            plan: Plan::new(16 * CHUNK, Life(0), &[]),
            under_way: 0,
            rests_until: 0,
            is_holder: at == 0,
            places: Places::default(),
            to_send: VecDeque::new(),
        };
        let mut all: Vec<Node> = (0..nodes).map(node).collect();
        let mut holders: VecDeque<Life> = VecDeque::new();
        for tick in 0.. {
            let now = Moment(tick * 10_000_000);
            for at in 0..nodes {
                for _ in 0..2 {
                    let Some((to, ask)) = all[at].to_send.pop_front() else { break };
                    all[at].places.answered(now, OBJECT, to as u64);
                    all[to].under_way -= 1;
                    all[to].plan.said(&ask, Said::Came);
                }
            }
            for at in 1..nodes {
                while !all[at].is_holder && all[at].rests_until <= tick {
                    let Some(ask) = all[at].plan.ask() else { break };
                    let holder = &mut all[ask.life.0 as usize];
                    if holder.is_holder && holder.places.ask(now, OBJECT, at as u64) {
                        holder.to_send.push_back((at, ask));
                        all[at].under_way += 1;
                    } else {
                        all[at].plan.said(&ask, Said::No(Refusal::Busy));
                    }
                }
                let node = &mut all[at];
                if node.is_holder || node.under_way > 0 || node.rests_until > tick {
                    continue;
                }
                if node.plan.is_whole() {
                    node.is_holder = true;
                    holders.push_back(Life(at as u64));
                    all.iter_mut().for_each(|other| other.places.end(OBJECT, at as u64));
                    continue;
                }
                // As the shell does, by chance: else all would come again at the same time.
                let most = 1 << node.plan.round_over().unwrap().rounds.min(4);
                node.rests_until =
                    tick + 1 + (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7 * tick as u32) % most;
                let named = holders.len().min(HOLDERS_NAMED);
                holders.rotate_left(named);
                let named: Vec<Life> = holders.iter().rev().take(named).copied().collect();
                node.plan.again(&named);
            }
            if holders.len() + 1 == nodes {
                return tick;
            }
        }
        unreachable!("it ends, or gives up")
    }

    #[test]
    fn a_broadcast_takes_rounds_that_grow_as_the_logarithm_of_the_nodes() {
        let ticks = [4, 16, 64, 256, 1_024].map(broadcast);
        // One that served all would take 8 ticks for each.
        assert!(ticks[4] < 8 * 1_024 / 20, "{ticks:?}");
        for pair in ticks.windows(2) {
            assert!(pair[1] < pair[0] + 8 * 8, "four times the nodes take a few rounds more: {ticks:?}");
        }
    }

    proptest! {
        /// Whatever the sources do, each byte comes, and none is asked of more than two at once.
        #[test]
        fn a_pull_ends_whole_whoever_fails(
            length in 1..40 * CHUNK,
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0..9_u8), 1..600),
        ) {
            let mut plan = Plan::new(length, OWNER, &[Life(2), Life(3), Life(4), Life(5), Life(6)]);
            let (mut under_way, mut came): (Vec<Ask>, BTreeSet<u64>) = Default::default();
            let steps = steps.into_iter().map(Some).chain(std::iter::repeat(None));
            for step in steps {
                while let Some(ask) = plan.ask() {
                    prop_assert!(ask.range.end().is_some_and(|end| end <= length) && !came.contains(&ask.range.offset));
                    let same = under_way.iter().filter(|other| other.range == ask.range).count();
                    prop_assert!(same < 2, "asked of {} at once", same + 1);
                    under_way.push(ask);
                }
                prop_assert!(under_way.len() <= PULL_SOURCES * PULL_CHUNKS);
                if under_way.is_empty() {
                    if plan.is_whole() {
                        break;
                    }
                    prop_assert!(plan.round_over().is_ok() || step.is_some());
                    plan.again(&[Life(3), Life(4), Life(7)]);
                    continue;
                }
                let (at, said) = match &step {
                    Some((at, said)) => (at.index(under_way.len()), *said),
                    None => (0, 7),
                };
                if said == 8 {
                    plan.stall();
                    continue;
                }
                let ask = under_way.swap_remove(at);
                let said = match said {
                    0 if ask.life != OWNER => Said::Lied,
                    1 => Said::Lost,
                    2 => Said::No(Refusal::Busy),
                    3 => Said::No(Refusal::Gone),
                    _ => Said::Came,
                };
                if said == Said::Came {
                    came.insert(ask.range.offset);
                }
                plan.said(&ask, said);
            }
            prop_assert_eq!(came.len() as u64, length.div_ceil(CHUNK));
        }
    }
}
