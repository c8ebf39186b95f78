//! One seed's world: a head, machines with clocks, nodes on them, a network; events in the order of (time, serial).

use super::checks::{Checked, Rule, Violation, hold};
use super::clock::Clock;
use super::faults::plan;
use super::head::Head;
use super::load::{CPUS, cpus, join};
use super::network::Place;
use super::node::Node;
use super::random::Random;
use super::references::References;
use super::stage::{Event, Stage};
use super::{Options, Report};
use crate::clock::Moment;
use crate::directory::Directory;
use crate::directory::request::{Page, Query};
use crate::id::{ActorId, Life, NodeId};
use crate::limits::LEASE;
use crate::schedule::Resources;
use std::time::Duration;

/// One node, as it is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) machine: usize,
    hosts: bool,
    listens: bool,
}

/// Who is where. The head has machine 0 for itself.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) machines: usize,
    pub(super) nodes: Vec<Drawn>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) head: Head,
    pub(super) nodes: Vec<Node>,
    layout: Layout,
    /// Whether a parent says that a node's last identity is dead for good.
    pub(super) identity_over: Vec<bool>,
    identities: Vec<u8>,
    over: Moment,
    /// All was quiet, and user code has dropped all references.
    dropped: bool,
    events: u64,
}

/// How long after the last fault everything may take to come to its end.
const SETTLES_WITHIN: Duration = Duration::from_secs(240);
/// More events than any seed has: what runs on and on is a failure too.
const EVENTS: u64 = 300_000;

fn layout(random: &mut Random) -> Layout {
    let machines = 2 + random.index(3);
    let count = 2 + random.index(4);
    let nodes = (0..count).map(|n| {
        // One at least can host. Who hosts listens; of drivers, some do.
        let hosts = n == 0 || !random.one_in(3);
        Drawn { machine: 1 + random.index(machines - 1), hosts, listens: hosts || random.one_in(3) }
    });
    let nodes = nodes.collect();
    Layout { machines, nodes }
}

fn identity(index: usize, number: u8) -> NodeId {
    let mut id = [index as u8 + 1; 32];
    // Which of two nodes has the smaller id is drawn with the number.
    id[0] = number.wrapping_mul(37).wrapping_add(index as u8 * 11);
    id[1] = number;
    NodeId(id)
}

impl World {
    pub(super) fn new(seed: u64, options: &Options) -> World {
        let mut random = Random::new(seed, 1);
        let layout = layout(&mut random);
        let rate = [0, 200, 30_000][random.index(3)];
        let clocks = (0..layout.machines).map(|_| Clock::draw(&mut random, rate)).collect();
        let mut stage = Stage::new(seed, options, clocks);
        let over = plan(&mut random, &layout, &mut stage.queue, options.temper);
        let mut identities = Vec::new();
        let mut nodes = Vec::new();
        for (index, drawn) in layout.nodes.iter().enumerate() {
            let number = random.below(200) as u8;
            identities.push(number);
            let join = join(identity(index, number), drawn.machine, drawn.hosts, drawn.listens, 0);
            nodes.push(Node::new(index, drawn.machine, join));
        }
        let count = nodes.len();
        let mut world = World {
            stage,
            head: Head::new(0),
            identity_over: vec![false; count],
            nodes,
            layout,
            identities,
            over,
            dropped: false,
            events: 0,
        };
        world.head.start(&mut world.stage);
        (0..count).for_each(|node| world.start(node));
        world
    }

    /// Starts a node's process, if it does not run: with its old identity, if that may still join.
    pub(super) fn start(&mut self, index: usize) {
        if self.nodes[index].up {
            return;
        }
        let fresh = self.stage.shell.one_in(3);
        if std::mem::take(&mut self.identity_over[index]) || fresh {
            self.identities[index] = self.identities[index].wrapping_add(1);
        }
        let (id, drawn) = (identity(index, self.identities[index]), self.layout.nodes[index]);
        let attempt = self.stage.shell.next();
        self.nodes[index].start(&mut self.stage, join(id, drawn.machine, drawn.hosts, drawn.listens, attempt));
    }

    /// Runs until all is quiet after the last fault, or until a rule does not hold.
    pub(super) fn run(mut self) -> (Report, Option<Violation>, Vec<String>) {
        self.runs();
        let report = Report {
            hash: self.stage.hash,
            events: self.events,
            calls: self.stage.ledger.count() as u64,
            begun: self.stage.ledger.begun() as u64,
            lives: self.stage.lives.count() as u64,
            objects: self.stage.references.count() as u64,
            losses: self.stage.references.losses(),
            tasks: self.stage.tasks.count() as u64,
            attempts: self.stage.tasks.begun(),
            groups: self.stage.groups.count().0,
            moved: self.stage.groups.count().1,
            saves: self.stage.saves.count().0,
            restored: self.stage.saves.count().1,
            supervisors: self.stage.supervisors.count().0,
            mended: self.stage.supervisors.count().1,
            time: self.stage.queue.now.since(Moment(0)),
        };
        (report, self.stage.violation.take(), std::mem::take(&mut self.stage.lines))
    }

    fn runs(&mut self) {
        let limit = self.over + SETTLES_WITHIN;
        while self.stage.violation.is_none() {
            let Some(event) = self.stage.queue.pop() else { break };
            self.events += 1;
            if self.stage.calm && self.events.is_multiple_of(64) && self.is_quiet() {
                if self.is_dropped() {
                    break;
                }
                self.drop_references();
            }
            if self.stage.queue.now > limit || self.events > EVENTS {
                self.not_quiet();
                break;
            }
            self.happens(event);
            self.check();
        }
    }

    fn happens(&mut self, event: Event) {
        let stage = &mut self.stage;
        match event {
            Event::Arrival(id, side) => {
                let Some((whose, what)) = stage.network.arrive(&mut stage.queue, id, side) else { return };
                match whose.place {
                    Place::Head { .. } => self.head.arrives(stage, id, whose, what),
                    Place::Node { index, run } => {
                        let node = &mut self.nodes[index];
                        if node.run == run && node.up {
                            node.arrives(stage, id, side, whose, what);
                        }
                    }
                }
            }
            Event::Within(run, within) => {
                let node = &mut self.nodes[run.index];
                if node.run == run.run && node.up {
                    node.happens(stage, within);
                }
            }
            Event::Head(run) => self.head.timer(stage, run),
            Event::Synced(run) => self.head.synced(stage, run),
            Event::Fault(fault) => self.fault(fault),
            Event::Proof { witness, died } => self.proof(witness, died),
        }
    }

    /// What is looked at after every event.
    fn check(&mut self) {
        let (stage, nodes) = (&self.stage, &self.nodes);
        let one = stage.lives.one_begins(|present| {
            let node = &nodes[present.node];
            node.up && node.may_begin(stage)
        });
        self.stage.check(one);
    }

    /// Every call has ended, every request to the head is answered, every link is idle, and all agree.
    fn is_quiet(&self) -> bool {
        let settled = self.stage.queue.now > self.over + LEASE / 2;
        settled
            && self.stage.ledger.open() + self.stage.tasks.open() == 0
            && self.nodes.iter().all(Node::is_idle)
            && self.agrees().is_ok()
    }

    /// Nothing refers to any object any more, and nothing is left of them (R2).
    fn is_dropped(&self) -> bool {
        let empty = |node: &Node| node.references.as_ref().is_some_and(References::is_empty);
        self.dropped && self.stage.references.kept() == 0 && self.nodes.iter().all(empty)
    }

    fn drop_references(&mut self) {
        if !std::mem::replace(&mut self.dropped, true) {
            for node in &mut self.nodes {
                node.drops_all(&mut self.stage);
                node.schedule(&mut self.stage);
            }
        }
    }

    fn not_quiet(&mut self) {
        let (all_ended, agrees) = (self.stage.ledger.all_ended(), self.agrees());
        let freed = if self.dropped { self.stage.references.all_freed() } else { Ok(()) };
        let tasks = self.stage.tasks.all_ended();
        self.stage.check(all_ended.and(tasks).and(agrees).and(freed));
        let holds = |node: &&Node| !node.owner.is_idle() || !node.host.is_idle();
        let holders: Vec<String> =
            self.nodes.iter().filter(holds).map(|node| node.owner.standing() + &node.host.standing()).collect();
        self.stage.check(hold(holders.is_empty(), Rule::Q5, || format!("no task is left, and yet: {holders:?}")));
        let busy: Vec<String> = self.nodes.iter().map(Node::why_busy).collect();
        let what = format!("after {} events it is not quiet: {busy:?}", self.events);
        self.stage.check(Err::<(), _>(Violation { rule: Rule::I6, what }));
    }

    /// Head and nodes: who lives, what runs where, what is taken.
    fn agrees(&self) -> Checked {
        let Some(head) = self.head.directory() else { return hold(false, Rule::Settled, || "there is no head".into()) };
        let Page::Nodes(lines) = head.status(Query::Nodes { after: Life(0) }) else { return Ok(()) };
        let up = self.nodes.iter().filter(|node| node.up);
        let mut living: Vec<_> = up.filter_map(|node| Some((node.life()?, node))).collect();
        living.sort_by_key(|(life, _)| *life);
        let same = lines.iter().map(|line| line.life).eq(living.iter().map(|(life, _)| *life));
        hold(same, Rule::Settled, || format!("the head knows {lines:?}"))?;
        for (line, (life, node)) in lines.iter().zip(&living) {
            hold(!line.suspect, Rule::Settled, || format!("life {life} is still suspect"))?;
            let known = node.core.known().iter().all(|member| lines.iter().any(|line| line.life == member.life));
            hold(known, Rule::Settled, || format!("life {life} does not know yet who has ended"))?;
            let alone = |actor: &&ActorId| self.stage.takers.contains(actor) && !self.stage.groups.is_within(**actor);
            let bundles = self.stage.groups.taken(*life, node.actors.keys().copied())?;
            let takes = node.actors.keys().filter(alone).count() as u64 + bundles;
            let free = if line.hosts { cpus(CPUS - takes.min(CPUS)) } else { Resources::none() };
            hold(line.free.get("cpu") == free.get("cpu"), Rule::Settled, || {
                format!(
                    "actors and bundles take {takes} CPUs of life {life}, but the head counts {:?} as free",
                    line.free
                )
            })?;
        }
        let runs = |actor| living.iter().any(|(_, node)| node.actors.contains_key(&actor));
        self.stage.supervisors.stand(runs)?;
        self.actors_agree(head, &living)
    }

    fn actors_agree(&self, head: &Directory, living: &[(Life, &Node)]) -> Checked {
        let (mut after, mut known) = (None, 0);
        while let Page::Actors(lines) = head.status(Query::Actors { after })
            && let Some(last) = lines.last()
        {
            after = Some(last.actor);
            for line in &lines {
                let host = living.iter().find(|(life, _)| Some(*life) == line.host);
                let there = host.is_some_and(|(_, node)| node.hosts(line.actor, line.placement));
                let waits = line.host.is_none() && self.stage.takers.contains(&line.actor);
                hold(there || waits, Rule::Settled, || format!("{line:?} is not there"))?;
                known += usize::from(there);
            }
        }
        let hosted = living.iter().flat_map(|(_, node)| node.actors.values()).filter(|actor| !actor.ephemeral).count();
        hold(hosted == known, Rule::Settled, || format!("{hosted} actors run, and the head knows {known} of them"))
    }
}

#[cfg(test)]
mod tests;
