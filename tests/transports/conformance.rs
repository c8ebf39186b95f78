//! The suite. `conformance!(module: Harness)` runs it on a transport.

use crate::Harness;
use crate::node::{Cluster, Event, Node, soon};
use crate::tap::{Tap, Way};
use bytes::Bytes;
use mobula::limits::MESSAGE_PLAINTEXT;
use mobula::net::{Closed, Count, DialError, Lane, RecordError, Refused, Role, SendError, Session};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the suite on each transport, in a module of its name.
#[macro_export]
macro_rules! conformance {
    ($($module:ident: $harness:ty),*) => {
        $($crate::conformance!(@tests $module, $harness:
            who_is_who,
            batches_arrive_whole_and_in_order_both_ways,
            batches_of_every_length_up_to_the_longest,
            many_peers_on_every_lane_are_kept_apart,
            a_close_of_either_side_is_seen_by_both,
            a_closed_node_ends_its_sessions_and_dials,
            nobody_listens,
            another_cluster_key,
            another_node_than_the_one_dialled,
            an_impostor_of_the_head,
            another_wire_version,
            a_listener_refuses,
            a_silent_peer_is_timed_out_on_both_sides,
            a_replayed_first_message_makes_no_session,
            a_record_flipped_dropped_repeated_or_reordered_closes_the_session,
            an_abandoned_dial_leaves_no_session,
        );)*
    };
    (@tests $module:ident, $harness:ty: $($test:ident,)*) => {
        mod $module {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let harness = <$harness as $crate::Harness>::new();
                    $crate::conformance::$test(&harness).await;
                }
            )*
        }
    };
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + seed * 131) as u8).collect()
}

async fn pair<H: Harness>(h: &H, cluster: &Cluster) -> (Node, Node) {
    let listener = Node::start(cluster.worker(h.medium(), Some(h.address()))).await;
    let dialer = Node::start(cluster.worker(h.medium(), None)).await;
    (dialer, listener)
}

/// A session and both of its ends.
async fn connected<H: Harness>(h: &H, lane: Lane) -> (Node, Session, Node, Session) {
    let (mut dialer, mut listener) = pair(h, &Cluster::new()).await;
    let dialled = dialer.dial(&listener, lane).await.unwrap();
    assert_eq!(dialer.session().await.id(), dialled.id());
    let accepted = listener.session().await;
    (dialer, dialled, listener, accepted)
}

pub(crate) async fn who_is_who<H: Harness>(h: &H) {
    let cluster = Cluster::new();
    let mut head = Node::start(cluster.head(h.medium(), Some(h.address()))).await;
    let mut worker = Node::start(cluster.worker(h.medium(), Some(h.address()))).await;
    let to_head = worker.dial(&head, Lane::Control).await.unwrap();
    assert_eq!((to_head.peer(), to_head.role(), to_head.lane()), (head.id, Role::Head, Lane::Control));
    let from_worker = head.session().await;
    assert_eq!((from_worker.peer(), from_worker.role()), (worker.id, Role::Worker));
    assert_eq!((to_head.dialled(), from_worker.dialled()), (true, false));
    assert_eq!(worker.session().await.id(), to_head.id());
    let to_worker = head.dial(&worker, Lane::Bulk).await.unwrap();
    assert_eq!((to_worker.peer(), to_worker.role(), to_worker.lane()), (worker.id, Role::Worker, Lane::Bulk));
    assert_eq!(worker.session().await.role(), Role::Head);
}

pub(crate) async fn batches_arrive_whole_and_in_order_both_ways<H: Harness>(h: &H) {
    let (mut dialer, dialled, mut listener, accepted) = connected(h, Lane::Calls).await;
    let lengths = |seed: usize| (0..300).map(move |at| (at * 37 + seed * 11) % 2_000);
    let sending = [(dialled.clone(), 1), (accepted.clone(), 2)].map(|(session, seed)| {
        tokio::spawn(async move {
            for (at, length) in lengths(seed).enumerate() {
                session.send(&pattern(length, at)).await.unwrap();
            }
        })
    });
    for (node, session, seed) in [(&mut listener, &accepted, 1), (&mut dialer, &dialled, 2)] {
        for (at, length) in lengths(seed).enumerate() {
            assert!(node.batch().await == (session.id(), pattern(length, at)), "batch {at} of {seed}");
        }
    }
    for task in sending {
        soon("the senders", task).await.unwrap();
    }
}

pub(crate) async fn batches_of_every_length_up_to_the_longest<H: Harness>(h: &H) {
    let (mut dialer, dialled, mut listener, accepted) = connected(h, Lane::Bulk).await;
    // The first is large: either side may send so right away.
    for (at, length) in [MESSAGE_PLAINTEXT, 0, 1, 255, 65_518, 65_519, 65_520, 300_000].into_iter().enumerate() {
        let batch = pattern(length, at);
        dialled.send(&batch).await.unwrap();
        accepted.send(&batch).await.unwrap();
        assert!(listener.batch().await.1 == batch && dialer.batch().await.1 == batch, "length {length}");
    }
    let too_long = pattern(MESSAGE_PLAINTEXT + 1, 0);
    assert_eq!(dialled.send(&too_long).await, Err(SendError::TooLong { bytes: too_long.len() }));
    dialled.send(b"the session goes on").await.unwrap();
    assert_eq!(listener.batch().await.1, b"the session goes on");
}

pub(crate) async fn many_peers_on_every_lane_are_kept_apart<H: Harness>(h: &H) {
    let cluster = Cluster::new();
    let mut listener = Node::start(cluster.worker(h.medium(), Some(h.address()))).await;
    let mut dialers = Vec::new();
    for at in 0..4 {
        let mut dialer = Node::start(cluster.worker(h.medium(), None)).await;
        for lane in Lane::ALL {
            let dialled = dialer.dial(&listener, lane).await.unwrap();
            dialer.session().await;
            dialled.send(format!("{at} {lane:?}").as_bytes()).await.unwrap();
        }
        dialers.push(dialer);
    }
    let mut sessions = std::collections::HashMap::new();
    let mut answered = 0;
    while answered < 12 {
        match listener.next().await {
            Event::Session(session) => drop(sessions.insert(session.id(), session)),
            Event::Batch(session, text) => {
                let session: &Session = &sessions[&session];
                let at = dialers.iter().position(|dialer| dialer.id == session.peer()).unwrap();
                assert_eq!(text, format!("{at} {:?}", session.lane()).into_bytes());
                session.send(&text).await.unwrap();
                answered += 1;
            }
            Event::Closed(session, why) => panic!("{session} closed: {why}"),
        }
    }
    for (at, dialer) in dialers.iter_mut().enumerate() {
        for _ in Lane::ALL {
            assert!(dialer.batch().await.1.starts_with(format!("{at} ").as_bytes()));
        }
    }
}

pub(crate) async fn a_close_of_either_side_is_seen_by_both<H: Harness>(h: &H) {
    for by_dialer in [true, false] {
        let (mut dialer, dialled, mut listener, accepted) = connected(h, Lane::Control).await;
        let (near, far) = if by_dialer { (&dialled, &accepted) } else { (&accepted, &dialled) };
        let (near_node, far_node) = if by_dialer { (&mut dialer, &mut listener) } else { (&mut listener, &mut dialer) };
        near.send(b"last words").await.unwrap();
        near.close(Closed::Superseded);
        near.close(Closed::Ended);
        assert_eq!(near.send(b"too late").await, Err(SendError::Closed(Closed::Superseded)));
        assert_eq!(near_node.closed().await, (near.id(), Closed::Superseded));
        assert_eq!(far_node.batch().await.1, b"last words");
        assert_eq!(far_node.closed().await, (far.id(), Closed::Peer));
        assert_eq!(far.closed(), Some(Closed::Peer));
        assert_eq!(far.send(b"nobody there").await, Err(SendError::Closed(Closed::Peer)));
        for node in [&dialer, &listener] {
            node.counted(Count::SessionClosed, 1).await;
        }
    }
}

pub(crate) async fn a_closed_node_ends_its_sessions_and_dials<H: Harness>(h: &H) {
    let (mut dialer, dialled, mut listener, _) = connected(h, Lane::Calls).await;
    soon("the listener to close", listener.net.close()).await;
    assert_eq!(listener.closed().await.1, Closed::Here);
    assert_eq!(dialer.closed().await, (dialled.id(), Closed::Peer));
    assert!(matches!(dialer.dial(&listener, Lane::Calls).await, Err(DialError::Unreachable { .. })));
    soon("the dialer to close", dialer.net.close()).await;
    assert!(matches!(dialer.dial(&listener, Lane::Calls).await, Err(DialError::Closed)));
}

pub(crate) async fn nobody_listens<H: Harness>(h: &H) {
    let (dialer, listener) = pair(h, &Cluster::new()).await;
    let start = Instant::now();
    let nobody = dialer.dial_at(listener.id, &h.nowhere(), Lane::Calls).await;
    assert!(matches!(nobody, Err(DialError::Unreachable { .. })), "{nobody:?}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

pub(crate) async fn another_cluster_key<H: Harness>(h: &H) {
    let (mut listener, stranger) = {
        let (_, listener) = pair(h, &Cluster::new()).await;
        (listener, Node::start(Cluster::new().worker(h.medium(), None)).await)
    };
    for lane in Lane::ALL {
        let dialled = stranger.dial(&listener, lane).await;
        assert!(matches!(dialled, Err(DialError::WrongKey { .. })), "{dialled:?}");
    }
    listener.counted(Count::RefusedKey, 3).await;
    assert!(listener.now().is_none());
}

pub(crate) async fn another_node_than_the_one_dialled<H: Harness>(h: &H) {
    let (dialer, mut listener) = pair(h, &Cluster::new()).await;
    match dialer.dial_at(dialer.id, listener.at(), Lane::Calls).await {
        Err(DialError::WrongPeer { dialled, proved, .. }) => assert_eq!((dialled, proved), (dialer.id, listener.id)),
        other => panic!("{other:?}"),
    }
    listener.counted(Count::HandshakeAbandoned, 1).await;
    assert!(listener.now().is_none());
}

pub(crate) async fn an_impostor_of_the_head<H: Harness>(h: &H) {
    let mut cluster = Cluster::new();
    let mut config = cluster.head(h.medium(), Some(h.address()));
    config.identity = mobula::net::Identity::generate().unwrap();
    let started = mobula::net::Net::start(config, Arc::new(crate::node::Deaf)).await;
    assert!(matches!(started, Err(mobula::net::NetError::NotTheHead)));

    // One that holds the secret, and believes a key of its own to be the head's.
    let (dialer, listener) = pair(h, &cluster).await;
    let genuine = cluster.key.to_text();
    cluster.head = mobula::net::Identity::generate().unwrap();
    let hex = |key: mobula::net::PublicKey| key.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = genuine.lines().find(|line| line.starts_with("head = ")).unwrap();
    let forged = genuine.replace(line, &format!("head = {}", hex(cluster.head.public_key())));
    cluster.key = mobula::net::ClusterKey::from_text(&forged).unwrap();
    let impostor = Node::start(cluster.head(h.medium(), Some(h.address()))).await;
    let dialled = impostor.dial(&listener, Lane::Calls).await;
    assert!(matches!(dialled, Err(DialError::HungUp { .. })), "{dialled:?}");
    listener.counted(Count::RefusedCredentials, 1).await;
    let dialled = dialer.dial(&impostor, Lane::Calls).await;
    assert!(matches!(dialled, Err(DialError::BadCredentials { .. })), "{dialled:?}");
}

/// A node of another version is one whose first eight bytes differ: so both ways are altered.
pub(crate) async fn another_wire_version<H: Harness>(h: &H) {
    let (dialer, mut listener) = pair(h, &Cluster::new()).await;
    let tap: Tap = Box::new(|_, _, message| {
        let mut message = message.to_vec();
        if message.starts_with(b"MOBULA") {
            message[6] = 2;
        }
        vec![message.into()]
    });
    let at = h.tapped(listener.at(), tap).await;
    match dialer.dial_at(listener.id, &at, Lane::Calls).await {
        Err(DialError::WireVersion { ours: 1, theirs: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    listener.counted(H::WIRE_VERSION, 1).await;
    assert!(listener.now().is_none());
}

pub(crate) async fn a_listener_refuses<H: Harness>(h: &H) {
    let (mut dialer, mut listener) = pair(h, &Cluster::new()).await;
    *listener.refuse.lock() = Some(Refused::Duplicate);
    match dialer.dial(&listener, Lane::Calls).await {
        Err(DialError::Refused { why: Refused::Duplicate, .. }) => {}
        other => panic!("{other:?}"),
    }
    listener.counted(Count::RefusedByReceiver, 1).await;
    *listener.refuse.lock() = None;
    *dialer.refuse.lock() = Some(Refused::Full);
    let refused = dialer.dial(&listener, Lane::Calls).await;
    assert!(matches!(refused, Err(DialError::RefusedHere { why: Refused::Full })), "{refused:?}");
    let accepted = listener.session().await;
    assert_eq!(listener.closed().await, (accepted.id(), Closed::Peer));
    assert!(dialer.now().is_none());
}

pub(crate) async fn a_silent_peer_is_timed_out_on_both_sides<H: Harness>(h: &H) {
    let cluster = Cluster::new();
    for silent_from in [1, 2] {
        for listener_is_patient in [true, false] {
            let (mut listens, mut dials) =
                (cluster.worker(h.medium(), Some(h.address())), cluster.worker(h.medium(), None));
            let hasty = if listener_is_patient { &mut dials } else { &mut listens };
            hasty.limits.handshake_time = Duration::from_millis(200);
            let (mut listener, dialer) = (Node::start(listens).await, Node::start(dials).await);
            let tap: Tap = Box::new(
                move |way, at, message| {
                    if way == Way::ToListener && at >= silent_from { vec![] } else { vec![message] }
                },
            );
            let at = h.tapped(listener.at(), tap).await;
            let dialled = dialer.dial_at(listener.id, &at, Lane::Calls).await;
            if listener_is_patient {
                assert!(matches!(dialled, Err(DialError::TimedOut { .. })), "{dialled:?}");
                listener.counted(Count::HandshakeAbandoned, 1).await;
            } else {
                assert!(dialled.is_err());
                listener.counted(H::TIMEOUT, 1).await;
            }
            assert!(listener.now().is_none());
        }
    }
}

pub(crate) async fn a_busy_listener_says_so_and_recovers<H: Harness>(h: &H) {
    let cluster = Cluster::new();
    let mut config = cluster.worker(h.medium(), Some(h.address()));
    config.limits.handshakes = 1;
    config.limits.handshake_time = Duration::from_millis(1_500);
    let mut listener = Node::start(config).await;
    let dialer = Arc::new(Node::start(cluster.worker(h.medium(), None)).await);
    let (reached, first_is_there) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    let tap: Tap = Box::new(move |way, at, message| match (way, at) {
        (Way::ToListener, 0) => vec![message],
        (Way::ToListener, _) => {
            reached.take().map(|reached| reached.send(()));
            vec![]
        }
        (Way::ToDialer, _) => vec![message],
    });
    let at = h.tapped(listener.at(), tap).await;
    let (slow, id) = (dialer.clone(), listener.id);
    let slow = tokio::spawn(async move { slow.dial_at(id, &at, Lane::Calls).await });
    soon("the slow one", first_is_there).await.unwrap();
    let busy = dialer.dial(&listener, Lane::Calls).await;
    assert!(matches!(busy, Err(DialError::Busy { .. })), "{busy:?} {:?}", listener.net.counters().snapshot());
    listener.counted(Count::RefusedBusy, 1).await;
    listener.counted(Count::HandshakeTimeout, 1).await;
    assert!(slow.await.unwrap().is_err());
    let dialled = dialer.dial(&listener, Lane::Calls).await.unwrap();
    dialled.send(b"now").await.unwrap();
    listener.session().await;
    assert_eq!(listener.batch().await.1, b"now");
}

pub(crate) async fn a_replayed_first_message_makes_no_session<H: Harness>(h: &H) {
    let (dialer, mut listener) = pair(h, &Cluster::new()).await;
    let heard: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let ear = heard.clone();
    let tap: Tap = Box::new(move |way, _, message| {
        if way == Way::ToListener {
            ear.lock().push(message.clone());
        }
        vec![message]
    });
    let at = h.tapped(listener.at(), tap).await;
    dialer.dial_at(listener.id, &at, Lane::Calls).await.unwrap().send(b"heard").await.unwrap();
    listener.session().await;
    assert_eq!(listener.batch().await.1, b"heard");
    let script = heard.lock().clone();
    assert!(script.len() >= 4, "preface, first, third, go");
    let tap: Tap = Box::new(move |way, at, message| match way {
        Way::ToListener if at == 0 => script.clone(),
        Way::ToListener => vec![],
        Way::ToDialer => vec![message],
    });
    let at = h.tapped(listener.at(), tap).await;
    assert!(dialer.dial_at(listener.id, &at, Lane::Calls).await.is_err());
    listener.counted(Count::RefusedHandshake, 1).await;
    assert_eq!(listener.net.counters().get(Count::SessionAccepted), 1);
}

pub(crate) async fn a_record_flipped_dropped_repeated_or_reordered_closes_the_session<H: Harness>(h: &H) {
    // A dialer says preface, first, third and go; a listener second and verdict. Then batches one, two, three follow.
    type Fault = fn(&[Bytes]) -> Vec<Bytes>;
    let flip: Fault = |batches| {
        let mut flipped = batches.to_vec();
        let mut bytes = flipped[1].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        flipped[1] = bytes.into();
        flipped
    };
    let drop: Fault = |b| vec![b[0].clone(), b[2].clone()];
    let repeat: Fault = |b| vec![b[0].clone(), b[0].clone(), b[1].clone()];
    let reorder: Fault = |b| vec![b[0].clone(), b[2].clone(), b[1].clone()];
    let join: Fault = |b| vec![b[0].clone(), [&b[1][..], &b[2][..]].concat().into()];
    let cut: Fault = |b| vec![b[0].clone(), b[1].slice(..b[1].len() - 1)];
    let faults = [
        (flip, RecordError::Forged),
        (drop, RecordError::Forged),
        (repeat, RecordError::Forged),
        (reorder, RecordError::Forged),
        (join, RecordError::Long),
        (cut, RecordError::Short),
    ];
    for (fault, error) in faults {
        for (way, before) in [(Way::ToListener, 4), (Way::ToDialer, 2)] {
            let (mut dialer, mut listener) = pair(h, &Cluster::new()).await;
            let mut held = Vec::new();
            let tap: Tap = Box::new(move |is, at, message| {
                if is != way || at < before {
                    return vec![message];
                }
                held.push(message);
                if held.len() == 3 { fault(&held) } else { vec![] }
            });
            let at = h.tapped(listener.at(), tap).await;
            let dialled = dialer.dial_at(listener.id, &at, Lane::Calls).await.unwrap();
            let accepted = listener.session().await;
            dialer.session().await;
            let sender = if way == Way::ToListener { &dialled } else { &accepted };
            for batch in [b"one", b"two", b"six"] {
                sender.send(batch).await.unwrap();
            }
            let (victim, other) =
                if way == Way::ToListener { (&mut listener, &mut dialer) } else { (&mut dialer, &mut listener) };
            assert_eq!(victim.batch().await.1, b"one");
            assert_eq!(victim.closed().await.1, Closed::Record(error));
            assert_eq!(other.closed().await.1, Closed::Peer);
        }
    }
}

pub(crate) async fn an_abandoned_dial_leaves_no_session<H: Harness>(h: &H) {
    let (mut dialer, mut listener) = pair(h, &Cluster::new()).await;
    for micros in [0, 50, 200, 500, 1_000, 2_000, 5_000, 10_000] {
        let dial = dialer.net.dial(listener.id, listener.at(), Lane::Calls);
        if let Ok(Ok(session)) = tokio::time::timeout(Duration::from_micros(micros), dial).await {
            session.close(Closed::Here);
        }
    }
    dialer.dial(&listener, Lane::Calls).await.unwrap().send(b"alone").await.unwrap();
    let (mut open, mut alone) = (std::collections::BTreeSet::new(), None);
    while alone.is_none() || open.len() > 1 {
        match listener.next().await {
            Event::Session(session) => assert!(open.insert(session.id())),
            Event::Closed(session, _) => assert!(open.remove(&session)),
            Event::Batch(session, text) => {
                assert_eq!(text, b"alone");
                alone = Some(session);
            }
        }
    }
    assert_eq!(open.into_iter().next(), alone);
    while let Some(event) = dialer.now() {
        assert!(!matches!(event, Event::Batch(..)));
    }
}
