//! Objects as arrow's buffers, over the memory that they lie in.

use super::processes::{is_mapped, readers};
use super::support::{MIB, all_is_free, bounded, used};
use arrow_buffer::{Buffer, ScalarBuffer};
use mobula::prelude::*;

/// Holds a column of numbers.
#[actor]
struct Column {
    kept: Option<ScalarBuffer<f64>>,
}

#[methods]
impl Column {
    #[constructor]
    pub fn new() -> Self {
        Self { kept: None }
    }

    /// Keeps a part of an object; its sum, and whether it is read in place.
    pub async fn keep(&mut self, of: Vec<ObjectRef<[f64]>>) -> mobula::Result<(f64, bool)> {
        let whole: ScalarBuffer<f64> = of[0].clone().await?.into();
        let part = self.kept.insert(whole.slice(1, whole.len() - 1));
        Ok((part.iter().sum(), is_mapped(part)))
    }

    pub fn forget(&mut self) {
        self.kept = None;
    }
}

async fn a_buffer_is_read_in_place_and_keeps_its_memory() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    drop(readers(&cluster).await);
    let column = ScalarBuffer::from((0..MIB).map(|item| item as f64).collect::<Vec<_>>());
    let object = bounded(cluster.put_slice(&column)).await.unwrap();
    let view = bounded(cluster.get(&object)).await.unwrap();
    let address = view.as_ptr();
    let mine: ScalarBuffer<f64> = view.into();
    assert_eq!((&mine, mine.as_ptr()), (&column, address), "nothing is copied");
    let worker = bounded(Column::spawn(&cluster).cpus(1.0)).await.unwrap();
    let sum = column[1..].iter().sum::<f64>();
    assert_eq!(bounded(worker.keep(vec![object.clone()])).await.unwrap(), (sum, true));
    drop((object, mine));
    assert_eq!(used(&cluster), 8 * MIB, "a part of it that another process has keeps it");
    bounded(worker.forget()).await.unwrap();
    all_is_free(&cluster).await;

    let bytes = Buffer::from(vec![7_u8; MIB]);
    let object = bounded(cluster.put_slice(&bytes)).await.unwrap();
    let same: Buffer = bounded(cluster.get(&object)).await.unwrap().into();
    assert_eq!(same, bytes);
    drop((object, same));
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn small_and_empty_ones_are_the_same() {
    let cluster = bounded(Cluster::local()).await.unwrap();
    for length in [0_u32, 1, 1_000] {
        let column = ScalarBuffer::from((0..length).collect::<Vec<_>>());
        let object = bounded(cluster.put_slice(&column)).await.unwrap();
        let view = bounded(cluster.get(&object)).await.unwrap();
        assert_eq!(ScalarBuffer::from(view.clone()), column);
        assert_eq!(Buffer::from(view).len(), 4 * length as usize);
    }
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    a_buffer_is_read_in_place_and_keeps_its_memory
    small_and_empty_ones_are_the_same
}
