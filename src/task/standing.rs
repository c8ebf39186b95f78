//! How a task stands, beside its arguments: where it is, whether it was cancelled, and which tasks it submitted.

use std::sync::{Arc, Weak};
use std::task::Waker;

use super::slot::Runnable;
use crate::actor::remote::Peer;
use crate::object::entry::Entry;
use crate::sync::{AtomicBool, AtomicWaker, Mutex, Ordering};
use crate::wire::codec::Enclosed;

/// How a task stands; shared by the task, its context and its result's entry. There may be a million: what few need is a word.
#[derive(Default)]
pub(crate) struct Standing {
    /// What this run is called, if it was given a name.
    name: Option<Box<Box<str>>>,
    cancelled: AtomicBool,
    /// Who cancelled it here says what became of it.
    claimed: AtomicBool,
    begun: AtomicBool,
    over: AtomicBool,
    /// An attempt was made before this one.
    tried: AtomicBool,
    /// It is on its way, or about to be. Written and read under the lock.
    leaves: AtomicBool,
    /// Of the task that runs, or of the thread that waits in it.
    waker: AtomicWaker,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    task: Option<Weak<dyn Runnable>>,
    sent: Option<OnTheWay>,
    children: Option<Box<Children>>,
}

/// What a task submitted, as far as that is not over; looked through whenever it has doubled.
#[derive(Default)]
struct Children {
    all: Vec<Weak<Entry>>,
    look_at: usize,
}

/// A task that was sent to another node, as a call.
pub(crate) struct OnTheWay {
    pub(crate) to: Arc<dyn Peer>,
    pub(crate) ticket: u64,
    pub(crate) enclosed: Enclosed,
}

/// Whether a task is elsewhere.
pub(crate) enum Away {
    Not,
    /// It is being sent, by a thread that looks whether it was cancelled when that is done.
    Leaves,
    Sent(OnTheWay),
}

/// Children that a task may have before those that are over are looked for.
const FEW: usize = 64;

impl Standing {
    /// Of a run that may have been given a name.
    pub(crate) fn named(name: Option<Box<str>>) -> Arc<Self> {
        Arc::new(Standing { name: name.map(Box::new), ..Standing::default() })
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| &***name)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Whether it was cancelled; `waker` is woken when it is.
    pub(crate) fn poll_cancelled(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.is_cancelled()
    }

    /// Whoever is about to cancel it says what became of it, and nothing else does that from here on: neither its function nor
    /// the node that it was sent to, which hear of it before that is said.
    pub(crate) fn claim(&self) {
        self.claimed.store(true, Ordering::Release);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Acquire)
    }

    /// It is to run no more. Gives the tasks that it submitted.
    pub(crate) fn cancel(&self) -> Vec<Arc<Entry>> {
        self.cancelled.store(true, Ordering::Release);
        let children = std::mem::take(&mut self.inner.lock().children);
        self.waker.wake();
        children.into_iter().flat_map(|children| children.all).filter_map(|child| child.upgrade()).collect()
    }

    /// It submitted a task. False if it was cancelled: then the child is, too.
    pub(crate) fn adopt(&self, child: &Arc<Entry>) -> bool {
        let mut inner = self.inner.lock();
        if self.is_cancelled() {
            return false;
        }
        let Children { all, look_at } = &mut **inner.children.get_or_insert_default();
        if all.len() >= (*look_at).max(FEW) {
            all.retain(|child| child.upgrade().is_some_and(|child| !child.is_settled()));
            *look_at = 2 * all.len();
        }
        all.push(Arc::downgrade(child));
        true
    }

    /// It begins, or never will. False if it has begun before: then it does not again.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// An attempt came to nothing, and another one follows.
    pub(crate) fn again(&self) {
        self.tried.store(true, Ordering::Release);
        self.over.store(false, Ordering::Release);
        self.begun.store(false, Ordering::Release);
    }

    /// Whether an attempt was made before this one.
    pub(crate) fn was_tried(&self) -> bool {
        self.tried.load(Ordering::Acquire)
    }

    /// Its function has returned.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn is_of(&self, task: &Arc<dyn Runnable>) {
        self.inner.lock().task = Some(Arc::downgrade(task));
    }

    pub(crate) fn task(&self) -> Option<Arc<dyn Runnable>> {
        self.inner.lock().task.as_ref().and_then(Weak::upgrade)
    }

    /// It is about to be sent: from here on it may run elsewhere. False if it was cancelled before, and then it must not be.
    pub(crate) fn leaves(&self) -> bool {
        let _inner = self.inner.lock();
        let leaves = !self.is_cancelled();
        self.leaves.store(leaves, Ordering::Relaxed);
        leaves
    }

    /// It was sent to a node. False if it was cancelled meanwhile.
    pub(crate) fn sent(&self, on_the_way: OnTheWay) -> bool {
        let former = self.inner.lock().sent.replace(on_the_way);
        drop(former);
        !self.is_cancelled()
    }

    /// Where it was sent, while it is there: the peer, and the ticket of the call.
    pub(crate) fn away(&self) -> Option<(Arc<dyn Peer>, u64)> {
        self.inner.lock().sent.as_ref().map(|sent| (sent.to.clone(), sent.ticket))
    }

    /// Where it was sent: given once.
    pub(crate) fn take_sent(&self) -> Away {
        let mut inner = self.inner.lock();
        match (inner.sent.take(), self.leaves.swap(false, Ordering::Relaxed)) {
            (Some(on_the_way), _) => Away::Sent(on_the_way),
            (None, true) => Away::Leaves,
            (None, false) => Away::Not,
        }
    }
}
