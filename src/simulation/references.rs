//! A node's references: the shell around the real [`Refs`] of a life. Objects are kept by handles, which user code has,
//! sends, reads out of other objects and drops; entries share what is held of other lives' objects.
//!
//! ```text
//! put ─▶ Thing at its owner ◀─ Own            handles: of user code, of calls, inside of other things
//! arrived, read ─▶ Entry ◀─── Far, until it is lost; its last handle's end is an unhold, at once or a while later
//! ```

use super::Bug;
use super::checks::{Rule, hold};
use super::errands::What;
use super::node::Node;
use super::stage::{Stage, Within};
use crate::clock::Moment;
use crate::id::{Life, ObjectId};
use crate::node::core::refs::{Effect, Effects, Hold, Kind, Load, Loss, Refs};
use crate::wire::bytes::List;
use crate::wire::packet::{Count, Counted, Ref};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// An object at its owner.
#[derive(Debug)]
pub(super) struct Thing {
    id: ObjectId,
    inner: Vec<Handle>,
}

/// What a life holds of another one's object.
#[derive(Debug)]
pub(super) struct Entry {
    id: ObjectId,
    by: Life,
    lost: Cell<Option<Loss>>,
    /// It was read out of an object: of what that has lost, it hears when it asks.
    read: bool,
}

/// A reference in the hands of user code.
#[derive(Clone, Debug)]
pub(super) enum Handle {
    Own(Rc<Thing>),
    Far(Rc<Entry>),
    Lost,
}

impl Handle {
    fn id(&self) -> Option<ObjectId> {
        match self {
            Handle::Own(thing) => Some(thing.id),
            Handle::Far(entry) if entry.lost.get().is_none() => Some(entry.id),
            Handle::Far(_) | Handle::Lost => None,
        }
    }
}

/// The references of one life.
#[derive(Debug)]
pub(super) struct References {
    refs: Refs<Rc<Thing>>,
    entries: BTreeMap<ObjectId, Weak<Entry>>,
    handles: Vec<Handle>,
    /// Packets that have arrived and were not read.
    parcels: BTreeMap<u64, Vec<Handle>>,
    parcel: u64,
    /// Things whose last handle is gone, and whose hold is not.
    dying: Vec<ObjectId>,
    serial: u64,
}

type Did = Effects<Rc<Thing>>;

/// As many handles as user code keeps.
const HANDLES: usize = 12;

const fn counted(id: ObjectId) -> Counted {
    Counted::Object(id)
}

impl References {
    pub(super) fn new(life: Life) -> References {
        References {
            refs: Refs::new(life),
            entries: BTreeMap::new(),
            handles: Vec::new(),
            parcels: BTreeMap::new(),
            parcel: 0,
            dying: Vec::new(),
            serial: 0,
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.refs.deadline()
    }

    /// Nothing is on its way to be counted.
    pub(super) fn is_quiet(&self) -> bool {
        let Load { landing, unsaid, ending, .. } = self.refs.load();
        self.parcels.is_empty() && self.dying.is_empty() && landing + unsaid + ending == 0
    }

    /// Nothing is left at all.
    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty() && self.refs.load() == Load::default()
    }

    pub(super) fn standing(&self) -> (Load, usize, usize) {
        (self.refs.load(), self.parcels.len(), self.dying.len())
    }

    /// Gives a hold that was taken to an entry, so that whatever is lost later has one to be marked.
    fn give(&mut self, stage: &mut Stage, id: ObjectId, hold: Hold<Rc<Thing>>, read: bool, did: &mut Did) -> Handle {
        let by = self.refs.life();
        match hold {
            Hold::Own(thing) => Handle::Own(thing),
            Hold::Lost(loss) => {
                let lost = stage.references.lost(id, by, loss);
                stage.check(lost);
                Handle::Lost
            }
            Hold::Taken => match self.entries.get(&id).and_then(Weak::upgrade) {
                Some(entry) => {
                    self.refs.unhold(counted(id), did);
                    Handle::Far(entry)
                }
                None => {
                    let entry = Rc::new(Entry { id, by, lost: Cell::new(None), read });
                    self.entries.insert(id, Rc::downgrade(&entry));
                    stage.references.held(id, by);
                    Handle::Far(entry)
                }
            },
        }
    }

    fn lose(&mut self, stage: &mut Stage, id: ObjectId, loss: Loss) {
        let Some(entry) = self.entries.remove(&id).as_ref().and_then(Weak::upgrade) else { return };
        entry.lost.set(Some(loss));
        stage.references.let_go(id, entry.by);
        let lost = stage.references.lost(id, entry.by, loss);
        stage.check(lost);
    }
}

impl Node {
    /// Changes the counts, and carries out what follows.
    fn count<R: Default>(
        &mut self,
        stage: &mut Stage,
        change: impl FnOnce(&mut References, &mut Stage, &mut Did) -> R,
    ) -> R {
        let Some(references) = self.references.as_mut() else { return R::default() };
        let mut did = Effects::new();
        let result = change(references, stage, &mut did);
        for effect in did {
            match effect {
                Effect::Say(life) => self.say_counts(stage, life),
                Effect::Free(thing) => self.let_go(stage, vec![Handle::Own(thing)]),
                Effect::Lost(Counted::Object(_), _) if stage.has(Bug::HidesLosses) => {}
                Effect::Lost(Counted::Object(id), loss) => {
                    if let Some(references) = self.references.as_mut() {
                        references.lose(stage, id, loss);
                    }
                }
                Effect::Lost(..) => {}
            }
        }
        result
    }

    /// Says what there is to say to a life, over its link.
    fn say_counts(&mut self, stage: &mut Stage, life: Life) {
        let (now, node) = (self.now(stage), self.core.known().get(life).map(|member| member.node));
        let linked = self.links.get(&life).map(|peer| peer.node).or(node);
        let met = linked.is_some_and(|node| self.peer(stage, life, node).is_some_and(|peer| !peer.link.is_ended()));
        if !met && self.core.known().has_ended(life) {
            return self.count(stage, |references, _, did| references.refs.node_ended(life, now, did));
        }
        if !met {
            return self.unmet.push(life);
        }
        while let Some(said) = self.references.as_mut().and_then(|references| references.refs.take(life)) {
            let mut packet = Vec::new();
            said.packet().encode(&mut packet);
            let twice = said.kind == Kind::Release && stage.has(Bug::ReleasesTwice) && stage.shell.one_in(8);
            if let Some(peer) = self.links.get_mut(&life) {
                (0..=u32::from(twice)).for_each(|_| peer.link.send_settle(&packet));
            }
        }
        self.touched(stage, life);
    }

    /// Others may be known now that joined a moment ago.
    pub(super) fn meets(&mut self, stage: &mut Stage) {
        std::mem::take(&mut self.unmet).into_iter().for_each(|life| self.say_counts(stage, life));
    }

    /// Counts of a peer.
    pub(super) fn counts_arrive(&mut self, stage: &mut Stage, from: Life, kind: Kind, counts: &List<'_, Count>) {
        let applied = self.count(stage, |references, _, did| Some(references.refs.apply(from, kind, counts, did)));
        if let Some(Err(breach)) = applied {
            let counts = hold(false, Rule::R3, || format!("node {} finds a breach of {from}: {breach}", self.index));
            stage.check(counts);
        }
    }

    /// References in a packet for a life, which is encoded now.
    pub(super) fn enclose(&mut self, stage: &mut Stage, to: Life, handles: &[Handle]) -> Vec<Ref> {
        let forgets = stage.has(Bug::ForgetsTransit);
        self.count(stage, |references, stage, did| {
            let (from, mut enclosed) = (references.refs.life(), Vec::new());
            // Who cannot meet its owner could never claim it.
            let meets = |object: &ObjectId| stage.lives.can_meet(object.life, to);
            let handles = handles.iter().filter_map(|handle| Some((handle, handle.id().filter(meets)?)));
            for (handle, object) in handles.collect::<Vec<_>>() {
                match handle {
                    Handle::Own(_) if stage.has(Bug::SendsUncounted) && stage.shell.one_in(10) => {}
                    Handle::Own(thing) => references.refs.send(counted(object), thing, to, 1),
                    _ => references.refs.sent_on(counted(object), to, 1),
                }
                if forgets && object.life != from {
                    references.refs.unsend(counted(object), to, 1, did);
                }
                stage.references.leaves(object, from, to);
                enclosed.push(Ref::Object { object });
            }
            enclosed
        })
    }

    /// That packet is never sent.
    pub(super) fn not_sent(&mut self, stage: &mut Stage, to: Life, enclosed: Vec<Ref>) {
        self.count(stage, |references, stage, did| {
            for object in enclosed.iter().filter_map(object) {
                references.refs.unsend(counted(object), to, 1, did);
                stage.references.stays(object);
            }
        });
    }

    /// References beside a body that is here; it is read a while later.
    pub(super) fn attach(&mut self, stage: &mut Stage, from: Life, refs: &List<'_, Ref>) {
        if refs.is_empty() {
            return;
        }
        let parcel = self.count(stage, |references, stage, did| {
            let mut parcel = Vec::new();
            for object in refs.iter().filter_map(|one| object(&one)) {
                let arrives = stage.references.arrives(object);
                stage.check(arrives);
                let hold = references.refs.arrived(from, counted(object), did);
                parcel.push(references.give(stage, object, hold, false, did));
            }
            references.parcel += 1;
            references.parcels.insert(references.parcel, parcel);
            references.parcel
        });
        let pause = stage.shell.micros(0, 3_000);
        stage.queue.after(pause, self.within(Within::Open(parcel)));
    }

    /// A body is read, or does not decode.
    pub(super) fn open(&mut self, stage: &mut Stage, parcel: u64) {
        let Some(parcel) = self.references.as_mut().and_then(|references| references.parcels.remove(&parcel)) else {
            return;
        };
        match stage.user.one_in(2) {
            true => self.keep(stage, parcel),
            false => self.let_go(stage, parcel),
        }
    }

    /// User code has these handles, and no more than it keeps.
    fn keep(&mut self, stage: &mut Stage, handles: Vec<Handle>) {
        let Some(references) = self.references.as_mut() else { return };
        references.handles.extend(handles);
        let many = references.handles.len().saturating_sub(HANDLES);
        let left: Vec<Handle> = references.handles.drain(..many).collect();
        self.let_go(stage, left);
    }

    /// Some of user code's handles, cloned.
    pub(super) fn some_handles(&mut self, stage: &mut Stage, most: u64) -> Vec<Handle> {
        let Some(references) = self.references.as_ref().filter(|references| !references.handles.is_empty()) else {
            return Vec::new();
        };
        let count = stage.user.below(most + 1);
        (0..count).map(|_| references.handles[stage.user.index(references.handles.len())].clone()).collect()
    }

    /// Handles are dropped. What nobody has any more is given back, now or when its thread gets the lock.
    pub(super) fn let_go(&mut self, stage: &mut Stage, handles: Vec<Handle>) {
        let Some(references) = self.references.as_mut() else { return };
        let (life, mut left) = (references.refs.life(), handles);
        while let Some(handle) = left.pop() {
            match handle {
                Handle::Own(thing) => {
                    let Some(thing) = Rc::into_inner(thing).filter(|thing| thing.id.life == life) else { continue };
                    let freed = stage.references.freed(thing.id);
                    stage.check(freed);
                    for inner in thing.inner {
                        if let Handle::Own(inner) = &inner {
                            references.dying.push(inner.id);
                        }
                        left.push(inner);
                    }
                }
                Handle::Far(entry) => {
                    let Some(entry) = Rc::into_inner(entry).filter(|entry| entry.by == life) else { continue };
                    if entry.lost.get().is_none() {
                        stage.references.let_go(entry.id, life);
                    }
                    references.dying.push(entry.id);
                }
                Handle::Lost => {}
            }
        }
        match references.dying.is_empty() {
            true => {}
            false if stage.shell.one_in(4) => {
                let pause = stage.shell.micros(1, 500);
                stage.queue.after(pause, self.within(Within::Bury));
            }
            false => self.bury(stage),
        }
    }

    /// Threads that dropped last handles get the lock.
    pub(super) fn bury(&mut self, stage: &mut Stage) {
        self.count(stage, |references, stage, did| {
            for id in std::mem::take(&mut references.dying) {
                if !stage.has(Bug::KeepsHolds) || !stage.shell.one_in(20) {
                    references.refs.unhold(counted(id), did);
                }
            }
        });
    }

    /// User code puts an object, which may have references inside.
    pub(super) fn puts(&mut self, stage: &mut Stage) {
        let inner = if stage.user.one_in(2) { self.some_handles(stage, 3) } else { Vec::new() };
        let thing = self.count(stage, |references, stage, _| {
            references.serial += 1;
            let id = ObjectId { life: references.refs.life(), serial: references.serial };
            for inner in &inner {
                if let Handle::Own(thing) = inner {
                    references.refs.contain(counted(thing.id), thing);
                }
            }
            stage.references.puts(id);
            Some(Rc::new(Thing { id, inner }))
        });
        self.keep(stage, thing.map(Handle::Own).into_iter().collect());
    }

    /// User code drops some of its handles.
    pub(super) fn drops(&mut self, stage: &mut Stage) {
        let Some(references) = self.references.as_mut() else { return };
        let mut left = Vec::new();
        for _ in 0..1 + references.handles.len() / 4 {
            if !references.handles.is_empty() {
                left.push(references.handles.swap_remove(stage.user.index(references.handles.len())));
            }
        }
        self.let_go(stage, left);
    }

    /// User code reads an object, wherever it is.
    pub(super) fn reads(&mut self, stage: &mut Stage) {
        let outer = self.some_handles(stage, 1).pop();
        match &outer {
            Some(Handle::Own(thing)) => self.keep(stage, thing.inner.clone()),
            Some(Handle::Far(entry)) if entry.lost.get().is_none() => {
                self.errand(stage, entry.id.life, What::Read(entry.id));
            }
            Some(Handle::Far(_) | Handle::Lost) | None => {}
        }
        self.let_go(stage, outer.into_iter().collect());
    }

    /// What is inside an object of this node that others hold.
    pub(super) fn inside(&self, object: ObjectId) -> Option<Vec<ObjectId>> {
        let thing = self.references.as_ref()?.refs.find(counted(object))?;
        Some(thing.inner.iter().filter_map(Handle::id).collect())
    }

    /// An object was read: if it is still held here, what was in it is safe.
    pub(super) fn has_read(&mut self, stage: &mut Stage, outer: ObjectId, inner: &[ObjectId]) {
        let handles = self.count(stage, |references, stage, did| {
            if references.entries.get(&outer).and_then(Weak::upgrade).is_none() {
                return Vec::new();
            }
            let by = references.refs.life();
            let mut handles = Vec::new();
            for id in inner.iter().filter(|id| stage.lives.can_meet(id.life, by)).collect::<Vec<_>>() {
                stage.references.read(*id, outer, by);
                let hold = references.refs.hold_inside(counted(*id), counted(outer), did);
                handles.push(references.give(stage, *id, hold, true, did));
            }
            handles
        });
        self.keep(stage, handles);
    }

    /// Lives have ended, as this node knows.
    pub(super) fn holders_ended(&mut self, stage: &mut Stage) {
        let lives = self.references.iter().flat_map(|references| references.refs.lives());
        let ended: Vec<Life> = lives.filter(|life| self.core.known().has_ended(*life)).collect();
        let now = self.now(stage);
        for life in ended {
            self.count(stage, |references, _, did| references.refs.node_ended(life, now, did));
        }
    }

    pub(super) fn tick_references(&mut self, stage: &mut Stage) {
        let now = self.now(stage);
        if self.references.as_ref().and_then(References::deadline).is_some_and(|deadline| deadline <= now) {
            self.count(stage, |references, _, did| references.refs.tick(now, did));
        }
    }

    /// All is quiet: what is not said to be lost is there (R4). Then user code drops all that it has.
    pub(super) fn drops_all(&mut self, stage: &mut Stage) {
        let Some(references) = self.references.as_mut() else { return };
        let handles = std::mem::take(&mut references.handles);
        for entry in handles.iter().filter_map(|handle| match handle {
            Handle::Far(entry) if entry.lost.get().is_none() && !entry.read => Some(entry),
            _ => None,
        }) {
            let there = stage.references.is_there(entry.id, entry.by);
            stage.check(there);
        }
        self.let_go(stage, handles);
    }
}

fn object(reference: &Ref) -> Option<ObjectId> {
    match *reference {
        Ref::Object { object } => Some(object),
        _ => None,
    }
}
