//! The actors that a node hosts, of whatever type.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::actor::error::EndReason;
use crate::actor::hosted::Hosted;
use crate::actor::mailbox::Then;
use crate::id::{ActorId, Epoch, Life, Placement};
use crate::limits::{ENDS_REMEMBERED, HOSTED_ACTORS};
use crate::schedule::{Resources, Strategy};

/// How many locks the table has: spawns and ends of different actors seldom meet.
const SHARDS: usize = 16;

/// What a node keeps of an actor.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) actor: Arc<dyn Hosted>,
    /// The node life whose end ends it; none if it is detached.
    pub(super) owner: Option<Life>,
    /// Whether the head knows of it, and is told of its end.
    pub(super) known: Known,
}

/// What a head reserved here for an actor that only its spawner knows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reserved {
    pub(crate) resources: Resources,
    /// Of a bundle, if that is so.
    pub(crate) strategy: Strategy,
    /// The head that did. A later one has been told of what was here when it came, and may have given the rest to others.
    pub(crate) epoch: Epoch,
}

impl Reserved {
    /// None if nothing is taken.
    pub(crate) fn of(resources: Resources, strategy: Strategy, epoch: Epoch) -> Option<Arc<Reserved>> {
        let bundled = matches!(strategy, Strategy::Bundle { .. });
        let strategy = if bundled { strategy } else { Strategy::Default };
        (!resources.is_empty()).then(|| Arc::new(Reserved { resources, strategy, epoch }))
    }
}

/// Who is told of an actor's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody.
    ToItsSpawner,
    /// The head, which reserved this for it.
    Reserved(Arc<Reserved>),
    /// The head, which placed it.
    Placed,
}

/// Why an actor was not taken into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotHosted {
    /// There is one of this id.
    Twice,
    /// The node hosts as many as it may.
    Full,
}

/// The table.
#[derive(Default)]
pub(super) struct Actors {
    shards: [Mutex<FxHashMap<ActorId, Entry>>; SHARDS],
    count: AtomicUsize,
    /// Why those ended that did so last: for who asks late.
    ended: [Mutex<VecDeque<(ActorId, EndReason)>>; SHARDS],
}

impl Actors {
    pub(super) fn insert(&self, entry: Entry) -> Result<(), NotHosted> {
        if self.len() >= HOSTED_ACTORS {
            return Err(NotHosted::Full);
        }
        let id = entry.actor.id();
        let mut shard = self.shard(id).lock();
        if shard.contains_key(&id) {
            return Err(NotHosted::Twice);
        }
        shard.insert(id, entry);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn get(&self, id: ActorId) -> Option<Arc<dyn Hosted>> {
        self.shard(id).lock().get(&id).map(|entry| entry.actor.clone())
    }

    /// Remembers why an actor ended, for a while.
    pub(super) fn has_ended(&self, id: ActorId, reason: EndReason) {
        let mut ended = self.ended[Self::shard_of(id)].lock();
        let oldest = if ended.len() < ENDS_REMEMBERED / SHARDS { None } else { ended.pop_front() };
        ended.push_back((id, reason));
        drop(ended);
        drop(oldest);
    }

    /// Why an actor is not here, if that is remembered.
    pub(super) fn end_of(&self, id: ActorId) -> Option<EndReason> {
        let ended = self.ended[Self::shard_of(id)].lock();
        ended.iter().rev().find(|(ended, _)| *ended == id).map(|(_, reason)| reason.clone())
    }

    /// Whether the head placed this actor here.
    pub(super) fn is_placed(&self, id: ActorId) -> bool {
        self.shard(id).lock().get(&id).is_some_and(|entry| entry.known == Known::Placed)
    }

    /// Forgets the actor of this id and placement.
    pub(super) fn remove(&self, id: ActorId, placement: Placement) -> Option<Entry> {
        let mut shard = self.shard(id).lock();
        let entry = shard.get(&id).filter(|entry| entry.actor.placement() == placement)?.clone();
        shard.remove(&id);
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(entry)
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Asks those to stop of which `which` says so.
    pub(super) fn stop(&self, which: impl Fn(&Entry) -> bool) {
        for shard in &self.shards {
            let all: Vec<_> =
                shard.lock().values().filter(|entry| which(entry)).map(|entry| entry.actor.clone()).collect();
            all.iter().for_each(|actor| actor.stop(Then::Over));
        }
    }

    /// Ends those of which `which` says so.
    pub(super) fn close(&self, reason: &EndReason, which: impl Fn(&Entry) -> bool) {
        for shard in &self.shards {
            let chosen: Vec<_> = shard.lock().values().filter(|entry| which(entry)).cloned().collect();
            chosen.iter().for_each(|entry| entry.actor.close(reason.clone()));
        }
    }

    /// The actors that the head placed here.
    pub(super) fn known(&self) -> Vec<(ActorId, Placement)> {
        let known = |entry: &&Entry| entry.known == Known::Placed;
        let each = |entry: &Entry| (entry.actor.id(), entry.actor.placement());
        let of_shard = |shard: &Mutex<FxHashMap<ActorId, Entry>>| -> Vec<_> {
            shard.lock().values().filter(known).map(each).collect()
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    /// The actors for which a head reserved something here.
    pub(super) fn reserved(&self) -> Vec<(ActorId, Arc<Reserved>)> {
        let each = |entry: &Entry| match &entry.known {
            Known::Reserved(reserved) => Some((entry.actor.id(), reserved.clone())),
            Known::ToItsSpawner | Known::Placed => None,
        };
        let of_shard =
            |shard: &Mutex<FxHashMap<ActorId, Entry>>| -> Vec<_> { shard.lock().values().filter_map(each).collect() };
        self.shards.iter().flat_map(of_shard).collect()
    }

    fn shard(&self, actor: ActorId) -> &Mutex<FxHashMap<ActorId, Entry>> {
        &self.shards[Self::shard_of(actor)]
    }

    fn shard_of(actor: ActorId) -> usize {
        (rustc_hash::FxBuildHasher.hash_one(actor) >> 32) as usize % SHARDS
    }
}
