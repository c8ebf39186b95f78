//! How far a spawn is, for the error of one whose time is up.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use super::spawn::{SpawnError, Spawning};
use crate::directory::client::Reason;
use crate::id::NodeId;

/// How far a spawn is. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Stage(Arc<Mutex<At>>);

#[derive(Clone, Default)]
enum At {
    #[default]
    Begins,
    /// The head was asked for a node, or for the actor itself.
    Head(Reason),
    /// This node was asked to make it.
    Node(NodeId),
}

impl Stage {
    pub(super) fn asks_head(&self, reason: Reason) {
        *self.0.lock() = At::Head(reason);
    }

    pub(super) fn asks_node(&self, node: NodeId) {
        *self.0.lock() = At::Node(node);
    }

    fn waiting(&self) -> String {
        let at = self.0.lock().clone();
        match at {
            At::Begins => {
                "waiting for what it is made of: its arguments, or this node's life in the cluster".to_owned()
            }
            At::Head(reason) => match reason.why() {
                Some(why) => format!("waiting for a node: {why}"),
                None => "waiting for the head, or being made".to_owned(),
            },
            At::Node(node) => format!("being made on node {node}"),
        }
    }

    /// Bounds a spawn in time, if it is to be bounded.
    pub(super) fn bound<H, E>(self, limit: Option<Duration>, mut work: Spawning<H, E>) -> Spawning<H, E>
    where
        H: 'static,
        E: 'static,
    {
        let Some(after) = limit else { return work };
        Box::pin(async move {
            match tokio::time::timeout(after, &mut work).await {
                Ok(made) => made,
                // Said before the work is dropped, and what it asked forgotten.
                Err(_) => Err(SpawnError::Timeout { after, waiting: self.waiting() }),
            }
        })
    }
}
