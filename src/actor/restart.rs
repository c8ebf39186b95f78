//! Starting an actor again where it is, after a panic (PROTOCOLS §1.14).
//!
//! ```text
//! a method panics ─▶ what runs beside it ends ─▶ the state is dropped ─▶ pause ─▶ the constructor runs again ─▶ next call
//!                                                                        └ allowed no more, stopped, killed ─▶ the end
//! ```
//!
//! If there is a checkpoint, the next run is made of that ([`checkpoint`](super::checkpoint)), and not by the constructor.
//! The mailbox stays, and whoever holds a handle notices nothing. An actor that may not be started again keeps nothing for
//! it: what is needed lies beside the inbox, and is made by the first who asks for it.

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use tokio::sync::Notify;

use super::checkpoint::{Restore, Saves, Unmade};
use super::context::ActorContext;
use super::core::tally::Tally;
use super::dispatch::{Actor, Constructor, Methods};
use super::error::{CallError, EndReason, Executed, Part, panic_message};
use super::inbox::{Host, Inbox};
use super::job::Job;
use super::remote::{Here, NodeRef, encode_unbounded};
use super::spawn::run_constructor;
use crate::clock;
use crate::object::failure::text_of;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::Ref;

pub use super::core::tally::Restarts;

/// A message's arguments as they were, and what they refer to.
pub(crate) struct Kept {
    body: Box<[u8]>,
    enclosed: Enclosed,
    here: NodeRef,
}

impl Kept {
    /// Keeps a message.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub(crate) fn of<M: Serialize + 'static>(message: &M, host: &Arc<dyn Host>) -> Result<Kept, CallError> {
        let mut body = Vec::new();
        let enclosed = encode_unbounded(Part::Arguments, Executed::No, message, &mut body)?;
        let here: NodeRef = Arc::new(Here(Arc::downgrade(host)));
        Ok(Kept { body: body.into(), enclosed, here })
    }

    /// A message as it arrived.
    pub(crate) fn arrived(body: &[u8], enclosed: Enclosed, here: NodeRef) -> Kept {
        Kept { body: body.into(), enclosed, here }
    }

    /// Its bytes.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// What it refers to.
    pub(crate) fn refs(&self) -> &[Ref] {
        &self.enclosed.refs
    }

    /// Whether the other one says the same.
    pub(crate) fn is_same(&self, other: &Kept) -> bool {
        self.body == other.body && self.enclosed.refs == other.enclosed.refs
    }

    /// The message once more.
    ///
    /// # Errors
    /// What its type said, or that it panicked.
    pub(crate) fn message<M: DeserializeOwned>(&self) -> Result<M, String> {
        catch_unwind(AssertUnwindSafe(|| codec::decode_message(&self.body, self.enclosed.clone(), &self.here)))
            .map_err(|panic| panic_message(&*panic))?
            .map_err(|error| error.to_string())
    }
}

type Remake<A> = for<'a> fn(&'a Kept, &'a mut ActorContext<A>) -> BoxFuture<'a, Result<A, String>>;

/// What an actor is started again from.
pub(crate) struct Renewal<A: Actor> {
    kept: Kept,
    remake: Remake<A>,
    restore: Option<Restore<A>>,
    saves: Saves,
    tally: Mutex<Tally>,
    /// How often it was.
    restart: AtomicU32,
    /// What ran in the former run is being ended.
    ends_run: AtomicBool,
    /// Told when a run is over.
    run_over: Notify,
    /// Calls that began, and go again in the next run, by the order in which they did.
    returned: Mutex<BTreeMap<u64, Arc<dyn Job<A>>>>,
}

impl<A: Actor> Renewal<A> {
    /// Keeps a constructor's arguments.
    ///
    /// # Errors
    /// They cannot be encoded.
    pub(crate) fn of<C: Constructor<Actor = A>>(
        policy: Restarts,
        message: &C,
        inbox: &Inbox<A>,
    ) -> Result<Self, CallError>
    where
        A: Methods,
    {
        Ok(Renewal {
            kept: Kept::of(message, inbox.host())?,
            remake: remake::<C>,
            restore: A::CHECKPOINT.as_ref().map(|checkpoint| checkpoint.restore),
            saves: Saves::default(),
            tally: Mutex::new(Tally::new(policy, clock::now())),
            restart: AtomicU32::new(0),
            ends_run: AtomicBool::new(false),
            run_over: Notify::new(),
            returned: Mutex::default(),
        })
    }

    /// What was saved of it.
    pub(crate) fn saves(&self) -> &Saves {
        &self.saves
    }

    /// The actor once more: of what was saved of it last, or by its constructor.
    async fn make(&self, ctx: &mut ActorContext<A>) -> Result<A, Unmade> {
        match (self.restore, self.saves.last()) {
            (Some(restore), Some(kept)) => restore(&kept, ctx).await,
            _ => {
                let made = (self.remake)(&self.kept, ctx).await;
                made.map_err(|message| Unmade::Failed(format!("its constructor: {message}")))
            }
        }
    }

    /// Which run it is.
    pub(crate) fn restart(&self) -> u32 {
        self.restart.load(Ordering::Acquire)
    }

    /// Whether what ran is being ended because another run follows.
    pub(crate) fn ends_run(&self) -> bool {
        self.ends_run.load(Ordering::Acquire)
    }

    /// What runs is being ended, or has been.
    pub(crate) fn set_ends_run(&self, ends: bool) {
        self.ends_run.store(ends, Ordering::Release);
    }

    /// A call that began goes again in the next run.
    pub(crate) fn returns(&self, frame: u64, call: Arc<dyn Job<A>>) {
        self.returned.lock().insert(frame, call);
    }

    /// Those, in the order in which they began.
    pub(crate) fn take_returned(&self) -> impl DoubleEndedIterator<Item = Arc<dyn Job<A>>> + use<A> {
        std::mem::take(&mut *self.returned.lock()).into_values()
    }

    /// Has those who wait for a call that goes again count that before it does: else a host that dies in the middle of it takes
    /// with it how often it tried, and the next one would try as often again.
    async fn count_returned(&self) {
        let returned: Vec<_> = self.returned.lock().iter().map(|(frame, call)| (*frame, call.clone())).collect();
        let counting = returned.into_iter().filter_map(|(frame, call)| Some((frame, call.counted()?)));
        let counted = join_all(counting.map(|(frame, counted)| async move { (frame, counted.await) })).await;
        for frame in counted.into_iter().filter_map(|(frame, goes)| (!goes).then_some(frame)) {
            let call = self.returned.lock().remove(&frame);
            if let Some(call) = call {
                call.lapse();
            }
        }
    }

    /// Waits until this run is over.
    pub(crate) async fn run_over(&self, run: u32) {
        loop {
            let mut told = pin!(self.run_over.notified());
            told.as_mut().enable();
            if self.restart() != run {
                return;
            }
            told.await;
        }
    }

    fn next_run(&self) {
        self.restart.fetch_add(1, Ordering::AcqRel);
        self.run_over.notify_waiters();
    }
}

/// Runs the constructor once more.
fn remake<'a, C: Constructor>(
    kept: &'a Kept,
    ctx: &'a mut ActorContext<C::Actor>,
) -> BoxFuture<'a, Result<C::Actor, String>> {
    Box::pin(async move {
        let made = run_constructor::<C>(ctx, kept.message()?).await;
        made.map_err(|error| {
            error.into_app().map_or_else(|error: CallError| error.to_string(), |error| text_of(&error))
        })
    })
}

/// Starts an actor again whose method panicked: drops its state, and makes it anew as often as its policy allows.
///
/// # Errors
/// Why it ends instead.
pub(super) async fn again<A: Actor>(
    inbox: &Inbox<A>,
    renewal: &Renewal<A>,
    former: Option<A>,
    mut ctx: ActorContext<A>,
    panicked: Box<EndReason>,
) -> Result<(A, ActorContext<A>), EndReason> {
    let mut why = match *panicked {
        EndReason::Panicked { message } => message,
        other => other.to_string(),
    };
    // Another panic in its destructor is no reason not to go on.
    if catch_unwind(AssertUnwindSafe(|| drop(former))).is_err() {
        tracing::error!(actor = %inbox.id(), "the destructor of an actor that is started again panicked");
    }
    unless_ended(inbox, renewal.count_returned()).await?;
    loop {
        let (pause, restarts) = {
            let mut tally = renewal.tally.lock();
            (tally.failed(clock::now()), tally.limit())
        };
        let Some(pause) = pause else { return Err(EndReason::RestartsSpent { restarts, message: why }) };
        renewal.next_run();
        tracing::warn!(actor = %inbox.id(), run = renewal.restart(), ?pause, "an actor is started again: it failed in {why}");
        if !pause.is_zero() {
            unless_ended(inbox, tokio::time::sleep(pause)).await?;
        }
        match unless_ended(inbox, renewal.make(&mut ctx)).await? {
            Ok(actor) => {
                renewal.tally.lock().runs(clock::now());
                return Ok((actor, ctx));
            }
            Err(Unmade::Failed(message)) => why = message,
            Err(Unmade::NotRestored(message)) => return Err(EndReason::NotRestored { message }),
        }
    }
}

/// Does something, unless the actor ends first.
pub(super) async fn unless_ended<A: Actor, T>(inbox: &Inbox<A>, work: impl Future<Output = T>) -> Result<T, EndReason> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => inbox.mailbox().poll_closed(cx).map(|()| Err(inbox.end_reason())),
    })
    .await
}
