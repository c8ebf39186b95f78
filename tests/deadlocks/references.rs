//! Circles that references close: of calls that were submitted, of tasks, and of what waits for them as an argument.

use crate::{alone, bounded, two_workers};
use mobula::GetError;
use mobula::id::{ActorId, NodeId};
use mobula::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a wait ended in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ended {
    /// In a circle of these.
    Circle(Vec<ActorId>),
    /// In something else.
    Otherwise(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl<E: fmt::Display + fmt::Debug> From<CallError<E>> for Ended {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Deadlock { cycle, .. } => Ended::Circle(cycle),
            other => Ended::Otherwise(format!("{other:?}")),
        }
    }
}

/// Of those that wait, whichever is the victim.
fn of_get(error: GetError<Ended>) -> Ended {
    match error {
        GetError::Deadlock { cycle, .. } => Ended::Circle(cycle),
        GetError::App(inner) => inner,
        other => Ended::Otherwise(format!("{other:?}")),
    }
}

fn of_ask(error: CallError<Ended>) -> Ended {
    match error {
        CallError::App(inner) => inner,
        other => other.into(),
    }
}

/// A reference that is passed as such, and not as its value.
#[derive(Serialize, Deserialize)]
pub struct Nested(ObjectRef<u32, Ended>);

/// The same of a call that cannot fail.
#[derive(Serialize, Deserialize)]
pub struct Later(ObjectRef<u32>);

/// One call at a time.
#[actor]
pub struct Talker;

#[methods]
impl Talker {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn touch(&mut self) -> u32 {
        1
    }

    pub fn takes(&mut self, value: u32) -> u32 {
        value
    }

    /// Submits a call of its own with a bound, and goes on: nobody waits for that here.
    pub async fn submits_to_itself(
        &mut self,
        other: TalkerHandle,
        ctx: &mut ActorContext<Self>,
    ) -> Result<Later, Ended> {
        let later = ctx.handle().touch().timeout(Duration::from_secs(20)).submit();
        other.slow(SLOW).await?;
        Ok(Later(later))
    }

    /// Asks it back.
    pub async fn asks(&mut self, back: TalkerHandle) -> Result<u32, Ended> {
        Ok(back.touch().await?)
    }

    pub async fn submits(&mut self, other: TalkerHandle, ctx: &mut ActorContext<Self>) -> Result<u32, Ended> {
        other.asks(ctx.handle()).submit().await.map_err(of_get)
    }

    /// Waits for a call whose argument is made by one that asks this actor.
    pub async fn passes(
        &mut self,
        other: TalkerHandle,
        maker: TalkerHandle,
        ctx: &mut ActorContext<Self>,
    ) -> Result<u32, Ended> {
        let made: ObjectRef<u32, Ended> = maker.asks(ctx.handle()).submit();
        match other.takes(&made).await {
            Ok(value) => Ok(value),
            // The one that asks was told.
            Err(CallError::Argument { .. }) => made.await.map_err(of_get),
            Err(other) => Err(other.into()),
        }
    }

    /// The same, and the call is submitted, too.
    pub async fn submits_what_waits(
        &mut self,
        other: TalkerHandle,
        maker: TalkerHandle,
        ctx: &mut ActorContext<Self>,
    ) -> Result<u32, Ended> {
        let made: ObjectRef<u32, Ended> = maker.asks(ctx.handle()).submit();
        match other.takes(&made).submit().await {
            Err(GetError::Argument { .. }) => made.await.map_err(of_get),
            Err(GetError::Deadlock { cycle, .. }) => Err(Ended::Circle(cycle)),
            other => other.map_err(|error| Ended::Otherwise(error.to_string())),
        }
    }

    /// Waits for several, of which the second is there soon and the first asks back.
    pub async fn gets_all(&mut self, other: TalkerHandle, ctx: &mut ActorContext<Self>) -> Result<u32, Ended> {
        let all = [other.asks(ctx.handle()).submit(), adds_one::submit(&ctx.cluster(), 1)];
        let values = ctx.cluster().get_all(&all).await.map_err(of_get)?;
        Ok(values.into_iter().sum())
    }

    pub async fn runs(&mut self, how: How, ctx: &mut ActorContext<Self>) -> Result<u32, Ended> {
        let (cluster, me) = (ctx.cluster(), ctx.handle());
        let reference: ObjectRef<u32, Ended> = match how {
            How::Async => asks::submit(&cluster, &me),
            How::Sync => blocks::submit(&cluster, &me),
            How::Behind => {
                let first: ObjectRef<u32, Ended> = asks::submit(&cluster, &me);
                return match adds_one::submit(&cluster, &first).await {
                    // The one that asks was told.
                    Err(GetError::Argument { .. }) => first.await.map_err(of_get),
                    ended => ended.map_err(of_get),
                };
            }
        };
        reference.await.map_err(of_get)
    }

    /// Waits for what another node made the reference of.
    pub async fn gets(&mut self, of: Nested) -> Result<u32, Ended> {
        of.0.await.map_err(of_get)
    }

    pub async fn slow(&mut self, time: Duration) -> u32 {
        tokio::time::sleep(time).await;
        1
    }

    pub async fn waits_for_slow(&mut self, other: TalkerHandle, time: Duration) -> Result<u32, Ended> {
        other.slow(time).submit().await.map_err(|error| Ended::Otherwise(error.to_string()))
    }
}

/// What asks an actor back.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum How {
    /// An asynchronous task.
    Async,
    /// One that blocks its thread.
    Sync,
    /// One that a task waits for that is waited for.
    Behind,
}

#[task]
async fn asks(back: TalkerHandle) -> Result<u32, Ended> {
    Ok(back.touch().await?)
}

#[task]
fn blocks(ctx: &TaskContext, back: TalkerHandle) -> Result<u32, Ended> {
    ctx.get(&back.touch().submit()).map_err(|error| match error {
        GetError::Deadlock { cycle, .. } => Ended::Circle(cycle),
        other => Ended::Otherwise(other.to_string()),
    })
}

#[task]
async fn adds_one(to: u32) -> Result<u32, Ended> {
    Ok(to + 1)
}

/// Two calls at a time.
#[actor]
pub struct Wide;

/// What a call may be tried again for is no other call.
const SLOW: Duration = Duration::from_millis(500);

#[methods(concurrency = 2)]
impl Wide {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn touch(&self) -> u32 {
        1
    }

    #[method(retries = 1)]
    pub async fn waits_inside(&self, other: TalkerHandle) -> Result<u32, Ended> {
        Ok(other.slow(SLOW).await?)
    }

    /// Both of its slots are taken by calls that wait, and the inner one's wait ends.
    pub async fn submits_to_itself(&self, other: TalkerHandle, ctx: &mut ActorContext<Self>) -> Result<u32, Ended> {
        ctx.handle().waits_inside(&other).submit().await.map_err(of_get)
    }

    pub async fn through(&self, other: RelayHandle, ctx: &mut ActorContext<Self>) -> Result<u32, Ended> {
        other.relays(ctx.handle()).submit().await.map_err(of_get)
    }
}

#[actor]
pub struct Relay;

#[methods]
impl Relay {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub async fn relays(&mut self, to: WideHandle) -> Result<u32, Ended> {
        Ok(to.touch().await?)
    }
}

async fn talkers(cluster: &Cluster, on: &[NodeId]) -> Vec<TalkerHandle> {
    let mut talkers = Vec::new();
    for node in on {
        talkers.push(bounded(Talker::spawn(cluster).on(*node)).await.unwrap());
    }
    talkers
}

/// It ended in a circle, of which it names some and no others, and they go on: who makes an argument, or an object of
/// another node, has no name there.
async fn is_a_circle(result: Result<u32, CallError<Ended>>, of: &[&TalkerHandle]) {
    let ended = result.expect_err("a circle").into();
    let Ended::Circle(mut circle) = (match ended {
        Ended::Otherwise(_) => panic!("{ended:?}"),
        circle => circle,
    }) else {
        unreachable!()
    };
    assert_eq!(circle.first(), circle.last());
    circle.pop();
    assert!(
        !circle.is_empty() && circle.iter().all(|actor| of.iter().any(|talker| talker.id() == *actor)),
        "{circle:?}"
    );
    for talker in of {
        assert_eq!(bounded(talker.touch()).await, Ok(1), "it goes on");
    }
}

/// Whoever was the victim.
fn flat(result: Result<u32, CallError<Ended>>) -> Result<u32, CallError<Ended>> {
    match result.map_err(of_ask) {
        Ok(value) => Ok(value),
        Err(Ended::Circle(cycle)) => Err(CallError::Deadlock { cycle, executed: mobula::Executed::Maybe }),
        Err(other) => Err(CallError::App(other)),
    }
}

async fn circles(cluster: &Cluster, [one, other]: [NodeId; 2]) {
    let talkers = talkers(cluster, &[one, other, other]).await;
    let [a, b, c] = &talkers[..] else { panic!("three") };
    is_a_circle(flat(bounded(a.submits(b)).await), &[a, b]).await;
    is_a_circle(flat(bounded(b.submits(c)).await), &[b, c]).await;
    is_a_circle(flat(bounded(a.passes(b, c)).await), &[a, b, c]).await;
    is_a_circle(flat(bounded(a.submits_what_waits(b, c)).await), &[a, b, c]).await;
    is_a_circle(flat(bounded(a.gets_all(b)).await), &[a, b]).await;
    for how in [How::Async, How::Sync, How::Behind] {
        is_a_circle(flat(bounded(a.runs(how)).await), &[a]).await;
    }
    // An object of this node, which a call of one makes that asks the other, which waits for it.
    let mut asked = std::pin::pin!(b.slow(Duration::from_millis(50)).into_future());
    assert!(futures::poll!(asked.as_mut()).is_pending());
    let made: ObjectRef<u32, Ended> = b.asks(a).submit();
    let result = bounded(a.gets(Nested(made))).await;
    assert_eq!(bounded(asked).await, Ok(1));
    is_a_circle(flat(result), &[a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_process_they_are_found() {
    let cluster = Cluster::local().await.unwrap();
    let on = alone(&cluster, 2);
    circles(&cluster, [on[0], on[1]]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_processes_they_are_found() {
    let (cluster, [here, there]) = two_workers().await;
    circles(&cluster, [here, there]).await;
    circles(&cluster, [there, there]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_merely_takes_long_or_has_a_free_slot_is_left_alone() {
    let (cluster, [here, there]) = two_workers().await;
    let talkers = talkers(&cluster, &[here, there]).await;
    // Several probes go meanwhile.
    let slow = Duration::from_millis(500);
    assert_eq!(bounded(talkers[0].waits_for_slow(&talkers[1], slow)).await, Ok(1));
    let Later(later) = bounded(talkers[0].submits_to_itself(&talkers[1])).await.unwrap();
    assert_eq!(bounded(cluster.get(&later)).await, Ok(1));
    for on in [here, there] {
        let wide = bounded(Wide::spawn(&cluster).on(here)).await.unwrap();
        let relay = bounded(Relay::spawn(&cluster).on(on)).await.unwrap();
        assert_eq!(bounded(wide.through(&relay)).await, Ok(1));
        assert_eq!(bounded(wide.submits_to_itself(&talkers[1])).await, Ok(1));
    }
    bounded(cluster.shutdown()).await;
}
