//! Many calls at once.

use futures_util::future::{MaybeDone, maybe_done};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::coop::poll_proceed;

use super::call::Call;
use super::error::{CallError, Never, WireError};
use super::reply::Reply;
use crate::limits::ASKED_AT_ONCE;

/// Asks all of these, and gives their replies in the order of the calls, which is also the order that they are sent in.
///
/// It lets the runtime's other tasks have their turn again and again while it sends: the first calls are on their way, and
/// run, while it sends the last. What polls all of them in one go, as a loop does, has them leave together when it is done.
///
/// ```standalone_crate
/// # use mobula::prelude::*;
/// # #[actor]
/// # struct Counter(u64);
/// # #[methods]
/// # impl Counter {
/// #     #[constructor]
/// #     pub fn new() -> Self { Counter(0) }
/// #     pub fn add(&mut self, by: u64) -> u64 { self.0 += by; self.0 }
/// # }
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = Cluster::local().await?;
/// let counter = Counter::spawn(&cluster).await?;
/// let sums = mobula::ask_all((1..=1_000).map(|by| counter.add(by))).await?;
/// assert_eq!(sums.last(), Some(&500_500));
/// # Ok(()) }
/// ```
///
/// # Errors
/// The first error, in the order of the calls. The calls behind it are dropped.
///
/// # Cancel safety
/// Dropped, it drops all calls that have no reply yet.
pub fn ask_all<T: Reply, E: WireError>(calls: impl IntoIterator<Item = Call<T, E>>) -> AskAll<T, E> {
    let calls: Vec<_> = calls.into_iter().map(maybe_done).collect();
    AskAll { replies: Vec::with_capacity(calls.len()), calls, sent: 0 }
}

/// Waits for the replies of several calls: what [`ask_all`] gives.
#[must_use = "a future is lazy: await it"]
pub struct AskAll<T: Reply, E: WireError = Never> {
    calls: Vec<MaybeDone<Call<T, E>>>,
    /// How many of them were sent.
    sent: usize,
    replies: Vec<T>,
}

impl<T: Reply, E: WireError> Unpin for AskAll<T, E> {}

impl<T: Reply, E: WireError> Future for AskAll<T, E> {
    type Output = Result<Vec<T>, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let AskAll { calls, sent, replies } = &mut *self;
        while let Some(call) = calls.get_mut(*sent) {
            // Those that leave the process have used up the budget.
            if sent.is_multiple_of(ASKED_AT_ONCE) {
                drop(ready!(poll_proceed(cx)));
            }
            let _ = Pin::new(call).poll(cx);
            *sent += 1;
        }
        while let Some(call) = calls.get_mut(replies.len()) {
            ready!(Pin::new(&mut *call).poll(cx));
            match Pin::new(call).take_output().expect("it is over, and taken once") {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    calls.clear();
                    return Poll::Ready(Err(error));
                }
            }
        }
        calls.clear();
        Poll::Ready(Ok(std::mem::take(replies)))
    }
}

impl<T: Reply, E: WireError> fmt::Debug for AskAll<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, replies) = (self.calls.len(), self.replies.len());
        f.debug_struct("AskAll").field("calls", &calls).field("sent", &self.sent).field("replies", &replies).finish()
    }
}
