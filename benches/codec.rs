//! User values and packets as bytes. The control for values is bare rmp-serde: what the walk before each decoding costs
//! is the difference.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mobula::id::{ActorId, Key, Life, Placement};
use mobula::wire::bytes::{List, put_sized};
use mobula::wire::codec;
use mobula::wire::frame::{Batch, Header, Section};
use mobula::wire::packet::{Flags, Request, Work};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hint::black_box;

criterion_group!(benches, values, packets);
criterion_main!(benches);

/// Requests of one batch.
const CALLS: u64 = 1_000;

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    lines: Vec<Line>,
    notes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    article: u32,
    amount: f64,
    name: String,
}

fn order(lines: u32) -> Order {
    let line = |article| Line { article, amount: 2.5, name: format!("article {article}") };
    let notes = [("gift", "yes"), ("deliver", "before noon")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Order { id: 7, customer: "Ada Lovelace".to_owned(), lines: (0..lines).map(line).collect(), notes: notes.into() }
}

fn values(c: &mut Criterion) {
    for lines in [1, 100] {
        let value = order(lines);
        let mut body = Vec::new();
        codec::encode(&value, &mut body).unwrap();
        let mut group = c.benchmark_group(format!("a value of {} B", body.len()));
        group.throughput(Throughput::Bytes(body.len() as u64));
        let mut out = Vec::with_capacity(body.len());
        group.bench_function("encode, bare rmp-serde", |b| {
            b.iter(|| {
                out.clear();
                rmp_serde::encode::write_named(&mut out, black_box(&value)).unwrap();
            });
        });
        group.bench_function("encode", |b| {
            b.iter(|| {
                out.clear();
                codec::encode(black_box(&value), &mut out).unwrap();
            });
        });
        group.bench_function("decode, bare rmp-serde", |b| {
            b.iter_batched(
                || (),
                |()| rmp_serde::from_slice::<Order>(black_box(&body)).unwrap(),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("decode", |b| {
            b.iter_batched(|| (), |()| codec::decode::<Order>(black_box(&body)).unwrap(), BatchSize::SmallInput);
        });
    }
}

fn packets(c: &mut Criterion) {
    let body = [7; 40];
    let mut batch = Vec::new();
    encode_batch(&body, &mut batch);
    let mut group = c.benchmark_group(format!("a batch of {CALLS} requests"));
    group.throughput(Throughput::Elements(CALLS));
    let mut copy = Vec::with_capacity(batch.len());
    group.bench_function("control: its bytes copied", |b| {
        b.iter(|| {
            copy.clear();
            copy.extend_from_slice(black_box(&batch));
        });
    });
    group.bench_function("encode", |b| {
        b.iter(|| {
            copy.clear();
            encode_batch(black_box(&body), &mut copy);
        });
    });
    group.bench_function("decode", |b| b.iter(|| assert_eq!(decode_batch(black_box(&batch)), CALLS)));
}

fn encode_batch(body: &[u8], batch: &mut Vec<u8>) {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    for serial in 0..CALLS {
        packet.clear();
        let actor = ActorId { life: Life(3), serial };
        request(actor, body).encode(&mut packet);
        put_sized(&mut packets, &packet);
    }
    let header = Header { session: 1, ack_work: 1, ack_settle: 1, room_work: 1 << 20, echo: false };
    header.encode(false, true, batch);
    Section::begin(1, packets.len(), batch);
    batch.extend_from_slice(&packets);
}

fn request(actor: ActorId, body: &[u8]) -> Request<'_> {
    Request {
        flags: Flags::ASK,
        stream: 0,
        time_left: None,
        placement: Placement(1),
        actor,
        method: Key::of("crate::Counter.add", "(u64) -> u64"),
        retries: 0,
        caller: None,
        chain: List::EMPTY,
        refs: List::EMPTY,
        body,
    }
}

fn decode_batch(batch: &[u8]) -> u64 {
    let Ok(Batch::Packets { work, .. }) = Batch::decode(batch) else { panic!("a batch of packets") };
    let requests = work.packets().map(|packet| Work::decode(packet.unwrap().1).unwrap());
    requests.filter(|work| matches!(work, Work::Request(_))).count() as u64
}
