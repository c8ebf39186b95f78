//! The tasks of a node: those that it submitted, which its queue sends out under grants of the head, and those that run here.
//!
//! ```text
//! submit ─▶ queue (schedule/queue) ─want─▶ head        owner: the queue's shell, carries its effects out in order
//!               │        ◀────grant──────  head        send:  a push becomes requests over the link to the grant's node
//!               └─push─▶ link ═══▶ host ─▶ CPU         host:  what runs here under which grant, no more than its slots at once
//!           settled ◀─── answer ◀═══════════┘          arrive: the host's end of the link
//! ```
//!
//! In a cluster of one process a task that names no resources takes the short way: straight to the host's own line.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

use super::runtime::Node;
use crate::directory::request::{Needs, Patience};
use crate::id::Life;
use crate::object::entry::{Entry, Watch};
use crate::object::error::GetError;
use crate::schedule::Resources;
use crate::task::slot::Runnable;
use crate::task::tail::Tail;

mod arrive;
mod behind;
mod cancel;
mod classes;
mod frames;
mod grants;
mod host;
mod lend;
mod line;
pub(super) mod lineage;
mod near;
mod owner;
mod parked;
mod parts;
mod rebuild;
mod results;
mod send;
mod terms;
mod wants;

use frames::Frames;
use line::{Alone, Ready};
use lineage::Lineages;

/// What a node knows of tasks.
pub(crate) struct Tasks {
    owner: owner::Owner,
    host: host::Host,
    tail: Arc<Tail>,
    lineages: Lineages,
    frames: Arc<Frames>,
    /// Told when a task has left the queue, for those that wait for room.
    room: Notify,
}

impl Tasks {
    /// `queued` tasks may wait in the queue.
    /// `declared` is what the node has for tasks.
    /// `lineage` bytes are kept for making results again.
    pub(super) fn new(
        node: Weak<Node>,
        queued: usize,
        cpus: usize,
        declared: Resources,
        tail: Arc<Tail>,
        lineage: u64,
    ) -> Self {
        let (owner, host) = (owner::Owner::new(queued), host::Host::new(queued, cpus, declared));
        let (lineages, frames) = (Lineages::new(lineage), Frames::new(node));
        Tasks { owner, host, tail, lineages, frames, room: Notify::new() }
    }

    /// The frames of tasks that wait here.
    pub(in crate::node) fn frames(&self) -> &Arc<Frames> {
        &self.frames
    }

    /// Whether others wait, before whom one that comes will not begin, and more may.
    fn are_queued(&self) -> bool {
        self.tail.is_bounded() && (1..self.host.most()).contains(&(self.owner.queued() + self.host.waiting()))
    }
}

/// A task, and what it was submitted with.
#[derive(Clone)]
pub(crate) struct Submitted {
    pub(crate) task: Arc<dyn Runnable>,
    /// What it takes of its node; none for what tasks take that say nothing: one CPU, until they first wait.
    pub(crate) needs: Option<Arc<Needs>>,
    /// How often it may run again: after its node ended, or for an error of its own that asks for it.
    pub(crate) retries: u32,
    /// Higher ones leave the queue first.
    pub(crate) priority: i32,
    /// What if no node has what it needs.
    pub(crate) patience: Patience,
}

/// The objects among a task's arguments that are not there yet.
fn unsettled(task: &Arc<dyn Runnable>) -> Vec<Arc<Entry>> {
    let mut references = task.references();
    references.retain(|reference| !reference.is_settled());
    references
}

/// A task of a cluster of one process that waits for arguments.
struct Waiting {
    node: Arc<Node>,
    missing: AtomicUsize,
    ready: Mutex<Option<(Ready, i32)>>,
}

impl Watch for Waiting {
    fn settled(self: Arc<Self>, _: usize) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ready = self.ready.lock().take();
            if let Some((ready, priority)) = ready {
                self.node.run_alone(ready, priority);
            }
        }
    }
}

impl Node {
    /// Takes a task: it runs once its arguments are there and a node has room for it.
    pub(crate) fn submit(self: &Arc<Self>, submitted: Submitted) {
        if let Err(submitted) = self.try_submit(submitted) {
            submitted.task.fail(GetError::QueueFull { limit: self.tasks().host.most() });
        }
    }

    /// The same, once there is room for it.
    pub(crate) async fn submit_wait(self: &Arc<Self>, submitted: Submitted) {
        let mut left = Some(submitted);
        while let Some(submitted) = left.take() {
            // Entered before the look, so that room that comes after it is heard of.
            let mut room = std::pin::pin!(self.tasks().room.notified());
            room.as_mut().enable();
            left = self.try_submit(submitted).err();
            if left.is_some() {
                room.await;
            }
        }
        // There may be room for another one who waits.
        self.tasks().room.notify_one();
    }

    /// Takes a task; back if as many are queued as may be.
    fn try_submit(self: &Arc<Self>, submitted: Submitted) -> Result<(), Submitted> {
        // One that finds nobody before it begins at once, or is the only one.
        if self.tasks().are_queued() {
            submitted.task.waits(&self.tasks().tail, self.here());
        }
        let mut missing = submitted.task.references();
        if !self.is_alone() || submitted.needs.is_some() {
            let near = if missing.is_empty() { None } else { self.near(&missing) };
            missing.retain(|reference| !reference.is_settled());
            return self.enqueue(submitted, missing, near);
        }
        missing.retain(|reference| !reference.is_settled());
        if !self.tasks().host.take_room() {
            return Err(submitted);
        }
        let Submitted { task, retries, priority, .. } = submitted;
        let ready = Alone { task, priority, retries, attempt: 1 }.ready();
        if missing.is_empty() {
            self.run_alone(ready, priority);
            return Ok(());
        }
        // One more than there are: nothing is ready while they are entered.
        let (missing_count, ready) = (AtomicUsize::new(missing.len() + 1), Mutex::new(Some((ready, priority))));
        let waiting = Arc::new(Waiting { node: self.clone(), missing: missing_count, ready });
        let watch: Arc<dyn Watch> = waiting.clone();
        let settled = missing.iter().filter(|reference| reference.watch(&watch, 0).is_none()).count();
        (0..=settled).for_each(|_| waiting.clone().settled(0));
        Ok(())
    }

    /// Lives have ended: what they owned here runs no more, what was sent to them is sent elsewhere.
    pub(super) fn tasks_of_ended(self: &Arc<Self>, ended: impl Fn(Life) -> bool) {
        self.hosted_of(&ended);
        self.lose_grants(ended);
    }

    /// This node's own life is over. Tasks that wait go on in the next one.
    pub(super) fn tasks_between_lives(self: &Arc<Self>) {
        self.lose_all_grants();
    }

    /// Tasks of its own that have not ended, and those that wait for its CPUs without a grant.
    pub(super) fn tasks_at_hand(&self) -> usize {
        self.tasks().owner.queued() + self.tasks().host.waiting()
    }

    /// Whether no task has begun here and not ended, whoever sent it.
    pub(super) fn is_running_no_tasks(&self) -> bool {
        self.tasks().host.is_idle()
    }

    /// This node has left: nothing more runs.
    pub(super) fn close_tasks(self: &Arc<Self>) {
        self.close_queue();
        line::refuse(self.tasks().host.close());
        // All who wait for room hear of it, one after another.
        self.tasks().room.notify_one();
    }
}
