//! Tasks as the cluster's users submit them: options first, then `.submit()` or `.await`.

use futures_util::future::BoxFuture;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::client::Cluster;
use super::needed::{Needed, name_of_run};
use super::placement::PlacementGroup;
use crate::actor::error::{Executed, Never, WireError};
use crate::actor::inbox::Host;
use crate::directory::request::Patience;
use crate::id::NodeId;
use crate::node::runtime::Node;
use crate::node::tasks::Submitted;
use crate::object::entry::{Entry, Making};
use crate::object::error::GetError;
use crate::object::get::{Get, got};
use crate::object::param::{Object, Param};
use crate::object::reference::ObjectRef;
use crate::schedule::Strategy;
use crate::task::context::TaskContext;
use crate::task::returns::{Cancel, More, Promised, Returns, Several};
use crate::task::slot::{Runnable, TaskSlot};
use crate::task::spec::{Defaults, Task};

/// Makes the task of its result, of what it makes beside that, and of its name, if it has one.
type Make = Box<dyn FnOnce(Arc<Entry>, Option<Arc<More>>, Option<Box<str>>) -> Arc<dyn Runnable> + Send>;

/// One run of a task that was not submitted yet: options, then `.submit()`, or `.await` for the value itself.
#[must_use = "a task is lazy: `.submit()` it, or `.await` it"]
pub struct TaskCall<T, E = Never> {
    cluster: Cluster,
    make: Make,
    name: Option<String>,
    /// None while it takes what tasks take that say nothing: one CPU.
    needed: Option<Box<Needed>>,
    retries: u32,
    priority: i32,
    patience: Patience,
    limit: Option<Duration>,
    detached: bool,
    of: PhantomData<fn() -> (T, E)>,
}

impl<T: Returns, E> TaskCall<T, E> {
    fn with(mut self, change: impl FnOnce(&mut Needed)) -> Self {
        change(self.needed.get_or_insert_with(|| Box::new(Needed::of(&Defaults::NONE.placement))));
        self
    }

    /// Calls this run so, in errors and for the task itself ([`TaskContext::name`]): 1 to 256 bytes without control characters,
    /// else it fails at once, saying so. Several runs may have one name.
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// #[task]
    /// fn import(rows: Vec<i64>) -> i64 {
    ///     rows.into_iter().reduce(|sum, row| sum.checked_add(row).expect("a sum that fits")).unwrap_or(0)
    /// }
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::local().await?;
    /// let error = import::call(&cluster, vec![i64::MAX, 1]).name("May's rows").await.unwrap_err();
    /// assert!(error.to_string().starts_with("`May's rows ("), "{error}");
    /// # Ok(()) }
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes so many CPUs of its node while it runs, in steps of 1/10,000, instead of one.
    pub fn cpus(self, cpus: f64) -> Self {
        self.resource("cpu", cpus)
    }

    /// Takes so many GPUs of its node. A task that takes anything but CPUs holds all that it takes while it waits for others,
    /// too: tasks that wait for tasks of the same resources can come to hold all there are.
    pub fn gpus(self, gpus: f64) -> Self {
        self.resource("gpu", gpus)
    }

    /// Takes so much memory of its node, in bytes. A reservation: nothing stops the task from using more.
    pub fn memory(self, bytes: u64) -> Self {
        self.resource("memory", bytes as f64)
    }

    /// Takes so much of a named resource of its node. What no node has fails the task at once, saying so.
    pub fn resource(self, name: impl AsRef<str>, amount: f64) -> Self {
        self.with(|needed| needed.resource(name.as_ref(), amount))
    }

    /// Only on nodes whose label `key` is `value`.
    pub fn label(self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.with(|needed| needed.label(key.as_ref(), value.into()))
    }

    /// Only on nodes whose labels meet a condition: a value, `in(a, b)`, `*` for any value, each also with a `!` before it.
    pub fn select(self, key: impl AsRef<str>, condition: impl AsRef<str>) -> Self {
        self.with(|needed| needed.select(key.as_ref(), condition.as_ref()))
    }

    /// What is said of labels after this is asked of nodes where none of the former will do now; after the last, any node will.
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// # #[task] fn render(frame: u32) -> u32 { frame }
    /// # #[tokio::main] async fn main() -> mobula::Result<()> {
    /// # let cluster = Cluster::local().await?;
    /// // On a fast disk while there is room, else on any that is not full, else wherever it may be.
    /// let call = render::call(&cluster, 7).label("disk", "ssd").otherwise().select("disk", "!full").otherwise();
    /// # drop(call);
    /// # Ok(()) }
    /// ```
    pub fn otherwise(self) -> Self {
        self.with(Needed::otherwise)
    }

    /// Only on this node.
    pub fn on(self, node: NodeId) -> Self {
        self.with(|needed| needed.choose(Strategy::Node(node)))
    }

    /// On this node while it has room, else on any.
    pub fn prefer(self, node: NodeId) -> Self {
        self.with(|needed| needed.choose(Strategy::Prefer(node)))
    }

    /// On the node that is emptiest, rather than first on those that are in use.
    pub fn spread(self) -> Self {
        self.with(|needed| needed.choose(Strategy::Spread))
    }

    /// In a placement group, in whichever bundle has room.
    pub fn within(self, group: &PlacementGroup) -> Self {
        let (group, index) = (group.id(), None);
        self.with(|needed| needed.choose(Strategy::Bundle { group, index }))
    }

    /// In one bundle of a placement group, the first of which is 0.
    pub fn within_bundle(self, group: &PlacementGroup, bundle: u32) -> Self {
        let (group, index) = (group.id(), Some(bundle));
        self.with(|needed| needed.choose(Strategy::Bundle { group, index }))
    }

    /// Runs it again, so often; never unless this or the task's attribute says so: only its author knows that a function may run
    /// twice. On another node if its node ends before it has answered, and at once if the function returned
    /// an error that its `retry_on` accepts. Any other error, and a panic, is its result. One that was cancelled is not run
    /// again. A result of more than 64 KiB lies where the task ran: if that node ends later on, the task is run again when
    /// somebody wants it, and first those whose lost results it takes. Without retries left it is lost
    /// ([`GetError::Lost`]).
    ///
    /// A run that may be followed by another for its error keeps its arguments: the function is given copies of what it takes by value.
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// enum Refused {
    ///     Busy,
    ///     Forbidden,
    /// }
    /// # impl std::fmt::Display for Refused {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") }
    /// # }
    ///
    /// fn is_busy(refused: &Refused) -> bool {
    ///     matches!(refused, Refused::Busy)
    /// }
    ///
    /// #[task(retries = 5, retry_on = is_busy)]
    /// fn fetch(ctx: &TaskContext, page: &str) -> Result<String, Refused> {
    ///     match ctx.attempt() {
    ///         1 | 2 => Err(Refused::Busy),
    ///         third => Ok(format!("{page}, at attempt {third}")),
    ///     }
    /// }
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::local().await?;
    /// assert_eq!(fetch::call(&cluster, "index").await?, "index, at attempt 3");
    /// assert!(fetch::call(&cluster, "index").retries(1).await.is_err());
    /// # Ok(()) }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Of this node's tasks that wait, those of a higher number leave first; 0 if nothing is said. What was sent to a node
    /// already, a few milliseconds of work, goes on. Where they are of different functions, or need different resources, the
    /// head moves slots to the highest number, within a few tenths of a second: lower ones get what it leaves, and may wait for
    /// as long as there is more of it. Other nodes' tasks have shares of their own, whatever the numbers are.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Waits until a node comes that has what it needs, instead of failing at once when none has.
    pub fn wait_for_node(mut self) -> Self {
        self.patience = Patience::Wait;
        self
    }

    /// Cancels it unless it is over so long after it was submitted; one that streams is over when its last item was made.
    /// [`GetError::Timeout`] says what it was waiting for then: arguments, a grant, a CPU, or its own end on which node.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Goes on when the task that submits it is cancelled. Otherwise it would be cancelled with it.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Submits it, and gives a reference to its result. Never waits for a task: with too many submitted
    /// ([`SUBMITTED`](crate::limits::SUBMITTED) and what may be queued), the object has failed with [`GetError::QueueFull`].
    ///
    /// Where the arguments of tasks that wait take more than [`QUEUE_MEMORY`](crate::limits::QUEUE_MEMORY) already, it writes those
    /// of this one to disk before it returns, unless they are shorter than 128 bytes.
    ///
    /// Of a task that returns `impl Stream` it gives an [`ObjectRefStream`](crate::ObjectRefStream), whose drop cancels the task.
    /// Of one with `returns = 2`, it gives as many references: each is settled, passed on and freed by itself; an error of the
    /// task is an error of all of them. Dropping a reference does not cancel the task.
    pub fn submit(self) -> T::Submitted<E> {
        let node = self.cluster.node().clone();
        let entry = Host::promised(&*node).promise(Host::next_object(&*node));
        let (promised, submitted) = self.made(entry);
        if let Some(submitted) = submitted {
            node.submit(submitted);
        }
        T::submitted(promised)
    }

    /// Submits it once fewer tasks are queued on this node than may be ([`max_queued`](crate::ClusterBuilder::max_queued)), and
    /// fewer calls and tasks submitted that are not over.
    ///
    /// A loop of these lets the runtime's other tasks have their turn now and then, and with them what sends: the first run while
    /// the last are submitted. A loop of [`submit`](TaskCall::submit) awaits nothing; on a runtime of one thread, nothing is sent
    /// before it is done.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the task was not submitted.
    pub async fn submit_wait(self) -> T::Submitted<E> {
        let node = self.cluster.node().clone();
        let entry = Host::promised(&*node).promise_wait(Host::next_object(&*node)).await;
        let (promised, submitted) = self.made(entry);
        if let Some(submitted) = submitted {
            node.submit_wait(submitted).await;
        }
        T::submitted(promised)
    }

    /// What is promised of it, and what is to be submitted unless that has failed already.
    fn made(self, entry: Arc<Entry>) -> (Promised, Option<Submitted>) {
        let node = self.cluster.node();
        let (name, misnamed) = match self.name.map(name_of_run).transpose() {
            Ok(name) => (name, None),
            Err(invalid) => (None, Some(invalid)),
        };
        let more = T::SHAPE.more(|| Host::next_object(&**node));
        let task = (self.make)(entry.clone(), more, name);
        let promised = promised(node, &task);
        if let Some(Err(full)) = entry.outcome() {
            task.fail(Arc::unwrap_or_clone(full));
            return (promised, None);
        }
        task.standing().is_of(&task);
        let parts = task.more().map_or(&[][..], |more| more.parts());
        parts.iter().chain([&entry]).for_each(|entry| entry.made_by(Making::Task(task.standing().clone())));
        let submitter = self.cluster.submitter().filter(|_| !self.detached);
        if submitter.is_some_and(|submitter| !submitter.adopt(&entry)) {
            task.fail(GetError::Cancelled { executed: Executed::No });
            return (promised, None);
        }
        if let Some(limit) = self.limit {
            node.bound_task(entry.clone(), limit);
        }
        let needs = match misnamed.map_or_else(|| self.needed.map(|needed| needed.finish()).transpose(), Err) {
            Ok(needs) => needs.map(Arc::new),
            Err(invalid) => {
                task.fail(GetError::Invalid(invalid));
                return (promised, None);
            }
        };
        let (retries, priority, patience) = (self.retries, self.priority, self.patience);
        (promised, Some(Submitted { task, needs, retries, priority, patience }))
    }
}

/// What a task's caller is given of it.
fn promised(node: &Arc<Node>, task: &Arc<dyn Runnable>) -> Promised {
    let (whole, more) = (task.result().clone(), task.more().cloned());
    let cancel = more.as_ref().is_some_and(|more| more.items().is_some()).then(|| {
        let (entry, here) = (whole.clone(), Arc::downgrade(node));
        let cancel: Cancel = Box::new(move || {
            if let Some(node) = here.upgrade() {
                node.cancel_object(&entry);
            }
        });
        cancel
    });
    Promised { whole, more, cancel }
}

impl<T: Object + Param<Owned = T>, E: WireError> IntoFuture for TaskCall<T, E> {
    type Output = <Get<T, E> as Future>::Output;
    type IntoFuture = Get<T, E>;

    fn into_future(self) -> Get<T, E> {
        Get::new(&self.submit())
    }
}

macro_rules! several {
    ($($part:ident $one:ident),+) => {
        impl<$($part: Object<Got = $part> + Param<Owned = $part>,)+ E: WireError> IntoFuture
            for TaskCall<Several<($($part,)+)>, E>
        {
            type Output = Result<($($part,)+), GetError<E>>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                let ($($one,)+) = self.submit();
                Box::pin(async move { Ok(($($one.await?,)+)) })
            }
        }
    };
}
several!(A a, B b);
several!(A a, B b, C c);
several!(A a, B b, C c, D d);
several!(A a, B b, C c, D d, F f);
several!(A a, B b, C c, D d, F f, G g);
several!(A a, B b, C c, D d, F f, G g, H h);
several!(A a, B b, C c, D d, F f, G g, H h, I i);

impl<T, E> fmt::Debug for TaskCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCall").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// What the generated `call` calls.
pub fn task<K: Task>(cluster: &Cluster, message: K) -> TaskCall<K::Reply, K::Error> {
    let make = Box::new(move |entry, more, name| TaskSlot::new(message, entry, more, name) as Arc<dyn Runnable>);
    let (defaults, placement) = (K::DEFAULTS, K::DEFAULTS.placement);
    TaskCall {
        cluster: cluster.clone(),
        make,
        name: None,
        needed: (placement != Defaults::NONE.placement).then(|| Box::new(Needed::of(&placement))),
        retries: defaults.retries,
        priority: defaults.priority,
        patience: placement.patience,
        limit: defaults.timeout,
        detached: false,
        of: PhantomData,
    }
}

impl TaskContext {
    /// Waits for an object in a synchronous task. Its CPU goes to another task meanwhile, and it goes on before new ones begin; a
    /// task that stands in line on the same node is run here and now instead. An asynchronous task awaits the reference.
    ///
    /// # Errors
    /// What the object's maker failed with; [`GetError::Cancelled`] as well when this task is cancelled meanwhile;
    /// [`GetError::NestingTooDeep`] if as many threads wait as may
    /// ([`PARKED_THREADS`](crate::limits::PARKED_THREADS)); [`GetError::Call`] in an asynchronous task, and outside of the task's
    /// own thread.
    pub fn get<T: ?Sized + Object, E: WireError>(&self, of: &ObjectRef<T, E>) -> Result<T::Got, GetError<E>> {
        let node: Option<Arc<Node>> = self.node().clone().downcast().ok();
        let outcome = node.ok_or(GetError::ShutDown)?.wait_in_task(self, of.entry());
        got::<T, E>(outcome)
    }

    /// The cluster that the task runs in, seen from its node. Tasks that are submitted to it are cancelled with this one.
    ///
    /// # Panics
    /// Never: tasks are run by nodes.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        let node = self.node().clone().downcast().expect("tasks are run by nodes");
        Cluster::of_task(node, self.standing().clone())
    }
}
