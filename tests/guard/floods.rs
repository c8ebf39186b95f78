//! Many connections at once: bounded, counted, and in no legitimate peer's way.

use crate::support::*;
use mobula::net::counters::Count;
use mobula::net::guard::{Ending, Limits};
use mobula::net::preface::{Lane, answer};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

/// A stranger from another address of the loopback network.
async fn from(source: &str, node: &Node, bytes: &[u8]) -> Stranger {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    let mut stranger = Stranger { tcp: soon(socket.connect(node.guard().address())).await.unwrap() };
    stranger.send(bytes).await;
    stranger
}

async fn many(count: usize, node: &Node, bytes: &[u8]) -> Vec<Stranger> {
    let address = node.address();
    let connecting = (0..count).map(|_| Stranger::with(&address, bytes));
    futures::future::join_all(connecting).await
}

/// Every connection that was accepted was refused, or has ended for exactly one reason, but for those that are left.
fn accounts_balance(node: &Node, left: u64) {
    let ended: u64 = Count::ALL
        .into_iter()
        .filter(|count| !matches!(count, Count::GuardAccepted | Count::GuardAcceptFailed | Count::GuardAdmitted))
        .filter(|count| !matches!(count, Count::GuardEnded | Count::GuardTooMany))
        .map(|count| node.count(count))
        .sum();
    assert_eq!(ended, node.count(Count::GuardEnded), "{:?}", node.counters.snapshot());
    assert_eq!(node.count(Count::GuardAccepted), ended + node.count(Count::GuardTooMany) + left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_at_once_are_closed_in_time_while_peers_come_and_work() {
    let node = Node::start(Limits::default()).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    for (round, bytes) in [&b""[..], &opening(Lane::Control), &opening(Lane::Calls)].into_iter().enumerate() {
        let before = Instant::now();
        let strangers = many(1_000, &node, bytes).await;
        assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
        let mut newcomer = Peer::dial(&node, &format!("newcomer {round}"), Lane::Calls).await;
        assert_eq!(newcomer.ask(b"welcome").await, b"welcome");
        assert!(before.elapsed() < Limits::default().handshake_time, "they are still there: {:?}", before.elapsed());
        for mut stranger in strangers {
            stranger.closed().await;
        }
        drop(newcomer);
        node.left_with(1).await;
    }
    assert_eq!(node.count(Count::GuardAccepted), 3_004);
    let gave_way = node.count(Count::GuardCrowdedOut) + node.count(Count::GuardTooMany);
    assert!(gave_way >= 3 * (1_000 - 256) - 16, "{:?}", node.counters.snapshot());
    accounts_balance(&node, 1);
    assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
}

#[tokio::test]
async fn an_unfinished_handshake_gives_way_and_the_newest_is_served() {
    let mut node = Node::start(Limits { handshakes: 8, ..Limits::default() }).await;
    let before = Instant::now();
    let mut strangers = many(8, &node, &opening(Lane::Calls)).await;
    node.counted(Count::GuardAccepted, 8).await;
    let _peer = Peer::dial(&node, "peer", Lane::Calls).await;
    let (_, ending) = soon(node.ended.recv()).await.unwrap();
    assert_eq!(ending, Ending::CrowdedOut);
    strangers.push(Stranger::with(&node.address(), b"").await);
    node.counted(Count::GuardAccepted, 10).await;
    assert_eq!(node.count(Count::GuardCrowdedOut), 1, "an admitted connection is no handshake any more");
    for mut stranger in strangers {
        stranger.closed().await;
    }
    assert!(before.elapsed() >= Limits::default().handshake_time, "the others had their time");
    node.left_with(1).await;
    accounts_balance(&node, 1);
}

#[tokio::test]
async fn a_peer_that_gives_way_learns_that_it_was_not_its_key() {
    let node = Node::start(Limits { handshakes: 1, ..Limits::default() }).await;
    let mut first = Peer::dial_unadmitted(&node, "first", Lane::Calls).await;
    let _second = Peer::dial(&node, "second", Lane::Calls).await;
    assert_eq!(first.hear().await, answer(), "an answer of its own version: busy");
    assert_eq!(soon(first.guard.ended()).await, Ending::PeerClosed);
    assert_eq!(node.count(Count::GuardCrowdedOut), 1);
}

#[tokio::test]
async fn a_flood_from_one_address_crowds_out_its_own_handshakes_only() {
    let node =
        Node::start(Limits { handshakes: 16, handshake_time: Duration::from_secs(2), ..Limits::default() }).await;
    let mut quiet = from("127.0.0.2", &node, &opening(Lane::Calls)).await;
    for _ in 0..100 {
        from("127.0.0.3", &node, &greeting()).await.send(b"").await;
    }
    let flood = {
        let mut flood = Vec::new();
        for _ in 0..100 {
            flood.push(from("127.0.0.4", &node, &greeting()).await);
        }
        flood
    };
    node.counted(Count::GuardAccepted, 201).await;
    quiet.send(&frame(ADMIT_ME)).await;
    node.counted(Count::GuardAdmitted, 1).await;
    drop(flood);
    node.left_with(1).await;
    assert!(node.count(Count::GuardCrowdedOut) >= 84, "{:?}", node.counters.snapshot());
    accounts_balance(&node, 1);
    drop(quiet);
}

#[tokio::test]
async fn connections_of_one_address_are_bounded_and_others_still_come() {
    let node = Node::start(Limits { connections_per_address: 5, ..Limits::default() }).await;
    let admitted = [&opening(Lane::Calls)[..], &frame(ADMIT_ME)].concat();
    let mut held = Vec::new();
    for count in 1..=5 {
        held.push(from("127.0.0.2", &node, &admitted).await);
        node.counted(Count::GuardAdmitted, count).await;
    }
    for _ in 0..20 {
        from("127.0.0.2", &node, &admitted).await.closed().await;
    }
    assert_eq!(node.count(Count::GuardTooMany), 20);
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    assert_eq!(peer.ask(b"other address").await, b"other address");
    held.pop();
    node.left_with(5).await;
    held.push(from("127.0.0.2", &node, &admitted).await);
    node.counted(Count::GuardAdmitted, 7).await;
    accounts_balance(&node, 6);
}

#[tokio::test]
async fn connections_in_all_are_bounded() {
    let node = Node::start(Limits { connections: 6, ..Limits::default() }).await;
    let admitted = [&opening(Lane::Calls)[..], &frame(ADMIT_ME)].concat();
    let mut held = many(5, &node, &admitted).await;
    node.counted(Count::GuardAdmitted, 5).await;
    let mut unfinished = from("127.0.0.9", &node, &greeting()).await;
    node.counted(Count::GuardAccepted, 6).await;
    held.push(from("127.0.0.8", &node, &admitted).await);
    node.counted(Count::GuardAdmitted, 6).await;
    unfinished.closed().await;
    from("127.0.0.7", &node, &admitted).await.closed().await;
    assert_eq!((node.count(Count::GuardCrowdedOut), node.count(Count::GuardTooMany)), (1, 1));
    accounts_balance(&node, 6);
}
