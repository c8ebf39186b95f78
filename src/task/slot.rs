//! The one allocation of a task beside its result: its arguments until it begins.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use super::context::TaskContext;
use super::spec::{Code, Task};
use super::standing::Standing;
use crate::actor::args;
use crate::actor::bring::{self, Absent, Gathered};
use crate::actor::dispatch::TypeName;
use crate::actor::error::{Executed, panic_message};
use crate::actor::remote::NodeRef;
use crate::id::Key;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::param::Param;
use crate::wire::codec::{self, DecodeError, Enclosed, Hold};

/// A task of whatever function, as the node that runs it keeps it.
pub(crate) trait Runnable: Send + Sync {
    /// What it makes.
    fn result(&self) -> &Arc<Entry>;
    /// The objects that were passed by reference and have no values in their places yet.
    fn references(&self) -> Vec<Arc<Entry>>;
    /// Has values brought for references; none if all were at hand and are in their places now.
    fn bring(self: Arc<Self>) -> Option<BoxFuture<'static, ()>>;
    /// Runs it; once.
    fn run(self: Arc<Self>, context: TaskContext) -> Ran;
    /// Whether it runs on the compute pool.
    fn is_blocking(&self) -> bool;
    /// It never runs, or has failed elsewhere.
    fn fail(&self, fault: Fault);
    /// Where it is, and whether it was cancelled.
    fn standing(&self) -> &Arc<Standing>;
    /// What runs it.
    fn kind(&self) -> Kind;
    /// What people are told that it is: its function, and the name of this run if it was given one.
    fn label(&self) -> String {
        let function = self.kind().name;
        self.standing().name().map_or_else(|| function.to_string(), |name| format!("{name} ({function})"))
    }
    /// Which of its arguments are results of tasks that are not there yet, by what `of` says of them.
    fn behind(&self, of: &dyn Fn(&Arc<Entry>) -> Option<u64>) -> Vec<(u32, u64)>;
    /// Its arguments as they travel: values, references to what is read where it lies, and nothing at `left_out`; they stay
    /// here for another attempt.
    fn encode(&self, body: &mut Vec<u8>, left_out: &[(u32, u64)]) -> Result<Enclosed, Fault>;
}

/// What a node must have been compiled with to run a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: TypeName,
    pub(crate) signature: Key,
}

/// How far a task came when it was run.
pub(crate) enum Ran {
    /// It is over.
    Over,
    /// It goes on.
    Running(BoxFuture<'static, ()>),
}

pub(crate) struct TaskSlot<K: Task> {
    message: Mutex<Option<K>>,
    result: Arc<Entry>,
    standing: Arc<Standing>,
}

impl<K: Task> TaskSlot<K> {
    pub(crate) fn new(message: K, result: Arc<Entry>, name: Option<Box<str>>) -> Arc<Self> {
        Arc::new(TaskSlot { message: Mutex::new(Some(message)), result, standing: Standing::named(name) })
    }

    /// The message, its arguments all values.
    fn take(&self) -> Result<K, Fault> {
        let message = self.message.lock().take();
        let mut message = message.ok_or(GetError::Cancelled { executed: Executed::No })?;
        args::resolve(&mut message).map_err(|(object, why)| GetError::Argument { object, why })?;
        Ok(message)
    }

    /// Puts values in the places of references while they are at hand.
    fn put_in(&self, gathered: Result<Gathered, Absent>) {
        let message = self.message.lock().take();
        let Some(mut message) = message else { return };
        match gathered.and_then(|_at_hand| args::resolve(&mut message)) {
            Ok(()) => *self.message.lock() = Some(message),
            Err((object, why)) => self.fail(GetError::Argument { object, why }),
        }
    }

    fn settle(&self, ran: std::thread::Result<Result<K::Reply, K::Error>>) {
        self.result.settle(match ran {
            Ok(Ok(value)) => Ok(Content::of::<K::Reply>(K::Reply::share(value))),
            Ok(Err(error)) => Err(Arc::new(GetError::App(error).into_fault())),
            Err(panic) => {
                let (what, message) = (self.label(), panic_message(&*panic));
                Err(Arc::new(GetError::Panicked { what, message }))
            }
        });
    }
}

impl<K: Task> Runnable for TaskSlot<K> {
    fn result(&self) -> &Arc<Entry> {
        &self.result
    }

    fn references(&self) -> Vec<Arc<Entry>> {
        self.message.lock().as_mut().map(args::references).unwrap_or_default()
    }

    fn bring(self: Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        let mut message = self.message.lock();
        let gathered = message.as_mut().filter(|message| message.has_references()).map(bring::gather)?;
        drop(message);
        if gathered.is_whole() {
            self.put_in(Ok(gathered));
            return None;
        }
        Some(Box::pin(async move { self.put_in(gathered.bring().await) }))
    }

    fn run(self: Arc<Self>, context: TaskContext) -> Ran {
        match K::CODE {
            Code::Blocking(run) => {
                if !self.standing.begin() {
                    return Ran::Over;
                }
                match self.take() {
                    Ok(message) => {
                        let ran = catch_unwind(AssertUnwindSafe(|| run(message, &context)));
                        self.standing.end();
                        self.settle(ran);
                    }
                    Err(fault) => self.fail(fault),
                }
                Ran::Over
            }
            // Also its failing is left to the future: whoever waits for it is begun by it in turn, however many they are.
            Code::Async(run) => Ran::Running(Box::pin(async move {
                if !self.standing.begin() {
                    return;
                }
                match self.take() {
                    Ok(message) => {
                        let ran = AssertUnwindSafe(async {
                            let mut running = run(message, &context);
                            poll_fn(|cx| match self.standing.poll_cancelled(cx.waker()) {
                                true => Poll::Ready(None),
                                false => running.as_mut().poll(cx).map(Some),
                            })
                            .await
                        });
                        match ran.catch_unwind().await.transpose() {
                            Some(ran) => self.settle(ran),
                            None => self.fail(GetError::Cancelled { executed: Executed::Maybe }),
                        }
                    }
                    Err(fault) => self.fail(fault),
                }
            })),
        }
    }

    fn is_blocking(&self) -> bool {
        matches!(K::CODE, Code::Blocking(_))
    }

    fn fail(&self, fault: Fault) {
        drop(self.standing.cancel());
        let message = self.message.lock().take();
        drop(message);
        self.result.settle(Err(Arc::new(fault)));
    }

    fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    fn kind(&self) -> Kind {
        Kind { name: K::NAME, signature: K::KEY }
    }

    fn behind(&self, of: &dyn Fn(&Arc<Entry>) -> Option<u64>) -> Vec<(u32, u64)> {
        self.message.lock().as_mut().map(|message| args::positions(message, of)).unwrap_or_default()
    }

    fn encode(&self, body: &mut Vec<u8>, left_out: &[(u32, u64)]) -> Result<Enclosed, Fault> {
        // Encoding is user code: it is done outside of the lock.
        let message = self.message.lock().take();
        let Some(mut message) = message else { return Err(GetError::Cancelled { executed: Executed::No }) };
        let is_left_out = |position| left_out.iter().any(|(at, _)| *at == position);
        args::leave(&mut message, is_left_out).map_err(|(object, why)| GetError::Argument { object, why })?;
        let encoded =
            codec::encode_arguments(&message, body).map_err(|error| GetError::Codec { message: error.to_string() });
        // One that failed meanwhile needs no arguments any more.
        let left = if self.result.is_settled() { Some(message) } else { self.message.lock().replace(message) };
        drop(left);
        encoded
    }
}

/// A task as it arrives.
pub(crate) struct Coming<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) enclosed: Enclosed,
    /// Positions of arguments that are results of this node's tasks, and those.
    pub(crate) left_out: Vec<(u32, Arc<Entry>)>,
    pub(crate) here: &'a NodeRef,
    pub(crate) result: Arc<Entry>,
    pub(crate) name: Option<Box<str>>,
}

/// Makes a task of arguments that arrived.
pub(crate) fn arrived<K: Task>(coming: Coming<'_>) -> Result<Arc<dyn Runnable>, DecodeError> {
    let Coming { body, enclosed, left_out, here, result, name } = coming;
    let left_out = left_out.into_iter().map(|(position, entry)| (position, entry as Hold)).collect();
    Ok(TaskSlot::<K>::new(codec::decode_arguments(body, enclosed, left_out, here)?, result, name))
}

impl<K: Task> Drop for TaskSlot<K> {
    /// Whoever waits for what never ran is told.
    fn drop(&mut self) {
        if !self.result.is_settled() {
            self.result.settle(Err(Arc::new(GetError::ShutDown)));
        }
    }
}
