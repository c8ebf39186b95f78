//! How long a wait may take.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// A bound of a wait, from the first time that it is looked at; none by default.
#[derive(Default)]
pub(crate) struct Limit {
    after: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limit {
    /// It may take so long.
    pub(crate) fn set(&mut self, after: Duration) {
        self.after = Some(after);
    }

    /// How long it may take, if that is bounded.
    #[inline]
    pub(crate) fn after(&self) -> Option<Duration> {
        self.after
    }

    /// Ready once the time is up, with how long it was.
    #[inline]
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let Some(after) = self.after else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(after)
    }
}
