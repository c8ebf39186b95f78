//! The nodes of a placement group: all its bundles are placed, or none.
//!
//! *Pack* takes few nodes: one if one will do, else each time the node that holds most of what is left. *Spread* takes
//! each time the node with the fewest bundles of the group. The strict forms are obeyed exactly: one node, or a node for
//! each bundle, found by augmenting paths, so that a group waits only if there is no such choice. Where the others find no
//! place in their way, any choice is searched for, within bounds.

use crate::id::Life;
use crate::limits::GROUP_SEARCH;
use crate::schedule::placement::Why;
use crate::schedule::resources::Resources;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::fmt;

/// How the bundles of a group are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Packing {
    /// On few nodes.
    #[default]
    Pack,
    /// On many nodes.
    Spread,
    /// On one node.
    StrictPack,
    /// Each on a node of its own.
    StrictSpread,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packing::Pack => "packed",
            Packing::Spread => "spread",
            Packing::StrictPack => "all on one node",
            Packing::StrictSpread => "each on a node of its own",
        })
    }
}

/// A node with what is free there.
pub type Free = (Life, Resources);

/// What a node is to a group that waits.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its life.
    pub life: Life,
    /// All it has, less what it holds for the group already.
    pub total: Resources,
    /// What of it is free.
    pub free: Resources,
    /// Whether it can be reached.
    pub open: bool,
}

impl Packing {
    /// The node of each bundle, if all can be placed on these nodes, which come in the order of their lives.
    #[must_use]
    pub fn place(self, bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
        match self {
            Packing::StrictPack => one_node(bundles, nodes),
            Packing::StrictSpread => own_nodes(bundles, nodes),
            Packing::Pack | Packing::Spread => self.greedy(bundles, nodes).or_else(|| search(bundles, nodes)?),
        }
    }

    /// The same for what is missing of a group whose other bundles are on these nodes: it is placed as if all were placed
    /// at once, as far as its form is strict, and beside them or away from them where that can be.
    #[must_use]
    pub fn place_beside(self, held: &[Life], bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
        if held.is_empty() {
            return self.place(bundles, nodes);
        }
        let (beside, away): (Vec<Free>, Vec<Free>) = nodes.iter().cloned().partition(|(life, _)| held.contains(life));
        match self {
            Packing::StrictPack => self.place(bundles, &beside),
            Packing::StrictSpread => self.place(bundles, &away),
            Packing::Pack => self.place(bundles, &beside).or_else(|| self.place(bundles, nodes)),
            Packing::Spread => self.place(bundles, &away).or_else(|| self.place(bundles, nodes)),
        }
    }

    /// Whether there is surely no such choice.
    #[must_use]
    pub fn never_fits(self, bundles: &[Resources], nodes: &[Free]) -> bool {
        match self {
            Packing::StrictPack | Packing::StrictSpread => self.place(bundles, nodes).is_none(),
            Packing::Pack | Packing::Spread => {
                self.greedy(bundles, nodes).is_none() && search(bundles, nodes) == Some(None)
            }
        }
    }

    /// Why what is missing of a group is placed nowhere, which finds no room now: the others of its bundles are on the nodes
    /// `held`, and all nodes come in the order of their lives.
    #[must_use]
    pub fn why(self, held: &[Life], missing: &[Resources], nodes: &[Holder]) -> Why {
        let never = |of: &dyn Fn(&&Holder) -> bool| {
            let empty: Vec<Free> = nodes.iter().filter(of).map(|node| (node.life, node.total.clone())).collect();
            match self {
                Packing::StrictPack | Packing::StrictSpread => self.place_beside(held, missing, &empty).is_none(),
                Packing::Pack | Packing::Spread => self.never_fits(missing, &empty),
            }
        };
        let open = |node: &&Holder| node.open;
        if never(&open) {
            return if never(&|_| true) { Why::BundlesNeverFit(self) } else { Why::NoNode };
        }
        let free: Vec<Free> = nodes.iter().filter(open).map(|node| (node.life, node.free.clone())).collect();
        if self.place_beside(held, missing, &free).is_some() { Why::Kept } else { Why::Full }
    }

    fn greedy(self, bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
        match self {
            Packing::Spread => many_nodes(bundles, nodes),
            _ => one_node(bundles, nodes).or_else(|| few_nodes(bundles, nodes)),
        }
    }
}

/// Any choice, if there is one; none if that is not known after so many looks at a node.
fn search(bundles: &[Resources], nodes: &[Free]) -> Option<Option<Vec<Life>>> {
    let mut search = Search { bundles, order: largest_first(bundles), free: nodes.to_vec(), looks: GROUP_SEARCH };
    let mut chosen = vec![Life(0); bundles.len()];
    let found = search.from(0, &mut chosen)?;
    Some(found.then_some(chosen))
}

struct Search<'a> {
    bundles: &'a [Resources],
    order: Vec<usize>,
    free: Vec<Free>,
    looks: usize,
}

impl Search<'_> {
    /// Whether the bundles from here on have places. As deep as there are bundles: that is bounded.
    fn from(&mut self, at: usize, chosen: &mut [Life]) -> Option<bool> {
        let Some(place) = self.order.get(at).copied() else { return Some(true) };
        let need = &self.bundles[place];
        // Nodes with as much room are as good as one another.
        let mut tried: Vec<Resources> = Vec::new();
        for node in 0..self.free.len() {
            self.looks = self.looks.checked_sub(1)?;
            let (life, free) = &mut self.free[node];
            if free.lacks(need).is_some() || tried.contains(free) {
                continue;
            }
            tried.push(free.clone());
            chosen[place] = *life;
            free.take(need);
            let found = self.from(at + 1, chosen)?;
            if found {
                return Some(true);
            }
            self.free[node].1.give(need);
        }
        Some(false)
    }
}

/// Takes the bundles of these places that fit, in their order, and says which.
fn pack(bundles: &[Resources], places: &[usize], mut free: Resources) -> Vec<usize> {
    let mut held = Vec::new();
    for place in places {
        let need = &bundles[*place];
        if free.lacks(need).is_none() {
            free.take(need);
            held.push(*place);
        }
    }
    held
}

fn one_node(bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
    let all: Vec<usize> = (0..bundles.len()).collect();
    let holds = |(_, free): &&Free| pack(bundles, &all, free.clone()).len() == bundles.len();
    nodes.iter().find(holds).map(|(life, _)| vec![*life; bundles.len()])
}

/// Large bundles first: the small ones fit into what is left.
fn largest_first(bundles: &[Resources]) -> Vec<usize> {
    let size = |place: usize| bundles[place].iter().map(|(_, amount)| amount).max();
    let mut places: Vec<usize> = (0..bundles.len()).collect();
    places.sort_by_key(|place| (Reverse(size(*place)), *place));
    places
}

fn few_nodes(bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
    let (mut left, mut unused) = (largest_first(bundles), nodes.to_vec());
    let mut chosen = vec![Life(0); bundles.len()];
    while !left.is_empty() {
        let held = unused.iter().map(|(life, free)| (pack(bundles, &left, free.clone()), *life));
        let (most, life) = held.max_by_key(|(held, life)| (held.len(), Reverse(*life)))?;
        if most.is_empty() {
            return None;
        }
        most.iter().for_each(|place| chosen[*place] = life);
        left.retain(|place| !most.contains(place));
        unused.retain(|(other, _)| *other != life);
    }
    Some(chosen)
}

fn many_nodes(bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
    let mut free: Vec<(usize, Free)> = nodes.iter().map(|node| (0, node.clone())).collect();
    let mut chosen = vec![Life(0); bundles.len()];
    for place in largest_first(bundles) {
        let need = &bundles[place];
        let fits = free.iter_mut().filter(|(_, (_, free))| free.lacks(need).is_none());
        let (held, (life, free)) = fits.min_by_key(|(held, (life, _))| (*held, *life))?;
        free.take(need);
        *held += 1;
        chosen[place] = *life;
    }
    Some(chosen)
}

fn own_nodes(bundles: &[Resources], nodes: &[Free]) -> Option<Vec<Life>> {
    let mut owner: Vec<Option<usize>> = vec![None; nodes.len()];
    for place in largest_first(bundles) {
        let mut seen = vec![false; nodes.len()];
        if !augment(bundles, nodes, place, &mut owner, &mut seen) {
            return None;
        }
    }
    let mut chosen = vec![Life(0); bundles.len()];
    for (place, (life, _)) in owner.iter().zip(nodes).filter_map(|(place, node)| Some(((*place)?, node))) {
        chosen[place] = *life;
    }
    Some(chosen)
}

/// Finds a node for a bundle, moving others to where they fit too. As deep as there are bundles: that is bounded.
fn augment(
    bundles: &[Resources],
    nodes: &[Free],
    place: usize,
    owner: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    let fits = |at: usize| nodes[at].1.lacks(&bundles[place]).is_none();
    if let Some(at) = (0..nodes.len()).find(|at| owner[*at].is_none() && fits(*at)) {
        owner[at] = Some(place);
        return true;
    }
    for at in 0..nodes.len() {
        if seen[at] || nodes[at].1.lacks(&bundles[place]).is_some() {
            continue;
        }
        seen[at] = true;
        if owner[at].is_some_and(|other| augment(bundles, nodes, other, owner, seen)) {
            owner[at] = Some(place);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Amount;
    use proptest::prelude::*;

    fn cpus(n: u64) -> Resources {
        Resources::none().with("cpu", Amount::new(n as f64).unwrap()).unwrap()
    }

    fn all_cpus(bundles: &[u64]) -> Vec<Resources> {
        bundles.iter().map(|n| cpus(*n)).collect()
    }

    fn free_cpus(nodes: &[u64]) -> Vec<Free> {
        nodes.iter().zip(1..).map(|(n, life)| (Life(life), cpus(*n))).collect()
    }

    fn place(packing: Packing, bundles: &[u64], nodes: &[u64]) -> Option<Vec<u64>> {
        let (bundles, nodes) = (all_cpus(bundles), free_cpus(nodes));
        packing.place(&bundles, &nodes).map(|lives| lives.iter().map(|life| life.0).collect())
    }

    #[test]
    fn only_what_surely_never_fits_is_said_to() {
        let never = |bundles: &[u64], nodes: &[u64]| Packing::Pack.never_fits(&all_cpus(bundles), &free_cpus(nodes));
        assert!(!never(&[4, 3, 3], &[6, 4]));
        assert!(never(&[4, 3, 3, 1], &[6, 4]), "more than all nodes have");
        assert!(never(&[7], &[6, 4]), "more than any node has");
        // Nobody looks at all choices of many bundles on many unlike nodes: then it waits.
        let nodes: Vec<u64> = (100..164).collect();
        assert_eq!(nodes.iter().map(|node| node / 60).sum::<u64>(), 108);
        assert!(!never(&[60; 109], &nodes));
    }

    #[test]
    fn each_packing_is_obeyed() {
        assert_eq!(place(Packing::Pack, &[1, 2], &[2, 3, 8]), Some(vec![2, 2]), "one node if one will do");
        assert_eq!(place(Packing::Pack, &[2, 2, 2], &[2, 4]), Some(vec![2, 2, 1]), "else few");
        assert_eq!(place(Packing::Spread, &[1, 1, 1], &[8, 8]), Some(vec![1, 2, 1]));
        for packing in [Packing::Pack, Packing::Spread] {
            assert_eq!(place(packing, &[4, 3, 3], &[6, 4]), Some(vec![2, 1, 1]), "{packing:?} finds the one choice");
        }
        assert_eq!(place(Packing::StrictPack, &[2, 2], &[3, 3]), None);
        assert_eq!(place(Packing::StrictSpread, &[1, 1, 1], &[8, 8]), None);
        assert_eq!(place(Packing::StrictSpread, &[1, 4], &[4, 1]), Some(vec![2, 1]), "the choice that exists is found");
    }

    #[test]
    fn what_is_missing_of_a_group_is_placed_as_its_others_ask_for() {
        let place = |packing: Packing, held: &[u64], bundles: &[u64], nodes: &[u64]| {
            let held: Vec<Life> = held.iter().copied().map(Life).collect();
            packing.place_beside(&held, &all_cpus(bundles), &free_cpus(nodes))
        };
        let on = |lives: &[u64]| Some(lives.iter().copied().map(Life).collect::<Vec<_>>());
        assert_eq!(place(Packing::Pack, &[2], &[1], &[4, 1]), on(&[2]));
        assert_eq!(place(Packing::Pack, &[2], &[2], &[4, 1]), on(&[1]), "where it must be");
        assert_eq!(place(Packing::Spread, &[1], &[1], &[4, 1]), on(&[2]));
        assert_eq!(place(Packing::Spread, &[1], &[2], &[4, 1]), on(&[1]));
        assert_eq!(place(Packing::StrictSpread, &[1], &[1], &[4, 1]), on(&[2]));
        assert_eq!(place(Packing::StrictSpread, &[1], &[2], &[4, 1]), None, "that node has one of it already");
        assert_eq!(place(Packing::StrictSpread, &[1], &[1, 1], &[4, 1]), None, "all that is missing, or nothing");
    }

    #[test]
    fn why_a_group_waits_is_what_would_have_to_change() {
        let why = |packing: Packing, held: &[u64], missing: &[u64], nodes: &[(u64, u64, bool)]| {
            let held: Vec<Life> = held.iter().copied().map(Life).collect();
            let holder =
                |((total, free, open), life)| Holder { life: Life(life), total: cpus(total), free: cpus(free), open };
            let nodes: Vec<Holder> = nodes.iter().copied().zip(1..).map(holder).collect();
            packing.why(&held, &all_cpus(missing), &nodes)
        };
        let (pack, apart) = (Packing::Pack, Packing::StrictSpread);
        assert_eq!(why(pack, &[], &[2, 2], &[(4, 3, true), (4, 1, true)]), Why::Full, "something must end");
        assert_eq!(why(pack, &[], &[2, 2], &[(4, 4, true)]), Why::Kept, "there is room, of others");
        assert_eq!(why(pack, &[], &[5], &[(4, 4, true), (4, 4, true)]), Why::BundlesNeverFit(pack));
        assert_eq!(why(pack, &[], &[1], &[]), Why::BundlesNeverFit(pack), "nodes must come");
        assert_eq!(why(pack, &[], &[5], &[(4, 4, true), (8, 8, false)]), Why::NoNode, "one is to be heard of again");
        assert_eq!(why(apart, &[1], &[2], &[(4, 4, true)]), Why::BundlesNeverFit(apart), "that node has one of it");
        assert_eq!(why(apart, &[1], &[2], &[(4, 4, true), (4, 1, true)]), Why::Full);
        assert_eq!(
            why(Packing::StrictPack, &[1], &[2], &[(1, 1, true), (4, 4, true)]),
            Why::BundlesNeverFit(Packing::StrictPack)
        );
    }

    proptest! {
        #[test]
        fn no_node_holds_more_than_it_has_and_the_strict_forms_are_exact(
            bundles in proptest::collection::vec(1..5u64, 1..6),
            nodes in proptest::collection::vec(0..9u64, 1..6),
        ) {
            for packing in [Packing::Pack, Packing::Spread, Packing::StrictPack, Packing::StrictSpread] {
                let Some(lives) = place(packing, &bundles, &nodes) else { continue };
                for (node, life) in nodes.iter().zip(1..) {
                    let there = lives.iter().zip(&bundles).filter(|(at, _)| **at == life);
                    let (held, count) = there.fold((0, 0), |(held, count), (_, n)| (held + n, count + 1));
                    prop_assert!(held <= *node, "{packing:?}: {lives:?}");
                    prop_assert!(packing != Packing::StrictSpread || count <= 1, "{lives:?}");
                    prop_assert!(packing != Packing::StrictPack || count == 0 || count == bundles.len(), "{lives:?}");
                }
            }
            // Every choice of a node for each bundle, as a number in the base of the nodes.
            let choices = nodes.len().pow(bundles.len() as u32);
            let holds = |choice: usize| {
                let mut left: Vec<i64> = nodes.iter().map(|n| *n as i64).collect();
                let digits = std::iter::successors(Some(choice), |rest| Some(rest / nodes.len()));
                bundles.iter().zip(digits).for_each(|(need, rest)| left[rest % nodes.len()] -= *need as i64);
                left.iter().all(|left| *left >= 0)
            };
            let fits = (0..choices).any(holds);
            for packing in [Packing::Pack, Packing::Spread] {
                prop_assert_eq!(place(packing, &bundles, &nodes).is_some(), fits, "{:?}", packing);
            }
            let fits_one = nodes.iter().any(|node| *node >= bundles.iter().sum());
            prop_assert_eq!(place(Packing::StrictPack, &bundles, &nodes).is_some(), fits_one);
            let (mut small, mut room) = (bundles.clone(), nodes.clone());
            small.sort_unstable_by_key(|n| Reverse(*n));
            room.sort_unstable_by_key(|n| Reverse(*n));
            let fits_own = small.len() <= room.len() && small.iter().zip(&room).all(|(need, has)| need <= has);
            prop_assert_eq!(place(Packing::StrictSpread, &bundles, &nodes).is_some(), fits_own);
        }
    }
}
