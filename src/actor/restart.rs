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
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;

use super::checkpoint::{Restore, Saves, Unmade};
use super::context::ActorContext;
use super::dispatch::{Actor, Constructor, Methods};
use super::error::{CallError, EndReason, Executed, Part, panic_message};
use super::inbox::{Host, Inbox};
use super::job::Job;
use super::remote::{Here, NodeRef, encode_unbounded};
use super::spawn::run_constructor;
use crate::clock::{self, Moment};
use crate::limits::{RESTART_CALM, RESTART_PAUSE_FIRST, RESTART_PAUSE_LAST};
use crate::object::failure::text_of;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::Ref;

/// How often an actor is started again after a panic: `#[actor(restarts = 3, restart_window = "1m")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restarts {
    /// So often, and no more.
    pub limit: u32,
    /// Within any such time; over its whole life if there is none.
    pub window: Option<Duration>,
}

impl Restarts {
    /// It ends with its first panic.
    pub const NEVER: Restarts = Restarts { limit: 0, window: None };

    pub(crate) const fn allow_any(self) -> bool {
        self.limit > 0
    }
}

/// What an actor's restarts have come to.
#[derive(Debug)]
struct Tally {
    policy: Restarts,
    /// Over its life.
    made: u32,
    /// When those were that are within the window. Pauses keep it short: see [`RESTART_PAUSE_LAST`].
    recent: VecDeque<Moment>,
    /// How many failed in a row without running for a while.
    in_a_row: u32,
    /// When the present run began, if it did.
    began: Option<Moment>,
}

impl Tally {
    fn new(policy: Restarts, now: Moment) -> Self {
        Tally { policy, made: 0, recent: VecDeque::new(), in_a_row: 0, began: Some(now) }
    }

    /// A run has failed, or did not come to be: how long to wait before the next one, if there may be one.
    fn failed(&mut self, now: Moment) -> Option<Duration> {
        let spent = match self.policy.window {
            None => self.made as usize,
            Some(window) => {
                while self.recent.front().is_some_and(|then| now.since(*then) >= window) {
                    self.recent.pop_front();
                }
                self.recent.len()
            }
        };
        if spent >= self.policy.limit as usize {
            return None;
        }
        self.made = self.made.saturating_add(1);
        if self.policy.window.is_some() {
            self.recent.push_back(now);
        }
        if self.began.take().is_some_and(|began| now.since(began) >= RESTART_CALM) {
            self.in_a_row = 0;
        }
        let pause = match self.in_a_row {
            0 => Duration::ZERO,
            before => RESTART_PAUSE_FIRST.saturating_mul(1 << (before - 1).min(16)).min(RESTART_PAUSE_LAST),
        };
        self.in_a_row += 1;
        Some(pause)
    }
}

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
    pub(crate) fn of<M: Serialize>(message: &M, host: &Arc<dyn Host>) -> Result<Kept, CallError> {
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
            (tally.failed(clock::now()), tally.policy.limit)
        };
        let Some(pause) = pause else { return Err(EndReason::RestartsSpent { restarts, message: why }) };
        renewal.next_run();
        tracing::warn!(actor = %inbox.id(), run = renewal.restart(), ?pause, "an actor is started again: it failed in {why}");
        if !pause.is_zero() {
            unless_ended(inbox, tokio::time::sleep(pause)).await?;
        }
        match unless_ended(inbox, renewal.make(&mut ctx)).await? {
            Ok(actor) => {
                renewal.tally.lock().began = Some(clock::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(limit: u32, window: Option<Duration>) -> Tally {
        Tally::new(Restarts { limit, window }, Moment(0))
    }

    #[test]
    fn without_a_window_restarts_are_counted_over_the_whole_life() {
        let mut tally = tally(2, None);
        let hour = Duration::from_secs(3_600);
        assert_eq!(tally.failed(Moment(0) + hour), Some(Duration::ZERO));
        assert!(tally.failed(Moment(0) + hour * 2).is_some());
        assert_eq!(tally.failed(Moment(0) + hour * 3), None);
    }

    #[test]
    fn within_a_window_restarts_are_counted_and_forgotten_after_it() {
        let window = Duration::from_secs(60);
        let mut tally = tally(2, Some(window));
        let at = |seconds| Moment(0) + Duration::from_secs(seconds);
        assert!(tally.failed(at(0)).is_some() && tally.failed(at(30)).is_some());
        assert_eq!(tally.failed(at(59)), None);
        assert!(tally.failed(at(60)).is_some(), "the first is a whole window ago");
        assert_eq!(tally.failed(at(61)), None);
    }

    #[test]
    fn the_first_restart_is_at_once_and_those_after_it_wait_ever_longer_up_to_a_bound() {
        let mut tally = tally(u32::MAX, None);
        assert_eq!(tally.failed(Moment(0)), Some(Duration::ZERO));
        let pauses: Vec<Duration> = (0..40).filter_map(|_| tally.failed(Moment(0))).collect();
        assert_eq!(pauses[..3], [1, 2, 4].map(|times| RESTART_PAUSE_FIRST * times));
        assert!(pauses.is_sorted() && pauses.len() == 40);
        assert_eq!(pauses.last(), Some(&RESTART_PAUSE_LAST));
        tally.began = Some(Moment(0));
        assert_eq!(tally.failed(Moment(0) + RESTART_CALM), Some(Duration::ZERO), "it ran well for a while");
    }
}
