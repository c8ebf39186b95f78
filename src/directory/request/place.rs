//! Placing: an actor is put on the best node or in line, its host makes it, those who wait for it are told; and the end of
//! all that.

use crate::directory::actors::{Actor, Asker, Phase, Waiting, Want};
use crate::directory::elders::NEWEST;
use crate::directory::message::{Command, How, News, Reply};
use crate::directory::record::Record;
use crate::directory::request::{FullName, Gone, Host, LocateError, Located, LookupError, Spawned};
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life};
use crate::schedule::Requirement;
use std::sync::Arc;

impl Directory {
    /// Puts an unplaced actor on the best node, or in line.
    pub(in crate::directory) fn put(&mut self, id: ActorId, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get(&id) else { return };
        let (need, of) = (actor.need.clone(), actor.asked_by());
        match need.best(self.lives.offers_at(&need, NEWEST, of)) {
            Ok(life) => self.place_on(id, life, NEWEST, effects),
            Err(why) => {
                let ticket = self.actors.lines.enter(&need, Waiting::Actor(id));
                self.grants.due = true;
                let Some(actor) = self.actors.all.get_mut(&id) else { return };
                actor.phase = Phase::Unplaced(ticket);
                let askers = actor.askers.clone();
                for asker in askers {
                    self.tell(asker.life, News::Waits { request: asker.request, why: why.clone() }, effects);
                }
            }
        }
    }

    /// Places one that came at this ticket.
    pub(super) fn place_on(&mut self, id: ActorId, life: Life, ticket: u64, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        actor.placement = actor.placement.next();
        (actor.phase, actor.keeper) = (Phase::Placing(life), None);
        let (placement, need) = (actor.placement, actor.need.clone());
        let restarts = actor.restarts_left;
        let host = Host { placement, restarts, spawn: actor.spawn.clone(), saved: actor.saved_state() };
        self.occupy(life, id, &need);
        let bundle = self.bundle_of(life, id);
        effects.journal(Record::Placed { actor: id, placement, host: life, restarts, bundle });
        self.stays(id, life, &need, ticket);
        self.order(life, Command::Host(host), effects);
    }

    pub(in crate::directory) fn occupy(&mut self, life: Life, id: ActorId, need: &Requirement) {
        if let Some(living) = self.lives.get_mut(life)
            && living.hosted.insert(id)
        {
            living.room.take_for(id, need);
        }
    }

    /// In which bundle of its group an actor is there.
    pub(super) fn bundle_of(&self, life: Life, id: ActorId) -> Option<u32> {
        self.lives.get(life).and_then(|living| living.room.bundle_of(id)).map(|(_, index)| index)
    }

    pub(in crate::directory) fn vacate(&mut self, life: Life, id: ActorId, need: &Requirement) {
        if let Some(living) = self.lives.get_mut(life)
            && (living.hosted.remove(&id) || living.reserved.remove(&id) || living.isolated.remove(&id))
        {
            living.room.give_for(id, need);
        }
    }

    /// The reply to one who waits for this actor to be made, or none until it is.
    pub(in crate::directory) fn await_actor(&mut self, id: ActorId, asker: Asker) -> Option<Reply> {
        let actor = self.actors.all.get(&id)?;
        if let Some(reply) = self.arrived(id, actor, asker.want) {
            return Some(reply);
        }
        if let Some(actor) = self.actors.all.get_mut(&id) {
            actor.askers.push(asker);
        }
        if let Some(living) = self.lives.get_mut(asker.life) {
            living.answers.waits_for(asker.request, id);
        }
        None
    }

    fn arrived(&self, id: ActorId, actor: &Actor, want: Want) -> Option<Reply> {
        let Phase::Running(life) = actor.phase else { return None };
        let (placement, node) = (actor.placement, self.lives.get(life)?.join.node);
        let spawned = || Spawned { actor: id, placement, life, node, detached: actor.spawn.detached };
        match want {
            Want::Spawned => Some(Reply::Spawned(Ok(spawned()))),
            Want::Found => Some(Reply::Found(Ok(spawned()))),
            Want::Located { after } if placement > after => Some(Reply::Located(Ok(Located { placement, life, node }))),
            Want::Located { .. } | Want::Ended | Want::Chosen | Want::Grouped => None,
        }
    }

    /// The host has made it: who waited for that is told.
    pub(in crate::directory) fn made(&mut self, id: ActorId, life: Life, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        actor.phase = Phase::Running(life);
        effects.journal(Record::Hosted { actor: id });
        let askers = std::mem::take(&mut actor.askers);
        let mut waiting = Vec::new();
        for asker in askers {
            let reply = self.actors.all.get(&id).and_then(|actor| self.arrived(id, actor, asker.want));
            match reply {
                Some(reply) => self.answer(asker.life, asker.request, reply, effects),
                None => waiting.push(asker),
            }
        }
        if let Some(actor) = self.actors.all.get_mut(&id) {
            actor.askers = waiting;
        }
    }

    /// Ends an actor: at once where nothing was made yet, else by its host, which reports it.
    pub(in crate::directory) fn end_actor(&mut self, id: ActorId, how: How, why: Gone, effects: &mut Effects) {
        let Some(actor) = self.actors.all.get_mut(&id) else { return };
        let Some(host) = actor.host() else { return self.gone(id, why, effects) };
        if actor.ending.as_ref().is_some_and(|(under_way, _)| *under_way >= how) {
            return;
        }
        actor.ending = Some((how, why.clone()));
        let placement = actor.placement;
        effects.journal(Record::Ending { actor: id, how, why: why.clone() });
        self.order(host, Command::End { actor: id, placement, how, why }, effects);
    }

    /// It has ended: name and resources are free, who waited is told.
    pub(in crate::directory) fn gone(&mut self, id: ActorId, why: Gone, effects: &mut Effects) {
        effects.journal(Record::Gone { actor: id, why: why.clone() });
        let outlasts = self.outlasts(id);
        let Some(actor) = self.forget_actor(id, &why) else { return };
        let seat = actor.seat();
        if let Some((host, reservation)) = outlasts {
            self.stays_taken(id, host, reservation);
        }
        for asker in actor.askers {
            self.answer(asker.life, asker.request, farewell(asker.want, &actor.spawn.name, &why), effects);
        }
        if let Some(seat) = seat {
            self.fill(seat.room, effects);
        }
    }

    pub(in crate::directory) fn forget_actor(&mut self, id: ActorId, why: &Gone) -> Option<Actor> {
        let actor = self.actors.remove(id)?;
        if let Phase::Unplaced(ticket) = actor.phase {
            self.actors.lines.leave(&actor.need, ticket);
        }
        if let Some(seat) = actor.seat() {
            self.leave_seat(seat, id, &actor.need);
        }
        self.actors.ended.bury(id, why.clone());
        Some(actor)
    }
}

fn farewell(want: Want, name: &Option<FullName>, why: &Gone) -> Reply {
    let name = || name.as_ref().map_or_else(|| Arc::from(""), |name| name.name.clone());
    match want {
        Want::Spawned | Want::Chosen => Reply::Spawned(Err(why.clone().into_spawn_error())),
        Want::Found => Reply::Found(Err(LookupError::NotFound(name()))),
        Want::Located { .. } => Reply::Located(Err(LocateError::Ended(why.clone()))),
        Want::Ended | Want::Grouped => Reply::Ended(Ok(why.clone())),
    }
}
