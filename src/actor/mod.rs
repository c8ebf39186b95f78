//! Actors: their mailboxes, the cells that run them, the calls and handles that reach them.

pub mod args;
pub(crate) mod bring;
pub mod call;
pub mod cell;
pub mod checkpoint;
pub mod context;
pub(crate) mod core;
pub mod dispatch;
pub mod ending;
pub mod error;
pub(crate) mod frame;
pub mod handle;
pub(crate) mod inbox;
pub(crate) mod job;
pub(crate) mod lifetime;
pub(crate) mod line;
pub mod link;
pub(crate) mod mailbox;
pub mod monitor;
pub(crate) mod occupied;
pub mod registry;
pub(crate) mod remote;
pub mod reply;
pub mod restart;
pub(crate) mod slot;
pub(crate) mod spawn;
