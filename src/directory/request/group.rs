//! `CreateGroup` and `RemoveGroup`: bundles of resources on nodes chosen together, all or none, into which actors and tasks
//! are put by [`Strategy::Bundle`](crate::schedule::Strategy). A group that finds no room waits in line; one that no nodes
//! could hold, were they empty, is refused, unless it is to wait for such nodes.
//!
//! A group ends by `RemoveGroup`, or with the life that asked for it unless it is detached. As in Ray, that ends what is
//! in it: actors that the head knows are killed, grants revoked. Ephemeral actors are their spawner's, who ends them.
//!
//! The end of a node that holds bundles loses these: they wait for room once more, in line, and are placed again all of them
//! or none, beside the others as the group's packing asks for. What wants a bundle that is on no node waits for it.

use crate::directory::actors::{Asker, Want};
use crate::directory::elders::NEWEST;
use crate::directory::groups::Group;
use crate::directory::message::{How, Reply, RequestId};
use crate::directory::record::Record;
use crate::directory::request::{FullName, Gone, Patience, Revoked};
use crate::directory::state::{Directory, Effects};
use crate::id::{GroupId, Life};
use crate::limits::{GROUP_BUNDLES, GROUPS, NAME_BYTES};
use crate::schedule::resources::is_name;
use crate::schedule::{Packing, Resources, Why};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A group to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateGroup {
    /// Its id: of the asking life.
    pub group: GroupId,
    /// What each bundle holds; none is empty.
    pub bundles: Vec<Resources>,
    /// How they are placed.
    pub packing: Packing,
    /// The name it is to hold.
    pub name: Option<FullName>,
    /// Whether it outlives the life that asks.
    pub detached: bool,
    /// What becomes of it if no nodes could hold it, were they empty. Asked for once, when it is made.
    #[serde(default, skip_serializing_if = "Patience::is_default")]
    pub patience: Patience,
}

/// A group ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveGroup {
    /// Which.
    pub group: GroupId,
}

/// Where the bundles of a group are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouped {
    /// The node life of each bundle, in their order.
    pub hosts: Vec<Life>,
}

/// Why there is no group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Not allowed.
    #[error(
        "a placement group has 1 to {GROUP_BUNDLES} bundles, none of them empty, an id of the asking node's life, and a name of 1 to {NAME_BYTES} bytes"
    )]
    Invalid,
    /// Another group holds the name.
    #[error("the name {name} is taken by placement group {holder}")]
    NameTaken {
        /// The name.
        name: FullName,
        /// Who holds it.
        holder: GroupId,
    },
    /// The head holds as many as it can.
    #[error("the head holds {GROUPS} placement groups, as many as it can: remove some")]
    Full,
    /// No nodes could hold it.
    #[error(transparent)]
    Unplaced(#[from] Why),
    /// It was removed, or never was.
    #[error("there is no placement group {0}")]
    NotKnown(GroupId),
    /// No group has the name.
    #[error("no placement group is named `{0}`: it was not made, was removed, or is in another namespace")]
    NotNamed(Arc<str>),
}

impl CreateGroup {
    fn is_valid(&self, life: Life) -> bool {
        let named = |name: &FullName| is_name(&name.namespace) && is_name(&name.name);
        self.group.life == life
            && (1..=GROUP_BUNDLES).contains(&self.bundles.len())
            && !self.bundles.iter().any(Resources::is_empty)
            && self.name.as_ref().is_none_or(named)
    }
}

impl Directory {
    pub(in crate::directory) fn create_group(
        &mut self,
        life: Life,
        request: RequestId,
        create: CreateGroup,
        effects: &mut Effects,
    ) -> Option<Reply> {
        let id = create.group;
        let asker = Asker { life, request, want: Want::Grouped };
        if let Some(group) = self.groups.all.get_mut(&id) {
            group.asker = Some(asker);
            self.tell_why(id, effects);
            return self.grouped(id);
        }
        // Its maker asks again since no answer came: it has been made and removed meanwhile.
        if self.groups.gone.why(id).is_some() {
            return Some(Reply::Grouped(Err(GroupError::NotKnown(id))));
        }
        if let Err(error) = self.may_create(life, &create) {
            return Some(Reply::Grouped(Err(error)));
        }
        effects.journal(Record::Grouped { create: Arc::new(create.clone()) });
        self.insert_group(Arc::new(create));
        self.grants.due = true;
        if let Some(group) = self.groups.all.get_mut(&id) {
            group.asker = Some(asker);
        }
        match self.hosts_for(id) {
            Some(hosts) => {
                self.place_group(id, &hosts, effects);
                hosts.into_iter().for_each(|host| self.fill(host, effects));
            }
            None => self.explain_group(id, effects),
        }
        None
    }

    fn may_create(&self, life: Life, create: &CreateGroup) -> Result<(), GroupError> {
        if !create.is_valid(life) {
            return Err(GroupError::Invalid);
        }
        if let Some(name) = &create.name
            && let Some(holder) = self.groups.names.get(name)
        {
            return Err(GroupError::NameTaken { name: name.clone(), holder: *holder });
        }
        if self.groups.all.len() >= GROUPS {
            return Err(GroupError::Full);
        }
        let hosts = self.lives.iter().filter(|(_, living)| living.join.hosts);
        let empty: Vec<_> = hosts.map(|(life, living)| (life, living.join.resources.clone())).collect();
        match create.patience == Patience::Wait || !create.packing.never_fits(&create.bundles, &empty) {
            true => Ok(()),
            false => Err(Why::BundlesNeverFit(create.packing).into()),
        }
    }

    fn hosts_for(&self, id: GroupId) -> Option<Vec<Life>> {
        let group = self.groups.all.get(&id)?;
        let ticket = group.ticket().unwrap_or(NEWEST);
        let open = self.lives.iter().filter(|(_, living)| living.open());
        let free: Vec<_> = open.map(|(life, living)| (life, living.room.free_at(ticket).clone())).collect();
        group.missing().place(&free)
    }

    pub(super) fn insert_group(&mut self, create: Arc<CreateGroup>) {
        let ticket = self.actors.lines.ticket();
        self.groups.insert(create, ticket);
    }

    /// All bundles that are missing at once. What waits within them is placed by [`Directory::fill`], once all is taken that
    /// was decided together.
    pub(super) fn place_group(&mut self, id: GroupId, missing: &[Life], effects: &mut Effects) {
        let Some(group) = self.groups.all.get(&id) else { return };
        let (ticket, hosts) = (group.ticket().unwrap_or(NEWEST), group.with(missing.to_vec()));
        effects.journal(Record::GroupPlaced { group: id, hosts: hosts.clone() });
        self.settle_group(id, &hosts);
        missing.iter().for_each(|host| self.overtake((*host, None), ticket));
        let asker = self.groups.all.get_mut(&id).and_then(|group| group.asker.take());
        if let (Some(asker), Some(reply)) = (asker, self.grouped(id)) {
            self.answer(asker.life, asker.request, reply, effects);
        }
    }

    pub(super) fn settle_group(&mut self, id: GroupId, hosts: &[Life]) {
        let new = self.groups.settle(id, hosts);
        self.add_bundles(id, new);
    }

    pub(super) fn hold_group(&mut self, id: GroupId, hosts: &[Option<Life>]) {
        let new = self.groups.hold(id, hosts);
        self.add_bundles(id, new);
    }

    fn add_bundles(&mut self, id: GroupId, new: Vec<(u32, Life, Resources)>) {
        for (index, host, bundle) in new {
            if let Some(living) = self.lives.get_mut(host) {
                living.room.add_bundle((id, index), &bundle);
            }
        }
    }

    fn grouped(&self, id: GroupId) -> Option<Reply> {
        let Some(group) = self.groups.all.get(&id) else { return Some(Reply::Grouped(Err(GroupError::NotKnown(id)))) };
        Some(Reply::Grouped(Ok(Grouped { hosts: group.whole()? })))
    }

    /// Removing again changes nothing.
    pub(in crate::directory) fn remove_group(&mut self, id: GroupId, effects: &mut Effects) {
        let Some(group) = self.groups.remove(id) else { return };
        effects.journal(Record::GroupGone { group: id });
        if let Some(asker) = group.asker {
            let reply = Reply::Grouped(Err(GroupError::NotKnown(id)));
            self.answer(asker.life, asker.request, reply, effects);
        }
        for actor in self.actors.within(id) {
            self.end_actor(actor, How::Kill, Gone::GroupRemoved { group: id }, effects);
        }
        for grant in self.grants.within(id) {
            self.revoke(grant, Revoked::GroupRemoved(id), effects);
        }
        self.remove_bundles(id, &group);
        for host in group.hosts().iter().flatten() {
            self.fill(*host, effects);
        }
    }

    pub(super) fn remove_bundles(&mut self, id: GroupId, group: &Group) {
        for (host, index) in group.hosts().iter().zip(0..) {
            if let Some(living) = host.and_then(|host| self.lives.get_mut(host)) {
                living.room.remove_bundle((id, index));
            }
        }
    }

    /// A life ended: its groups end with it, and bundles that were there wait for another place.
    pub(in crate::directory) fn end_groups_of(&mut self, life: Life, effects: &mut Effects) {
        for group in self.groups.owned_by(life) {
            self.remove_group(group, effects);
        }
        self.lose_bundles(life);
        // What waits may wait for something else now.
        self.grants.due = true;
    }

    pub(super) fn lose_bundles(&mut self, life: Life) -> bool {
        let lines = &mut self.actors.lines;
        self.groups.lose(life, || lines.ticket())
    }
}

#[cfg(test)]
mod tests;
