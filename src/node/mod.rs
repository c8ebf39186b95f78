//! What ties the rows below together on one node.

pub(crate) mod actors;
mod bulk;
pub(crate) mod compute;
pub(crate) mod control;
pub mod core;
mod fetch;
pub(crate) mod give;
mod host;
pub(crate) mod isolated;
mod lend;
mod lifetimes;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod look;
pub(crate) mod machine;
mod neighbours;
mod objects;
mod prober;
mod pull;
mod recover;
pub(crate) mod runtime;
mod seek;
mod shutdown;
pub(crate) mod spawn;
pub(crate) mod store;
pub(crate) mod tasks;
pub(crate) mod worker;
