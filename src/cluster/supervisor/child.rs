//! A supervisor's children: how each is made, and the one that runs.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use super::ChildContext;
use super::keeper::Supervisor;
use crate::actor::core::supervision::Kind;
use crate::actor::dispatch::Actor;
use crate::actor::error::{CallError, EndReason, panic_message};
use crate::actor::handle::Handle;
use crate::id::ActorId;
use crate::limits::KILL_PAUSE;
use crate::object::parcel::Parcel;

type Made = Result<Box<dyn Incarnation>, String>;
type Make = Box<dyn Fn(&ChildContext<'_>) -> BoxFuture<'static, Made> + Send + Sync>;

/// What a supervisor was told of a child.
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) kind: Kind,
    make: Make,
}

impl Spec {
    pub(super) fn new<H, S, X, F>(name: String, kind: Kind, make: F) -> Self
    where
        H: Handle,
        F: Fn(&ChildContext<'_>) -> S + Send + Sync + 'static,
        S: IntoFuture<Output = Result<H, X>>,
        S::IntoFuture: Send + 'static,
        X: fmt::Display,
    {
        let make: Make = Box::new(move |context| {
            let making = make(context).into_future();
            Box::pin(async move {
                let made = making.await.map_err(|error| error.to_string())?;
                Ok(Box::new(made) as Box<dyn Incarnation>)
            })
        });
        Spec { name, kind, make }
    }

    /// Starts the child.
    ///
    /// # Errors
    /// What its spawn said, or that it panicked.
    pub(super) async fn start(&self, supervisor: &Supervisor) -> Made {
        let making = AssertUnwindSafe(async {
            // The context lives no longer than the call: what is made holds nothing of the supervisor.
            let making = (self.make)(&ChildContext { supervisor });
            making.await
        });
        making.catch_unwind().await.unwrap_or_else(|panic| Err(format!("it panicked: {}", panic_message(&*panic))))
    }
}

/// A child that runs, of whatever type.
pub(super) trait Incarnation: Send + Sync {
    fn id(&self) -> ActorId;
    fn kind(&self) -> String;
    /// Whether it is known to have ended: its supervisor may not have been told yet.
    fn has_ended(&self) -> bool;
    /// Its handle.
    fn parcel(&self) -> Parcel;
    fn stop(&self) -> BoxFuture<'static, Result<EndReason, CallError>>;
    fn kill(&self) -> BoxFuture<'static, Result<EndReason, CallError>>;
    fn ended(&self) -> BoxFuture<'static, Result<EndReason, CallError>>;
}

impl<H: Handle> Incarnation for H {
    fn id(&self) -> ActorId {
        Handle::id(self)
    }

    fn kind(&self) -> String {
        H::Actor::type_name().to_string()
    }

    fn has_ended(&self) -> bool {
        self.as_ref().has_ended()
    }

    fn parcel(&self) -> Parcel {
        Parcel::of(self.clone())
    }

    fn stop(&self) -> BoxFuture<'static, Result<EndReason, CallError>> {
        Box::pin(Handle::stop(self))
    }

    fn kill(&self) -> BoxFuture<'static, Result<EndReason, CallError>> {
        Box::pin(Handle::kill(self))
    }

    fn ended(&self) -> BoxFuture<'static, Result<EndReason, CallError>> {
        Box::pin(Handle::ended(self))
    }
}

/// Stops a child, kills it if that takes too long, and is ready once it has ended.
pub(super) async fn end(child: &dyn Incarnation, stop_within: Duration) {
    if let Ok(Ok(_)) = tokio::time::timeout(stop_within, child.stop()).await {
        return;
    }
    let mut ended = child.ended();
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => return,
            Ok(_) = child.kill() => return,
            // Its node could not be told: as long as it is silent, the child may run there.
            () = tokio::time::sleep(KILL_PAUSE) => {}
        }
    }
}
