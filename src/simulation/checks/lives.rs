//! L1 to L5: what is on the head's disk, what nodes host, what was accepted where.

use super::{Checked, Rule, hold};
use crate::clock::Moment;
use crate::directory::message::Command;
use crate::directory::request::LifeEnd;
use crate::directory::{News, Record, Reign, Reply};
use crate::id::{ActorId, Epoch, Incarnation, Life, NodeId, Placement};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An incarnation that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) node: usize,
    pub(crate) life: Life,
    pub(crate) placement: Placement,
}

/// What is known of lives.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    began: BTreeMap<Life, NodeId>,
    /// Those that nobody can dial.
    mute: BTreeSet<Life>,
    ended: BTreeSet<Life>,
    placed: BTreeMap<ActorId, Vec<(Placement, Life)>>,
    epochs: Epoch,
    /// By the head's clock: when it started, when it heard whom.
    started: Moment,
    heard: BTreeMap<Life, Moment>,
    present: BTreeMap<ActorId, Vec<Present>>,
    /// Actors of which more than one process holds an incarnation.
    contested: BTreeSet<ActorId>,
    /// Actors that were started in the place of others, which some process still holds.
    succeeded: BTreeSet<(ActorId, ActorId)>,
    obeyed: BTreeMap<(usize, u32), Reign>,
    accepted_lives: BTreeMap<(usize, u32, NodeId), Life>,
    accepted: BTreeMap<(Life, ActorId), Incarnation>,
    /// The highest fence that something outside of the cluster was shown by an actor.
    shown: BTreeMap<ActorId, (Epoch, Incarnation)>,
    hosted: BTreeMap<(Life, ActorId), Placement>,
}

impl Lives {
    /// A head starts, with this clock.
    pub(crate) fn head_starts(&mut self, now: Moment, epoch: Epoch) -> Checked {
        hold(epoch > self.epochs, Rule::L5, || format!("a head of epoch {epoch} starts after {}", self.epochs))?;
        (self.epochs, self.started) = (epoch, now);
        self.heard.clear();
        Ok(())
    }

    /// The head hears a life.
    pub(crate) fn heard(&mut self, now: Moment, life: Life) {
        self.heard.insert(life, now);
    }

    /// The head decides something.
    pub(crate) fn decided(&mut self, now: Moment, lease: Duration, record: &Record) -> Checked {
        match record {
            Record::Began { life, .. } => {
                let last = self.began.last_key_value().map_or(Life(0), |(last, _)| *last);
                hold(*life > last, Rule::L3, || format!("life {life} is given after {last}"))?;
                self.heard.insert(*life, now);
            }
            Record::NodeEnded { life, why: LifeEnd::Silence } => {
                let heard = self.heard.get(life).copied().unwrap_or_default().max(self.started);
                let silent = now.since(heard);
                hold(silent >= lease, Rule::L4, || format!("life {life} ends {silent:?} after it was heard"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A record is on disk for good.
    pub(crate) fn on_disk(&mut self, record: &Record) -> Checked {
        match record {
            Record::Began { life, join } => {
                self.began.insert(*life, join.node);
                if join.addresses.is_empty() {
                    self.mute.insert(*life);
                }
            }
            Record::NodeEnded { life, .. } => drop(self.ended.insert(*life)),
            Record::Placed { actor, placement, host, .. } => {
                let placed = self.placed.entry(*actor).or_default();
                let last = placed.last().map_or(Placement(0), |(last, _)| *last);
                placed.push((*placement, *host));
                hold(*placement > last, Rule::L2, || format!("{actor} is placed as {placement} after {last}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The head says something.
    pub(crate) fn says(&self, news: &News) -> Checked {
        match news {
            News::Joined(joined) => hold(self.began.contains_key(&joined.life), Rule::L3, || {
                format!("life {} is given, and not on disk", joined.life)
            }),
            News::Ended { life, why } => {
                let on_disk = self.ended.contains(life) || !self.began.contains_key(life) || *why == LifeEnd::Forgotten;
                hold(on_disk, Rule::L3, || format!("the end of life {life} is told, and not on disk"))
            }
            News::Order(order) => match &order.what {
                Command::Host(host) => self.places(host.spawn.actor, host.placement),
                Command::End { .. } | Command::Move { .. } | Command::Vacate { .. } => Ok(()),
                Command::Grant(_) | Command::Recall { .. } | Command::Revoke { .. } => Ok(()),
            },
            News::Answer { reply: Reply::Spawned(Ok(spawned)) | Reply::Found(Ok(spawned)), .. } => {
                let on_disk = self.is_placed(spawned.actor, spawned.placement);
                hold(on_disk, Rule::L3, || format!("{} is said to be placed, and that is not on disk", spawned.actor))
            }
            _ => Ok(()),
        }
    }

    fn is_placed(&self, actor: ActorId, placement: Placement) -> bool {
        self.placed.get(&actor).is_some_and(|placed| placed.iter().any(|(number, _)| *number == placement))
    }

    fn places(&self, actor: ActorId, placement: Placement) -> Checked {
        hold(self.is_placed(actor, placement), Rule::L3, || {
            format!("{actor} is put somewhere as {placement}, and that is not on disk")
        })?;
        for (earlier, host) in self.placed.get(&actor).into_iter().flatten().filter(|(earlier, _)| *earlier < placement)
        {
            // Its host itself said that it has it no longer, or the end of that host is known.
            let there = self.present.get(&actor).into_iter().flatten();
            let holds = there.clone().any(|present| present.life == *host && present.placement == *earlier);
            hold(!holds || self.ended.contains(host), Rule::L3, || {
                format!("{actor} is placed again as {placement} before the end of life {host} is on disk")
            })?;
        }
        Ok(())
    }

    /// A process holds an incarnation from now on.
    pub(crate) fn appears(&mut self, actor: ActorId, present: Present) -> Checked {
        let last = self.hosted.entry((present.life, actor)).or_default();
        let before = *last;
        *last = before.max(present.placement);
        let all = self.present.entry(actor).or_default();
        all.push(present);
        if all.len() > 1 {
            self.contested.insert(actor);
        }
        hold(present.placement > before, Rule::L2, || format!("{actor} begins as {} after {before}", present.placement))
    }

    /// It no longer does.
    pub(crate) fn vanishes(&mut self, actor: ActorId, life: Life) {
        if let Some(all) = self.present.get_mut(&actor) {
            all.retain(|present| present.life != life);
            if all.len() < 2 {
                self.contested.remove(&actor);
            }
            if all.is_empty() {
                self.present.remove(&actor);
                self.succeeded.retain(|(former, later)| *former != actor && *later != actor);
            }
        }
    }

    /// A process is no more.
    pub(crate) fn process_gone(&mut self, node: usize) {
        let its = |all: &Vec<Present>| all.iter().any(|present| present.node == node);
        let lost: Vec<_> = self.present.iter().filter(|(_, all)| its(all)).map(|(actor, _)| *actor).collect();
        for actor in lost {
            let lives = self.present.get(&actor).into_iter().flatten().filter(|present| present.node == node);
            let lives: Vec<_> = lives.map(|present| present.life).collect();
            lives.into_iter().for_each(|life| self.vanishes(actor, life));
        }
    }

    /// A supervisor has started an actor in the place of another one.
    pub(crate) fn succeeds(&mut self, former: ActorId, later: ActorId) {
        if self.present.contains_key(&former) {
            self.succeeded.insert((former, later));
        }
    }

    /// The node of a life that has begun.
    pub(crate) fn node_of(&self, life: Life) -> Option<NodeId> {
        self.began.get(&life).copied()
    }

    /// Whether one of two lives can dial the other.
    pub(crate) fn can_meet(&self, one: Life, other: Life) -> bool {
        one == other || !self.mute.contains(&one) || !self.mute.contains(&other)
    }

    pub(crate) fn count(&self) -> usize {
        self.began.len()
    }

    /// L1, if these processes may begin calls now.
    pub(crate) fn one_begins(&self, may_begin: impl Fn(&Present) -> bool) -> Checked {
        for actor in &self.contested {
            let all = self.present.get(actor).into_iter().flatten();
            let begin: Vec<_> = all.filter(|present| may_begin(present)).collect();
            hold(begin.len() < 2, Rule::L1, || format!("{actor} may begin calls in {begin:?}"))?;
        }
        for (former, later) in &self.succeeded {
            let begins = |actor| self.present.get(actor).into_iter().flatten().any(&may_begin);
            hold(!begins(former) || !begins(later), Rule::Supervised, || format!("{later} runs beside {former}"))?;
        }
        Ok(())
    }

    /// A process obeys a head.
    pub(crate) fn obeys(&mut self, node: usize, run: u32, reign: Reign) -> Checked {
        let before = self.obeyed.insert((node, run), reign).unwrap_or_default();
        let rises = reign == before || reign.epoch > before.epoch;
        hold(rises, Rule::L5, || format!("node {node} obeys head {reign} after {before}"))
    }

    /// A process accepts a session of a peer's life.
    pub(crate) fn accepts_life(&mut self, node: usize, run: u32, peer: NodeId, life: Life) -> Checked {
        let last = self.accepted_lives.entry((node, run, peer)).or_default();
        let before = std::mem::replace(last, life);
        hold(life >= before, Rule::L2, || format!("node {node} accepts life {life} of {peer} after {before}"))
    }

    /// A call begins, and shows its fence to something outside of the cluster, which refuses what is lower than it has seen.
    pub(crate) fn passes(&mut self, actor: ActorId, fence: (Epoch, Incarnation)) -> Checked {
        let last = self.shown.entry(actor).or_insert(fence);
        let before = std::mem::replace(last, fence.max(*last));
        hold(fence >= before, Rule::L2, || format!("{actor} begins a call under {fence:?} after {before:?}"))
    }

    /// A host takes a call from an incarnation of an actor.
    pub(crate) fn accepts(&mut self, host: Life, actor: ActorId, incarnation: Incarnation) -> Checked {
        let last = self.accepted.entry((host, actor)).or_default();
        let before = std::mem::replace(last, incarnation);
        hold(incarnation >= before, Rule::L2, || {
            format!("life {host} accepts {incarnation:?} of {actor} after {before:?}")
        })
    }
}
