//! An actor that writes down what it runs, callers that keep what became of each call, and what must be true of both.

use crate::common::*;
use futures::StreamExt;
use mobula::Executed;
use mobula::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nanoseconds by the clock that all processes of this machine share.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Writes each call into a file, so that what ran is known even if nobody hears of it.
#[actor]
pub struct Ledger {
    file: File,
    incarnation: u64,
    ticks: u64,
}

/// The caller of what a ledger writes by itself.
const TICKS: u64 = 0;

#[methods]
impl Ledger {
    #[constructor]
    pub fn at(file: String) -> mobula::Result<Self> {
        let file = File::options().append(true).create(true).open(file)?;
        Ok(Self { file, incarnation: now(), ticks: 0 })
    }

    pub fn write(&mut self, caller: u64, number: u64) -> mobula::Result<u64> {
        // One write a line: lines of several incarnations do not mix.
        self.file.write_all(format!("{} {} {caller} {number}\n", self.incarnation, now()).as_bytes())?;
        Ok(number)
    }

    /// Writes by itself from now on, whoever may hear of it.
    pub fn tick_every(&mut self, milliseconds: u64, ctx: &mut ActorContext<Self>) {
        ctx.every(Duration::from_millis(milliseconds), |me| me.tick());
    }

    pub fn tick(&mut self) -> mobula::Result<u64> {
        self.ticks += 1;
        self.write(TICKS, self.ticks)
    }
}

/// One line of a ledger.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub incarnation: u64,
    /// By [`now`].
    pub at: u64,
    pub caller: u64,
    pub number: u64,
}

/// All that ran, in the order in which it did.
pub fn read(file: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        Line { incarnation: next(), at: next(), caller: next(), number: next() }
    };
    text.lines().map(line).collect()
}

/// The lines that a ledger wrote by itself.
pub fn ticks(file: &Path) -> Vec<Line> {
    read(file).into_iter().filter(|line| line.caller == TICKS).collect()
}

/// What became of the calls of one caller, by number: `Yes` if it was acknowledged.
pub type Outcomes = BTreeMap<u64, Executed>;

/// Calls a ledger again and again, some at a time, until it is told to end.
pub struct Load {
    caller: u64,
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    calls: JoinHandle<Outcomes>,
}

/// Calls under way at a time.
const DEPTH: usize = 32;

impl Load {
    /// Asks `ledger` for one whenever it has none: at the start, and after its last one has died.
    pub fn begin<F>(caller: u64, mut ledger: impl FnMut() -> F + Send + 'static) -> Load
    where
        F: Future<Output = Option<LedgerHandle>> + Send,
    {
        let (ends, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (over, counted) = (ends.clone(), acknowledged.clone());
        let calls = tokio::spawn(async move {
            let (mut outcomes, mut last) = (Outcomes::new(), 0);
            while !over.load(Ordering::Relaxed) {
                let Some(ledger) = ledger().await else {
                    // Its node is away: nothing is gained by asking all the time.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let failed = AtomicBool::new(false);
                let goes_on = || !over.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed);
                let numbers = std::iter::from_fn(|| {
                    last += 1;
                    goes_on().then_some(last)
                });
                let calls = futures::stream::iter(numbers).map(|number| {
                    let call = ledger.write(caller, number);
                    async move { (number, call.await) }
                });
                let mut calls = calls.buffered(DEPTH);
                while let Some((number, outcome)) = calls.next().await {
                    let executed = match outcome {
                        Ok(_) => Executed::Yes,
                        Err(error) => error.executed(),
                    };
                    counted.fetch_add(u64::from(executed == Executed::Yes), Ordering::Relaxed);
                    failed.fetch_or(executed != Executed::Yes, Ordering::Relaxed);
                    outcomes.insert(number, executed);
                }
            }
            outcomes
        });
        Load { caller, ends, acknowledged, calls }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until it has come on by so many calls.
    pub async fn goes_on_by(&self, calls: u64) {
        let from = self.acknowledged();
        until("calls that are answered", || self.acknowledged() >= from + calls).await;
    }

    /// Waits until nothing is answered any more.
    pub async fn stands_still(&self) {
        let (mut last, mut same) = (self.acknowledged(), 0);
        until("calls that are not answered", || {
            same = if self.acknowledged() == last { same + 1 } else { 0 };
            last = self.acknowledged();
            same > 100
        })
        .await;
    }

    /// Ends it once each of its calls has ended, and gives what became of them.
    pub async fn ends(self) -> (u64, Outcomes) {
        self.ends.store(true, Ordering::Relaxed);
        (self.caller, bounded(self.calls).await.unwrap())
    }
}

/// At most once; what was acknowledged has run; what is said not to have run has not; in order of the calls.
pub fn check(lines: &[Line], caller: u64, outcomes: &Outcomes) {
    let mut ran = BTreeSet::new();
    let mut last = BTreeMap::new();
    for line in lines.iter().filter(|line| line.caller == caller) {
        assert!(ran.insert(line.number), "caller {caller}'s call {} ran twice", line.number);
        let before = last.insert(line.incarnation, line.number);
        assert!(before < Some(line.number), "caller {caller}'s call {} ran after {before:?}", line.number);
        assert!(outcomes.contains_key(&line.number), "call {} of caller {caller} was never made", line.number);
    }
    for (number, executed) in outcomes {
        match executed {
            Executed::Yes => {
                assert!(ran.contains(number), "call {number} of caller {caller} was answered and did not run")
            }
            Executed::No => assert!(!ran.contains(number), "call {number} of caller {caller} ran, but `No` was said"),
            _ => {}
        }
    }
}
