//! Nodes that lose each other for a while: links that go down, packets that go one way only, connections that stall, lag
//! and are reset. What was acknowledged has run, nothing runs twice, nothing out of order, and everything ends.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod ledger;
mod namespaces;
mod nodes;
mod proxied;
mod proxy;

/// Where other processes of this binary enter.
#[test]
fn plays() {
    match common::part().as_deref() {
        None => {}
        Some("worker") => nodes::worker(),
        Some(other) => panic!("there is no part `{other}`"),
    }
}
