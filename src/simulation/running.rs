//! The host's side of tasks: grants as their owners told of them, no more tasks at once than slots, the others in line.

use super::Bug;
use super::checks::tasks::Attempt;
use super::errands::{Reply, Terms};
use super::load::CPUS;
use super::node::Node;
use super::owning::Sent;
use super::requests::Purpose;
use super::stage::{Stage, Within};
use crate::clock::Moment;
use crate::directory::request::{GiveBack, Lending};
use crate::id::{ActorId, Epoch, GrantId, Life};
use crate::schedule::TaskNumber;
use crate::wire::packet::{CallFault, Executed};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A task that may begin here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) sent: Sent,
    owner: Life,
    /// The peer's call and errand, if it is a peer's.
    pub(super) call: Option<(u64, u64)>,
}

/// A grant on this node.
#[derive(Debug)]
struct Lent {
    owner: Life,
    slots: u32,
    cpus: u64,
    line: VecDeque<Ready>,
    running: u32,
    /// Tasks that wait for the result of another one here.
    behind: Vec<Ready>,
    /// The last that ran here: their results are there.
    ran: VecDeque<u64>,
}

impl Lent {
    fn new(owner: Life, slots: u32, cpus: u64) -> Lent {
        Lent { owner, slots, cpus, line: VecDeque::new(), running: 0, behind: Vec::new(), ran: VecDeque::new() }
    }

    /// What has not begun.
    fn unbegun(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.line).into_iter().chain(std::mem::take(&mut self.behind)).collect()
    }

    /// Those that wait for a task's result, directly.
    fn take_behind(&mut self, task: u64) -> Vec<Ready> {
        self.behind.extract_if(.., |ready| ready.sent.queued.after == Some(task)).collect()
    }
}

/// Where the result is that a task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    There,
    Comes,
    Lost,
}

/// A task that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    ready: Ready,
    attempt: Attempt,
    began: Moment,
}

/// Results that a host keeps of a grant's tasks.
const RESULTS: usize = 4;

/// The grants on a node, and what runs under them.
#[derive(Debug, Default)]
pub(super) struct Host {
    grants: BTreeMap<GrantId, Lent>,
    /// Grants of earlier heads that are not known here are refused ..
    epoch: Epoch,
    /// .. and those that nobody is to use any more.
    vacated: BTreeSet<GrantId>,
    running: BTreeMap<u64, Running>,
    last: u64,
}

impl Host {
    /// Whether tasks may come under a grant.
    pub(super) fn knows(&self, owner: Life, grant: GrantId) -> bool {
        self.grants.get(&grant).is_some_and(|lent| lent.owner == owner && lent.slots > 0)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.grants.is_empty() && self.running.is_empty()
    }

    pub(super) fn standing(&self) -> String {
        format!("lent {:?} running {}", self.grants, self.running.len())
    }

    /// What runs here.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (u64, Attempt)> {
        self.running.values().map(|running| (running.ready.sent.task(), running.attempt))
    }

    /// Whether this node has told a later head what is here than the one that chose it for this actor, which takes something.
    pub(super) fn refuses(&self, stage: &Stage, actor: ActorId) -> bool {
        stage.takers.contains(&actor) && stage.chosen.get(&actor).is_some_and(|epoch| *epoch < self.epoch)
    }

    /// From now on no grant of an earlier head is taken that is not here.
    pub(super) fn serves(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// What is lent, for the head of this epoch.
    pub(super) fn lendings(&mut self, epoch: Epoch) -> Vec<Lending> {
        self.serves(epoch);
        let counts = |(grant, lent): &(&GrantId, &Lent)| lent.slots > 0 || self.vacated.contains(grant);
        let lending = self.grants.iter().filter(counts).map(|(grant, lent)| Lending {
            grant: *grant,
            owner: lent.owner,
            slots: lent.slots.max(if lent.slots == 0 { lent.running } else { 0 }),
            size: super::load::cpus(lent.cpus),
            bundle: None,
        });
        lending.collect()
    }

    /// Grants of owners that have ended: gives what has not begun.
    fn of_owners(&mut self, ended: impl Fn(Life) -> bool) -> Vec<Ready> {
        let mut unbegun = Vec::new();
        for lent in self.grants.values_mut().filter(|lent| ended(lent.owner)) {
            lent.slots = 0;
            unbegun.extend(lent.unbegun());
        }
        self.grants.retain(|_, lent| lent.slots > 0 || lent.running > 0);
        unbegun
    }

    /// Where the result is that a task takes; one that was pushed with it has it.
    fn result(&self, ready: &Ready, runs_ahead: bool) -> Taken {
        let (Some(after), true) = (ready.sent.queued.after, ready.sent.queued.behind) else { return Taken::There };
        let Some(lent) = self.grants.get(&ready.sent.grant) else { return Taken::Lost };
        let here = |other: &Ready| other.sent.task() == after;
        let runs =
            || self.running.values().any(|running| here(&running.ready) && running.attempt.grant == ready.sent.grant);
        match lent.ran.contains(&after) || runs_ahead {
            true => Taken::There,
            false if lent.line.iter().chain(&lent.behind).any(here) || runs() => Taken::Comes,
            false => Taken::Lost,
        }
    }

    fn forget_if_over(&mut self, grant: GrantId) {
        if self.grants.get(&grant).is_some_and(|lent| lent.slots == 0 && lent.running == 0) {
            self.grants.remove(&grant);
        }
    }
}

impl Node {
    /// A grant's terms, or what is left of them.
    pub(super) fn terms_arrive(&mut self, stage: &mut Stage, owner: Life, terms: Terms) {
        let Terms { grant, epoch, slots, cpus } = terms;
        let old = epoch < self.host.epoch && !stage.has(Bug::TakesOldGrants);
        let stale = old || self.host.vacated.contains(&grant);
        let Some(known) = self.host.grants.get_mut(&grant) else {
            if slots > 0 && !stale {
                self.host.grants.insert(grant, Lent::new(owner, slots, cpus));
            }
            return;
        };
        if known.owner != owner {
            return;
        }
        known.slots = known.slots.min(slots);
        let refused = if slots == 0 { known.unbegun() } else { Vec::new() };
        self.host.forget_if_over(grant);
        self.refuse_tasks(stage, refused);
        self.begin_tasks(stage, grant);
    }

    /// Nobody is to use a grant any more, says the head, which hears when nothing runs under it.
    pub(super) fn grant_vacated(&mut self, stage: &mut Stage, grant: GrantId) {
        self.host.vacated.insert(grant);
        self.lose_grants(stage, |of, _| of == grant);
        let unbegun = self.host.grants.get_mut(&grant).map(|lent| {
            lent.slots = 0;
            lent.unbegun()
        });
        self.refuse_tasks(stage, unbegun.unwrap_or_default());
        self.host.forget_if_over(grant);
        if !self.host.grants.contains_key(&grant) {
            self.is_vacant(stage, grant);
        }
    }

    fn is_vacant(&mut self, stage: &mut Stage, grant: GrantId) {
        let given = stage.tasks.gives_back(grant, 0);
        stage.check(given);
        self.ask(stage, GiveBack { grant, keep: 0 }, Purpose::Report);
    }

    /// Tasks that will not run here.
    fn refuse_tasks(&mut self, stage: &mut Stage, unbegun: impl IntoIterator<Item = Ready>) {
        for ready in unbegun {
            match ready.call {
                Some((call, _)) => self.refuse_errand(stage, ready.owner, call, CallFault::NoGrant),
                None => self.refused_here(stage, &ready.sent),
            }
        }
    }

    /// A peer's task.
    pub(super) fn task_arrives(&mut self, stage: &mut Stage, owner: Life, call: (u64, u64), sent: &Sent) {
        self.lines_up(stage, Ready { sent: *sent, owner, call: Some(call) });
    }

    /// A task enters its grant's line, when what it takes is there; if that is lost, it goes back.
    fn lines_up(&mut self, stage: &mut Stage, ready: Ready) {
        let (grant, result) = (ready.sent.grant, self.host.result(&ready, stage.has(Bug::RunsAhead)));
        let Some(lent) = self.host.grants.get_mut(&grant) else { return };
        match result {
            Taken::There => lent.line.push_back(ready),
            Taken::Comes => lent.behind.push(ready),
            Taken::Lost => self.sends_back(stage, ready),
        }
        self.begin_tasks(stage, grant);
    }

    /// A task goes back to its queue, and those behind it.
    fn sends_back(&mut self, stage: &mut Stage, ready: Ready) {
        match ready.call {
            Some((call, _)) => self.refuse_errand(stage, ready.owner, call, CallFault::ReferenceLost),
            None => self.goes_back(stage, &ready.sent),
        }
        self.not_run(stage, ready.sent.grant, ready.sent.task());
    }

    /// A task has left without having run: those behind it go back.
    fn not_run(&mut self, stage: &mut Stage, grant: GrantId, task: u64) {
        let behind = self.host.grants.get_mut(&grant).map(|lent| lent.take_behind(task)).unwrap_or_default();
        behind.into_iter().for_each(|ready| self.sends_back(stage, ready));
    }

    /// A task of this node's own; if the grant is over here, it goes elsewhere.
    pub(super) fn run_here(&mut self, stage: &mut Stage, sent: Sent) {
        let Some(owner) = self.life() else { return };
        match self.host.grants.get_mut(&sent.grant).filter(|lent| lent.slots > 0) {
            Some(_) => self.lines_up(stage, Ready { sent, owner, call: None }),
            None => self.refused_here(stage, &sent),
        }
    }

    /// A task of this node's own does not run here. If this node knew that the grant is over, others of its tasks may still
    /// run under it, and the head hears when they have ended.
    fn refused_here(&mut self, stage: &mut Stage, sent: &Sent) {
        match self.owner.held.contains_key(&sent.grant) {
            true => self.grant_gone(stage, sent),
            false => self.attempt_failed(stage, sent, Executed::No),
        }
    }

    /// Begins tasks while the grant has a slot for them.
    fn begin_tasks(&mut self, stage: &mut Stage, grant: GrantId) {
        let Some(life) = self.life() else { return };
        loop {
            let Some(lent) = self.host.grants.get_mut(&grant).filter(|lent| lent.running < lent.slots) else { return };
            let Some(ready) = lent.line.pop_front() else { return };
            lent.running += 1;
            self.begin_task(stage, life, ready);
        }
    }

    fn begin_task(&mut self, stage: &mut Stage, host: Life, ready: Ready) {
        let Ready { sent, owner, .. } = ready;
        let attempt = Attempt { number: sent.attempt(), owner, host, grant: sent.grant };
        stage.note(88, sent.task(), host.0, || format!("task {} begins: {attempt:?}", sent.task()));
        let taken = self.taken(stage);
        let begins = stage.tasks.begins(sent.task(), attempt, (taken, CPUS));
        stage.check(begins);
        self.host.last += 1;
        let (id, began) = (self.host.last, self.now(stage));
        self.host.running.insert(id, Running { ready, attempt, began });
        let takes = stage.takes[sent.task() as usize];
        let takes = if stage.calm { takes.min(std::time::Duration::from_millis(1)) } else { takes };
        stage.queue.after(takes, self.within(Within::Ran(id)));
    }

    /// CPUs that actors take here, and bundles of placement groups.
    pub(super) fn taken(&self, stage: &mut Stage) -> u64 {
        let here = || self.actors.keys().copied();
        let alone = here().filter(|id| stage.takers.contains(id) && !stage.groups.is_within(*id)).count() as u64;
        let bundles = self.life().map_or(Ok(0), |life| stage.groups.taken(life, here()));
        alone + stage.check(bundles)
    }

    /// A task has ended.
    pub(super) fn ran(&mut self, stage: &mut Stage, id: u64) {
        let Some(Running { ready, attempt, began }) = self.host.running.remove(&id) else { return };
        let ran = self.now(stage).since(began);
        let task = ready.sent.task();
        stage.tasks.leaves(task, attempt);
        stage.tasks.ran(task);
        if let Some(lent) = self.host.grants.get_mut(&attempt.grant) {
            lent.running -= 1;
            lent.ran.push_back(task);
            if lent.ran.len() > RESULTS {
                lent.ran.pop_front();
            }
            let behind = lent.take_behind(task);
            lent.line.extend(behind);
        }
        self.host.forget_if_over(attempt.grant);
        if self.host.vacated.contains(&attempt.grant) && !self.host.grants.contains_key(&attempt.grant) {
            self.is_vacant(stage, attempt.grant);
        }
        match ready.call {
            Some(call) if self.life() == Some(attempt.host) => {
                self.answer_errand(stage, ready.owner, call, Reply::Ran(ran));
            }
            Some(_) => {}
            None => self.task_ran(stage, &ready.sent, Reply::Ran(ran)),
        }
        // Who has woken up after its lease fences next.
        if self.may_begin(stage) {
            self.begin_tasks(stage, attempt.grant);
        }
    }

    /// The last tasks in a grant's line, at most so many: they have not begun, and do not here.
    pub(super) fn recall_here(
        &mut self,
        stage: &mut Stage,
        owner: Life,
        grant: GrantId,
        count: u32,
    ) -> Vec<TaskNumber> {
        // A queue on this node, which is answered at once, would recall them for ever.
        let keeps = stage.has(Bug::RunsRecalled) && self.life() != Some(owner);
        let Some(lent) = self.host.grants.get_mut(&grant).filter(|lent| lent.owner == owner) else { return Vec::new() };
        let first = lent.line.len().saturating_sub(count as usize);
        let back: Vec<Ready> = lent.line.drain(first..).collect();
        if keeps {
            lent.line.extend(&back);
            return back.iter().map(|ready| ready.sent.number).collect();
        }
        for (call, _) in back.iter().filter_map(|ready| ready.call) {
            self.refuse_errand(stage, owner, call, CallFault::Cancelled);
        }
        back.iter().for_each(|ready| self.not_run(stage, grant, ready.sent.task()));
        back.iter().map(|ready| ready.sent.number).collect()
    }

    /// A peer takes a task back: it never runs if it has not begun.
    pub(super) fn task_cancelled(&mut self, stage: &mut Stage, owner: Life, call: u64) {
        let is_it = |ready: &Ready| ready.owner == owner && ready.call.is_some_and(|(of, _)| of == call);
        for lent in self.host.grants.values_mut() {
            let in_line = lent.line.iter().position(is_it).and_then(|at| lent.line.remove(at));
            let behind = || lent.behind.iter().position(is_it).map(|at| lent.behind.remove(at));
            if let Some(Ready { sent, .. }) = in_line.or_else(behind) {
                self.refuse_errand(stage, owner, call, CallFault::Cancelled);
                return self.not_run(stage, sent.grant, sent.task());
            }
        }
    }

    /// Lives have ended: what they owned here begins no more.
    pub(super) fn hosted_of_ended(&mut self, stage: &mut Stage) {
        let known = self.core.known();
        let unbegun = self.host.of_owners(|life| known.has_ended(life));
        self.refuse_tasks(stage, unbegun);
    }

    /// Nothing is granted here any more. Gives what has not begun.
    pub(super) fn clear_host(&mut self) -> Vec<Ready> {
        self.host.of_owners(|_| true)
    }
}
