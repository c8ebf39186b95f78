//! A queue, its head and its hosts under random events: Q1 to Q5.

use super::*;
use crate::limits::{GRANT_IDLE, PUSH_AHEAD, WANT_PAUSE};
use proptest::prelude::*;
use std::collections::VecDeque;

/// Every task runs this long, so that the depth is known: two before the first has finished, then five.
const RUN: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
enum Step {
    Submit { class: u32, priority: i32, waits: bool },
    Ready(prop::sample::Index),
    Cancel(prop::sample::Index),
    Grant { class: u32, life: u64, slots: u32 },
    HeadRecalls(prop::sample::Index, u32),
    HostEnds(prop::sample::Index),
    Finish(prop::sample::Index),
    HostAnswers(prop::sample::Index),
    Park(prop::sample::Index, u32),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<prop::sample::Index>();
    let submit = (0..2u32, 0..2i32, prop::bool::weighted(0.2)).prop_map(|(class, priority, waits)| Step::Submit {
        class,
        priority,
        waits,
    });
    prop_oneof![
        12 => submit,
        3 => index().prop_map(Step::Ready),
        1 => index().prop_map(Step::Cancel),
        2 => (0..2u32, 1..4u64, 1..5u32).prop_map(|(class, life, slots)| Step::Grant { class, life, slots }),
        1 => (index(), 0..4u32).prop_map(|(at, keep)| Step::HeadRecalls(at, keep)),
        1 => index().prop_map(Step::HostEnds),
        8 => index().prop_map(Step::Finish),
        3 => index().prop_map(Step::HostAnswers),
        2 => (index(), 0..6u32).prop_map(|(at, parked)| Step::Park(at, parked)),
        2 => (1..700u16).prop_map(Step::Pass),
    ]
}

#[derive(Debug)]
struct Host {
    class: Class,
    life: Life,
    slots: u32,
    keep: u32,
    /// As many of the first as there are slots have begun.
    line: VecDeque<TaskNumber>,
    /// Of these so many of the first hold no slot.
    parked: u32,
    asked: Option<u32>,
}

impl Host {
    /// Tasks that hold a slot or wait for one.
    fn busy(&self) -> usize {
        self.line.len() - self.parked as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Ready,
    Pushed,
}

struct World {
    queue: Queue<u32, u64>,
    now: Moment,
    /// Class, priority, serial and place of what is not finished.
    tasks: BTreeMap<TaskNumber, (Class, i32, u64, Place)>,
    hosts: BTreeMap<GrantId, Host>,
    wants: BTreeMap<Class, u32>,
    serial: u64,
    grants: u64,
    measured: [bool; 2],
    in_order: bool,
    last: BTreeMap<(Class, i32), u64>,
    /// What this flush pushes: to several grants at the same time.
    pushed: BTreeMap<(GrantId, Class, i32), u64>,
}

impl World {
    fn new() -> World {
        let mut queue = Queue::new(Bounds { queued: 1_000, slots: 64 });
        (0..2).for_each(|key| assert_eq!(queue.class(key), Ok(Class(key))));
        World {
            queue,
            now: Moment(1),
            tasks: BTreeMap::new(),
            hosts: BTreeMap::new(),
            wants: BTreeMap::new(),
            serial: 0,
            grants: 0,
            measured: [false; 2],
            in_order: true,
            last: BTreeMap::new(),
            pushed: BTreeMap::new(),
        }
    }

    fn pick(&self, at: prop::sample::Index, place: Place) -> Option<TaskNumber> {
        let these: Vec<_> = self.tasks.iter().filter(|(_, task)| task.3 == place).map(|(number, _)| *number).collect();
        (!these.is_empty()).then(|| these[at.index(these.len())])
    }

    fn grant(&self, at: prop::sample::Index) -> Option<GrantId> {
        (!self.hosts.is_empty()).then(|| *self.hosts.keys().nth(at.index(self.hosts.len())).unwrap())
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit { class, priority, waits } => self.submit(Class(class), priority, waits),
            Step::Ready(at) => {
                if let Some(task) = self.pick(at, Place::Waiting) {
                    self.queue.ready(task);
                    self.tasks.get_mut(&task).unwrap().3 = Place::Ready;
                }
            }
            Step::Cancel(at) => {
                let task = self.pick(at, Place::Ready).or_else(|| self.pick(at, Place::Waiting));
                if let Some(task) = task {
                    let serial = self.tasks.remove(&task).unwrap().2;
                    assert_eq!(self.queue.cancel(task), Cancelled::Queued(serial));
                }
            }
            Step::Grant { class, life, slots } => {
                self.grants += 1;
                let (grant, class, life) = (GrantId(self.grants), Class(class), Life(life));
                self.queue.granted(self.now, grant, class, life, slots);
                let line = VecDeque::new();
                self.hosts.insert(grant, Host { class, life, slots, keep: slots, line, parked: 0, asked: None });
            }
            Step::HeadRecalls(at, keep) => {
                if let Some(grant) = self.grant(at) {
                    self.queue.recall(grant, keep);
                    let host = self.hosts.get_mut(&grant).unwrap();
                    host.keep = host.keep.min(keep);
                }
            }
            Step::HostEnds(at) => {
                if let Some(grant) = self.grant(at) {
                    self.node_ends(self.hosts[&grant].life);
                }
            }
            Step::Finish(at) => {
                if let Some(grant) = self.grant(at) {
                    self.finish(grant);
                }
            }
            Step::HostAnswers(at) => {
                if let Some(grant) = self.grant(at) {
                    self.host_answers(grant);
                }
            }
            Step::Park(at, parked) => {
                if let Some(grant) = self.grant(at) {
                    self.queue.parked(grant, parked);
                    let host = self.hosts.get_mut(&grant).unwrap();
                    host.parked = parked.min(host.line.len() as u32);
                }
            }
            Step::Pass(millis) => self.now = self.now + Duration::from_millis(u64::from(millis)),
        }
        self.flush();
    }

    fn submit(&mut self, class: Class, priority: i32, waits: bool) {
        self.serial += 1;
        let (waits_for, token) = (u32::from(waits), self.serial);
        let submission = Submission { class, priority, waits_for, follows: &[], token };
        let task = self.queue.submit(submission).unwrap();
        let place = if waits { Place::Waiting } else { Place::Ready };
        assert_eq!(self.tasks.insert(task, (class, priority, token, place)), None, "never given twice");
        // One that waits enters its line later: the order of submission says nothing any more.
        self.in_order &= !waits;
    }

    fn node_ends(&mut self, life: Life) {
        for grant in self.queue.grants_on(life) {
            let host = self.hosts.remove(&grant).unwrap();
            let lost: Vec<TaskNumber> = self.queue.lost(grant).into_iter().map(|(task, _)| task).collect();
            assert_eq!(lost, Vec::from(host.line), "Q2: what was pushed is known");
            lost.iter().for_each(|task| assert!(self.tasks.remove(task).is_some()));
        }
    }

    fn finish(&mut self, grant: GrantId) {
        let host = self.hosts.get_mut(&grant).unwrap();
        if let Some(task) = host.line.pop_front() {
            self.measured[host.class.0 as usize] = true;
            host.parked = host.parked.min(host.line.len() as u32);
            let serial = self.tasks.remove(&task).unwrap().2;
            assert_eq!(self.queue.finished(task, RUN), Some(serial));
        }
    }

    fn host_answers(&mut self, grant: GrantId) {
        let host = self.hosts.get_mut(&grant).unwrap();
        let Some(count) = host.asked.take() else { return };
        let unbegun = host.busy().saturating_sub(host.slots as usize).min(count as usize);
        let tasks: Vec<TaskNumber> = host.line.split_off(host.line.len() - unbegun).into();
        self.in_order &= tasks.is_empty();
        tasks.iter().for_each(|task| self.tasks.get_mut(task).unwrap().3 = Place::Ready);
        self.queue.recalled(grant, &tasks);
    }

    fn flush(&mut self) {
        let mut effects = Vec::new();
        self.queue.tick(self.now, &mut effects);
        self.queue.flush(self.now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Want { class, slots, .. } => drop(self.wants.insert(class, slots)),
                Effect::Push { grant, tasks } => self.pushes(grant, tasks),
                Effect::Recall { grant, count } => {
                    let asked = &mut self.hosts.get_mut(&grant).unwrap().asked;
                    assert!(count > 0 && asked.replace(count).is_none(), "one recall at a time");
                }
                Effect::GiveBack { grant, keep } => {
                    let host = self.hosts.get_mut(&grant).unwrap();
                    assert!(keep < host.slots && host.busy() <= keep as usize, "only slots without a task");
                    (host.slots, host.keep) = (keep, host.keep.min(keep));
                }
            }
        }
        for ((_, class, priority), serial) in std::mem::take(&mut self.pushed) {
            let last = self.last.entry((class, priority)).or_default();
            *last = serial.max(*last);
        }
        // What is parked goes on without slots.
        self.hosts.retain(|_, host| host.slots > 0 || !host.line.is_empty());
        self.check();
    }

    fn pushes(&mut self, grant: GrantId, tasks: Batch) {
        let host = self.hosts.get_mut(&grant).expect("Q1: a grant that is held");
        let depth = if self.measured[host.class.0 as usize] { PUSH_AHEAD.as_millis() / RUN.as_millis() } else { 2 };
        for task in tasks {
            let (class, priority, serial, place) = self.tasks.get_mut(&task).expect("Q2: it is not finished");
            assert_eq!((*class, *place), (host.class, Place::Ready), "Q2: ready, and not pushed");
            *place = Place::Pushed;
            host.line.push_back(task);
            if self.in_order {
                let last = [
                    self.last.get(&(*class, *priority)).copied(),
                    self.pushed.insert((grant, *class, *priority), *serial),
                ];
                assert!(last.into_iter().flatten().all(|last| last < *serial), "Q3: in the order of submission");
            }
        }
        assert!(host.busy() as u128 <= u128::from(host.keep) * depth, "Q1: {host:?}");
    }

    fn check(&self) {
        for host in self.hosts.values().filter(|host| (host.busy() as u32) < host.keep) {
            let ready = self.tasks.values().any(|task| task.0 == host.class && task.3 == Place::Ready);
            assert!(!ready, "Q4: a slot idles while a task is ready: {host:?}");
        }
        let queued = self.tasks.values().filter(|task| task.3 != Place::Pushed).count();
        assert_eq!(self.queue.queued(), queued, "Q2: nothing is lost");
    }

    /// Nothing is queued or pushed any more: some tasks have finished, others were cancelled or ended with their node.
    fn empty(&mut self, nodes_end: bool) {
        let queued: Vec<_> = self.tasks.iter().filter(|(_, task)| task.3 != Place::Pushed).map(|(at, _)| *at).collect();
        for task in queued {
            self.tasks.remove(&task);
            assert!(matches!(self.queue.cancel(task), Cancelled::Queued(_)));
        }
        (1..4).filter(|_| nodes_end).for_each(|life| self.node_ends(Life(life)));
        let all: Vec<GrantId> = self.hosts.keys().copied().collect();
        for grant in all {
            while !self.hosts[&grant].line.is_empty() {
                self.finish(grant);
            }
        }
        self.flush();
        assert!(self.tasks.is_empty());
    }

    /// Time passes as the queue asks for it, and nothing else happens, until it asks for none or for more than this.
    fn pass_until(&mut self, end: Moment) {
        while let Some(due) = self.queue.deadline().filter(|due| *due <= end) {
            assert!(due >= self.now, "what is due is due once");
            self.now = due;
            self.flush();
        }
        self.now = end;
    }

    fn finish_all(&mut self) {
        for _ in 0..10_000 {
            let all: Vec<GrantId> = self.hosts.keys().copied().collect();
            all.into_iter().for_each(|grant| {
                self.host_answers(grant);
                self.finish(grant);
            });
            while let Some((task, _)) = self.tasks.iter().find(|(_, task)| task.3 == Place::Waiting) {
                let task = *task;
                self.queue.ready(task);
                self.tasks.get_mut(&task).unwrap().3 = Place::Ready;
            }
            self.flush();
            if self.tasks.is_empty() && self.hosts.values().all(|host| host.asked.is_none()) {
                break;
            }
            if !self.tasks.is_empty() && self.hosts.is_empty() {
                (0..2).for_each(|class| self.step(Step::Grant { class, life: 1, slots: 1 }));
            }
            for class in 0..2 {
                if !self.hosts.values().any(|host| host.class == Class(class) && host.keep > 0) {
                    self.step(Step::Grant { class, life: 1, slots: 1 });
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn q5_nothing_is_wanted_a_pause_after_nothing_is_left(
        steps in proptest::collection::vec(step(), 1..100),
        nodes_end: bool,
        later in proptest::collection::vec(step(), 0..20),
    ) {
        let mut world = World::new();
        // Twice: the second time the head was told that nothing is wanted before.
        for steps in [steps, later] {
            steps.into_iter().for_each(|step| world.step(step));
            let ready = world.tasks.values().filter(|task| task.3 == Place::Ready);
            ready.for_each(|task| assert!(world.wants[&task.0] > 0, "tasks are ready, and nothing is wanted"));
            world.empty(nodes_end);
            world.pass_until(world.now + WANT_PAUSE);
            prop_assert!(world.wants.values().all(|slots| *slots == 0), "Q5: {:?}", world.wants);
            // What was asked of a node may still be answered; otherwise nothing is kept, and nothing more is due.
            for grant in world.hosts.keys().copied().collect::<Vec<_>>() {
                world.host_answers(grant);
            }
            world.flush();
            world.pass_until(world.now + 3 * GRANT_IDLE.max(WANT_PAUSE));
            prop_assert!(world.hosts.is_empty(), "idle slots are given back: {:?}", world.hosts);
            prop_assert_eq!(world.queue.deadline(), None);
        }
    }

    #[test]
    fn q1_to_q5_hold_whatever_happens(steps in proptest::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish_all();
        prop_assert!(world.tasks.is_empty(), "everything ran: {:?}", world.tasks);
        world.step(Step::Pass(1));
        for _ in 0..3 {
            world.step(Step::Pass(GRANT_IDLE.as_millis().max(WANT_PAUSE.as_millis()) as u16 + 1));
        }
        prop_assert!(world.wants.values().all(|slots| *slots == 0), "Q5: {:?}", world.wants);
        prop_assert!(world.hosts.is_empty(), "idle slots are given back: {:?}", world.hosts);
    }
}
