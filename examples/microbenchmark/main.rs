//! How fast this machine is at what Mobula does: one row a line.
//!
//! ```text
//! cargo run --release --example microbenchmark -- [--json] [--no-pin] [--brief] [row ..]
//! ```
//!
//! A row is measured when its name is given, or its name up to a comma (`round trip p50` means `round trip p50, tcp`
//! too); without names all are. `--brief` measures a tenth as much: enough to see that everything works.
//!
//! Each group of rows runs in a fresh process, so that none warms another's heap, runtime or sockets. In rows that span
//! processes each process keeps to one core, the driver to the first and the worker to the last: the kernel would
//! sometimes put both on one, and a round trip then takes a third of the time. `--no-pin` leaves them.

mod cores;
mod large;
mod local;
mod measure;
mod remote;
mod work;

use anyhow::{Context, bail, ensure};
use measure::{Effort, Group};
use std::process::{Command, ExitCode, Stdio};

/// Tells a child process which group it measures, and that it is brief.
const GROUP: &str = "MICROBENCHMARK_GROUP";
const BRIEF: &str = "MICROBENCHMARK_BRIEF";

fn main() -> ExitCode {
    cores::pin_by_environment(); // before any thread starts: threads inherit it
    mobula::enter();
    let done = match std::env::var(GROUP) {
        Ok(group) => measure_one(&group),
        Err(_) => Options::parse().and_then(|options| measure_all(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("microbenchmark: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every group, in the order of the table.
fn groups() -> Vec<Group> {
    local::groups().into_iter().chain(remote::groups()).chain(work::groups()).chain(large::groups()).collect()
}

struct Options {
    json: bool,
    pin: bool,
    brief: bool,
    rows: Vec<String>,
}

impl Options {
    fn parse() -> anyhow::Result<Options> {
        let mut options = Options { json: false, pin: true, brief: false, rows: Vec::new() };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--json" => options.json = true,
                "--no-pin" => options.pin = false,
                "--brief" => options.brief = true,
                flag if flag.starts_with('-') => bail!("`{flag}` is none of --json, --no-pin, --brief"),
                _ => options.rows.push(argument),
            }
        }
        let groups = groups();
        let names: Vec<&str> = groups.iter().flat_map(|group| &group.rows).map(|row| row.name.as_str()).collect();
        for asked in &options.rows {
            ensure!(names.iter().any(|name| is_asked(asked, name)), "no row `{asked}`; rows: {}", names.join(" | "));
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|asked| is_asked(asked, name))
    }
}

fn is_asked(asked: &str, name: &str) -> bool {
    name.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with(", "))
}

fn measure_all(options: &Options) -> anyhow::Result<()> {
    for (at, group) in groups().iter().enumerate() {
        if !group.rows.iter().any(|row| options.wants(&row.name)) {
            continue;
        }
        let times = if options.brief { 1 } else { group.times };
        let runs = (0..times).map(|_| in_a_process(at, group, options)).collect::<anyhow::Result<Vec<_>>>()?;
        for (index, row) in group.rows.iter().enumerate().filter(|(_, row)| options.wants(&row.name)) {
            let value = measure::median(runs.iter().map(|values| values[index]).collect());
            let (name, unit) = (&row.name, row.unit);
            match options.json {
                true => {
                    println!("{}", serde_json::json!({"peer": "mobula", "row": name, "value": value, "unit": unit}))
                }
                false => {
                    println!("{name:<48} {value:>18.decimals$} {unit}", decimals = if value < 1.0 { 6 } else { 1 })
                }
            }
        }
    }
    Ok(())
}

/// Measures a group in a process of its own: one value a row.
fn in_a_process(at: usize, group: &Group, options: &Options) -> anyhow::Result<Vec<f64>> {
    let mut child = Command::new(std::env::current_exe()?);
    child.env(GROUP, at.to_string()).stdout(Stdio::piped()).stdin(Stdio::null());
    if options.brief {
        child.env(BRIEF, "1");
    }
    if options.pin && group.spans_processes {
        child.envs(cores::environment());
    }
    let name = || format!("the rows `{}`", group.rows[0].name);
    let output = child.spawn().and_then(|child| child.wait_with_output()).with_context(name)?;
    ensure!(output.status.success(), "{}: {}", name(), output.status);
    let values = String::from_utf8(output.stdout)?;
    let values = values.lines().map(|line| line.parse().with_context(|| format!("{}: `{line}`", name())));
    let values: Vec<f64> = values.collect::<anyhow::Result<_>>()?;
    ensure!(values.len() == group.rows.len(), "{}: {} values", name(), values.len());
    Ok(values)
}

/// What a child process does.
fn measure_one(group: &str) -> anyhow::Result<()> {
    let effort = if std::env::var_os(BRIEF).is_some() { Effort::Brief } else { Effort::Full };
    let groups = groups();
    let group = group.parse().ok().and_then(|at: usize| groups.get(at)).context("no such group")?;
    for value in (group.run)(effort)? {
        println!("{value}");
    }
    Ok(())
}
