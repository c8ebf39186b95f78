//! What the macros generate for each actor: the traits that they implement, and the tables that a node dispatches by.

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use super::args::Arguments;
use super::cell::Cell;
use super::checkpoint::Checkpoint;
use super::context::ActorContext;
use super::error::WireError;
use super::handle::Handle;
use super::inbox::{self, Inbox};
use super::job::Access;
use super::remote::host::{Incoming, Served};
use super::reply::Reply;
use super::restart::Restarts;
use super::spawn::{self, Planting};
use crate::directory::request::Patience;
use crate::id::Key;
use crate::schedule::Strategy;
use crate::wire::codec::DecodeError;

/// A type's stable name: crate and type, or the explicit name alone. Module paths never enter: a module may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeName {
    /// The crate; empty where the name was given explicitly.
    pub krate: &'static str,
    /// The type, or the explicit name.
    pub name: &'static str,
    /// What is in the place of its parameters, in angle brackets. Empty if it has none.
    pub arguments: &'static str,
}

/// In the place of parameters that have no name.
const UNNAMED: &str = "<_>";

impl TypeName {
    /// Of a type in the module of this path.
    #[must_use]
    pub const fn within(module_path: &'static str, name: &'static str) -> Self {
        TypeName { krate: crate_of(module_path), name, arguments: "" }
    }

    /// The explicit name.
    #[must_use]
    pub const fn given(name: &'static str) -> Self {
        TypeName { krate: "", name, arguments: "" }
    }

    /// Of a generic type, of whichever parameters.
    #[must_use]
    pub const fn generic(self) -> Self {
        self.instance(UNNAMED)
    }

    /// Whether it is one of a generic type that says nothing of the parameters.
    pub(crate) fn is_unnamed(self) -> bool {
        self.arguments == UNNAMED
    }

    /// With this in the place of its parameters.
    #[must_use]
    pub const fn instance(self, arguments: &'static str) -> Self {
        TypeName { arguments, ..self }
    }

    /// What a request calls the type by.
    #[must_use]
    pub const fn key(self) -> Key {
        match Key::of(self.krate, self.name) {
            plain if self.arguments.is_empty() => plain,
            generic => generic.and(self.arguments),
        }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TypeName { krate, name, arguments } = self;
        match *krate {
            "" => write!(f, "{name}{arguments}"),
            krate => write!(f, "{krate}::{name}{arguments}"),
        }
    }
}

/// The crate's part of a `module_path!()`: works without cargo, and a module may move.
const fn crate_of(module_path: &'static str) -> &'static str {
    let bytes = module_path.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b':' {
        at += 1;
    }
    module_path.split_at(at).0
}

/// The name of one instance of a generic actor or task, which `register!` gives it: the compiler's own spelling of types is not stable.
#[derive(Clone, Copy)]
pub struct Instance {
    of: fn() -> TypeId,
    name: TypeName,
}

impl Instance {
    /// `T`, whose stable name this is.
    #[must_use]
    pub(crate) const fn of<T: 'static>(name: TypeName) -> Self {
        Instance { of: TypeId::of::<T>, name }
    }

    /// By its parameters.
    #[must_use]
    pub const fn with(self, arguments: &'static str) -> Self {
        Instance { name: self.name.instance(arguments), ..self }
    }

    /// By an explicit name.
    #[must_use]
    pub const fn called(self, name: &'static str) -> Self {
        Instance { name: TypeName::given(name), ..self }
    }

    pub(crate) fn type_id(self) -> TypeId {
        (self.of)()
    }

    /// Every name that was given; a type may have been given two.
    pub(crate) fn all() -> impl Iterator<Item = (TypeId, TypeName)> {
        inventory::iter::<Instance>.into_iter().map(|instance| ((instance.of)(), instance.name))
    }
}

inventory::collect!(Instance);

/// What `T` was registered as, a generic actor or task; else `otherwise`, by which no other process finds it.
#[must_use]
pub fn instance<T: 'static>(otherwise: TypeName) -> TypeName {
    static NAMES: LazyLock<HashMap<TypeId, TypeName>> = LazyLock::new(|| Instance::all().collect());
    NAMES.get(&TypeId::of::<T>()).copied().unwrap_or(otherwise)
}

/// Whose process an actor lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Its node's, with others.
    #[default]
    Node,
    /// One of its own, whose end is the end of this actor and of nothing else.
    Process,
}

/// What the attribute of an actor or a task says of where it runs, and of what it takes there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacementOptions {
    /// CPUs that it takes of its node.
    pub cpus: f64,
    /// GPUs.
    pub gpus: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// How much of resources of any other name.
    pub resources: &'static [(&'static str, f64)],
    /// Labels that its node must have.
    pub labels: &'static [(&'static str, &'static str)],
    /// Conditions that other labels of its node must meet.
    pub conditions: &'static [(&'static str, &'static str)],
    /// How to choose among the nodes that will do.
    pub strategy: Strategy,
    /// What becomes of it while no node has what it needs.
    pub patience: Patience,
}

impl PlacementOptions {
    /// Any node will do, and nothing is taken of it.
    pub const NONE: PlacementOptions = PlacementOptions {
        cpus: 0.0,
        gpus: 0.0,
        memory: 0,
        resources: &[],
        labels: &[],
        conditions: &[],
        strategy: Strategy::Default,
        patience: Patience::Fail,
    };
}

/// A type whose values are actors. Implemented by `#[actor]`.
#[diagnostic::on_unimplemented(message = "`{Self}` is not an actor", note = "put `#[actor]` on the struct")]
pub trait Actor: Sized + Send + 'static {
    /// Its stable name; that of a generic type says nothing of its parameters.
    const NAME: TypeName;
    /// What nodes call it by: its stable name, that of this instance if it is generic.
    fn type_name() -> TypeName {
        Self::NAME
    }
    /// How often it is started again after a panic, unless its spawner says otherwise.
    const RESTARTS: Restarts = Restarts::NEVER;
    /// Whose process it lives in, unless its spawner says otherwise.
    const ISOLATION: Isolation = Isolation::Node;
    /// Where it runs, as far as its spawner does not say otherwise.
    const PLACEMENT: PlacementOptions = PlacementOptions::NONE;
    /// Its typed address.
    type Handle: Handle<Actor = Self>;
}

/// How many `&self` methods of a group run at once.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimit {
    /// The group; the first is `default`.
    pub name: &'static str,
    /// At least one.
    pub concurrency: usize,
}

/// An actor's messages. Implemented by `#[methods]`.
#[diagnostic::on_unimplemented(message = "`{Self}` has no messages", note = "put `#[methods]` on its `impl` block")]
pub trait Methods: Actor {
    /// Every method.
    const METHODS: &'static [MethodEntry<Self>];
    /// Every constructor.
    const CONSTRUCTORS: &'static [ConstructorEntry<Self>];
    /// Empty: one call at a time. Otherwise the groups of `&self` methods, the default one first.
    const GROUPS: &'static [GroupLimit];
    /// The actor's whole life: [`drive_exclusive`](super::cell::drive_exclusive) where [`GROUPS`](Self::GROUPS) is
    /// empty, else [`drive_shared`](super::cell::drive_shared).
    fn drive(cell: Cell<Self>) -> BoxFuture<'static, ()>;
    /// How its state is saved and restored, if it says so.
    const CHECKPOINT: Option<Checkpoint<Self>> = None;
    /// Runs after the last call of an actor that was stopped.
    fn on_stop<'a>(&'a mut self, ctx: &'a mut ActorContext<Self>) -> BoxFuture<'a, ()> {
        let _ = ctx;
        Box::pin(std::future::ready(()))
    }
}

/// The arguments of one method of one actor: what a message is.
pub trait Method: Arguments + Serialize + DeserializeOwned {
    /// Whose method it is.
    type Actor: Methods;
    /// What it returns: a value, or [`Streamed`](super::reply::Streamed) items.
    type Reply: Reply;
    /// What it fails with.
    type Error: WireError;
    /// Its stable name.
    const NAME: &'static str;
    /// Its parameters' and return type's tokens.
    const SIGNATURE: &'static str;
    /// Its body.
    const CODE: Code<Self>;
    /// What becomes of it when its caller cancels.
    const CANCEL: OnCancel = OnCancel::Finish;
    /// How often it is tried again in later runs of its actor, unless its caller says otherwise.
    const RETRIES: u8 = 0;
    /// What a request calls it by.
    const KEY: Key = Key::of(Self::NAME, Self::SIGNATURE);
}

/// What becomes of a method that runs when its caller cancels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCancel {
    /// It finishes, and its reply is discarded.
    Finish,
    /// It is dropped at its next await.
    Drop,
}

/// A body that has the actor for itself.
pub type Alone<M> = for<'a> fn(M, &'a mut ActorOf<M>, &'a mut ContextOf<M>) -> Ran<'a, M>;
/// A body that shares the actor with others.
pub type Beside<M> = for<'a> fn(M, &'a ActorOf<M>, &'a mut ContextOf<M>) -> Ran<'a, M>;
/// A blocking body that has the actor for itself.
pub type BlockingAlone<M> = for<'a> fn(M, &'a mut ActorOf<M>, &'a mut ContextOf<M>) -> ResultOf<M>;
/// A blocking body that shares the actor with others.
pub type BlockingBeside<M> = for<'a> fn(M, &'a ActorOf<M>, &'a mut ContextOf<M>) -> ResultOf<M>;

type ActorOf<M> = <M as Method>::Actor;
type ContextOf<M> = ActorContext<<M as Method>::Actor>;
type ResultOf<M> = Result<<M as Method>::Reply, <M as Method>::Error>;

/// A method's body, by what it needs of the actor.
pub enum Code<M: Method> {
    /// The actor for itself.
    Exclusive(Alone<M>),
    /// The actor together with others.
    Shared {
        /// Index into [`Methods::GROUPS`].
        group: u8,
        /// The body.
        run: Beside<M>,
    },
    /// The actor for itself, on the compute pool.
    Blocking(BlockingAlone<M>),
    /// The actor together with others, on the compute pool.
    BlockingShared {
        /// Index into [`Methods::GROUPS`].
        group: u8,
        /// The body.
        run: BlockingBeside<M>,
    },
}

/// A synchronous method has run; an asynchronous one runs.
pub enum Ran<'a, M: Method> {
    /// It has returned.
    Done(Result<M::Reply, M::Error>),
    /// It returns later.
    Running(BoxFuture<'a, Result<M::Reply, M::Error>>),
}

/// The arguments of one constructor. Encoded where the actor goes to another node.
pub trait Constructor: Arguments + Serialize + DeserializeOwned {
    /// What it makes.
    type Actor: Methods;
    /// What it fails with.
    type Error: WireError;
    /// Its stable name.
    const NAME: &'static str;
    /// Its parameters' and return type's tokens.
    const SIGNATURE: &'static str;
    /// What a request calls it by.
    const KEY: Key = Key::of(Self::NAME, Self::SIGNATURE);
    /// Its body.
    fn run<'a>(self, ctx: &'a mut ActorContext<Self::Actor>) -> BoxFuture<'a, Result<Self::Actor, Self::Error>>;
}

/// A method in its actor's table.
pub struct MethodEntry<A: Actor> {
    pub(crate) key: Key,
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) access: Access,
    pub(crate) deliver: Deliver<A>,
}

type Deliver<A> = fn(&Arc<Inbox<A>>, &Incoming<'_>) -> Result<Option<Arc<dyn Served>>, DecodeError>;

/// The entry of a method.
#[must_use]
pub const fn method<M: Method>() -> MethodEntry<M::Actor> {
    let (access, deliver) = (Access::of::<M>(), inbox::deliver::<M> as Deliver<M::Actor>);
    MethodEntry { key: M::KEY, name: M::NAME, signature: M::SIGNATURE, access, deliver }
}

/// A constructor in its actor's table.
pub struct ConstructorEntry<A: Actor> {
    pub(crate) key: Key,
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) spawn: Spawn,
    of: PhantomData<fn() -> A>,
}

/// Makes an actor out of a constructor's encoded arguments.
pub(crate) type Spawn = fn(Planting<'_>) -> Result<(), DecodeError>;

/// The entry of a constructor.
#[must_use]
pub const fn constructor<C: Constructor>() -> ConstructorEntry<C::Actor> {
    ConstructorEntry { key: C::KEY, name: C::NAME, signature: C::SIGNATURE, spawn: spawn::plant::<C>, of: PhantomData }
}
