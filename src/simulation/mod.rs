//! The simulation: a whole cluster in one thread, from one seed. It drives the real state machines of head, lives, links,
//! references and queues ([`Directory`](crate::directory::Directory), [`NodeLife`](crate::node::core::life::NodeLife),
//! [`Link`](crate::node::core::link::Link), [`Refs`](crate::node::core::refs::Refs),
//! [`Queue`](crate::schedule::Queue)) on virtual clocks, a virtual network and a virtual disk; scripts stand for user code.
//! PROTOCOLS I1 to I6, L1 to L5 and R1 to R4, Q1 to Q5 of the queue, that placement groups are placed whole and that
//! tasks begin after those whose results they take, are checked as they go.
//!
//! ```text
//! world     events by (time, serial); who is where            stage     what all of them share
//! head      the head's process: doors, disk                    clock     a machine's CLOCK_BOOTTIME
//! node      a node's process: its life    requests  to head    network   connections that delay, break, go dark
//! links     sessions and batches          routes    callers    faults    what goes wrong
//! hosting   mailboxes    handlers  scripts     load      user code  checks    the invariants
//! references  objects, who holds them     errands  node to node
//! owning    tasks and their grants        running  tasks at their hosts      grouping  placement groups
//! following  tasks behind others
//! ```
//!
//! A seed replays exactly: no clock, no thread, no hash map; one stream of randomness a component; equal seeds give equal
//! hashes of their traces.

use std::fmt;
use std::time::Duration;

mod checks;
mod clock;
mod errands;
mod faults;
mod following;
mod grouping;
mod handlers;
mod head;
mod hosting;
mod idle;
mod links;
mod load;
mod network;
mod node;
mod owning;
mod random;
mod references;
mod requests;
mod routes;
mod running;
mod script;
mod stage;
mod world;

#[cfg(test)]
mod tests;

pub use checks::{Rule, Violation};

/// A bug to plant, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Requests are handed to mailboxes twice, now and then.
    Redelivers,
    /// A node counts its lease from when a beat was answered, not from when it was sent.
    LeaseFromAnswer,
    /// A caller is told of an answer twice, now and then.
    RepeatsAnswers,
    /// An actor that is killed says No of the calls that it had begun.
    DeniesBegun,
    /// The head answers before its records are on disk.
    AnswersBeforeSync,
    /// A host does not report that an actor has ended.
    ForgetsEnd,
    /// An owner does not count what it sends, now and then.
    SendsUncounted,
    /// A node that sends another one's object on does not hold it until it has landed.
    ForgetsTransit,
    /// A last handle's end is not told to the owner, now and then.
    KeepsHolds,
    /// A release is said twice, now and then.
    ReleasesTwice,
    /// A loss is not told to those who hold what is lost.
    HidesLosses,
    /// A node keeps tasks in line that it has given back.
    RunsRecalled,
    /// An owner forgets the tasks that a recall brings.
    ForgetsRecalled,
    /// A node takes grants of an earlier head that it did not report to the one that reigns.
    TakesOldGrants,
    /// An owner does not tell the head of slots that it gives back, now and then.
    KeepsSlots,
    /// A head that starts forgets where placement groups are.
    ForgetsBundles,
    /// A host begins a task without the result of the one that it stands behind.
    RunsAhead,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 17] = [
        Bug::Redelivers,
        Bug::LeaseFromAnswer,
        Bug::RepeatsAnswers,
        Bug::DeniesBegun,
        Bug::AnswersBeforeSync,
        Bug::ForgetsEnd,
        Bug::SendsUncounted,
        Bug::ForgetsTransit,
        Bug::KeepsHolds,
        Bug::ReleasesTwice,
        Bug::HidesLosses,
        Bug::RunsRecalled,
        Bug::ForgetsRecalled,
        Bug::TakesOldGrants,
        Bug::KeepsSlots,
        Bug::ForgetsBundles,
        Bug::RunsAhead,
    ];
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bug::Redelivers => "redelivers",
            Bug::LeaseFromAnswer => "lease-from-answer",
            Bug::RepeatsAnswers => "repeats-answers",
            Bug::DeniesBegun => "denies-begun",
            Bug::AnswersBeforeSync => "answers-before-sync",
            Bug::ForgetsEnd => "forgets-end",
            Bug::SendsUncounted => "sends-uncounted",
            Bug::ForgetsTransit => "forgets-transit",
            Bug::KeepsHolds => "keeps-holds",
            Bug::ReleasesTwice => "releases-twice",
            Bug::HidesLosses => "hides-losses",
            Bug::RunsRecalled => "runs-recalled",
            Bug::ForgetsRecalled => "forgets-recalled",
            Bug::TakesOldGrants => "takes-old-grants",
            Bug::KeepsSlots => "keeps-slots",
            Bug::ForgetsBundles => "forgets-bundles",
            Bug::RunsAhead => "runs-ahead",
        })
    }
}

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The bug to plant.
    pub bug: Option<Bug>,
    /// Whether to keep a line for everything that happens.
    pub verbose: bool,
}

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of all that happened, in its order.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Calls made.
    pub calls: u64,
    /// How often one began.
    pub begun: u64,
    /// Lives of nodes.
    pub lives: u64,
    /// Objects put.
    pub objects: u64,
    /// How often a node was told that one is lost.
    pub losses: u64,
    /// Tasks submitted.
    pub tasks: u64,
    /// How often one began.
    pub attempts: u64,
    /// How often a placement group was placed.
    pub groups: u64,
    /// How often bundles of one were placed again, since their node had ended.
    pub moved: u64,
    /// By the world's clock.
    pub time: Duration,
}

/// A seed in which a rule did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
    /// What happened until then, by the world's clock.
    pub time: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} at {:?}: {}", self.seed, self.time, self.violation)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed.
///
/// # Errors
/// A rule did not hold.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Failure>> {
    run_told(seed, options).0
}

/// Runs one seed and tells what happened, line by line, if the options say so.
pub fn run_told(seed: u64, options: &Options) -> (Result<Report, Box<Failure>>, Vec<String>) {
    let (report, violation, lines) = world::World::new(seed, options).run();
    let failure = violation.map(|violation| Box::new(Failure { seed, violation, time: report.time }));
    (failure.map_or(Ok(report), Err), lines)
}
