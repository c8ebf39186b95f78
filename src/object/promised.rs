//! The objects that a node has promised: bounded, and known to the node that makes them.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use super::entry::Entry;
use super::error::Fault;
use super::home::Home;
use crate::id::ObjectId;
use crate::limits::SUBMITTED;

/// Counts the objects that a node has promised and that are not settled.
#[derive(Clone)]
pub(crate) struct Promised(Arc<Promises>);

struct Promises {
    count: AtomicUsize,
    most: usize,
    /// Told when there is room again.
    room: Notify,
    home: Weak<dyn Home>,
}

impl Promised {
    /// Of a node that may have so many tasks queued.
    pub(crate) fn new(home: Weak<dyn Home>, queued: usize) -> Self {
        Promised::at_most(home, queued.saturating_add(SUBMITTED))
    }

    fn at_most(home: Weak<dyn Home>, most: usize) -> Self {
        Promised(Arc::new(Promises { count: AtomicUsize::new(0), most, room: Notify::new(), home }))
    }

    /// One more, counted until it is settled; it has failed already if there are as many as may be.
    pub(crate) fn promise(&self, id: ObjectId) -> Arc<Entry> {
        let limit = self.0.most;
        self.try_promise(id).unwrap_or_else(|| Entry::settled(id, Err(Arc::new(Fault::QueueFull { limit }))))
    }

    /// One more, once there are fewer than may be. Others have their turn after some: what sends them, above all.
    pub(crate) async fn promise_wait(&self, id: ObjectId) -> Arc<Entry> {
        consume_budget().await;
        loop {
            if let Some(entry) = self.try_promise(id) {
                return entry;
            }
            let mut room = pin!(self.0.room.notified());
            room.as_mut().enable();
            // Room that came before is not told of. There may be more than may be promised: those that are to be once more.
            if self.0.count.load(Ordering::Relaxed) >= self.0.most {
                room.await;
            }
        }
    }

    fn try_promise(&self, id: ObjectId) -> Option<Arc<Entry>> {
        let more = |count: usize| (count < self.0.most).then_some(count + 1);
        self.0.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Entry::pending(id, Some(self.clone())))
    }

    /// One that was settled is to be once more: counted, however many there are.
    pub(crate) fn again(&self) -> Promised {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.clone()
    }

    /// One of them is settled.
    pub(super) fn kept(&self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == self.0.most {
            self.0.room.notify_waiters();
        }
    }

    /// The node.
    pub(crate) fn home(&self) -> Option<Arc<dyn Home>> {
        self.0.home.upgrade()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    struct Nowhere;

    impl Home for Nowhere {
        fn fetch(&self, _: &Arc<Entry>) {}
        fn look_for(&self, _: &Arc<Entry>) {}
        fn read(&self, _: ObjectId) -> futures_util::future::BoxFuture<'static, crate::object::entry::Outcome> {
            std::future::ready(Err(Arc::new(Fault::ShutDown))).boxed()
        }
        fn waiting(&self, _: &Arc<Entry>) -> String {
            String::new()
        }
        fn counted(&self, content: crate::object::content::Content) -> crate::object::content::Content {
            content
        }
        fn let_go(&self, _: ObjectId, _: crate::id::Life) {}
    }

    #[test]
    fn one_beyond_those_that_may_be_fails_at_once_or_waits_for_room() {
        let id = |serial| ObjectId { life: crate::id::Life(1), serial };
        let home: Weak<dyn Home> = Weak::<Nowhere>::new();
        let promised = Promised::at_most(home, 2);
        let fails = |entry: &Entry| entry.settle(Err(Arc::new(Fault::ShutDown)));
        let [one, two] = [1, 2].map(|serial| promised.promise(id(serial)));
        let full = promised.promise(id(3)).outcome();
        assert!(matches!(full, Some(Err(fault)) if *fault == Fault::QueueFull { limit: 2 }));
        let (mut third, mut fourth) = (Box::pin(promised.promise_wait(id(4))), Box::pin(promised.promise_wait(id(5))));
        assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        fails(&one);
        let third = third.now_or_never().expect("there is room");
        assert!(!third.is_settled() && (&mut fourth).now_or_never().is_none(), "for one");
        fails(&two);
        assert!(!fourth.now_or_never().expect("for another").is_settled());
    }

    #[test]
    fn who_waits_for_room_sleeps_while_there_are_more_than_may_be() {
        let id = |serial| ObjectId { life: crate::id::Life(1), serial };
        let promised = Promised::at_most(Weak::<Nowhere>::new(), 1);
        let one = promised.promise(id(1));
        let again = promised.again();
        let (polled, polls) = std::sync::mpsc::channel();
        // On a thread of its own: what does not sleep never comes back.
        std::thread::spawn(move || {
            let mut waits = Box::pin(promised.promise_wait(id(2)));
            assert!((&mut waits).now_or_never().is_none());
            one.settle(Err(Arc::new(Fault::ShutDown)));
            assert!((&mut waits).now_or_never().is_none(), "as many as may be are left");
            again.kept();
            polled.send(waits.now_or_never().is_some()).unwrap();
        });
        assert_eq!(polls.recv_timeout(std::time::Duration::from_secs(30)), Ok(true), "it is told of room");
    }

    #[test]
    fn as_many_as_may_be_queued_fit_beside_all_others() {
        let most = |queued| Promised::new(Weak::<Nowhere>::new(), queued).0.most;
        assert!(most(crate::limits::QUEUED_TASKS) > crate::limits::QUEUED_TASKS);
        assert_eq!((most(8), most(usize::MAX)), (SUBMITTED + 8, usize::MAX));
    }
}
