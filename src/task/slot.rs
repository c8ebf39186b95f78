//! The one allocation of a task beside its result: its arguments until it begins.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use super::context::TaskContext;
use super::recipe::{Recipe, recipe};
use super::returns::{More, Outlet, Returns, done};
use super::spec::{Code, RetryOn, Task};
use super::standing::Standing;
use super::stream::Produces;
use super::tail::{OnDisk, Tail, Weight};
use crate::actor::args;
use crate::actor::bring::{self, Absent, Gathered};
use crate::actor::dispatch::TypeName;
use crate::actor::error::{Executed, panic_message};
use crate::actor::remote::NodeRef;
use crate::id::Key;
use crate::limits::QUEUE_SMALL;
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::wire::codec::{self, Enclosed, Hold};

/// A task of whatever function, as the node that runs it keeps it.
pub(crate) trait Runnable: Send + Sync {
    /// What it makes.
    fn result(&self) -> &Arc<Entry>;
    /// It will wait behind others: its arguments are counted, and written to disk if there are many already. Called once, before
    /// anybody else may run it. Blocks.
    fn waits(&self, tail: &Arc<Tail>, here: &NodeRef);
    /// Whether its arguments are on disk.
    fn is_on_disk(&self) -> bool;
    /// The objects that were passed by reference and have no values in their places yet.
    fn references(&self) -> Vec<Arc<Entry>>;
    /// Has values brought for references; none if all were at hand and are in their places now.
    fn bring(self: Arc<Self>) -> Option<BoxFuture<'static, ()>>;
    /// Runs it; once for each attempt.
    fn run(self: Arc<Self>, context: TaskContext, attempt: Attempt) -> Ran;
    /// Whether an error of its own may be worth another attempt.
    fn is_retried(&self) -> bool;
    /// Whether this one is.
    fn wants_again(&self, fault: &Fault) -> bool;
    /// Whether it runs on the compute pool.
    fn is_blocking(&self) -> bool;
    /// It never runs, or has failed elsewhere. Who cancels it says so otherwise: then this changes nothing.
    fn fail(&self, fault: Fault);
    /// What became of a task says who has claimed and cancelled it.
    fn ends_cancelled(&self, fault: Fault);
    /// What it makes beside its result.
    fn more(&self) -> Option<&Arc<More>>;
    /// All that it makes beside its result has come, or went to its caller.
    fn done(&self);
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
    /// What it takes to make it once more; then it has no arguments itself. None if it has none, or they do not encode. Blocks.
    fn recipe(&self) -> Option<Recipe>;
}

/// What a node must have been compiled with to run a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: TypeName,
    pub(crate) signature: Key,
}

/// How far a task came when it was run.
pub(crate) enum Ran {
    /// It has ended.
    Over(End),
    /// It goes on.
    Running(BoxFuture<'static, End>),
}

/// How an attempt ended.
pub(crate) enum End {
    /// Its result is there.
    Settled,
    /// It is to be run once more, with the same arguments.
    Again,
    /// The function has returned a stream.
    Streams(Streams),
}

/// A stream of results that is to be polled.
pub(crate) struct Streams {
    pub(crate) task: Arc<dyn Runnable>,
    pub(crate) items: Produces,
}

/// Whether another attempt may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Last,
    MayBeFollowed,
}

/// A task's arguments until it begins. Most tasks' are short.
#[derive(Default)]
pub(super) enum Message<K> {
    Here(K),
    Long(Box<Long<K>>),
    OnDisk(Arc<OnDisk>),
    /// They were given to who runs it, or nobody needs them any more.
    #[default]
    Taken,
}

/// Arguments that are counted.
pub(super) struct Long<K> {
    pub(super) message: K,
    _weight: Weight,
}

impl<K> Message<K> {
    /// Those in memory.
    fn get_mut(&mut self) -> Option<&mut K> {
        match self {
            Message::Here(message) => Some(message),
            Message::Long(long) => Some(&mut long.message),
            Message::OnDisk(_) | Message::Taken => None,
        }
    }
}

impl<K: Task> Message<K> {
    /// The arguments themselves. Blocks if they are on disk.
    fn into_arguments(self) -> Result<K, Fault> {
        match self {
            Message::Here(message) => Ok(message),
            Message::Long(long) => Ok(long.message),
            Message::OnDisk(on_disk) => read(&on_disk),
            Message::Taken => Err(GetError::Cancelled { executed: Executed::No }),
        }
    }
}

fn read<K: Task>(on_disk: &OnDisk) -> Result<K, Fault> {
    let OnDisk { enclosed, passed, here, .. } = on_disk;
    let passed = passed.iter().map(|(position, entry)| (*position, entry.clone() as Hold)).collect();
    let message = codec::decode_arguments(&on_disk.read()?, enclosed.clone(), passed, here);
    message.map_err(|error| GetError::Codec { message: error.to_string() })
}

pub(crate) struct TaskSlot<K: Task> {
    message: Mutex<Message<K>>,
    result: Arc<Entry>,
    more: Option<Arc<More>>,
    standing: Arc<Standing>,
}

impl<K: Task> TaskSlot<K> {
    pub(crate) fn new(message: K, result: Arc<Entry>, more: Option<Arc<More>>, name: Option<Box<str>>) -> Arc<Self> {
        let (message, standing) = (Mutex::new(Message::Here(message)), Standing::named(name));
        Arc::new(TaskSlot { message, result, more, standing })
    }

    /// The message, its arguments all values. If another attempt may follow, they stay here for it.
    fn take(&self, attempt: Attempt) -> Result<K, Fault> {
        let mut message = self.take_message().into_arguments()?;
        args::resolve(&mut message).map_err(GetError::absent)?;
        if let (Attempt::MayBeFollowed, Some(retry)) = (attempt, K::RETRY_ON) {
            let (runs, stays) = (retry.twice)(message);
            *self.message.lock() = Message::Here(stays);
            return Ok(runs);
        }
        Ok(message)
    }

    fn accepts(error: &K::Error) -> bool {
        let accepts = |retry: RetryOn<K>| catch_unwind(AssertUnwindSafe(|| (retry.on)(error)));
        K::RETRY_ON.is_some_and(|retry| accepts(retry).unwrap_or(false))
    }

    /// An attempt has ended.
    fn end(self: &Arc<Self>, ran: std::thread::Result<Result<K::Reply, K::Error>>, attempt: Attempt) -> End {
        if let (Attempt::MayBeFollowed, Ok(Err(error))) = (attempt, &ran)
            && !self.standing.is_cancelled()
            && Self::accepts(error)
        {
            self.standing.again();
            return End::Again;
        }
        if attempt == Attempt::MayBeFollowed {
            drop(self.take_message());
        }
        self.settle(ran)
    }

    /// Puts values in the places of references while they are at hand.
    fn put_in(&self, gathered: Result<Gathered, Absent>) {
        let mut message = self.take_message();
        let Some(arguments) = message.get_mut() else { return };
        match gathered.and_then(|_at_hand| args::resolve(arguments)) {
            Ok(()) => self.put_back(message),
            Err(absent) => self.fail(GetError::absent(absent)),
        }
    }

    /// Whoever takes arguments out uses and drops them outside of the lock: both may be user code.
    fn take_message(&self) -> Message<K> {
        std::mem::take(&mut *self.message.lock())
    }

    /// One that failed meanwhile needs no arguments any more.
    fn put_back(&self, message: Message<K>) {
        let left =
            if self.result.is_settled() { message } else { std::mem::replace(&mut *self.message.lock(), message) };
        drop(left);
    }

    /// Writes arguments to disk, if they encode and it takes them.
    fn write(&self, message: &mut K, bytes: usize, tail: &Tail, here: &NodeRef) -> Option<OnDisk> {
        let passed = args::positions(message, |entry| Some(entry.clone()));
        let mut body = Vec::with_capacity(bytes);
        let enclosed = args::encode(message, &mut body, codec::encode_arguments).ok()?;
        let record = tail.write(&body)?;
        Some(OnDisk { record, enclosed, passed, here: here.clone() })
    }

    /// Reads arguments back into memory. Blocks.
    fn read_back(&self) {
        match self.take_message().into_arguments() {
            Ok(message) => self.put_back(Message::Here(message)),
            Err(fault) => self.fail(fault),
        }
    }

    fn give_up(&self, fault: Fault) -> End {
        self.fail(fault);
        End::Settled
    }

    fn settle(self: &Arc<Self>, ran: std::thread::Result<Result<K::Reply, K::Error>>) -> End {
        if self.standing.is_claimed() {
            return End::Settled;
        }
        let fault = match ran {
            Ok(Ok(value)) => {
                return match value.settle(Outlet { whole: &self.result, more: self.more.as_deref() }) {
                    Some(items) => End::Streams(Streams { task: self.clone(), items }),
                    None => End::Settled,
                };
            }
            Ok(Err(error)) => GetError::App(error).into_fault(),
            Err(panic) => GetError::Panicked { what: self.label(), message: panic_message(&*panic) },
        };
        self.settle_all(Arc::new(fault));
        End::Settled
    }

    fn settle_all(&self, fault: Arc<Fault>) {
        if let Some(more) = &self.more {
            more.fail(&fault);
        }
        self.result.settle(Err(fault));
    }
}

impl<K: Task> TaskSlot<K> {
    /// Arguments are read from disk, and what they refer to is brought.
    fn bring_back(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let task = self.clone();
            if tokio::task::spawn_blocking(move || task.read_back()).await.is_err() {
                self.fail(GetError::ShutDown);
            }
            if let Some(bringing) = self.bring() {
                bringing.await;
            }
        })
    }
}

impl<K: Task> Runnable for TaskSlot<K> {
    fn result(&self) -> &Arc<Entry> {
        &self.result
    }

    fn waits(&self, tail: &Arc<Tail>, here: &NodeRef) {
        let taken = self.take_message();
        let Message::Here(mut message) = taken else { return self.put_back(taken) };
        let Some(bytes) = codec::weigh_arguments(&message).filter(|bytes| *bytes > QUEUE_SMALL) else {
            return self.put_back(Message::Here(message));
        };
        let mut weight = tail.hold(bytes);
        if weight.is_none()
            && tail.writes()
            && let Some(on_disk) = self.write(&mut message, bytes, tail, here)
        {
            return self.put_back(Message::OnDisk(Arc::new(on_disk)));
        }
        let weight = weight.take().unwrap_or_else(|| tail.hold_more(bytes));
        self.put_back(Message::Long(Box::new(Long { message, _weight: weight })));
    }

    fn is_on_disk(&self) -> bool {
        matches!(*self.message.lock(), Message::OnDisk(_))
    }

    fn references(&self) -> Vec<Arc<Entry>> {
        match &mut *self.message.lock() {
            Message::OnDisk(on_disk) => on_disk.references(),
            message => message.get_mut().map(args::references).unwrap_or_default(),
        }
    }

    fn bring(self: Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        let mut message = self.message.lock();
        if let Message::OnDisk(on_disk) = &*message {
            // Its own thread reads them, unless there is more to bring.
            if self.is_blocking() && on_disk.passed.is_empty() {
                return None;
            }
            drop(message);
            return Some(self.bring_back());
        }
        let gathered = message.get_mut().filter(|message| message.has_references()).map(bring::gather)?;
        drop(message);
        if gathered.is_whole() {
            self.put_in(Ok(gathered));
            return None;
        }
        Some(Box::pin(async move { self.put_in(gathered.bring().await) }))
    }

    fn run(self: Arc<Self>, context: TaskContext, attempt: Attempt) -> Ran {
        match K::CODE {
            Code::Blocking(run) => {
                if !self.standing.begin() {
                    return Ran::Over(End::Settled);
                }
                Ran::Over(match self.take(attempt) {
                    Ok(message) => {
                        let ran = catch_unwind(AssertUnwindSafe(|| run(message, &context)));
                        self.standing.end();
                        self.end(ran, attempt)
                    }
                    Err(fault) => self.give_up(fault),
                })
            }
            // Also its failing is left to the future: whoever waits for it is begun by it in turn, however many they are.
            Code::Async(run) => Ran::Running(Box::pin(async move {
                if !self.standing.begin() {
                    return End::Settled;
                }
                match self.take(attempt) {
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
                            Some(ran) => self.end(ran, attempt),
                            None => self.give_up(GetError::Cancelled { executed: Executed::Maybe }),
                        }
                    }
                    Err(fault) => self.give_up(fault),
                }
            })),
        }
    }

    fn is_retried(&self) -> bool {
        K::RETRY_ON.is_some()
    }

    fn wants_again(&self, fault: &Fault) -> bool {
        let GetError::App(coded) = fault else { return false };
        self.is_retried() && codec::decode::<K::Error>(&coded.body).is_ok_and(|error| Self::accepts(&error))
    }

    fn is_blocking(&self) -> bool {
        matches!(K::CODE, Code::Blocking(_))
    }

    fn fail(&self, fault: Fault) {
        if !self.standing.is_claimed() {
            drop(self.standing.cancel());
            self.ends_cancelled(if self.standing.was_tried() { fault.after_a_try() } else { fault });
        }
    }

    fn ends_cancelled(&self, fault: Fault) {
        drop(self.take_message());
        self.settle_all(Arc::new(fault));
    }

    fn more(&self) -> Option<&Arc<More>> {
        self.more.as_ref()
    }

    fn done(&self) {
        if self.standing.is_claimed() {
            return;
        }
        self.result.settle(Ok(done()));
        if let Some(more) = &self.more {
            more.end();
        }
    }

    fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    fn kind(&self) -> Kind {
        Kind { name: K::type_name(), signature: K::KEY }
    }

    fn behind(&self, of: &dyn Fn(&Arc<Entry>) -> Option<u64>) -> Vec<(u32, u64)> {
        match &mut *self.message.lock() {
            Message::OnDisk(on_disk) => {
                let said = on_disk.passed.iter().map(|(position, entry)| Some((*position, of(entry)?)));
                said.flatten().collect()
            }
            message => message.get_mut().map(|message| args::positions(message, of)).unwrap_or_default(),
        }
    }

    fn encode(&self, body: &mut Vec<u8>, left_out: &[(u32, u64)]) -> Result<Enclosed, Fault> {
        let mut taken = self.take_message();
        let encoded = match &mut taken {
            Message::Taken => Err(GetError::Cancelled { executed: Executed::No }),
            // As it was written.
            Message::OnDisk(on_disk) if on_disk.passed.is_empty() => on_disk.read().map(|read| {
                body.extend_from_slice(&read);
                on_disk.enclosed.clone()
            }),
            Message::OnDisk(on_disk) => read(on_disk).and_then(|mut message: K| encoded(&mut message, body, left_out)),
            Message::Here(message) => encoded(message, body, left_out),
            Message::Long(long) => encoded(&mut long.message, body, left_out),
        };
        self.put_back(taken);
        encoded
    }

    fn recipe(&self) -> Option<Recipe> {
        recipe(self.take_message(), self.standing.name())
    }
}

fn encoded<K: Task>(message: &mut K, body: &mut Vec<u8>, left_out: &[(u32, u64)]) -> Result<Enclosed, Fault> {
    let is_left_out = |position| left_out.iter().any(|(at, _)| *at == position);
    args::leave(message, is_left_out).map_err(GetError::absent)?;
    let encoded = args::encode(message, body, codec::encode_arguments);
    encoded.map_err(|error| GetError::Codec { message: error.to_string() })
}

impl<K: Task> Drop for TaskSlot<K> {
    /// Whoever waits for what never ran is told.
    fn drop(&mut self) {
        if !self.result.is_settled() {
            self.settle_all(Arc::new(GetError::ShutDown));
        }
    }
}
