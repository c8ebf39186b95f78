//! The door to the head: sessions of the control lane, at both ends, and the door within the head's own process.

use parking_lot::Mutex;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

use super::runtime::Node;
use crate::directory::client::Say;
use crate::directory::message::{FromHead, ToHead};
use crate::directory::outbox::{Outbox, OutboxError};
use crate::directory::piece::Joiner;
use crate::directory::serve::{Head, Word};
use crate::directory::{Door, Keeps};
use crate::id::NodeId;
use crate::limits::{REDIAL_FIRST, REDIAL_LAST};
use crate::net::{Address, Closed, DialError, Inlet, Lane, Net, Receiver, Refused, Session};

/// Decides about the sessions of one node. One of the three upward traits is net's [`Receiver`].
pub(crate) struct Sessions {
    node: OnceLock<Arc<Node>>,
    /// The head, if it serves in this process.
    head: Option<Arc<Head>>,
    /// Told when the session with the head is over.
    pub(crate) redial: Arc<Notify>,
}

impl Sessions {
    pub(crate) fn new(head: Option<Arc<Head>>) -> Arc<Self> {
        Arc::new(Sessions { node: OnceLock::new(), head, redial: Arc::default() })
    }

    pub(crate) fn set_node(&self, node: Arc<Node>) {
        let _ = self.node.set(node);
    }
}

impl Receiver for Sessions {
    fn session(&self, session: Session) -> Result<Box<dyn Inlet>, Refused> {
        let node = self.node.get().ok_or(Refused::Closing)?;
        match (session.lane(), session.dialled()) {
            (Lane::Calls, _) => node.calls_session(session),
            (Lane::Control, true) => Ok(Box::new(AtNode::open(node.clone(), session, self.redial.clone()))),
            (Lane::Control, false) => {
                let head = self.head.clone().ok_or(Refused::Unknown)?;
                Ok(Box::new(AtHead::open(head, session)))
            }
            (Lane::Bulk, _) => node.bulk_session(session),
        }
    }
}

/// The messages that wait for one session, and the task that sends them.
fn outbox<T: Serialize + Send + 'static>(session: &Session) -> Arc<Outbox<T>> {
    let outbox = Arc::<Outbox<T>>::default();
    let (pumped, session) = (outbox.clone(), session.clone());
    // Sessions of the control lane are made on its own runtime.
    tokio::spawn(async move {
        let end = pumped.pump(|piece| async { session.send(&{ piece }).await }).await;
        if let OutboxError::Cut(error) = &end {
            tracing::error!(%error, "a control message cannot be sent");
        }
        pumped.close();
        session.close(Closed::Here);
    });
    outbox
}

/// A node's end of its session with the head.
struct AtNode {
    node: Arc<Node>,
    session: Session,
    outbox: Arc<Outbox<ToHead>>,
    pieces: Joiner,
    redial: Arc<Notify>,
}

impl AtNode {
    fn open(node: Arc<Node>, session: Session, redial: Arc<Notify>) -> Self {
        let outbox = outbox::<ToHead>(&session);
        let (queue, full, hang_up) = (outbox.clone(), session.clone(), session.clone());
        let say: Say = Arc::new(move |message| {
            if queue.push(message).is_err() {
                full.close(Closed::Here);
            }
        });
        node.attached(say, Arc::new(move || hang_up.close(Closed::Here)));
        AtNode { node, session, outbox, pieces: Joiner::default(), redial }
    }
}

impl Inlet for AtNode {
    fn receive(&mut self, plaintext: &[u8]) {
        match self.pieces.push::<FromHead>(plaintext) {
            Ok(None) => {}
            Ok(Some(message)) => self.node.heard(message),
            Err(error) => {
                tracing::warn!(%error, "the head's message is refused");
                self.session.close(Closed::Protocol);
            }
        }
    }

    fn closed(&mut self, why: Closed) {
        tracing::debug!(%why, "the session with the head is over");
        self.outbox.close();
        self.node.detached();
        self.redial.notify_one();
    }
}

/// The head's end of a session with a node.
struct AtHead {
    head: Arc<Head>,
    door: Door,
    session: Session,
    outbox: Arc<Outbox<FromHead>>,
    pieces: Joiner,
}

impl AtHead {
    fn open(head: Arc<Head>, session: Session) -> Self {
        let outbox = outbox::<FromHead>(&session);
        let (queue, full) = (outbox.clone(), session.clone());
        let outlet = Arc::new(move |word| match word {
            Word::Close => full.close(Closed::Protocol),
            Word::Said(message) => {
                if queue.push(message).is_err() {
                    full.close(Closed::Here);
                }
            }
        });
        let door = head.open(session.peer(), Keeps::Lease, outlet);
        AtHead { head, door, session, outbox, pieces: Joiner::default() }
    }
}

impl Inlet for AtHead {
    fn receive(&mut self, plaintext: &[u8]) {
        match self.pieces.push::<ToHead>(plaintext) {
            Ok(None) => {}
            Ok(Some(message)) => self.head.hear(self.door, message),
            Err(error) => {
                tracing::warn!(node = %self.session.peer(), %error, "a node's message is refused");
                self.session.close(Closed::Protocol);
            }
        }
    }

    fn closed(&mut self, why: Closed) {
        tracing::debug!(node = %self.session.peer(), %why, "a node's session is over");
        self.outbox.close();
        self.head.close(self.door);
    }
}

/// Opens the door between a node and a head in one process: messages are handed over as they are.
pub(crate) fn open_here(node: &Arc<Node>, head: &Arc<Head>) {
    let listener = Arc::downgrade(node);
    let outlet = Arc::new(move |word| {
        if let (Word::Said(message), Some(node)) = (word, listener.upgrade()) {
            node.heard(message);
        }
    });
    let opened = head.open(node.id(), Keeps::Pace, outlet);
    let head = head.clone();
    node.attached(Arc::new(move |message| head.hear(opened, message)), Arc::new(|| {}));
}

/// Where a node finds its head.
#[derive(Debug, Clone)]
pub(crate) struct HeadAt {
    pub(crate) id: NodeId,
    pub(crate) address: Address,
}

/// Opens the first session with the head: an error that another try would meet again is final.
pub(crate) async fn first_dial(net: &Net, at: &HeadAt, wait: std::time::Duration) -> Result<(), DialError> {
    let start = crate::clock::now();
    let mut pause = REDIAL_FIRST;
    loop {
        let error = match net.dial(at.id, &at.address, Lane::Control).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let passing = matches!(
            error,
            DialError::Unreachable { .. }
                | DialError::TimedOut { .. }
                | DialError::Busy { .. }
                | DialError::HungUp { .. }
        );
        if !passing || crate::clock::now().since(start) + pause >= wait {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REDIAL_LAST);
    }
}

/// Opens the next session whenever one is over. Runs on the control lane's runtime.
pub(crate) async fn keep_dialled(net: Arc<Net>, at: HeadAt, redial: Arc<Notify>) {
    loop {
        redial.notified().await;
        let mut pause = REDIAL_FIRST;
        while let Err(error) = net.dial(at.id, &at.address, Lane::Control).await {
            if matches!(error, DialError::Closed) {
                return;
            }
            tracing::debug!(%error, "the head could not be dialled");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REDIAL_LAST);
        }
    }
}

/// What ends when it is dropped: tasks of a node.
#[derive(Default)]
pub(crate) struct Tasks(Mutex<Vec<tokio::task::JoinHandle<()>>>);

impl Tasks {
    pub(crate) fn keep(&self, task: tokio::task::JoinHandle<()>) {
        self.0.lock().push(task);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.get_mut().drain(..).for_each(|task| task.abort());
    }
}
