//! A member that says hello as a life that is not its own, or as ever new ones, or with numbers that cannot be, or not at all.

use crate::common::bounded;
use crate::lender::{joined, member};
use crate::node::Event;
use crate::place::{At, Place};
use crate::rogue::{Rogue, SOME_LIFE, Said, arguments, echo, encoded, hello};
use mobula::id::Life;
use mobula::net::{Closed, Lane, Session};
use mobula::wire::frame::Hello;
use mobula::wire::packet::Work;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

async fn refused(place: &Place) -> u64 {
    place.counted(At::Worker).await["refused_life"]
}

/// Calls the witness, and is answered.
async fn is_served(place: &Place, rogue: &mut Rogue) {
    let body = arguments(7);
    rogue.send(&[encoded(Work::Request(echo(place, &body)))]).await;
    let answers = rogue.answers(1).await;
    assert_eq!(answers.into_values().collect::<Vec<_>>(), [Said::Value(vec![7])]);
}

async fn dials(place: &Place, rogue: &Rogue) -> Session {
    rogue.node.dial_at(place.worker.id, &place.address(At::Worker), Lane::Calls).await.unwrap()
}

/// Waits until the worker has closed this session of the rogue's.
async fn closed(rogue: &mut Rogue, session: u64) {
    while !matches!(rogue.node.next().await, Event::Closed(id, _) if id == session) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_speaks_as_no_life_but_its_own() {
    let place = Place::start().await;
    let own = place.cluster.node_id();
    let driver = place.cluster.nodes().into_iter().find(|node| node.id == own).unwrap().life;
    let (mut member, _to_head, member_life) = joined(&place, Vec::new()).await;
    let mut unseen = Rogue::greeted(&place, SOME_LIFE).await;
    assert_eq!(refused(&place).await, 0);
    let claims = [
        ("the life that calls the worker", driver),
        ("the worker's own life", place.worker.life),
        ("another member's life", member_life),
        ("a life that another has, of which the head has not told", Life(SOME_LIFE)),
    ];
    for (at, (what, life)) in (1..).zip(claims) {
        let rogue = Rogue::silent(&place).await;
        rogue.ends_for(&place, what, &hello(&place, life, 1)).await;
        assert_eq!(refused(&place).await, at, "{what}");
        is_served(&place, &mut member).await;
        is_served(&place, &mut unseen).await;
    }
    for rogue in [member, unseen] {
        bounded(rogue.node.net.close()).await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_makes_lives_up_has_the_last_of_them() {
    let place = Place::start().await;
    let mut rogue = Rogue::greeted(&place, SOME_LIFE).await;
    for life in 1..20 {
        let former = rogue.session.id();
        rogue.session = dials(&place, &rogue).await;
        rogue.session.send(&hello(&place, Life(SOME_LIFE + life), 1)).await.unwrap();
        closed(&mut rogue, former).await;
    }
    let (former, before) = (rogue.session.id(), refused(&place).await);
    rogue.session = dials(&place, &rogue).await;
    rogue.session.send(&hello(&place, Life(SOME_LIFE + 7), 1)).await.unwrap();
    let second = rogue.session.id();
    closed(&mut rogue, second).await;
    assert_eq!(refused(&place).await, before + 1, "{former} lives on");
    bounded(rogue.node.net.close()).await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_is_whose_the_head_gives_it_to_whoever_spoke_as_it_before() {
    let place = Place::start().await;
    let (first, _to_head, life) = joined(&place, Vec::new()).await;
    // Lives are given in their order.
    let mut early = Rogue::greeted(&place, life.0 + 1).await;
    is_served(&place, &mut early).await;
    let (mut next, _next_to_head, given) = member(&place, Vec::new()).await;
    assert_eq!(given, Life(life.0 + 1));
    let session = early.session.id();
    closed(&mut early, session).await;
    next.greet(&place, given).await;
    is_served(&place, &mut next).await;
    for rogue in [first, early, next] {
        bounded(rogue.node.net.close()).await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_says_what_cannot_be_ends_the_link() {
    let place = Place::start().await;
    let mut rogue = Rogue::greeted(&place, SOME_LIFE).await;
    is_served(&place, &mut rogue).await;
    let first = rogue.session.id();
    let again = dials(&place, &rogue).await;
    let (life, to, session, dialled) = (Life(SOME_LIFE), place.worker.life, 2, 2);
    let mut batch = Vec::new();
    Hello { life, to, session, dialled, received_work: 9, received_settle: 0 }.encode(&mut batch);
    again.send(&batch).await.unwrap();
    let mut over = vec![first, again.id()];
    while !over.is_empty() {
        if let Event::Closed(id, _) = rogue.node.next().await {
            over.retain(|session| *session != id);
        }
    }
    bounded(rogue.node.net.close()).await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_refuses_each_hello_is_dialled_less_and_less_often() {
    let place = Place::start().await;
    let (mut rogue, _to_head, _) = joined(&place, vec!["tcp://127.0.0.1:0".parse().unwrap()]).await;
    let body = arguments(7);
    // Answered, but it does not say so: the worker has something to send again.
    rogue.send(&[encoded(Work::Request(echo(&place, &body)))]).await;
    assert_eq!(rogue.answers(1).await, BTreeMap::from([(1, Said::Value(vec![7]))]));
    rogue.session.close(Closed::Here);
    let mut start = None;
    for _ in 0..8 {
        let session = loop {
            if let Event::Session(session) = rogue.node.next().await {
                break session;
            }
        };
        start.get_or_insert_with(Instant::now);
        session.close(Closed::Here);
    }
    // The pauses between eight dials: 5, 10, 20, 40, 80, 160 and 320 ms, of which the first may be over when the clock begins.
    assert!(start.unwrap().elapsed() > Duration::from_millis(600), "{:?}", start.unwrap().elapsed());
    bounded(rogue.node.net.close()).await;
    place.end().await;
}
