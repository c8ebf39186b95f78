//! Monitors: an actor is told of the end of another, by a call to itself.
//!
//! ```text
//! ctx.monitor(&other) ─▶ a task of the watcher's node ─▶ other.ended(), wherever that is ─▶ its end ─▶ tell to the watcher
//!                            └ ends with the watcher's run, or is cancelled
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::call::Call;
use super::context::{ActorContext, Timer};
use super::dispatch::Actor;
use super::error::{CallError, EndReason, WireError};
use super::handle::Handle;
use super::inbox::Inbox;
use super::reply::Reply;
use crate::limits::MONITORS;

/// Why the end of an actor is not watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The actor has as many monitors as it may.
    #[error("the actor waits for the ends of {limit} others already, as many as it may: cancel some of its monitors")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// A monitor that [`ActorContext::monitor`] began. It goes on when this is dropped.
#[derive(Debug, Clone)]
pub struct Monitor {
    timer: Timer,
}

impl Monitor {
    /// Tells nothing more. A call that stands in the mailbox already still comes.
    pub fn cancel(&self) {
        self.timer.cancel();
    }
}

impl<A: Actor> ActorContext<A> {
    /// Sends this actor a call when another has ended, wherever it lives, with the reason of its end; at once if it has ended
    /// already. The call comes once, in the order of the mailbox, unless this actor ends or is started again before. Neither
    /// is the other kept by being watched, nor this one by watching.
    ///
    /// To be started again in place, or on another node, is no end. The death of a node is known within a second if it can be
    /// proved, and else when its lease is over; while it is merely silent nothing is told.
    /// [`Unknown`](EndReason::Unknown) is the reason of an end that was long ago. Code that is no actor awaits
    /// [`ended`](Handle::ended).
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// # use mobula::EndReason;
    /// # #[actor] struct Worker;
    /// # #[methods] impl Worker { #[constructor] pub fn new() -> Self { Self } }
    /// # #[actor] struct Foreman { idle: u32 }
    /// # #[methods] impl Foreman {
    /// #   #[constructor] pub fn new() -> Self { Self { idle: 0 } }
    /// pub fn hire(&mut self, ctx: &mut ActorContext<Self>, worker: WorkerHandle) -> mobula::Result<()> {
    ///     ctx.monitor(&worker, |me, why| me.worker_ended(why))?;
    ///     Ok(())
    /// }
    /// pub fn worker_ended(&mut self, why: EndReason) { self.idle += u32::from(!why.is_normal()); }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`MonitorError::TooMany`]: the actor has [`MONITORS`] of them.
    pub fn monitor<H, T, E, F>(&self, other: &H, call: F) -> Result<Monitor, MonitorError>
    where
        H: Handle,
        F: FnOnce(&A::Handle, EndReason) -> Call<T, E> + Send + 'static,
        T: Reply,
        E: WireError,
    {
        self.told_of(other.ended(), call)
    }

    /// The same of an end that somebody waits for already.
    pub(crate) fn told_of<T, E, F>(
        &self,
        end: impl Future<Output = Result<EndReason, CallError>> + Send + 'static,
        call: F,
    ) -> Result<Monitor, MonitorError>
    where
        F: FnOnce(&A::Handle, EndReason) -> Call<T, E> + Send + 'static,
        T: Reply,
        E: WireError,
    {
        let watching = Watching::begin(self.inbox())?;
        let me = self.handle();
        let timer = self.timer(async move {
            // Nobody waits in a cycle here; what else cannot be read of an answer is that the actor has ended.
            let reason = end.await.unwrap_or(EndReason::Unknown);
            let _ = call(&me, reason).tell().await;
            drop(watching);
        });
        Ok(Monitor { timer })
    }
}

/// One of the ends that an actor waits for.
struct Watching<A: Actor>(Arc<Inbox<A>>);

impl<A: Actor> Watching<A> {
    fn begin(inbox: &Arc<Inbox<A>>) -> Result<Self, MonitorError> {
        let one_more = |monitors: usize| (monitors < MONITORS).then_some(monitors + 1);
        let counted = inbox.monitors().fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map(|_| Watching(inbox.clone())).map_err(|_| MonitorError::TooMany { limit: MONITORS })
    }
}

impl<A: Actor> Drop for Watching<A> {
    fn drop(&mut self) {
        self.0.monitors().fetch_sub(1, Ordering::Relaxed);
    }
}
