//! What user code does with placement groups: it makes them, puts actors into their bundles, removes them.

use super::load::cpus;
use super::node::Node;
use super::requests::Purpose;
use super::stage::Stage;
use crate::directory::request::{CreateGroup, Grouped, Needs, Patience, RemoveGroup};
use crate::id::{ActorId, GroupId};
use crate::schedule::{Packing, Strategy};

impl Node {
    /// User code makes a group, or removes one: its own or another's.
    pub(super) fn groups(&mut self, stage: &mut Stage) {
        let usable = stage.groups.usable();
        if !usable.is_empty() && stage.user.one_in(3) {
            let group = usable[stage.user.index(usable.len())];
            return self.removes_group(stage, group);
        }
        let Some(ActorId { life, serial }) = self.next_actor() else { return };
        let packings = [Packing::Pack, Packing::Spread, Packing::StrictPack, Packing::StrictSpread];
        let create = CreateGroup {
            group: GroupId { life, serial },
            bundles: (0..1 + stage.user.index(3)).map(|_| cpus(1 + stage.user.below(2))).collect(),
            packing: packings[stage.user.index(packings.len())],
            name: None,
            detached: stage.user.one_in(2),
            patience: Patience::Fail,
        };
        self.ask(stage, create, Purpose::Group);
    }

    pub(super) fn removes_group(&mut self, stage: &mut Stage, group: GroupId) {
        stage.groups.removes(group);
        self.ask(stage, RemoveGroup { group }, Purpose::Report);
    }

    pub(super) fn grouped(&mut self, stage: &mut Stage, group: GroupId, grouped: &Grouped) {
        let told = stage.groups.told(group, &grouped.hosts);
        stage.check(told);
    }

    /// Room is made: no group stands in the way.
    pub(super) fn removes_all_groups(&mut self, stage: &mut Stage) {
        let own = self.groups_asked_for();
        for group in stage.groups.standing().into_iter().chain(own) {
            self.removes_group(stage, group);
        }
    }
}

/// A CPU of a bundle, if there is a group.
pub(super) fn in_a_bundle(stage: &mut Stage, actor: ActorId) -> Option<Needs> {
    let count = stage.groups.usable().len();
    let group = *stage.groups.usable().get(stage.user.index(count.max(1)))?;
    let index = stage.user.index(stage.groups.bundles(group)) as u32;
    stage.groups.wants(actor, (group, index));
    stage.takers.insert(actor);
    let strategy = Strategy::Bundle { group, index: Some(index) };
    Some(Needs { resources: cpus(1), strategy, ..Needs::default() })
}
