//! A node for tests: records its sessions and what arrives over them.

use mobula::id::NodeId;
use mobula::net::{
    Address, Closed, ClusterKey, Count, DialError, Identity, Inlet, Lane, Limits, Medium, Net, NetConfig, Receiver,
    Refused, Role, Session,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a receiver was told.
#[derive(Debug)]
pub(crate) enum Event {
    Session(Session),
    Batch(u64, Vec<u8>),
    Closed(u64, Closed),
}

struct Recorder {
    events: UnboundedSender<Event>,
    refuse: Arc<Mutex<Option<Refused>>>,
}

struct Inbox(u64, UnboundedSender<Event>);

impl Receiver for Recorder {
    fn session(&self, session: Session) -> Result<Box<dyn Inlet>, Refused> {
        if let Some(refused) = *self.refuse.lock() {
            return Err(refused);
        }
        let inbox = Inbox(session.id(), self.events.clone());
        self.events.send(Event::Session(session)).ok();
        Ok(Box::new(inbox))
    }
}

impl Inlet for Inbox {
    fn receive(&mut self, plaintext: &[u8]) {
        self.1.send(Event::Batch(self.0, plaintext.to_vec())).ok();
    }

    fn closed(&mut self, why: Closed) {
        self.1.send(Event::Closed(self.0, why)).ok();
    }
}

/// How long anything in a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails a test that waits for what does not come.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) struct Node {
    pub(crate) net: Net,
    pub(crate) id: NodeId,
    events: UnboundedReceiver<Event>,
    pub(crate) refuse: Arc<Mutex<Option<Refused>>>,
}

impl Node {
    pub(crate) async fn start(config: NetConfig) -> Node {
        let (sender, events) = unbounded_channel();
        let refuse = Arc::default();
        let id = config.identity.node_id();
        let receiver = Recorder { events: sender, refuse: Arc::clone(&refuse) };
        let net = soon("a node to start", Net::start(config, Arc::new(receiver))).await.unwrap();
        Node { net, id, events, refuse }
    }

    pub(crate) fn at(&self) -> &Address {
        &self.net.addresses()[0]
    }

    pub(crate) async fn dial(&self, to: &Node, lane: Lane) -> Result<Session, DialError> {
        self.dial_at(to.id, to.at(), lane).await
    }

    pub(crate) async fn dial_at(&self, peer: NodeId, to: &Address, lane: Lane) -> Result<Session, DialError> {
        soon("a dial", self.net.dial(peer, to, lane)).await
    }

    pub(crate) async fn next(&mut self) -> Event {
        soon("an event", self.events.recv()).await.expect("the receiver lives as long as its node")
    }

    /// The next event, if it is there already.
    pub(crate) fn now(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    pub(crate) async fn session(&mut self) -> Session {
        match self.next().await {
            Event::Session(session) => session,
            other => panic!("expected a session, not {other:?}"),
        }
    }

    pub(crate) async fn batch(&mut self) -> (u64, Vec<u8>) {
        match self.next().await {
            Event::Batch(session, bytes) => (session, bytes),
            other => panic!("expected a batch, not {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> (u64, Closed) {
        match self.next().await {
            Event::Closed(session, why) => (session, why),
            other => panic!("expected a close, not {other:?}"),
        }
    }

    /// Waits until this was counted so often.
    pub(crate) async fn counted(&self, count: Count, times: u64) {
        let reached = async {
            while self.net.counters().get(count) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(count.name(), reached).await;
        assert_eq!(self.net.counters().get(count), times, "{}", count.name());
    }
}

/// A cluster's keys, and configurations of its nodes.
pub(crate) struct Cluster {
    pub(crate) key: ClusterKey,
    pub(crate) head: Identity,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        let (key, head) = ClusterKey::generate().unwrap();
        Cluster { key, head }
    }

    pub(crate) fn worker(&self, medium: Medium, listen: Option<Address>) -> NetConfig {
        NetConfig {
            identity: Identity::generate().unwrap(),
            cluster: self.key.clone(),
            role: Role::Worker,
            listen: listen.into_iter().collect(),
            limits: Limits::default(),
            medium,
        }
    }

    pub(crate) fn head(&self, medium: Medium, listen: Option<Address>) -> NetConfig {
        NetConfig { identity: self.head.clone(), role: Role::Head, ..self.worker(medium, listen) }
    }
}

/// Wants no session.
pub(crate) struct Deaf;

impl Receiver for Deaf {
    fn session(&self, _: Session) -> Result<Box<dyn Inlet>, Refused> {
        Err(Refused::Closing)
    }
}
