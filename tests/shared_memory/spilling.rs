//! More objects than memory.

use super::support::{MIB, bounded, numbers, until, used};
use mobula::prelude::*;
use mobula::{GetError, Lost, StoreError, task};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const OBJECT: usize = 2 * MIB;

#[task]
fn joined(one: &[u64], two: &[u64]) -> usize {
    one.len() + two.len()
}

#[actor]
struct Adder;

#[methods]
impl Adder {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn first(&mut self, of: &[u64]) -> u64 {
        of[1]
    }
}

async fn cluster(folder: &Path) -> Cluster {
    Cluster::builder().store_memory(8 * MIB).spill_to(folder.join("objects")).await.unwrap()
}

/// What is in the store's folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    entries(folder.join("objects")).into_iter().flat_map(entries).collect()
}

async fn many(cluster: &Cluster, count: u64) -> Vec<ObjectRef<[u64]>> {
    let mut objects = Vec::new();
    for seed in 0..count {
        objects.push(bounded(cluster.put_slice(&numbers(seed, OBJECT))).await.unwrap());
    }
    objects
}

async fn what_memory_is_too_short_for_goes_to_disk_and_comes_back_wherever_it_is_passed() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path()).await;
    let objects = many(&cluster, 12).await;
    assert!(used(&cluster) <= 8 * MIB);
    for (object, seed) in objects.iter().zip(0..) {
        assert_eq!(*bounded(cluster.get(object)).await.unwrap(), *numbers(seed, OBJECT));
    }
    for pair in objects.chunks(2) {
        assert_eq!(bounded(joined::call(&cluster, &pair[0], &pair[1])).await.unwrap(), 2 * OBJECT / 8);
    }
    let adder = Adder::spawn(&cluster).await.unwrap();
    let calls: Vec<_> = objects.iter().map(|object| adder.first(object).submit()).collect();
    for (call, seed) in calls.iter().zip(0..) {
        assert_eq!(bounded(cluster.get(call)).await.unwrap(), numbers(seed, OBJECT)[1]);
    }
    drop((objects, calls));
    until("the files to go", || files(folder.path()).is_empty()).await;
    assert_eq!(used(&cluster), 0);
    bounded(cluster.shutdown()).await;
    drop((cluster, adder));
    until("the folder to go", || fs::read_dir(folder.path().join("objects")).unwrap().count() == 0).await;
}

async fn a_damaged_file_loses_its_object_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(folder.path()).await;
    let objects = many(&cluster, 8).await;
    let damaged = files(folder.path());
    assert!(!damaged.is_empty());
    for file in &damaged {
        let mut bytes = fs::read(file).unwrap();
        // One that is being written may have nothing in it yet.
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
            fs::write(file, bytes).unwrap();
        }
    }
    let (mut lost, mut whole) = (0, 0);
    for (object, seed) in objects.iter().zip(0..) {
        match bounded(cluster.get(object)).await {
            Ok(view) => {
                assert_eq!(*view, *numbers(seed, OBJECT));
                whole += 1;
            }
            Err(GetError::Lost { object: named, owner, why: Lost::Unreadable(why) }) => {
                assert!(named == object.id() && owner == named.life && why.contains("was damaged on disk"), "{why}");
                lost += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    // One may have been half written when the damage was done, or be in memory all the same.
    assert!((1..=damaged.len()).contains(&lost) && whole > 0, "{lost} of {} damaged, {whole} whole", damaged.len());
    let adder = Adder::spawn(&cluster).await.unwrap();
    let mut refused = 0;
    for object in &objects {
        if let Err(error) = bounded(adder.first(object)).await {
            assert!(error.to_string().contains("was damaged on disk"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

async fn without_a_folder_to_spill_to_the_error_says_why_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::builder().store_memory(8 * MIB).store_wait(Duration::from_millis(50));
    let cluster = builder.spill_to("/proc/objects").await.unwrap();
    let error = bounded(cluster.put_slice(&numbers(1, OBJECT))).await.unwrap_err();
    assert!(matches!(&error, StoreError::Spill(_)), "{error}");
    assert!(error.to_string().contains("/proc/objects"), "{error}");
    drop(folder);
}

super::quiet::leave_nothing! {
    what_memory_is_too_short_for_goes_to_disk_and_comes_back_wherever_it_is_passed
    a_damaged_file_loses_its_object_and_no_other
    without_a_folder_to_spill_to_the_error_says_why_there_is_no_room
}
