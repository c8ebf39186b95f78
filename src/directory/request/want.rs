//! `Want`: an owner says how many slots it could use for one class of its tasks, those that it has included. It replaces
//! what it said before of that class. Grants come as orders, which survive a change of session, when [`allot`] finds room.
//!
//! [`allot`]: super::allot

use crate::directory::grants::{Claim, ClaimId};
use crate::directory::message::{Command, RequestId};
use crate::directory::request::{ActorType, Asked, Needs, SpawnError};
use crate::directory::state::{Directory, Effects};
use crate::id::{GrantId, GroupId, Key, Life, NodeId};
use crate::limits::{CLAIMS, GRANT_ORDERS, GRANTS, NAME_BYTES, TASK_CLASSES};
use crate::schedule::resources::is_name;
use crate::schedule::{Class, Requirement, Resources, Why};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A task's function: advertised as a type whose constructors are the keys of the signatures that it is called with.
pub type TaskKind = ActorType;

/// How many slots an owner could use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The owner's number for tasks of this function and these needs.
    pub class: Class,
    /// The function.
    pub kind: TaskKind,
    /// The key of its signature.
    pub signature: Key,
    /// What one slot takes.
    pub needs: Needs,
    /// Slots in all; zero for no more.
    pub slots: u32,
    /// Among the classes of one owner the highest is served first, and lower ones give their slots back for it: the
    /// priority of the first task that waits, zero if none does.
    pub priority: i32,
    /// What if there is no node for it.
    pub patience: Patience,
}

/// What becomes of demand that no node can meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Patience {
    /// It waits for nodes to come.
    Wait,
    /// It is refused, and forgotten; by a head that succeeds another only once its nodes have had a lease to come back in.
    #[default]
    Fail,
}

impl Patience {
    /// Whether it is what it is if nothing is said.
    pub(super) fn is_default(&self) -> bool {
        *self == Patience::Fail
    }
}

/// What is to be expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prospect {
    /// Grants come as soon as it is this owner's turn; or nothing is wanted.
    Soon,
    /// It waits, for this reason.
    Waits(WantError),
}

/// Why less is granted than wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum WantError {
    /// No node has the function.
    #[error(
        "no node was compiled with the task `{name}` ({asked}): add `use its_crate as _;` to a worker's program, and `mobula::register!` it there if it is generic, or start a worker that has it"
    )]
    UnknownTask {
        /// The function.
        name: Arc<str>,
        /// The nodes asked.
        asked: Asked,
    },
    /// Nodes have it with another signature.
    #[error(
        "no node has the task `{name}` with this signature ({asked}): build workers and callers from the same sources"
    )]
    OtherSignature {
        /// The function.
        name: Arc<str>,
        /// The nodes asked.
        asked: Asked,
    },
    /// The node it was to run on is no member.
    #[error("the node {0} is no member of the cluster")]
    NotThere(NodeId),
    /// There is no such placement group, or no such bundle in it.
    #[error("placement group {0} was removed, or has no such bundle")]
    NoGroup(GroupId),
    /// Nodes have it, and there is no room, or never will be.
    #[error(transparent)]
    Unplaced(#[from] Why),
    /// Not allowed.
    #[error("a task's name has 1 to {NAME_BYTES} bytes, and a node has at most {TASK_CLASSES} classes of tasks")]
    Invalid,
    /// The head does not speak as its node does.
    #[error("the head answered something else than was asked: run the same version of mobula on head and node")]
    Nonsense,
}

impl WantError {
    /// Whether only another node, or nothing, can change it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            WantError::Unplaced(why) => why.is_final(),
            WantError::UnknownTask { .. } | WantError::OtherSignature { .. } => true,
            WantError::NotThere(_) | WantError::NoGroup(_) | WantError::Invalid | WantError::Nonsense => true,
        }
    }
}

impl WantError {
    /// Whether it would be otherwise with another node.
    fn nodes_may_change(&self) -> bool {
        !matches!(self, WantError::NoGroup(_) | WantError::Invalid | WantError::Nonsense)
    }
}

impl From<SpawnError> for WantError {
    fn from(error: SpawnError) -> WantError {
        match error {
            SpawnError::UnknownType { type_name: name, asked } => WantError::UnknownTask { name, asked },
            SpawnError::UnknownConstructor { type_name: name, asked } => WantError::OtherSignature { name, asked },
            SpawnError::NotThere(node) => WantError::NotThere(node),
            SpawnError::NoGroup(group) => WantError::NoGroup(group),
            SpawnError::Unplaced { why, .. } => WantError::Unplaced(why),
            _ => WantError::Invalid,
        }
    }
}

/// The order by which an owner gets a grant. It ends with the life of either, or when its last slot is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Its number: rises, and is never reused.
    pub grant: GrantId,
    /// For which class.
    pub class: Class,
    /// On which life ..
    pub life: Life,
    /// .. of which node.
    pub node: NodeId,
    /// How many tasks may run there at once.
    pub slots: u32,
    /// What one slot takes.
    pub size: Resources,
    /// Of which bundle it takes that.
    pub bundle: Option<(GroupId, u32)>,
}

impl Directory {
    pub(in crate::directory) fn want(
        &mut self,
        life: Life,
        request: RequestId,
        want: Want,
    ) -> Result<Prospect, WantError> {
        let id = (life, want.class);
        let of_owner = (life, Class(0))..=(life, Class(u32::MAX));
        let too_many = || self.grants.claims.range(of_owner).count() >= CLAIMS;
        if !is_name(&want.kind.name) || (!self.grants.claims.contains_key(&id) && too_many()) {
            return Err(WantError::Invalid);
        }
        if self.grants.claims.get(&id).is_some_and(|claim| claim.asked > request) {
            return Ok(Prospect::Soon);
        }
        self.grants.due = true;
        let need = Arc::new(want.needs.of(&want.kind, Some(want.signature)));
        let lack = if want.slots == 0 { None } else { self.lack(&need, &want.kind.name) };
        let fails = |lack: &WantError| lack.is_final() && want.patience == Patience::Fail;
        let refused = lack.clone().filter(|lack| fails(lack) && !(lack.nodes_may_change() && self.expects_nodes()));
        let wanted = (want.slots > 0 && refused.is_none()).then_some(want);
        let claim = self.grants.claims.entry(id).or_insert_with(|| Claim::new(need.clone()));
        (claim.asked, claim.want, claim.need, claim.why) = (request, wanted, need, lack.clone());
        self.weigh(id);
        match (refused, lack) {
            (Some(refused), _) => Err(refused),
            (None, Some(lack)) => Ok(Prospect::Waits(lack)),
            (None, None) => Ok(Prospect::Soon),
        }
    }

    /// Why nothing can be granted for this need now.
    pub(super) fn lack(&self, need: &Requirement, name: &Arc<str>) -> Option<WantError> {
        if let Err(error) = self.placeable(need, name) {
            return Some(error.into());
        }
        let why = need.best(self.lives.offers(need)).err()?;
        // One that is silent may come back.
        let is_away = why.is_final() && self.lives.anyone_holds(need);
        Some(WantError::Unplaced(if is_away { Why::NoNode } else { why }))
    }

    pub(super) fn weigh(&mut self, id: ClaimId) {
        let lines = &mut self.actors.lines;
        self.grants.weigh(id, || lines.ticket());
    }

    /// Whether an owner may get orders about grants: it is heard, and obeys those that it got.
    pub(super) fn obeys(&self, owner: Life) -> bool {
        self.lives
            .get(owner)
            .is_some_and(|living| living.is_heard() && living.orders.len() < GRANT_ORDERS && living.held.len() < GRANTS)
    }

    /// Gives an owner slots on a node, if they are free there.
    pub(super) fn lend(
        &mut self,
        id: ClaimId,
        host: Life,
        bundle: Option<(GroupId, u32)>,
        slots: u32,
        effects: &mut Effects,
    ) -> bool {
        let Some(size) = self.grants.claims.get(&id).map(|claim| claim.need.resources.clone()) else { return false };
        let Some(living) = self.lives.get_mut(host) else { return false };
        if !living.room.take_slots(&size, slots, bundle) {
            return false;
        }
        let (node, grant, (owner, class)) = (living.join.node, self.grants.next(), id);
        let (since, confirmed) = (self.grants.now, true);
        let granted = Granted { grant, class, life: host, node, slots, size: size.clone(), bundle };
        self.insert_grant(
            grant,
            crate::directory::grants::Grant {
                owner,
                class,
                host,
                bundle,
                size,
                slots,
                keep: slots,
                since,
                confirmed,
                over: false,
            },
        );
        self.order(owner, Command::Grant(granted), effects);
        true
    }
}

impl Claim {
    pub(super) fn new(need: Arc<Requirement>) -> Claim {
        Claim { want: None, need, asked: RequestId(0), ticket: 0, grants: BTreeSet::new(), kept: 0, why: None }
    }
}

#[cfg(test)]
mod tests;
