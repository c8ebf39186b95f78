//! Runs a cluster from seeds, on virtual time: the real head, lives, links, references and queues under every
//! kind of fault.
//!
//! ```text
//! simulate --seeds 2000 --from 0     so many seeds; the first that fails ends it, and is printed
//! simulate --seed 17                 one seed, told line by line
//! simulate --plant repeats-answers   runs seeds with a planted bug, and fails unless one of them finds it
//! ```

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use mobula::simulation::{Bug, Failure, Options, Report, run, run_told};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Of so many seeds, one is run twice, and must leave the same trace.
const TWICE: u64 = 32;

fn main() -> Result<()> {
    let asked = asked()?;
    match (asked.seed, asked.bug) {
        (Some(seed), bug) => tell(seed, bug),
        (None, Some(bug)) => find(bug, asked.from, asked.seeds),
        (None, None) => run_all(asked.from, asked.seeds),
    }
}

struct Asked {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    bug: Option<Bug>,
}

fn asked() -> Result<Asked> {
    let mut asked = Asked { seeds: 200, from: 0, seed: None, bug: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
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
            other => bail!("`{other}` is unknown: say --seeds N, --from S, --seed S or --plant BUG"),
        }
    }
    Ok(asked)
}

fn bugs() -> String {
    Bug::ALL.map(|bug| bug.to_string()).join(", ")
}

fn find(bug: Bug, from: u64, seeds: u64) -> Result<()> {
    for seed in from..from + seeds {
        if let Err(failure) = run(seed, &Options { bug: Some(bug), ..Options::default() }) {
            println!("`{bug}` is found after {} seeds: {failure}", seed - from + 1);
            return Ok(());
        }
    }
    bail!("`{bug}` is not found in {seeds} seeds")
}

fn tell(seed: u64, bug: Option<Bug>) -> Result<()> {
    let (result, lines) = run_told(seed, &Options { bug, verbose: true });
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

fn run_all(from: u64, seeds: u64) -> Result<()> {
    let started = Instant::now();
    let bar = ProgressBar::new(seeds);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left")?);
    let (next, failed, total) = (AtomicU64::new(from), Mutex::new(None), Mutex::new(Total::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
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
    let Report { events, calls, begun, lives, objects, losses, tasks, attempts, groups, moved, time, .. } =
        total.report;
    println!("{} seeds hold, {} of them run twice with equal traces", total.seeds, total.twice);
    println!(
        "{events} events, {calls} calls, {begun} begins, {lives} lives, {:.0} virtual hours",
        time.as_secs_f64() / 3600.0
    );
    println!(
        "{objects} objects, {losses} losses told, {tasks} tasks, {attempts} attempts, {groups} groups placed, {moved} placed again"
    );
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
    total.report.time += report.time;
    Ok(())
}
