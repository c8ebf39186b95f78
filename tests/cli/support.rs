//! Processes that never outlive their test, and what they print.

use mobula::Cluster;
use mobula::prelude::*;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) async fn bounded<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(BOUND, work.into_future()).await.expect("the test ends within its bound")
}

/// An actor that waits and tells by files, which every process sees.
#[actor]
pub(crate) struct Clerk {
    done: u64,
    folder: String,
}

#[methods]
impl Clerk {
    #[constructor]
    pub fn in_folder(folder: String) -> Self {
        Self { done: 0, folder }
    }

    /// Says that it has begun, then waits for the word to go on.
    pub async fn hold(&mut self) -> u64 {
        std::fs::write(Path::new(&self.folder).join("begun"), "").unwrap();
        until(|| Path::new(&self.folder).join("go").exists()).await;
        self.work()
    }

    pub fn work(&mut self) -> u64 {
        self.done += 1;
        self.done
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    #[on_stop]
    fn leave_word(&mut self) {
        std::fs::write(Path::new(&self.folder).join(format!("stopped-after-{}", self.done)), "").unwrap();
    }
}

/// Looks again until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let looked = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bounded(looked).await;
}

/// What a user's own binary is: a worker or a driver, as the environment says.
#[mobula::main]
async fn program(cluster: Cluster) -> mobula::Result<()> {
    let folder = std::env::var("FOLDER")?;
    let clerk = Clerk::spawn(&cluster, folder).await?;
    println!("driver: {} by {}", clerk.work().await?, clerk.process().await?);
    Ok(())
}

const PROGRAM: &str = "MOBULA_TEST_PROGRAM";

/// Where this test binary becomes that program.
#[test]
fn the_program() {
    if std::env::var_os(PROGRAM).is_some() {
        std::process::exit(i32::from(program() != ExitCode::SUCCESS));
    }
}

/// A folder with a cluster's keys.
pub(crate) struct Keys {
    pub(crate) folder: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let keys = Keys { folder: tempfile::tempdir().unwrap() };
        let made = mobula(&["key", "new"]).arg(keys.file()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        keys
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("cluster.key")
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The program as a worker that is started again when it crashes.
    pub(crate) fn kept_program(&self, address: &str) -> Command {
        let mut command = mobula(&["worker", "--address", address, "--key"]);
        command.arg(self.file()).arg("--").arg(std::env::current_exe().unwrap());
        self.as_program(&mut command);
        command
    }

    fn as_program(&self, command: &mut Command) {
        command.args(["--exact", "support::the_program", "--nocapture"]).env(PROGRAM, "1").env("FOLDER", self.path());
    }

    /// The program in this role, or without one.
    pub(crate) fn program(&self, role: Option<&str>, address: Option<&str>) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.as_program(&mut command);
        clean(&mut command).env("MOBULA_KEY", self.file());
        role.map(|role| command.env("MOBULA_ROLE", role));
        address.map(|address| command.env("MOBULA_ADDRESS", address));
        command
    }
}

/// The command under test.
pub(crate) fn mobula(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mobula"));
    clean(&mut command).args(arguments);
    command
}

/// What the test's own environment says is not for its children.
fn clean(command: &mut Command) -> &mut Command {
    let said = std::env::vars_os().map(|(name, _)| name);
    for name in said.filter(|name| name.to_str().is_some_and(|name| name.starts_with("MOBULA_"))) {
        command.env_remove(name);
    }
    command
}

/// A process that runs until it is told to end, or its test does.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Running { child, lines }
    }

    /// A head that is ready, and where.
    pub(crate) fn head(keys: &Keys, listen: &str, more: &[&str]) -> (Running, String) {
        let mut command = mobula(&["head", "--listen", listen]);
        let head = Running::start(command.args(more).arg("--key").arg(keys.file()));
        let line = head.line_with("mobula head: ready at ");
        let address = line.trim_start_matches("mobula head: ready at ").to_owned();
        (head, address)
    }

    /// Its next line of output that holds this.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let end = Instant::now() + BOUND;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// How it ends, and what it says on standard error.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let mut status = None;
        until(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        (status.unwrap(), said)
    }

    /// The same, once it was told to end.
    pub(crate) async fn terminated(self) -> (ExitStatus, String) {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `mobula status --json` shows.
pub(crate) fn status(keys: &Keys, address: &str) -> serde_json::Value {
    let shown = mobula(&["status", "--json", "--address", address]).arg("--key").arg(keys.file()).output().unwrap();
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    serde_json::from_slice(&shown.stdout).unwrap()
}

/// The nodes of this role.
pub(crate) fn nodes<'a>(status: &'a serde_json::Value, role: &str) -> Vec<&'a serde_json::Value> {
    status["nodes"].as_array().unwrap().iter().filter(|node| node["role"] == role).collect()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Asserts that a command failed with exactly this sentence.
pub(crate) fn assert_fails(output: &Output, code: i32, sentence: &str) {
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), &*format!("{sentence}\n")));
    assert_eq!(text(&output.stdout), "");
}
