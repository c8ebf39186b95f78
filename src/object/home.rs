//! What an object's entry needs of the node that it is on. Implemented by the node.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::task::Context;

use super::content::Content;
use super::entry::{Entry, Outcome};
use super::error::Fault;
use crate::id::{Life, ObjectId};

/// The wait of a method or a task for an object, until this is dropped (PROTOCOLS §5).
pub(crate) trait Waited: Send {
    /// Why it ends without a value: it is in a circle of waits. Else `cx` is woken when it is.
    fn poll(&self, cx: &Context<'_>) -> Option<Arc<Fault>>;
}

/// The node, as entries of objects that others own know it.
pub(crate) trait Home: Send + Sync {
    /// The value of such an object is wanted here, for the first time.
    fn fetch(&self, entry: &Arc<Entry>);
    /// Somebody here wants to know, for the first time, that such an object has a value.
    fn look_for(&self, entry: &Arc<Entry>);
    /// Reads such an object from its owner, again.
    fn read(&self, object: ObjectId) -> BoxFuture<'static, Outcome>;
    /// What an object waits for that is pending here, whoever owns it.
    fn waiting(&self, entry: &Arc<Entry>) -> String;
    /// Somebody waits for an object that is pending here. What he waits with, if that is a method or a task.
    fn waits(&self, entry: &Arc<Entry>) -> Option<Box<dyn Waited>> {
        let _ = entry;
        None
    }
    /// Counts a value that an object of this node keeps in the process's own memory, if it is large and there already.
    fn counted(&self, content: Content) -> Content;
    /// An entry of such an object is gone, for which one hold was taken in this life of the node.
    fn let_go(&self, object: ObjectId, counted_in: Life);
}
