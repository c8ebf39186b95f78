//! What a node knows of the others: its copy of the membership, and the fence of lives (PROTOCOLS §2): a peer whose life has
//! ended, or whose node has begun a later one, is refused.

use crate::directory::message::Members;
use crate::directory::request::{Change, Member, Snapshot};
use crate::id::{Life, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The living, at a version of one reign.
#[derive(Clone, Debug, Default)]
pub struct KnownLives {
    version: u64,
    last: Life,
    living: BTreeMap<Life, Arc<Member>>,
    by_node: BTreeMap<NodeId, Life>,
}

/// Whether lives have ended that may be known here: [`KnownLives::has_ended`] says which. There is no list of them: many
/// may have begun and ended unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departures {
    /// None has.
    None,
    /// Some have.
    Some,
}

/// Changes are missing between what is known and what was told: the session with the head must be opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the head told of changes after version {told}, but only version {known} is known")]
pub struct Gap {
    /// What is known.
    pub known: u64,
    /// After which version the changes come.
    pub told: u64,
}

/// Why a peer's session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The life has ended.
    #[error("life {0} has ended")]
    Ended(Life),
    /// Another node lives it.
    #[error("life {0} is another node's")]
    Foreign(Life),
    /// Its node lives a later one.
    #[error("life {life} is over: its node now lives {now}")]
    Superseded {
        /// The life it claims.
        life: Life,
        /// The later one.
        now: Life,
    },
}

impl KnownLives {
    /// The version known.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A member by its life.
    #[must_use]
    pub fn get(&self, life: Life) -> Option<&Arc<Member>> {
        self.living.get(&life)
    }

    /// The life that a node lives.
    #[must_use]
    pub fn of_node(&self, node: NodeId) -> Option<Life> {
        self.by_node.get(&node).copied()
    }

    /// One of those that host actors, are well, and of which `may` says so: `serial` chooses.
    #[must_use]
    pub fn host(&self, serial: u64, may: impl Fn(&Life) -> bool) -> Option<Life> {
        let fit = self.iter().filter(|member| member.hosts && !member.suspect && may(&member.life));
        let fit: Vec<Life> = fit.map(|member| member.life).collect();
        let index = usize::try_from(serial).unwrap_or(0).checked_rem(fit.len())?;
        fit.get(index).copied()
    }

    /// Everyone, in the order of their lives.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.living.values()
    }

    /// Whether a life has ended, as far as is known.
    #[must_use]
    pub fn has_ended(&self, life: Life) -> bool {
        life <= self.last && !self.living.contains_key(&life)
    }

    /// Whether a peer that proved to be `node` may speak as `life`. A life above all that are known is let in: its node
    /// joined a moment ago.
    ///
    /// # Errors
    /// The life has ended, is another node's, or is lower than another of that node.
    pub fn admit(&self, node: NodeId, life: Life) -> Result<(), Unfit> {
        if self.is_anothers(node, life) {
            return Err(Unfit::Foreign(life));
        }
        match self.by_node.get(&node) {
            Some(now) if *now > life => Err(Unfit::Superseded { life, now: *now }),
            _ if self.has_ended(life) => Err(Unfit::Ended(life)),
            _ => Ok(()),
        }
    }

    /// Whether a life is above all that are known.
    #[must_use]
    pub fn is_unseen(&self, life: Life) -> bool {
        life > self.last
    }

    /// Whether the head has given this life to another node.
    #[must_use]
    pub fn is_anothers(&self, node: NodeId, life: Life) -> bool {
        self.living.get(&life).is_some_and(|member| member.node != node)
    }

    /// The versions of an earlier reign mean nothing in a new one: its head tells everyone anew.
    pub fn new_reign(&mut self) {
        self.version = 0;
    }

    /// Takes over what the head told.
    ///
    /// # Errors
    /// Changes are missing in between; nothing is taken over.
    pub fn learn(&mut self, members: Members) -> Result<Departures, Gap> {
        match members {
            Members::All(snapshot) => Ok(self.replace(snapshot)),
            Members::Changes { after, changes } => {
                let known = self.version;
                let skip = known.checked_sub(after).ok_or(Gap { known, told: after })?;
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                let ended = changes.into_iter().skip(skip).filter(|change| self.change(change.clone())).count();
                Ok(if ended > 0 { Departures::Some } else { Departures::None })
            }
        }
    }

    fn replace(&mut self, snapshot: Snapshot) -> Departures {
        let before = std::mem::take(&mut self.living);
        self.by_node.clear();
        for member in snapshot.members {
            self.by_node.insert(member.node, member.life);
            self.living.insert(member.life, member);
        }
        // A peer may have been met before the head told of it, and have ended before the head told all anew.
        let unseen = self.last != Life(0) && snapshot.last > self.last;
        (self.version, self.last) = (snapshot.version, self.last.max(snapshot.last));
        let gone = before.keys().any(|life| !self.living.contains_key(life));
        if gone || unseen { Departures::Some } else { Departures::None }
    }

    /// Whether a life has ended with it.
    fn change(&mut self, change: Change) -> bool {
        self.version += 1;
        match change {
            Change::Joined(member) => {
                self.last = self.last.max(member.life);
                self.by_node.insert(member.node, member.life);
                self.living.insert(member.life, member);
            }
            Change::Suspect(life) => self.set_suspect(life, true),
            Change::Back(life) => self.set_suspect(life, false),
            Change::Ended { life, node, .. } => {
                if self.by_node.get(&node) == Some(&life) {
                    self.by_node.remove(&node);
                }
                return self.living.remove(&life).is_some();
            }
        }
        false
    }

    fn set_suspect(&mut self, life: Life, suspect: bool) {
        if let Some(member) = self.living.get_mut(&life) {
            Arc::make_mut(member).suspect = suspect;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::request::{Boot, LifeEnd};

    fn member(life: u64, node: u8) -> Arc<Member> {
        Arc::new(Member {
            life: Life(life),
            node: NodeId([node; 32]),
            boot: Boot::default(),
            process: 1,
            host_name: "host".into(),
            hosts: true,
            addresses: Vec::new(),
            suspect: false,
        })
    }

    fn all(version: u64, members: Vec<Arc<Member>>, last: u64) -> Members {
        Members::All(Snapshot { version, members, last: Life(last) })
    }

    #[test]
    fn a_life_that_ended_or_was_superseded_is_refused_and_a_newer_one_let_in() {
        let mut known = KnownLives::default();
        assert_eq!(known.learn(all(7, vec![member(2, 1), member(5, 2)], 5)), Ok(Departures::None));
        assert_eq!(known.admit(NodeId([1; 32]), Life(2)), Ok(()));
        assert_eq!(known.admit(NodeId([1; 32]), Life(1)), Err(Unfit::Superseded { life: Life(1), now: Life(2) }));
        assert_eq!(known.admit(NodeId([3; 32]), Life(3)), Err(Unfit::Ended(Life(3))));
        assert_eq!(known.admit(NodeId([3; 32]), Life(6)), Ok(()));
        for other in [1, 3] {
            assert_eq!(known.admit(NodeId([other; 32]), Life(5)), Err(Unfit::Foreign(Life(5))), "node 2 lives it");
        }
        let (life, node, why) = (Life(2), NodeId([1; 32]), LifeEnd::Left);
        let changes = vec![Change::Suspect(Life(5)), Change::Ended { life, node, why }];
        assert_eq!(known.learn(Members::Changes { after: 7, changes }), Ok(Departures::Some));
        assert!(known.has_ended(life) && !known.has_ended(Life(5)));
        assert_eq!(known.admit(node, life), Err(Unfit::Ended(life)));
        assert!(known.get(Life(5)).unwrap().suspect);
        assert_eq!(known.version(), 9);
    }

    #[test]
    fn changes_told_twice_count_once_and_missing_ones_are_noticed() {
        let mut known = KnownLives::default();
        known.learn(all(7, vec![member(2, 1)], 2)).unwrap();
        let changes = vec![Change::Suspect(Life(2)), Change::Back(Life(2)), Change::Joined(member(3, 2))];
        known.learn(Members::Changes { after: 7, changes: changes[..2].to_vec() }).unwrap();
        known.learn(Members::Changes { after: 7, changes: changes.clone() }).unwrap();
        assert_eq!((known.version(), known.of_node(NodeId([2; 32]))), (10, Some(Life(3))));
        assert_eq!(known.learn(Members::Changes { after: 12, changes }), Err(Gap { known: 10, told: 12 }));
    }

    #[test]
    fn a_new_reigns_list_ends_what_is_not_in_it() {
        let mut known = KnownLives::default();
        known.learn(all(90, vec![member(2, 1), member(3, 2)], 3)).unwrap();
        known.new_reign();
        assert_eq!(known.learn(all(1, vec![member(3, 2), member(4, 4)], 4)), Ok(Departures::Some));
        assert_eq!([2, 3, 4].map(|life| known.has_ended(Life(life))), [true, false, false]);
    }

    #[test]
    fn a_life_that_began_and_ended_between_two_lists_is_told_as_ended() {
        let mut known = KnownLives::default();
        assert_eq!(
            known.learn(all(7, vec![member(2, 1)], 2)),
            Ok(Departures::None),
            "what ended before the first list met nobody"
        );
        assert_eq!(known.admit(NodeId([3; 32]), Life(3)), Ok(()), "met before the head told of it");
        known.new_reign();
        // A head without a journal numbers lives by its clock: there may be millions in between.
        let later = 4 << 40;
        assert_eq!(known.learn(all(1, vec![member(2, 1), member(later, 4)], later)), Ok(Departures::Some));
        assert_eq!([2, 3, later].map(|life| known.has_ended(Life(life))), [false, true, false]);
        known.new_reign();
        let same = known.learn(all(1, vec![member(2, 1), member(later, 4)], later));
        assert_eq!(same, Ok(Departures::None));
    }
}
