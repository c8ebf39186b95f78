//! `Queue<T>`: a bounded queue that any node puts into and takes out of, an actor behind it.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::IntoFuture;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

mod error;
mod keeper;

pub use error::QueueError;
use keeper::{Keeper, KeeperHandle, Patience};

use super::client::Cluster;
use super::lookup::LookupError;
use super::spawn::{Spawn, SpawnError};
use crate::actor::call::Call;
use crate::actor::handle::Handle;
use crate::id::{ActorId, NodeId};
use crate::object::param::Param;
use crate::object::parcel::Parcel;

/// A bounded queue of `T`s that every node can put into and take out of: first in, first out, each item given to one.
///
/// Clones are the same queue, and so is one that travelled in a message. Its items lie on the node where it was placed,
/// and go with it; within one process nothing is encoded. Of what is large, better put an
/// [`ObjectRef`](crate::ObjectRef) into a queue: then the value itself goes from who made it to who takes it.
///
/// ```standalone_crate
/// # use mobula::prelude::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mobula::Result<()> {
/// let cluster = Cluster::local().await?;
/// let jobs = Queue::<String>::bounded(&cluster, 100).name("jobs").await?;
/// jobs.put("sweep".to_owned()).await?;
/// let same = Queue::<String>::lookup(&cluster, "jobs").await?;
/// assert_eq!(same.get().await?, "sweep");
/// # Ok(())
/// # }
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub struct Queue<T> {
    keeper: KeeperHandle,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T: Param<Owned = T, Shared = Arc<T>>> Queue<T> {
    /// A queue that holds at most `capacity` items: options, then `.await`.
    pub fn bounded(cluster: &Cluster, capacity: usize) -> NewQueue<T> {
        NewQueue { spawn: Keeper::spawn(cluster, capacity), of: PhantomData }
    }

    /// The queue that has this name, in the cluster's namespace.
    ///
    /// # Errors
    /// Nobody holds the name, or something else does. That its items are of another type is found when one is taken.
    pub async fn lookup(cluster: &Cluster, name: impl Into<String>) -> Result<Self, LookupError> {
        Ok(Queue { keeper: cluster.lookup::<Keeper>(name).await?, of: PhantomData })
    }

    /// Puts an item at the end, and waits for room: those that wait are served in the order in which they came.
    ///
    /// # Errors
    /// [`QueueError::Closed`], or the queue cannot be reached.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the item was put once or not at all, and it leaves the line.
    pub async fn put(&self, item: T) -> Result<(), QueueError> {
        self.keeper.put(vec![Parcel::of(item)], Patience::Wait).await.map_err(QueueError::from)
    }

    /// Puts an item at the end if there is room at once.
    ///
    /// # Errors
    /// [`QueueError::Full`], and those of [`put`](Queue::put).
    pub async fn try_put(&self, item: T) -> Result<(), QueueError> {
        self.keeper.put(vec![Parcel::of(item)], Patience::GiveUp).await.map_err(QueueError::from)
    }

    /// Puts several items at the end, with none of others between them, and waits for room for all of them.
    ///
    /// # Errors
    /// [`QueueError::TooMany`] if they never fit, and those of [`put`](Queue::put): then none was put.
    ///
    /// # Cancel safety
    /// As of [`put`](Queue::put): all or none.
    pub async fn put_all(&self, items: impl IntoIterator<Item = T>) -> Result<(), QueueError> {
        let items: Vec<Parcel> = items.into_iter().map(Parcel::of).collect();
        self.keeper.put(items, Patience::Wait).await.map_err(QueueError::from)
    }

    /// Takes the first item, and waits for one.
    ///
    /// # Errors
    /// [`QueueError::Closed`] once it is closed and empty; [`QueueError::Item`] if the item is no `T`.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is lost: an item that was on its way goes back to the front. One that was given
    /// to a process which dies before it arrives is gone with it.
    pub async fn get(&self) -> Result<T, QueueError> {
        let item = self.take(1, Patience::Wait).await?.pop().ok_or(QueueError::Closed)?;
        open(item)
    }

    /// Takes the first item if there is one.
    ///
    /// # Errors
    /// Those of [`get`](Queue::get).
    ///
    /// # Cancel safety
    /// As of [`get`](Queue::get).
    pub async fn try_get(&self) -> Result<Option<T>, QueueError> {
        self.take(1, Patience::GiveUp).await?.pop().map(open).transpose()
    }

    /// Takes as many items as there are, up to `most`, and waits for the first.
    ///
    /// # Errors
    /// Those of [`get`](Queue::get).
    ///
    /// # Cancel safety
    /// As of [`get`](Queue::get).
    pub async fn get_many(&self, most: usize) -> Result<Vec<T>, QueueError> {
        self.take(most, Patience::Wait).await?.into_iter().map(open).collect()
    }

    /// How many items it holds.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn len(&self) -> Result<usize, QueueError> {
        self.keeper.len().await.map_err(QueueError::Call)
    }

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn is_empty(&self) -> Result<bool, QueueError> {
        Ok(self.len().await? == 0)
    }

    /// How many callers wait for an item.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn waiting(&self) -> Result<usize, QueueError> {
        self.keeper.waiting().await.map_err(QueueError::Call)
    }

    /// How many items it may hold.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn capacity(&self) -> Result<usize, QueueError> {
        self.keeper.capacity().await.map_err(QueueError::Call)
    }

    /// Lets nothing be put any more. What it holds can be taken; gives how many items that are. Who waits for room, or for an
    /// item beyond the last, gets [`QueueError::Closed`].
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn close(&self) -> Result<usize, QueueError> {
        self.keeper.close().await.map_err(QueueError::Call)
    }

    /// Ends it, with what it holds, and frees its name.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn delete(&self) -> Result<(), QueueError> {
        self.keeper.kill().await.map(drop).map_err(QueueError::Call)
    }

    fn take(&self, most: usize, patience: Patience) -> Taking {
        let ticket = RandomState::new().hash_one(0_u8);
        let call = self.keeper.take(ticket, most, patience);
        Taking { keeper: self.keeper.clone(), ticket, call: Some(call), polled: false }
    }
}

impl<T> Queue<T> {
    /// The actor behind it.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.keeper.id()
    }
}

fn open<T: Param<Owned = T, Shared = Arc<T>>>(item: Parcel) -> Result<T, QueueError> {
    item.open().map_err(|error| QueueError::Item { message: error.to_string() })
}

/// Takes items; dropped half-way, what was on its way goes back.
struct Taking {
    keeper: KeeperHandle,
    ticket: u64,
    call: Option<Call<Vec<Parcel>, QueueError>>,
    polled: bool,
}

impl Future for Taking {
    type Output = Result<Vec<Parcel>, QueueError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polled = true;
        let Some(call) = &mut self.call else { return Poll::Pending };
        let taken = std::task::ready!(Pin::new(call).poll(cx));
        self.call = None;
        Poll::Ready(taken.map_err(QueueError::from))
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let Some(call) = self.call.take().filter(|_| self.polled) else { return };
        // The answer may be on its way with items: it is awaited, and whoever waits there still is asked to wait no more.
        drop(self.keeper.withdraw(self.ticket).submit());
        let keeper = self.keeper.clone();
        call.conclude(move |taken| {
            if let Ok(items) = taken
                && !items.is_empty()
            {
                drop(keeper.give_back(items).submit());
            }
        });
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { keeper: self.keeper.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.id()).finish()
    }
}

/// A queue that is not made yet: what [`Queue::bounded`] gives. Options, then `.await`.
#[must_use = "nothing is made until this is awaited"]
pub struct NewQueue<T> {
    spawn: Spawn<KeeperHandle, QueueError>,
    of: PhantomData<fn() -> T>,
}

impl<T> NewQueue<T> {
    fn with(
        self,
        change: impl FnOnce(Spawn<KeeperHandle, QueueError>) -> Spawn<KeeperHandle, QueueError>,
    ) -> NewQueue<T> {
        NewQueue { spawn: change(self.spawn), of: PhantomData }
    }

    /// Gives it a name, by which [`Queue::lookup`] finds it from every node.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|spawn| spawn.name(name))
    }

    /// The namespace of its name; the cluster's own if nothing is said.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.with(|spawn| spawn.namespace(namespace))
    }

    /// Lets it outlive the node that makes it.
    pub fn detached(self) -> Self {
        self.with(Spawn::detached)
    }

    /// Only on this node.
    pub fn on(self, node: NodeId) -> Self {
        self.with(|spawn| spawn.on(node))
    }

    /// The queue that holds the name, whoever made it and whatever its capacity, or a new one: one atomic step at the head.
    pub fn get_or_make(self) -> Self {
        self.with(Spawn::get_or_spawn)
    }
}

impl<T: 'static> IntoFuture for NewQueue<T> {
    type Output = Result<Queue<T>, SpawnError<QueueError>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let spawn = self.spawn;
        Box::pin(async move { Ok(Queue { keeper: spawn.await?, of: PhantomData }) })
    }
}

impl<T> fmt::Debug for NewQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NewQueue").field(&self.spawn).finish()
    }
}
