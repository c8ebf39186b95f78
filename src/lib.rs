//! Mobula: Ray's programming model as an embedded Rust SDK.

pub mod clock;
pub mod id;
pub mod limits;
pub mod node;
