//! Objects within one process.

use super::support::{MIB, pattern, store};
use mobula::store::{Location, Store, StoreConfig, StoreError};

#[tokio::test]
async fn an_object_is_what_was_written_wherever_it_lies() {
    let store = store(64 * MIB);
    let lengths = [0, 1, 63, 64, 65, 4_095, 100_000, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1];
    let objects: Vec<_> =
        lengths.iter().enumerate().map(|(seed, &length)| (pattern(seed as u8, length), length)).collect();
    let stored: Vec<_> = objects.iter().map(|(bytes, _)| store.copy_in(bytes).unwrap()).collect();
    let mut ranges = Vec::new();
    for (stored, (bytes, length)) in stored.iter().zip(&objects) {
        assert_eq!(&**stored, &**bytes);
        assert!(stored.as_ptr().addr().is_multiple_of(64));
        let Location { segment, offset, length: said } = stored.location();
        assert!(said == *length as u64 && offset.is_multiple_of(64));
        ranges.push((segment, offset, said));
    }
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].1 + pair[0].2.max(1) <= pair[1].1, "{pair:?}");
    }
}

#[tokio::test]
async fn memory_is_free_when_the_last_clone_goes() {
    let store = store(64 * MIB);
    let stored = store.copy_in(b"shark").unwrap();
    let (place, clone) = (stored.location(), stored.clone());
    drop(stored);
    assert_ne!(store.copy_in(b"whale").unwrap().location(), place);
    assert_eq!(&*clone, b"shark");
    drop(clone);
    assert_eq!(store.copy_in(b"whale").unwrap().location(), place);
    let unsealed = store.try_create(5).unwrap();
    assert_eq!((store.usage().drafts, store.usage().sealed), (64, 0));
    drop(unsealed);
    assert_eq!(store.usage().drafts, 0);
}

#[tokio::test]
async fn bytes_of_an_object_are_the_objects_own() {
    let store = store(MIB);
    let stored = store.copy_in(b"shark").unwrap();
    let at = stored.as_ptr();
    let bytes = bytes::Bytes::from_owner(stored);
    let part = bytes.slice(1..3);
    assert_eq!((part.as_ptr(), &*part), (at.wrapping_add(1), &b"ha"[..]));
    drop(bytes);
    assert_eq!(store.usage().sealed, 64);
    drop(part);
    assert_eq!(store.usage().sealed, 0);
}

#[tokio::test]
async fn what_can_never_fit_is_refused_at_once() {
    let store = store(MIB);
    let refused = store.try_create(MIB + 1).unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    let refused = store.create(usize::MAX, std::time::Duration::MAX).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { length: usize::MAX, .. }), "{refused}");
    assert_eq!(store.try_create(MIB).unwrap().len(), MIB);
}

#[tokio::test]
async fn a_full_store_says_what_holds_its_memory() {
    let store = store(16 * MIB);
    let _draft = store.try_create(4 * MIB).unwrap();
    let _sealed = store.try_create(8 * MIB).unwrap().seal();
    let refused = store.try_create(6 * MIB).unwrap_err();
    let StoreError::NoRoom { length, usage, spill: None } = &refused else { panic!("{refused}") };
    assert_eq!((*length, usage.drafts, usage.sealed, usage.pinned), (6 * MIB, 4 * MIB, 8 * MIB, 0));
    let text =
        "the store has no room for 6291456 bytes: of 16777216 bytes, drafts hold 4194304, sealed objects 8388608";
    assert!(refused.to_string().starts_with(text), "{refused}");
}

#[tokio::test]
async fn what_stores_give_goes_to_any_thread_and_into_bytes() {
    fn any_thread<T: Send + 'static>(_: T) {}
    fn owner<T: AsRef<[u8]> + Send + Sync + 'static>() {}
    owner::<mobula::store::Stored>();
    owner::<mobula::store::Foreign>();
    let store = store(MIB);
    let kept = store.keep(store.copy_in(b"shark").unwrap());
    any_thread(async move { (kept.get().await.is_ok(), store.create(5, std::time::Duration::ZERO).await.is_ok()) });
    any_thread(async {
        let ticket = mobula::store::Ticket::from_bytes([0; 32]);
        let attached = mobula::store::Attached::connect(std::path::Path::new(""), &ticket).await?;
        attached.view(Location::default()).await
    });
}

#[test]
fn a_store_outside_of_a_runtime_is_an_error() {
    let refused = Store::new(StoreConfig { capacity: MIB, folder: None }).unwrap_err();
    assert!(matches!(refused, StoreError::NoRuntime), "{refused}");
}

#[tokio::test]
async fn objects_of_many_threads_do_not_touch() {
    let store = store(8 * MIB);
    let worker = |seed: u64| {
        let store = store.clone();
        move || {
            // xorshift: the order of threads is not ours, but the sizes are.
            let mut state = seed;
            let mut held = std::collections::VecDeque::new();
            for turn in 0..4_000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let length = if state.is_multiple_of(50) { state % 600_000 } else { state % 2_000 } as usize;
                let mark = (seed as u8).wrapping_mul(16).wrapping_add(turn as u8 % 16);
                if let Ok(mut draft) = store.try_create(length) {
                    draft.fill(mark);
                    held.push_back((draft.seal(), mark));
                }
                if held.len() > 20 || state.is_multiple_of(3) {
                    let Some((stored, mark)) = held.pop_front() else { continue };
                    assert!(stored.iter().all(|&byte| byte == mark), "seed {seed}, turn {turn}");
                }
            }
        }
    };
    let threads: Vec<_> = (1..=4).map(|seed| std::thread::spawn(worker(seed))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let usage = store.usage();
    assert_eq!((usage.drafts, usage.sealed, usage.pinned), (0, 0, 0));
    assert_eq!(usage.held, usage.warm, "whole segments are free: {usage:?}");
}
