//! What is told to the head, and what time brings: wants, and slots that were idle for too long.

use crate::clock::Moment;
use crate::id::GrantId;
use crate::limits::{GRANT_IDLE, WANT_AGAIN, WANT_PAUSE, WANT_WORK};
use crate::schedule::queue::{Class, ClassState, Effect, Queue};
use std::sync::Arc;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A look whether slots of this grant idled.
    Idle(GrantId),
    /// A look at what a class wants.
    Want(Class),
}

impl ClassState {
    /// The slots that it could use.
    fn needs(&self, most: u32) -> u32 {
        // What is parked goes on in a slot that is there.
        let tasks = self.line.len().saturating_add(self.pushed - self.parked);
        if self.run_time == 0 {
            return tasks.min(most);
        }
        let work = u128::from(tasks) * u128::from(self.run_time);
        let slots = u32::try_from(work.div_ceil(WANT_WORK.as_nanos())).unwrap_or(u32::MAX);
        slots.min(tasks).min(most)
    }

    /// Whether the head was told of something else than this.
    fn differs(&self, needs: u32, priority: i32) -> bool {
        needs != self.told || (needs > 0 && priority != self.told_priority)
    }
}

impl<K: Ord, T> Queue<K, T> {
    /// When [`Queue::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed. What follows from it comes with the flush that must follow.
    pub fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Idle(grant) => self.look_for_idle(now, grant, effects),
                Timer::Want(class) => self.want_is_due(now, class, effects),
            }
        }
    }

    /// Slots that no task used since the last look are given back; where none ended, tasks take longer than was thought.
    fn look_for_idle(&mut self, now: Moment, id: GrantId, effects: &mut Vec<Effect>) {
        let Some(place) = self.by_id.get(&id).copied() else { return };
        let Some(grant) = self.grant_mut(place) else { return };
        let (pushed, busy) = (grant.pushed.len(), grant.busy() > 0);
        let unmoved = std::mem::replace(&mut grant.unmoved, busy) && busy;
        // Slots of parked tasks are kept while nobody asks for them: as a rule they go on before long.
        let (most, class, slots) = (std::mem::replace(&mut grant.most, pushed), grant.class, grant.keep);
        let Some(state) = self.state(class) else { return };
        if unmoved && u128::from(state.run_time) < GRANT_IDLE.as_nanos() {
            // What runs there has not ended yet, so that its time is in no average: the class wants as many slots as it has tasks.
            state.run_time = GRANT_IDLE.as_nanos() as u64;
            self.touch(class);
        }
        let Some(state) = self.state(class) else { return };
        let ready = !state.line.is_empty();
        if !ready && state.deep > 0 && most < slots {
            state.stuck = true;
            self.touch(class);
        } else if !ready {
            self.change(place, |grant| grant.keep = grant.keep.min(most));
            self.give_back(place, effects);
            self.touch(class);
        }
        if self.by_id.contains_key(&id) {
            self.timers.insert((now + GRANT_IDLE, Timer::Idle(id)));
        }
    }

    /// Says what a class wants: more at once if it is much more, anything else after a pause.
    pub(super) fn want(&mut self, now: Moment, class: Class, effects: &mut Vec<Effect>) {
        let (most, priority) = (self.bounds.slots, self.priority(class));
        let Some(state) = self.state(class) else { return };
        let needs = state.needs(most);
        let anew = std::mem::take(&mut state.anew);
        if anew || (needs > 0 && needs >= state.told.saturating_mul(2)) {
            self.tell(now, class, (needs, priority), effects);
        } else if state.differs(needs, priority) && state.due.is_none_or(|due| due > now + WANT_PAUSE) {
            self.want_at(class, now + WANT_PAUSE);
        } else if state.slots < state.told && state.due.is_none() {
            self.want_at(class, now + WANT_AGAIN);
        }
    }

    fn want_is_due(&mut self, now: Moment, class: Class, effects: &mut Vec<Effect>) {
        let (most, priority) = (self.bounds.slots, self.priority(class));
        let Some(state) = self.state(class) else { return };
        state.due = None;
        let (needs, unmet) = (state.needs(most), state.slots < state.told && !state.line.is_empty());
        if state.differs(needs, priority) || unmet {
            self.tell(now, class, (needs, priority), effects);
        }
    }

    fn tell(&mut self, now: Moment, class: Class, (slots, priority): (u32, i32), effects: &mut Vec<Effect>) {
        let Some(state) = self.state(class) else { return };
        (state.told, state.told_priority) = (slots, priority);
        effects.push(Effect::Want { class, slots, priority });
        if slots > 0 {
            self.want_at(class, now + WANT_AGAIN);
        }
    }

    /// Of the first task that waits, here or under a grant; zero if none does.
    fn priority(&self, class: Class) -> i32 {
        let Some(state) = self.classes.get(class.place()) else { return 0 };
        if !state.line.is_empty() {
            return state.line.priority();
        }
        let waits = |place: &u32| self.grant(*place).is_some_and(|grant| grant.unbegun() > 0);
        if state.pushed_priority != 0 && state.grants.iter().any(waits) { state.pushed_priority } else { 0 }
    }

    fn want_at(&mut self, class: Class, at: Moment) {
        let Some(state) = self.state(class) else { return };
        if let Some(earlier) = state.due.replace(at) {
            self.timers.remove(&(earlier, Timer::Want(class)));
        }
        self.timers.insert((at, Timer::Want(class)));
    }

    /// A new head has begun, or this life has: it is told all wants anew, and of classes that want nothing any more that
    /// they do not, for what was asked before may be asked again.
    pub fn new_head(&mut self) {
        let all: Vec<Class> = self.keys.values().copied().collect();
        for class in all {
            if let Some(state) = self.state(class) {
                state.anew |= state.told > 0;
                state.told = 0;
            }
            self.touch(class);
        }
    }

    /// What the head answered to a want: why it is not met, if it is not.
    pub fn answered(&mut self, class: Class, why: Option<Arc<str>>) {
        if let Some(state) = self.state(class) {
            state.reason = why;
        }
    }
}
