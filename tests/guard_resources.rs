//! What strangers cost the guard's process: memory and descriptors. Both are the whole process's, so these tests have a
//! process of their own and run one after the other.

#[path = "guard/support.rs"]
#[allow(dead_code, reason = "the other binary that shares it uses the rest")]
mod support;

use mobula::net::counters::{Count, Counters};
use mobula::net::guard::{Door, Ending, Guard, Limits};
use mobula::net::preface::Lane;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tokio::sync::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Bytes of memory that this process has resident.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_thousand_strangers_cost_less_than_a_mebibyte() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let node = Node::start(Limits { handshake_time: Duration::from_millis(500), ..Limits::default() }).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    let huge = [&[2][..], &(1_u64 << 46).to_be_bytes()].concat();
    let kinds = [
        opening(Lane::Calls),
        [opening(Lane::Calls), frame(&[7; 1_000])].concat(),
        [opening(Lane::Control), frame(&vec![7; 100_000])].concat(),
        [opening(Lane::Bulk), huge.clone()].concat(),
        [greeting(), ready("DEALER", b""), huge].concat(),
        random_bytes(17, 2_000),
    ];
    let mut memory = Vec::new();
    for _ in 0..4 {
        for (at, kind) in (0..1_000).zip(kinds.iter().cycle()) {
            drop(Stranger::with(&node.address(), kind).await);
            if at % 50 == 0 {
                assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
            }
        }
        node.left_with(1).await;
        memory.push(resident());
    }
    let grown = memory[3].saturating_sub(memory[1]) / 2; // the first thousands warm the allocator up
    println!("{grown} bytes each thousand: {memory:?}");
    assert!(grown < 1 << 20, "{grown} bytes each thousand: {memory:?}");
}

#[tokio::test]
async fn a_declared_length_reserves_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let node = Node::start(Limits::default()).await;
    let before = resident();
    let mut held = Vec::new();
    for _ in 0..200 {
        let largest = [&[2][..], &(1_u64 << 20).to_be_bytes()].concat();
        held.push(Stranger::with(&node.address(), &[opening(Lane::Calls), largest].concat()).await);
    }
    node.counted(Count::GuardAccepted, 200).await;
    for stranger in &mut held {
        stranger.closed().await;
    }
    node.counted(Count::GuardTimeout, 200).await;
    assert!(resident() < before + (16 << 20), "{} bytes more", resident() - before);
}

#[tokio::test]
async fn a_peer_that_never_reads_stops_at_its_buffers_and_disturbs_nobody() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut node = Node::start(Limits::default()).await;
    let mut peer = Peer::dial(&node, "peer", Lane::Calls).await;
    let mut slow = Stranger::with(&node.address(), &[opening(Lane::Bulk), frame(ADMIT_ME)].concat()).await;
    node.counted(Count::GuardAdmitted, 2).await;
    let before = resident();
    let body = frame(&vec![7; 60_000]);
    const ASKED: usize = 400;
    for _ in 0..ASKED {
        slow.send(&body).await;
        assert_eq!(peer.ask(b"undisturbed").await, b"undisturbed");
    }
    // What the sockets do not hold waits in the ROUTER's queue, which is bounded by the windows of links, not here.
    let grown = resident().saturating_sub(before);
    // The allocator keeps room beside each of those messages.
    assert!(grown < ASKED * body.len() + (16 << 20), "{grown} bytes more");
    slow.send(&frame(CLOSE_ME)).await;
    assert_eq!(soon(node.ended.recv()).await.unwrap().1, Ending::Closed);
    node.left_with(1).await;
    slow.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_descriptors_the_guard_pauses_and_then_goes_on() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Handle::current();
    let doors =
        Lane::ALL.map(|lane| Door { socket: folder.path().join(format!("{lane:?}")), runtime: runtime.clone() });
    let counters = Arc::new(Counters::default());
    let at = "127.0.0.1:0".parse().unwrap();
    let guard = Guard::listen(at, doors, Limits::default(), counters.clone(), |_, _| {}).unwrap();

    // The strangers' own sockets take what is left; the guard has none for those that wait in its backlog.
    let usual = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..usual }).unwrap();
    let mut strangers = Vec::new();
    while let Ok(stranger) = TcpStream::connect(guard.address()) {
        strangers.push(stranger);
    }
    assert!(strangers.len() > 10);
    let failed = || counters.get(Count::GuardAcceptFailed);
    until("a failure to accept", || failed() > 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await; // the time over which it counts, not a synchronisation
    assert!((1..=40).contains(&failed()), "it tried {} times", failed());

    drop(strangers);
    let accepted = counters.get(Count::GuardAccepted);
    let _next = TcpStream::connect(guard.address()).unwrap();
    until("the guard serves again", || counters.get(Count::GuardAccepted) > accepted).await;
    setrlimit(Resource::Nofile, usual).unwrap();
    guard.shutdown().await;
}
