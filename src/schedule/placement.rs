//! The choice of a node.
//!
//! What declares resources is packed until a node is half full, then spread: the first node in the order of lives that
//! stays at most half full, else the one that stays emptiest. What declares none costs no capacity and is spread by load:
//! the node with the fewest actors for its CPUs.

use crate::id::{GroupId, Key, Life, NodeId};
use crate::schedule::bundles::Packing;
use crate::schedule::labels::{Labels, Selectors};
use crate::schedule::resources::{Amount, Resources};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Up to this fullness, in ten-thousandths, nodes are packed.
const HALF: u64 = 5_000;

/// What an actor needs of its node. Actors of equal requirement wait in one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The actor's type.
    pub type_key: Key,
    /// The constructor that makes it; none where any will do.
    pub constructor: Option<Key>,
    /// What it takes of the node until it ends.
    pub resources: Resources,
    /// The labels the node must have: rather those that are asked for first.
    pub labels: Selectors,
    /// How to choose among the nodes that will do.
    pub strategy: Strategy,
}

/// How to choose among the nodes that will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Strategy {
    /// Pack until half full, then spread.
    #[default]
    Default,
    /// The node that stays emptiest.
    Spread,
    /// This node and no other.
    Node(NodeId),
    /// This node while it has room, else as by default.
    Prefer(NodeId),
    /// Within what a placement group holds: in this bundle, or in any.
    Bundle {
        /// The group.
        group: GroupId,
        /// Which bundle of it; none for any.
        index: Option<u32>,
    },
}

/// One node, as the head sees it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its life.
    pub life: Life,
    /// Its id.
    pub node: NodeId,
    /// All it has.
    pub total: &'a Resources,
    /// What of it is free.
    pub free: &'a Resources,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its CPUs, in ten-thousandths, at least one.
    pub cpus: u64,
    /// Actors there.
    pub actors: u64,
}

/// Whether a node will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Now; smaller is better.
    Now(Rank),
    /// Once others there have ended.
    Later,
    /// Not as it is.
    Never(Why),
}

/// The order among nodes that will do: the labels asked for first, then the node preferred, fullness, load, and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    choice: usize,
    second_choice: bool,
    fullness: u64,
    load: u64,
    life: Life,
}

/// Why something is placed nowhere yet: part of every error of a timeout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// No node has as much as one actor needs.
    #[error("no node has {0} ≥ {1}: lower it, or start a node with more")]
    NeverFits(Arc<str>, Amount),
    /// Nodes have it, but others hold it.
    #[error("every node that would do is full: it waits until something there ends")]
    Full,
    /// There is room, but not for it yet.
    #[error("what is free is kept for others that have waited for longer: it comes after them")]
    Kept,
    /// Tasks of this priority, which is higher, lack room too. Only of tasks.
    #[error("tasks of priority {0} of the same node come first: it gets what they leave")]
    Outranked(i32),
    /// No node has the labels.
    #[error("no node has the labels {0}")]
    Labels(String),
    /// The one node asked for is not there.
    #[error("the node {0} is not a member, or not reachable now")]
    NotThere(NodeId),
    /// The bundle is on no node.
    #[error("no node holds that bundle of placement group {0} now: the group waits for room, or has lost the node")]
    NoBundle(GroupId),
    /// The nodes could not hold a group's bundles, were they empty.
    #[error("its bundles, {0}, would not fit if all nodes were empty: ask for less, or start nodes")]
    BundlesNeverFit(Packing),
    /// No node that could host it is reachable now.
    #[error("no node that could host it is reachable now")]
    NoNode,
}

impl Why {
    /// Whether only another node, or nothing, can change it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Why::Full | Why::Kept | Why::Outranked(_) | Why::NoNode | Why::NoBundle(_))
    }
}

impl Requirement {
    /// Resources of any node, and nothing else.
    #[must_use]
    pub fn of_resources(resources: &Resources) -> Requirement {
        let (resources, labels, strategy) = (resources.clone(), Selectors::default(), Strategy::Default);
        Requirement { type_key: Key(0), constructor: None, resources, labels, strategy }
    }

    /// Whether this node, which has the type, will do.
    #[must_use]
    pub fn fit(&self, offer: &Offer<'_>) -> Fit {
        if let Strategy::Node(node) = self.strategy
            && node != offer.node
        {
            return Fit::Never(Why::NotThere(node));
        }
        let Some(choice) = self.labels.choice(offer.labels) else {
            return Fit::Never(Why::Labels(self.labels.to_string()));
        };
        if let Some((name, amount)) = offer.total.lacks(&self.resources) {
            return Fit::Never(Why::NeverFits(name.clone(), amount));
        }
        if offer.free.lacks(&self.resources).is_some() {
            return Fit::Later;
        }
        Fit::Now(self.rank(offer, choice))
    }

    fn rank(&self, offer: &Offer<'_>, choice: usize) -> Rank {
        let fullness = offer.total.fullness(offer.free, &self.resources);
        let packs = !matches!(self.strategy, Strategy::Spread) && fullness <= HALF && !self.resources.is_empty();
        Rank {
            choice,
            second_choice: matches!(self.strategy, Strategy::Prefer(node) if node != offer.node),
            fullness: if packs { 0 } else { fullness },
            load: if packs { 0 } else { offer.actors.saturating_mul(100_000_000) / offer.cpus },
            life: offer.life,
        }
    }

    /// The best of these nodes, which come in the order of their lives and have the type. The first that packs is it, so
    /// that a large cluster is not looked through for each actor.
    ///
    /// # Errors
    /// Why none will do now; [`Why::Full`] when one will later.
    pub fn best<'a>(&self, offers: impl Iterator<Item = Offer<'a>>) -> Result<Life, Why> {
        let mut best: Option<Rank> = None;
        let mut why = match self.strategy {
            Strategy::Node(node) => Why::NotThere(node),
            Strategy::Bundle { group, .. } => Why::NoBundle(group),
            _ => Why::NoNode,
        };
        for offer in offers {
            match self.fit(&offer) {
                Fit::Now(rank) if self.is_first(rank) => return Ok(offer.life),
                Fit::Now(rank) => best = Some(best.map_or(rank, |least| least.min(rank))),
                Fit::Later => why = Why::Full,
                Fit::Never(reason) => why = nearer(why, reason),
            }
        }
        best.map(|rank| rank.life).ok_or(why)
    }

    /// Whether no later life can be better.
    fn is_first(&self, rank: Rank) -> bool {
        !rank.second_choice && (rank.choice, rank.fullness, rank.load) == (0, 0, 0)
    }

    /// All nodes that will do now and among which neither labels nor a preferred node choose, best first.
    #[must_use]
    pub fn all<'a>(&self, offers: impl Iterator<Item = Offer<'a>>) -> Vec<Life> {
        let now = |offer: Offer<'_>| match self.fit(&offer) {
            Fit::Now(rank) => Some(rank),
            Fit::Later | Fit::Never(_) => None,
        };
        let mut ranks: Vec<Rank> = offers.filter_map(now).collect();
        ranks.sort_unstable();
        let asked = |rank: &Rank| (rank.choice, rank.second_choice);
        let first = ranks.first().map(asked);
        ranks.into_iter().take_while(|rank| Some(asked(rank)) == first).map(|rank| rank.life).collect()
    }
}

/// Of two reasons the one that is closer to a solution: full, then too small, then labels, then not there.
fn nearer(one: Why, other: Why) -> Why {
    let distance = |why: &Why| match why {
        Why::Full | Why::Kept | Why::Outranked(_) => 0,
        Why::NeverFits(..) => 1,
        Why::Labels(_) => 2,
        Why::NotThere(_) | Why::NoBundle(_) | Why::BundlesNeverFit(_) => 3,
        Why::NoNode => 4,
    };
    if distance(&other) < distance(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node {
        total: Resources,
        free: Resources,
        labels: Labels,
        actors: u64,
    }

    fn resources(cpu: f64, gpu: f64) -> Resources {
        let with = Resources::none().with("cpu", Amount::new(cpu).unwrap()).unwrap();
        with.with("gpu", Amount::new(gpu).unwrap()).unwrap()
    }

    fn node(cpu: f64, gpu: f64) -> Node {
        let total = resources(cpu, gpu);
        Node { free: total.clone(), total, labels: Labels::default(), actors: 0 }
    }

    fn offers(nodes: &[Node]) -> impl Iterator<Item = Offer<'_>> {
        nodes.iter().enumerate().map(|(n, node)| Offer {
            life: Life(n as u64 + 1),
            node: NodeId([n as u8; 32]),
            total: &node.total,
            free: &node.free,
            labels: &node.labels,
            cpus: node.total.get("cpu").as_ten_thousandths().max(1),
            actors: node.actors,
        })
    }

    fn need(cpu: f64, gpu: f64, strategy: Strategy) -> Requirement {
        let (resources, labels) = (resources(cpu, gpu), Selectors::default());
        Requirement { type_key: Key(1), constructor: None, resources, labels, strategy }
    }

    fn placed(need: &Requirement, nodes: &mut [Node], times: usize) -> Vec<u64> {
        let mut lives = Vec::new();
        for _ in 0..times {
            let life = need.best(offers(nodes)).unwrap();
            let node = &mut nodes[life.0 as usize - 1];
            node.free.take(&need.resources);
            node.actors += 1;
            lives.push(life.0);
        }
        lives
    }

    #[test]
    fn resources_are_packed_until_half_full_and_then_spread() {
        let mut nodes = [node(4.0, 0.0), node(4.0, 0.0)];
        let lives = placed(&need(1.0, 0.0, Strategy::Default), &mut nodes, 8);
        assert_eq!(lives, [1, 1, 2, 2, 1, 2, 1, 2]);
        assert_eq!(need(1.0, 0.0, Strategy::Default).best(offers(&nodes)), Err(Why::Full));
    }

    #[test]
    fn what_declares_nothing_is_spread_by_actors_for_each_cpu() {
        let mut nodes = [node(1.0, 0.0), node(2.0, 0.0)];
        assert_eq!(placed(&need(0.0, 0.0, Strategy::Default), &mut nodes, 6), [1, 2, 2, 1, 2, 2]);
    }

    #[test]
    fn spread_takes_the_emptiest() {
        let mut nodes = [node(8.0, 0.0), node(8.0, 0.0), node(8.0, 0.0)];
        assert_eq!(placed(&need(1.0, 0.0, Strategy::Spread), &mut nodes, 6), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn affinity_is_obeyed_hard_and_soft() {
        let mut nodes = [node(8.0, 0.0), node(1.0, 0.0)];
        let there = NodeId([1; 32]);
        assert_eq!(placed(&need(1.0, 0.0, Strategy::Prefer(there)), &mut nodes, 2), [2, 1]);
        assert_eq!(need(1.0, 0.0, Strategy::Node(there)).best(offers(&nodes)), Err(Why::Full));
        let prefers = |n| need(0.0, 0.0, Strategy::Prefer(NodeId([n; 32]))).all(offers(&nodes));
        assert_eq!((prefers(1), prefers(9).len()), (vec![Life(2)], 2));
        let stranger = Strategy::Node(NodeId([9; 32]));
        assert_eq!(need(0.0, 0.0, stranger).best(offers(&nodes)), Err(Why::NotThere(NodeId([9; 32]))));
    }

    #[test]
    fn the_reason_names_what_is_missing() {
        let nodes = [node(2.0, 0.0), node(4.0, 0.0)];
        let why = need(1.0, 1.0, Strategy::Default).best(offers(&nodes)).unwrap_err();
        assert_eq!(why.to_string(), "no node has gpu ≥ 1: lower it, or start a node with more");
        let mut labelled = need(1.0, 0.0, Strategy::Default);
        labelled.labels = Selectors::default().with("zone", "a".parse().unwrap()).unwrap();
        assert_eq!(labelled.best(offers(&nodes)).unwrap_err().to_string(), "no node has the labels zone=a");
        assert_eq!(need(1.0, 0.0, Strategy::Default).best(std::iter::empty()), Err(Why::NoNode));
    }

    #[test]
    fn labels_that_are_asked_for_first_come_first_whatever_room_there_is_elsewhere() {
        let zone = |node: Node, zone| Node { labels: Labels::default().with("zone", zone).unwrap(), ..node };
        let mut nodes = [zone(node(8.0, 0.0), "c"), zone(node(8.0, 0.0), "b"), zone(node(2.0, 0.0), "a")];
        let mut tries = need(1.0, 0.0, Strategy::Default);
        let asked = |all: Selectors, zone: &str| all.with("zone", zone.parse().unwrap()).unwrap();
        tries.labels = asked(asked(Selectors::default(), "a").otherwise().unwrap(), "b");
        assert_eq!(tries.all(offers(&nodes)), [Life(3)]);
        assert_eq!(placed(&tries, &mut nodes, 10), [3, 3, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(tries.best(offers(&nodes)), Err(Why::Full), "it waits, and takes no other zone");
        let reason = tries.best(offers(&nodes[..1])).unwrap_err();
        assert_eq!(reason.to_string(), "no node has the labels zone=a, or else zone=b");
        tries.labels = tries.labels.otherwise().unwrap();
        assert_eq!(tries.best(offers(&nodes)), Ok(Life(1)));
    }

    #[test]
    fn the_least_loaded_come_first_among_all() {
        let mut nodes = [node(1.0, 0.0), node(1.0, 0.0), node(1.0, 0.0)];
        (nodes[0].actors, nodes[1].actors) = (2, 1);
        assert_eq!(need(0.0, 0.0, Strategy::Default).all(offers(&nodes)), [Life(3), Life(2), Life(1)]);
    }
}
