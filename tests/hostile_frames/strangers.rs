//! Who reaches the port and has no key: closed in three seconds, for a reason that is counted.

use crate::common::bounded;
use crate::node::{Cluster as Keys, Node};
use crate::place::{At, Place, lane};
use crate::stranger::{Stranger, frame, greeting, opening, random_bytes, ready};
use mobula::net::preface::{answer, preface};
use mobula::net::{DialError, Medium};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A stranger is closed within this, and no sooner than it must be where it only keeps silent.
const CLOSED_WITHIN: Duration = Duration::from_secs(3);
/// What this machine may take beyond it to notice.
const SLACK: Duration = Duration::from_millis(1_500);

const BOTH: [At; 2] = [At::Head, At::Worker];

/// Sends `bytes`, waits for the close, and gives what was heard before.
async fn closed(port: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stranger = Stranger::connect(port).await;
    let start = Instant::now();
    stranger.send(bytes).await;
    let heard = stranger.closed().await;
    assert!(start.elapsed() < CLOSED_WITHIN + SLACK, "closed after {:?}", start.elapsed());
    heard
}

fn long(flags: u8, length: u64) -> Vec<u8> {
    [&[flags][..], &length.to_be_bytes()].concat()
}

/// What strangers send, and for what they are refused.
fn kinds(at: At) -> Vec<(&'static str, Vec<u8>)> {
    let opening = opening(lane(at));
    let dealer = [greeting(), ready("DEALER", b"")].concat();
    let chosen = b"\x08Identity\0\0\0\x10the others route";
    let mut random = random_bytes(7_919, 10_000);
    random[0] &= 0x7f; // not the first byte of a greeting
    vec![
        ("guard_greeting", random),
        ("guard_greeting", b"GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_vec()),
        ("guard_timeout", Vec::new()),
        ("guard_timeout", greeting()),
        ("guard_timeout", dealer.clone()),
        ("guard_ready", [greeting(), long(6, 1 << 46)].concat()),
        ("guard_preface", [dealer.clone(), long(2, 1 << 46)].concat()),
        ("guard_frame_too_long", [opening.clone(), long(2, 1 << 46)].concat()),
        ("guard_multipart", [opening.clone(), [1, 1, b'x'].repeat(10_000)].concat()),
        ("guard_identity", [greeting(), ready("DEALER", chosen)].concat()),
        ("guard_command", [opening.clone(), ready("DEALER", b"")].concat()),
        ("guard_reserved_flags", [opening.clone(), vec![8, 0]].concat()),
        ("refused_key", [opening.clone(), frame(&[9; 48])].concat()),
        ("refused_key", [opening, frame(b"")].concat()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_stranger_is_closed_in_time_and_counted_by_its_reason() {
    let place = Place::start().await;
    for at in BOTH {
        let before = place.at_rest(at).await;
        let kinds = kinds(at);
        let port = place.port(at);
        futures::future::join_all(kinds.iter().map(|(_, bytes)| closed(&port, bytes))).await;
        let mut expected: Vec<(&str, u64)> = Vec::new();
        for (reason, _) in &kinds {
            match expected.iter_mut().find(|(name, _)| name == reason) {
                Some((_, times)) => *times += 1,
                None => expected.push((reason, 1)),
            }
        }
        place.has_counted(at, &before, kinds.len() as u64, &expected).await;
        place.is_undisturbed().await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_wire_version_is_told_ours_and_closed() {
    let place = Place::start().await;
    for at in BOTH {
        let before = place.at_rest(at).await;
        let mut other = preface(lane(at));
        other[6..8].copy_from_slice(&[0x34, 0x12]);
        let heard = closed(&place.port(at), &[greeting(), ready("DEALER", b""), frame(&other)].concat()).await;
        assert!(heard.ends_with(&frame(&answer())), "{heard:?}");
        place.has_counted(at, &before, 1, &[("guard_wire_version", 1)]).await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_key_is_refused_and_told_what_to_do() {
    let place = Place::start().await;
    for at in BOTH {
        let before = place.at_rest(at).await;
        let stranger = Node::start(Keys::new().worker(Medium::Sockets, None)).await;
        let error = stranger.dial_at(place.node(at), &place.address(at), lane(at)).await.unwrap_err();
        assert!(matches!(error, DialError::WrongKey { .. }), "{error}");
        assert!(error.to_string().contains("mobula key new"), "{error}");
        place.has_counted(at, &before, 1, &[("refused_key", 1)]).await;
        stranger.net.close().await;
    }
    place.end().await;
}

/// Dials through a relay that writes down all that the dialer sends, up to the end of its handshake.
async fn overheard(place: &Place, at: At) -> Vec<u8> {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", relay.local_addr().unwrap()).parse().unwrap();
    let target = place.port(at);
    let relayed = tokio::spawn(async move {
        let (dialer, _) = relay.accept().await.unwrap();
        let (mut from, mut to) = dialer.into_split();
        let (mut back, mut on) = TcpStream::connect(target).await.unwrap().into_split();
        let answers = tokio::spawn(async move { tokio::io::copy(&mut back, &mut to).await });
        let mut heard = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..length]);
            on.write_all(&buffer[..length]).await.unwrap();
        }
        drop(on);
        let _ = answers.await;
        heard
    });
    let before = place.at_rest(at).await;
    let member = Node::start(place.member()).await;
    let session = member.dial_at(place.node(at), &address, lane(at)).await.unwrap();
    session.close(mobula::net::Closed::Here);
    member.net.close().await;
    place.has_counted(at, &before, 1, &[("session_accepted", 1), ("session_closed", 1)]).await;
    bounded(relayed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_replayed_opens_no_session() {
    let place = Place::start().await;
    for at in BOTH {
        let heard = overheard(&place, at).await;
        let before = place.at_rest(at).await;
        closed(&place.port(at), &heard).await;
        place.has_counted(at, &before, 1, &[("refused_handshake", 1), ("session_accepted", 0)]).await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_cut_at_every_byte_leaves_nothing_behind() {
    let place = Place::start().await;
    for at in BOTH {
        let heard = overheard(&place, at).await;
        let before = place.at_rest(at).await;
        for cut in 0..heard.len() {
            drop(Stranger::with(&place.port(at), &heard[..cut]).await);
            // Some at a time, so that what is waited for is done soon on any machine.
            if cut % 32 == 0 || cut + 1 == heard.len() {
                place.has_counted(at, &before, cut as u64 + 1, &[("session_accepted", 0)]).await;
            }
        }
        place.is_undisturbed().await;
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_at_once_are_closed_in_time_and_disturb_nobody() {
    let place = Place::start().await;
    let before = place.at_rest(At::Worker).await;
    let port = place.port(At::Worker);
    let bytes = greeting();
    let crowd = futures::future::join_all((0..1_000).map(|_| closed(&port, &bytes)));
    let legitimate = async {
        for _ in 0..100 {
            place.is_undisturbed().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(crowd, legitimate);
    let (since, again) = place.has_counted(At::Worker, &before, 1_000, &[]).await;
    let reasons = ["guard_timeout", "guard_too_many", "guard_crowded_out"].map(|name| since.get(name).unwrap_or(&0));
    assert!((1_000..=1_000 + again).contains(&reasons.into_iter().sum()), "{since:?}");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_strangers_cost_a_process_less_than_a_mebibyte() {
    let place = Place::start().await;
    let port = place.port(At::Worker);
    let kinds = kinds(At::Worker);
    let mut ended = place.counted(At::Worker).await["guard_ended"];
    let mut memory = Vec::new();
    for _ in 0..8 {
        for (_, bytes) in kinds.iter().cycle().take(1_000) {
            drop(Stranger::with(&port, bytes).await);
        }
        ended += 1_000;
        let all_over = async {
            while place.counted(At::Worker).await["guard_ended"] < ended {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        bounded(all_over).await;
        memory.push(place.resident(At::Worker));
    }
    let grown = memory[7].saturating_sub(memory[1]) / 6; // the first thousands warm the allocator up
    println!("{grown} bytes each thousand: {memory:?}");
    assert!(grown < 1 << 20, "{grown} bytes each thousand: {memory:?}");
    place.end().await;
}
