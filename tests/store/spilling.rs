//! Objects on disk.

use super::support::{LONG, MIB, pattern, until};
use mobula::store::{Kept, SpillError, Store, StoreConfig, StoreError};
use std::fs;
use std::path::{Path, PathBuf};

const OBJECT: usize = 2 * MIB;

fn store(folder: &Path, capacity: usize) -> Store {
    Store::new(StoreConfig { capacity, folder: Some(folder.join("objects")) }).unwrap()
}

async fn keep(store: &Store, seed: u8) -> Kept {
    let mut draft = store.create(OBJECT, LONG).await.unwrap();
    draft.copy_from_slice(&pattern(seed, OBJECT));
    store.keep(draft.seal())
}

/// What is in the store's folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    entries(folder.join("objects")).into_iter().flat_map(entries).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_goes_to_disk_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 8 * MIB);
    let mut kept = Vec::new();
    for seed in 0..12 {
        kept.push(keep(&store, seed).await);
    }
    assert!(store.usage().held <= 8 * MIB);
    assert!(kept.iter().filter(|kept| !kept.is_in_memory()).count() >= 8);
    for _ in 0..2 {
        for (seed, kept) in kept.iter().enumerate() {
            assert_eq!(&*kept.get().await.unwrap(), &*pattern(seed as u8, OBJECT), "object {seed}");
        }
    }
    let both = tokio::join!(kept[0].get(), kept[0].get());
    assert_eq!(both.0.unwrap().location(), both.1.unwrap().location());
    drop(kept);
    until("the files to go", || files(folder.path()).is_empty()).await;
    drop(store);
    until("the folder to go", || fs::read_dir(folder.path().join("objects")).unwrap().count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_nearly_full_spills_before_anyone_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 16 * MIB);
    let mut kept = Vec::new();
    for seed in 0..7 {
        kept.push(store.keep(store.copy_in(&pattern(seed, OBJECT)).unwrap()));
    }
    until("one to be spilled", || !kept[0].is_in_memory()).await;
    assert!(kept[6].is_in_memory(), "the one that was used last stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_viewed_stays_and_goes_when_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 8 * MIB);
    let kept = [keep(&store, 0).await, keep(&store, 1).await];
    let views = [kept[0].get().await.unwrap(), kept[1].get().await.unwrap()];
    let _draft = store.create(4 * MIB, LONG).await.unwrap();
    let refused = store.create(4 * MIB, std::time::Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { usage, spill: None, .. } if usage.sealed == 4 * MIB), "{refused}");
    assert!(kept.iter().all(Kept::is_in_memory));
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.create(4 * MIB, LONG).await.map(|draft| draft.len()) }
    });
    drop(views);
    assert_eq!(waiting.await.unwrap().unwrap(), 4 * MIB);
    assert_eq!(&*kept[1].get().await.unwrap(), &*pattern(1, OBJECT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_an_error_of_its_object_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 8 * MIB);
    let kept = [keep(&store, 0).await, keep(&store, 1).await];
    let all = store.create(8 * MIB, LONG).await.unwrap();
    assert!(!kept[0].is_in_memory() && !kept[1].is_in_memory());
    let mut files = files(folder.path());
    files.sort();
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    drop(all);
    let (first, second) = (kept[0].get().await, kept[1].get().await);
    // Two are written at once: either may have the first file.
    let (bad, good) = if first.is_err() { (first, second) } else { (second, first) };
    let bad = bad.unwrap_err();
    assert!(matches!(&bad, StoreError::Spill(SpillError::Corrupt { path, .. }) if *path == files[0]), "{bad}");
    good.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_restore_that_is_given_up_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 8 * MIB);
    let kept = keep(&store, 7).await;
    let all = store.create(8 * MIB, LONG).await.unwrap();
    assert!(futures::FutureExt::now_or_never(kept.get()).is_none());
    drop(all);
    assert_eq!(&*kept.get().await.unwrap(), &*pattern(7, OBJECT));
}

#[test]
fn a_full_disk_is_told_to_who_waits_for_room() {
    // A limit on the length of files, which is what a full disk is to a write: an object's segment is just as long, and
    // its file a header longer. The signal that comes with it is ignored.
    assert_eq!(OBJECT, 4096 * 512);
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" --exact spilling::on_a_full_disk --nocapture";
    let this = std::env::current_exe().unwrap();
    // Through pipes: the limit would hold for a log that these were sent to, too.
    let output = std::process::Command::new("sh").args(["-c", script]).arg(this).env("MOBULA_FULL_DISK", "1").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk() {
    if std::env::var_os("MOBULA_FULL_DISK").is_none() {
        return; // A part of the test above.
    }
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 8 * MIB);
    let kept = [keep(&store, 0).await, keep(&store, 1).await, keep(&store, 2).await];
    let refused = store.create(8 * MIB, std::time::Duration::from_secs(1)).await.unwrap_err();
    let full = |error: &SpillError| matches!(error, SpillError::DiskFull { bytes, .. } if *bytes == OBJECT as u64);
    assert!(matches!(&refused, StoreError::NoRoom { spill: Some(error), .. } if full(error)), "{refused}");
    for (seed, kept) in kept.iter().enumerate() {
        assert_eq!(&*kept.get().await.unwrap(), &*pattern(seed as u8, OBJECT));
    }
    assert!(files(folder.path()).is_empty(), "what was written in part is removed");
}
