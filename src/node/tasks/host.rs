//! What runs here: under each grant no more tasks at once than it has slots; the others wait in its line, where they can
//! be recalled.
//!
//! A task that gives its CPU back when it first waits is *parked* from then on: it holds its slot no longer.

use parking_lot::{Condvar, Mutex};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use super::grants::Vacates;
use super::line::{Alone, Line, Ready, Whose, refuse};
use super::terms::{Header, Terms};
use crate::actor::frame;
use crate::actor::inbox::Host as _;
use crate::clock;
use crate::directory::request::Lending;
use crate::id::{Epoch, GrantId, Life};
use crate::limits::{GRANTS, RECALLED, TASKS_IN_A_ROW, WEIGHTLESS_SLOTS};
use crate::node::runtime::Node;
use crate::object::entry::Entry;
use crate::schedule::{Amount, Resources, TaskNumber};
use crate::sync::flag::Flag;
use crate::task::context::{Site, TaskContext};
use crate::task::slot::{Ran, Runnable};
use crate::wire::packet::CallFault;

mod park;
mod place;
mod slots;
mod streaming;

use place::{Place, Slot};
pub(super) use slots::Tell;
use slots::{Lent, State, Turn};
use streaming::Polled;

/// Under which tasks run that a cluster of one process does not ask the head for.
const ALONE: GrantId = GrantId(u64::MAX);

/// The grants on this node and what runs under them.
pub(super) struct Host {
    state: Mutex<State>,
    /// Told whenever a slot may have become free.
    freed: Condvar,
    most: usize,
    /// Whether a slot may be lent.
    lends: Flag,
    /// Tasks that wait beside the queue.
    alone: AtomicUsize,
    /// What the node has for tasks and actors.
    declared: Resources,
}

impl Host {
    pub(super) fn new(most: usize, cpus: usize, declared: Resources) -> Self {
        let mut state = State::default();
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        state.grants.insert(ALONE, Lent::new(Life(0), cpus, Resources::none(), None));
        let (state, lends, alone) = (Mutex::new(state), Flag::default(), AtomicUsize::new(0));
        Host { state, freed: Condvar::new(), most, lends, alone, declared }
    }

    /// How many tasks may wait beside the queue.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many do.
    pub(super) fn waiting(&self) -> usize {
        self.alone.load(Ordering::Relaxed)
    }

    /// Counts one more, if it may.
    pub(super) fn take_room(&self) -> bool {
        let more = |count: usize| (count < self.most).then_some(count + 1);
        self.alone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Some tasks have left without having begun.
    fn give_room(&self, count: usize) {
        self.alone.fetch_sub(count, Ordering::Relaxed);
    }

    /// Whether no task has begun that has not ended.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().grants.values().all(Lent::has_none_begun)
    }

    /// Whether a slot may be lent.
    pub(super) fn lends(&self) -> bool {
        self.lends.get()
    }

    /// Changes whose the slots are. What is over is dropped outside of the lock.
    fn change<R, const N: usize>(&self, change: impl FnOnce(&mut State) -> (R, [Option<Lent>; N])) -> R {
        let mut state = self.state.lock();
        let (result, over) = change(&mut state);
        self.lends.set(state.any_lendable());
        drop(state);
        drop(over);
        self.freed.notify_all();
        result
    }

    /// Slots of this size that the node has at most: what owners say is their own word.
    fn most_slots(&self, size: &Resources) -> u32 {
        let slots = |amount: Amount, of: Amount| amount.as_ten_thousandths() / of.as_ten_thousandths().max(1);
        let most = size.iter().map(|(name, of)| slots(self.declared.get(name), of)).min();
        let weightless = || slots(self.declared.get("cpu"), Amount::ONE).max(1) * u64::from(WEIGHTLESS_SLOTS);
        u32::try_from(most.unwrap_or_else(weightless)).unwrap_or(u32::MAX)
    }

    /// Takes a grant's terms, or what is left of them. Gives what will not run.
    pub(super) fn take_terms(&self, owner: Life, terms: Terms) -> Vec<Ready> {
        let Terms { grant, epoch, slots, size, bundle } = terms;
        let slots = slots.min(self.most_slots(&size));
        let line = self.change(|state| {
            let stale = epoch < state.epoch || state.is_vacated(grant);
            let Some(known) = state.grants.get_mut(&grant) else {
                // Tasks under one that is not taken are refused, and go elsewhere.
                if slots > 0 && !stale && state.grants.len() < GRANTS {
                    state.grants.insert(grant, Lent::new(owner, slots, size, bundle));
                }
                return (Line::default(), [None, None]);
            };
            if known.owner != owner {
                return (Line::default(), [None, None]);
            }
            if slots == 0 {
                return state.end(grant);
            }
            known.slots = known.slots.min(slots);
            (Line::default(), [state.changed(grant), None])
        });
        line.into_all()
    }

    /// Nobody is to use a grant any more: what `vacates` makes is dropped once nothing runs under it. Gives what will not run;
    /// none if there is no such grant.
    pub(super) fn vacate(&self, grant: GrantId, vacates: impl FnOnce() -> Vacates) -> Option<Vec<Ready>> {
        self.change(|state| match state.vacate(grant, vacates) {
            Some((line, over)) => (Some(line.into_all()), over),
            None => (None, [None, None]),
        })
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

    fn root(&self, grant: GrantId) -> GrantId {
        if is_local(grant) { self.state.lock().root(grant) } else { grant }
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

    /// A slot whose size will do, of a grant of which more tasks are parked than slots are lent: lent under a new grant.
    pub(super) fn lend(&self, to: Life, fits: impl Fn(&Resources) -> bool) -> Option<(GrantId, Resources)> {
        self.change(|state| (state.lend(to, fits), []))
    }

    /// A lent slot that nobody has taken is free again: of which grant it is.
    pub(super) fn unlend(&self, grant: GrantId) -> Option<GrantId> {
        self.change(|state| match state.unlend(grant) {
            Some((of, over)) => (Some(of), over),
            None => (None, [None, None]),
        })
    }

    /// The head of this epoch begins with what it is told: from now on no other grant of an earlier head is taken.
    pub(super) fn serves(&self, epoch: Epoch) {
        self.state.lock().epoch = epoch;
    }

    pub(super) fn served(&self) -> Epoch {
        self.state.lock().epoch
    }

    /// What is lent here to owners that the head has given it to, for the head of this epoch.
    pub(super) fn lendings(&self, epoch: Epoch) -> Vec<Lending> {
        self.serves(epoch);
        let state = self.state.lock();
        let real = state.grants.iter().filter(|(id, lent)| !is_local(**id) && lent.counts() > 0);
        let mut lendings: Vec<Lending> = real
            .map(|(grant, lent)| Lending {
                grant: *grant,
                owner: lent.owner,
                slots: lent.counts(),
                size: lent.size.clone(),
                bundle: lent.bundle,
            })
            .collect();
        lendings.sort_unstable_by_key(|lending| lending.grant);
        lendings
    }

    /// Nothing is granted here any more. Gives what has not begun.
    pub(super) fn clear(&self) -> Vec<Ready> {
        self.of_owners(|_| true)
    }

    /// Nothing begins here any more, and nothing is taken. Gives what has not begun.
    pub(super) fn close(&self) -> Vec<Ready> {
        let alone = self.change(|state| state.end(ALONE)).into_all();
        self.give_room(alone.len());
        let mut unbegun = self.clear();
        unbegun.extend(alone);
        unbegun
    }

    fn of_owners(&self, ended: impl Fn(Life) -> bool) -> Vec<Ready> {
        let is_gone = |(grant, lent): &(&GrantId, &Lent)| **grant != ALONE && ended(lent.owner);
        let mut gone: Vec<GrantId> = self.state.lock().grants.iter().filter(is_gone).map(|(grant, _)| *grant).collect();
        gone.sort_unstable();
        gone.into_iter().flat_map(|grant| self.change(|state| state.end(grant)).into_all()).collect()
    }

    /// Puts a task in its grant's line; back if there is no such grant, or its owner pushes more than it may.
    fn line_up(&self, grant: GrantId, ready: Ready, priority: i32) -> Result<(), Ready> {
        let mut state = self.state.lock();
        let is_peers = matches!(ready.whose, Whose::Peer(_));
        let takes = |lent: &&mut Lent| lent.slots > 0 && (!is_peers || lent.takes_more());
        match state.grants.get_mut(&grant).filter(takes) {
            Some(lent) => lent.line.push(ready, priority),
            None => return Err(ready),
        }
        Ok(())
    }

    /// Counts a peer's task that stands behind others, if its grant takes one more.
    pub(super) fn stand_behind(&self, grant: GrantId) -> bool {
        let mut state = self.state.lock();
        let lent = state.grants.get_mut(&grant).filter(|lent| lent.takes_more());
        lent.map(|lent| lent.behind += 1).is_some()
    }

    /// One does so no longer.
    pub(super) fn step_up(&self, grant: GrantId) {
        if let Some(lent) = self.state.lock().grants.get_mut(&grant) {
            lent.behind = lent.behind.saturating_sub(1);
        }
    }

    /// The next task of a grant that may begin: it has its slot. Else what the grant's owner is to be told.
    fn next(&self, grant: GrantId) -> Result<Ready, Option<Tell>> {
        loop {
            let mut state = self.state.lock();
            let next = state.next(grant)?;
            if grant == ALONE {
                self.give_room(1);
            }
            match &next.whose {
                // One that was cancelled meanwhile was answered then. Its drop is other people's code.
                Whose::Peer(arrived) if !arrived.begin() => {
                    drop(state);
                    drop(next);
                }
                _ => {
                    state.began(grant);
                    self.lends.set(state.any_lendable());
                    return Ok(next);
                }
            }
        }
    }

    /// Something becomes of a task that has begun.
    fn turn(&self, grant: GrantId, turn: Turn) {
        self.change(|state| ((), state.turn(grant, turn)));
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
        let host = &self.tasks().host;
        if let Err(ready) = host.line_up(ALONE, ready, priority) {
            host.give_room(1);
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

    fn next_task(self: &Arc<Self>, grant: GrantId) -> Option<Ready> {
        match self.tasks().host.next(grant) {
            Ok(next) => {
                if grant == ALONE {
                    self.tasks().room.notify_one();
                }
                Some(next)
            }
            Err(tell) => {
                if let Some(tell) = tell {
                    self.tell_parked(&tell);
                }
                None
            }
        }
    }

    /// A slot here is free, or may be lent: to a task of this node first, then to the next of the grant's own.
    fn slot_freed(self: &Arc<Self>, root: GrantId) {
        self.lend_slots();
        self.begin_tasks(root);
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
        let (node, root, in_a_row, is_again) = (self.clone(), self.tasks().host.root(grant), false, false);
        (task, context, Place { node, grant, root, whose, began, slot, in_a_row, again, is_again, yields })
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
        let (task, context, place) = self.place(grant, ready, None);
        let (attempt, mut frame) = (place.attempt(), place.frame(&task));
        match task.run(context, attempt) {
            Ran::Over(end) => place.ended(end, Polled::OnRuntime),
            Ran::Running(mut running) => self.spawn(Box::pin(async move {
                let mut place = place;
                let mut poll = |cx: &mut Context<'_>| frame::enter_task(&mut frame, || running.as_mut().poll(cx));
                let end = match poll_fn(|cx| Poll::Ready(poll(cx))).await {
                    Poll::Ready(end) => end,
                    Poll::Pending => {
                        place.wait();
                        poll_fn(poll).await
                    }
                };
                drop((running, frame));
                place.ended(end, Polled::OnRuntime);
            })),
        }
    }

    /// A thread of the pool runs a task, then others of its grant: each takes over the slot of the one before.
    fn run_in_a_row(self: &Arc<Self>, first: Ready, grant: GrantId) {
        let (mut next, mut grant) = (Some(first), grant);
        for _ in 0..TASKS_IN_A_ROW {
            let Some(ready) = next else { return };
            if !ready.task.is_blocking() || ready.task.clone().bring().is_some() {
                return self.begin(ready, grant);
            }
            let (task, context, mut place) = self.place(grant, ready, None);
            place.in_a_row = true;
            grant = place.root;
            place.run(&task, context);
            self.lend_slots();
            next = self.next_task(grant);
        }
        if let Some(ready) = next {
            self.begin(ready, grant);
        }
    }
}

#[cfg(test)]
mod tests;
