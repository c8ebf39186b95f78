//! Connections that lag, stall and are reset all the time, while the nodes themselves live on: nobody notices.

use crate::common::*;
use crate::ledger::{self, Ledger, Load};
use crate::nodes::Keys;
use crate::proxy::Proxy;
use bytes::Bytes;
use futures::StreamExt;
use mobula::Executed;
use mobula::prelude::*;
use std::time::Duration;

/// Bytes that one could not guess, as many as asked for.
#[task]
fn made(length: usize) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 16) as u8).collect()
}

/// Counts.
#[actor]
pub struct Counts {}

#[methods]
impl Counts {
    #[constructor]
    pub fn new() -> Self {
        Self {}
    }

    pub fn to(&mut self, end: u64) -> impl Stream<Item = u64> {
        futures::stream::iter(0..end)
    }
}

/// An address of loopback that no other test has.
fn address(host: u8) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{host}:7400", 1 + (process >> 8 & 127), process & 255)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_lag_stall_and_are_reset_cost_no_call_no_item_and_no_byte() {
    let keys = Keys::new();
    let (head_at, worker_at) = (address(1), address(2));
    let (before_head, before_worker) = (address(3), address(4));
    let head_proxy = Proxy::start(&before_head, &head_at).await;
    let worker_proxy = Proxy::start(&before_worker, &worker_at).await;
    let tcp = |address: &str| format!("tcp://{address}");
    let cluster = keys.head(&tcp(&head_at), Duration::from_secs(30)).await;
    let worker = keys.worker(None, &tcp(&before_head), &tcp(&worker_at), &tcp(&before_worker)).await;
    until("the worker among the members", || worker.is_known_to(&cluster)).await;

    let file = keys.file("ledger");
    let ledger = bounded(Ledger::spawn(&cluster, file.display().to_string())).await.unwrap();
    let counts = bounded(Counts::spawn(&cluster)).await.unwrap();
    let load = {
        let ledger = ledger.clone();
        Load::begin(1, move || std::future::ready(Some(ledger.clone())))
    };
    let mut items = counts.to(20_000);
    let counted = tokio::spawn(async move {
        let mut next = 0;
        while let Some(item) = items.next().await {
            assert_eq!(item, Ok(next));
            next += 1;
        }
        next
    });
    for round in 0..20_u64 {
        let proxy = if round % 3 == 0 { &head_proxy } else { &worker_proxy };
        let large = made::submit(&cluster, 2 << 20);
        match round % 4 {
            0 => proxy.lags(Duration::from_millis(round % 5)),
            1 => {
                proxy.stalls(true);
                tokio::time::sleep(Duration::from_millis(20 * round)).await;
                proxy.stalls(false);
            }
            _ => proxy.resets(),
        }
        assert_eq!(bounded(cluster.get(&large)).await.unwrap(), made(2 << 20));
        proxy.lags(Duration::ZERO);
        load.goes_on_by(20).await;
    }
    assert_eq!(bounded(counted).await.unwrap(), 20_000);
    let (caller, outcomes) = load.ends().await;
    let failed: Vec<_> = outcomes.iter().filter(|(_, executed)| **executed != Executed::Yes).collect();
    assert!(failed.is_empty(), "{failed:?}");
    ledger::check(&ledger::read(&file), caller, &outcomes);
    assert!(worker.is_known_to(&cluster), "it is the same life");
    drop((ledger, counts));
    bounded(cluster.shutdown()).await;
    worker.player.kill();
}
