//! What the tests of objects in shared memory share.

use mobula::StoreUsage;
use mobula::prelude::*;
use std::time::Duration;

pub const MIB: usize = 1 << 20;

pub async fn bounded<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), work.into_future()).await.expect("within 30 s")
}

/// Waits until something that happens in the background has happened.
pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let looking = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// Waits until a cluster's store holds nothing.
pub async fn all_is_free(cluster: &Cluster) {
    let looking = async {
        while used(cluster) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let left = tokio::time::timeout(Duration::from_secs(30), looking).await;
    left.unwrap_or_else(|_| panic!("{:?} and {:?} are left", cluster.store_usage(), cluster.shared_objects()));
}

/// Numbers that tell where they belong.
pub fn numbers(seed: u64, bytes: usize) -> Vec<u64> {
    (0..bytes as u64 / 8).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed).collect()
}

/// Bytes of objects that are being written, are sealed, or are read by other processes.
pub fn used(cluster: &Cluster) -> usize {
    let StoreUsage { drafts, sealed, pinned, .. } = cluster.store_usage();
    drafts + sealed + pinned
}
