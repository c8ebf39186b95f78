//! `Spawn`: the head places a named, detached or restartable actor, orders its host to make it, and answers when its
//! constructor has returned. The actor's id, made by its spawner, makes asking again harmless, also at a later head (§2.8).

use crate::directory::actors::{Actor, Asker, Phase, Want};
use crate::directory::elders::ELDEST;
use crate::directory::message::{Reply, RequestId};
use crate::directory::record::Record;
use crate::directory::request::{Failure, Gone, Patience};
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, GroupId, Key, Life, NodeId, Placement};
use crate::limits::{BODY_INLINE, DIRECTORY_ACTORS, DIRECTORY_ARGUMENTS, NAME_BYTES, NAMED_NODES};
use crate::schedule::resources::is_name;
use crate::schedule::{Requirement, Resources, Selectors, Strategy, Why};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An actor to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spawn {
    /// Its id: of the asking life.
    pub actor: ActorId,
    /// Its type.
    pub kind: ActorType,
    /// Which constructor makes it.
    pub constructor: Key,
    /// The name it is to hold.
    pub name: Option<FullName>,
    /// What its node must have.
    pub needs: Needs,
    /// How often it may be placed again after its node ended; and how often each of its hosts may start it again ..
    pub restarts: u32,
    /// .. within this time, or at all.
    pub restart_window: Option<Duration>,
    /// Whether it outlives its spawner.
    pub detached: bool,
    /// Whether its host starts a process of its own for it.
    #[serde(default)]
    pub isolated: bool,
    /// What its constructor is called with.
    pub arguments: Arguments,
    /// What if there is no node for it. Once it was made, it waits for one.
    pub patience: Patience,
}

/// An actor's type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorType {
    /// The key of its name.
    pub key: Key,
    /// Its name, for people.
    pub name: Arc<str>,
}

/// A name within its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FullName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name in it.
    pub name: Arc<str>,
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (namespace `{}`)", self.name, self.namespace)
    }
}

/// What an actor's node must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Taken of the node until the actor ends.
    pub resources: Resources,
    /// The labels it must have.
    pub labels: Selectors,
    /// How to choose among such nodes.
    pub strategy: Strategy,
}

impl Needs {
    /// Whether it takes nothing of its node but CPUs, which go to others while it waits.
    pub(crate) fn are_cpus(&self) -> bool {
        self.resources.iter().all(|(name, _)| &**name == "cpu")
    }

    pub(super) fn of(&self, kind: &ActorType, constructor: Option<Key>) -> Requirement {
        let Needs { resources, labels, strategy } = self.clone();
        Requirement { type_key: kind.key, constructor, resources, labels, strategy }
    }
}

/// A constructor's arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arguments {
    /// Encoded, with their list of references; the head does not look in.
    Encoded(Bytes),
    /// Kept by the spawner, unencoded: the actor is placed on the spawner's node and nowhere else.
    Held,
}

impl Arguments {
    pub(in crate::directory) fn len(&self) -> usize {
        match self {
            Arguments::Encoded(bytes) => bytes.len(),
            Arguments::Held => 0,
        }
    }
}

/// Where an actor runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawned {
    /// The actor: of `GetOrSpawn`, perhaps another's.
    pub actor: ActorId,
    /// Under this placement.
    pub placement: Placement,
    /// On this life ..
    pub life: Life,
    /// .. of this node.
    pub node: NodeId,
    /// Whether the head owns it, and no handle keeps it.
    pub detached: bool,
}

/// Nodes that were asked: their ids, and how many more.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// The first of them.
    pub nodes: Vec<NodeId>,
    /// How many more.
    pub more: usize,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return f.write_str("there is none that hosts actors");
        }
        f.write_str("asked: ")?;
        for (at, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if at == 0 { "" } else { ", " })?;
        }
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// What of a request is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A name, namespace or type's name.
    #[error("a name or namespace has 1 to {NAME_BYTES} bytes and no control characters")]
    Name,
    /// The id was made by another life than the one that asks.
    #[error("the actor's id is not of the asking node's life")]
    Id,
    /// Encoded arguments beyond what a message may hold.
    #[error(
        "the constructor's arguments are {0} bytes; at most {BODY_INLINE} travel in a message: pass large values by reference"
    )]
    Arguments(usize),
}

/// Why an actor was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another actor holds the name.
    #[error("the name {name} is taken: actor {holder} holds it, a `{type_name}`{}", on(*.node))]
    NameTaken {
        /// The name.
        name: FullName,
        /// Who holds it.
        holder: ActorId,
        /// The holder's type.
        type_name: Arc<str>,
        /// Where it is, if it is placed.
        node: Option<NodeId>,
    },
    /// No node has the type.
    #[error(
        "no node was compiled with the actor type `{type_name}` ({asked}): add `use its_crate as _;` to a worker's program, and `mobula::register!` it there if it is generic, or start a worker that has it"
    )]
    UnknownType {
        /// The type.
        type_name: Arc<str>,
        /// The nodes asked.
        asked: Asked,
    },
    /// Nodes have the type, but not with this constructor.
    #[error(
        "no node has `{type_name}` with this constructor and signature ({asked}): build workers and callers from the same sources"
    )]
    UnknownConstructor {
        /// The type.
        type_name: Arc<str>,
        /// The nodes asked.
        asked: Asked,
    },
    /// The node it was to be put on is no member.
    #[error("the node {0} is no member of the cluster")]
    NotThere(NodeId),
    /// There is no such placement group, or no such bundle in it.
    #[error("there is no placement group {0} with that bundle")]
    NoGroup(GroupId),
    /// No node has what it takes of its node, or says of it.
    #[error("{why} ({asked}); by `.wait_for_node()` it waits until one comes")]
    Unplaced {
        /// What is missing.
        why: Why,
        /// The nodes asked.
        asked: Asked,
    },
    /// The head holds as much as it can.
    #[error(
        "the head holds as many named, detached and restartable actors, or as many bytes of their arguments, as it can: end some"
    )]
    Full,
    /// Not allowed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its constructor did not return an actor.
    #[error(transparent)]
    Unmade(#[from] Failure),
    /// It ended before it was made; its constructor may have run.
    #[error("the actor ended before it was made: {0}")]
    Ended(Gone),
}

fn on(node: Option<NodeId>) -> String {
    node.map_or_else(|| ", not placed yet".into(), |node| format!(" on node {node}"))
}

impl Spawn {
    fn check(&self, life: Life) -> Result<(), Invalid> {
        if self.actor.life != life {
            return Err(Invalid::Id);
        }
        let named = |name: &FullName| is_name(&name.namespace) && is_name(&name.name);
        if !self.name.as_ref().is_none_or(named) || !is_name(&self.kind.name) {
            return Err(Invalid::Name);
        }
        match self.arguments.len() {
            fine if fine <= BODY_INLINE => Ok(()),
            more => Err(Invalid::Arguments(more)),
        }
    }
}

impl Directory {
    pub(in crate::directory) fn spawn(
        &mut self,
        life: Life,
        request: RequestId,
        spawn: Spawn,
        effects: &mut Effects,
    ) -> Option<Reply> {
        let refused = |error| Some(Reply::Spawned(Err(error)));
        if let Err(invalid) = spawn.check(life) {
            return refused(invalid.into());
        }
        let id = spawn.actor;
        let asker = Asker { life, request, want: Want::Spawned };
        if self.actors.all.contains_key(&id) {
            return self.await_actor(id, asker);
        }
        if let Some(gone) = self.actors.ended.why(id) {
            return refused(gone.clone().into_spawn_error());
        }
        if let Some(holder) = spawn.name.as_ref().and_then(|name| self.actors.names.get(name)) {
            return refused(self.name_taken(*holder));
        }
        self.begin_actor(spawn, asker, effects).err().map(|error| Reply::Spawned(Err(error)))
    }

    /// A new actor, whose name is free: checked, journaled, put somewhere or in line.
    pub(super) fn begin_actor(&mut self, spawn: Spawn, asker: Asker, effects: &mut Effects) -> Result<(), SpawnError> {
        let mut need = spawn.needs.of(&spawn.kind, Some(spawn.constructor));
        if spawn.arguments == Arguments::Held
            && let Some(spawner) = self.lives.get(spawn.actor.life)
        {
            need.strategy = Strategy::Node(spawner.join.node);
        }
        self.may_wait(&need, &spawn.kind.name, spawn.patience)?;
        if spawn.patience == Patience::Fail
            && let Err(why) = need.best(self.lives.offers_at(&need, ELDEST, Some(spawn.actor.life)))
        {
            self.may_come(&need, &why)?;
        }
        let arguments = spawn.arguments.len();
        if self.actors.all.len() >= DIRECTORY_ACTORS || self.actors.arguments + arguments > DIRECTORY_ARGUMENTS {
            return Err(SpawnError::Full);
        }
        let id = spawn.actor;
        let spawn = Arc::new(spawn);
        effects.journal(Record::Spawned { spawn: spawn.clone() });
        self.insert_actor(spawn, need);
        if let Some(living) = self.lives.get_mut(asker.life) {
            living.answers.waits_for(asker.request, id);
        }
        if let Some(actor) = self.actors.all.get_mut(&id) {
            actor.askers.push(asker);
        }
        self.put(id, effects);
        Ok(())
    }

    pub(super) fn insert_actor(&mut self, spawn: Arc<Spawn>, need: Requirement) {
        let id = spawn.actor;
        let actor = Actor {
            need: Arc::new(need),
            phase: Phase::Unplaced(0),
            keeper: None,
            placement: Placement(0),
            restarts_left: spawn.restarts,
            ending: None,
            shared: false,
            askers: Vec::new(),
            saved: None,
            spawn,
        };
        self.actors.insert(id, actor);
    }

    /// Whether some member could make it: what no node has fails at once, naming the nodes asked.
    pub(super) fn placeable(&self, need: &Requirement, type_name: &Arc<str>) -> Result<(), SpawnError> {
        if let Strategy::Node(node) = need.strategy
            && self.lives.of_node(node).is_none()
        {
            return Err(SpawnError::NotThere(node));
        }
        if let Strategy::Bundle { group, index } = need.strategy {
            let known = self.groups.all.get(&group).map_or(0, |group| group.create.bundles.len());
            if known <= index.unwrap_or(0) as usize {
                return Err(SpawnError::NoGroup(group));
            }
        }
        if self.lives.anyone_makes(need) {
            return Ok(());
        }
        let type_name = type_name.clone();
        let any = Requirement { constructor: None, ..need.clone() };
        let asked = self.asked();
        Err(match self.lives.anyone_makes(&any) {
            true => SpawnError::UnknownConstructor { type_name, asked },
            false => SpawnError::UnknownType { type_name, asked },
        })
    }

    /// The same of one that may wait for a node; for a group it does not.
    pub(super) fn may_wait(
        &self,
        need: &Requirement,
        type_name: &Arc<str>,
        patience: Patience,
    ) -> Result<(), SpawnError> {
        match self.placeable(need, type_name) {
            Err(error) if patience == Patience::Fail || matches!(error, SpawnError::NoGroup(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether it may come to be placed though it is not for this reason: that which no member could hold fails at once.
    pub(super) fn may_come(&self, need: &Requirement, why: &Why) -> Result<(), SpawnError> {
        if !why.is_final() || self.lives.anyone_holds(need) {
            return Ok(());
        }
        Err(SpawnError::Unplaced { why: why.clone(), asked: self.asked() })
    }

    fn asked(&self) -> Asked {
        let hosts: Vec<NodeId> =
            self.lives.iter().filter(|(_, living)| living.join.hosts).map(|(_, living)| living.join.node).collect();
        let more = hosts.len().saturating_sub(NAMED_NODES);
        Asked { nodes: hosts.into_iter().take(NAMED_NODES).collect(), more }
    }

    pub(super) fn name_taken(&self, holder: ActorId) -> SpawnError {
        let actor = self.actors.all.get(&holder);
        let node = actor.and_then(Actor::host).and_then(|host| self.lives.get(host)).map(|living| living.join.node);
        let nameless = || FullName { namespace: "".into(), name: "".into() };
        SpawnError::NameTaken {
            name: actor.and_then(|actor| actor.spawn.name.clone()).unwrap_or_else(nameless),
            type_name: actor.map_or_else(|| "".into(), |actor| actor.spawn.kind.name.clone()),
            holder,
            node,
        }
    }
}

#[cfg(test)]
mod tests;
