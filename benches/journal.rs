//! What a head's journal costs: an acknowledged change alone and with 1,000 in flight, and a start with 100,000 actors. The
//! control is bytes of the same number, appended to a file and synced.
//!
//! A change is an object that is handed to another owner, or taken back: one record each, about 60 bytes. The folder is
//! `MOBULA_BENCH_FOLDER`, or one below the current folder: what a sync costs is its disk's affair.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobula::directory::journal::{Opener, batch, disk};
use mobula::directory::message::{Ask, FromHead};
use mobula::directory::record::Record;
use mobula::directory::request::{
    ActorType, Advertised, Arguments, Boot, Entrust, Join, Needs, Patience, Spawn, Withdraw,
};
use mobula::directory::{Config, Door, Head, Keeps, News, Reign, Request, RequestId, ToHead, Word};
use mobula::id::{ActorId, Epoch, Key, Life, NodeId, ObjectId, Placement};
use mobula::schedule::{Labels, Resources};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const IN_FLIGHT: u64 = 1_000;
const ACTORS: u64 = 100_000;
const OBJECTS: u64 = 8_192;

const NODE: NodeId = NodeId([7; 32]);

fn folder() -> tempfile::TempDir {
    let parent = std::env::var_os("MOBULA_BENCH_FOLDER").map_or_else(|| PathBuf::from("."), PathBuf::from);
    tempfile::tempdir_in(parent).expect("a folder")
}

fn opener() -> Opener {
    Opener { cluster: NODE, at_least: Epoch(1 << 40), instance: 1 }
}

fn join(node: NodeId) -> Join {
    Join {
        attempt: 1,
        node,
        boot: Boot::default(),
        process: 1,
        host_name: "bench".into(),
        hosts: true,
        addresses: Vec::new(),
        resources: Resources::default(),
        labels: Labels::default(),
        advertised: Arc::new(Advertised::default()),
        served: Epoch::default(),
        claims: None,
    }
}

/// A head with a node of its process that changes what it is asked to remember.
struct Changes {
    head: Arc<Head>,
    door: Door,
    life: Life,
    news: Receiver<News>,
    next: u64,
    settled: Vec<RequestId>,
}

impl Changes {
    fn new(head: Arc<Head>) -> Changes {
        let (told, news) = channel();
        let outlet = move |word| {
            if let Word::Said(FromHead { news, .. }) = word {
                let _ = told.send(news);
            }
        };
        let door = head.open(NODE, Keeps::Pace, Arc::new(outlet));
        head.hear(door, ToHead::Join(Arc::new(join(NODE))));
        let joined = news.iter().find_map(|news| match news {
            News::Joined(joined) => Some(joined.life),
            _ => None,
        });
        Changes { head, door, life: joined.expect("a life"), news, next: 0, settled: Vec::new() }
    }

    fn asks(&mut self) {
        let object = ObjectId { life: self.life, serial: self.next / 2 % OBJECTS };
        let what: Request = match self.next % 2 {
            0 => Entrust { object, to: ObjectId { serial: 1 << 40, ..object } }.into(),
            _ => Withdraw { object }.into(),
        };
        self.next += 1;
        let settled = std::mem::take(&mut self.settled);
        let ask = Ask { life: self.life, request: RequestId(self.next), settled, what };
        self.head.hear(self.door, ToHead::Ask(ask));
    }

    fn hears(&mut self) {
        let answered = self.news.iter().find_map(|news| match news {
            News::Answer { request, .. } => Some(request),
            _ => None,
        });
        self.settled.extend(answered);
    }

    fn takes(&mut self, changes: u64, in_flight: u64) -> Duration {
        let start = Instant::now();
        let first = in_flight.min(changes);
        (0..first).for_each(|_| self.asks());
        for _ in first..changes {
            self.hears();
            self.asks();
        }
        (0..first).for_each(|_| self.hears());
        start.elapsed()
    }
}

fn percentiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 1_000).min(times.len() - 1)];
    println!("{name}: p50 {:?}, p90 {:?}, p99 {:?}", at(500), at(900), at(990));
}

fn changes(c: &mut Criterion) {
    let folder = folder();
    let opened = disk::open(&folder.path().join("journal"), opener()).expect("a journal");
    let journaled = Head::start_with(Config::new(Reign::default()), opened).expect("a head");
    let mut journaled = Changes::new(journaled);
    let mut plain = Changes::new(Head::start(Config::new(Reign { epoch: Epoch(1), instance: 1 })));
    let object = ObjectId { life: Life(1 << 40), serial: 1 };
    let record = Record::Entrusted { object, to: object };
    let bytes = batch::pack(0, &[record]).expect("a block").remove(0);
    let mut file = File::create(folder.path().join("control")).expect("a file");
    let mut append = |times: u64| {
        let start = Instant::now();
        file.write_all(&bytes.repeat(times as usize)).expect("written");
        file.sync_data().expect("synced");
        start.elapsed()
    };

    percentiles("one alone, appended and synced", (0..1_000).map(|_| append(1)).collect());
    percentiles("one alone, journal", (0..1_000).map(|_| journaled.takes(1, 1)).collect());
    let mut group = c.benchmark_group("acknowledged changes");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("one alone, appended and synced", |b| {
        b.iter_custom(|times| (0..times).map(|_| append(1)).sum())
    });
    group.bench_function("one alone, journal", |b| b.iter_custom(|times| journaled.takes(times, 1)));
    group.bench_function("one alone, no journal", |b| b.iter_custom(|times| plain.takes(times, 1)));
    group.bench_function("1,000 in flight, appended and synced", |b| {
        b.iter_custom(|times| (0..times.div_ceil(IN_FLIGHT)).map(|_| append(IN_FLIGHT)).sum())
    });
    group.bench_function("1,000 in flight, journal", |b| b.iter_custom(|times| journaled.takes(times, IN_FLIGHT)));
    group.bench_function("1,000 in flight, no journal", |b| b.iter_custom(|times| plain.takes(times, IN_FLIGHT)));
    group.finish();
    journaled.head.stop();
}

/// Ten nodes with named actors, as they are journaled.
fn actors() -> Vec<Record> {
    let life = |serial: u64| Life(1 + serial % 10);
    let node = |n: u8| NodeId([n; 32]);
    let began = (0..10).map(|n| Record::Began { life: life(n), join: Arc::new(join(node(n as u8))) });
    let spawned = (0..ACTORS).flat_map(|serial| {
        let actor = ActorId { life: life(serial), serial };
        let spawn = Spawn {
            actor,
            kind: ActorType { key: Key(1), name: "bench::Actor".into() },
            constructor: Key(2),
            name: Some(mobula::error::FullName { namespace: "default".into(), name: format!("actor {serial}").into() }),
            needs: Needs::default(),
            restarts: 1,
            restart_window: None,
            detached: true,
            isolated: false,
            arguments: Arguments::Encoded(bytes::Bytes::from_static(&[7; 64])),
            patience: Patience::Fail,
        };
        let placed = Record::Placed { actor, placement: Placement(1), host: life(serial), restarts: 1, bundle: None };
        [Record::Spawned { spawn: Arc::new(spawn) }, placed, Record::Hosted { actor }]
    });
    began.chain(spawned).collect()
}

fn start(c: &mut Criterion) {
    let folder = folder();
    let mut opened = disk::open(folder.path(), opener()).expect("a journal");
    for batch in actors().chunks(1_000) {
        opened.journal.append(batch).expect("written");
    }
    println!("the journal of {ACTORS} actors takes {} bytes", opened.journal.size().whole);
    drop(opened);
    let mut group = c.benchmark_group("a head's start");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("with 100,000 actors", |b| {
        b.iter(|| {
            let opened = disk::open(folder.path(), opener()).expect("a journal");
            let head = Head::start_with(Config::new(Reign::default()), opened).expect("a head");
            head.stop();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(head.closed());
        });
    });
    let mut opened = disk::open(folder.path(), opener()).expect("a journal");
    group.bench_function("its state in the place of its records", |b| {
        b.iter(|| opened.journal.replace(&opened.records).expect("written"));
    });
    group.finish();
}

criterion_group!(benches, changes, start);
criterion_main!(benches);
