//! The attribute macros of `mobula`; use them through that crate, which documents them.
//!
//! ```text
//! tokens --parse--> model --expand--> tokens
//! ```
//!
//! Only `parse` can fail. It reports as many errors as it finds, each saying what to write instead, and the user's
//! item is given back beside them, so that one mistake does not hide the next.

mod expand;
mod model;
mod parse;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a struct an actor: it gets a handle, `CounterHandle` for `Counter`, which is its typed address wherever it lives.
///
/// `#[actor(name = "..")]` gives the type a stable name of its own; without, its name is the crate's and the struct's.
/// `#[actor(restarts = 3)]` starts it again after a panic, and on another node if its own dies, that often over its life, or
/// within `restart_window = "1m"`. `#[actor(isolation = "process")]` gives each a process of its own.
///
/// `#[actor(cpus = 0.5, gpus = 1, memory = 1_000_000, resource("tpu", 1))]` is what each takes of its node (nothing, if it is
/// not said), `label("zone", "a")` and `select("disk", "in(ssd, nvme)")` are what its node must be, `spread` takes the emptiest
/// one, and with `wait_for_node` it waits for one that has this. `resource`, `label` and `select` may be given again for other
/// names. Whatever a spawn says of the same resource, label or choice of node goes before these. They hold wherever it is started
/// again.
///
/// The messages come from [`#[methods]`](macro@methods) on its impl. Of a generic struct each instance is an actor type; other
/// processes have those that [`register!`](macro@register) names.
#[proc_macro_attribute]
pub fn actor(options: TokenStream, item: TokenStream) -> TokenStream {
    parse::actor(options.into(), item.into()).map_or_else(parse::Refusal::into_tokens, expand::actor).into()
}

/// Makes the functions of an actor's impl its messages.
///
/// - Every `pub` method, `pub(crate)` and the like included, becomes a message and a method of the handle. What has no
///   `pub` is left alone.
/// - `#[constructor]` gives `spawn`; of several, `#[constructor(default)]` does, and each other gives `spawn_<name>`.
///   They return `Self` or `Result<Self, E>`, and may be asynchronous.
/// - A parameter of type `&mut ActorContext<Self>` is filled in, by whom it runs.
/// - `&str`, `&[T]` and `&T` parameters borrow from the message.
/// - `Result<T, E>` arrives with one `?`; `impl Stream<Item = T>` arrives as a stream.
/// - `#[on_stop]` marks what runs before a stopped actor ends.
/// - `#[checkpoint]` marks a method `fn save(&self) -> Saved`, where `Saved` is any type that serde knows, or a `Result` of
///   one, and `#[restore]` a function `fn restored(saved: Saved) -> Self` that makes the actor again of what was saved last,
///   in the place of its constructor. It may return a `Result`, be `async`, and take the context. A method saves by
///   `ctx.checkpoint(self).await?`.
///
/// Options of the impl: `#[methods(concurrency = 8)]` lets that many `&self` methods run at once,
/// `#[methods(groups(io = 4, compute = 2))]` gives some of them limits of their own, `#[methods(checkpoint_every = 100)]`
/// saves the state after so many calls, `#[methods(checkpoint_every = "5s")]` that often if it has changed: between calls,
/// and nobody waits for it. `#[methods(retries = 2)]` has calls tried again so often in later runs of an actor that is started
/// again.
///
/// Options of a method: `#[method(blocking)]` runs it on the compute pool, `#[method(cancel)]` drops it at its next await
/// when its caller went away, `#[method(group = "io")]` puts it in a group, `#[method(retries = 0)]` says its retries, `#[method(name = "..")]` names the message,
/// `#[method(plain)]` says that a type called `Result` is no `std::result::Result`.
#[proc_macro_attribute]
pub fn methods(options: TokenStream, item: TokenStream) -> TokenStream {
    parse::methods(options.into(), item.into()).map_or_else(parse::Refusal::into_tokens, expand::methods).into()
}

/// Makes a function a task: `square::submit(&cluster, 2)` runs it in the cluster, and `square(2)` is still a plain call.
///
/// - `square::submit(&cluster, ..)` gives an `ObjectRef` to the result at once. `square::call(&cluster, ..)` gives a
///   `TaskCall`: options first, then `.submit()`, or `.await` for the result itself.
/// - An argument is a value or an `ObjectRef` to one: the task runs once all of them are there.
/// - A synchronous function runs on the compute pool, an `async` one on the runtime.
/// - A parameter of type `&TaskContext` is filled in, by whom it runs. `&str`, `&[T]` and `&T` parameters borrow from the
///   arguments.
/// - `Result<T, E>` arrives with one `?`. Of a function that returns `impl Stream<Item = T>`, `submit` gives an
///   `ObjectRefStream`: references to its items as they are made, no faster than they are taken. The macro adds
///   `+ Send + 'static` to it.
/// - With `returns = 2`, a function that returns `(A, B)`, or a `Result` of it, has two results: `submit` gives
///   `(ObjectRef<A>, ObjectRef<B>)`, `call(..).await` the tuple. There may be up to eight.
/// - A generic function is one task for each of its instances: `mean::submit::<f32>(..)`. Other processes run those that
///   [`register!`](macro@register) names.
///
/// Options: `cpus = 0.5` (1, if it is not said), `gpus = 1`, `memory = 1_000_000` and `resource("tpu", 1)` are what a run
/// takes of its node; `label("zone", "a")` is what its node must be, `select("disk", "in(ssd, nvme)")` a condition that it must
/// meet; each may be given again for other names. `spread` takes the emptiest node, and with `wait_for_node` a run waits for one that has what it needs, instead of failing at once. `timeout = "5s"` (also `ms`, `min` and `h`) cancels a run that is not over by then. Whatever a call says
/// of the same resource, label, choice of node or time goes before these.
///
/// `retries = 3` bounds further attempts: after its node ended, before it answered or with its result, and for those errors of its own of which the function
/// `retry_on = is_transient`, an `fn(&E) -> bool`, says so. Of the tasks that wait on a node the highest `priority = 5` comes first.
/// `name = ".."` gives the task a stable name of its own; without, its name is the crate's and the function's. `plain` says
/// that a type called `Result` is no `std::result::Result`.
///
/// The function gets a type of the same name beside it, which holds `submit` and `call` and has no values.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    parse::task(options.into(), item.into()).map_or_else(parse::Refusal::into_tokens, expand::task).into()
}

/// Registers instances of generic actors and tasks, so that other processes find them, as its attribute does for those without
/// parameters: `register!(Holder<u32>, fn mean::<f32>)`, in any module of the program that runs them.
///
/// Each is called as its type or function, with what is in its angle brackets as it is written there: `shelf::Holder<u32>`. Programs of
/// one cluster therefore write it alike, or give it a name of its own: `register!(Holder<inner::Item> as "holder of items")`. An instance
/// that is not registered works within its own process.
#[proc_macro]
pub fn register(instances: TokenStream) -> TokenStream {
    parse::register(instances.into()).map_or_else(parse::Refusal::into_tokens, expand::register).into()
}

/// Makes `async fn main(cluster: Cluster)` the program's `main`.
///
/// The environment says what the process is:
///
/// - a cluster of its own, by default; with `#[main(workers = 2)]`, of that many worker processes;
/// - a driver of the cluster whose head is at `MOBULA_ADDRESS` (`tcp://head:7400`), with the key in the file `MOBULA_KEY`;
/// - with `MOBULA_ROLE=worker` beside these, a worker of that cluster, which never runs the body. It listens at
///   `MOBULA_LISTEN` and is found at `MOBULA_ADVERTISE`, if they are set, and offers `MOBULA_CPUS`, `MOBULA_RESOURCES`
///   (`gpu=2,tpu=1`) and `MOBULA_LABELS` (`zone=a`). With `MOBULA_IDLE_TIMEOUT` (seconds) it leaves when it has been idle. Told to end by SIGTERM or an interrupt, it lets
///   its actors finish what they have taken on, and leaves.
///
/// What the body returns is reported as by any `main`; a cluster that does not start is told of on standard error.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    parse::main(options.into(), item.into()).map_or_else(parse::Refusal::into_tokens, expand::main).into()
}
