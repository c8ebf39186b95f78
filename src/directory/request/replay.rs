//! What a head that starts makes of its journal's records.

use crate::clock::Moment;
use crate::directory::actors::{Actors, Phase, Waiting};
use crate::directory::message::How;
use crate::directory::record::Record;
use crate::directory::request::{Gone, LifeEnd, Saved};
use crate::directory::state::{Directory, Keeps};
use crate::id::{ActorId, GroupId, Life, Placement};
use crate::schedule::Strategy;

impl Directory {
    pub(in crate::directory) fn replay(&mut self, record: Record) {
        match record {
            Record::Began { life, join } => self.lives.insert(life, &join, Keeps::Lease),
            Record::NodeEnded { life, why } => self.replay_end(life, why),
            Record::Spawned { spawn } => {
                let need = spawn.needs.of(&spawn.kind, Some(spawn.constructor));
                self.insert_actor(spawn, need);
            }
            Record::Placed { actor, placement, host, restarts, bundle } => {
                self.replay_unplaced(actor, placement, restarts);
                self.replay_placed(actor, host, bundle);
            }
            Record::Unplaced { actor, placement, restarts } => self.replay_unplaced(actor, placement, restarts),
            Record::Hosted { actor } => {
                let Some(actor) = self.actors.all.get_mut(&actor) else { return };
                if let Phase::Placing(host) = actor.phase {
                    actor.phase = Phase::Running(host);
                }
            }
            Record::Claimed { actor, life } => self.moves_into(actor, life),
            Record::Checkpointed { actor, placement, number, state } => {
                self.save(actor, Saved { placement, number, state });
            }
            Record::Ending { actor, how, why } => {
                if let Some(actor) = self.actors.all.get_mut(&actor) {
                    actor.ending = Some((how, why));
                }
            }
            Record::Gone { actor, why } => {
                if self.forget_actor(actor, &why).is_none() {
                    self.actors.ended.bury(actor, why);
                }
            }
            Record::Grouped { create } => self.insert_group(create),
            Record::GroupPlaced { group, hosts } => self.settle_group(group, &hosts),
            Record::Entrusted { object, to } => self.trusts.insert(object, to),
            Record::Withdrawn { object } => _ = self.trusts.remove(object),
            Record::GroupGone { group: id } => {
                match self.groups.remove(id) {
                    Some(group) => self.remove_bundles(id, &group),
                    None => self.lives.close_bundles(id),
                }
                self.replay_group_end(id);
            }
            Record::Given { life } => self.lives.begin_after(life),
            Record::GroupHeld { group, hosts } => self.hold_group(group, &hosts),
            Record::GroupBuried { group } => self.groups.gone.bury(group, ()),
            Record::Closing { group, index, host, total } => {
                if let Some(living) = self.lives.get_mut(host) {
                    living.room.add_bundle((group, index), &total);
                }
            }
        }
    }

    fn replay_placed(&mut self, id: ActorId, host: Life, bundle: Option<u32>) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        actor.phase = Phase::Placing(host);
        let mut need = (*actor.need).clone();
        if let Strategy::Bundle { index, .. } = &mut need.strategy {
            *index = bundle.or(*index);
        }
        self.occupy(host, id, &need);
    }

    /// It leaves where it was: its host no longer had it, or it was nowhere.
    fn replay_unplaced(&mut self, id: ActorId, placement: Placement, restarts: u32) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        actor.placement = placement;
        actor.restarts_left = restarts;
        let (seat, need) = (actor.seat(), actor.need.clone());
        (actor.phase, actor.keeper) = (Phase::Unplaced(0), None);
        if let Some(seat) = seat {
            self.leave_seat(seat, id, &need);
        }
    }

    fn replay_group_end(&mut self, id: GroupId) {
        for actor in self.actors.within(id) {
            self.replay_ending(actor, Gone::GroupRemoved { group: id });
        }
    }

    /// It is to be killed; at once where nothing was made yet.
    fn replay_ending(&mut self, id: ActorId, why: Gone) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        if actor.host().is_none() {
            self.forget_actor(id, &why);
        } else if actor.ending.is_none() {
            actor.ending = Some((How::Kill, why));
        }
    }

    /// What follows from a life's end is journaled after it, but perhaps no longer was: so it is done here too, and the
    /// records of it then find it done.
    fn replay_end(&mut self, life: Life, why: LifeEnd) {
        let Some(ended) = self.lives.remove(life) else { return };
        self.trusts.end_life(life);
        for id in self.groups.owned_by(life) {
            if let Some(group) = self.groups.remove(id) {
                self.remove_bundles(id, &group);
                self.replay_group_end(id);
            }
        }
        self.lose_bundles(life);
        for id in Actors::of_spawner(&self.actors.all, life) {
            if self.actors.all.get(&id).is_some_and(|actor| !actor.spawn.detached) {
                self.replay_ending(id, Gone::OwnerEnded { life });
            }
        }
        for id in ended.hosted {
            let Some(actor) = self.actors.all.get_mut(&id) else { continue };
            if actor.may_be_placed_again() {
                let (placement, restarts) = (actor.placement, actor.restarts_left - 1);
                self.replay_unplaced(id, placement, restarts);
            } else {
                self.forget_actor(id, &Gone::NodeEnded { life, why });
            }
        }
    }

    /// All records are read: every life counts as heard now, none is known, and what is unplaced waits in line.
    pub(in crate::directory) fn replayed(&mut self, now: Moment) {
        for (life, _) in self.lives.iter() {
            self.leases.heard(now, life);
        }
        for (id, actor) in &mut self.actors.all {
            actor.shared = true;
            if matches!(actor.phase, Phase::Unplaced(_)) {
                actor.phase = Phase::Unplaced(self.actors.lines.enter(&actor.need, Waiting::Actor(*id)));
            }
        }
    }
}
