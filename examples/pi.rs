//! Estimates pi by tasks that throw darts, on two worker processes: `cargo run --release --example pi [-- DARTS]`.

use futures::StreamExt;
use mobula::prelude::*;

const TASKS: u64 = 32;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let darts: u64 = std::env::args().nth(1).map_or(Ok(32_000_000), |darts| darts.parse())?;
    let thrown: Vec<_> = (0..TASKS).map(|seed| throw::submit(&cluster, seed, darts / TASKS)).collect();

    // Each is looked at as it ends, whichever that is.
    let (mut hits, mut done) = (0, 0);
    let mut settled = cluster.as_settled(thrown);
    while let Some(reference) = settled.next().await {
        hits += reference.await?;
        done += darts / TASKS;
        print!("\r{:.5} after {done} darts", estimate(hits, done));
    }
    println!();
    let pi = estimate(hits, done);
    assert!((pi - std::f64::consts::PI).abs() < 8.0 / (done as f64).sqrt(), "{pi} is too far off");
    Ok(())
}

/// How many of so many darts hit the quarter of a circle.
#[task]
fn throw(seed: u64, darts: u64) -> u64 {
    let mut random = Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let hit = |_: &u64| {
        let (x, y) = (random.next(), random.next());
        x * x + y * y < 1.0
    };
    (0..darts).filter(hit).count() as u64
}

fn estimate(hits: u64, darts: u64) -> f64 {
    4.0 * hits as f64 / darts as f64
}

/// Marsaglia's xorshift: quick, and good enough for darts.
struct Random(u64);

impl Random {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
