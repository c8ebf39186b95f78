//! Which of a supervisor's children are stopped and started when one ends, in which order, and when it gives up.
//!
//! ```text
//! a child ends ─▶ one restart more than it may? ──yes──▶ all are stopped, the last first ─▶ it gives up
//!                     │ no
//!                     ▼
//!            those that go with it are stopped, the last first ─▶ a pause ─▶ they are started, the first first
//!                     ▲                                                          │ one cannot be started
//!                     └──────────────────────────────────────────────────────────┘
//! ```
//!
//! [`Supervision::next`] says one step at a time. The shell does it, says how it went, and asks for the next one; of ends that
//! it hears meanwhile it speaks once nothing is left to do.

use std::ops::Range;
use std::time::Duration;

use super::tally::{Restarts, Tally};
use crate::clock::Moment;

/// Which children are started again when one ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

impl Strategy {
    /// Those of so many that go with this one.
    fn affected(self, child: usize, children: usize) -> Range<usize> {
        match self {
            Strategy::OneForOne => child..child + 1,
            Strategy::OneForAll => 0..children,
            Strategy::RestForOne => child..children,
        }
    }
}

/// When a child is started again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whenever it ends.
    Permanent,
    /// When it ends otherwise than by a stop.
    Transient,
    /// Never.
    Temporary,
}

/// How an actor has ended, as far as others care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// It was stopped.
    Stopped,
    Otherwise,
}

impl Kind {
    const fn restarts_after(self, how: How) -> bool {
        match (self, how) {
            (Kind::Permanent, _) | (Kind::Transient, How::Otherwise) => true,
            (Kind::Transient, How::Stopped) | (Kind::Temporary, _) => false,
        }
    }
}

/// How a child stands; what runs is an `I`.
#[derive(Debug, Clone)]
pub(crate) enum Stage<I> {
    /// It is to be started, or is being started.
    Down,
    Up(I),
    Stopping(I),
    /// It has ended, and is not started again by itself.
    Over,
}

impl<I> Stage<I> {
    fn into_living(self) -> Option<I> {
        match self {
            Stage::Up(it) | Stage::Stopping(it) => Some(it),
            Stage::Down | Stage::Over => None,
        }
    }
}

#[derive(Debug)]
struct Child<I> {
    kind: Kind,
    stage: Stage<I>,
    /// How often it was started.
    starts: u64,
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<I> {
    /// This child is to be ended: then [`Supervision::stopped`].
    Stop(usize, I),
    /// So long nothing is done.
    Pause(Duration),
    /// This child is to be started: then [`Supervision::started`] or [`Supervision::not_started`].
    Start(usize),
    /// Nothing, until a child ends.
    Rest,
    /// Nothing any more: the children are stopped, and the supervisor ends.
    End,
}

/// What follows from an end, or from a start that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    Nothing,
    /// Children are started again, after so long.
    Restart(Duration),
    /// All are stopped: they were started again as often as they may be, or never all ran.
    End,
}

#[derive(Debug, Clone, Copy)]
enum Round {
    Rest,
    /// Those of `from..next` are to be stopped.
    Stops {
        from: usize,
        next: usize,
        then: Then,
    },
    /// Those of `next..end` are to be started.
    Starts {
        next: usize,
        end: usize,
    },
    Over,
}

#[derive(Debug, Clone, Copy)]
enum Then {
    /// Those from the first that was stopped up to `end` are started.
    Start {
        pause: Duration,
        end: usize,
    },
    End,
}

/// A supervisor's children, and what it does about them.
#[derive(Debug)]
pub(crate) struct Supervision<I> {
    strategy: Strategy,
    tally: Tally,
    children: Vec<Child<I>>,
    round: Round,
    /// Whether all have run.
    begun: bool,
}

impl<I: Clone> Supervision<I> {
    /// All are to be started.
    pub(crate) fn new(
        strategy: Strategy,
        kinds: impl IntoIterator<Item = Kind>,
        intensity: Restarts,
        now: Moment,
    ) -> Self {
        let child = |kind| Child { kind, stage: Stage::Down, starts: 0 };
        let children: Vec<_> = kinds.into_iter().map(child).collect();
        let round = Round::Starts { next: 0, end: children.len() };
        Supervision { strategy, tally: Tally::new(intensity, now), children, round, begun: false }
    }

    /// How a child stands.
    pub(crate) fn stage(&self, child: usize) -> Option<&Stage<I>> {
        self.children.get(child).map(|child| &child.stage)
    }

    /// How often a child was started.
    pub(crate) fn starts(&self, child: usize) -> u64 {
        self.children.get(child).map_or(0, |child| child.starts)
    }

    /// A child has ended that was started so often. If it was stopped from here, or was started since, nothing follows. Gives
    /// what ran.
    pub(crate) fn ended(&mut self, child: usize, starts: u64, how: How, now: Moment) -> (Follows, Option<I>) {
        let is_it = |ended: &&mut Child<I>| ended.starts == starts && matches!(ended.stage, Stage::Up(_));
        let Some(ended) = self.children.get_mut(child).filter(is_it) else { return (Follows::Nothing, None) };
        let again = ended.kind.restarts_after(how);
        let former = std::mem::replace(&mut ended.stage, if again { Stage::Down } else { Stage::Over });
        let follows = if again { self.mend(child, now) } else { Follows::Nothing };
        (follows, former.into_living())
    }

    /// A child could not be started.
    pub(crate) fn not_started(&mut self, child: usize, now: Moment) -> Follows {
        if self.begun {
            return self.mend(child, now);
        }
        self.end();
        Follows::End
    }

    fn mend(&mut self, failed: usize, now: Moment) -> Follows {
        let Some(pause) = self.tally.failed(now) else {
            self.end();
            return Follows::End;
        };
        let Range { start: from, end } = self.strategy.affected(failed, self.children.len());
        self.round = Round::Stops { from, next: end, then: Then::Start { pause, end } };
        Follows::Restart(pause)
    }

    /// All children are to be stopped, and no more is done.
    pub(crate) fn end(&mut self) {
        self.round = Round::Stops { from: 0, next: self.children.len(), then: Then::End };
    }

    /// What is to be done next. What was said before is done.
    pub(crate) fn next(&mut self, now: Moment) -> Step<I> {
        loop {
            match self.round {
                Round::Rest => return Step::Rest,
                Round::Over => return Step::End,
                Round::Stops { from, next, then } if from < next => {
                    self.round = Round::Stops { from, next: next - 1, then };
                    if let Some(it) = self.begin_to_stop(next - 1) {
                        return Step::Stop(next - 1, it);
                    }
                }
                Round::Stops { then: Then::End, .. } => self.round = Round::Over,
                Round::Stops { from, then: Then::Start { pause, end }, .. } => {
                    self.round = Round::Starts { next: from, end };
                    return Step::Pause(pause);
                }
                Round::Starts { next, end } if next < end => {
                    self.round = Round::Starts { next: next + 1, end };
                    if self.children.get(next).is_some_and(Child::is_to_start) {
                        return Step::Start(next);
                    }
                }
                Round::Starts { .. } => {
                    (self.round, self.begun) = (Round::Rest, true);
                    self.tally.runs(now);
                }
            }
        }
    }

    fn begin_to_stop(&mut self, child: usize) -> Option<I> {
        let stage = &mut self.children.get_mut(child)?.stage;
        let Stage::Up(it) = stage else { return None };
        let it = it.clone();
        *stage = Stage::Stopping(it.clone());
        Some(it)
    }

    /// A child runs.
    pub(crate) fn started(&mut self, child: usize, it: I) {
        if let Some(child) = self.children.get_mut(child) {
            child.starts += 1;
            child.stage = Stage::Up(it);
        }
    }

    /// A child that was to be stopped has ended. Gives what ran.
    pub(crate) fn stopped(&mut self, child: usize) -> Option<I> {
        let child = self.children.get_mut(child)?;
        let stage = if child.kind == Kind::Temporary { Stage::Over } else { Stage::Down };
        std::mem::replace(&mut child.stage, stage).into_living()
    }

    /// What runs, the last first: nothing is done about it any more.
    pub(crate) fn take_living(&mut self) -> Vec<I> {
        self.round = Round::Over;
        std::mem::take(&mut self.children).into_iter().rev().filter_map(|child| child.stage.into_living()).collect()
    }
}

impl<I> Child<I> {
    /// What is done is done anew with those that it goes with.
    fn is_to_start(&self) -> bool {
        matches!((&self.stage, self.kind), (Stage::Down, _) | (Stage::Over, Kind::Transient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(0);

    fn supervision(strategy: Strategy, kinds: &[Kind], limit: u32) -> Supervision<u32> {
        let intensity = Restarts { limit, window: Some(Duration::from_secs(5)) };
        Supervision::new(strategy, kinds.iter().copied(), intensity, NOW)
    }

    /// Does all there is to do, and says what that was: `+1` is started, `-1` stopped.
    fn does(of: &mut Supervision<u32>) -> (Vec<String>, Step<u32>) {
        let mut done = Vec::new();
        loop {
            match of.next(NOW) {
                Step::Stop(child, it) => {
                    done.push(format!("-{child}"));
                    assert_eq!(of.stopped(child), Some(it));
                }
                Step::Pause(_) => done.push("pause".to_owned()),
                Step::Start(child) => {
                    done.push(format!("+{child}"));
                    of.started(child, child as u32);
                }
                last @ (Step::Rest | Step::End) => return (done, last),
            }
        }
    }

    fn running(strategy: Strategy, kinds: &[Kind]) -> Supervision<u32> {
        let mut of = supervision(strategy, kinds, 9);
        assert_eq!(does(&mut of).1, Step::Rest);
        of
    }

    const THREE: [Kind; 3] = [Kind::Permanent; 3];

    #[test]
    fn a_strategy_says_who_goes_with_whom_and_they_are_stopped_backwards() {
        let rounds: [(Strategy, &[&str]); 3] = [
            (Strategy::OneForOne, &["pause", "+1"]),
            (Strategy::OneForAll, &["-2", "-0", "pause", "+0", "+1", "+2"]),
            (Strategy::RestForOne, &["-2", "pause", "+1", "+2"]),
        ];
        for (strategy, round) in rounds {
            let mut of = running(strategy, &THREE);
            let (follows, former) = of.ended(1, 1, How::Stopped, NOW);
            assert_eq!((follows, former), (Follows::Restart(Duration::ZERO), Some(1)));
            assert_eq!(
                does(&mut of),
                (round.iter().map(|did| (*did).to_owned()).collect(), Step::Rest),
                "{strategy:?}"
            );
            assert_eq!(of.starts(1), 2);
        }
    }

    #[test]
    fn an_end_that_was_known_or_is_of_a_former_run_changes_nothing() {
        let mut of = running(Strategy::OneForOne, &THREE);
        assert_eq!(of.ended(0, 1, How::Otherwise, NOW).1, Some(0));
        assert_eq!(of.ended(0, 1, How::Otherwise, NOW), (Follows::Nothing, None), "it is told twice");
        does(&mut of);
        assert_eq!(of.ended(0, 1, How::Otherwise, NOW), (Follows::Nothing, None), "of the former run");
        assert_eq!(of.ended(7, 1, How::Otherwise, NOW), (Follows::Nothing, None), "there is no such child");
    }

    #[test]
    fn what_may_end_is_not_started_again_by_itself_but_a_transient_one_with_others() {
        let kinds = [Kind::Transient, Kind::Temporary, Kind::Permanent];
        let mut of = running(Strategy::OneForAll, &kinds);
        assert_eq!(of.ended(0, 1, How::Stopped, NOW).0, Follows::Nothing);
        assert!(matches!(of.stage(0), Some(Stage::Over)));
        assert!(matches!(of.ended(2, 1, How::Stopped, NOW).0, Follows::Restart(_)));
        assert_eq!(does(&mut of).0, ["-1", "pause", "+0", "+2"], "a temporary one stays away");
        assert!(matches!(of.ended(0, 2, How::Otherwise, NOW).0, Follows::Restart(_)));
    }

    #[test]
    fn after_one_restart_too_many_all_are_stopped_and_it_ends() {
        let mut of = supervision(Strategy::OneForOne, &THREE, 1);
        does(&mut of);
        assert_eq!(of.ended(1, 1, How::Otherwise, NOW).0, Follows::Restart(Duration::ZERO));
        does(&mut of);
        assert_eq!(of.ended(1, 2, How::Otherwise, NOW).0, Follows::End);
        assert_eq!(does(&mut of), (vec!["-2".to_owned(), "-0".to_owned()], Step::End));
        assert_eq!(of.next(NOW), Step::End, "for good");
    }

    #[test]
    fn a_start_that_fails_counts_and_is_tried_again_and_the_first_one_ends_it() {
        let mut of = running(Strategy::RestForOne, &THREE);
        of.ended(0, 1, How::Otherwise, NOW);
        for _ in 0..2 {
            assert!(matches!(of.next(NOW), Step::Stop(..)));
        }
        (1..3).for_each(|child| assert_eq!(of.stopped(child), Some(child as u32)));
        assert_eq!((of.next(NOW), of.next(NOW)), (Step::Pause(Duration::ZERO), Step::Start(0)));
        of.started(0, 10);
        assert_eq!(of.next(NOW), Step::Start(1));
        assert!(matches!(of.not_started(1, NOW), Follows::Restart(pause) if pause > Duration::ZERO));
        assert_eq!(does(&mut of).0, ["pause", "+1", "+2"], "the first runs already");
        let mut of = supervision(Strategy::OneForOne, &THREE, 9);
        assert_eq!(of.next(NOW), Step::Start(0));
        of.started(0, 0);
        assert_eq!((of.next(NOW), of.not_started(1, NOW)), (Step::Start(1), Follows::End));
        assert_eq!(does(&mut of), (vec!["-0".to_owned()], Step::End));
    }

    #[test]
    fn what_runs_or_is_being_stopped_is_left_to_who_ends_it() {
        let mut of = running(Strategy::OneForOne, &THREE);
        of.end();
        assert_eq!(of.next(NOW), Step::Stop(2, 2));
        assert_eq!((of.take_living(), of.next(NOW)), (vec![2, 1, 0], Step::End));
    }
}
