#[path = "../../../../src/task/standing.rs"]
#[allow(dead_code)]
mod standing;

mod cancel_and_send;

pub(crate) mod slot {
    /// A task.
    pub(crate) trait Runnable: Send + Sync {}
}
