//! What the macros understood, with every question already answered: [`parse`](crate::parse) builds it and is the only
//! part that can fail, [`expand`](crate::expand) writes it down.

use proc_macro2::{Span, TokenStream};
use std::time::Duration;
use syn::{
    AngleBracketedGenericArguments, Attribute, ExprPath, Generics, Ident, ItemFn, ItemImpl, ItemStruct, LitInt, Path,
    Type, TypePath, TypeTuple, Visibility,
};

/// A struct that is an actor.
pub(crate) struct Actor {
    /// As the user wrote it.
    pub(crate) item: ItemStruct,
    /// Those of its attributes that what is generated beside it shares.
    pub(crate) attributes: Attributes,
    pub(crate) name: TypeName,
    pub(crate) restarts: Restarts,
    /// Whether it has a process of its own.
    pub(crate) isolated: bool,
    pub(crate) placement: Placement,
    /// The generated handle's type.
    pub(crate) handle: Ident,
}

/// How often it is started again, as far as the attribute says so.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Restarts {
    pub(crate) limit: Option<u32>,
    pub(crate) window: Option<Duration>,
}

/// Where the stable name of an actor type or a task comes from.
#[derive(Debug, PartialEq)]
pub(crate) enum TypeName {
    /// The struct's or function's identifier, within its crate.
    InCrate(String),
    /// `#[actor(name = "..")]`, `#[task(name = "..")]`: the whole name.
    Given(String),
}

/// The impl whose functions are an actor's messages.
pub(crate) struct Methods {
    /// As the user wrote it, less our attributes; streams that it returns are `Send + 'static`.
    pub(crate) item: ItemImpl,
    pub(crate) attributes: Attributes,
    pub(crate) actor: Target,
    /// `None`: one call at a time.
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) constructors: Vec<Constructor>,
    pub(crate) methods: Vec<Method>,
    /// More than one only under different `#[cfg]`s.
    pub(crate) on_stop: Vec<OnStop>,
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// The type that an impl is for.
pub(crate) struct Target {
    /// `Shelf<T>`.
    pub(crate) ty: Type,
    /// `Shelf`, as documentation names it.
    pub(crate) name: String,
    /// `ShelfHandle<T>`.
    pub(crate) handle: Path,
    pub(crate) generics: Generics,
    /// Whether the type stands for itself alone, so that it can register by itself.
    pub(crate) is_concrete: bool,
}

/// How many `&self` methods run at once.
pub(crate) struct Concurrency {
    /// The key that asked for it: where "must be `Sync`" belongs.
    pub(crate) span: Span,
    /// The default group, then the named ones: a method holds its group by index.
    pub(crate) groups: Vec<Group>,
}

pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) limit: u32,
}

/// What every function has in common that a handle, an actor type or a task's type gets a door to.
pub(crate) struct Function {
    pub(crate) ident: Ident,
    /// What the message is called on the wire.
    pub(crate) name: String,
    /// The struct that carries the arguments.
    pub(crate) message: Ident,
    pub(crate) vis: Visibility,
    pub(crate) attributes: Attributes,
    pub(crate) call: Call,
    pub(crate) inputs: Vec<Input>,
    /// The normalized types of the parameters and the reply: `(u64) -> u64`.
    pub(crate) signature: String,
}

/// The attributes that generated items share with the user's.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) deprecated: Vec<Attribute>,
    /// `#[allow]`s; an `#[expect]` becomes one, since generated code need not fulfil it.
    pub(crate) lints: Vec<Attribute>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Sync,
    Async,
}

/// One parameter.
pub(crate) enum Input {
    /// `&mut ActorContext<Self>`, or a task's `&TaskContext`.
    Context,
    Argument(Argument),
}

impl Input {
    pub(crate) fn argument(&self) -> Option<&Argument> {
        match self {
            Input::Argument(argument) => Some(argument),
            Input::Context => None,
        }
    }
}

pub(crate) struct Argument {
    /// What the generated function calls it.
    pub(crate) name: Ident,
    /// What the caller passes: `str` for `&str`.
    pub(crate) ty: Type,
    pub(crate) passing: Passing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Passing {
    Owned,
    Borrowed,
}

pub(crate) struct Constructor {
    pub(crate) function: Function,
    /// `spawn` or `spawn_<name>`.
    pub(crate) spawn: Ident,
    pub(crate) error: Fault,
}

pub(crate) struct Method {
    pub(crate) function: Function,
    pub(crate) run: Run,
    pub(crate) cancel: Cancel,
    /// How often it is tried again, where that is said.
    pub(crate) retries: Option<u8>,
    pub(crate) reply: Reply,
    pub(crate) error: Fault,
}

/// How a method gets its actor, and where it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Run {
    Exclusive,
    Shared { group: u8 },
    Blocking,
    BlockingShared { group: u8 },
}

/// What becomes of a method whose caller went away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cancel {
    Finish,
    Drop,
}

pub(crate) enum Reply {
    /// The type, and whether it still must be shown not to be a `Result`.
    Value(Type, Probe),
    /// What the alias of `Result` holds on success.
    OkOf(Type),
    /// The items of a stream.
    Stream(Type),
    /// The fields of a task's tuple, each a result by itself.
    Several(TypeTuple),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Probe {
    NotResult,
    None,
}

/// What a function may fail with.
pub(crate) enum Fault {
    Never,
    /// The second argument of `Result<T, E>`.
    Written(Type),
    /// What the alias of `Result` holds on failure.
    ErrOf(Type),
    /// `mobula::Result`.
    Text(Span),
}

pub(crate) struct OnStop {
    pub(crate) ident: Ident,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) call: Call,
    pub(crate) inputs: Vec<Input>,
}

/// How the actor's state is saved, and the actor made again of it.
pub(crate) struct Checkpoint {
    pub(crate) save: Save,
    pub(crate) restore: Restore,
    pub(crate) every: Every,
}

/// The method that saves.
pub(crate) struct Save {
    pub(crate) ident: Ident,
    pub(crate) cfgs: Vec<Attribute>,
    /// A value, or the success of an alias.
    pub(crate) reply: Reply,
    pub(crate) error: Fault,
}

/// The function that makes the actor again.
pub(crate) struct Restore {
    pub(crate) ident: Ident,
    pub(crate) call: Call,
    /// One argument, and perhaps the context.
    pub(crate) inputs: Vec<Input>,
    pub(crate) error: Fault,
}

/// When checkpoints are made that no method asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Every {
    Asked,
    Calls(u32),
    Time(Duration),
}

/// A function that is a task.
pub(crate) struct Task {
    /// As the user wrote it.
    pub(crate) item: ItemFn,
    pub(crate) name: TypeName,
    pub(crate) function: Function,
    /// Of types and constants; one that has none registers by itself.
    pub(crate) generics: Generics,
    /// A value, or the success of an alias.
    pub(crate) reply: Reply,
    pub(crate) error: Fault,
    /// Of which errors it is run again: the path of a function.
    pub(crate) retry_on: Option<ExprPath>,
    pub(crate) defaults: Defaults,
}

/// What the attribute of an actor or a task says of where it runs, as far as it does.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Placement {
    pub(crate) cpus: Option<f64>,
    pub(crate) gpus: Option<f64>,
    pub(crate) memory: Option<u64>,
    /// By their names, none of them twice.
    pub(crate) resources: Vec<(String, f64)>,
    /// Labels that have a value, and those of which a condition holds; none of them twice.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) conditions: Vec<(String, String)>,
    /// Whether it takes the emptiest node.
    pub(crate) spread: bool,
    /// Whether it waits for a node that has what it needs.
    pub(crate) waits: bool,
}

/// What the attribute says of each run, as far as it does.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Defaults {
    pub(crate) placement: Placement,
    pub(crate) retries: Option<u32>,
    pub(crate) priority: Option<i32>,
    pub(crate) timeout: Option<Duration>,
}

/// One instance of a generic actor or task.
pub(crate) struct Instance {
    pub(crate) of: Registered,
    pub(crate) name: InstanceName,
}

/// What it is one of.
pub(crate) enum Registered {
    /// `shelf::Shelf<u32>`.
    Actor(TypePath),
    /// `stats::mean` with `<f32>`.
    Task { function: TokenStream, arguments: AngleBracketedGenericArguments },
}

/// What it is called.
pub(crate) enum InstanceName {
    /// As the type or function, and then this, in angle brackets.
    Arguments(String),
    /// `as "name"`: the whole name.
    Given(String),
}

/// The function behind `#[mobula::main]`.
pub(crate) struct Main {
    pub(crate) item: ItemFn,
    pub(crate) workers: Option<LitInt>,
}
