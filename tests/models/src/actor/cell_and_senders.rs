use super::error::EndReason;
use super::mailbox::{Entry, Item, Mailbox, Next, Place, Taken};
use crate::check;
use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::future::poll_fn;
use std::sync::Arc;

struct Call {
    sender: usize,
    number: usize,
    admitted: AtomicBool,
}

impl Entry for Call {
    fn admitted(&self) {
        assert!(!self.admitted.swap(true, Ordering::AcqRel), "admitted twice");
    }

    fn is_abandoned(&self) -> bool {
        false
    }
}

type Box = Arc<Mailbox<Call, Call>>;

fn mailbox() -> Box {
    Arc::new(Mailbox::new())
}

fn new_call(sender: usize, number: usize) -> Call {
    Call { sender, number, admitted: AtomicBool::new(false) }
}

fn call(sender: usize, number: usize) -> Arc<Call> {
    Arc::new(new_call(sender, number))
}

/// Pushes so many calls. Gives those that were taken, and where they came to stand.
fn send(mailbox: &Box, sender: usize, count: usize) -> Vec<(Arc<Call>, Place)> {
    let calls = (0..count).map(|number| call(sender, number));
    calls.filter_map(|call| mailbox.push(call.clone()).ok().map(|place| (call, place))).collect()
}

fn who(item: &Item<Call, Call>) -> (usize, usize) {
    let call: &Call = match item {
        Item::Call(call) => call,
        Item::Told(call) => call,
    };
    (call.sender, call.number)
}

/// A cell: begins calls until there are `enough`, or the mailbox ends. One task, with one waker.
fn run(mailbox: &Box, enough: usize) -> (Vec<(usize, usize)>, Taken<Call, Call>) {
    let (mut begun, mut taken) = (Vec::new(), Taken::default());
    block_on(async {
        while begun.len() < enough {
            match poll_fn(|cx| mailbox.poll_next(&mut taken, cx)).await {
                Next::Job(item) => begun.push(who(&item)),
                Next::Drained | Next::Closed => break,
            }
        }
    });
    (begun, taken)
}

#[test]
fn no_wake_is_lost_and_each_sender_keeps_its_order() {
    check(3, || {
        let mailbox = mailbox();
        let senders = [0, 1].map(|sender| {
            let mailbox = mailbox.clone();
            thread::spawn(move || send(&mailbox, sender, 2).len())
        });
        let (begun, _taken) = run(&mailbox, 4);
        for sender in [0, 1] {
            let of: Vec<_> = begun.iter().filter(|call| call.0 == sender).map(|call| call.1).collect();
            assert_eq!(of, [0, 1]);
        }
        assert!(senders.into_iter().all(|sender| sender.join().unwrap() == 2));
        assert_eq!(mailbox.len(), 0);
    });
}

#[test]
fn what_is_told_keeps_its_place_among_calls() {
    check(3, || {
        let mailbox = mailbox();
        let sender = thread::spawn({
            let mailbox = mailbox.clone();
            move || {
                let sent = send(&mailbox, 0, 1).len();
                // Seldom there is no room: then it is a call.
                let told = mailbox.try_push(|| Item::Told(std::boxed::Box::new(new_call(0, 1))));
                if told == Ok(false) {
                    assert!(mailbox.push(call(0, 1)).is_ok());
                }
                sent
            }
        });
        assert_eq!(run(&mailbox, 2).0, [(0, 0), (0, 1)]);
        assert_eq!(sender.join().unwrap(), 1);
    });
}

#[test]
fn who_stands_in_line_is_admitted_once_before_it_begins() {
    check(3, || {
        let mailbox = mailbox();
        let sender = thread::spawn({
            let mailbox = mailbox.clone();
            move || send(&mailbox, 0, 5)
        });
        let (begun, _taken) = run(&mailbox, 5);
        assert_eq!(begun, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
        for (call, place) in sender.join().unwrap() {
            assert_eq!(place == Place::InLine, call.admitted.load(Ordering::Acquire), "{}", call.number);
        }
    });
}

#[test]
fn a_drained_mailbox_has_run_what_it_took() {
    check(3, || {
        let mailbox = mailbox();
        let sender = thread::spawn({
            let mailbox = mailbox.clone();
            move || send(&mailbox, 0, 2).len()
        });
        let stopper = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.drain()
        });
        let (begun, _taken) = run(&mailbox, usize::MAX);
        assert_eq!(begun.len(), sender.join().unwrap());
        stopper.join().unwrap();
    });
}

#[test]
fn a_stop_waits_for_what_has_arrived() {
    check(3, || {
        let mailbox = mailbox();
        let expected = mailbox.expect().is_ok();
        let arrival = thread::spawn({
            let mailbox = mailbox.clone();
            move || {
                assert!(expected && mailbox.push_expected(call(0, 0)).is_ok());
                mailbox.unexpect();
            }
        });
        let stopper = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.drain()
        });
        assert_eq!(run(&mailbox, usize::MAX).0, [(0, 0)]);
        arrival.join().unwrap();
        stopper.join().unwrap();
    });
}

#[test]
fn a_closed_mailbox_gives_back_what_it_took_and_did_not_run() {
    check(3, || {
        let mailbox = mailbox();
        let sender = thread::spawn({
            let mailbox = mailbox.clone();
            move || send(&mailbox, 0, 2).len()
        });
        let closer = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.close(EndReason::Killed)
        });
        let (begun, taken) = run(&mailbox, usize::MAX);
        let left = mailbox.bury(EndReason::Stopped, taken).count();
        assert_eq!(begun.len() + left, sender.join().unwrap());
        closer.join().unwrap();
        assert_eq!(mailbox.reason(), Some(EndReason::Killed), "the first reason stays");
    });
}

/// While a method runs, the cell waits for the end only, and what comes in need not wake it.
#[test]
fn what_comes_while_a_method_runs_is_found_after_it() {
    check(3, || {
        let mailbox = mailbox();
        let sender = thread::spawn({
            let mailbox = mailbox.clone();
            move || send(&mailbox, 0, 3).len()
        });
        let mut taken = Taken::default();
        let begun = block_on(async {
            let mut begun = Vec::new();
            while begun.len() < 3 {
                let Next::Job(item) = poll_fn(|cx| mailbox.poll_next(&mut taken, cx)).await else { break };
                begun.push(who(&item).1);
                assert!(poll_fn(|cx| std::task::Poll::Ready(mailbox.poll_closed(cx).is_pending())).await);
            }
            begun
        });
        assert_eq!((begun, sender.join().unwrap()), (vec![0, 1, 2], 3));
    });
}

#[test]
fn a_close_reaches_a_cell_that_waits_for_a_method() {
    check(3, || {
        let mailbox = mailbox();
        let (sender, closer) = (mailbox.clone(), mailbox.clone());
        let sender = thread::spawn(move || drop(send(&sender, 0, 1)));
        let closer = thread::spawn(move || closer.close(EndReason::Killed));
        block_on(poll_fn(|cx| mailbox.poll_closed(cx)));
        sender.join().unwrap();
        closer.join().unwrap();
    });
}
