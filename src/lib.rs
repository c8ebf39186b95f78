//! **Ray's programming model as an embedded Rust SDK.** Annotate a struct, and its methods become a distributed actor:
//! typed calls to it run in this process, in another one, or on another host, and the calling code is the same. Your
//! program is the cluster: there is nothing else to install or to start.
//!
//! ```standalone_crate
//! use mobula::prelude::*;
//!
//! #[actor]
//! struct Counter { total: u64 }
//!
//! #[methods]
//! impl Counter {
//!     #[constructor]
//!     pub fn starting_at(total: u64) -> Self { Self { total } }
//!     pub fn add(&mut self, by: u64) -> u64 { self.total += by; self.total }
//! }
//!
//! #[mobula::main] // with `(workers = 2)`, this program again, twice, as worker processes
//! async fn main(cluster: Cluster) -> mobula::Result<()> {
//!     let counter = Counter::spawn(&cluster, 10).name("hits").await?;
//!     assert_eq!(counter.add(5).await?, 15); // ask: sent when awaited, ready with the reply
//!     counter.add(5).tell().await?;          // tell: one way
//!     let same = Counter::lookup(&cluster, "hits").await?;
//!     assert_eq!(same.add(0).await?, 20);
//!     Ok(())
//! }
//! ```
//!
//! # Map
//!
//! | to | there is |
//! |---|---|
//! | make a struct an actor | [`#[actor]`](macro@actor) on it and [`#[methods]`](macro@methods) on its `impl`; [`ActorContext`] as a parameter |
//! | make a function a task | [`#[task]`](macro@task) on it gives it `submit` and `call`; [`TaskContext`] as a parameter |
//! | spawn actors | the generated `spawn`, which gives a [`Spawn`]: options, then `.await` |
//! | call them | the generated handle, whose methods give a [`Call`] or a [`StreamCall`]; arguments are [`IntoArg`] |
//! | stop, kill and watch them | the trait [`Handle`], which every handle has; in an actor [`ActorContext::monitor`] and [`ActorContext::link`] |
//! | have generic actors and tasks in other processes | [`register!`](macro@register) names the instances |
//! | find them by name | [`Cluster::lookup`], and [`LookupActor`] for `Counter::lookup` |
//! | call several together | [`Pool`] spreads work over actors, [`Group`] calls those that joined it |
//! | start actors again when they end | [`Supervisor`]: one for one, one for all, rest for one |
//! | pass values by reference | [`Cluster::put`], [`ObjectRef`], and [`Cluster::create`] for memory to fill in place |
//! | hold resources together | [`Cluster::placement_group`] |
//! | know why something waits | [`Cluster::demand`] |
//! | hand work from node to node | [`Queue`], bounded, first in first out |
//! | start or join a cluster | [`#[mobula::main]`](macro@main), or [`Cluster`] and [`ClusterBuilder`] by hand |
//! | look at it | [`Cluster::status`], [`Cluster::nodes`], [`Cluster::counters`] |
//! | keep strangers out | [`ClusterKey`] and [`Identity`], or the files that `mobula key new` writes |
//! | know what went wrong | [`error`]: each says whether the call may have run |
//! | know what is bounded, and by how much | [`limits`] |
//! | have workers in tests | [`test_worker!`] |
//!
//! # Clusters
//!
//! - [`Cluster::local()`] is one process: no sockets, no keys, and calls are not serialized.
//! - `Cluster::local().workers(4)` adds worker processes on this machine, by running this executable again, and
//!   [`scale_up_to`](ClusterBuilder::scale_up_to) more while something waits for room.
//! - Several hosts share a key. `mobula key new cluster.key` makes it, `mobula head --key cluster.key` runs the head.
//!   Your own binary, with [`#[mobula::main]`](macro@main), is a worker with `MOBULA_ROLE=worker`, and a driver without,
//!   wherever `MOBULA_ADDRESS` names the head and `MOBULA_KEY` the key's file. A worker listens on `MOBULA_LISTEN` and is
//!   found at `MOBULA_ADVERTISE`, where the defaults will not do: any port, and the interface that leads to the head.
//!   `MOBULA_CPUS`, `MOBULA_RESOURCES` (`gpu=2,tpu=1`) and `MOBULA_LABELS` (`zone=a`) say what a worker offers,
//!   `MOBULA_STORE_MEMORY` (bytes), `MOBULA_SPILL_FOLDER`, `MOBULA_MAX_QUEUED`, `MOBULA_LINEAGE_MEMORY` (bytes),
//!   `MOBULA_BUSY_POLL` (microseconds) and `MOBULA_NAMESPACE` the same of a member as its builder does; with `MOBULA_IDLE_TIMEOUT` (seconds) a worker leaves when it is idle.
//!
//! Between processes, everything is encrypted and authenticated (Noise, over ZeroMQ); there is no way to turn that off.
//!
//! # Features
//!
//! - `arrow`: what `get` gives of a slice converts into arrow's `Buffer` and `ScalarBuffer`, over the same memory.
//! - `ops`: `Cluster::metrics` as OpenMetrics text, and `ops::http` to serve them.
//! - `cli`: the `mobula` command. Programs do not need it: `cargo install mobula --features cli`.
//! - `simulation`: the deterministic simulation of Mobula's own protocols.

// Generated code names `::mobula`, also inside this crate's own doctests and examples.
extern crate self as mobula;

#[doc(hidden)]
pub mod actor;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod directory;
pub mod id;
pub mod limits;
#[doc(hidden)]
pub mod macro_support;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod node;
#[doc(hidden)]
pub mod object;
#[cfg(feature = "ops")]
pub mod ops;
pub mod prelude;
#[doc(hidden)]
pub mod schedule;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
#[doc(hidden)]
pub mod store;
mod sync;
#[doc(hidden)]
pub mod task;
#[doc(hidden)]
pub mod wire;

pub use actor::all::{AskAll, ask_all};
pub use actor::args::{Arg, IntoArg};
pub use actor::call::{Call, StreamCall, Tell, TryTellError};
pub use actor::checkpoint::CheckpointError;
pub use actor::context::{ActorContext, FencingToken, Timer};
pub use actor::dispatch::{Actor, Isolation};
pub use actor::ending::Ending;
pub use actor::error::{CallError, EndReason, Executed, Failure, FirstEnd, Never, Part, Waiting, WireError};
pub use actor::handle::{ActorRef, Handle};
pub use actor::link::LinkError;
pub use actor::monitor::{Monitor, MonitorError};
pub use actor::registry::RegisterError;
pub use actor::reply::{Reply, Streamed};
pub use cluster::client::{Cluster, NodeInfo};
pub use cluster::config::ClusterBuilder;
pub use cluster::demand::{Demand, DemandKind, PlacementGroupStatus};
pub use cluster::depart::Departed;
pub use cluster::group::{Broadcast, Group, GroupError};
pub use cluster::lookup::{Lookup, LookupActor, LookupError};
pub use cluster::main::enter;
pub use cluster::objects::SharedObjects;
pub use cluster::placement::{GroupReady, NewPlacementGroup, PlacementError, PlacementGroup};
pub use cluster::pool::{Pool, PoolCall, PoolMap, Router};
pub use cluster::queue::{NewQueue, Queue, QueueError};
pub use cluster::spawn::{Spawn, SpawnError};
pub use cluster::start::StartError;
pub use cluster::status::{ActorStatus, ClusterStatus, NodeStatus, ResourceAmount, ResourceStatus};
pub use cluster::supervisor::{
    ChildContext, ChildStatus, NewSupervisor, Supervisor, SupervisorError, SupervisorHandle,
};
pub use cluster::tasks::TaskCall;
pub use directory::request::IsolationError;
pub use directory::request::{ActorState, GroupState, JournalStatus};
pub use mobula_macros::{actor, main, methods, register, task};
pub use net::{ClusterKey, Identity};
pub use object::buffer::{Buffer, Fill};
pub use object::error::{GetError, GiveError};
pub use object::get::{Get, GetAll, GetView};
pub use object::lost::Lost;
pub use object::param::{Object, Param, SharedSlice, View};
pub use object::reference::ObjectRef;
pub use object::settled::{AsSettled, Awaited, Reference, WaitSettled};
pub use object::weigh::Weigh;
pub use schedule::{InvalidOption, Packing};
pub use store::{StoreError, Usage as StoreUsage};
pub use task::context::TaskContext;
pub use task::returns::{Returns, Several};
pub use task::stream::ObjectRefStream;

/// Every error that the public face gives, and what they are made of.
///
/// Each `Display` is a sentence that says what to do. An operation has one enum of its own, so that a `match` sees what
/// can happen there and nothing else: [`CallError`], [`SpawnError`], [`LookupError`], [`StartError`] for clusters, and
/// [`AskError`](error::AskError) for what needs the head. Where they are all the same, [`mobula::Result`](crate::Result)
/// takes any of them by `?`, and so does `anyhow`. [`CallError::executed`] says whether a call may have run.
pub mod error {
    pub use crate::actor::call::TryTellError;
    pub use crate::actor::checkpoint::CheckpointError;
    pub use crate::actor::error::{CallError, EndReason, Executed, Failure, FirstEnd, Never, Part, Waiting, WireError};
    pub use crate::actor::link::LinkError;
    pub use crate::actor::monitor::MonitorError;
    pub use crate::actor::registry::RegisterError;
    pub use crate::cluster::depart::Departed;
    pub use crate::cluster::group::GroupError;
    pub use crate::cluster::lookup::LookupError;
    pub use crate::cluster::placement::PlacementError;
    pub use crate::cluster::queue::QueueError;
    pub use crate::cluster::spawn::SpawnError;
    pub use crate::cluster::start::StartError;
    pub use crate::cluster::supervisor::SupervisorError;
    pub use crate::directory::AskError;
    pub use crate::directory::journal::JournalError;
    pub use crate::directory::request::{
        Asked, Failure as Unmade, FullName, Gone, GroupError as NotGrouped, Invalid as InvalidSpawn, JoinError,
        LifeEnd, LookupError as NotFound, SpawnError as NotPlaced, WantError as NotGranted,
    };
    pub use crate::net::guard::Violation;
    pub use crate::net::{Address, AddressError, DialError, KeyError, KeyTextError, Lane, NetError, Refused};
    pub use crate::node::worker::WorkerError;
    pub use crate::schedule::labels::LabelError;
    pub use crate::schedule::resources::{AmountError, ResourcesError};
    pub use crate::schedule::{Amount, InvalidOption, Why};
    pub use crate::store::{SpillError, StoreError};
}

/// What an actor's type parameters must be to travel.
pub trait Message: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {}
impl<T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Message for T {}

/// A result whose error is any error, as text that travels to the caller.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Lets a test binary be a worker process: `Cluster::local().workers(n)` runs it again, and this is where it enters.
///
/// ```
/// mobula::test_worker!();
/// ```
#[macro_export]
macro_rules! test_worker {
    () => {
        const _: () = {
            $crate::macro_support::inventory::submit! {
                $crate::macro_support::WorkerEntry { arguments: &["--exact", "mobula_worker", "--nocapture"] }
            }
        };

        #[test]
        fn mobula_worker() {
            $crate::enter();
        }
    };
}

/// README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
