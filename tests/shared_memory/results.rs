//! Bytes that tasks give back: read where they lie by every process of the host, as what was put is.

use super::processes::{ReaderHandle, is_mapped, readers};
use super::support::{MIB, all_is_free, bounded};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use mobula::prelude::*;
use mobula::task;
use std::time::Duration;

const LARGE: usize = 5 * MIB;

fn of(seed: u8) -> Bytes {
    (0..LARGE).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}

#[task]
fn page(seed: u8) -> Bytes {
    of(seed)
}

#[task]
async fn page_later(seed: u8) -> Bytes {
    tokio::task::yield_now().await;
    of(seed)
}

#[task(returns = 2)]
fn page_and_seed(seed: u8) -> (Bytes, u8) {
    (of(seed), seed)
}

#[task]
fn pages(count: u8) -> impl Stream<Item = Bytes> {
    stream::iter((0..count).map(of))
}

/// Whether it is that page, and is read in place.
#[task]
fn reads(page: Bytes, seed: u8) -> (bool, bool) {
    (page == of(seed), is_mapped(&page))
}

/// Waits until no worker's store holds anything.
async fn workers_are_free(readers: &[ReaderHandle]) {
    bounded(async {
        for reader in readers {
            while bounded(reader.used()).await.unwrap().0 > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .await;
}

async fn bytes_that_are_given_back_are_read_in_place_whoever_made_them() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let readers = readers(&cluster).await;
    let (two, seed) = page_and_seed::submit(&cluster, 3);
    assert_eq!(bounded(seed).await, Ok(3));
    let mut items = pages::submit(&cluster, 1);
    let item = bounded(items.next()).await.unwrap().unwrap();
    let made = [(page::submit(&cluster, 1), 1), (page_later::submit(&cluster, 2), 2), (two, 3), (item, 0)];
    for (object, seed) in &made {
        for _ in 0..2 {
            let read = bounded(cluster.get(object)).await.unwrap();
            assert!(read == of(*seed) && is_mapped(&read), "page {seed}");
        }
    }
    drop((made, items));
    workers_are_free(&readers).await;
    bounded(cluster.shutdown()).await;
}

async fn of_many_readers_at_once_the_first_has_a_result_moved_and_all_read_it_in_place() {
    let cluster = bounded(Cluster::local().workers(3).cpus(3.0)).await.unwrap();
    let readers = readers(&cluster).await;
    let nodes: Vec<_> = cluster.nodes().into_iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    let object = page::call(&cluster, 7).on(nodes[0]).submit();
    let read_on = |node: usize| reads::call(&cluster, &object, 7).on(nodes[node]).submit();
    let reads: Vec<_> = (0..12).map(|at| read_on(1 + at % 2)).collect();
    for read in reads {
        assert_eq!(bounded(read).await, Ok((true, true)));
    }
    assert_eq!(bounded(read_on(0)).await, Ok((true, false)), "its maker reads what it owns, and maps nothing");
    let mut held = Vec::new();
    for reader in &readers {
        held.push(bounded(reader.used()).await.unwrap().0);
    }
    held.sort_unstable();
    assert_eq!(held, [0, 0, LARGE], "once, and only where it was made");
    drop(object);
    workers_are_free(&readers).await;
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn a_result_that_the_store_has_no_room_for_is_sent() {
    let builder = Cluster::local().workers(1).store_memory(2 * MIB).never_spill();
    let cluster = bounded(builder).await.unwrap();
    let object = page::submit(&cluster, 9);
    let read = bounded(cluster.get(&object)).await.unwrap();
    assert!(read == of(9) && !is_mapped(&read));
    drop((object, read));
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    bytes_that_are_given_back_are_read_in_place_whoever_made_them
    of_many_readers_at_once_the_first_has_a_result_moved_and_all_read_it_in_place
    a_result_that_the_store_has_no_room_for_is_sent
}
