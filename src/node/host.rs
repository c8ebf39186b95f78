//! The node as its actors know it.

use futures_util::future::BoxFuture;
use std::sync::Arc;

use super::actors::{Entry, Known};
use super::core::kept::Edition;
use super::runtime::Node;
use super::spawn::join_arguments;
use super::waits::ObjectWait;
use crate::actor::checkpoint::CheckpointError;
use crate::actor::error::EndReason;
use crate::actor::frame::{Blockers, FrameHome, Wait};
use crate::actor::hosted::Hosted;
use crate::actor::inbox::{Host, Resolved};
use crate::actor::letters::DeadLetters;
use crate::actor::lifetime::{At, Keeps, LetGo};
use crate::actor::remote::placed::{Lost, Placed};
use crate::actor::restart::Kept;
use crate::actor::slot::Replied;
use crate::directory::request::{Ended, Failure, Gone, LifeEnd};
use crate::id::{ActorId, Epoch, Key, Life, ObjectId, Placement};
use crate::object::entry::Entry as Object;
use crate::object::promised::Promised;
use crate::wire::packet::Frame;

impl Host for Node {
    fn life(&self) -> Life {
        self.last_life()
    }

    fn epoch(&self) -> Epoch {
        Node::epoch(self)
    }

    fn is_over(&self) -> bool {
        self.standing().borrow().is_over()
    }

    fn next_object(&self) -> ObjectId {
        ObjectId { life: self.last_life(), serial: self.next_object_serial() }
    }

    fn promised(&self) -> &Promised {
        Node::promised(self)
    }

    fn dead_letters(&self) -> &DeadLetters {
        Node::dead_letters(self)
    }

    fn resolve(&self, actor: ActorId, type_key: Key, host: Life, placement: Placement) -> Resolved {
        if host != Host::life(self) {
            return self.elsewhere(actor, type_key, At { host, placement });
        }
        self.hosted(actor)
    }

    fn keep(&self, actor: ActorId, type_key: Key, at: At) -> Keeps {
        self.keep_actor(actor, type_key, at)
    }

    fn let_go(&self, actor: LetGo) {
        self.let_actor_go(actor);
    }

    fn hosting(&self, actor: ActorId) -> Option<Arc<dyn Hosted>> {
        self.actors().get(actor)
    }

    fn placed_again(&self, actor: ActorId, type_key: Key, at: At) -> Arc<Placed> {
        self.placed_after(actor, type_key, at)
    }

    fn seek(&self, actor: Arc<Placed>, at: At, why: Lost) {
        self.seek_placed(actor, at, why);
    }

    fn spawn(&self, cell: BoxFuture<'static, ()>) {
        self.runtime().spawn(cell);
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) {
        self.compute().run(work);
    }

    fn ended(&self, actor: ActorId, placement: Placement, reason: &EndReason) -> Option<BoxFuture<'static, ()>> {
        tracing::debug!(%actor, %reason, "actor ended");
        // Of one that the head placed, the head can say why it ended.
        if placement == Placement::BY_SPAWNER {
            self.actors().has_ended(actor, reason.clone().shortened());
        }
        let Entry { known, .. } = self.actors().remove(actor, placement)?;
        let placement = match known {
            Known::ToItsSpawner => None,
            Known::Reserved(_) => Some(Placement(0)),
            // That it was not made, and why, is reported by who was to make it.
            Known::Placed if *reason == EndReason::NotConstructed => {
                self.checkpoints_over(actor);
                return None;
            }
            Known::Placed => Some(placement),
        };
        let report = |placement| Ended { actor, placement, why: self.gone(actor, reason) };
        let known = placement.map(|placement| self.client().report_until_known(report(placement)));
        // Its process ends once that is known.
        if let Some(only) = self.only() {
            only.over();
        }
        let mut known = known?;
        if known.is_done() {
            self.checkpoints_over(actor);
            return None;
        }
        // A head that stays away hears of it later.
        let (wait, node) = (self.client().head_wait(), self.shared());
        Some(Box::pin(async move {
            tokio::time::timeout(wait, known).await.unwrap_or_default();
            node.checkpoints_over(actor);
        }))
    }

    fn is_placed(&self, actor: ActorId) -> bool {
        !self.is_alone() && self.actors().is_placed(actor)
    }

    fn replied(&self, reply: &Arc<Object>, value: &Arc<Object>, how: Replied) {
        self.shared().call_replied(reply, value, how);
    }

    fn keep_checkpoint(
        &self,
        (actor, placement): (ActorId, Placement),
        number: u64,
        saved: &Kept,
    ) -> BoxFuture<'static, Result<(), CheckpointError>> {
        let saved = join_arguments(saved.refs(), saved.body());
        Box::pin(self.shared().save_checkpoint(actor, Edition { placement, number }, saved))
    }

    fn waits(&self, home: Arc<dyn FrameHome>) {
        self.watch(&home);
    }

    fn object_wait(&self, object: &Arc<Object>) -> Arc<dyn Wait> {
        ObjectWait::of(&self.shared(), object)
    }

    fn reentrant(&self, chain: &[Frame], blockers: &Blockers) -> Option<Vec<ActorId>> {
        Node::find_reentrance(chain, blockers)
    }
}

impl Node {
    /// Why an actor ended, as the head keeps it.
    fn gone(&self, actor: ActorId, reason: &EndReason) -> Gone {
        match reason {
            EndReason::Stopped => Gone::Stopped,
            EndReason::Panicked { message } => Gone::Panicked(message.as_str().into()),
            EndReason::RestartsSpent { restarts, message } => {
                Gone::RestartsSpent { restarts: *restarts, text: message.as_str().into() }
            }
            EndReason::NotRestored { message } => Gone::Unmade(Failure::NotRestored(message.as_str().into())),
            EndReason::ChildrenFailed { restarts, message } => {
                Gone::RestartsSpent { restarts: *restarts, text: message.as_str().into() }
            }
            EndReason::Linked(first) => Gone::Linked { actor: first.actor, text: first.message.as_str().into() },
            EndReason::NotConstructed => Gone::Unmade(Failure::Unknown),
            EndReason::OwnerDied => Gone::OwnerEnded { life: actor.life },
            EndReason::Killed | EndReason::NodeDied | EndReason::ShutDown => Gone::Killed,
            // It has left (`shutdown`).
            EndReason::Unknown => Gone::NodeEnded { life: self.last_life(), why: LifeEnd::Left },
        }
    }
}
