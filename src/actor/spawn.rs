//! How an actor begins: its constructor runs, then its cell.

use futures_util::future::BoxFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::args;
use super::bring;
use super::cell::Cell;
use super::checkpoint;
use super::context::ActorContext;
use super::dispatch::{Constructor, Methods};
use super::error::{CallError, EndReason, Executed, Part, WireError, panic_message};
use super::hosted::Hosted;
use super::inbox::{Host, Inbox};
use super::mailbox::Taken;
use super::remote::{NodeRef, encode_part};
use super::restart::{Kept, Renewal, Restarts};
use crate::id::{ActorId, Placement};
use crate::object::failure::text_of;
use crate::wire::codec::{self, DecodeError, Enclosed};

/// Runs a constructor, or makes the actor of what was saved of it, then starts its cell on its host. Its arguments are kept if
/// the actor may be started again.
/// Dropped before it is ready, no actor comes to be.
pub(crate) async fn construct<C: Constructor>(
    inbox: Arc<Inbox<C::Actor>>,
    restarts: Restarts,
    saved: Option<Coming>,
    mut message: C,
) -> Result<(), CallError<C::Error>> {
    let mut unborn = Unborn { inbox: inbox.clone(), born: false };
    if restarts.allow_any() {
        // What is read where it lies is kept as a reference.
        bring_arguments(&mut message, |message| args::leave(message, |_| false)).await?;
        inbox.renews(Renewal::of(restarts, &message, &inbox).map_err(CallError::widen)?);
    }
    let mut ctx = ActorContext::new(inbox.clone());
    let actor = match saved {
        None => run_constructor(&mut ctx, message).await?,
        Some(coming) => restored(&inbox, coming, &mut ctx).await.map_err(|reason| {
            // Said to who waits for its end before that comes.
            inbox.mailbox().close(reason.clone());
            CallError::ActorDied { actor: inbox.id(), reason, executed: Executed::No }
        })?,
    };
    unborn.born = true;
    checkpoint::begin(&inbox);
    inbox.run(<C::Actor as Methods>::drive(Cell::new(actor, ctx)));
    Ok(())
}

/// Makes the actor of what was saved of it where it was before.
async fn restored<A: Methods>(inbox: &Inbox<A>, coming: Coming, ctx: &mut ActorContext<A>) -> Result<A, EndReason> {
    let saved = Arc::new(coming.await.map_err(|message| EndReason::NotRestored { message })?);
    if let Some(renewal) = inbox.renewal() {
        renewal.saves().begin_with(saved.clone());
    }
    checkpoint::restored(&saved, ctx).await
}

/// Brings a constructor's arguments, and runs it.
pub(super) async fn run_constructor<C: Constructor>(
    ctx: &mut ActorContext<C::Actor>,
    mut message: C,
) -> Result<C::Actor, CallError<C::Error>> {
    bring_arguments(&mut message, args::resolve).await?;
    let constructor = CaughtConstructor { run: Box::pin(async { message.run(ctx).await }) };
    match constructor.await {
        Ok(made) => made.map_err(CallError::App),
        Err(message) => Err(CallError::Panicked { method: C::NAME.into(), message }),
    }
}

/// Brings the values of a constructor's references, and puts them in their places as `put` says.
async fn bring_arguments<C: Constructor>(
    message: &mut C,
    put: impl FnOnce(&mut C) -> Result<(), bring::Absent>,
) -> Result<(), CallError<C::Error>> {
    if message.has_references() {
        let gathered = bring::gather(message).bring().await.map_err(CallError::absent)?;
        put(message).map_err(CallError::absent)?;
        drop(gathered);
    }
    Ok(())
}

/// Refuses what was sent to an actor that never came to be.
struct Unborn<A: Methods> {
    inbox: Arc<Inbox<A>>,
    born: bool,
}

impl<A: Methods> Drop for Unborn<A> {
    fn drop(&mut self) {
        if !self.born {
            self.inbox.bury(EndReason::NotConstructed, Taken::default());
        }
    }
}

struct CaughtConstructor<F> {
    run: Pin<Box<F>>,
}

impl<F: Future> Future for CaughtConstructor<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let run = self.run.as_mut();
        match catch_unwind(AssertUnwindSafe(|| run.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic_message(&*panic))),
        }
    }
}

/// What was saved of an actor, on its way; else why it cannot be had.
pub(crate) type Coming = BoxFuture<'static, Result<Kept, String>>;

/// What a node makes an actor from when its constructor's arguments arrived encoded.
pub(crate) struct Planting<'a> {
    pub(crate) id: ActorId,
    pub(crate) placement: Placement,
    pub(crate) host: Arc<dyn Host>,
    /// Where handles among the arguments attach to.
    pub(crate) here: &'a NodeRef,
    pub(crate) enclosed: Enclosed,
    pub(crate) arguments: &'a [u8],
    pub(crate) restarts: Restarts,
    /// What was saved of it where it was before.
    pub(crate) saved: Option<Coming>,
    /// Takes the actor into the node's table, before its constructor runs.
    pub(crate) register: &'a dyn Fn(Arc<dyn Hosted>) -> Result<(), CallError>,
    /// Told how the constructor ended.
    pub(crate) done: Box<dyn FnOnce(Planted) + Send>,
}

/// How a constructor ended.
pub(crate) enum Planted {
    /// The actor lives.
    Alive,
    /// The constructor returned this error: encoded, its references, and what it says.
    App(Vec<u8>, Enclosed, String),
    /// It came to nothing.
    Failed(CallError),
}

/// What a constructor's entry does.
pub(crate) fn plant<C: Constructor>(planting: Planting<'_>) -> Result<(), DecodeError> {
    let message: C = codec::decode_message(planting.arguments, planting.enclosed, planting.here)?;
    let inbox = Inbox::<C::Actor>::new(planting.id, planting.placement, planting.host.clone());
    let (done, restarts, saved) = (planting.done, planting.restarts, planting.saved);
    if let Err(error) = (planting.register)(inbox.clone()) {
        done(Planted::Failed(error));
        return Ok(());
    }
    inbox.clone().run(Box::pin(async move {
        let error = match construct(inbox, restarts, saved, message).await {
            Ok(()) => return done(Planted::Alive),
            Err(error) => error,
        };
        done(failed(error));
    }));
    Ok(())
}

/// A constructor's failure, as it travels.
pub(crate) fn failed<E: WireError>(error: CallError<E>) -> Planted {
    error.into_app().map_or_else(Planted::Failed, |error| {
        let (mut body, text) = (Vec::new(), text_of(&error));
        encode_part(Part::Error, Executed::Yes, &error, &mut body)
            .map_or_else(Planted::Failed, |enclosed| Planted::App(body, enclosed, text))
    })
}
