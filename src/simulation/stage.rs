//! What everything in a world shares: the time, the queue of events, the network, the calls, the ledgers, the trace.

use super::checks::calls::{Calls, End};
use super::checks::groups::Groups;
use super::checks::lives::Lives;
use super::checks::packets::Packets;
use super::checks::references::References;
use super::checks::saves::Saves;
use super::checks::supervision::Supervisors;
use super::checks::tasks::Tasks;
use super::checks::{Checked, Violation};
use super::clock::Clock;
use super::errands::Errand;
use super::faults::Fault;
use super::network::{Listener, Network, Place, Side};
use super::random::{Random, mix};
use super::script::Call;
use super::supervising::Watch;
use super::{Bug, Options};
use crate::actor::core::supervision::How;
use crate::clock::Moment;
use crate::directory::request::Died;
use crate::id::{ActorId, Epoch, Life, NodeId, Placement};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// A process of a node: which, and which run of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) index: usize,
    pub(super) run: u32,
}

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// Something arrives at an end of a connection.
    Arrival(u64, Side),
    /// Something happens inside a node's process.
    Within(Run, Within),
    /// A timer of the head's.
    Head(u32),
    /// The disk has what was written before.
    Synced(u32),
    /// Something breaks, or is mended.
    Fault(Fault),
    /// A process of the same machine has seen another one dead.
    Proof { witness: usize, died: usize },
}

/// What happens inside a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Within {
    /// A timer of the node's machines.
    Timer,
    /// The sender task of a link has its turn.
    Flush(Life),
    /// A handler goes on.
    Frame(u64),
    /// A constructor returns.
    Made(ActorId, Placement),
    /// The consumer of a streaming reply takes an item.
    Take(u64),
    /// A caller stops waiting.
    TimeUp(u64),
    /// A caller drops its call.
    Drop(u64),
    /// The user's code does something.
    Act,
    /// A packet with references is read.
    Open(u64),
    /// A task ends that runs here.
    Ran(u64),
    /// Holds are let go whose last handle is gone.
    Bury,
    /// All that ran under a fenced life is gone.
    Emptied(Life),
    /// A supervisor's pause is over.
    Tend(usize),
    /// A supervisor's child has had the time to stop.
    Kill(usize, ActorId),
    /// An actor of this node has ended for whose end something waits.
    Ended(Watch, How),
}

/// Events by time, then in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) now: Moment,
    serial: u64,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
}

impl Queue {
    pub(super) fn at(&mut self, at: Moment, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((at.max(self.now), self.serial, event)));
    }

    pub(super) fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.now + pause, event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let Reverse((at, _, event)) = self.events.pop()?;
        self.now = at;
        Some(event)
    }
}

/// Where an actor was when its handle was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) actor: ActorId,
    pub(super) life: Life,
    pub(super) placement: Placement,
    pub(super) ephemeral: bool,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) queue: Queue,
    pub(super) network: Network,
    pub(super) clocks: Vec<Clock>,
    /// What user code does; what shells draw; which calls save.
    pub(super) user: Random,
    pub(super) shell: Random,
    pub(super) saver: Random,
    pub(super) packets: Packets,
    pub(super) ledger: Calls,
    pub(super) lives: Lives,
    pub(super) saves: Saves,
    pub(super) supervisors: Supervisors,
    pub(super) references: References,
    pub(super) tasks: Tasks,
    pub(super) groups: Groups,
    pub(super) calls: Vec<Call>,
    pub(super) errands: Vec<Errand>,
    /// How long each task takes.
    pub(super) takes: Vec<Duration>,
    pub(super) handles: Vec<Handle>,
    pub(super) bug: Option<Bug>,
    /// Faults are over: handlers hurry, so that all comes to its end.
    pub(super) calm: bool,
    /// Actors that take resources of their nodes.
    pub(super) takers: BTreeSet<ActorId>,
    /// The heads that chose nodes for ephemeral ones.
    pub(super) chosen: BTreeMap<ActorId, Epoch>,
    /// What was seen of deaths.
    pub(super) died: Vec<Died>,
    pub(super) violation: Option<Violation>,
    pub(super) hash: u64,
    verbose: bool,
    pub(super) lines: Vec<String>,
}

/// The longest list of handles that user code chooses from.
const HANDLES: usize = 12;

impl Stage {
    pub(super) fn new(seed: u64, options: &Options, clocks: Vec<Clock>) -> Stage {
        Stage {
            queue: Queue::default(),
            network: Network::new(Random::new(seed, 2)),
            clocks,
            user: Random::new(seed, 3),
            shell: Random::new(seed, 4),
            saver: Random::new(seed, 5),
            packets: Packets::default(),
            ledger: Calls::default(),
            lives: Lives::default(),
            saves: Saves::default(),
            supervisors: Supervisors::default(),
            references: References::default(),
            tasks: Tasks::default(),
            groups: Groups::default(),
            calls: Vec::new(),
            errands: Vec::new(),
            takes: Vec::new(),
            handles: Vec::new(),
            bug: options.bug,
            calm: false,
            takers: BTreeSet::new(),
            chosen: BTreeMap::new(),
            died: Vec::new(),
            violation: None,
            hash: seed,
            verbose: options.verbose,
            lines: Vec::new(),
        }
    }

    pub(super) fn now(&self, machine: usize) -> Moment {
        self.clocks[machine].at(self.queue.now)
    }

    /// Keeps the first rule that did not hold.
    pub(super) fn check<T: Default>(&mut self, checked: Checked<T>) -> T {
        checked.unwrap_or_else(|violation| {
            self.note(99, 0, 0, || format!("VIOLATION {violation}"));
            self.violation.get_or_insert(violation);
            T::default()
        })
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// What happened enters the trace's hash, and its lines if someone reads them.
    pub(super) fn note(&mut self, what: u64, one: u64, other: u64, line: impl FnOnce() -> String) {
        self.hash = mix(self.hash ^ self.queue.now.0.rotate_left(17) ^ (what << 56) ^ one.rotate_left(32) ^ other);
        if self.verbose {
            self.lines.push(format!("{:>14.6?}  {}", self.queue.now, line()));
        }
    }

    pub(super) fn publish(&mut self, handle: Handle) {
        self.handles.retain(|known| known.actor != handle.actor);
        self.handles.push(handle);
        if self.handles.len() > HANDLES {
            self.handles.remove(0);
        }
    }

    /// A life is over, whoever knows it already.
    pub(super) fn life_over(&mut self, life: Life) {
        self.references.over(life);
        self.tasks.over(life);
        self.supervisors.over(life);
    }

    /// A call's caller is told of its end.
    pub(super) fn call_ends(&mut self, call: u64, end: End) {
        let checked = self.ledger.ends(call, end);
        self.check(checked);
        self.note(10, call, 0, || format!("call {call} ends: {end:?}"));
    }
}

impl Stage {
    /// Where the head listens; its machine, if it does not.
    pub(super) fn head_listener(&self) -> Result<Listener, usize> {
        let heads = self.network.listeners.range(..Place::Node { index: 0, run: 0 });
        heads.map(|(_, listener)| *listener).next().ok_or(0)
    }

    /// Of which node a life is: what a handle would say.
    pub(super) fn node_of(&self, life: Life) -> Option<NodeId> {
        self.lives.node_of(life)
    }

    /// Where a node listens, if it runs.
    pub(super) fn node_listener(&self, node: NodeId) -> Option<Listener> {
        self.network.listeners.values().find(|listener| listener.node == node).copied()
    }
}
