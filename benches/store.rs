//! Putting objects into the store. The control is a plain copy into pages that are warm already: what a put costs beyond
//! it is the store's. Beside it, the same into fresh memory, which is what recycling saves.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobula::store::{Store, StoreConfig};
use std::hint::black_box;
use std::time::Duration;

criterion_group!(benches, puts, creations);
criterion_main!(benches);

const CAPACITY: usize = 4 << 30;

fn with_store(work: impl FnOnce(&Store)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    work(&Store::new(StoreConfig { capacity: CAPACITY, folder: None }).unwrap());
}

fn puts(c: &mut Criterion) {
    for (name, length) in [("100 B", 100), ("64 KiB", 64 << 10), ("16 MiB", 16 << 20), ("800 MB", 800_000_000)] {
        let source = vec![7_u8; length];
        let mut group = c.benchmark_group(format!("put {name}"));
        group.throughput(Throughput::Bytes(length as u64));
        if length > 100 << 20 {
            group.sample_size(10).measurement_time(Duration::from_secs(4));
        }
        let mut target = vec![1_u8; length];
        group.bench_function("control: memcpy into warm pages", |b| {
            b.iter(|| black_box(&mut target[..]).copy_from_slice(black_box(&source)));
        });
        drop(target);
        with_store(|store| {
            // Somebody always has an object: a store is seldom empty.
            let _other = store.copy_in(&[0; 100]).unwrap();
            group.bench_function("copy_in, drop", |b| {
                b.iter(|| drop(black_box(store.copy_in(black_box(&source)).unwrap())));
            });
        });
        group.finish();
    }
}

fn creations(c: &mut Criterion) {
    with_store(|store| {
        let mut group = c.benchmark_group("create, seal, drop");
        for (name, length) in [("100 B", 100), ("64 KiB", 64 << 10), ("16 MiB", 16 << 20)] {
            group.bench_function(name, |b| b.iter(|| drop(store.try_create(black_box(length)).unwrap().seal())));
        }
        group.finish();
    });
}
