//! A task goes to the node where its large arguments lie, while that has room: there they are read where they are.
//!
//! Tasks near a node are of a class of their own, which prefers it: so the head gives its slots there first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::owner::{Queued, State, submission};
use crate::id::{Life, NodeId};
use crate::limits::ARGUMENT_INLINE;
use crate::node::runtime::Node;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::schedule::TaskNumber;
use crate::schedule::queue::Cancelled;

impl Node {
    /// The node where most of these objects lie, of those that are large.
    pub(super) fn near(&self, objects: &[Arc<Entry>]) -> Option<NodeId> {
        let mut there: BTreeMap<Life, usize> = BTreeMap::new();
        for object in objects {
            let Ok(last) = object.followed() else { continue };
            let lies = match last.outcome() {
                Some(Ok(Content::Kept(_) | Content::Lent(_))) => true,
                Some(Ok(Content::Encoded(value))) => last.is_borrowed() && value.body.len() > ARGUMENT_INLINE,
                _ => false,
            };
            if lies {
                *there.entry(last.id().life).or_default() += 1;
            }
        }
        let (life, _) = there.into_iter().max_by_key(|(_, count)| *count)?;
        self.host_of(life)
    }

    /// The node where an object lies, if it hosts anything. One of this node's own is waited for.
    pub(crate) async fn place_of(&self, object: &Arc<Entry>) -> Option<NodeId> {
        if !object.is_borrowed() {
            // Whatever becomes of it.
            drop(object.settling().await);
        }
        self.host_of(object.followed().ok()?.id().life)
    }

    /// The node that lives this life, if it hosts anything.
    fn host_of(&self, life: Life) -> Option<NodeId> {
        self.known(|known| known.get(life).filter(|member| member.hosts).map(|member| member.node))
    }
}

impl State {
    /// An argument of a task has arrived; with the last one, a task that is queued here may come to be near a node.
    pub(super) fn ready_near(&mut self, task: TaskNumber, near: Option<NodeId>) {
        let moves = near.is_some() && self.queue.missing(task) == 1;
        let kind = self.queue.get(task).filter(|_| moves).map(|queued| queued.kind.clone());
        let kind = kind.and_then(|kind| self.class_near(&kind, near));
        let Some(kind) = kind else { return self.queue.ready(task) };
        let Cancelled::Queued(queued) = self.queue.cancel(task) else { return self.queue.ready(task) };
        let result = queued.task.result().clone();
        let number = self.queue.submit_again(submission(Queued { kind, ..queued }, 0, &[]));
        result.set_maker(number.0);
    }
}
