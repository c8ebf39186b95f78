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
//! With a journal, what follows a record waits until that is on disk (`held`), and a thread writes (`writer`). Without, the
//! state lives and dies with its process, so `Journal` effects need nothing: what they would make durable is already applied.

use crate::clock::{self, Moment};
use crate::directory::held::{Batch, Held, Kind, Overfull};
use crate::directory::journal::{JournalError, Opened, Size};
use crate::directory::message::{FromHead, ToHead};
use crate::directory::request::{JournalStatus, Page, Query};
use crate::directory::state::{Config, Directory, Door, Effect, Effects, Event, Keeps};
use crate::id::{Epoch, Life, NodeId};
use crate::limits::{BEAT, JOURNAL_HELD};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use tokio::sync::{Notify, watch};

mod writer;

use writer::Writer;

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Over {
    /// It was stopped.
    #[error("the head was stopped")]
    Stopped,
    /// A node has met a later head.
    #[error("a head of epoch {0} has taken over: this one has stopped")]
    Abdicated(Epoch),
    /// What it decides cannot be written.
    #[error(transparent)]
    Journal(JournalError),
}

struct Shared {
    directory: Directory,
    /// To be carried out now.
    effects: Effects,
    journaled: Option<Journaled>,
    /// Someone carries out effects: whoever adds some leaves them to that thread.
    carrying_out: bool,
    outlets: BTreeMap<u64, Outlet>,
    last_door: u64,
    over: Option<Over>,
}

/// A head's side of its journal.
struct Journaled {
    held: Held,
    size: Size,
    /// Wakes the writer. None once the head is over: then the writer ends.
    bell: Option<SyncSender<()>>,
}

impl Shared {
    fn new(directory: Directory, journaled: Option<Journaled>) -> Shared {
        Shared {
            directory,
            effects: Effects::new(),
            journaled,
            carrying_out: false,
            outlets: BTreeMap::new(),
            last_door: 0,
            over: None,
        }
    }

    fn end(&mut self, why: Over) {
        self.over.get_or_insert(why);
        if let Some(journaled) = &mut self.journaled {
            journaled.bell = None;
        }
    }
}

impl Journaled {
    fn apply(
        &mut self,
        directory: &mut Directory,
        now: Moment,
        event: Event,
        effects: &mut Effects,
    ) -> Result<(), Overfull> {
        let idle = self.held.records().is_empty();
        self.held.apply(directory, now, event, effects)?;
        if idle
            && !self.held.records().is_empty()
            && let Some(bell) = &self.bell
        {
            // Full: it was rung and not heard yet.
            let _ = bell.try_send(());
        }
        Ok(())
    }
}

/// A head that serves.
pub struct Head {
    shared: Mutex<Shared>,
    sooner: Notify,
    /// Closed with the journal.
    journal: Option<watch::Receiver<()>>,
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
        Arc::new(Head { shared: Mutex::new(Shared::new(directory, None)), sooner: Notify::new(), journal: None })
    }

    /// A head that begins where the journal ends, and acknowledges only what is in it. Its reign is the one that the journal
    /// gave. Blocks for as long as its records take to be applied.
    ///
    /// # Errors
    /// There is no thread to write it.
    pub fn start_with(config: Config, opened: Opened) -> Result<Arc<Head>, JournalError> {
        let Opened { journal, reign, records } = opened;
        let mut directory = Directory::start(clock::now(), Config { reign, ..config }, records);
        // Above the lives that a head without a journal gave.
        directory.begin_after(Life(reign.epoch.0));
        directory.keeps_journal(JournalStatus { bytes: journal.size().whole, takes: true });
        let (ring, bell) = std::sync::mpsc::sync_channel(1);
        let (_closed, closed) = watch::channel(());
        let journaled = Journaled { held: Held::default(), size: journal.size(), bell: Some(ring) };
        let shared = Mutex::new(Shared::new(directory, Some(journaled)));
        let head = Arc::new(Head { shared, sooner: Notify::new(), journal: Some(closed) });
        let writer = Writer { head: Arc::downgrade(&head), journal, bell, _closed };
        let thread = std::thread::Builder::new().name("mobula-journal".into());
        match thread.spawn(move || writer.run()) {
            Ok(_runs_until_the_head_is_over) => Ok(head),
            Err(error) => Err(JournalError::Thread(error.to_string().into())),
        }
    }

    /// Waits until the journal is closed, after [`Head::stop`]: then another head may open it.
    pub async fn closed(&self) {
        if let Some(mut open) = self.journal.clone() {
            while open.changed().await.is_ok() {}
        }
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
        self.ends(Over::Stopped);
    }

    fn ends(&self, why: Over) {
        self.shared.lock().end(why);
        self.sooner.notify_one();
    }

    /// Lets time pass until the head is over, and says why it is. One caller at a time; dropping the future stops only the
    /// passing of time.
    pub async fn keep_time(&self) -> Over {
        loop {
            let (over, deadline) = {
                let shared = self.shared.lock();
                (shared.over.clone(), shared.directory.deadline())
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
        let Shared { directory, effects, journaled, .. } = &mut *shared;
        match journaled {
            None => directory.apply(now, event, effects),
            Some(journaled) => {
                if journaled.apply(directory, now, event, effects).is_err() {
                    shared.end(Over::Journal(JournalError::Stands(JOURNAL_HELD)));
                    self.sooner.notify_one();
                }
            }
        }
        shared.directory.done_by(clock::now());
        let after = shared.directory.deadline();
        self.carry_out(shared);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify_one();
        }
    }

    /// What the journal is to take next; nothing once the head is over.
    fn take_batch(&self, kind: Kind) -> Option<Batch> {
        let mut shared = self.shared.lock();
        let Shared { directory, journaled, over, .. } = &mut *shared;
        let Journaled { held, size, .. } = journaled.as_mut().filter(|_| over.is_none())?;
        let kind = if size.is_long() && !held.records().is_empty() { Kind::State } else { kind };
        held.take(directory, kind)
    }

    /// So many records are on disk: what follows from them is said.
    fn written(&self, up_to: u64, size: Size) {
        let mut shared = self.shared.lock();
        let Shared { directory, effects, journaled, over, .. } = &mut *shared;
        if let Some(journaled) = journaled.as_mut().filter(|_| over.is_none()) {
            journaled.size = size;
            journaled.held.release(up_to, effects);
            directory.keeps_journal(JournalStatus { bytes: size.whole, takes: true });
            self.carry_out(shared);
        }
    }

    /// The journal takes nothing.
    fn stands(&self) {
        let mut shared = self.shared.lock();
        let Shared { directory, journaled, .. } = &mut *shared;
        let bytes = journaled.as_ref().map_or(0, |journaled| journaled.size.whole);
        directory.keeps_journal(JournalStatus { bytes, takes: false });
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
                    shared.end(Over::Abdicated(epoch));
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
