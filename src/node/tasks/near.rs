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

/// Where objects lie, and how many bytes of them.
#[derive(Default)]
struct Lies(BTreeMap<Life, u64>);

impl Lies {
    /// So many bytes are there; copies count as the object does.
    fn add(&mut self, bytes: usize, lives: impl IntoIterator<Item = Life>) {
        lives.into_iter().for_each(|life| *self.0.entry(life).or_default() += bytes as u64);
    }

    /// The node that has most of them, of those that host anything.
    fn most(self, hosts: impl Fn(Life) -> Option<NodeId>) -> Option<NodeId> {
        let all = self.0.into_iter().filter_map(|(life, bytes)| Some((bytes, hosts(life)?)));
        all.max_by_key(|(bytes, _)| *bytes).map(|(_, node)| node)
    }
}

impl Node {
    /// The node where most bytes of these objects lie, of those that are large; copies too, as far as they are known here.
    pub(super) fn near(&self, objects: &[Arc<Entry>]) -> Option<NodeId> {
        let mut lies = Lies::default();
        for object in objects {
            let Ok(last) = object.followed() else { continue };
            let (bytes, is_here) = match last.outcome() {
                Some(Ok(Content::Kept(kept))) => (kept.len(), true),
                Some(Ok(Content::Lent(lent))) => (lent.len(), lent.copy().is_some()),
                Some(Ok(content @ (Content::Encoded(_) | Content::Live(_)))) => (content.length(), true),
                Some(Ok(Content::Elsewhere(_)) | Err(_)) | None => continue,
            };
            if bytes > ARGUMENT_INLINE {
                let owner = last.id().life;
                let here = Some(self.last_life()).filter(|life| is_here && *life != owner);
                lies.add(bytes, last.held_at().into_iter().chain(here).chain([owner]));
            }
        }
        lies.most(|life| self.host_of(life))
    }

    /// The node where an object lies, if one does that hosts anything. One of this node's own is waited for.
    pub(crate) async fn place_of(&self, object: &Arc<Entry>) -> Option<NodeId> {
        if !object.is_borrowed() {
            // Whatever becomes of it.
            drop(object.settling().await);
        }
        let owner = object.followed().ok()?.id().life;
        self.near(std::slice::from_ref(object)).or_else(|| self.host_of(owner))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_and_copies_count_and_who_hosts_nothing_does_not() {
        let node = |life: Life| (life != Life(1)).then_some(NodeId([life.0 as u8; 32]));
        let most = |lies: &[(usize, &[u64])]| {
            let mut all = Lies::default();
            lies.iter().for_each(|(bytes, lives)| all.add(*bytes, lives.iter().copied().map(Life)));
            all.most(node)
        };
        assert_eq!(
            most(&[(17_000, &[2]), (17_000, &[2]), (100_000, &[3])]),
            node(Life(3)),
            "one large one, two small ones"
        );
        assert_eq!(most(&[(100_000, &[2, 4]), (60_000, &[3, 4])]), node(Life(4)), "who has copies of both");
        assert_eq!(most(&[(100_000, &[1]), (20_000, &[2])]), node(Life(2)));
        assert_eq!(most(&[(100_000, &[1])]), None);
        assert_eq!(most(&[]), None);
    }
}
