//! The head's shell: one lock around the state, effects carried out in their order by whoever is there, and a timer.
//!
//! ```text
//! hear(door, message) ─▶ lock: apply ─▶ effects ─▶ unlocked, in order: outlet(door)(Word)
//! ```
//!
//! A node in the head's own process is answered before `hear` returns: no task, no bytes. An outlet that is called while
//! another thread carries out effects is called by that thread, right after. Outlets may call the head again; they must
//! neither wait nor panic.
//!
//! This head's state lives and dies with its process, so `Journal` effects need nothing: what they would make durable is
//! already applied.

use crate::clock::{self, Moment};
use crate::directory::message::{FromHead, ToHead};
use crate::directory::request::{Page, Query};
use crate::directory::state::{Config, Directory, Door, Effect, Effects, Event, Keeps};
use crate::id::{Epoch, Life, NodeId};
use crate::limits::BEAT;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;

/// What a head says at a door.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// A message for its node.
    Said(FromHead),
    /// Nothing more: the session is to be closed.
    Close,
}

/// Takes what a head says at one door.
pub type Outlet = Arc<dyn Fn(Word) + Send + Sync>;

/// Why a head no longer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Over {
    /// It was stopped.
    #[error("the head was stopped")]
    Stopped,
    /// A node has met a later head.
    #[error("a head of epoch {0} has taken over: this one has stopped")]
    Abdicated(Epoch),
}

struct Shared {
    directory: Directory,
    effects: Effects,
    /// Someone carries out effects: whoever adds some leaves them to that thread.
    carrying_out: bool,
    outlets: BTreeMap<u64, Outlet>,
    last_door: u64,
    over: Option<Over>,
}

/// A head that serves.
pub struct Head {
    shared: Mutex<Shared>,
    sooner: Notify,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").finish_non_exhaustive()
    }
}

impl Head {
    /// A head with nothing to remember, the first of its cluster. It ends no life by time unless [`Head::keep_time`] runs.
    #[must_use]
    pub fn start(config: Config) -> Arc<Head> {
        Head::start_after(config, Life::default())
    }

    /// The same, of a cluster that may have had heads before: they gave no life above `last`.
    #[must_use]
    pub fn start_after(config: Config, last: Life) -> Arc<Head> {
        let mut directory = Directory::start(clock::now(), config, []);
        directory.begin_after(last);
        let shared = Shared {
            directory,
            effects: Effects::new(),
            carrying_out: false,
            outlets: BTreeMap::new(),
            last_door: 0,
            over: None,
        };
        Arc::new(Head { shared: Mutex::new(shared), sooner: Notify::new() })
    }

    /// A new session of `node`, or a door within this process.
    pub fn open(&self, node: NodeId, keeps: Keeps, outlet: Outlet) -> Door {
        let mut shared = self.shared.lock();
        shared.last_door += 1;
        let door = Door { id: shared.last_door, node, keeps };
        shared.outlets.insert(door.id, outlet);
        door
    }

    /// A message came through this door; nothing is heard at one that was closed.
    pub fn hear(&self, door: Door, message: ToHead) {
        if !self.shared.lock().outlets.contains_key(&door.id) {
            return;
        }
        self.apply(Event::Said(door, message));
    }

    /// This door's session is over. Its outlet is not called any more, unless it is being called right now.
    pub fn close(&self, door: Door) {
        let open = self.shared.lock().outlets.remove(&door.id).is_some();
        if open {
            self.apply(Event::Closed(door.id));
        }
    }

    /// A look at the cluster.
    #[must_use]
    pub fn status(&self, query: Query) -> Page {
        self.shared.lock().directory.status(query)
    }

    /// Ends [`Head::keep_time`]; whatever is said later is not heard.
    pub fn stop(&self) {
        self.shared.lock().over.get_or_insert(Over::Stopped);
        self.sooner.notify_one();
    }

    /// Lets time pass until the head is over, and says why it is. One caller at a time; dropping the future stops only the
    /// passing of time.
    pub async fn keep_time(&self) -> Over {
        loop {
            let (over, deadline) = {
                let shared = self.shared.lock();
                (shared.over, shared.directory.deadline())
            };
            if let Some(over) = over {
                return over;
            }
            let now = clock::now();
            match deadline {
                Some(at) if at <= now => self.apply(Event::Tick),
                Some(at) => {
                    // The runtime's clock stands still in suspend and this one does not: looking again after a beat's time
                    // notices that.
                    let pause = at.since(now).min(BEAT);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
        }
    }

    fn apply(&self, event: Event) {
        let mut shared = self.shared.lock();
        if shared.over.is_some() {
            return;
        }
        let before = shared.directory.deadline();
        // Read under the lock, so that time never goes back for the state.
        let now: Moment = clock::now();
        let Shared { directory, effects, .. } = &mut *shared;
        directory.apply(now, event, effects);
        let after = shared.directory.deadline();
        self.carry_out(shared);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify_one();
        }
    }

    fn carry_out(&self, mut shared: MutexGuard<'_, Shared>) {
        if std::mem::replace(&mut shared.carrying_out, true) {
            return;
        }
        while let Some(effect) = shared.effects.pop() {
            let (outlet, word) = match effect {
                Effect::Journal(_) => continue,
                Effect::Send(door, message) => (shared.outlets.get(&door).cloned(), Word::Said(message)),
                Effect::Close(door) => (shared.outlets.get(&door).cloned(), Word::Close),
                Effect::Abdicate(epoch) => {
                    shared.over = Some(Over::Abdicated(epoch));
                    self.sooner.notify_one();
                    continue;
                }
            };
            if let Some(outlet) = outlet {
                MutexGuard::unlocked(&mut shared, || outlet(word));
            }
        }
        shared.carrying_out = false;
    }
}
