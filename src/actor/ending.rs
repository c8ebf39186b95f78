//! The end of an actor, as its callers ask and wait for it.

use futures_util::future::BoxFuture;
use std::any::Any;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::dispatch::Actor;
use super::error::{CallError, EndReason, Executed};
use super::frame::{self, BegunWait, Circle, Held, Place, Wait};
use super::handle::{ActorRef, Elsewhere, Route};
use super::inbox::{Host, Inbox, Resolved};
use super::remote::ask;
use super::remote::placed::{Binding, Lost, Placed};
use crate::id::ActorId;
use crate::limits::SEEK_PAUSE;
use crate::wire::packet::ProbeTo;

/// What is asked of an actor that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    Kill,
    Watch,
}

impl End {
    /// Asks it of an actor of this node.
    pub(crate) fn of<A: Actor>(self, inbox: &Inbox<A>) {
        match self {
            End::Stop => inbox.mailbox().drain(),
            End::Kill => inbox.mailbox().close(EndReason::Killed),
            End::Watch => {}
        }
    }

    /// What a caller did that waits no more.
    pub(crate) const fn executed(self) -> Executed {
        match self {
            End::Stop | End::Kill => Executed::Yes,
            End::Watch => Executed::No,
        }
    }
}

/// The end of an actor: what [`Handle::stop`](super::handle::Handle::stop), [`Handle::kill`](super::handle::Handle::kill)
/// and [`Handle::ended`](super::handle::Handle::ended) give. Lazy: nothing is asked before it is polled. Gives the reason
/// of the end.
///
/// # Errors
/// [`CallError::Deadlock`] when the actor itself, or one that it waits for, would wait for its end. It ends all the same.
#[must_use = "lazy: nothing ends until this is awaited"]
pub struct Ending<A: Actor> {
    actor: ActorRef<A>,
    end: End,
    answer: Option<BoxFuture<'static, Result<EndReason, CallError>>>,
    wait: Option<BegunWait<EndWait<A>>>,
}

impl<A: Actor> Ending<A> {
    pub(super) fn new(actor: &ActorRef<A>, end: End) -> Self {
        Ending { actor: actor.weakened(), end, answer: None, wait: None }
    }

    fn begin(&mut self) -> Result<(), CallError> {
        let origin = frame::origin();
        let caller = frame::caller_of(origin.as_ref())?;
        let frame = origin.filter(|origin| origin.is_frame());
        let mut ticket = None;
        let answer: BoxFuture<'static, _> = match self.actor.route() {
            Route::Elsewhere(there) => match &**there {
                Elsewhere::Gone(_, reason) => Box::pin(ready(Ok(reason.clone()))),
                Elsewhere::Remote(actor) => {
                    let asked = ask::end(&actor.to, self.end, caller, frame.as_ref())?;
                    ticket = asked.ticket;
                    asked.answer
                }
                Elsewhere::Placed(actor) => Box::pin(end_placed(actor.to.clone(), self.end, end_here::<A>(self.end))),
            },
            Route::Local(inbox) => {
                self.end.of(inbox);
                let (inbox, end) = (inbox.to.clone(), self.end);
                Box::pin(async move {
                    let reason = ended(&inbox).await;
                    // It may go on elsewhere.
                    match inbox.moved().cloned() {
                        Some(placed) => end_placed(placed, end, end_here::<A>(end)).await,
                        None => Ok(reason),
                    }
                })
            }
        };
        if let Some(frame) = frame {
            let (actor, circle) = (self.actor.clone(), Circle::default());
            let wait = Arc::new(EndWait { actor, end: self.end, ticket, circle });
            self.wait = Some(BegunWait::new(frame.clone(), wait));
            if let Route::Local(inbox) = self.actor.route()
                && let Some(cycle) = inbox.reentrant_end(&frame.frames())
            {
                return Err(CallError::Deadlock { cycle, executed: self.end.executed() });
            }
        }
        self.answer = Some(answer);
        Ok(())
    }
}

impl<A: Actor> fmt::Debug for Ending<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("actor", &self.actor).field("end", &self.end).finish_non_exhaustive()
    }
}

impl<A: Actor> Future for Ending<A> {
    type Output = Result<EndReason, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.answer.is_none()
            && let Err(error) = this.begin()
        {
            this.wait = None;
            return Poll::Ready(Err(error));
        }
        let polled = match this.wait.as_ref().and_then(|begun| begun.wait().circle.watch(cx)) {
            Some(cycle) => Poll::Ready(Err(CallError::Deadlock { cycle, executed: this.end.executed() })),
            None => this.answer.as_mut().map_or(Poll::Pending, |answer| answer.as_mut().poll(cx)),
        };
        if polled.is_ready() {
            this.wait = None;
        }
        polled
    }
}

/// The end of an actor as something that a frame waits for (PROTOCOLS §5).
struct EndWait<A: Actor> {
    actor: ActorRef<A>,
    end: End,
    /// Of the request to its node.
    ticket: Option<u64>,
    circle: Circle,
}

impl<A: Actor> Wait for EndWait<A> {
    fn actor(&self) -> ActorId {
        self.actor.id()
    }

    fn place(&self) -> Place {
        let actor = self.actor.id();
        let (remote, ticket) = match (self.actor.route(), self.ticket) {
            (Route::Local(inbox), _) if inbox.mailbox().ended().is_err() => return Place::Here,
            (Route::Elsewhere(there), Some(ticket)) if let Elsewhere::Remote(remote) = &**there => (remote, ticket),
            _ => return Place::Over,
        };
        match remote.peer.standing(ticket) {
            Some(call) => Place::There(remote.peer.life(), ProbeTo { actor, method: ask::name(self.end), call }),
            None => Place::Over,
        }
    }

    fn held(&self) -> Held {
        match self.actor.route() {
            Route::Local(inbox) => inbox.held_end(self.end),
            Route::Elsewhere(_) => Held::Not,
        }
    }

    fn deadlock(&self, cycle: Vec<ActorId>) {
        self.circle.found(cycle);
    }
}

/// Asks for the end of an actor of its inbox on this node.
fn end_here<A: Actor>(end: End) -> impl Fn(Arc<dyn Any + Send + Sync>) -> Option<BoxFuture<'static, EndReason>> {
    move |here| {
        let inbox = here.downcast::<Inbox<A>>().ok()?;
        end.of(&inbox);
        Some(Box::pin(async move { ended(&inbox).await }))
    }
}

/// The end of an actor that the head may place again: asked for wherever it is, until it has ended for good.
/// `here` asks for it of its inbox on this node.
async fn end_placed(
    actor: Arc<Placed>,
    end: End,
    here: impl Fn(Arc<dyn Any + Send + Sync>) -> Option<BoxFuture<'static, EndReason>> + Send,
) -> Result<EndReason, CallError> {
    loop {
        let there = match actor.whereabouts().await {
            Ok(Binding::There(there)) => there,
            Ok(Binding::Here(inbox)) => {
                let Some(ending) = here(inbox.clone()) else { return Ok(EndReason::Unknown) };
                match ending.await {
                    EndReason::NodeDied | EndReason::Unknown => actor.lost_here(&inbox),
                    reason => return Ok(reason),
                }
                continue;
            }
            Err(Some(reason)) => return Ok(reason),
            Err(None) => match actor.here().filter(|here| end == End::Watch && !here.is_over()) {
                // That nobody can say where it is, is not its end.
                Some(_) => {
                    tokio::time::sleep(SEEK_PAUSE).await;
                    continue;
                }
                None => return Ok(EndReason::NodeDied),
            },
        };
        match ask::end(&there, end, frame::caller(), None)?.answer.await? {
            EndReason::NodeDied => actor.lost(&there, Lost::LinkEnded),
            EndReason::Unknown => actor.lost(&there, Lost::NotHere),
            reason => return Ok(reason),
        }
    }
}

/// The end of an actor of whatever type, that a message named.
pub(crate) async fn end_of(id: ActorId, actor: Resolved, host: Arc<dyn Host>) -> EndReason {
    let here = move || Some(host.hosting(id)?.over());
    let ending = match actor {
        Resolved::Gone(reason) => return reason,
        Resolved::Here(_) => match here() {
            Some(ending) => return ending.await,
            None => return EndReason::Unknown,
        },
        Resolved::There(there) => match ask::end(&there, End::Watch, None, None) {
            Ok(asked) => asked.answer.await,
            Err(error) => Err(error),
        },
        Resolved::Placed(placed) => end_placed(placed, End::Watch, move |_| here()).await,
    };
    ending.unwrap_or(EndReason::Unknown)
}

/// Waits until an actor of this process has ended.
pub(crate) async fn ended<A: Actor>(inbox: &Inbox<A>) -> EndReason {
    loop {
        let told = match inbox.mailbox().ended() {
            Ok(reason) => return reason,
            Err(end) => end.notified_owned(),
        };
        let mut told = std::pin::pin!(told);
        told.as_mut().enable();
        if let Ok(reason) = inbox.mailbox().ended() {
            return reason;
        }
        told.await;
    }
}
