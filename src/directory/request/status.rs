//! `Status`: a look at the cluster, for `mobula status` and the API. Changes nothing; large lists come in pages.

use crate::directory::actors::Phase;
use crate::directory::fence::Reign;
use crate::directory::request::{DemandLine, FullName, GroupLine, WaitingLine};
use crate::directory::state::Directory;
use crate::id::{ActorId, GroupId, Life, NodeId, Placement};
use crate::limits::STATUS_PAGE;
use crate::schedule::{Class, Resources};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The sums.
    Summary,
    /// Nodes whose lives come after this one.
    Nodes {
        /// Zero for the first page.
        after: Life,
    },
    /// Actors that the head knows, whose ids come after this one.
    Actors {
        /// None for the first page.
        after: Option<ActorId>,
    },
    /// What owners of tasks want, of owners and classes that come after this one.
    Demand {
        /// None for the first page.
        after: Option<(Life, Class)>,
    },
    /// Actors that wait for a node, whose ids come after this one.
    Waiting {
        /// None for the first page.
        after: Option<ActorId>,
    },
    /// Placement groups whose ids come after this one.
    Groups {
        /// None for the first page.
        after: Option<GroupId>,
    },
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// The sums.
    Summary(Summary),
    /// At most [`STATUS_PAGE`] nodes; an empty page is the end.
    Nodes(Vec<NodeLine>),
    /// At most [`STATUS_PAGE`] actors; an empty page is the end.
    Actors(Vec<ActorLine>),
    /// At most [`STATUS_PAGE`] classes; an empty page is the end.
    Demand(Vec<DemandLine>),
    /// At most [`STATUS_PAGE`] actors; an empty page is the end.
    Waiting(Vec<WaitingLine>),
    /// At most [`STATUS_PAGE`] groups; an empty page is the end.
    Groups(Vec<GroupLine>),
}

/// The cluster in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The head.
    pub reign: Reign,
    /// The version of membership.
    pub members: u64,
    /// Living nodes.
    pub nodes: usize,
    /// Of them, silent ones.
    pub suspect: usize,
    /// Actors that the head knows.
    pub actors: usize,
    /// Names in use.
    pub names: usize,
    /// Ephemeral actors for which resources are reserved.
    pub reservations: usize,
    /// Actors that wait for room.
    pub waiting: usize,
    /// Requests whose answers may yet be asked for again, or that are still open.
    pub requests: usize,
    /// Orders that no node has acknowledged yet.
    pub orders: usize,
    /// The head's journal, if it has one.
    pub journal: Option<JournalStatus>,
}

/// How a head's journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Bytes that it takes.
    pub bytes: u64,
    /// Whether it took what was last written: else the head acknowledges nothing, and tries again.
    pub takes: bool,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its life.
    pub life: Life,
    /// Its id.
    pub node: NodeId,
    /// Its machine's name.
    pub host_name: Arc<str>,
    /// Its process id.
    pub process: u32,
    /// Whether it hosts actors.
    pub hosts: bool,
    /// Whether it is silent.
    pub suspect: bool,
    /// Where it listens.
    pub addresses: Vec<Arc<str>>,
    /// What it has.
    pub total: Resources,
    /// What of it is free.
    pub free: Resources,
    /// Actors that run there, by its own count.
    pub actors: u64,
}

/// One actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorLine {
    /// Its id.
    pub actor: ActorId,
    /// Its type.
    pub type_name: Arc<str>,
    /// Its name.
    pub name: Option<FullName>,
    /// How it stands.
    pub state: ActorState,
    /// Where, if it is placed.
    pub host: Option<Life>,
    /// Its placement.
    pub placement: Placement,
    /// Whether it outlives its spawner.
    pub detached: bool,
}

/// How an actor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorState {
    /// It waits for room.
    Waiting,
    /// Its constructor runs.
    Making,
    /// It runs.
    Running,
    /// It was told to end.
    Ending,
}

impl Directory {
    /// A page of a look at the cluster.
    #[must_use]
    pub fn status(&self, query: Query) -> Page {
        match query {
            Query::Summary => Page::Summary(self.summary()),
            Query::Nodes { after } => Page::Nodes(self.node_lines(after)),
            Query::Actors { after } => Page::Actors(self.actor_lines(after)),
            Query::Demand { after } => Page::Demand(self.demand_lines(after)),
            Query::Waiting { after } => Page::Waiting(self.waiting_lines(after)),
            Query::Groups { after } => Page::Groups(self.group_lines(after)),
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            reign: self.config.reign,
            members: self.members.version(),
            nodes: self.lives.len(),
            suspect: self.lives.iter().filter(|(_, living)| living.suspect()).count(),
            actors: self.actors.all.len(),
            names: self.actors.names.len(),
            reservations: self.actors.reservations.len(),
            waiting: self.actors.lines.len(),
            requests: self.lives.iter().map(|(_, living)| living.answers.len()).sum(),
            orders: self.lives.iter().map(|(_, living)| living.orders.len()).sum(),
            journal: self.journal,
        }
    }

    fn node_lines(&self, after: Life) -> Vec<NodeLine> {
        let line = |(life, living): (Life, &crate::directory::lives::Living)| NodeLine {
            life,
            node: living.join.node,
            host_name: living.join.host_name.clone(),
            process: living.join.process,
            hosts: living.join.hosts,
            suspect: living.suspect(),
            addresses: living.join.addresses.clone(),
            total: living.join.resources.clone(),
            free: living.room.free().clone(),
            actors: living.load,
        };
        self.lives.after(after).take(STATUS_PAGE).map(line).collect()
    }

    fn actor_lines(&self, after: Option<ActorId>) -> Vec<ActorLine> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let line = |(id, actor): (&ActorId, &crate::directory::actors::Actor)| ActorLine {
            actor: *id,
            type_name: actor.spawn.kind.name.clone(),
            name: actor.spawn.name.clone(),
            state: match actor.phase {
                _ if actor.ending.is_some() => ActorState::Ending,
                Phase::Unplaced(_) => ActorState::Waiting,
                Phase::Placing(_) => ActorState::Making,
                Phase::Running(_) => ActorState::Running,
            },
            host: actor.host(),
            placement: actor.placement,
            detached: actor.spawn.detached,
        };
        self.actors.all.range((from, Unbounded)).take(STATUS_PAGE).map(line).collect()
    }
}
