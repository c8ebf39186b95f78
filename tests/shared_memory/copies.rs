//! Copies of what other nodes own: they make way, their pulls end with who wanted them, and sessions that brought them close.

use super::common::{kill, signal};
use super::processes::readers;
use super::support::{MIB, bounded, numbers, until, used};
use mobula::prelude::*;
use rustix::process::Signal;

/// Sockets that this process has open.
fn sockets() -> usize {
    let open =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    open.filter(|to| to.to_string_lossy().starts_with("socket:")).count()
}

async fn a_copy_makes_way_and_is_pulled_again_when_it_is_read() {
    let builder = Cluster::local().workers(1).never_share_memory().store_memory(16 * MIB).never_spill();
    let cluster = bounded(builder).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let mut theirs = Vec::new();
    for seed in 0..3 {
        theirs.push(bounded(reader.make(seed, 4 * MIB)).await.unwrap());
        assert_eq!(*bounded(cluster.get(&theirs[seed as usize])).await.unwrap(), *numbers(seed, 4 * MIB));
    }
    assert_eq!(used(&cluster), 12 * MIB);
    // Nothing can go to disk, so the copies went.
    let own = bounded(cluster.put_slice(&numbers(7, 8 * MIB))).await.unwrap();
    assert!(used(&cluster) <= 16 * MIB);
    for _ in 0..2 {
        for (object, seed) in theirs.iter().zip(0..) {
            assert_eq!(*bounded(cluster.get(object)).await.unwrap(), *numbers(seed, 4 * MIB), "object {seed}");
        }
    }
    assert_eq!(*bounded(cluster.get(&own)).await.unwrap(), *numbers(7, 8 * MIB));
    bounded(cluster.shutdown()).await;
}

async fn a_copy_whose_owner_has_ended_goes_to_disk_instead() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().workers(1).never_share_memory().store_memory(16 * MIB);
    let cluster = bounded(builder.spill_to(folder.path().join("objects"))).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let mut theirs = Vec::new();
    for seed in 0..3 {
        theirs.push(bounded(reader.make(seed, 4 * MIB)).await.unwrap());
        drop(bounded(cluster.get(&theirs[seed as usize])).await.unwrap());
    }
    let process = bounded(reader.process()).await.unwrap();
    kill(process);
    until("the owner's end to be known", || cluster.nodes().iter().all(|node| node.process != process)).await;
    let own = bounded(cluster.put_slice(&numbers(7, 8 * MIB))).await.unwrap();
    for (object, seed) in theirs.iter().zip(0..) {
        assert_eq!(*bounded(cluster.get(object)).await.unwrap(), *numbers(seed, 4 * MIB), "object {seed}");
    }
    drop((own, theirs));
    bounded(cluster.shutdown()).await;
}

async fn a_pull_ends_with_the_last_reference() {
    let cluster = bounded(Cluster::local().workers(1).never_share_memory()).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let theirs = bounded(reader.make(1, 64 * MIB)).await.unwrap();
    let process = bounded(reader.process()).await.unwrap();
    let reading = tokio::spawn(cluster.get(&theirs));
    until("the pull to begin", || used(&cluster) > 0).await;
    // What has not come yet will not.
    signal(process, Signal::STOP);
    reading.abort();
    drop((reading.await, theirs));
    until("its memory to be free", || used(&cluster) == 0).await;
    signal(process, Signal::CONT);
    let again = bounded(reader.make(2, 2 * MIB)).await.unwrap();
    assert_eq!(*bounded(cluster.get(&again)).await.unwrap(), *numbers(2, 2 * MIB), "others are served");
    bounded(cluster.shutdown()).await;
}

async fn an_idle_session_is_closed_and_another_is_opened_when_it_is_needed() {
    let cluster = bounded(Cluster::local().workers(1).never_share_memory()).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    for seed in 0..2 {
        let theirs = bounded(reader.make(seed, 2 * MIB)).await.unwrap();
        let before = sockets();
        assert_eq!(*bounded(cluster.get(&theirs)).await.unwrap(), *numbers(seed, 2 * MIB));
        assert!(sockets() > before, "it came over a session of its own");
        until("the session to be closed", || sockets() <= before).await;
    }
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    a_copy_makes_way_and_is_pulled_again_when_it_is_read
    a_copy_whose_owner_has_ended_goes_to_disk_instead
    a_pull_ends_with_the_last_reference
    an_idle_session_is_closed_and_another_is_opened_when_it_is_needed
}
