//! The tasks of one owner: what waits for arguments, what is ready, what was pushed to which node, and what is wanted of
//! the head for it.
//!
//! ```text
//! submit ─▶ waiting ──ready──▶ line of its class ──▶ pushed under a grant ──finished──▶ gone
//!                                     ▲                       │
//!                                     └──────── recalled ◀────┘      lost: the host ended, nobody knows whether it ran
//! ```
//!
//! Events change the state; [`Queue::flush`] says what follows from all that came since the last one. Tasks of a class
//! leave in the order of priority, then of age. A slot is given
//! `depth` tasks, as many as it runs in [`PUSH_AHEAD`](crate::limits::PUSH_AHEAD), two at least, and no more than its share of what is ready; a slot
//! that would idle is always filled, from another grant's unbegun tasks if the line is empty.
//!
//! The head is told how many slots each class could use, and the priority of the first of its tasks that waits: so higher ones
//! go before those of other classes.
//!
//! A task that waits gives its slot to another. Its node says how many have where that leaves a slot idle, and as many more
//! may be pushed; slots that the head wants back are free then, too.
//!
//! Q1: under a grant never more than slots × depth tasks are pushed, beside those that are parked. Q2: no task is lost or pushed twice. Q3: tasks of one
//! class and priority are pushed in the order of submission, unless they were recalled. Q4: after a flush no
//! task is ready while a slot of its class idles. Q5: what is wanted goes to zero when nothing is queued or pushed.

mod class;
mod fill;
mod grant;
mod line;
mod slab;
mod timer;
mod why;

pub use class::{Class, TooManyClasses};
pub use slab::TaskNumber;
pub use why::{Whereabouts, Why};

use crate::clock::Moment;
use crate::id::{GrantId, Life};
use crate::limits;
use grant::Grant;
use line::Line;
use slab::{At, Chain, Fresh, Slab};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Tasks that are pushed at once: few, unless many wait.
pub type Batch = SmallVec<[TaskNumber; 4]>;

/// What an owner does about its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the head that this class wants so many slots in all.
    Want {
        /// Which class.
        class: Class,
        /// Slots, those that are granted included.
        slots: u32,
        /// Of the first task that waits; zero if none does.
        priority: i32,
    },
    /// Send these tasks, in this order, to the grant's node.
    Push {
        /// Under which grant.
        grant: GrantId,
        /// Which; [`Queue::get`] has their tokens.
        tasks: Batch,
    },
    /// Ask the grant's node for tasks that have not begun, the last pushed first. It is answered by [`Queue::recalled`].
    Recall {
        /// Of which grant.
        grant: GrantId,
        /// How many at most.
        count: u32,
    },
    /// Tell the head that no more than these slots of the grant are kept.
    GiveBack {
        /// Of which grant.
        grant: GrantId,
        /// Slots that are kept; at zero the grant is over.
        keep: u32,
    },
}

/// The bounds of one queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Tasks that may be queued, not counting those that are pushed.
    pub queued: usize,
    /// Slots of one class that are wanted at most.
    pub slots: u32,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { queued: limits::QUEUED_TASKS, slots: u32::MAX }
    }
}

/// As many tasks are queued as may be. The task is given back.
#[derive(Debug, thiserror::Error)]
#[error("as many tasks are queued as may be: wait until some have begun")]
pub struct QueueFull<T>(
    /// The task.
    pub T,
);

/// A task as it is submitted.
#[derive(Debug)]
pub struct Submission<'a, T> {
    /// Its class.
    pub class: Class,
    /// Higher ones leave first.
    pub priority: i32,
    /// Arguments that are not there yet; [`Queue::ready`] is called for each.
    pub waits_for: u32,
    /// Unfinished tasks of this queue whose results are among those. Where they are all that is missing and all pushed
    /// under one grant of its class, the task is pushed behind them.
    pub follows: &'a [TaskNumber],
    /// What the owner knows it by.
    pub token: T,
}

#[derive(Debug, Default)]
struct ClassState {
    number: Class,
    /// All of its tasks.
    tasks: u32,
    line: Line,
    /// Places of its grants.
    grants: Vec<u32>,
    /// Places of grants that may have room.
    open: Vec<u32>,
    /// Slots that may be filled, in all; those that idle; tasks pushed, and those of them that are parked; grants with more
    /// tasks than slots.
    slots: u32,
    idle: u32,
    pushed: u32,
    parked: u32,
    deep: u32,
    /// An average of the tasks' run times, in nanoseconds; zero before the first.
    run_time: u64,
    /// Slots that the head was told of, and at which priority.
    told: u32,
    told_priority: i32,
    /// Of the task that was pushed last.
    pushed_priority: i32,
    /// The head is a new one, which may yet hear what an earlier one was told.
    anew: bool,
    due: Option<Moment>,
    /// Tasks that stand behind others under its grants.
    behind: u32,
    /// A slot idled for long while unbegun tasks wait elsewhere, perhaps for a task that is longer than most.
    stuck: bool,
    reason: Option<Arc<str>>,
    dirty: bool,
}

/// The tasks of one owner, which knows each by a `T` and a class by a `K`.
#[derive(Debug)]
pub struct Queue<K, T> {
    bounds: Bounds,
    slab: Slab<T>,
    keys: BTreeMap<K, Class>,
    classes: Vec<ClassState>,
    /// Places of classes that were given back.
    free: Vec<u32>,
    grants: Vec<Option<Grant>>,
    unused: Vec<u32>,
    by_id: BTreeMap<GrantId, u32>,
    timers: BTreeSet<(Moment, timer::Timer)>,
    dirty: Vec<Class>,
    touched: Vec<u32>,
    /// Classes of which tasks were ready after the last flush.
    hungry: BTreeSet<Class>,
    queued: usize,
}

impl<K: Ord, T> Queue<K, T> {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: Bounds) -> Queue<K, T> {
        Queue {
            bounds,
            slab: Slab::default(),
            keys: BTreeMap::new(),
            classes: Vec::new(),
            free: Vec::new(),
            grants: Vec::new(),
            unused: Vec::new(),
            by_id: BTreeMap::new(),
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            touched: Vec::new(),
            hungry: BTreeSet::new(),
            queued: 0,
        }
    }

    /// A task is to run.
    ///
    /// # Errors
    /// The queue is full, or the class is none of this queue's.
    pub fn submit(&mut self, submission: Submission<'_, T>) -> Result<TaskNumber, QueueFull<T>> {
        if self.queued >= self.bounds.queued || !self.has(submission.class) {
            return Err(QueueFull(submission.token));
        }
        Ok(self.submit_again(submission))
    }

    /// A task that was here before is to run again, however full the queue is. Its class is one of this queue's.
    pub fn submit_again(&mut self, submission: Submission<'_, T>) -> TaskNumber {
        let Submission { class, priority, waits_for: missing, follows, token } = submission;
        let place = self.slab.insert(Fresh { token, class, priority, missing });
        let number = self.slab.number(place);
        self.queued += 1;
        if let Some(state) = self.state(class) {
            state.tasks += 1;
        }
        if missing == 0 {
            self.line_up(place);
        } else if !follows.is_empty() {
            self.follow(place, number, follows);
        }
        number
    }

    /// An argument of a task has arrived.
    pub fn ready(&mut self, task: TaskNumber) {
        let Some(place) = self.slab.place(task) else { return };
        let Some(entry) = self.slab.get_mut(place) else { return };
        entry.missing = entry.missing.saturating_sub(1);
        if entry.at != At::Waiting {
            return;
        }
        let follows = entry.chain.as_ref().and_then(|chain| chain.follows.first().copied());
        if entry.missing == 0 {
            self.line_up(place);
        } else if let Some(grant) = follows.and_then(|ahead| self.grant_of(ahead)) {
            self.stand_behind(grant, task);
        }
    }

    /// A task has finished, after running this long: its token. A task that failed has, too.
    pub fn finished(&mut self, task: TaskNumber, ran: Duration) -> Option<T> {
        let place = self.slab.place(task)?;
        let entry = self.slab.get(place)?;
        let (class, At::Pushed(_)) = (entry.class, entry.at) else { return None };
        if let Some(state) = self.classes.get_mut(class.place()) {
            let ran = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX).max(1);
            state.run_time =
                if state.run_time == 0 { ran } else { state.run_time - state.run_time / 8 + ran / 8 }.max(1);
        }
        self.failed(task)
    }

    /// A task that was pushed is over, and nobody knows how long it ran: its token.
    pub fn failed(&mut self, task: TaskNumber) -> Option<T> {
        let place = self.slab.place(task)?;
        let At::Pushed(grant) = self.slab.get(place)?.at else { return None };
        if let Some(grant) = self.grant_mut(grant) {
            grant.unmoved = false;
        }
        self.unpush(grant, place);
        self.remove(place)
    }

    /// A task is to run no more.
    pub fn cancel(&mut self, task: TaskNumber) -> Cancelled<T> {
        let Some((place, at)) = self.slab.place(task).and_then(|place| Some((place, self.slab.get(place)?.at))) else {
            return Cancelled::Unknown;
        };
        match at {
            At::Pushed(grant) => match self.grant(grant) {
                Some(grant) => Cancelled::Pushed { grant: grant.id, life: grant.life },
                None => Cancelled::Unknown,
            },
            At::Ready | At::Waiting => {
                self.unqueue(place);
                self.remove(place).map_or(Cancelled::Unknown, Cancelled::Queued)
            }
        }
    }

    /// Takes out all tasks of a class that are not pushed: the head says that they cannot run, and their owner does not
    /// want to wait.
    pub fn drain(&mut self, class: Class) -> Vec<(TaskNumber, T)> {
        let mut taken = Vec::new();
        let places: Vec<u32> = self.slab.places_of(class);
        for place in places {
            let number = self.slab.number(place);
            self.unqueue(place);
            taken.extend(self.remove(place).map(|token| (number, token)));
        }
        taken
    }

    /// The head refuses what a class wants, and has forgotten it: [`Queue::drain`]. A later task has it asked again.
    pub fn refused(&mut self, class: Class) -> Vec<(TaskNumber, T)> {
        let drained = self.drain(class);
        if let Some(state) = self.state(class)
            && state.pushed == 0
        {
            state.told = 0;
        }
        drained
    }

    /// How many arguments a task is missing.
    #[must_use]
    pub fn missing(&self, task: TaskNumber) -> u32 {
        self.slab.place(task).and_then(|place| self.slab.get(place)).map_or(0, |task| task.missing)
    }

    /// Slots of a class that may be filled.
    #[must_use]
    pub fn slots(&self, class: Class) -> u32 {
        self.classes.get(class.place()).filter(|state| state.number == class).map_or(0, |state| state.slots)
    }

    /// After a flush: the classes of which tasks are ready and all slots are in use.
    pub fn hungry(&self) -> impl Iterator<Item = Class> + '_ {
        self.hungry.iter().copied()
    }

    /// The token of a task that is still here.
    #[must_use]
    pub fn get(&self, task: TaskNumber) -> Option<&T> {
        self.slab.get(self.slab.place(task)?).map(|task| &task.token)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, task: TaskNumber) -> Option<&mut T> {
        let place = self.slab.place(task)?;
        self.slab.get_mut(place).map(|task| &mut task.token)
    }

    /// Tasks that are queued: waiting for arguments, or ready.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    fn state(&mut self, class: Class) -> Option<&mut ClassState> {
        self.classes.get_mut(class.place()).filter(|state| state.number == class)
    }

    fn touch(&mut self, class: Class) {
        if let Some(state) = self.classes.get_mut(class.place())
            && !std::mem::replace(&mut state.dirty, true)
        {
            self.dirty.push(class);
        }
    }

    fn line_up(&mut self, place: u32) {
        let Some(task) = self.slab.get_mut(place) else { return };
        task.at = At::Ready;
        let class = task.class;
        if let Some(state) = self.classes.get_mut(class.place()) {
            state.line.push_back(&mut self.slab, place);
        }
        self.touch(class);
    }

    fn unqueue(&mut self, place: u32) {
        let Some(task) = self.slab.get(place) else { return };
        let class = task.class;
        self.queued -= 1;
        if task.at == At::Ready
            && let Some(state) = self.classes.get_mut(class.place())
        {
            state.line.unlink(&mut self.slab, place);
        }
        self.touch(class);
    }

    fn remove(&mut self, place: u32) -> Option<T> {
        let number = self.slab.number(place);
        let mut task = self.slab.remove(place)?;
        if let Some(state) = self.state(task.class) {
            state.tasks -= 1;
        }
        if let Some(chain) = task.chain.take() {
            self.unfollow(number, &chain);
        }
        Some(task.token)
    }

    fn follow(&mut self, place: u32, number: TaskNumber, follows: &[TaskNumber]) {
        let mut known = Vec::with_capacity(follows.len());
        for ahead in follows {
            if let Some(task) = self.slab.place(*ahead).and_then(|place| self.slab.get_mut(place)) {
                task.chain.get_or_insert_default().followers.push(number);
                known.push(*ahead);
            }
        }
        let under = known.first().and_then(|ahead| self.grant_of(*ahead));
        if let Some(task) = self.slab.get_mut(place) {
            task.chain.get_or_insert_default().follows = known;
        }
        if let Some(grant) = under {
            self.stand_behind(grant, number);
        }
    }

    /// A task is gone: nobody follows it any more.
    fn unfollow(&mut self, number: TaskNumber, chain: &Chain) {
        for follower in &chain.followers {
            if let Some(chain) = self.chain(*follower) {
                chain.follows.retain(|other| *other != number);
            }
        }
        for ahead in &chain.follows {
            self.forsake(*ahead);
        }
    }

    /// One that followed this task is gone. Such are taken off its list when they are half of it: one by one, the list would
    /// be gone through for each of many that are cancelled.
    fn forsake(&mut self, ahead: TaskNumber) {
        let Some(chain) = self.chain(ahead) else { return };
        chain.gone += 1;
        if chain.gone * 2 <= chain.followers.len() {
            return;
        }
        chain.gone = 0;
        let mut followers = std::mem::take(&mut chain.followers);
        followers.retain(|follower| self.slab.place(*follower).is_some());
        if let Some(chain) = self.chain(ahead) {
            chain.followers = followers;
        }
    }

    fn chain(&mut self, task: TaskNumber) -> Option<&mut Chain> {
        let place = self.slab.place(task)?;
        self.slab.get_mut(place)?.chain.as_deref_mut()
    }
}

/// What a cancelled task was.
#[derive(Debug, PartialEq, Eq)]
pub enum Cancelled<T> {
    /// Queued: it never runs, and here it is.
    Queued(T),
    /// Pushed: it is there until it finishes, and that node must be told.
    Pushed {
        /// Under which grant.
        grant: GrantId,
        /// To which node.
        life: Life,
    },
    /// Gone already.
    Unknown,
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
