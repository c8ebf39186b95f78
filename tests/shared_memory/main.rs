//! Objects in shared memory, as the cluster's users have them.

mod ahead;
#[path = "../common/alone.rs"]
mod alone;
mod apart;
#[cfg(feature = "arrow")]
mod arrow;
mod bad_input;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod elsewhere;
mod giving;
mod memory;
mod one_process;
mod processes;
mod quiet;
mod results;
mod spilling;
mod support;
mod weight;

mobula::test_worker!();

/// What another process of this binary plays, if this is one.
#[test]
fn plays() {
    match common::part().as_deref() {
        None => {}
        Some("looks") => bad_input::looks(),
        Some(other) => panic!("nobody plays {other}"),
    }
}
