//! Pulling a large object over the bulk lane, from all who have it at once.
//!
//! ```text
//! room among the pulls of this node ─▶ memory of its store, or else its own, one at a time ─▶
//! owner ── who has it ──▶ plan (core/pull.rs) ── asks ──▶ sessions of the bulk lane ── ranges ──▶ target ── whole ──▶ value
//!    ▲                        │ nobody is left to ask
//!    └────── pause, again ◀───┘
//! ```

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

use super::bulk::{Memory, Target};
use super::core::pull::{Ask, Plan, Said, Stuck};
use super::fetch::{How, Large, Read, ask, nonsense};
use super::link::PeerLink;
use super::runtime::{Node, random_number};
use crate::id::ObjectId;
use crate::limits::{OBJECT_PIECE, PULL_ROOM, PULL_STALL, PULLS_PART, REDIAL_FIRST, REDIAL_LAST};
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::home::Home;
use crate::object::lent::Lent;
use crate::object::lost::Lost;
use crate::store::{Store, StoreError, Stored};

/// How much all pulls of a node take while they are under way, however many there are.
pub(super) struct Pulls {
    /// In units, first come, first served.
    room: Semaphore,
    units: u32,
    /// Held by the one that goes into the process's own memory, for which the store has no room.
    beyond: Mutex<()>,
}

/// What pulls are counted in: shorter objects are not pulled.
const UNIT: usize = OBJECT_PIECE;

impl Pulls {
    pub(super) fn new(store: usize) -> Self {
        let units = u32::try_from(store / PULLS_PART / UNIT).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3);
        Pulls { room: Semaphore::new(units as usize), units, beyond: Mutex::new(()) }
    }

    /// Waits until so many bytes may be pulled beside the others; what is longer than all may be is pulled alone.
    async fn admit(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        // It is never closed.
        self.room.acquire_many(units).await.ok()
    }
}

impl Node {
    /// An object that its owner says is large. Once it is there, this node is one of those that have it.
    pub(super) async fn pull(
        self: &Arc<Self>,
        owner: &Arc<PeerLink>,
        object: ObjectId,
        large: Large,
    ) -> Result<Content, Fault> {
        let Large { form, length, holders, enclosed } = large;
        let lost = |why: &str| GetError::lost(object, Lost::Unreadable(why.to_owned()));
        let bytes = usize::try_from(length).map_err(|_| lost(NO_MEMORY))?;
        let pulls = self.pulls();
        let _admitted = pulls.admit(bytes).await;
        if self.borrowed(object).is_none() {
            return Err(unwanted(owner, object));
        }
        let (memory, _beyond) = self.memory_for(form, bytes).await;
        let target = Arc::new(Target::new(memory));
        let mut plan = Plan::new(length, object.life, &holders);
        let filled = self.fill(&mut plan, &target, (owner, object), (form, length)).await;
        for life in plan.asked() {
            if let Some(bulk) = self.bulk_open(life) {
                bulk.end(object);
            }
        }
        let memory = target.take();
        if let Some(next) = filled? {
            return Ok(Content::Elsewhere(next));
        }
        match memory {
            Some(Memory::Store(draft)) => match self.store() {
                Ok(store) => Ok(self.copy_of(object, &store, draft.seal())),
                Err(error) => Err(lost(&error.to_string())),
            },
            Some(Memory::Own(body)) => {
                Ok(self.counted(Content::Encoded(Encoded::at(self.here(), form, body, enclosed))))
            }
            None => Err(lost(NO_MEMORY)),
        }
    }

    /// What was pulled into the store: it goes when memory is short, while its owner can be asked for it again.
    fn copy_of(self: &Arc<Self>, object: ObjectId, store: &Store, pulled: Stored) -> Content {
        let (node, home) = (Arc::downgrade(self), Arc::downgrade(self) as Weak<dyn Home>);
        // Its link may outlast what is known of its end by a moment, in which the last copy would go.
        let owner_lives = move || node.upgrade().is_some_and(|node| !node.is_over(object.life));
        let copy = store.keep_copy(pulled.clone(), Arc::new(owner_lives));
        Content::Lent(Lent::pulled(object, home, (copy, pulled)))
    }

    /// Plain bytes go into the store, where they count and may go to disk; what is decoded for each reader is held as its owner
    /// holds it.
    async fn memory_for(&self, form: Form, length: usize) -> (Memory, Option<MutexGuard<'_, ()>>) {
        let (Form::Plain, Ok(store)) = (form, self.store()) else { return (Memory::Own(Vec::new()), None) };
        let draft = match store.try_create(length) {
            Err(StoreError::NoRoom { .. }) => store.create(length, PULL_ROOM).await,
            other => other,
        };
        if let Ok(draft) = draft {
            return (Memory::Store(draft), None);
        }
        let beyond = self.pulls().beyond.lock().await;
        // There may be room by now.
        match store.try_create(length) {
            Ok(draft) => (Memory::Store(draft), None),
            Err(error) => {
                tracing::debug!(%error, "an object that is pulled goes into the process's own memory");
                (Memory::Own(Vec::new()), Some(beyond))
            }
        }
    }

    /// Round after round, until all has come; or the object that it has become meanwhile.
    async fn fill(
        self: &Arc<Self>,
        plan: &mut Plan,
        target: &Arc<Target>,
        (owner, object): (&Arc<PeerLink>, ObjectId),
        what: (Form, u64),
    ) -> Result<Option<Arc<Entry>>, Fault> {
        loop {
            let mut under_way = FuturesUnordered::new();
            loop {
                if self.borrowed(object).is_none() {
                    return Err(unwanted(owner, object));
                }
                while let Some(next) = plan.ask() {
                    under_way.push(self.clone().ask_for(object, next, target.clone()));
                }
                let (ask, said) = match tokio::time::timeout(PULL_STALL, under_way.next()).await {
                    Ok(Some(next)) => next,
                    Ok(None) => break,
                    Err(_) => {
                        plan.stall();
                        continue;
                    }
                };
                plan.said(&ask, said);
                // Also of what came last.
                if target.is_short() {
                    return Err(GetError::lost(object, Lost::Unreadable(NO_MEMORY.to_owned())));
                }
                if plan.is_whole() {
                    return Ok(None);
                }
            }
            let pause = plan.round_over().map_err(|stuck| match stuck {
                Stuck::OwnerLied => nonsense(),
                Stuck::NobodySends => GetError::lost(object, Lost::Unreadable(stuck.to_string())),
            })?;
            tokio::time::sleep(pause_of(pause.rounds)).await;
            match ask(owner, object, How::Holders).await? {
                Read::Large(again) if (again.form, again.length) == what => plan.again(&again.holders),
                // It was given to another owner.
                Read::Elsewhere(next) => return Ok(Some(next)),
                _ => return Err(nonsense()),
            }
        }
    }

    async fn ask_for(self: Arc<Self>, object: ObjectId, ask: Ask, target: Arc<Target>) -> (Ask, Said) {
        let said = match self.bulk_to(ask.life).await {
            Some(bulk) => bulk.ask(object, ask.range, &target).await,
            None => Said::Lost,
        };
        (ask, said)
    }
}

/// Why an object is not pulled whose last reference here is gone, or whose owner is.
fn unwanted(owner: &PeerLink, object: ObjectId) -> Fault {
    GetError::lost(
        object,
        match owner.is_over() {
            true => Lost::OwnerDied,
            false => Lost::Unreadable("nobody here refers to it any more".to_owned()),
        },
    )
}

const NO_MEMORY: &str = "it is larger than this process's memory";

/// How long a pull waits before another round: by chance, or else all who wait for one holder would come again at the same
/// time, and leave it idle in between.
fn pause_of(rounds: u32) -> Duration {
    match rounds {
        0 => Duration::ZERO,
        rounds => {
            let most = (REDIAL_FIRST * (1 << rounds.min(16))).min(REDIAL_LAST);
            let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
            most / 4 + Duration::from_micros(random_number() % micros)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn pulls_take_half_of_the_store_while_they_are_under_way_and_a_longer_one_is_alone() {
        let store = 2 * PULLS_PART * UNIT;
        let pulls = Pulls::new(store);
        let [one, two] = [1, UNIT].map(|bytes| pulls.admit(bytes).now_or_never().flatten().expect("there is room"));
        let mut third = Box::pin(pulls.admit(10 * store));
        assert!((&mut third).now_or_never().is_none());
        drop(one);
        assert!((&mut third).now_or_never().is_none(), "it waits for all");
        let mut fourth = Box::pin(pulls.admit(1));
        assert!((&mut fourth).now_or_never().is_none(), "and is not overtaken");
        drop(two);
        let third = third.now_or_never().flatten();
        assert!(third.is_some() && (&mut fourth).now_or_never().is_none());
        drop(third);
        assert!(fourth.now_or_never().flatten().is_some());
    }
}
