//! A member that owns an object, and hands a process of its host what is no such memory.

use crate::common::bounded;
use crate::place::{At, Place};
use crate::rogue::{Rogue, arguments, echo, encoded, settled, sized};
use mobula::directory::message::{FromHead, News, ToHead};
use mobula::directory::piece::{Joiner, cut};
use mobula::directory::request::{Advertised, Boot, Join};
use mobula::id::{Key, Life, ObjectId};
use mobula::net::{Address, Lane, NetConfig, Session};
use mobula::wire::bytes::List;
use mobula::wire::frame::{Batch, Section};
use mobula::wire::packet::{Answer, Outcome, Pin, Ref, Request, Settle, Work};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE);
const SEGMENT: u64 = 4096;
/// The answer that says where an object lies.
const PINNED: u8 = 2;
/// What the store calls the worker.
const READER: u64 = 5;

const ATTACH: Key = Key::of("mobula", "attach");
const READ: Key = Key::of("mobula", "object");
/// What the caller's node is asked that passed an object which is lost.
const MISSED: Key = Key::of("mobula", "missed");

fn memory(length: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("rogue", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, length).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn frame(kind: u8, a: u64, b: u64) -> Vec<u8> {
    [&[kind][..], &[0; 7], &a.to_le_bytes(), &b.to_le_bytes()].concat()
}

/// The store's socket: gives whoever asks for segment 1 this file, until it closes.
/// What it said after that.
fn lend(listener: UnixListener, file: OwnedFd) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 48]).unwrap();
    stream.write_all(&frame(1, 0, 0)).unwrap();
    let mut asked = [0; 24];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(asked[..], frame(1, 1, 0));
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(&stream, &[IoSlice::new(&frame(3, 1, SEGMENT))], &mut control, SendFlags::empty()).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said
}

/// Joins the cluster, and says hello: only whose life the head has given owns objects.
pub(crate) async fn joined(place: &Place, listen: Vec<Address>) -> (Rogue, Session, Life) {
    let (mut rogue, to_head, life) = member(place, listen).await;
    rogue.greet(place, life).await;
    (rogue, to_head, life)
}

/// Joins the cluster.
pub(crate) async fn member(place: &Place, listen: Vec<Address>) -> (Rogue, Session, Life) {
    let mut rogue = Rogue::silent_as(place, NetConfig { listen, ..place.member() }).await;
    let to_head = rogue.node.dial_at(place.head, &place.address(At::Head), Lane::Control).await.unwrap();
    rogue.node.session().await;
    let join = Join {
        attempt: 1,
        node: rogue.node.id,
        boot: Boot::default(),
        process: std::process::id(),
        host_name: "rogue".into(),
        hosts: false,
        addresses: rogue.node.net.addresses().iter().map(|address| address.to_string().into()).collect(),
        resources: Default::default(),
        labels: Default::default(),
        advertised: Arc::new(Advertised::default()),
        served: Default::default(),
        claims: None,
    };
    for piece in cut(&ToHead::Join(Arc::new(join))).unwrap() {
        to_head.send(&piece).await.unwrap();
    }
    let mut joiner = Joiner::default();
    loop {
        let (session, bytes) = rogue.node.batch().await;
        if session != to_head.id() {
            continue;
        }
        if let Some(FromHead { news: News::Joined(joined), .. }) = joiner.push(&bytes).unwrap() {
            return (rogue, to_head, joined.life);
        }
    }
}

impl Rogue {
    /// Answers the calls that the worker makes of the rogue itself, until it has answered the rogue's own.
    async fn serves_until_answered(&mut self, store: &Path, at: [u64; 3]) -> String {
        let mut said = 0;
        self.serves(store, at, &mut said).await.0
    }

    /// The same, after so many answers; also what the worker asked for.
    async fn serves(&mut self, store: &Path, at: [u64; 3], said: &mut u64) -> (String, Vec<Key>) {
        let mut asked = Vec::new();
        loop {
            let (session, heard) = self.node.batch().await;
            if session != self.session.id() {
                continue;
            }
            let Ok(Batch::Packets { settle, work, .. }) = Batch::decode(&heard) else {
                panic!("packets, not {heard:?}")
            };
            for packet in settle.packets() {
                let (number, packet) = packet.unwrap();
                self.heard = number;
                if let Ok(Settle::Answer(Answer { outcome, .. })) = Settle::decode(packet) {
                    return (format!("{outcome:?}"), asked);
                }
            }
            for packet in work.packets() {
                let (call, packet) = packet.unwrap();
                let Ok(Work::Request(request)) = Work::decode(packet) else { panic!("a request, not {packet:?}") };
                asked.push(request.method);
                let body = if request.method == ATTACH {
                    [&[0; 32][..], &READER.to_le_bytes(), store.as_os_str().as_bytes()].concat()
                } else {
                    let numbers = at.iter().flat_map(|number| number.to_le_bytes());
                    std::iter::once(PINNED).chain(numbers).collect()
                };
                let outcome = Outcome::Value { refs: List::EMPTY, body: &body };
                let packets = sized(&settled(Settle::Answer(Answer { call, outcome })));
                let mut batch = Vec::new();
                self.header().encode(true, false, &mut batch);
                *said += 1;
                Section::begin(*said, packets.len(), &mut batch);
                batch.extend_from_slice(&packets);
                self.session.send(&batch).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_could_change_or_is_not_there_is_refused_whoever_hands_it_over() {
    let place = Place::start().await;
    let first = [64, 1, 0];
    let good = || memory(SEGMENT, SEALS);
    let plain: OwnedFd = {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SEGMENT).unwrap();
        file.into()
    };
    let cases = [
        ("a file that its owner could cut short", memory(SEGMENT, SEALS.difference(SealFlags::SHRINK)), first, "seal"),
        ("one that it could make longer", memory(SEGMENT, SEALS.difference(SealFlags::GROW)), first, "seal"),
        ("one that others could write", memory(SEGMENT, SEALS.difference(SealFlags::FUTURE_WRITE)), first, "seal"),
        ("one that was cut short", memory(SEGMENT / 2, SEALS), first, "bytes"),
        ("one that is no memory", plain, first, "memory"),
        ("a range beyond its end", good(), [64, 1, SEGMENT], "outside"),
        ("a range that wraps around", good(), [u64::MAX, 1, 64], "outside"),
        // Read whole, and then it is no number.
        ("what it should be", good(), first, "plain bytes"),
    ];
    let mut lenders = Vec::new();
    for (what, file, at, why) in cases {
        let (mut rogue, _to_head, life) = joined(&place, Vec::new()).await;
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let listener = UnixListener::bind(&store).unwrap();
        lenders.push(std::thread::spawn(move || lend(listener, file)));
        let refs = [Ref::Argument { position: 0, object: ObjectId { life, serial: 1 } }];
        let good = arguments(7);
        let call = Request { refs: List::Items(&refs), body: &[0x91, 0xc0], ..echo(&place, &good) };
        rogue.send(&[encoded(Work::Request(call))]).await;
        let answer = bounded(rogue.serves_until_answered(&store, at)).await;
        assert!(answer.contains("executed: No") && answer.contains(why), "{what}: {answer}");
        bounded(rogue.node.net.close()).await;
        place.is_undisturbed().await;
    }
    assert_eq!(bounded(place.witness.echoed()).await, Ok(8), "none of these ran");
    place.end().await;
    // The worker has ended, and its ends of the sockets with it.
    lenders.into_iter().for_each(|lender| drop(lender.join().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_argument_lies_is_believed_of_its_owner_and_for_the_connection_it_is_pinned_for() {
    let place = Place::start().await;
    let (mut rogue, _to_head, life) = joined(&place, Vec::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let listener = UnixListener::bind(&store).unwrap();
    let lender = std::thread::spawn(move || lend(listener, memory(SEGMENT, SEALS)));
    let (own, other) = (ObjectId { life, serial: 1 }, ObjectId { life: place.worker.life, serial: 999 });
    let pin = Pin { reader: READER, segment: 1, offset: 0, length: 64 };
    let pinned = |object, pin| Ref::Pinned { position: 0, object, pin };
    let (none, read): (&[Key], &[Key]) = (&[], &[READ]);
    let (value, fault) = ("Value", "executed: No");
    let cases = [
        ("before there is a connection", pinned(own, pin), &[ATTACH, READ][..], value, ""),
        ("where it lies", pinned(own, pin), none, value, ""),
        ("another part of it", pinned(own, Pin { offset: 128, ..pin }), none, value, ""),
        ("beyond its end", pinned(own, Pin { offset: SEGMENT, ..pin }), none, fault, "outside"),
        (
            "a range that wraps around",
            pinned(own, Pin { length: u64::MAX - 32, offset: 64, ..pin }),
            none,
            fault,
            "outside",
        ),
        ("for another connection", pinned(own, Pin { reader: READER + 1, offset: SEGMENT, ..pin }), read, value, ""),
        ("in a segment that is not mapped", pinned(own, Pin { segment: 2, ..pin }), read, value, ""),
        ("an object of somebody else", pinned(other, pin), &[MISSED], fault, "Argument"),
    ];
    let good = arguments(7);
    let mut answered = 0;
    for (what, reference, asks, kind, why) in cases {
        let method = Key::of("sum", "(&[u64]) -> u64");
        let refs = List::Items(std::slice::from_ref(&reference));
        let call = Request { method, refs, body: &[0x91, 0xc0], ..echo(&place, &good) };
        rogue.send(&[encoded(Work::Request(call))]).await;
        let (answer, asked) = bounded(rogue.serves(&store, [64, 1, 0], &mut answered)).await;
        assert!(answer.contains(kind) && answer.contains(why), "{what}: {answer}");
        assert_eq!(asked, asks, "{what}");
    }
    assert_eq!(bounded(place.witness.echoed()).await, Ok(5));
    bounded(rogue.node.net.close()).await;
    place.is_undisturbed().await;
    place.end().await;
    let said = lender.join().unwrap();
    let mut unpinned: Vec<(u8, u64, u64)> = said.as_chunks::<24>().0.iter().map(told).collect();
    unpinned.retain(|(kind, ..)| *kind == UNPIN);
    let each = [(1, 0), (1, 0), (1, 128), (1, SEGMENT), (1, 64), (1, 0), (2, 0), (1, 0)];
    unpinned.sort_unstable();
    let mut expected = each.map(|(segment, offset)| (UNPIN, segment, offset));
    expected.sort_unstable();
    assert_eq!(unpinned, expected, "each that was for it, and none that was not");
}

/// What a reader says that has done with an object.
const UNPIN: u8 = 2;

/// The parts of a message of the store's socket.
fn told(frame: &[u8; 24]) -> (u8, u64, u64) {
    let number = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().unwrap());
    (frame[0], number(8), number(16))
}
