//! Within one process.

use super::support::{MIB, bounded, numbers, used};
use bytes::Bytes;
use mobula::prelude::*;
use mobula::{StoreError, task};
use std::time::Duration;

#[task]
fn summed(of: &[u64]) -> u64 {
    of.iter().fold(0, |total, each| total.wrapping_add(*each))
}

#[task]
fn spaces(text: &str) -> usize {
    text.split(' ').count()
}

#[task]
fn first(of: Bytes) -> u8 {
    of[0]
}

async fn small_store(bytes: usize) -> Cluster {
    Cluster::builder().store_memory(bytes).never_spill().store_wait(Duration::from_millis(50)).await.unwrap()
}

async fn a_slice_is_copied_once_and_read_in_place() {
    let cluster = Cluster::local().await.unwrap();
    assert_eq!(cluster.store_usage().held, 0, "nothing is taken before it is needed");
    let items = numbers(1, 9 * MIB);
    let object = bounded(cluster.put_slice(&items)).await.unwrap();
    let (one, two) = (bounded(cluster.get(&object)).await.unwrap(), bounded(object.clone()).await.unwrap());
    assert_eq!(*one, *items);
    assert!(std::ptr::eq(&*one, &*two), "no view is a copy");
    assert_eq!(
        bounded(summed::call(&cluster, &object)).await.unwrap(),
        items.iter().fold(0, |a: u64, b| a.wrapping_add(*b))
    );
    assert_eq!(used(&cluster), 9 * MIB);
    drop((object, two));
    assert_eq!(used(&cluster), 9 * MIB, "a view keeps it");
    assert_eq!(*one, *items);
    drop(one);
    assert_eq!(used(&cluster), 0, "memory comes back with the last of them");
}

async fn what_is_created_is_filled_in_place_and_sealed() {
    let cluster = Cluster::local().await.unwrap();
    for length in [0, 1, 100, 100_000] {
        let mut squares = bounded(cluster.create::<[u64]>(length)).await.unwrap();
        let memory = squares.as_ptr();
        squares.iter_mut().zip(0..).for_each(|(square, root)| *square = root * root);
        let view = bounded(squares.seal()).await.unwrap();
        assert_eq!(view.len(), length);
        assert!(view.iter().zip(0..).all(|(square, root)| *square == root * root));
        assert_eq!(view.as_ptr(), memory, "nothing is copied");
    }
    let dropped = cluster.try_create::<[f32]>(MIB).unwrap();
    assert_eq!(used(&cluster), 4 * MIB);
    drop(dropped);
    assert_eq!(used(&cluster), 0, "memory that was not sealed is free");
}

async fn texts_and_bytes_are_read_in_place_as_well() {
    let cluster = Cluster::local().await.unwrap();
    let text = "vast sea ".repeat(100_000);
    for text in ["", "short one", text.as_str()] {
        let object = bounded(cluster.put_str(text)).await.unwrap();
        assert_eq!(&*bounded(cluster.get(&object)).await.unwrap(), text);
        assert_eq!(bounded(spaces::call(&cluster, &object)).await.unwrap(), text.split(' ').count());
    }
    let bytes = Bytes::from(vec![7; MIB]);
    let object = bounded(cluster.put(bytes.clone())).await.unwrap();
    assert_eq!(used(&cluster), MIB);
    assert_eq!(bounded(cluster.get(&object)).await.unwrap(), bytes);
    assert_eq!(bounded(first::call(&cluster, &object)).await.unwrap(), 7);
    let small = cluster.try_put(Bytes::from_static(b"shark")).unwrap();
    assert_eq!(bounded(small).await.unwrap(), "shark");
    for length in [4, MIB] {
        let mut text = bounded(cluster.create::<str>(length)).await.unwrap();
        text.fill(b'a');
        text[length - 1] = 0xff;
        assert_eq!(text.seal().unwrap_err().valid_up_to(), length - 1);
        let mut text = bounded(cluster.create::<str>(length)).await.unwrap();
        text.fill(b'a');
        assert_eq!(&*bounded(text.seal().unwrap()).await.unwrap(), "a".repeat(length));
    }
}

async fn small_values_are_not_in_the_store() {
    let cluster = Cluster::local().await.unwrap();
    let (slice, text) = (cluster.try_put_slice(&[1_u8; 100]).unwrap(), cluster.try_put_str("text").unwrap());
    let value = cluster.try_put(vec![1_u64; MIB]).unwrap();
    assert_eq!(cluster.store_usage().held, 0);
    assert_eq!(
        bounded(cluster.get(&slice)).await.unwrap().len() + bounded(cluster.get(&text)).await.unwrap().len(),
        104
    );
    assert_eq!(bounded(cluster.get(&value)).await.unwrap().len(), MIB);
}

async fn what_is_larger_than_the_store_is_refused_and_what_finds_no_room_says_what_holds_it() {
    let cluster = small_store(16 * MIB).await;
    let too_large = bounded(cluster.put_slice(&numbers(1, 17 * MIB))).await.unwrap_err();
    assert!(
        matches!(too_large, StoreError::TooLarge { length, capacity } if (length, capacity) == (17 * MIB, 16 * MIB))
    );
    assert!(matches!(cluster.try_create::<[u64]>(usize::MAX), Err(StoreError::TooLarge { .. })));
    let held = bounded(cluster.put_slice(&numbers(2, 12 * MIB))).await.unwrap();
    let late = bounded(cluster.put_slice(&numbers(3, 8 * MIB))).await.unwrap_err();
    assert!(matches!(late, StoreError::NoRoom { usage, .. } if usage.sealed == 12 * MIB), "{late}");
    let at_once = cluster.try_put_slice(&numbers(3, 8 * MIB)).unwrap_err();
    assert!(at_once.to_string().contains("sealed objects 12582912"), "{at_once}");
    drop(held);
    bounded(cluster.put_slice(&numbers(3, 8 * MIB))).await.unwrap();
}

async fn who_waits_for_room_gets_it_in_turn() {
    let cluster = Cluster::builder().store_memory(16 * MIB).never_spill().await.unwrap();
    let held = cluster.try_put_slice(&numbers(1, 12 * MIB)).unwrap();
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.put_slice(&numbers(2, 8 * MIB)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(held);
    let object = bounded(waiting).await.unwrap().unwrap();
    assert_eq!(*bounded(cluster.get(&object)).await.unwrap(), *numbers(2, 8 * MIB));
}

super::quiet::leave_nothing! {
    a_slice_is_copied_once_and_read_in_place
    what_is_created_is_filled_in_place_and_sealed
    texts_and_bytes_are_read_in_place_as_well
    small_values_are_not_in_the_store
    what_is_larger_than_the_store_is_refused_and_what_finds_no_room_says_what_holds_it
    who_waits_for_room_gets_it_in_turn
}
