//! What the queue says to the head, and what time brings it.

use std::sync::Arc;

use super::classes::Kind;
use super::owner::{Queued, State, not_placed};
use crate::clock;
use crate::directory::AskError;
use crate::directory::request::{Prospect, Want, WantError};
use crate::node::runtime::Node;
use crate::object::error::GetError;
use crate::schedule::{Class, TaskNumber};

/// Tasks cannot run, since no slots come for them.
fn fail(drained: Vec<(TaskNumber, Queued)>, why: &GetError) {
    for (_, queued) in drained {
        queued.task.fail(why.clone().into_fault());
    }
}

/// The head cannot be asked for slots. None if that is no reason to fail.
fn not_asked(error: &AskError) -> Option<GetError> {
    match *error {
        AskError::HeadAway { waited, .. } => Some(GetError::HeadAway { waited }),
        AskError::Nonsense => Some(not_placed(WantError::Nonsense)),
        // The next life asks anew; if there is none, what is queued is told so.
        AskError::LifeOver { .. } => None,
    }
}

impl Node {
    /// Tells the head how many slots a class wants, and how its first task stands among those of other classes.
    pub(super) fn want(self: &Arc<Self>, kind: &Kind, class: Class, slots: u32, priority: i32) {
        let want = Want {
            class,
            kind: kind.kind.clone(),
            signature: kind.signature,
            needs: kind.needs.clone(),
            slots,
            priority,
            patience: kind.patience,
        };
        if slots == 0 {
            return self.client().report(want);
        }
        let (asking, node) = (self.client().ask(want), Arc::downgrade(self));
        self.runtime().spawn(async move {
            let answer = asking.await;
            let Some(node) = node.upgrade() else { return };
            match answer {
                Ok(Ok(Prospect::Soon)) => node.own(|state, _| state.queue.answered(class, None)),
                Ok(Ok(Prospect::Waits(why))) => {
                    let why = Some(why.to_string().into());
                    node.own(|state, _| state.queue.answered(class, why));
                }
                Ok(Err(refused)) => {
                    let drained = node.own(|state, _| state.queue.refused(class));
                    fail(drained, &not_placed(refused));
                }
                // Under grants that are held, tasks go on without the head.
                Err(error) => {
                    let Some(why) = not_asked(&error) else { return };
                    let drained = node.own(|state, _| match state.queue.slots(class) {
                        // The head may have heard what is wanted: when it is back it is told that nothing is.
                        0 => state.queue.drain(class),
                        _ => Vec::new(),
                    });
                    fail(drained, &why);
                }
            }
        });
    }

    /// Sees to it that the queue is told when something is due.
    pub(super) fn arm(self: &Arc<Self>, state: &mut State) {
        let Some(at) = state.queue.deadline() else { return };
        match state.timer {
            Some(armed) if armed <= at => {}
            Some(_) => {
                state.timer = Some(at);
                self.tasks().owner.sooner.notify_one();
            }
            None => {
                state.timer = Some(at);
                let (node, sooner) = (Arc::downgrade(self), self.tasks().owner.sooner.clone());
                self.runtime().spawn(async move {
                    while let Some(at) = node.upgrade().and_then(|node| node.queue_time()) {
                        tokio::select! {
                            () = tokio::time::sleep(at.since(clock::now())) => {}
                            () = sooner.notified() => {}
                        }
                    }
                });
            }
        }
    }

    /// Does what is due. When to look next; none if nothing will be due, and then nobody looks any more.
    fn queue_time(self: Arc<Self>) -> Option<clock::Moment> {
        self.own(|state, now| {
            let mut effects = Vec::new();
            state.queue.tick(now, &mut effects);
            state.add(effects);
        });
        let mut state = self.tasks().owner.state.lock();
        state.timer = state.queue.deadline();
        state.timer
    }
}
