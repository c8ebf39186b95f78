//! Between processes that share no memory, as on several hosts: large objects are pulled over the bulk lane.

use super::processes::{Reader, ReaderHandle, readers, sum, total};
use super::support::{MIB, all_is_free, bounded, numbers, until, used};
use mobula::prelude::*;

async fn apart(workers: usize) -> (Cluster, Vec<ReaderHandle>) {
    let cluster = bounded(Cluster::local().workers(workers).never_share_memory()).await.unwrap();
    let readers = readers(&cluster).await;
    (cluster, readers)
}

async fn processes_that_share_no_memory_send_bytes() {
    let (cluster, readers) = apart(1).await;
    let reader = &readers[0];
    for bytes in [100_000, MIB - 8, 3 * MIB, 17 * MIB + 8] {
        let items = numbers(1, bytes);
        let object = bounded(cluster.put_slice(&items)).await.unwrap();
        assert_eq!(bounded(total::call(&cluster, &object)).await, Ok((sum(&items), false)), "{bytes} bytes");
        assert_eq!(bounded(reader.total(&object)).await, Ok((sum(&items), false)));
        let theirs = bounded(reader.make(2, bytes)).await.unwrap();
        assert_eq!(*bounded(cluster.get(&theirs)).await.unwrap(), *numbers(2, bytes));
    }
    assert_eq!(cluster.store_usage().pinned, 0);
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn what_is_pulled_lies_in_the_readers_own_store_until_it_lets_go() {
    let (cluster, readers) = apart(1).await;
    let reader = &readers[0];
    let object = bounded(cluster.put_slice(&numbers(1, 6 * MIB))).await.unwrap();
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    assert_eq!(bounded(reader.used()).await, Ok((0, 0)), "a reference alone brings nothing");
    for _ in 0..2 {
        assert_eq!(bounded(reader.view()).await.unwrap(), (sum(&numbers(1, 6 * MIB)), false));
        assert_eq!(bounded(reader.used()).await, Ok((6 * MIB, 0)), "once");
    }
    drop(object);
    bounded(reader.forget()).await.unwrap();
    all_is_free(&cluster).await;
    assert_eq!(bounded(reader.used()).await, Ok((6 * MIB, 0)), "the views keep it");
    bounded(reader.close()).await.unwrap();
    bounded(async { while bounded(reader.used()).await != Ok((0, 0)) {} }).await;
    bounded(cluster.shutdown()).await;
}

async fn an_object_larger_than_the_readers_store_is_read_all_the_same() {
    let builder = Cluster::local().workers(1).never_share_memory().store_memory(8 * MIB);
    let cluster = bounded(builder).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let words: Vec<String> = (0..400_000).map(|number| format!("word {number}")).collect();
    let object = bounded(cluster.put(words.clone())).await.unwrap();
    assert_eq!(bounded(reader.last_word(&object)).await.unwrap(), words.last().cloned());
    // As it travels it counts, too.
    drop(object);
    // As many bytes as its store has, while it is full of others.
    let theirs = bounded(reader.make(3, 6 * MIB)).await.unwrap();
    let ours = bounded(cluster.put_slice(&numbers(4, 6 * MIB))).await.unwrap();
    assert_eq!(bounded(reader.total(&ours)).await, Ok((sum(&numbers(4, 6 * MIB)), false)));
    assert_eq!(*bounded(cluster.get(&theirs)).await.unwrap(), *numbers(3, 6 * MIB));
    bounded(cluster.shutdown()).await;
}

async fn a_value_with_references_inside_is_pulled_with_them() {
    let (cluster, readers) = apart(2).await;
    let inner = bounded(cluster.put_slice(&numbers(5, 2 * MIB))).await.unwrap();
    let padding = vec!["padding".to_owned(); 200_000];
    let object = bounded(cluster.put((padding, inner.clone()))).await.unwrap();
    let total = sum(&numbers(5, 2 * MIB));
    drop(inner);
    for _ in 0..2 {
        for reader in &readers {
            assert_eq!(bounded(reader.inside(&object)).await.unwrap(), (200_000, total));
        }
    }
    drop(object);
    all_is_free(&cluster).await;
    until("all references to be given back", || cluster.shared_objects().lent == 0).await;
    bounded(cluster.shutdown()).await;
}

async fn many_nodes_that_pull_one_object_at_once_all_have_it() {
    let (cluster, readers) = apart(5).await;
    for round in 0..2 {
        let object = bounded(cluster.put_slice(&numbers(round, 12 * MIB))).await.unwrap();
        for reader in &readers {
            bounded(reader.keep(vec![object.clone()])).await.unwrap();
        }
        let reads: Vec<_> = readers.iter().map(|reader| reader.view().submit()).collect();
        for read in reads {
            assert_eq!(bounded(read).await.unwrap(), (sum(&numbers(round, 12 * MIB)), false));
        }
        for reader in &readers {
            bounded(reader.forget()).await.unwrap();
            bounded(reader.close()).await.unwrap();
        }
        drop(object);
        all_is_free(&cluster).await;
    }
    bounded(cluster.shutdown()).await;
}

async fn holders_that_are_killed_cost_no_reader_a_byte() {
    let (cluster, mut readers) = apart(4).await;
    let items = numbers(9, 24 * MIB);
    let object = bounded(cluster.put_slice(&items)).await.unwrap();
    for reader in &readers {
        bounded(reader.keep(vec![object.clone()])).await.unwrap();
    }
    let (last, holders) = (readers.pop().unwrap(), readers);
    for holder in &holders {
        assert_eq!(bounded(holder.view()).await.unwrap(), (sum(&items), false));
    }
    let mut processes = Vec::new();
    for holder in &holders {
        processes.push(bounded(holder.process()).await.unwrap().to_string());
    }
    // Somewhere in the middle of it, or before, or after: whenever that is, the reader has the object.
    let reading = last.view().submit();
    for process in processes {
        assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
        tokio::task::yield_now().await;
    }
    assert_eq!(bounded(reading).await.unwrap(), (sum(&items), false));
    assert_eq!(used(&cluster), 24 * MIB);
    bounded(cluster.shutdown()).await;
}

async fn a_reader_that_is_killed_in_the_middle_leaves_its_place_to_others() {
    let (cluster, readers) = apart(3).await;
    let object = bounded(cluster.put_slice(&numbers(2, 24 * MIB))).await.unwrap();
    for reader in &readers {
        bounded(reader.keep(vec![object.clone()])).await.unwrap();
    }
    let process = bounded(readers[0].process()).await.unwrap().to_string();
    let killed = readers[0].view().submit();
    let reads = [readers[1].view().submit(), readers[2].view().submit()];
    assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
    for read in reads {
        assert_eq!(bounded(read).await.unwrap(), (sum(&numbers(2, 24 * MIB)), false));
    }
    // It had it before it died, or its call is known to have failed.
    if let Ok(read) = bounded(killed).await {
        assert_eq!(read, (sum(&numbers(2, 24 * MIB)), false));
    }
    drop(object);
    for reader in &readers[1..] {
        bounded(reader.forget()).await.unwrap();
        bounded(reader.close()).await.unwrap();
    }
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn what_is_on_disk_is_brought_for_a_reader_on_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().workers(1).never_share_memory();
    let builder = builder.store_memory(16 * MIB).spill_to(folder.path().join("objects"));
    let cluster = bounded(builder).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let mut objects = Vec::new();
    for seed in 0..12 {
        objects.push(bounded(cluster.put_slice(&numbers(seed, 2 * MIB))).await.unwrap());
    }
    for (object, seed) in objects.iter().zip(0..) {
        assert_eq!(bounded(reader.total(object)).await, Ok((sum(&numbers(seed, 2 * MIB)), false)), "object {seed}");
    }
    drop(objects);
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn a_driver_that_listens_nowhere_is_asked_to_dial_for_what_it_owns() {
    let (key, identity) = mobula::ClusterKey::generate().unwrap();
    let builder = Cluster::local().workers(1).never_share_memory().listen("tcp://127.0.0.1:0");
    let cluster = bounded(builder.cluster_key(key.clone()).identity(identity)).await.unwrap();
    let address = cluster.addresses().remove(0);
    let driver = bounded(Cluster::connect(&address).cluster_key(key).never_share_memory()).await.unwrap();
    let reader = bounded(Reader::spawn(&driver)).await.unwrap();
    let object = bounded(driver.put_slice(&numbers(6, 5 * MIB))).await.unwrap();
    assert_eq!(bounded(reader.total(&object)).await, Ok((sum(&numbers(6, 5 * MIB)), false)));
    drop(object);
    all_is_free(&driver).await;
    bounded(driver.shutdown()).await;
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    processes_that_share_no_memory_send_bytes
    what_is_pulled_lies_in_the_readers_own_store_until_it_lets_go
    an_object_larger_than_the_readers_store_is_read_all_the_same
    a_value_with_references_inside_is_pulled_with_them
    many_nodes_that_pull_one_object_at_once_all_have_it
    holders_that_are_killed_cost_no_reader_a_byte
    a_reader_that_is_killed_in_the_middle_leaves_its_place_to_others
    what_is_on_disk_is_brought_for_a_reader_on_another_host
    a_driver_that_listens_nowhere_is_asked_to_dial_for_what_it_owns
}
