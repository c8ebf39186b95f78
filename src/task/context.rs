//! What a task may ask of its surroundings.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::thread::ThreadId;

use super::standing::Standing;
use crate::id::{GrantId, ObjectId};

/// The surroundings of a task: `ctx: &TaskContext` as its first parameter gives it.
#[derive(Clone)]
pub struct TaskContext {
    /// The node that it runs on.
    node: Arc<dyn Any + Send + Sync>,
    result: ObjectId,
    attempt: u32,
    standing: Arc<Standing>,
    site: Option<Site>,
}

/// Where a synchronous task runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    /// The grant whose slot it holds ..
    pub(crate) grant: GrantId,
    /// .. and gives to others while it waits.
    pub(crate) yields: bool,
    /// How many tasks that wait for it stand on the same stack.
    pub(crate) depth: u32,
    pub(crate) thread: ThreadId,
}

impl TaskContext {
    pub(crate) fn new(
        node: Arc<dyn Any + Send + Sync>,
        result: ObjectId,
        attempt: u32,
        standing: Arc<Standing>,
        site: Option<Site>,
    ) -> Self {
        TaskContext { node, result, attempt, standing, site }
    }

    pub(crate) fn node(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.node
    }

    pub(crate) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Where it runs, if it may wait there.
    pub(crate) fn site(&self) -> Result<Site, &'static str> {
        match self.site {
            None => Err("`get` of its context blocks, and an asynchronous task must not: write `reference.await`"),
            Some(site) if site.thread != std::thread::current().id() || self.standing.is_over() => {
                Err("a task waits by its context on its own thread, while it runs")
            }
            Some(site) => Ok(site),
        }
    }

    /// The object that it makes.
    #[must_use]
    pub fn result(&self) -> ObjectId {
        self.result
    }

    /// What this run is called, if [`name`](crate::TaskCall::name) gave it a name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.standing.name()
    }

    /// Which attempt this is; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the task was cancelled. An asynchronous one is dropped at its next await; a synchronous one that runs for long
    /// looks here now and then.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.standing.is_cancelled()
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("result", &self.result)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
