//! Each way that an object takes: put, filled in place, read in place in its own process and from another, sent as bytes. The
//! control is a copy of as many bytes into warm pages.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use mobula::prelude::*;
use std::hint::black_box;
use tokio::runtime::{Builder, Runtime};

const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("1 MiB", 1 << 20), ("64 MiB", 64 << 20)];

fn main() {
    mobula::enter();
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let [here, shared, apart] = runtime.block_on(async {
        let shared = Cluster::local().workers(1).await.unwrap();
        [Cluster::local().await.unwrap(), shared, Cluster::local().workers(1).never_share_memory().await.unwrap()]
    });
    for (name, length) in SIZES {
        let mut group = criterion.benchmark_group(format!("object of {name}"));
        group.throughput(Throughput::Bytes(length as u64)).sample_size(10);
        let items = vec![7_u64; length / 8];
        made(&mut group, &runtime, &here, &items);
        read(&mut group, &runtime, "in its own process", &here, &items);
        read(&mut group, &runtime, "in another process", &shared, &items);
        read(&mut group, &runtime, "as bytes, in another process", &apart, &items);
        group.finish();
    }
    criterion.final_summary();
    for cluster in [here, shared, apart] {
        runtime.block_on(cluster.shutdown());
    }
}

#[task]
fn ends(of: &[u64]) -> (u64, u64) {
    (of[0], of[of.len() - 1])
}

fn made(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, cluster: &Cluster, items: &[u64]) {
    let mut target = vec![1_u64; items.len()];
    group.bench_function("control: memcpy into warm pages", |b| {
        b.iter(|| black_box(&mut target[..]).copy_from_slice(black_box(items)));
    });
    drop(target);
    // Somebody always has an object: a store is seldom empty.
    let _other = cluster.try_put_slice(&[0_u8; 100_000]).unwrap();
    group.bench_function("put_slice, drop", |b| {
        b.iter(|| drop(runtime.block_on(cluster.put_slice(black_box(items))).unwrap()));
    });
    group.bench_function("create, fill, seal, drop", |b| {
        b.iter(|| {
            let mut buffer = runtime.block_on(cluster.create::<[u64]>(items.len())).unwrap();
            buffer.copy_from_slice(black_box(items));
            drop(buffer.seal());
        });
    });
    let object = runtime.block_on(cluster.put_slice(items)).unwrap();
    group.bench_function("get a view", |b| b.iter(|| runtime.block_on(cluster.get(&object)).unwrap()[0]));
}

fn read(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, how: &str, cluster: &Cluster, items: &[u64]) {
    let object = runtime.block_on(cluster.put_slice(items)).unwrap();
    group.bench_function(format!("a task borrows it {how}"), |b| {
        b.iter(|| runtime.block_on(ends::call(cluster, &object).into_future()).unwrap());
    });
}
