//! Tasks that wait for a slot here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::arrive::Arrived;
use super::owner::Queued;
use crate::limits::CLAIM_LOOKS;
use crate::schedule::TaskNumber;
use crate::task::slot::Runnable;
use crate::wire::packet::CallFault;

/// Whose task it is.
pub(super) enum Whose {
    /// This node's own, beside its queue.
    Alone,
    /// This node's own.
    Own(TaskNumber),
    /// A peer's.
    Peer(Arc<Arrived>),
}

/// A task that may begin.
pub(super) struct Ready {
    pub(super) task: Arc<dyn Runnable>,
    pub(super) whose: Whose,
    pub(super) attempt: u32,
    /// It gives its CPU back when it first waits.
    pub(super) yields: bool,
    /// How it is run once more if an attempt asks for that.
    pub(super) again: Option<Box<Again>>,
}

/// A task of this node that may be run once more, as this attempt was.
pub(super) enum Again {
    /// One beside the queue.
    Alone(Alone),
    /// As the queue had it.
    Queued(Queued),
}

/// A task of a cluster of one process.
#[derive(Clone)]
pub(super) struct Alone {
    pub(super) task: Arc<dyn Runnable>,
    pub(super) priority: i32,
    /// Attempts that are left after this one, and which one this is.
    pub(super) retries: u32,
    pub(super) attempt: u32,
}

impl Again {
    pub(super) fn queued(queued: &Queued) -> Option<Box<Again>> {
        (queued.retries > 0 && queued.task.is_retried()).then(|| Box::new(Again::Queued(queued.clone())))
    }
}

impl Alone {
    pub(super) fn ready(self) -> Ready {
        let Alone { task, attempt, .. } = &self;
        let (task, attempt, whose) = (task.clone(), *attempt, Whose::Alone);
        let again = (self.retries > 0 && task.is_retried()).then(|| Box::new(Again::Alone(self)));
        Ready { task, whose, attempt, yields: true, again }
    }
}

/// Tasks that wait for a slot, in the order of priority, then of their coming.
#[derive(Default)]
pub(super) struct Line {
    usual: VecDeque<Ready>,
    others: BTreeMap<Reverse<i32>, VecDeque<Ready>>,
    len: usize,
}

impl Line {
    pub(super) fn len(&self) -> u64 {
        self.len as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, ready: Ready, priority: i32) {
        self.len += 1;
        match priority {
            0 => self.usual.push_back(ready),
            _ => self.others.entry(Reverse(priority)).or_default().push_back(ready),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Ready> {
        self.len = self.len.checked_sub(1)?;
        let first = self.others.first_key_value().map(|(priority, _)| priority.0);
        let Some(priority) = first.filter(|priority| *priority > 0 || self.usual.is_empty()) else {
            return self.usual.pop_front();
        };
        let level = self.others.get_mut(&Reverse(priority))?;
        let ready = level.pop_front();
        if level.is_empty() {
            self.others.remove(&Reverse(priority));
        }
        ready
    }

    /// Takes the last of them.
    pub(super) fn pop_last(&mut self) -> Option<Ready> {
        let ready = self.usual.pop_back();
        self.len -= usize::from(ready.is_some());
        ready
    }

    /// Takes this one, if it is this node's own and not far from the end; gives its priority, too.
    pub(super) fn take(&mut self, task: &Arc<dyn Runnable>) -> Option<(Ready, i32)> {
        let is_it = |ready: &Ready| {
            !matches!(ready.whose, Whose::Peer(_)) && std::ptr::addr_eq(Arc::as_ptr(&ready.task), Arc::as_ptr(task))
        };
        let others = self.others.iter_mut().map(|(priority, level)| (priority.0, level));
        let (ready, priority) = std::iter::once((0, &mut self.usual)).chain(others).find_map(|(priority, line)| {
            let place = line.iter().rev().take(CLAIM_LOOKS).position(is_it)?;
            Some((line.remove(line.len() - 1 - place)?, priority))
        })?;
        self.len -= 1;
        // No level is empty: `pop` takes one from the first.
        if self.others.get(&Reverse(priority)).is_some_and(VecDeque::is_empty) {
            self.others.remove(&Reverse(priority));
        }
        Some((ready, priority))
    }

    /// All of them, in their order.
    pub(super) fn into_all(mut self) -> Vec<Ready> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

/// Tasks that will not run here.
pub(super) fn refuse(unbegun: Vec<Ready>) {
    for ready in unbegun {
        if let Whose::Peer(arrived) = &ready.whose {
            arrived.refuse(CallFault::NoGrant);
        }
    }
}
