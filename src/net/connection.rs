//! One connection, from its first byte to the end of its session: the handshake's two scripts (`handshake.rs` draws
//! them), then records. Owned by the receive loop of its lane, which hands it every message.
//!
//! ```text
//! listener:  Preface -> First -> Third -> Go      -> Open -> Over
//! dialer:    Second  -> Verdict                   -> Open -> Over
//! ```
//!
//! A connection that a peer opens counts as a handshake until it is open, and has a deadline.

use super::address::Address;
use super::counters::{Count, Counters};
use super::handshake::{Cipher, HandshakeError, Initiator, Party, Proved, Responder};
use super::peers::Crowd;
use super::preface::{Lane, PrefaceError, answer, preface, read_answer, read_preface};
use super::record::{Buffers, Opener, RecordError, directions};
use super::session::{Closed, Ends, Hold, Inlet, Receiver, Refused, Session};
use super::transport::{Step, Wire};
use super::{DialError, Limits};
use crate::id::NodeId;
use crate::limits::WIRE_VERSION;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// What every connection of a node shares.
pub(crate) struct Door {
    pub(crate) party: Party,
    pub(crate) receiver: Arc<dyn Receiver>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Limits,
    buffers: Buffers,
    handshakes: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(party: Party, receiver: Arc<dyn Receiver>, limits: Limits) -> Door {
        let handshakes = Arc::new(Semaphore::new(limits.handshakes));
        Door { party, receiver, counters: Arc::default(), limits, buffers: Buffers::default(), handshakes }
    }
}

/// A dial under way, before there is a connection.
pub(crate) struct Dialing {
    pub(crate) door: Arc<Door>,
    pub(crate) to: Address,
    pub(crate) peer: NodeId,
    pub(crate) lane: Lane,
    pub(crate) deadline: Instant,
    pub(crate) done: oneshot::Sender<Result<Session, DialError>>,
}

/// One connection of one lane.
pub(crate) struct Connection {
    door: Arc<Door>,
    lane: Lane,
    wire: Arc<dyn Wire>,
    deadline: Option<Instant>,
    permit: Option<OwnedSemaphorePermit>,
    phase: Phase,
}

enum Phase {
    Preface,
    First,
    Third(Box<Responder>),
    Go { link: Link, _hold: Hold },
    Second { initiator: Box<Initiator>, dial: Dial },
    Verdict { proved: Proved, cipher: Box<Cipher>, dial: Dial },
    Open(Link),
    Over,
}

struct Link {
    session: Session,
    opener: Opener,
    inlet: Box<dyn Inlet>,
}

/// Whoever waits for a dial.
struct Dial {
    to: Address,
    done: oneshot::Sender<Result<Session, DialError>>,
}

impl Dial {
    fn fail(self, error: DialError) {
        // Whoever dialled may have stopped waiting.
        let _ = self.done.send(Err(error));
    }
}

/// Sends from a task of its own, for a receive loop never waits.
fn send(wire: &Arc<dyn Wire>, message: impl Into<Bytes>) {
    let (wire, message) = (wire.clone(), message.into());
    tokio::spawn(async move {
        // An error means that the connection is gone; its receive loop learns it as well.
        let _ = wire.send(message).await;
    });
}

impl Dialing {
    /// The transport has connected: says the preface and the handshake's first message.
    pub(crate) fn connected(self, wire: Arc<dyn Wire>) -> Connection {
        let Dialing { door, to, peer, lane, deadline, done } = self;
        let dial = Dial { to, done };
        let phase = match Initiator::new(&door.party, peer, lane) {
            Ok((initiator, first)) => {
                let wire = wire.clone();
                tokio::spawn(async move {
                    if wire.send(Bytes::copy_from_slice(&preface(lane))).await.is_ok() {
                        let _ = wire.send(first.into()).await;
                    }
                });
                Phase::Second { initiator: Box::new(initiator), dial }
            }
            Err(error) => {
                dial.fail(DialError::Cryptography { reason: error.to_string() });
                wire.close();
                Phase::Over
            }
        };
        Connection { door, lane, wire, deadline: Some(deadline), permit: None, phase }
    }
}

impl Connection {
    /// A peer has connected. Beyond the bound of handshakes it is told that the node is busy.
    pub(crate) fn accepted(door: Arc<Door>, lane: Lane, crowd: Crowd, wire: Arc<dyn Wire>) -> Connection {
        let permit = match crowd {
            Crowd::Bounded => door.handshakes.clone().try_acquire_owned().ok(),
            Crowd::Guarded => None,
        };
        let deadline = Some(Instant::now() + door.limits.handshake_time);
        let mut connection = Connection { door, lane, wire, deadline, permit, phase: Phase::Preface };
        if crowd == Crowd::Bounded && connection.permit.is_none() {
            connection.farewell(Count::RefusedBusy, answer().to_vec());
        }
        connection
    }

    /// When it must be open, or be ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// One message has arrived. `scratch` is where batches are opened. A panic in what takes it ends this connection alone.
    pub(crate) fn message(&mut self, message: &[u8], scratch: &mut Vec<u8>) -> Step {
        catch_unwind(AssertUnwindSafe(|| self.take(message, scratch))).unwrap_or_else(|_| {
            self.end(Closed::Here);
            Step::Leave
        })
    }

    fn take(&mut self, message: &[u8], scratch: &mut Vec<u8>) -> Step {
        if let Phase::Open(link) = &mut self.phase {
            return match link.opener.open(message, scratch) {
                Ok(length) => {
                    link.inlet.receive(&scratch[..length]);
                    Step::Stay
                }
                Err(error) => self.forged(error),
            };
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Preface => self.preface(message),
            Phase::First => self.first(message),
            Phase::Third(responder) => self.third(*responder, message),
            Phase::Go { link, _hold } => self.go(link, message, scratch),
            Phase::Second { initiator, dial } => self.second(*initiator, dial, message),
            Phase::Verdict { proved, cipher, dial } => self.verdict(proved, *cipher, dial, message, scratch),
            Phase::Open(_) | Phase::Over => Step::Stay,
        }
    }

    /// The connection is over, as the loop knows: by the peer, by [`Wire::close`], or because its time is up.
    pub(crate) fn ended(mut self, why: Closed) {
        self.end(why);
    }

    /// Its time for the handshake is up.
    pub(crate) fn expired(mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        if !matches!(phase, Phase::Over) {
            self.count(Count::HandshakeTimeout);
        }
        match phase {
            Phase::Second { dial, .. } | Phase::Verdict { dial, .. } => self.times_out(dial),
            Phase::Go { link, .. } | Phase::Open(link) => self.closed(link, Closed::Peer),
            Phase::Preface | Phase::First | Phase::Third(_) | Phase::Over => {}
        }
    }

    fn end(&mut self, why: Closed) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Go { link, .. } | Phase::Open(link) => self.closed(link, why),
            Phase::Second { dial, .. } | Phase::Verdict { dial, .. } if why != Closed::Peer => {
                dial.fail(DialError::Closed);
            }
            // Its guard's clock struck first, or the peer's: nobody hung up on what was said.
            Phase::Second { dial, .. } | Phase::Verdict { dial, .. } if self.is_late() => self.times_out(dial),
            Phase::Second { dial, .. } => {
                let (to, cluster) = (dial.to.clone(), self.door.party.cluster.id());
                dial.fail(DialError::WrongKey { to, cluster });
            }
            Phase::Verdict { dial, .. } => {
                let to = dial.to.clone();
                dial.fail(DialError::HungUp { to });
            }
            Phase::Preface | Phase::First | Phase::Third(_) => self.count(Count::HandshakeAbandoned),
            Phase::Over => {}
        }
    }

    fn closed(&self, mut link: Link, why: Closed) {
        self.count(Count::SessionClosed);
        let why = link.session.gone(why);
        if catch_unwind(AssertUnwindSafe(move || link.inlet.closed(why))).is_err() {
            tracing::error!("what a session had received panicked when the session was over");
        }
    }

    /// Whether its time for the handshake is up.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn times_out(&self, dial: Dial) {
        let (to, after) = (dial.to.clone(), self.door.limits.handshake_time);
        dial.fail(DialError::TimedOut { to, after });
    }

    fn count(&self, count: Count) {
        self.door.counters.add(count);
    }

    /// Counts why a peer is refused, and leaves without a word.
    fn refuse(&self, count: Count) -> Step {
        self.count(count);
        Step::Leave
    }

    /// Counts why a peer is refused and tells it. It is the peer that leaves, or the deadline ends it: were this side
    /// to close first, what the peer is still sending would fail, and zeromq would drop our words unread there.
    fn farewell(&mut self, count: Count, words: Vec<u8>) -> Step {
        self.count(count);
        self.phase = Phase::Over;
        send(&self.wire, words);
        Step::Stay
    }

    fn preface(&mut self, message: &[u8]) -> Step {
        match read_preface(message) {
            Ok(lane) if lane == self.lane => {
                self.phase = Phase::First;
                Step::Stay
            }
            Ok(_) | Err(PrefaceError::NotMobula | PrefaceError::Malformed) => self.refuse(Count::RefusedPreface),
            Err(PrefaceError::WireVersion { .. }) => self.farewell(Count::RefusedVersion, answer().to_vec()),
        }
    }

    fn first(&mut self, message: &[u8]) -> Step {
        match Responder::new(&self.door.party, self.lane, message) {
            Ok((responder, second)) => {
                send(&self.wire, second);
                self.phase = Phase::Third(Box::new(responder));
                Step::Stay
            }
            Err(HandshakeError::Key) => self.refuse(Count::RefusedKey),
            Err(_) => self.refuse(Count::RefusedHandshake),
        }
    }

    fn third(&mut self, responder: Responder, message: &[u8]) -> Step {
        let (proved, cipher) = match responder.third(&self.door.party, message) {
            Ok(done) => done,
            Err(HandshakeError::Credentials) => return self.refuse(Count::RefusedCredentials),
            Err(_) => return self.refuse(Count::RefusedHandshake),
        };
        let (session, mut hold, opener) = self.session(proved, cipher, false);
        self.wire.admit();
        let inlet = self.door.receiver.session(session.clone());
        let verdict = hold.seal(&[inlet.as_ref().err().map_or(0, |refused| refused.number())]);
        let Ok(verdict) = verdict else { return self.refuse(Count::RefusedHandshake) };
        match inlet {
            Ok(inlet) => {
                self.count(Count::SessionAccepted);
                send(&self.wire, verdict);
                self.phase = Phase::Go { link: Link { session, opener, inlet }, _hold: hold };
                Step::Stay
            }
            Err(_) => self.farewell(Count::RefusedByReceiver, verdict.to_vec()),
        }
    }

    fn go(&mut self, mut link: Link, message: &[u8], scratch: &mut Vec<u8>) -> Step {
        let opened = link.opener.open(message, scratch);
        self.phase = Phase::Open(link);
        match opened {
            Ok(0) => {
                (self.deadline, self.permit) = (None, None);
                Step::Stay
            }
            Ok(_) => self.forged(RecordError::Long),
            Err(error) => self.forged(error),
        }
    }

    fn second(&mut self, initiator: Initiator, dial: Dial, message: &[u8]) -> Step {
        let to = dial.to.clone();
        let error = match read_answer(message) {
            Some(WIRE_VERSION) => DialError::Busy { to },
            Some(theirs) => DialError::WireVersion { to, ours: WIRE_VERSION, theirs },
            None => match initiator.second(&self.door.party, message) {
                Ok((third, proved, cipher)) => {
                    send(&self.wire, third);
                    self.phase = Phase::Verdict { proved, cipher: Box::new(cipher), dial };
                    return Step::Stay;
                }
                Err(HandshakeError::Peer { dialled, proved }) => DialError::WrongPeer { to, dialled, proved },
                Err(HandshakeError::Credentials) => DialError::BadCredentials { to },
                Err(HandshakeError::Noise(reason)) => DialError::Cryptography { reason },
                Err(HandshakeError::Key | HandshakeError::Message { .. }) => DialError::Altered { to },
            },
        };
        self.fail(dial, error)
    }

    fn verdict(&mut self, proved: Proved, cipher: Cipher, dial: Dial, message: &[u8], scratch: &mut Vec<u8>) -> Step {
        let (session, mut hold, mut opener) = self.session(proved, cipher, true);
        let to = dial.to.clone();
        match opener.open(message, scratch).map(|length| &scratch[..length]) {
            Ok([0]) => {}
            Ok(&[number]) if let Some(why) = Refused::from_number(number) => {
                return self.fail(dial, DialError::Refused { to, why });
            }
            Ok(_) | Err(_) => return self.fail(dial, DialError::Altered { to }),
        }
        if dial.done.is_closed() {
            return self.refuse(Count::HandshakeAbandoned);
        }
        self.wire.admit();
        let inlet = match self.door.receiver.session(session.clone()) {
            Ok(inlet) => inlet,
            Err(why) => return self.fail(dial, DialError::RefusedHere { why }),
        };
        self.count(Count::SessionDialled);
        self.deadline = None;
        self.phase = Phase::Open(Link { session: session.clone(), opener, inlet });
        let ready = session.clone();
        tokio::spawn(async move {
            // The hold keeps the first batch behind this record. A failure closes the session.
            let _ = ready.send_held(&mut hold, &[]).await;
        });
        if dial.done.send(Ok(session.clone())).is_err() {
            session.close(Closed::Here);
        }
        Step::Stay
    }

    fn session(&self, proved: Proved, cipher: Cipher, dialled: bool) -> (Session, Hold, Opener) {
        let (sealer, opener) = directions(cipher, self.door.buffers.clone());
        let ends = Ends { peer: proved.node, role: proved.role, lane: self.lane, dialled };
        let (session, hold) = Session::new(ends, self.wire.clone(), sealer);
        (session, hold, opener)
    }

    fn fail(&self, dial: Dial, error: DialError) -> Step {
        dial.fail(error);
        self.refuse(Count::DialFailed)
    }

    fn forged(&mut self, error: RecordError) -> Step {
        self.count(match error {
            RecordError::Short => Count::RecordShort,
            RecordError::Long => Count::RecordLong,
            RecordError::Forged => Count::RecordForged,
        });
        self.end(Closed::Record(error));
        Step::Leave
    }
}

/// Whatever ends a receive loop, nobody is left waiting for its connections.
impl Drop for Connection {
    fn drop(&mut self) {
        self.end(Closed::Here);
    }
}
