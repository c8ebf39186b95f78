//! The `mobula` command and the nodes that it serves, as real processes over TCP.

mod cluster;
mod journal;
mod messages;
mod support;
