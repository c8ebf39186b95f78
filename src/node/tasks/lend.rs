//! Slots that this node lends to its own tasks. A task that waits gives its CPU to another, and first to one of those that
//! it may wait for: so tasks that wait for tasks of their own can never hold all there are, however deep they nest.
//!
//! A slot is lent for one task. The head is not asked: the slot stays the grant's, whose owner's next task begins when the
//! lent one is over, or waits itself. Both sides look for it: the queue whenever it was changed, the host whenever a slot
//! may have come to be free.

use std::sync::Arc;

use super::classes::Kind;
use super::host::{Host, is_local};
use super::owner::{Held, Owner, State};
use crate::actor::inbox::Host as _;
use crate::id::{Epoch, GrantId, Life, NodeId};
use crate::node::runtime::Node;
use crate::schedule::{Class, Resources, Strategy};

impl Kind {
    /// Whether a task of it may run in a slot of this size on this node, whatever the node's labels.
    fn fits(&self, size: &Resources, here: NodeId) -> bool {
        let anywhere = match self.needs.strategy {
            Strategy::Default | Strategy::Spread | Strategy::Prefer(_) => true,
            Strategy::Node(node) => node == here,
            Strategy::Bundle { .. } => false,
        };
        anywhere
            && self.needs.are_cpus()
            && self.needs.labels == Default::default()
            && size.lacks(&self.needs.resources).is_none()
    }
}

impl State {
    /// Tasks that are ready take slots of tasks that wait on this node, while there are both. Whether some are ready still.
    fn borrow_slots(&mut self, host: &Host, me: (NodeId, Life)) {
        let hungry: Vec<Class> = self.queue.hungry().collect();
        for class in hungry {
            let Some(kind) = self.kind(class).cloned() else { continue };
            while let Some((grant, size)) = host.lend(me.1, |size| kind.fits(size, me.0)) {
                if !self.queue.lent(grant, class, me.1) {
                    host.unlend(grant);
                    break;
                }
                let ((node, life), slots, bundle, epoch) = (me, 1, None, Epoch::default());
                let size = size.into();
                self.grants.insert(grant, Held { node, life, slots, size, bundle, epoch, told: true, heard: 0 });
            }
        }
    }
}

impl Node {
    /// What follows from changes of the queue; and tasks that are ready then are lent slots.
    pub(super) fn flush(&self, owner: &Owner, state: &mut State, now: crate::clock::Moment) {
        state.flush(now);
        let is_hungry = |state: &State| state.queue.hungry().next().is_some();
        // Said before the look at the host, which says that it lends before it looks at this: one of both sees the other.
        owner.hungry.set(is_hungry(state));
        let host = &self.tasks().host;
        if owner.hungry.get() && host.lends() {
            state.borrow_slots(host, (self.id(), self.life()));
            state.flush(now);
            owner.hungry.set(is_hungry(state));
        }
    }

    /// Lends slots, if there may be both slots and tasks of this node for them.
    pub(super) fn lend_slots(self: &Arc<Self>) {
        if self.tasks().host.lends() && self.tasks().owner.hungry.get() {
            self.own(|_, _| ());
        }
    }

    /// A task in a lent slot is over.
    pub(super) fn slot_returned(self: &Arc<Self>, grant: GrantId) {
        debug_assert!(is_local(grant), "other slots go back to the head");
        if let Some(of) = self.tasks().host.unlend(grant) {
            self.begin_tasks(of);
        }
    }
}
