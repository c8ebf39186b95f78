//! The owner's side of tasks: the real [`Queue`] of a node, what the head says of its grants, what is pushed over links and
//! what comes back (PROTOCOLS §1.18). A queue outlives its node's lives: tasks that wait go on in the next one.

use super::Bug;
use super::checks::tasks::End;
use super::errands::{Reply, Terms, What};
use super::load::{cpus, task_kind};
use super::node::Node;
use super::requests::Purpose;
use super::stage::Stage;
use crate::clock::Moment;
use crate::directory::request::{GiveBack, Granted, Holding, Holdings, Needs, Patience, Revoked, Want};
use crate::id::{Epoch, GrantId, Life};
use crate::node::core::link::Ticket;
use crate::schedule::queue::{Bounds, Cancelled, Effect, Submission};
use crate::schedule::{Class, Queue, TaskNumber};
use crate::wire::packet::{CallFault, Executed};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A task in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) task: u64,
    class: Class,
    priority: i32,
    retries: u32,
    attempt: u32,
    /// The task of this queue whose result it takes.
    pub(super) after: Option<u64>,
    /// It was pushed without that.
    pub(super) behind: bool,
    /// What becomes of it comes from its grant's node.
    sent: bool,
}

/// A task as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) grant: GrantId,
    pub(super) number: TaskNumber,
    pub(super) queued: Queued,
}

impl Sent {
    pub(super) fn task(&self) -> u64 {
        self.queued.task
    }

    pub(super) fn attempt(&self) -> u32 {
        self.queued.attempt
    }
}

/// A grant that this node has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    life: Life,
    slots: u32,
    cpus: u64,
    epoch: Epoch,
    /// Its node knows its terms.
    told: bool,
}

/// A node's tasks. The first classes are of one CPU, of two, and of none.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) queue: Queue<u32, Queued>,
    pub(super) held: BTreeMap<GrantId, Held>,
    to_do: VecDeque<Effect>,
    carrying_out: bool,
    /// What the head was told last.
    wanted: BTreeMap<Class, u32>,
    /// Where tasks are that were sent, and how they are called there.
    under_way: BTreeMap<u64, (Life, Ticket)>,
    /// By their tasks.
    pub(super) numbers: BTreeMap<u64, TaskNumber>,
    /// Tasks that take the result of another one.
    pub(super) takers: BTreeMap<u64, BTreeSet<u64>>,
}

/// Classes, by the CPUs that a slot of them takes.
pub(super) const CLASSES: [u64; 3] = [1, 2, 0];

impl Owner {
    pub(super) fn new() -> Owner {
        let mut queue = Queue::new(Bounds::default());
        for key in 0..CLASSES.len() as u32 {
            // As many as this are always allowed.
            let _class = queue.class(key);
        }
        Owner {
            queue,
            held: BTreeMap::new(),
            to_do: VecDeque::new(),
            carrying_out: false,
            wanted: BTreeMap::new(),
            under_way: BTreeMap::new(),
            numbers: BTreeMap::new(),
            takers: BTreeMap::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.queue.deadline()
    }

    /// Nothing is queued, held or wanted (Q5).
    pub(super) fn is_idle(&self) -> bool {
        self.queue.queued() == 0 && self.held.is_empty() && self.wanted.values().all(|slots| *slots == 0)
    }

    pub(super) fn standing(&self) -> String {
        format!("queued {} held {:?} wanted {:?}", self.queue.queued(), self.held, self.wanted)
    }

    /// What a new head is told of grants that are held.
    pub(super) fn holdings(&self) -> Holdings {
        let held = self.queue.held().map(|held| Holding {
            grant: held.grant,
            class: held.class,
            life: held.life,
            slots: held.slots,
        });
        Holdings { held: held.collect(), ..Holdings::default() }
    }
}

fn submission(token: Queued, waits_for: u32, follows: &[TaskNumber]) -> Submission<'_, Queued> {
    let Queued { class, priority, .. } = token;
    Submission { class, priority, waits_for, follows, token }
}

impl Node {
    /// Changes the queue, and carries out what follows, in its order.
    pub(super) fn own<R>(&mut self, stage: &mut Stage, change: impl FnOnce(&mut Owner, Moment) -> R) -> R {
        let (now, mut effects) = (self.now(stage), Vec::new());
        let result = change(&mut self.owner, now);
        self.owner.queue.flush(now, &mut effects);
        self.owner.to_do.extend(effects);
        if !std::mem::replace(&mut self.owner.carrying_out, true) {
            while let Some(effect) = self.owner.to_do.pop_front() {
                self.carry_out_step(stage, effect);
            }
            self.owner.carrying_out = false;
            let hungry: Vec<Class> = self.owner.queue.hungry().collect();
            let idles = stage.tasks.no_slot_idles(&hungry, self.owner.held.keys().copied());
            stage.check(idles);
        }
        result
    }

    fn carry_out_step(&mut self, stage: &mut Stage, effect: Effect) {
        match effect {
            Effect::Want { class, slots, priority } => self.wants(stage, class, slots, priority),
            Effect::Push { grant, tasks } => self.pushes(stage, grant, &tasks),
            Effect::Recall { grant, count } => {
                if let Some(held) = self.owner.held.get(&grant).copied() {
                    self.recalls(stage, grant, held, count);
                }
            }
            Effect::GiveBack { grant, keep } => self.gives_back(stage, grant, keep),
        }
    }

    fn wants(&mut self, stage: &mut Stage, class: Class, slots: u32, priority: i32) {
        self.owner.wanted.insert(class, slots);
        let resources = cpus(CLASSES[class.0 as usize % CLASSES.len()]);
        let needs = Needs { resources, ..Needs::default() };
        let (kind, signature) = task_kind();
        let want = Want { class, kind, signature, needs, slots, priority, patience: Patience::Wait };
        self.ask(stage, want, if slots == 0 { Purpose::Report } else { Purpose::Want(class) });
    }

    fn pushes(&mut self, stage: &mut Stage, grant: GrantId, numbers: &[TaskNumber]) {
        let Some(held) = self.owner.held.get_mut(&grant) else { return };
        let first = !std::mem::replace(&mut held.told, true);
        let held = *held;
        if first {
            self.tell_terms(stage, grant, held);
        }
        for number in numbers {
            let behind = self.owner.queue.missing(*number) > 0;
            let Some(queued) = self.owner.queue.get_mut(*number) else { continue };
            (queued.sent, queued.behind) = (true, behind);
            let sent = Sent { grant, number: *number, queued: *queued };
            stage.note(83, sent.task(), grant.0, || format!("task {} is pushed under {grant}", sent.task()));
            let pushed = stage.tasks.pushes(sent.task(), grant, self.life());
            stage.check(pushed);
            if Some(held.life) == self.life() {
                self.run_here(stage, sent);
            } else if let Some(ticket) = self.errand(stage, held.life, What::Run(sent)) {
                self.owner.under_way.insert(sent.task(), (held.life, ticket));
            }
        }
    }

    fn tell_terms(&mut self, stage: &mut Stage, grant: GrantId, held: Held) {
        let terms = Terms { grant, epoch: held.epoch, slots: held.slots, cpus: held.cpus };
        if Some(held.life) == self.life() {
            return self.terms_arrive(stage, held.life, terms);
        }
        self.errand(stage, held.life, What::Terms(terms));
    }

    fn recalls(&mut self, stage: &mut Stage, grant: GrantId, held: Held, count: u32) {
        stage.note(84, grant.0, u64::from(count), || format!("{count} tasks are recalled of {grant}"));
        if Some(held.life) == self.life() {
            let back = self.recall_here(stage, held.life, grant, count);
            return self.take_back(stage, grant, &back);
        }
        self.errand(stage, held.life, What::Recall(grant, count));
    }

    /// Tasks come back that have not begun.
    pub(super) fn recalled(&mut self, stage: &mut Stage, grant: GrantId, back: &[TaskNumber]) {
        if !stage.has(Bug::ForgetsRecalled) {
            self.take_back(stage, grant, back);
        }
    }

    fn take_back(&mut self, stage: &mut Stage, grant: GrantId, back: &[TaskNumber]) {
        for number in back {
            if let Some(queued) = self.owner.queue.get_mut(*number) {
                queued.sent = false;
                self.owner.under_way.remove(&queued.task);
                let returns = stage.tasks.returns(queued.task);
                stage.check(returns);
            }
        }
        self.own(stage, |owner, _| owner.queue.recalled(grant, back));
        back.iter().for_each(|number| self.sees_argument(stage, *number));
    }

    fn gives_back(&mut self, stage: &mut Stage, grant: GrantId, keep: u32) {
        let Some(held) = self.owner.held.get_mut(&grant) else { return };
        held.slots = keep;
        let held = *held;
        if keep == 0 {
            self.owner.held.remove(&grant);
        }
        let given = stage.tasks.gives_back(grant, keep);
        stage.check(given);
        if held.told {
            self.tell_terms(stage, grant, held);
        }
        if !stage.has(Bug::KeepsSlots) || !stage.shell.one_in(8) {
            self.ask(stage, GiveBack { grant, keep }, Purpose::Report);
        }
    }

    /// The head gives slots.
    pub(super) fn granted(&mut self, stage: &mut Stage, granted: &Granted) {
        let Granted { grant, class, life, slots, .. } = *granted;
        if self.core.known().has_ended(life) {
            return self.ask(stage, GiveBack { grant, keep: 0 }, Purpose::Report);
        }
        let epoch = self.core.reign().unwrap_or_default().epoch;
        let cpus = CLASSES[class.0 as usize % CLASSES.len()];
        self.own(stage, |owner, now| {
            owner.held.entry(grant).or_insert(Held { life, slots, cpus, epoch, told: false });
            owner.queue.granted(now, grant, class, life, slots);
        });
    }

    /// The head wants slots back.
    pub(super) fn grant_recalled(&mut self, stage: &mut Stage, grant: GrantId, keep: u32) {
        stage.tasks.keeps(grant, keep);
        self.own(stage, |owner, _| owner.queue.recall(grant, keep));
    }

    /// The head ends a grant at once.
    pub(super) fn grant_revoked(&mut self, stage: &mut Stage, grant: GrantId, _: Revoked) {
        let held = self.owner.held.get(&grant).copied();
        self.lose_grants(stage, |of, _| of == grant);
        if let Some(held) = held.filter(|held| held.told) {
            self.tell_terms(stage, grant, Held { slots: 0, ..held });
        }
    }

    /// Lives have ended, and with them the grants on them.
    pub(super) fn lose_grants_of_ended(&mut self, stage: &mut Stage) {
        let lives = self.owner.held.values().map(|held| held.life);
        let ended: Vec<Life> = lives.filter(|life| self.core.known().has_ended(*life)).collect();
        self.lose_grants(stage, |_, life| ended.contains(&life));
    }

    /// Grants are over. What was sent under them is answered by its node, or fails with its life; the rest goes elsewhere.
    pub(super) fn lose_grants(&mut self, stage: &mut Stage, over: impl Fn(GrantId, Life) -> bool) {
        let gone = self.owner.held.iter().filter(|(grant, held)| over(**grant, held.life));
        let gone: Vec<GrantId> = gone.map(|(grant, _)| *grant).collect();
        if gone.is_empty() {
            return;
        }
        let lost = self.own(stage, |owner, _| {
            let lost = gone.into_iter().flat_map(|grant| {
                owner.held.remove(&grant);
                owner.queue.lost(grant)
            });
            lost.collect::<Vec<_>>()
        });
        for (_, queued) in lost.into_iter().filter(|(_, queued)| !queued.sent) {
            self.enqueue_again(stage, queued);
        }
    }

    /// User code submits a task.
    pub(super) fn submits(&mut self, stage: &mut Stage, class: Class, priority: i32) {
        let retries = if stage.user.one_in(3) { 1 + stage.user.below(2) as u32 } else { 0 };
        let takes = match stage.user.below(20) {
            0 => stage.user.millis(100, 3_000),
            1..8 => stage.user.millis(1, 40),
            _ => stage.user.micros(10, 1_000),
        };
        // Often the last one that is not over: so tasks come in chains.
        let ahead = self.owner.numbers.keys().next_back().copied().filter(|_| stage.user.one_in(4));
        let after = ahead.filter(|ahead| !stage.tasks.is_over(*ahead));
        let task = stage.tasks.submits((self.index, class, priority), 1 + retries, after);
        stage.takes.push(takes);
        stage.note(85, task, u64::from(class.0), || {
            format!("node {} submits task {task} of class {class:?}, which takes {takes:?}", self.index)
        });
        self.enqueue(stage, Queued { task, class, priority, retries, attempt: 1, after, behind: false, sent: false });
    }

    fn enqueue(&mut self, stage: &mut Stage, queued: Queued) {
        let lacks = match queued.after.map(|after| (after, stage.tasks.end(after))) {
            None | Some((_, Some(End::Value))) => None,
            Some((after, None)) => Some(after),
            Some((_, Some(_))) => return self.task_ends(stage, queued, End::Never),
        };
        if let Some(after) = lacks {
            self.owner.takers.entry(after).or_default().insert(queued.task);
        }
        self.own(stage, |owner, _| {
            let follows: Vec<TaskNumber> =
                lacks.and_then(|after| owner.numbers.get(&after).copied()).into_iter().collect();
            let number = owner.queue.submit_again(submission(queued, lacks.is_some().into(), &follows));
            owner.numbers.insert(queued.task, number);
        });
    }

    pub(super) fn enqueue_again(&mut self, stage: &mut Stage, queued: Queued) {
        if stage.tasks.is_over(queued.task) {
            return;
        }
        let returns = stage.tasks.returns(queued.task);
        stage.check(returns);
        self.owner.under_way.remove(&queued.task);
        self.enqueue(stage, Queued { sent: false, behind: false, ..queued });
    }

    /// A task is over for whoever submitted it.
    pub(super) fn task_ends(&mut self, stage: &mut Stage, queued: Queued, end: End) {
        self.task_over(stage, queued, end);
        self.takers_hear(stage, queued.task, end);
    }

    fn task_over(&mut self, stage: &mut Stage, queued: Queued, end: End) {
        self.owner.under_way.remove(&queued.task);
        self.owner.numbers.remove(&queued.task);
        if stage.tasks.is_over(queued.task) {
            return;
        }
        let end = if end == End::Never && queued.attempt > 1 { End::Failed } else { end };
        stage.note(86, queued.task, 0, || format!("task {} ends: {end:?}", queued.task));
        let ends = stage.tasks.ends(queued.task, end);
        stage.check(ends);
    }

    /// A grant's node has answered that a task ran, or this node ran it.
    pub(super) fn task_ran(&mut self, stage: &mut Stage, sent: &Sent, reply: Reply) {
        let ran = if let Reply::Ran(ran) = reply { ran } else { Duration::ZERO };
        stage.tasks.measured(self.index, sent.queued.class, ran);
        stage.tasks.answered(sent.task());
        self.task_over(stage, sent.queued, End::Value);
        self.own(stage, |owner, _| owner.queue.finished(sent.number, ran));
        self.takers_hear(stage, sent.task(), End::Value);
    }

    /// A grant's node has not run a task.
    pub(super) fn task_refused(&mut self, stage: &mut Stage, sent: &Sent, executed: Executed, fault: &CallFault<'_>) {
        stage.tasks.answered(sent.task());
        match fault {
            // Nobody waits for it any more.
            CallFault::Cancelled if stage.tasks.is_over(sent.queued.task) => {
                self.own(stage, |owner, _| owner.queue.failed(sent.number));
            }
            // It comes back with the others of its recall, or as one that was never sent if its node ends before that; at
            // once if its grant is over, so that no recall is heard any more.
            CallFault::Cancelled => match self.owner.queue.get_mut(sent.number) {
                Some(queued) => queued.sent = false,
                None => self.goes_back(stage, sent),
            },
            // What it was to take is not there any more, or did not come to be: it waits for that here.
            CallFault::ReferenceLost if sent.queued.behind => self.goes_back(stage, sent),
            CallFault::NoGrant => self.grant_gone(stage, sent),
            _ => self.attempt_failed(stage, sent, executed),
        }
    }

    /// A task's grant turns out to be over: it was not run.
    pub(super) fn grant_gone(&mut self, stage: &mut Stage, sent: &Sent) {
        self.ask(stage, GiveBack { grant: sent.grant, keep: 0 }, Purpose::Report);
        self.lose_grants(stage, |of, _| of == sent.grant);
        self.attempt_failed(stage, sent, Executed::No);
    }

    /// An attempt came to nothing: another one follows if it did not run, or its node ended and an attempt is left.
    pub(super) fn attempt_failed(&mut self, stage: &mut Stage, sent: &Sent, executed: Executed) {
        stage.tasks.answered(sent.task());
        self.own(stage, |owner, _| owner.queue.failed(sent.number));
        let queued = sent.queued;
        match executed {
            _ if stage.tasks.is_over(queued.task) => {}
            Executed::No => self.enqueue_again(stage, queued),
            _ if queued.retries > 0 => {
                let (retries, attempt) = (queued.retries - 1, queued.attempt + 1);
                self.enqueue_again(stage, Queued { retries, attempt, ..queued });
            }
            _ => self.task_ends(stage, queued, End::Failed),
        }
    }

    /// User code takes a task back.
    pub(super) fn cancels_task(&mut self, stage: &mut Stage) {
        let count = self.owner.numbers.len();
        if count == 0 {
            return;
        }
        let Some((task, number)) = self.owner.numbers.iter().nth(stage.user.index(count)) else { return };
        let (task, number) = (*task, *number);
        stage.note(87, task, 0, || format!("task {task} is cancelled"));
        let Some(queued) = self.owner.queue.get(number).copied() else { return };
        let sent = self.owner.under_way.remove(&task);
        if let Some((life, ticket)) = sent {
            let unsent = self.links.get_mut(&life).and_then(|peer| peer.link.call_off(ticket));
            self.touched(stage, life);
            // What may run holds its slot until its node has answered.
            let end = if unsent.is_some() { End::Never } else { End::Failed };
            if unsent.is_none() {
                stage.tasks.cancelled(task);
            }
            self.task_over(stage, queued, end);
            if unsent.is_some() {
                self.own(stage, |owner, _| owner.queue.failed(number));
            }
            self.takers_hear(stage, task, end);
        } else if let Cancelled::Queued(queued) = self.own(stage, |owner, _| owner.queue.cancel(number)) {
            self.task_ends(stage, queued, End::Never);
        }
    }

    /// The head refuses what a class wants.
    pub(super) fn class_refused(&mut self, stage: &mut Stage, class: Class) {
        let drained = self.own(stage, |owner, _| owner.queue.refused(class));
        drained.into_iter().for_each(|(_, queued)| self.task_ends(stage, queued, End::Never));
    }

    /// The head is away, and may have heard what a class wants. Under grants that are held, tasks go on.
    pub(super) fn head_away_for(&mut self, stage: &mut Stage, class: Class) {
        if self.owner.queue.slots(class) > 0 {
            return;
        }
        let drained = self.own(stage, |owner, _| owner.queue.drain(class));
        drained.into_iter().for_each(|(_, queued)| self.task_ends(stage, queued, End::Never));
    }

    /// A new head, or a new life: it is told all that is wanted.
    pub(super) fn want_anew(&mut self, stage: &mut Stage) {
        self.own(stage, |owner, _| owner.queue.new_head());
    }

    pub(super) fn tick_queue(&mut self, stage: &mut Stage) {
        let now = self.now(stage);
        if self.owner.deadline().is_some_and(|deadline| deadline <= now) {
            self.own(stage, |owner, now| {
                let mut effects = Vec::new();
                owner.queue.tick(now, &mut effects);
                owner.to_do.extend(effects);
            });
        }
    }

    /// This node's life is over: its grants are, and what has not begun here goes elsewhere.
    pub(super) fn tasks_between_lives(&mut self, stage: &mut Stage) {
        let unbegun = self.clear_host();
        for ready in &unbegun {
            if let Some(queued) = self.owner.queue.get_mut(ready.sent.number).filter(|_| ready.call.is_none()) {
                queued.sent = false;
            }
        }
        self.lose_grants(stage, |_, _| true);
        self.owner.wanted.clear();
    }
}
