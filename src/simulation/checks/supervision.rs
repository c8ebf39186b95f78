//! What supervisors promise: who runs, in which order it was started, how often again.

use super::{Checked, Rule, hold};
use crate::actor::core::supervision::{Kind, Strategy};
use crate::actor::core::tally::Restarts;
use crate::clock::Moment;
use crate::id::{ActorId, Life};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not all of its children have run yet.
    Begins,
    Stands,
    /// It has stopped its children, and is no more.
    Ended,
    /// Its life is over.
    Over,
}

/// A child, as its supervisor knows it.
#[derive(Clone, Copy, Debug)]
struct Child {
    kind: Kind,
    runs: bool,
    /// The last that was started, and when, among all starts.
    last: Option<(ActorId, u64)>,
}

#[derive(Debug)]
struct Supervisor {
    life: Life,
    strategy: Strategy,
    intensity: Restarts,
    children: Vec<Child>,
    state: State,
    /// By the clock of its machine.
    restarts: Vec<Moment>,
    /// Among all starts, when the last round began.
    round: u64,
}

/// All supervisors there were.
#[derive(Debug, Default)]
pub(crate) struct Supervisors {
    all: Vec<Supervisor>,
    starts: u64,
    restarts: u64,
}

impl Supervisor {
    /// Those restarts that count.
    fn recent(&mut self, now: Moment) -> usize {
        let window = self.intensity.window.unwrap_or(Duration::MAX);
        self.restarts.retain(|then| now.since(*then) < window);
        self.restarts.len()
    }
}

impl Supervisors {
    /// How many supervisors, and how often one has started children again.
    pub(crate) fn count(&self) -> (u64, u64) {
        (self.all.len() as u64, self.restarts)
    }

    /// A supervisor begins: its number.
    pub(crate) fn begins(&mut self, life: Life, strategy: Strategy, kinds: &[Kind], intensity: Restarts) -> usize {
        let children = kinds.iter().map(|kind| Child { kind: *kind, runs: false, last: None }).collect();
        let (state, restarts) = (State::Begins, Vec::new());
        self.all.push(Supervisor { life, strategy, intensity, children, state, restarts, round: 0 });
        self.all.len() - 1
    }

    /// It has started a child. Gives the one in whose place that is.
    pub(crate) fn started(&mut self, id: usize, child: usize, actor: ActorId) -> Option<ActorId> {
        self.starts += 1;
        let child = self.all.get_mut(id)?.children.get_mut(child)?;
        child.runs = true;
        child.last.replace((actor, self.starts)).map(|(former, _)| former)
    }

    /// It knows that a child has ended.
    pub(crate) fn ended(&mut self, id: usize, child: usize) {
        if let Some(child) = self.all.get_mut(id).and_then(|of| of.children.get_mut(child)) {
            child.runs = false;
        }
    }

    /// It starts children again.
    pub(crate) fn restarts(&mut self, id: usize, now: Moment) -> Checked {
        let Some(of) = self.all.get_mut(id) else { return Ok(()) };
        (of.round, self.restarts) = (self.starts, self.restarts + 1);
        of.restarts.push(now);
        let (recent, intensity) = (of.recent(now), of.intensity);
        hold(recent <= intensity.limit as usize, Rule::Supervised, || {
            format!("supervisor {id} starts children again {recent} times, and may by {intensity:?}")
        })
    }

    /// It has stopped its children, and ends.
    pub(crate) fn ends(&mut self, id: usize) {
        if let Some(of) = self.all.get_mut(id).filter(|of| of.state != State::Over) {
            of.state = State::Ended;
        }
    }

    /// It gives up: it will stop its children, and end.
    pub(crate) fn gives_up(&mut self, id: usize, now: Moment) -> Checked {
        let Some(of) = self.all.get_mut(id) else { return Ok(()) };
        let (recent, begins) = (of.recent(now), matches!(of.state, State::Begins | State::Over));
        hold(begins || recent >= of.intensity.limit as usize, Rule::Supervised, || {
            format!("supervisor {id} gives up after {recent} restarts: {of:?}")
        })
    }

    /// It has nothing left to do.
    pub(crate) fn rests(&mut self, id: usize) -> Checked {
        let Some(of) = self.all.get_mut(id) else { return Ok(()) };
        if of.state == State::Begins {
            of.state = State::Stands;
        }
        let running = of.children.iter().filter(|child| child.runs);
        let started: Vec<u64> = running.filter_map(|child| Some(child.last?.1)).collect();
        let sound = match of.strategy {
            Strategy::OneForOne => true,
            Strategy::RestForOne => started.is_sorted(),
            Strategy::OneForAll => started.is_sorted() && started.iter().all(|start| *start > of.round),
        };
        hold(sound, Rule::Supervised, || format!("supervisor {id} has started its children so: {of:?}"))
    }

    /// A life is over, and what supervised there.
    pub(crate) fn over(&mut self, life: Life) {
        self.all.iter_mut().filter(|of| of.life == life).for_each(|of| of.state = State::Over);
    }

    /// All is mended: a supervisor's children run, or it has ended, and none of them does.
    pub(crate) fn stand(&self, runs: impl Fn(ActorId) -> bool) -> Checked {
        for (id, of) in self.all.iter().enumerate() {
            let is_there = |child: &Child| child.last.is_some_and(|(actor, _)| runs(actor));
            let sound = |child: &Child| match of.state {
                State::Over => true,
                State::Ended => !is_there(child),
                State::Begins => false,
                State::Stands if child.runs => is_there(child),
                State::Stands => child.kind != Kind::Permanent && !is_there(child),
            };
            let wrong = of.children.iter().find(|child| !sound(child));
            hold(wrong.is_none(), Rule::Supervised, || format!("supervisor {id}: {wrong:?} of {of:?}"))?;
        }
        Ok(())
    }
}
