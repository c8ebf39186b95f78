//! A pipeline over two worker processes: a sensor streams readings, cleaners take them from queue to queue, and the slow end
//! takes its time. Nobody runs ahead by more than the queues and the stream hold.

use futures::StreamExt;
use mobula::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const READINGS: u64 = 2_000;
const CLEANERS: usize = 3;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let raw = Queue::bounded(&cluster, 32).await?;
    let clean = Queue::bounded(&cluster, 32).await?;
    let sensor = Sensor::spawn(&cluster).await?;
    let cleaners: Vec<_> = (0..CLEANERS).map(|_| cleaner::submit(&cluster, raw.clone(), clean.clone())).collect();
    let feeding = tokio::spawn(feed(sensor.clone(), raw));
    let (mut sum, mut most_ahead) = (0, 0);
    for taken in 1..=READINGS / 2 {
        sum += clean.get().await?;
        if taken % 100 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            most_ahead = most_ahead.max(sensor.given().await?.saturating_sub(2 * taken));
        }
    }
    feeding.await??;
    let cleaned: u64 = cluster.get_all(&cleaners).await?.into_iter().sum();
    println!("{cleaned} readings passed, the sensor was {most_ahead} ahead at most");
    assert_eq!((cleaned, sum), (READINGS / 2, (0..READINGS).step_by(2).sum()));
    assert!(most_ahead < 200, "the queues, the stream and three cleaners hold no more");
    Ok(())
}

/// From the sensor's stream into the queue; the stream waits while the queue is full.
async fn feed(sensor: SensorHandle, raw: Queue<u64>) -> anyhow::Result<()> {
    let mut readings = sensor.readings();
    while let Some(reading) = readings.next().await {
        raw.put(reading?).await?;
    }
    raw.close().await.map(drop).map_err(Into::into)
}

#[actor]
struct Sensor {
    given: Arc<AtomicU64>,
}

#[methods]
impl Sensor {
    #[constructor]
    pub fn new() -> Self {
        Self { given: Default::default() }
    }

    pub fn readings(&mut self) -> impl Stream<Item = u64> {
        let given = self.given.clone();
        futures::stream::iter(0..READINGS).inspect(move |_| _ = given.fetch_add(1, Ordering::Relaxed))
    }

    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }
}

/// Passes even readings on until no more come, and gives how many those were.
#[task]
async fn cleaner(raw: Queue<u64>, clean: Queue<u64>) -> mobula::Result<u64> {
    let mut passed = 0;
    loop {
        let reading = match raw.get().await {
            Err(mobula::QueueError::Closed) => return Ok(passed),
            reading => reading?,
        };
        if reading % 2 == 0 {
            clean.put(reading).await?;
            passed += 1;
        }
    }
}
