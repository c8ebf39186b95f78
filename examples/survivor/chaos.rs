//! The processes of a cluster, and what befalls them.

use anyhow::{Context, ensure};
use mobula::{ClusterKey, Identity};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::LEASE;

/// A folder with a cluster's keys and sockets.
pub struct Place {
    folder: PathBuf,
    /// Removes the folder in the end, if this process made it.
    _kept: Option<tempfile::TempDir>,
}

impl Place {
    pub fn new() -> anyhow::Result<Place> {
        let folder = tempfile::tempdir()?;
        let place = Place { folder: folder.path().to_owned(), _kept: Some(folder) };
        let (key, head) = ClusterKey::generate()?;
        key.save(&place.key())?;
        head.save(&place.folder.join("head"))?;
        Ok(place)
    }

    /// One that another process has made.
    pub fn at(folder: &str) -> anyhow::Result<Place> {
        ensure!(Path::new(folder).is_dir(), "there is no folder {folder}");
        Ok(Place { folder: folder.into(), _kept: None })
    }

    pub fn address(&self) -> String {
        format!("ipc://{}", self.folder.join("sockets").display())
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// What the head remembers.
    pub fn journal(&self) -> PathBuf {
        self.folder.join("journal")
    }

    pub fn identity(&self) -> anyhow::Result<Identity> {
        Ok(Identity::load(&self.folder.join("head"))?)
    }
}

/// What a process of the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Head,
    Worker,
}

impl Role {
    /// Starts one; a head is ready then.
    async fn start(self, folder: &Path) -> anyhow::Result<Child> {
        let name = if self == Role::Head { "head" } else { "worker" };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).arg(folder).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        if self == Role::Head {
            let said = child.stdout.take().context("its output")?;
            let line = BufReader::new(said).lines().next_line().await?;
            ensure!(line.as_deref() == Some("ready"), "the head said {line:?}");
        }
        Ok(child)
    }
}

/// What happened to processes of one role.
#[derive(Default)]
struct Counts {
    killed: AtomicU64,
    stopped: AtomicU64,
    stopped_long: AtomicU64,
    ended: AtomicU64,
}

/// Breaks the cluster's processes until it is told to end.
pub struct Chaos {
    ends: watch::Sender<bool>,
    tormentors: Vec<JoinHandle<anyhow::Result<()>>>,
    heads: Arc<Counts>,
    workers: Arc<Counts>,
}

/// What a job has survived.
pub struct Survived {
    heads: Arc<Counts>,
    workers: Arc<Counts>,
}

impl Chaos {
    /// Starts a head and workers, whose faults depend on the seed.
    pub async fn start(place: &Place, seed: u64, workers: usize) -> anyhow::Result<Chaos> {
        let ends = watch::Sender::new(false);
        let mut chaos = Chaos { ends, tormentors: Vec::new(), heads: Arc::default(), workers: Arc::default() };
        for number in 0..=workers {
            let (role, counts) = match number {
                0 => (Role::Head, chaos.heads.clone()),
                _ => (Role::Worker, chaos.workers.clone()),
            };
            let child = role.start(&place.folder).await?;
            let fate = Fate { role, folder: place.folder.clone(), counts, chance: Chance(seed << 8 | number as u64) };
            chaos.tormentors.push(tokio::spawn(fate.befalls(child, chaos.ends.subscribe())));
        }
        Ok(chaos)
    }

    /// Ends the processes, and tells what they went through.
    pub async fn ends(self) -> Survived {
        self.ends.send_replace(true);
        for tormentor in self.tormentors {
            if let Ok(Err(error)) = tormentor.await {
                eprintln!("a process could not be started again: {error:#}");
            }
        }
        Survived { heads: self.heads, workers: self.workers }
    }
}

/// What befalls one process and those that take its place.
struct Fate {
    role: Role,
    folder: PathBuf,
    counts: Arc<Counts>,
    chance: Chance,
}

impl Fate {
    async fn befalls(mut self, mut child: Child, mut ends: watch::Receiver<bool>) -> anyhow::Result<()> {
        loop {
            let peace = match self.role {
                Role::Head => self.chance.between(1_000, 6_000),
                Role::Worker => self.chance.between(300, 4_000),
            };
            tokio::select! {
                true = async { ends.wait_for(|ends| *ends).await.is_ok() } => break,
                () = tokio::time::sleep(peace) => self.strikes(&mut child).await?,
                // It was away for longer than its lease while something ran on it.
                _ = child.wait() => {
                    self.counts.ended.fetch_add(1, Ordering::Relaxed);
                    child = self.role.start(&self.folder).await?;
                }
            }
        }
        child.kill().await?;
        Ok(())
    }

    async fn strikes(&mut self, child: &mut Child) -> anyhow::Result<()> {
        let Some(process) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return Ok(()) };
        let (count, stop) = match self.chance.below(20) {
            0..13 => (&self.counts.killed, None),
            13..19 => (&self.counts.stopped, Some(self.chance.between(50, 1_500))),
            _ => (&self.counts.stopped_long, Some(LEASE + self.chance.between(500, 1_500))),
        };
        count.fetch_add(1, Ordering::Relaxed);
        match stop {
            Some(time) => {
                kill_process(process, Signal::STOP)?;
                tokio::time::sleep(time).await;
                kill_process(process, Signal::CONT)?;
            }
            None => {
                child.kill().await?;
                tokio::time::sleep(self.chance.between(0, 1_500)).await;
                *child = self.role.start(&self.folder).await?;
            }
        }
        Ok(())
    }
}

impl Survived {
    pub fn faults(&self) -> u64 {
        let all = |counts: &Counts| {
            [&counts.killed, &counts.stopped, &counts.stopped_long].map(|count| count.load(Ordering::Relaxed))
        };
        all(&self.heads).into_iter().chain(all(&self.workers)).sum()
    }
}

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |f: &mut fmt::Formatter<'_>, of: &str, counts: &Counts| {
            let [killed, stopped, long, ended] = [&counts.killed, &counts.stopped, &counts.stopped_long, &counts.ended]
                .map(|count| count.load(Ordering::Relaxed));
            write!(f, "{killed} kills and {stopped} stops of {of}, {long} beyond a lease")?;
            if ended > 0 { write!(f, " ({ended} gave up)") } else { Ok(()) }
        };
        say(f, "workers", &self.workers)?;
        f.write_str("; ")?;
        say(f, "the head", &self.heads)
    }
}

/// Numbers that come again with the same seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }
}
