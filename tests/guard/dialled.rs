//! Whoever answers a dial: nothing it sends harms the DEALER, and the error says what it was.

use crate::support::*;
use mobula::net::counters::{Count, Counters};
use mobula::net::guard::{DialError, DialGuard, Ending, Limits, Violation};
use mobula::net::preface::{Lane, answer, preface};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// A port of the test's own, and where the dialler's socket goes.
struct Remote {
    listener: TcpListener,
    folder: TempDir,
    counters: Arc<Counters>,
}

impl Remote {
    async fn listen() -> Remote {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Remote { listener, folder: tempfile::tempdir().unwrap(), counters: Arc::default() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("dealer")
    }

    /// Dials this port, where `says` is sent to whoever connects.
    async fn dialled(&self, says: &[u8]) -> (Result<DialGuard, DialError>, Stranger) {
        let limits = Limits { handshake_time: Duration::from_millis(400), ..Limits::default() };
        let address = self.listener.local_addr().unwrap().to_string();
        let answered = async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let mut stranger = Stranger { tcp };
            stranger.send(says).await;
            stranger
        };
        let dialling = DialGuard::dial(&address, self.socket(), &limits, self.counters.clone());
        soon(async { tokio::join!(dialling, answered) }).await
    }

    /// A DEALER that got through the opening and has sent its preface, and the other end of it.
    async fn opened(&self) -> (DialGuard, DealerSocket, Stranger) {
        let (guard, stranger) = self.dialled(&[greeting(), ready("ROUTER", b"")].concat()).await;
        let guard = guard.unwrap();
        let mut dealer = DealerSocket::new();
        soon(dealer.connect(&format!("ipc://{}", self.socket().display()))).await.unwrap();
        soon(dealer.send(ZmqMessage::from(preface(Lane::Calls).to_vec()))).await.unwrap();
        (guard, dealer, stranger)
    }
}

#[tokio::test]
async fn a_dealer_gets_what_a_remote_says_within_bounds() {
    let remote = Remote::listen().await;
    let (guard, mut dealer, mut stranger) = remote.opened().await;
    stranger.send(&[frame(b"second"), frame(&[3; 100_000])].concat()).await;
    assert_eq!(&soon(dealer.recv()).await.unwrap().get(0).unwrap()[..], b"second");
    guard.admit();
    guard.admit();
    assert_eq!(soon(dealer.recv()).await.unwrap().get(0).unwrap().len(), 100_000);
    assert_eq!(remote.counters.get(Count::GuardAdmitted), 1);
    drop(guard);
    let heard = stranger.closed().await;
    assert!(heard.ends_with(&frame(&preface(Lane::Calls))));
    assert!(heard.starts_with(&[greeting(), ready("DEALER", b"")].concat()));
}

#[tokio::test]
async fn a_hostile_remote_is_cut_off_before_zeromq_sees_it() {
    let bound = Limits::default().frame_after_handshake;
    for (sent, violation) in [
        ([&[2][..], &(1_u64 << 46).to_be_bytes()].concat(), Violation::FrameTooLong { declared: 1 << 46, bound }),
        ([1, 1, b'x'].repeat(1_000), Violation::Multipart),
        (ready("ROUTER", b""), Violation::Command),
        (vec![128, 0], Violation::ReservedFlags),
    ] {
        let remote = Remote::listen().await;
        let (guard, _dealer, mut stranger) = remote.opened().await;
        stranger.send(&sent).await;
        assert_eq!(soon(guard.ended()).await, Ending::Refused(violation));
        stranger.closed().await;
        assert!(!remote.socket().exists());
        assert_eq!(remote.counters.get(Count::GuardEnded), 1);
    }
}

#[tokio::test]
async fn a_remote_that_is_no_node_is_named_by_the_error() {
    let greeting_then = |more: Vec<u8>| [greeting(), more].concat();
    for (says, violation) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Violation::Greeting),
        (random_bytes(11, 4_000), Violation::Greeting),
        (greeting_then(ready("DEALER", b"")), Violation::Ready),
        (greeting_then(ready("ROUTER", b"\x08Identity\0\0\0\x02me")), Violation::Identity),
        (greeting_then([&[6][..], &(1_u64 << 46).to_be_bytes()].concat()), Violation::Ready),
    ] {
        let remote = Remote::listen().await;
        let (guard, mut stranger) = remote.dialled(&says).await;
        match guard {
            Err(DialError::Refused { violation: found, .. }) => assert_eq!(found, violation),
            other => panic!("{other:?}"),
        }
        stranger.closed().await;
        assert!(!remote.socket().exists());
    }
}

#[tokio::test]
async fn a_remote_that_is_silent_or_closes_ends_the_dial() {
    let remote = Remote::listen().await;
    let (guard, _stranger) = remote.dialled(&greeting()).await;
    assert!(matches!(guard, Err(DialError::Silent { .. })), "{guard:?}");

    let limits = Limits::default();
    let address = remote.listener.local_addr().unwrap().to_string();
    let dialling = DialGuard::dial(&address, remote.socket(), &limits, Arc::default());
    let closing = async { drop(remote.listener.accept().await.unwrap()) };
    let (guard, ()) = soon(async { tokio::join!(dialling, closing) }).await;
    assert!(matches!(guard, Err(DialError::Closed { .. } | DialError::Unreachable { .. })), "{guard:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let remote = Remote::listen().await;
    let address = remote.listener.local_addr().unwrap().to_string();
    let socket = remote.socket();
    drop(remote.listener);
    let guard = soon(DialGuard::dial(&address, socket, &Limits::default(), Arc::default())).await;
    let error = guard.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_socket_that_cannot_be_bound_is_named_by_the_error() {
    let node = Node::start(Limits::default()).await;
    let socket = node.path("no such folder").join("socket");
    match soon(DialGuard::dial(&node.address(), socket.clone(), &Limits::default(), Arc::default())).await {
        Err(DialError::Socket { socket: named, .. }) => assert_eq!(named, socket),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_wire_version_is_what_the_connection_ends_with() {
    let remote = Remote::listen().await;
    let (guard, mut dealer, mut stranger) = remote.opened().await;
    let mut theirs = answer();
    theirs[6] = 77;
    let sent = frame(&theirs);
    stranger.send(&sent[..5]).await;
    stranger.send(&sent[5..]).await;
    assert_eq!(soon(dealer.recv()).await.unwrap().get(0).unwrap()[..], theirs);
    drop(stranger);
    assert_eq!(soon(guard.ended()).await, Ending::WireVersion { theirs: 77 });
    assert_eq!(remote.counters.get(Count::GuardWireVersion), 1);
}

#[tokio::test]
async fn who_only_looks_whether_the_socket_is_there_takes_no_dealers_place() {
    let remote = Remote::listen().await;
    let (guard, mut stranger) = remote.dialled(&[greeting(), ready("ROUTER", b"")].concat()).await;
    let guard = guard.unwrap();
    drop(tokio::net::UnixStream::connect(remote.socket()).await.unwrap());
    let mut dealer = DealerSocket::new();
    soon(dealer.connect(&format!("ipc://{}", guard.socket().display()))).await.unwrap();
    drop(tokio::net::UnixStream::connect(remote.socket()).await.unwrap());
    soon(dealer.send(ZmqMessage::from(preface(Lane::Calls).to_vec()))).await.unwrap();
    stranger.send(&frame(b"second")).await;
    assert_eq!(&soon(dealer.recv()).await.unwrap().get(0).unwrap()[..], b"second");
    assert!(!remote.socket().exists(), "gone with the one that spoke");
}

#[tokio::test]
async fn a_dealer_that_never_comes_or_a_handshake_that_never_ends_times_out() {
    let remote = Remote::listen().await;
    let (guard, mut stranger) = remote.dialled(&[greeting(), ready("ROUTER", b"")].concat()).await;
    assert_eq!(soon(guard.unwrap().ended()).await, Ending::Timeout);
    assert!(!remote.socket().exists());
    stranger.closed().await;

    let (guard, _dealer, mut stranger) = remote.opened().await;
    assert_eq!(soon(guard.ended()).await, Ending::Timeout);
    stranger.closed().await;
    assert_eq!(remote.counters.get(Count::GuardTimeout), 2);
}

#[tokio::test]
async fn a_dial_that_is_given_up_leaves_nothing() {
    let remote = Remote::listen().await;
    let address = remote.listener.local_addr().unwrap().to_string();
    let limits = Limits::default();
    let accepted: TcpStream = tokio::select! {
        guard = DialGuard::dial(&address, remote.socket(), &limits, Arc::default()) => panic!("{guard:?}"),
        accepted = remote.listener.accept() => accepted.unwrap().0,
    };
    let heard = Stranger { tcp: accepted }.closed().await;
    assert!(heard.len() <= 128);
    assert!(!remote.socket().exists());
}
