//! A node as its shell would be: one entry for each thing held here, handles that share it, packets that were not read.
//! When an entry's last handle goes, its hold is let go a while later, as by a thread that has yet to take the lock.

use crate::clock::Moment;
use crate::id::{Life, ObjectId};
use crate::node::core::refs::{Effect, Effects, Hold, Kind, Loss, Refs};
use crate::wire::packet::{Counted, Settle};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

/// An object at its owner.
pub(super) struct Thing {
    pub(super) id: Counted,
    pub(super) inner: Vec<Handle>,
}

pub(super) struct Entry {
    id: Counted,
    lost: Cell<Option<Loss>>,
}

#[derive(Clone)]
pub(super) enum Handle {
    Own(Rc<Thing>),
    Far(Rc<Entry>),
    Lost(Counted),
}

impl Handle {
    pub(super) fn id(&self) -> Counted {
        match self {
            Handle::Own(thing) => thing.id,
            Handle::Far(entry) => entry.id,
            Handle::Lost(id) => *id,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        match self {
            Handle::Own(_) => false,
            Handle::Far(entry) => entry.lost.get().is_some(),
            Handle::Lost(_) => true,
        }
    }
}

pub(super) struct Shell {
    pub(super) refs: Refs<Rc<Thing>>,
    entries: BTreeMap<Counted, Weak<Entry>>,
    pub(super) handles: Vec<Handle>,
    /// Packets that have arrived and were not read.
    pub(super) mailbox: Vec<Vec<Handle>>,
    /// Things whose entry, or container, is gone and whose hold is not.
    dying: Vec<Counted>,
    /// Whom there is something to say to.
    pub(super) talks: BTreeSet<Life>,
    /// Whose end is known here.
    pub(super) ended: BTreeSet<Life>,
    serial: u64,
    pub(super) freed: usize,
    pub(super) lost: usize,
}

impl Shell {
    pub(super) fn new(life: Life) -> Self {
        Self {
            refs: Refs::new(life),
            entries: BTreeMap::new(),
            handles: Vec::new(),
            mailbox: Vec::new(),
            dying: Vec::new(),
            talks: BTreeSet::new(),
            ended: BTreeSet::new(),
            serial: 0,
            freed: 0,
            lost: 0,
        }
    }

    pub(super) fn put(&mut self, inner: Vec<Handle>) -> Rc<Thing> {
        self.serial += 1;
        let id = Counted::Object(ObjectId { life: self.refs.life(), serial: self.serial });
        for handle in &inner {
            match handle {
                Handle::Own(thing) => self.refs.contain(thing.id, thing),
                // The entry's hold is as good as one of the container's own.
                Handle::Far(_) | Handle::Lost(_) => {}
            }
        }
        let thing = Rc::new(Thing { id, inner });
        self.handles.push(Handle::Own(thing.clone()));
        thing
    }

    /// A packet is encoded; gives what it holds.
    pub(super) fn encode(&mut self, to: Life, handles: &[Handle]) -> Vec<Counted> {
        let mut ids = Vec::new();
        for handle in handles.iter().filter(|handle| !handle.is_lost()) {
            match handle {
                Handle::Own(thing) => self.refs.send(thing.id, thing, to, 1),
                handle => self.refs.sent_on(handle.id(), to, 1),
            }
            ids.push(handle.id());
        }
        ids
    }

    /// It is never sent.
    pub(super) fn withdraw(&mut self, to: Life, ids: &[Counted]) {
        let mut effects = Vec::new();
        ids.iter().for_each(|id| self.refs.unsend(*id, to, 1, &mut effects));
        self.carry_out(effects);
    }

    /// A packet is applied; it is read later.
    pub(super) fn arrive(&mut self, from: Life, ids: &[Counted]) {
        let mut effects = Vec::new();
        let parcel = ids
            .iter()
            .map(|id| {
                let hold = self.refs.arrived(from, *id, &mut effects);
                self.give(*id, hold, &mut effects)
            })
            .collect();
        self.mailbox.push(parcel);
        self.carry_out(effects);
    }

    /// The references of an object that was read while `outer` is held.
    pub(super) fn read(&mut self, outer: Counted, ids: &[Counted]) {
        let mut effects = Vec::new();
        for id in ids {
            let hold = self.refs.hold_inside(*id, outer, &mut effects);
            let handle = self.give(*id, hold, &mut effects);
            self.handles.push(handle);
        }
        self.carry_out(effects);
    }

    /// Gives a hold that was taken to an entry, in the same lock: so whatever is lost later has one to be marked.
    fn give(&mut self, id: Counted, hold: Hold<Rc<Thing>>, effects: &mut Effects<Rc<Thing>>) -> Handle {
        match hold {
            Hold::Own(thing) => Handle::Own(thing),
            Hold::Lost(_) => {
                self.lost += 1;
                Handle::Lost(id)
            }
            Hold::Taken => match self.entries.get(&id).and_then(Weak::upgrade) {
                Some(entry) => {
                    self.refs.unhold(id, effects);
                    Handle::Far(entry)
                }
                None => {
                    let entry = Rc::new(Entry { id, lost: Cell::new(None) });
                    self.entries.insert(id, Rc::downgrade(&entry));
                    Handle::Far(entry)
                }
            },
        }
    }

    pub(super) fn drop_all(&mut self, handles: Vec<Handle>) {
        let mut dropped = handles;
        while let Some(handle) = dropped.pop() {
            match handle {
                Handle::Own(thing) => {
                    let inner = Rc::into_inner(thing).into_iter().flat_map(|thing| thing.inner);
                    for handle in inner {
                        self.dying.extend(matches!(handle, Handle::Own(_)).then(|| handle.id()));
                        dropped.push(handle);
                    }
                }
                Handle::Far(entry) => self.dying.extend(Rc::into_inner(entry).map(|entry| entry.id)),
                Handle::Lost(_) => {}
            }
        }
    }

    /// Threads that dropped a last handle get the lock.
    pub(super) fn bury(&mut self, most: usize) {
        let mut effects = Vec::new();
        let count = self.dying.len().min(most);
        let dying: Vec<_> = self.dying.drain(..count).collect();
        dying.into_iter().for_each(|id| self.refs.unhold(id, &mut effects));
        self.carry_out(effects);
    }

    pub(super) fn settle(&mut self, from: Life, packet: &[u8]) {
        let (kind, counts) = Kind::of(&Settle::decode(packet).unwrap()).unwrap();
        let mut effects = Vec::new();
        self.refs.apply(from, kind, &counts, &mut effects).unwrap_or_else(|breach| panic!("R3: {breach}"));
        self.carry_out(effects);
    }

    pub(super) fn node_ended(&mut self, life: Life, now: Moment) {
        let mut effects = Vec::new();
        self.ended.insert(life);
        self.talks.remove(&life);
        self.refs.node_ended(life, now, &mut effects);
        self.carry_out(effects);
    }

    pub(super) fn tick(&mut self, now: Moment) {
        let mut effects = Vec::new();
        if self.refs.deadline().is_some_and(|deadline| deadline <= now) {
            self.refs.tick(now, &mut effects);
        }
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects<Rc<Thing>>) {
        for effect in effects {
            match effect {
                Effect::Say(life) => assert!(self.talks.insert(life), "said once, until it was taken"),
                Effect::Free(thing) => {
                    self.freed += 1;
                    self.drop_all(vec![Handle::Own(thing)]);
                }
                Effect::Lost(id, why) => {
                    if let Some(entry) = self.entries.remove(&id).as_ref().and_then(Weak::upgrade) {
                        self.lost += 1;
                        entry.lost.set(Some(why));
                    }
                }
            }
        }
        self.entries.retain(|_, entry| entry.strong_count() > 0);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.dying.is_empty() && self.mailbox.is_empty() && self.talks.is_empty()
    }
}
