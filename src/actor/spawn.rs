//! How an actor begins: its constructor runs, then its cell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::args;
use super::bring;
use super::cell::Cell;
use super::context::ActorContext;
use super::dispatch::{Constructor, Methods};
use super::error::{CallError, EndReason, Executed, Part, WireError, panic_message};
use super::inbox::{Host, Hosted, Inbox};
use super::mailbox::Taken;
use super::remote::{NodeRef, encode_part};
use crate::id::{ActorId, Placement};
use crate::object::failure::text_of;
use crate::wire::codec::{self, DecodeError, Enclosed};

/// Runs a constructor, then starts the actor's cell on its host. Dropped before it is ready, no actor comes to be.
pub(crate) async fn construct<C: Constructor>(
    inbox: Arc<Inbox<C::Actor>>,
    mut message: C,
) -> Result<(), CallError<C::Error>> {
    let mut unborn = Unborn { inbox: inbox.clone(), born: false };
    if message.has_references() {
        let argument = |(object, why)| CallError::Argument { object, why };
        let gathered = bring::gather(&mut message).bring().await.map_err(argument)?;
        args::resolve(&mut message).map_err(argument)?;
        drop(gathered);
    }
    let mut ctx = ActorContext::new(inbox.clone());
    let constructor = CaughtConstructor { run: Box::pin(async { message.run(&mut ctx).await }) };
    let actor = match constructor.await {
        Ok(Ok(actor)) => actor,
        Ok(Err(error)) => return Err(CallError::App(error)),
        Err(message) => return Err(CallError::Panicked { method: C::NAME.into(), message }),
    };
    unborn.born = true;
    inbox.host().spawn(<C::Actor as Methods>::drive(Cell::new(actor, ctx)));
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

/// What a node makes an actor from when its constructor's arguments arrived encoded.
pub(crate) struct Planting<'a> {
    pub(crate) id: ActorId,
    pub(crate) placement: Placement,
    pub(crate) host: Arc<dyn Host>,
    /// Where handles among the arguments attach to.
    pub(crate) here: &'a NodeRef,
    pub(crate) enclosed: Enclosed,
    pub(crate) arguments: &'a [u8],
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
    let done = planting.done;
    if let Err(error) = (planting.register)(inbox.clone()) {
        done(Planted::Failed(error));
        return Ok(());
    }
    planting.host.spawn(Box::pin(async move {
        let error = match construct(inbox, message).await {
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
