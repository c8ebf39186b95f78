//! The tasks of a node: those that wait for arguments or for a CPU, and those that run.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::runtime::Node;
use crate::actor::inbox::Host;
use crate::object::entry::Watch;
use crate::task::context::TaskContext;
use crate::task::slot::{Ran, Runnable};

/// A task and what it was submitted with.
pub(crate) struct Submitted {
    pub(crate) task: Arc<dyn Runnable>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// Tasks that are ready to run.
#[derive(Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Submitted>,
    running: usize,
}

/// A task that waits for arguments.
struct Waiting {
    node: Arc<Node>,
    missing: AtomicUsize,
    submitted: Mutex<Option<Submitted>>,
}

impl Watch for Waiting {
    fn settled(self: Arc<Self>, _: usize) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(submitted) = self.submitted.lock().take()
        {
            self.node.ready(submitted);
        }
    }
}

impl Node {
    /// Takes a task: it runs once its arguments are there and a CPU is free.
    pub(crate) fn submit(self: &Arc<Self>, submitted: Submitted) {
        let missing: Vec<_> =
            submitted.task.references().into_iter().filter(|reference| !reference.is_settled()).collect();
        if missing.is_empty() {
            return self.ready(submitted);
        }
        // One more than there are: nothing is ready while they are entered.
        let missing_count = AtomicUsize::new(missing.len() + 1);
        let submitted = Mutex::new(Some(submitted));
        let waiting = Arc::new(Waiting { node: self.clone(), missing: missing_count, submitted });
        let watch: Arc<dyn Watch> = waiting.clone();
        let settled = missing.iter().filter(|reference| reference.watch(&watch, 0).is_none()).count();
        (0..=settled).for_each(|_| waiting.clone().settled(0));
    }

    fn ready(self: &Arc<Self>, submitted: Submitted) {
        self.tasks().state.lock().ready.push_back(submitted);
        self.run_tasks();
    }

    /// Begins tasks while a CPU is free.
    fn run_tasks(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.tasks().state.lock();
                if state.running >= self.compute().threads() {
                    return;
                }
                let Some(next) = state.ready.pop_front() else { return };
                state.running += 1;
                next
            };
            self.begin(next);
        }
    }

    fn begin(self: &Arc<Self>, submitted: Submitted) {
        let Submitted { task, cancelled } = submitted;
        let context = TaskContext::new(self.clone(), task.result().id(), 1, cancelled);
        let node = self.clone();
        if task.is_blocking() {
            self.compute().run(Box::new(move || {
                task.run(context);
                node.task_over();
            }));
        } else {
            match task.run(context) {
                Ran::Over => self.task_over(),
                Ran::Running(running) => Host::spawn(
                    &**self,
                    Box::pin(async move {
                        running.await;
                        node.task_over();
                    }),
                ),
            }
        }
    }

    fn task_over(self: &Arc<Self>) {
        self.tasks().state.lock().running -= 1;
        self.run_tasks();
    }
}
