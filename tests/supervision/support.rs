//! Actors that end in every way, and one that writes down what it is told.

use crate::common::bounded;
use mobula::prelude::*;
use mobula::{EndReason, Monitor};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::watch;

/// Ends as it is told to.
#[actor]
pub struct Worker;

#[methods]
impl Worker {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }
}

/// Monitors workers, and writes down what it is told.
#[actor(restarts = 1)]
pub struct Foreman {
    told: watch::Sender<Vec<(String, EndReason)>>,
    monitors: Mutex<BTreeMap<String, Monitor>>,
}

#[methods(concurrency = 64)]
impl Foreman {
    #[constructor]
    pub fn new() -> Self {
        Self { told: watch::Sender::default(), monitors: Mutex::default() }
    }

    pub fn watch(&self, ctx: &mut ActorContext<Self>, worker: WorkerHandle, name: String) -> mobula::Result<()> {
        let told = name.clone();
        let monitor = ctx.monitor(&worker, move |me, why| me.ended(told, why))?;
        self.monitors.lock().unwrap().insert(name, monitor);
        Ok(())
    }

    /// Gives how many it could begin, and why no more.
    pub fn watch_often(&self, ctx: &mut ActorContext<Self>, worker: WorkerHandle, often: usize) -> (usize, String) {
        for begun in 0..often {
            match ctx.monitor(&worker, |me, why| me.ended("often".to_owned(), why)) {
                Ok(monitor) => drop(self.monitors.lock().unwrap().insert("often".to_owned(), monitor)),
                Err(error) => return (begun, error.to_string()),
            }
        }
        (often, String::new())
    }

    pub fn cancel(&self, name: &str) {
        self.monitors.lock().unwrap()[name].cancel();
    }

    pub fn ended(&self, name: String, why: EndReason) {
        self.told.send_modify(|told| told.push((name, why)));
    }

    /// All that it was told of, once that are so many.
    pub async fn told(&self, at_least: usize) -> Vec<(String, EndReason)> {
        let mut told = self.told.subscribe();
        told.wait_for(|told| told.len() >= at_least).await.expect("the sender is this actor's own").clone()
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn falls(&self) {
        panic!("on purpose");
    }
}

/// What a foreman was told of each: of the last one, an end that comes after all of these, nothing more is expected.
pub async fn told_of(foreman: &ForemanHandle, cluster: &Cluster, expected: &[(&str, EndReason)]) {
    bounded(foreman.told(expected.len())).await.unwrap();
    let last = bounded(Worker::spawn(cluster)).await.unwrap();
    bounded(foreman.watch(last.clone(), "last".to_owned())).await.unwrap();
    bounded(last.kill()).await.unwrap();
    let mut told = bounded(foreman.told(expected.len() + 1)).await.unwrap();
    assert_eq!(told.pop(), Some(("last".to_owned(), EndReason::Killed)));
    let told: Vec<_> = told.iter().map(|(name, why)| (name.as_str(), why.clone())).collect();
    assert_eq!(told, expected);
}
