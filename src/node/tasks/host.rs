//! What runs here: under each grant no more tasks at once than it has slots; the others wait in its line, where they can
//! be recalled.
//!
//! A task that gives its CPU back when it first waits is *parked* from then on: it holds its slot no longer.

use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use super::line::{Again, Alone, Line, Ready, Whose, refuse};
use super::results::Results;
use super::terms::{Header, Terms};
use crate::actor::inbox::Host as _;
use crate::clock::{self, Moment};
use crate::directory::request::Lending;
use crate::id::{Epoch, GrantId, GroupId, Life};
use crate::limits::{GRANTS, RECALLED, TASKS_IN_A_ROW};
use crate::node::runtime::Node;
use crate::object::entry::Entry;
use crate::schedule::{Resources, TaskNumber};
use crate::task::context::{Site, TaskContext};
use crate::task::slot::{Attempt, End, Ran, Runnable};
use crate::wire::packet::CallFault;

mod park;

/// Under which tasks run that a cluster of one process does not ask the head for.
const ALONE: GrantId = GrantId(u64::MAX);

/// A grant on this node.
struct Lent {
    owner: Life,
    slots: u32,
    size: Resources,
    bundle: Option<(GroupId, u32)>,
    line: Line,
    results: Results,
    /// Tasks that hold a slot, those that are parked, and slots lent to tasks of this node's own.
    running: u32,
    parked: u32,
    lent: u32,
    /// Parked threads that go on as soon as there is a slot.
    resuming: u32,
    /// The grant of whose slots this one is.
    of: Option<GrantId>,
}

impl Lent {
    fn new(owner: Life, slots: u32, size: Resources) -> Lent {
        let (bundle, line, results, of) = (None, Line::default(), Results::default(), None);
        Lent { owner, slots, size, bundle, line, results, running: 0, parked: 0, lent: 0, resuming: 0, of }
    }

    fn has_slot(&self) -> bool {
        self.running + self.lent + self.resuming < self.slots
    }

    fn is_over(&self) -> bool {
        self.slots == 0 && self.running + self.parked + self.lent == 0
    }
}

#[derive(Default)]
struct State {
    grants: FxHashMap<GrantId, Lent>,
    /// Grants of earlier heads that are not known here are refused.
    epoch: Epoch,
    /// Grants by which this node lends slots to its own tasks.
    local: u64,
}

impl State {
    /// Forgets a grant that is over. It is to be dropped outside of the lock: results go with it.
    fn remove_if_over(&mut self, grant: GrantId) -> Option<Lent> {
        self.grants.get(&grant)?.is_over().then(|| self.grants.remove(&grant))?
    }

    fn remove_those_over(&mut self) -> Vec<Lent> {
        let over: Vec<GrantId> =
            self.grants.iter().filter(|(_, lent)| lent.is_over()).map(|(grant, _)| *grant).collect();
        over.into_iter().filter_map(|grant| self.grants.remove(&grant)).collect()
    }
}

/// The grants on this node and what runs under them.
pub(super) struct Host {
    state: Mutex<State>,
    /// Told whenever a slot may have become free.
    freed: Condvar,
    most: usize,
    /// Tasks that are parked: only while there are some may a slot be lent.
    parked: AtomicUsize,
    /// Tasks that wait beside the queue.
    alone: AtomicUsize,
    cpus: u32,
}

/// Which slot a task that runs has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Held,
    /// It gave its slot back when it first waited.
    Parked,
    /// That of the task above it on its stack, which waits for it.
    Above,
}

/// A slot that a task holds; given back when this is dropped.
struct Place {
    node: Arc<Node>,
    grant: GrantId,
    whose: Whose,
    began: Moment,
    slot: Slot,
    /// The thread that ran the task goes on with the next one itself.
    in_a_row: bool,
    /// How the task is run once more, if this attempt asks for that.
    again: Option<Box<Again>>,
    end: End,
}

impl Host {
    pub(super) fn new(most: usize, cpus: usize) -> Self {
        let (state, parked, alone) = (Mutex::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        Host { state, freed: Condvar::new(), most, parked, alone, cpus: u32::try_from(cpus).unwrap_or(u32::MAX) }
    }

    /// How many tasks may wait beside the queue.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Counts one more, if it may.
    pub(super) fn take_room(&self) -> bool {
        let more = |count: usize| (count < self.most).then_some(count + 1);
        self.alone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn any_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed) > 0
    }

    /// Takes a grant's terms, or what is left of them.
    pub(super) fn take_terms(&self, owner: Life, terms: Terms) -> Vec<Ready> {
        let mut state = self.state.lock();
        let Terms { grant, epoch, slots, size, bundle } = terms;
        let stale = epoch < state.epoch;
        let Some(known) = state.grants.get_mut(&grant) else {
            // Tasks under one that is not taken are refused, and go elsewhere.
            if slots > 0 && !stale && state.grants.len() < GRANTS {
                state.grants.insert(grant, Lent { bundle, ..Lent::new(owner, slots, size) });
            }
            return Vec::new();
        };
        if known.owner != owner {
            return Vec::new();
        }
        known.slots = known.slots.min(slots);
        let refused = if slots == 0 { std::mem::take(&mut known.line) } else { Line::default() };
        let over = state.remove_if_over(grant);
        drop(state);
        drop(over);
        refused.into_all()
    }

    /// Keeps the result of a task that comes, if it may run under this grant; and gives those of other tasks that it takes.
    pub(super) fn expect(
        &self,
        owner: Life,
        header: &Header,
        result: &Arc<Entry>,
    ) -> Result<Vec<(u32, Arc<Entry>)>, CallFault<'static>> {
        let mut state = self.state.lock();
        let lent = state.grants.get_mut(&header.grant).filter(|lent| lent.owner == owner && lent.slots > 0);
        let lent = lent.ok_or(CallFault::NoGrant)?;
        let taken = |(position, number): &(u32, u64)| Some((*position, lent.results.get(TaskNumber(*number))?));
        let taken: Option<Vec<_>> = header.left_out.iter().map(taken).collect();
        let taken = taken.ok_or(CallFault::ReferenceLost)?;
        let former = lent.results.keep(header.number, result.clone());
        drop(state);
        drop(former);
        Ok(taken)
    }

    /// A result is not to be kept.
    pub(super) fn forget(&self, grant: GrantId, number: TaskNumber) {
        let mut state = self.state.lock();
        let result = state.grants.get_mut(&grant).and_then(|lent| lent.results.forget(number));
        drop(state);
        drop(result);
    }

    /// The last tasks in a grant's line, at most so many: they have not begun.
    pub(super) fn recall(&self, owner: Life, grant: GrantId, count: u32) -> Vec<Ready> {
        let mut state = self.state.lock();
        let Some(lent) = state.grants.get_mut(&grant).filter(|lent| lent.owner == owner) else { return Vec::new() };
        let mut taken: Vec<Ready> =
            std::iter::from_fn(|| lent.line.pop_last()).take(count.min(RECALLED) as usize).collect();
        taken.reverse();
        taken
    }

    /// A slot of a grant that idles while a task of it is parked: lent under a new grant, whose number and size are given.
    pub(super) fn lend(&self, to: Life) -> Option<(GrantId, Resources)> {
        let mut state = self.state.lock();
        let idle = |(_, lent): &(&GrantId, &mut Lent)| lent.parked > lent.lent && lent.has_slot();
        let (of, lent) = state.grants.iter_mut().find(idle)?;
        lent.lent += 1;
        let (of, size) = (*of, lent.size.clone());
        state.local += 1;
        let grant = GrantId(ALONE.0 - state.local);
        state.grants.insert(grant, Lent { of: Some(of), ..Lent::new(to, 1, size.clone()) });
        Some((grant, size))
    }

    /// That slot is free again: of which grant it is.
    pub(super) fn unlend(&self, grant: GrantId) -> Option<GrantId> {
        let mut state = self.state.lock();
        let of = state.grants.get(&grant)?.of?;
        let lent = state.grants.get_mut(&grant)?;
        lent.slots = 0;
        let over = state.remove_if_over(grant);
        if let Some(lender) = state.grants.get_mut(&of) {
            lender.lent -= 1;
        }
        let overs = (over, state.remove_if_over(of));
        drop(state);
        drop(overs);
        self.freed.notify_all();
        Some(of)
    }

    /// What is lent here to owners that the head has given it to; from now on no grant of an earlier head is taken.
    pub(super) fn lendings(&self, epoch: Epoch) -> Vec<Lending> {
        let mut state = self.state.lock();
        state.epoch = epoch;
        let real = state.grants.iter().filter(|(id, lent)| !is_local(**id) && lent.slots > 0);
        let mut lendings: Vec<Lending> = real
            .map(|(grant, Lent { owner, slots, size, bundle, .. })| Lending {
                grant: *grant,
                owner: *owner,
                slots: *slots,
                size: size.clone(),
                bundle: *bundle,
            })
            .collect();
        lendings.sort_unstable_by_key(|lending| lending.grant);
        lendings
    }

    /// Nothing is granted here any more. Gives what has not begun.
    pub(super) fn clear(&self) -> Vec<Ready> {
        self.of_owners(|_| true)
    }

    fn of_owners(&self, ended: impl Fn(Life) -> bool) -> Vec<Ready> {
        let mut state = self.state.lock();
        let mut unbegun = Vec::new();
        for lent in state.grants.values_mut().filter(|lent| ended(lent.owner)) {
            lent.slots = 0;
            unbegun.push(std::mem::take(&mut lent.line));
        }
        let over = state.remove_those_over();
        drop(state);
        drop(over);
        unbegun.into_iter().flat_map(Line::into_all).collect()
    }

    /// Puts a task in its grant's line; back if there is no such grant.
    fn line_up(&self, grant: GrantId, ready: Ready, priority: i32) -> Result<(), Ready> {
        let mut state = self.state.lock();
        let cpus = self.cpus;
        let lent = match state.grants.get_mut(&grant) {
            Some(lent) => lent,
            None if grant == ALONE => {
                state.grants.entry(ALONE).or_insert_with(|| Lent::new(Life(0), cpus, Resources::none()))
            }
            None => return Err(ready),
        };
        if lent.slots == 0 {
            return Err(ready);
        }
        lent.line.push(ready, priority);
        Ok(())
    }

    /// The next task of a grant that may begin: it has its slot.
    fn next(&self, grant: GrantId) -> Option<Ready> {
        loop {
            let mut state = self.state.lock();
            let lent = state.grants.get_mut(&grant).filter(|lent| lent.has_slot())?;
            let next = lent.line.pop()?;
            if grant == ALONE {
                self.alone.fetch_sub(1, Ordering::Relaxed);
            }
            match &next.whose {
                // One that was cancelled meanwhile was answered then. Its drop is other people's code.
                Whose::Peer(arrived) if !arrived.begin() => {
                    drop(state);
                    drop(next);
                }
                _ => {
                    lent.running += 1;
                    return Some(next);
                }
            }
        }
    }

    /// A task no longer holds its slot, or is over.
    fn change<R>(&self, grant: GrantId, change: impl FnOnce(&mut Lent) -> R) -> Option<R> {
        let mut state = self.state.lock();
        let lent = state.grants.get_mut(&grant)?;
        let result = change(lent);
        let over = state.remove_if_over(grant);
        drop(state);
        self.freed.notify_all();
        drop(over);
        Some(result)
    }
}

/// Whether a node made this grant's number itself.
pub(super) fn is_local(grant: GrantId) -> bool {
    grant.0 >> 63 == 1
}

impl Node {
    /// Runs a task of a cluster of one process once more. It was counted as one that waits until it began.
    fn run_alone_again(self: &Arc<Self>, alone: Alone) {
        self.tasks().host.alone.fetch_add(1, Ordering::Relaxed);
        let (priority, retries) = (alone.priority, alone.retries.saturating_sub(1));
        self.run_alone(Alone { retries, attempt: alone.attempt.saturating_add(1), ..alone }.ready(), priority);
    }

    /// Runs a task of a cluster of one process.
    pub(super) fn run_alone(self: &Arc<Self>, ready: Ready, priority: i32) {
        if let Err(ready) = self.tasks().host.line_up(ALONE, ready, priority) {
            return drop(ready);
        }
        self.begin_tasks(ALONE);
    }

    /// Takes a task under a grant that is known here; back if it is not.
    pub(super) fn run_under(self: &Arc<Self>, grant: GrantId, ready: Ready) -> Result<(), Ready> {
        self.tasks().host.line_up(grant, ready, 0)?;
        self.begin_tasks(grant);
        Ok(())
    }

    /// Begins tasks while the grant has a slot for them.
    pub(super) fn begin_tasks(self: &Arc<Self>, grant: GrantId) {
        while let Some(ready) = self.next_task(grant) {
            self.begin(ready, grant);
        }
    }

    fn next_task(&self, grant: GrantId) -> Option<Ready> {
        let next = self.tasks().host.next(grant);
        if next.is_some() && grant == ALONE {
            self.tasks().room.notify_one();
        }
        next
    }

    /// Those whose tasks run here have ended.
    pub(super) fn hosted_of(self: &Arc<Self>, ended: impl Fn(Life) -> bool) {
        refuse(self.tasks().host.of_owners(ended));
    }

    fn place(
        self: &Arc<Self>,
        grant: GrantId,
        ready: Ready,
        above: Option<Site>,
    ) -> (Arc<dyn Runnable>, TaskContext, Place) {
        let Ready { task, whose, attempt, yields, again } = ready;
        let began = clock::now();
        if let Whose::Peer(arrived) = &whose {
            arrived.began_at(began);
        }
        let thread = std::thread::current().id();
        let own = Site { grant, yields, depth: 0, thread };
        let site = above.map_or(own, |above| Site { depth: above.depth + 1, ..above });
        let slot = if above.is_some() { Slot::Above } else { Slot::Held };
        let site = task.is_blocking().then_some(site);
        let context = TaskContext::new(self.clone(), task.result().id(), attempt, task.standing().clone(), site);
        let (node, end) = (self.clone(), End::Settled);
        (task, context, Place { node, grant, whose, began, slot, in_a_row: false, again, end })
    }

    /// A task has its slot: its arguments are brought, then it runs.
    fn begin(self: &Arc<Self>, ready: Ready, grant: GrantId) {
        let Some(bringing) = ready.task.clone().bring() else { return self.run_task(ready, grant) };
        let node = self.clone();
        self.spawn(Box::pin(async move {
            bringing.await;
            node.run_task(ready, grant);
        }));
    }

    fn run_task(self: &Arc<Self>, ready: Ready, grant: GrantId) {
        if ready.task.is_blocking() {
            let node = self.clone();
            return self.compute().run(Box::new(move || node.run_in_a_row(ready, grant)));
        }
        let yields = ready.yields;
        let (task, context, mut place) = self.place(grant, ready, None);
        match task.run(context, place.attempt()) {
            Ran::Over(end) => place.end = end,
            Ran::Running(mut running) => self.spawn(Box::pin(async move {
                let mut place = place;
                place.end = match poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await {
                    Poll::Ready(end) => end,
                    Poll::Pending => {
                        if yields {
                            place.park();
                        }
                        running.await
                    }
                };
            })),
        }
    }

    /// A thread of the pool runs a task, then others of its grant: each takes over the slot of the one before.
    fn run_in_a_row(self: &Arc<Self>, first: Ready, grant: GrantId) {
        let mut next = Some(first);
        for _ in 0..TASKS_IN_A_ROW {
            let Some(ready) = next else { return };
            if !ready.task.is_blocking() || ready.task.clone().bring().is_some() {
                return self.begin(ready, grant);
            }
            let (task, context, mut place) = self.place(grant, ready, None);
            place.end_of(task.run(context, place.attempt()));
            place.in_a_row = true;
            drop(place);
            next = self.next_task(grant);
        }
        if let Some(ready) = next {
            self.begin(ready, grant);
        }
    }
}

impl Place {
    fn attempt(&self) -> Attempt {
        if self.again.is_some() { Attempt::MayBeFollowed } else { Attempt::Last }
    }

    /// A synchronous task ran.
    fn end_of(&mut self, ran: Ran) {
        if let Ran::Over(end) = ran {
            self.end = end;
        }
    }

    /// The task waits: another one may have its slot.
    fn park(&mut self) {
        self.slot = Slot::Parked;
        self.node.park_slot(self.grant);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let host = &self.node.tasks().host;
        match self.slot {
            Slot::Held => _ = host.change(self.grant, |lent| lent.running -= 1),
            Slot::Parked => {
                host.parked.fetch_sub(1, Ordering::Relaxed);
                host.change(self.grant, |lent| lent.parked -= 1);
            }
            Slot::Above => {}
        }
        if let Whose::Own(number) = &self.whose {
            let ran = clock::now().since(self.began);
            self.node.own_task_over(*number, ran);
        }
        match self.again.take().filter(|_| self.end == End::Again).map(|again| *again) {
            Some(Again::Queued(queued)) => self.node.attempt_again(queued),
            Some(Again::Alone(alone)) => self.node.run_alone_again(alone),
            None => {}
        }
        if !self.in_a_row {
            self.node.begin_tasks(self.grant);
        }
    }
}

#[cfg(test)]
mod tests;
