//! A call that arrived over a link, at its actor's node.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

use super::{Arrival, Here, Instead, NodeRef, Peer, with_scratch};
use crate::actor::args;
use crate::actor::bring::{self, Absent, Gathered};
use crate::actor::context::ActorContext;
use crate::actor::dispatch::{Method, OnCancel};
use crate::actor::error::{CallError, EndReason, Executed, Part};
use crate::actor::frame::{Above, Serves};
use crate::actor::inbox::Inbox;
use crate::actor::job::{self, Access, Begun, BegunShared, Job, Outcome, Verdict};
use crate::actor::mailbox::Entry;
use crate::actor::reply::{Answering, Arriving, Reply};
use crate::actor::restart::Kept;
use crate::clock::{self, Moment};
use crate::limits::OBJECT_HOPS;
use crate::wire::bytes::List;
use crate::wire::codec::{self, DecodeError, Enclosed};
use crate::wire::packet::{self, Answer, CallFault, Flags, Request};

/// A request as it arrives.
pub(crate) struct Incoming<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) arrival: Arrival,
    pub(crate) now: Moment,
    pub(crate) peer: &'a Arc<dyn Peer>,
    pub(crate) enclosed: Enclosed,
}

impl Incoming<'_> {
    pub(crate) fn here(&self) -> &NodeRef {
        self.peer.here()
    }

    /// It is served here and now, not by an actor: it leaves the mailbox. Whether its caller still waits for it.
    pub(crate) fn begin(&self) -> bool {
        self.peer.begin(self.arrival, u32::MAX).runs
    }

    /// Answers it with a fault instead of running it. Whether no other request of its stream is waiting.
    pub(crate) fn refuse(&self, fault: CallFault<'_>) -> bool {
        refuse(&**self.peer, self.arrival, fault)
    }
}

/// Answers a request with a fault instead of running it: it leaves the mailbox. Whether no other request of its stream is
/// waiting.
pub(crate) fn refuse(peer: &dyn Peer, arrival: Arrival, fault: CallFault<'_>) -> bool {
    let begun = peer.begin(arrival, u32::MAX);
    match arrival.tell {
        _ if !begun.runs => {}
        false => answer_fault(peer, arrival.call, Executed::No, fault),
        true => dead_letter(peer, fault),
    }
    begun.closes
}

/// A tell of the peer is refused: it is counted if its actor has ended.
fn dead_letter(peer: &dyn Peer, fault: CallFault<'_>) {
    let why = match fault {
        CallFault::ActorDied(end) => EndReason::from_wire(end),
        CallFault::NotHere => EndReason::Unknown,
        _ => return,
    };
    if let Some(host) = peer.here().downcast_ref::<Here>().and_then(|here| here.0.upgrade()) {
        host.dead_letters().add(&why);
    }
}

/// What the link keeps of a request that is not answered yet.
pub(crate) trait Served: Send + Sync {
    /// It has begun, and its caller no longer waits.
    fn cancel(&self);
    /// Its streaming reply, which ran too far ahead, may go on.
    fn room(&self);
}

pub(crate) struct RemoteJob<M: Method> {
    inbox: Arc<Inbox<M::Actor>>,
    to: Answering,
    arrival: Arrival,
    /// When its caller stops waiting.
    deadline: Option<Moment>,
    above: Above,
    /// How often it may be tried again.
    retries: AtomicU8,
    state: Mutex<State<M>>,
}

enum State<M> {
    Waiting(M),
    /// It began in an earlier run of its actor, and goes again in the next.
    Returned(M),
    Begun,
    /// It runs, can be cancelled, and this wakes it.
    Cancellable(Waker),
    Cancelled,
    Over,
}

impl<M: Method> RemoteJob<M> {
    /// Decodes a request's arguments.
    pub(crate) fn decode(inbox: Arc<Inbox<M::Actor>>, incoming: &Incoming<'_>) -> Result<Arc<Self>, DecodeError> {
        let request = &incoming.request;
        let message: M = codec::decode_message(request.body, incoming.enclosed.clone(), incoming.here())?;
        let streams = <M::Reply as Reply>::Arriving::FLAGS.has(Flags::STREAM);
        let (peer, call) = (incoming.peer.clone(), incoming.arrival.call);
        Ok(Arc::new(RemoteJob {
            inbox,
            to: Answering { peer, call, consumer: streams.then(Arc::default) },
            arrival: incoming.arrival,
            deadline: request.time_left.map(|left| incoming.now + left),
            above: Above::from_wire(request.chain.iter()),
            retries: AtomicU8::new(if streams { 0 } else { u8::try_from(request.retries).unwrap_or(u8::MAX) }),
            state: Mutex::new(State::Waiting(message)),
        }))
    }

    /// Whether its caller may have a say while it runs.
    pub(crate) fn is_served(&self) -> bool {
        self.to.consumer.is_some() || (M::CANCEL == OnCancel::Drop && !self.arrival.tell)
    }

    pub(crate) fn inbox(&self) -> &Inbox<M::Actor> {
        &self.inbox
    }

    /// The values of its references.
    pub(crate) fn gather(&self) -> Gathered {
        self.with_message(bring::gather).unwrap_or_else(Gathered::none)
    }

    /// Brings them. One that is lost may be the value of an object that its caller's node has made again.
    pub(crate) async fn bring(&self, mut gathered: Gathered) -> Result<Gathered, Absent> {
        for _ in 0..OBJECT_HOPS {
            let (object, fault) = match gathered.try_bring().await {
                Err((object, fault)) if fault.is_lost() => (object, fault),
                brought => return brought.map_err(|(object, fault)| (object, fault.to_string())),
            };
            let passed = self.with_message(|message| args::passed_as(message, object)).flatten();
            let Some(passed) = passed else { return Err((object, fault.to_string())) };
            match self.to.peer.instead_of(passed).await {
                Instead::Object(by) => drop(self.with_message(|message| args::replace(message, passed, &by))),
                Instead::Lost(object, why) => return Err((object, why)),
                Instead::Nothing => return Err((object, fault.to_string())),
            }
            gathered = self.gather();
        }
        gathered.bring().await
    }

    pub(crate) fn run_beside(&self, work: BoxFuture<'static, ()>) {
        self.inbox.host().spawn(work);
    }

    /// It waits for the values of its arguments, until it [comes](RemoteJob::come).
    pub(crate) fn waits(&self) {
        self.to.peer.waits(self.arrival);
    }

    /// The values of its arguments are at hand, or one cannot be had: it enters the mailbox, or is refused.
    pub(crate) fn come(self: Arc<Self>, gathered: Result<(), Absent>) {
        self.to.peer.comes(self.arrival);
        let resolved = gathered.and_then(|()| self.with_message(args::resolve).unwrap_or(Ok(())));
        match resolved.map(|()| self.inbox.mailbox().push_expected(self.clone())) {
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => self.refuse_with(reason.to_wire().map_or(CallFault::NotHere, CallFault::ActorDied)),
            Err((object, why)) => self.refuse_with(CallFault::Argument { object, message: &why }),
        }
    }

    /// What it takes to try it again, if it may be.
    fn keep(&self, message: &M) -> Option<Box<Kept>> {
        let tried = self.retries.load(Ordering::Relaxed) > 0 && self.inbox.renewal().is_some();
        tried.then(|| Kept::of(message, self.inbox.host()).ok().map(Box::new)).flatten()
    }

    fn refuse_with(&self, fault: CallFault<'_>) {
        self.inbox.stream_left(refuse(&*self.to.peer, self.arrival, fault));
    }

    /// Does something to the message before it begins, outside of the lock: it may run user code.
    fn with_message<R>(&self, work: impl FnOnce(&mut M) -> R) -> Option<R> {
        let former = mem::replace(&mut *self.state.lock(), State::Begun);
        let State::Waiting(mut message) = former else {
            *self.state.lock() = former;
            return None;
        };
        let result = work(&mut message);
        let mut state = self.state.lock();
        // Cancelled meanwhile, it never runs.
        let left = match &*state {
            State::Begun => mem::replace(&mut *state, State::Waiting(message)),
            _ => State::Waiting(message),
        };
        drop(state);
        drop(left);
        Some(result)
    }

    /// The message, once, if its caller still waits for it.
    fn take(&self) -> Option<M> {
        // Those of an actor that is never started again do not return.
        if self.inbox.renewal().is_some() {
            let mut state = self.state.lock();
            if let State::Returned(_) = *state
                && let State::Returned(message) = mem::replace(&mut *state, State::Begun)
            {
                return Some(message);
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= clock::now()) {
            self.refuse_with(CallFault::TimeUp);
            return self.over();
        }
        // Before the link knows: who cancels it from then on finds it so.
        let former = mem::replace(&mut *self.state.lock(), State::Begun);
        let begun = self.to.peer.begin(self.arrival, self.inbox.share());
        self.inbox.stream_left(begun.closes);
        match former {
            State::Waiting(message) if begun.runs => Some(message),
            _ => self.over(),
        }
    }

    fn over(&self) -> Option<M> {
        let former = mem::replace(&mut *self.state.lock(), State::Over);
        drop(former);
        None
    }
}

impl<M: Method> Entry for RemoteJob<M> {
    fn admitted(&self) {}

    fn is_abandoned(&self) -> bool {
        false
    }
}

impl<M: Method> Job<M::Actor> for RemoteJob<M> {
    fn access(&self) -> Access {
        Access::of::<M>()
    }

    fn begin<'a>(
        self: Arc<Self>,
        actor: &'a mut M::Actor,
        ctx: &'a mut ActorContext<M::Actor>,
        home: &Arc<Inbox<M::Actor>>,
    ) -> Begun<'a, M::Actor> {
        let Some(message) = self.take() else { return Begun::Over(Verdict::Continue) };
        let (above, kept) = (self.above.clone(), self.keep(&message));
        job::begin(message, (self, kept), above, actor, ctx, home)
    }

    fn begin_shared(self: Arc<Self>, actor: Arc<M::Actor>, ctx: ActorContext<M::Actor>) -> BegunShared<M::Actor>
    where
        M::Actor: Sync,
    {
        let Some(message) = self.take() else { return BegunShared::Over(Verdict::Continue) };
        let (above, kept) = (self.above.clone(), self.keep(&message));
        job::begin_shared(message, (self, kept), above, actor, ctx)
    }

    fn is_unwanted(&self) -> bool {
        !self.to.peer.is_wanted(self.arrival)
    }

    fn refuse(self: Arc<Self>, reason: EndReason) {
        let fault = reason.to_wire().map_or(CallFault::NotHere, CallFault::ActorDied);
        let former = mem::replace(&mut *self.state.lock(), State::Over);
        match former {
            // It left the mailbox when it began.
            State::Returned(_) if self.arrival.tell => {}
            State::Returned(_) => answer_fault(&*self.to.peer, self.arrival.call, Executed::Maybe, fault),
            _ => drop(refuse(&*self.to.peer, self.arrival, fault)),
        }
    }

    /// Nobody counts the tries of a tell but its host.
    fn counted(self: Arc<Self>) -> Option<BoxFuture<'static, bool>> {
        (!self.arrival.tell).then(|| self.to.peer.goes_again(self.to.call))
    }

    fn lapse(self: Arc<Self>) {
        let former = mem::replace(&mut *self.state.lock(), State::Over);
        if let State::Returned(_) = former {
            answer_fault(&*self.to.peer, self.to.call, Executed::Maybe, CallFault::ActorRestarted);
        }
    }
}

impl<M: Method> Outcome<M> for Arc<RemoteJob<M>> {
    fn finish(&self, result: Result<M::Reply, CallError<M::Error>>) {
        *self.state.lock() = State::Over;
        if self.arrival.tell {
            return job::discard(result);
        }
        match result {
            Ok(reply) => reply.answer(&self.to),
            Err(CallError::App(error)) => self.to.send(&error, Part::Error),
            Err(other) => send_fault(&self.to, &other),
        }
    }

    fn poll_cancelled(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if let State::Cancelled = *state {
            return true;
        }
        *state = State::Cancellable(waker.clone());
        false
    }

    fn abandoned(&self) -> CallError {
        self.inbox.abandoned()
    }

    fn serves(&self) -> Serves {
        Serves::Peer(self.to.peer.life(), self.arrival.call)
    }

    fn again(&self, kept: &Kept, frame: u64) -> bool {
        let Some(renewal) = self.inbox.renewal() else { return false };
        let left = |retries: u8| retries.checked_sub(1);
        let Ok(message) = kept.message() else { return false };
        if self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err() {
            return false;
        }
        let former = mem::replace(&mut *self.state.lock(), State::Returned(message));
        drop(former);
        renewal.returns(frame, self.clone());
        true
    }
}

impl<M: Method> Served for RemoteJob<M> {
    fn cancel(&self) {
        if let Some(consumer) = &self.to.consumer {
            consumer.gone();
        }
        let mut state = self.state.lock();
        match mem::replace(&mut *state, State::Cancelled) {
            State::Cancellable(waker) => {
                drop(state);
                waker.wake();
            }
            former @ (State::Over | State::Waiting(_) | State::Returned(_)) => *state = former,
            State::Begun | State::Cancelled => {}
        }
    }

    fn room(&self) {
        if let Some(consumer) = &self.to.consumer {
            consumer.room();
        }
    }
}

/// Answers a call with an error that is not the method's own.
pub(crate) fn send_fault<E>(to: &Answering, error: &CallError<E>) {
    let fault = match error {
        CallError::Panicked { message, .. } => CallFault::Panicked { message },
        CallError::ActorRestarted { .. } => CallFault::ActorRestarted,
        CallError::ActorDied { reason, .. } => reason.to_wire().map_or(CallFault::NotHere, CallFault::ActorDied),
        CallError::Deadlock { cycle, .. } => CallFault::Deadlock { cycle: List::Items(cycle) },
        CallError::Encode { message, .. } => CallFault::Encode { message },
        CallError::Decode { message, .. } => CallFault::Decode { message },
        CallError::TooLarge { bytes, .. } => CallFault::ReplyTooLarge { bytes: *bytes as u64 },
        _ => CallFault::Cancelled,
    };
    answer_fault(&*to.peer, to.call, error.executed(), fault);
}

/// Answers a call with a fault.
pub(crate) fn answer_fault(peer: &dyn Peer, call: u64, executed: Executed, fault: CallFault<'_>) {
    with_scratch(|_, packet| {
        Answer { call, outcome: packet::Outcome::Error { executed, fault } }.encode(packet);
        peer.answer(call, packet, &Enclosed::default());
    });
}
