//! Waiting for room.

use super::support::{LONG, MIB, store, until};
use futures::FutureExt;
use mobula::store::StoreError;
use std::time::Duration;

#[tokio::test]
async fn who_waits_is_served_in_order_and_overtaken_by_nobody() {
    let store = store(16 * MIB);
    let first = store.try_create(12 * MIB).unwrap();
    let second = store.try_create(4 * MIB).unwrap();
    let mut large = Box::pin(store.create(12 * MIB, LONG));
    let mut small = Box::pin(store.create(4 * MIB, LONG));
    assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
    drop(second);
    // There is room for the small one, but the large one was there before, and also before this one.
    assert!(small.as_mut().now_or_never().is_none());
    assert!(matches!(store.try_create(100), Err(StoreError::NoRoom { .. })));
    drop(first);
    let (large, small) = (large.await.unwrap(), small.await.unwrap());
    assert_eq!((large.len(), small.len()), (12 * MIB, 4 * MIB));
}

#[tokio::test]
async fn who_leaves_the_line_costs_nobody_else_their_place() {
    let store = store(16 * MIB);
    let _first = store.try_create(12 * MIB).unwrap();
    let mut large = Box::pin(store.create(16 * MIB, LONG));
    let mut small = Box::pin(store.create(4 * MIB, LONG));
    assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
    drop(large);
    assert_eq!(small.now_or_never().unwrap().unwrap().len(), 4 * MIB);
}

#[tokio::test]
async fn what_was_given_to_who_has_left_goes_to_the_next() {
    let store = store(16 * MIB);
    let first = store.try_create(16 * MIB).unwrap();
    let mut one = Box::pin(store.create(16 * MIB, LONG));
    let mut two = Box::pin(store.create(16 * MIB, LONG));
    assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
    drop(first);
    assert!(two.as_mut().now_or_never().is_none());
    // It has been served, and has not looked.
    drop(one);
    assert_eq!(two.now_or_never().unwrap().unwrap().len(), 16 * MIB);
}

#[tokio::test]
async fn waiting_ends_in_an_error_that_says_what_holds_the_memory() {
    let store = store(16 * MIB);
    let _all = store.try_create(16 * MIB).unwrap().seal();
    let refused = store.create(100, Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom { usage, .. } if usage.sealed == 16 * MIB), "{refused}");
    drop(_all);
    store.try_create(100).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_wait_are_all_served() {
    let store = store(8 * MIB);
    let lengths = [100, 300_000, 2 * MIB, 8 * MIB, 64 << 10];
    let tasks: Vec<_> = (0..200)
        .map(|turn| {
            let store = store.clone();
            tokio::spawn(async move {
                let length = lengths[turn % lengths.len()];
                let mut draft = store.create(length, LONG).await.unwrap();
                tokio::task::yield_now().await;
                draft.fill(turn as u8);
                let stored = draft.seal();
                tokio::task::yield_now().await;
                assert!(stored.iter().all(|&byte| byte == turn as u8));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    until("all memory to be free", || store.usage().held == store.usage().warm).await;
}
