//! The simulation: a whole cluster in one thread, from one seed. It drives the real state machines of head, lives, links,
//! references, queues, checkpoints and supervisors ([`Directory`](crate::directory::Directory),
//! [`NodeLife`](crate::node::core::life::NodeLife), [`Link`](crate::node::core::link::Link),
//! [`Refs`](crate::node::core::refs::Refs), [`Queue`](crate::schedule::Queue), `actor::core::saved`,
//! `actor::core::supervision`) on virtual clocks, a virtual network and a virtual disk; scripts stand for user code. PROTOCOLS I1 to I6, L1 to L6 and R1 to R4, Q1 to Q5 of the queue, that placement groups are placed whole, that
//! tasks begin after those whose results they take and what supervisors promise are checked as they go.
//!
//! ```text
//! world     events by (time, serial); who is where            stage     what all of them share
//! head      the head's process: doors, disk                    clock     a machine's CLOCK_BOOTTIME
//! node      a node's process: its life    requests  to head    network   connections that delay, break, go dark
//! links     sessions and batches          routes    callers    faults    what goes wrong
//! hosting   mailboxes    handlers  scripts     load      user code  checks    the invariants
//! references  objects, who holds them     errands  node to node
//! owning    tasks and their grants        running  tasks at their hosts      grouping  placement groups
//! restarting  actors, in place      saving  what they are made of       following  tasks behind others
//! supervising  who starts others again, who waits for ends    calling  which runs of actors may call
//! bugs      what can be planted
//! ```
//!
//! A seed replays exactly: no clock, no thread, no hash map; one stream of randomness a component; equal seeds give equal
//! hashes of their traces.

use std::fmt;
use std::time::Duration;

mod bugs;
mod calling;
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
mod restarting;
mod routes;
mod running;
mod saving;
mod script;
mod stage;
mod supervising;
mod world;

#[cfg(test)]
mod tests;

pub use bugs::Bug;
pub use checks::{Rule, Violation};
pub use faults::Temper;

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The bug to plant.
    pub bug: Option<Bug>,
    /// What goes wrong; drawn from the seed if it is not said.
    pub temper: Option<Temper>,
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
    /// How often actors saved their state.
    pub saves: u64,
    /// How often one was made of that.
    pub restored: u64,
    /// Supervisors.
    pub supervisors: u64,
    /// How often one has started children again.
    pub mended: u64,
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
