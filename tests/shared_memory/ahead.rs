//! Arguments that their owner has pinned for who is to read them: where they lie travels with them, and nobody asks.

use super::common::signal;
use super::processes::{ReaderHandle, is_mapped, readers, sum, total};
use super::support::{MIB, all_is_free, bounded, numbers, until, used};
use futures::FutureExt;
use mobula::prelude::*;
use mobula::task;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Says that it has begun, and goes on when it is told to; the total, and whether it is read in place.
#[task]
fn looks(of: &[u64], folder: PathBuf, number: u32) -> mobula::Result<(u64, bool)> {
    std::fs::write(folder.join(format!("{number} began")), "")?;
    waits_for(&folder.join(format!("{number} goes")))?;
    Ok((sum(of), is_mapped(of)))
}

/// Blocks its thread.
fn waits_for(file: &Path) -> mobula::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        if Instant::now() > until {
            Err(format!("{} never came", file.display()))?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn says(folder: &Path, what: &str) {
    std::fs::write(folder.join(what), "").unwrap();
}

/// A test in a runtime of one thread: nothing of its node goes on while that is blocked, but for the lease.
async fn alone<T: Future<Output = ()>>(test: impl FnOnce() -> T + Send + 'static) {
    let runs = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    tokio::task::spawn_blocking(runs).await.unwrap();
}

fn pinned(cluster: &Cluster) -> usize {
    cluster.store_usage().pinned
}

/// A worker with one CPU, where a task looks at the first of two objects, and another waits to look at the second.
struct OnTheWay {
    folder: tempfile::TempDir,
    cluster: Cluster,
    reader: ReaderHandle,
    one: ObjectRef<[u64]>,
    two: ObjectRef<[u64]>,
    first: ObjectRef<(u64, bool), mobula::Failure>,
    second: ObjectRef<(u64, bool), mobula::Failure>,
}

async fn one_runs_and_one_waits() -> OnTheWay {
    let folder = tempfile::tempdir().unwrap();
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let one = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    let two = bounded(cluster.put_slice(&numbers(2, 6 * MIB))).await.unwrap();
    for object in [&one, &two] {
        bounded(total::call(&cluster, object)).await.unwrap();
    }
    until("their pins to end", || pinned(&cluster) == 0).await;
    let first = looks::submit(&cluster, &one, folder.path().to_owned(), 1);
    until("the first to run", || folder.path().join("1 began").exists()).await;
    let second = looks::submit(&cluster, &two, folder.path().to_owned(), 2);
    until("the second to be on its way", || pinned(&cluster) == 11 * MIB).await;
    OnTheWay { folder, cluster, reader, one, two, first, second }
}

async fn a_task_reads_what_it_was_passed_while_its_owner_stands_still() {
    alone(|| async {
        let OnTheWay { folder, cluster, reader, one, two, first, second } = one_runs_and_one_waits().await;
        // What was sent before this has arrived when it is answered.
        bounded(reader.process()).await.unwrap();
        says(folder.path(), "1 goes");
        waits_for(&folder.path().join("2 began")).unwrap();
        says(folder.path(), "2 goes");
        assert_eq!(bounded(first).await.unwrap(), (sum(&numbers(1, 5 * MIB)), true));
        assert_eq!(bounded(second).await.unwrap(), (sum(&numbers(2, 6 * MIB)), true));
        until("the pins to end", || pinned(&cluster) == 0).await;
        assert_eq!(used(&cluster), 11 * MIB, "the objects stay");
        drop((one, two));
        all_is_free(&cluster).await;
        bounded(cluster.shutdown()).await;
    })
    .await;
}

async fn a_task_that_never_runs_leaves_no_pin() {
    alone(|| async {
        let OnTheWay { folder, cluster, reader, one, two, first, second } = one_runs_and_one_waits().await;
        cluster.cancel(&second);
        until("its pin to end", || pinned(&cluster) == 5 * MIB).await;
        assert!(bounded(second).await.unwrap_err().to_string().contains("cancelled"));
        let third = looks::submit(&cluster, &two, folder.path().to_owned(), 3);
        until("another to be on its way", || pinned(&cluster) == 11 * MIB).await;
        signal(bounded(reader.process()).await.unwrap(), Signal::KILL);
        until("all pins to end", || pinned(&cluster) == 0).await;
        assert!(bounded(first).await.is_err());
        drop((one, two, third));
        all_is_free(&cluster).await;
        bounded(cluster.shutdown()).await;
    })
    .await;
}

async fn tasks_that_wait_pin_half_of_the_store_at_most() {
    alone(|| async {
        let folder = tempfile::tempdir().unwrap();
        let cluster =
            bounded(Cluster::local().workers(1).cpus(1.0).store_memory(10 * MIB).never_spill()).await.unwrap();
        let reader = readers(&cluster).await.remove(0);
        let mut objects = Vec::new();
        for (seed, bytes) in [(0, 3 * MIB), (1, 2 * MIB), (2, MIB)] {
            objects.push(bounded(cluster.put_slice(&numbers(seed, bytes))).await.unwrap());
            bounded(total::call(&cluster, objects.last().unwrap())).await.unwrap();
        }
        until("their pins to end", || pinned(&cluster) == 0).await;
        let looks_at = |seed: usize| looks::submit(&cluster, &objects[seed], folder.path().to_owned(), seed as u32);
        for (waits, all) in [(1, 5 * MIB), (2, 4 * MIB)] {
            let runs = looks_at(0);
            until("the first to run", || folder.path().join("0 began").exists()).await;
            let waits = looks_at(waits);
            bounded(reader.process()).await.unwrap();
            assert_eq!(pinned(&cluster), all);
            (0..3).for_each(|seed| says(folder.path(), &format!("{seed} goes")));
            bounded(runs).await.unwrap();
            bounded(waits).await.unwrap();
            (0..3).for_each(|seed| std::fs::remove_file(folder.path().join(format!("{seed} goes"))).unwrap());
            std::fs::remove_file(folder.path().join("0 began")).unwrap();
            until("the pins to end", || pinned(&cluster) == 0).await;
        }
        // More than half: the second is asked for when it is read.
        let larger = bounded(cluster.put_slice(&numbers(3, 3 * MIB))).await.unwrap();
        bounded(total::call(&cluster, &larger)).await.unwrap();
        until("its pin to end", || pinned(&cluster) == 0).await;
        let runs = looks_at(0);
        until("the first to run", || folder.path().join("0 began").exists()).await;
        let waits = looks::submit(&cluster, &larger, folder.path().to_owned(), 1);
        bounded(reader.process()).await.unwrap();
        assert_eq!(pinned(&cluster), 3 * MIB);
        (0..3).for_each(|seed| says(folder.path(), &format!("{seed} goes")));
        bounded(runs).await.unwrap();
        assert_eq!(bounded(waits).await.unwrap(), (sum(&numbers(3, 3 * MIB)), true));
        drop((objects, larger));
        all_is_free(&cluster).await;
        bounded(cluster.shutdown()).await;
    })
    .await;
}

async fn a_call_that_never_left_leaves_no_pin() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let one = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    let two = bounded(cluster.put_slice(&numbers(2, 6 * MIB))).await.unwrap();
    bounded(reader.sum(&one)).await.unwrap();
    until("its pin to end", || pinned(&cluster) == 0).await;
    let process = bounded(reader.process()).await.unwrap();
    // It asks nobody for anything now.
    signal(process, Signal::STOP);
    let sent: Vec<_> = (0..mobula::limits::STREAM_CREDIT).map(|_| reader.sum(&one).submit()).collect();
    assert_eq!(pinned(&cluster), 5 * MIB, "calls of an actor say where their arguments lie, too");
    let mut waits = reader.sum(&two);
    assert!((&mut waits).now_or_never().is_none());
    assert_eq!(pinned(&cluster), 11 * MIB, "it waits for credit");
    drop(waits);
    assert_eq!(pinned(&cluster), 5 * MIB);
    signal(process, Signal::CONT);
    for call in sent {
        assert_eq!(bounded(call).await, Ok(sum(&numbers(1, 5 * MIB))));
    }
    until("the pins to end", || pinned(&cluster) == 0).await;
    assert_eq!(bounded(reader.sum(&two)).await, Ok(sum(&numbers(2, 6 * MIB))));
    drop((one, two));
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    a_task_reads_what_it_was_passed_while_its_owner_stands_still
    a_task_that_never_runs_leaves_no_pin
    tasks_that_wait_pin_half_of_the_store_at_most
    a_call_that_never_left_leaves_no_pin
}
