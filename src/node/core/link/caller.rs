//! The caller's side of a link: streams, requests, tickets.

use super::{Ask, Delivery, Failure, Link, StreamId, Ticket};
use crate::clock::Moment;
use crate::limits::{STREAM_CREDIT, STREAMS};
use crate::node::core::calls::Slot;
use crate::node::core::stream::Outgoing;
use crate::wire::packet::{Arrived, Executed, Settle, set_stream, set_time_left};

/// What a call expects of a peer that falls silent (PROTOCOLS §1.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It has no retries: it fails.
    Fails,
    /// It has retries: it waits for the link, or for the end of that life.
    Waits,
}

/// A call to send.
#[derive(Debug)]
pub struct Demand<T> {
    /// The shell's way to its caller.
    pub token: T,
    /// When its caller stops waiting.
    pub deadline: Option<Moment>,
    /// What it does when the peer falls silent.
    pub patience: Patience,
}

/// What became of a call that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sent<T> {
    /// An ask has its number.
    Asked {
        /// Names it.
        ticket: Ticket,
        /// Its number.
        call: u64,
    },
    /// A tell has its number: it is done.
    Told(T),
    /// It waits for credit or for the window, in line.
    Waiting(Ticket),
    /// The peer is silent: not sent.
    Unreachable(T),
    /// The link has ended, or the stream is closed: not sent.
    Ended(T),
}

/// What a call was when it was taken back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taken<T> {
    /// It was waiting: it never left.
    Unsent(T),
    /// It was sent: the peer is told, and whether it has begun is not known.
    Cancelled(T),
    /// It has ended already, or was taken back before.
    Gone,
}

/// A call that waited when its stream closed or its link ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Called<T> {
    /// Whose.
    pub token: T,
    /// When it was first sent, among the calls of this link.
    pub order: u64,
    /// Its encoded request, which another placement makes sendable again.
    pub packet: Box<[u8]>,
    /// When its caller stops waiting.
    pub deadline: Option<Moment>,
    /// What it does when the peer falls silent.
    pub patience: Patience,
}

impl<T: Clone> Link<T> {
    /// Opens a stream: one for each actor and group.
    pub fn open_stream(&mut self) -> StreamId {
        StreamId(self.streams.insert(Outgoing::new()))
    }

    /// Whether a request of `length` bytes would get its number now instead of waiting.
    #[must_use]
    pub fn would_send(&self, stream: StreamId, length: usize) -> bool {
        let free = self.streams.get(stream.0).is_some_and(|stream| stream.may_send() && stream.waiting() == 0);
        free && !self.ended && self.line.is_empty() && self.work.fits(length, self.window)
    }

    /// Sends an encoded request, or lets it wait in its stream's line. The link writes stream and time left into it.
    pub fn send(&mut self, now: Moment, stream: StreamId, request: &mut [u8], demand: Demand<T>) -> Sent<T> {
        let Demand { token, deadline, patience } = demand;
        if self.unreachable && patience == Patience::Fails {
            return Sent::Unreachable(token);
        }
        let open = !self.ended && self.streams.get(stream.0).is_some_and(|stream| !stream.closed);
        let Some(kind) = Arrived::of(request).ok().flatten().filter(|_| open) else { return Sent::Ended(token) };
        self.order += 1;
        let goes = self.would_send(stream, request.len()) && self.number(stream.0).is_some();
        if goes && kind.tell {
            self.transmit(now, stream.0, request, deadline);
            self.expect(now);
            return Sent::Told(token);
        }
        let slot = self.asks.insert(Ask {
            token: Some(token),
            stream: stream.0,
            order: self.order,
            deadline,
            patience,
            tell: kind.tell,
            waiting: None,
            call: 0,
            consumer: kind.streaming.then(Box::default),
        });
        let ticket = Ticket(slot);
        if goes {
            let call = self.transmit(now, stream.0, request, deadline);
            self.sent(slot, call);
            self.expect(now);
            return Sent::Asked { ticket, call };
        }
        if let (Some(ask), Some(state)) = (self.asks.get_mut(slot), self.streams.get_mut(stream.0)) {
            ask.waiting = Some(Box::from(&*request));
            state.waiting.push_back(slot);
        }
        self.stand_in_line(stream.0);
        self.expect(now);
        Sent::Waiting(ticket)
    }

    fn sent(&mut self, slot: Slot, call: u64) {
        if let Some(ask) = self.asks.get_mut(slot) {
            ask.call = call;
            self.pending.insert(call, slot);
        }
    }

    /// Gives a request its work number; its stream has credit, the window has room.
    fn transmit(&mut self, now: Moment, stream: Slot, request: &mut [u8], deadline: Option<Moment>) -> u64 {
        if let Some(state) = self.streams.get_mut(stream) {
            state.credit -= 1;
            state.asks += u32::from(Arrived::of(request).is_ok_and(|kind| kind.is_some_and(|kind| !kind.tell)));
            set_stream(request, state.number.unwrap_or(u32::MAX));
        }
        set_time_left(request, deadline.map(|deadline| deadline.since(now)));
        self.work.push(request)
    }

    /// The stream's number on the wire; gives it one if it has none and one is left.
    fn number(&mut self, slot: Slot) -> Option<u32> {
        let stream = self.streams.get_mut(slot)?;
        if stream.number.is_none() {
            let fresh = u32::try_from(self.numbers.len()).ok().filter(|fresh| *fresh < STREAMS);
            let number = self.free_numbers.pop().or(fresh)?;
            match self.numbers.get_mut(number as usize) {
                Some(place) => *place = Some(slot),
                None => self.numbers.push(Some(slot)),
            }
            stream.number = Some(number);
        }
        stream.number
    }

    /// A stream with waiting requests that may go out lines up.
    fn stand_in_line(&mut self, slot: Slot) {
        if let Some(stream) = self.streams.get_mut(slot)
            && stream.may_send()
            && stream.waiting() > 0
            && !std::mem::replace(&mut stream.in_line, true)
        {
            self.line.push_back(slot);
        }
    }

    /// Sends what waits while the window has room: one request of each stream in turn.
    pub(super) fn pump(&mut self, now: Moment, deliveries: &mut Vec<Delivery<T>>) {
        while let Some(slot) = self.line.front().copied() {
            let Some((next, length)) = self.next_waiting(slot) else {
                self.line.pop_front();
                continue;
            };
            if !self.work.fits(length, self.window) || self.number(slot).is_none() {
                return;
            }
            self.line.pop_front();
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.in_line = false;
                stream.waiting.pop_front();
            }
            self.send_waiting(now, next, deliveries);
            self.stand_in_line(slot);
        }
    }

    /// The first request of a stream's line and its size, if the stream may send it.
    fn next_waiting(&mut self, slot: Slot) -> Option<(Slot, usize)> {
        let stream = self.streams.get_mut(slot)?;
        while let Some(first) = stream.waiting.front().copied() {
            if let Some(packet) = self.asks.get(first).and_then(|ask| ask.waiting.as_ref()) {
                stream.in_line = stream.may_send();
                return stream.in_line.then_some((first, packet.len()));
            }
            stream.waiting.pop_front();
            stream.taken_back -= 1;
        }
        stream.in_line = false;
        None
    }

    fn send_waiting(&mut self, now: Moment, slot: Slot, deliveries: &mut Vec<Delivery<T>>) {
        let Some(ask) = self.asks.get_mut(slot) else { return };
        let (stream, deadline, tell) = (ask.stream, ask.deadline, ask.tell);
        let Some(mut packet) = ask.waiting.take() else { return };
        let call = self.transmit(now, stream, &mut packet, deadline);
        if tell {
            let token = self.asks.remove(slot).and_then(|ask| ask.token);
            deliveries.extend(token.map(|token| Delivery::Told { token }));
            return;
        }
        self.sent(slot, call);
    }

    /// The peer returned credit.
    pub(super) fn credit(&mut self, number: u32, count: u32) -> Option<()> {
        let slot = (*self.numbers.get(number as usize)?)?;
        let stream = self.streams.get_mut(slot)?;
        stream.credit = stream.credit.checked_add(count).filter(|credit| *credit <= STREAM_CREDIT)?;
        if stream.credit == STREAM_CREDIT {
            stream.number = None;
            self.numbers[number as usize] = None;
            self.free_numbers.push(number);
        }
        self.stand_in_line(slot);
        self.forget_if_over(slot);
        Some(())
    }

    fn forget_if_over(&mut self, slot: Slot) {
        if self.streams.get(slot).is_some_and(Outgoing::is_over) {
            self.streams.remove(slot);
        }
    }

    /// An ask was answered.
    pub(super) fn settled(&mut self, call: u64) -> Option<Ask<T>> {
        let slot = self.pending.remove(call)?;
        self.asks.remove(slot)
    }

    /// One ask less of a stream is without its answer.
    pub(super) fn asked_less(&mut self, slot: Slot) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.asks = stream.asks.saturating_sub(1);
        if stream.asks == 0 {
            self.forget_if_over(slot);
        }
    }

    /// Its caller waits no more: it was dropped, or its time is up (PROTOCOLS §1.10).
    pub fn cancel(&mut self, ticket: Ticket) -> Taken<T> {
        let Some(ask) = self.asks.get_mut(ticket.0) else { return Taken::Gone };
        if ask.waiting.is_none() {
            let Some(token) = ask.token.take() else { return Taken::Gone };
            let call = ask.call;
            self.push_settle(&Settle::Cancel { call });
            return Taken::Cancelled(token);
        }
        let Some(ask) = self.asks.remove(ticket.0) else { return Taken::Gone };
        if let Some(stream) = self.streams.get_mut(ask.stream) {
            stream.taken_back += 1;
            if stream.taken_back * 2 > stream.waiting.len() {
                stream.waiting.retain(|slot| self.asks.get(*slot).is_some());
                stream.taken_back = 0;
            }
        }
        self.forget_if_over(ask.stream);
        ask.token.map_or(Taken::Gone, Taken::Unsent)
    }

    /// The same of a call of whose end its caller is told all the same. Gives the token of one that was waiting: it never leaves,
    /// and has no end.
    pub fn call_off(&mut self, ticket: Ticket) -> Option<T> {
        let ask = self.asks.get(ticket.0)?;
        if ask.waiting.is_none() {
            let call = ask.token.as_ref().map(|_| ask.call)?;
            self.push_settle(&Settle::Cancel { call });
            return None;
        }
        match self.cancel(ticket) {
            Taken::Unsent(token) => Some(token),
            Taken::Cancelled(_) | Taken::Gone => None,
        }
    }

    /// The number of a call, none while it waits for credit or the window; nothing once it is over.
    #[must_use]
    pub fn standing(&self, ticket: Ticket) -> Option<Option<u64>> {
        let ask = self.asks.get(ticket.0)?;
        Some(ask.waiting.is_none().then_some(ask.call))
    }

    /// The calls under way, and who waits for them.
    pub fn asked(&self) -> impl Iterator<Item = (Ticket, &T)> {
        self.asks.slots().filter_map(|slot| Some((Ticket(slot), self.asks.get(slot)?.token.as_ref()?)))
    }

    /// Who waits for the answer to this call, if anyone.
    #[must_use]
    pub fn caller_of(&mut self, call: u64) -> Option<T> {
        let slot = *self.pending.get_mut(call)?;
        self.asks.get(slot)?.token.clone()
    }

    /// The consumer of a streaming reply took an item whose packet had `length` bytes.
    pub fn took_item(&mut self, ticket: Ticket, length: usize) {
        let Some(ask) = self.asks.get_mut(ticket.0) else { return };
        let call = ask.call;
        if let Some(count) = ask.consumer.as_mut().and_then(|consumer| consumer.take(length)) {
            self.push_settle(&Settle::Room { call, count });
        }
    }

    /// Nobody will send on the stream any more. Gives the calls that waited in it, in the order of their first poll;
    /// those that were sent are answered as ever.
    pub fn close_stream(&mut self, stream: StreamId) -> Vec<Called<T>> {
        let Some(state) = self.streams.get_mut(stream.0) else { return Vec::new() };
        state.closed = true;
        state.taken_back = 0;
        let waiting = std::mem::take(&mut state.waiting);
        let called = waiting.into_iter().filter_map(|slot| self.take_waiting(slot)).collect();
        self.forget_if_over(stream.0);
        called
    }

    pub(super) fn take_waiting(&mut self, slot: Slot) -> Option<Called<T>> {
        let Ask { token, order, deadline, patience, waiting, .. } = self.asks.remove(slot)?;
        Some(Called { token: token?, order, packet: waiting?, deadline, patience })
    }

    /// The peer is silent: calls without retries fail (PROTOCOLS §1.16).
    pub(super) fn fail_impatient(&mut self, deliveries: &mut Vec<Delivery<T>>) {
        let impatient = |slot: Slot| {
            let ask = self.asks.get(slot).filter(|ask| ask.patience == Patience::Fails)?;
            Some((ask.order, slot))
        };
        let mut failing: Vec<_> = self.asks.slots().filter_map(impatient).collect();
        failing.sort_unstable_by_key(|(order, ..)| *order);
        for (order, slot) in failing {
            let (token, executed) = match self.cancel(Ticket(slot)) {
                Taken::Unsent(token) => (token, Executed::No),
                // Also one that no session took yet: it will go out, before its cancel or after.
                Taken::Cancelled(token) => (token, Executed::Maybe),
                Taken::Gone => continue,
            };
            deliveries.push(Delivery::Failed { token, order, executed, why: Failure::Unreachable });
        }
    }

    /// What is known of a numbered call without its answer, now that nothing more is sent.
    pub(super) fn executed(&self, call: u64) -> Executed {
        if call > self.work.sent() { Executed::No } else { Executed::Maybe }
    }
}
