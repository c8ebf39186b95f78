//! Tasks: one run of an annotated function each.

pub mod context;
pub(crate) mod recipe;
pub mod registry;
pub mod returns;
pub(crate) mod slot;
pub mod spec;
pub(crate) mod standing;
pub mod stream;
pub(crate) mod tail;
