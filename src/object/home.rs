//! What an object's entry needs of the node that it is on. Implemented by the node.

use std::sync::Arc;

use super::entry::Entry;
use crate::id::{Life, ObjectId};

/// The node, as entries of objects that others own know it.
pub(crate) trait Home: Send + Sync {
    /// The value of such an object is wanted here, for the first time.
    fn fetch(&self, entry: &Arc<Entry>);
    /// An entry of such an object is gone, for which one hold was taken in this life of the node.
    fn let_go(&self, object: ObjectId, counted_in: Life);
}
