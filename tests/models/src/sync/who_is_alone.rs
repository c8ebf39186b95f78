//! A call's slot between its cell and its caller, as `actor/slot` goes about it.

use super::alone::alone;
use super::{Counted, Mutex};
use crate::check;
use loom::future::block_on;
use loom::thread;
use std::future::poll_fn;
use std::mem;
use std::task::{Poll, Waker};

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Made(u8),
    Begun,
    Done(u8),
    Over,
}

type Slot = Mutex<(Stage, Option<Waker>)>;

/// The message, and the slot if somebody waits for the reply.
fn take(slot: Counted<Slot>) -> (Option<u8>, Option<Counted<Slot>>) {
    let message = |stage| if let Stage::Made(message) = stage { Some(message) } else { None };
    match alone(slot) {
        Ok(slot) => (message(slot.into_inner().0), None),
        Err(slot) => {
            let mut state = slot.lock();
            let Stage::Made(_) = state.0 else { return (None, None) };
            let stage = mem::replace(&mut state.0, Stage::Begun);
            drop(state);
            (message(stage), Some(slot))
        }
    }
}

fn finish(slot: &Slot, reply: u8) {
    let mut state = slot.lock();
    if state.0 == Stage::Over {
        return;
    }
    state.0 = Stage::Done(reply);
    let caller = state.1.take();
    drop(state);
    caller.into_iter().for_each(Waker::wake);
}

#[test]
fn a_reply_reaches_its_caller_whoever_lets_go_first() {
    check(3, || {
        let slot = Counted::new(Mutex::new((Stage::Made(7), None)));
        let to_cell = slot.clone();
        let cell = thread::spawn(move || {
            let (message, slot) = take(to_cell);
            finish(&slot.expect("its caller waits"), message.expect("a message is there until it is taken") + 1);
        });
        let mut kept = Some(slot);
        let reply = block_on(poll_fn(|cx| match alone(kept.take().expect("polled until it is ready")) {
            Ok(slot) => match slot.into_inner().0 {
                Stage::Done(reply) => Poll::Ready(reply),
                stage => panic!("the cell has let go of a call that is {stage:?}"),
            },
            Err(slot) => {
                let mut state = slot.lock();
                if let Stage::Done(reply) = state.0 {
                    return Poll::Ready(reply);
                }
                state.1 = Some(cx.waker().clone());
                drop(state);
                kept = Some(slot);
                Poll::Pending
            }
        }));
        assert_eq!(reply, 8);
        cell.join().unwrap();
    });
}

#[test]
fn a_call_whose_caller_goes_runs_or_never_begins() {
    check(3, || {
        let slot = Counted::new(Mutex::new((Stage::Made(7), None)));
        let to_cell = slot.clone();
        let cell = thread::spawn(move || {
            let (message, slot) = take(to_cell);
            let ran = message.is_some();
            slot.iter().for_each(|slot| finish(slot, 8));
            ran
        });
        let was = mem::replace(&mut slot.lock().0, Stage::Over);
        drop(slot);
        assert_eq!(cell.join().unwrap(), was != Stage::Made(7), "No is never said of a call that began (I4)");
    });
}
