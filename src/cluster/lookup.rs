//! Finding an actor by its name.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::client::Cluster;
use super::placing;
use crate::actor::dispatch::Actor;
use crate::actor::error::CallError;
use crate::actor::handle::Handle;
use crate::directory::client::AskError;
use crate::directory::request;
use std::sync::Arc;

type Looking<H> = Pin<Box<dyn Future<Output = Result<H, LookupError>> + Send>>;

/// A name to look up. Await it; once the actor is made, it gives the actor's handle.
#[must_use = "nothing is looked up until this is awaited"]
pub struct Lookup<H> {
    cluster: Cluster,
    name: String,
    namespace: Option<String>,
    looking: Option<Looking<H>>,
}

impl<H: Handle> Lookup<H> {
    pub(super) fn new(cluster: Cluster, name: String) -> Self {
        Lookup { cluster, name, namespace: None, looking: None }
    }

    /// The namespace of the name; the cluster's own if nothing is said.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

impl<H> fmt::Debug for Lookup<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<H: Handle> Future for Lookup<H> {
    type Output = Result<H, LookupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.looking.is_none() {
            let namespace = self.namespace.take().map_or_else(|| self.cluster.namespace().clone(), Arc::from);
            let name = request::FullName { namespace, name: self.name.as_str().into() };
            let type_name = H::Actor::type_name();
            let kind = request::ActorType { key: type_name.key(), name: type_name.to_string().into() };
            let node = self.cluster.node().clone();
            self.looking = Some(Box::pin(async move {
                let found = node.client().ask(request::Lookup { name, kind }).await.map_err(LookupError::Head)?;
                placing::handle(&node, &found.map_err(LookupError::NotFound)?, None).map_err(LookupError::Gone)
            }));
        }
        self.looking.as_mut().map_or(Poll::Pending, |looking| looking.as_mut().poll(cx))
    }
}

/// `Counter::lookup(&cluster, "hits")`: the twin of [`Cluster::lookup`] that reads from the type. A user's own function
/// of that name hides it.
pub trait LookupActor: Actor {
    /// The handle of the actor that has this name, in the cluster's namespace.
    fn lookup(cluster: &Cluster, name: impl Into<String>) -> Lookup<Self::Handle> {
        cluster.lookup::<Self>(name)
    }
}

impl<A: Actor> LookupActor for A {}

/// Why no actor was found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody holds the name, or an actor of another type.
    #[error("{0}")]
    NotFound(request::LookupError),
    /// The head could not be asked.
    #[error("{0}")]
    Head(AskError),
    /// It ended just then.
    #[error("{0}")]
    Gone(CallError),
}
