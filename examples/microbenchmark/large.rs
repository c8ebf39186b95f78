//! Rows of large objects, and of objects that hold many references. Tasks run in the worker process; the driver's runtime has
//! one thread, for one core.

use crate::measure::{Effort, Group, a_second, rows};
use crate::remote::{TIME, Way, cluster, on_one_thread};
use mobula::prelude::*;

/// Items of the object that is put: 0.84 GB.
const GIGABYTE: usize = 100 << 20;
/// Items of the object that a task reads: 100 MB.
const READ: usize = 12_500_000;
const REFERENCES: u64 = 10_000;

pub fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    let mut add = |named: &[(&str, &'static str)], run: Box<dyn Fn(Effort) -> anyhow::Result<Vec<f64>>>| {
        groups.push(Group { rows: rows("", named), spans_processes: true, times: 1, run });
    };
    // The control is what a put is at best: a copy into pages that are there.
    let gigabytes = [("copy gigabytes into warm pages", "GB/s"), ("single client put gigabytes", "GB/s")];
    let gigabytes = [gigabytes[0], gigabytes[1], ("fill gigabytes in place", "GB/s")];
    add(&gigabytes, Box::new(|effort| on_one_thread(put_and_fill(effort))));
    let read = [("task reads a 100 MB object", "1/s"), ("task reads a 1 MB object", "1/s")];
    add(&read, Box::new(|effort| on_one_thread(read_by_tasks(effort))));
    let held = [("single client get object containing 10k refs", "1/s")];
    add(&held, Box::new(|effort| on_one_thread(many_references(effort))));
    groups
}

#[task]
fn first(of: &[i64]) -> i64 {
    of[0]
}

#[task]
async fn holder(ctx: &TaskContext, count: u64) -> mobula::Result<Vec<ObjectRef<u64>>> {
    let mut references = Vec::new();
    for number in 0..count {
        references.push(ctx.cluster().put(number).await?);
    }
    Ok(references)
}

async fn put_and_fill(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let items = vec![7_i64; GIGABYTE];
    let bytes = size_of_val(&items[..]) as u64;
    let gigabytes = |rate: f64| rate / 1e9;
    let mut target = vec![1_i64; GIGABYTE];
    let copy = a_second(effort.time(TIME), || {
        target.copy_from_slice(&items);
        std::hint::black_box(&target);
        std::future::ready(Ok(bytes))
    })
    .await?;
    drop(target);
    let put = a_second(effort.time(TIME), || async {
        drop(cluster.put_slice(&items).await?);
        Ok(bytes)
    })
    .await?;
    let fill = a_second(effort.time(TIME), || async {
        let mut buffer = cluster.create::<[i64]>(GIGABYTE).await?;
        buffer.copy_from_slice(&items);
        drop(buffer.seal());
        Ok(bytes)
    })
    .await?;
    cluster.shutdown().await;
    Ok([copy, put, fill].map(gigabytes).to_vec())
}

async fn read_by_tasks(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let mut rates = Vec::new();
    for length in [READ, READ / 100] {
        let object = cluster.put_slice(&vec![7_i64; length]).await?;
        let rate = a_second(effort.time(TIME), || async {
            anyhow::ensure!(first::call(&cluster, &object).await? == 7, "the first item");
            Ok(1)
        });
        rates.push(rate.await?);
    }
    cluster.shutdown().await;
    Ok(rates)
}

async fn many_references(effort: Effort) -> anyhow::Result<Vec<f64>> {
    let cluster = cluster(Way::Ipc, 1).await?;
    let object = holder::submit(&cluster, REFERENCES);
    let rate = a_second(effort.time(TIME), || async {
        anyhow::ensure!(cluster.get(&object).await?.len() as u64 == REFERENCES, "all of them");
        Ok(1)
    })
    .await?;
    cluster.shutdown().await;
    Ok(vec![rate])
}
