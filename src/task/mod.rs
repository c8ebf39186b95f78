//! Tasks: one run of an annotated function each.

pub mod context;
pub mod registry;
pub(crate) mod slot;
pub mod spec;
pub(crate) mod standing;
