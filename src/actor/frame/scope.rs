//! What is polled, or runs, on this thread: a method's frame, or a task, which has a frame once it waits.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::thread::LocalKey;

use super::{Above, Chain, FrameHome, Serves};
use crate::actor::error::{CallError, Executed};
use crate::actor::job::Access;
use crate::id::{ActorId, Incarnation};
use crate::wire::packet::Frame;

thread_local! {
    /// One of the two scopes that Mobula keeps per thread; the other is the encoding's.
    static CURRENT: Cell<Option<Arc<Chain>>> = const { Cell::new(None) };
    /// The same scope, where no actor runs.
    static TASK: Cell<Option<Task>> = const { Cell::new(None) };
    /// Whether there is a task: asked for each call, and so in the cheapest way.
    static IN_TASK: Cell<Option<()>> = const { Cell::new(None) };
}

/// The frame of the method or task that is being polled on this thread, or what else an actor runs there.
#[inline]
pub(crate) fn origin() -> Option<Arc<Chain>> {
    let chain = CURRENT.take();
    CURRENT.set(chain.clone());
    if chain.is_none() && IN_TASK.get().is_some() { of_task() } else { chain }
}

#[cold]
fn of_task() -> Option<Arc<Chain>> {
    let mut task = TASK.take();
    let chain = task.as_mut().map(Task::frame);
    TASK.set(task);
    chain
}

/// A task that runs: its frame is made when it first calls an actor or waits for an object, for most do neither.
pub(crate) struct Task {
    home: Arc<dyn FrameHome>,
    serves: Serves,
    number: u64,
    frame: Option<Arc<Chain>>,
}

impl Task {
    /// A task of this node's; `number` is its own among them, and not zero.
    pub(crate) fn new(home: Arc<dyn FrameHome>, serves: Serves, number: u64) -> Self {
        Task { home, serves, number, frame: None }
    }

    fn frame(&mut self) -> Arc<Chain> {
        let Task { home, serves, number, frame } = self;
        let made = || {
            let id = Frame { actor: home.id(), frame: *number };
            Chain::new(id, Access::Exclusive, *serves, Above::Nobody, home.clone())
        };
        frame.get_or_insert_with(made).clone()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(frame) = &self.frame {
            frame.leave();
        }
    }
}

/// The actor that calls from there and which run of it this is, if the head may place it again.
///
/// # Errors
/// The life of that run's node has ended.
pub(crate) fn caller_of(origin: Option<&Arc<Chain>>) -> Result<Option<(ActorId, Incarnation)>, CallError> {
    let caller = origin.and_then(|origin| origin.caller());
    let is_fenced = || origin.is_some_and(|origin| origin.is_fenced());
    if caller.is_some() && is_fenced() { Err(CallError::Stale { executed: Executed::No }) } else { Ok(caller) }
}

/// The actor that runs on this thread and which run of it this is, if the head may place it again.
pub(crate) fn caller() -> Option<(ActorId, Incarnation)> {
    origin()?.caller()
}

/// Runs what is an actor's, and no call of it.
pub(crate) async fn within<T>(home: Arc<dyn FrameHome>, work: impl Future<Output = T>) -> T {
    let (mut origin, mut work) = (Some(Chain::origin(home)), pin!(work));
    poll_fn(|cx| enter(&mut origin, || work.as_mut().poll(cx))).await
}

/// Polls with `chain` as the current frame; restores the former also when `poll` panics.
pub(crate) fn enter<R>(chain: &mut Option<Arc<Chain>>, poll: impl FnOnce() -> R) -> R {
    swapped(&CURRENT, chain, poll)
}

/// Polls or runs with `task` as the current task; restores the former also when that panics.
pub(crate) fn enter_task<R>(task: &mut Option<Task>, poll: impl FnOnce() -> R) -> R {
    swapped(&IN_TASK, &mut Some(()), || swapped(&TASK, task, poll))
}

/// Does what the method or task that runs here does not wait for, but calls.
pub(crate) fn unwaited<R>(work: impl FnOnce() -> R) -> R {
    match origin() {
        Some(frame) if frame.is_frame() => enter(&mut Some(Chain::origin(frame.home.clone())), work),
        _ => work(),
    }
}

fn swapped<T: 'static, R>(
    current: &'static LocalKey<Cell<Option<T>>>,
    with: &mut Option<T>,
    poll: impl FnOnce() -> R,
) -> R {
    struct Restore<'a, T: 'static>(&'static LocalKey<Cell<Option<T>>>, &'a mut Option<T>);
    impl<T> Drop for Restore<'_, T> {
        fn drop(&mut self) {
            *self.1 = self.0.replace(self.1.take());
        }
    }
    let former = current.replace(with.take());
    *with = former;
    let _restore = Restore(current, with);
    poll()
}
