//! The grants of a queue: slots on nodes, and the tasks that were pushed under them.

use crate::clock::Moment;
use crate::id::{GrantId, Life};
use crate::limits::GRANT_IDLE;
use crate::schedule::queue::slab::{At, List};
use crate::schedule::queue::timer::Timer;
use crate::schedule::queue::{Batch, Class, Queue, TaskNumber};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Grant {
    pub(super) id: GrantId,
    pub(super) class: Class,
    pub(super) life: Life,
    /// Slots held, and those of them that the head lets its owner keep.
    pub(super) slots: u32,
    pub(super) keep: u32,
    pub(super) pushed: List,
    /// Of those, tasks that hold no slot there any more, as its node said last.
    pub(super) parked: u32,
    /// Tasks that miss results of tasks pushed under it, and nothing else.
    pub(super) behind: VecDeque<TaskNumber>,
    /// What is to be pushed with the next flush.
    pub(super) batch: Batch,
    /// Tasks asked back by the recall that is under way, and whether more were pushed since.
    pub(super) asked: u32,
    pub(super) pushed_since: bool,
    /// The last recall brought less than it asked for: what is pushed has begun, until more is pushed.
    pub(super) begun: bool,
    /// It is in its class's list of those with room.
    pub(super) open: bool,
    pub(super) touched: bool,
    /// The most tasks that were pushed at once since the last look.
    pub(super) most: u32,
    /// Its slots were busy at the last look, and no task has ended since.
    pub(super) unmoved: bool,
}

impl Grant {
    /// Tasks that hold a slot, or wait for one.
    pub(super) fn busy(&self) -> u32 {
        self.pushed.len().saturating_sub(self.parked)
    }

    /// Slots without a task.
    pub(super) fn idle(&self) -> u32 {
        self.keep.saturating_sub(self.busy())
    }

    /// Whether its node may have tasks to give up, and is not asked already.
    pub(super) fn may_be_asked(&self) -> bool {
        self.asked == 0 && !self.begun
    }

    /// Tasks that wait for a slot there.
    pub(super) fn unbegun(&self) -> u32 {
        self.busy().saturating_sub(self.slots)
    }

    /// Tasks beyond one for each slot that is kept.
    pub(super) fn excess(&self) -> u32 {
        self.busy().saturating_sub(self.keep)
    }
}

/// A grant as its owner tells a new head of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub grant: GrantId,
    /// Of which class.
    pub class: Class,
    /// On which node.
    pub life: Life,
    /// Slots that were not given back.
    pub slots: u32,
}

impl<K: Ord, T> Queue<K, T> {
    /// The head granted slots. A grant that is known, and one without slots, change nothing.
    pub fn granted(&mut self, now: Moment, id: GrantId, class: Class, life: Life, slots: u32) {
        if self.enter_grant(id, class, life, slots).is_some() {
            self.timers.insert((now + GRANT_IDLE, Timer::Idle(id)));
        }
    }

    /// A slot for the next task of a class, and for no other: pushed with the next flush, after which the slot is given back
    /// as soon as that task is over. False if none is ready.
    pub fn lent(&mut self, id: GrantId, class: Class, life: Life) -> bool {
        if self.state(class).is_none_or(|state| state.line.is_empty()) {
            return false;
        }
        let Some(place) = self.enter_grant(id, class, life, 1) else { return false };
        self.push_next(class, place);
        // It begins at once: nobody need ask for it.
        self.change(place, |grant| (grant.keep, grant.begun) = (0, true));
        true
    }

    /// So many of a grant's tasks hold no slot there, as its node says: others may have those.
    pub fn parked(&mut self, id: GrantId, parked: u32) {
        let Some(place) = self.by_id.get(&id).copied() else { return };
        self.change(place, |grant| grant.parked = parked.min(grant.pushed.len()));
        self.mark(place);
    }

    fn enter_grant(&mut self, id: GrantId, class: Class, life: Life, slots: u32) -> Option<u32> {
        if slots == 0 || self.by_id.contains_key(&id) || !self.has(class) {
            return None;
        }
        let grant = Grant {
            id,
            class,
            life,
            slots,
            keep: slots,
            pushed: List::default(),
            parked: 0,
            behind: VecDeque::new(),
            batch: Batch::new(),
            asked: 0,
            pushed_since: false,
            begun: false,
            open: true,
            touched: false,
            most: 0,
            unmoved: false,
        };
        let place = self.unused.pop().unwrap_or(self.grants.len() as u32);
        if place as usize == self.grants.len() {
            self.grants.push(None);
        }
        if let Some(free) = self.grants.get_mut(place as usize) {
            *free = Some(grant);
        }
        self.by_id.insert(id, place);
        if let Some(state) = self.state(class) {
            state.grants.push(place);
            state.open.push(place);
            (state.slots, state.idle) = (state.slots + slots, state.idle + slots);
            state.reason = None;
        }
        self.touch(class);
        Some(place)
    }

    /// The head wants slots back: the grant may keep this many. They are given back as tasks there finish.
    pub fn recall(&mut self, id: GrantId, keep: u32) {
        let Some(place) = self.by_id.get(&id).copied() else { return };
        self.change(place, |grant| grant.keep = grant.keep.min(keep));
        self.mark(place);
    }

    /// The grant is over: its host ended, or the head revoked it. What was pushed may have run; its tokens are given
    /// back, in the order of pushing.
    pub fn lost(&mut self, id: GrantId) -> Vec<(TaskNumber, T)> {
        let Some(place) = self.by_id.get(&id).copied() else { return Vec::new() };
        let places = self.grant(place).map(|grant| grant.pushed.places(&self.slab)).unwrap_or_default();
        let mut lost = Vec::with_capacity(places.len());
        for task in places {
            let number = self.slab.number(task);
            self.unpush(place, task);
            lost.extend(self.remove(task).map(|token| (number, token)));
        }
        self.end_grant(place);
        lost
    }

    /// The answer to [`Effect::Recall`](super::Effect::Recall), or a refusal of tasks that never began: they are the first
    /// of their priority again, in this order.
    pub fn recalled(&mut self, id: GrantId, tasks: &[TaskNumber]) {
        let Some(place) = self.by_id.get(&id).copied() else { return };
        for number in tasks.iter().rev() {
            let Some(task) = self.slab.place(*number) else { continue };
            let Some(entry) = self.slab.get(task).filter(|entry| entry.at == At::Pushed(place)) else { continue };
            let (class, missing) = (entry.class, entry.missing);
            self.unpush(place, task);
            self.queued += 1;
            if let Some(entry) = self.slab.get_mut(task) {
                entry.at = if missing > 0 { At::Waiting } else { At::Ready };
            }
            if missing == 0
                && let Some(state) = self.classes.get_mut(class.place())
            {
                state.line.push_front(&mut self.slab, task);
            }
        }
        if let Some(grant) = self.grant_mut(place) {
            let asked = std::mem::take(&mut grant.asked) as usize;
            grant.begun = tasks.len() < asked && !grant.pushed_since;
        }
        self.mark(place);
    }

    /// What is held, for a new head. It is then told all wants anew by [`Queue::new_head`].
    pub fn held(&self) -> impl Iterator<Item = Held> + '_ {
        let held = |grant: &Grant| Held { grant: grant.id, class: grant.class, life: grant.life, slots: grant.slots };
        self.grants.iter().flatten().map(held).filter(|held| held.slots > 0)
    }

    /// The grants on a life: those that end with it. Of some all slots were given back, and parked tasks are left.
    #[must_use]
    pub fn grants_on(&self, life: Life) -> Vec<GrantId> {
        self.grants.iter().flatten().filter(|grant| grant.life == life).map(|grant| grant.id).collect()
    }

    pub(super) fn grant(&self, place: u32) -> Option<&Grant> {
        self.grants.get(place as usize)?.as_ref()
    }

    pub(super) fn grant_mut(&mut self, place: u32) -> Option<&mut Grant> {
        self.grants.get_mut(place as usize)?.as_mut()
    }

    /// The place of the grant under which a task is pushed.
    pub(super) fn grant_of(&self, task: TaskNumber) -> Option<u32> {
        match self.slab.get(self.slab.place(task)?)?.at {
            At::Pushed(grant) => Some(grant),
            At::Waiting | At::Ready => None,
        }
    }

    /// Something about a grant changed: it may have room, and its class is looked at.
    pub(super) fn mark(&mut self, place: u32) {
        let Some(grant) = self.grant_mut(place) else { return };
        let class = grant.class;
        let opened = !std::mem::replace(&mut grant.open, true);
        let touched = !std::mem::replace(&mut grant.touched, true);
        if touched {
            self.touched.push(place);
        }
        if opened && let Some(state) = self.state(class) {
            state.open.push(place);
        }
        self.touch(class);
    }

    /// Changes a grant's slots or tasks, and keeps its class's sums.
    pub(super) fn change(&mut self, place: u32, change: impl FnOnce(&mut Grant)) {
        let Some(grant) = self.grants.get_mut(place as usize).and_then(Option::as_mut) else { return };
        let before = (grant.keep, grant.idle(), grant.excess() > 0, grant.parked);
        change(grant);
        grant.parked = grant.parked.min(grant.pushed.len());
        let after = (grant.keep, grant.idle(), grant.excess() > 0, grant.parked);
        if let Some(state) = self.classes.get_mut(grant.class.place()) {
            state.slots = state.slots - before.0 + after.0;
            state.idle = state.idle - before.1 + after.1;
            state.deep = state.deep - u32::from(before.2) + u32::from(after.2);
            state.parked = state.parked - before.3 + after.3;
        }
    }

    /// Pushes a task that is in no list any more; it goes with the next flush.
    pub(super) fn push(&mut self, place: u32, task: u32) {
        let number = self.slab.number(task);
        let Some(entry) = self.slab.get_mut(task) else { return };
        entry.at = At::Pushed(place);
        let (class, priority) = (entry.class, entry.priority);
        let followers = entry.chain.as_ref().map(|chain| chain.followers.clone());
        self.queued -= 1;
        self.relist(place, |list, slab| list.push_back(slab, task));
        if let Some(grant) = self.grant_mut(place) {
            grant.batch.push(number);
            (grant.begun, grant.pushed_since) = (false, true);
            grant.most = grant.most.max(grant.pushed.len());
            if !std::mem::replace(&mut grant.touched, true) {
                self.touched.push(place);
            }
        }
        if let Some(state) = self.state(class) {
            state.pushed += 1;
            state.pushed_priority = priority;
        }
        for follower in followers.into_iter().flatten() {
            if self.slab.place(follower).is_some() {
                self.stand_behind(place, follower);
            }
        }
    }

    pub(super) fn unpush(&mut self, place: u32, task: u32) {
        self.relist(place, |list, slab| list.unlink(slab, task));
        let Some(class) = self.grant(place).map(|grant| grant.class) else { return };
        if let Some(state) = self.state(class) {
            state.pushed -= 1;
        }
        self.mark(place);
    }

    fn relist(&mut self, place: u32, by: impl FnOnce(&mut List, &mut super::slab::Slab<T>)) {
        let Some(mut list) = self.grant(place).map(|grant| grant.pushed) else { return };
        by(&mut list, &mut self.slab);
        self.change(place, |grant| grant.pushed = list);
    }

    /// A task may be pushed behind those that it follows, when there is room.
    pub(super) fn stand_behind(&mut self, place: u32, follower: TaskNumber) {
        if let Some(grant) = self.grant_mut(place) {
            grant.behind.push_back(follower);
            let class = grant.class;
            if let Some(state) = self.state(class) {
                state.behind += 1;
            }
            self.mark(place);
        }
    }

    /// Ends a grant without slots when the last of its tasks, which were parked, is over.
    pub(super) fn end_if_over(&mut self, place: u32) {
        if self.grant(place).is_some_and(|grant| grant.slots == 0 && grant.pushed.is_empty()) {
            self.end_grant(place);
        }
    }

    /// Forgets a grant under which nothing is pushed.
    pub(super) fn end_grant(&mut self, place: u32) {
        self.change(place, |grant| grant.keep = 0);
        let Some(grant) = self.grants.get_mut(place as usize).and_then(Option::take) else { return };
        self.by_id.remove(&grant.id);
        self.unused.push(place);
        if let Some(state) = self.state(grant.class) {
            state.behind -= grant.behind.len() as u32;
            state.grants.retain(|other| *other != place);
            state.open.retain(|other| *other != place);
        }
        self.touched.retain(|other| *other != place);
        self.touch(grant.class);
    }
}
