//! Rules 4 and 5 of PROTOCOLS §1: which session is the link's, and where it goes on.

use super::rules::{Pair, demand, party, request};
use crate::clock::Moment;
use crate::id::Life;
use crate::limits::{ACK_DELAY, BEFORE_HELLO_BYTES};
use crate::node::core::link::{Breach, Link, SessionRefused};
use crate::wire::frame::{Batch, Hello};
use crate::wire::packet::Flags;

fn hello(link: &mut Link<u64>) -> Hello {
    let mut batch = Vec::new();
    link.take_batch(Moment(0), &mut batch).unwrap();
    let Ok(Batch::Hello(hello)) = Batch::decode(&batch) else { panic!("no hello") };
    hello
}

/// Node 0 tells something, and knows that it has arrived.
fn tells(pair: &mut Pair) {
    let stream = pair.links[0].open_stream();
    pair.send(stream, Flags::TELL, 1);
    pair.exchange();
    pair.pass(ACK_DELAY);
    pair.exchange();
}

#[test]
fn rule_4_of_two_sessions_that_cross_both_ends_keep_the_smaller_nodes() {
    let link = |own: u8| Link::<u64>::new(Moment(0), party(own), party(1 - own));
    let [mut small, mut large] = [link(0), link(1)];
    let now = Moment(0);
    assert_eq!(small.dialled(now, 10), Ok(None));
    assert_eq!(large.dialled(now, 20), Ok(None));
    let (from_small, from_large) = (hello(&mut small), hello(&mut large));
    assert_eq!(small.hello(now, 20, &from_large, &mut vec![]), Err(SessionRefused::Duplicate));
    assert_eq!(large.hello(now, 10, &from_small, &mut vec![]), Ok(Some(20)), "its own one is closed");
    assert_eq!(large.dialled(now, 21), Err(SessionRefused::Duplicate));
    let back = hello(&mut large);
    assert_eq!(small.hello(now, 10, &back, &mut vec![]), Ok(None));
    assert!(small.is_established() && large.is_established());
    // The same dialer's next session replaces its last one; an earlier one does not.
    assert_eq!(small.dialled(now, 11), Ok(Some(10)));
    let next = hello(&mut small);
    assert_eq!(large.hello(now, 11, &next, &mut vec![]), Ok(Some(10)));
    assert_eq!(large.hello(now, 12, &from_small, &mut vec![]), Err(SessionRefused::Duplicate));
}

#[test]
fn rule_5_a_session_that_its_dialer_left_does_not_begin_after_the_one_it_was_left_for() {
    let mut pair = Pair::new();
    let [small, large] = &mut pair.links;
    let now = pair.now;
    small.closed(now, pair.id);
    large.closed(now, pair.id);
    assert_eq!((large.dialled(now, 20), small.dialled(now, 30)), (Ok(None), Ok(None)));
    let late = hello(large);
    assert_eq!(large.hello(now, 30, &hello(small), &mut vec![]), Ok(Some(20)));
    assert_eq!(small.hello(now, 30, &hello(large), &mut vec![]), Ok(None));
    pair.id = 30;
    tells(&mut pair);
    let small = &mut pair.links[0];
    small.closed(now, 30);
    assert_eq!(small.hello(now, 20, &late, &mut vec![]), Err(SessionRefused::Duplicate), "it says that nothing came");
}

#[test]
fn rule_5_a_dialer_sends_its_hello_alone_and_the_rest_after_the_peers() {
    let mut link = Link::new(Moment(0), party(0), party(1));
    let stream = link.open_stream();
    for token in 0..200 {
        link.send(Moment(0), stream, &mut request(Flags::ASK, 1_000), demand(token));
    }
    assert!(link.wants_session());
    link.dialled(Moment(0), 1).unwrap();
    let mut batch = Vec::new();
    assert!(link.wake_sender(Moment(0)) && link.take_batch(Moment(0), &mut batch).is_some());
    assert!(batch.len() < BEFORE_HELLO_BYTES);
    assert_eq!(link.take_batch(Moment(0), &mut batch), None);
    let hello = Hello { life: Life(2), to: Life(1), session: 1, dialled: 0, received_work: 0, received_settle: 0 };
    link.hello(Moment(0), 1, &hello, &mut Vec::new()).unwrap();
    assert!(link.wake_sender(Moment(0)) && link.take_batch(Moment(0), &mut batch).is_some());
    assert!(batch.len() > 200_000);
}

#[test]
fn rule_5_a_peer_that_lost_its_state_or_is_in_another_life_is_refused() {
    let hello = |life, to, received_work| Hello {
        life: Life(life),
        to: Life(to),
        session: 9,
        dialled: 9,
        received_work,
        received_settle: 0,
    };
    let mut pair = Pair::new();
    tells(&mut pair);
    let refused = |pair: &mut Pair, hello: Hello| {
        pair.links[0].closed(pair.now, pair.id);
        let refused = pair.links[0].hello(pair.now, 9, &hello, &mut Vec::new()).unwrap_err();
        assert!(!pair.links[0].is_established(), "it is no session of the link's: {refused}");
        refused
    };
    let other = SessionRefused::OtherLife { expected: Life(2), found: Life(3) };
    assert_eq!(refused(&mut pair, hello(3, 1, 1)), other);
    assert_eq!(refused(&mut pair, hello(2, 7, 1)), SessionRefused::NotUs { own: Life(1), found: Life(7) });
    assert_eq!(refused(&mut pair, hello(2, 1, 0)), Breach::Broken(0).into());
    let mut pair = Pair::new();
    assert_eq!(refused(&mut pair, hello(2, 1, 1)), Breach::Broken(1).into(), "it applied what was never sent");
    // Nor does it take the place of the one that is there.
    let mut pair = Pair::new();
    let broken = pair.links[1].hello(pair.now, 9, &hello(1, 2, 1), &mut Vec::new());
    assert_eq!(broken, Err(Breach::Broken(1).into()));
    tells(&mut pair);
}

#[test]
fn a_link_that_has_ended_keeps_nothing_of_what_it_would_have_sent() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    for token in 0..500 {
        pair.send(stream, Flags::ASK, token);
    }
    assert!(pair.links[0].load().work.0 == 500 && pair.links[0].load().work.1 > 0);
    let mut deliveries = Vec::new();
    pair.links[0].end(&mut deliveries);
    assert_eq!(deliveries.len(), 500, "each ask ends");
    let load = pair.links[0].load();
    assert_eq!((load.work, load.settle, load.asks), ((0, 0), (0, 0), 0));
}
