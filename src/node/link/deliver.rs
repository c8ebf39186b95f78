//! What arrived over a link is handed over, outside of its lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{After, PeerLink, Token};
use crate::actor::remote::host::{Incoming, refuse};
use crate::actor::remote::{Arrival, Peer};
use crate::clock::Moment;
use crate::node::core::link::{self, Breach, Delivery, Failure};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::packet::{CallFault, Executed, Ref, Settle, Work};

impl PeerLink {
    /// What arrived beside a body.
    fn attach(&self, refs: List<'_, Ref>) -> Enclosed {
        if refs.is_empty() { Enclosed::default() } else { self.around.attach(self.peer.life, &refs) }
    }

    /// Hands all of them over. One at which a user's code panics is done with: those behind it are others'.
    pub(super) fn deliver(
        &self,
        peer: &Arc<dyn Peer>,
        batch: &[u8],
        deliveries: &mut Vec<Delivery<Token>>,
    ) -> Result<(), Breach> {
        let (now, mut broken) = (self.recent(), None);
        let mut left = deliveries.drain(..);
        let mut hand_over = || {
            for delivery in &mut left {
                if let Err(breach) = self.hand_over(peer, now, batch, delivery) {
                    broken.get_or_insert(breach);
                }
            }
        };
        // Once, unless something panics: then it goes on behind that.
        while self.guarded(&mut hand_over).is_none() {}
        drop(left);
        broken.map_or(Ok(()), Err)
    }

    pub(super) fn all_guarded(&self, due: impl IntoIterator<Item = After>) {
        for then in due {
            self.guarded(then);
        }
    }

    /// Runs what may run a user's code: a drop, a waker. A panic in it is no reason for the lane's loop to end.
    pub(super) fn guarded<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            tracing::error!(node = %self.peer.node, "something was handed over of this peer's, and a panic came back");
        }
        done
    }

    fn hand_over(
        &self,
        peer: &Arc<dyn Peer>,
        now: Moment,
        batch: &[u8],
        delivery: Delivery<Token>,
    ) -> Result<(), Breach> {
        match delivery {
            Delivery::Request { arrival, at } => self.arrived(peer, now, arrival, at.of(batch)),
            Delivery::Answer { token, at, .. } => match Settle::decode(at.of(batch)) {
                Ok(Settle::Answer(answer)) => {
                    let enclosed = self.attach(answer.outcome.refs());
                    token.answered(answer.outcome, enclosed);
                }
                malformed => {
                    token.failed(self.failed(Failure::Ended, Executed::Maybe));
                    return malformed.map(drop).map_err(Breach::from);
                }
            },
            Delivery::Item { token, at } => {
                if let Ok(Settle::Item { refs, body, .. }) = Settle::decode(at.of(batch)) {
                    token.item(self.attach(refs), body, at.of(batch).len());
                }
            }
            Delivery::Told { token } => token.told(),
            Delivery::Room { call } => self.with_served(call, |served| served.room()),
            Delivery::Cancel { call } => self.with_served(call, |served| served.cancel()),
            Delivery::Failed { token, executed, why, .. } => token.failed(self.failed(why, executed)),
            Delivery::Settle { at } => match Settle::decode(at.of(batch)) {
                Ok(Settle::Probe(probe)) => self.around.probed(self, &probe),
                // Nobody waits for it any more, but what it encloses has arrived.
                Ok(Settle::Answer(answer)) => drop(self.attach(answer.outcome.refs())),
                Ok(Settle::Item { refs, .. }) => drop(self.attach(refs)),
                Ok(settle) if !self.around.counted(self.peer.life, &settle) => return Err(Breach::Counts),
                Ok(_) => {}
                Err(malformed) => return Err(malformed.into()),
            },
            // One that was cancelled before it came: what it encloses has arrived.
            Delivery::Work { at } => match Work::decode(at.of(batch)) {
                Ok(Work::Request(request)) => drop(self.attach(request.refs)),
                Ok(_) | Err(_) => return Err(Breach::Work),
            },
        }
        Ok(())
    }

    fn arrived(&self, peer: &Arc<dyn Peer>, now: Moment, arrival: link::Arrival, packet: &[u8]) {
        let arrival = from_core(arrival, packet.len());
        self.hold(packet.len());
        let Ok(Work::Request(request)) = Work::decode(packet) else {
            // The link has read its front, the rest is malformed: it is answered, and the link goes on.
            refuse(&**peer, arrival, CallFault::Decode { message: "the request is malformed" });
            return;
        };
        let enclosed = self.attach(request.refs);
        let incoming = Incoming { request, arrival, now, peer, enclosed };
        if let Some(served) = self.around.request(&incoming) {
            self.served.lock().insert(arrival.call, served);
            // Answered meanwhile: nobody would remove it.
            if self.core.lock().link.has_begun(arrival.call).is_none() {
                let over = self.served.lock().remove(&arrival.call);
                drop(over);
            }
        }
    }
}

const fn from_core(arrival: link::Arrival, bytes: usize) -> Arrival {
    let link::Arrival { call, stream, tell, opens } = arrival;
    Arrival { call, stream, tell, opens, bytes }
}
