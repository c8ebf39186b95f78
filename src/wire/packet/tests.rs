use super::*;
use crate::id::{Epoch, GroupId};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const ACTOR: ActorId = ActorId { life: Life(3), serial: 300 };
const WAIT: WaitId = WaitId { life: Life(3), serial: 5 };
const CALLER: Incarnation = Incarnation { placement: Placement(6), restart: 1 };
const REF: Ref = Ref::Actor {
    actor: ACTOR,
    type_key: Key(0x0102_0304),
    host: Life(4),
    placement: Placement(2),
    kept: Kept::Detached,
};
const OBJECT: Counted = Counted::Object(ObjectId { life: Life(3), serial: 300 });
const COUNT: Count = Count { first: Counted::Actor(ACTOR), run: 10, n: 2 };

fn request() -> Request<'static> {
    Request {
        flags: Flags::TELL.and(Flags::STREAM),
        stream: 9,
        time_left: Some(Duration::from_millis(1)),
        placement: Placement(2),
        actor: ACTOR,
        method: Key(0x1122_3344_5566_7788),
        retries: 3,
        caller: Some((ACTOR, CALLER)),
        chain: List::Items(&[Frame { actor: ACTOR, frame: 4 }]),
        refs: List::Items(&[REF]),
        body: b"body",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn work_golden(packet: Work<'_>, golden: &str) {
    let mut out = Vec::new();
    packet.encode(&mut out);
    assert_eq!(hex(&out), golden.replace(' ', ""), "{packet:?}");
    assert_eq!(Work::decode(&out), Ok(packet));
}

fn settle_golden(packet: Settle<'_>, golden: &str) {
    let mut out = Vec::new();
    packet.encode(&mut out);
    assert_eq!(hex(&out), golden.replace(' ', ""), "{packet:?}");
    assert_eq!(Settle::decode(&out), Ok(packet));
}

#[test]
fn work_packets_have_their_golden_bytes() {
    let plain = Request {
        flags: Flags::ASK,
        time_left: None,
        retries: 0,
        caller: None,
        chain: List::EMPTY,
        refs: List::EMPTY,
        ..request()
    };
    work_golden(
        Work::Request(plain),
        "01 00 09000000 ffffffff 0200000000000000 03ac02 8877665544332211 00 00 626f6479",
    );
    work_golden(
        Work::Request(request()),
        "01 1d 09000000 e8030000 0200000000000000 03ac02 8877665544332211 03 03ac020601 01 03ac0204 \
         01 0103ac020403020100000000040201 626f6479",
    );
    let run = Work::Run { grant: 1, task: 2, attempt: 3, refs: List::EMPTY, body: b"x" };
    work_golden(run, "02 01 02 03 00 78");
    work_golden(Work::Recall { grant: 1, count: 200 }, "03 01 c801");
    let stop = |mode| Work::Stop { actor: ACTOR, placement: Placement(2), mode };
    work_golden(stop(StopMode::Drain), "04 03ac02 02 00");
    work_golden(stop(StopMode::Kill), "04 03ac02 02 01");
}

#[test]
fn settle_packets_have_their_golden_bytes() {
    let answer = |outcome| Settle::Answer(Answer { call: 129, outcome });
    settle_golden(answer(Outcome::Value { refs: List::EMPTY, body: &[7] }), "11 8101 00 00 07");
    settle_golden(
        answer(Outcome::App { refs: List::Items(&[REF]), body: &[] }),
        "11 8101 01 01 0103ac020403020100000000040201",
    );
    settle_golden(Settle::Item { call: 1, index: 2, refs: List::EMPTY, body: b"i" }, "12 01 02 00 69");
    settle_golden(Settle::Room { call: 1, count: 8 }, "13 01 08");
    settle_golden(Settle::Credit { stream: 9, count: 64 }, "14 09 40");
    settle_golden(Settle::Cancel { call: 1 }, "15 01");
    settle_golden(Settle::Claim(List::Items(&[COUNT])), "16 01 0103ac02 0a 02");
    settle_golden(Settle::Claimed(List::EMPTY), "17 00");
    settle_golden(Settle::Release(List::Items(&[COUNT, COUNT])), "18 02 0103ac02 0a 02 0103ac02 0a 02");
    settle_golden(Settle::Landed(List::EMPTY), "19 00");
    settle_golden(Settle::Gone(List::Items(&[COUNT])), "1b 01 0103ac02 0a 02");
    let objects = Count { first: OBJECT, run: 10_000, n: 1 };
    settle_golden(Settle::Release(List::Items(&[objects])), "18 01 0203ac02 904e 01");
    let object = ObjectId { life: Life(3), serial: 300 };
    let refs = List::Items(&[Ref::Object { object }, Ref::Argument { position: 1, object }]);
    settle_golden(Settle::Item { call: 1, index: 2, refs, body: b"i" }, "12 01 02 02 0203ac02 030103ac02 69");
    let pin = Pin { reader: 2, segment: 300, offset: 64, length: 5 };
    let refs = List::Items(&[Ref::Pinned { position: 1, object, pin }]);
    settle_golden(Settle::Item { call: 1, index: 2, refs, body: b"i" }, "12 01 02 01 040103ac02 02ac024005 69");
    let path = List::Items(&[Hop { wait: WAIT, actor: ACTOR }]);
    let (actor, method) = (ACTOR, Key(7));
    let to = ProbeTo { actor, method, call: Some(5) };
    settle_golden(
        Settle::Probe(Probe { to, origin: WAIT, path }),
        "1a 03ac02 0700000000000000 01 05 0305 01 0305 03ac02",
    );
    let probe = Probe { to: ProbeTo { call: None, ..to }, origin: WAIT, path: List::EMPTY };
    settle_golden(Settle::Probe(probe), "1a 03ac02 0700000000000000 00 0305 00");
}

#[test]
fn what_is_counted_has_an_owner_and_detached_actors_are_not_counted() {
    let attached = match REF {
        Ref::Actor { actor, type_key, host, placement, .. } => {
            Ref::Actor { actor, type_key, host, placement, kept: Kept::Counted }
        }
        Ref::Object { .. } | Ref::Argument { .. } | Ref::Pinned { .. } => REF,
    };
    assert_eq!((REF.counted(), attached.counted()), (None, Some(Counted::Actor(ACTOR))));
    let object = Ref::Object { object: ObjectId { life: Life(3), serial: 300 } };
    assert_eq!(object.counted(), Some(OBJECT));
    assert_eq!((OBJECT.owner(), Counted::Actor(ACTOR).owner()), (Life(3), Life(3)));
    let last = Counted::Object(ObjectId { life: Life(3), serial: u64::MAX });
    assert_eq!((OBJECT.step(u64::MAX - 300), last.step(1)), (Some(last), None));
    assert_eq!((OBJECT.to_string(), Counted::Actor(ACTOR).to_string()), ("object 3.300".into(), "actor 3.300".into()));
}

#[test]
fn faults_have_their_golden_bytes() {
    let golden = [
        (CallFault::NotHere, "01"),
        (CallFault::ActorDied(End::Stopped), "02 01"),
        (CallFault::ActorDied(End::Killed), "02 02"),
        (CallFault::ActorDied(End::Panicked { message: "no" }), "02 03 026e6f"),
        (CallFault::ActorDied(End::NeverStarted { message: "no" }), "02 04 026e6f"),
        (CallFault::ActorDied(End::OwnerEnded), "02 05"),
        (CallFault::ActorDied(End::NodeEnded), "02 06"),
        (CallFault::ActorDied(End::NodeStopped), "02 07"),
        (CallFault::ActorDied(End::RestartsSpent { restarts: 3, message: "no" }), "02 08 03 026e6f"),
        (CallFault::ActorDied(End::ChildrenFailed { restarts: 3, message: "no" }), "02 0a 03 026e6f"),
        (CallFault::ActorRestarted, "03"),
        (CallFault::Panicked { message: "no" }, "04 026e6f"),
        (CallFault::UnknownType, "05"),
        (CallFault::UnknownMethod, "06"),
        (CallFault::Decode { message: "é" }, "07 02c3a9"),
        (CallFault::Encode { message: "" }, "08 00"),
        (CallFault::ReplyTooLarge { bytes: 300 }, "09 ac02"),
        (CallFault::Cancelled, "0a"),
        (CallFault::TimeUp, "0b"),
        (CallFault::Deadlock { cycle: List::Items(&[ACTOR]) }, "0c 01 03ac02"),
        (CallFault::Stale, "0d"),
        (CallFault::MailboxFull, "0e"),
        (CallFault::ChainTooLong, "0f"),
        (CallFault::Fenced, "10"),
        (CallFault::NoGrant, "11"),
        (CallFault::NoResources, "12"),
        (CallFault::ReferenceLost, "13"),
        (CallFault::Argument { object: ObjectId { life: Life(3), serial: 300 }, message: "m" }, "15 03ac02 01 6d"),
        (CallFault::Unread, "14"),
    ];
    for (fault, bytes) in golden {
        let outcome = Outcome::Error { executed: Executed::Maybe, fault };
        settle_golden(Settle::Answer(Answer { call: 1, outcome }), &format!("11 01 02 01 {bytes}"));
    }
}

#[test]
fn a_spawn_has_its_golden_bytes() {
    let spawn = Spawn {
        type_key: Key(1),
        lifetime: Lifetime::Detached,
        restarts: 2,
        window: Some(std::time::Duration::from_millis(5)),
        namespace: "ns",
        name: Some("hits"),
        resources: List::Items(&[Amount { name: "cpu", units: 5_000 }]),
        epoch: Epoch(4),
        bundle: Some((GroupId { life: Life(3), serial: 300 }, Some(1))),
        arguments: &[0x90],
    };
    let mut out = Vec::new();
    spawn.encode(&mut out);
    let golden = "0100000000000000 01 02 05 026e73 01 0468697473 01 03637075 8827 04 02 03 ac02 01 90";
    assert_eq!(hex(&out), golden.replace(' ', ""));
    assert_eq!(Spawn::decode(&out), Ok(spawn));
    for bundle in [None, Some((GroupId { life: Life(3), serial: 1 }, None))] {
        let (spawn, mut out) = (Spawn { bundle, ..spawn }, Vec::new());
        spawn.encode(&mut out);
        assert_eq!(Spawn::decode(&out), Ok(spawn));
    }
    let at = out.len() - 6;
    out[at] = 9;
    assert_eq!(Spawn::decode(&out), Err(WireError::Tag { what: "a bundle", tag: 9 }));
}

#[test]
fn what_a_link_patches_and_peeks_is_where_the_packet_has_it() {
    let mut out = Vec::new();
    request().encode(&mut out);
    set_stream(&mut out, 77);
    set_time_left(&mut out, None);
    set_placement(&mut out, Placement(1 << 40));
    assert_eq!(Arrived::of(&out), Ok(Some(Arrived { stream: 77, tell: true, streaming: true })));
    let patched = Request { stream: 77, time_left: None, placement: Placement(1 << 40), ..request() };
    assert_eq!(Work::decode(&out), Ok(Work::Request(patched)));
    assert_eq!(Arrived::of(&out[..17]), Err(WireError::Truncated("a request")));
    assert_eq!(Arrived::of(&[RECALL, 1, 1]), Ok(None));
}

#[test]
fn counts_that_a_peer_declares_are_bounded_before_they_are_believed() {
    // A claim of 2^20 counts, and one of 100 that holds none.
    let many = Settle::decode(&[CLAIM, 0x80, 0x80, 0x40]);
    let most = MESSAGE_REFS as u64;
    assert_eq!(many, Err(WireError::TooLarge { what: "a list of counts", found: 1 << 20, most }));
    assert_eq!(Settle::decode(&[CLAIM, 100]), Err(WireError::Truncated("a list of counts")));
    assert_eq!(Settle::decode(&[CREDIT, 1, 1, 1]), Err(WireError::Trailing("a settle packet")));
    assert_eq!(Work::decode(&[0x7f]), Err(WireError::Tag { what: "a work packet", tag: 0x7f }));
    let large = [&[ITEM, 1, 1, 0][..], &vec![0; BODY_INLINE + 1]].concat();
    assert!(matches!(Settle::decode(&large), Err(WireError::TooLarge { what: "a body", .. })));
}

fn actor() -> impl Strategy<Value = ActorId> {
    any::<(u64, u64)>().prop_map(|(life, serial)| ActorId { life: Life(life), serial })
}

fn reference() -> impl Strategy<Value = Ref> {
    let object = |ActorId { life, serial }, position: Option<(u32, Option<[u64; 4]>)>| {
        let object = ObjectId { life, serial };
        match position {
            None => Ref::Object { object },
            Some((position, None)) => Ref::Argument { position, object },
            Some((position, Some([reader, segment, offset, length]))) => {
                Ref::Pinned { position, object, pin: Pin { reader, segment, offset, length } }
            }
        }
    };
    let kept = prop_oneof![Just(Kept::Counted), Just(Kept::Detached), Just(Kept::Weak)];
    let handle = prop::option::of((any::<(u64, u64, u64)>(), kept));
    (actor(), handle, any::<Option<(u32, Option<[u64; 4]>)>>()).prop_map(
        move |(actor, handle, position)| match handle {
            None => object(actor, position),
            Some(((key, host, placement), kept)) => {
                Ref::Actor { actor, type_key: Key(key), host: Life(host), placement: Placement(placement), kept }
            }
        },
    )
}

prop_compose! {
    fn parts()(
        actors in vec(actor(), 1..5),
        refs in vec(reference(), 0..5),
        frames in vec((actor(), any::<u64>()), 0..5),
        body in vec(any::<u8>(), 0..100),
        numbers: [u64; 4],
        small: [u32; 3],
        text: String,
        caller: bool,
        flags in 0_u8..8,
    ) -> Parts {
        let frames = frames.into_iter().map(|(actor, frame)| Frame { actor, frame }).collect();
        Parts { actors, refs, frames, body, numbers, small, text, caller, flags }
    }
}

#[derive(Debug)]
struct Parts {
    actors: Vec<ActorId>,
    refs: Vec<Ref>,
    frames: Vec<Frame>,
    body: Vec<u8>,
    numbers: [u64; 4],
    small: [u32; 3],
    text: String,
    caller: bool,
    flags: u8,
}

impl Parts {
    fn work(&self) -> Vec<Vec<u8>> {
        let ([a, b, c, _], [small, other, time]) = (self.numbers, self.small);
        let incarnation = Incarnation { placement: Placement(c), restart: small };
        let kind = |flag: u8, kind| if self.flags & flag == 0 { Flags::ASK } else { kind };
        let request = Request {
            flags: kind(1, Flags::TELL).and(kind(2, Flags::SPAWN)).and(kind(4, Flags::STREAM)),
            stream: small,
            time_left: (time % 3 > 0).then(|| Duration::from_micros(u64::from(time / 2))),
            placement: Placement(a),
            actor: self.actors[0],
            method: Key(b),
            retries: other % (crate::limits::RETRIES + 1),
            caller: self.caller.then_some((self.actors[0], incarnation)),
            chain: List::Items(&self.frames),
            refs: List::Items(&self.refs),
            body: &self.body,
        };
        let stop = Work::Stop { actor: self.actors[0], placement: Placement(a), mode: StopMode::Kill };
        let run = Work::Run { grant: a, task: b, attempt: small, refs: List::Items(&self.refs), body: &self.body };
        let packets = [Work::Request(request), run, Work::Recall { grant: a, count: small }, stop];
        packets.map(|packet| check_work(&packet)).to_vec()
    }

    fn settle(&self) -> Vec<Vec<u8>> {
        let ([call, index, n, _], [small, other, _]) = (self.numbers, self.small);
        let (refs, body, text) = (List::Items(&self.refs[..]), &self.body[..], &self.text[..]);
        let waits: Vec<_> = self.frames.iter().map(|frame| (frame.frame, frame.actor)).collect();
        let hops: Vec<_> = waits
            .iter()
            .map(|(serial, actor)| Hop { wait: WaitId { life: Life(n), serial: *serial }, actor: *actor })
            .collect();
        let counts: Vec<_> =
            self.actors.iter().map(|actor| Count { first: Counted::Actor(*actor), run: small, n }).collect();
        let origin = WaitId { life: Life(call), serial: index };
        let to = ProbeTo { actor: self.actors[0], method: Key(n), call: None };
        let fault = |fault| Outcome::Error { executed: Executed::Yes, fault };
        let answer = |outcome| Settle::Answer(Answer { call, outcome });
        let packets = [
            answer(Outcome::Value { refs, body }),
            answer(Outcome::App { refs, body }),
            answer(fault(CallFault::Panicked { message: text })),
            answer(fault(CallFault::ActorDied(End::NeverStarted { message: text }))),
            answer(fault(CallFault::Deadlock { cycle: List::Items(&self.actors) })),
            Settle::Item { call, index, refs, body },
            Settle::Room { call, count: small },
            Settle::Credit { stream: other, count: small },
            Settle::Cancel { call },
            Settle::Claim(List::Items(&counts)),
            Settle::Release(List::Items(&counts)),
            Settle::Gone(List::Items(&[Count { first: OBJECT, run: other, n: index }])),
            Settle::Probe(Probe { to: ProbeTo { call: Some(call), ..to }, origin, path: List::Items(&hops) }),
            Settle::Probe(Probe { to, origin, path: List::EMPTY }),
        ];
        packets.map(|packet| check_settle(&packet)).to_vec()
    }
}

fn check_work(packet: &Work<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out);
    assert_eq!(Work::decode(&out), Ok(*packet));
    out
}

fn check_settle(packet: &Settle<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out);
    assert_eq!(Settle::decode(&out), Ok(*packet));
    out
}

proptest! {
    #[test]
    fn packets_read_back_and_never_panic_when_mutated(parts in parts(), at: prop::sample::Index, byte: u8) {
        for mut packet in parts.work().into_iter().chain(parts.settle()) {
            let at = at.index(packet.len());
            let _ = (Work::decode(&packet[..at]), Settle::decode(&packet[..at]));
            packet[at] = byte;
            let _ = (Work::decode(&packet), Settle::decode(&packet), Arrived::of(&packet));
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same_packet(tag in 0_u8..0x20, rest in vec(any::<u8>(), 0..64)) {
        let packet = [&[tag][..], &rest].concat();
        let mut again = Vec::new();
        if let Ok(work) = Work::decode(&packet) {
            // Not the same bytes: a request may say that it has retries, and that they are zero.
            work.encode(&mut again);
            prop_assert_eq!(Work::decode(&again), Ok(work));
        } else if let Ok(settle) = Settle::decode(&packet) {
            settle.encode(&mut again);
            prop_assert_eq!(&again, &packet);
        }
        let _ = Spawn::decode(&packet);
    }
}
