//! What is saved of an actor's state, and how a later run is made of it instead of by the constructor.
//!
//! ```text
//! ctx.checkpoint(self), or by itself between calls ─▶ saved and encoded ─▶ beside the inbox: for the next run here
//!                                                                       └▶ at the head, if that may place the actor again:
//!                                                                          for its next host; a large one at another node,
//!                                                                          as the head knows. The former one is let go
//! ```
//!
//! An actor has one checkpoint at each of the two. They are numbered within a placement, and one is sent at a time, so that
//! none takes the place of a later one; the head refuses what another run than the one that it placed last sends it.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

use super::context::ActorContext;
use super::core::saved::Saved;
use super::dispatch::{Actor, Methods};
use super::ending::ended;
use super::error::{EndReason, panic_message};
use super::inbox::{Host, Inbox};
use super::job::{Access, Begun, BegunShared, Told, Verdict};
use super::mailbox::Item;
use super::restart::{Kept, Renewal, unless_ended};
use crate::limits::{KEPT_AGAIN, KEPT_AGAIN_LAST};
use crate::wire::packet::Ref;

/// An actor that says what of its state is saved, and how it is made again of that. Implemented by `#[methods]` where a method
/// is marked `#[checkpoint]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what of its state is saved",
    note = "mark a method `fn save(&self) -> Saved` with `#[checkpoint]`, and a function `fn restored(saved: Saved) -> Self` with `#[restore]`"
)]
pub trait Checkpointed: Methods {
    /// What is saved.
    type Saved: Serialize + DeserializeOwned + Send + 'static;
    /// Saves it.
    ///
    /// # Errors
    /// What the method's own error says.
    fn save(&self) -> Result<Self::Saved, String>;
    /// Makes the actor again.
    fn restore<'a>(saved: Self::Saved, ctx: &'a mut ActorContext<Self>) -> BoxFuture<'a, Result<Self, String>>;
}

/// When checkpoints are made that nobody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Never.
    Asked,
    /// After so many calls.
    Calls(u32),
    /// So long after the last one, if the state is another.
    Time(Duration),
}

/// How the checkpoints of an actor's type are made and read.
pub struct Checkpoint<A: Actor> {
    save: fn(&A, &Arc<dyn Host>) -> Result<Kept, CheckpointError>,
    pub(super) restore: Restore<A>,
    every: Every,
}

pub(super) type Restore<A> = for<'a> fn(&'a Kept, &'a mut ActorContext<A>) -> BoxFuture<'a, Result<A, Unmade>>;

/// Why an actor that is started again did not come to be.
pub(super) enum Unmade {
    /// Its constructor, or what restores it, failed: the next try may not.
    Failed(String),
    /// Its checkpoint cannot be read.
    NotRestored(String),
}

/// What `#[methods]` generates for an actor with a `#[checkpoint]`.
#[must_use]
pub const fn checkpoint<A: Checkpointed>(every: Every) -> Checkpoint<A> {
    Checkpoint { save: save::<A>, restore: restore::<A>, every }
}

fn save<A: Checkpointed>(actor: &A, host: &Arc<dyn Host>) -> Result<Kept, CheckpointError> {
    let saved = actor.save().map_err(|message| CheckpointError::Refused { message })?;
    Kept::of(&saved, host).map_err(|error| CheckpointError::Encode { message: error.to_string() })
}

fn restore<'a, A: Checkpointed>(kept: &'a Kept, ctx: &'a mut ActorContext<A>) -> BoxFuture<'a, Result<A, Unmade>> {
    Box::pin(async move {
        let saved = kept.message().map_err(|why| Unmade::NotRestored(format!("it does not decode: {why}")))?;
        let made = AssertUnwindSafe(async move { A::restore(saved, ctx).await });
        match futures_util::FutureExt::catch_unwind(made).await {
            Ok(made) => made.map_err(|why| Unmade::Failed(format!("its `#[restore]`: {why}"))),
            Err(panic) => Err(Unmade::Failed(format!("its `#[restore]`: {}", panic_message(&*panic)))),
        }
    })
}

/// Makes an actor of the checkpoint that it came with to this node.
///
/// # Errors
/// It cannot be made of that.
pub(super) async fn restored<A: Methods>(kept: &Kept, ctx: &mut ActorContext<A>) -> Result<A, EndReason> {
    let made = match &A::CHECKPOINT {
        Some(checkpoint) => (checkpoint.restore)(kept, ctx).await,
        None => Err(Unmade::NotRestored("this program's type has no `#[checkpoint]`".to_owned())),
    };
    made.map_err(|unmade| {
        let (Unmade::Failed(message) | Unmade::NotRestored(message)) = unmade;
        EndReason::NotRestored { message }
    })
}

/// Why a checkpoint was not made. The former one stays, unless it is said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The `#[checkpoint]` method returned an error.
    #[error("the actor did not save its state: {message}")]
    Refused {
        /// What it says.
        message: String,
    },
    /// What was saved cannot be encoded, or refers to objects, and would be kept outside of the actor's process.
    #[error("what was saved of the actor's state cannot be kept: {message}")]
    Encode {
        /// Why not.
        message: String,
    },
    /// It is too large for the head, and no other node keeps it for the death of the actor's. A restart after a panic uses it.
    #[error(
        "what was saved of the actor's state is {bytes} bytes, which another node is to keep, and none does: {why}"
    )]
    NoKeeper {
        /// Its size.
        bytes: usize,
        /// What the last one said that was asked.
        why: String,
    },
    /// The head keeps as much as it can for its actors.
    #[error(
        "the head keeps as many bytes of checkpoints and constructors' arguments as it can: end some actors, or save less"
    )]
    Full,
    /// A later run of the actor has begun, here or on another node.
    #[error("a later run of the actor has begun: what this one saves is not kept")]
    Stale,
    /// The head could not be asked: it may keep this checkpoint or the former. A restart after a panic uses this one.
    #[error("it is not known whether the head keeps the checkpoint: {why}")]
    Unknown {
        /// Why.
        why: String,
    },
}

/// An actor's checkpoints, beside what else it is started again from.
#[derive(Default)]
pub(crate) struct Saves {
    last: Mutex<Saved<Arc<Kept>>>,
    /// Who has it sends the last one.
    turn: tokio::sync::Mutex<()>,
    /// Somebody sends those that nobody waits for.
    sends: AtomicBool,
    /// A call of its own stands in the mailbox, to save by.
    queued: AtomicBool,
    /// How many calls had begun at the last one by itself.
    calls: AtomicU64,
}

impl Saves {
    /// What was saved last.
    pub(super) fn last(&self) -> Option<Arc<Kept>> {
        self.last.lock().last().cloned()
    }

    /// What the actor came with.
    pub(super) fn begin_with(&self, kept: Arc<Kept>) {
        let former = self.last.lock().begin_with(kept);
        drop(former);
    }

    fn take(&self, kept: Kept) -> u64 {
        let kept = Arc::new(kept);
        let (number, former) = self.last.lock().take(kept);
        drop(former);
        number
    }

    /// Whether this differs from what was saved last.
    fn is_news(&self, kept: &Kept) -> bool {
        self.last().is_none_or(|last| !last.is_same(kept))
    }

    /// Waits until the checkpoint of this number, or a later one, is where it must be.
    async fn until_safe<A: Actor>(&self, inbox: &Inbox<A>, number: u64) -> Result<(), CheckpointError> {
        let _turn = self.turn.lock().await;
        let Some((newest, kept)) = self.last.lock().unsafe_at(number) else { return Ok(()) };
        if inbox.host().is_placed(inbox.id()) {
            inbox.host().keep_checkpoint((inbox.id(), inbox.placement()), newest, &kept).await?;
        }
        self.last.lock().is_safe(newest);
        Ok(())
    }
}

/// What of an actor's state is to be kept.
fn saved<A: Methods>(checkpoint: &Checkpoint<A>, actor: &A, inbox: &Inbox<A>) -> Result<Kept, CheckpointError> {
    let kept = (checkpoint.save)(actor, inbox.host())?;
    let refers_to_objects = || kept.refs().iter().any(|reference| matches!(reference, Ref::Object { .. }));
    if inbox.host().is_placed(inbox.id()) && refers_to_objects() {
        let message = "who keeps it for the next run counts no objects inside: save their values".to_owned();
        return Err(CheckpointError::Encode { message });
    }
    Ok(kept)
}

/// The checkpoint that a method asks for: of the state as it is now.
pub(super) fn asked<A: Checkpointed>(
    actor: &A,
    inbox: &Arc<Inbox<A>>,
) -> impl Future<Output = Result<(), CheckpointError>> + Send + use<A> {
    // One that is never started again needs none.
    let saved = match (inbox.renewal(), &A::CHECKPOINT) {
        (Some(renewal), Some(checkpoint)) => Some((renewal.restart(), saved(checkpoint, actor, inbox))),
        _ => None,
    };
    let inbox = inbox.clone();
    async move {
        let (Some((run, saved)), Some(renewal)) = (saved, inbox.renewal()) else { return Ok(()) };
        let kept = saved?;
        if renewal.restart() != run {
            return Err(CheckpointError::Stale);
        }
        let number = renewal.saves().take(kept);
        // Goes on if it is dropped: who comes next waits for what is sent.
        let (said, heard) = oneshot::channel();
        inbox.host().clone().spawn(Box::pin(async move {
            if let Some(renewal) = inbox.renewal() {
                let _ = said.send(renewal.saves().until_safe(&inbox, number).await);
            }
        }));
        heard.await.unwrap_or_else(|_| Err(CheckpointError::Unknown { why: "its node was shut down".to_owned() }))
    }
}

/// Saves if so many calls have begun that it is time.
#[inline]
pub(super) fn between_calls<A: Methods>(actor: &A, ctx: &ActorContext<A>) {
    if let Some(Checkpoint { every: Every::Calls(every), .. }) = const { &A::CHECKPOINT } {
        after_calls(u64::from(*every), actor, ctx);
    }
}

fn after_calls<A: Methods>(every: u64, actor: &A, ctx: &ActorContext<A>) {
    let Some(renewal) = ctx.inbox().renewal() else { return };
    let (calls, saves) = (ctx.calls(), renewal.saves());
    if calls.saturating_sub(saves.calls.load(Ordering::Relaxed)) >= every {
        saves.calls.store(calls, Ordering::Relaxed);
        by_itself(actor, ctx.inbox(), renewal);
    }
}

/// Saves without anybody who waits for it. What goes wrong is logged: the former checkpoint stays.
fn by_itself<A: Methods>(actor: &A, inbox: &Arc<Inbox<A>>, renewal: &Renewal<A>) {
    let Some(checkpoint) = &A::CHECKPOINT else { return };
    let kept = match catch_unwind(AssertUnwindSafe(|| saved(checkpoint, actor, inbox))) {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => return tracing::error!(actor = %inbox.id(), %error, "a checkpoint was not made"),
        Err(panic) => {
            let message = panic_message(&*panic);
            return tracing::error!(actor = %inbox.id(), message, "a checkpoint was not made: `#[checkpoint]` panicked");
        }
    };
    let saves = renewal.saves();
    if !saves.is_news(&kept) {
        return;
    }
    saves.take(kept);
    send(inbox, saves);
}

/// What was saved last is where it was no more: it is saved there once more, or elsewhere.
pub(super) fn again<A: Actor>(inbox: &Arc<Inbox<A>>) {
    let Some(saves) = inbox.renewal().map(Renewal::saves) else { return };
    if saves.last.lock().again() {
        send(inbox, saves);
    }
}

/// Has what was saved sent by itself.
fn send<A: Actor>(inbox: &Arc<Inbox<A>>, saves: &Saves) {
    if !saves.sends.swap(true, Ordering::AcqRel) {
        let inbox = inbox.clone();
        inbox.host().clone().spawn(Box::pin(async move { send_all(&inbox).await }));
    }
}

/// Sends what is saved by itself, until nothing is left to send.
async fn send_all<A: Actor>(inbox: &Inbox<A>) {
    let Some(saves) = inbox.renewal().map(Renewal::saves) else { return };
    let mut pause = KEPT_AGAIN;
    loop {
        let number = saves.last.lock().number();
        if let Err(error) = saves.until_safe(inbox, number).await {
            tracing::warn!(actor = %inbox.id(), %error, "a checkpoint may not outlive this node");
            // It may be the only one that the next run could be made of.
            let again = error != CheckpointError::Stale;
            if again && unless_ended(inbox, tokio::time::sleep(pause)).await.is_ok() {
                pause = KEPT_AGAIN_LAST.min(pause * 2);
                continue;
            }
        }
        saves.sends.store(false, Ordering::Release);
        if saves.last.lock().number() == number || saves.sends.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

/// Has an actor that begins saved every so often, if its type says so.
pub(super) fn begin<A: Methods>(inbox: &Arc<Inbox<A>>) {
    let Some(Checkpoint { every: Every::Time(every), .. }) = &A::CHECKPOINT else { return };
    if inbox.renewal().is_none() {
        return;
    }
    let (inbox, every) = (inbox.clone(), *every);
    inbox.host().clone().spawn(Box::pin(async move {
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut end = std::pin::pin!(ended(&inbox));
        loop {
            tokio::select! {
                biased;
                _ = &mut end => return,
                _ = ticks.tick() => {}
            }
            let Some(saves) = inbox.renewal().map(Renewal::saves) else { return };
            // A slow actor is not buried under these.
            if saves.queued.swap(true, Ordering::AcqRel) {
                continue;
            }
            let pushed = inbox.mailbox().try_push(|| Item::Told(Box::new(Save(inbox.clone()))));
            if !matches!(pushed, Ok(true)) {
                saves.queued.store(false, Ordering::Release);
            }
        }
    }));
}

/// The call by which an actor is saved between others.
struct Save<A: Actor>(Arc<Inbox<A>>);

impl<A: Methods> Save<A> {
    fn run(&self, actor: &A) {
        let Some(renewal) = self.0.renewal() else { return };
        renewal.saves().queued.store(false, Ordering::Release);
        by_itself(actor, &self.0, renewal);
    }
}

impl<A: Methods> Told<A> for Save<A> {
    fn access(&self) -> Access {
        if A::GROUPS.is_empty() { Access::Exclusive } else { Access::Shared(0) }
    }

    fn begin<'a>(self: Box<Self>, actor: &'a mut A, _: &'a mut ActorContext<A>, _: &Arc<Inbox<A>>) -> Begun<'a, A> {
        self.run(actor);
        Begun::Over(Verdict::Continue)
    }

    fn begin_shared(self: Box<Self>, actor: Arc<A>, _: ActorContext<A>) -> BegunShared<A>
    where
        A: Sync,
    {
        self.run(&actor);
        BegunShared::Over(Verdict::Continue)
    }
}
