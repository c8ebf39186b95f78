//! Placement groups that the head knows.

use crate::directory::actors::Asker;
use crate::directory::buried::Buried;
use crate::directory::request::{CreateGroup, FullName};
use crate::id::{GroupId, Life};
use crate::schedule::bundles::{Free, Holder, Packing};
use crate::schedule::{Resources, Why};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) create: Arc<CreateGroup>,
    /// Where each bundle is; none while it waits for room: at first all of them, later those whose node has ended.
    hosts: Vec<Option<Life>>,
    /// Its place among all that wait, if it does.
    ticket: Option<u64>,
    pub(super) asker: Option<Asker>,
    /// Why what is missing is on no node, as of the last look; none while there is room, or nobody has looked.
    pub(super) why: Option<Why>,
}

/// The bundles of a group that wait for room, and where the others are.
#[derive(Debug)]
pub(super) struct Missing {
    packing: Packing,
    pub(super) bundles: Vec<Resources>,
    held: Vec<Life>,
}

impl Missing {
    /// The node of each, if all can be placed on these nodes, which come in the order of their lives.
    pub(super) fn place(&self, nodes: &[Free]) -> Option<Vec<Life>> {
        self.packing.place_beside(&self.held, &self.bundles, nodes)
    }

    /// Why they are placed nowhere, which find no room on these nodes now.
    pub(super) fn why(&self, nodes: &[Holder]) -> Why {
        self.packing.why(&self.held, &self.bundles, nodes)
    }

    /// Whether any of them would fit.
    pub(super) fn fits_in(&self, total: &Resources) -> bool {
        self.bundles.iter().any(|bundle| total.lacks(bundle).is_none())
    }
}

impl Group {
    pub(super) fn ticket(&self) -> Option<u64> {
        self.ticket
    }

    /// Where each bundle is, if it is anywhere.
    pub(super) fn hosts(&self) -> &[Option<Life>] {
        &self.hosts
    }

    /// Where all bundles are; none while any waits.
    pub(super) fn whole(&self) -> Option<Vec<Life>> {
        self.hosts.iter().copied().collect()
    }

    /// What a life has of it.
    pub(super) fn held_by(&self, life: Life) -> impl Iterator<Item = &Resources> {
        let all = self.hosts.iter().zip(&self.create.bundles);
        all.filter(move |(host, _)| **host == Some(life)).map(|(_, bundle)| bundle)
    }

    pub(super) fn missing(&self) -> Missing {
        let all = self.hosts.iter().zip(&self.create.bundles);
        let bundles = all.filter(|(host, _)| host.is_none()).map(|(_, bundle)| bundle.clone()).collect();
        Missing { packing: self.create.packing, bundles, held: self.hosts.iter().flatten().copied().collect() }
    }

    /// The same with its missing bundles on these lives, in their order.
    pub(super) fn with(&self, missing: Vec<Life>) -> Vec<Life> {
        let mut missing = missing.into_iter();
        self.hosts.iter().filter_map(|host| host.or_else(|| missing.next())).collect()
    }
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) all: BTreeMap<GroupId, Group>,
    pub(super) names: BTreeMap<FullName, GroupId>,
    pub(super) gone: Buried<GroupId, ()>,
    /// Those that wait, by their tickets.
    pub(super) waiting: BTreeMap<u64, GroupId>,
    /// Those that came until then were looked at, of so many that some are left for the next look; else zero.
    pub(super) looked: u64,
    /// Something has changed since the first of these were.
    pub(super) again: bool,
}

impl Groups {
    pub(super) fn insert(&mut self, create: Arc<CreateGroup>, ticket: u64) {
        let (id, hosts) = (create.group, vec![None; create.bundles.len()]);
        if let Some(name) = &create.name {
            self.names.insert(name.clone(), id);
        }
        self.waiting.insert(ticket, id);
        self.all.insert(id, Group { create, hosts, ticket: Some(ticket), asker: None, why: None });
    }

    pub(super) fn remove(&mut self, id: GroupId) -> Option<Group> {
        let group = self.all.remove(&id)?;
        if let Some(name) = &group.create.name {
            self.names.remove(name);
        }
        if let Some(ticket) = group.ticket {
            self.waiting.remove(&ticket);
        }
        self.gone.bury(id, ());
        Some(group)
    }

    /// Some of its bundles are placed, and the others wait. Gives the placed ones as [`Groups::settle`] does.
    pub(super) fn hold(&mut self, id: GroupId, hosts: &[Option<Life>]) -> Vec<(u32, Life, Resources)> {
        let Some(group) = self.all.get_mut(&id) else { return Vec::new() };
        let mut new = Vec::new();
        for ((place, host), (bundle, index)) in
            group.hosts.iter_mut().zip(hosts).zip(group.create.bundles.iter().zip(0..))
        {
            *place = *host;
            new.extend(host.map(|host| (index, host, bundle.clone())));
        }
        new
    }

    /// All its bundles are placed. Gives those that were not before: the number of each, its node and what it holds.
    pub(super) fn settle(&mut self, id: GroupId, hosts: &[Life]) -> Vec<(u32, Life, Resources)> {
        let Some(group) = self.all.get_mut(&id) else { return Vec::new() };
        group.why = None;
        if let Some(ticket) = group.ticket.take() {
            self.waiting.remove(&ticket);
        }
        let mut new = Vec::new();
        for ((place, host), (bundle, index)) in
            group.hosts.iter_mut().zip(hosts).zip(group.create.bundles.iter().zip(0..))
        {
            if place.replace(*host).is_none() {
                new.push((index, *host, bundle.clone()));
            }
        }
        new
    }

    /// Those that came until then were looked at; all of them, if that is zero. Whether to begin anew.
    pub(super) fn looked_until(&mut self, ticket: u64) -> bool {
        self.looked = ticket;
        ticket == 0 && std::mem::take(&mut self.again)
    }

    /// The groups of one owner that end with it.
    pub(super) fn owned_by(&self, life: Life) -> Vec<GroupId> {
        let (first, last) = (GroupId { life, serial: 0 }, GroupId { life, serial: u64::MAX });
        self.all.range(first..=last).filter(|(_, group)| !group.create.detached).map(|(id, _)| *id).collect()
    }

    /// A life ended: bundles that were there wait for another place. Gives whether there are any.
    pub(super) fn lose(&mut self, life: Life, mut ticket: impl FnMut() -> u64) -> bool {
        let mut any = false;
        for (id, group) in self.all.iter_mut().filter(|(_, group)| group.hosts.contains(&Some(life))) {
            any = true;
            group.hosts.iter_mut().filter(|host| **host == Some(life)).for_each(|host| *host = None);
            if group.ticket.is_none() {
                let ticket = ticket();
                group.ticket = Some(ticket);
                self.waiting.insert(ticket, *id);
            }
        }
        any
    }
}
