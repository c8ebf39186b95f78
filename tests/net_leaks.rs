//! A closed node leaves nothing: no task, thread, descriptor or file. A process of its own, for it counts.

#[path = "transports/node.rs"]
#[allow(dead_code)]
mod node;

use mobula::net::{Address, DialError, Lane, Medium};
use node::{Cluster, Node, soon};
use std::time::Duration;

#[derive(Debug)]
struct Footprint {
    tasks: usize,
    threads: usize,
    descriptors: usize,
}

impl Footprint {
    fn within(&self, other: &Footprint) -> bool {
        self.tasks <= other.tasks && self.threads <= other.threads && self.descriptors <= other.descriptors
    }
}

fn footprint() -> Footprint {
    let entries = |path: &str| std::fs::read_dir(path).unwrap().count();
    Footprint {
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        threads: entries("/proc/self/task"),
        descriptors: entries("/proc/self/fd"),
    }
}

/// Everything that a node does, and then the end. The sessions outlive their nodes.
async fn live_and_close(at: Address) -> Vec<mobula::net::Session> {
    let cluster = Cluster::new();
    let mut listener = Node::start(cluster.worker(Medium::Sockets, Some(at))).await;
    let mut dialer = Node::start(cluster.worker(Medium::Sockets, None)).await;
    let stranger = Node::start(Cluster::new().worker(Medium::Sockets, None)).await;
    let mut sessions = Vec::new();
    for lane in Lane::ALL {
        for _ in 0..3 {
            let dialled = dialer.dial(&listener, lane).await.unwrap();
            dialer.session().await;
            let accepted = listener.session().await;
            dialled.send(&[7; 100_000]).await.unwrap();
            assert_eq!(listener.batch().await.1.len(), 100_000);
            sessions.extend([dialled, accepted]);
        }
        let refused = stranger.dial(&listener, lane).await;
        assert!(matches!(refused, Err(DialError::WrongKey { .. })), "{refused:?}");
    }
    sessions[0].close(mobula::net::Closed::Superseded);
    assert_eq!(listener.closed().await.0, sessions[1].id());
    soon("the nodes to close", async {
        listener.net.close().await;
        dialer.net.close().await;
        stranger.net.close().await;
    })
    .await;
    sessions
}

/// Longer than the 10 s after which tokio ends an idle blocking thread.
const SETTLES: Duration = Duration::from_secs(30);

async fn settles_at(what: &str, before: &Footprint) {
    let settled = async {
        while !footprint().within(before) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(SETTLES, settled).await.is_err() {
        panic!("{what}: {before:?} became {:?}", footprint());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_node_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ipc: Address = format!("ipc://{}/node", folder.path().display()).parse().unwrap();
    let tcp: Address = "tcp://127.0.0.1:0".parse().unwrap();
    let at_first = footprint();
    for address in [&ipc, &tcp] {
        live_and_close(address.clone()).await;
    }
    let mut before = footprint();
    // Of descriptors nothing stays; tokio's idle blocking threads end by themselves.
    (before.tasks, before.descriptors) = (at_first.tasks, at_first.descriptors);
    let mut kept = Vec::new();
    for address in [&ipc, &tcp] {
        for _ in 0..3 {
            kept.extend(live_and_close(address.clone()).await);
            settles_at(&address.to_string(), &before).await;
        }
        assert!(!folder.path().join("node").exists());
    }
    assert!(kept.iter().all(|session| session.closed().is_some()));
}
