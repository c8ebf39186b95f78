//! What operators look at: read-only snapshots of the cluster (feature `ops`).

pub mod http;
pub mod metrics;
