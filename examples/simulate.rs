//! Runs a cluster from seeds, on virtual time: the real head, lives, links, references and queues under every
//! kind of fault.
//!
//! ```text
//! simulate --seeds 2000 --from 0     so many seeds; the first that fails ends it, and is printed
//! simulate --seed 17                 one seed, told line by line
//! simulate --plant repeats-answers   runs seeds with a planted bug, and fails unless one of them finds it
//! simulate --bugs --seeds 20000      does so with each of them in turn, and says after how many seeds it is found
//!
//! `--threads 1` leaves the other processors alone.
//! ```

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use mimalloc::MiMalloc;
use mobula::simulation::{Bug, Failure, Options, Report, run, run_told};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A simulation is small pieces of memory above all, which it takes and gives back by the million.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

/// Of so many seeds, one is run twice, and must leave the same trace.
const TWICE: u64 = 32;

fn main() -> Result<()> {
    let asked = asked()?;
    match (asked.seed, asked.bug) {
        (Some(seed), bug) => tell(seed, bug),
        (None, Some(bug)) => find(&[bug], &asked),
        (None, None) if asked.bugs => find(&Bug::ALL, &asked),
        (None, None) => run_all(&asked),
    }
}

struct Asked {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    bug: Option<Bug>,
    bugs: bool,
    threads: usize,
}

fn asked() -> Result<Asked> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut asked = Asked { seeds: 200, from: 0, seed: None, bug: None, bugs: false, threads };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--bugs" {
            asked.bugs = true;
            continue;
        }
        let value = words.next().with_context(|| format!("`{word}` needs a value"))?;
        if word == "--plant" {
            let planted = Bug::ALL.into_iter().find(|bug| bug.to_string() == value);
            asked.bug = Some(planted.with_context(|| format!("`{value}` is none of {}", bugs()))?);
            continue;
        }
        let number = value.parse().with_context(|| format!("`{value}` is no number"))?;
        match word.as_str() {
            "--seeds" => asked.seeds = number,
            "--from" => asked.from = number,
            "--seed" => asked.seed = Some(number),
            "--threads" => asked.threads = usize::try_from(number)?.max(1),
            other => {
                bail!("`{other}` is unknown: say --seeds N, --from S, --threads N, --seed S, --plant BUG or --bugs")
            }
        }
    }
    Ok(asked)
}

fn bugs() -> String {
    Bug::ALL.map(|bug| bug.to_string()).join(", ")
}

fn find(bugs: &[Bug], asked: &Asked) -> Result<()> {
    let mut hidden = Vec::new();
    for bug in bugs {
        match first_failure(*bug, asked) {
            Some(failure) => println!(
                "`{bug}` is found after {} seeds, by {:?}: {failure}",
                failure.seed - asked.from + 1,
                failure.violation.rule
            ),
            None => hidden.push(bug.to_string()),
        }
    }
    ensure!(hidden.is_empty(), "{} not found in {} seeds", hidden.join(", "), asked.seeds);
    Ok(())
}

/// The first seed that finds a bug, whichever thread is the first to find one.
fn first_failure(bug: Bug, asked: &Asked) -> Option<Box<Failure>> {
    let (next, end) = (AtomicU64::new(asked.from), AtomicU64::new(asked.from + asked.seeds));
    let first = Mutex::new(None::<Box<Failure>>);
    std::thread::scope(|scope| {
        for _ in 0..asked.threads {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < end.load(Ordering::Relaxed)
                {
                    if let Err(failure) = run(seed, &Options { bug: Some(bug), ..Options::default() }) {
                        end.fetch_min(seed, Ordering::Relaxed);
                        let mut first = first.lock().unwrap_or_else(|broken| broken.into_inner());
                        if first.as_ref().is_none_or(|first| seed < first.seed) {
                            *first = Some(failure);
                        }
                    }
                }
            });
        }
    });
    first.into_inner().unwrap_or_else(|broken| broken.into_inner())
}

fn tell(seed: u64, bug: Option<Bug>) -> Result<()> {
    let (result, lines) = run_told(seed, &Options { bug, verbose: true, ..Options::default() });
    lines.iter().for_each(|line| println!("{line}"));
    let report = result?;
    println!("seed {seed} holds: {report:?}");
    Ok(())
}

#[derive(Default)]
struct Total {
    seeds: u64,
    twice: u64,
    report: Report,
}

fn run_all(asked: &Asked) -> Result<()> {
    let Asked { seeds, from, threads, .. } = *asked;
    let started = Instant::now();
    let bar = ProgressBar::new(seeds);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left")?);
    let (next, failed, total) = (AtomicU64::new(from), Mutex::new(None), Mutex::new(Total::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let seed = next.fetch_add(1, Ordering::Relaxed)
                    && seed < from + seeds
                {
                    if let Err(failure) = one(seed, &total) {
                        next.store(from + seeds, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert(failure);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(failure) = failed.into_inner()? {
        println!(
            "{failure}\nreplay it: cargo run --release --features simulation --example simulate -- --seed {}",
            failure.seed
        );
        bail!("seed {} failed", failure.seed);
    }
    let (total, took) = (total.into_inner()?, started.elapsed().as_secs_f64());
    let Report {
        events,
        calls,
        begun,
        lives,
        objects,
        losses,
        tasks,
        attempts,
        groups,
        moved,
        saves,
        restored,
        supervisors,
        mended,
        time,
        ..
    } = total.report;
    println!("{} seeds hold, {} of them run twice with equal traces", total.seeds, total.twice);
    println!(
        "{events} events, {calls} calls, {begun} begins, {lives} lives, {:.0} virtual hours",
        time.as_secs_f64() / 3600.0
    );
    println!(
        "{objects} objects, {losses} losses told, {tasks} tasks, {attempts} attempts, {groups} groups placed, {moved} placed again"
    );
    println!("{saves} checkpoints, {restored} actors made of one");
    println!("{supervisors} supervisors, which started children again {mended} times");
    println!("{:.0} seeds a second, in {took:.1} s on {threads} threads", total.seeds as f64 / took);
    ensure!(total.seeds == seeds, "{} of {seeds} seeds ran", total.seeds);
    Ok(())
}

fn one(seed: u64, total: &Mutex<Total>) -> Result<(), Box<Failure>> {
    let report = run(seed, &Options::default())?;
    let twice = seed.is_multiple_of(TWICE);
    if twice {
        let again = run(seed, &Options::default())?;
        assert_eq!(report, again, "seed {seed} does not replay");
    }
    let mut total = total.lock().unwrap_or_else(|broken| broken.into_inner());
    total.seeds += 1;
    total.twice += u64::from(twice);
    total.report.events += report.events;
    total.report.calls += report.calls;
    total.report.begun += report.begun;
    total.report.lives += report.lives;
    total.report.objects += report.objects;
    total.report.losses += report.losses;
    total.report.tasks += report.tasks;
    total.report.attempts += report.attempts;
    total.report.groups += report.groups;
    total.report.moved += report.moved;
    total.report.saves += report.saves;
    total.report.restored += report.restored;
    total.report.supervisors += report.supervisors;
    total.report.mended += report.mended;
    total.report.time += report.time;
    Ok(())
}
