//! Values in the processes' own memory count as their stores'.

use super::support::{MIB, bounded, numbers, until, used};
use bytes::Bytes;
use mobula::prelude::*;
use mobula::{StoreError, Weigh};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Owns so many bytes, which its size does not tell.
#[derive(Clone, Serialize, Deserialize)]
struct Table {
    rows: Vec<Vec<u8>>,
}

impl Table {
    fn of(bytes: usize) -> Self {
        Self { rows: vec![vec![7; bytes]] }
    }
}

impl Weigh for Table {
    fn weigh(&self) -> usize {
        self.rows.weigh()
    }
}

#[task]
fn table(bytes: usize) -> Table {
    Table::of(bytes)
}

#[actor]
struct Giver;

#[methods]
impl Giver {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn bytes(&mut self, length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    pub fn table(&mut self, bytes: usize) -> Table {
        Table::of(bytes)
    }

    pub fn rows(&mut self, of: &Table) -> usize {
        of.rows.weigh()
    }

    pub fn heap(&mut self, ctx: &mut ActorContext<Self>) -> usize {
        ctx.cluster().store_usage().heap
    }
}

fn heap(cluster: &Cluster) -> usize {
    cluster.store_usage().heap
}

/// Whether so many bytes and a little more are counted.
fn about(counted: usize, bytes: usize) -> bool {
    (bytes..bytes + 4_096).contains(&counted)
}

async fn what_is_put_alive_counts_and_waits_for_room() {
    let cluster = bounded(Cluster::local().store_memory(8 * MIB)).await.unwrap();
    let small: Vec<_> = (0..100).map(|_| cluster.try_put(vec![0_u8; 10_000]).unwrap()).collect();
    assert_eq!((small.len(), heap(&cluster)), (100, 0), "small values do not count");
    let first = bounded(cluster.put(vec![0_f32; MIB])).await.unwrap();
    assert!(about(heap(&cluster), 4 * MIB));
    let second = bounded(cluster.put_weighed(Table::of(3 * MIB))).await.unwrap();
    assert!(about(heap(&cluster), 7 * MIB));
    let error = cluster.try_put("text".repeat(MIB)).unwrap_err();
    assert!(error.to_string().contains("values in the process's own memory 7"), "{error}");
    assert!(matches!(cluster.try_put_weighed(Table::of(3 * MIB)), Err(StoreError::NoRoom { .. })));
    assert!(matches!(cluster.try_put_slice(&numbers(1, 3 * MIB)), Err(StoreError::NoRoom { .. })), "nor a segment");
    let too_large = bounded(cluster.put(vec![0_u64; MIB + 1])).await;
    assert!(matches!(too_large, Err(StoreError::TooLarge { .. })));
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.put(vec![1_u32; MIB]).await }
    });
    // Nobody overtakes it, so it stands in line when this has no room.
    until("it to wait", || cluster.try_put(vec![0_u8; 100_000]).is_err()).await;
    assert_eq!(bounded(cluster.view(&first)).await.unwrap().len(), MIB);
    drop(first);
    let third = bounded(waiting).await.unwrap().unwrap();
    assert!(about(heap(&cluster), 7 * MIB));
    assert_eq!(bounded(cluster.view(&second)).await.unwrap().rows[0].len(), 3 * MIB);
    drop((second, third));
    assert_eq!(heap(&cluster), 0, "at once");
    bounded(cluster.shutdown()).await;
}

async fn who_waits_for_room_in_vain_is_told_what_holds_it() {
    let builder = Cluster::local().store_memory(8 * MIB).store_wait(Duration::from_millis(5));
    let cluster = bounded(builder).await.unwrap();
    let _holds = bounded(cluster.put_weighed(Table::of(6 * MIB))).await.unwrap();
    let error = bounded(cluster.put_weighed(Table::of(6 * MIB))).await.unwrap_err();
    assert!(matches!(error, StoreError::NoRoom { usage, .. } if about(usage.heap, 6 * MIB)), "{error}");
    bounded(cluster.shutdown()).await;
}

async fn plain_data_goes_to_disk_for_values_that_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().store_memory(8 * MIB).spill_to(folder.path().join("objects"));
    let cluster = bounded(builder).await.unwrap();
    let plain = bounded(cluster.put_slice(&numbers(3, 6 * MIB))).await.unwrap();
    let table = bounded(cluster.put_weighed(Table::of(6 * MIB))).await.unwrap();
    assert!(about(heap(&cluster), 6 * MIB) && used(&cluster) == 0);
    drop(table);
    assert_eq!(*bounded(cluster.get(&plain)).await.unwrap(), *numbers(3, 6 * MIB));
    drop(plain);
    bounded(cluster.shutdown()).await;
}

async fn what_actors_reply_and_what_tasks_give_counts_where_it_lies() {
    let cluster = bounded(Cluster::local().workers(1).never_share_memory()).await.unwrap();
    let owner = bounded(Giver::spawn(&cluster)).await.unwrap();
    for length in [3 * MIB, 5 * MIB] {
        let reply = owner.bytes(length).submit();
        until("the reply", || reply.is_settled()).await;
        assert!(about(bounded(owner.heap()).await.unwrap(), length), "the actor's node keeps it");
        assert_eq!((heap(&cluster), bounded(cluster.get(&reply)).await.unwrap().len()), (0, length));
        drop(reply);
        bounded(async { while bounded(owner.heap()).await != Ok(0) {} }).await;
    }
    for by_task in [false, true] {
        let table = match by_task {
            true => table::submit(&cluster, 2 * MIB).erase(),
            false => owner.table(2 * MIB).submit().erase(),
        };
        assert_eq!(bounded(cluster.get(&table)).await.unwrap().rows[0].len(), 2 * MIB);
        assert!(heap(&cluster) >= 2 * MIB, "what was pulled is kept as it travelled");
        assert!(bounded(owner.heap()).await.unwrap() >= 2 * MIB);
        drop(table);
        assert_eq!(heap(&cluster), 0);
        bounded(async { while bounded(owner.heap()).await != Ok(0) {} }).await;
    }
    bounded(cluster.shutdown()).await;
}

async fn a_value_counts_as_it_travels_beside_itself() {
    let cluster = bounded(Cluster::local().workers(1).never_share_memory()).await.unwrap();
    let reader = bounded(Giver::spawn(&cluster)).await.unwrap();
    let table = bounded(cluster.put(Table::of(2 * MIB))).await.unwrap();
    assert_eq!(heap(&cluster), 0, "nobody knows what it owns");
    assert!(bounded(reader.rows(&table)).await.unwrap() >= 2 * MIB);
    assert!(about(heap(&cluster), 2 * MIB));
    drop(table);
    until("it to be let go", || heap(&cluster) == 0).await;
    bounded(cluster.shutdown()).await;
}

async fn a_reply_within_a_process_counts_while_it_is_referred_to() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    let owner = bounded(Giver::spawn(&cluster)).await.unwrap();
    let reply = owner.bytes(3 * MIB).submit();
    assert_eq!(bounded(cluster.get(&reply)).await.unwrap().len(), 3 * MIB);
    assert!(about(heap(&cluster), 3 * MIB));
    drop(reply);
    until("it to be dropped by the call as well", || heap(&cluster) == 0).await;
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    what_is_put_alive_counts_and_waits_for_room
    who_waits_for_room_in_vain_is_told_what_holds_it
    plain_data_goes_to_disk_for_values_that_cannot
    what_actors_reply_and_what_tasks_give_counts_where_it_lies
    a_value_counts_as_it_travels_beside_itself
    a_reply_within_a_process_counts_while_it_is_referred_to
}
