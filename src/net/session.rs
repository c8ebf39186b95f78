//! One lane of one peer after its handshake, and what node/ implements to take part: [`Receiver`] and [`Inlet`].

use super::identity::Role;
use super::preface::Lane;
use super::record::{RecordError, SealError, Sealer};
use super::transport::Wire;
use crate::id::NodeId;
use crate::limits::MESSAGE_PLAINTEXT;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Decides about sessions. Implemented by node/: net knows nothing of actors, links or the directory.
pub trait Receiver: Send + Sync + 'static {
    /// A handshake is done: takes the session, and says who receives what comes over it. Called on the lane's receive
    /// loop before anything of the session was opened; must not wait.
    ///
    /// # Errors
    /// The session is not wanted; the peer is told why.
    fn session(&self, session: Session) -> Result<Box<dyn Inlet>, Refused>;
}

/// Takes what arrives over one session, in order and whole. Called on the lane's receive loop: must not wait.
pub trait Inlet: Send {
    /// One batch, as the peer gave it to [`Session::send`].
    fn receive(&mut self, plaintext: &[u8]);
    /// The session is over: nothing more arrives. Called once.
    fn closed(&mut self, why: Closed);
}

/// Why a receiver does not want a session. The peer is told.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A session of that peer and lane exists and has precedence (PROTOCOLS §1.4).
    #[error("another session with this node has precedence")]
    Duplicate,
    /// The dialer's life has ended (PROTOCOLS §2).
    #[error("the cluster has ended this node's life: join again")]
    Ended,
    /// The dialer is no member that is known here.
    #[error("this node is not known there")]
    Unknown,
    /// There is no room for another session.
    #[error("the node has no room for another session")]
    Full,
    /// The node shuts down.
    #[error("the node is shutting down")]
    Closing,
}

impl Refused {
    const ALL: [Refused; 5] = [Refused::Duplicate, Refused::Ended, Refused::Unknown, Refused::Full, Refused::Closing];

    /// Its number in a verdict; 0 is acceptance.
    pub(crate) fn number(self) -> u8 {
        Refused::ALL.iter().zip(1..).find(|&(&refused, _)| refused == self).map_or(0, |(_, number)| number)
    }

    pub(crate) fn from_number(number: u8) -> Option<Refused> {
        Refused::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// Why a session is over.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Closed {
    /// The peer closed it, ended, or cannot be reached any more.
    #[error("the peer closed the connection or is gone")]
    Peer,
    /// A message did not open.
    #[error("the session was closed: {0}")]
    Record(RecordError),
    /// What opened is nothing that this version sends.
    #[error("the session was closed: the peer sent what this version does not understand")]
    Protocol,
    /// A newer session took its place.
    #[error("a newer session took this one's place")]
    Superseded,
    /// The life of one of the two nodes ended.
    #[error("the life of one of the two nodes has ended")]
    Ended,
    /// A send was abandoned half way, and what follows would not open.
    #[error("the session was closed: a send was abandoned half way")]
    Interrupted,
    /// Its keys have sealed all they should.
    #[error("the session's keys are used up: dial again")]
    WornOut,
    /// This node closed it, or closes all.
    #[error("this node closed the session")]
    Here,
}

/// Why a batch was not sent.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The session is over.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The batch is longer than a message may be. The session goes on.
    #[error("a batch of {bytes} bytes is too long: at most {MESSAGE_PLAINTEXT}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// One lane of one peer, after the handshake. Clones are the same session; dropping them all does not close it.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    id: u64,
    peer: NodeId,
    role: Role,
    lane: Lane,
    dialled: bool,
    wire: Arc<dyn Wire>,
    sealer: Arc<Mutex<Sealer>>,
    closed: OnceLock<Closed>,
}

/// The right to send: held by the handshake until the peer is ready for batches.
pub(crate) type Hold = OwnedMutexGuard<Sealer>;

/// Who is at the other end, and how it came about.
pub(crate) struct Ends {
    pub(crate) peer: NodeId,
    pub(crate) role: Role,
    pub(crate) lane: Lane,
    pub(crate) dialled: bool,
}

impl Session {
    pub(crate) fn new(ends: Ends, wire: Arc<dyn Wire>, sealer: Sealer) -> (Session, Hold) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Ends { peer, role, lane, dialled } = ends;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let sealer = Arc::new(Mutex::new(sealer));
        let hold = sealer.clone().try_lock_owned().expect("nobody else has the lock yet");
        (Session(Arc::new(Shared { id, peer, role, lane, dialled, wire, sealer, closed: OnceLock::new() })), hold)
    }

    /// Whom the peer proved to be.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.0.peer
    }

    /// The peer's role, by its own word, but for the head's, which its key proves.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// The lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.0.lane
    }

    /// Whether this node dialled.
    #[must_use]
    pub fn dialled(&self) -> bool {
        self.0.dialled
    }

    /// A number that no other session of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Why the session is over, once it is.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.0.closed.get().copied()
    }

    /// Seals one batch and hands it to the transport, as one message; `Ok` means queued. Whoever sends keeps within the
    /// link's windows: the queue below has no bound in bytes. One task at a time: batches arrive in the order of calls.
    ///
    /// Not cancel-safe: abandoned after it began to send, it closes the session, for the peer would miss a record.
    ///
    /// # Errors
    /// The session is over, or the batch too long.
    pub async fn send(&self, plaintext: &[u8]) -> Result<(), SendError> {
        let mut sealer = self.0.sealer.lock().await;
        self.send_held(&mut sealer, plaintext).await
    }

    pub(crate) async fn send_held(&self, sealer: &mut Sealer, plaintext: &[u8]) -> Result<(), SendError> {
        if let Some(&why) = self.0.closed.get() {
            return Err(why.into());
        }
        let message = sealer.seal(plaintext).map_err(|error| match error {
            SealError::TooLong => SendError::TooLong { bytes: plaintext.len() },
            SealError::WornOut => self.close_for(Closed::WornOut).into(),
        })?;
        let mut sending = Sending { session: self, done: false };
        let sent = self.0.wire.send(message).await;
        sending.done = true;
        sent.map_err(|_| self.close_for(Closed::Peer).into())
    }

    /// Ends the session, after what was sent before. The inlet hears of it on its receive loop. The first reason stays.
    pub fn close(&self, why: Closed) {
        self.close_for(why);
    }

    fn close_for(&self, why: Closed) -> Closed {
        let why = *self.0.closed.get_or_init(|| why);
        self.0.wire.close();
        why
    }

    /// The connection is gone: returns why the session is over, which may have been decided before.
    pub(crate) fn gone(&self, why: Closed) -> Closed {
        *self.0.closed.get_or_init(|| why)
    }
}

struct Sending<'a> {
    session: &'a Session,
    done: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.session.close(Closed::Interrupted);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { id, peer, role, lane, dialled, closed, .. } = &*self.0;
        f.debug_struct("Session")
            .field("id", id)
            .field("peer", peer)
            .field("role", role)
            .field("lane", lane)
            .field("dialled", dialled)
            .field("closed", &closed.get())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_back_and_zero_is_none() {
        for refused in Refused::ALL {
            assert_eq!(Refused::from_number(refused.number()), Some(refused));
        }
        assert_eq!((Refused::from_number(0), Refused::from_number(6)), (None, None));
    }
}
