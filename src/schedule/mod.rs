//! Where an actor or a task may run, and which task runs next: pure rules over resources, labels and load, and the queue
//! of one owner's tasks. No clock, no I/O; the head and the owners ask and obey.

pub mod bundles;
pub mod labels;
pub mod option;
pub mod placement;
pub mod queue;
pub mod resources;

pub use bundles::Packing;
pub use labels::{Condition, Labels, Selector, Selectors};
pub use option::InvalidOption;
pub use placement::{Fit, Offer, Requirement, Strategy, Why};
pub use queue::{Class, Queue, TaskNumber};
pub use resources::{Amount, Resources};
