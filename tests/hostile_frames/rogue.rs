//! A member with the right key that speaks the records, and breaks the rules above them. A call that cannot be served is
//! answered with an error that says why, and the link goes on; a batch that no peer can have sent ends the session.

use crate::common::bounded;
use crate::node::{Event, Node};
use crate::place::{At, Place};
use mobula::Handle;
use mobula::id::{ActorId, Epoch, Key, Life, ObjectId, Placement};
use mobula::limits::{SETTLE_UNREAD, SETTLE_WINDOW};
use mobula::net::{Lane, NetConfig, Session};
use mobula::wire::bytes::{List, put_varint};
use mobula::wire::codec;
use mobula::wire::frame::{Batch, Header, Hello, Section};
use mobula::wire::packet::{Answer, CallFault, Executed, Flags, Lifetime, Outcome, Ref, Request, Settle, Spawn, Work};
use std::collections::BTreeMap;

const FIRST: Placement = Placement::BY_SPAWNER;
/// The session's number, by its dialer.
const SESSION: u64 = 1;
/// Lives that no head has given yet are taken for those of nodes that joined a moment ago.
pub(crate) const SOME_LIFE: u64 = 1 << 60;

/// The rogue's end of a link to the worker.
pub(crate) struct Rogue {
    pub(crate) node: Node,
    pub(crate) session: Session,
    sent: u64,
    pub(crate) heard: u64,
    /// The last work packet that it was sent, and how many it has answered.
    asked: u64,
    settled: u64,
}

/// What the rogue is answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Value(Vec<u8>),
    Fault(Executed, String),
    /// An error of what was asked for; whether it says anything.
    Error {
        text: bool,
    },
}

impl Rogue {
    /// A member whose session with the worker has begun, hellos included.
    pub(crate) async fn greeted(place: &Place, life: u64) -> Rogue {
        let mut rogue = Rogue::silent(place).await;
        rogue.greet(place, Life(life)).await;
        rogue
    }

    /// Says hello as this life, and is answered.
    pub(crate) async fn greet(&mut self, place: &Place, life: Life) {
        self.session.send(&hello(place, life, SESSION)).await.unwrap();
        loop {
            let (session, heard) = self.node.batch().await;
            if session == self.session.id() {
                return assert!(matches!(Batch::decode(&heard), Ok(Batch::Hello(_))), "{heard:?}");
            }
        }
    }

    /// A member with a session, over which it has said nothing.
    pub(crate) async fn silent(place: &Place) -> Rogue {
        Rogue::silent_as(place, place.member()).await
    }

    pub(crate) async fn silent_as(place: &Place, config: NetConfig) -> Rogue {
        let mut node = Node::start(config).await;
        let session = node.dial_at(place.worker.id, &place.address(At::Worker), Lane::Calls).await.unwrap();
        node.session().await;
        Rogue { node, session, sent: 0, heard: 0, asked: 0, settled: 0 }
    }

    pub(crate) fn header(&self) -> Header {
        Header { session: SESSION, ack_work: self.asked, ack_settle: self.heard, room_work: 1 << 20, echo: false }
    }

    /// Says that it is there, and nothing else.
    pub(crate) async fn is_there(&self) {
        let mut batch = Vec::new();
        self.header().encode(false, false, &mut batch);
        self.session.send(&batch).await.unwrap();
    }

    /// Waits until the witness has run so many calls.
    async fn waits_until(&self, place: &Place, calls: u64) {
        let waiting = async {
            while place.witness.echoed().await != Ok(calls) {
                self.is_there().await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        bounded(waiting).await;
    }

    /// Sends work packets, whatever they hold.
    pub(crate) async fn send(&mut self, packets: &[Vec<u8>]) {
        self.says(false, self.sent + 1, packets).await;
        self.sent += packets.len() as u64;
    }

    /// Sends a batch of these packets, settle or work, the first of which has this number.
    async fn says(&self, settle: bool, first: u64, packets: &[Vec<u8>]) {
        let section = packets.iter().map(|packet| sized(packet)).collect::<Vec<_>>().concat();
        let mut batch = Vec::new();
        self.header().encode(settle, !settle, &mut batch);
        Section::begin(first, section.len(), &mut batch);
        batch.extend_from_slice(&section);
        self.session.send(&batch).await.unwrap();
    }

    /// Waits for the answers of so many calls. What it is asked itself meanwhile it does not know.
    pub(crate) async fn answers(&mut self, count: usize) -> BTreeMap<u64, Said> {
        bounded(async {
            let mut answers = BTreeMap::new();
            while answers.len() < count {
                let (_, heard) = self.node.batch().await;
                let Ok(Batch::Packets { settle, work, .. }) = Batch::decode(&heard) else {
                    panic!("packets, not {heard:?}")
                };
                for packet in settle.packets() {
                    let (number, packet) = packet.unwrap();
                    assert_eq!(number, self.heard + 1, "settle packets come in their order");
                    self.heard = number;
                    if let Ok(Settle::Answer(Answer { call, outcome })) = Settle::decode(packet) {
                        assert!(answers.insert(call, said(&outcome)).is_none(), "one answer a call");
                    }
                }
                let asked: Vec<u64> = work.packets().map(|packet| packet.unwrap().0).collect();
                self.refuse(&asked).await;
            }
            answers
        })
        .await
    }

    /// Answers what it is asked in these work packets: it has nothing.
    async fn refuse(&mut self, asked: &[u64]) {
        let Some(last) = asked.last() else { return };
        self.asked = *last;
        let refused = |call: &u64| {
            let outcome = Outcome::Error { executed: Executed::No, fault: CallFault::UnknownMethod };
            settled(Settle::Answer(Answer { call: *call, outcome }))
        };
        let answers: Vec<Vec<u8>> = asked.iter().map(refused).collect();
        self.says(true, self.settled + 1, &answers).await;
        self.settled += asked.len() as u64;
    }

    /// Sends these bytes as a batch; the session ends, and nobody else's.
    pub(crate) async fn ends_for(mut self, place: &Place, what: &str, batch: &[u8]) {
        // It may be closed while this is on its way.
        let _ = self.session.send(batch).await;
        loop {
            match self.node.next().await {
                Event::Closed(id, _) if id == self.session.id() => break,
                Event::Closed(..) | Event::Session(_) => panic!("{what}: it has one session"),
                Event::Batch(..) => {}
            }
        }
        bounded(self.node.net.close()).await;
        place.is_undisturbed().await;
    }
}

/// The hello of this life, on the session of this number.
pub(crate) fn hello(place: &Place, life: Life, session: u64) -> Vec<u8> {
    let mut batch = Vec::new();
    let (to, dialled) = (place.worker.life, session);
    Hello { life, to, session, dialled, received_work: 0, received_settle: 0 }.encode(&mut batch);
    batch
}

fn said(outcome: &Outcome<'_>) -> Said {
    match outcome {
        Outcome::Value { body, .. } => Said::Value(body.to_vec()),
        Outcome::Error { executed, fault } => Said::Fault(*executed, name(fault)),
        Outcome::App { body, .. } => Said::Error { text: !body.is_empty() },
        other => panic!("{other:?}"),
    }
}

fn name(fault: &CallFault<'_>) -> String {
    format!("{fault:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

pub(crate) fn encoded(work: Work<'_>) -> Vec<u8> {
    let mut packet = Vec::new();
    work.encode(&mut packet);
    packet
}

pub(crate) fn settled(settle: Settle<'_>) -> Vec<u8> {
    let mut packet = Vec::new();
    settle.encode(&mut packet);
    packet
}

/// A packet with its length before it, as it lies in a section.
pub(crate) fn sized(packet: &[u8]) -> Vec<u8> {
    let mut sized = Vec::new();
    put_varint(&mut sized, packet.len() as u64);
    sized.extend_from_slice(packet);
    sized
}

/// A call of the witness's `echo`, as its handle would send it.
pub(crate) fn echo<'a>(place: &Place, body: &'a [u8]) -> Request<'a> {
    Request {
        flags: Flags::ASK,
        stream: 0,
        time_left: None,
        placement: FIRST,
        actor: place.witness.id(),
        method: Key::of("echo", "(u64) -> u64"),
        retries: 0,
        caller: None,
        chain: List::Items(&[]),
        refs: List::Items(&[]),
        body,
    }
}

pub(crate) fn arguments(number: u64) -> Vec<u8> {
    let mut body = Vec::new();
    codec::encode(&(number,), &mut body).unwrap();
    body
}

/// A body that nests deeper than any may, and one that declares more than there is.
fn too_deep() -> Vec<u8> {
    [&[0x91; 10_000][..], &[0xc0]].concat()
}

fn too_long() -> Vec<u8> {
    vec![0x91, 0xdd, 0xff, 0xff, 0xff, 0xff]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_be_served_is_answered_by_its_reason_and_the_link_goes_on() {
    let place = Place::start().await;
    let mut rogue = Rogue::greeted(&place, SOME_LIFE).await;
    let good = arguments(7);
    let call = echo(&place, &good);
    let request = |request: Request<'_>| encoded(Work::Request(request));
    let unmade = ActorId { life: Life(SOME_LIFE), serial: 1 };
    let spawn = |type_key, arguments: &'static [u8]| {
        let namespace = "default";
        let (lifetime, resources) = (Lifetime::Owned, List::Items(&[]));
        let mut body = Vec::new();
        let (restarts, window, name, epoch, bundle) = (0, None, None, Epoch(0), None);
        Spawn { type_key, lifetime, restarts, window, namespace, name, resources, epoch, bundle, arguments }
            .encode(&mut body);
        body
    };
    let witness = Key::of("hostile_frames", "Witness");
    let (foreign, local) = (spawn(Key(99), b""), spawn(witness, b"\xc1"));
    let construct = Request { flags: Flags::SPAWN, actor: unmade, method: Key(98), ..call };
    let mut cut = request(call);
    cut.truncate(24);
    let cases = [
        (request(Request { actor: unmade, ..call }), "NotHere"),
        (request(Request { placement: Placement(2), ..call }), "NotHere"),
        (request(Request { method: Key(97), ..call }), "UnknownMethod"),
        (request(Request { body: b"", ..call }), "Decode"),
        (request(Request { body: b"\xc1", ..call }), "Decode"),
        (request(Request { body: &random(3_000), ..call }), "Decode"),
        (request(Request { body: &too_deep(), ..call }), "Decode"),
        (request(Request { body: &too_long(), ..call }), "Decode"),
        (request(Request { body: &foreign, ..construct }), "UnknownType"),
        (request(Request { body: &local, ..construct }), "UnknownMethod"),
        (request(Request { body: b"", ..construct }), "Decode"),
        (cut, "Decode"),
    ];
    let before = place.resident(At::Worker);
    rogue.send(&cases.iter().map(|(packet, _)| packet.clone()).collect::<Vec<_>>()).await;
    let mut expected = BTreeMap::new();
    for (at, (_, fault)) in (1..).zip(&cases) {
        expected.insert(at, Said::Fault(Executed::No, (*fault).to_owned()));
    }
    assert_eq!(rogue.answers(cases.len()).await, expected);
    rogue.send(&[request(call)]).await;
    assert_eq!(rogue.answers(1).await, BTreeMap::from([(rogue.sent, Said::Value(vec![7]))]));
    let grown = place.resident(At::Worker).saturating_sub(before);
    assert!(grown < 4 << 20, "what is declared is not reserved: {grown} bytes");
    assert_eq!(bounded(place.witness.echoed()).await, Ok(1), "of all that, one call ran");
    bounded(rogue.node.net.close()).await;
    place.end().await;
}

fn random(length: usize) -> Vec<u8> {
    // The first byte begins nothing, whatever follows.
    [vec![0xc1], crate::stranger::random_bytes(104_729, length)].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_no_peer_can_have_sent_ends_the_session_and_no_other() {
    let place = Place::start().await;
    let body = arguments(7);
    let packet = encoded(Work::Request(echo(&place, &body)));
    let answer = Answer { call: 5, outcome: Outcome::Value { refs: List::Items(&[]), body: b"" } };
    let header = Header { session: SESSION, ack_work: 0, ack_settle: 0, room_work: 1 << 20, echo: false };
    let batch = |header: Header, settle: bool, first: u64, declared: usize, packets: &[u8]| {
        let mut batch = Vec::new();
        header.encode(settle, !settle, &mut batch);
        Section::begin(first, declared, &mut batch);
        batch.extend_from_slice(packets);
        batch
    };
    let one = sized(&packet);
    let answered = sized(&settled(Settle::Answer(answer)));
    let credited = sized(&settled(Settle::Credit { stream: 9, count: 3 }));
    let recall = sized(&encoded(Work::Recall { grant: 1, count: 1 }));
    let mut hello = Vec::new();
    Hello { life: Life(1), to: Life(0), session: 2, dialled: 2, received_work: 0, received_settle: 0 }
        .encode(&mut hello);
    let cases = [
        ("random bytes", random(2_000)),
        ("nothing", Vec::new()),
        ("a second hello, of another life", hello),
        ("a packet whose predecessors are missing", batch(header, false, 9, one.len(), &one)),
        ("a section longer than its batch", batch(header, false, 1, 1 << 30, &one)),
        ("a packet longer than its section", batch(header, false, 1, 6, b"\xff\xff\xff\xff\x0f\x01")),
        ("an empty packet", batch(header, false, 1, 1, &[0])),
        ("a work packet of no kind", batch(header, false, 1, 2, &[1, 0x77])),
        ("work that no node sends", batch(header, false, 1, recall.len(), &recall)),
        ("an answer to nothing that was asked", batch(header, true, 1, answered.len(), &answered)),
        ("credit of a stream that is none", batch(header, true, 1, credited.len(), &credited)),
        ("acknowledging what was not sent", batch(Header { ack_work: 4, ..header }, false, 1, one.len(), &one)),
        ("another session's number", batch(Header { session: 7, ..header }, false, 1, one.len(), &one)),
        ("more calls than it has credit for", batch(header, false, 1, 1_026 * one.len(), &one.repeat(1_026))),
    ];
    for (life, (what, batch)) in (SOME_LIFE..).zip(&cases) {
        let rogue = Rogue::greeted(&place, life).await;
        rogue.ends_for(&place, what, batch).await;
    }
    for (what, batch) in [("a call before the hello", &cases[3].1), ("random bytes before the hello", &random(500))] {
        Rogue::silent(&place).await.ends_for(&place, what, batch).await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_talks_nonsense_to_the_head_is_cut_off() {
    let place = Place::start().await;
    for (what, piece) in [("random bytes", random(900)), ("nothing", Vec::new()), ("a short piece", vec![1])] {
        let mut node = Node::start(place.member()).await;
        let session = node.dial_at(place.head, &place.address(At::Head), Lane::Control).await.unwrap();
        node.session().await;
        Rogue { node, session, sent: 0, heard: 0, asked: 0, settled: 0 }.ends_for(&place, what, &piece).await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_never_were_and_nonsense_about_objects_are_answered_and_the_link_goes_on() {
    let place = Place::start().await;
    let mut rogue = Rogue::greeted(&place, SOME_LIFE).await;
    let good = arguments(7);
    let call = echo(&place, &good);
    let node = Request { actor: ActorId { life: place.worker.life, serial: 0 }, placement: Placement(0), ..call };
    let asked =
        |method, body: &[u8]| encoded(Work::Request(Request { method: Key::of("mobula", method), body, ..node }));
    let read = |how: u8| asked("object", &[&999_u64.to_le_bytes()[..], &[how]].concat());
    let passed = |position, life, body: &[u8]| {
        let refs = [Ref::Argument { position, object: ObjectId { life, serial: 999 } }];
        encoded(Work::Request(Request { refs: List::Items(&refs), body, ..call }))
    };
    let (fault, error) = (|name: &str| Said::Fault(Executed::No, name.to_owned()), |text| Said::Error { text });
    // An array of one nothing: the argument is an object.
    let nothing = [0x91, 0xc0];
    let cases = [
        (read(0), error(true)),
        (asked("object", &[&999_u64.to_le_bytes()[..], &[1; 9]].concat()), error(true)),
        (read(1), fault("Decode")),
        (read(2), error(true)),
        (read(9), fault("Decode")),
        (asked("object", b"short"), fault("Decode")),
        (asked("holds", &[&999_u64.to_le_bytes()[..], &[1]].concat()), Said::Value(Vec::new())),
        (asked("holds", &[&999_u64.to_le_bytes()[..], &[2]].concat()), fault("Decode")),
        (asked("holds", b""), fault("Decode")),
        (asked("bulk", b"whatever"), Said::Value(Vec::new())),
        (asked("attach", b""), error(false)),
        (asked("attach", &[7; 100]), error(false)),
        (passed(0, place.worker.life, &nothing), fault("Argument")),
        (passed(0, Life(SOME_LIFE - 1), &nothing), fault("Argument")),
        (passed(0, place.worker.life, &good), fault("Argument")),
        (passed(5, place.worker.life, &good), Said::Value(vec![7])),
        (passed(5, place.worker.life, &nothing), fault("Decode")),
    ];
    rogue.send(&cases.iter().map(|(packet, _)| packet.clone()).collect::<Vec<_>>()).await;
    let answers = rogue.answers(cases.len()).await;
    for ((at, said), (_, expected)) in answers.iter().zip(&cases) {
        assert_eq!(said, expected, "request {at}");
    }
    rogue.send(&[encoded(Work::Request(call))]).await;
    assert_eq!(rogue.answers(1).await, BTreeMap::from([(rogue.sent, Said::Value(vec![7]))]));
    bounded(rogue.node.net.close()).await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_its_answers_unread_holds_nothing_that_they_refer_to() {
    let place = Place::start().await;
    let mut rogue = Rogue::greeted(&place, SOME_LIFE).await;
    let (number, large, small) = (arguments(7), arguments(60_000), arguments(500));
    let of = |stream: u32, name, signature, body| {
        encoded(Work::Request(Request { stream, method: Key::of(name, signature), body, ..echo(&place, &number) }))
    };
    // It acknowledges none of them. Some are refused before the first have left for the session.
    let pages = (SETTLE_UNREAD + SETTLE_WINDOW) / 60_000;
    let (mut unread, mut received) = (0, 0);
    for (count, body) in [(pages, &large), (pages / 4, &large), (250, &small)] {
        for _ in 0..count {
            rogue.send(&[of(unread as u32 / 500, "page", "(u64) -> String", body)]).await;
            unread += 1;
        }
        rogue.waits_until(&place, unread).await;
        // Then the session takes no more.
        while received < SETTLE_WINDOW - 61_000 {
            received += rogue.node.batch().await.1.len();
        }
    }
    let lends = of(unread as u32 / 500, "lend", "(u64) -> ObjectRef<u64>", &number);
    rogue.send(&vec![lends; 20]).await;
    rogue.waits_until(&place, unread + 20).await;
    bounded(async { while place.witness.lent().await != Ok(0) {} }).await;
    bounded(rogue.node.net.close()).await;
    place.end().await;
}
