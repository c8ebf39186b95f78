//! The shell of one link: the pure core in a lock, the task that sends its batches, and what takes those that arrive.
//!
//! Lock order: `apply`, then `core`. User code (a `Deserialize`, a waker, a token's drop) runs under `apply` at most,
//! which only the receiving side takes; whoever sends takes `core` alone.

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, watch};

use super::core::link::{self, Acks, Breach, Called, Delivery, Failure, Link, Party, SessionRefused, Ticket};
use crate::actor::error::CallError;
use crate::actor::remote::host::{Incoming, Served};
use crate::actor::remote::{Caller, NodeRef, Peer};
use crate::clock::{self, Moment};
use crate::id::{Life, ObjectId};
use crate::limits::{HELD_BYTES, UNREACHABLE_AFTER};
use crate::net::{Closed, Session};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::frame::Hello;
use crate::wire::packet::{Executed, Probe, Ref, Settle};

mod deliver;
mod peer;
mod redial;
mod send;

use redial::Redial;

type Token = Arc<dyn Caller>;

/// What a link needs of the node that it belongs to.
pub(super) trait Surroundings: Send + Sync {
    /// Takes a request of the peer.
    fn request(&self, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>>;
    /// Whether the node's life may send something now.
    fn may_send(&self, now: Moment) -> bool;
    /// A message has come from the peer, or goes to it.
    fn after_message(&self, now: Moment);
    /// Sees to a session with the peer.
    fn connect(&self, link: &Arc<PeerLink>);
    /// Runs a task.
    fn run(&self, task: BoxFuture<'static, ()>);
    /// The node, as handles attach to it.
    fn here(&self) -> &NodeRef;
    /// Takes a probe of the peer.
    fn probed(&self, link: &PeerLink, probe: &Probe<'_>);
    /// A packet of that life has arrived, with these references beside its body: they are counted, whether or not anybody
    /// decodes it.
    fn attach(&self, from: Life, refs: &List<'_, Ref>) -> Enclosed;
    /// A packet for that life encloses these.
    fn enclose(&self, to: Life, enclosed: &Enclosed);
    /// It never left.
    fn not_sent(&self, to: Life, enclosed: &Enclosed);
    /// Pins arguments of a request for that life, as [`Peer::pin`].
    fn pin(&self, to: Life, enclosed: &mut Enclosed);
    /// The link with that life is broken.
    fn broken(&self, with: Life);
    /// Takes counts of the peer; whether it may say so.
    fn counted(&self, from: Life, settle: &Settle<'_>) -> bool;
}

/// One link to one life of a peer.
pub(crate) struct PeerLink {
    peer: Party,
    around: Arc<dyn Surroundings>,
    core: Mutex<Core>,
    /// Held while what arrived is applied, so that batches are applied one after the other.
    apply: Mutex<Vec<Delivery<Token>>>,
    /// Calls of the peer that can be cancelled, or stream their reply.
    served: Mutex<FxHashMap<u64, Arc<dyn Served>>>,
    sender: Notify,
    /// When the sender task looks again by itself; zero while it is awake, or about to be.
    armed: AtomicU64,
    /// The time as of the last batch or request: near enough for what happens within milliseconds.
    recent: AtomicU64,
    /// Someone sees to a session.
    connecting: AtomicBool,
    redial: Mutex<Redial>,
    /// Bytes of the peer's requests that wait in mailboxes here, and not for values of their arguments.
    held: AtomicUsize,
    /// The stream of what is asked of the node itself; opened by the first.
    node_stream: OnceLock<u64>,
    /// Whether it has ended, for what is done here for the peer alone.
    over: watch::Sender<bool>,
}

struct Core {
    link: Link<Token>,
    session: Option<Session>,
    /// What is done once the peer has acknowledged the request of this number, in their order.
    after: VecDeque<(u64, After)>,
}

type After = Box<dyn FnOnce() + Send>;

impl Core {
    /// What may be done now.
    fn due(&mut self) -> Vec<After> {
        if self.after.is_empty() {
            return Vec::new();
        }
        let (_, acknowledged) = self.link.work_progress();
        let due = self.after.partition_point(|(number, _)| *number <= acknowledged);
        self.after.drain(..due).map(|(_, then)| then).collect()
    }
}

impl PeerLink {
    /// The link between two lives, and its sender task.
    pub(super) fn start(own: Party, peer: Party, around: Arc<dyn Surroundings>) -> Arc<Self> {
        let core = Core { link: Link::new(clock::now(), own, peer), session: None, after: VecDeque::new() };
        let link = Arc::new(PeerLink {
            peer,
            around,
            core: Mutex::new(core),
            apply: Mutex::default(),
            served: Mutex::default(),
            sender: Notify::new(),
            armed: AtomicU64::new(0),
            recent: AtomicU64::new(clock::now().0),
            connecting: AtomicBool::new(false),
            redial: Mutex::default(),
            held: AtomicUsize::new(0),
            node_stream: OnceLock::new(),
            over: watch::Sender::new(false),
        });
        link.around.run(Box::pin(send::send_batches(link.clone())));
        link
    }

    pub(crate) fn party(&self) -> Party {
        self.peer
    }

    /// The stream of what is asked of the node itself.
    pub(super) fn node_stream(&self) -> u64 {
        *self.node_stream.get_or_init(|| self.open_stream())
    }

    /// Whether there is reason to see to a session.
    pub(super) fn wants_session(&self) -> bool {
        self.core.lock().link.wants_session()
    }

    /// Whether the peer has acknowledged all that was sent to it.
    pub(super) fn is_acknowledged(&self) -> bool {
        let load = self.core.lock().link.load();
        (load.work.0, load.settle.0) == (0, 0)
    }

    /// How many packets have come.
    pub(super) fn received(&self) -> u64 {
        self.core.lock().link.received()
    }

    /// Whether the peer has been answered all that it asked.
    pub(super) fn is_answered(&self) -> bool {
        self.core.lock().link.load().serving == 0
    }

    /// Does something once the peer has acknowledged all that was asked of it so far, or the link has ended.
    pub(super) fn after_acknowledged(&self, then: After) {
        let mut core = self.core.lock();
        let (sent, acknowledged) = core.link.work_progress();
        if sent == acknowledged || core.link.is_ended() {
            drop(core);
            return then();
        }
        core.after.push_back((sent, then));
    }

    /// This node has dialled.
    pub(super) fn dialled(&self, session: &Session) -> Result<(), link::SessionRefused> {
        let mut core = self.core.lock();
        let now = self.now();
        core.link.dialled(now, session.id())?;
        let old = core.session.replace(session.clone());
        self.changed(core, now);
        if let Some(old) = old {
            old.close(Closed::Superseded);
        }
        Ok(())
    }

    /// The peer has dialled, and said hello.
    pub(super) fn accepted(self: &Arc<Self>, session: &Session, hello: &Hello) -> Result<(), link::SessionRefused> {
        let peer: Arc<dyn Peer> = self.clone();
        let mut deliveries = self.apply.lock();
        let mut core = self.core.lock();
        let now = self.now();
        if let Err(refused) = core.link.hello(now, session.id(), hello, &mut deliveries) {
            // A session that counts more may have a sign of life to send.
            self.changed(core, now);
            drop(deliveries);
            if let SessionRefused::Broken(breach) = &refused {
                self.breaks(breach);
            }
            return Err(refused);
        }
        let old = core.session.replace(session.clone());
        let due = core.due();
        self.changed(core, now);
        if let Some(old) = old {
            old.close(Closed::Superseded);
        }
        // A hello sends what waits: nothing arrives with it.
        let _ = self.deliver(&peer, &[], &mut deliveries);
        drop(deliveries);
        self.all_guarded(due);
        Ok(())
    }

    /// A batch of a session.
    pub(super) fn receive(&self, peer: &Arc<dyn Peer>, session: &Session, batch: &[u8]) {
        let mut deliveries = self.apply.lock();
        let mut core = self.core.lock();
        let now = self.now();
        let received = core.link.receive(now, session.id(), batch, &mut deliveries);
        let due = core.due();
        self.changed(core, now);
        let delivered = self.deliver(peer, batch, &mut deliveries);
        drop(deliveries);
        self.all_guarded(due);
        self.around.after_message(now);
        if let Err(breach) = received.and(delivered) {
            session.close(Closed::Protocol);
            self.breaks(&breach);
        }
    }

    /// The peer does what no peer does: the link is over, and for references the peer's life is.
    fn breaks(&self, breach: &Breach) {
        tracing::warn!(node = %self.peer.node, %breach, "the link is broken: its peer breaks the protocol");
        self.end(Failure::Ended);
        self.around.broken(self.peer.life);
    }

    /// Sends counts of references.
    pub(super) fn send_counts(&self, packet: &[u8]) {
        let mut core = self.core.lock();
        core.link.send_settle(packet);
        self.changed(core, self.recent());
    }

    /// A session is over; the link goes on with another.
    pub(super) fn closed(self: &Arc<Self>, session: &Session) {
        let mut core = self.core.lock();
        let now = self.now();
        if core.session.take_if(|current| current.id() == session.id()).is_some() && core.link.is_established() {
            *self.redial.lock() = Redial::default();
        }
        core.link.closed(now, session.id());
        let wants = core.link.wants_session();
        self.changed(core, now);
        if wants {
            self.around.connect(self);
        }
    }

    /// The peer's life has ended, or it cannot be reached for good: what waits fails.
    pub(super) fn end(&self, why: Failure) {
        let mut deliveries = Vec::new();
        let mut core = self.core.lock();
        let (called, _) = core.link.end(&mut deliveries);
        let (session, after) = (core.session.take(), std::mem::take(&mut core.after));
        drop(core);
        self.sender.notify_one();
        if let Some(session) = session {
            session.close(Closed::Ended);
        }
        for Called { token, .. } in called {
            self.guarded(|| token.failed(self.failed(why, Executed::No)));
        }
        for delivery in deliveries {
            self.guarded(|| match delivery {
                Delivery::Failed { token, executed, why, .. } => token.failed(self.failed(why, executed)),
                Delivery::Cancel { call } => self.with_served(call, |served| served.cancel()),
                _ => {}
            });
        }
        self.over.send_replace(true);
        self.all_guarded(after.into_iter().map(|(_, then)| then));
        let served = std::mem::take(&mut *self.served.lock());
        self.guarded(|| drop(served));
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Sends a probe.
    pub(super) fn send_probe(&self, probe: &Probe<'_>) {
        let mut packet = Vec::new();
        Settle::Probe(*probe).encode(&mut packet);
        let mut core = self.core.lock();
        core.link.send_probe(&packet);
        self.changed(core, self.recent());
    }

    /// The number of the call whose answer settles an object, none while it waits for credit; nothing if there is none.
    pub(super) fn call_making(&self, object: ObjectId) -> Option<Option<u64>> {
        // Looked at outside of the lock: callers have locks of their own, in which they ask the link.
        let asked: Vec<(Ticket, Arc<dyn Caller>)> =
            self.core.lock().link.asked().map(|(ticket, caller)| (ticket, caller.clone())).collect();
        let (ticket, _) = asked.into_iter().find(|(_, caller)| caller.makes() == Some(object))?;
        self.core.lock().link.standing(ticket)
    }

    /// Whether an ask of the peer has begun; nothing if it was answered, or is not here.
    pub(super) fn has_begun(&self, call: u64) -> Option<bool> {
        self.core.lock().link.has_begun(call)
    }

    /// After the core has changed: the sender task is told what it does not know.
    fn changed(&self, mut core: MutexGuard<'_, Core>, now: Moment) {
        let armed = self.armed.load(Ordering::Relaxed);
        let wake = core.link.wake_sender(now) || (armed != 0 && core.link.deadline().is_some_and(|at| at.0 < armed));
        drop(core);
        if wake {
            self.armed.store(0, Ordering::Relaxed);
            self.sender.notify_one();
        }
    }

    fn now(&self) -> Moment {
        let now = clock::now();
        self.recent.store(now.0, Ordering::Relaxed);
        now
    }

    fn recent(&self) -> Moment {
        Moment(self.recent.load(Ordering::Relaxed))
    }

    /// A request waits in a mailbox: beyond a bound, the peer's further work is not acknowledged (PROTOCOLS §1.3). One that
    /// waits for values in its actor's line does not count: what is fetched from the peer is asked for in work, so that two
    /// nodes would wait for each other which are both full of such.
    fn hold(&self, bytes: usize) {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before <= HELD_BYTES && before + bytes > HELD_BYTES {
            self.judge_acks(&mut self.core.lock());
        }
    }

    /// It waits no longer.
    fn release(&self, core: &mut Core, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::Relaxed);
        if before > HELD_BYTES && before - bytes <= HELD_BYTES {
            self.judge_acks(core);
        }
    }

    /// By what is held now that the core is locked: whoever crossed the bound last comes here last.
    fn judge_acks(&self, core: &mut Core) {
        let held = self.held.load(Ordering::Relaxed);
        core.link.set_acks(if held > HELD_BYTES { Acks::Withheld } else { Acks::Given });
    }

    fn with_served(&self, call: u64, tell: impl FnOnce(&dyn Served)) {
        let served = self.served.lock().get(&call).cloned();
        if let Some(served) = served {
            tell(&*served);
        }
    }

    fn failed(&self, why: Failure, executed: Executed) -> CallError {
        let node = self.peer.node;
        match why {
            Failure::Unreachable => CallError::Unreachable { node, silent: UNREACHABLE_AFTER, executed },
            Failure::Ended => CallError::NodeDied { node, executed },
        }
    }
}

#[cfg(test)]
mod tests;
