//! Tests that run one at a time, each of which must leave the system as it found it.

use super::common::{parent, runs};
use super::support::{MIB, bounded};
use mobula::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// Less than any object of these tests in a segment of its own.
const SLACK: usize = MIB;

/// A test for each of these functions. Before it and after it this process has the same descriptors, no memory file of a
/// store, open or mapped, and no children; and the system has no more shared memory.
macro_rules! leave_nothing {
    ($($promise:ident)*) => {
        mod leaves_nothing {
            $(#[test]
            fn $promise() {
                $crate::quiet::leaves_nothing(super::$promise);
            })*
        }
    };
}
pub(crate) use leave_nothing;

/// Runs a test when no other one of this process does, and looks afterwards whether anything is left.
pub fn leaves_nothing<T: Future<Output = ()>>(test: impl FnOnce() -> T) {
    static ALONE: Mutex<()> = Mutex::new(());
    static FIRST: Once = Once::new();
    // A test that failed leaves what it leaves; the others are looked at all the same.
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // What a process opens once and keeps.
    FIRST.call_once(|| run(async { bounded(bounded(Cluster::local().workers(1)).await.unwrap().shutdown()).await }));
    assert_eq!(left(), (0, 0), "memory files and children, before the test");
    // The lesser of two: what another process frees between two looks may not hide what is left here.
    let (descriptors, shared) = (descriptors(), shared().min(shared()));
    run(test());
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let after = (left(), self::descriptors(), self::shared());
        let ((files, children), now_open, now_shared) = after;
        if (files, children) == (0, 0) && now_open <= descriptors && now_shared <= shared + SLACK {
            return;
        }
        assert!(
            Instant::now() < until,
            "{files} memory files and {children} children are left; descriptors {descriptors} before, {now_open} now; \
             shared memory {shared} bytes before, {now_shared} now: {:?}",
            open()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// In a runtime that ends with it.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What this process has open.
fn open() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}

/// Stores' memory files that this process has open or maps, and its children that run.
fn left() -> (usize, usize) {
    const FILE: &str = "/memfd:mobula-";
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let files = open().iter().filter(|path| path.starts_with(FILE)).count();
    let mapped = maps.lines().filter(|line| line.contains(FILE)).count();
    (
        files + mapped,
        processes().filter(|process| runs(*process) && parent(*process) == Some(std::process::id())).count(),
    )
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Bytes of shared memory by the kernel's own figure, but for those in memory files that other processes have open: tests of
/// other programs may run at the same time.
fn shared() -> usize {
    let mut others = BTreeMap::new();
    for process in processes().filter(|process| *process != std::process::id()) {
        // It may be another user's, or gone.
        let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_memory =
                fs::read_link(&path).is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
            if let Some(file) = is_memory.then(|| fs::metadata(&path).ok()).flatten() {
                others.insert((file.dev(), file.ino()), file.blocks() as usize * 512);
            }
        }
    }
    let info = fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes = info.lines().find_map(|line| line.strip_prefix("Shmem:")?.trim().strip_suffix(" kB"));
    let all = kilobytes.unwrap().parse::<usize>().unwrap() * 1024;
    all.saturating_sub(others.into_values().sum())
}
