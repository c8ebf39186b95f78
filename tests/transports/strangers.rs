//! Who connects to a lane's Unix socket without being a node: same user, other software.

use crate::node::{Cluster, Node, soon};
use crate::{Harness, Ipc};
use bytes::Bytes;
use mobula::net::{Count, Lane};
use std::time::Duration;
use zeromq::util::PeerIdentity;
use zeromq::{DealerSocket, Socket, SocketEvent, SocketOptions, SocketSend, ZmqMessage};

const PREFACE: &[u8] = b"MOBULA\x01\x00\x01\0\0\0\0\0\0\0";

/// Connects, says `words`, and waits until it is disconnected.
async fn say(to: &Node, options: SocketOptions, words: Vec<ZmqMessage>) {
    let mut socket = DealerSocket::with_options(options);
    let mut events = socket.monitor();
    socket.connect(&format!("ipc://{}", to.at().socket(Lane::Calls).unwrap().display())).await.unwrap();
    for word in words {
        socket.send(word).await.ok();
    }
    let (_, mut receive) = socket.split();
    let gone = async {
        loop {
            tokio::select! {
                event = futures::StreamExt::next(&mut events) => match event {
                    Some(SocketEvent::Disconnected(_)) => break,
                    other => drop(other),
                },
                _ = zeromq::SocketRecv::recv(&mut receive) => {}
            }
        }
    };
    soon("the stranger to be disconnected", gone).await;
}

async fn listener(change: impl FnOnce(&mut mobula::net::NetConfig)) -> (Ipc, Cluster, Node) {
    let (ipc, cluster) = (Ipc::new(), Cluster::new());
    let mut config = cluster.worker(ipc.medium(), Some(ipc.address()));
    change(&mut config);
    let listener = Node::start(config).await;
    (ipc, cluster, listener)
}

fn part(bytes: &'static [u8]) -> ZmqMessage {
    ZmqMessage::from(Bytes::from_static(bytes))
}

async fn a_node_is_still_welcome(ipc: &Ipc, cluster: &Cluster, listener: &mut Node) {
    let dialer = Node::start(cluster.worker(ipc.medium(), None)).await;
    dialer.dial(listener, Lane::Calls).await.unwrap().send(b"hello").await.unwrap();
    listener.session().await;
    assert_eq!(listener.batch().await.1, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_preface_is_refused() {
    let (ipc, cluster, mut listener) = listener(|_| ()).await;
    let words: [&[u8]; 6] =
        [b"", b"hello", b"MOBULA", &[0; 900], b"MOBULA\x01\x00\x03\0\0\0\0\0\0\0", b"MOBULA\x01\x00\x00\0\0\0\0\0\0\0"];
    for word in words {
        say(&listener, SocketOptions::default(), vec![part(word)]).await;
    }
    listener.counted(Count::RefusedPreface, words.len() as u64).await;
    a_node_is_still_welcome(&ipc, &cluster, &mut listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_handshakes_are_refused() {
    let (ipc, cluster, mut listener) = listener(|_| ()).await;
    let words: [&[u8]; 4] = [b"", b"\x01", b"\x01\x00", &[9; 900]];
    for word in words {
        say(&listener, SocketOptions::default(), vec![part(PREFACE), part(word)]).await;
    }
    listener.counted(Count::RefusedKey, words.len() as u64).await;
    a_node_is_still_welcome(&ipc, &cluster, &mut listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_chose_its_identity_is_refused() {
    let (ipc, cluster, mut listener) = listener(|_| ()).await;
    for identity in [&b"me"[..], &[7; 16], &[1; 255]] {
        let mut options = SocketOptions::default();
        options.peer_identity(PeerIdentity::try_from(identity).unwrap());
        say(&listener, options, vec![part(PREFACE)]).await;
    }
    assert!(listener.net.counters().get(Count::RefusedIdentity) >= 3);
    a_node_is_still_welcome(&ipc, &cluster, &mut listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_several_parts_is_refused() {
    let (ipc, cluster, mut listener) = listener(|_| ()).await;
    let mut parts = part(PREFACE);
    parts.push_back(Bytes::from_static(b"more"));
    say(&listener, SocketOptions::default(), vec![parts]).await;
    listener.counted(Count::RefusedMultipart, 1).await;
    a_node_is_still_welcome(&ipc, &cluster, &mut listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_nothing_or_half_is_timed_out() {
    let (ipc, cluster, mut listener) =
        listener(|config| config.limits.handshake_time = Duration::from_millis(200)).await;
    say(&listener, SocketOptions::default(), vec![]).await;
    say(&listener, SocketOptions::default(), vec![part(PREFACE)]).await;
    listener.counted(Count::HandshakeTimeout, 2).await;
    drop((ipc, cluster));
    assert!(listener.now().is_none());
}
