//! Views of slices as arrow's buffers (feature `arrow`): over the same memory, which stays for as long as they do.
//!
//! The other way needs nothing of its own: a buffer derefs to a slice, which is copied once into shared memory.

use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};

use super::param::View;

/// Nothing is copied: the view stays, wherever the buffer is sliced and passed.
///
/// ```
/// # use mobula::prelude::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mobula::Result<()> {
/// use arrow_buffer::ScalarBuffer;
///
/// let cluster = Cluster::local().await?;
/// let column = ScalarBuffer::from(vec![0.5_f64; 100_000]);
/// let object: ObjectRef<[f64]> = cluster.put_slice(&column).await?;
/// let same: ScalarBuffer<f64> = cluster.get(&object).await?.into();
/// assert_eq!(same, column);
/// # Ok(())
/// # }
/// ```
impl<P: ArrowNativeType + bytemuck::Pod> From<View<[P]>> for ScalarBuffer<P> {
    fn from(view: View<[P]>) -> Self {
        match view.is_empty() {
            // Nothing may lie anywhere, aligned or not.
            true => Vec::new().into(),
            // Whole items, aligned: they were a slice of them.
            false => Buffer::from(view).into(),
        }
    }
}

/// Its bytes: nothing is copied.
impl<P: bytemuck::Pod + Send + Sync> From<View<[P]>> for Buffer {
    fn from(view: View<[P]>) -> Self {
        view.into_shared().into_bytes().into()
    }
}
