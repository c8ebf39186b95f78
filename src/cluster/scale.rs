//! Worker processes that come while something waits for room, and leave when they are idle (`node/idle.rs`).

use super::demand::Wanted;
use super::workers::{Count, Held, Template};
use crate::directory::AskError;
use crate::directory::request::GroupLine;
use crate::limits::{SCALE_LOOK, SCALE_PAUSE_FIRST, SCALE_PAUSE_LAST};
use crate::schedule::{Labels, Packing, Resources};
use std::time::Instant;

/// Until no more workers are to be started.
pub(super) async fn keep(template: Template, workers: Held) {
    let Ok((offers, labels)) = template.offers() else { return };
    let (least, most) = template.bounds();
    let (mut wanted_before, mut pause) = (0, Pause::default());
    loop {
        tokio::time::sleep(SCALE_LOOK).await;
        let Some(Count { running, starting, failed }) = workers.count(template.node()) else { return };
        if pause.after(failed, starting == 0) {
            continue;
        }
        // Without a word from the head nothing is added; but workers that stay are replaced.
        let room = most.saturating_sub(running - starting);
        let wanted = looked(&template, (&offers, &labels), room).await.unwrap_or(0);
        // What is wanted at one look alone may have found room by the next.
        let lasting = wanted.min(std::mem::replace(&mut wanted_before, wanted));
        let missing = least.saturating_sub(running);
        for nth in 0..lasting.saturating_sub(starting).max(missing) {
            let idle = (nth >= missing).then(|| template.idle_timeout());
            if let Err(error) = workers.start(&template, idle).await {
                tracing::warn!(%error, "a worker process that is wanted cannot be started");
                pause.after(1, false);
                break;
            }
        }
    }
}

/// Between attempts to start what does not come to live: each longer than the last.
#[derive(Default)]
struct Pause {
    in_a_row: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Whether to wait still, after so many more have failed; if all others have joined, the next to fail is the first in a row.
    fn after(&mut self, failed: usize, all_joined: bool) -> bool {
        if failed > 0 {
            let pause = SCALE_PAUSE_FIRST.saturating_mul(1 << self.in_a_row.min(16)).min(SCALE_PAUSE_LAST);
            tracing::warn!(
                failed,
                "worker processes have ended before they had joined: the next is started in {pause:?}"
            );
            (self.in_a_row, self.until) = (self.in_a_row + 1, Some(Instant::now() + pause));
        } else if self.until.is_none() && all_joined {
            self.in_a_row = 0;
        }
        self.until = self.until.filter(|until| Instant::now() < *until);
        self.until.is_some()
    }
}

async fn looked(template: &Template, offers: (&Resources, &Labels), most: usize) -> Result<usize, AskError> {
    if most == 0 {
        return Ok(0);
    }
    let wanted = template.node().wanted().await?;
    if wanted.together().next().is_none() && wanted.singly(|asks| asks.choice(offers.1).is_some()).next().is_none() {
        return Ok(0);
    }
    let nodes = template.node().all_nodes().await?;
    let free = nodes.into_iter().filter(|node| node.hosts && !node.suspect).map(|node| node.free);
    Ok(more_workers(&wanted, free.collect(), offers, most))
}

/// How many workers that offer this would have room for what waits, beside what is free now, up to `most`.
fn more_workers(wanted: &Wanted, free: Vec<Resources>, (offers, labels): (&Resources, &Labels), most: usize) -> usize {
    let mut rooms = Rooms { offers, there: free.len(), most: free.len() + most, free };
    let singly = wanted.singly(|asks| asks.choice(labels).is_some());
    for (need, count) in singly.filter(|(need, _)| !need.is_empty()) {
        let mut from = 0;
        for _ in 0..count {
            match rooms.place(need, from, &[]) {
                Some(at) => from = at,
                None => break,
            }
        }
    }
    for line in wanted.together() {
        rooms.put_group(line);
    }
    rooms.free.len() - rooms.there
}

/// What is free: on the nodes that there are, and then on workers that there are not yet, once what waits is put there.
struct Rooms<'a> {
    offers: &'a Resources,
    there: usize,
    most: usize,
    free: Vec<Resources>,
}

impl Rooms<'_> {
    /// Into the first from there on with room that is none of these, or one more. Where, if there is one.
    fn place(&mut self, need: &Resources, from: usize, others: &[usize]) -> Option<usize> {
        let room = |at: &usize| !others.contains(at) && self.free[*at].lacks(need).is_none();
        let at = match (from..self.free.len()).find(room) {
            Some(at) => at,
            None if self.free.len() == self.most || self.offers.lacks(need).is_some() => return None,
            None => {
                self.free.push(self.offers.clone());
                self.free.len() - 1
            }
        };
        self.free[at].take(need);
        Some(at)
    }

    /// The bundles that are on no node, all of them or none.
    fn put_group(&mut self, line: &GroupLine) {
        let missing: Vec<Resources> = match line.packing {
            Packing::StrictPack => vec![line.missing().fold(Resources::none(), |all, bundle| all.and(bundle))],
            Packing::Pack | Packing::Spread | Packing::StrictSpread => line.missing().cloned().collect(),
        };
        let (before, mut apart) = (self.free.clone(), Vec::new());
        for bundle in &missing {
            match self.place(bundle, 0, &apart) {
                Some(at) if line.packing == Packing::StrictSpread => apart.push(at),
                Some(_) => {}
                None => {
                    self.free = before;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::request::{DemandLine, GroupState, WaitingLine, WantError};
    use crate::id::{ActorId, GroupId, Life, NodeId};
    use crate::schedule::{Amount, Class, Condition, Selectors, Strategy, Why};

    fn cpus(n: f64) -> Resources {
        Resources::none().with("cpu", Amount::new(n).unwrap()).unwrap()
    }

    fn zone(value: &str) -> Labels {
        Labels::default().with("zone", value).unwrap()
    }

    fn tasks(cpu: f64, wanted: u32, granted: u32, why: Option<Why>) -> DemandLine {
        DemandLine {
            owner: Life(1),
            class: Class(0),
            name: "tests::task".into(),
            resources: cpus(cpu),
            labels: Selectors::default(),
            strategy: Strategy::Default,
            wanted,
            granted,
            recalled: 0,
            why: why.map(WantError::Unplaced),
        }
    }

    fn actor(cpu: f64, why: Why) -> WaitingLine {
        let actor = ActorId { life: Life(1), serial: 1 };
        let (resources, labels, strategy) = (cpus(cpu), Selectors::default(), Strategy::Spread);
        WaitingLine { actor, name: "tests::Actor".into(), resources, labels, strategy, why: Some(why) }
    }

    fn group(bundles: &[f64], packing: Packing, state: GroupState) -> GroupLine {
        let (group, bundles) = (GroupId { life: Life(1), serial: 1 }, bundles.iter().map(|n| cpus(*n)).collect());
        GroupLine { group, name: None, bundles, packing, state, why: Some(Why::Full), detached: false }
    }

    /// Workers of two CPUs, ten at most, beside a full node and one with a CPU that is free.
    fn more(tasks: Vec<DemandLine>, actors: Vec<WaitingLine>, groups: Vec<GroupLine>) -> usize {
        more_workers(&Wanted { tasks, actors, groups }, vec![cpus(0.0), cpus(1.0)], (&cpus(2.0), &zone("a")), 10)
    }

    #[test]
    fn what_waits_together_shares_workers() {
        assert_eq!(more(vec![], vec![], vec![]), 0);
        assert_eq!(
            more(vec![tasks(1.0, 9, 4, Some(Why::Full))], vec![], vec![]),
            2,
            "five slots: one there, two a worker"
        );
        assert_eq!(more(vec![tasks(1.0, 1_000_000, 4, Some(Why::Full))], vec![], vec![]), 10, "as many as may be");
        assert_eq!(more(vec![tasks(1.5, 1, 0, Some(Why::Full))], vec![actor(0.5, Why::Full)], vec![]), 1);
        assert_eq!(more(vec![], vec![actor(1.5, Why::Full), actor(1.5, Why::NoNode)], vec![]), 2);
    }

    #[test]
    fn what_no_worker_would_help_adds_none() {
        assert_eq!(more(vec![tasks(1.0, 9, 4, None)], vec![], vec![]), 0, "it gets its slots in a moment");
        assert_eq!(more(vec![tasks(3.0, 1, 0, Some(Why::Full))], vec![], vec![]), 0, "more than one offers");
        let within = Strategy::Bundle { group: GroupId { life: Life(1), serial: 1 }, index: None };
        for strategy in [within, Strategy::Node(NodeId([1; 32]))] {
            let bound = DemandLine { strategy, ..tasks(1.0, 1_000, 1, Some(Why::Full)) };
            assert_eq!(more(vec![bound], vec![], vec![]), 0, "no other node will do");
        }
        for (asked, workers) in [("a", 1), ("b", 0)] {
            let labels = Selectors::default().with("zone", Condition::In([asked.into()].into())).unwrap();
            let labelled = WaitingLine { labels, ..actor(1.5, Why::Full) };
            assert_eq!(more(vec![], vec![labelled], vec![]), workers, "zone {asked}");
        }
        assert_eq!(more(vec![tasks(0.0, 1_000_000, 0, Some(Why::Full))], vec![], vec![]), 0, "they take nothing");
    }

    #[test]
    fn bundles_lie_as_their_group_asks_for() {
        let waits = |bundles: &[f64], packing| vec![group(bundles, packing, GroupState::Waiting)];
        assert_eq!(more(vec![], vec![], waits(&[1.0, 1.0, 1.0], Packing::Pack)), 1);
        assert_eq!(
            more(vec![], vec![], waits(&[1.0, 1.0, 1.0], Packing::StrictSpread)),
            2,
            "one is put where there is room"
        );
        assert_eq!(more(vec![], vec![], waits(&[0.5, 1.0], Packing::StrictPack)), 1);
        assert_eq!(more(vec![], vec![], waits(&[1.0, 1.0, 1.0], Packing::StrictPack)), 0, "three CPUs of one worker");
        assert_eq!(more(vec![], vec![], waits(&[1.0; 12], Packing::StrictSpread)), 0, "more nodes than there may be");
        let partly = GroupState::Partly(vec![Some(Life(2)), None, None]);
        assert_eq!(more(vec![], vec![], vec![group(&[2.0, 2.0, 2.0], Packing::StrictSpread, partly)]), 2);
    }
}
