//! One session of the bulk lane: what this node has asked over it, and what takes the words that arrive.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::{Semaphore, oneshot, watch};

use super::target::Target;
use super::unread::Unread;
use crate::clock::{self, Moment};
use crate::id::{NodeId, ObjectId};
use crate::limits::{BULK_ASKS, BULK_IDLE, BULK_SILENCE, CHUNK_TIME};
use crate::net::{Closed, Count, Inlet, Session};
use crate::node::core::pull::Said;
use crate::node::runtime::Node;
use crate::wire::chunk::{Range, Word};

/// Such a session, as both who asks and who answers know it.
pub(in crate::node) struct BulkSession {
    session: Session,
    asked: Mutex<Asked>,
    /// Asks that may still be made: one less while one waits, whoever made it.
    window: Semaphore,
    /// When something came last.
    heard: AtomicU64,
    /// The peer's asks, and what it has read of their answers.
    pub(super) unread: Mutex<Unread>,
    /// The message that is being sent in answer: chunks go one after the other, and only one of them takes memory here.
    pub(super) buffer: tokio::sync::Mutex<Vec<u8>>,
    over: watch::Sender<bool>,
}

#[derive(Default)]
struct Asked {
    next: u64,
    /// Answers that have come.
    had: u64,
    /// Nothing will be answered any more.
    over: bool,
    waiting: FxHashMap<u64, Waiting>,
}

/// An ask that is not answered yet, whether or not somebody still waits.
struct Waiting {
    range: Range,
    target: Arc<Target>,
    said: oneshot::Sender<Said>,
}

impl BulkSession {
    pub(super) fn new(session: Session) -> Arc<Self> {
        Arc::new(BulkSession {
            session,
            asked: Mutex::default(),
            window: Semaphore::new(BULK_ASKS),
            heard: AtomicU64::new(clock::now().0),
            unread: Mutex::default(),
            buffer: tokio::sync::Mutex::default(),
            over: watch::Sender::new(false),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.session.id()
    }

    pub(super) fn peer(&self) -> NodeId {
        self.session.peer()
    }

    pub(super) fn dialled(&self) -> bool {
        self.session.dialled()
    }

    pub(super) fn close(&self, why: Closed) {
        self.session.close(why);
    }

    /// Sends a message that was made for this.
    pub(super) async fn send(&self, message: &[u8]) {
        // That it is over is told to its inlet, which tells all who wait.
        let _ = self.session.send(message).await;
    }

    /// Sends a word, after those that are being sent.
    pub(super) fn say(self: &Arc<Self>, word: &Word<'_>) {
        let (bulk, mut message) = (self.clone(), Vec::new());
        word.encode(&mut message);
        tokio::spawn(async move { bulk.send(&message).await });
    }

    /// Closes it once nothing was asked over it for a while, in either direction. A peer that asks at that moment asks another, or
    /// over another session.
    pub(super) async fn close_when_idle(bulk: Weak<Self>) {
        let mut rest = BULK_IDLE;
        loop {
            tokio::time::sleep(rest).await;
            let Some(bulk) = bulk.upgrade().filter(|bulk| !*bulk.over.borrow()) else { return };
            let busy = !bulk.asked.lock().waiting.is_empty() || !bulk.unread.lock().is_served();
            let heard = Moment(bulk.heard.load(Ordering::Relaxed));
            rest = match busy {
                true => BULK_IDLE,
                false => BULK_IDLE.saturating_sub(clock::now().since(heard)),
            };
            if rest.is_zero() {
                return bulk.close(Closed::Here);
            }
        }
    }

    /// The end of the session.
    pub(super) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Nothing more of this object is asked for.
    pub(in crate::node) fn end(self: &Arc<Self>, object: ObjectId) {
        self.say(&Word::End { object });
    }

    /// Asks for a range, which is written into `target` if it comes. Abandoned, it is answered all the same, and dropped.
    pub(in crate::node) async fn ask(self: &Arc<Self>, object: ObjectId, range: Range, target: &Arc<Target>) -> Said {
        match tokio::time::timeout(CHUNK_TIME, self.window.acquire()).await {
            Ok(Ok(permit)) => permit.forget(),
            Ok(Err(_)) => return Said::Lost,
            Err(_) => return self.given_up(),
        }
        let (said, mut answer) = oneshot::channel();
        let (number, had) = {
            let mut asked = self.asked.lock();
            if asked.over {
                return Said::Lost;
            }
            asked.next += 1;
            let number = asked.next;
            asked.waiting.insert(number, Waiting { range, target: target.clone(), said });
            (number, asked.had)
        };
        self.say(&Word::Ask { number, had, object, range });
        let start = clock::now();
        loop {
            match tokio::time::timeout(BULK_SILENCE, &mut answer).await {
                Ok(said) => return said.unwrap_or(Said::Lost),
                Err(_) => {
                    let (now, heard) = (clock::now(), Moment(self.heard.load(Ordering::Relaxed)));
                    if now.since(start.max(heard)) >= BULK_SILENCE || now.since(start) >= CHUNK_TIME {
                        return self.given_up();
                    }
                }
            }
        }
    }

    /// The peer does not answer: another session may fare better.
    fn given_up(&self) -> Said {
        tracing::debug!(node = %self.peer(), "a node does not send what it is asked for on the bulk lane");
        self.close(Closed::Peer);
        Said::Lost
    }

    /// A chunk has arrived; whether it is what was asked for.
    fn came(&self, number: u64, offset: u64, bytes: &[u8]) -> bool {
        let Some(Waiting { range, target, said }) = self.answered(number) else { return false };
        let right = range.offset == offset && range.length as usize == bytes.len();
        if right {
            target.write(range, bytes);
        }
        // Nobody may wait for it any more.
        let _ = said.send(if right { Said::Came } else { Said::Lied });
        right
    }

    fn refused(&self, number: u64, said: Said) -> bool {
        self.answered(number).is_some_and(|waiting| {
            let _ = waiting.said.send(said);
            true
        })
    }

    /// The ask of this number has its answer.
    fn answered(&self, number: u64) -> Option<Waiting> {
        let waiting = {
            let mut asked = self.asked.lock();
            let waiting = asked.waiting.remove(&number)?;
            asked.had += 1;
            waiting
        };
        self.window.add_permits(1);
        Some(waiting)
    }

    fn closed(&self) {
        let waiting = {
            let mut asked = self.asked.lock();
            asked.over = true;
            std::mem::take(&mut asked.waiting)
        };
        drop(waiting);
        self.window.close();
        self.over.send_replace(true);
    }
}

/// Takes what arrives over a session.
pub(super) struct BulkInlet {
    node: Arc<Node>,
    bulk: Arc<BulkSession>,
}

impl BulkInlet {
    pub(super) fn new(node: Arc<Node>, bulk: Arc<BulkSession>) -> Self {
        BulkInlet { node, bulk }
    }
}

impl Inlet for BulkInlet {
    fn receive(&mut self, plaintext: &[u8]) {
        self.bulk.heard.store(clock::now().0, Ordering::Relaxed);
        let right = match Word::decode(plaintext) {
            Ok(Word::Chunk { number, offset, bytes }) => self.bulk.came(number, offset, bytes),
            Ok(Word::Ask { number, had, object, range }) => {
                let may = self.bulk.unread.lock().asked(had);
                if may {
                    self.node.serve_range(&self.bulk, number, object, range);
                }
                may
            }
            Ok(Word::No { number, why }) => self.bulk.refused(number, Said::No(why)),
            // The answer may have overtaken it.
            Ok(Word::Wait { number }) => number <= self.bulk.asked.lock().next,
            Ok(Word::End { object }) => {
                self.node.pull_ended(&self.bulk, object);
                true
            }
            Err(_) => false,
        };
        if !right {
            tracing::warn!(node = %self.bulk.peer(), "a session is closed: its peer breaks the rules of the bulk lane");
            self.node.count_socket(Count::BulkBreach);
            self.bulk.close(Closed::Protocol);
        }
    }

    fn closed(&mut self, why: Closed) {
        tracing::debug!(peer = %self.bulk.peer(), %why, "a session of the bulk lane has ended");
        self.bulk.closed();
        self.node.bulk().closed(&self.bulk);
    }
}
