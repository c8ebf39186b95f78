//! The actor that is a supervisor: it starts its children, is told of their ends, and starts them again.
//!
//! ```text
//! a child ends ─▶ one restart more than it may? ──yes──▶ all are stopped, the last first ─▶ the supervisor ends
//!                     │ no
//!                     ▼
//!            those that go with it are stopped, the last first ─▶ a pause ─▶ they are started, the first first
//!                     ▲                                                          │ one cannot be started
//!                     └──────────────────────────────────────────────────────────┘
//! ```

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

use super::child::{Incarnation, Kind, Spec, end};
use super::{ChildStatus, SupervisorError};
use crate::actor::context::ActorContext;
use crate::actor::core::tally::{Restarts, Tally};
use crate::actor::error::EndReason;
use crate::actor::inbox::Host;
use crate::actor::monitor::Monitor;
use crate::clock;
use crate::cluster::client::Cluster;
use crate::object::parcel::Parcel;
use mobula_macros::{actor, methods};

/// Which children are started again when one ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

impl Strategy {
    /// Those of so many that go with this one.
    fn affected(self, child: usize, children: usize) -> Range<usize> {
        match self {
            Strategy::OneForOne => child..child + 1,
            Strategy::OneForAll => 0..children,
            Strategy::RestForOne => child..children,
        }
    }
}

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
    children: Mutex<Vec<Child>>,
    tally: Mutex<Tally>,
    /// Told when a child has started or will not.
    changed: Notify,
}

struct Child {
    stage: Stage,
    /// How often it was started.
    starts: u64,
}

enum Stage {
    /// It is to be started, or is being started.
    Down,
    Up {
        it: Arc<dyn Incarnation>,
        monitor: Monitor,
    },
    Stopping(Arc<dyn Incarnation>),
    /// It has ended, and is not started again by itself.
    Over,
}

/// Which child could not be started, and why.
type Failed = (usize, String);

#[methods(concurrency = 16, groups(tend = 1, look = 4_096))]
impl Supervisor {
    #[constructor]
    pub(crate) async fn begin(plan: Plan, ctx: &mut ActorContext<Self>) -> Result<Self, SupervisorError> {
        let Plan(policy) = plan;
        let tally = Mutex::new(Tally::new(policy.intensity, clock::now()));
        let children = policy.children.iter().map(|_| Child { stage: Stage::Down, starts: 0 });
        let (children, changed) = (Mutex::new(children.collect()), Notify::new());
        let supervisor = Supervisor { policy, cluster: ctx.cluster(), children, tally, changed };
        let all = supervisor.all();
        if let Err((child, message)) = supervisor.start(all.clone(), ctx).await {
            supervisor.stop(all).await;
            return Err(SupervisorError::NotStarted { name: supervisor.name(child).to_owned(), message });
        }
        Ok(supervisor)
    }

    /// A child has ended, which was started so often.
    #[method(group = "tend")]
    pub(crate) async fn ended(&self, child: usize, starts: u64, why: EndReason, ctx: &mut ActorContext<Self>) {
        if !self.note_end(child, starts, &why) {
            return;
        }
        let (mut failed, mut message) = (child, why.to_string());
        loop {
            let pause = self.tally.lock().failed(clock::now());
            let name = self.name(failed);
            let Some(pause) = pause else {
                tracing::error!(supervisor = %ctx.id(), child = name, "a supervisor gives up: {message}");
                self.stop(self.all()).await;
                let restarts = self.policy.intensity.limit;
                let message = format!("`{name}`: {message}");
                return ctx.end(EndReason::ChildrenFailed { restarts, message });
            };
            tracing::warn!(supervisor = %ctx.id(), child = name, ?pause, "a child is started again: {message}");
            let affected = self.policy.strategy.affected(failed, self.policy.children.len());
            self.stop(affected.clone()).await;
            tokio::time::sleep(pause).await;
            match self.start(affected, ctx).await {
                Ok(()) => return self.tally.lock().runs(clock::now()),
                Err(next) => (failed, message) = next,
            }
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
        let children = self.children.lock();
        let status = |(child, spec): (&Child, &Spec)| ChildStatus {
            name: spec.name.clone(),
            actor: match &child.stage {
                Stage::Up { it, .. } => Some(it.id()),
                Stage::Down | Stage::Stopping(_) | Stage::Over => None,
            },
            restarts: child.starts.saturating_sub(1),
        };
        children.iter().zip(&self.policy.children).map(status).collect()
    }

    #[on_stop]
    async fn stop_children(&mut self) {
        self.stop(self.all()).await;
    }
}

impl Supervisor {
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn all(&self) -> Range<usize> {
        0..self.policy.children.len()
    }

    fn name(&self, child: usize) -> &str {
        self.policy.children.get(child).map_or("", |spec| &spec.name)
    }

    /// The child of this name, if it runs at present.
    pub(super) fn running(&self, name: &str) -> Result<Option<Arc<dyn Incarnation>>, SupervisorError> {
        let found = self.policy.children.iter().position(|spec| spec.name == name);
        let children = self.children.lock();
        match found.and_then(|child| children.get(child)).map(|child| &child.stage) {
            Some(Stage::Up { it, .. }) => Ok(Some(it.clone())),
            Some(Stage::Down | Stage::Stopping(_)) => Ok(None),
            Some(Stage::Over) => Err(SupervisorError::Over { name: name.to_owned() }),
            None => Err(SupervisorError::NoChild { name: name.to_owned() }),
        }
    }

    /// Whether a child is to be started again that has ended: not if it was stopped by its supervisor, or was started since.
    fn note_end(&self, child: usize, starts: u64, why: &EndReason) -> bool {
        let Some(spec) = self.policy.children.get(child) else { return false };
        let mut children = self.children.lock();
        let Some(ended) = children.get_mut(child) else { return false };
        if ended.starts != starts || !matches!(ended.stage, Stage::Up { .. }) {
            return false;
        }
        let again = spec.kind.restarts_after(why);
        let former = std::mem::replace(&mut ended.stage, if again { Stage::Down } else { Stage::Over });
        drop(children);
        drop(former);
        self.changed.notify_waiters();
        again
    }

    /// Starts those of these children that are to be, in their order.
    async fn start(&self, these: Range<usize>, ctx: &ActorContext<Self>) -> Result<(), Failed> {
        for child in these {
            let Some(spec) = self.policy.children.get(child) else { continue };
            let starts = match self.children.lock().get(child) {
                Some(Child { stage: Stage::Down, starts }) => starts + 1,
                // What is done is done anew with those that it goes with.
                Some(Child { stage: Stage::Over, starts }) if spec.kind == Kind::Transient => starts + 1,
                _ => continue,
            };
            let made = spec.start(self).await.map_err(|message| (child, message))?;
            let it: Arc<dyn Incarnation> = made.into();
            let monitor = ctx.told_of(it.ended(), move |me, why| me.ended(child, starts, why));
            let monitor = monitor.map_err(|error| (child, error.to_string()))?;
            self.set(child, Stage::Up { it, monitor });
        }
        Ok(())
    }

    /// Stops those of these children that run, the last first.
    async fn stop(&self, these: Range<usize>) {
        for child in these.rev() {
            let Some(it) = self.begin_to_stop(child) else { continue };
            end(&*it, self.policy.stop_within).await;
            let temporary = self.policy.children.get(child).is_some_and(|spec| spec.kind == Kind::Temporary);
            self.set(child, if temporary { Stage::Over } else { Stage::Down });
        }
    }

    /// What is to be stopped; its monitor tells nothing more.
    fn begin_to_stop(&self, child: usize) -> Option<Arc<dyn Incarnation>> {
        let mut children = self.children.lock();
        let stage = &mut children.get_mut(child)?.stage;
        let Stage::Up { it, monitor } = stage else { return None };
        let (it, monitor) = (it.clone(), monitor.clone());
        *stage = Stage::Stopping(it.clone());
        drop(children);
        monitor.cancel();
        Some(it)
    }

    fn set(&self, child: usize, stage: Stage) {
        let mut children = self.children.lock();
        let former = children.get_mut(child).map(|child| {
            child.starts += u64::from(matches!(stage, Stage::Up { .. }));
            std::mem::replace(&mut child.stage, stage)
        });
        drop(children);
        drop(former);
        self.changed.notify_waiters();
    }
}

/// A supervisor that was killed takes its children along.
impl Drop for Supervisor {
    fn drop(&mut self) {
        let left = std::mem::take(self.children.get_mut()).into_iter().rev();
        let left: Vec<_> = left
            .filter_map(|child| match child.stage {
                Stage::Up { it, .. } | Stage::Stopping(it) => Some(it),
                Stage::Down | Stage::Over => None,
            })
            .collect();
        if !left.is_empty() {
            Host::spawn(
                &**self.cluster.node(),
                Box::pin(async move {
                    for child in left {
                        end(&*child, Duration::ZERO).await;
                    }
                }),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_says_who_goes_with_whom() {
        assert_eq!(Strategy::OneForOne.affected(1, 3), 1..2);
        assert_eq!(Strategy::OneForAll.affected(1, 3), 0..3);
        assert_eq!(Strategy::RestForOne.affected(1, 3), 1..3);
    }
}
