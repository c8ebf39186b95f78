//! An actor as its own process sees it: identity, mailbox, and the node that hosts it.

use futures_util::future::BoxFuture;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::checkpoint::{self, CheckpointError};
use super::dispatch::{Actor, Method, Methods};
use super::ending::{End, ended};
use super::error::{CallError, EndReason, Executed};
use super::frame::{self, Blockers, Chain, FrameHome, Held, Serves, Wait};
use super::hosted::Hosted;
use super::job::{Access, JobItem, Jobs, TakenJobs};
use super::letters::DeadLetters;
use super::lifetime::{At, Keeps, LetGo};
use super::line::Line;
use super::link::{LinkError, Links};
use super::mailbox::{Mailbox, Then};
use super::occupied::Occupied;
use super::remote::RemoteActor;
use super::remote::arrivals::{Arrivals, Arrived};
use super::remote::ask::{self, AboutEnd};
use super::remote::host::{Incoming, RemoteJob, Served};
use super::remote::placed::{Lost, Placed};
use super::restart::{Kept, Renewal};
use super::slot::Replied;
use crate::id::{ActorId, Epoch, Incarnation, Key, Life, ObjectId, Placement};
use crate::limits::MAILBOX_CAPACITY;
use crate::object::entry::Entry as Object;
use crate::object::promised::Promised;
use crate::wire::bytes::List;
use crate::wire::codec::DecodeError;
use crate::wire::packet::{CallFault, Frame};

/// What a cell needs of the node that hosts it. Implemented by the node; one of the three upward traits.
pub(crate) trait Host: Any + Send + Sync {
    /// The life of the node.
    fn life(&self) -> Life;
    /// The epoch of its head.
    fn epoch(&self) -> Epoch;
    /// Whether it is part of its cluster no more, and will not be again.
    fn is_over(&self) -> bool;
    /// The identity of the next object that it owns.
    fn next_object(&self) -> ObjectId;
    /// What counts the objects that it has promised.
    fn promised(&self) -> &Promised;
    /// What counts the tells that died with their actors.
    fn dead_letters(&self) -> &DeadLetters;
    /// Where calls to an actor go that a message named.
    fn resolve(&self, actor: ActorId, type_key: Key, host: Life, placement: Placement) -> Resolved;
    /// One more handle here that keeps an actor, of which the node was not told by a handle that did.
    fn keep(&self, actor: ActorId, type_key: Key, at: At) -> Keeps;
    /// The last handle here that kept an actor is gone.
    fn let_go(&self, actor: LetGo);
    /// An actor of this node.
    fn hosting(&self, actor: ActorId) -> Option<Arc<dyn Hosted>>;
    /// The address of an actor that the head had placed on this node, in a life that has ended.
    fn placed_again(&self, actor: ActorId, type_key: Key, at: At) -> Arc<Placed>;
    /// Finds an actor that is not there any more, and tells it.
    fn seek(&self, actor: Arc<Placed>, at: At, why: Lost);
    /// Runs a cell, as a task of its own.
    fn spawn(&self, cell: BoxFuture<'static, ()>);
    /// Runs blocking work on the compute pool.
    fn compute(&self, work: Box<dyn FnOnce() + Send>);
    /// An actor has ended, and its state is dropped. Who else must know of that before its end is told, if anyone.
    fn ended(&self, actor: ActorId, placement: Placement, reason: &EndReason) -> Option<BoxFuture<'static, ()>>;
    /// Whether the head has placed this actor, and may place it again.
    fn is_placed(&self, actor: ActorId) -> bool;
    /// The value of a call's reply lies at another node, as this object: the reply is settled by that, and is made again if it
    /// can be where it is lost.
    fn replied(&self, reply: &Arc<Object>, value: &Arc<Object>, how: Replied);
    /// Has the head keep what was saved of such an actor, for its next host; `number` tells which it is of this placement.
    fn keep_checkpoint(
        &self,
        actor: (ActorId, Placement),
        number: u64,
        saved: &Kept,
    ) -> BoxFuture<'static, Result<(), CheckpointError>>;
    /// Frames of this home wait: probes follow their waits until [`FrameHome::watch`] finds none.
    fn waits(&self, home: Arc<dyn FrameHome>);
    /// What is pending, as something to wait for.
    fn object_wait(&self, object: &Arc<Object>) -> Arc<dyn Wait>;
    /// Whether a call that waits for `blockers` can never begin, since they wait for it themselves: its chain is
    /// `chain`. Gives the cycle.
    fn reentrant(&self, chain: &[Frame], blockers: &Blockers) -> Option<Vec<ActorId>>;
}

/// Where calls to an actor go.
pub(crate) enum Resolved {
    /// To this inbox: an [`Inbox`] of the actor's type.
    Here(Arc<dyn Any + Send + Sync>),
    /// Over a link.
    There(Arc<RemoteActor>),
    /// Wherever the head has placed it, and may place it again.
    Placed(Arc<Placed>),
    /// Nowhere.
    Gone(EndReason),
}

/// The shared half of an actor: handles push into it, its cell takes out of it.
pub(crate) struct Inbox<A: Actor> {
    id: ActorId,
    placement: Placement,
    mailbox: Jobs<A>,
    /// Streams of other nodes with calls in the mailbox.
    streams: AtomicU32,
    /// A call that wants the actor for itself holds back those behind it.
    held_back: AtomicBool,
    occupied: Occupied,
    /// Calls of this node that wait for arguments; made by the first.
    line: OnceLock<Arc<Line>>,
    /// What few actors have; made by the first that needs it.
    rare: OnceLock<Box<Rare<A>>>,
    host: Arc<dyn Host>,
}

/// What few actors have beside their inbox.
struct Rare<A: Actor> {
    /// Calls of other nodes that wait for arguments.
    arrivals: Arrivals,
    /// What it is started again from, if it may be.
    renewal: Option<Renewal<A>>,
    /// How many ends it waits to be told of.
    monitors: AtomicUsize,
    links: Links,
    /// Where it is after this node's life has ended: made by the first who looks for it there.
    moved: OnceLock<Arc<Placed>>,
}

impl<A: Actor> Default for Rare<A> {
    fn default() -> Self {
        let (monitors, links, moved) = (AtomicUsize::new(0), Links::default(), OnceLock::new());
        Rare { arrivals: Arrivals::default(), renewal: None, monitors, links, moved }
    }
}

impl<A: Actor> Inbox<A> {
    pub(crate) fn new(id: ActorId, placement: Placement, host: Arc<dyn Host>) -> Arc<Self> {
        let (streams, held_back) = (AtomicU32::new(0), AtomicBool::new(false));
        let (mailbox, occupied) = (Mailbox::new(), Occupied::default());
        Arc::new(Inbox {
            id,
            placement,
            mailbox,
            streams,
            held_back,
            occupied,
            line: OnceLock::new(),
            rare: OnceLock::new(),
            host,
        })
    }

    pub(crate) fn id(&self) -> ActorId {
        self.id
    }

    pub(crate) fn placement(&self) -> Placement {
        self.placement
    }

    pub(crate) fn mailbox(&self) -> &Jobs<A> {
        &self.mailbox
    }

    pub(crate) fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    pub(crate) fn line(&self) -> &OnceLock<Arc<Line>> {
        &self.line
    }

    /// It may be started again. Said before its constructor runs, and before anyone calls it.
    pub(crate) fn renews(&self, renewal: Renewal<A>) {
        self.rare.get_or_init(|| Box::new(Rare { renewal: Some(renewal), ..Rare::default() }));
    }

    /// What it is started again from, if it may be.
    pub(crate) fn renewal(&self) -> Option<&Renewal<A>> {
        self.rare.get()?.renewal.as_ref()
    }

    /// How many ends it waits to be told of.
    pub(super) fn monitors(&self) -> &AtomicUsize {
        &self.rare.get_or_init(Box::default).monitors
    }

    /// Whose end is its own.
    pub(super) fn links(&self) -> &Links {
        &self.rare.get_or_init(Box::default).links
    }

    /// Which run of it this is.
    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation { placement: self.placement, restart: self.renewal().map_or(0, Renewal::restart) }
    }

    /// Runs what is this actor's beside its calls, as a task of its own. If the head may place the actor again, what is called
    /// there carries which run of it this is.
    pub(crate) fn run(&self, work: BoxFuture<'static, ()>) {
        let home = match self.placement.is_by_spawner() {
            true => None,
            false => self.host.hosting(self.id).filter(|home| home.placement() == self.placement),
        };
        self.host.spawn(match home {
            Some(home) => Box::pin(frame::within(home, work)),
            None => work,
        });
    }

    /// What becomes of a call whose method was dropped before it returned.
    pub(crate) fn abandoned(&self) -> CallError {
        let (actor, executed) = (self.id, Executed::Yes);
        if self.renewal().is_some_and(Renewal::ends_run) {
            return CallError::ActorRestarted { actor, executed: Executed::Maybe };
        }
        match self.mailbox.reason() {
            Some(reason) => CallError::ActorDied { actor, reason, executed },
            None => CallError::Cancelled { executed },
        }
    }

    /// Its address where the head has placed it again, or may: if it has ended because the life of its node had.
    pub(crate) fn moved(&self) -> Option<&Arc<Placed>> {
        if self.placement.is_by_spawner() || !self.mailbox.is_closed_by(&EndReason::NodeDied) {
            return None;
        }
        let rare = self.rare.get_or_init(Box::default);
        let at = At { host: self.id.life, placement: self.placement };
        Some(rare.moved.get_or_init(|| self.host.placed_again(self.id, A::type_name().key(), at)))
    }

    /// The credit that each stream of other nodes should have (PROTOCOLS §1.7).
    pub(crate) fn share(&self) -> u32 {
        MAILBOX_CAPACITY as u32 / self.streams.load(Ordering::Relaxed).max(1)
    }

    /// A call of another node left the mailbox, or never came so far; whether it was the last of its stream.
    pub(crate) fn stream_left(&self, last: bool) {
        if last {
            let _ = self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |streams| streams.checked_sub(1));
        }
    }

    /// Answers a call that arrived with a fault.
    fn refuse(&self, incoming: &Incoming<'_>, fault: CallFault<'_>) {
        self.stream_left(incoming.refuse(fault));
    }

    /// The frame that runs a call of this node, if it ever waited.
    pub(crate) fn running(&self, call: Serves) -> Held {
        self.occupied.running(call).map_or(Held::Not, Held::Begun)
    }

    /// A call that wants the actor for itself holds back those behind it, or does no more.
    pub(crate) fn set_held_back(&self, held_back: bool) {
        self.held_back.store(held_back, Ordering::Relaxed);
    }

    /// Why the actor ends. One whose task was dropped without a reason went down with its runtime.
    pub(crate) fn end_reason(&self) -> EndReason {
        self.mailbox.reason().unwrap_or(EndReason::ShutDown)
    }

    /// A call never begins, for the actor ends.
    pub(crate) fn refuse_left(&self, job: JobItem<A>, reason: &EndReason) {
        if job.is_letter() {
            self.host.dead_letters().add(reason);
        }
        job.refuse(reason.clone());
    }

    /// The cell is gone: what it left is refused, and the node told. Who waits for the end is told last: then the actor's
    /// name and resources are free.
    pub(crate) fn bury(self: &Arc<Self>, reason: EndReason, taken: TakenJobs<A>) {
        let left = self.mailbox.bury(reason, taken);
        let reason = self.end_reason();
        left.for_each(|job| self.refuse_left(job, &reason));
        for job in self.renewal().into_iter().flat_map(Renewal::take_returned) {
            job.refuse(reason.clone());
        }
        match self.host.ended(self.id, self.placement, &reason) {
            None => self.mailbox.tell_end(),
            Some(known) => {
                let tells = TellsEnd(self.clone());
                self.host.spawn(Box::pin(async move {
                    known.await;
                    drop(tells);
                }));
            }
        }
    }
}

/// Tells the end when it is dropped: also when the runtime goes, and what it waited for with it.
struct TellsEnd<A: Actor>(Arc<Inbox<A>>);

impl<A: Actor> Drop for TellsEnd<A> {
    fn drop(&mut self) {
        self.0.mailbox.tell_end();
    }
}

impl<A: Methods> Inbox<A> {
    /// The waiting frames that keep a call from beginning.
    pub(crate) fn blockers(&self, access: Access) -> Blockers {
        let group = match access {
            Access::Shared(group) => A::GROUPS.get(usize::from(group)),
            Access::Exclusive => None,
        };
        match group {
            Some(group) => {
                let held_back = self.held_back.load(Ordering::Relaxed);
                self.occupied.blockers(access, group.concurrency.max(1), held_back)
            }
            None => self.to_be_gone(),
        }
    }

    /// The same of a call that may run already, as far as they show that it does not.
    fn surely_kept(&self, access: Access) -> Blockers {
        match self.blockers(access) {
            Blockers::All(frames)
                if access != Access::Exclusive && frames.iter().all(|frame| frame.access() != Access::Exclusive) =>
            {
                Blockers::All(Vec::new())
            }
            blockers => blockers,
        }
    }

    /// Whether a call can never begin, for those that wait for it occupy what it needs (PROTOCOLS §5.2). Gives the cycle.
    pub(crate) fn reentrant(&self, chain: &[Frame], access: Access) -> Option<Vec<ActorId>> {
        if !chain.iter().any(|frame| frame.actor == self.id) {
            return None;
        }
        self.host.reentrant(chain, &self.blockers(access))
    }
}

impl<A: Actor> Inbox<A> {
    /// The waiting frames that must all have ended before somebody has the actor for himself.
    fn to_be_gone(&self) -> Blockers {
        self.occupied.blockers(Access::Exclusive, 0, false)
    }

    /// Why the actor has not ended. One that was killed ends as soon as its methods await, and the end that somebody
    /// watches for may come from anywhere.
    pub(crate) fn held_end(&self, end: End) -> Held {
        match end {
            End::Stop => Held::Queued(self.to_be_gone()),
            End::Kill | End::Watch => Held::Not,
        }
    }

    /// Whether those whose chain this is would wait for the end of an actor that waits for them. Gives the cycle.
    pub(crate) fn reentrant_end(&self, chain: &[Frame]) -> Option<Vec<ActorId>> {
        if !chain.iter().any(|frame| frame.actor == self.id) {
            return None;
        }
        self.host.reentrant(chain, &self.to_be_gone())
    }
}

impl<A: Methods> FrameHome for Inbox<A> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn incarnation(&self) -> Incarnation {
        Inbox::incarnation(self)
    }

    fn is_fenced(&self) -> bool {
        !self.placement.is_by_spawner() && self.mailbox.is_closed_by(&EndReason::NodeDied)
    }

    fn occupied(self: Arc<Self>, frame: &Arc<Chain>) {
        if self.occupied.enter(frame) {
            self.host.clone().waits(self);
        }
    }

    fn left(&self, frame: &Chain) {
        self.occupied.leave(frame);
    }

    fn watch(&self) -> Vec<Arc<Chain>> {
        self.occupied.watch()
    }
}

impl<A: Methods> Hosted for Inbox<A> {
    fn placement(&self) -> Placement {
        self.placement
    }

    fn deliver(self: Arc<Self>, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        if incoming.arrival.opens {
            self.streams.fetch_add(1, Ordering::Relaxed);
        }
        match ask::serve_end(&self, incoming) {
            AboutEnd::Not => {}
            AboutEnd::Taken => return None,
            AboutEnd::Watched(served) => return Some(served),
        }
        let Some(method) = A::METHODS.iter().find(|method| method.key == incoming.request.method) else {
            self.refuse(incoming, CallFault::UnknownMethod);
            return None;
        };
        match (method.deliver)(&self, incoming) {
            Ok(served) => served,
            Err(error) => {
                self.refuse(incoming, CallFault::Decode { message: &error.to_string() });
                None
            }
        }
    }

    fn stop(&self, then: Then) {
        self.mailbox.drain_then(then);
    }

    fn close(&self, reason: EndReason) {
        self.mailbox.close(reason);
    }

    fn over(self: Arc<Self>) -> BoxFuture<'static, EndReason> {
        Box::pin(async move { ended(&self).await })
    }

    fn linked(self: Arc<Self>, other: ActorId, end: BoxFuture<'static, EndReason>) -> Result<(), LinkError> {
        self.follow(other, end)
    }

    fn unlinked(&self, other: ActorId) {
        self.unfollow(other);
    }

    fn save_again(self: Arc<Self>) {
        checkpoint::again(&self);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn held(&self, method: Key, begun: Option<Serves>) -> Held {
        match (access_of::<A>(method), begun) {
            (Some(_), Some(call)) => self.running(call),
            (Some(access), None) => Held::Queued(self.blockers(access)),
            (None, _) => ask::end_of(method).map_or(Held::Not, |end| self.held_end(end)),
        }
    }

    fn held_object(&self, method: Key, object: ObjectId) -> Held {
        match (self.running(Serves::Object(object)), access_of::<A>(method)) {
            (Held::Not, Some(access)) => Held::Queued(self.surely_kept(access)),
            (held, _) => held,
        }
    }
}

/// What a method needs of its actor.
fn access_of<A: Methods>(method: Key) -> Option<Access> {
    A::METHODS.iter().find(|each| each.key == method).map(|each| each.access)
}

/// What a method's entry does with a call that arrived.
pub(crate) fn deliver<M: Method>(
    inbox: &Arc<Inbox<M::Actor>>,
    incoming: &Incoming<'_>,
) -> Result<Option<Arc<dyn Served>>, DecodeError> {
    if !incoming.request.chain.is_empty()
        && let chain = incoming.request.chain.iter().collect::<Vec<_>>()
        && let Some(cycle) = inbox.reentrant(&chain, Access::of::<M>())
    {
        inbox.refuse(incoming, CallFault::Deadlock { cycle: List::Items(&cycle) });
        return Ok(None);
    }
    let job = RemoteJob::<M>::decode(inbox.clone(), incoming)?;
    let waits = incoming.request.refs.iter().any(|of| of.position().is_some());
    let rare = if waits { Some(inbox.rare.get_or_init(Box::default)) } else { inbox.rare.get() };
    let stream = (incoming.peer.life(), incoming.arrival.stream);
    let served = job.is_served().then(|| job.clone() as Arc<dyn Served>);
    let taken = match rare.and_then(|rare| rare.arrivals.line(stream, waits)) {
        Some(line) => Arrived::enter(job, &line),
        None => inbox.mailbox.push(job).map(drop),
    };
    match taken {
        Ok(()) => Ok(served),
        Err(reason) => {
            inbox.refuse(incoming, reason.to_wire().map_or(CallFault::NotHere, CallFault::ActorDied));
            Ok(None)
        }
    }
}
