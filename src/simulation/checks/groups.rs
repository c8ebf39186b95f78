//! Placement groups, from the head's record to their removal: all of one or nothing, no bundle twice, and none elsewhere
//! before its node has ended.

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
    /// Where they were and, last, are.
    placed: Vec<Vec<Life>>,
    /// It stays when its owner ends.
    detached: bool,
    gone: bool,
}

/// Every group there was, as the head's disk has it.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: BTreeMap<GroupId, Group>,
    /// Of which bundle an actor takes its CPU.
    within: BTreeMap<ActorId, Bundle>,
    told: Vec<GroupId>,
    ended: BTreeSet<Life>,
    placed: u64,
    moved: u64,
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

    /// Whether bundles may be elsewhere: those whose node has ended.
    fn may_move(&self, to: &[Life], ended: &BTreeSet<Life>) -> bool {
        let last = self.placed.last().into_iter().flatten().zip(to);
        let stays = last.clone().all(|(before, after)| before == after || ended.contains(before));
        stays && (self.placed.is_empty() || last.clone().any(|(before, after)| before != after))
    }

    /// Whether a bundle is on a life, or was until that ended.
    fn holds(&self, index: usize, life: Life) -> bool {
        self.placed.iter().any(|hosts| hosts.get(index) == Some(&life))
    }
}

impl Groups {
    /// The head's disk has it.
    pub(crate) fn on_disk(&mut self, record: &Record) -> Checked {
        match record {
            Record::Grouped { create } => {
                let bundles = create.bundles.iter().map(cpus).collect();
                let (packing, detached) = (create.packing, create.detached);
                let fresh = Group { bundles, packing, placed: Vec::new(), detached, gone: false };
                self.all.entry(create.group).or_insert(fresh);
            }
            Record::GroupPlaced { group: id, hosts } => {
                let Some(group) = self.all.get_mut(id) else {
                    return hold(false, Rule::AllOrNothing, || format!("{id} is placed, and was never made"));
                };
                let lives = !hosts.iter().any(|host| self.ended.contains(host));
                let sound = lives && group.is_whole(hosts) && group.may_move(hosts, &self.ended) && !group.gone;
                hold(sound, Rule::AllOrNothing, || format!("{id} is placed on {hosts:?}, and is {group:?}"))?;
                self.moved += u64::from(!group.placed.is_empty());
                group.placed.push(hosts.clone());
                self.placed += 1;
            }
            Record::GroupGone { group } => self.goes(*group),
            // What follows for its groups is on record after it, but perhaps no longer was.
            Record::NodeEnded { life, .. } => {
                self.ended.insert(*life);
                let owned = self.all.iter().filter(|(id, group)| id.life == *life && !group.detached);
                owned.map(|(id, _)| *id).collect::<Vec<_>>().into_iter().for_each(|id| self.goes(id));
            }
            _ => {}
        }
        Ok(())
    }

    fn goes(&mut self, id: GroupId) {
        self.told.retain(|told| *told != id);
        if let Some(group) = self.all.get_mut(&id) {
            group.gone = true;
        }
    }

    /// User code is told where a group is.
    pub(crate) fn told(&mut self, id: GroupId, hosts: &[Life]) -> Checked {
        let group = self.all.get(&id);
        let was = |group: &Group| group.placed.iter().any(|placed| placed == hosts);
        hold(group.is_some_and(was), Rule::AllOrNothing, || {
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
            for (size, index) in group.bundles.iter().zip(0..).filter(|(_, index)| group.holds(*index, life)) {
                let used = inside.remove(&(*id, index as u32)).unwrap_or(0);
                hold(used <= *size, Rule::Q1, || format!("{used} actors are in bundle {index} of {id}: {group:?}"))?;
                all += if used > 0 || !group.gone { *size } else { 0 };
            }
        }
        hold(inside.is_empty(), Rule::AllOrNothing, || {
            format!("on life {life} actors are in bundles that are not: {inside:?}")
        })?;
        Ok(all)
    }

    /// How often one was placed, and how often bundles of one were placed again.
    pub(crate) fn count(&self) -> (u64, u64) {
        (self.placed, self.moved)
    }
}
