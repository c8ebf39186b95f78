//! What arrives: one batch is checked, counted and turned into deliveries.

use super::{Arrival, Breach, Delivery, Link, Served, Span};
use crate::clock::Moment;
use crate::limits::{ACK_DELAY, SETTLE_BACKLOG, SETTLE_UNREAD, STREAMS, WINDOW_PACKETS, WORK_WINDOW, WORK_WINDOW_MAX};
use crate::node::core::stream::Incoming;
use crate::wire::frame::{Batch, Header, Section};
use crate::wire::packet::{Answer, Work};
use crate::wire::packet::{Arrived, CallFault, Executed, Outcome, Settle};

impl<T: Clone> Link<T> {
    /// Applies one batch of the session that the shell calls `id`; one of an earlier session is ignored. The shell
    /// applies the deliveries, in their order, before it receives again. After a [`Breach`] those that there are still
    /// count; then the link is to be ended.
    pub fn receive(
        &mut self,
        now: Moment,
        id: u64,
        batch: &[u8],
        deliveries: &mut Vec<Delivery<T>>,
    ) -> Result<(), Breach> {
        let Some(session) = self.session.filter(|session| session.id == id && !self.ended) else { return Ok(()) };
        let (header, settle, work) = match Batch::decode(batch)? {
            Batch::Hello(hello) => {
                return self.hello(now, id, &hello, deliveries).map(drop).map_err(|refused| refused.as_breach());
            }
            Batch::Packets { header, settle, work } => (header, settle, work),
        };
        if !session.heard_hello || !session.said_hello || header.session != session.number {
            return Err(Breach::Hello);
        }
        (self.heard, self.unreachable) = (now, false);
        self.acknowledged(&header)?;
        self.has_read(deliveries)?;
        self.receive_settle(batch, settle, deliveries)?;
        self.receive_work(now, batch, work, deliveries)?;
        self.pump(now, deliveries);
        if header.echo {
            self.ack_now = true;
        }
        if self.owes_ack() {
            self.ack_at.get_or_insert(now + ACK_DELAY);
        }
        self.expect(now);
        Ok(())
    }

    fn acknowledged(&mut self, header: &Header) -> Result<(), Breach> {
        self.work.acknowledge(header.ack_work).map_err(|_| Breach::Broken(header.ack_work))?;
        self.settle.acknowledge(header.ack_settle).map_err(|_| Breach::Broken(header.ack_settle))?;
        self.window = usize::try_from(header.room_work).unwrap_or(WORK_WINDOW).max(WORK_WINDOW);
        Ok(())
    }

    /// Looks at what the peer leaves unread: producers go on, or it leaves so much that it costs its link.
    fn has_read(&mut self, deliveries: &mut Vec<Delivery<T>>) -> Result<(), Breach> {
        let unread = self.settle.waiting_bytes();
        if unread > 2 * SETTLE_UNREAD {
            return Err(Breach::Unread);
        }
        if unread <= SETTLE_BACKLOG / 2 {
            let stalled = std::mem::take(&mut self.stalled);
            deliveries.extend(stalled.into_iter().map(|call| Delivery::Room { call }));
        }
        Ok(())
    }

    fn receive_settle(
        &mut self,
        batch: &[u8],
        section: Section<'_>,
        deliveries: &mut Vec<Delivery<T>>,
    ) -> Result<(), Breach> {
        self.settle_in.unacked_bytes += section.packets.len();
        for packet in section.packets() {
            let (number, packet) = packet?;
            let Some(expected) = due(self.settle_in.received, number)? else { continue };
            self.apply_settle(packet, Span::within(batch, packet), deliveries)?;
            self.settle_in.received = expected;
        }
        Ok(())
    }

    fn apply_settle(&mut self, packet: &[u8], at: Span, deliveries: &mut Vec<Delivery<T>>) -> Result<(), Breach> {
        if let Some(call) = Answer::call_of(packet)? {
            return self.answered(call, at, deliveries);
        }
        match Settle::decode(packet)? {
            Settle::Answer(Answer { call, .. }) => self.answered(call, at, deliveries)?,
            Settle::Item { call, index, .. } => {
                let slot = self.pending.get_mut(call).copied().ok_or(Breach::Item(call))?;
                let ask = self.asks.get_mut(slot).ok_or(Breach::Item(call))?;
                let consumer = ask.consumer.as_mut().ok_or(Breach::Item(call))?;
                if !consumer.arrive(index) {
                    return Err(Breach::Item(call));
                }
                deliveries.push(match ask.token.clone() {
                    Some(token) => Delivery::Item { token, at },
                    None => Delivery::Settle { at },
                });
            }
            Settle::Room { call, count } => {
                // None: the reply ended while this was on its way.
                if let Some(producer) = self.producers.get_mut(&call)
                    && producer.room(count).ok_or(Breach::Room(call))?
                {
                    deliveries.push(Delivery::Room { call });
                }
            }
            Settle::Credit { stream, count } => {
                self.credit(stream, count).ok_or(Breach::CreditReturned(stream))?;
            }
            Settle::Cancel { call } => {
                if call > self.work_in.received + WINDOW_PACKETS {
                    return Err(Breach::Cancel(call));
                }
                if self.cancelled(call) {
                    deliveries.push(Delivery::Cancel { call });
                }
            }
            Settle::Claim(_)
            | Settle::Claimed(_)
            | Settle::Gone(_)
            | Settle::Release(_)
            | Settle::Landed(_)
            | Settle::Probe(_) => {
                deliveries.push(Delivery::Settle { at });
            }
        }
        Ok(())
    }

    fn answered(&mut self, call: u64, at: Span, deliveries: &mut Vec<Delivery<T>>) -> Result<(), Breach> {
        let ask = self.settled(call).ok_or(Breach::Answer(call))?;
        let (stream, order) = (ask.stream, ask.order);
        deliveries.push(match ask.token {
            Some(token) => Delivery::Answer { token, order, at },
            None => Delivery::Settle { at },
        });
        self.asked_less(stream);
        Ok(())
    }

    fn receive_work(
        &mut self,
        now: Moment,
        batch: &[u8],
        section: Section<'_>,
        deliveries: &mut Vec<Delivery<T>>,
    ) -> Result<(), Breach> {
        self.work_in.unacked_bytes += section.packets.len();
        if self.work_in.unacked_bytes > WORK_WINDOW_MAX {
            return Err(Breach::Window);
        }
        for packet in section.packets() {
            let (number, packet) = packet?;
            let Some(expected) = due(self.work_in.received, number)? else { continue };
            self.apply_work(now, number, packet, Span::within(batch, packet), deliveries)?;
            self.work_in.received = expected;
        }
        self.widen(section.packets.len());
        Ok(())
    }

    /// A peer whose work was never held back for a whole window may have twice as much on the way: what that costs is
    /// bounded by its credit, and a long way needs it.
    fn widen(&mut self, bytes: usize) {
        self.room_used += bytes;
        if !self.withholds() && self.room_used >= self.room && self.room < WORK_WINDOW_MAX {
            (self.room, self.room_used) = ((self.room * 2).min(WORK_WINDOW_MAX), 0);
        }
    }

    fn apply_work(
        &mut self,
        now: Moment,
        call: u64,
        packet: &[u8],
        at: Span,
        deliveries: &mut Vec<Delivery<T>>,
    ) -> Result<(), Breach> {
        let Some(Arrived { stream, tell, .. }) = Arrived::of(packet)? else {
            Work::decode(packet)?;
            self.cancelled_early.remove(&call);
            deliveries.push(Delivery::Work { at });
            return Ok(());
        };
        if stream as usize == self.incoming.len() && stream < STREAMS {
            self.incoming.push(Incoming::NEW);
        }
        let state = self.incoming.get_mut(stream as usize).ok_or(Breach::Credit(stream))?;
        let opens = state.queued == 0;
        if !state.arrive() {
            return Err(Breach::Credit(stream));
        }
        if !self.cancelled_early.is_empty() && self.cancelled_early.remove(&call) && !tell {
            self.left_mailbox(now, stream, u32::MAX);
            let outcome = Outcome::Error { executed: Executed::No, fault: CallFault::Cancelled };
            self.push_settle(&Settle::Answer(Answer { call, outcome }));
            deliveries.push(Delivery::Work { at });
            return Ok(());
        }
        if !tell {
            self.serving.insert(call, Served { stream, begun: false });
        }
        deliveries.push(Delivery::Request { arrival: Arrival { call, stream, tell, opens }, at });
        Ok(())
    }
}

/// The number to count if the packet is the next one; none if it was applied before.
const fn due(received: u64, found: u64) -> Result<Option<u64>, Breach> {
    let expected = received + 1;
    if found > expected {
        return Err(Breach::Gap { expected, found });
    }
    Ok(if found == expected { Some(expected) } else { None })
}
