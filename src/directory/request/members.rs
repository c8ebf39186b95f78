//! Membership: each change is a version. Members are told changes, or everyone when they are too far behind.

use crate::clock::Moment;
use crate::directory::message::{Members, News};
use crate::directory::request::{Boot, LifeEnd};
use crate::directory::state::{Directory, Effects};
use crate::id::{Life, NodeId};
use crate::limits::{MEMBER_CHANGES, MEMBERS_PAUSE};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its life.
    pub life: Life,
    /// Its node's id.
    pub node: NodeId,
    /// The boot of its machine.
    pub boot: Boot,
    /// Its process id on that machine.
    pub process: u32,
    /// Its machine's name, for people.
    pub host_name: Arc<str>,
    /// Whether actors may be placed on it.
    pub hosts: bool,
    /// Where it may be dialled; none for one that only dials.
    pub addresses: Vec<Arc<str>>,
    /// Whether it is silent.
    pub suspect: bool,
}

/// Everyone, at a version.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version.
    pub version: u64,
    /// The living. Lives up to `last` that are not among them have ended.
    pub members: Vec<Arc<Member>>,
    /// The last life given.
    pub last: Life,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A life began.
    Joined(Arc<Member>),
    /// It is silent: no proof of anything.
    Suspect(Life),
    /// It is heard again.
    Back(Life),
    /// It has ended.
    Ended {
        /// Which.
        life: Life,
        /// Of which node.
        node: NodeId,
        /// Why.
        why: LifeEnd,
    },
}

/// The changes of this reign: the last of them, to be told to members.
#[derive(Debug)]
pub(in crate::directory) struct MemberLog {
    version: u64,
    changes: VecDeque<Change>,
    pushed_version: u64,
    pushed_at: Moment,
}

/// Version 1 is what the journal told, so that a node that knows nothing of this reign is told everything.
impl Default for MemberLog {
    fn default() -> MemberLog {
        MemberLog { version: 1, changes: VecDeque::new(), pushed_version: 1, pushed_at: Moment(0) }
    }
}

impl MemberLog {
    pub(in crate::directory) fn log(&mut self, change: Change) {
        self.version += 1;
        self.changes.push_back(change);
        if self.changes.len() > MEMBER_CHANGES {
            self.changes.pop_front();
        }
    }

    pub(in crate::directory) fn version(&self) -> u64 {
        self.version
    }

    /// What follows `after`, unless that is forgotten or was never told.
    fn since(&self, after: u64) -> Option<Vec<Change>> {
        let behind = usize::try_from(self.version.checked_sub(after)?).ok()?;
        let skip = self.changes.len().checked_sub(behind)?;
        Some(self.changes.iter().skip(skip).cloned().collect())
    }

    pub(in crate::directory) fn why_ended(&self, ended: Life) -> Option<LifeEnd> {
        self.changes.iter().rev().find_map(|change| match change {
            Change::Ended { life, why, .. } if *life == ended => Some(*why),
            _ => None,
        })
    }

    /// When changes not yet pushed are to be.
    pub(in crate::directory) fn push_due(&self) -> Option<Moment> {
        (self.pushed_version < self.version).then(|| self.pushed_at + MEMBERS_PAUSE)
    }
}

impl Directory {
    pub(in crate::directory) fn snapshot(&self) -> Snapshot {
        let members = self.lives.iter().map(|(_, living)| living.member().clone()).collect();
        Snapshot { version: self.members.version(), members, last: self.lives.last() }
    }

    /// Tells a life what its door was not told yet.
    pub(in crate::directory) fn catch_up(&mut self, life: Life, effects: &mut Effects) {
        let version = self.members.version();
        let Some(living) = self.lives.get_mut(life) else { return };
        if living.told == version || !living.known {
            return;
        }
        let after = std::mem::replace(&mut living.told, version);
        let news = match self.members.since(after) {
            Some(changes) => Members::Changes { after, changes },
            None => Members::All(self.snapshot()),
        };
        self.tell(life, News::Members(news), effects);
    }

    /// Tells everyone, if that is due.
    pub(in crate::directory) fn push_members(&mut self, now: Moment, effects: &mut Effects) {
        if self.members.push_due().is_some_and(|due| due <= now) {
            self.push_members_now(now, effects);
        }
    }

    pub(in crate::directory) fn push_members_now(&mut self, now: Moment, effects: &mut Effects) {
        self.members.pushed_version = self.members.version;
        self.members.pushed_at = now;
        let with_door: Vec<Life> =
            self.lives.iter().filter(|(_, living)| living.door.is_some()).map(|(life, _)| life).collect();
        for life in with_door {
            self.catch_up(life, effects);
        }
    }
}
