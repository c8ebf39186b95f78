use super::*;
use crate::id::Key;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

fn actor(serial: u64) -> ActorId {
    ActorId { life: Life(1), serial }
}

fn frame(serial: u64) -> Frame {
    Frame { actor: actor(serial), frame: serial }
}

#[test]
fn pauses_double_from_100_ms_to_1600_ms() {
    let pauses: Vec<_> = (0..7).map(|sent| pause(sent).as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 1_600, 1_600]);
    assert_eq!(pause(1_000), PROBE_LAST);
}

#[test]
fn a_chain_that_comes_back_to_itself_is_refused() {
    let chain = [frame(1), frame(2), frame(3)];
    let chain = List::Items(&chain);
    let check = |occupants: &[Frame], needs| reentrant(&chain, occupants, needs);
    assert_eq!(check(&[frame(2)], Needs::All), Some(vec![actor(2), actor(3)]));
    assert_eq!(check(&[frame(9), frame(1)], Needs::All), Some(vec![actor(1), actor(2), actor(3)]));
    assert_eq!(check(&[frame(9)], Needs::All), None, "a frame of another chain will end");
    assert_eq!(check(&[Frame { frame: 5, ..frame(2) }], Needs::All), None, "another run of the same actor");
    assert_eq!(check(&[], Needs::All), None);
}

#[test]
fn a_free_shared_slot_is_no_deadlock() {
    let chain = [frame(1), frame(2)];
    let chain = List::Items(&chain);
    let check = |occupants: &[Frame], free| reentrant(&chain, occupants, Needs::One { free });
    assert_eq!(check(&[frame(1)], 1), None);
    assert_eq!(check(&[frame(1)], 0), Some(vec![actor(1), actor(2)]));
    assert_eq!(check(&[frame(1), frame(9)], 0), None, "the other one will leave its slot");
}

/// Frames, each of an actor of its own and on some node. A frame waits for calls, held by other frames.
#[derive(Debug, Default)]
struct Cluster {
    node_of: BTreeMap<u64, Life>,
    waits: BTreeMap<u64, Vec<(WaitId, u64)>>,
    /// By call: the frames that hold it.
    calls: BTreeMap<u64, (bool, Vec<u64>)>,
    /// By call: the node of the object that it makes, if that is what is waited for.
    objects: BTreeMap<u64, Life>,
}

/// Objects have the numbers of their calls, and so many more.
const OBJECTS: u64 = 1 << 32;

struct Node<'a>(&'a Cluster, Life);

impl View for Node<'_> {
    fn held(&self, call: Reached) -> Held {
        let (Reached::Local(call) | Reached::From { to: ProbeTo { call: Some(call), .. }, .. }) = call else {
            return Held::Gone;
        };
        if let Some(call) = call.checked_sub(OBJECTS) {
            return Held::Leads(vec![self.call(call)]);
        }
        match self.0.calls.get(&call) {
            Some((true, frames)) => Held::Begun(frames[0]),
            Some((false, frames)) => Held::Queued(frames.clone()),
            None => Held::Gone,
        }
    }

    fn waits(&self, frame: u64) -> Vec<Wait> {
        assert_eq!(self.0.node_of[&frame], self.1, "a node is asked for its own frames only");
        let wait = |(id, call): &(WaitId, u64)| {
            let on = match self.0.objects.get(call) {
                Some(owner) => self.on(*owner, OBJECTS + call),
                None => self.call(*call),
            };
            Wait { id: *id, actor: actor(self.0.calls[call].1[0]), on }
        };
        self.0.waits.get(&frame).into_iter().flatten().map(wait).collect()
    }
}

impl Node<'_> {
    fn on(&self, peer: Life, call: u64) -> Target {
        let to = ProbeTo { actor: actor(0), method: Key(0), call: Some(call) };
        if peer == self.1 { Target::Local(call) } else { Target::Remote { peer, to } }
    }

    fn call(&self, call: u64) -> Target {
        self.on(self.0.node_of[&self.0.calls[&call].1[0]], call)
    }
}

impl Cluster {
    /// `edges`: a frame waits for one call, which frames of one node hold; some wait for an object that it makes.
    fn of(nodes: u64, frames: u64, edges: &[(u64, u64, u64)]) -> Self {
        let mut cluster = Cluster::default();
        for frame in 0..frames {
            cluster.node_of.insert(frame, Life(frame % nodes + 1));
        }
        for (call, (from, to, second)) in edges.iter().enumerate() {
            let (call, from, to) = (call as u64, from % frames, to % frames);
            let other = (to + nodes) % frames;
            let queued = second % 3 == 0 && cluster.node_of[&to] == cluster.node_of[&other];
            let holders = if queued { vec![to, other] } else { vec![to] };
            cluster.calls.insert(call, (!queued, holders));
            if second % 5 < 2 {
                cluster.objects.insert(call, Life(second % nodes + 1));
            }
            // Ids that say nothing of the order in which waits began.
            let id = WaitId { life: cluster.node_of[&from], serial: second.wrapping_mul(31) % 1_000 * 1_000 + call };
            cluster.waits.entry(from).or_default().push((id, call));
        }
        cluster
    }

    /// Lets every wait probe once; gives the victims.
    fn probe(&self) -> BTreeMap<WaitId, Vec<ActorId>> {
        let mut victims = BTreeMap::new();
        for frame in self.waits.keys() {
            let home = Node(self, self.node_of[frame]);
            for wait in home.waits(*frame) {
                let mut on_the_way: VecDeque<_> = start(&home, &wait).into_iter().map(|step| (home.1, step)).collect();
                while let Some((from, step)) = on_the_way.pop_front() {
                    match step {
                        Step::Send { peer, to, path } => {
                            let steps = follow(&Node(self, peer), from, to, wait.id, &List::Items(&path));
                            on_the_way.extend(steps.into_iter().map(|step| (peer, step)));
                        }
                        Step::Deadlock { wait: victim, cycle } => {
                            assert_eq!(victim, wait.id);
                            victims.insert(victim, cycle);
                        }
                    }
                }
            }
        }
        victims
    }

    /// The frames that can ever go on: those that wait for nothing, and whom only such hold up.
    fn can_go_on(&self, without: &BTreeMap<WaitId, Vec<ActorId>>) -> BTreeSet<u64> {
        let mut free = BTreeSet::new();
        loop {
            let before = free.len();
            for frame in self.node_of.keys() {
                let mut waits = self.waits.get(frame).into_iter().flatten();
                let over = |(id, call): &(WaitId, u64)| {
                    without.contains_key(id) || self.calls[call].1.iter().all(|holder| free.contains(holder))
                };
                if waits.all(over) {
                    free.insert(*frame);
                }
            }
            if free.len() == before {
                return free;
            }
        }
    }
}

#[test]
fn crossing_waits_have_one_victim_that_knows_the_cycle() {
    for nodes in 1..=3 {
        let cluster = Cluster::of(nodes, 6, &[(0, 1, 1), (1, 2, 4), (2, 0, 2)]);
        let victims = cluster.probe();
        assert_eq!(victims.len(), 1, "{nodes} nodes: {victims:?}");
        let cycle: BTreeSet<_> = victims.values().flatten().copied().collect();
        assert_eq!(cycle, [actor(0), actor(1), actor(2)].into());
    }
}

#[test]
fn a_wait_for_a_frame_that_runs_is_no_cycle() {
    let cluster = Cluster::of(2, 6, &[(0, 1, 1), (1, 2, 1), (2, 3, 1)]);
    assert!(cluster.probe().is_empty());
}

impl Cluster {
    /// Some time later: frames that could go on have left their slots.
    fn later(mut self) -> Self {
        let gone = self.can_go_on(&BTreeMap::new());
        self.waits.retain(|frame, _| !gone.contains(frame));
        for (_, holders) in self.calls.values_mut() {
            if holders.iter().any(|holder| !gone.contains(holder)) {
                holders.retain(|holder| !gone.contains(holder));
            }
        }
        self
    }

    fn is_in_a_cycle(&self, frame: u64, call: u64) -> bool {
        let (mut seen, mut ahead) = (BTreeSet::new(), self.calls[&call].1.clone());
        while let Some(next) = ahead.pop() {
            if seen.insert(next) {
                let calls = self.waits.get(&next).into_iter().flatten();
                ahead.extend(calls.flat_map(|(_, call)| &self.calls[call].1));
            }
        }
        seen.contains(&frame)
    }
}

/// Every cycle has a victim, and only cycles have one.
fn breaks_cycles_only(nodes: u64, edges: &[(u64, u64, u64)]) -> Result<(), TestCaseError> {
    let cluster = Cluster::of(nodes, 8, edges);
    let early = cluster.probe();
    let cluster = cluster.later();
    let victims = cluster.probe();
    prop_assert_eq!(cluster.can_go_on(&victims).len(), 8, "{:?}", victims);
    for (frame, waits) in &cluster.waits {
        for (id, call) in waits.iter().filter(|(id, _)| victims.contains_key(id) || early.contains_key(id)) {
            prop_assert!(cluster.is_in_a_cycle(*frame, *call), "{id:?} would have ended by itself");
        }
    }
    let stuck: BTreeSet<_> = cluster.waits.values().flatten().map(|(id, _)| *id).collect();
    prop_assert!(early.keys().all(|id| stuck.contains(id)), "a victim would have ended by itself");
    Ok(())
}

#[test]
fn one_that_waits_for_itself_is_a_cycle() {
    breaks_cycles_only(2, &[(2, 2, 87), (0, 0, 0)]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn victims_break_every_cycle_and_are_in_one(
        nodes in 1_u64..4,
        edges in prop::collection::vec((0_u64..8, 0_u64..8, 0_u64..1_000), 0..12),
    ) {
        breaks_cycles_only(nodes, &edges)?;
    }
}
