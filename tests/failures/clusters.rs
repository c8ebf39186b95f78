//! Several clusters in one process.

use crate::actors::{Gate, Sloth};
use crate::common::*;
use mobula::prelude::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_in_one_process_share_no_name_no_actor_and_no_end() {
    let (one, other) = (Cluster::local().workers(1), Cluster::local().workers(1).into_future());
    let (one, other) = bounded(async { tokio::try_join!(one.into_future(), other) }).await.unwrap();
    let alone = bounded(Cluster::local()).await.unwrap();
    let mut sloths = Vec::new();
    for (number, cluster) in (1..).zip([&one, &other, &alone]) {
        let gate = bounded(Gate::spawn(cluster)).await.unwrap();
        let sloth = bounded(Sloth::spawn(cluster, &gate).name("sloth")).await.unwrap();
        bounded(sloth.note(number)).await.unwrap();
        sloths.push(sloth);
    }
    for (number, cluster) in (1..).zip([&one, &other, &alone]) {
        let sloth = bounded(Sloth::lookup(cluster, "sloth")).await.unwrap();
        assert_eq!(bounded(sloth.noted()).await, Ok(vec![number]));
    }
    let [kept, ended] = [&other, &one].map(|cluster| Sloth::lookup(cluster, "sloth"));
    let (kept, ended) = (bounded(kept).await.unwrap(), bounded(ended).await.unwrap());
    ends_without_a_trace(one).await;
    assert!(bounded(ended.noted()).await.is_err());
    assert_eq!(bounded(kept.noted()).await, Ok(vec![2]));
    ends_without_a_trace(other).await;
    ends_without_a_trace(alone).await;
}
