//! Placement groups that the head knows.

use crate::directory::actors::Asker;
use crate::directory::buried::Buried;
use crate::directory::request::{CreateGroup, FullName};
use crate::id::{GroupId, Life};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits for room, with this ticket.
    Waiting(u64),
    /// Its bundles are there, in their order.
    Placed(Vec<Life>),
    /// A node that held one has ended; the others are still held.
    Lost { life: Life, hosts: Vec<Life> },
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) create: Arc<CreateGroup>,
    pub(super) standing: Standing,
    pub(super) asker: Option<Asker>,
}

impl Group {
    /// Its place among all that wait, if it does.
    pub(super) fn ticket(&self) -> Option<u64> {
        match self.standing {
            Standing::Waiting(ticket) => Some(ticket),
            Standing::Placed(_) | Standing::Lost { .. } => None,
        }
    }

    pub(super) fn hosts(&self) -> &[Life] {
        match &self.standing {
            Standing::Waiting(_) => &[],
            Standing::Placed(hosts) | Standing::Lost { hosts, .. } => hosts,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) all: BTreeMap<GroupId, Group>,
    pub(super) names: BTreeMap<FullName, GroupId>,
    pub(super) gone: Buried<GroupId, ()>,
    /// Those that wait, by their tickets.
    pub(super) waiting: BTreeMap<u64, GroupId>,
}

impl Groups {
    pub(super) fn insert(&mut self, create: Arc<CreateGroup>, ticket: u64) {
        let id = create.group;
        if let Some(name) = &create.name {
            self.names.insert(name.clone(), id);
        }
        self.waiting.insert(ticket, id);
        self.all.insert(id, Group { create, standing: Standing::Waiting(ticket), asker: None });
    }

    pub(super) fn remove(&mut self, id: GroupId) -> Option<Group> {
        let group = self.all.remove(&id)?;
        if let Some(name) = &group.create.name {
            self.names.remove(name);
        }
        if let Standing::Waiting(ticket) = group.standing {
            self.waiting.remove(&ticket);
        }
        self.gone.bury(id, ());
        Some(group)
    }

    /// The groups of one owner that end with it.
    pub(super) fn owned_by(&self, life: Life) -> Vec<GroupId> {
        let (first, last) = (GroupId { life, serial: 0 }, GroupId { life, serial: u64::MAX });
        self.all.range(first..=last).filter(|(_, group)| !group.create.detached).map(|(id, _)| *id).collect()
    }

    /// A life ended: groups that had a bundle there have lost it.
    pub(super) fn lose(&mut self, life: Life) {
        for group in self.all.values_mut().filter(|group| group.hosts().contains(&life)) {
            group.standing = Standing::Lost { life, hosts: group.hosts().to_vec() };
        }
    }
}
