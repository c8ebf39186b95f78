//! Full disks, damaged files, and readers that stand still, as other processes meet them.

use super::common::{Player, report, signal};
use super::processes::{ReaderHandle, is_mapped, look_until_told, readers, sum};
use super::quiet::run;
use super::support::{MIB, all_is_free, bounded, numbers, until, used};
use mobula::prelude::*;
use mobula::{CallError, ClusterKey, GetError, StoreError};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const OBJECT: usize = 2 * MIB;
/// Says that this process may write no file as long as an object's.
const FULL: &str = "MOBULA_SHARED_MEMORY_FULL_DISK";

/// A limit on the length of files, which is what a full disk is to a write, holds for a process and its workers. A segment of
/// such an object is just as long; its file has a header more. The signal that comes with it is ignored.
fn on_a_full_disk(test: &str) {
    assert_eq!(OBJECT, 4096 * 512);
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" --exact \"$1\" --nocapture";
    let this = std::env::current_exe().unwrap();
    // Through pipes: the limit would hold for a log that these were sent to, too.
    let output = Command::new("sh").args(["-c", script]).arg(this).arg(test).env(FULL, "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn a_full_disk_is_told_to_who_waits_for_room_and_harms_no_object() {
    if std::env::var_os(FULL).is_none() {
        let test = "a_full_disk_is_told_to_who_waits_for_room_and_harms_no_object";
        return on_a_full_disk(&format!("bad_input::leaves_nothing::{test}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().workers(1).store_memory(8 * MIB).store_wait(Duration::from_secs(1));
    let cluster = bounded(builder.spill_to(folder.path().join("objects"))).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let mut objects = Vec::new();
    for seed in 0..3 {
        objects.push(bounded(cluster.put_slice(&numbers(seed, OBJECT))).await.unwrap());
    }
    let refused = bounded(cluster.create::<[u64]>(MIB)).await.unwrap_err();
    let StoreError::NoRoom { spill: Some(why), .. } = &refused else { panic!("{refused}") };
    assert!(why.to_string().contains("the disk has no room"), "{why}");
    assert!(refused.to_string().contains(&why.to_string()), "{refused}");
    // A worker's own store is as full, and its error arrives.
    let mut theirs = Vec::new();
    let refused = loop {
        match bounded(reader.make(theirs.len() as u64, OBJECT)).await {
            Ok(object) => theirs.push(object),
            Err(error) => break error,
        }
        assert!(theirs.len() < 8, "a store of 8 MiB holds no more");
    };
    assert!(refused.to_string().contains("the disk has no room"), "{refused}");
    for (seed, (mine, theirs)) in (0..).zip(objects.iter().zip(&theirs)) {
        assert_eq!(bounded(reader.total(mine)).await, Ok((sum(&numbers(seed, OBJECT)), true)));
        assert_eq!(*bounded(cluster.get(theirs)).await.unwrap(), *numbers(seed, OBJECT));
    }
    assert!(files(folder.path()).is_empty(), "what was written in part is removed");
    drop((objects, theirs));
    all_is_free(&cluster).await;
    bounded(cluster.put_slice(&numbers(9, OBJECT))).await.expect("there is room again");
    bounded(cluster.shutdown()).await;
}

/// What is in the stores' folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    entries(folder.join("objects")).into_iter().flat_map(entries).collect()
}

async fn an_object_that_was_damaged_on_disk_is_an_error_in_every_process_and_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().workers(1).store_memory(8 * MIB).spill_to(folder.path().join("objects"));
    let cluster = bounded(builder).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let mut objects = Vec::new();
    for seed in 0..2 {
        objects.push(bounded(cluster.put_slice(&numbers(seed, OBJECT))).await.unwrap());
    }
    // All the memory there is: both are on disk, written to their ends.
    let all = bounded(cluster.create::<[u64]>(MIB)).await.unwrap();
    let damaged = files(folder.path()).remove(0);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    drop(all);
    let mut lost = Vec::new();
    for (seed, object) in (0..).zip(&objects) {
        match bounded(reader.total(object)).await {
            Ok(total) => assert_eq!(total, (sum(&numbers(seed, OBJECT)), true)),
            Err(error) => {
                let CallError::Argument { why, .. } = &error else { panic!("{error}") };
                assert!(why.contains("was damaged on disk") && why.contains(damaged.to_str().unwrap()), "{why}");
                lost.push(object);
            }
        }
    }
    let [lost] = lost[..] else { panic!("{} are lost, and one was damaged", lost.len()) };
    let error = bounded(cluster.get(lost)).await.unwrap_err();
    assert!(matches!(&error, GetError::Lost { object, .. } if *object == lost.id()), "{error}");
    drop(objects);
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

/// What a worker's thread says about a view that it looks at again and again.
fn said(by: &Path) -> (u64, String) {
    let text = fs::read_to_string(by).unwrap_or_default();
    let (rounds, verdict) = text.split_once(' ').unwrap_or_default();
    (rounds.parse().unwrap_or(0), verdict.to_owned())
}

async fn views(reader: &ReaderHandle, object: &ObjectRef<[u64]>, report: &Path) -> u32 {
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    bounded(reader.look_at(report.to_str().unwrap().to_owned())).await.unwrap();
    bounded(reader.forget()).await.unwrap();
    until("the view to be looked at", || said(report).0 > 0).await;
    bounded(reader.process()).await.unwrap()
}

/// Where a process of its own finds the cluster, and writes what it sees.
const FOLDER: &str = "MOBULA_SHARED_MEMORY_FOLDER";

/// Has an object for whoever asks.
#[actor]
struct Shelf {
    object: Option<ObjectRef<[u64]>>,
}

#[methods]
impl Shelf {
    #[constructor]
    pub fn new() -> Self {
        Self { object: None }
    }

    pub fn put(&mut self, object: ObjectRef<[u64]>) {
        self.object = Some(object);
    }

    pub fn take(&mut self) -> Option<ObjectRef<[u64]>> {
        self.object.take()
    }
}

fn address(folder: &Path) -> String {
    format!("ipc://{}", folder.join("sockets").display())
}

/// A program of a user's own, which no end of its life in the cluster ends. It looks at an object until it is told to stop.
pub fn looks() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let key = ClusterKey::load(&folder.join("key")).unwrap();
    run(async {
        let cluster = bounded(Cluster::connect(address(&folder)).cluster_key(key)).await.unwrap();
        let shelf = bounded(Shelf::lookup(&cluster, "shelf")).await.unwrap();
        let object = bounded(shelf.take()).await.unwrap().unwrap();
        drop(shelf);
        let view = bounded(object).await.unwrap();
        assert!(is_mapped(&view));
        let life = || cluster.nodes().into_iter().find(|node| node.id == cluster.node_id()).map(|node| node.life);
        let first = life();
        look_until_told(&folder.join("report"), view);
        until("it to live anew", || ![first, None].contains(&life())).await;
        report("closed", "");
        std::future::pending::<()>().await;
    });
}

async fn a_reader_that_is_stopped_beyond_its_lease_keeps_its_pins_and_sees_no_memory_again() {
    let folder = tempfile::tempdir().unwrap();
    let (key, identity) = ClusterKey::generate().unwrap();
    key.save(&folder.path().join("key")).unwrap();
    let builder = Cluster::local().listen(address(folder.path())).cluster_key(key).identity(identity);
    let builder = builder.store_memory(16 * MIB).never_spill().store_wait(Duration::from_millis(50));
    let cluster = bounded(builder.lease(Duration::from_secs(3))).await.unwrap();
    let object = bounded(cluster.put_slice(&numbers(1, 8 * MIB))).await.unwrap();
    let shelf = bounded(Shelf::spawn(&cluster).name("shelf")).await.unwrap();
    bounded(shelf.put(object.clone())).await.unwrap();
    let mut reader = Player::start("looks", &[(FOLDER, folder.path())]);
    let told = folder.path().join("report");
    until("the view to be looked at", || said(&told).0 > 0).await;
    drop((object, shelf));
    until("only the view to be left", || cluster.shared_objects().lent == 0).await;
    let process = reader.process();
    let life = cluster.nodes().into_iter().find(|node| node.process == process).unwrap().life;

    signal(process, Signal::STOP);
    until("its life to end", || cluster.nodes().iter().all(|node| node.life != life)).await;
    let (rounds, _) = said(&told);
    let pinned = cluster.store_usage().pinned;
    assert_eq!(pinned, 8 * MIB, "a lease that ends ends no pin");
    let refused = bounded(cluster.put_slice(&numbers(2, 12 * MIB))).await.unwrap_err();
    assert!(matches!(&refused, StoreError::NoRoom { usage, .. } if usage.pinned == pinned), "{refused}");
    // What room there is is used, and used again.
    for seed in 3..6 {
        bounded(cluster.put_slice(&numbers(seed, 8 * MIB))).await.unwrap();
    }

    signal(process, Signal::CONT);
    until("it to look again", || said(&told).0 > rounds + 1).await;
    until("it to live anew", || cluster.nodes().iter().any(|node| node.process == process)).await;
    assert_eq!(said(&told).1, "same", "it wakes up to the bytes that it fell asleep over");
    assert_eq!(used(&cluster), 8 * MIB, "a process that lives anew keeps its pins");
    fs::write(told.with_extension("stop"), "").unwrap();
    all_is_free(&cluster).await;
    bounded(reader.reported("closed")).await;
    reader.kill();
    bounded(cluster.shutdown()).await;
}

async fn an_owner_that_is_killed_leaves_views_as_they_are_and_its_memory_goes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [owner, reader] = &readers(&cluster).await[..] else { panic!("two workers") };
    let object = bounded(owner.make(1, 8 * MIB)).await.unwrap();
    views(reader, &object, &report).await;
    let view = bounded(cluster.get(&object)).await.unwrap();
    signal(bounded(owner.process()).await.unwrap(), Signal::KILL);
    until("its end to be known", || cluster.nodes().iter().filter(|node| node.hosts_actors).count() == 1).await;
    let (rounds, _) = said(&report);
    until("the other reader to look again", || said(&report).0 > rounds + 1).await;
    assert_eq!(said(&report).1, "same");
    assert_eq!(*view, *numbers(1, 8 * MIB));
    let lost = bounded(reader.total(&object)).await.unwrap_err();
    assert!(matches!(&lost, CallError::Argument { .. }), "{lost}");
    fs::write(report.with_extension("stop"), "").unwrap();
    drop(view);
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    a_full_disk_is_told_to_who_waits_for_room_and_harms_no_object
    an_object_that_was_damaged_on_disk_is_an_error_in_every_process_and_costs_no_other
    a_reader_that_is_stopped_beyond_its_lease_keeps_its_pins_and_sees_no_memory_again
    an_owner_that_is_killed_leaves_views_as_they_are_and_its_memory_goes_with_them
}
