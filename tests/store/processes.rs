//! Readers that are other processes: this test binary again.

use super::alone::in_another_process;
use super::support::{LONG, MIB, Owner, pattern, until};
use mobula::store::{Attached, Location, Store, StoreConfig, Ticket};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const TICKET: &str = "MOBULA_STORE_TICKET";
const PATH: &str = "MOBULA_STORE_PATH";

/// A process that views what it is told to. Its lines for us begin with `@`; the others are the test harness's.
struct Reader {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn start(owner: &Owner, ticket: &Ticket) -> Reader {
        let ticket: String = ticket.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::reader", "--nocapture"])
            .env(TICKET, ticket)
            .env(PATH, &owner.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Reader { child, orders, lines: BufReader::new(out).lines() }
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        let ours = self.lines.find_map(|line| line.unwrap().strip_prefix('@').map(str::to_owned));
        ours.unwrap_or_else(|| panic!("the reader ended instead of answering {order}"))
    }

    fn view(&mut self, Location { segment, offset, length }: Location) -> String {
        self.ask(&format!("view {segment} {offset} {length}"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process. As a test of its own, it has nothing to do.
#[test]
fn reader() {
    let Some(ticket) = std::env::var_os(TICKET) else { return };
    let ticket = ticket.into_string().unwrap();
    let byte = |at: usize| u8::from_str_radix(&ticket[2 * at..2 * at + 2], 16).unwrap();
    let ticket = Ticket::from_bytes(std::array::from_fn(byte));
    let path = std::env::var_os(PATH).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let attached = runtime.block_on(Attached::connect(path.as_ref(), &ticket)).unwrap();
    let mut views = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let answer = match words[0] {
            "view" => {
                let location = Location { segment: number(1), offset: number(2), length: number(3) };
                views.push(runtime.block_on(attached.view(location)).unwrap());
                "viewed".to_owned()
            }
            "sum" => views.iter().flat_map(|view| view.iter()).map(|&byte| u64::from(byte)).sum::<u64>().to_string(),
            "drop" => {
                views.clear();
                "dropped".to_owned()
            }
            "maps" => maps("self").join(";"),
            "attack" => attack(),
            _ => panic!("{line}"),
        };
        println!("\n@{answer}");
    }
}

/// How stores' segments are mapped by a process.
fn maps(process: &str) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let ours = maps.lines().filter(|line| line.contains("/memfd:mobula-"));
    ours.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// Everything by which a process may try to change what it reads, without `unsafe`. Gives what succeeded.
fn attack() -> String {
    let mut succeeded = Vec::new();
    let own = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped: Vec<&str> = own.lines().filter(|line| line.contains("/memfd:mobula-")).collect();
    let inodes: Vec<&str> = mapped.iter().filter_map(|line| line.split_whitespace().nth(4)).collect();
    let owner = std::os::unix::process::parent_id();
    for entry in fs::read_dir(format!("/proc/{owner}/fd")).unwrap().filter_map(Result::ok) {
        // Of what this process reads: other tests' segments may not be sealed yet.
        let is_segment = fs::metadata(entry.path()).is_ok_and(|file| inodes.contains(&&*file.ino().to_string()));
        if !is_segment {
            continue;
        }
        // The owner's own descriptor, opened anew: what a process of the same user can have at most.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(entry.path()) else { continue };
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        let tried = [
            ("write", file.write_at(b"x", 0).is_ok()),
            ("shrink", file.set_len(0).is_ok()),
            ("grow", file.set_len(1 << 30).is_ok()),
        ];
        succeeded.extend(tried.into_iter().filter(|(_, done)| *done).map(|(what, _)| what));
        succeeded.push("tried");
    }
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem").unwrap();
    for line in mapped {
        let at = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        if File::write_at(&memory, b"x", at).is_ok() {
            succeeded.push("past the protection of pages");
        }
        succeeded.push("tried");
    }
    succeeded.join(",")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_cannot_change_what_it_reads() {
    let owner = Owner::new(64 * MIB);
    let (reader, ticket) = owner.store.issue_ticket().unwrap();
    let stored = owner.put(&pattern(1, 5 * MIB));
    let location = owner.store.pin(&stored, reader).unwrap();
    let mut process = Reader::start(&owner, &ticket);
    process.view(location);
    let sum: u64 = stored.iter().map(|&byte| u64::from(byte)).sum();
    assert_eq!(process.ask("sum"), sum.to_string());
    assert_eq!(process.ask("maps"), "r--s");
    let attacked = process.ask("attack");
    assert_eq!(attacked, "tried,tried", "the file and the mapping of it");
    assert_eq!(*stored, *pattern(1, 5 * MIB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_killed_frees_its_pins_within_a_second() {
    let owner = Owner::new(64 * MIB);
    let (reader, ticket) = owner.store.issue_ticket().unwrap();
    let location = owner.store.pin(&owner.put(&pattern(1, 5 * MIB)), reader).unwrap();
    let mut process = Reader::start(&owner, &ticket);
    process.view(location);
    assert_eq!(owner.store.usage().pinned, 5 * MIB);
    process.signal(Signal::KILL);
    let freed = until("the pin to end", || owner.store.usage().pinned == 0);
    tokio::time::timeout(Duration::from_secs(1), freed).await.expect("P2: within a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_stopped_keeps_its_pins_and_wakes_up_to_the_same_bytes() {
    let owner = Owner::new(16 * MIB);
    let (reader, ticket) = owner.store.issue_ticket().unwrap();
    let stored = owner.put(&pattern(1, 8 * MIB));
    let sum: u64 = stored.iter().map(|&byte| u64::from(byte)).sum();
    let location = owner.store.pin(&stored, reader).unwrap();
    drop(stored);
    let mut process = Reader::start(&owner, &ticket);
    process.view(location);
    process.signal(Signal::STOP);
    owner.store.revoke(reader);
    let refused = owner.store.create(12 * MIB, Duration::from_millis(200)).await;
    assert!(refused.is_err(), "its memory is not given to another");
    owner.put(&pattern(2, 8 * MIB));
    process.signal(Signal::CONT);
    assert_eq!(process.ask("sum"), sum.to_string());
    process.ask("drop");
    until("the pin to end", || owner.store.usage().pinned == 0).await;
}

/// What a process has of the system.
fn footprint() -> (usize, usize, usize) {
    let entries = |path: &str| fs::read_dir(path).unwrap().count();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    (entries("/proc/self/fd"), maps("self").len(), tasks)
}

/// Whether this is the process in which the test is to be gone through; if not, it has been, in another.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "MOBULA_STORE_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    in_another_process(&format!("processes::{test}"), ALONE);
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_has_ended_leaves_nothing() {
    if !is_alone("a_store_that_has_ended_leaves_nothing") {
        return;
    }
    let spilling = tempfile::tempdir().unwrap();
    let at_first = footprint();
    for _ in 0..3 {
        let config = StoreConfig { capacity: 64 * MIB, folder: Some(spilling.path().join("objects")) };
        let owner = Owner::of(Store::new(config).unwrap());
        let (reader, attached) = owner.attach().await;
        let mut kept = Vec::new();
        for seed in 0..20 {
            let mut draft = owner.store.create(5 * MIB, LONG).await.unwrap();
            draft.copy_from_slice(&pattern(seed, 5 * MIB));
            let stored = draft.seal();
            let location = owner.store.pin(&stored, reader).unwrap();
            kept.push(owner.store.keep(stored));
            assert_eq!(*attached.view(location).await.unwrap(), *pattern(seed, 5 * MIB));
        }
        let last = kept[0].get().await.unwrap();
        let (small, location) = (owner.put(b"shark"), owner.store.pin(&last, reader).unwrap());
        let view = attached.view(location).await.unwrap();
        // In whatever order they end, the memory goes with the last.
        drop((owner, kept, attached));
        assert_eq!(*view, *last);
        drop((view, last, small));
    }
    until("everything to go", || {
        let now = footprint();
        (now.0 <= at_first.0) && now.1 == 0 && now.2 <= at_first.2
    })
    .await;
    assert_eq!(fs::read_dir(spilling.path().join("objects")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_forked_child_does_not_inherit_what_can_be_written() {
    if !is_alone("a_forked_child_does_not_inherit_what_can_be_written") {
        return; // A segment is sealed off from children right after it is mapped, which another test may just be doing.
    }
    let store = super::support::store(64 * MIB);
    let _stored = store.copy_in(b"shark").unwrap();
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut segment = false;
    let mut seen = 0;
    for line in maps.lines() {
        // The line that begins a mapping is the one with a range of addresses.
        if line.split(' ').next().is_some_and(|first| first.contains('-')) {
            segment = line.contains("/memfd:mobula-") && line.contains(" rw-s ");
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| segment) {
            assert!(flags.split(' ').any(|flag| flag == "dc"), "not copied by fork: {flags}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
