//! `Choose`: nodes for an ephemeral actor, which its spawner then makes there itself. Without resources the answer names
//! several and holds until membership changes, so that such spawns cost no round trip each; with resources it names one, on
//! which they are reserved until the actor's end is reported.

use crate::directory::actors::{Asker, Reservation, Waiting, Want};
use crate::directory::elders::{ELDEST, NEWEST};
use crate::directory::message::{News, Reply, RequestId};
use crate::directory::request::{ActorType, Invalid, Needs, Patience, SpawnError};
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Epoch, Key, Life, NodeId, Placement};
use crate::limits::{CANDIDATES, DIRECTORY_ACTORS};
use crate::schedule::resources::is_name;
use crate::schedule::{Requirement, Why};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Nodes for an ephemeral actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choose {
    /// The actor, of the asking life: what is reserved is reserved for it.
    pub actor: ActorId,
    /// Its type.
    pub kind: ActorType,
    /// Which constructor makes it.
    pub constructor: Key,
    /// What its node must have.
    pub needs: Needs,
    /// What if there is no node for it.
    pub patience: Patience,
}

/// Where it may be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The version of membership for which this holds.
    pub members: u64,
    /// Best first; never empty.
    pub candidates: Vec<Candidate>,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its life.
    pub life: Life,
    /// Its id.
    pub node: NodeId,
    /// How much of what has no resources it should get beside the others: its CPUs, at least one.
    pub weight: u32,
    /// The head that chose it. A node that has told a later one what is there takes nothing more that is reserved by this.
    pub epoch: Epoch,
}

/// Why there is no node.
pub type ChooseError = SpawnError;

impl Directory {
    pub(in crate::directory) fn choose(
        &mut self,
        life: Life,
        request: RequestId,
        choose: Choose,
        effects: &mut Effects,
    ) -> Option<Reply> {
        let refused = |error: SpawnError| Some(Reply::Chosen(Err(error)));
        if choose.actor.life != life {
            return refused(Invalid::Id.into());
        }
        if !is_name(&choose.kind.name) {
            return refused(Invalid::Name.into());
        }
        let need = choose.needs.of(&choose.kind, Some(choose.constructor));
        if let Err(error) = self.may_wait(&need, &choose.kind.name, choose.patience) {
            return refused(error);
        }
        if need.resources.is_empty()
            && let Some(candidates) = self.candidates(&need, life)
        {
            return Some(Reply::Chosen(Ok(Chosen { members: self.members.version(), candidates })));
        }
        self.reserve(Asker { life, request, want: Want::Chosen }, &choose, need, effects)
    }

    fn candidates(&self, need: &Requirement, of: Life) -> Option<Vec<Candidate>> {
        let lives = need.all(self.lives.offers_at(need, ELDEST, Some(of)));
        let candidates: Vec<Candidate> =
            lives.into_iter().take(CANDIDATES).filter_map(|life| self.candidate(life)).collect();
        (!candidates.is_empty()).then_some(candidates)
    }

    fn candidate(&self, life: Life) -> Option<Candidate> {
        let join = &self.lives.get(life)?.join;
        let cpus = join.resources.get("cpu").as_ten_thousandths() / 10_000;
        let (weight, epoch) = (u32::try_from(cpus).unwrap_or(u32::MAX).max(1), self.config.reign.epoch);
        Some(Candidate { life, node: join.node, weight, epoch })
    }

    fn reserve(&mut self, asker: Asker, choose: &Choose, need: Requirement, effects: &mut Effects) -> Option<Reply> {
        let id = choose.actor;
        if let Some(reservation) = self.actors.reservations.get_mut(&id) {
            let place = reservation.place;
            reservation.asker = Some(asker);
            return self.chosen(place.ok()?);
        }
        if self.actors.reservations.len() >= DIRECTORY_ACTORS {
            return Some(Reply::Chosen(Err(SpawnError::Full)));
        }
        let (need, name) = (Arc::new(need), choose.kind.name.clone());
        let best: Result<Life, Why> = need.best(self.lives.offers_at(&need, NEWEST, Some(id.life)));
        match best {
            Ok(host) => {
                self.hold(id, host, &need);
                self.stays(id, host, &need, NEWEST);
                self.actors.reservations.insert(id, Reservation::at(host, need, name));
                self.chosen(host)
            }
            Err(why) => {
                if choose.patience == Patience::Fail
                    && let Err(never) = self.may_come(&need, &why)
                {
                    return Some(Reply::Chosen(Err(never)));
                }
                let ticket = self.actors.lines.enter(&need, Waiting::Reservation(id));
                self.grants.due = true;
                let (place, placement, of) = (Err(ticket), Placement::BY_SPAWNER, Some(asker));
                self.actors.reservations.insert(id, Reservation { need, name, place, placement, asker: of });
                self.tell(asker.life, News::Waits { request: asker.request, why }, effects);
                None
            }
        }
    }

    /// Room came up for one that waited since this ticket. One without resources waited for any node, and holds nothing.
    pub(super) fn reserve_on(&mut self, id: ActorId, host: Life, ticket: u64, effects: &mut Effects) {
        let Some(reservation) = self.actors.reservations.get_mut(&id) else { return };
        reservation.place = Ok(host);
        let (asker, need) = (reservation.asker.take(), reservation.need.clone());
        if need.resources.is_empty() {
            self.actors.reservations.remove(&id);
        } else {
            self.hold(id, host, &need);
            self.stays(id, host, &need, ticket);
        }
        if let (Some(asker), Some(reply)) = (asker, self.chosen(host)) {
            self.answer(asker.life, asker.request, reply, effects);
        }
    }

    pub(in crate::directory) fn hold(&mut self, id: ActorId, host: Life, need: &Requirement) {
        if let Some(living) = self.lives.get_mut(host)
            && living.reserved.insert(id)
        {
            living.room.take_for(id, need);
        }
    }

    fn chosen(&self, host: Life) -> Option<Reply> {
        let candidates = vec![self.candidate(host)?];
        Some(Reply::Chosen(Ok(Chosen { members: self.members.version(), candidates })))
    }
}
