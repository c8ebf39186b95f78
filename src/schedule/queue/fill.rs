//! What follows from what happened: tasks are pushed, fetched back, and slots given back.

use crate::clock::Moment;
use crate::limits::{PUSH_AHEAD, PUSH_DEPTH_MAX, PUSH_DEPTH_MIN, RECALL_WORTH, RECALLED};
use crate::schedule::queue::slab::At;
use crate::schedule::queue::{Class, ClassState, Effect, Queue, TaskNumber};

impl ClassState {
    /// How many tasks a slot is given.
    pub(super) fn depth(&self) -> u32 {
        let ahead = u64::try_from(PUSH_AHEAD.as_nanos()).unwrap_or(u64::MAX);
        let depth = ahead.checked_div(self.run_time).unwrap_or(0);
        u32::try_from(depth).unwrap_or(u32::MAX).clamp(PUSH_DEPTH_MIN, PUSH_DEPTH_MAX)
    }
}

impl<K: Ord, T> Queue<K, T> {
    /// What is to be done about all that happened since the last flush.
    pub fn flush(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        while let Some(class) = self.dirty.pop() {
            if let Some(state) = self.state(class) {
                state.dirty = false;
            }
            self.fill(class);
            self.fetch(class, effects);
            self.want(now, class, effects);
            match self.state(class).is_some_and(|state| !state.line.is_empty()) {
                true => self.hungry.insert(class),
                false => self.hungry.remove(&class),
            };
        }
        let mut touched = std::mem::take(&mut self.touched);
        for place in touched.drain(..) {
            self.send(place, effects);
            self.give_back(place, effects);
            self.end_if_over(place);
        }
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    fn fill(&mut self, class: Class) {
        if self.is_done(class) {
            return;
        }
        self.fill_idle(class);
        self.fill_ahead(class);
    }

    fn fill_idle(&mut self, class: Class) {
        let mut at = 0;
        while let Some(place) = self.state(class).and_then(|state| state.open.get(at).copied()) {
            at += 1;
            self.push_behind(class, place, false);
            while self.grant(place).is_some_and(|grant| grant.idle() > 0) {
                if !self.push_next(class, place) {
                    break;
                }
            }
            if self.is_done(class) {
                return;
            }
        }
    }

    /// Nothing is ready, nor stands behind other tasks.
    fn is_done(&self, class: Class) -> bool {
        self.classes.get(class.place()).is_none_or(|state| state.line.is_empty() && state.behind == 0)
    }

    /// Fills each grant up to its share of what is ready, and takes those that are full from the list.
    fn fill_ahead(&mut self, class: Class) {
        let Some(state) = self.state(class) else { return };
        let (depth, ready, all) = (state.depth(), u64::from(state.line.len()), u64::from(state.slots.max(1)));
        let mut at = 0;
        while let Some(place) = self.state(class).and_then(|state| state.open.get(at).copied()) {
            self.push_behind(class, place, true);
            let Some(grant) = self.grant(place) else { return };
            let (busy, slots) = (grant.busy(), grant.keep);
            let cap = self.cap(place, depth);
            let share = u32::try_from((ready * u64::from(slots)).div_ceil(all)).unwrap_or(u32::MAX);
            let upto = cap.min(busy.saturating_add(share));
            // A pushed batch is a message: it waits until a quarter of the depth has room.
            if busy + (cap / 4).max(1) <= cap {
                for _ in busy..upto {
                    if !self.push_next(class, place) {
                        break;
                    }
                }
            }
            let Some(grant) = self.grant_mut(place) else { return };
            // While slots are given back there is no depth: a slot that idles is none ahead.
            let full = grant.idle() == 0 && grant.busy() + (cap / 4).max(1) > cap;
            if full {
                grant.open = false;
            }
            let Some(state) = self.state(class) else { return };
            if full {
                state.open.swap_remove(at);
            } else {
                at += 1;
            }
            if state.line.is_empty() && state.behind == 0 {
                return;
            }
        }
    }

    /// Tasks that may be pushed under a grant, beside those that are parked there; while the head wants slots back, no more than it keeps.
    fn cap(&self, place: u32, depth: u32) -> u32 {
        self.grant(place).map_or(0, |grant| match grant.slots > grant.keep {
            true => grant.keep,
            false => grant.keep.saturating_mul(depth),
        })
    }

    pub(super) fn push_next(&mut self, class: Class, place: u32) -> bool {
        let Some(state) = self.classes.get_mut(class.place()) else { return false };
        let Some(task) = state.line.pop(&mut self.slab) else { return false };
        self.push(place, task);
        true
    }

    /// Pushes what follows tasks that are pushed there.
    fn push_behind(&mut self, class: Class, place: u32, ahead: bool) {
        let depth = self.state(class).map_or(1, |state| state.depth());
        loop {
            let cap = if ahead { self.cap(place, depth) } else { self.grant(place).map_or(0, |grant| grant.keep) };
            let Some(grant) = self.grant_mut(place) else { return };
            if grant.busy() >= cap {
                return;
            }
            let Some(task) = grant.behind.pop_front() else { return };
            if let Some(state) = self.state(class) {
                state.behind -= 1;
            }
            if let Some(task) = self.follows_under(task, class, place) {
                self.push(place, task);
            }
        }
    }

    /// The place of a task that misses results of tasks pushed there, and nothing else.
    fn follows_under(&self, task: TaskNumber, class: Class, grant: u32) -> Option<u32> {
        let place = self.slab.place(task)?;
        let entry = self.slab.get(place).filter(|entry| entry.at == At::Waiting && entry.class == class)?;
        let follows = &entry.chain.as_ref()?.follows;
        let all = follows.len() == entry.missing as usize && entry.missing > 0;
        (all && follows.iter().all(|ahead| self.grant_of(*ahead) == Some(grant))).then_some(place)
    }

    /// A slot idles and nothing is ready: the fullest grant gives up some of what it has not begun.
    fn fetch(&mut self, class: Class, effects: &mut Vec<Effect>) {
        let Some(state) = self.state(class) else { return };
        let stuck = std::mem::take(&mut state.stuck);
        if state.idle == 0 || state.deep == 0 || !state.line.is_empty() {
            return;
        }
        let (idle, depth, run_time) = (state.idle, state.depth(), state.run_time);
        let worth = |excess: u32, slots: u32| {
            let wait = u64::from(excess) * run_time / u64::from(slots.max(1));
            stuck || run_time == 0 || u128::from(wait) >= RECALL_WORTH.as_nanos()
        };
        let candidates = state.grants.clone();
        let fullest = candidates.into_iter().filter_map(|place| {
            let grant = self.grant(place).filter(|grant| grant.may_be_asked())?;
            let excess = grant.excess();
            let fullness = u64::from(excess) * 1_000 / u64::from(grant.keep.max(1));
            (excess > 0 && worth(excess, grant.keep)).then_some((fullness, excess, place))
        });
        let Some((_, excess, place)) = fullest.max() else { return };
        let count = excess.div_ceil(2).min(idle.saturating_mul(depth));
        self.fetch_from(place, count, effects);
    }

    /// What one recall leaves is asked for by the next.
    fn fetch_from(&mut self, place: u32, count: u32, effects: &mut Vec<Effect>) {
        let count = count.min(RECALLED);
        self.send(place, effects);
        if let Some(grant) = self.grant_mut(place) {
            (grant.asked, grant.pushed_since) = (count, false);
            effects.push(Effect::Recall { grant: grant.id, count });
        }
    }

    fn send(&mut self, place: u32, effects: &mut Vec<Effect>) {
        let Some(grant) = self.grant_mut(place) else { return };
        grant.touched = false;
        if !grant.batch.is_empty() {
            effects.push(Effect::Push { grant: grant.id, tasks: std::mem::take(&mut grant.batch) });
        }
    }

    /// Slots that the head wants back are given back as soon as so few tasks are left that they must be free.
    pub(super) fn give_back(&mut self, place: u32, effects: &mut Vec<Effect>) {
        let Some(grant) = self.grant(place).filter(|grant| grant.slots > grant.keep) else { return };
        let (id, excess, slots) = (grant.id, grant.excess(), grant.slots);
        let keep = grant.keep.max(grant.busy().min(slots));
        if keep < slots {
            self.change(place, |grant| grant.slots = keep);
            effects.push(Effect::GiveBack { grant: id, keep });
        }
        if keep == 0 {
            return self.end_if_over(place);
        }
        if excess > 0 && self.grant(place).is_some_and(|grant| grant.may_be_asked()) {
            self.fetch_from(place, excess, effects);
        }
    }
}
