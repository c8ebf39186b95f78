//! What users hold: the cluster, and the builders of its actors.

pub mod client;
pub mod config;
mod context;
pub mod demand;
pub mod depart;
mod environment;
mod giving;
pub mod group;
pub mod lookup;
pub mod main;
pub mod needed;
pub mod objects;
pub mod placement;
mod placing;
pub mod pool;
pub mod queue;
mod reserved;
mod scale;
pub mod spawn;
mod stage;
pub mod start;
pub mod status;
pub mod supervisor;
pub mod tasks;
mod workers;
