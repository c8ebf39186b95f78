//! Mobula: Ray's programming model as an embedded Rust SDK.

pub mod id;
pub mod limits;
