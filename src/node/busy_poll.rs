//! Busy polling: for a while after each message the node's runtime looks for the next one, instead of sleeping until it is woken.
//!
//! It is a task that yields. A runtime that has a task to run asks the system what has come and goes on; one that has none sleeps,
//! and to be woken from that takes longer than all else that a call needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

pub(super) struct BusyPoll {
    /// How long after a message; zero if never.
    spin: Duration,
    until: AtomicU64,
    /// Whether the task is at it.
    polls: AtomicBool,
}

impl BusyPoll {
    pub(super) fn new(spin: Duration) -> Arc<Self> {
        Arc::new(BusyPoll { spin, until: AtomicU64::new(0), polls: AtomicBool::new(false) })
    }

    /// A message has come or goes now. Gives the task to run, if there is none yet.
    #[inline]
    pub(super) fn after_message(self: &Arc<Self>, now: Moment) -> Option<impl Future<Output = ()> + Send + use<>> {
        if self.spin.is_zero() {
            return None;
        }
        self.until.store((now + self.spin).0, Ordering::Relaxed);
        // Read first: what all threads read is seldom written.
        if self.polls.load(Ordering::Relaxed) || self.polls.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(self.clone().poll(crate::clock::now))
    }

    /// Yields until the time is up, or the node is gone. A message in the moment of its end is the next one's to follow.
    async fn poll(self: Arc<Self>, now: impl Fn() -> Moment) {
        while now().0 < self.until.load(Ordering::Relaxed) && Arc::strong_count(&self) > 1 {
            tokio::task::yield_now().await;
        }
        self.polls.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const SPIN: Duration = Duration::from_micros(50);

    #[test]
    fn it_polls_until_the_time_after_the_last_message_is_up() {
        let (busy, clock) = (BusyPoll::new(SPIN), AtomicU64::new(1_000));
        let now = || Moment(clock.load(Ordering::Relaxed));
        assert!(busy.after_message(now()).is_some());
        assert!(busy.after_message(now()).is_none(), "one task is enough");
        let (mut polls, mut cx) = (pin!(busy.clone().poll(now)), Context::from_waker(Waker::noop()));
        for _ in 0..3 {
            assert_eq!(polls.as_mut().poll(&mut cx), Poll::Pending);
            clock.fetch_add(SPIN.as_nanos() as u64 - 1, Ordering::Relaxed);
            assert_eq!(polls.as_mut().poll(&mut cx), Poll::Pending);
            assert!(busy.after_message(now()).is_none());
        }
        clock.fetch_add(SPIN.as_nanos() as u64, Ordering::Relaxed);
        assert_eq!(polls.as_mut().poll(&mut cx), Poll::Ready(()));
        assert!(busy.after_message(now()).is_some(), "the next message begins anew");
    }

    #[test]
    fn it_ends_with_its_node() {
        let busy = BusyPoll::new(Duration::from_secs(1_000_000));
        let mut polls = pin!(busy.after_message(crate::clock::now()).expect("the first message"));
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(polls.as_mut().poll(&mut cx), Poll::Pending);
        drop(busy);
        assert_eq!(polls.as_mut().poll(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn one_that_never_polls_has_no_task() {
        assert!(BusyPoll::new(Duration::ZERO).after_message(Moment(1)).is_none());
    }
}
