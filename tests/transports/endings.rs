//! Nodes that end without being closed.

use crate::node::{Cluster, Node, soon};
use crate::{Harness, Ipc, Tcp};
use mobula::net::{Closed, DialError, Inlet, Lane, Net, Receiver, Refused, Session};
use std::sync::Arc;

struct Broken;

impl Receiver for Broken {
    fn session(&self, _: Session) -> Result<Box<dyn Inlet>, Refused> {
        Ok(Box::new(Broken))
    }
}

impl Inlet for Broken {
    fn receive(&mut self, _: &[u8]) {
        panic!("on purpose: an inlet that panics")
    }

    fn closed(&mut self, _: Closed) {
        panic!("on purpose: and once more")
    }
}

async fn an_inlet_that_panics_ends_its_session_alone(h: &impl Harness) {
    let cluster = Cluster::new();
    let config = cluster.worker(h.medium(), Some(h.address()));
    let id = config.identity.node_id();
    let broken = soon("a node to start", Net::start(config, Arc::new(Broken))).await.unwrap();
    let mut dialers = Vec::new();
    for _ in 0..2 {
        let mut dialer = Node::start(cluster.worker(h.medium(), None)).await;
        let session = dialer.dial_at(id, &broken.addresses()[0], Lane::Calls).await.unwrap();
        dialer.session().await;
        dialers.push((dialer, session));
    }
    for at in 0..2 {
        let (dialer, session) = &mut dialers[at];
        session.send(b"boo").await.unwrap();
        assert_eq!(dialer.closed().await, (session.id(), Closed::Peer));
        if let Some((other, _)) = dialers.get_mut(at + 1) {
            assert!(other.now().is_none(), "the other session goes on");
        }
    }
    // And whoever comes is let in.
    let mut next = Node::start(cluster.worker(h.medium(), None)).await;
    next.dial_at(id, &broken.addresses()[0], Lane::Calls).await.unwrap();
    next.session().await;
}

async fn a_dropped_node_ends_its_sessions_and_listens_no_more(h: &impl Harness) {
    let cluster = Cluster::new();
    let listener = Node::start(cluster.worker(h.medium(), Some(h.address()))).await;
    let mut dialer = Node::start(cluster.worker(h.medium(), None)).await;
    let (id, at) = (listener.id, listener.at().clone());
    let mut kept = Vec::new();
    for lane in Lane::ALL {
        kept.push(dialer.dial(&listener, lane).await.unwrap());
        dialer.session().await;
    }
    drop(listener);
    for _ in Lane::ALL {
        assert_eq!(dialer.closed().await.1, Closed::Peer);
    }
    let gone =
        async { while !matches!(dialer.dial_at(id, &at, Lane::Calls).await, Err(DialError::Unreachable { .. })) {} };
    soon("the address to be free", gone).await;
    assert!(kept.iter().all(|session| session.closed() == Some(Closed::Peer)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inlet_that_panics_ends_its_session_alone_on_ipc_and_tcp() {
    an_inlet_that_panics_ends_its_session_alone(&Ipc::new()).await;
    an_inlet_that_panics_ends_its_session_alone(&Tcp::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_ends_its_sessions_and_listens_no_more_on_ipc_and_tcp() {
    a_dropped_node_ends_its_sessions_and_listens_no_more(&Ipc::new()).await;
    a_dropped_node_ends_its_sessions_and_listens_no_more(&Tcp::new()).await;
}
