use super::standing::{Away, OnTheWay, Standing};
use crate::actor::remote::Peer;
use crate::check;
use crate::wire::codec::Enclosed;
use loom::future::block_on;
use loom::thread;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

struct Node;

impl Peer for Node {}

/// Whether this asks for the task back, as `node/tasks/cancel.rs` does.
fn calls_off(standing: &Standing) -> bool {
    matches!(standing.take_sent(), Away::Sent(_))
}

#[test]
fn a_task_that_is_cancelled_while_it_is_sent_is_asked_back_by_one_of_both() {
    check(3, || {
        let standing = Standing::named(None);
        let sender = thread::spawn({
            let standing = standing.clone();
            move || {
                let sent = standing.leaves();
                let on_the_way = || OnTheWay { to: Arc::new(Node), ticket: 1, enclosed: Enclosed };
                (sent, sent && !standing.sent(on_the_way()) && calls_off(&standing))
            }
        });
        standing.cancel();
        let here = calls_off(&standing);
        let (sent, there) = sender.join().unwrap();
        assert_eq!(usize::from(here) + usize::from(there), usize::from(sent), "{here} {there}");
        assert!(!standing.leaves(), "a cancelled task is never sent again");
    });
}

#[test]
fn a_task_that_waits_is_woken_by_its_cancellation() {
    check(3, || {
        let standing = Standing::named(None);
        let canceller = thread::spawn({
            let standing = standing.clone();
            move || drop(standing.cancel())
        });
        block_on(poll_fn(|cx| if standing.poll_cancelled(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }));
        canceller.join().unwrap();
    });
}

#[test]
fn a_task_begins_once_whoever_tries() {
    check(3, || {
        let standing = Standing::named(None);
        let other = thread::spawn({
            let standing = standing.clone();
            move || standing.begin()
        });
        let here = standing.begin();
        assert!(here != other.join().unwrap());
    });
}
