//! The link as the actor layer knows it: what its calls and answers go through.

use futures_util::future::BoxFuture;
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Core, PeerLink, send};
use crate::actor::error::CallError;
use crate::actor::remote::{Arrival, Begun, Caller, Instead, ItemSent, NodeRef, Outgoing, Peer, Sent};
use crate::id::{ActorId, Key, Life, NodeId, ObjectId, Placement};
use crate::limits::BURST;
use crate::node::core::link::{self, Answered, Begin, Called, Demand, Failure, Patience, StreamId, Taken, Ticket};
use crate::node::{missed, tried};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::packet::{self, Executed, Flags, Ref, Request};

const fn to_core(arrival: Arrival) -> link::Arrival {
    let Arrival { call, stream, tell, opens, .. } = arrival;
    link::Arrival { call, stream, tell, opens }
}

impl Peer for PeerLink {
    fn node(&self) -> NodeId {
        self.peer.node
    }

    fn life(&self) -> Life {
        self.peer.life
    }

    fn here(&self) -> &NodeRef {
        self.around.here()
    }

    fn open_stream(&self) -> u64 {
        self.core.lock().link.open_stream().bits()
    }

    fn close_stream(&self, stream: u64) {
        let left = self.core.lock().link.close_stream(StreamId::from_bits(stream));
        for Called { token, .. } in left {
            token.failed(CallError::Cancelled { executed: Executed::No });
        }
    }

    fn request(&self, stream: u64, request: Outgoing<'_>, caller: &Arc<dyn Caller>) -> Result<Sent, CallError> {
        // What may be tried again is not lost with a peer that is silent: it waits for that, or its end.
        let patience = if packet::may_be_tried_again(request.packet) { Patience::Waits } else { Patience::Fails };
        self.enclose_and_send(stream, request, caller, patience)
    }

    fn request_patiently(
        &self,
        stream: u64,
        request: Outgoing<'_>,
        caller: &Arc<dyn Caller>,
    ) -> Result<Sent, CallError> {
        self.enclose_and_send(stream, request, caller, Patience::Waits)
    }

    fn try_request(
        &self,
        stream: u64,
        request: Outgoing<'_>,
        caller: &Arc<dyn Caller>,
    ) -> Result<Option<Sent>, CallError> {
        let enclosed = request.enclosed;
        self.around.enclose(self.peer.life, enclosed);
        let core = self.core.lock();
        if !core.link.is_ended() && !core.link.would_send(StreamId::from_bits(stream), request.packet.len()) {
            drop(core);
            self.around.not_sent(self.peer.life, enclosed);
            return Ok(None);
        }
        let sent = self.send(core, stream, request, caller, Patience::Fails);
        if sent.is_err() {
            self.around.not_sent(self.peer.life, enclosed);
        }
        sent.map(Some)
    }

    fn standing(&self, ticket: u64) -> Option<Option<u64>> {
        self.core.lock().link.standing(Ticket::from_bits(ticket))
    }

    fn cancel(&self, ticket: u64) -> Executed {
        let mut core = self.core.lock();
        let taken = core.link.cancel(Ticket::from_bits(ticket));
        self.changed(core, self.recent());
        match taken {
            Taken::Unsent(_) => Executed::No,
            Taken::Cancelled(_) | Taken::Gone => Executed::Maybe,
        }
    }

    fn call_off(&self, ticket: u64) -> Executed {
        let mut core = self.core.lock();
        let unsent = core.link.call_off(Ticket::from_bits(ticket));
        self.changed(core, self.recent());
        if unsent.is_some() { Executed::No } else { Executed::Maybe }
    }

    fn not_sent(&self, enclosed: &Enclosed) {
        self.around.not_sent(self.peer.life, enclosed);
    }

    fn pin(&self, enclosed: &mut Enclosed) {
        self.around.pin(self.peer.life, enclosed);
    }

    fn took_item(&self, ticket: u64, length: usize) {
        let mut core = self.core.lock();
        core.link.took_item(Ticket::from_bits(ticket), length);
        self.changed(core, self.recent());
    }

    fn waits(&self, arrival: Arrival) {
        let mut core = self.core.lock();
        self.release(&mut core, arrival.bytes);
        self.changed(core, self.recent());
    }

    fn comes(&self, arrival: Arrival) {
        self.hold(arrival.bytes);
    }

    fn instead_of(&self, object: ObjectId) -> BoxFuture<'static, Instead> {
        missed::ask(self, object)
    }

    fn goes_again(&self, call: u64) -> BoxFuture<'static, bool> {
        tried::count(self, call)
    }

    fn went_again(&self, call: u64) -> bool {
        let caller = self.core.lock().link.caller_of(call);
        caller.is_some_and(|caller| caller.went_again())
    }

    fn is_wanted(&self, arrival: Arrival) -> bool {
        arrival.tell || self.core.lock().link.has_begun(arrival.call).is_some()
    }

    fn begin(&self, arrival: Arrival, share: u32) -> Begun {
        let mut core = self.core.lock();
        let begun = core.link.begin(self.recent(), to_core(arrival), share);
        self.release(&mut core, arrival.bytes);
        self.changed(core, self.recent());
        // One that was cancelled in line was answered then: nobody else forgets it.
        let over = if begun.begin == Begin::Gone { self.served.lock().remove(&arrival.call) } else { None };
        drop(over);
        Begun { runs: begun.begin == Begin::Run, closes: begun.closes }
    }

    fn answer(&self, call: u64, packet: &[u8], enclosed: &Enclosed) -> bool {
        self.around.enclose(self.peer.life, enclosed);
        let mut core = self.core.lock();
        let answered = core.link.answer(self.recent(), call, packet);
        self.changed(core, self.recent());
        let mut served = self.served.lock();
        if answered != Answered::Gone && !served.is_empty() {
            let over = served.remove(&call);
            drop(served);
            drop(over);
        } else {
            drop(served);
        }
        if answered != Answered::Sent {
            self.around.not_sent(self.peer.life, enclosed);
        }
        answered == Answered::Sent
    }

    fn item(&self, call: u64, packet: &[u8], enclosed: &Enclosed) -> ItemSent {
        self.around.enclose(self.peer.life, enclosed);
        let mut core = self.core.lock();
        let sent = core.link.send_item(call, packet);
        self.changed(core, self.recent());
        if sent != link::ItemSent::Sent {
            self.around.not_sent(self.peer.life, enclosed);
        }
        match sent {
            link::ItemSent::Sent => ItemSent::Sent,
            link::ItemSent::Full => ItemSent::Full,
            link::ItemSent::Gone => ItemSent::Gone,
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.around.run(task);
    }

    fn spawn_linked(&self, task: BoxFuture<'static, ()>) {
        let mut over = self.over.subscribe();
        self.around.run(Box::pin(async move {
            tokio::select! {
                biased;
                // The link that says so is gone, or says so.
                _ = over.wait_for(|over| *over) => {}
                () = task => {}
            }
        }));
    }
}

impl PeerLink {
    /// A request of the peer's node itself.
    pub(in crate::node) fn to_node<'a>(
        &self,
        flags: Flags,
        method: Key,
        refs: List<'a, Ref>,
        body: &'a [u8],
    ) -> Request<'a> {
        Request {
            flags,
            stream: 0,
            time_left: None,
            placement: Placement(0),
            actor: ActorId::of_node(self.peer.life),
            method,
            retries: 0,
            caller: None,
            chain: List::EMPTY,
            refs,
            body,
        }
    }

    fn enclose_and_send(
        &self,
        stream: u64,
        request: Outgoing<'_>,
        caller: &Arc<dyn Caller>,
        patience: Patience,
    ) -> Result<Sent, CallError> {
        let enclosed = request.enclosed;
        self.around.enclose(self.peer.life, enclosed);
        let core = self.core.lock();
        let sent = self.send(core, stream, request, caller, patience);
        if sent.is_err() {
            self.around.not_sent(self.peer.life, enclosed);
        }
        sent
    }

    fn send(
        &self,
        mut core: MutexGuard<'_, Core>,
        stream: u64,
        request: Outgoing<'_>,
        caller: &Arc<dyn Caller>,
        patience: Patience,
    ) -> Result<Sent, CallError> {
        let demand = Demand { token: caller.clone(), deadline: request.deadline, patience };
        // While the sender task is awake, or about to be, the time was read not long ago: a burst of requests reads it once.
        let reads = request.deadline.is_some() || self.armed.load(Ordering::Relaxed) != 0;
        let now = if reads { self.now() } else { self.recent() };
        let waited = core.link.waiting_work();
        let sent = core.link.send(now, StreamId::from_bits(stream), request.packet, demand);
        let is_burst = waited < BURST && core.link.waiting_work() >= BURST;
        self.changed(core, now);
        if is_burst {
            send::hurry();
        }
        match sent {
            link::Sent::Asked { ticket, .. } => Ok(Sent::Asked(ticket.bits())),
            link::Sent::Told(_) => Ok(Sent::Told),
            link::Sent::Waiting(ticket) => Ok(Sent::Waiting(ticket.bits())),
            link::Sent::Unreachable(_) => Err(self.failed(Failure::Unreachable, Executed::No)),
            link::Sent::Ended(_) => Err(self.failed(Failure::Ended, Executed::No)),
        }
    }
}
