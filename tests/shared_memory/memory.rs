//! What objects leave behind, and what they take. Each part is measured in a process of its own.

use super::alone::in_another_process;
use super::quiet::{leaves_nothing, run};
use super::support::{MIB, all_is_free, bounded, numbers};
use mobula::prelude::*;

const PART: &str = "MOBULA_MEMORY_PART";

/// Runs a test of this file in a process of its own: this one, if it was started for that.
fn alone<T: Future<Output = ()>>(test: &str, part: impl FnOnce() -> T) {
    if std::env::var_os(PART).is_some() {
        return run(part());
    }
    leaves_nothing(async || in_another_process(&format!("memory::{test}"), PART));
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    kilobytes.unwrap().trim().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_million_small_objects_leave_the_memory_where_it_was() {
    alone("a_million_small_objects_leave_the_memory_where_it_was", a_million);
}

async fn a_million() {
    let cluster = Cluster::local().await.unwrap();
    let round = |count: u64| {
        let cluster = cluster.clone();
        async move {
            for number in 0..count {
                let object = cluster.put(number).await.unwrap();
                assert_eq!(cluster.get(&object).await.unwrap(), number);
            }
        }
    };
    round(10_000).await;
    let before = resident();
    round(1_000_000).await;
    let after = resident();
    assert!(after.abs_diff(before) <= before / 20, "{before} bytes before, {after} after");
}

#[test]
fn an_idle_reference_takes_no_more_than_200_bytes() {
    alone("an_idle_reference_takes_no_more_than_200_bytes", idle);
}

async fn idle() {
    const COUNT: usize = 500_000;
    let cluster = Cluster::local().await.unwrap();
    let mut references = Vec::with_capacity(COUNT);
    // Its pages are touched first, or they would count.
    references.resize_with(COUNT, || None);
    let before = resident();
    for (number, reference) in references.iter_mut().enumerate() {
        *reference = Some(cluster.put(number).await.unwrap());
    }
    let each = (resident() - before) / COUNT;
    assert!(each <= 200, "{each} bytes each");
}

#[test]
fn shared_memory_and_descriptors_come_back_with_the_cluster() {
    alone("shared_memory_and_descriptors_come_back_with_the_cluster", comes_back);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Stores' segments that this process maps, which is what it has of the system's shared memory.
fn segments() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("/memfd:mobula-")).count()
}

async fn comes_back() {
    let mut first = None;
    for _ in 0..3 {
        let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
        for seed in 0..4 {
            let object = bounded(cluster.put_slice(&numbers(seed, 6 * MIB))).await.unwrap();
            let (sum, in_place) = bounded(super::processes::total::call(&cluster, &object)).await.unwrap();
            assert!(in_place && sum != 0);
        }
        all_is_free(&cluster).await;
        bounded(cluster.shutdown()).await;
        drop(cluster);
        super::support::until("segments to be unmapped", || segments() == 0).await;
        let now = descriptors();
        let least = *first.get_or_insert(now);
        super::support::until("descriptors to be closed", || descriptors() <= least).await;
    }
}
