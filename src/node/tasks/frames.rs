//! The frames of tasks that wait here (PROTOCOLS §5.6): the node is their home, as an actor is that of its calls.

use std::sync::{Arc, Weak};

use super::line::Whose;
use crate::actor::frame::{self, Chain, FrameHome, Serves};
use crate::actor::occupied::Occupied;
use crate::id::{ActorId, Incarnation, Life, ObjectId, Placement};
use crate::node::runtime::Node;

/// The tasks that run on a node and have waited.
pub(in crate::node) struct Frames {
    node: Weak<Node>,
    waiting: Occupied,
}

impl Frames {
    pub(super) fn new(node: Weak<Node>) -> Arc<Self> {
        Arc::new(Frames { node, waiting: Occupied::default() })
    }

    /// A task that begins, and makes this object of this node, by whose serial its frame is numbered.
    pub(super) fn begin(self: &Arc<Self>, whose: &Whose, makes: ObjectId) -> frame::Task {
        let serves = match whose {
            Whose::Peer(arrived) => arrived.serves(),
            Whose::Own(_) | Whose::Alone => Serves::Object(makes),
        };
        frame::Task::new(self.clone(), serves, makes.serial)
    }

    /// The frame that a task runs in, if it ever waited.
    pub(in crate::node) fn running(&self, task: Serves) -> Option<Arc<Chain>> {
        self.waiting.running(task)
    }
}

impl FrameHome for Frames {
    fn id(&self) -> ActorId {
        ActorId::of_node(self.node.upgrade().map_or(Life(0), |node| node.last_life()))
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation { placement: Placement::BY_SPAWNER, restart: 0 }
    }

    fn is_fenced(&self) -> bool {
        false
    }

    fn occupied(self: Arc<Self>, frame: &Arc<Chain>) {
        if self.waiting.enter(frame)
            && let Some(node) = self.node.upgrade()
        {
            let home: Arc<dyn FrameHome> = self;
            node.watch(&home);
        }
    }

    fn left(&self, frame: &Chain) {
        self.waiting.leave(frame);
    }

    fn watch(&self) -> Vec<Arc<Chain>> {
        self.waiting.watch()
    }
}
