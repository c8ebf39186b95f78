//! The tasks of a node: those that it submitted and that wait for arguments, and those that wait for a CPU here or run.
//!
//! ```text
//! submit ─▶ arguments there? ─▶ placed: here, or on a node that has the function ─▶ runs ─▶ its result settles
//!                                            ▲                                  │
//!                                            └── its node ended, an attempt left ┘
//! ```

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use super::core::link::Party;
use super::runtime::Node;
use crate::actor::error::{CallError, Executed};
use crate::actor::inbox::Host;
use crate::actor::remote::host::Incoming;
use crate::actor::remote::{Caller, Outgoing, Peer, fault_to_error, with_scratch};
use crate::actor::slot::to_get_error;
use crate::directory::request::{ActorType, Candidate, Choose, Ended, Gone, Needs};
use crate::id::{ActorId, Key, Placement};
use crate::limits::BODY_INLINE;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::{Entry, Outcome as Settled, Watch};
use crate::object::error::{Fault, GetError};
use crate::object::failure::Never;
use crate::schedule::Why;
use crate::task::context::TaskContext;
use crate::task::registry::NotMade;
use crate::task::slot::{Ran, Runnable};
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::{Answer, CallFault, Flags, Outcome, Request};

/// Before a task's arguments: the key of its name, and these bits.
const HEADER: usize = 9;
/// The arguments are an object of the caller's.
const ELSEWHERE: u8 = 1;
/// The head has reserved what it takes: it waits for no CPU.
const RESERVED: u8 = 2;

/// Tasks that are ready to run here.
#[derive(Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<dyn Runnable>>,
    running: usize,
}

/// A task, and what it was submitted with.
#[derive(Clone)]
pub(crate) struct Submitted {
    pub(crate) task: Arc<dyn Runnable>,
    /// What it takes of its node; none for what tasks take that say nothing: one of the CPUs that a node runs them on.
    pub(crate) needs: Option<Arc<Needs>>,
    /// How often it may run again after its node ended.
    pub(crate) retries: u32,
}

/// What the head reserved for a task: given back when this is dropped.
struct Reserved {
    node: Arc<Node>,
    by: ActorId,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let (actor, placement, why) = (self.by, Placement(0), Gone::Stopped);
        self.node.client().report(Ended { actor, placement, why });
    }
}

/// A task that waits for arguments.
struct Waiting {
    node: Arc<Node>,
    missing: AtomicUsize,
    submitted: Mutex<Option<Submitted>>,
}

impl Watch for Waiting {
    fn settled(self: Arc<Self>, _: usize) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(submitted) = self.submitted.lock().take()
        {
            self.node.submit(submitted);
        }
    }
}

impl Node {
    /// Takes a task: it runs once its arguments are there and a CPU is free.
    pub(crate) fn submit(self: &Arc<Self>, submitted: Submitted) {
        let references = submitted.task.references().into_iter();
        let missing: Vec<_> = references.filter(|reference| !reference.is_settled()).collect();
        if missing.is_empty() {
            return self.place(submitted);
        }
        // One more than there are: nothing is ready while they are entered.
        let count = AtomicUsize::new(missing.len() + 1);
        let waiting = Arc::new(Waiting { node: self.clone(), missing: count, submitted: Mutex::new(Some(submitted)) });
        let watch: Arc<dyn Watch> = waiting.clone();
        let settled = missing.iter().filter(|reference| reference.watch(&watch, 0).is_none()).count();
        (0..=settled).for_each(|_| waiting.clone().settled(0));
    }

    /// Sends a task where it is to run.
    fn place(self: &Arc<Self>, submitted: Submitted) {
        if self.is_alone() && submitted.needs.is_none() {
            return self.queue(submitted.task);
        }
        let kind = submitted.task.kind();
        let needs = submitted.needs.as_deref().cloned().unwrap_or_default();
        let reserves = !needs.resources.is_empty();
        let choose = Choose {
            actor: if reserves { self.next_actor() } else { ActorId { life: self.last_life(), serial: 0 } },
            kind: ActorType { key: kind.name.key(), name: kind.name.to_string().into() },
            constructor: kind.signature,
            needs,
        };
        if let Some(candidate) = self.client().chosen(&choose) {
            return self.send_task(submitted, candidate, None);
        }
        let node = self.clone();
        self.runtime().spawn(async move {
            let by = choose.actor;
            match node.choose_for_task(choose).await {
                Ok(candidate) => {
                    let reserved = reserves.then(|| Reserved { node: node.clone(), by });
                    node.send_task(submitted, candidate, reserved);
                }
                Err(message) => submitted.task.fail(GetError::Call { message, executed: Executed::No }),
            }
        });
    }

    /// A node that has what a task needs, once one has room; what none has is an error at once.
    async fn choose_for_task(&self, choose: Choose) -> Result<Candidate, String> {
        if choose.needs.resources.is_empty() {
            let chosen = self.client().choose(choose).await.map_err(|error| error.to_string())?;
            return chosen.map_err(|error| error.to_string());
        }
        let mut asking = self.client().ask(choose);
        let chosen = poll_fn(|cx| match Pin::new(&mut asking).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => match asking.why() {
                Some(Why::Full | Why::NoNode) | None => Poll::Pending,
                Some(why) => Poll::Ready(Err(why.to_string())),
            },
        });
        let chosen = chosen.await?.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        chosen.candidates.first().copied().ok_or_else(|| "the head named no node".to_owned())
    }

    fn send_task(self: &Arc<Self>, submitted: Submitted, to: Candidate, reserved: Option<Reserved>) {
        let task = submitted.task.clone();
        if to.life == self.last_life() {
            return match reserved {
                Some(reserved) => self.begin(task, Place::Reserved(reserved)),
                None => self.queue(task),
            };
        }
        if let Some(bringing) = task.clone().bring() {
            let node = self.clone();
            self.runtime().spawn(async move {
                bringing.await;
                node.send_task(submitted, to, reserved);
            });
            return;
        }
        let Some(link) = self.link(Party { node: to.node, life: to.life }) else {
            return self.attempt_failed(submitted, GetError::NodeDied { node: to.node, executed: Executed::No });
        };
        let has_room = reserved.is_some();
        let sent = Sent { node: self.clone(), submitted: submitted.clone(), to, _reserved: reserved };
        let caller: Arc<dyn Caller> = Arc::new(sent);
        let asked = with_scratch(|body, packet| {
            let enclosed = encode(&*task, has_room, body, self)?;
            let request = Request {
                flags: Flags::ASK,
                stream: 0,
                time_left: None,
                placement: Placement(0),
                actor: ActorId { life: to.life, serial: 0 },
                method: task.kind().signature,
                retries: 0,
                caller: None,
                chain: List::EMPTY,
                refs: List::Items(&enclosed.refs),
                body,
            };
            request.encode(packet);
            let outgoing = Outgoing { packet, deadline: None, enclosed: &enclosed };
            let asked = link.request(link.node_stream(), outgoing, &caller);
            asked.map(drop).map_err(|error| to_get_error(error).into_fault())
        });
        if let Err(fault) = asked {
            self.attempt_failed(submitted, fault);
        }
    }

    /// An attempt came to nothing: another one if its node ended and one is left.
    fn attempt_failed(self: &Arc<Self>, submitted: Submitted, fault: Fault) {
        let left = submitted.retries.checked_sub(1).filter(|_| matches!(fault, GetError::NodeDied { .. }));
        match left {
            Some(retries) => self.place(Submitted { retries, ..submitted }),
            None => submitted.task.fail(fault),
        }
    }

    /// A peer sends a task to run here.
    pub(super) fn run_for_peer(self: &Arc<Self>, incoming: &Incoming<'_>) {
        let body = incoming.request.body;
        let name = body.first_chunk().map(|key| Key(u64::from_le_bytes(*key)));
        let (Some(name), Some(place)) = (name, body.get(HEADER - 1)) else {
            incoming.refuse(CallFault::Decode { message: "a task begins with its name" });
            return;
        };
        if !self.hosts_actors() {
            incoming.refuse(CallFault::NoResources);
            return;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        if !peer.begin(arrival, u32::MAX).runs {
            return;
        }
        let has_room = place & RESERVED != 0;
        let arrived = Arrived { peer, call: arrival.call, kind: (name, incoming.request.method), has_room };
        match place & ELSEWHERE {
            0 => self.make_task(arrived, &body[HEADER..], incoming.enclosed.clone()),
            _ => {
                // The arguments are an object of the caller's.
                let Some(object) = Entry::of_enclosed(&incoming.enclosed) else {
                    return arrived.refuse(CallFault::Decode { message: "a task's arguments are nowhere" });
                };
                let node = self.clone();
                arrived.peer.clone().spawn_linked(Box::pin(async move {
                    match object.settling().await {
                        Ok(Content::Encoded(encoded)) => node.make_task(arrived, &encoded.body, encoded.enclosed),
                        Ok(_) | Err(_) => arrived.refuse(CallFault::ReferenceLost),
                    }
                }));
            }
        }
    }

    fn make_task(self: &Arc<Self>, arrived: Arrived, body: &[u8], enclosed: Enclosed) {
        let result = Entry::pending(Host::next_object(&**self), None);
        match self.task_table().make(arrived.kind, body, enclosed, self.here(), result.clone()) {
            Ok(task) => {
                let has_room = arrived.has_room;
                let answers: Arc<dyn Watch> = Arc::new(Answers { arrived, result: result.clone() });
                if result.watch(&answers, 0).is_none() {
                    return;
                }
                if has_room { self.begin(task, Place::Paid) } else { self.queue(task) }
            }
            Err(NotMade::UnknownTask) => arrived.refuse(CallFault::UnknownType),
            Err(NotMade::UnknownSignature) => arrived.refuse(CallFault::UnknownMethod),
            Err(NotMade::Arguments(error)) => arrived.refuse(CallFault::Decode { message: &error.to_string() }),
        }
    }

    fn queue(self: &Arc<Self>, task: Arc<dyn Runnable>) {
        self.tasks().state.lock().ready.push_back(task);
        self.run_tasks();
    }

    /// Begins tasks while a CPU is free.
    fn run_tasks(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.tasks().state.lock();
                if state.running >= self.compute().threads() {
                    return;
                }
                let Some(next) = state.ready.pop_front() else { return };
                state.running += 1;
                next
            };
            self.begin(next, Place::Cpu(self.clone()));
        }
    }

    fn begin(self: &Arc<Self>, task: Arc<dyn Runnable>, place: Place) {
        let Some(bringing) = task.clone().bring() else { return self.run_task(task, place) };
        let node = self.clone();
        Host::spawn(
            &**self,
            Box::pin(async move {
                bringing.await;
                node.run_task(task, place);
            }),
        );
    }

    fn run_task(self: &Arc<Self>, task: Arc<dyn Runnable>, place: Place) {
        let context = TaskContext::new(self.clone(), task.result().id(), 1, task.cancelled().clone());
        if task.is_blocking() {
            self.compute().run(Box::new(move || {
                task.run(context);
                drop(place);
            }));
            return;
        }
        // One that awaits something gives its CPU to another for good, so that tasks which wait for tasks never hold all
        // there are; what it does then shares the runtime's threads.
        let (cpu, reserved) = match place {
            Place::Cpu(_) => (Some(place), None),
            reserved => (None, Some(reserved)),
        };
        if let Ran::Running(mut running) = task.run(context) {
            let running = async move {
                let first = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
                drop(cpu);
                if first.is_pending() {
                    running.await;
                }
                drop(reserved);
            };
            Host::spawn(&**self, Box::pin(running));
        }
    }
}

/// What a task runs on; given back when this is dropped.
enum Place {
    /// One of the CPUs that this node runs tasks on.
    Cpu(Arc<Node>),
    /// What the head reserved for it.
    Reserved(#[expect(dead_code, reason = "given back by its drop")] Reserved),
    /// What the head reserved for it, and its owner gives back.
    Paid,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::Cpu(node) = self {
            node.tasks().state.lock().running -= 1;
            node.run_tasks();
        }
    }
}

/// A task's name and arguments; those that no packet carries become an object of this node.
fn encode(task: &dyn Runnable, has_room: bool, body: &mut Vec<u8>, node: &Arc<Node>) -> Result<Enclosed, Fault> {
    body.extend_from_slice(&task.kind().name.key().0.to_le_bytes());
    let place = if has_room { RESERVED } else { 0 };
    body.push(place);
    let enclosed = task.encode(body)?;
    if body.len() <= BODY_INLINE {
        return Ok(enclosed);
    }
    let arguments = bytes::Bytes::copy_from_slice(&body[HEADER..]);
    let content = Encoded { form: Form::Packed, body: arguments, enclosed, node: Some(node.here().clone()) };
    body.truncate(HEADER - 1);
    body.push(place | ELSEWHERE);
    Ok(Entry::settled(Host::next_object(&**node), Ok(Content::Encoded(content))).enclosed())
}

/// A task that another node runs for this one.
struct Sent {
    node: Arc<Node>,
    submitted: Submitted,
    to: Candidate,
    _reserved: Option<Reserved>,
}

impl Caller for Sent {
    fn told(&self) {}

    fn item(&self, _: Enclosed, _: &[u8], _: usize) {}

    fn answered(self: Arc<Self>, outcome: Outcome<'_>, enclosed: Enclosed) {
        let result = self.submitted.task.result();
        let nonsense = || GetError::Codec { message: "the node's answer is no task's".to_owned() };
        match outcome {
            Outcome::Value { body, .. } => {
                let (body, node) = (bytes::Bytes::copy_from_slice(body), Some(self.node.here().clone()));
                result.settle(Ok(Content::Encoded(Encoded { form: Form::Packed, body, enclosed, node })));
            }
            Outcome::Elsewhere { .. } => {
                let object = Entry::of_enclosed(&enclosed);
                result.settle(object.map(Content::Elsewhere).ok_or_else(|| Arc::new(nonsense())));
            }
            Outcome::App { body, .. } => self.submitted.task.fail(codec::decode(body).unwrap_or_else(|_| nonsense())),
            Outcome::Error { executed, fault } => {
                let kind = self.submitted.task.kind();
                let task = ActorId { life: self.to.life, serial: 0 };
                let error = fault_to_error(fault, executed, task, self.to.node, (kind.name.name, ""));
                self.node.attempt_failed(self.submitted.clone(), to_get_error::<Never>(error).into_fault());
            }
        }
    }

    fn failed(&self, error: CallError) {
        self.node.attempt_failed(self.submitted.clone(), to_get_error::<Never>(error).into_fault());
    }
}

/// A task that runs here for a peer.
struct Arrived {
    peer: Arc<dyn Peer>,
    call: u64,
    kind: (Key, Key),
    /// The head has reserved what it takes.
    has_room: bool,
}

impl Arrived {
    fn refuse(&self, fault: CallFault<'_>) {
        self.answer(Outcome::Error { executed: Executed::No, fault }, &Enclosed::default());
    }

    fn answer(&self, outcome: Outcome<'_>, enclosed: &Enclosed) {
        let mut packet = Vec::new();
        Answer { call: self.call, outcome }.encode(&mut packet);
        self.peer.answer(self.call, &packet, enclosed);
    }
}

/// Answers the peer once the task's result is there.
struct Answers {
    arrived: Arrived,
    result: Arc<Entry>,
}

impl Watch for Answers {
    fn settled(self: Arc<Self>, _: usize) {
        let settled: Option<Settled> = self.result.outcome();
        let encoded = settled.unwrap_or(Err(Arc::new(GetError::ShutDown))).and_then(|content| {
            content.encode().map_err(|error| Arc::new(GetError::Codec { message: error.to_string() }))
        });
        match encoded {
            Ok(encoded) if encoded.body.len() <= BODY_INLINE => {
                let refs = List::Items(&encoded.enclosed.refs);
                self.arrived.answer(Outcome::Value { refs, body: &encoded.body }, &encoded.enclosed);
            }
            Ok(_) => {
                let enclosed = self.result.enclosed();
                self.arrived.answer(Outcome::Elsewhere { refs: List::Items(&enclosed.refs) }, &enclosed);
            }
            Err(fault) => {
                let mut body = Vec::new();
                match codec::encode(&*fault, &mut body) {
                    Ok(()) if body.len() <= BODY_INLINE => {
                        self.arrived.answer(Outcome::App { refs: List::EMPTY, body: &body }, &Enclosed::default());
                    }
                    _ => self.arrived.answer(
                        Outcome::Error {
                            executed: Executed::Yes,
                            fault: CallFault::Encode { message: &fault.to_string() },
                        },
                        &Enclosed::default(),
                    ),
                }
            }
        }
    }
}
