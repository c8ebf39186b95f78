//! The state as records, for a journal that has grown long: a head that starts with these stands as one that starts with
//! all that led here. What nodes themselves know (grants, reservations, requests, orders) they tell it when they rejoin.

use crate::directory::actors::{Actor, Phase};
use crate::directory::groups::Group;
use crate::directory::record::Record;
use crate::directory::request::Saved;
use crate::directory::state::Directory;
use crate::id::{ActorId, GroupId, Life, Placement};
use std::collections::BTreeSet;

impl Directory {
    /// The state as records, in the order in which they are applied: nodes, what holds room on them, what is in that, and
    /// what is remembered.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut all = vec![Record::Given { life: self.lives.last() }];
        all.extend(self.lives.iter().map(|(life, living)| Record::Began { life, join: living.join.clone() }));
        let closing = self.closing_bundles(&mut all);
        self.group_records(&mut all);
        self.actors.all.iter().for_each(|(id, actor)| self.actor_records(*id, actor, &mut all));
        all.extend(self.groups.gone.iter().map(|(group, ())| Record::GroupBuried { group }));
        all.extend(closing.into_iter().map(|group| Record::GroupGone { group }));
        all.extend(self.actors.ended.iter().map(|(actor, why)| Record::Gone { actor, why: why.clone() }));
        all.extend(self.trusts.iter().map(|(object, to)| Record::Entrusted { object, to }));
        all
    }

    /// Bundles of groups that were removed, and those groups.
    fn closing_bundles(&self, all: &mut Vec<Record>) -> BTreeSet<GroupId> {
        let mut groups = BTreeSet::new();
        for (host, living) in self.lives.iter() {
            for ((group, index), total) in living.room.closing() {
                groups.insert(group);
                all.push(Record::Closing { group, index, host, total: total.clone() });
            }
        }
        groups
    }

    /// Those that wait come in the order in which they do.
    fn group_records(&self, all: &mut Vec<Record>) {
        let mut groups: Vec<(&GroupId, &Group)> = self.groups.all.iter().collect();
        groups.sort_by_key(|(_, group)| group.ticket());
        for (id, group) in groups {
            all.push(Record::Grouped { create: group.create.clone() });
            let hosts = group.hosts();
            match group.whole() {
                Some(hosts) => all.push(Record::GroupPlaced { group: *id, hosts }),
                None if hosts.iter().all(Option::is_none) => {}
                None => all.push(Record::GroupHeld { group: *id, hosts: hosts.to_vec() }),
            }
        }
    }

    fn actor_records(&self, id: ActorId, actor: &Actor, all: &mut Vec<Record>) {
        let (placement, restarts) = (actor.placement, actor.restarts_left);
        let bundle = actor.seat().and_then(|seat| self.bundle_of(seat.room, id));
        let placed = |host: Life| Record::Placed { actor: id, placement, host, restarts, bundle };
        let claimed = |life: Life| Record::Claimed { actor: id, life };
        all.push(Record::Spawned { spawn: actor.spawn.clone() });
        match actor.phase {
            Phase::Unplaced(_) if placement == Placement(0) && restarts == actor.spawn.restarts => {}
            Phase::Unplaced(_) => all.push(Record::Unplaced { actor: id, placement, restarts }),
            Phase::Placing(life) | Phase::Running(life) => match actor.keeper {
                None => all.push(placed(life)),
                Some(keeper) => all.extend([placed(keeper), claimed(life)]),
            },
        }
        if let Phase::Running(_) = actor.phase {
            all.push(Record::Hosted { actor: id });
        }
        if let Some(Saved { placement, number, state }) = actor.saved.clone() {
            all.push(Record::Checkpointed { actor: id, placement, number, state });
        }
        if let Some((how, why)) = actor.ending.clone() {
            all.push(Record::Ending { actor: id, how, why });
        }
    }
}

#[cfg(test)]
mod tests;
