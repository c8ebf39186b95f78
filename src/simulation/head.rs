//! The head's process around the real [`Directory`] and the line before its journal: doors, a disk that takes time and fails,
//! crashes that lose what it had not taken or tear what was being written.

use super::Bug;
use super::network::{Lane, Listener, Place, Side, What, Whose, Wire};
use super::owning::CLASSES;
use super::stage::{Event, Stage};
use crate::clock::Moment;
use crate::directory::held::{Batch, Held, Kind};
use crate::directory::journal::memory::{Fault, MemoryDisk};
use crate::directory::journal::{Journal, Opened, Opener};
use crate::directory::message::{Ask, Command, News, Order, Request};
use crate::directory::request::{Beat, Granted, Rejoin};
use crate::directory::{Config, Directory, Door, Effect, Effects, Event as Heard, Keeps, Record, ToHead};
use crate::id::{Epoch, NodeId};
use crate::limits::{JOURNAL_PAUSE, LEASE};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The journal of a head that runs.
#[derive(Debug)]
struct Writing {
    journal: Box<dyn Journal>,
    held: Held,
    epoch: Epoch,
    /// What is being written.
    batch: Option<Batch>,
    /// The last batch was not taken: the next thing is to recover.
    failed: bool,
    /// What was decided and is not known to be on disk, of which the first is the record after so many.
    decided: VecDeque<Record>,
    durable: u64,
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) machine: usize,
    pub(super) run: u32,
    /// The epoch of the last run.
    last: Epoch,
    directory: Option<Directory>,
    doors: BTreeMap<u64, Door>,
    /// Survives crashes.
    disk: MemoryDisk,
    writing: Option<Writing>,
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
            last: Epoch::default(),
            directory: None,
            doors: BTreeMap::new(),
            disk: MemoryDisk::default(),
            writing: None,
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
        let opener = Opener { cluster: HEAD, at_least: Epoch::default(), instance: stage.shell.next() };
        let opened = self.disk.open(opener);
        stage.check(super::checks::hold(opened.is_ok(), super::checks::Rule::L5, || format!("{opened:?}")));
        let Ok(Opened { journal, mut reign, mut records }) = opened else { return };
        if stage.has(Bug::KeepsEpoch) && self.run > 0 {
            reign.epoch = self.last;
        }
        (self.run, self.last) = (self.run + 1, reign.epoch);
        let (now, epoch) = (stage.now(self.machine), reign.epoch);
        let started = stage.lives.head_starts(now, epoch);
        stage.check(started);
        stage.note(1, epoch.0, records.len() as u64, || format!("head starts: epoch {epoch}"));
        records.retain(|record| !stage.has(Bug::ForgetsBundles) || !matches!(record, Record::GroupPlaced { .. }));
        records.retain(|record| !stage.has(Bug::ForgetsSaves) || !matches!(record, Record::Checkpointed { .. }));
        self.directory = Some(Directory::start(now, Config::new(reign), records));
        let (held, decided) = (Held::default(), VecDeque::new());
        self.writing = Some(Writing { journal, held, epoch, batch: None, failed: false, decided, durable: 0 });
        let listener = Listener { place: self.place(), machine: self.machine, node: HEAD };
        stage.network.listeners.insert(self.place(), listener);
        self.schedule(stage);
    }

    /// The process dies. Of what was being written, the disk may have some first part.
    pub(super) fn kill(&mut self, stage: &mut Stage) {
        if self.directory.take().is_none() {
            return;
        }
        let Some(mut writing) = self.writing.take() else { return };
        if let Some(batch) = writing.batch.take() {
            let torn = stage.shell.index(batch.records.len() + 1);
            self.disk.fail(fault(torn, &batch));
            writing.write(stage, &batch, torn);
        }
        let lost = writing.decided.len() as u64;
        self.doors.clear();
        self.missed.clear();
        self.still = false;
        self.wake_at = Moment(u64::MAX);
        stage.network.died(&mut stage.queue, Place::Head { run: self.run }, Duration::ZERO);
        stage.note(2, self.disk.records() as u64, lost, || format!("head dies, {lost} records are not on disk"));
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

    fn hears(&mut self, stage: &mut Stage, mut event: Heard) {
        if let Heard::Said(_, ToHead::Ask(Ask { what: Request::Checkpoint(what), .. })) = &mut event
            && stage.has(Bug::TakesStaleSaves)
            && let Some(earlier) = stage.saves.before(what.actor, what.placement)
        {
            what.state = earlier.encoded();
        }
        let Some(directory) = &mut self.directory else { return };
        let now = stage.now(self.machine);
        if let Heard::Said(_, ToHead::Beat(beat) | ToHead::Rejoin(Rejoin { beat, .. })) = &event {
            let Beat { life, .. } = *beat;
            stage.lives.heard(now, life);
        }
        let Some(writing) = &mut self.writing else { return };
        let (mut effects, before) = (Effects::new(), writing.held.records().len());
        let overfull = writing.held.apply(directory, now, event, &mut effects);
        stage.check(super::checks::hold(overfull.is_ok(), super::checks::Rule::Settled, || "all waits".into()));
        for record in &writing.held.records()[before..] {
            stage.note(5, writing.durable, 0, || format!("head decides {record:?}"));
            let decided = stage.lives.decided(now, LEASE, record);
            stage.check(decided);
            writing.decided.push_back(record.clone());
        }
        if stage.has(Bug::AnswersBeforeSync) {
            writing.held.release(writing.held.given(), &mut effects);
        }
        self.carry_out(stage, effects);
        self.sync(stage);
        self.schedule(stage);
    }

    fn carry_out(&mut self, stage: &mut Stage, mut effects: Effects) {
        while let Some(effect) = effects.pop() {
            match effect {
                // The line before the journal keeps these.
                Effect::Journal(_) => {}
                Effect::Send(door, mut message) => {
                    let said = stage.lives.says(&message.news);
                    stage.check(said);
                    if let News::Order(Order { what: Command::Grant(granted), .. }) = &mut message.news
                        && stage.has(Bug::GrantsTwice)
                        && stage.shell.one_in(4)
                    {
                        granted.slots += 1;
                    }
                    if let News::Order(Order { what: Command::Grant(granted), .. }) = &message.news {
                        let Granted { grant, class, slots, .. } = *granted;
                        stage.tasks.granted(grant, class, slots, CLASSES[class.0 as usize % CLASSES.len()]);
                    }
                    stage.network.send(&mut stage.queue, door, Side::Listener, Wire::FromHead(Box::new(message)));
                }
                Effect::Close(door) => stage.network.close(&mut stage.queue, door, Side::Listener),
                Effect::Abdicate(met) => {
                    let epoch = self.writing.as_ref().map(|writing| writing.epoch);
                    let only = super::checks::hold(false, super::checks::Rule::L5, || {
                        format!("the head of {epoch:?} meets {met}, and its journal was locked")
                    });
                    stage.check(only);
                }
            }
        }
    }

    /// Begins to write what is new, or now and then the whole state.
    fn sync(&mut self, stage: &mut Stage) {
        let (Some(writing), Some(directory)) = (&mut self.writing, &self.directory) else { return };
        if writing.batch.is_some() || writing.failed || writing.held.records().is_empty() {
            return;
        }
        let kind = if stage.shell.one_in(30) { Kind::State } else { Kind::Records };
        writing.batch = writing.held.take(directory, kind);
        let takes = if self.slow_disk { stage.shell.millis(100, 8_000) } else { stage.shell.micros(50, 3_000) };
        stage.queue.after(takes, Event::Synced(self.run));
    }

    pub(super) fn synced(&mut self, stage: &mut Stage, run: u32) {
        if run != self.run || !self.is_up() {
            return;
        }
        if self.still {
            self.missed.push(Event::Synced(run));
            return;
        }
        let (Some(writing), Some(directory)) = (&mut self.writing, &self.directory) else { return };
        if std::mem::take(&mut writing.failed) {
            let recovered = writing.journal.recover();
            stage.check(super::checks::hold(recovered.is_ok(), super::checks::Rule::L5, || format!("{recovered:?}")));
            writing.batch = writing.held.take(directory, Kind::State);
        }
        let Some(batch) = writing.batch.take() else { return };
        let mut torn = batch.records.len();
        if stage.shell.one_in(100) {
            torn = if stage.shell.one_in(3) { torn } else { stage.shell.index(torn + 1) };
            self.disk.fail(fault(torn, &batch));
        }
        let mut effects = Effects::new();
        if writing.write(stage, &batch, torn) {
            writing.held.release(batch.up_to, &mut effects);
        } else {
            stage.note(6, torn as u64, batch.up_to, || "the disk takes nothing".into());
            writing.failed = true;
            stage.queue.after(JOURNAL_PAUSE, Event::Synced(run));
        }
        self.carry_out(stage, effects);
        self.sync(stage);
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

/// A write that fails, of which so many records are there nevertheless.
fn fault(torn: usize, batch: &Batch) -> Fault {
    match torn {
        0 => Fault::Full,
        all if all == batch.records.len() => Fault::Unsynced,
        some => Fault::Torn(some),
    }
}

impl Writing {
    /// Writes, and says whether the disk took it. If it does not, so many of its records are there nevertheless.
    fn write(&mut self, stage: &mut Stage, batch: &Batch, torn: usize) -> bool {
        let written = match batch.kind {
            Kind::Records => self.journal.append(&batch.records),
            Kind::State => self.journal.replace(&batch.records),
        };
        let first = batch.up_to - if batch.kind == Kind::Records { batch.records.len() as u64 } else { batch.up_to };
        let there = match (&written, batch.kind) {
            (Ok(()), _) => batch.up_to,
            (Err(_), Kind::Records) => first + torn as u64,
            (Err(_), Kind::State) if torn == batch.records.len() => batch.up_to,
            (Err(_), Kind::State) => 0,
        };
        while self.durable < there
            && let Some(record) = self.decided.pop_front()
        {
            self.durable += 1;
            // Not before: until then the number of a life that was never told of may be given again.
            if let Record::NodeEnded { life, .. } = &record {
                stage.life_over(*life);
            }
            let checked = stage.lives.on_disk(&record);
            stage.check(checked);
            let last = stage.saves.on_disk(&record);
            stage.check(last);
            let whole = stage.groups.on_disk(&record);
            stage.check(whole);
        }
        written.is_ok()
    }
}
