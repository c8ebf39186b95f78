use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;
use std::task::Waker;

struct Call {
    number: usize,
    admitted: AtomicBool,
    abandoned: AtomicBool,
}

impl Entry for Call {
    fn admitted(&self) {
        assert!(!self.admitted.swap(true, Ordering::Relaxed), "{} is admitted once", self.number);
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// What was told is only its number here.
type Calls = Mailbox<Call, usize>;

fn call(number: usize) -> Arc<Call> {
    Arc::new(Call { number, admitted: AtomicBool::new(false), abandoned: AtomicBool::new(false) })
}

fn told(number: usize) -> Item<Call, usize> {
    Item::Told(Box::new(number))
}

fn number(item: Item<Call, usize>) -> usize {
    match item {
        Item::Call(call) => call.number,
        Item::Told(number) => *number,
    }
}

fn next(mailbox: &Calls, taken: &mut Taken<Call, usize>) -> Option<usize> {
    match mailbox.poll_next(taken, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Next::Job(item)) => Some(number(item)),
        Poll::Ready(Next::Drained | Next::Closed) | Poll::Pending => None,
    }
}

#[test]
fn the_capacity_is_exact_and_who_waits_keeps_its_place() {
    let (mailbox, mut taken) = (Calls::new(), Taken::default());
    for number in 0..MAILBOX_CAPACITY {
        assert_eq!(mailbox.push(call(number)), Ok(Place::Admitted));
    }
    let waits = call(MAILBOX_CAPACITY);
    assert_eq!(mailbox.push(waits.clone()), Ok(Place::InLine));
    assert_eq!(mailbox.try_push(|| told(9_999)), Ok(false), "whoever waits comes first");
    assert_eq!(next(&mailbox, &mut taken), Some(0));
    assert!(waits.admitted.load(Ordering::Relaxed), "one has begun, so there is room for the one that waits");
    assert_eq!(mailbox.try_push(|| told(9_999)), Ok(false), "and for no other");
    let rest: Vec<_> = std::iter::from_fn(|| next(&mailbox, &mut taken)).collect();
    assert_eq!(rest, (1..=MAILBOX_CAPACITY).collect::<Vec<_>>());
}

#[test]
fn what_was_abandoned_makes_room_at_the_latest_when_someone_asks_for_it() {
    let mailbox = Calls::new();
    let calls: Vec<_> = (0..MAILBOX_CAPACITY).map(call).collect();
    for call in &calls {
        assert_eq!(mailbox.push(call.clone()), Ok(Place::Admitted));
    }
    calls[7].abandoned.store(true, Ordering::Relaxed);
    mailbox.abandoned();
    assert_eq!(mailbox.try_push(|| told(MAILBOX_CAPACITY)), Ok(true));
}

#[test]
fn who_waits_is_told_of_the_room_that_another_finds_for_itself() {
    let mailbox = Calls::new();
    let calls: Vec<_> = (0..MAILBOX_CAPACITY).map(call).collect();
    for call in &calls {
        assert_eq!(mailbox.push(call.clone()), Ok(Place::Admitted));
    }
    let waits = call(MAILBOX_CAPACITY);
    assert_eq!(mailbox.push(waits.clone()), Ok(Place::InLine));
    for number in [7, 8] {
        calls[number].abandoned.store(true, Ordering::Relaxed);
        mailbox.abandoned();
    }
    assert_eq!(mailbox.try_push(|| told(MAILBOX_CAPACITY + 1)), Ok(true), "there is room for both");
    assert!(waits.admitted.load(Ordering::Relaxed));
}

/// The last handle of an actor may be in a call that was abandoned: its end comes to the actor's own mailbox.
#[test]
fn what_is_swept_is_dropped_once_the_lock_is_free() {
    struct Looks(Arc<Mailbox<Looks, usize>>);
    impl Entry for Looks {
        fn admitted(&self) {}
        fn is_abandoned(&self) -> bool {
            true
        }
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.drain();
        }
    }
    let mailbox = Arc::new(Mailbox::new());
    for _ in 0..MAILBOX_CAPACITY {
        assert_eq!(mailbox.push(Arc::new(Looks(mailbox.clone()))), Ok(Place::Admitted));
    }
    mailbox.abandoned();
    assert_eq!(mailbox.try_push(|| Item::Told(Box::new(1))), Ok(true));
    assert_eq!(mailbox.expect(), Err(EndReason::Stopped), "it was told to drain");
}

#[test]
fn a_queue_of_abandoned_calls_does_not_grow() {
    let mailbox = Calls::new();
    for number in 0..100 * MAILBOX_CAPACITY {
        let call = call(number);
        assert!(mailbox.push(call.clone()).is_ok());
        call.abandoned.store(true, Ordering::Relaxed);
        mailbox.abandoned();
    }
    assert!(mailbox.len() <= MAILBOX_CAPACITY / 4, "{} stand in it", mailbox.len());
}

#[test]
fn a_closed_mailbox_begins_nothing_more_and_hands_out_what_is_left() {
    let (mailbox, mut taken) = (Calls::new(), Taken::default());
    for number in 0..100 {
        assert!(mailbox.push(call(number)).is_ok());
    }
    assert_eq!(next(&mailbox, &mut taken), Some(0));
    mailbox.close(EndReason::Killed);
    assert_eq!(next(&mailbox, &mut taken), None, "also of what the cell has taken");
    assert_eq!(mailbox.push(call(100)), Err(EndReason::Killed));
    let left: Vec<_> = mailbox.bury(EndReason::Stopped, taken).map(number).collect();
    assert_eq!(left, (1..100).collect::<Vec<_>>());
    assert_eq!(mailbox.reason(), Some(EndReason::Killed), "the first reason stays");
}

#[test]
fn a_draining_mailbox_runs_what_it_has_and_takes_nothing_new() {
    let (mailbox, mut taken) = (Calls::new(), Taken::default());
    assert!(mailbox.push(call(0)).is_ok());
    mailbox.drain();
    assert_eq!(mailbox.push(call(1)), Err(EndReason::Stopped));
    assert_eq!(next(&mailbox, &mut taken), Some(0));
    let polled = mailbox.poll_next(&mut taken, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Next::Drained)));
}

#[test]
fn a_draining_mailbox_waits_for_what_has_arrived_before_and_a_closed_one_does_not() {
    let (mailbox, mut taken) = (Calls::new(), Taken::default());
    let mut poll = || match mailbox.poll_next(&mut taken, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Next::Job(item)) => format!("call {}", number(item)),
        Poll::Ready(Next::Drained) => "drained".to_owned(),
        Poll::Ready(Next::Closed) => "closed".to_owned(),
        Poll::Pending => "nothing".to_owned(),
    };
    for _ in 0..3 {
        assert_eq!(mailbox.expect(), Ok(()));
    }
    mailbox.drain();
    assert_eq!(mailbox.expect(), Err(EndReason::Stopped), "what arrives now is late");
    assert_eq!(mailbox.push(call(9)), Err(EndReason::Stopped));
    assert_eq!(poll(), "nothing");
    assert_eq!(mailbox.push_expected(call(0)), Ok(Place::Admitted));
    mailbox.unexpect();
    assert_eq!(poll(), "call 0");
    assert_eq!(poll(), "nothing");
    // One of them was refused.
    mailbox.unexpect();
    assert_eq!(poll(), "nothing");
    mailbox.unexpect();
    assert_eq!(poll(), "drained");

    let (mailbox, mut taken) = (Calls::new(), Taken::default());
    assert_eq!(mailbox.expect(), Ok(()));
    mailbox.drain();
    mailbox.close(EndReason::Killed);
    let polled = mailbox.poll_next(&mut taken, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Next::Closed)));
    assert_eq!(mailbox.push_expected(call(0)), Err(EndReason::Killed));
}

proptest! {
    /// I3 and I5 for callers of one process: order of entry, and never more admitted than fit.
    #[test]
    fn calls_begin_in_the_order_in_which_they_entered(steps in prop::collection::vec((0..5_u8, 1..200_usize), 1..200)) {
        let (mailbox, mut taken) = (Calls::new(), Taken::default());
        let (mut entered, mut begun, mut gone, mut known_alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (step, count) in steps {
            for _ in 0..count {
                let number = entered.len();
                match step {
                    0 | 1 => {
                        let entry = call(number);
                        let place = mailbox.push(entry.clone()).unwrap();
                        entry.admitted.store(place == Place::Admitted, Ordering::Relaxed);
                        entered.push(entry);
                    }
                    2 => begun.extend(next(&mailbox, &mut taken)),
                    3 => {
                        if mailbox.try_push(|| told(number)).unwrap() {
                            let entry = call(number);
                            entry.admitted.store(true, Ordering::Relaxed);
                            known_alone.push(number);
                            entered.push(entry);
                        }
                    }
                    _ => {
                        if let Some(last) = entered.last().filter(|last: &&Arc<Call>| {
                            !gone.contains(&last.number) && !known_alone.contains(&last.number)
                        }) {
                            // Begun already, it is the cell's; else it becomes a tombstone, which the cell skips.
                            if begun.last() != Some(&last.number) {
                                gone.push(last.number);
                                last.abandoned.store(true, Ordering::Relaxed);
                                mailbox.abandoned();
                            }
                        }
                    }
                }
            }
            let waiting = entered.iter().filter(|call| {
                call.admitted.load(Ordering::Relaxed)
                    && begun.last().is_none_or(|last| call.number > *last)
                    && !call.is_abandoned()
            });
            prop_assert!(waiting.count() <= MAILBOX_CAPACITY);
        }
        begun.extend(std::iter::from_fn(|| next(&mailbox, &mut taken)));
        prop_assert!(begun.is_sorted(), "{begun:?}");
        let live: Vec<_> = begun.iter().copied().filter(|number| !gone.contains(number)).collect();
        let expected: Vec<_> = (0..entered.len()).filter(|number| !gone.contains(number)).collect();
        prop_assert_eq!(live, expected);
    }
}

#[test]
fn what_has_begun_is_not_counted_though_the_cell_took_more() {
    let (mailbox, mut taken) = (Calls::new(), Taken::default());
    for number in 0..3 {
        assert_eq!(mailbox.push(call(number)), Ok(Place::Admitted));
    }
    for left in (0..3).rev() {
        assert!(next(&mailbox, &mut taken).is_some());
        assert_eq!(mailbox.len(), left);
    }
}
