//! The `mobula` command: a cluster's keys, a head of its own, workers that are started again, a look at what runs. It needs no
//! user's code.
//!
//! ```text
//! mobula key new FILE      mobula head --key FILE      mobula status --address tcp://head:7400 --key FILE
//! mobula worker --address tcp://head:7400 --key FILE -- PROGRAM
//! ```
//!
//! Exit status: 0 done, 1 failed (one sentence on standard error says why and what to do), 2 a wrong command line.

mod head;
mod key;
mod status;
mod worker;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs and watches Mobula clusters.
///
/// A cluster is one head and the nodes that join it: your own program, started as a worker by `mobula worker` or with
/// MOBULA_ROLE=worker MOBULA_ADDRESS=tcp://head:7400 MOBULA_KEY=FILE, or without MOBULA_ROLE as a driver.
#[derive(Parser)]
#[command(name = "mobula", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a cluster's keys.
    #[command(subcommand)]
    Key(key::Key),
    /// Runs a head until SIGTERM or an interrupt.
    Head(head::Head),
    /// Runs a program as a worker of a cluster, and starts it again when it crashes.
    Worker(worker::Worker),
    /// Shows a cluster's nodes and named actors.
    Status(status::Status),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Key(key) => key.run(),
        Command::Head(head) => on_a_runtime(head.run()),
        Command::Worker(worker) => on_a_runtime(worker.run()),
        Command::Status(status) => on_a_runtime(status.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mobula: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn on_a_runtime(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(command)
}

/// The signals that tell this process to end: SIGTERM and an interrupt.
struct Signals(Signal, Signal);

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// A time such as `30s`, `500ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let wanted = number.parse().ok().and_then(|number: u64| number.checked_mul(milliseconds));
    let wanted = wanted.filter(|&milliseconds| (1..=24 * 3_600_000).contains(&milliseconds));
    wanted.map(Duration::from_millis).ok_or_else(|| "write a time of at most 24h, such as 30s, 500ms or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_and_within_their_bounds() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        for wrong in ["", "30", "s", "0s", "-1s", "1.5s", "25h", "99999999999999999999s", "5 s", "5d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
