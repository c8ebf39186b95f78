//! Slots that this node lends to its own tasks. A task that waits gives its CPU to another, and first to one of those that
//! it may wait for: so tasks that wait for tasks of their own can never hold all there are, however deep they nest.
//!
//! A slot is lent for one task. The head is not asked: the slot stays the grant's, whose owner's next task begins when the
//! lent one is over.

use std::sync::Arc;

use super::host::is_local;
use super::owner::{Held, Kind};
use crate::actor::inbox::Host as _;
use crate::id::{Epoch, GrantId};
use crate::node::runtime::Node;
use crate::schedule::{Resources, Strategy};

impl Kind {
    /// Whether a task of it may run in a slot of this size on whatever node it is.
    fn fits(&self, size: &Resources) -> bool {
        let anywhere = matches!(self.needs.strategy, Strategy::Default | Strategy::Spread);
        let cpus_only = self.needs.resources.iter().all(|(name, _)| &**name == "cpu");
        anywhere && cpus_only && self.needs.labels == Default::default() && size.lacks(&self.needs.resources).is_none()
    }
}

impl Node {
    /// Lends slots of tasks that wait, while there are such slots and tasks of this node for them.
    pub(super) fn lend_slots(self: &Arc<Self>) {
        let me = self.life();
        while self.tasks().host.any_parked() {
            let Some((grant, size)) = self.tasks().host.lend(me) else { return };
            let held = Held {
                node: self.id(),
                life: me,
                slots: 1,
                size: size.clone(),
                bundle: None,
                epoch: Epoch::default(),
                told: true,
            };
            let lent = self.own(|state, now| {
                let fits = |class: &crate::schedule::Class| {
                    state.classes.get(class.0 as usize).is_some_and(|kind| kind.fits(&size))
                };
                let Some(class) = state.queue.hungry().find(fits) else { return false };
                state.grants.insert(grant, held);
                state.queue.granted(now, grant, class, me, 1);
                state.flush(now);
                // For one task.
                state.queue.recall(grant, 0);
                true
            });
            if !lent {
                self.tasks().host.unlend(grant);
                return;
            }
        }
    }

    /// A task in a lent slot is over.
    pub(super) fn slot_returned(self: &Arc<Self>, grant: GrantId) {
        debug_assert!(is_local(grant), "other slots go back to the head");
        let of = self.tasks().host.unlend(grant);
        self.lend_slots();
        if let Some(of) = of {
            self.begin_tasks(of);
        }
    }
}
