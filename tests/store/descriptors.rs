//! A process that may have few descriptors: a segment takes one.

use super::support::{LONG, MIB, until};
use mobula::store::{Store, StoreConfig, StoreError};
use std::fs::File;

const OBJECT: usize = 4 * MIB;

#[test]
fn a_store_keeps_within_the_descriptors_of_its_process() {
    let script = "ulimit -n 64; exec \"$0\" --exact descriptors::with_few --nocapture";
    let this = std::env::current_exe().unwrap();
    let output =
        std::process::Command::new("sh").args(["-c", script]).arg(this).env("MOBULA_FEW_DESCRIPTORS", "1").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few() {
    if std::env::var_os("MOBULA_FEW_DESCRIPTORS").is_none() {
        return; // A part of the test above.
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(StoreConfig { capacity: 512 * MIB, folder: Some(folder.path().join("objects")) }).unwrap();
    let mut kept = Vec::new();
    for seed in 0..24 {
        let mut draft = store.create(OBJECT, LONG).await.unwrap();
        draft.fill(seed);
        kept.push(store.keep(draft.seal()));
    }
    assert!(store.usage().held <= 16 * OBJECT, "{}", store.usage());
    for (seed, kept) in kept.iter().enumerate() {
        assert!(kept.get().await.unwrap().iter().all(|byte| *byte == seed as u8), "object {seed}");
    }
    drop(kept);
    until("all to be warm", || store.usage().warm == store.usage().held).await;

    // Others have taken all that were left.
    let others: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let refused = store.try_create(2 * OBJECT + 1).unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { .. }), "{refused}");
    // What was warm has given its own back.
    let made = store.create(2 * OBJECT + 1, LONG).await.unwrap();
    assert_eq!(made.len(), 2 * OBJECT + 1);
    drop(others);
}
