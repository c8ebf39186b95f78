//! One call at its actor: how a message of a mailbox begins, runs and ends, whoever sent it.

use futures_util::future::BoxFuture;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::context::ActorContext;
use super::dispatch::{Actor, Code, Method, OnCancel, Ran};
use super::error::{CallError, EndReason, Executed, panic_message};
use super::frame::{self, Above, Chain, FrameHome, Serves};
use super::inbox::Inbox;
use super::mailbox::{Entry, Item, Mailbox, Next, Taken};
use super::restart::Kept;
use crate::wire::packet::Frame;

/// What a call needs of its actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The actor for itself.
    Exclusive,
    /// The actor together with others of this group.
    Shared(u8),
}

impl Access {
    pub(crate) const fn of<M: Method>() -> Access {
        match M::CODE {
            Code::Exclusive(_) | Code::Blocking(_) => Access::Exclusive,
            Code::Shared { group, .. } | Code::BlockingShared { group, .. } => Access::Shared(group),
        }
    }
}

/// What a call leaves behind.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The actor goes on.
    Continue,
    /// The method panicked: the actor ends. Boxed, so that what most calls leave behind fits into a register.
    Panicked(Box<EndReason>),
}

/// A call that has begun and wants the actor for itself.
pub(crate) enum Begun<'a, A: Actor> {
    Over(Verdict),
    Running(BoxFuture<'a, Verdict>),
    Blocking(BlockingJob<A>),
}

/// Runs on the compute pool.
pub(crate) type BlockingJob<A> = Box<dyn FnOnce(&mut A, &mut ActorContext<A>) -> Verdict + Send>;
/// Runs on the compute pool, together with others.
pub(crate) type BlockingSharedJob<A> = Box<dyn FnOnce(&A) -> Verdict + Send>;

/// A call that has begun and shares the actor.
pub(crate) enum BegunShared<A: Actor> {
    Over(Verdict),
    Running(BoxFuture<'static, Verdict>),
    Blocking(BlockingSharedJob<A>),
}

/// A call that others may know, too, as its actor's mailbox holds it.
pub(crate) trait Job<A: Actor>: Entry {
    fn access(&self) -> Access;
    /// `home` is the inbox that it was in.
    fn begin<'a>(self: Arc<Self>, actor: &'a mut A, ctx: &'a mut ActorContext<A>, home: &Arc<Inbox<A>>)
    -> Begun<'a, A>;
    fn begin_shared(self: Arc<Self>, actor: Arc<A>, ctx: ActorContext<A>) -> BegunShared<A>
    where
        A: Sync;
    /// Whether it was told, and has neither begun nor anyone who waits for it. One that came over a link is counted there.
    fn is_letter(&self) -> bool {
        false
    }
    /// Whether nobody waits for it any more. It still is to leave the mailbox, by being refused.
    fn is_unwanted(&self) -> bool {
        self.is_abandoned()
    }
    /// It never begins.
    fn refuse(self: Arc<Self>, reason: EndReason);
    /// It goes again in the next run: ready when who waits for it counts that, with `false` if it shall not. None if that is
    /// counted where it is.
    fn counted(self: Arc<Self>) -> Option<BoxFuture<'static, bool>> {
        None
    }
    /// It does not go again after all.
    fn lapse(self: Arc<Self>) {}
}

/// A call that was told, as its actor's mailbox holds it. Nobody else knows it: dropped, it is refused.
pub(crate) trait Told<A: Actor>: Send {
    fn access(&self) -> Access;
    /// `home` is the inbox that it was in.
    fn begin<'a>(self: Box<Self>, actor: &'a mut A, ctx: &'a mut ActorContext<A>, home: &Arc<Inbox<A>>)
    -> Begun<'a, A>;
    fn begin_shared(self: Box<Self>, actor: Arc<A>, ctx: ActorContext<A>) -> BegunShared<A>
    where
        A: Sync;
}

/// The mailbox of `A`.
pub(crate) type Jobs<A> = Mailbox<dyn Job<A>, dyn Told<A>>;
/// What stands in it.
pub(crate) type JobItem<A> = Item<dyn Job<A>, dyn Told<A>>;
/// What its cell finds in it.
pub(crate) type NextJob<A> = Next<dyn Job<A>, dyn Told<A>>;
/// What its cell has taken out of it.
pub(crate) type TakenJobs<A> = Taken<dyn Job<A>, dyn Told<A>>;

impl<A: Actor> JobItem<A> {
    pub(crate) fn access(&self) -> Access {
        match self {
            Item::Call(job) => job.access(),
            Item::Told(told) => told.access(),
        }
    }

    #[inline]
    pub(crate) fn begin<'a>(
        self,
        actor: &'a mut A,
        ctx: &'a mut ActorContext<A>,
        home: &Arc<Inbox<A>>,
    ) -> Begun<'a, A> {
        match self {
            Item::Call(job) => job.begin(actor, ctx, home),
            Item::Told(told) => told.begin(actor, ctx, home),
        }
    }

    pub(crate) fn begin_shared(self, actor: Arc<A>, ctx: ActorContext<A>) -> BegunShared<A>
    where
        A: Sync,
    {
        match self {
            Item::Call(job) => job.begin_shared(actor, ctx),
            Item::Told(told) => told.begin_shared(actor, ctx),
        }
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        match self {
            Item::Call(job) => job.is_unwanted(),
            Item::Told(_) => false,
        }
    }

    /// Whether nobody would be told that it never begins.
    pub(crate) fn is_letter(&self) -> bool {
        match self {
            Item::Call(job) => job.is_letter(),
            Item::Told(_) => true,
        }
    }

    /// It never begins. A panic in the destructor of what it carries is no reason not to refuse those behind it.
    pub(crate) fn refuse(self, reason: EndReason) {
        dropped("a message that never ran", || match self {
            Item::Call(job) => job.refuse(reason),
            Item::Told(told) => drop(told),
        });
    }
}

/// Where a call's outcome goes: its slot in this process, its caller's node, or nowhere.
pub(crate) trait Outcome<M: Method>: Send + 'static {
    fn finish(&self, result: Result<M::Reply, CallError<M::Error>>);
    /// Whether the caller has cancelled a call that runs; `waker` is told when it does.
    fn poll_cancelled(&self, waker: &Waker) -> bool;
    /// What becomes of a call whose method was dropped before it returned.
    fn abandoned(&self) -> CallError;
    /// Which call it is.
    fn serves(&self) -> Serves;
    /// Takes it back for the next run of its actor, as what its message was; whether it goes again there. `frame` tells when
    /// it began.
    fn again(&self, kept: &Kept, frame: u64) -> bool {
        let _ = (kept, frame);
        false
    }
}

/// Sees to it that a call which began gets its outcome, also if its future is dropped.
struct Owed<M: Method, O: Outcome<M>> {
    to: O,
    paid: bool,
    /// When it began.
    began: u64,
    /// The message, if it may go again.
    kept: Option<Box<Kept>>,
    of: std::marker::PhantomData<fn() -> M>,
}

impl<M: Method, O: Outcome<M>> Owed<M, O> {
    #[inline]
    fn new(to: O, kept: Option<Box<Kept>>, frame: Frame) -> Self {
        Owed { to, paid: false, began: frame.frame, kept, of: std::marker::PhantomData }
    }

    /// It goes again in the next run.
    fn goes_again(&mut self) -> bool {
        self.kept.take().is_some_and(|kept| self.to.again(&kept, self.began))
    }

    /// The frame that it runs in.
    fn frame(&self, id: Frame, access: Access, above: Above, home: &Arc<Inbox<M::Actor>>) -> Arc<Chain> {
        let home: Arc<dyn FrameHome> = home.clone();
        Chain::new(id, access, self.to.serves(), above, home)
    }

    #[inline]
    fn pay(mut self, result: std::thread::Result<Result<M::Reply, M::Error>>) -> Verdict {
        self.paid = true;
        match result {
            Ok(Ok(reply)) => {
                self.to.finish(Ok(super::reply::Reply::of(reply, M::NAME)));
                Verdict::Continue
            }
            Ok(Err(error)) => {
                self.to.finish(Err(CallError::App(error)));
                Verdict::Continue
            }
            Err(panic) => self.panicked(panic),
        }
    }

    /// Seldom, and so in nobody's way.
    #[cold]
    #[inline(never)]
    fn panicked(&mut self, panic: Box<dyn Any + Send>) -> Verdict {
        let (method, message) = (M::NAME.to_owned(), panic_message(&*panic));
        if !self.goes_again() {
            self.to.finish(Err(CallError::Panicked { method: method.clone(), message: message.clone() }));
        }
        Verdict::Panicked(Box::new(EndReason::Panicked { message: format!("`{method}`: {message}") }))
    }
}

impl<M: Method, O: Outcome<M>> Drop for Owed<M, O> {
    fn drop(&mut self) {
        if self.paid {
            return;
        }
        let abandoned = self.to.abandoned();
        if !(matches!(abandoned, CallError::ActorRestarted { .. }) && self.goes_again()) {
            self.to.finish(Err(abandoned.widen()));
        }
    }
}

/// A method that runs: polled in its frame, its panic caught, dropped on cancellation if it asked for that.
struct Running<F, M: Method, O: Outcome<M>> {
    method: Option<F>,
    owed: Option<Owed<M, O>>,
    frame: Option<Arc<Chain>>,
}

impl<F, M: Method, O: Outcome<M>> Running<F, M, O> {
    fn new(method: F, owed: Owed<M, O>, frame: Arc<Chain>) -> Self {
        Running { method: Some(method), owed: Some(owed), frame: Some(frame) }
    }
}

impl<F, M: Method, O: Outcome<M>> Drop for Running<F, M, O> {
    fn drop(&mut self) {
        if let Some(frame) = &self.frame {
            frame.leave();
        }
    }
}

impl<F, M: Method, O: Outcome<M>> Unpin for Running<F, M, O> {}

impl<F, M, O> Future for Running<F, M, O>
where
    F: Future<Output = Result<M::Reply, M::Error>> + Unpin,
    M: Method,
    O: Outcome<M>,
{
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let this = &mut *self;
        let (Some(method), Some(owed)) = (&mut this.method, &mut this.owed) else {
            return Poll::Ready(Verdict::Continue);
        };
        if M::CANCEL == OnCancel::Drop && owed.to.poll_cancelled(cx.waker()) {
            let method = this.method.take();
            let dropped = frame::enter(&mut this.frame, || catch_unwind(AssertUnwindSafe(|| drop(method))));
            return Poll::Ready(match (this.owed.take(), dropped) {
                (Some(owed), Err(panic)) => owed.pay(Err(panic)),
                _ => Verdict::Continue,
            });
        }
        let polled = frame::enter(&mut this.frame, || catch_unwind(AssertUnwindSafe(|| Pin::new(method).poll(cx))));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        this.method = None;
        Poll::Ready(this.owed.take().map_or(Verdict::Continue, |owed| owed.pay(result)))
    }
}

/// Begins a call that has the actor for itself.
#[inline]
pub(crate) fn begin<'a, M, O>(
    message: M,
    (to, kept): (O, Option<Box<Kept>>),
    above: Above,
    actor: &'a mut M::Actor,
    ctx: &'a mut ActorContext<M::Actor>,
    home: &Arc<Inbox<M::Actor>>,
) -> Begun<'a, M::Actor>
where
    M: Method,
    O: Outcome<M>,
{
    let id = ctx.next_frame();
    let owed = Owed::new(to, kept, id);
    let ran = match M::CODE {
        Code::Exclusive(run) => catch_unwind(AssertUnwindSafe(|| run(message, actor, ctx))),
        Code::Shared { run, .. } => catch_unwind(AssertUnwindSafe(|| run(message, actor, ctx))),
        Code::Blocking(run) => {
            let frame = owed.frame(id, Access::Exclusive, above, home);
            return Begun::Blocking(Box::new(move |actor, ctx| owed.pay(framed(frame, || run(message, actor, ctx)))));
        }
        Code::BlockingShared { run, .. } => {
            let frame = owed.frame(id, Access::Exclusive, above, home);
            return Begun::Blocking(Box::new(move |actor, ctx| owed.pay(framed(frame, || run(message, actor, ctx)))));
        }
    };
    match ran {
        Ok(Ran::Done(result)) => Begun::Over(owed.pay(Ok(result))),
        Err(panic) => Begun::Over(owed.pay(Err(panic))),
        Ok(Ran::Running(method)) => {
            let frame = owed.frame(id, Access::Exclusive, above, home);
            Begun::Running(Box::pin(Running::new(method, owed, frame)))
        }
    }
}

/// Begins a call that shares the actor.
pub(crate) fn begin_shared<M, O>(
    message: M,
    (to, kept): (O, Option<Box<Kept>>),
    above: Above,
    actor: Arc<M::Actor>,
    mut ctx: ActorContext<M::Actor>,
) -> BegunShared<M::Actor>
where
    M: Method<Actor: Sync>,
    O: Outcome<M>,
{
    let id = ctx.next_frame();
    let owed = Owed::new(to, kept, id);
    let frame = owed.frame(id, Access::of::<M>(), above, ctx.inbox());
    match M::CODE {
        Code::Shared { run, .. } => {
            // The method borrows actor and context, so both live in the future that polls it.
            let method = Box::pin(async move {
                match run(message, &actor, &mut ctx) {
                    Ran::Done(result) => result,
                    Ran::Running(method) => method.await,
                }
            });
            BegunShared::Running(Box::pin(Running::new(method, owed, frame)))
        }
        Code::BlockingShared { run, .. } => {
            BegunShared::Blocking(Box::new(move |actor| owed.pay(framed(frame, || run(message, actor, &mut ctx)))))
        }
        Code::Exclusive(_) | Code::Blocking(_) => BegunShared::Over(Verdict::Continue),
    }
}

/// Runs a blocking method in its frame.
fn framed<R>(frame: Arc<Chain>, run: impl FnOnce() -> R) -> std::thread::Result<R> {
    let ran = frame::enter(&mut Some(frame.clone()), || catch_unwind(AssertUnwindSafe(run)));
    frame.leave();
    ran
}

/// Drops what nobody waits for. A panic in its destructor is no failure of the actor that made it.
pub(crate) fn discard<T>(value: T) {
    dropped("a reply that nobody waits for", || drop(value));
}

/// Has something dropped, whose destructor is user code and may panic.
fn dropped(what: &str, drops: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(drops)) {
        tracing::warn!(panic = panic_message(&*panic), "{what} panicked when it was dropped");
    }
}

/// The outcome of a call whose caller does not wait: a tell.
pub(crate) struct Nobody;

impl<M: Method> Outcome<M> for Nobody {
    fn finish(&self, result: Result<M::Reply, CallError<M::Error>>) {
        discard(result);
    }

    fn poll_cancelled(&self, _: &Waker) -> bool {
        false
    }

    fn abandoned(&self) -> CallError {
        CallError::Cancelled { executed: Executed::Yes }
    }

    fn serves(&self) -> Serves {
        Serves::Nobody
    }
}
