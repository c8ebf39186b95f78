//! Actors that the head knows, the names they hold, reservations for those it does not know, and the lines of what waits
//! for room.

use crate::directory::buried::Buried;
use crate::directory::message::{How, RequestId};
use crate::directory::request::{FullName, Gone, Saved, Spawn};
use crate::id::{ActorId, GroupId, Life, Placement};
use crate::schedule::{Requirement, Strategy};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A request that waits for something to happen to an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) life: Life,
    pub(super) request: RequestId,
    pub(super) want: Want,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Spawned,
    Found,
    Located { after: Placement },
    Chosen,
    Ended,
    Grouped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits in the line of its requirement, at this ticket.
    Unplaced(u64),
    /// Its host was ordered to make it.
    Placing(Life),
    Running(Life),
}

#[derive(Debug)]
pub(super) struct Actor {
    pub(super) spawn: Arc<Spawn>,
    pub(super) need: Arc<Requirement>,
    pub(super) phase: Phase,
    /// Of whom it takes what it needs, if it is in a process of its own: who started that.
    pub(super) keeper: Option<Life>,
    pub(super) placement: Placement,
    pub(super) restarts_left: u32,
    pub(super) ending: Option<(How, Gone)>,
    /// Others than its spawner may have been told of it by its name, or wait for that.
    pub(super) shared: bool,
    pub(super) askers: Vec<Asker>,
    /// Its checkpoint.
    pub(super) saved: Option<Saved>,
}

impl Actor {
    /// What its next host makes it of.
    pub(super) fn saved_state(&self) -> Option<Bytes> {
        self.saved.as_ref().map(|saved| saved.state.clone())
    }

    /// What it counts among the bytes that the head keeps.
    pub(super) fn bytes(&self) -> usize {
        self.spawn.arguments.len() + self.saved.as_ref().map_or(0, |saved| saved.state.len())
    }

    /// Who waits for it to be made; nobody once it was.
    pub(super) fn asked_by(&self) -> Option<Life> {
        (self.placement == Placement(0)).then_some(self.spawn.actor.life)
    }

    pub(super) fn host(&self) -> Option<Life> {
        match self.phase {
            Phase::Unplaced(_) => None,
            Phase::Placing(life) | Phase::Running(life) => Some(life),
        }
    }
}

/// Resources held for an actor that only its spawner knows.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) need: Arc<Requirement>,
    /// The actor's type, if that is known.
    pub(super) name: Arc<str>,
    /// Where; or the ticket at which it waits.
    pub(super) place: Result<Life, u64>,
    /// The placement of an actor that has ended, in a process of its own which has not.
    pub(super) placement: Placement,
    pub(super) asker: Option<Asker>,
}

impl Reservation {
    pub(super) fn at(host: Life, need: Arc<Requirement>, name: Arc<str>) -> Reservation {
        Reservation { need, name, place: Ok(host), placement: Placement::BY_SPAWNER, asker: None }
    }
}

/// Which of the two waits in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Actor(ActorId),
    Reservation(ActorId),
}

/// What waits for room: a line for each requirement, first come first served. Whoever heads a line stands for all in it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<Arc<Requirement>, BTreeMap<u64, Waiting>>,
    last: u64,
}

impl Lines {
    pub(super) fn enter(&mut self, need: &Arc<Requirement>, what: Waiting) -> u64 {
        self.last += 1;
        self.lines.entry(need.clone()).or_default().insert(self.last, what);
        self.last
    }

    pub(super) fn leave(&mut self, need: &Arc<Requirement>, ticket: u64) {
        if let Some(line) = self.lines.get_mut(need) {
            line.remove(&ticket);
            if line.is_empty() {
                self.lines.remove(need);
            }
        }
    }

    /// A place among all that wait, in whatever line.
    pub(super) fn ticket(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The heads of the lines, and their tickets.
    pub(super) fn heads(&self) -> impl Iterator<Item = (u64, &Arc<Requirement>)> {
        self.lines.iter().filter_map(|(need, line)| Some((*line.keys().next()?, need)))
    }

    /// The ticket and need of who came first of those for whom `asks` says so, and a node will do.
    pub(super) fn first(
        &self,
        asks: impl Fn(Waiting) -> bool,
        will_do: impl Fn(u64, &Requirement) -> bool,
    ) -> Option<(u64, Arc<Requirement>)> {
        let first =
            |line: &BTreeMap<u64, Waiting>| line.iter().find(|(_, what)| asks(**what)).map(|(ticket, _)| *ticket);
        let firsts = self.lines.iter().filter_map(|(need, line)| Some((first(line)?, need)));
        firsts.filter(|(ticket, need)| will_do(*ticket, need)).min().map(|(ticket, need)| (ticket, need.clone()))
    }

    /// Takes out whoever has this ticket.
    pub(super) fn take(&mut self, need: &Arc<Requirement>, ticket: u64) -> Option<Waiting> {
        let what = self.lines.get(need)?.get(&ticket).copied();
        self.leave(need, ticket);
        what
    }

    pub(super) fn len(&self) -> usize {
        self.lines.values().map(BTreeMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct Actors {
    pub(super) all: BTreeMap<ActorId, Actor>,
    pub(super) names: BTreeMap<FullName, ActorId>,
    /// Those within placement groups, by these.
    pub(super) grouped: BTreeSet<(GroupId, ActorId)>,
    pub(super) reservations: BTreeMap<ActorId, Reservation>,
    pub(super) lines: Lines,
    /// Bytes of constructors' arguments and checkpoints held.
    pub(super) arguments: usize,
    pub(super) ended: Buried<ActorId, Gone>,
}

impl Actors {
    pub(super) fn insert(&mut self, id: ActorId, actor: Actor) {
        self.arguments += actor.bytes();
        if let Some(name) = &actor.spawn.name {
            self.names.insert(name.clone(), id);
        }
        if let Strategy::Bundle { group, .. } = actor.need.strategy {
            self.grouped.insert((group, id));
        }
        self.all.insert(id, actor);
    }

    pub(super) fn remove(&mut self, id: ActorId) -> Option<Actor> {
        let actor = self.all.remove(&id)?;
        self.arguments -= actor.bytes();
        if let Some(name) = &actor.spawn.name {
            self.names.remove(name);
        }
        if let Strategy::Bundle { group, .. } = actor.need.strategy {
            self.grouped.remove(&(group, id));
        }
        Some(actor)
    }

    /// Those within a placement group.
    pub(super) fn within(&self, group: GroupId) -> Vec<ActorId> {
        let [first, last] = [0, u64::MAX].map(|bound| ActorId { life: Life(bound), serial: bound });
        self.grouped.range((group, first)..=(group, last)).map(|(_, actor)| *actor).collect()
    }

    /// The ids of what `life` spawned, among `map`'s keys.
    pub(super) fn of_spawner<V>(map: &BTreeMap<ActorId, V>, life: Life) -> Vec<ActorId> {
        let (first, last) = (ActorId { life, serial: 0 }, ActorId { life, serial: u64::MAX });
        map.range(first..=last).map(|(actor, _)| *actor).collect()
    }
}
