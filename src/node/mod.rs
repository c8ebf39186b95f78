//! What ties the rows below together on one node.

pub mod core;
