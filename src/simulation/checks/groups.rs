//! Placement groups, from the head's record to their removal: all of one or nothing, and no bundle twice.

use super::{Checked, Rule, hold};
use crate::directory::Record;
use crate::id::{ActorId, GroupId, Life};
use crate::schedule::{Amount, Packing, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// A bundle of a group.
pub(crate) type Bundle = (GroupId, u32);

#[derive(Debug)]
struct Group {
    /// CPUs of each bundle.
    bundles: Vec<u64>,
    packing: Packing,
    hosts: Vec<Life>,
    gone: bool,
}

/// Every group there was, as the head's disk has it.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: BTreeMap<GroupId, Group>,
    /// Of which bundle an actor takes its CPU.
    within: BTreeMap<ActorId, Bundle>,
    told: Vec<GroupId>,
    placed: u64,
}

fn cpus(of: &Resources) -> u64 {
    of.get("cpu").as_ten_thousandths() / Amount::ONE.as_ten_thousandths()
}

impl Group {
    fn is_whole(&self, hosts: &[Life]) -> bool {
        let different = hosts.iter().collect::<BTreeSet<_>>().len();
        let packed = match self.packing {
            Packing::Pack | Packing::Spread => true,
            Packing::StrictPack => different == 1,
            Packing::StrictSpread => different == hosts.len(),
        };
        packed && hosts.len() == self.bundles.len()
    }
}

impl Groups {
    /// The head's disk has it.
    pub(crate) fn on_disk(&mut self, record: &Record) -> Checked {
        match record {
            Record::Grouped { create } => {
                let bundles = create.bundles.iter().map(cpus).collect();
                let fresh = Group { bundles, packing: create.packing, hosts: Vec::new(), gone: false };
                self.all.entry(create.group).or_insert(fresh);
            }
            Record::GroupPlaced { group: id, hosts } => {
                let Some(group) = self.all.get_mut(id) else {
                    return hold(false, Rule::AllOrNothing, || format!("{id} is placed, and was never made"));
                };
                let sound = group.is_whole(hosts) && group.hosts.is_empty() && !group.gone;
                hold(sound, Rule::AllOrNothing, || format!("{id} is placed on {hosts:?}, and is {group:?}"))?;
                group.hosts.clone_from(hosts);
                self.placed += 1;
            }
            Record::GroupGone { group } => {
                self.told.retain(|told| told != group);
                if let Some(group) = self.all.get_mut(group) {
                    group.gone = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// User code is told where a group is.
    pub(crate) fn told(&mut self, id: GroupId, hosts: &[Life]) -> Checked {
        let group = self.all.get(&id);
        hold(group.is_some_and(|group| group.hosts == hosts), Rule::AllOrNothing, || {
            format!("{id} is said to be on {hosts:?}, and is {group:?}")
        })?;
        if group.is_some_and(|group| !group.gone) {
            self.told.push(id);
        }
        Ok(())
    }

    /// Groups that user code may use.
    pub(crate) fn usable(&self) -> &[GroupId] {
        &self.told
    }

    /// User code removes it.
    pub(crate) fn removes(&mut self, id: GroupId) {
        self.told.retain(|told| *told != id);
    }

    /// Bundles of a group.
    pub(crate) fn bundles(&self, id: GroupId) -> usize {
        self.all.get(&id).map_or(0, |group| group.bundles.len())
    }

    /// An actor takes a CPU of this bundle, wherever it is placed.
    pub(crate) fn wants(&mut self, actor: ActorId, bundle: Bundle) {
        self.within.insert(actor, bundle);
    }

    pub(crate) fn is_within(&self, actor: ActorId) -> bool {
        self.within.contains_key(&actor)
    }

    /// All that are not removed.
    pub(crate) fn standing(&self) -> Vec<GroupId> {
        self.all.iter().filter(|(_, group)| !group.gone).map(|(id, _)| *id).collect()
    }

    /// CPUs that bundles take of a life where these actors run: a removed one goes with its last actor. None may hold more
    /// than it has, and nobody be in one that is elsewhere.
    pub(crate) fn taken(&self, life: Life, actors: impl Iterator<Item = ActorId>) -> Checked<u64> {
        let mut inside = BTreeMap::<Bundle, u64>::new();
        for bundle in actors.filter_map(|actor| self.within.get(&actor)) {
            *inside.entry(*bundle).or_insert(0) += 1;
        }
        let mut all = 0;
        for (id, group) in &self.all {
            for ((host, size), index) in group.hosts.iter().zip(&group.bundles).zip(0..) {
                let used = if *host == life { inside.remove(&(*id, index)).unwrap_or(0) } else { 0 };
                hold(used <= *size, Rule::Q1, || format!("{used} actors are in bundle {index} of {id}: {group:?}"))?;
                all += if *host == life && (used > 0 || !group.gone) { *size } else { 0 };
            }
        }
        hold(inside.is_empty(), Rule::AllOrNothing, || {
            format!("on life {life} actors are in bundles that are not: {inside:?}")
        })?;
        Ok(all)
    }

    /// How often one was placed.
    pub(crate) fn count(&self) -> u64 {
        self.placed
    }
}
