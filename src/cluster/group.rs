//! `Group<H>`: actors that joined under a name, and are called together.

use futures_util::StreamExt;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

use super::client::Cluster;
use super::spawn::SpawnError;
use crate::actor::call::Call;
use crate::actor::dispatch::Actor;
use crate::actor::error::{CallError, WireError};
use crate::actor::handle::Handle;
use crate::actor::reply::Reply;
use crate::id::{ActorId, Key};
use crate::limits::{GROUP_CALLS, GROUP_MEMBERS};
use crate::object::parcel::Parcel;
use mobula_macros::{actor, methods};

/// Actors of one type that joined under a name, from wherever they are: they are called together.
///
/// Clones are the same group, and so is one that travelled in a message. The list of members lies on the node where the
/// group was first opened or placed, and goes with it. A member that was found to have ended is taken off the list.
///
/// ```standalone_crate
/// # use mobula::prelude::*;
/// # #[actor] struct Shard { entries: u64 }
/// # #[methods] impl Shard {
/// #   #[constructor] pub fn new(entries: u64) -> Self { Shard { entries } }
/// #   pub fn clear(&mut self) { self.entries = 0; }
/// #   pub fn entries(&mut self) -> u64 { self.entries }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mobula::Result<()> {
/// # let cluster = Cluster::local().await?;
/// let shards = Group::<ShardHandle>::open(&cluster, "shards").await?;
/// shards.join(&Shard::spawn(&cluster, 3).await?).await?;
/// shards.join(&Shard::spawn(&cluster, 4).await?).await?;
/// let replies = shards.call_all(|shard| shard.entries()).await?;
/// assert_eq!(replies.into_iter().filter_map(|(_, entries)| entries.ok()).sum::<u64>(), 7);
/// assert_eq!(shards.broadcast(|shard| shard.clear()).await?.told, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub struct Group<H> {
    roll: RollHandle,
    #[serde(skip)]
    of: PhantomData<fn() -> H>,
}

/// What became of a [`broadcast`](Group::broadcast).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Broadcast {
    /// Members in whose mailboxes the message is, or on its way there to another node: whether an actor there still lives, a
    /// tell does not wait to hear.
    pub told: usize,
    /// The others, and why not.
    pub failed: Vec<(ActorId, CallError)>,
}

/// Why a group could not be opened, joined or called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Its members are of another type.
    #[error("the group's members are `{members}`s")]
    OtherType {
        /// Theirs.
        members: String,
    },
    /// It has as many members as it may.
    #[error("the group has {limit} members, as many as it may")]
    Full {
        /// The bound.
        limit: usize,
    },
    /// The list of members could not be reached, or ended.
    #[error("the group's list of members: {0}")]
    Call(CallError),
    /// A member's handle does not decode.
    #[error("a member's handle: {message}")]
    Member {
        /// What the codec said.
        message: String,
    },
}

impl<H: Handle> Group<H> {
    /// The group of this name, in the cluster's namespace; who opens it first makes it. It stays until it is dissolved, or the
    /// node that its list lies on ends.
    ///
    /// # Errors
    /// [`GroupError::OtherType`] if the members are of another type; those of a spawn.
    pub async fn open(cluster: &Cluster, name: impl AsRef<str>) -> Result<Self, SpawnError<GroupError>> {
        let kind = H::Actor::type_name();
        let name = format!("mobula/group/{}", name.as_ref());
        let opened = Roll::spawn(cluster, kind.key(), kind.to_string()).name(name).detached().get_or_spawn();
        let roll = opened.await.map_err(SpawnError::widen)?;
        let found = roll.kind().await.map_err(SpawnError::Node)?;
        match found.0 == kind.key() {
            true => Ok(Group { roll, of: PhantomData }),
            false => Err(SpawnError::App(GroupError::OtherType { members: found.1 })),
        }
    }

    /// Adds a member; one that is in it already stays once. The group holds it until it leaves.
    ///
    /// # Errors
    /// [`GroupError::Full`], or the list cannot be reached.
    pub async fn join(&self, member: &H) -> Result<(), GroupError> {
        self.roll.join(member.id(), Parcel::of(member.clone())).await.map_err(GroupError::from)
    }

    /// Takes a member off the list; gives whether it was on it.
    ///
    /// # Errors
    /// The list cannot be reached.
    pub async fn leave(&self, member: &H) -> Result<bool, GroupError> {
        let left = self.roll.leave(vec![member.id()]).await;
        left.map(|left| left > 0).map_err(GroupError::Call)
    }

    /// Its members, in the order in which they joined. Some may have ended.
    ///
    /// # Errors
    /// The list cannot be reached.
    pub async fn members(&self) -> Result<Vec<H>, GroupError> {
        let members = self.roll.members().await.map_err(GroupError::Call)?;
        let opened = members.into_iter().map(Parcel::open_shared);
        opened.collect::<Result<_, _>>().map_err(|error| GroupError::Member { message: error.to_string() })
    }

    /// Tells every member, and waits for room in their mailboxes, not for the methods.
    ///
    /// # Errors
    /// The list cannot be reached; what fails at single members is in the [`Broadcast`].
    ///
    /// # Cancel safety
    /// Dropped before it is ready, some members are told and others are not.
    pub async fn broadcast<T, E>(&self, mut call: impl FnMut(&H) -> Call<T, E>) -> Result<Broadcast, GroupError>
    where
        T: Reply,
        E: WireError,
    {
        let tells: Vec<_> = self.members().await?.into_iter().map(|member| (call(&member).tell(), member)).collect();
        let tells = tells.into_iter().map(async |(tell, member)| (member, tell.await));
        let mut outcomes = futures_util::stream::iter(tells).buffer_unordered(GROUP_CALLS);
        let (mut broadcast, mut ended) = (Broadcast { told: 0, failed: Vec::new() }, Vec::new());
        while let Some((member, told)) = outcomes.next().await {
            match told {
                Ok(()) => broadcast.told += 1,
                Err(error) => {
                    ended.extend(member.as_ref().has_ended_by(&error).then(|| member.id()));
                    broadcast.failed.push((member.id(), error));
                }
            }
        }
        self.forget(ended);
        Ok(broadcast)
    }

    /// Calls every member, and gives the replies, in the order in which the members joined.
    ///
    /// # Errors
    /// The list cannot be reached; what fails at single members stands beside them.
    ///
    /// # Cancel safety
    /// Dropping it cancels the calls that are under way.
    pub async fn call_all<T, E>(
        &self,
        mut call: impl FnMut(&H) -> Call<T, E>,
    ) -> Result<Vec<(H, Result<T, CallError<E>>)>, GroupError>
    where
        T: Reply,
        E: WireError,
    {
        let members = self.members().await?;
        let calls: Vec<_> = members.iter().map(&mut call).collect();
        let replies: Vec<_> = futures_util::stream::iter(calls).buffered(GROUP_CALLS).collect().await;
        let replies: Vec<_> = members.into_iter().zip(replies).collect();
        let ended = replies
            .iter()
            .filter(|(member, reply)| reply.as_ref().is_err_and(|error| member.as_ref().has_ended_by(error)));
        self.forget(ended.map(|(member, _)| member.id()).collect());
        Ok(replies)
    }

    /// Ends the group and frees its name; its members live on.
    ///
    /// # Errors
    /// The list cannot be reached.
    pub async fn dissolve(&self) -> Result<(), GroupError> {
        self.roll.kill().await.map(drop).map_err(GroupError::Call)
    }

    fn forget(&self, ended: Vec<ActorId>) {
        if !ended.is_empty() {
            drop(self.roll.leave(ended).submit());
        }
    }
}

impl From<CallError<GroupError>> for GroupError {
    fn from(error: CallError<GroupError>) -> Self {
        error.into_app().unwrap_or_else(GroupError::Call)
    }
}

impl<H> Clone for Group<H> {
    fn clone(&self) -> Self {
        Group { roll: self.roll.clone(), of: PhantomData }
    }
}

impl<H> fmt::Debug for Group<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.roll.id()).finish()
    }
}

/// The list of a group's members.
#[actor(name = "mobula::Group")]
pub(crate) struct Roll {
    key: Key,
    kind: String,
    members: Mutex<Vec<(ActorId, Parcel)>>,
}

#[methods]
impl Roll {
    #[constructor]
    pub(crate) fn new(key: Key, kind: String) -> Self {
        Roll { key, kind, members: Mutex::default() }
    }

    /// The members' type.
    pub(crate) fn kind(&self) -> (Key, String) {
        (self.key, self.kind.clone())
    }

    pub(crate) fn join(&mut self, id: ActorId, handle: Parcel) -> Result<(), GroupError> {
        let members = self.members.get_mut();
        if members.iter().any(|(member, _)| *member == id) {
            return Ok(());
        }
        if members.len() >= GROUP_MEMBERS {
            return Err(GroupError::Full { limit: GROUP_MEMBERS });
        }
        members.push((id, handle));
        Ok(())
    }

    /// Gives how many were on it.
    pub(crate) fn leave(&mut self, ids: Vec<ActorId>) -> usize {
        let ids: FxHashSet<ActorId> = ids.into_iter().collect();
        let members = self.members.get_mut();
        let before = members.len();
        members.retain(|(member, _)| !ids.contains(member));
        before - members.len()
    }

    pub(crate) fn members(&mut self) -> Vec<Parcel> {
        self.members.get_mut().iter().map(|(_, handle)| handle.clone()).collect()
    }
}
