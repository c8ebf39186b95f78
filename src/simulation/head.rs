//! The head's process around the real [`Directory`]: doors, a disk that takes time, crashes that lose what it had not taken.

use super::Bug;
use super::network::{Lane, Listener, Place, Side, What, Whose, Wire};
use super::owning::CLASSES;
use super::stage::{Event, Stage};
use crate::clock::Moment;
use crate::directory::message::{Command, News, Order};
use crate::directory::request::{Beat, Granted, Rejoin};
use crate::directory::{Config, Directory, Door, Effect, Effects, Event as Heard, Keeps, Record, Reign, ToHead};
use crate::id::{Epoch, NodeId};
use crate::limits::LEASE;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Survives crashes.
#[derive(Debug, Default)]
struct Disk {
    records: Vec<Record>,
    /// How many of them are there for good.
    synced: usize,
    syncing: bool,
    epoch: Epoch,
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) machine: usize,
    pub(super) run: u32,
    directory: Option<Directory>,
    doors: BTreeMap<u64, Door>,
    disk: Disk,
    /// Not yet carried out: what follows a record waits until that is on disk.
    effects: VecDeque<Effect>,
    wake_at: Moment,
    still: bool,
    /// Events that came while the process stood still.
    missed: Vec<Event>,
    pub(super) slow_disk: bool,
}

/// The head's identity.
pub(super) const HEAD: NodeId = NodeId([0xff; 32]);

impl Head {
    pub(super) fn new(machine: usize) -> Head {
        Head {
            machine,
            run: 0,
            directory: None,
            doors: BTreeMap::new(),
            disk: Disk::default(),
            effects: VecDeque::new(),
            wake_at: Moment(u64::MAX),
            still: false,
            missed: Vec::new(),
            slow_disk: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.directory.is_some()
    }

    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.as_ref()
    }

    fn place(&self) -> Place {
        Place::Head { run: self.run }
    }

    pub(super) fn start(&mut self, stage: &mut Stage) {
        if self.is_up() {
            return;
        }
        self.run += 1;
        self.disk.epoch = self.disk.epoch.next();
        let (now, epoch) = (stage.now(self.machine), self.disk.epoch);
        let started = stage.lives.head_starts(now, epoch);
        stage.check(started);
        let reign = Reign { epoch, instance: stage.shell.next() };
        let mut records = self.disk.records.clone();
        records.retain(|record| !stage.has(Bug::ForgetsBundles) || !matches!(record, Record::GroupPlaced { .. }));
        self.directory = Some(Directory::start(now, Config::new(reign), records));
        let listener = Listener { place: self.place(), machine: self.machine, node: HEAD };
        stage.network.listeners.insert(self.place(), listener);
        stage.note(1, epoch.0, self.disk.records.len() as u64, || format!("head starts: epoch {epoch}"));
        self.schedule(stage);
    }

    /// The process dies. Of the records that were not synced, the disk may have some first part.
    pub(super) fn kill(&mut self, stage: &mut Stage) {
        if self.directory.take().is_none() {
            return;
        }
        let unsynced = self.disk.records.len() - self.disk.synced;
        let kept = self.disk.synced + stage.shell.index(unsynced + 1);
        self.disk.records.truncate(kept);
        self.become_durable(stage, kept);
        self.disk.syncing = false;
        self.effects.clear();
        self.doors.clear();
        self.missed.clear();
        self.still = false;
        self.wake_at = Moment(u64::MAX);
        stage.network.died(&mut stage.queue, Place::Head { run: self.run }, Duration::ZERO);
        stage.note(2, kept as u64, unsynced as u64, || format!("head dies, {unsynced} records were not synced"));
    }

    pub(super) fn stand_still(&mut self, stage: &mut Stage) {
        if self.is_up() {
            self.still = true;
            stage.network.still.insert(self.place());
            stage.note(3, 0, 0, || "head stands still".into());
        }
    }

    pub(super) fn go_on(&mut self, stage: &mut Stage) {
        if std::mem::take(&mut self.still) {
            stage.note(4, 0, 0, || "head goes on".into());
            // What waits in its sockets and its timers come in any order.
            let place = self.place();
            if stage.shell.one_in(2) {
                stage.network.goes_on(&mut stage.queue, place);
            }
            std::mem::take(&mut self.missed).into_iter().for_each(|event| stage.queue.at(stage.queue.now, event));
            stage.network.goes_on(&mut stage.queue, place);
        }
    }

    pub(super) fn arrives(&mut self, stage: &mut Stage, id: u64, whose: Whose, what: What) {
        if whose.place != self.place() || !self.is_up() || whose.lane != Lane::Control {
            return;
        }
        match what {
            What::Opened => drop(self.doors.insert(id, Door { id, node: whose.peer, keeps: Keeps::Lease })),
            What::Message(Wire::ToHead(message)) => {
                if let Some(door) = self.doors.get(&id).copied() {
                    self.hears(stage, Heard::Said(door, *message));
                }
            }
            What::Message(_) => {}
            What::Closed => {
                self.doors.remove(&id);
                self.hears(stage, Heard::Closed(id));
            }
        }
    }

    fn hears(&mut self, stage: &mut Stage, event: Heard) {
        let Some(directory) = &mut self.directory else { return };
        let now = stage.now(self.machine);
        if let Heard::Said(_, ToHead::Beat(beat) | ToHead::Rejoin(Rejoin { beat, .. })) = &event {
            let Beat { life, .. } = *beat;
            stage.lives.heard(now, life);
        }
        let mut effects = Effects::new();
        directory.apply(now, event, &mut effects);
        while let Some(effect) = effects.pop() {
            if let Effect::Journal(record) = &effect {
                let decided = stage.lives.decided(now, LEASE, record);
                stage.check(decided);
                if let Record::NodeEnded { life, .. } = record {
                    stage.life_over(*life);
                }
            }
            self.effects.push_back(effect);
        }
        self.carry_out(stage);
        self.schedule(stage);
    }

    fn carry_out(&mut self, stage: &mut Stage) {
        while let Some(effect) = self.effects.front() {
            let journal = matches!(effect, Effect::Journal(_));
            let unsynced = self.disk.synced < self.disk.records.len();
            if !journal && unsynced && !stage.has(Bug::AnswersBeforeSync) {
                break;
            }
            match self.effects.pop_front() {
                Some(Effect::Journal(record)) => {
                    stage.note(5, self.disk.records.len() as u64, 0, || format!("head writes {record:?}"));
                    self.disk.records.push(record);
                }
                Some(Effect::Send(door, message)) => {
                    let said = stage.lives.says(&message.news);
                    stage.check(said);
                    if let News::Order(Order { life, what: Command::Grant(granted), .. }) = &message.news {
                        let Granted { grant, class, slots, .. } = *granted;
                        stage.tasks.granted(grant, *life, class, slots, CLASSES[class.0 as usize % CLASSES.len()]);
                    }
                    stage.network.send(&mut stage.queue, door, Side::Listener, Wire::FromHead(Box::new(message)));
                }
                Some(Effect::Close(door)) => stage.network.close(&mut stage.queue, door, Side::Listener),
                Some(Effect::Abdicate(epoch)) => {
                    let only = super::checks::hold(false, super::checks::Rule::L5, || {
                        format!("the head of {} meets {epoch}, and its journal was locked", self.disk.epoch)
                    });
                    stage.check(only);
                }
                None => {}
            }
        }
        self.sync(stage);
    }

    fn sync(&mut self, stage: &mut Stage) {
        if self.disk.syncing || self.disk.synced == self.disk.records.len() {
            return;
        }
        self.disk.syncing = true;
        let takes = if self.slow_disk { stage.shell.millis(100, 8_000) } else { stage.shell.micros(50, 3_000) };
        stage.queue.after(takes, Event::Synced(self.run, self.disk.records.len()));
    }

    pub(super) fn synced(&mut self, stage: &mut Stage, run: u32, records: usize) {
        if run != self.run || !self.is_up() {
            return;
        }
        if self.still {
            self.missed.push(Event::Synced(run, records));
            return;
        }
        self.disk.syncing = false;
        self.become_durable(stage, records);
        self.carry_out(stage);
    }

    fn become_durable(&mut self, stage: &mut Stage, records: usize) {
        for record in &self.disk.records[self.disk.synced..records] {
            let checked = stage.lives.on_disk(record);
            stage.check(checked);
            let whole = stage.groups.on_disk(record);
            stage.check(whole);
        }
        self.disk.synced = records;
    }

    pub(super) fn timer(&mut self, stage: &mut Stage, run: u32) {
        if run != self.run || !self.is_up() || stage.queue.now < self.wake_at {
            return;
        }
        if self.still {
            self.missed.push(Event::Head(run));
            return;
        }
        self.wake_at = Moment(u64::MAX);
        self.hears(stage, Heard::Tick);
    }

    fn schedule(&mut self, stage: &mut Stage) {
        let Some(deadline) = self.directory.as_ref().and_then(Directory::deadline) else { return };
        let at = stage.clocks[self.machine].when(deadline).max(stage.queue.now);
        if at < self.wake_at {
            self.wake_at = at;
            stage.queue.at(at, Event::Head(self.run));
        }
    }
}
