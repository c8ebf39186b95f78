//! Worker processes that come while something waits for room, and leave when they are idle (`node/idle.rs`).

use super::demand::Wanted;
use super::workers::{Held, Template, Watched};
use crate::directory::AskError;
use crate::directory::request::{DemandLine, GroupLine, GroupState, WantError};
use crate::limits::SCALE_LOOK;
use crate::schedule::{Packing, Resources, Why};
use tokio::sync::mpsc;

/// Until no more workers are to be started.
pub(super) async fn keep(template: Template, workers: Held) {
    let Ok(offers) = template.offers() else { return };
    let (least, most) = template.bounds();
    let mut wanted_before = 0;
    loop {
        tokio::time::sleep(SCALE_LOOK).await;
        let is_starting = |worker: &&Watched| template.node().known(|known| known.of_node(worker.node()).is_none());
        let look = workers.running(|all| (all.len(), all.iter().filter(is_starting).count()));
        let Some((running, starting)) = look else { return };
        // Without a word from the head nothing is added; but workers that stay are replaced.
        let room = most.saturating_sub(running - starting);
        let wanted = looked(&template, &offers, room).await.unwrap_or(0);
        // What is wanted at one look alone may have found room by the next.
        let lasting = wanted.min(std::mem::replace(&mut wanted_before, wanted));
        let missing = least.saturating_sub(running);
        for nth in 0..lasting.saturating_sub(starting).max(missing) {
            let idle = (nth >= missing).then(|| template.idle_timeout());
            // How it ends is seen at the next look.
            match template.start(idle, mpsc::unbounded_channel().0).await {
                Ok(worker) => workers.add(worker),
                Err(error) => {
                    tracing::warn!(%error, "a worker process that is wanted cannot be started");
                    break;
                }
            }
        }
    }
}

async fn looked(template: &Template, offers: &Resources, most: usize) -> Result<usize, AskError> {
    let (wanted, nodes) = (template.node().wanted().await?, template.node().all_nodes().await?);
    let free = nodes.into_iter().filter(|node| node.hosts && !node.suspect).map(|node| node.free);
    Ok(more_workers(&wanted, free.collect(), offers, most))
}

/// How many workers that offer this would have room for what waits, beside what is free now, up to `most`.
fn more_workers(wanted: &Wanted, free: Vec<Resources>, offers: &Resources, most: usize) -> usize {
    let mut rooms = Rooms { offers, there: free.len(), most: free.len() + most, free };
    for line in &wanted.tasks {
        for _ in 0..unmet(line) {
            if rooms.place(&line.resources, &[]).is_none() {
                break;
            }
        }
    }
    for line in wanted.actors.iter().filter(|line| line.why.as_ref().is_some_and(helps)) {
        rooms.place(&line.resources, &[]);
    }
    for line in wanted.groups.iter().filter(|line| line.why.as_ref().is_some_and(helps)) {
        rooms.put_group(line);
    }
    rooms.free.len() - rooms.there
}

/// Slots of a class that other nodes of the same kind would have room for.
fn unmet(line: &DemandLine) -> u32 {
    match &line.why {
        Some(WantError::Unplaced(why)) if helps(why) => line.wanted.saturating_sub(line.granted),
        _ => 0,
    }
}

/// Whether it may be for want of another node like those that there are.
fn helps(why: &Why) -> bool {
    match why {
        Why::Full | Why::Kept | Why::Outranked(_) | Why::NoNode | Why::NeverFits(..) | Why::BundlesNeverFit(_) => true,
        Why::Labels(_) | Why::NotThere(_) | Why::NoBundle(_) => false,
    }
}

/// What is free: on the nodes that there are, and then on workers that there are not yet, once what waits is put there.
struct Rooms<'a> {
    offers: &'a Resources,
    there: usize,
    most: usize,
    free: Vec<Resources>,
}

impl Rooms<'_> {
    /// Into the first with room that is none of these, or one more. Where, if there is one.
    fn place(&mut self, need: &Resources, others: &[usize]) -> Option<usize> {
        let room = |at: &usize| !others.contains(at) && self.free[*at].lacks(need).is_none();
        let at = match (0..self.free.len()).find(room) {
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
        let missing = |index: usize| match &line.state {
            GroupState::Waiting => true,
            GroupState::Placed(_) => false,
            GroupState::Partly(hosts) => hosts.get(index).is_some_and(Option::is_none),
        };
        let bundles = line.bundles.iter().enumerate().filter(|(index, _)| missing(*index)).map(|(_, bundle)| bundle);
        let together = (line.packing == Packing::StrictPack)
            .then(|| bundles.clone().fold(Resources::none(), |all, bundle| all.and(bundle)));
        let (before, mut apart) = (self.free.clone(), Vec::new());
        for bundle in together.iter().chain(bundles.filter(|_| together.is_none())) {
            match self.place(bundle, &apart) {
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
    use crate::directory::request::WaitingLine;
    use crate::id::{ActorId, GroupId, Life};
    use crate::schedule::{Amount, Class};

    fn cpus(n: f64) -> Resources {
        Resources::none().with("cpu", Amount::new(n).unwrap()).unwrap()
    }

    fn tasks(cpu: f64, wanted: u32, granted: u32, why: Option<Why>) -> DemandLine {
        DemandLine {
            owner: Life(1),
            class: Class(0),
            name: "tests::task".into(),
            resources: cpus(cpu),
            wanted,
            granted,
            recalled: 0,
            why: why.map(WantError::Unplaced),
        }
    }

    fn actor(cpu: f64, why: Why) -> WaitingLine {
        let actor = ActorId { life: Life(1), serial: 1 };
        WaitingLine { actor, name: "tests::Actor".into(), resources: cpus(cpu), why: Some(why) }
    }

    fn group(bundles: &[f64], packing: Packing, state: GroupState) -> GroupLine {
        let (group, bundles) = (GroupId { life: Life(1), serial: 1 }, bundles.iter().map(|n| cpus(*n)).collect());
        GroupLine { group, name: None, bundles, packing, state, why: Some(Why::Full), detached: false }
    }

    /// Workers of two CPUs, ten at most, beside a full node and one with a CPU that is free.
    fn more(tasks: Vec<DemandLine>, actors: Vec<WaitingLine>, groups: Vec<GroupLine>) -> usize {
        more_workers(&Wanted { tasks, actors, groups }, vec![cpus(0.0), cpus(1.0)], &cpus(2.0), 10)
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
        assert_eq!(more(vec![], vec![actor(1.5, Why::Labels("zone=b".to_owned()))], vec![]), 0);
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
