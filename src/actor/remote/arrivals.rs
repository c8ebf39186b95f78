//! Requests that arrived before the values of their arguments: each holds back its own stream, and no other (PROTOCOLS §1.8).

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::host::RemoteJob;
use crate::actor::bring::{Gathering, Next};
use crate::actor::dispatch::Method;
use crate::actor::error::EndReason;
use crate::actor::line::{InLine, Line, Missing};
use crate::id::Life;

/// The lines of an actor's streams in which something stands.
#[derive(Default)]
pub(crate) struct Arrivals {
    /// Whether there are any, for requests that need not look in.
    any: AtomicBool,
    lines: Mutex<FxHashMap<(Life, u32), Arc<Line>>>,
}

impl Arrivals {
    /// The line that a request of this stream must stand in: it waits itself, or follows one that does.
    pub(crate) fn line(&self, stream: (Life, u32), waits: bool) -> Option<Arc<Line>> {
        if !waits && !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut lines = self.lines.lock();
        // Who has one in hand is about to enter it.
        lines.retain(|_, line| line.is_occupied() || Arc::strong_count(line) > 1);
        let line = match lines.get(&stream) {
            Some(line) if waits || line.is_occupied() => Some(line.clone()),
            Some(_) => None,
            None => waits.then(|| lines.entry(stream).or_default().clone()),
        };
        self.any.store(!lines.is_empty(), Ordering::Release);
        line
    }
}

/// A request in line. Its actor does not stop before it has come into the mailbox, or is refused: whoever sent it may have
/// let go of the actor since.
pub(crate) struct Arrived<M: Method> {
    job: Arc<RemoteJob<M>>,
    line: Weak<Line>,
    gathering: Gathering,
}

impl<M: Method> Arrived<M> {
    /// Enters a request.
    ///
    /// # Errors
    /// The actor ends, or was asked to stop.
    pub(crate) fn enter(job: Arc<RemoteJob<M>>, line: &Arc<Line>) -> Result<(), EndReason> {
        job.inbox().mailbox().expect()?;
        job.waits();
        line.enter(Arc::new(Arrived { job, line: Arc::downgrade(line), gathering: Gathering::default() }));
        Ok(())
    }
}

impl<M: Method> Drop for Arrived<M> {
    fn drop(&mut self) {
        self.job.inbox().mailbox().unexpect();
    }
}

impl<M: Method> InLine for Arrived<M> {
    fn missing(self: Arc<Self>) -> Option<Missing> {
        match self.gathering.next(|| self.job.gather()) {
            Next::Goes => None,
            Next::Waits => Some(Missing::Brought),
            Next::Brings(gathered) => {
                let arrived = self.clone();
                self.job.run_beside(Box::pin(async move {
                    arrived.gathering.done(arrived.job.bring(gathered).await);
                    if let Some(line) = arrived.line.upgrade() {
                        line.advance();
                    }
                }));
                Some(Missing::Brought)
            }
        }
    }

    fn go(self: Arc<Self>) {
        self.job.clone().come(self.gathering.absent());
    }
}
