//! The place of a task that runs: the slot that it holds, how it ends, and what follows then.

use std::sync::Arc;

use super::super::line::{Again, Whose};
use super::slots::Turn;
use super::streaming::{Polled, Streaming};
use crate::actor::frame;
use crate::actor::inbox::Host as _;
use crate::clock::{self, Moment};
use crate::id::GrantId;
use crate::node::runtime::Node;
use crate::task::context::TaskContext;
use crate::task::slot::{Attempt, End, Ran, Runnable};

/// Which slot a task that runs has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Held,
    /// It gave its slot back when it first waited.
    Parked,
    /// That of the task above it on its stack, which waits for it.
    Above,
}

/// A slot that a task holds; given back when this is dropped.
pub(super) struct Place {
    pub(super) node: Arc<Node>,
    pub(super) grant: GrantId,
    /// The grant of whose slots it is.
    pub(super) root: GrantId,
    pub(super) whose: Whose,
    pub(super) began: Moment,
    pub(super) slot: Slot,
    /// The thread that ran the task goes on with the next one itself.
    pub(super) in_a_row: bool,
    /// How the task is run once more, if this attempt asks for that.
    pub(super) again: Option<Box<Again>>,
    pub(super) is_again: bool,
    /// It gives its slot back when it first waits.
    pub(super) yields: bool,
}

impl Place {
    pub(super) fn attempt(&self) -> Attempt {
        if self.again.is_some() { Attempt::MayBeFollowed } else { Attempt::Last }
    }

    /// What the task waits with, if it ever does.
    pub(super) fn frame(&self, task: &Arc<dyn Runnable>) -> Option<frame::Task> {
        Some(self.node.tasks().frames().begin(&self.whose, task.result().id()))
    }

    /// Runs a synchronous task.
    pub(super) fn run(self, task: &Arc<dyn Runnable>, context: TaskContext) {
        let (attempt, mut frame) = (self.attempt(), self.frame(task));
        let ran = frame::enter_task(&mut frame, || task.clone().run(context, attempt));
        drop(frame);
        if let Ran::Over(end) = ran {
            self.ended(end, Polled::OnPool);
        }
    }

    /// An attempt has ended: the task's place is free, unless the stream that it returned needs it.
    pub(super) fn ended(mut self, end: End, polled: Polled) {
        match end {
            End::Settled => {}
            End::Again => self.is_again = true,
            End::Streams(streams) => {
                self.in_a_row = false;
                let node = self.node.clone();
                node.spawn(Box::pin(Streaming::new(self, streams, polled).run()));
            }
        }
    }

    /// The task waits: another one may have its slot.
    pub(super) fn wait(&mut self) {
        if self.yields && self.slot == Slot::Held {
            self.slot = Slot::Parked;
            self.node.park_slot(self.grant);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let host = &self.node.tasks().host;
        match self.slot {
            Slot::Held => host.turn(self.grant, Turn::EndsRunning),
            Slot::Parked => host.turn(self.grant, Turn::EndsParked),
            Slot::Above => {}
        }
        if let Whose::Own(number) = &self.whose {
            let ran = clock::now().since(self.began);
            self.node.own_task_over(*number, ran);
        }
        match self.again.take().filter(|_| self.is_again).map(|again| *again) {
            Some(Again::Queued(queued)) => self.node.attempt_again(queued),
            Some(Again::Alone(alone)) => self.node.run_alone_again(alone),
            None => {}
        }
        if !self.in_a_row {
            self.node.slot_freed(self.root);
        }
    }
}
