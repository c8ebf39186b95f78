//! The course of calls from one node to an actor that the head may place again (PROTOCOLS §1.15).
//!
//! ```text
//! bound ──its host has ended, or has it no more──▶ lost ──no call is out, and someone asks──▶ sought ──found──▶ moving ──▶ bound
//!                                                                                               └ it has ended ──▶ gone
//! ```
//!
//! Calls have an order of first sending. What is to be sent again stands in a line by that order, and so does what comes
//! meanwhile; when the actor is found they go in that order, and only then what is new (I8).

use crate::id::Placement;
use std::collections::BTreeMap;
use std::mem;

/// Why an actor is not where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The link to its host has ended.
    LinkEnded,
    /// Its host has it no more.
    NotHere,
}

#[derive(Debug)]
enum Stage<B, E> {
    Bound(B),
    Lost(Lost),
    Sought,
    /// What stands in line goes there.
    Moving(B),
    Gone(E),
}

/// Where calls go (`B`), those in line (`Q`), and why the actor has ended (`E`).
#[derive(Debug)]
pub(crate) struct Course<B, Q, E> {
    stage: Stage<B, E>,
    /// Calls that are sent, or being sent, and have no answer.
    out: usize,
    /// Of the last call that entered.
    order: u64,
    line: BTreeMap<u64, Q>,
    /// Whether somebody waits for it to be found who does not stand in line.
    asked: bool,
}

/// Whether a call goes now; its place in the order.
#[derive(Debug)]
pub(crate) enum Entered<B> {
    /// There, and counts as out until [`Course::returns`].
    Goes(B, u64),
    /// It stands in line, or may enter that by [`Course::again`].
    Waits(u64),
}

/// What was in the way of another stage: a shell drops it where it holds no lock.
#[derive(Debug)]
#[must_use]
pub(crate) struct Former<B, E> {
    _stage: Stage<B, E>,
}

impl<B: Clone, Q, E: Clone> Course<B, Q, E> {
    /// To one that is there, or was: then it is sought by the first call.
    pub(crate) fn new(there: Result<B, Lost>) -> Self {
        let stage = there.map_or_else(Stage::Lost, Stage::Bound);
        Course { stage, out: 0, order: 0, line: BTreeMap::new(), asked: false }
    }

    /// Where it is, if that is known and nothing stands in line.
    pub(crate) fn bound(&self) -> Option<&B> {
        if let Stage::Bound(binding) = &self.stage { Some(binding) } else { None }
    }

    /// Where what is sent goes, be it what stood in line.
    pub(crate) fn leads_to(&self) -> Option<&B> {
        if let Stage::Bound(binding) | Stage::Moving(binding) = &self.stage { Some(binding) } else { None }
    }

    /// Why it has ended, if it has.
    pub(crate) fn gone(&self) -> Option<&E> {
        if let Stage::Gone(reason) = &self.stage { Some(reason) } else { None }
    }

    /// Whether it is lost, and nobody seeks it.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Lost(_))
    }

    /// Lets a call go. If it has to wait, it stands in line once it is put there.
    ///
    /// # Errors
    /// The actor has ended.
    pub(crate) fn enter(&mut self) -> Result<Entered<B>, E> {
        if let Stage::Gone(reason) = &self.stage {
            return Err(reason.clone());
        }
        self.order += 1;
        Ok(match &self.stage {
            Stage::Bound(binding) => self.goes(binding.clone(), self.order),
            _ => Entered::Waits(self.order),
        })
    }

    /// Lets a call go that has gone before, had its answer, and goes once more under its old order: it waits for none that was
    /// first sent after it, as that may wait for what it makes.
    ///
    /// # Errors
    /// The actor has ended.
    pub(crate) fn enter_anew(&mut self, order: u64) -> Result<Entered<B>, E> {
        Ok(match &self.stage {
            Stage::Gone(reason) => return Err(reason.clone()),
            Stage::Bound(binding) => self.goes(binding.clone(), order),
            Stage::Moving(binding) if self.line.first_key_value().is_none_or(|(first, _)| *first > order) => {
                self.goes(binding.clone(), order)
            }
            Stage::Moving(_) | Stage::Lost(_) | Stage::Sought => Entered::Waits(order),
        })
    }

    fn goes(&mut self, binding: B, order: u64) -> Entered<B> {
        self.out += 1;
        Entered::Goes(binding, order)
    }

    /// A call stands in line, by its order: it is new, or it was lost and goes again.
    pub(crate) fn again(&mut self, order: u64, queued: Q) {
        self.line.insert(order, queued);
    }

    /// A call that was out has its answer, or stands in line again.
    pub(crate) fn returns(&mut self) {
        self.out -= 1;
    }

    /// Somebody wants it to be found who does not stand in line.
    pub(crate) fn asks(&mut self) {
        self.asked = true;
    }

    /// Whether the actor is to be sought now, for those in line or for who asks: not while a call is out, which may have to be
    /// sent again, before them.
    pub(crate) fn seeks(&self) -> bool {
        self.is_lost() && self.out == 0 && (self.asked || !self.line.is_empty())
    }

    /// It is sought from now on, unless somebody seeks it already: why it was lost.
    pub(crate) fn seek(&mut self) -> Option<Lost> {
        let Stage::Lost(why) = self.stage else { return None };
        (self.stage, self.asked) = (Stage::Sought, false);
        Some(why)
    }

    /// It is not there any more.
    pub(crate) fn lost(&mut self, is_it: impl FnOnce(&B) -> bool, why: Lost) -> Option<Former<B, E>> {
        self.leads_to().is_some_and(is_it).then(|| self.stands(Stage::Lost(why)))
    }

    /// It is found: what stands in line goes there, and then what is new.
    pub(crate) fn found(&mut self, there: B) -> Former<B, E> {
        self.stands(Stage::Moving(there))
    }

    /// The next call that goes where it was found, and is out from now on. With the last one it is bound; if it is lost again
    /// meanwhile, whoever is out seeks it.
    pub(crate) fn next_in_line(&mut self) -> Option<(u64, Q)> {
        let Stage::Moving(binding) = &self.stage else { return None };
        let Some(next) = self.line.pop_first() else {
            self.stage = Stage::Bound(binding.clone());
            return None;
        };
        self.out += 1;
        Some(next)
    }

    /// It has ended: those in line are told.
    pub(crate) fn ends(&mut self, reason: E) -> (BTreeMap<u64, Q>, Former<B, E>) {
        (mem::take(&mut self.line), self.stands(Stage::Gone(reason)))
    }

    /// It cannot be sought: those in line fail, and the next one has it sought again.
    pub(crate) fn not_found(&mut self, why: Lost) -> (BTreeMap<u64, Q>, Former<B, E>) {
        (mem::take(&mut self.line), self.stands(Stage::Lost(why)))
    }

    fn stands(&mut self, stage: Stage<B, E>) -> Former<B, E> {
        Former { _stage: mem::replace(&mut self.stage, stage) }
    }
}

/// The placement after which an actor is to be found, if its host has ended or has it no more.
pub(crate) fn after(placement: Placement, host_lives: bool, why: Lost) -> Placement {
    match (why, host_lives) {
        // Not its host has ended, but the link: it may be where it was.
        (Lost::LinkEnded, true) => Placement(placement.0.saturating_sub(1)),
        _ => placement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tried = Course<u8, &'static str, ()>;

    fn goes(course: &mut Tried) -> u64 {
        match course.enter() {
            Ok(Entered::Goes(1, order)) => order,
            other => panic!("{other:?}"),
        }
    }

    fn waits(course: &mut Tried, call: &'static str) {
        let Ok(Entered::Waits(order)) = course.enter() else { panic!("{call} goes") };
        course.again(order, call);
    }

    #[test]
    fn what_is_sent_again_goes_in_the_order_of_its_first_sending_and_before_what_is_new() {
        let mut course = Tried::new(Ok(1));
        let (first, second) = (goes(&mut course), goes(&mut course));
        let _former = course.lost(|there| *there == 1, Lost::NotHere);
        waits(&mut course, "third");
        course.again(second, "second");
        course.returns();
        assert!(!course.seeks(), "the first is out still");
        course.again(first, "first");
        course.returns();
        assert!(course.seeks());
        assert_eq!((course.seek(), course.seek()), (Some(Lost::NotHere), None), "who comes first seeks");
        let _former = course.found(2);
        let went: Vec<_> = std::iter::from_fn(|| course.next_in_line()).map(|(_, call)| call).collect();
        assert_eq!((went, course.bound()), (vec!["first", "second", "third"], Some(&2)));
    }

    #[test]
    fn one_that_is_lost_while_its_line_moves_is_sought_once_what_went_is_back() {
        let mut course = Tried::new(Err(Lost::LinkEnded));
        waits(&mut course, "first");
        waits(&mut course, "second");
        assert!(course.seeks() && course.seek() == Some(Lost::LinkEnded));
        let _former = course.found(1);
        let (order, call) = course.next_in_line().unwrap();
        assert!(course.lost(|there| *there == 2, Lost::NotHere).is_none(), "it was not there");
        let _former = course.lost(|there| *there == 1, Lost::NotHere);
        assert!(course.next_in_line().is_none() && !course.seeks());
        course.again(order, call);
        course.returns();
        assert!(course.seeks());
    }

    #[test]
    fn what_is_made_anew_goes_before_what_was_first_sent_after_it_and_never_waits_for_that() {
        let mut course = Tried::new(Ok(1));
        let orders: Vec<u64> = (0..4).map(|_| goes(&mut course)).collect();
        (0..4).for_each(|_| course.returns());
        let _former = course.lost(|there| *there == 1, Lost::LinkEnded);
        waits(&mut course, "new");
        for (order, call) in [(orders[2], "third"), (orders[0], "first")] {
            let Ok(Entered::Waits(at)) = course.enter_anew(order) else { panic!("{call} goes") };
            course.again(at, call);
        }
        assert!(course.seeks() && course.seek().is_some());
        let _former = course.found(2);
        assert_eq!(course.next_in_line(), Some((orders[0], "first")));
        let Ok(Entered::Goes(2, order)) = course.enter_anew(orders[1]) else { panic!("what comes later is before it") };
        assert_eq!(order, orders[1]);
        let Ok(Entered::Waits(_)) = course.enter_anew(orders[3]) else { panic!("it is before what comes earlier") };
        course.again(orders[3], "fourth");
        let went: Vec<_> = std::iter::from_fn(|| course.next_in_line()).map(|(_, call)| call).collect();
        assert_eq!(went, ["third", "fourth", "new"]);
        let Ok(Entered::Goes(2, _)) = course.enter_anew(orders[2]) else { panic!("it waits where it is bound") };
        let (_, former) = course.ends(());
        drop(former);
        assert!(course.enter_anew(orders[2]).is_err());
    }

    #[test]
    fn those_in_line_are_given_back_when_it_has_ended_or_cannot_be_found() {
        let mut course = Tried::new(Err(Lost::LinkEnded));
        waits(&mut course, "first");
        let _ = course.seek();
        let (left, former) = course.not_found(Lost::LinkEnded);
        drop(former);
        assert_eq!(left.into_values().collect::<Vec<_>>(), ["first"]);
        assert!(!course.seeks(), "nobody asks");
        course.asks();
        assert!(course.seeks());
        let _ = course.seek();
        waits(&mut course, "second");
        let (left, former) = course.ends(());
        drop(former);
        assert_eq!(left.into_values().collect::<Vec<_>>(), ["second"]);
        assert!(course.enter().is_err() && course.gone().is_some());
    }

    #[test]
    fn only_a_lost_link_to_a_host_that_lives_may_lead_to_where_it_was() {
        assert_eq!(after(Placement(3), true, Lost::LinkEnded), Placement(2));
        assert_eq!(after(Placement(3), false, Lost::LinkEnded), Placement(3));
        assert_eq!(after(Placement(3), true, Lost::NotHere), Placement(3));
    }
}
