//! What the head reserved for an actor that its spawner makes: given back if the actor does not come to be, and not before its
//! node has said so, which may be making it while nobody waits for it any more. When one that was made ends, its node gives it
//! back.

use std::sync::Arc;

use crate::actor::ending::End;
use crate::actor::error::CallError;
use crate::actor::remote::{RemoteActor, ask};
use crate::directory::request::{Ended, Gone};
use crate::id::{ActorId, Placement};
use crate::limits::BEAT;
use crate::node::runtime::Node;
use crate::schedule::Resources;

/// What is reserved for an actor: given back when this is dropped.
pub(super) struct Reserved {
    node: Arc<Node>,
    actor: ActorId,
    /// There is nothing to give back.
    kept: bool,
}

impl Reserved {
    pub(super) fn new(node: &Arc<Node>, actor: ActorId, resources: &Resources) -> Reserved {
        Reserved { node: node.clone(), actor, kept: resources.is_empty() }
    }

    /// The actor's node gives it back.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    pub(super) fn keep_if<T, E>(mut self, made: Result<T, E>) -> Result<T, E> {
        self.kept |= made.is_ok();
        made
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.kept {
            let (actor, placement, why) = (self.actor, Placement::BY_SPAWNER, Gone::Killed);
            self.node.client().report(Ended { actor, placement, why });
        }
    }
}

/// An actor that is being made elsewhere: ended again if its spawner no longer waits.
pub(super) struct Wanted(Option<(Arc<RemoteActor>, Reserved)>);

impl Wanted {
    pub(super) fn new(actor: Arc<RemoteActor>, reserved: Reserved) -> Wanted {
        Wanted(Some((actor, reserved)))
    }

    /// Its node has answered.
    pub(super) fn answered(mut self) -> Option<(Arc<RemoteActor>, Reserved)> {
        self.0.take()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let Some((actor, reserved)) = self.0.take() else { return };
        // Sent before this returns.
        let mut asked = ask::end(&actor, End::Kill, None, None);
        if reserved.kept {
            return;
        }
        let runtime = reserved.node.runtime().clone();
        runtime.spawn(async move {
            loop {
                let ended = match asked {
                    Ok(asked) => asked.answer.await,
                    Err(error) => Err(error),
                };
                // One that is silent may be making it.
                if !matches!(ended, Err(CallError::Unreachable { .. })) {
                    return drop(reserved);
                }
                tokio::time::sleep(BEAT).await;
                asked = ask::end(&actor, End::Kill, None, None);
            }
        });
    }
}
