//! Which checkpoints lie with other nodes because they are too large for the head (PROTOCOLS §2.13), as both sides know it.
//!
//! A *host* gives what was saved of an actor to a *keeper*, then has the head know who that is. A keeper keeps all that it was
//! given until the actor's host says that it is needed no more, or the head does, whom it asks.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};

use crate::directory::request::LastSaved;
use crate::id::{ActorId, Life, Placement};

/// Which of an actor's checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edition {
    /// The placement that saved it ..
    pub placement: Placement,
    /// .. and which it is of those.
    pub number: u64,
}

impl Edition {
    /// Before all.
    pub const FIRST: Edition = Edition { placement: Placement(0), number: 0 };

    /// This one alone.
    #[must_use]
    pub fn alone(self) -> Range<Edition> {
        self..Edition { number: self.number.saturating_add(1), ..self }
    }

    /// Whether it is needed, by what the head knows of its actor: the last one that it knows of, and what the present placement
    /// saved later, of which it is about to know.
    #[must_use]
    pub fn is_needed(self, by: Option<LastSaved>) -> bool {
        let Some(LastSaved { placement, saved }) = by else { return false };
        let saved = saved.map(|(placement, number)| Edition { placement, number });
        saved == Some(self) || (self.placement == placement && saved.is_none_or(|saved| self > saved))
    }
}

/// Where the last checkpoint is that the head knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    Keeper(Life),
    /// Its keeper has ended.
    Nowhere,
}

/// What a host knows of the checkpoints of its actors that others keep, or have kept.
#[derive(Debug, Default)]
pub struct Given {
    actors: BTreeMap<ActorId, Spread>,
}

#[derive(Debug, Default)]
struct Spread {
    safe: Option<(Edition, At)>,
    /// Who may keep anything of the actor.
    keepers: BTreeSet<Life>,
}

impl Given {
    /// An actor is made here of what this life keeps.
    pub fn came(&mut self, actor: ActorId, edition: Edition, keeper: Life) {
        let spread = self.actors.entry(actor).or_default();
        spread.safe = Some((edition, At::Keeper(keeper)));
        spread.keepers.insert(keeper);
    }

    /// Something of it is given to this life.
    pub fn give(&mut self, actor: ActorId, keeper: Life) {
        self.actors.entry(actor).or_default().keepers.insert(keeper);
    }

    /// Who keeps the last that the head knows of.
    #[must_use]
    pub fn keeper(&self, actor: ActorId) -> Option<Life> {
        match self.actors.get(&actor)?.safe? {
            (_, At::Keeper(keeper)) => Some(keeper),
            (_, At::Head | At::Nowhere) => None,
        }
    }

    /// The head knows of this one; it has it itself if there is no keeper. Gives those who need nothing any more that was before.
    pub fn is_safe(&mut self, actor: ActorId, edition: Edition, keeper: Option<Life>) -> BTreeSet<Life> {
        let is_news = |spread: &&mut Spread| spread.safe.is_none_or(|(safe, _)| safe < edition);
        let Some(spread) = self.actors.get_mut(&actor).filter(is_news) else { return BTreeSet::new() };
        spread.safe = Some((edition, keeper.map_or(At::Head, At::Keeper)));
        std::mem::replace(&mut spread.keepers, keeper.into_iter().collect())
    }

    /// An actor has ended, or is not to be: who may keep something of it.
    pub fn over(&mut self, actor: ActorId) -> BTreeSet<Life> {
        self.actors.remove(&actor).map(|spread| spread.keepers).unwrap_or_default()
    }

    /// Lives have ended. Gives the actors whose last checkpoint went with them: it is to be given to others.
    pub fn ended(&mut self, ended: impl Fn(Life) -> bool) -> Vec<ActorId> {
        let mut lost = Vec::new();
        for (actor, spread) in &mut self.actors {
            spread.keepers.retain(|life| !ended(*life));
            if let Some((_, at @ At::Keeper(_))) = &mut spread.safe
                && matches!(*at, At::Keeper(keeper) if ended(keeper))
            {
                *at = At::Nowhere;
                lost.push(*actor);
            }
        }
        lost
    }

    /// Whether the last that the head knows of an actor of this node lies nowhere else: with a keeper that has ended, or here.
    #[must_use]
    pub fn is_alone(&self, actor: ActorId, me: Life) -> bool {
        let safe = self.actors.get(&actor).and_then(|spread| spread.safe);
        safe.is_some_and(|(_, at)| at == At::Nowhere || at == At::Keeper(me))
    }

    /// Nothing is hosted here any more.
    pub fn clear(&mut self) {
        self.actors.clear();
    }
}

/// What a keeper has: `K` each.
#[derive(Debug)]
pub struct Keeping<K> {
    actors: BTreeMap<ActorId, BTreeMap<Edition, K>>,
    /// Of which the head was asked last.
    last: Option<ActorId>,
}

impl<K> Default for Keeping<K> {
    fn default() -> Self {
        Keeping { actors: BTreeMap::new(), last: None }
    }
}

impl<K> Keeping<K> {
    /// Keeps one; gives what was there of this edition.
    pub fn keep(&mut self, actor: ActorId, edition: Edition, kept: K) -> Option<K> {
        self.actors.entry(actor).or_default().insert(edition, kept)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, actor: ActorId, edition: Edition) -> Option<&K> {
        self.actors.get(&actor)?.get(&edition)
    }

    /// Those of an actor.
    #[must_use]
    pub fn editions(&self, actor: ActorId) -> Vec<Edition> {
        self.actors.get(&actor).into_iter().flat_map(|all| all.keys().copied()).collect()
    }

    /// Keeps these no longer.
    pub fn let_go(&mut self, actor: ActorId, mut gone: impl FnMut(Edition) -> bool) -> Vec<K> {
        let Some(all) = self.actors.get_mut(&actor) else { return Vec::new() };
        let gone: Vec<K> = all.extract_if(.., |edition, _| gone(*edition)).map(|(_, kept)| kept).collect();
        if all.is_empty() {
            self.actors.remove(&actor);
        }
        gone
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty()
    }

    /// The next actors to ask the head about, in turn, at most `most`; none if nothing is kept.
    pub fn next(&mut self, most: usize) -> Vec<ActorId> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.actors.range((after, Bound::Unbounded));
        let before = self.last.into_iter().flat_map(|last| self.actors.range(..=last));
        let next: Vec<ActorId> = behind.chain(before).map(|(actor, _)| *actor).take(most).collect();
        self.last = next.last().copied();
        next
    }

    /// All that is kept.
    pub fn clear(&mut self) -> impl Iterator<Item = K> + use<K> {
        std::mem::take(&mut self.actors).into_values().flat_map(BTreeMap::into_values)
    }
}

#[cfg(test)]
mod tests;
