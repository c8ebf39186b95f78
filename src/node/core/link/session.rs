//! Sessions and cut-over, and the end of a link (PROTOCOLS §1.4, §1.5, §1.17).

use super::{Breach, Called, Delivery, Failure, Link, Session};
use crate::clock::Moment;
use crate::id::Life;
use crate::node::core::channel::Outbox;
use crate::wire::frame::Hello;

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node.
    Own,
    /// The other one.
    Peer,
}

/// Why a session does not become the link's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionRefused {
    /// There is a session that counts more (PROTOCOLS §1.4).
    #[error("another session between the two nodes is in use")]
    Duplicate,
    /// The session's peer is in another life than the link's.
    #[error("the peer is in life {found}, and this link is with its life {expected}")]
    OtherLife {
        /// The link's.
        expected: Life,
        /// The peer's.
        found: Life,
    },
    /// The peer looks for another life of this node.
    #[error("the peer looks for life {found} of this node, which is in life {own}")]
    NotUs {
        /// This node's.
        own: Life,
        /// The one looked for.
        found: Life,
    },
    /// The link has ended.
    #[error("the link has ended")]
    Ended,
    /// The peer's numbers do not fit to this link's: the link is to be ended.
    #[error(transparent)]
    Broken(#[from] Breach),
}

impl SessionRefused {
    pub(super) const fn as_breach(self) -> Breach {
        match self {
            SessionRefused::Broken(breach) => breach,
            _ => Breach::Hello,
        }
    }
}

impl<T: Clone> Link<T> {
    /// This node dialled, and the shell calls the session `id`. Gives the name of the session that it replaces, which is
    /// to be closed; refused if the peer would refuse it.
    pub fn dialled(&mut self, now: Moment, id: u64) -> Result<Option<u64>, SessionRefused> {
        if self.ended {
            return Err(SessionRefused::Ended);
        }
        if self.session.is_some_and(|session| session.dialer == Side::Peer) && !self.own_dials_count_more() {
            return Err(SessionRefused::Duplicate);
        }
        self.dials += 1;
        let session =
            Session { id, number: self.dials, dialer: Side::Own, since: now, said_hello: false, heard_hello: false };
        self.sender_knows = false;
        Ok(self.session.replace(session).map(|old| old.id))
    }

    /// The peer's hello on the session that the shell calls `id`: one that this node dialled, or a new one of the
    /// peer's. Gives the name of the session that it replaces, which is to be closed.
    pub fn hello(
        &mut self,
        now: Moment,
        id: u64,
        hello: &Hello,
        deliveries: &mut Vec<Delivery<T>>,
    ) -> Result<Option<u64>, SessionRefused> {
        if self.ended {
            return Err(SessionRefused::Ended);
        }
        if hello.life != self.peer.life {
            return Err(SessionRefused::OtherLife { expected: self.peer.life, found: hello.life });
        }
        if hello.to != self.own.life && hello.to != Life(0) {
            return Err(SessionRefused::NotUs { own: self.own.life, found: hello.to });
        }
        let replaced = match self.session {
            Some(own) if own.id == id => {
                if own.heard_hello || !own.said_hello || hello.session != own.number {
                    return Err(Breach::Hello.into());
                }
                self.can_resume(hello)?;
                self.session = Some(Session { heard_hello: true, ..own });
                // Of those, a hello may still be on its way that says how far the peer was when it dialled.
                self.peer_dials = self.peer_dials.max(hello.dialled);
                None
            }
            current => {
                self.admit(current, hello.session)?;
                self.can_resume(hello)?;
                let number = hello.session;
                self.peer_dials = number.max(hello.dialled);
                let (dialer, since) = (Side::Peer, now);
                let session = Session { id, number, dialer, since, said_hello: false, heard_hello: true };
                self.session.replace(session).map(|old| old.id)
            }
        };
        self.work.resume(hello.received_work).map_err(|_| Breach::Broken(hello.received_work))?;
        self.settle.resume(hello.received_settle).map_err(|_| Breach::Broken(hello.received_settle))?;
        (self.heard, self.echoed, self.unreachable, self.sender_knows) = (now, now, false, false);
        self.pump(now, deliveries);
        self.expect(now);
        Ok(replaced)
    }

    /// Whether the link can go on where the peer says: looked at before the session becomes the link's.
    fn can_resume(&self, hello: &Hello) -> Result<(), Breach> {
        let Hello { received_work, received_settle, .. } = *hello;
        self.work.can_resume(received_work).map_err(|_| Breach::Broken(received_work))?;
        self.settle.can_resume(received_settle).map_err(|_| Breach::Broken(received_settle))
    }

    /// Whether a session that the peer dialled may take the current one's place (PROTOCOLS §1.4).
    fn admit(&mut self, current: Option<Session>, number: u64) -> Result<(), SessionRefused> {
        let later = number > self.peer_dials;
        let admitted = match current {
            None => later,
            Some(Session { dialer: Side::Peer, .. }) => later,
            Some(Session { dialer: Side::Own, .. }) => later && !self.own_dials_count_more(),
        };
        if !admitted {
            // The peer would not dial while it believed in the current session: a sign of life shows who is right.
            self.ack_now = true;
            return Err(SessionRefused::Duplicate);
        }
        Ok(())
    }

    fn own_dials_count_more(&self) -> bool {
        self.own.node < self.peer.node
    }

    /// The session that the shell calls `id` is no more. Its link goes on with the next one.
    pub fn closed(&mut self, now: Moment, id: u64) {
        if self.session.is_some_and(|session| session.id == id) {
            self.session = None;
            self.expect(now);
        }
    }

    /// The peer's life has ended, or the link is broken (PROTOCOLS §1.15, §1.17): no packet goes or comes any more.
    ///
    /// Asks fail, those that begun here for the peer are cancelled, those that have not begun will not; its tells run.
    /// Gives the calls that were never sent, in the order of their first poll, and the name of the session to close.
    pub fn end(&mut self, deliveries: &mut Vec<Delivery<T>>) -> (Vec<Called<T>>, Option<u64>) {
        self.ended = true;
        for (call, slot) in self.pending.drain() {
            let Some(ask) = self.asks.remove(slot) else { continue };
            let (order, executed, why) = (ask.order, self.executed(call), Failure::Ended);
            deliveries.extend(ask.token.map(|token| Delivery::Failed { token, order, executed, why }));
        }
        let waiting: Vec<_> = self.asks.slots().collect();
        let mut called: Vec<_> = waiting.into_iter().filter_map(|slot| self.take_waiting(slot)).collect();
        called.sort_by_key(|called| called.order);
        let begun = self.serving.drain().filter(|(_, served)| served.begun);
        deliveries.extend(begun.map(|(call, _)| Delivery::Cancel { call }));
        self.producers.clear();
        self.stalled.clear();
        self.cancelled_early.clear();
        self.line.clear();
        (self.expecting, self.credit_at, self.ack_at) = (None, None, None);
        // Whoever still holds the link does not hold what it would have sent.
        (self.work, self.settle) = (Outbox::new(), Outbox::new());
        (called, self.session.take().map(|session| session.id))
    }
}
