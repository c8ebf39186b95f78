//! Tasks as the cluster's users submit them: options first, then `.submit()` or `.await`.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use super::client::Cluster;
use crate::actor::error::{Never, WireError};
use crate::actor::inbox::Host;
use crate::limits::SUBMITTED;
use crate::object::entry::Entry;
use crate::object::error::GetError;
use crate::object::get::Get;
use crate::object::param::Object;
use crate::object::reference::ObjectRef;
use crate::task::context::TaskContext;
use crate::task::slot::{Runnable, TaskSlot};
use crate::task::spec::Task;

/// One run of a task that was not submitted yet: options, then `.submit()`, or `.await` for the value itself.
#[must_use = "a task is lazy: `.submit()` it, or `.await` it"]
pub struct TaskCall<T, E = Never> {
    cluster: Cluster,
    make: Box<dyn FnOnce(Arc<Entry>) -> Arc<dyn Runnable> + Send>,
    of: PhantomData<fn() -> (T, E)>,
}

impl<T, E> TaskCall<T, E> {
    /// Submits it, and gives a reference to its result. Never waits: with too many submitted
    /// ([`SUBMITTED`](crate::limits::SUBMITTED)), the object has failed with [`GetError::QueueFull`].
    ///
    /// Dropping the reference does not cancel the task.
    pub fn submit(self) -> ObjectRef<T, E> {
        let node = self.cluster.node();
        let (id, promised) = (Host::next_object(&**node), Host::promised(&**node));
        if !promised.promise(SUBMITTED) {
            let full = GetError::QueueFull { limit: SUBMITTED };
            return ObjectRef::new(Entry::settled(id, Err(Arc::new(full))));
        }
        let entry = Entry::pending(id, Some(promised.clone()));
        node.submit((self.make)(entry.clone()));
        ObjectRef::new(entry)
    }
}

impl<T: Object, E: WireError> IntoFuture for TaskCall<T, E> {
    type Output = <Get<T, E> as Future>::Output;
    type IntoFuture = Get<T, E>;

    fn into_future(self) -> Get<T, E> {
        Get::new(&self.submit())
    }
}

impl<T, E> fmt::Debug for TaskCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCall").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// What the generated `call` calls.
pub fn task<K: Task>(cluster: &Cluster, message: K) -> TaskCall<K::Reply, K::Error> {
    let make = Box::new(move |entry| TaskSlot::new(message, entry) as Arc<dyn Runnable>);
    TaskCall { cluster: cluster.clone(), make, of: PhantomData }
}

impl TaskContext {
    /// The cluster that the task runs in, seen from its node.
    ///
    /// # Panics
    /// Never: tasks are run by nodes.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster::of_node(self.node().clone().downcast().expect("tasks are run by nodes"))
    }
}
