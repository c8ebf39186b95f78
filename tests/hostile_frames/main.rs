//! Hostile bytes against real processes: a head and a worker that listen on TCP, strangers who reach their ports, and a
//! member that has the key and breaks the rules. Whoever breaks them is closed and counted; everyone else notices nothing.
#![allow(missing_docs)]

mod callers;
mod chunks;
#[path = "../common/mod.rs"]
mod common;
mod lender;
mod lives;
#[path = "../transports/node.rs"]
#[allow(dead_code, reason = "the other binary that shares it uses the rest")]
mod node;
mod place;
mod rogue;
#[path = "../common/stranger.rs"]
#[allow(dead_code, reason = "the other binaries that share it use the rest")]
mod stranger;
mod strangers;
mod unread;

mobula::test_worker!();
