//! What legitimate peers get.

use crate::support::*;
use mobula::net::counters::{Count, Counters};
use mobula::net::guard::{Door, Ending, Guard, Limits};
use mobula::net::preface::Lane;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn messages_of_every_size_come_back_through_both_guards() {
    let node = Node::start(Limits::default()).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    for length in [0, 1, 255, 256, 1_024, 1_025, 65_535, 65_536, 300_000, 1 << 20] {
        let body = random_bytes(length as u64 + 1, length);
        assert_eq!(peer.ask(&body).await, body, "{length} bytes");
    }
    assert_eq!(node.count(Count::GuardAdmitted), 1);
    assert_eq!(node.guard().connections(), 1);
}

#[tokio::test]
async fn each_lane_reaches_its_own_router() {
    let node = Node::start(Limits::default()).await;
    for lane in Lane::ALL {
        let mut peer = Peer::dial(&node, &format!("to {lane:?}"), lane).await;
        assert_eq!(peer.ask(b"hello").await, b"hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_keep_their_order_in_both_directions_at_full_speed() {
    let node = Node::start(Limits::default()).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    const MESSAGES: u32 = 3_000;
    let body = |number: u32| {
        let mut body = vec![number as u8; 4 + (number as usize * 37) % 3_000];
        body[..4].copy_from_slice(&number.to_le_bytes());
        body
    };
    for number in 0..MESSAGES {
        peer.tell(&body(number)).await;
    }
    for number in 0..MESSAGES {
        assert_eq!(peer.hear().await, body(number));
    }
}

#[tokio::test]
async fn frames_that_tcp_cuts_anywhere_arrive_whole() {
    let node = Node::start(Limits::default()).await;
    let mut raw = Stranger::with(&node.address(), &[opening(Lane::Calls), frame(ADMIT_ME)].concat()).await;
    node.counted(Count::GuardAdmitted, 1).await;
    let lengths = random_bytes(77, 600);
    let sent: Vec<u8> = lengths.chunks(2).flat_map(|two| frame(&lengths.repeat(3)[..4 * two[0] as usize])).collect();
    let (mut reading, mut writing) = raw.tcp.split();
    let write = async {
        let mut rest = &sent[..];
        for length in lengths.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(1 + *length as usize * (*length as usize % 5)));
            writing.write_all(piece).await.unwrap();
            tokio::task::yield_now().await; // the relay reads it as a piece of its own
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    };
    let mut heard = vec![0; greeting().len() + ready("ROUTER", b"").len() + frame(ADMIT_ME).len() + sent.len()];
    let (_, read) = soon(async { tokio::join!(write, reading.read_exact(&mut heard)) }).await;
    read.unwrap();
    assert!(heard.ends_with(&[frame(ADMIT_ME), sent].concat()));
}

#[tokio::test]
async fn a_lane_is_relayed_on_its_own_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let door = |lane| Door { socket: folder.path().join(format!("{lane:?}")), runtime: other.handle().clone() };
    let doors = Lane::ALL.map(door);
    let router = tokio::net::UnixListener::bind(&doors[1].socket).unwrap();
    let guard = Guard::listen("127.0.0.1:0".parse().unwrap(), doors, Limits::default(), Default::default(), |_, _| {});
    let guard = guard.unwrap();
    let mut stranger = Stranger::with(&guard.address().to_string(), &opening(Lane::Calls)).await;
    let (mut local, _) = soon(router.accept()).await.unwrap();
    local.write_all(&[greeting(), ready("ROUTER", b""), frame(b"from behind")].concat()).await.unwrap();
    stranger.send(&frame(b"from afar")).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"from afar") {
        assert_ne!(soon(local.read_buf(&mut seen)).await.unwrap(), 0, "{}", seen.escape_ascii());
    }
    assert_eq!(other.metrics().num_alive_tasks(), 1, "the relay runs where the lane's ROUTER does");
    soon(guard.shutdown()).await;
    assert!(stranger.closed().await.ends_with(b"from behind"));
    tokio::task::spawn_blocking(move || drop(other)).await.unwrap();
}

#[tokio::test]
async fn what_is_too_long_for_a_handshake_waits_for_the_admission() {
    let node = Node::start(Limits { handshake_time: Duration::from_millis(300), ..Limits::default() }).await;
    let long = random_bytes(5, 200_000);
    let mut never_admitted = Peer::dial_unadmitted(&node, "never admitted", Lane::Calls).await;
    never_admitted.tell(&long).await;
    node.counted(Count::GuardTimeout, 1).await;
    assert_eq!(soon(never_admitted.guard.ended()).await, Ending::PeerClosed);

    let mut eager = Peer::dial_unadmitted(&node, "eager", Lane::Calls).await;
    eager.tell(ADMIT_ME).await;
    eager.tell(&long).await;
    assert_eq!(eager.hear().await, ADMIT_ME);
    eager.guard.admit();
    assert_eq!(eager.hear().await, long);
}

#[tokio::test]
async fn an_admitted_connection_outlives_the_handshakes_deadline() {
    let limits = Limits { handshake_time: Duration::from_millis(150), ..Limits::default() };
    let node = Node::start(limits).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Control).await;
    let mut silent = Stranger::with(&node.address(), &opening(Lane::Control)).await;
    silent.closed().await;
    node.counted(Count::GuardTimeout, 1).await;
    assert_eq!(peer.ask(b"still there").await, b"still there");
}

#[tokio::test]
async fn closing_by_identity_ends_both_sides_and_is_told_once() {
    let mut node = Node::start(Limits::default()).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    let mut other = Peer::dial(&node, "other", Lane::Calls).await;
    peer.tell(CLOSE_ME).await;
    assert_eq!(soon(peer.guard.ended()).await, Ending::PeerClosed);
    let (identity, ending) = soon(node.ended.recv()).await.unwrap();
    assert_eq!(ending, Ending::Closed);
    node.guard().close(&identity);
    node.guard().admit(&identity);
    assert_eq!(other.ask(b"here").await, b"here");
    assert_eq!((node.count(Count::GuardClosed), node.count(Count::GuardEnded)), (1, 1));
    assert!(node.ended.try_recv().is_err());
}

#[tokio::test]
async fn a_dealer_that_goes_ends_the_connection_at_both_ends() {
    let mut node = Node::start(Limits::default()).await;
    let Peer { guard, dealer } = Peer::dial(&node, "peer", Lane::Calls).await;
    drop(dealer);
    assert_eq!(soon(guard.ended()).await, Ending::LocalClosed);
    assert_eq!(soon(node.ended.recv()).await.unwrap().1, Ending::PeerClosed);
    node.left_with(0).await;
}

#[tokio::test]
async fn closing_the_dialling_guard_ends_the_connection_and_the_dealer_is_not_needed() {
    let mut node = Node::start(Limits::default()).await;
    let peer = Peer::dial(&node, "peer", Lane::Calls).await;
    assert!(!node.path("peer").exists(), "the private socket is gone once it was used");
    peer.guard.close();
    assert_eq!(soon(peer.guard.ended()).await, Ending::Closed);
    assert_eq!(soon(node.ended.recv()).await.unwrap().1, Ending::PeerClosed);
}

#[tokio::test]
async fn shutdown_ends_every_connection_and_frees_the_port() {
    let node = Node::start(Limits::default()).await;
    let peers = [Peer::dial(&node, "one", Lane::Calls).await, Peer::dial(&node, "two", Lane::Bulk).await];
    let mut stranger = Stranger::with(&node.address(), &greeting()).await;
    let address = node.guard().address();
    node.counted(Count::GuardAccepted, 3).await;
    soon(node.guard().shutdown()).await;
    assert_eq!(node.guard().connections(), 0);
    stranger.closed().await;
    for peer in &peers {
        assert_eq!(soon(peer.guard.ended()).await, Ending::PeerClosed);
    }
    assert_eq!((node.count(Count::GuardAccepted), node.count(Count::GuardEnded)), (3, 3));
    std::net::TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn a_router_that_is_behind_with_accepting_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Handle::current();
    let doors =
        Lane::ALL.map(|lane| Door { socket: folder.path().join(format!("{lane:?}")), runtime: runtime.clone() });
    let router = std::os::unix::net::UnixListener::bind(&doors[0].socket).unwrap();
    router.set_nonblocking(true).unwrap();
    let mut waiting = Vec::new();
    while let Ok(first) = tokio::net::UnixStream::connect(&doors[0].socket).await {
        waiting.push(first);
    }
    let counters = Arc::new(Counters::default());
    let at = "127.0.0.1:0".parse().unwrap();
    let guard = Guard::listen(at, doors, Limits::default(), counters.clone(), |_, _| {}).unwrap();
    let _stranger = Stranger::with(&guard.address().to_string(), &opening(Lane::Control)).await;
    until("the connection", || counters.get(Count::GuardAccepted) == 1).await;
    let router = tokio::net::UnixListener::from_std(router).unwrap();
    for _ in 0..waiting.len() {
        soon(router.accept()).await.unwrap();
    }
    let (mut local, _) = soon(router.accept()).await.unwrap();
    assert_eq!(soon(local.read_u8()).await.unwrap(), 0xff, "the greeting");
    assert_eq!(counters.get(Count::GuardEnded), 0);
}
