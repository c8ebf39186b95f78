//! Actors that are in the middle of something when their process dies.

use futures::StreamExt;
use mobula::id::Incarnation;
use mobula::prelude::*;
use mobula::{EndReason, FencingToken};
use std::future::pending;
use tokio::sync::watch;

/// Says how many have come so far.
#[actor]
pub struct Gate {
    arrived: watch::Sender<u64>,
}

#[methods(concurrency = 64)]
impl Gate {
    #[constructor]
    pub fn new() -> Self {
        Self { arrived: watch::Sender::new(0) }
    }

    pub fn arrive(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
    }

    /// Waits until so many have come.
    pub async fn opens_at(&self, arrived: u64) {
        let reached = |now: &u64| *now >= arrived;
        self.arrived.subscribe().wait_for(reached).await.expect("the sender is this actor's own");
    }
}

/// Begins things that it never ends.
#[actor]
pub struct Sloth {
    gate: GateHandle,
    noted: Vec<u64>,
    kept: Option<SlothHandle>,
}

#[methods]
impl Sloth {
    #[constructor(default)]
    pub fn at(gate: GateHandle) -> Self {
        Self { gate, noted: Vec::new(), kept: None }
    }

    #[constructor]
    pub async fn never(gate: GateHandle) -> Self {
        gate.arrive().await.expect("the gate is alive");
        pending().await
    }

    pub async fn hold(&mut self) -> Result<u64, CallError> {
        self.gate.arrive().await?;
        pending().await
    }

    pub fn block(&mut self, for_seconds: u64) {
        std::thread::sleep(std::time::Duration::from_secs(for_seconds));
    }

    pub fn note(&mut self, number: u64) {
        self.noted.push(number);
    }

    pub fn noted(&self) -> Vec<u64> {
        self.noted.clone()
    }

    pub fn keep(&mut self, other: SlothHandle) {
        self.kept = Some(other);
    }

    /// Waits for the end of what it keeps.
    pub async fn end_of_kept(&mut self) -> mobula::Result<EndReason> {
        Ok(self.kept.as_ref().ok_or("it keeps nothing")?.ended().await?)
    }

    pub fn stall(&mut self) -> impl Stream<Item = u64> {
        futures::stream::iter(0..3).chain(futures::stream::pending())
    }

    pub async fn relay(&mut self, other: SlothHandle) -> Result<u64, CallError> {
        self.gate.arrive().await?;
        other.hold().await.map_err(|error| error.into_app().unwrap_or_else(|error| error))
    }
}

/// Generic: on the wire only where it was registered.
#[actor]
pub struct Holder<T: Message> {
    held: T,
}

#[methods]
impl<T: Message + Clone> Holder<T> {
    #[constructor]
    pub fn of(held: T) -> Self {
        Self { held }
    }

    pub fn held(&self) -> T {
        self.held.clone()
    }
}

/// Writes down what it is told, and is placed again.
#[actor(restarts = 3)]
pub struct Rover {
    noted: Vec<u64>,
}

#[methods]
impl Rover {
    #[constructor]
    pub fn landed() -> Self {
        Self { noted: Vec::new() }
    }

    pub fn note(&mut self, number: u64) -> u64 {
        self.noted.push(number);
        number
    }

    pub fn noted(&self) -> Vec<u64> {
        self.noted.clone()
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn run(&self, ctx: &mut ActorContext<Self>) -> (Incarnation, FencingToken, u32) {
        (ctx.incarnation(), ctx.fence(), std::process::id())
    }
}
