//! The answers a life may ask for again (§2.8). Bounded: a life may have [`REQUESTS`] that it has not settled.
//!
//! A life says each request once on a session, and what an older session still brings is not heard, so a settled request
//! never comes back.

use crate::directory::message::{Reply, RequestId, Settled};
use crate::id::ActorId;
use crate::limits::REQUESTS;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
enum Slot {
    /// Not yet answered; perhaps because of this actor.
    Open(Option<ActorId>),
    Answered(Reply),
}

#[derive(Debug)]
pub(super) enum Admitted {
    /// Never asked before: carry it out.
    New,
    /// Asked before: the same answer again.
    Again(Reply),
    /// Asked before and still open.
    Open,
    /// More than [`REQUESTS`] unsettled.
    TooMany,
}

#[derive(Debug, Default)]
pub(super) struct Answers {
    slots: BTreeMap<RequestId, Slot>,
}

impl Answers {
    pub(super) fn admit(&mut self, request: RequestId) -> Admitted {
        match self.slots.get(&request) {
            Some(Slot::Open(_)) => Admitted::Open,
            Some(Slot::Answered(reply)) => Admitted::Again(reply.clone()),
            None if self.slots.len() >= REQUESTS => Admitted::TooMany,
            None => {
                self.slots.insert(request, Slot::Open(None));
                Admitted::New
            }
        }
    }

    /// Forgets these requests; of those that were given up while open, gives the actors for which they waited.
    pub(super) fn forget(&mut self, settled: &[RequestId]) -> Vec<(RequestId, ActorId)> {
        let given_up = |request: &RequestId| match self.slots.remove(request)? {
            Slot::Open(on) => on.map(|actor| (*request, actor)),
            Slot::Answered(_) => None,
        };
        settled.iter().filter_map(given_up).collect()
    }

    pub(super) fn settle(&mut self, settled: &Settled) -> Vec<(RequestId, ActorId)> {
        match settled {
            Settled::These(these) => self.forget(these),
            Settled::AllBut(open) => {
                let open: BTreeSet<&RequestId> = open.iter().collect();
                let others: Vec<RequestId> =
                    self.slots.keys().filter(|request| !open.contains(request)).copied().collect();
                self.forget(&others)
            }
        }
    }

    pub(super) fn waits_for(&mut self, request: RequestId, actor: ActorId) {
        if let Some(Slot::Open(on)) = self.slots.get_mut(&request) {
            *on = Some(actor);
        }
    }

    /// Keeps the answer unless the request was settled (given up) meanwhile.
    pub(super) fn answered(&mut self, request: RequestId, reply: &Reply) {
        if let Some(slot) = self.slots.get_mut(&request) {
            *slot = Slot::Answered(reply.clone());
        }
    }

    /// The actors for which open requests wait.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = ActorId> {
        self.slots.values().filter_map(|slot| match slot {
            Slot::Open(on) => *on,
            Slot::Answered(_) => None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Life;

    #[test]
    fn an_answer_is_kept_until_settled_and_the_number_kept_is_bounded() {
        let mut answers = Answers::default();
        assert!(matches!(answers.admit(RequestId(5)), Admitted::New));
        assert!(matches!(answers.admit(RequestId(5)), Admitted::Open));
        answers.answered(RequestId(5), &Reply::Died(Ok(())));
        assert!(matches!(answers.admit(RequestId(5)), Admitted::Again(Reply::Died(Ok(())))));
        (6..REQUESTS as u64 + 5).for_each(|n| assert!(matches!(answers.admit(RequestId(n)), Admitted::New)));
        assert!(matches!(answers.admit(RequestId(1 << 20)), Admitted::TooMany));
        answers.forget(&[RequestId(5)]);
        assert!(matches!(answers.admit(RequestId(1 << 20)), Admitted::New));
        answers.settle(&Settled::AllBut(vec![RequestId(7), RequestId(9)]));
        assert_eq!(answers.len(), 2);
        answers.waits_for(RequestId(7), ActorId { life: Life(1), serial: 2 });
        let given_up = answers.settle(&Settled::These(vec![RequestId(7)]));
        assert_eq!(given_up, [(RequestId(7), ActorId { life: Life(1), serial: 2 })]);
        assert_eq!(answers.len(), 1);
    }
}
