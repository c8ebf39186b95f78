//! A million tasks queued at once, alone in its process: what they take of memory is measured.
#![allow(missing_docs)]

mod common;

use common::{bounded, ends_without_a_trace, resident, until};
use mobula::prelude::*;
use mobula::task;

mobula::test_worker!();

const TASKS: usize = 1_000_000;

#[task]
fn next(number: u64) -> u64 {
    number + 1
}

/// Ends when the file is there; makes another one first.
#[task]
fn blocks(file: &str, begun: &str) -> bool {
    let made = std::fs::File::create(begun).is_ok();
    while !std::path::Path::new(file).exists() {
        std::thread::yield_now();
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_tasks_are_queued_at_once_in_512_bytes_each_and_all_run() {
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, begun) = (path("end"), path("begun"));
    let blocks = blocks::submit(&cluster, &file, &begun);
    until("the task that takes the only CPU", || std::path::Path::new(&begun).exists()).await;
    let before = resident(std::process::id());
    let tasks: Vec<ObjectRef<u64>> = (0..TASKS as u64).map(|number| next::submit(&cluster, number)).collect();
    let each = (resident(std::process::id()) - before) / TASKS;
    println!("{each} bytes for each queued task");
    assert!(each <= 512, "{each} bytes for each queued task");
    std::fs::File::create(&file).unwrap();
    assert_eq!(bounded(blocks).await, Ok(true));
    let all = tokio::time::timeout(std::time::Duration::from_secs(120), cluster.get_all(&tasks));
    let all = all.await.expect("within two minutes").unwrap();
    assert!(all.iter().zip(1..).all(|(got, number)| *got == number));
    ends_without_a_trace(cluster).await;
}
