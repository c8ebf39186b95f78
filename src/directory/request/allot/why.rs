//! Why what was looked at gets nothing: what `status` shows, and who waits is told.

use crate::directory::grants::ClaimId;
use crate::directory::lives::Living;
use crate::directory::message::News;
use crate::directory::request::WantError;
use crate::directory::state::{Directory, Effects};
use crate::id::{GroupId, Life};
use crate::schedule::Why;
use crate::schedule::bundles::Holder;

impl Directory {
    /// Why a claim lacks slots: what nodes lack, or why it was blocked if it was.
    pub(super) fn explain(&mut self, id: ClaimId, blocked: Option<Why>) {
        let Some(claim) = self.grants.claims.get(&id) else { return };
        let Some(want) = &claim.want else { return };
        let lack = self.lack(&claim.need, &want.kind.name);
        let why = match blocked {
            _ if lack.as_ref().is_some_and(WantError::is_final) => lack,
            Some(behind @ Why::Outranked(_)) => Some(WantError::Unplaced(behind)),
            _ if lack.is_some() => lack,
            // What takes nothing is bounded all the same.
            Some(_) if !claim.need.resources.is_empty() => Some(WantError::Unplaced(Why::Kept)),
            blocked => blocked.map(WantError::Unplaced),
        };
        if let Some(claim) = self.grants.claims.get_mut(&id) {
            claim.why = why;
        }
    }

    /// Why a group that finds no room waits. Who asked for it is told what has changed.
    pub(in crate::directory::request) fn explain_group(&mut self, id: GroupId, effects: &mut Effects) {
        let why = self.why_ungrouped(id);
        let Some(group) = self.groups.all.get_mut(&id) else { return };
        if group.why == why {
            return;
        }
        group.why = why;
        self.tell_why(id, effects);
    }

    /// Tells who asked for a group why it waits.
    pub(in crate::directory::request) fn tell_why(&mut self, id: GroupId, effects: &mut Effects) {
        let Some(group) = self.groups.all.get(&id) else { return };
        if let (Some(asker), Some(why)) = (group.asker, group.why.clone()) {
            self.tell(asker.life, News::Waits { request: asker.request, why }, effects);
        }
    }

    fn why_ungrouped(&self, id: GroupId) -> Option<Why> {
        let group = self.groups.all.get(&id)?;
        let hosts = self.lives.iter().filter(|(_, living)| living.join.hosts);
        let holder = |(life, living): (Life, &Living)| {
            let mut total = living.join.resources.clone();
            group.held_by(life).for_each(|bundle| total.take(bundle));
            Holder { life, total, free: living.room.free().clone(), open: living.open() }
        };
        let nodes: Vec<Holder> = hosts.map(holder).collect();
        Some(group.missing().why(&nodes))
    }
}
