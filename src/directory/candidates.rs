//! Where a spawner puts ephemeral actors that declare no resources, without asking the head for each: an answer to `Choose`
//! holds until membership changes. Nodes are taken in turn, each as often as its weight says.

use crate::directory::request::{Candidate, Choose, Chosen, Needs};
use crate::id::{Key, Life};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Needs whose answers are kept at once; a program has a handful.
const NEEDS: usize = 1_024;
/// What a node of weight one waits between two turns.
const STRIDE: u64 = 1 << 32;

#[derive(Debug)]
struct Turns {
    members: u64,
    nodes: Vec<Candidate>,
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

/// The answers kept by one life.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    known: u64,
    by_need: BTreeMap<(Key, Key), Vec<(Needs, Turns)>>,
}

impl Candidates {
    /// Membership has this version now.
    pub(super) fn members(&mut self, version: u64) {
        self.known = version;
    }

    pub(super) fn forget(&mut self) {
        self.by_need.clear();
    }

    /// The next node for such an actor, if the head's answer still holds.
    pub(super) fn next(&mut self, choose: &Choose) -> Option<Candidate> {
        let of_type = self.by_need.get_mut(&(choose.kind.key, choose.constructor))?;
        let at = of_type.iter().position(|(needs, _)| *needs == choose.needs)?;
        let turns = &mut of_type[at].1;
        if turns.members < self.known {
            of_type.swap_remove(at);
            return None;
        }
        let Reverse((pass, node)) = turns.next.pop()?;
        let candidate = turns.nodes[node];
        turns.next.push(Reverse((pass + STRIDE / u64::from(candidate.weight.max(1)), node)));
        Some(candidate)
    }

    /// Keeps an answer, unless it is known: many may have asked at once, and the turns go on. Spawners begin at different
    /// nodes.
    pub(super) fn keep(&mut self, choose: &Choose, chosen: Chosen, spawner: Life) {
        let of_type = self.by_need.get(&(choose.kind.key, choose.constructor)).into_iter().flatten();
        if of_type.into_iter().any(|(needs, turns)| *needs == choose.needs && turns.members >= chosen.members) {
            return;
        }
        let nodes = chosen.candidates;
        let begin = |at: usize| (at as u64 + spawner.0) % nodes.len() as u64;
        let next = (0..nodes.len()).map(|at| Reverse((begin(at), at))).collect();
        if self.by_need.values().map(Vec::len).sum::<usize>() >= NEEDS {
            self.by_need.clear();
        }
        let of_type = self.by_need.entry((choose.kind.key, choose.constructor)).or_default();
        of_type.retain(|(needs, _)| *needs != choose.needs);
        of_type.push((choose.needs.clone(), Turns { members: chosen.members, nodes, next }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{choose, node};
    use crate::id::Epoch;

    fn chosen(members: u64, weights: &[u32]) -> Chosen {
        let candidate = |(n, weight): (usize, &u32)| {
            let (life, node, epoch) = (Life(n as u64 + 1), node(n as u8), Epoch(1));
            Candidate { life, node, weight: *weight, epoch }
        };
        Chosen { members, candidates: weights.iter().enumerate().map(candidate).collect() }
    }

    #[test]
    fn nodes_take_turns_by_weight_until_membership_changes() {
        let (mut candidates, ask) = (Candidates::default(), choose(Life(9), 1, 0.0));
        assert_eq!(candidates.next(&ask), None);
        candidates.members(3);
        candidates.keep(&ask, chosen(3, &[1, 3]), Life(9));
        let mut turns = [0; 2];
        (0..400).for_each(|_| turns[candidates.next(&ask).unwrap().life.0 as usize - 1] += 1);
        assert_eq!(turns, [100, 300]);
        assert_eq!(candidates.next(&choose(Life(9), 1, 1.0)), None, "other needs are asked for");
        candidates.members(4);
        assert_eq!(candidates.next(&ask), None);
    }

    #[test]
    fn the_answers_to_many_that_asked_at_once_are_one_answer() {
        let (mut candidates, ask) = (Candidates::default(), choose(Life(9), 1, 0.0));
        let mut turns = [0; 2];
        for _ in 0..10 {
            candidates.keep(&ask, chosen(3, &[1, 1]), Life(9));
            turns[candidates.next(&ask).unwrap().life.0 as usize - 1] += 1;
        }
        assert_eq!(turns, [5, 5]);
    }

    #[test]
    fn spawners_begin_at_different_nodes() {
        let ask = choose(Life(1), 1, 0.0);
        let first = |spawner| {
            let mut candidates = Candidates::default();
            candidates.keep(&ask, chosen(1, &[1, 1, 1]), Life(spawner));
            candidates.next(&ask).unwrap().life
        };
        assert_eq!([first(3), first(4), first(5)], [Life(1), Life(3), Life(2)]);
    }
}
