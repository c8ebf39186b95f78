//! Rows of objects and tasks. Tasks run in the worker process; the driver's runtime has one thread, for one core.

use crate::measure::{Effort, Group, a_second, rows};
use crate::remote::{TIME, Way, cluster, on_one_thread};

use futures::future::try_join_all;
use mobula::PlacementGroup;
use mobula::prelude::*;

/// Tasks that are submitted, then all awaited.
const BURST: u64 = 1_000;
const CHAIN: u64 = 100;
const REFERENCES: usize = 10_000;
/// Placement groups that are made at a time.
const GROUPS: u64 = 100;

pub fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    let mut add = |named: &[(&str, &'static str)], run: Box<dyn Fn(Effort) -> anyhow::Result<Vec<f64>>>| {
        groups.push(Group { rows: rows("", named), spans_processes: true, times: 1, run });
    };
    let small = [("single client get calls", "1/s"), ("single client put calls", "1/s")];
    add(&small, Box::new(|effort| on_one_thread(put_and_get(effort))));
    add(&[("single client tasks sync", "1/s")], Box::new(|effort| on_one_thread(tasks(effort, 1))));
    add(&[("single client tasks async", "1/s")], Box::new(|effort| on_one_thread(tasks(effort, BURST))));
    add(&[("single client wait 1k refs", "1/s")], Box::new(|effort| on_one_thread(wait(effort))));
    let containing = [("single client get object containing 10k refs", "1/s")];
    add(&containing, Box::new(|effort| on_one_thread(get_containing(effort))));
    add(&[("10k refs to a task and back", "1/s")], Box::new(|effort| on_one_thread(references(effort))));
    add(&[("chain of 100 dependent tasks", "1/s")], Box::new(|effort| on_one_thread(chain(effort))));
    add(&[("placement group create/removal", "1/s")], Box::new(|effort| on_one_thread(placement_groups(effort))));
    groups
}

#[task]
fn nothing() -> u64 {
    0
}

#[task]
fn same(references: Vec<ObjectRef<u64>>) -> Vec<ObjectRef<u64>> {
    references
}

#[task]
async fn many(ctx: &TaskContext) -> mobula::Result<Vec<ObjectRef<u64>>> {
    let cluster = ctx.cluster();
    let mut references = Vec::with_capacity(REFERENCES);
    for number in 0..REFERENCES as u64 {
        references.push(cluster.put(number).await?);
    }
    Ok(references)
}

#[task]
fn next(number: u64) -> u64 {
    number + 1
}

async fn put_and_get(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let small = cluster.put(7_u64).await?;
    let get = a_second(effort.time(TIME), || async {
        for _ in 0..BURST {
            cluster.get(&small).await?;
        }
        Ok(BURST)
    })
    .await?;
    let put = a_second(effort.time(TIME), || async {
        for number in 0..BURST {
            drop(cluster.put(number).await?);
        }
        Ok(BURST)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![get, put])
}

async fn submitted(cluster: &Cluster, burst: u64) -> Vec<ObjectRef<u64>> {
    let mut submitted = Vec::with_capacity(burst as usize);
    for _ in 0..burst {
        submitted.push(nothing::call(cluster).submit_wait().await);
    }
    submitted
}

async fn tasks(effort: Effort, burst: u64) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let rate = a_second(effort.time(TIME), || async {
        cluster.get_all(&submitted(&cluster, burst).await).await?;
        Ok(burst)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}

async fn wait(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let rate = a_second(effort.time(TIME), || async {
        let mut pending = cluster.as_settled(submitted(&cluster, BURST).await);
        while !pending.is_empty() {
            let (settled, others) = cluster.wait(pending, 1).await;
            anyhow::ensure!(settled.iter().all(ObjectRef::is_settled), "what is given is there");
            pending = others;
        }
        Ok(1)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}

/// The worker owns all of them, and the object that holds them.
async fn get_containing(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let containing = many::submit(&cluster);
    let rate = a_second(effort.time(TIME), || async {
        let references = cluster.get(&containing).await?;
        anyhow::ensure!(references.len() == REFERENCES, "all of them");
        Ok(1)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}

async fn references(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let mut references = Vec::with_capacity(REFERENCES);
    for number in 0..REFERENCES as u64 {
        references.push(cluster.put(number).await?);
    }
    let rate = a_second(effort.time(TIME), || async {
        let back = same::call(&cluster, references.clone()).await?;
        anyhow::ensure!(back.len() == REFERENCES, "all of them");
        Ok(1)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}

async fn chain(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let rate = a_second(effort.time(TIME), || async {
        let mut last = next::submit(&cluster, 0);
        for _ in 1..CHAIN {
            last = next::submit(&cluster, &last);
        }
        anyhow::ensure!(cluster.get(&last).await? == CHAIN, "each adds one");
        Ok(1)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}

async fn placement_groups(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let rate = a_second(effort.time(TIME), || async {
        let made = (0..GROUPS).map(|_| cluster.placement_group().bundle([("cpu", 0.01)]).into_future());
        let groups = try_join_all(made).await?;
        try_join_all(groups.iter().map(PlacementGroup::remove)).await?;
        Ok(GROUPS)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}
