//! Hostile and broken peers at the accepting side: each is closed in time, counted by reason, and disturbs nobody.

use crate::support::*;
use mobula::net::counters::Count;
use mobula::net::guard::{Ending, Limits};
use mobula::net::preface::{Lane, answer, preface, read_answer};
use std::time::Duration;

/// A node with short patience for handshakes, and a legitimate peer that is there all the time.
async fn node_and_peer() -> (Node, Peer) {
    let node = Node::start(Limits { handshake_time: Duration::from_millis(400), ..Limits::default() }).await;
    let peer = Peer::dial(&node, "peer", Lane::Calls).await;
    (node, peer)
}

/// The stranger who sends `bytes` is closed for this reason alone, and the peer is undisturbed.
async fn is_refused(bytes: &[u8], reason: Count) {
    let (node, mut peer) = node_and_peer().await;
    let mut stranger = Stranger::with(&node.address(), bytes).await;
    stranger.closed().await;
    node.counted(reason, 1).await;
    node.left_with(1).await;
    assert_eq!((node.count(reason), node.count(Count::GuardEnded)), (1, 1));
    assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
}

fn long(flags: u8, length: u64) -> Vec<u8> {
    [&[flags][..], &length.to_be_bytes()].concat()
}

#[tokio::test]
async fn random_bytes_are_refused() {
    for seed in 1..=20 {
        let mut bytes = random_bytes(seed * 7_919, 10_000);
        bytes[0] &= 0x7f; // not the first byte of a greeting
        is_refused(&bytes, Count::GuardGreeting).await;
    }
}

#[tokio::test]
async fn random_bytes_behind_an_opening_harm_nobody() {
    let (node, mut peer) = node_and_peer().await;
    for seed in 1..=40 {
        let random = random_bytes(seed * 104_729, 3_000);
        let mut stranger = Stranger::with(&node.address(), &[opening(Lane::Calls), random].concat()).await;
        stranger.closed().await;
        assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
    }
    node.left_with(1).await;
    assert_eq!(node.count(Count::GuardEnded), 40);
}

#[tokio::test]
async fn an_http_request_is_refused() {
    is_refused(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", Count::GuardGreeting).await;
}

#[tokio::test]
async fn silence_at_any_stage_ends_at_the_deadline() {
    let whole = opening(Lane::Calls);
    for cut in [0, 1, 10, 63, 64, 65, 66, 80, whole.len() - 1, whole.len()] {
        is_refused(&whole[..cut], Count::GuardTimeout).await;
    }
    is_refused(&[whole, vec![2, 0, 0]].concat(), Count::GuardTimeout).await;
}

#[tokio::test]
async fn a_byte_now_and_then_buys_no_time() {
    let (node, _peer) = node_and_peer().await;
    let mut stranger = Stranger::connect(&node.address()).await;
    let opening = opening(Lane::Calls);
    let drip = async {
        for byte in opening.chunks(1) {
            stranger.send(byte).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = drip => panic!("the whole opening was taken, slower than the deadline"),
        () = node.counted(Count::GuardTimeout, 1) => {}
    }
}

#[tokio::test]
async fn a_declared_length_of_2_to_the_46_is_refused_wherever_it_stands() {
    let huge = long(2, 1 << 46);
    is_refused(&[greeting(), long(6, 1 << 46)].concat(), Count::GuardReady).await;
    is_refused(&[greeting(), ready("DEALER", b""), huge.clone()].concat(), Count::GuardPreface).await;
    is_refused(&[opening(Lane::Calls), huge.clone()].concat(), Count::GuardFrameTooLong).await;
    is_refused(&[opening(Lane::Calls), frame(b"small"), huge].concat(), Count::GuardFrameTooLong).await;
}

#[tokio::test]
async fn an_admitted_peer_is_bounded_as_well() {
    for (sent, reason) in [
        (long(2, (1 << 20) + 1), Count::GuardFrameTooLong),
        (long(2, u64::MAX), Count::GuardFrameTooLong),
        (vec![1, 0], Count::GuardMultipart),
        (ready("DEALER", b""), Count::GuardCommand),
        (vec![8, 0], Count::GuardReservedFlags),
    ] {
        let (mut node, mut peer) = node_and_peer().await;
        let mut turned = Stranger::with(&node.address(), &[opening(Lane::Calls), frame(ADMIT_ME)].concat()).await;
        node.counted(Count::GuardAdmitted, 2).await;
        turned.send(&sent).await;
        assert!(turned.closed().await.ends_with(ADMIT_ME));
        node.counted(reason, 1).await;
        assert!(matches!(soon(node.ended.recv()).await.unwrap().1, Ending::Refused(_)));
        assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
    }
}

#[tokio::test]
async fn endless_small_parts_are_refused_at_the_first() {
    let parts = [1, 1, b'x'].repeat(10_000);
    is_refused(&[opening(Lane::Calls), parts.clone()].concat(), Count::GuardMultipart).await;
    is_refused(&[greeting(), ready("DEALER", b""), parts].concat(), Count::GuardMultipart).await;
}

#[tokio::test]
async fn a_chosen_identity_is_refused() {
    let chosen = b"\x08Identity\0\0\0\x10the others route";
    is_refused(&[greeting(), ready("DEALER", chosen)].concat(), Count::GuardIdentity).await;
}

#[tokio::test]
async fn a_malformed_oversize_or_foreign_ready_is_refused() {
    is_refused(&[greeting(), ready("ROUTER", b"")].concat(), Count::GuardReady).await;
    is_refused(&[greeting(), ready("DEALER", b"\x02XY\xff\xff\xff\xff")].concat(), Count::GuardReady).await;
    is_refused(&[greeting(), long(6, 100_000), vec![b'x'; 100_000]].concat(), Count::GuardReady).await;
    is_refused(&[greeting(), vec![4, 0]].concat(), Count::GuardReady).await;
    is_refused(&[greeting(), frame(&preface(Lane::Calls))].concat(), Count::GuardReady).await;
}

#[tokio::test]
async fn commands_and_reserved_flags_are_refused() {
    is_refused(&[opening(Lane::Calls), ready("DEALER", b"")].concat(), Count::GuardCommand).await;
    is_refused(&[opening(Lane::Calls), b"\x04\x07\x04PING\0\0".to_vec()].concat(), Count::GuardCommand).await;
    for flag in [8, 16, 32, 64, 128] {
        is_refused(&[opening(Lane::Calls), vec![flag, 0]].concat(), Count::GuardReservedFlags).await;
    }
}

#[tokio::test]
async fn a_first_message_that_is_no_preface_is_refused() {
    let opened = [greeting(), ready("DEALER", b"")].concat();
    let mut no_lane = preface(Lane::Calls);
    no_lane[8] = 9;
    for message in [&b"hello"[..], b"sixteen bytes ..", &no_lane] {
        is_refused(&[&opened[..], &frame(message)].concat(), Count::GuardPreface).await;
    }
}

#[tokio::test]
async fn another_wire_version_is_answered_then_closed() {
    let (node, mut peer) = node_and_peer().await;
    let mut other = preface(Lane::Calls).to_vec();
    other[6..8].copy_from_slice(&[0x34, 0x12]);
    other.extend_from_slice(b"whatever that version says here");
    // Bytes unread at the close would reset the connection and lose the answer.
    let sent = [greeting(), ready("DEALER", b""), frame(&other), vec![0; 5_000]].concat();
    let mut stranger = Stranger::with(&node.address(), &sent).await;
    let heard = stranger.closed().await;
    assert_eq!(heard[heard.len() - 10..], frame(&answer()));
    assert_eq!(read_answer(&heard[heard.len() - 8..]), Some(mobula::limits::WIRE_VERSION));
    drop(stranger);
    node.counted(Count::GuardWireVersion, 1).await;
    assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
}

#[tokio::test]
async fn an_answer_means_nothing_to_the_side_that_was_dialled() {
    let (node, _peer) = node_and_peer().await;
    let mut theirs = answer();
    theirs[6] = 9;
    drop(Stranger::with(&node.address(), &[opening(Lane::Calls), frame(&theirs)].concat()).await);
    node.counted(Count::GuardEnded, 1).await;
    assert_eq!((node.count(Count::GuardWireVersion), node.count(Count::GuardPeerClosed)), (0, 1));
}

#[tokio::test]
async fn an_opening_cut_at_every_byte_leaves_nothing_behind() {
    let (node, mut peer) = node_and_peer().await;
    let opening = [opening(Lane::Calls), frame(b"the handshake's first")].concat();
    for cut in 0..opening.len() {
        drop(Stranger::with(&node.address(), &opening[..cut]).await);
    }
    node.counted(Count::GuardEnded, opening.len() as u64).await;
    node.left_with(1).await;
    assert_eq!(node.count(Count::GuardPeerClosed), opening.len() as u64);
    assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
}

#[tokio::test]
async fn a_half_closed_connection_is_closed() {
    use tokio::io::AsyncWriteExt;
    let (mut node, mut peer) = node_and_peer().await;
    let mut half = Stranger::with(&node.address(), &[opening(Lane::Calls), frame(ADMIT_ME)].concat()).await;
    node.counted(Count::GuardAdmitted, 2).await;
    half.tcp.shutdown().await.unwrap();
    half.closed().await;
    assert_eq!(soon(node.ended.recv()).await.unwrap().1, Ending::PeerClosed);
    node.left_with(1).await;
    assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
}

#[tokio::test]
async fn a_lane_without_its_router_is_closed_and_counted() {
    let (node, mut peer) = node_and_peer().await;
    std::fs::remove_file(node.path("Bulk")).unwrap();
    let mut stranger = Stranger::with(&node.address(), &opening(Lane::Bulk)).await;
    stranger.closed().await;
    node.counted(Count::GuardLocalClosed, 1).await;
    assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
}
