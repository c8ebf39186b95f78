//! `mobula worker`: a program as a worker of a cluster, started again when it crashes.

use crate::Signals;
use anyhow::{Context, bail};
use clap::Args;
use mobula::{Cluster, Departed};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The first pause before the program is started again; each further one in a row is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// After so long the next crash is the first in a row again.
const RAN_WELL: Duration = Duration::from_secs(60);

/// Runs a program as a worker of a cluster, and starts it again when it crashes.
///
/// It joins the cluster itself, as a node that hosts nothing, and so proves a crash to the head at once: a worker that is
/// alone on its machine would just fall silent, until its lease is over. Told to end by SIGTERM or an interrupt, it tells
/// the program, which lets its actors finish; told again, it ends the program. It ends as the program does.
#[derive(Args)]
pub(crate) struct Worker {
    /// The head's address, such as tcp://head:7400.
    #[arg(long, value_name = "ADDRESS", env = "MOBULA_ADDRESS")]
    address: String,
    /// The cluster key: a file that `mobula key new` wrote.
    #[arg(long, value_name = "FILE", env = "MOBULA_KEY")]
    key: PathBuf,
    /// The program, with `#[mobula::main]`, and its arguments. It finds what else the environment says of a worker:
    /// MOBULA_LISTEN, MOBULA_CPUS, MOBULA_RESOURCES, MOBULA_LABELS ..
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

impl Worker {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        // Before anything is started: a signal that comes early is not lost.
        let mut signals = Signals::new()?;
        let cluster = Cluster::connect(&self.address).key(&self.key).await?;
        let done = tokio::select! {
            done = self.keep_running(&mut signals) => done,
            why = cluster.departed() => match why {
                Departed::ShutDown => Ok(()),
                why => Err(why.into()),
            },
        };
        cluster.shutdown().await;
        done
    }

    /// Until the program ends as it should, or is told to.
    async fn keep_running(&self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut pause = PAUSE;
        loop {
            let (mut child, began) = (self.start()?, Instant::now());
            let status = tokio::select! {
                status = child.wait() => status?,
                () = signals.told() => return ended(end(&mut child, signals).await?),
            };
            if status.success() {
                return Ok(());
            }
            if began.elapsed() > RAN_WELL {
                pause = PAUSE;
            }
            eprintln!("mobula: {} has ended ({status}): it is started again in {pause:?}", self.name());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = signals.told() => return Ok(()),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn start(&self) -> anyhow::Result<Child> {
        let [program, arguments @ ..] = &*self.program else { bail!("say which program to run, after `--`") };
        let mut command = Command::new(program);
        command.args(arguments).env("MOBULA_ROLE", "worker").env("MOBULA_ADDRESS", &self.address);
        command.env("MOBULA_KEY", &self.key).kill_on_drop(true);
        command.spawn().with_context(|| format!("{} cannot be started", self.name()))
    }

    fn name(&self) -> String {
        self.program.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Tells the program to end, and ends it if that is said again.
async fn end(child: &mut Child, signals: &mut Signals) -> anyhow::Result<ExitStatus> {
    if let Some(process) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        // An interrupt from a terminal has reached it already.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
    tokio::select! {
        status = child.wait() => return Ok(status?),
        () = signals.told() => {}
    }
    child.start_kill()?;
    Ok(child.wait().await?)
}

fn ended(status: ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("the program has ended ({status})");
    }
    Ok(())
}
