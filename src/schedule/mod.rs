//! Where an actor may run: pure rules over resources, labels and load. No clock, no I/O; the head asks and obeys.

pub mod labels;
pub mod placement;
pub mod resources;

pub use labels::{Condition, Labels, Selector};
pub use placement::{Fit, Offer, Requirement, Strategy, Why};
pub use resources::{Amount, Resources};
