use super::*;
use crate::limits::STORED;
use futures_util::task::{ArcWake, waker};
use std::sync::atomic::AtomicBool;

fn object(serial: u64) -> ObjectId {
    ObjectId { life: Life(1), serial }
}

/// A waker whose drop looks whether the entry's lock is free.
struct Looks(Arc<Entry>, Arc<AtomicBool>);

impl ArcWake for Looks {
    fn wake_by_ref(_: &Arc<Self>) {}
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.1.store(self.0.state.try_lock().is_some(), Ordering::Relaxed);
    }
}

#[test]
fn a_waker_that_is_replaced_is_dropped_outside_of_the_lock() {
    let (entry, free) = (Entry::pending(object(1), None), Arc::new(AtomicBool::new(false)));
    let mut settling = entry.settling();
    let first = waker(Arc::new(Looks(entry.clone(), free.clone())));
    assert!(Pin::new(&mut settling).poll(&mut Context::from_waker(&first)).is_pending());
    drop(first);
    assert!(!free.load(Ordering::Relaxed), "the entry has it");
    assert!(Pin::new(&mut settling).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(free.load(Ordering::Relaxed));
}

#[test]
fn objects_that_lead_to_each_other_are_lost_and_nobody_follows_them_for_ever() {
    for _ in 0..200 {
        let (one, other) = (Entry::pending(object(1), None), Entry::pending(object(2), None));
        std::thread::scope(|scope| {
            let leads = |from: &Arc<Entry>, to: &Arc<Entry>| {
                let (from, to) = (from.clone(), to.clone());
                scope.spawn(move || from.settle(Ok(Content::Elsewhere(to))));
            };
            leads(&one, &other);
            leads(&other, &one);
        });
        let lost = |entry: &Arc<Entry>| matches!(entry.outcome(), Some(Err(_)));
        assert!(lost(&one) || lost(&other), "the circle is open");
        one.followed().unwrap();
        other.followed().unwrap();
    }
    let own = Entry::pending(object(3), None);
    own.settle(Ok(Content::Elsewhere(own.clone())));
    assert!(matches!(own.outcome(), Some(Err(fault)) if matches!(*fault, Fault::Lost { .. })));
}

#[test]
fn a_chain_that_leads_on_and_on_is_given_up() {
    let chain: Vec<_> = (0..=OBJECT_HOPS as u64).map(|serial| Entry::pending(object(serial), None)).collect();
    for pair in chain.windows(2).rev() {
        pair[0].settle(Ok(Content::Elsewhere(pair[1].clone())));
    }
    assert!(chain[1].followed().is_ok(), "one hop less is followed");
    assert!(matches!(chain[0].followed(), Err(Fault::Lost { .. })));
}

#[test]
fn holders_are_named_in_turn_each_once_and_the_last_to_come_first() {
    let entry = Entry::settled(object(1), Err(Arc::new(Fault::ShutDown)));
    assert!(entry.holders(8).is_empty());
    (1..=5).for_each(|life| entry.held_by(Life(life), true));
    entry.held_by(Life(3), true);
    assert_eq!(entry.holders(8), [5, 4, 3, 2, 1].map(Life));
    entry.held_by(Life(3), false);
    let all: Vec<Life> = (0..2).flat_map(|_| entry.holders(2)).collect();
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{all:?}");
    let pending = Entry::pending(object(2), None);
    pending.held_by(Life(1), true);
    assert!(pending.holders(8).is_empty(), "nobody has a copy of what is not there");
}

#[test]
fn a_short_value_is_written_where_it_goes_and_a_long_one_is_kept_as_it_travels() {
    const MOST: usize = 1 << 10;
    let written = |content: Content| {
        let entry = Entry::settled(object(1), Ok(content.clone()));
        let mut out = b"before".to_vec();
        let fits = entry.write(&content, MOST, &mut out).unwrap().is_some();
        assert!(out.starts_with(b"before") && (fits || out.len() == b"before".len()));
        (fits, out.split_off(b"before".len()), entry.is_encoded())
    };
    let texts = |count: usize| Content::of::<Vec<String>>(Arc::new(vec!["text".to_owned(); count]));
    let (fits, body, kept) = written(texts(3));
    assert_eq!((fits, crate::wire::codec::decode(&body), kept), (true, Ok(vec!["text".to_owned(); 3]), false));
    // How long it is, only its encoding tells: that is not made twice.
    assert_eq!(written(texts(MOST)), (false, vec![], true));

    let plain = |length: usize| Content::of::<[u8]>(<[u8] as crate::object::param::Param>::share(vec![7; length]));
    let (fits, body, _) = written(plain(300));
    assert_eq!((fits, &body[..3], body.len()), (true, &[0xc5, 1, 44][..], 303), "as MessagePack's bytes");
    let (fits, ..) = written(plain(MOST));
    assert!(!fits, "with what stands before them");
    assert_eq!(written(plain(2 * STORED)), (false, vec![], true));
}
