//! Who is overtaken, and which rooms are kept for whom ([`elders`](crate::directory::elders)).

use crate::directory::elders::RoomId;
use crate::directory::groups::{Group, Missing};
use crate::directory::request::allot::Look;
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life};
use crate::limits::HUNGRY_COUNTED;
use crate::schedule::{Requirement, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// For what a room is kept.
pub(super) enum Kept<'a> {
    /// One actor, or one slot of a class.
    Slot(&'a Requirement),
    /// The bundles of a group that wait.
    Bundles(&'a Missing),
}

impl Directory {
    /// An actor that came at this ticket has its room, for as long as it lives.
    pub(super) fn stays(&mut self, id: ActorId, life: Life, need: &Requirement, ticket: u64) {
        let bundle = self.lives.get(life).and_then(|living| living.room.bundle_of(id));
        if !need.resources.is_empty() {
            self.overtake((life, bundle), ticket);
        }
    }

    /// Something that came at this ticket stays in a room: those who came before and could have used it are overtaken.
    pub(super) fn overtake(&mut self, room: RoomId, ticket: u64) {
        let (lines, hungry, groups) = (&self.actors.lines, &self.grants.hungry, &self.groups);
        let Some(living) = self.lives.get(room.0) else { return };
        if lines.is_empty() && hungry.is_empty() && groups.waiting.is_empty() {
            return;
        }
        let actors = lines.heads().filter(|(elder, need)| *elder < ticket && living.suits(room, need));
        let claims = hungry
            .range(..ticket)
            .take(HUNGRY_COUNTED)
            .filter(|(_, id)| self.grants.claims.get(id).is_some_and(|claim| living.suits(room, &claim.need)));
        let groups = groups.waiting.range(..ticket).filter(|(_, id)| {
            let fits = |group: &Group| group.missing().fits_in(&living.join.resources);
            room.1.is_none() && groups.all.get(id).is_some_and(fits)
        });
        let elders = claims.map(|(elder, _)| *elder).chain(groups.map(|(elder, _)| *elder));
        for elder in actors.map(|(elder, _)| elder).chain(elders).collect::<Vec<u64>>() {
            self.grants.due |= self.elders.overtaken(elder);
        }
    }

    /// These rooms are kept from now on. What waits goes to those that are no longer kept for the same elder.
    pub(super) fn keep_rooms(&mut self, kept: BTreeMap<RoomId, u64>, effects: &mut Effects) {
        let changes = self.elders.keep(kept);
        for ((life, bundle), _, elder) in &changes {
            if let Some(living) = self.lives.get_mut(*life) {
                living.room.keep(*bundle, *elder);
            }
        }
        let free = changes.iter().filter(|(_, before, _)| before.is_some()).map(|((life, _), ..)| *life);
        for life in free.collect::<BTreeSet<Life>>() {
            self.fill(life, effects);
        }
    }
}

impl Look<'_> {
    /// Finds rooms for an elder that has none yet: those that it keeps first, if it may keep some.
    pub(super) fn keep(&mut self, ticket: u64, what: &Kept<'_>) -> Vec<usize> {
        let Some(more) = self.head.elders.keeps(ticket) else { return Vec::new() };
        self.looked = self.looked.saturating_add(self.rooms.len() as u32);
        let all = match what {
            Kept::Slot(need) => need.resources.clone(),
            Kept::Bundles(missing) => missing.bundles.iter().fold(Resources::none(), |sum, bundle| sum.and(bundle)),
        };
        let suits = |at: &usize| {
            self.rooms[*at].kept.is_none()
                && match what {
                    Kept::Slot(need) => self.suits(need, *at),
                    Kept::Bundles(missing) => {
                        self.rooms[*at].is_node() && missing.fits_in(&self.rooms[*at].join.resources)
                    }
                }
        };
        let lacks = |at: usize| all.beyond(&self.rooms[at].soon.and(&self.recallable(at))).dominant_share(&all);
        let mut rooms: Vec<(u64, usize)> = (0..self.rooms.len()).filter(suits).map(|at| (lacks(at), at)).collect();
        rooms.sort_unstable();
        let mut rooms: Vec<usize> = rooms.into_iter().map(|(_, at)| at).collect();
        let Some(enough) = self.enough(what, &rooms) else { return Vec::new() };
        rooms.truncate(enough + more);
        rooms.iter().for_each(|at| self.rooms[*at].kept = Some(ticket));
        rooms
    }

    /// How many of these rooms would hold it, were they empty.
    fn enough(&self, what: &Kept<'_>, rooms: &[usize]) -> Option<usize> {
        let Kept::Bundles(missing) = what else { return rooms.first().map(|_| 1) };
        let holds = |few: usize| {
            let mut empty: Vec<_> =
                rooms[..few].iter().map(|at| (self.rooms[*at].life, self.rooms[*at].join.resources.clone())).collect();
            empty.sort_by_key(|(life, _)| *life);
            missing.place(&empty).is_some()
        };
        let doubled = std::iter::successors(Some(1), |few| Some(few * 2)).take_while(|few| *few < rooms.len());
        doubled.chain([rooms.len()]).find(|few| holds(*few))
    }
}
