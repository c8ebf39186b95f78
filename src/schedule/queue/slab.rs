//! The tasks of a queue in one vector, and lists through them: a task is in at most one list, joins and leaves it in
//! constant time, and costs no allocation of its own.

use crate::schedule::queue::Class;
use std::fmt;

/// No entry.
pub(super) const NIL: u32 = u32::MAX;

/// A task of one queue: its place in the slab, and how often that place was used before. Never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TaskNumber(pub u64);

impl TaskNumber {
    pub(super) fn new(at: u32, used: u32) -> TaskNumber {
        TaskNumber(u64::from(used) << 32 | u64::from(at))
    }

    fn split(self) -> (u32, u32) {
        (self.0 as u32, (self.0 >> 32) as u32)
    }
}

impl fmt::Debug for TaskNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, used) = self.split();
        write!(f, "TaskNumber({at}.{used})")
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Arguments are missing.
    Waiting,
    /// In the line of its class.
    Ready,
    /// Pushed under the grant at this place.
    Pushed(u32),
}

/// Which tasks come before and after this one.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Unfinished tasks of this queue whose results it is missing.
    pub(super) follows: Vec<TaskNumber>,
    /// Tasks that miss this one's result.
    pub(super) followers: Vec<TaskNumber>,
    /// Of those, how many are gone.
    pub(super) gone: usize,
}

#[derive(Debug)]
pub(super) struct Task<T> {
    pub(super) token: T,
    pub(super) class: Class,
    pub(super) priority: i32,
    pub(super) missing: u32,
    pub(super) at: At,
    /// Rises with each task that is submitted.
    pub(super) age: u64,
    pub(super) chain: Option<Box<Chain>>,
    before: u32,
    after: u32,
}

#[derive(Debug)]
struct Slot<T> {
    used: u32,
    /// Of a free slot: the next free one.
    next: u32,
    task: Option<Task<T>>,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    ages: u64,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { slots: Vec::new(), free: NIL, ages: 0 }
    }
}

/// A task to be.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    pub(super) token: T,
    pub(super) class: Class,
    pub(super) priority: i32,
    pub(super) missing: u32,
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, fresh: Fresh<T>) -> u32 {
        self.ages += 1;
        let Fresh { token, class, priority, missing } = fresh;
        let (at, chain, age) = (At::Waiting, None, self.ages);
        let task = Task { token, class, priority, missing, at, age, chain, before: NIL, after: NIL };
        let place = self.free;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            self.free = slot.next;
            slot.task = Some(task);
            return place;
        }
        self.slots.push(Slot { used: 0, next: NIL, task: Some(task) });
        (self.slots.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Task<T>> {
        let slot = self.slots.get_mut(place as usize)?;
        let task = slot.task.take()?;
        slot.used = slot.used.wrapping_add(1);
        slot.next = std::mem::replace(&mut self.free, place);
        Some(task)
    }

    pub(super) fn number(&self, place: u32) -> TaskNumber {
        TaskNumber::new(place, self.slots.get(place as usize).map_or(0, |slot| slot.used))
    }

    /// The place of a task that is still here.
    pub(super) fn place(&self, task: TaskNumber) -> Option<u32> {
        let (place, used) = task.split();
        self.slots.get(place as usize).filter(|slot| slot.used == used && slot.task.is_some()).map(|_| place)
    }

    pub(super) fn get(&self, place: u32) -> Option<&Task<T>> {
        self.slots.get(place as usize)?.task.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Task<T>> {
        self.slots.get_mut(place as usize)?.task.as_mut()
    }

    /// The tasks of a class that are not pushed, by age.
    pub(super) fn places_of(&self, class: Class) -> Vec<u32> {
        let tasks = self.slots.iter().enumerate().filter_map(|(place, slot)| Some((place as u32, slot.task.as_ref()?)));
        let queued = tasks.filter(|(_, task)| task.class == class && !matches!(task.at, At::Pushed(_)));
        let mut aged: Vec<(u64, u32)> = queued.map(|(place, task)| (task.age, place)).collect();
        aged.sort_unstable();
        aged.into_iter().map(|(_, place)| place).collect()
    }

    fn link(&mut self, before: u32, after: u32) {
        if let Some(task) = self.get_mut(before) {
            task.after = after;
        }
        if let Some(task) = self.get_mut(after) {
            task.before = before;
        }
    }
}

/// A list of tasks, first to last.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for List {
    fn default() -> List {
        List { first: NIL, last: NIL, len: 0 }
    }
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    pub(super) fn push_back<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        slab.link(self.last, place);
        slab.link(place, NIL);
        if self.is_empty() {
            self.first = place;
        }
        self.last = place;
        self.len += 1;
    }

    pub(super) fn push_front<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        slab.link(place, self.first);
        slab.link(NIL, place);
        if self.is_empty() {
            self.last = place;
        }
        self.first = place;
        self.len += 1;
    }

    /// Takes out a task that is in this list.
    pub(super) fn unlink<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Some((before, after)) = slab.get(place).map(|task| (task.before, task.after)) else { return };
        slab.link(before, after);
        if self.first == place {
            self.first = after;
        }
        if self.last == place {
            self.last = before;
        }
        self.len -= 1;
    }

    /// All places, first to last.
    pub(super) fn places<T>(&self, slab: &Slab<T>) -> Vec<u32> {
        let next = |place: &u32| slab.get(*place).map(|task| task.after).filter(|after| *after != NIL);
        std::iter::successors(self.first(), next).collect()
    }
}
