//! What only a memory network does: delays, losses and cuts, the same for the same seed.

use crate::node::{Cluster, Event, Node};
use mobula::net::memory::{Cut, MemoryNetwork, Weather};
use mobula::net::{Closed, DialError, Lane, Medium};
use std::time::Duration;
use tokio::time::Instant;

fn medium(network: &MemoryNetwork, name: &str) -> Medium {
    Medium::Memory { network: network.clone(), name: name.to_owned() }
}

async fn pair(network: &MemoryNetwork) -> (Node, Node) {
    let cluster = Cluster::new();
    let listener = Node::start(cluster.worker(medium(network, "b"), Some("memory://b".parse().unwrap()))).await;
    (Node::start(cluster.worker(medium(network, "a"), None)).await, listener)
}

/// When each batch of several connections arrived, by the paused clock.
async fn arrivals(seed: u64) -> Vec<(Duration, Vec<u8>)> {
    let weather = Weather { delay: Duration::from_millis(2), jitter: Duration::from_millis(40), loss: 0 };
    let network = MemoryNetwork::new(seed, weather);
    let (dialer, mut listener) = pair(&network).await;
    let start = Instant::now();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(dialer.dial(&listener, Lane::Calls).await.unwrap());
    }
    for nth in 0..20 {
        for (at, session) in sessions.iter().enumerate() {
            session.send(&[at as u8, nth]).await.unwrap();
        }
    }
    let mut arrivals = Vec::new();
    while arrivals.len() < 60 {
        if let Event::Batch(_, batch) = listener.next().await {
            arrivals.push((start.elapsed(), batch));
        }
    }
    arrivals
}

#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_deliveries() {
    for seed in [1, 2, 3] {
        let once = arrivals(seed).await;
        assert_eq!(once, arrivals(seed).await, "seed {seed}");
        assert_ne!(once, arrivals(seed + 100).await);
        let order =
            |at: u8| once.iter().filter(|(_, batch)| batch[0] == at).map(|(_, batch)| batch[1]).collect::<Vec<_>>();
        (0..3).for_each(|at| assert!(order(at).is_sorted(), "seed {seed}"));
        assert!(!once.is_sorted_by_key(|(_, batch)| batch[1]), "connections overtake each other");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_cut_only_delays() {
    let network = MemoryNetwork::new(9, Weather { delay: Duration::from_millis(1), ..Weather::default() });
    let (dialer, mut listener) = pair(&network).await;
    let session = dialer.dial(&listener, Lane::Calls).await.unwrap();
    listener.session().await;
    session.send(b"before").await.unwrap();
    assert_eq!(listener.batch().await.1, b"before");
    network.cut("a", "b", Cut::Silent);
    session.send(b"held").await.unwrap();
    let cut = Instant::now();
    let dialled = dialer.dial(&listener, Lane::Calls).await;
    assert!(matches!(dialled, Err(DialError::TimedOut { .. })), "{dialled:?}");
    assert!(listener.now().is_none() && session.closed().is_none());
    network.heal("a", "b");
    assert_eq!(listener.batch().await.1, b"held");
    assert!(cut.elapsed() >= mobula::limits::HANDSHAKE_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_breaking_cut_ends_sessions_and_lets_none_be_made() {
    let network = MemoryNetwork::new(9, Weather { delay: Duration::from_millis(1), ..Weather::default() });
    let (mut dialer, mut listener) = pair(&network).await;
    dialer.dial(&listener, Lane::Calls).await.unwrap();
    dialer.session().await;
    listener.session().await;
    network.cut("b", "a", Cut::Breaking);
    assert_eq!((dialer.closed().await.1, listener.closed().await.1), (Closed::Peer, Closed::Peer));
    assert!(matches!(dialer.dial(&listener, Lane::Calls).await, Err(DialError::Unreachable { .. })));
    network.heal("a", "b");
    dialer.dial(&listener, Lane::Calls).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn loss_breaks_sessions_and_never_reorders_them() {
    let network = MemoryNetwork::new(11, Weather { delay: Duration::from_millis(1), ..Weather::default() });
    let (dialer, mut listener) = pair(&network).await;
    let session = dialer.dial(&listener, Lane::Calls).await.unwrap();
    listener.session().await;
    network.set_weather(Weather { delay: Duration::from_millis(1), jitter: Duration::from_millis(9), loss: 100_000 });
    for nth in 0..200u8 {
        session.send(&[nth]).await.unwrap();
    }
    let mut heard = 0;
    loop {
        match listener.next().await {
            Event::Batch(_, batch) => {
                assert_eq!(batch, [heard]);
                heard += 1;
            }
            Event::Closed(_, why) => break assert_eq!(why, Closed::Peer),
            Event::Session(session) => panic!("{session:?}"),
        }
    }
    assert!(heard < 200);
}
