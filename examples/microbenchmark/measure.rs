//! What every row is measured with.

use std::future::Future;
use std::time::{Duration, Instant};

/// One figure.
pub struct Row {
    pub name: String,
    pub unit: &'static str,
}

/// Rows that are measured together, in one process.
pub struct Group {
    pub rows: Vec<Row>,
    /// Whether its processes keep to one core each.
    pub spans_processes: bool,
    /// In how many processes, one after another; the median counts.
    pub times: usize,
    /// Gives a value for each row.
    pub run: Box<dyn Fn(Effort) -> anyhow::Result<Vec<f64>>>,
}

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    Full,
    Brief,
}

impl Effort {
    pub fn count(self, full: u64) -> u64 {
        if self == Effort::Brief { full / 10 } else { full }
    }

    pub fn time(self, full: Duration) -> Duration {
        if self == Effort::Brief { full / 10 } else { full }
    }
}

/// Names with their units, as rows; `suffix` follows each name.
pub fn rows(suffix: &str, named: &[(&str, &'static str)]) -> Vec<Row> {
    named.iter().map(|(name, unit)| Row { name: format!("{name}{suffix}"), unit }).collect()
}

/// Nanoseconds for each of `count`.
pub fn nanoseconds_each(start: Instant, count: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Does `work`, which tells how much it did, again and again for `time`, after a tenth of it to warm up; gives how much
/// a second.
pub async fn a_second<F: Future<Output = anyhow::Result<u64>>>(
    time: Duration,
    mut work: impl FnMut() -> F,
) -> anyhow::Result<f64> {
    let warm = Instant::now();
    while warm.elapsed() < time / 10 {
        work().await?;
    }
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < time {
        done += work().await?;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
