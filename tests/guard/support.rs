//! A node that accepts through a guard and echoes, and peers that dial it through theirs.

use mobula::net::counters::{Count, Counters};
use mobula::net::guard::{DialGuard, Door, Ending, Guard, Limits, PeerIdentity};
use mobula::net::preface::{Lane, preface};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqMessage};

#[path = "../common/stranger.rs"]
mod stranger;
pub(crate) use stranger::*;

/// A peer that sends it stands for one whose handshake is done.
pub(crate) const ADMIT_ME: &[u8] = b"admit me";
/// A peer that sends it is closed by the node.
pub(crate) const CLOSE_ME: &[u8] = b"close me";

pub(crate) struct Node {
    pub(crate) guard: Arc<OnceLock<Guard>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ended: mpsc::UnboundedReceiver<(PeerIdentity, Ending)>,
    routers: Vec<JoinHandle<()>>,
    folder: TempDir,
}

impl Node {
    pub(crate) async fn start(limits: Limits) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let guard = Arc::new(OnceLock::new());
        let counters = Arc::new(Counters::default());
        let mut routers = Vec::new();
        let doors = Lane::ALL.map(|lane| Door {
            socket: folder.path().join(format!("{lane:?}")),
            runtime: tokio::runtime::Handle::current(),
        });
        for (lane, door) in Lane::ALL.into_iter().zip(&doors) {
            let mut router = RouterSocket::with_options(options());
            router.bind_listener(zeromq_listener(&door.socket)).await.unwrap();
            routers.push(tokio::spawn(echo(router, lane, guard.clone())));
        }
        let (tell, ended) = mpsc::unbounded_channel();
        let told = move |identity, ending| {
            let _ = tell.send((identity, ending)); // the test may be over
        };
        let listening = Guard::listen("127.0.0.1:0".parse().unwrap(), doors, limits, counters.clone(), told).unwrap();
        guard.set(listening).unwrap_or_else(|_| panic!("one guard a node"));
        Node { guard, counters, ended, routers, folder }
    }

    pub(crate) fn guard(&self) -> &Guard {
        self.guard.get().unwrap()
    }

    pub(crate) fn address(&self) -> String {
        self.guard().address().to_string()
    }

    /// Where peers of the test put their sockets.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn count(&self, count: Count) -> u64 {
        self.counters.get(count)
    }

    /// Waits until a count is at least `least`.
    pub(crate) async fn counted(&self, count: Count, least: u64) {
        until(&format!("{} of {least}", count.name()), || self.count(count) >= least).await;
    }

    /// Waits until only `left` connections are there.
    pub(crate) async fn left_with(&self, left: usize) {
        until(&format!("{left} connections"), || self.guard().connections() == left).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.routers.iter().for_each(JoinHandle::abort);
    }
}

/// zeromq keeps the first read buffer of every connection that a ROUTER ever had (its identity is a slice of it, and
/// stays in a queue that only other sockets empty), so that buffer begins small.
fn options() -> SocketOptions {
    let mut options = SocketOptions::default();
    options.read_buffer(256, 1 << 20, 4);
    options
}

fn zeromq_listener(path: &std::path::Path) -> zeromq::Listener {
    std::os::unix::net::UnixListener::bind(path).unwrap().into()
}

/// Polls a condition that other tasks bring about; the pause only keeps the core free for them.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

async fn echo(mut router: RouterSocket, lane: Lane, guard: Arc<OnceLock<Guard>>) {
    let mut greeted = std::collections::HashSet::new();
    while let Ok(message) = router.recv().await {
        let parts: Vec<_> = message.into_vecdeque().into();
        let [identity, body] = &parts[..] else { panic!("a message has one part, not {}", parts.len() - 1) };
        let peer = PeerIdentity(identity[..].try_into().expect("an identity of the guard's"));
        if greeted.insert(peer) {
            assert_eq!(body[..], preface(lane), "the first message is the lane's preface");
            continue;
        }
        match (&body[..], guard.get()) {
            (ADMIT_ME, Some(guard)) => guard.admit(&peer),
            (CLOSE_ME, Some(guard)) => {
                guard.close(&peer);
                continue;
            }
            _ => {}
        }
        let answer = ZmqMessage::try_from(parts).unwrap();
        let _ = router.send(answer).await; // the peer may be gone
    }
}

/// A well-behaved peer, through a guard of its own.
pub(crate) struct Peer {
    pub(crate) guard: DialGuard,
    pub(crate) dealer: DealerSocket,
}

impl Peer {
    pub(crate) async fn dial(node: &Node, name: &str, lane: Lane) -> Peer {
        let mut peer = Peer::dial_unadmitted(node, name, lane).await;
        assert_eq!(peer.ask(ADMIT_ME).await, ADMIT_ME);
        peer.guard.admit();
        peer
    }

    pub(crate) async fn dial_unadmitted(node: &Node, name: &str, lane: Lane) -> Peer {
        let limits = Limits::default();
        let counters = Arc::new(Counters::default());
        let guard = soon(DialGuard::dial(&node.address(), node.path(name), &limits, counters)).await.unwrap();
        let mut dealer = DealerSocket::new();
        let socket = format!("ipc://{}", guard.socket().display());
        soon(dealer.connect(&socket)).await.unwrap();
        let mut peer = Peer { guard, dealer };
        peer.tell(&preface(lane)).await;
        peer
    }

    pub(crate) async fn tell(&mut self, body: &[u8]) {
        soon(self.dealer.send(ZmqMessage::from(body.to_vec()))).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Vec<u8> {
        let message = soon(self.dealer.recv()).await.unwrap();
        assert_eq!(message.len(), 1);
        message.get(0).unwrap().to_vec()
    }

    pub(crate) async fn ask(&mut self, body: &[u8]) -> Vec<u8> {
        self.tell(body).await;
        self.hear().await
    }
}
