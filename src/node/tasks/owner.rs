//! The shell of this node's queue: one lock around it, and its effects carried out in their order by whoever is there.
//!
//! Arguments are encoded while effects are carried out, so that happens outside of the lock; and one thread at a time does
//! it, or tasks of a grant could overtake each other on their way out.

use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

use super::classes::{ClassKey, Kind};
use super::host::is_local;
use super::send::Sent;
use super::{Submitted, unsettled};
use crate::actor::error::Executed;
use crate::actor::inbox::Host as _;
use crate::clock::{self, Moment};
use crate::directory::request::{GiveBack, WantError};
use crate::id::{Epoch, GrantId, GroupId, Life, NodeId};
use crate::limits::LEFT_OUT;
use crate::node::runtime::Node;
use crate::object::entry::{Entry, Watch};
use crate::object::error::{Fault, GetError};
use crate::schedule::queue::{Batch, Bounds, Cancelled, Effect, Submission, Why};
use crate::schedule::{Class, Queue, Resources, TaskNumber};
use crate::sync::flag::Flag;
use crate::task::slot::Runnable;

/// A task in the queue.
#[derive(Clone)]
pub(super) struct Queued {
    pub(super) task: Arc<dyn Runnable>,
    pub(super) kind: Arc<Kind>,
    pub(super) priority: i32,
    /// Attempts that are left after this one, and which one this is.
    pub(super) retries: u32,
    pub(super) attempt: u32,
    /// It was handed to its grant's node, or is about to be: what becomes of it comes from there.
    pub(super) sent: bool,
    /// It was handed over before its arguments were there.
    pub(super) behind: bool,
}

/// A grant that this node has.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) node: NodeId,
    pub(super) life: Life,
    pub(super) slots: u32,
    pub(super) size: Arc<Resources>,
    pub(super) bundle: Option<(GroupId, u32)>,
    pub(super) epoch: Epoch,
    /// Its node knows its terms.
    pub(super) told: bool,
    /// How often its node has said how many of its tasks are parked.
    pub(super) heard: u32,
}

pub(super) struct State {
    pub(super) queue: Queue<ClassKey, Queued>,
    /// By their numbers.
    pub(super) classes: Vec<Arc<Kind>>,
    pub(super) grants: FxHashMap<GrantId, Held>,
    effects: Vec<Effect>,
    to_do: VecDeque<Effect>,
    carrying_out: bool,
    pub(super) closed: bool,
    /// When the timer's task looks next; none while there is no such task.
    pub(super) timer: Option<Moment>,
}

pub(super) struct Owner {
    pub(super) state: Mutex<State>,
    /// Told when something is due before the timer looks.
    pub(super) sooner: Arc<Notify>,
    /// Whether tasks are ready for which there is no slot.
    pub(super) hungry: Flag,
    /// Tasks that were queued after the last change.
    queued: AtomicUsize,
    most: usize,
}

/// Tasks that are pushed at once: one, unless many wait.
pub(super) type Pushed = SmallVec<[(TaskNumber, Queued); 1]>;

/// One step of carrying out.
pub(super) enum Step {
    Want { kind: Arc<Kind>, class: Class, slots: u32, priority: i32 },
    Push { grant: GrantId, held: Held, tasks: Pushed, yields: bool },
    Recall { grant: GrantId, held: Held, count: u32 },
    GiveBack { grant: GrantId, held: Held, keep: u32 },
}

impl Owner {
    pub(super) fn new(most: usize) -> Self {
        let state = State {
            queue: Queue::new(Bounds { queued: most, ..Bounds::default() }),
            classes: Vec::new(),
            grants: FxHashMap::default(),
            effects: Vec::new(),
            to_do: VecDeque::new(),
            carrying_out: false,
            closed: false,
            timer: None,
        };
        Owner {
            state: Mutex::new(state),
            sooner: Arc::default(),
            hungry: Flag::default(),
            queued: AtomicUsize::new(0),
            most,
        }
    }

    /// How many tasks are queued, or were a moment ago.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

impl State {
    /// What follows from what was changed.
    pub(super) fn flush(&mut self, now: Moment) {
        self.queue.flush(now, &mut self.effects);
        self.to_do.extend(self.effects.drain(..));
    }

    /// What else is to be done.
    pub(super) fn add(&mut self, effects: Vec<Effect>) {
        self.to_do.extend(effects);
    }

    fn next(&mut self) -> Option<Step> {
        loop {
            let step = match self.to_do.pop_front()? {
                Effect::Want { class, slots, priority } => {
                    let kind = self.kind(class).cloned();
                    kind.map(|kind| Step::Want { kind, class, slots, priority })
                }
                Effect::Push { grant, tasks } => self.push(grant, tasks),
                Effect::Recall { grant, count } => {
                    self.grants.get(&grant).cloned().map(|held| Step::Recall { grant, held, count })
                }
                Effect::GiveBack { grant, keep } => self.give_back(grant, keep),
            };
            if step.is_some() {
                return step;
            }
        }
    }

    fn push(&mut self, grant: GrantId, numbers: Batch) -> Option<Step> {
        let held = self.grants.get_mut(&grant)?;
        let was_told = std::mem::replace(&mut held.told, true);
        let held = Held { told: was_told, ..held.clone() };
        let mut tasks = Pushed::with_capacity(numbers.len());
        for number in numbers {
            let behind = self.queue.missing(number) > 0;
            let Some(queued) = self.queue.get_mut(number) else { continue };
            (queued.sent, queued.behind) = (true, behind);
            tasks.push((number, queued.clone()));
        }
        let yields = tasks.first()?.1.kind.yields;
        Some(Step::Push { grant, held, tasks, yields })
    }

    fn give_back(&mut self, grant: GrantId, keep: u32) -> Option<Step> {
        let held = self.grants.get_mut(&grant)?;
        held.slots = keep;
        let held = held.clone();
        if keep == 0 {
            self.grants.remove(&grant);
        }
        Some(Step::GiveBack { grant, held, keep })
    }

    /// Takes out a task that was not pushed; one that was stays until it is over.
    pub(super) fn take_queued(&mut self, number: TaskNumber) -> Option<Queued> {
        match self.queue.cancel(number) {
            Cancelled::Queued(queued) => Some(queued),
            Cancelled::Pushed { .. } | Cancelled::Unknown => None,
        }
    }
}

/// No slot comes for a task that has not run.
pub(super) fn not_placed(why: WantError) -> GetError {
    GetError::NotPlaced { why, executed: Executed::No }
}

/// Why a task is not in the queue.
enum Refused {
    /// There is no room.
    Full(Submitted),
    /// It fails.
    For(GetError),
}

/// A queued task that waits for arguments.
struct Missing {
    node: Arc<Node>,
    task: TaskNumber,
    arguments: Vec<Arc<Entry>>,
    left: AtomicUsize,
}

impl Watch for Missing {
    fn settled(self: Arc<Self>, key: usize) {
        // What is there may be that the value is another object's.
        let value = self.arguments.get(key).and_then(|argument| argument.followed().ok());
        let watch: Arc<dyn Watch> = self.clone();
        if value.is_none_or(|value| value.watch(&watch, key).is_none()) {
            let last = self.left.fetch_sub(1, Ordering::AcqRel) == 1;
            let near = if last { self.node.near(&self.arguments) } else { None };
            self.node.own(|state, _| state.ready_near(self.task, near));
        }
    }
}

/// Whoever carries effects out, however that ends.
struct Carrying(Option<Arc<Node>>);

/// Whether who carries out may wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Never,
    Waits,
}

impl Carrying {
    /// Carries out this step and all that follow.
    fn carry_on(mut self, first: Step, disk: Disk) {
        let mut next = Some(first);
        while let Some((step, node)) = next.take().zip(self.0.as_ref()) {
            if disk == Disk::Never && node.reads(&step) {
                // A thread that receives may be the one that is here.
                let runtime = node.runtime().clone();
                return drop(runtime.spawn_blocking(move || self.carry_on(step, Disk::Waits)));
            }
            node.carry_out_step(step);
            let mut state = node.tasks().owner.state.lock();
            next = state.next();
            if next.is_none() {
                // Under the same lock as the last look, so that no effect is left to nobody.
                state.carrying_out = false;
                drop(state);
                self.0 = None;
            }
        }
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.tasks().owner.state.lock().carrying_out = false;
        }
    }
}

impl Node {
    /// Changes the queue, and carries out what follows unless another thread does.
    pub(super) fn own<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, Moment) -> R) -> R {
        let owner = &self.tasks().owner;
        let now = clock::now();
        let mut state = owner.state.lock();
        let result = change(&mut state, now);
        self.flush(owner, &mut state, now);
        self.arm(&mut state);
        let left = state.queue.queued();
        let fewer = owner.queued.swap(left, Ordering::Relaxed) > left;
        self.carry_out_steps(state);
        if fewer {
            self.tasks().room.notify_one();
        }
        result
    }

    fn carry_out_steps<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        if state.carrying_out {
            return;
        }
        if let Some(first) = state.next() {
            state.carrying_out = true;
            drop(state);
            Carrying(Some(self.clone())).carry_on(first, Disk::Never);
        }
    }

    /// Whether a step reads what waits on disk: tasks that run here read theirs when they begin.
    fn reads(&self, step: &Step) -> bool {
        match step {
            Step::Push { held, tasks, .. } => {
                held.life != self.life() && tasks.iter().any(|(_, queued)| queued.task.is_on_disk())
            }
            Step::Want { .. } | Step::Recall { .. } | Step::GiveBack { .. } => false,
        }
    }

    fn carry_out_step(self: &Arc<Self>, step: Step) {
        match step {
            Step::Want { kind, class, slots, priority } => self.want(&kind, class, slots, priority),
            Step::Push { grant, held, tasks, yields } => self.push_tasks(grant, &held, tasks, yields),
            Step::Recall { grant, held, count } => self.recall_tasks(grant, &held, count),
            Step::GiveBack { grant, held, keep } => {
                if is_local(grant) {
                    return self.slot_returned(grant);
                }
                if held.told {
                    self.tell_terms(grant, &held);
                }
                self.client().report(GiveBack { grant, keep });
            }
        }
    }

    /// Takes a task into the queue; back if that is full.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        submitted: Submitted,
        missing: Vec<Arc<Entry>>,
        near: Option<NodeId>,
    ) -> Result<(), Submitted> {
        let task = submitted.task.clone();
        let standing = task.standing();
        let entered = self.own(|state, _| {
            if state.closed {
                return Err(Refused::For(GetError::ShutDown));
            }
            if state.queue.queued() >= self.tasks().owner.most {
                return Err(Refused::Full(submitted));
            }
            let kind = state.class(&submitted, near).map_err(Refused::For)?;
            let Submitted { task, retries, priority, .. } = submitted;
            let token = Queued { task, kind, priority, retries, attempt: 1, sent: false, behind: false };
            let (result, follows) = (token.task.result().clone(), makers(&missing));
            let number = state.queue.submit_again(submission(token, missing.len(), &follows));
            result.set_maker(number.0);
            Ok(number)
        });
        let number = match entered {
            Ok(number) => number,
            Err(Refused::Full(submitted)) => return Err(submitted),
            Err(Refused::For(why)) => {
                task.fail(why.into_fault());
                return Ok(());
            }
        };
        if standing.is_cancelled() {
            self.call_off(&task);
            return Ok(());
        }
        self.wait_for(number, missing);
        Ok(())
    }

    /// A task goes on elsewhere: its attempt did not run, or another one is left.
    pub(super) fn enqueue_again(self: &Arc<Self>, queued: Queued) {
        let queued = Queued { sent: false, behind: false, ..queued };
        let task = queued.task.clone();
        let standing = task.standing();
        drop(standing.take_sent());
        let missing = unsettled(&task);
        let entered = self.own(|state, _| {
            if state.closed {
                return Err(GetError::ShutDown);
            }
            let kind = state.class_again(&queued.kind)?;
            let queued = Queued { kind, ..queued };
            let number = state.queue.submit_again(submission(queued, missing.len(), &makers(&missing)));
            task.result().set_maker(number.0);
            Ok(number)
        });
        match entered {
            Ok(_) if standing.is_cancelled() => drop(self.call_off(&task)),
            Ok(number) => self.wait_for(number, missing),
            Err(why) => task.fail(why.into_fault()),
        }
    }

    /// Tells the queue of arguments that come.
    fn wait_for(self: &Arc<Self>, task: TaskNumber, arguments: Vec<Arc<Entry>>) {
        if !arguments.is_empty() {
            let missing =
                Arc::new(Missing { node: self.clone(), task, left: AtomicUsize::new(arguments.len()), arguments });
            (0..missing.arguments.len()).for_each(|key| missing.clone().settled(key));
        }
    }

    /// Why a task has not finished.
    pub(super) fn why_queued(&self, number: TaskNumber) -> Option<Why> {
        self.tasks().owner.state.lock().queue.why(number)
    }

    /// A task of this node's own ran here.
    pub(super) fn own_task_over(self: &Arc<Self>, number: TaskNumber, ran: Duration) {
        self.own(|state, _| state.queue.finished(number, ran));
    }

    /// Nothing is queued any more, and nothing will be.
    pub(super) fn close_queue(self: &Arc<Self>) {
        let drained = self.own(|state, _| {
            state.closed = true;
            let classes: Vec<Class> = state.classes.iter().map(|kind| kind.class).collect();
            classes.into_iter().flat_map(|class| state.queue.refused(class)).collect::<Vec<_>>()
        });
        drained.into_iter().for_each(|(_, queued)| queued.task.fail(GetError::ShutDown));
        let grants: Vec<GrantId> = self.tasks().owner.state.lock().grants.keys().copied().collect();
        for grant in grants {
            let sent = self.lose_grant(grant);
            sent.into_iter().for_each(|queued| queued.task.fail(GetError::ShutDown));
        }
    }

    /// An attempt came to nothing: another one follows if it did not run, or its node ended and an attempt is left.
    pub(super) fn attempt_failed(self: &Arc<Self>, sent: &Sent, fault: Fault, gone: Gone) {
        if gone == Gone::Grant {
            self.client().report(GiveBack { grant: sent.grant, keep: 0 });
            drop(self.lose_grant(sent.grant));
        }
        let queued = sent.queued.clone();
        self.own(|state, _| state.queue.failed(sent.number));
        match &fault {
            _ if queued.task.standing().is_cancelled() => queued.task.fail(fault),
            GetError::NodeDied { executed: Executed::No, .. } => self.enqueue_again(queued),
            GetError::NodeDied { .. } if queued.retries > 0 => self.attempt_again(queued),
            // One that was there is made again.
            GetError::Argument { .. } if !unsettled(&queued.task).is_empty() => self.enqueue_again(queued),
            _ => queued.task.fail(fault),
        }
    }

    /// An attempt was made, and another one follows.
    pub(super) fn attempt_again(self: &Arc<Self>, queued: Queued) {
        queued.task.standing().again();
        let (retries, attempt) = (queued.retries.saturating_sub(1), queued.attempt.saturating_add(1));
        self.enqueue_again(Queued { retries, attempt, ..queued });
    }
}

/// What an attempt that failed says about its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It is over.
    Grant,
    /// Nothing.
    Nothing,
}

/// The tasks that make these objects, if they are tasks of this node's queue.
fn makers(missing: &[Arc<Entry>]) -> Vec<TaskNumber> {
    if missing.len() > LEFT_OUT {
        return Vec::new();
    }
    missing.iter().filter_map(|entry| entry.maker()).map(TaskNumber).collect()
}

pub(super) fn submission(token: Queued, missing: usize, follows: &[TaskNumber]) -> Submission<'_, Queued> {
    let waits_for = u32::try_from(missing).unwrap_or(u32::MAX);
    let (class, priority) = (token.kind.class, token.priority);
    Submission { class, priority, waits_for, follows, token }
}
