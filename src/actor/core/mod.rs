//! What decides about an actor and is pure: the shells around it hold the locks, and the simulation drives it as they do.

pub(crate) mod course;
pub(crate) mod saved;
pub(crate) mod supervision;
pub(crate) mod tally;
