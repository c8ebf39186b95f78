//! A member that asks for chunks over the bulk lane and does not read them, or says that it has read others.

use crate::chunks::{MIB, message, numbers};
use crate::common::bounded;
use crate::node::{Event, Node};
use crate::place::{At, Place};
use mobula::id::ObjectId;
use mobula::limits::{BULK_ASKS, OBJECT_CHUNK};
use mobula::net::{Lane, Session};
use mobula::wire::chunk::{Range, Word};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

fn ask(number: u64, had: u64, object: ObjectId) -> Vec<u8> {
    let range = Range { offset: 0, length: OBJECT_CHUNK as u32 };
    message(Word::Ask { number, had, object, range })
}

/// A session with the worker over a relay that, once it is told, reads nothing more of what the worker sends.
async fn over_a_relay(place: &Place, node: &mut Node) -> (Session, oneshot::Sender<()>, JoinHandle<()>) {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", relay.local_addr().unwrap()).parse().unwrap();
    let (target, (stop, stopped)) = (place.port(At::Worker), oneshot::channel());
    let relayed = tokio::spawn(async move {
        let (dialer, _) = relay.accept().await.unwrap();
        let (mut from, mut to) = dialer.into_split();
        let (mut back, mut on) = TcpStream::connect(target).await.unwrap().into_split();
        let answers = async {
            tokio::select! {
                _ = tokio::io::copy(&mut back, &mut to) => {}
                _ = stopped => std::future::pending().await,
            }
        };
        // Whichever end goes first, both connections go.
        tokio::select! {
            () = answers => {}
            _ = tokio::io::copy(&mut from, &mut on) => {}
        }
    });
    let session = node.dial_at(place.worker.id, &address, Lane::Bulk).await.unwrap();
    node.session().await;
    (session, stop, relayed)
}

async fn breaches(place: &Place) -> u64 {
    place.counted(At::Worker).await["bulk_breach"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_and_never_reads_costs_a_window_and_disturbs_nobody() {
    let place = Place::apart().await;
    let object = bounded(place.witness.make(numbers(1))).await.unwrap();
    let (mut node, before) = (Node::start(place.member()).await, place.resident(At::Worker));
    assert_eq!(breaches(&place).await, 0);
    let (session, stop, relayed) = over_a_relay(&place, &mut node).await;
    stop.send(()).unwrap();
    for number in 1..=BULK_ASKS as u64 {
        session.send(&ask(number, 0, object.id())).await.unwrap();
    }
    // Others read it over sessions of their own.
    assert!(*bounded(place.cluster.get(&object)).await.unwrap() == *numbers(1));
    place.is_undisturbed().await;
    assert_eq!(breaches(&place).await, 0, "what a session may ask for is asked for");
    // Of 2.5 GB, and more until the relay learns that the worker has closed the connection.
    bounded(async {
        for number in BULK_ASKS as u64 + 1.. {
            if relayed.is_finished() {
                break;
            }
            // The session may be over.
            let _ = session.send(&ask(number, 0, object.id())).await;
            if number > 10_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .await;
    let grown = place.resident(At::Worker).saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes wait for a peer that reads none");
    assert_eq!(breaches(&place).await, 1);
    bounded(node.net.close()).await;
    drop(object);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_asks_for_as_many_more_as_it_has_read_and_has_read_no_more_than_was_sent() {
    let place = Place::apart().await;
    let object = bounded(place.witness.make(numbers(1))).await.unwrap();
    let most = BULK_ASKS as u64;
    let mut node = Node::start(place.member()).await;
    // (asks after the first window, what each says was read, whether they are answered)
    for (more, had, answered) in [(most, most, true), (1, 1, true), (2, 1, false), (1, most + 1, false)] {
        let session = node.dial_at(place.worker.id, &place.address(At::Worker), Lane::Bulk).await.unwrap();
        node.session().await;
        let before = breaches(&place).await;
        for number in 1..=most {
            session.send(&ask(number, 0, object.id())).await.unwrap();
        }
        for _ in 0..most {
            assert_eq!(node.batch().await.0, session.id());
        }
        for number in 1..=more {
            session.send(&ask(most + number, had, object.id())).await.unwrap();
        }
        let mut came = 0;
        let closed = loop {
            match node.next().await {
                Event::Batch(..) => came += 1,
                Event::Closed(id, _) => break id == session.id(),
                Event::Session(other) => panic!("{other:?}"),
            }
            if answered && came == more {
                break false;
            }
        };
        assert_eq!(closed, !answered, "{more} more, {had} read: {came} came");
        assert_eq!(breaches(&place).await, before + u64::from(!answered));
        if answered {
            session.close(mobula::net::Closed::Here);
            node.closed().await;
        }
    }
    bounded(node.net.close()).await;
    drop(object);
    place.end().await;
}
