//! The actor that is a supervisor: it starts its children, is told of their ends, and does what
//! [`Supervision`](crate::actor::core::supervision) says.

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

use super::child::{Incarnation, Spec, end};
use super::{ChildStatus, SupervisorError};
use crate::actor::context::ActorContext;
use crate::actor::core::supervision::{Follows, How, Stage, Step, Strategy, Supervision};
use crate::actor::core::tally::Restarts;
use crate::actor::error::EndReason;
use crate::actor::inbox::Host;
use crate::actor::monitor::Monitor;
use crate::clock;
use crate::cluster::client::Cluster;
use crate::object::parcel::Parcel;
use mobula_macros::{actor, methods};

/// What a supervisor is to do.
pub(super) struct Policy {
    pub(super) strategy: Strategy,
    pub(super) intensity: Restarts,
    pub(super) stop_within: Duration,
    pub(super) children: Vec<Spec>,
}

/// A policy on its way to its supervisor. It is made of closures, so that the way cannot lead out of the process.
#[derive(Clone)]
pub(crate) struct Plan(pub(super) Arc<Policy>);

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("a supervisor stays in the process that starts it"))
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("a supervisor stays in the process that starts it"))
    }
}

/// An actor that starts others, and starts them again when they end.
///
/// [`one_for_one`](Supervisor::one_for_one), [`one_for_all`](Supervisor::one_for_all) and
/// [`rest_for_one`](Supervisor::rest_for_one) make one, [`child`](super::NewSupervisor::child) says of what, and
/// [`start`](super::NewSupervisor::start) gives its handle.
#[actor(name = "mobula::Supervisor")]
pub struct Supervisor {
    policy: Arc<Policy>,
    cluster: Cluster,
    core: Mutex<Supervision<Running>>,
    /// Told when a child has started or will not.
    changed: Notify,
}

/// A child that runs.
#[derive(Clone)]
struct Running {
    it: Arc<dyn Incarnation>,
    monitor: Monitor,
}

/// Which child could not be started, and why.
type Failed = (usize, String);

#[methods(concurrency = 16, groups(tend = 1, look = 4_096))]
impl Supervisor {
    #[constructor]
    pub(crate) async fn begin(plan: Plan, ctx: &mut ActorContext<Self>) -> Result<Self, SupervisorError> {
        let Plan(policy) = plan;
        let kinds = policy.children.iter().map(|spec| spec.kind);
        let core = Supervision::new(policy.strategy, kinds, policy.intensity, clock::now());
        let (core, changed) = (Mutex::new(core), Notify::new());
        let supervisor = Supervisor { policy, cluster: ctx.cluster(), core, changed };
        match supervisor.tend(ctx).await {
            None => Ok(supervisor),
            Some((child, message)) => {
                Err(SupervisorError::NotStarted { name: supervisor.name(child).to_owned(), message })
            }
        }
    }

    /// A child has ended, which was started so often.
    #[method(group = "tend")]
    pub(crate) async fn ended(&self, child: usize, starts: u64, why: EndReason, ctx: &mut ActorContext<Self>) {
        let how = if why.is_normal() { How::Stopped } else { How::Otherwise };
        let (follows, former) = self.core.lock().ended(child, starts, how, clock::now());
        drop(former);
        self.changed.notify_waiters();
        self.log(follows, child, &why.to_string(), ctx);
        let last = if follows == Follows::End { Some((child, why.to_string())) } else { None };
        if let Some((child, message)) = self.tend(ctx).await.or(last) {
            let message = format!("`{}`: {message}", self.name(child));
            ctx.end(EndReason::ChildrenFailed { restarts: self.policy.intensity.limit, message });
        }
    }

    /// The handle of the child that runs, and its type. Waits for one that is being started.
    #[method(group = "look", cancel)]
    pub(crate) async fn find(&self, name: String) -> Result<(String, Parcel), SupervisorError> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = self.running(&name)?.filter(|child| !child.has_ended()) {
                return Ok((found.kind(), found.parcel()));
            }
            changed.await;
        }
    }

    #[method(group = "look")]
    pub(crate) fn list(&self) -> Vec<ChildStatus> {
        let core = self.core.lock();
        let status = |(child, spec): (usize, &Spec)| ChildStatus {
            name: spec.name.clone(),
            actor: match core.stage(child) {
                Some(Stage::Up(running)) => Some(running.it.id()),
                Some(Stage::Down | Stage::Stopping(_) | Stage::Over) | None => None,
            },
            restarts: core.starts(child).saturating_sub(1),
        };
        self.policy.children.iter().enumerate().map(status).collect()
    }

    #[on_stop]
    async fn stop_children(&mut self, ctx: &mut ActorContext<Self>) {
        self.core.get_mut().end();
        let _stopped = self.tend(ctx).await;
    }
}

impl Supervisor {
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn name(&self, child: usize) -> &str {
        self.policy.children.get(child).map_or("", |spec| &spec.name)
    }

    /// The child of this name, if it runs at present.
    pub(super) fn running(&self, name: &str) -> Result<Option<Arc<dyn Incarnation>>, SupervisorError> {
        let found = self.policy.children.iter().position(|spec| spec.name == name);
        let core = self.core.lock();
        match found.and_then(|child| core.stage(child)) {
            Some(Stage::Up(running)) => Ok(Some(running.it.clone())),
            Some(Stage::Down | Stage::Stopping(_)) => Ok(None),
            Some(Stage::Over) => Err(SupervisorError::Over { name: name.to_owned() }),
            None => Err(SupervisorError::NoChild { name: name.to_owned() }),
        }
    }

    /// Does what there is to do about the children, until nothing is left. Gives which could not be started, and why, if that
    /// is the end of the supervisor.
    async fn tend(&self, ctx: &ActorContext<Self>) -> Option<Failed> {
        let mut last = None;
        loop {
            let step = self.core.lock().next(clock::now());
            match step {
                Step::Stop(child, Running { it, monitor }) => {
                    monitor.cancel();
                    end(&*it, self.policy.stop_within).await;
                    let former = self.core.lock().stopped(child);
                    drop(former);
                    self.changed.notify_waiters();
                }
                Step::Pause(pause) => tokio::time::sleep(pause).await,
                Step::Start(child) => match self.start(child, ctx).await {
                    Ok(running) => {
                        self.core.lock().started(child, running);
                        self.changed.notify_waiters();
                    }
                    Err(message) => {
                        let follows = self.core.lock().not_started(child, clock::now());
                        self.log(follows, child, &message, ctx);
                        last = Some((child, message)).filter(|_| follows == Follows::End);
                    }
                },
                Step::Rest | Step::End => return last,
            }
        }
    }

    async fn start(&self, child: usize, ctx: &ActorContext<Self>) -> Result<Running, String> {
        let spec = self.policy.children.get(child).ok_or_else(|| "there is no such child".to_owned())?;
        let starts = self.core.lock().starts(child) + 1;
        let it: Arc<dyn Incarnation> = spec.start(self).await?.into();
        let monitor = ctx.told_of(it.ended(), move |me, why| me.ended(child, starts, why));
        let monitor = monitor.map_err(|error| error.to_string())?;
        Ok(Running { it, monitor })
    }

    fn log(&self, follows: Follows, child: usize, message: &str, ctx: &ActorContext<Self>) {
        let (supervisor, child) = (ctx.id(), self.name(child));
        match follows {
            Follows::Nothing => {}
            Follows::Restart(pause) => {
                tracing::warn!(%supervisor, child, ?pause, "a child is started again: {message}");
            }
            Follows::End => tracing::error!(%supervisor, child, "a supervisor gives up: {message}"),
        }
    }
}

/// A supervisor that was killed takes its children along.
impl Drop for Supervisor {
    fn drop(&mut self) {
        let left = self.core.get_mut().take_living();
        if !left.is_empty() {
            Host::spawn(
                &**self.cluster.node(),
                Box::pin(async move {
                    for child in left {
                        end(&*child.it, Duration::ZERO).await;
                    }
                }),
            );
        }
    }
}
