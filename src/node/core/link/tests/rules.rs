//! Each rule of PROTOCOLS §1 by itself, and what a peer that breaks one gets.

use crate::clock::Moment;
use crate::id::{ActorId, Key, Life, NodeId, Placement};
use crate::limits::{
    ACK_BYTES, ACK_DELAY, KEEPALIVE, SETTLE_BACKLOG, SETTLE_UNREAD, STREAM_CREDIT, UNREACHABLE_AFTER, WINDOW_PACKETS,
    WORK_WINDOW, WORK_WINDOW_MAX,
};
use crate::node::core::link::{
    Acks, Answered, Arrival, Begin, Breach, Delivery, Demand, Failure, ItemSent, Link, Party, Patience, Sent, StreamId,
    Taken,
};
use crate::wire::bytes::{List, put_sized};
use crate::wire::frame::{Batch, Header, Section};
use crate::wire::packet::{Answer, CallFault, Executed, Flags, Outcome, Request, Settle, Work};
use std::time::Duration;

type Deliveries = Vec<Delivery<u64>>;

const PLAIN: Patience = Patience::Fails;

pub(super) fn party(index: u8) -> Party {
    Party { node: NodeId([index; 32]), life: Life(u64::from(index) + 1) }
}

pub(super) fn request(flags: Flags, size: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let actor = ActorId { life: Life(1), serial: 1 };
    Request {
        flags,
        stream: 0,
        time_left: None,
        placement: Placement(1),
        actor,
        method: Key(1),
        retries: 0,
        caller: None,
        chain: List::EMPTY,
        refs: List::EMPTY,
        body: &vec![0; size],
    }
    .encode(&mut packet);
    packet
}

/// Two links over a network that loses nothing.
pub(super) struct Pair {
    pub(super) now: Moment,
    pub(super) links: [Link<u64>; 2],
    pub(super) id: u64,
}

impl Pair {
    pub(super) fn new() -> Self {
        let link = |own: u8| Link::new(Moment(0), party(own), party(1 - own));
        let mut pair = Self { now: Moment(0), links: [link(0), link(1)], id: 0 };
        pair.connect();
        pair
    }

    /// Node 0 dials, both say hello.
    fn connect(&mut self) {
        self.id += 1;
        self.links[0].dialled(self.now, self.id).unwrap();
        let nobody_waits =
            |delivery: &Delivery<u64>| matches!(delivery, Delivery::Work { .. } | Delivery::Settle { .. });
        assert!(self.exchange().iter().flatten().all(nobody_waits));
        assert!(self.links.iter().all(Link::is_established));
    }

    /// One batch from `from`, if it has one.
    fn batch(&mut self, from: usize) -> Option<Vec<u8>> {
        let mut batch = Vec::new();
        self.links[from].take_batch(self.now, &mut batch).map(|id| {
            assert_eq!(id, self.id);
            batch
        })
    }

    fn deliver(&mut self, to: usize, batch: &[u8]) -> Result<Deliveries, Breach> {
        let mut deliveries = Vec::new();
        match Batch::decode(batch).unwrap() {
            Batch::Hello(hello) => drop(self.links[to].hello(self.now, self.id, &hello, &mut deliveries).unwrap()),
            Batch::Packets { .. } => self.links[to].receive(self.now, self.id, batch, &mut deliveries)?,
        }
        Ok(deliveries)
    }

    /// Everything both have to say.
    pub(super) fn exchange(&mut self) -> [Deliveries; 2] {
        let mut all = [Vec::new(), Vec::new()];
        while let Some((to, batch)) = (0..2).find_map(|from| Some((1 - from, self.batch(from)?))) {
            all[to].extend(self.deliver(to, &batch).unwrap());
        }
        all
    }

    pub(super) fn send(&mut self, stream: StreamId, flags: Flags, token: u64) -> Sent<u64> {
        self.links[0].send(self.now, stream, &mut request(flags, 10), demand(token))
    }

    pub(super) fn pass(&mut self, pause: Duration) -> [Deliveries; 2] {
        self.now = self.now + pause;
        let mut all = [Vec::new(), Vec::new()];
        (0..2).for_each(|who| assert_eq!(self.links[who].tick(self.now, &mut all[who]), None));
        all
    }

    /// A batch that node 0 would never send.
    fn hostile(&mut self, settle: &[Settle<'_>], work: &[Vec<u8>], first: u64) -> Result<Deliveries, Breach> {
        let (mut settles, mut works, mut packet) = (Vec::new(), Vec::new(), Vec::new());
        for settle in settle {
            packet.clear();
            settle.encode(&mut packet);
            put_sized(&mut settles, &packet);
        }
        work.iter().for_each(|work| put_sized(&mut works, work));
        let header = Header { session: self.id, ack_work: 0, ack_settle: 0, room_work: 0, echo: false };
        let mut batch = Vec::new();
        header.encode(!settle.is_empty(), !work.is_empty(), &mut batch);
        for section in [settles, works].iter().filter(|section| !section.is_empty()) {
            Section::begin(first, section.len(), &mut batch);
            batch.extend_from_slice(section);
        }
        self.deliver(1, &batch)
    }
}

pub(super) fn demand(token: u64) -> Demand<u64> {
    Demand { token, deadline: None, patience: PLAIN }
}

fn arrivals(deliveries: &Deliveries) -> Vec<Arrival> {
    let arrival = |delivery: &Delivery<u64>| match delivery {
        Delivery::Request { arrival, .. } => Some(*arrival),
        _ => None,
    };
    deliveries.iter().filter_map(arrival).collect()
}

fn answer(call: u64) -> Vec<u8> {
    let mut packet = Vec::new();
    let outcome = Outcome::Value { refs: List::EMPTY, body: &[7] };
    Settle::Answer(Answer { call, outcome }).encode(&mut packet);
    packet
}

#[test]
fn rule_2_an_acknowledgement_goes_alone_after_5_ms_or_64_kib() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    pair.send(stream, Flags::TELL, 1);
    pair.exchange();
    assert_eq!(pair.links[0].load().work.0, 1, "not at once");
    let deadline = pair.links[1].deadline().unwrap();
    assert_eq!(deadline, pair.now + ACK_DELAY);
    pair.pass(ACK_DELAY);
    pair.exchange();
    assert_eq!(pair.links[0].load().work, (0, 0));
    for token in 0..8 {
        let mut large = request(Flags::TELL, ACK_BYTES / 7);
        pair.links[0].send(pair.now, stream, &mut large, demand(token));
    }
    pair.exchange();
    assert_eq!(pair.links[0].load().work, (0, 0), "at once");
}

#[test]
fn rule_3_work_is_held_back_while_mailboxes_are_too_full_and_settle_never_is() {
    let mut pair = Pair::new();
    pair.links[1].set_acks(Acks::Withheld);
    let streams: Vec<_> = (0..8).map(|_| pair.links[0].open_stream()).collect();
    let mut waiting = 0;
    for index in 0..64 {
        let mut large = request(Flags::TELL, 60_000);
        let sent = pair.links[0].send(pair.now, streams[index % 8], &mut large, demand(1));
        waiting += usize::from(matches!(sent, Sent::Waiting(_)));
    }
    assert_eq!(waiting, 64 - WORK_WINDOW / 60_050);
    let arrived = arrivals(&pair.exchange()[1]).len();
    assert_eq!(arrived, 64 - waiting);
    for _ in 0..10 {
        pair.pass(ACK_DELAY);
        assert!(pair.exchange()[1].is_empty());
    }
    pair.links[1].send_settle(&[0x17, 0]);
    assert!(matches!(pair.exchange()[0][..], [Delivery::Settle { .. }]));
    pair.pass(ACK_DELAY);
    pair.exchange();
    assert_eq!(pair.links[1].load().settle.0, 0);
    pair.links[1].set_acks(Acks::Given);
    assert!(pair.links[1].wake_sender(pair.now));
    let [told, arrived] = pair.exchange();
    assert!(arrived.len() >= WORK_WINDOW / 60_050 && told.len() == arrived.len());
}

#[test]
fn rule_1_a_window_that_serves_well_grows_to_8_mib() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..8).map(|_| pair.links[0].open_stream()).collect();
    let mut rooms = Vec::new();
    for round in 0..600 {
        let mut large = request(Flags::TELL, 60_000);
        pair.links[0].send(pair.now, streams[round % 8], &mut large, demand(1));
        for arrival in arrivals(&pair.exchange()[1]) {
            assert_eq!(pair.links[1].begin(pair.now, arrival, STREAM_CREDIT).begin, Begin::Run);
        }
        rooms.push(pair.links[0].window);
    }
    rooms.dedup();
    assert_eq!(rooms, [1 << 20, 2 << 20, 4 << 20, WORK_WINDOW_MAX]);
}

#[test]
fn rule_7_a_stream_has_1024_requests_of_credit_and_waits_in_order() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    let sent: Vec<_> = (0..1_100).map(|token| pair.send(stream, Flags::TELL, token)).collect();
    assert_eq!(sent.iter().position(|sent| matches!(sent, Sent::Waiting(_))), Some(STREAM_CREDIT as usize));
    assert!(!pair.links[0].would_send(stream, 10), "`try_tell` gives the message back");
    let arrived = arrivals(&pair.exchange()[1]);
    assert_eq!(arrived.len(), 1_024);
    assert_eq!(arrived.iter().filter(|arrival| arrival.opens).count(), 1);
    for arrival in &arrived[..256] {
        pair.links[1].begin(pair.now, *arrival, STREAM_CREDIT);
    }
    let [told, later] = pair.exchange();
    let tokens: Vec<_> = told.iter().map(|told| *told == Delivery::Told { token: 1_024 }).collect();
    assert_eq!((tokens.len(), tokens[0], arrivals(&later).len()), (76, true, 76));
    for arrival in arrived[256..].iter().chain(&arrivals(&later)) {
        pair.links[1].begin(pair.now, *arrival, STREAM_CREDIT);
    }
    pair.exchange();
    assert_eq!(pair.links[0].load().streams_out, 1);
    pair.pass(ACK_DELAY);
    pair.exchange();
    assert_eq!(pair.links[0].load().streams_out, 0, "a stream whose credit is all back is forgotten");
}

#[test]
fn rule_10_a_cancel_that_overtakes_its_request_is_remembered() {
    let mut pair = Pair::new();
    let cancel = [Settle::Cancel { call: 2 }, Settle::Cancel { call: 1 }];
    assert_eq!(pair.hostile(&cancel, &[], 1), Ok(vec![]));
    let work = [request(Flags::ASK, 1), request(Flags::ASK, 1), request(Flags::ASK, 1)];
    let arrived = arrivals(&pair.hostile(&[], &work, 1).unwrap());
    assert_eq!(arrived.iter().map(|arrival| arrival.call).collect::<Vec<_>>(), [3]);
    let batch = pair.batch(1).unwrap();
    let Ok(Batch::Packets { settle, .. }) = Batch::decode(&batch) else { panic!("no packets") };
    for (packet, call) in settle.packets().zip([1, 2]) {
        let outcome = Outcome::Error { executed: Executed::No, fault: CallFault::Cancelled };
        assert_eq!(Settle::decode(packet.unwrap().1), Ok(Settle::Answer(Answer { call, outcome })));
    }
    let far = [Settle::Cancel { call: 4 + WINDOW_PACKETS }];
    assert_eq!(pair.hostile(&far, &[], 3), Err(Breach::Cancel(4 + WINDOW_PACKETS)));
}

#[test]
fn rule_10_a_cancelled_call_never_runs_or_is_told_that_nobody_waits() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    let tickets: Vec<_> = (0..2)
        .map(|token| match pair.send(stream, Flags::ASK, token) {
            Sent::Asked { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        })
        .collect();
    let arrived = arrivals(&pair.exchange()[1]);
    assert_eq!(pair.links[1].begin(pair.now, arrived[0], STREAM_CREDIT).begin, Begin::Run);
    assert_eq!(pair.links[0].cancel(tickets[0]), Taken::Cancelled(0));
    assert_eq!(pair.links[0].cancel(tickets[1]), Taken::Cancelled(1));
    assert_eq!(pair.links[0].cancel(tickets[1]), Taken::Gone);
    let [answers, flagged] = pair.exchange();
    assert!(matches!(answers[..], [Delivery::Settle { .. }]), "nobody waits for it: {answers:?}");
    assert_eq!(flagged, [Delivery::Cancel { call: 1 }]);
    assert_eq!(pair.links[1].begin(pair.now, arrived[1], STREAM_CREDIT).begin, Begin::Gone);
    assert_eq!(pair.links[0].load().asks, 1, "the one that runs");
    pair.links[1].answer(pair.now, 1, &answer(1));
    assert!(matches!(pair.exchange()[0][..], [Delivery::Settle { .. }]));
    assert_eq!(pair.links[0].load().asks, 0);
}

#[test]
fn rule_15_a_closed_stream_gives_back_what_waits_and_what_was_sent_is_answered() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    let credit = u64::from(STREAM_CREDIT);
    (0..credit).for_each(|token| assert!(matches!(pair.send(stream, Flags::ASK, token), Sent::Asked { .. })));
    assert!(matches!(pair.send(stream, Flags::ASK, credit), Sent::Waiting(_)));
    let mut waiting = pair.links[0].close_stream(stream);
    assert_eq!(waiting.len(), 1);
    let mut called = waiting.remove(0);
    assert_eq!((called.token, called.order), (credit, credit + 1));
    crate::wire::packet::set_placement(&mut called.packet, Placement(5));
    let Ok(Work::Request(request)) = Work::decode(&called.packet) else { panic!("no request") };
    assert_eq!(request.placement, Placement(5));
    assert!(matches!(pair.send(stream, Flags::ASK, 3), Sent::Ended(3)));
    assert_eq!(arrivals(&pair.exchange()[1]).len(), STREAM_CREDIT as usize);
    pair.links[1].answer(pair.now, 1, &answer(1));
    assert!(matches!(pair.exchange()[0][..], [Delivery::Answer { token: 0, order: 1, .. }]));
}

#[test]
fn rule_16_a_silent_peer_is_asked_for_a_sign_and_then_unreachable() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    pair.send(stream, Flags::ASK, 1);
    let mut patient = request(Flags::ASK, 1);
    let demand_patient = Demand { patience: Patience::Waits, ..demand(2) };
    pair.links[0].send(pair.now, stream, &mut patient, demand_patient);
    pair.exchange();
    for _ in 0..20 {
        pair.pass(KEEPALIVE);
        assert!(pair.links[0].wake_sender(pair.now), "a sign is asked for");
        pair.exchange();
        assert!(!pair.links[0].is_unreachable(), "the peer answered");
    }
    pair.links[0].closed(pair.now, pair.id);
    // This one has its number and will go out with the next session, so nobody may say that it never begins (I4).
    assert!(matches!(pair.send(stream, Flags::ASK, 9), Sent::Asked { .. }));
    let failed = pair.pass(UNREACHABLE_AFTER)[0].clone();
    let (executed, why) = (Executed::Maybe, Failure::Unreachable);
    assert_eq!(failed, [(1, 1), (9, 3)].map(|(token, order)| Delivery::Failed { token, order, executed, why }));
    assert_eq!(pair.send(stream, Flags::ASK, 3), Sent::Unreachable(3));
    pair.connect();
    assert!(!pair.links[0].is_unreachable());
    assert!(matches!(pair.send(stream, Flags::ASK, 4), Sent::Asked { .. }));
}

#[test]
fn i5_a_peer_that_takes_more_than_it_was_given_breaks_the_link() {
    let stream_of = |stream: u32| {
        let mut packet = request(Flags::TELL, 1);
        crate::wire::packet::set_stream(&mut packet, stream);
        packet
    };
    let work = vec![stream_of(0); STREAM_CREDIT as usize + 1];
    assert_eq!(Pair::new().hostile(&[], &work, 1), Err(Breach::Credit(0)));
    assert_eq!(Pair::new().hostile(&[], &[stream_of(5)], 1), Err(Breach::Credit(5)), "numbers are dense");
    assert_eq!(Pair::new().hostile(&[], &[stream_of(0)], 2), Err(Breach::Gap { expected: 1, found: 2 }));
    let outcome = Outcome::Value { refs: List::EMPTY, body: &[] };
    let answer = Settle::Answer(Answer { call: 1, outcome });
    assert_eq!(Pair::new().hostile(&[answer], &[], 1), Err(Breach::Answer(1)));
    let credit = Settle::Credit { stream: 0, count: 1 };
    assert_eq!(Pair::new().hostile(&[credit], &[], 1), Err(Breach::CreditReturned(0)));
    let item = Settle::Item { call: 1, index: 0, refs: List::EMPTY, body: &[] };
    assert_eq!(Pair::new().hostile(&[item], &[], 1), Err(Breach::Item(1)));
    assert!(matches!(Pair::new().hostile(&[], &[vec![0x7f]], 1), Err(Breach::Wire(_))));
}

#[test]
fn i5_answers_that_a_peer_leaves_unread_are_kept_up_to_a_bound() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..5).map(|_| pair.links[0].open_stream()).collect();
    let mut calls = Vec::new();
    for token in 0..5_000 {
        pair.send(streams[token % 5], Flags::ASK, token as u64);
        calls.extend(arrivals(&pair.exchange()[1]).iter().map(|arrival| arrival.call));
    }
    let mut sizes = Vec::new();
    for call in calls {
        let (mut packet, body) = (Vec::new(), vec![0; 60_000]);
        let outcome = Outcome::Value { refs: List::EMPTY, body: &body };
        Settle::Answer(Answer { call, outcome }).encode(&mut packet);
        let before = pair.links[1].load().settle.1;
        let answered = pair.links[1].answer(pair.now, call, &packet);
        sizes.push(pair.links[1].load().settle.1 - before);
        assert_eq!(answered == Answered::Sent, sizes.last() > Some(&60_000), "{answered:?}");
        // What else it has done is acknowledged while not too much is unread, and from then on when it has read.
        let unread: usize = sizes.iter().sum();
        if sizes.len() % 500 == 0 {
            pair.send(streams[0], Flags::TELL, 0);
            let tell = pair.batch(0).unwrap();
            pair.deliver(1, &tell).unwrap();
            assert_eq!(pair.links[1].owes_ack(), unread <= SETTLE_BACKLOG, "{unread} bytes unread");
        }
    }
    let kept = sizes.iter().filter(|size| **size > 60_000).count();
    assert_eq!(kept, SETTLE_UNREAD / 60_009);
    assert!(sizes[kept..].iter().all(|size| *size < 20), "the rest is answered with a fault");
    assert_eq!(pair.exchange()[0].len(), 5_000);
    pair.pass(ACK_DELAY);
    pair.exchange();
    assert_eq!(pair.links[0].load().work, (0, 0), "it has read, and is told what it was not told");
}

#[test]
fn i5_items_wait_while_a_peer_leaves_much_unread() {
    let mut pair = Pair::new();
    let [stream, other, third] = [0; 3].map(|_| pair.links[0].open_stream());
    pair.send(stream, Flags::STREAM, 0);
    for token in 1..1_000 {
        pair.send(other, Flags::ASK, token);
    }
    let arrived = arrivals(&pair.exchange()[1]);
    let streaming = arrived[0].call;
    let big = |call| {
        let (mut packet, body) = (Vec::new(), vec![0; 60_000]);
        Settle::Answer(Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body: &body } }).encode(&mut packet);
        packet
    };
    assert_eq!(pair.links[1].begin(pair.now, arrived[0], STREAM_CREDIT).begin, Begin::Run);
    let mut item = Vec::new();
    Settle::Item { call: streaming, index: 0, refs: List::EMPTY, body: &[1] }.encode(&mut item);
    for arrival in &arrived[1..] {
        pair.links[1].answer(pair.now, arrival.call, &big(arrival.call));
    }
    assert_eq!(pair.links[1].send_item(streaming, &item), ItemSent::Sent, "60 MB");
    for token in 0..200 {
        pair.send(third, Flags::ASK, token);
    }
    let again: Vec<_> = std::iter::from_fn(|| pair.batch(0)).collect();
    for batch in again {
        for arrival in arrivals(&pair.deliver(1, &batch).unwrap()) {
            pair.links[1].answer(pair.now, arrival.call, &big(arrival.call));
        }
    }
    item.clear();
    Settle::Item { call: streaming, index: 1, refs: List::EMPTY, body: &[1] }.encode(&mut item);
    assert_eq!(pair.links[1].send_item(streaming, &item), ItemSent::Full);
    let [_, told] = pair.exchange();
    assert!(told.contains(&Delivery::Room { call: streaming }), "it may go on once that was read");
    assert_eq!(pair.links[1].send_item(streaming, &item), ItemSent::Sent);
}

#[test]
fn i1_a_packet_that_comes_twice_is_applied_once() {
    let mut pair = Pair::new();
    let twice = [request(Flags::TELL, 1)];
    assert_eq!(pair.hostile(&[], &twice, 1).unwrap().len(), 1);
    assert_eq!(pair.hostile(&[], &twice, 1).unwrap().len(), 0);
}

#[test]
fn a_batch_of_a_session_that_was_left_is_ignored() {
    let mut pair = Pair::new();
    let stream = pair.links[0].open_stream();
    pair.send(stream, Flags::TELL, 1);
    let batch = pair.batch(0).unwrap();
    let old = pair.id;
    pair.connect_anew();
    let mut deliveries = Vec::new();
    pair.links[1].receive(pair.now, old, &batch, &mut deliveries).unwrap();
    assert!(deliveries.is_empty());
    assert_eq!(arrivals(&pair.exchange()[1]).len(), 1, "it comes again over the new one");
}

impl Pair {
    /// A cut-over: the new session's hellos, and nothing else yet.
    fn connect_anew(&mut self) {
        self.id += 1;
        self.links[0].dialled(self.now, self.id).unwrap();
        for from in 0..2 {
            let hello = self.batch(from).unwrap();
            assert!(self.deliver(1 - from, &hello).unwrap().is_empty());
        }
    }
}
