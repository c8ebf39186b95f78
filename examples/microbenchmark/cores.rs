//! Each process on a core of its own.

use core_affinity::CoreId;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The first and the last core, for processes that pin themselves. A process that is pinned cannot find them out.
const CORES: &str = "MICROBENCHMARK_CORES";

/// What makes a process and its workers pin themselves.
pub fn environment() -> Option<(&'static str, String)> {
    let cores = core_affinity::get_core_ids()?;
    Some((CORES, format!("{} {}", cores.first()?.id, cores.last()?.id)))
}

/// Keeps this process to its core, if it is to: a worker to the last, any other to the first.
pub fn pin_by_environment() {
    if let Some([first, last]) = first_and_last() {
        let is_worker = std::env::var("MOBULA_ROLE").is_ok_and(|role| role == "worker");
        core_affinity::set_for_current(CoreId { id: if is_worker { last } else { first } });
    }
}

/// Moves every thread of this process to the first core, if processes are pinned.
pub fn move_to_first() -> std::io::Result<()> {
    let Some([first, _]) = first_and_last() else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(first);
    for thread in std::fs::read_dir("/proc/self/task")? {
        let id = thread?.file_name().to_string_lossy().parse().ok();
        sched_setaffinity(id.and_then(Pid::from_raw), &set)?;
    }
    Ok(())
}

fn first_and_last() -> Option<[usize; 2]> {
    let cores = std::env::var(CORES).ok()?;
    let (first, last) = cores.split_once(' ')?;
    Some([first.parse().ok()?, last.parse().ok()?])
}
