//! Tasks that peers send here: refused, run, answered.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::line::{Ready, Whose, refuse};
use super::terms::{CANCEL, Header, PARKED, RAN, RECALL, TERMS, Terms, ran};
use crate::actor::error::Executed;
use crate::actor::frame::Serves;
use crate::actor::inbox::Host;
use crate::actor::packed::Unpacking;
use crate::actor::remote::host::{Incoming, Served, answer_fault};
use crate::actor::remote::items::Consumer;
use crate::actor::remote::{Peer, ask, with_scratch};
use crate::actor::reply::Answering;
use crate::clock::{self, Moment};
use crate::id::{GrantId, Key};
use crate::limits::{BODY_INLINE, RESULT_KEPT};
use crate::node::runtime::Node;
use crate::object::content::{Content, Encoded};
use crate::object::entry::{Entry, Watch};
use crate::object::error::{Fault, GetError};
use crate::object::home::Home;
use crate::object::lent::Lent;
use crate::schedule::TaskNumber;
use crate::task::recipe::{Coming, Makes};
use crate::task::registry::NotMade;
use crate::task::slot::Runnable;
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed, Hold};
use crate::wire::packet::{Answer, CallFault, Outcome};

/// How far a task of a peer is.
const WAITS: u8 = 0;
const BEGUN: u8 = 1;
const CANCELLED: u8 = 2;

/// A task that runs here for a peer.
pub(super) struct Arrived {
    node: Weak<Node>,
    peer: Arc<dyn Peer>,
    call: u64,
    kind: (Key, Key),
    grant: GrantId,
    number: TaskNumber,
    standing: AtomicU8,
    began: AtomicU64,
    /// Once its arguments are here.
    task: Mutex<Option<Arc<dyn Runnable>>>,
    /// Objects that were passed to it. They are let go of with its answer, which also ends their pins: one batch has it all.
    passed: Mutex<Vec<Hold>>,
    /// Of a stream: whether its caller keeps up.
    consumer: Consumer,
}

impl Arrived {
    /// Takes it out of its line; `false` if it was cancelled before.
    pub(super) fn begin(&self) -> bool {
        self.standing.compare_exchange(WAITS, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn began_at(&self, at: Moment) {
        self.began.store(at.0, Ordering::Relaxed);
    }

    /// Which call it is.
    pub(super) fn serves(&self) -> Serves {
        Serves::Peer(self.peer.life(), self.call)
    }

    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// As items of its stream name it.
    pub(super) fn answering(&self) -> Answering {
        Answering { peer: self.peer.clone(), call: self.call, consumer: None }
    }

    pub(super) fn refuse(&self, fault: CallFault<'_>) {
        answer_fault(&*self.peer, self.call, Executed::No, fault);
        self.over();
        self.let_go();
    }

    fn let_go(&self) {
        let passed = std::mem::take(&mut *self.passed.lock());
        drop(passed);
    }

    fn is_cancelled(&self) -> bool {
        self.standing.load(Ordering::Acquire) == CANCELLED
    }

    /// It needs its task no more, whose result keeps this: it is answered, or about to be.
    fn over(&self) {
        let task = self.task.lock().take();
        drop(task);
    }

    /// What it was passed and reads no more, if it was pinned for it: a bit each.
    fn ended(&self) -> u8 {
        let passed = self.passed.lock();
        lent(&passed).filter(|(_, lent)| lent.is_over()).fold(0, |ended, (bit, _)| ended | bit)
    }

    /// How many nanoseconds it ran until now.
    fn ran(&self) -> u64 {
        let began = Moment(self.began.load(Ordering::Relaxed));
        u64::try_from(clock::now().since(began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Answers in `packet`, which is empty, and says which pins have ended.
    fn answer(&self, packet: &mut Vec<u8>, outcome: Outcome<'_>, enclosed: &Enclosed, ended: u8) {
        Answer { call: self.call, outcome }.encode(packet);
        if self.peer.answer(self.call, packet, enclosed) && ended != 0 {
            let passed = self.passed.lock();
            lent(&passed).filter(|(bit, _)| ended & bit != 0).for_each(|(_, lent)| lent.told());
        }
    }

    /// Answers with what it failed with; `body` begins with how long it ran.
    fn failed(&self, (body, packet): (&mut Vec<u8>, &mut Vec<u8>), fault: &Fault, ended: u8) {
        let none = Enclosed::default();
        body.truncate(RAN);
        match codec::encode(fault, body) {
            Ok(()) if body.len() <= BODY_INLINE => {
                self.answer(packet, Outcome::App { refs: List::EMPTY, body }, &none, ended);
            }
            _ => {
                let message = &fault.to_string();
                let (executed, fault) = (Executed::Yes, CallFault::Encode { message });
                self.answer(packet, Outcome::Error { executed, fault }, &none, 0);
            }
        }
    }
}

/// Those of the first eight objects that lie in another process's memory.
fn lent(passed: &[Hold]) -> impl Iterator<Item = (u8, Arc<Lent>)> {
    passed.iter().take(8).enumerate().filter_map(|(at, hold)| {
        match hold.clone().downcast::<Entry>().ok()?.outcome()? {
            Ok(Content::Lent(lent)) => Some((1 << at, lent)),
            _ => None,
        }
    })
}

impl Served for Arrived {
    /// Nobody waits for it any more: it never runs, or is told.
    fn cancel(&self) {
        let waited = self.standing.compare_exchange(WAITS, CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.consumer.gone();
        let task = self.task.lock().clone();
        if let Some(task) = task {
            let children = task.standing().cancel();
            if let Some(node) = self.node.upgrade() {
                node.cancel_all(children);
            }
        }
        if waited {
            self.refuse(CallFault::Cancelled);
        }
    }

    fn room(&self) {
        self.consumer.room();
    }
}

impl Node {
    /// A peer sends a task to run here, or says something of a grant.
    pub(in crate::node) fn run_for_peer(self: &Arc<Self>, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        match incoming.request.method {
            TERMS => self.terms_arrived(incoming),
            RECALL => self.recall_arrived(incoming),
            PARKED => self.parked_arrived(incoming),
            CANCEL => self.cancel_arrived(incoming),
            _ => return self.task_arrived(incoming),
        }
        None
    }

    fn task_arrived(self: &Arc<Self>, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        let Ok((header, arguments)) = Header::read(incoming.request.body) else {
            incoming.refuse(CallFault::Decode { message: "a task begins with its name and grant" });
            return None;
        };
        let result = Entry::pending(Host::next_object(&**self), None);
        let left_out = match self.tasks().host.expect(incoming.peer.life(), &header, &result) {
            Ok(left_out) => left_out,
            Err(fault) => {
                incoming.refuse(fault);
                return None;
            }
        };
        let result = Expected { node: self.clone(), grant: header.grant, number: header.number, result: Some(result) };
        if !incoming.begin() {
            return None;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        let objects = incoming.enclosed.refs.iter().zip(&incoming.enclosed.holds);
        let passed = objects.filter_map(|(of, hold)| hold.clone().filter(|_| of.position().is_some())).collect();
        let arrived = Arc::new(Arrived {
            node: Arc::downgrade(self),
            peer,
            call: arrival.call,
            kind: (header.name, incoming.request.method),
            grant: header.grant,
            number: header.number,
            standing: AtomicU8::new(WAITS),
            began: AtomicU64::new(0),
            task: Mutex::new(None),
            passed: Mutex::new(passed),
            consumer: Consumer::default(),
        });
        let Header { attempt, yields, title, .. } = header;
        let made = Made { arrived: arrived.clone(), attempt, yields, left_out, result, title };
        if !header.elsewhere {
            return self.make_task(made, arguments, incoming.enclosed.clone());
        }
        // The arguments are an object of the caller's.
        let Some(object) = Entry::of_enclosed(&incoming.enclosed) else {
            arrived.refuse(CallFault::Decode { message: "a task's arguments are nowhere" });
            return None;
        };
        let (node, coming) = (self.clone(), arrived.clone());
        arrived.peer.clone().spawn_linked(Box::pin(async move {
            match object.settling().await {
                Ok(Content::Encoded(encoded)) => drop(node.make_task(made, &encoded.body, encoded.enclosed)),
                Ok(_) | Err(_) => coming.refuse(CallFault::ReferenceLost),
            }
        }));
        Some(arrived)
    }

    fn make_task(self: &Arc<Self>, made: Made, body: &[u8], enclosed: Enclosed) -> Option<Arc<dyn Served>> {
        let Made { arrived, attempt, yields, left_out, result, title } = made;
        let behind: Vec<Arc<Entry>> = left_out.iter().map(|(_, result)| result.clone()).collect();
        let (here, pending) = (self.here(), result.result.clone()?);
        let next_object = || self.next_object();
        let more = Makes::New(&next_object);
        let arguments = Unpacking { body, enclosed, left_out, here };
        let coming = Coming { arguments, result: pending, name: title, more };
        let (task, result) = match self.task_table().make(arrived.kind, coming) {
            Ok(task) => (task, result.made()?),
            Err(why) => {
                match why {
                    NotMade::UnknownTask => arrived.refuse(CallFault::UnknownType),
                    NotMade::UnknownSignature => arrived.refuse(CallFault::UnknownMethod),
                    NotMade::Arguments(error) => arrived.refuse(CallFault::Decode { message: &error.to_string() }),
                }
                return None;
            }
        };
        *arrived.task.lock() = Some(task.clone());
        let answers: Arc<dyn Watch> = arrived.clone();
        result.watch(&answers, 0)?;
        // While its arguments came there was no task to tell of it. Whoever cancels it from here on finds this one.
        if arrived.is_cancelled() {
            arrived.over();
            return None;
        }
        let ready = Ready { task, whose: Whose::Peer(arrived.clone()), attempt, yields, again: None };
        match behind.is_empty() {
            true => self.run_or_refuse(arrived.grant, ready),
            false => self.run_behind(arrived.grant, ready, None, behind),
        }
        Some(arrived)
    }

    fn terms_arrived(self: &Arc<Self>, incoming: &Incoming<'_>) {
        incoming.begin();
        let peer = incoming.peer;
        let terms = match codec::decode::<Terms>(incoming.request.body) {
            Ok(terms) if self.hosts_actors() && !super::host::is_local(terms.grant) => terms,
            Ok(_) => return tracing::warn!(node = %peer.node(), "a peer speaks of a grant that there cannot be"),
            Err(error) => return tracing::warn!(node = %peer.node(), %error, "a grant's terms do not decode"),
        };
        let grant = terms.grant;
        refuse(self.tasks().host.take_terms(peer.life(), terms));
        self.begin_tasks(grant);
    }

    fn recall_arrived(self: &Arc<Self>, incoming: &Incoming<'_>) {
        let (peer, arrival) = (incoming.peer, incoming.arrival);
        let Ok((grant, count)) = codec::decode::<(GrantId, u32)>(incoming.request.body) else {
            incoming.refuse(CallFault::Decode { message: "a recall names a grant and a count" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        let mut numbers: Vec<TaskNumber> = Vec::new();
        for ready in self.tasks().host.recall(peer.life(), grant, count) {
            if let Whose::Peer(arrived) = &ready.whose
                && arrived.begin()
            {
                numbers.push(arrived.number);
                arrived.refuse(CallFault::Cancelled);
            }
        }
        ask::answer_value(&**peer, arrival.call, &numbers);
    }
}

/// What a task is made of, beside its arguments.
struct Made {
    arrived: Arc<Arrived>,
    attempt: u32,
    yields: bool,
    left_out: Vec<(u32, Arc<Entry>)>,
    result: Expected,
    title: Option<Box<str>>,
}

/// A result that tasks behind may wait for, before there is a task that makes it: if none comes to be, it has failed.
struct Expected {
    node: Arc<Node>,
    grant: GrantId,
    number: TaskNumber,
    result: Option<Arc<Entry>>,
}

impl Expected {
    /// There is a task, which settles it from here on.
    fn made(mut self) -> Option<Arc<Entry>> {
        self.result.take()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if let Some(result) = self.result.take() {
            self.node.tasks().host.forget(self.grant, self.number);
            result.settle(Err(Arc::new(GetError::ShutDown)));
        }
    }
}

impl Watch for Arrived {
    /// The task's result is there: the peer is answered.
    fn settled(self: Arc<Self>, _: usize) {
        // One that was refused, or cancelled before it began, was answered then. With its node, its links have ended.
        let (task, node) = (self.task.lock().take(), self.node.upgrade());
        let Some((task, node)) = task.zip(node) else { return };
        let (result, settled) = (task.result(), task.result().outcome());
        let settled = settled.unwrap_or_else(|| Err(Arc::new(GetError::ShutDown)));
        let parts = task.more().map_or(&[][..], |more| more.parts());
        with_scratch(|body, packet| {
            // How long it ran is known once its value is written.
            body.extend_from_slice(&[0; RAN]);
            let written = settled.and_then(|content| match parts {
                [] => {
                    let written = result.write(&content, BODY_INLINE - RAN, body);
                    written.map_err(|error| Arc::new(GetError::Codec { message: error.to_string() }))
                }
                parts => node.write_parts(parts, body).map(Some),
            });
            let ended = self.ended();
            body[..RAN].copy_from_slice(&ran(self.ran(), ended));
            let is_small = |enclosed: &Enclosed| body.len() <= RAN + RESULT_KEPT && enclosed.is_empty();
            let is_kept = parts.is_empty() && matches!(&written, Ok(Some(enclosed)) if is_small(enclosed));
            if !is_kept {
                node.tasks().host.forget(self.grant, self.number);
            }
            match written {
                Ok(Some(enclosed)) => {
                    let refs = List::Items(&enclosed.refs);
                    self.answer(packet, Outcome::Value { refs, body }, &enclosed, ended);
                }
                Ok(None) => {
                    node.keep_as_it_travels(result);
                    let enclosed = result.enclosed();
                    self.answer(packet, Outcome::Elsewhere { refs: List::Items(&enclosed.refs) }, &enclosed, 0);
                }
                Err(fault) => self.failed((body, packet), &fault, ended),
            }
        });
        self.let_go();
    }
}

impl Node {
    /// Others will read it: it is not kept alive as well, and counts.
    fn keep_as_it_travels(self: &Arc<Self>, result: &Arc<Entry>) {
        let encoded = result.outcome().and_then(Result::ok).map(|content| result.encoded(&content));
        if let Some(Ok(Encoded { form, body, enclosed, .. })) = encoded {
            result.moved(self.counted(Content::Encoded(Encoded::at(self.here(), form, body, enclosed))));
        }
    }
}
