//! Spawning: options first, then `.await`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::client::Cluster;
use super::needed::Needed;
use super::placement::PlacementGroup;
use super::placing;
use crate::actor::dispatch::{Actor, Constructor, Isolation};
use crate::actor::error::{CallError, Never, WireError};
use crate::actor::handle::Handle;
use crate::actor::restart::Restarts;
use crate::directory::client::AskError;
use crate::directory::request::IsolationError;
use crate::directory::request::{self, FullName, Patience};
use crate::id::NodeId;
use crate::object::reference::ObjectRef;
use crate::schedule::{InvalidOption, Strategy};

pub(super) type Spawning<H, E> = Pin<Box<dyn Future<Output = Result<H, SpawnError<E>>> + Send>>;
type Make<H, E> = Box<dyn FnOnce(Cluster, Options) -> Spawning<H, E> + Send>;

/// An actor that is not spawned yet: options, then `.await`, which gives its handle once its constructor has returned.
///
/// The actor lives for as long as a [handle](Handle) of it is left anywhere, and no longer than this node; once it is
/// [`detached`](Spawn::detached), neither counts. A name, or being detached, puts it under the head's care.
///
/// What it takes of its node and where it may run is said here, or for every actor of a type by its attribute,
/// `#[actor(cpus = 1, label("zone", "a"))]`: what is said here of the same resource or label goes before that.
///
/// # Cancel safety
/// Dropped before it is ready, the actor is ended again, or never comes to be.
#[must_use = "nothing is spawned until this is awaited"]
pub struct Spawn<H, E = Never> {
    state: State<H, E>,
}

enum State<H, E> {
    New { cluster: Cluster, options: Options, make: Make<H, E> },
    Spawning(Spawning<H, E>),
    Over,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) detached: bool,
    pub(super) get: bool,
    pub(super) needed: Needed,
    pub(super) restarts: Restarts,
    pub(super) isolation: Isolation,
    /// It goes nowhere else.
    pub(super) here: bool,
    /// What it is to be near of.
    pub(super) near: Option<ObjectRef<()>>,
    pub(super) patience: Patience,
    pub(super) limit: Option<Duration>,
}

impl Options {
    /// What the attribute of an actor says.
    fn of<A: Actor>() -> Options {
        let (name, namespace, detached, get, near, limit) = (None, None, false, false, None, None);
        let (restarts, isolation, here) = (A::RESTARTS, A::ISOLATION, false);
        let (needed, patience) = (Needed::of(&A::PLACEMENT), A::PLACEMENT.patience);
        Options { name, namespace, detached, get, needed, restarts, isolation, here, near, patience, limit }
    }

    /// Whether any node will do, and the head need not know.
    pub(super) fn is_plain(&self) -> bool {
        let is_own = self.isolation == Isolation::Process;
        self.name.is_none() && !self.detached && !is_own && self.needed.is_nothing()
    }

    pub(super) fn full_name(&self, cluster: &Cluster) -> Option<FullName> {
        let name = self.name.as_deref()?.into();
        let namespace = self.namespace.as_deref().map_or_else(|| cluster.namespace().clone(), Arc::from);
        Some(FullName { namespace, name })
    }
}

impl<H: Handle, E: WireError> Spawn<H, E> {
    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        if let State::New { options, .. } = &mut self.state {
            change(options);
        }
        self
    }

    /// Gives the actor a name, by which [`lookup`](Cluster::lookup) finds it from every node.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|options| options.name = Some(name.into()))
    }

    /// The namespace of its name; the cluster's own if nothing is said.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.with(|options| options.namespace = Some(namespace.into()))
    }

    /// Lets it outlive its handles and the node that spawns it: it ends when it is stopped or killed.
    pub fn detached(self) -> Self {
        self.with(|options| options.detached = true)
    }

    /// Starts it again up to so often after a panic in one of its methods, or once its constructor has failed in doing so; and
    /// as often on another node after the death of its own, if the head knows it and not only this process hosts actors. The
    /// constructor runs with the same arguments, which are kept for that, and so is what they refer to. Its mailbox and its
    /// name stay, handles go on, its timers end. 0 by default, or what `#[actor(restarts = 3)]` says.
    ///
    /// The first restart is at once, the second in a row after 10 ms, and each further pause is twice as long, up to 5 s; an
    /// actor that ran for 10 s is started at once again. One that may not be started again ends:
    /// [`RestartsSpent`](crate::EndReason::RestartsSpent).
    ///
    /// The head keeps the arguments for the other node. It keeps values of up to 64 KiB: where they refer to objects or take more,
    /// an actor without a name that is not detached is started again on its own node only.
    pub fn restarts(self, restarts: u32) -> Self {
        self.with(|options| options.restarts.limit = restarts)
    }

    /// Counts [restarts](Spawn::restarts) within this time before each, rather than over the actor's whole life. To the
    /// millisecond, from 1 ms to 24 hours.
    pub fn restart_window(self, window: Duration) -> Self {
        self.with(|options| {
            options.needed.restart_window(window);
            options.restarts.window = Some(window);
        })
    }

    /// Makes it in a process of its own, which its node starts for it (this executable again, as for workers): a crash there is
    /// this actor's death, [`NodeDied`](CallError::NodeDied), and nobody else's. The process takes some milliseconds to start
    /// and a few megabytes, and its calls go over a socket. More [`memory`](Spawn::memory) than was asked for it does not
    /// get: who asks for that is aborted. `#[actor(isolation = "process")]` says so for every actor of a type.
    ///
    /// For [`restarts`](Spawn::restarts) its process is its node: a panic starts it again there, the process's end in another
    /// one, on any node that has room, and each is counted as of any other actor. So is the end of the node that started the
    /// process, which takes it along. [`SpawnError::Isolation`] says that no process came to be, and then the constructor has
    /// not run; that ends one that is to be started again, too.
    pub fn isolated(self) -> Self {
        self.with(|options| options.isolation = Isolation::Process)
    }

    /// Makes it in this process, whether that hosts actors or not.
    pub(super) fn in_this_process(self) -> Self {
        self.with(|options| options.here = true)
    }

    /// Takes so many CPUs of its node, in steps of 1/10,000, until it ends. By default an actor takes none.
    pub fn cpus(self, cpus: f64) -> Self {
        self.resource("cpu", cpus)
    }

    /// Takes so many GPUs of its node.
    pub fn gpus(self, gpus: f64) -> Self {
        self.resource("gpu", gpus)
    }

    /// Takes so much memory of its node, in bytes. A reservation: nothing stops the actor from using more, unless it is
    /// [`isolated`](Spawn::isolated).
    pub fn memory(self, bytes: u64) -> Self {
        self.resource("memory", bytes as f64)
    }

    /// Takes so much of a named resource of its node. What no node has fails the spawn at once, saying so.
    pub fn resource(self, name: impl AsRef<str>, amount: f64) -> Self {
        self.with(|options| options.needed.resource(name.as_ref(), amount))
    }

    /// Only on nodes whose label `key` is `value`.
    pub fn label(self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.with(|options| options.needed.label(key.as_ref(), value.into()))
    }

    /// Only on nodes whose labels meet a condition: a value, `in(a, b)`, `*` for any value, each also with a `!` before it.
    pub fn select(self, key: impl AsRef<str>, condition: impl AsRef<str>) -> Self {
        self.with(|options| options.needed.select(key.as_ref(), condition.as_ref()))
    }

    /// What is said of labels after this is asked of nodes where none of the former will do now; after the last, any node will.
    pub fn otherwise(self) -> Self {
        self.with(|options| options.needed.otherwise())
    }

    /// Where a large object lies, while that node has room: there the actor reads it in place. Waits until this node's own
    /// object is there. An actor of which more is said by [`on`](Spawn::on), [`prefer`](Spawn::prefer) and the like goes there.
    pub fn near<T: ?Sized, X>(self, object: &ObjectRef<T, X>) -> Self {
        let object = ObjectRef::new(object.entry().clone());
        self.with(|options| options.near = Some(object))
    }

    /// Only on this node.
    pub fn on(self, node: NodeId) -> Self {
        self.with(|options| options.needed.choose(Strategy::Node(node)))
    }

    /// On this node while it has room, else on any.
    pub fn prefer(self, node: NodeId) -> Self {
        self.with(|options| options.needed.choose(Strategy::Prefer(node)))
    }

    /// On the node that is emptiest, rather than first on those that are in use.
    pub fn spread(self) -> Self {
        self.with(|options| options.needed.choose(Strategy::Spread))
    }

    /// In a placement group, in whichever bundle has room.
    pub fn within(self, group: &PlacementGroup) -> Self {
        let (group, index) = (group.id(), None);
        self.with(|options| options.needed.choose(Strategy::Bundle { group, index }))
    }

    /// In one bundle of a placement group, the first of which is 0.
    pub fn within_bundle(self, group: &PlacementGroup, bundle: u32) -> Self {
        let (group, index) = (group.id(), Some(bundle));
        self.with(|options| options.needed.choose(Strategy::Bundle { group, index }))
    }

    /// Waits until a node comes that has what it needs, instead of failing at once when none has.
    pub fn wait_for_node(self) -> Self {
        self.with(|options| options.patience = Patience::Wait)
    }

    /// Gives up unless the actor is made so long after this is first polled: [`SpawnError::Timeout`] says what it was waiting
    /// for, and the actor is ended again, or never comes to be.
    pub fn timeout(self, limit: Duration) -> Self {
        self.with(|options| options.limit = Some(limit))
    }

    /// The actor that holds the name, whoever spawned it, or a new one: one atomic step at the head.
    ///
    /// Without a name it is the same as awaiting the spawn.
    pub fn get_or_spawn(self) -> Self {
        self.with(|options| options.get = true)
    }
}

impl<H: Handle, E: WireError> Future for Spawn<H, E> {
    type Output = Result<H, SpawnError<E>>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::New { cluster, options, make } => self.state = State::Spawning(make(cluster, options)),
                State::Spawning(mut spawning) => {
                    let polled = spawning.as_mut().poll(cx);
                    if polled.is_pending() {
                        self.state = State::Spawning(spawning);
                    }
                    return polled;
                }
                State::Over => panic!("a spawn is not polled again after it was ready"),
            }
        }
    }
}

impl<H, E> Unpin for Spawn<H, E> {}

impl<H, E> fmt::Debug for Spawn<H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::New { options, .. } => f.debug_tuple("Spawn").field(options).finish(),
            State::Spawning(_) => f.write_str("Spawn(under way)"),
            State::Over => f.write_str("Spawn(over)"),
        }
    }
}

/// What the generated `spawn` calls.
pub fn constructed<C: Constructor>(cluster: &Cluster, message: C) -> Spawn<<C::Actor as Actor>::Handle, C::Error> {
    let make: Make<_, _> = Box::new(|cluster, options| placing::spawn(cluster, options, message));
    Spawn { state: State::New { cluster: cluster.clone(), options: Options::of::<C::Actor>(), make } }
}

/// Why an actor was not spawned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError<E = Never> {
    /// The constructor returned this error.
    #[error("{0}")]
    App(E),
    /// The constructor panicked.
    #[error("the constructor panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// An option is not allowed.
    #[error(transparent)]
    Invalid(#[from] InvalidOption),
    /// The head found no place for it, or its name is taken.
    #[error("{0}")]
    NotPlaced(request::SpawnError),
    /// `.timeout(..)` ran out.
    #[error("the actor was not made within {after:?}: it was {waiting}")]
    Timeout {
        /// The bound.
        after: Duration,
        /// What it was waiting for.
        waiting: String,
    },
    /// It got no process of its own.
    #[error("{0}")]
    Isolation(IsolationError),
    /// The head could not be asked.
    #[error("{0}")]
    Head(AskError),
    /// The node that was to make it could not be reached, or ended.
    #[error("the node that was to make the actor: {0}")]
    Node(CallError),
}

impl SpawnError<Never> {
    /// The same error where constructors fail with `E`.
    pub(super) fn widen<E>(self) -> SpawnError<E> {
        match self {
            SpawnError::App(never) => match never {},
            SpawnError::Panicked { message } => SpawnError::Panicked { message },
            SpawnError::Invalid(invalid) => SpawnError::Invalid(invalid),
            SpawnError::NotPlaced(why) => SpawnError::NotPlaced(why),
            SpawnError::Timeout { after, waiting } => SpawnError::Timeout { after, waiting },
            SpawnError::Isolation(why) => SpawnError::Isolation(why),
            SpawnError::Head(why) => SpawnError::Head(why),
            SpawnError::Node(why) => SpawnError::Node(why),
        }
    }
}

impl<E> SpawnError<E> {
    /// What the constructor's own run ended in.
    pub(super) fn from_constructor(error: CallError<E>) -> Self {
        match error.into_app() {
            Ok(error) => SpawnError::App(error),
            Err(CallError::Panicked { message, .. }) => SpawnError::Panicked { message },
            Err(other) => SpawnError::Node(other),
        }
    }
}
