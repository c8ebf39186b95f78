//! Whole clusters of processes, of which some die: what waits for the dead ends in an error that says so, the rest goes
//! on, and nothing is left behind.
#![allow(missing_docs)]

mod actors;
mod checkpoints;
mod clusters;
#[path = "../common/mod.rs"]
mod common;
mod drivers;
mod fences;
mod heads;
mod kept;
mod restarts;
mod retries;
mod starts;
#[path = "../common/stranger.rs"]
#[allow(dead_code, reason = "the other binaries that share it use the rest")]
mod stranger;
mod unfinished;
mod workers;

mobula::test_worker!();

/// Where other processes of this binary enter that a test starts beside its workers.
#[test]
fn plays() {
    match common::part().as_deref() {
        None => {}
        Some("owner of workers") => drivers::owner_of_workers(),
        Some("start and end") => drivers::start_and_end(),
        Some("driver of a running cluster") => drivers::connected(),
        Some("driver that leaves work behind") => unfinished::driver(),
        Some("head") => heads::head(),
        Some("journaled head") => checkpoints::journaled_head(checkpoints::LEASE),
        Some("patient head") => checkpoints::journaled_head(common::BOUND),
        Some("worker") => heads::worker(),
        Some(other) => panic!("there is no part `{other}`"),
    }
}
