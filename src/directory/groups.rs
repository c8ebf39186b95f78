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
}

impl Groups {
    /// Those that wait, by their tickets.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u64, GroupId)> {
        self.all.iter().filter_map(|(id, group)| match group.standing {
            Standing::Waiting(ticket) => Some((ticket, *id)),
            Standing::Placed(_) | Standing::Lost { .. } => None,
        })
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
