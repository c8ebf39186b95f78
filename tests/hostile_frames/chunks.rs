//! A member that says it has an object, or owns one, and then lies about its ranges, falls silent, or goes; and one that asks
//! for what no node asks for.

use crate::common::bounded;
use crate::lender::joined;
use crate::node::{Event, Node};
use crate::place::{At, Place};
use crate::rogue::{Rogue, arguments, echo, encoded, settled, sized};
use mobula::id::{ActorId, Key, Life, ObjectId, Placement};
use mobula::limits::OBJECT_CHUNK;
use mobula::net::{Lane, Session};
use mobula::wire::bytes::List;
use mobula::wire::chunk::{Range, Refusal, Word};
use mobula::wire::frame::{Batch, Section};
use mobula::wire::packet::{Answer, Outcome, Ref, Request, Settle, Work};

pub(crate) const MIB: usize = 1 << 20;
/// What an owner answers of a large plain object.
const PLAIN: u8 = 4;

pub(crate) fn message(word: Word<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    word.encode(&mut message);
    message
}

fn chunk(number: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    message(Word::Chunk { number, offset, bytes })
}

/// An owner's answer.
fn large(length: u64, lives: &[u64]) -> Vec<u8> {
    let numbers = std::iter::once(&length).chain(lives).flat_map(|number| number.to_le_bytes());
    std::iter::once(PLAIN).chain(numbers).collect()
}

pub(crate) fn numbers(seed: u64) -> Vec<u64> {
    (0..3 * MIB as u64 / 8).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed).collect()
}

/// The member, as a holder of objects.
struct Holder {
    rogue: Rogue,
    _to_head: Session,
    life: Life,
    bulk: Option<Session>,
    /// Those before it that were not seen to end: within one pull the other side may dial anew.
    former: Vec<u64>,
    /// Sessions of the bulk lane that the other side has ended.
    closed: usize,
    said: u64,
}

/// What is asked of it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    range: Range,
}

impl Asked {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.range.within(bytes.len()).expect("nobody asks beyond an object's end")]
    }

    fn right(&self, bytes: &[u8]) -> Vec<u8> {
        chunk(self.number, self.range.offset, self.of(bytes))
    }
}

impl Holder {
    async fn join(place: &Place) -> Holder {
        let (rogue, _to_head, life) = joined(place, vec!["tcp://127.0.0.1:0".parse().unwrap()]).await;
        Holder { rogue, _to_head, life, bulk: None, former: Vec::new(), closed: 0, said: 0 }
    }

    /// Tells the worker that this node has a copy of its object.
    async fn announces(&mut self, place: &Place, object: ObjectId) {
        let good = arguments(7);
        let body = [&object.serial.to_le_bytes()[..], &[1]].concat();
        let (actor, placement) = (ActorId { life: place.worker.life, serial: 0 }, Placement(0));
        let method = Key::of("mobula", "holds");
        let told = Request { actor, placement, method, body: &body, ..echo(place, &good) };
        self.rogue.send(&[encoded(Work::Request(told))]).await;
        let answered = self.serves(std::future::pending::<()>(), |_, _| Vec::new(), |_| Vec::new());
        assert!(answered.await.is_err_and(|answer| answer.contains("Value")));
    }

    /// Answers what is asked on the bulk lane, and calls of the node itself, by these rules, until `work` is done or a call of its
    /// own is answered.
    async fn serves<R>(
        &mut self,
        work: impl Future<Output = R>,
        mut chunks: impl FnMut(usize, Asked) -> Vec<Vec<u8>>,
        mut calls: impl FnMut(usize) -> Vec<u8>,
    ) -> Result<(R, usize), String> {
        let (mut work, mut asked, mut called) = (std::pin::pin!(work), 0, 0);
        loop {
            let event = tokio::select! {
                biased;
                event = self.rogue.node.next() => event,
                done = &mut work => return Ok((done, asked)),
            };
            match event {
                Event::Session(session) => {
                    assert_eq!(session.lane(), Lane::Bulk);
                    let former = self.bulk.replace(session);
                    let now = self.bulk.as_ref().map(Session::id);
                    self.former.extend(former.map(|former| former.id()).filter(|former| Some(*former) != now));
                }
                Event::Batch(id, bytes) if self.bulk.as_ref().is_some_and(|bulk| bulk.id() == id) => {
                    match Word::decode(&bytes).unwrap() {
                        Word::Ask { number, range, .. } => {
                            for message in chunks(asked, Asked { number, range }) {
                                // Its peer may have had enough.
                                let _ = self.bulk.as_ref().unwrap().send(&message).await;
                            }
                            asked += 1;
                        }
                        Word::End { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                Event::Batch(id, bytes) if id == self.rogue.session.id() => {
                    if let Some(answer) = self.call(&bytes, &mut called, &mut calls).await {
                        return Err(answer);
                    }
                }
                Event::Batch(..) => {}
                Event::Closed(id, _) => {
                    assert!(id != self.rogue.session.id(), "the link goes on");
                    self.ended(id);
                }
            }
        }
    }

    /// Answers the worker's calls; gives its answer to the rogue's.
    async fn call(
        &mut self,
        batch: &[u8],
        called: &mut usize,
        calls: &mut impl FnMut(usize) -> Vec<u8>,
    ) -> Option<String> {
        let Ok(Batch::Packets { settle, work, .. }) = Batch::decode(batch) else { panic!("packets, not {batch:?}") };
        let mut answer = None;
        for packet in settle.packets() {
            let (number, packet) = packet.unwrap();
            self.rogue.heard = number;
            if let Ok(Settle::Answer(Answer { outcome, .. })) = Settle::decode(packet) {
                answer = Some(format!("{outcome:?}"));
            }
        }
        // It may be asked whether it is still there.
        self.rogue.is_there().await;
        for packet in work.packets() {
            let (call, packet) = packet.unwrap();
            let Ok(Work::Request(request)) = Work::decode(packet) else { panic!("a request, not {packet:?}") };
            // It may be asked to dial, or told of a copy, as well: it says yes.
            let body = match request.method == Key::of("mobula", "object") {
                true => {
                    *called += 1;
                    calls(*called - 1)
                }
                false => Vec::new(),
            };
            let outcome = Outcome::Value { refs: List::EMPTY, body: &body };
            let packets = sized(&settled(Settle::Answer(Answer { call, outcome })));
            let mut batch = Vec::new();
            self.rogue.header().encode(true, false, &mut batch);
            self.said += 1;
            Section::begin(self.said, packets.len(), &mut batch);
            batch.extend_from_slice(&packets);
            self.rogue.session.send(&batch).await.unwrap();
        }
        answer
    }

    fn ended(&mut self, id: u64) {
        let before = self.former.len();
        self.former.retain(|former| *former != id);
        let current = self.bulk.take_if(|bulk| bulk.id() == id);
        self.closed += before - self.former.len() + usize::from(current.is_some());
    }

    /// Waits until more sessions than these have ended.
    async fn was_closed(&mut self, before: usize) {
        while self.closed == before {
            if let Event::Closed(id, _) = self.rogue.node.next().await {
                self.ended(id);
            }
        }
    }

    /// The driver reads an object of the worker that this node says it has, and is right whatever this node does. How often it
    /// was asked.
    async fn is_read_from(
        &mut self,
        place: &Place,
        seed: u64,
        mut chunks: impl FnMut(usize, Asked, &[u8]) -> Vec<Vec<u8>>,
    ) -> usize {
        let items = numbers(seed);
        let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
        // The owner may have sent all before this node's turn comes.
        for _ in 0..50 {
            self.dials(place).await;
            let object = bounded(place.witness.make(items.clone())).await.unwrap();
            self.announces(place, object.id()).await;
            let reading = bounded(place.cluster.get(&object));
            let read = self.serves(reading, |at, asked| chunks(at, asked, &bytes), |_| Vec::new());
            let (view, asked) = read.await.expect("it asks for nothing meanwhile");
            assert!(*view.unwrap() == *items, "another value than was put, of object {seed}");
            if asked > 0 {
                return asked;
            }
        }
        panic!("a node that says it has an object is never asked for it");
    }

    /// Has a session with the driver, so that this node is asked as soon as any.
    async fn dials(&mut self, place: &Place) {
        if self.bulk.is_none() {
            let address = place.address(At::Head);
            self.bulk = Some(self.rogue.node.dial_at(place.head, &address, Lane::Bulk).await.unwrap());
        }
    }
}

type Lie = fn(Asked, &[u8]) -> Vec<Vec<u8>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_lies_about_ranges_is_cut_off_and_harms_no_object() {
    let place = Place::apart().await;
    let mut holder = Holder::join(&place).await;
    let lies: [(&str, Lie); 12] = [
        ("another offset", |asked, bytes| vec![chunk(asked.number, asked.range.offset + 1, asked.of(bytes))]),
        ("no offset of any object", |asked, bytes| vec![chunk(asked.number, u64::MAX, asked.of(bytes))]),
        ("a byte less", |asked, bytes| vec![chunk(asked.number, asked.range.offset, &asked.of(bytes)[1..])]),
        ("a byte more", |asked, bytes| {
            vec![chunk(asked.number, asked.range.offset, &[asked.of(bytes), &[0]].concat())]
        }),
        ("no byte", |asked, _| vec![chunk(asked.number, asked.range.offset, &[])]),
        ("what was never asked for", |asked, bytes| vec![chunk(asked.number + 1_000, 0, asked.of(bytes))]),
        ("the same twice", |asked, bytes| vec![asked.right(bytes), asked.right(bytes)]),
        ("a word that is none", |_, _| vec![vec![9; 40]]),
        ("an empty message", |_, _| vec![Vec::new()]),
        ("a no to what was never asked", |asked, _| {
            vec![message(Word::No { number: asked.number + 1_000, why: Refusal::Gone })]
        }),
        ("a wait for what was never asked", |asked, _| vec![message(Word::Wait { number: asked.number + 1_000 })]),
        ("an ask for nothing", |asked, _| {
            let (object, range) = (ObjectId { life: Life(1), serial: 1 }, Range { offset: 0, length: 0 });
            vec![message(Word::Ask { number: asked.number, had: 0, object, range })]
        }),
    ];
    for (seed, (what, lie)) in (0..).zip(lies) {
        let before = holder.closed;
        let asked =
            holder.is_read_from(&place, seed, |at, asked, bytes| if at == 0 { lie(asked, bytes) } else { Vec::new() });
        asked.await;
        let closed = tokio::time::timeout(std::time::Duration::from_secs(20), holder.was_closed(before)).await;
        assert!(closed.is_ok(), "{what}: its session was not closed");
    }
    place.is_undisturbed().await;
    bounded(holder.rogue.node.net.close()).await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_asked_for_ranges_and_may_go_be_busy_or_fall_silent_in_the_middle() {
    let place = Place::apart().await;
    let mut holder = Holder::join(&place).await;
    let no = |asked: Asked, why| vec![message(Word::No { number: asked.number, why })];
    let asked = holder.is_read_from(&place, 1, |_, asked, bytes| vec![asked.right(bytes)]).await;
    assert!(asked > 1, "a holder that sends is asked for more");
    for (seed, why) in (2..).zip([Refusal::Gone, Refusal::Busy, Refusal::Range]) {
        for sent in 0..2 {
            let read = holder.is_read_from(&place, seed, |at, asked, bytes| match at < sent {
                true => vec![asked.right(bytes)],
                false => no(asked, why),
            });
            assert!(read.await > 0);
        }
    }
    for sent in 0..2 {
        let read = holder.is_read_from(&place, 5, |at, asked, bytes| match at < sent {
            true => vec![asked.right(bytes)],
            false => Vec::new(),
        });
        read.await;
        // What it was asked for and did not send is not to be in the way of the next.
        holder.bulk.take().into_iter().for_each(|bulk| bulk.close(mobula::net::Closed::Here));
    }
    let items = numbers(6);
    let object = bounded(place.witness.make(items.clone())).await.unwrap();
    holder.announces(&place, object.id()).await;
    // It is named, and gone.
    bounded(holder.rogue.node.net.close()).await;
    assert!(*bounded(place.cluster.get(&object)).await.unwrap() == *items);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_lies_about_an_object_fails_its_readers_and_reserves_nothing() {
    let place = Place::apart().await;
    let mib = MIB as u64;
    let zeros = |asked: Asked| chunk(asked.number, asked.range.offset, &vec![0; asked.range.length as usize]);
    let no = |asked: Asked, why| message(Word::No { number: asked.number, why });
    type Chunks<'a> = Box<dyn Fn(usize, Asked) -> Vec<u8> + Send + 'a>;
    let cases: [(&str, [Vec<u8>; 2], Chunks<'_>, &str); 8] = [
        (
            "more than any node has",
            [large(1 << 62, &[]), Vec::new()],
            Box::new(|at, asked| match at {
                0..20 => zeros(asked),
                _ => no(asked, Refusal::Range),
            }),
            "no piece",
        ),
        (
            "more than can be",
            [large(u64::MAX, &[]), Vec::new()],
            Box::new(|_, asked| no(asked, Refusal::Range)),
            "no piece",
        ),
        (
            "less than it says",
            [large(mib, &[]), Vec::new()],
            Box::new(|_, asked| chunk(asked.number, asked.range.offset, &[0])),
            "no piece",
        ),
        (
            "nothing, and has let it go",
            [large(mib, &[]), large(mib, &[])],
            Box::new(|_, asked| no(asked, Refusal::Gone)),
            "lost",
        ),
        (
            "another length the next time",
            [large(mib, &[]), large(2 * mib, &[])],
            Box::new(|_, asked| no(asked, Refusal::Gone)),
            "no piece",
        ),
        (
            "holders that nobody knows, itself, and the reader",
            [large(mib, &[1 << 61, place.worker.life.0]), Vec::new()],
            Box::new(|_, asked| zeros(asked)),
            "plain bytes",
        ),
        ("too small for a large object", [large(100, &[]), Vec::new()], Box::new(|_, asked| zeros(asked)), "no piece"),
        ("too many holders", [large(mib, &[7; 1_000]), Vec::new()], Box::new(|_, asked| zeros(asked)), "no piece"),
    ];
    let before = place.resident(At::Worker);
    for (what, answers, chunks, why) in cases {
        let mut holder = Holder::join(&place).await;
        let refs = [Ref::Argument { position: 0, object: ObjectId { life: holder.life, serial: 1 } }];
        let good = arguments(7);
        let call = Request { refs: List::Items(&refs), body: &[0x91, 0xc0], ..echo(&place, &good) };
        holder.rogue.send(&[encoded(Work::Request(call))]).await;
        let calls = |at: usize| answers[at.min(usize::from(!answers[1].is_empty()))].clone();
        let answered = holder.serves(std::future::pending::<()>(), |at, asked| vec![chunks(at, asked)], calls);
        let answer = bounded(answered).await.unwrap_err();
        assert!(answer.contains("executed: No") && answer.contains(why), "{what}: {answer}");
        bounded(holder.rogue.node.net.close()).await;
        place.is_undisturbed().await;
    }
    let grown = place.resident(At::Worker).saturating_sub(before);
    assert!(grown < 64 * MIB, "what is declared is not reserved: {grown} bytes");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_what_is_not_there_is_told_and_who_asks_for_what_nobody_may_is_cut_off() {
    let place = Place::apart().await;
    let object = bounded(place.witness.make(numbers(1))).await.unwrap().id();
    let view = bounded(place.witness.make(numbers(2))).await.unwrap();
    let mut node = Node::start(place.member()).await;
    let dial = async |node: &mut Node| {
        let session = node.dial_at(place.worker.id, &place.address(At::Worker), Lane::Bulk).await.unwrap();
        node.session().await;
        session
    };
    let session = dial(&mut node).await;
    let ask =
        |number, object, offset, length| message(Word::Ask { number, had: 0, object, range: Range { offset, length } });
    let (whole, most) = (3 * MIB as u64, OBJECT_CHUNK as u32);
    let nobody = ObjectId { serial: 999_999, ..object };
    let cases = [
        (ask(1, nobody, 0, 1), Err(Refusal::Gone)),
        (ask(2, ObjectId { life: Life(1 << 60), serial: 1 }, 0, 1), Err(Refusal::Gone)),
        // The driver has let it go.
        (ask(3, object, 0, 1), Err(Refusal::Gone)),
        (ask(4, view.id(), whole, 1), Err(Refusal::Range)),
        (ask(5, view.id(), whole - 1, 2), Err(Refusal::Range)),
        (ask(6, view.id(), u64::MAX, most), Err(Refusal::Range)),
        (ask(7, view.id(), 8, 8), Ok(numbers(2)[1])),
    ];
    crate::common::until("it to be let go", || place.cluster.shared_objects().borrowed == 1).await;
    for (number, (asked, expected)) in (1..).zip(cases) {
        session.send(&asked).await.unwrap();
        let (_, heard) = node.batch().await;
        let said = match Word::decode(&heard).unwrap() {
            Word::No { number: of, why } if of == number => Err(why),
            Word::Chunk { number: of, bytes, .. } if of == number => Ok(u64::from_le_bytes(bytes.try_into().unwrap())),
            other => panic!("{other:?}"),
        };
        assert_eq!(said, expected, "ask {number}");
    }
    session.send(&message(Word::End { object: nobody })).await.unwrap();
    let breaches = [
        ("no byte", ask(8, view.id(), 0, 0)),
        ("more than a chunk", ask(8, view.id(), 0, most + 1)),
        ("a chunk that nobody asked for", chunk(1, 0, b"bytes")),
        ("half an ask", ask(8, view.id(), 0, 8)[..20].to_vec()),
    ];
    let (mut session, before) = (session, place.counted(At::Worker).await["bulk_breach"]);
    for (what, breach) in breaches {
        session.send(&breach).await.unwrap();
        let (closed, _) = node.closed().await;
        assert_eq!(closed, session.id(), "{what}");
        session = dial(&mut node).await;
    }
    assert_eq!(place.counted(At::Worker).await["bulk_breach"], before + 4);
    // One that dials again has lost its session.
    let again = node.dial_at(place.worker.id, &place.address(At::Worker), Lane::Bulk).await.unwrap();
    again.send(&ask(1, view.id(), 0, 8)).await.unwrap();
    let (mut closed, mut answered) = (false, false);
    while !(closed && answered) {
        match node.next().await {
            Event::Closed(id, _) => closed |= id == session.id(),
            Event::Batch(id, _) => answered |= id == again.id(),
            Event::Session(_) => {}
        }
    }
    bounded(node.net.close()).await;
    assert!(*bounded(place.cluster.get(&view)).await.unwrap() == *numbers(2));
    drop(view);
    place.end().await;
}
