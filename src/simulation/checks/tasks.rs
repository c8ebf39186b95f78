//! Q1 to Q5: tasks, from their submission to their end; grants, from the head's word to the last slot that is given back.

use super::{Checked, Rule, hold};
use crate::id::{GrantId, Life};
use crate::limits::{PUSH_AHEAD, PUSH_DEPTH_MAX, PUSH_DEPTH_MIN};
use crate::schedule::Class;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ran.
    Value,
    /// It may have run, and is not to run again.
    Failed,
    /// It was taken back, or refused: it never runs.
    Never,
    /// The process that submitted it is no more.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Queued,
    Pushed(GrantId),
    Over(End),
}

/// One beginning of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) owner: Life,
    pub(crate) host: Life,
    pub(crate) grant: GrantId,
}

/// A line of tasks that leave in their order: an owner's process, a class, a priority.
pub(crate) type Lane = (usize, Class, i32);

#[derive(Debug)]
struct Task {
    lane: Lane,
    /// Attempts that it may have.
    most: u32,
    at: At,
    /// It was pushed before, or entered its line later than it was submitted.
    known: bool,
    /// The task whose result it takes.
    after: Option<u64>,
    /// It has run to its end somewhere.
    ran: bool,
    /// Nobody waits for it any more, and its node has not answered: the slot is still its own.
    holds: Option<GrantId>,
    begun: Vec<Attempt>,
    running: Vec<Attempt>,
}

/// A grant as its owner has it.
#[derive(Debug)]
struct Grant {
    class: Class,
    cpus: u64,
    slots: u32,
    keep: u32,
    pushed: u32,
}

/// Every task and grant there was.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    tasks: Vec<Task>,
    open: usize,
    begun: u64,
    grants: BTreeMap<GrantId, Grant>,
    /// What runs on a life, and under which grant.
    running: BTreeMap<Life, Vec<(u64, GrantId)>>,
    /// The last task of each lane that was pushed for the first time, by its grant: those of one flush leave grant by grant.
    last: BTreeMap<(Lane, GrantId), u64>,
    /// The shortest run that an owner was told of.
    shortest: BTreeMap<(usize, Class), Duration>,
    over: BTreeSet<Life>,
}

impl Tasks {
    /// A task is submitted: gives its number.
    pub(crate) fn submits(&mut self, lane: Lane, most: u32, after: Option<u64>) -> u64 {
        let (begun, running) = (Vec::new(), Vec::new());
        let known = after.is_some();
        self.tasks.push(Task { lane, most, at: At::Queued, known, after, ran: false, holds: None, begun, running });
        self.open += 1;
        self.tasks.len() as u64 - 1
    }

    /// The head says that an owner has slots; it may say so again.
    pub(crate) fn granted(&mut self, id: GrantId, class: Class, slots: u32, cpus: u64) {
        let fresh = Grant { class, cpus, slots, keep: slots, pushed: 0 };
        self.grants.entry(id).or_insert(fresh);
    }

    /// An owner may keep no more than so many slots of a grant.
    pub(crate) fn keeps(&mut self, id: GrantId, keep: u32) {
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.keep = grant.keep.min(keep);
        }
    }

    /// An owner has no more than so many slots of a grant: those beyond have no task.
    pub(crate) fn gives_back(&mut self, id: GrantId, keep: u32) -> Checked {
        self.keeps(id, keep);
        let running = self.running.values().flatten().filter(|running| running.1 == id).count();
        hold(running as u32 <= keep, Rule::Q1, || format!("of {id} {keep} slots are kept, and {running} tasks run"))
    }

    /// An owner was told how long a task ran.
    pub(crate) fn measured(&mut self, process: usize, class: Class, ran: Duration) {
        let shortest = self.shortest.entry((process, class)).or_insert(ran);
        *shortest = ran.min(*shortest);
    }

    /// Tasks that may be pushed for each slot at most.
    fn depth(&self, process: usize, class: Class) -> u32 {
        let Some(shortest) = self.shortest.get(&(process, class)) else { return PUSH_DEPTH_MIN };
        // An average of whole nanoseconds, in eighths.
        let depth = PUSH_AHEAD.as_nanos() / shortest.as_nanos().saturating_sub(16).max(1);
        u32::try_from(depth).unwrap_or(u32::MAX).clamp(PUSH_DEPTH_MIN, PUSH_DEPTH_MAX)
    }

    /// A task leaves its owner's queue for a grant's node. An owner that stood still until its life was over may push before
    /// it knows: nobody hears that.
    pub(crate) fn pushes(&mut self, id: u64, to: GrantId, owner: Option<Life>) -> Checked {
        let Some(task) = self.tasks.get_mut(id as usize) else { return Ok(()) };
        hold(task.at == At::Queued, Rule::Q2, || format!("task {id} is pushed under {to}, and is {:?}", task.at))?;
        task.at = At::Pushed(to);
        let (lane, first) = (task.lane, !std::mem::replace(&mut task.known, true));
        if first {
            let last = self.last.insert((lane, to), id);
            hold(last.is_none_or(|last| last < id), Rule::Q3, || {
                format!("task {id} of {lane:?} is pushed after {last:?}, under the same grant")
            })?;
        }
        let depth = self.depth(lane.0, lane.1);
        let Some(grant) = self.grants.get_mut(&to) else {
            return hold(false, Rule::Q1, || format!("task {id} is pushed under {to}, which nobody granted"));
        };
        grant.pushed += 1;
        let heard = owner.is_none_or(|owner| !self.over.contains(&owner));
        let sound = !heard || grant.pushed <= grant.keep.saturating_mul(depth) && grant.class == lane.1;
        hold(sound, Rule::Q1, || format!("task {id} of {lane:?} is pushed, {depth} a slot, under {to}: {grant:?}"))
    }

    fn unpush(&mut self, id: u64, at: At) -> At {
        let Some(task) = self.tasks.get_mut(id as usize) else { return At::Over(End::Gone) };
        let was = std::mem::replace(&mut task.at, at);
        if let At::Pushed(grant) = was
            && let Some(grant) = self.grants.get_mut(&grant)
        {
            grant.pushed -= 1;
        }
        was
    }

    /// It is taken back, and its slot is not free before its node has answered.
    pub(crate) fn cancelled(&mut self, id: u64) {
        if let Some(task) = self.tasks.get_mut(id as usize)
            && let At::Pushed(grant) = task.at
        {
            (task.holds, task.at) = (Some(grant), At::Queued);
        }
    }

    /// Its node has answered.
    pub(crate) fn answered(&mut self, id: u64) {
        let holds = self.tasks.get_mut(id as usize).and_then(|task| task.holds.take());
        if let Some(grant) = holds.and_then(|grant| self.grants.get_mut(&grant)) {
            grant.pushed -= 1;
        }
    }

    /// It is in its owner's queue again.
    pub(crate) fn returns(&mut self, id: u64) -> Checked {
        let was = self.unpush(id, At::Queued);
        hold(!matches!(was, At::Over(_)), Rule::Q2, || format!("task {id} is queued again after it was {was:?}"))
    }

    /// It begins to run on a host, of which actors that the head placed there take so many CPUs, of so many.
    pub(crate) fn begins(&mut self, id: u64, attempt: Attempt, (taken, all): (u64, u64)) -> Checked {
        self.begun += 1;
        self.running.entry(attempt.host).or_default().push((id, attempt.grant));
        let over = &self.over;
        let Some(task) = self.tasks.get_mut(id as usize) else { return Ok(()) };
        let again = task.begun.iter().any(|before| before.number == attempt.number);
        let beside = task.running.iter().any(|before| before.owner == attempt.owner && !over.contains(&before.host));
        task.begun.push(attempt);
        task.running.push(attempt);
        hold(!again && task.begun.len() as u32 <= task.most, Rule::Q2, || {
            format!("task {id}, which may run {} times, begins again: {:?}", task.most, task.begun)
        })?;
        hold(!beside || over.contains(&attempt.owner), Rule::Q2, || {
            format!("task {id} begins beside an earlier attempt: {:?}", task.running)
        })?;
        hold(task.at != At::Over(End::Never), Rule::Q2, || format!("task {id} begins, and was never to run"))?;
        let after = task.after;
        let there = after.and_then(|after| self.tasks.get(after as usize)).is_none_or(|after| after.ran);
        hold(there, Rule::Behind, || format!("task {id} begins without the result of task {after:?}"))?;
        self.fits(attempt.host, taken, all)
    }

    /// Nothing of a host is taken twice, whether or not those whose it is are still there.
    pub(crate) fn fits(&self, host: Life, taken: u64, all: u64) -> Checked {
        let running = self.running.get(&host).into_iter().flatten();
        let mut under = BTreeMap::<GrantId, (u32, u32)>::new();
        let mut used = taken;
        for (_, id) in running {
            let Some(grant) = self.grants.get(id) else { continue };
            used += grant.cpus;
            under.entry(*id).or_insert((0, grant.slots)).0 += 1;
        }
        let fits = used <= all && under.values().all(|(running, slots)| running <= slots);
        hold(fits || self.over.contains(&host), Rule::Q1, || {
            format!("on life {host} actors take {taken} CPUs of {all}, and tasks run of slots of grants: {under:?}")
        })
    }

    /// It runs no more.
    pub(crate) fn leaves(&mut self, id: u64, attempt: Attempt) {
        if let Some(task) = self.tasks.get_mut(id as usize) {
            task.running.retain(|running| *running != attempt);
        }
        if let Some(there) = self.running.get_mut(&attempt.host)
            && let Some(at) = there.iter().position(|running| *running == (id, attempt.grant))
        {
            there.swap_remove(at);
        }
    }

    /// It has run to its end, and who has its result may take it.
    pub(crate) fn ran(&mut self, id: u64) {
        if let Some(task) = self.tasks.get_mut(id as usize) {
            task.ran = true;
        }
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self, id: u64) -> Option<End> {
        match self.tasks.get(id as usize).map(|task| task.at) {
            Some(At::Over(end)) => Some(end),
            Some(At::Queued | At::Pushed(_)) => None,
            None => Some(End::Gone),
        }
    }

    /// Who submitted it is told.
    pub(crate) fn ends(&mut self, id: u64, end: End) -> Checked {
        let was = self.unpush(id, At::Over(end));
        let Some(task) = self.tasks.get(id as usize) else { return Ok(()) };
        hold(!matches!(was, At::Over(_)), Rule::Q2, || format!("task {id} ends as {end:?} after {was:?}"))?;
        self.open -= 1;
        hold(end != End::Value || !task.begun.is_empty(), Rule::Q2, || format!("task {id} is done, and never began"))?;
        hold(end != End::Never || task.begun.is_empty(), Rule::Q2, || {
            format!("task {id} is said never to run, and began: {:?}", task.begun)
        })
    }

    pub(crate) fn is_over(&self, id: u64) -> bool {
        self.tasks.get(id as usize).is_none_or(|task| matches!(task.at, At::Over(_)))
    }

    /// After a flush: tasks of these classes are ready, and these grants are held.
    pub(crate) fn no_slot_idles(&self, hungry: &[Class], held: impl Iterator<Item = GrantId>) -> Checked {
        if hungry.is_empty() {
            return Ok(());
        }
        for (id, grant) in held.filter_map(|id| Some((id, self.grants.get(&id)?))) {
            let idles = grant.pushed < grant.keep && hungry.contains(&grant.class);
            hold(!idles, Rule::Q4, || format!("tasks are ready, and slots of {id} idle: {grant:?}"))?;
        }
        Ok(())
    }

    /// A life is over.
    pub(crate) fn over(&mut self, life: Life) {
        self.over.insert(life);
    }

    /// A process is no more: what it submitted is nobody's, what it ran runs no more.
    pub(crate) fn process_gone(&mut self, process: usize, running: impl Iterator<Item = (u64, Attempt)>) {
        running.for_each(|(id, attempt)| self.leaves(id, attempt));
        for id in 0..self.tasks.len() as u64 {
            if self.tasks[id as usize].lane.0 == process && !self.is_over(id) {
                self.unpush(id, At::Over(End::Gone));
                self.open -= 1;
            }
        }
        self.last.retain(|(lane, _), _| lane.0 != process);
        self.shortest.retain(|(of, _), _| *of != process);
    }

    /// All is quiet: none may be left.
    pub(crate) fn all_ended(&self) -> Checked {
        let open = (0..).zip(&self.tasks).filter(|(_, task): &(u64, &Task)| !matches!(task.at, At::Over(_)));
        let first: Vec<_> = open.take(4).collect();
        hold(self.open == 0, Rule::Q2, || format!("{} tasks never end: {first:?}", self.open))
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }
}
