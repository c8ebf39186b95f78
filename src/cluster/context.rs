//! The cluster as an actor reaches it: through the node that hosts it.

use std::any::Any;
use std::sync::Arc;

use super::client::Cluster;
use crate::actor::context::ActorContext;
use crate::actor::dispatch::Actor;
use crate::node::runtime::Node;

impl<A: Actor> ActorContext<A> {
    /// The cluster that the actor is part of, seen from its node: what it spawns belongs to that node. It may be kept;
    /// the node ends no later for it.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # #[actor] struct Counter { total: u64 }
    /// # #[methods] impl Counter {
    /// #   #[constructor] pub fn starting_at(total: u64) -> Self { Self { total } }
    /// pub async fn split(&mut self, ctx: &mut ActorContext<Self>) -> mobula::Result<CounterHandle> {
    ///     self.total /= 2;
    ///     Ok(Counter::spawn(&ctx.cluster(), self.total).await?)
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        let host: Arc<dyn Any + Send + Sync> = self.inbox().host().clone();
        Cluster::of_node(host.downcast::<Node>().expect("actors are hosted by nodes"))
    }
}
