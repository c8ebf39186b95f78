//! Supervisors: actors that start others, and start them again when they end.

mod child;
mod error;
mod keeper;

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use self::child::Spec;
use self::keeper::{Plan, Policy};
use super::client::Cluster;
use crate::actor::core::supervision::{Kind, Strategy};
use crate::actor::dispatch::Actor;
use crate::actor::handle::Handle;
use crate::actor::restart::Restarts;
use crate::id::ActorId;
use crate::limits::{CHILD_STOP, CHILDREN, INTENSITY, INTENSITY_WINDOW};
use crate::object::parcel::Parcel;

pub use self::error::SupervisorError;
pub use self::keeper::{Supervisor, SupervisorHandle};

impl Supervisor {
    /// A child that ends is started again by itself: for children that know nothing of each other.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # use mobula::Supervisor;
    /// # #[actor] struct Store { entries: u64 }
    /// # #[methods] impl Store {
    /// #   #[constructor] pub fn new() -> Self { Store { entries: 0 } }
    /// #   pub fn put(&mut self) -> u64 { self.entries += 1; self.entries }
    /// # }
    /// # #[actor] struct Web { store: StoreHandle }
    /// # #[methods] impl Web {
    /// #   #[constructor] pub fn over(store: StoreHandle) -> Self { Web { store } }
    /// #   pub async fn post(&mut self) -> Result<u64, CallError> { self.store.put().await }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> mobula::Result<()> {
    /// # let cluster = Cluster::local().await?;
    /// let supervisor = Supervisor::rest_for_one()
    ///     .child("store", |cluster| Store::spawn(cluster).name("store"))
    ///     .child("web", |cluster| {
    ///         let (store, cluster) = (cluster.sibling::<StoreHandle>("store"), cluster.cluster().clone());
    ///         async move { Ok::<_, mobula::Failure>(Web::spawn(&cluster, store?).await?) }
    ///     })
    ///     .start(&cluster)
    ///     .await?;
    /// let web = supervisor.child::<WebHandle>("web").await?;
    /// assert_eq!(web.post().await?, 1);
    /// supervisor.stop().await?; // the web first, then the store
    /// # Ok(())
    /// # }
    /// ```
    pub fn one_for_one() -> NewSupervisor {
        NewSupervisor::new(Strategy::OneForOne)
    }

    /// When a child ends, all are stopped, the last first, and started again in their order: for children that cannot be
    /// without each other.
    pub fn one_for_all() -> NewSupervisor {
        NewSupervisor::new(Strategy::OneForAll)
    }

    /// When a child ends, those that were started after it are stopped, the last first, and it and they are started again:
    /// for children that hold handles of those before them.
    pub fn rest_for_one() -> NewSupervisor {
        NewSupervisor::new(Strategy::RestForOne)
    }
}

/// A supervisor that is not started yet: its children, and how it deals with their ends.
#[must_use = "nothing is started until this is"]
pub struct NewSupervisor {
    strategy: Strategy,
    intensity: Restarts,
    stop_within: Duration,
    children: Vec<Spec>,
}

impl NewSupervisor {
    fn new(strategy: Strategy) -> Self {
        let intensity = Restarts { limit: INTENSITY, window: Some(INTENSITY_WINDOW) };
        NewSupervisor { strategy, intensity, stop_within: CHILD_STOP, children: Vec::new() }
    }

    /// Starts children again so often within such a time, and no more: with the next end it stops all of them, the last first,
    /// and ends itself, by [`ChildrenFailed`](crate::EndReason::ChildrenFailed). 3 within 5 s if nothing is said. A start that
    /// fails counts as well. The first restart is at once, and pauses between those that follow grow from 10 ms up to 5 s.
    pub fn intensity(mut self, restarts: u32, within: Duration) -> Self {
        self.intensity = Restarts { limit: restarts, window: Some(within) };
        self
    }

    /// How long a child may take to stop before it is killed. 5 s if nothing is said.
    pub fn stop_within(mut self, limit: Duration) -> Self {
        self.stop_within = limit;
        self
    }

    /// A child that is started again whenever it ends. `make` spawns it, with whatever options, each time anew: what it is given
    /// is the [`Cluster`], and knows the children before it. A supervisor may be a child, too.
    pub fn child<H, S, X, F>(self, name: impl Into<String>, make: F) -> Self
    where
        H: Handle,
        F: Fn(&ChildContext<'_>) -> S + Send + Sync + 'static,
        S: IntoFuture<Output = Result<H, X>>,
        S::IntoFuture: Send + 'static,
        X: fmt::Display,
    {
        self.with(Spec::new(name.into(), Kind::Permanent, make))
    }

    /// A [`child`](NewSupervisor::child) that is started again unless it was stopped: by [`stop`](Handle::stop), by itself, or
    /// because nobody held it any more. It may come to its end: with others, of one that failed, it is started again.
    pub fn transient<H, S, X, F>(self, name: impl Into<String>, make: F) -> Self
    where
        H: Handle,
        F: Fn(&ChildContext<'_>) -> S + Send + Sync + 'static,
        S: IntoFuture<Output = Result<H, X>>,
        S::IntoFuture: Send + 'static,
        X: fmt::Display,
    {
        self.with(Spec::new(name.into(), Kind::Transient, make))
    }

    /// A [`child`](NewSupervisor::child) that is never started again. Its end is nobody else's.
    pub fn temporary<H, S, X, F>(self, name: impl Into<String>, make: F) -> Self
    where
        H: Handle,
        F: Fn(&ChildContext<'_>) -> S + Send + Sync + 'static,
        S: IntoFuture<Output = Result<H, X>>,
        S::IntoFuture: Send + 'static,
        X: fmt::Display,
    {
        self.with(Spec::new(name.into(), Kind::Temporary, make))
    }

    fn with(mut self, child: Spec) -> Self {
        self.children.push(child);
        self
    }

    /// Starts the children, one after the other in the order in which they were said, and gives the supervisor's handle.
    ///
    /// The supervisor is an actor of this process, wherever its children are: it ends with its last handle, stops its children,
    /// the last first, when it is stopped, and kills them when it is killed. To stop it takes as long as that takes. With the
    /// process its children end, unless they are detached.
    ///
    /// # Errors
    /// Those of its children, of which those that were started are stopped again; names that are not unlike, and bounds.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, children that were started are killed again.
    pub fn start(
        self,
        cluster: &Cluster,
    ) -> impl Future<Output = Result<SupervisorHandle, SupervisorError>> + Send + use<> {
        let cluster = cluster.clone();
        async move {
            self.check()?;
            let NewSupervisor { strategy, intensity, stop_within, children } = self;
            let plan = Plan(Arc::new(Policy { strategy, intensity, stop_within, children }));
            Ok(Supervisor::spawn(&cluster, plan).in_this_process().await?)
        }
    }

    fn check(&self) -> Result<(), SupervisorError> {
        if self.children.len() > CHILDREN {
            return Err(SupervisorError::TooMany { limit: CHILDREN });
        }
        if !self.intensity.window.is_some_and(Restarts::count_within) {
            return Err(SupervisorError::Window);
        }
        let mut names = BTreeSet::new();
        match self.children.iter().find(|child| !names.insert(&child.name)) {
            Some(Spec { name, .. }) => Err(SupervisorError::SameName { name: name.clone() }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for NewSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.children.iter().map(|child| &child.name).collect();
        f.debug_struct("NewSupervisor")
            .field("strategy", &self.strategy)
            .field("children", &names)
            .finish_non_exhaustive()
    }
}

/// What a child is made with: the [`Cluster`], and the children before it.
pub struct ChildContext<'a> {
    supervisor: &'a Supervisor,
}

impl ChildContext<'_> {
    /// The cluster, which this derefs to: to be kept, it is cloned.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.supervisor.cluster()
    }

    /// A child that was started before this one, as it is now: it is the one that lives as long, where this one is started again
    /// with it.
    ///
    /// # Errors
    /// There is no such child, it is of another type, or it does not run.
    pub fn sibling<H: Handle>(&self, name: &str) -> Result<H, SupervisorError> {
        let found = self.supervisor.running(name)?;
        let found = found.ok_or_else(|| SupervisorError::NotYet { name: name.to_owned() })?;
        open(name, (found.kind(), found.parcel()))
    }
}

impl Deref for ChildContext<'_> {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        self.supervisor.cluster()
    }
}

impl fmt::Debug for ChildContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildContext")
    }
}

/// How a child stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildStatus {
    /// Its name.
    pub name: String,
    /// The actor that it is now; none while it is not running.
    pub actor: Option<ActorId>,
    /// How often it was started after the first time.
    pub restarts: u64,
}

impl SupervisorHandle {
    /// The child of this name, as it is now; waits while it is being started, or once it is known to have ended. A child that
    /// is started again is another actor, for which this is asked anew: a handle of the former one finds it ended.
    ///
    /// # Errors
    /// There is no such child, it is of another type, it has ended for good, or the supervisor has.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub async fn child<H: Handle>(&self, name: &str) -> Result<H, SupervisorError> {
        open(name, self.find(name.to_owned()).await?)
    }

    /// How the children stand, in the order in which they are started.
    ///
    /// # Errors
    /// The supervisor has ended, or cannot be reached.
    pub async fn children(&self) -> Result<Vec<ChildStatus>, SupervisorError> {
        self.list().await.map_err(SupervisorError::Call)
    }
}

fn open<H: Handle>(name: &str, (kind, handle): (String, Parcel)) -> Result<H, SupervisorError> {
    let name = || name.to_owned();
    if kind != H::Actor::type_name().to_string() {
        return Err(SupervisorError::OtherType { name: name(), kind });
    }
    handle.open_shared().map_err(|error| SupervisorError::Handle { name: name(), message: error.to_string() })
}
