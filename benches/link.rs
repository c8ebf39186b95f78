//! What a call costs in the two links that it passes, bytes and sockets left out; the control copies the same bytes.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobula::clock::Moment;
use mobula::id::{ActorId, Key, Life, NodeId, Placement};
use mobula::node::core::link::{Delivery, Demand, Link, Party, Patience, Sent, StreamId};
use mobula::wire::bytes::List;
use mobula::wire::packet::{Answer, Flags, Outcome, Request, Settle};
use std::hint::black_box;

const CALLS: u64 = 200;

struct Pair {
    now: Moment,
    links: [Link<u64>; 2],
    stream: StreamId,
    request: Vec<u8>,
    packet: Vec<u8>,
    batch: Vec<u8>,
    deliveries: Vec<Delivery<u64>>,
}

fn main_request() -> Vec<u8> {
    let mut packet = Vec::new();
    Request {
        flags: Flags::ASK,
        stream: 0,
        time_left: None,
        placement: Placement(1),
        actor: ActorId { life: Life(3), serial: 1_000 },
        method: Key::of("crate::Counter.add", "(u64) -> u64"),
        retries: 0,
        caller: None,
        chain: List::EMPTY,
        refs: List::EMPTY,
        body: &[0; 40],
    }
    .encode(&mut packet);
    packet
}

impl Pair {
    fn new() -> Self {
        let party = |index: u8| Party { node: NodeId([index; 32]), life: Life(u64::from(index) + 1) };
        let link = |own: u8| Link::new(Moment(0), party(own), party(1 - own));
        let mut links = [link(0), link(1)];
        links[0].dialled(Moment(0), 1).expect("nothing else was dialled");
        let stream = links[0].open_stream();
        let (request, packet, batch, deliveries) = (main_request(), Vec::new(), Vec::new(), Vec::new());
        let mut pair = Self { now: Moment(0), links, stream, request, packet, batch, deliveries };
        for from in 0..2 {
            pair.links[from].take_batch(pair.now, &mut pair.batch).expect("a hello");
            let Ok(mobula::wire::frame::Batch::Hello(hello)) = mobula::wire::frame::Batch::decode(&pair.batch) else {
                unreachable!("a session begins with a hello")
            };
            pair.links[1 - from].hello(pair.now, 1, &hello, &mut pair.deliveries).expect("accepted");
        }
        pair
    }

    /// Sends 200 asks in one batch, begins and answers each, brings the answers back in one.
    fn round(&mut self) -> u64 {
        self.now = Moment(self.now.0 + 100_000);
        let [caller, host] = &mut self.links;
        for token in 0..CALLS {
            let demand = Demand { token, deadline: None, patience: Patience::Fails };
            let sent = caller.send(self.now, self.stream, &mut self.request, demand);
            assert!(matches!(sent, Sent::Asked { .. }), "within credit");
        }
        caller.take_batch(self.now, &mut self.batch).expect("requests");
        host.receive(self.now, 1, &self.batch, &mut self.deliveries).expect("a batch");
        for delivery in self.deliveries.drain(..) {
            if let Delivery::Request { arrival, .. } = delivery {
                host.begin(self.now, arrival, 256);
                self.packet.clear();
                let outcome = Outcome::Value { refs: List::EMPTY, body: &[0; 9] };
                Settle::Answer(Answer { call: arrival.call, outcome }).encode(&mut self.packet);
                host.answer(self.now, arrival.call, &self.packet);
            }
        }
        host.take_batch(self.now, &mut self.batch).expect("answers");
        caller.receive(self.now, 1, &self.batch, &mut self.deliveries).expect("a batch");
        let tokens = self.deliveries.drain(..).map(|delivery| match delivery {
            Delivery::Answer { token, at, .. } => token + at.of(&self.batch).len() as u64,
            _ => 0,
        });
        let sum = tokens.sum();
        host.tick(self.now, &mut self.deliveries);
        sum
    }
}

fn link(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function("asks, both ends", |bencher| {
        let mut pair = Pair::new();
        bencher.iter(|| black_box(pair.round()));
    });
    group.bench_function("control: the requests' bytes copied twice", |bencher| {
        let (request, mut batch, mut wire) = (main_request(), Vec::new(), Vec::new());
        bencher.iter(|| {
            batch.clear();
            wire.clear();
            (0..CALLS).for_each(|_| batch.extend_from_slice(black_box(&request)));
            wire.extend_from_slice(&batch);
            black_box(&wire);
        });
    });
    group.finish();
}

criterion_group!(benches, link);
criterion_main!(benches);
