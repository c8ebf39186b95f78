//! What a method may ask of its surroundings.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::checkpoint::{self, CheckpointError, Checkpointed};
use super::dispatch::Actor;
use super::error::{EndReason, WireError};
use super::handle::{ActorRef, Handle};
use super::inbox::Inbox;
use super::lifetime::{At, Keeps};
use super::reply::Reply;
use crate::id::{ActorId, Epoch, Incarnation};
use crate::wire::packet::Frame;

/// A number that only rises over the runs of one actor, wherever they are: for effects outside of the cluster. A store that
/// remembers the highest token of an actor, and refuses writes with a lower one, is safe from a process that was stopped for
/// so long that its actors went elsewhere, and wakes up in the middle of a write.
///
/// ```
/// # use mobula::prelude::*;
/// # #[actor] struct Writer;
/// # #[methods] impl Writer {
/// #   #[constructor] pub fn new() -> Self { Self }
/// pub fn save(&mut self, ctx: &mut ActorContext<Self>) -> bool {
///     let token = ctx.fence();
///     // UPDATE state SET .., token = $token WHERE token <= $token
///     token >= ctx.fence()
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct FencingToken {
    /// Which head placed it, or served when it was placed.
    pub epoch: Epoch,
    /// Which run of the actor it is.
    pub incarnation: Incarnation,
}

/// The surroundings of an actor's methods: `ctx: &mut ActorContext<Self>` as a parameter gives it.
pub struct ActorContext<A: Actor> {
    inbox: Arc<Inbox<A>>,
    /// Calls that this actor began.
    serial: u64,
}

impl<A: Actor> ActorContext<A> {
    pub(crate) fn new(inbox: Arc<Inbox<A>>) -> Self {
        ActorContext { inbox, serial: 0 }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox<A>> {
        &self.inbox
    }

    /// The frame of the call that begins.
    pub(crate) fn next_frame(&mut self) -> Frame {
        self.serial += 1;
        Frame { actor: self.inbox.id(), frame: self.serial }
    }

    /// How many calls have begun.
    pub(super) fn calls(&self) -> u64 {
        self.serial
    }

    /// A context of its own for a call that runs beside others.
    pub(crate) fn fork(&mut self) -> Self {
        self.serial += 1;
        ActorContext { inbox: self.inbox.clone(), serial: self.serial - 1 }
    }

    /// The actor's own handle. It is *weak*: it does not keep the actor, wherever it is sent, or else an actor that holds
    /// it would never end.
    #[must_use]
    pub fn handle(&self) -> A::Handle {
        A::Handle::from_ref(ActorRef::local(self.inbox.clone(), Keeps::Weak))
    }

    /// The actor's own handle, as others hold it: the actor lives for as long as this or a clone of it is left. For those
    /// to whom it gives itself; one that it keeps in its own state keeps it until the node that spawned it ends.
    ///
    /// Of an actor whose last handle is gone already, which stops, and of a detached one it is weak.
    #[must_use]
    pub fn counted_handle(&self) -> A::Handle {
        let at = At { host: self.inbox.host().life(), placement: self.inbox.placement() };
        let keeps = self.inbox.host().keep(self.inbox.id(), A::type_name().key(), at);
        A::Handle::from_ref(ActorRef::local(self.inbox.clone(), keeps))
    }

    /// The actor's identity.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.inbox.id()
    }

    /// Which run of the actor this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.inbox.incarnation()
    }

    /// What stands for this run of the actor outside of the cluster: see [`FencingToken`].
    #[must_use]
    pub fn fence(&self) -> FencingToken {
        FencingToken { epoch: self.inbox.host().epoch(), incarnation: self.incarnation() }
    }

    /// Saves the actor's state as it is when this is called, by its `#[checkpoint]`, and is ready when a restart from then on
    /// finds it, or a later one: after a panic beside the actor, after the death of its node at the head, or at another node
    /// if it is more than 64 KiB. An actor that is never started again saves nothing.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # use mobula::CheckpointError;
    /// #[actor(restarts = 3)]
    /// struct Counter { total: u64 }
    /// #[methods]
    /// impl Counter {
    ///     #[constructor]
    ///     pub fn starting_at(total: u64) -> Self { Self { total } }
    ///     pub async fn add(&mut self, by: u64, ctx: &mut ActorContext<Self>) -> Result<u64, CheckpointError> {
    ///         self.total += by;
    ///         ctx.checkpoint(self).await?;
    ///         Ok(self.total)
    ///     }
    ///     #[checkpoint]
    ///     fn save(&self) -> u64 { self.total }
    ///     #[restore]
    ///     fn restored(total: u64) -> Self { Self { total } }
    /// }
    /// ```
    ///
    /// # Errors
    /// It was not saved, and the former checkpoint stays; or it is not known whether the head has it:
    /// [`Unknown`](CheckpointError::Unknown).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, this checkpoint or the former is found.
    pub fn checkpoint(&self, actor: &A) -> impl Future<Output = Result<(), CheckpointError>> + Send + use<A>
    where
        A: Checkpointed,
    {
        checkpoint::asked(actor, &self.inbox)
    }

    /// Calls that wait in the actor's mailbox.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inbox.mailbox().len()
    }

    /// Stops the actor once the calls that wait in its mailbox have run; `on_stop` runs last. Does not wait.
    pub fn stop(&self) {
        self.inbox.mailbox().drain();
    }

    /// Ends the actor when the method that runs next awaits or returns. Does not wait.
    pub fn kill(&self) {
        self.inbox.mailbox().close(EndReason::Killed);
    }

    /// The same, for a reason of the library's own.
    pub(crate) fn end(&self, reason: EndReason) {
        self.inbox.mailbox().close(reason);
    }

    /// Sends the actor a call after `delay`, unless it ends or is started again before. The reply is discarded.
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// # #[actor] struct Reminder { rung: bool }
    /// # #[methods] impl Reminder {
    /// #   #[constructor] pub fn new() -> Self { Self { rung: false } }
    /// pub fn snooze(&mut self, ctx: &mut ActorContext<Self>) {
    ///     ctx.after(std::time::Duration::from_secs(60), |me| me.ring());
    /// }
    /// pub fn ring(&mut self) { self.rung = true; }
    /// # }
    /// ```
    pub fn after<T, E, F>(&self, delay: Duration, call: F) -> Timer
    where
        F: FnOnce(&A::Handle) -> Call<T, E> + Send + 'static,
        T: Reply,
        E: WireError,
    {
        let me = self.handle();
        self.timer(async move {
            tokio::time::sleep(delay).await;
            let _ = call(&me).tell().await;
        })
    }

    /// Sends the actor a call every `period`, the first after one period, until it ends or is started again. A call that
    /// finds the mailbox
    /// full is left out: a slow actor is not buried under its own timer.
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn every<T, E, F>(&self, period: Duration, mut call: F) -> Timer
    where
        F: FnMut(&A::Handle) -> Call<T, E> + Send + 'static,
        T: Reply,
        E: WireError,
    {
        assert!(!period.is_zero(), "a timer's period must not be zero");
        let me = self.handle();
        self.timer(async move {
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let _ = call(&me).try_tell();
            }
        })
    }

    /// Runs `work` until it is done, cancelled, or this run of the actor is over.
    pub(super) fn timer(&self, work: impl Future<Output = ()> + Send + 'static) -> Timer {
        let (inbox, run) = (self.inbox.clone(), self.incarnation().restart);
        let (work, abort) = futures_util::future::abortable(async move {
            tokio::select! {
                biased;
                () = run_over(&inbox, run) => {}
                () = work => {}
                _ = super::ending::ended(&inbox) => {}
            }
        });
        self.inbox.run(Box::pin(async move {
            let _ = work.await;
        }));
        Timer { abort }
    }
}

/// Waits until this run of the actor is over, because another begins.
async fn run_over<A: Actor>(inbox: &Inbox<A>, run: u32) {
    match inbox.renewal() {
        Some(renewal) => renewal.run_over(run).await,
        None => std::future::pending().await,
    }
}

impl<A: Actor> fmt::Debug for ActorContext<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorContext({} {})", A::type_name(), self.id())
    }
}

/// A timer that [`ActorContext::after`] or [`ActorContext::every`] started. It goes on when this is dropped.
#[derive(Debug, Clone)]
pub struct Timer {
    pub(super) abort: futures_util::future::AbortHandle,
}

impl Timer {
    /// Sends nothing more.
    pub fn cancel(&self) {
        self.abort.abort();
    }
}
