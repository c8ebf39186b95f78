//! An actor of any type, as its node knows it.

use futures_util::future::BoxFuture;
use std::any::Any;
use std::sync::Arc;

use super::error::EndReason;
use super::frame::{FrameHome, Held, Serves};
use super::link::LinkError;
use super::mailbox::Then;
use super::remote::host::{Incoming, Served};
use crate::id::{ActorId, Key, ObjectId, Placement};

/// An actor of any type, as its node keeps it.
pub(crate) trait Hosted: FrameHome {
    /// Where it was put.
    fn placement(&self) -> Placement;
    /// Takes a call that arrived over a link, or answers it with a fault.
    fn deliver(self: Arc<Self>, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>>;
    /// Stops it: see [`Handle::stop`](super::handle::Handle::stop).
    fn stop(&self, then: Then);
    /// Ends it at once, for this reason.
    fn close(&self, reason: EndReason);
    /// Its end.
    fn over(self: Arc<Self>) -> BoxFuture<'static, EndReason>;
    /// Its end is to be that of another, once that ends so.
    fn linked(self: Arc<Self>, other: ActorId, end: BoxFuture<'static, EndReason>) -> Result<(), LinkError>;
    /// It is no more.
    fn unlinked(&self, other: ActorId);
    /// What was saved of it last is where it was no more.
    fn save_again(self: Arc<Self>);
    /// Its inbox, for handles of its own type.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Why a call of a peer to this method has no answer yet. `begun` is the call, if it has left the mailbox.
    fn held(&self, method: Key, begun: Option<Serves>) -> Held;
    /// Why this object of this node has no value yet, which a call to this method makes. That may stand in the mailbox, or run.
    fn held_object(&self, method: Key, object: ObjectId) -> Held;
}
