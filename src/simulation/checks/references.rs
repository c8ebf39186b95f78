//! R1 to R4: objects, by what refers to them anywhere, and by the lives through whose hands they went.
//!
//! A reference is a handle of another node than the owner's, or an occurrence in a packet. An owner's own handles keep their
//! object by themselves, so that it cannot be freed under them.

use super::{Checked, Rule, hold};
use crate::id::{Life, ObjectId};
use crate::node::core::refs::Loss;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
struct Object {
    freed: bool,
    /// Occurrences in packets that were encoded and have not arrived.
    travelling: u64,
    /// How many entries each life has of it.
    holders: BTreeMap<Life, u32>,
    /// The lives that had it, sent it or were sent it, itself or an object that it was in.
    involved: BTreeSet<Life>,
}

/// Every object there was.
#[derive(Debug, Default)]
pub(crate) struct References {
    objects: BTreeMap<ObjectId, Object>,
    over: BTreeSet<Life>,
    /// Objects that were not freed and whose owners live.
    kept: usize,
    lost: u64,
}

impl References {
    /// An owner has it.
    pub(crate) fn puts(&mut self, id: ObjectId) {
        let involved = BTreeSet::from([id.life]);
        self.objects.insert(id, Object { involved, ..Object::default() });
        self.kept += usize::from(!self.over.contains(&id.life));
    }

    /// It is in a packet.
    pub(crate) fn leaves(&mut self, id: ObjectId, from: Life, to: Life) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.travelling += 1;
            object.involved.extend([from, to]);
        }
    }

    /// The packet was never sent.
    pub(crate) fn stays(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.travelling = object.travelling.saturating_sub(1);
        }
    }

    /// The packet is there.
    pub(crate) fn arrives(&mut self, id: ObjectId) -> Checked {
        let travelling = self.objects.get_mut(&id).map(|object| &mut object.travelling).filter(|many| **many > 0);
        hold(travelling.is_some(), Rule::R3, || format!("a reference to {id} arrives that was not sent"))?;
        travelling.into_iter().for_each(|many| *many -= 1);
        Ok(())
    }

    /// A life has an entry of it.
    pub(crate) fn held(&mut self, id: ObjectId, by: Life) {
        if let Some(object) = self.objects.get_mut(&id) {
            *object.holders.entry(by).or_default() += 1;
            object.involved.insert(by);
        }
    }

    /// That entry is gone, or is known as lost.
    pub(crate) fn let_go(&mut self, id: ObjectId, by: Life) {
        if let Some(object) = self.objects.get_mut(&id)
            && let Some(entries) = object.holders.get_mut(&by)
        {
            *entries -= 1;
            if *entries == 0 {
                object.holders.remove(&by);
            }
        }
    }

    /// A life reads it out of an object: whoever had that had this.
    pub(crate) fn read(&mut self, id: ObjectId, outer: ObjectId, by: Life) {
        let through = self.objects.get(&outer).map(|outer| outer.involved.clone()).unwrap_or_default();
        if let Some(object) = self.objects.get_mut(&id) {
            object.involved.extend(through);
            object.involved.insert(by);
        }
    }

    /// Its owner has dropped it.
    pub(crate) fn freed(&mut self, id: ObjectId) -> Checked {
        let Some(object) = self.objects.get_mut(&id) else { return Ok(()) };
        hold(!object.freed, Rule::R3, || format!("{id} is freed twice"))?;
        object.freed = true;
        self.kept -= usize::from(!self.over.contains(&id.life));
        let unneeded = object.travelling == 0 && object.holders.is_empty();
        hold(unneeded || object.involved.iter().any(|life| self.over.contains(life)), Rule::R1, || {
            format!("{id} is freed, and lives that have not ended refer to it: {object:?}")
        })
    }

    /// A life is told that it is lost.
    pub(crate) fn lost(&mut self, id: ObjectId, to: Life, loss: Loss) -> Checked {
        self.lost += 1;
        let Some(object) = self.objects.get(&id) else { return Ok(()) };
        let why = match loss {
            Loss::OwnerDied => self.over.contains(&id.life),
            Loss::Gone => object.involved.iter().any(|life| self.over.contains(life)),
        };
        hold(why, Rule::R4, || format!("life {to} is told of {id} that {loss}, and that is not so: {object:?}"))
    }

    /// All is quiet, and a life holds this as one that is not lost.
    pub(crate) fn is_there(&self, id: ObjectId, by: Life) -> Checked {
        let there = self.objects.get(&id).is_some_and(|object| !object.freed) && !self.over.contains(&id.life);
        hold(there, Rule::R4, || format!("{id} is gone, and life {by} that holds it was not told"))
    }

    /// A life is over.
    pub(crate) fn over(&mut self, life: Life) {
        if self.over.insert(life) {
            let (first, last) = (ObjectId { life, serial: 0 }, ObjectId { life, serial: u64::MAX });
            self.kept -= self.objects.range(first..=last).filter(|(_, object)| !object.freed).count();
        }
    }

    /// Objects that are kept by owners that live.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// No handle is left anywhere, and all is quiet.
    pub(crate) fn all_freed(&self) -> Checked {
        let left = |(id, object): &(&ObjectId, &Object)| !object.freed && !self.over.contains(&id.life);
        let left: Vec<_> = self.objects.iter().filter(left).take(4).collect();
        hold(left.is_empty(), Rule::R2, || format!("{} objects are never freed: {left:?}", self.kept))
    }

    pub(crate) fn count(&self) -> usize {
        self.objects.len()
    }

    /// How often a life was told that something is lost.
    pub(crate) fn losses(&self) -> u64 {
        self.lost
    }
}
