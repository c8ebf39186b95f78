//! What is kept of a task, or an actor's call, whose results lie at other nodes, so that they can be made again (PROTOCOLS §7).
//!
//! ```text
//! result X of this node ── Elsewhere ──▶ Y of the life where it lies          leads: Y ─▶ X, Lineage   (`node/recover.rs`)
//! Lineage ─▶ arguments, encoded ─▶ those that are results like X: their Lineage, not their values
//!                               └▶ any other: the object itself, which is kept for that
//! ```
//!
//! Arguments are packed by a thread of their own: whoever takes answers does not encode. What all of them take is
//! bounded, and the oldest are dropped first.

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

use super::classes::Kind;
use super::owner::Queued;
use crate::actor::inbox::Host as _;
use crate::actor::packed;
use crate::actor::slot::{Repeat, Replied};
use crate::id::ObjectId;
use crate::limits::LINEAGE_ENTRY;
use crate::node::recover::Made;
use crate::node::runtime::Node;
use crate::object::content::Content;
use crate::object::entry::{Entry, Watch};
use crate::object::error::Fault;
use crate::object::lost::Lost;
use crate::task::recipe::{Make, Recipe};
use crate::task::slot::Runnable;
use crate::wire::codec::Enclosed;

/// How the results of a task, or of a call, are made again. Kept while one of them is referred to, or hangs on one that is.
pub(in crate::node) struct Lineage {
    pub(super) number: u64,
    ledger: Arc<Ledger<Lineage>>,
    pub(super) state: Mutex<State>,
    /// Told when the arguments are packed, or dropped.
    packed: Notify,
}

pub(super) struct State {
    pub(super) arguments: Arguments,
    /// Its result, or a task's several results. One that is let go is another object when it is made again.
    pub(super) results: Vec<(ObjectId, Weak<Entry>)>,
    /// Attempts that are left, and how many were made.
    pub(super) retries: u32,
    pub(super) attempt: u32,
}

#[derive(Clone, Default)]
pub(super) enum Arguments {
    /// As the task has them.
    OfTask(Arc<dyn Runnable>, Terms),
    /// As the call has them.
    OfCall(Arc<dyn Repeat>),
    Packed(Arc<Packed>),
    /// There was no room for them, or they do not encode.
    #[default]
    Dropped,
}

/// How a task is queued.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) is_several: bool,
    pub(super) kind: Arc<Kind>,
    pub(super) priority: i32,
}

/// Arguments, encoded, and what runs with them.
pub(super) struct Packed {
    pub(super) body: Bytes,
    pub(super) enclosed: Enclosed,
    pub(super) passed: Vec<(u32, Passed)>,
    pub(super) work: Work,
}

/// What runs again.
pub(super) enum Work {
    Task(Option<Box<str>>, Make, Terms),
    Call(Arc<dyn Repeat>),
}

/// An argument that is a reference.
pub(super) enum Passed {
    /// Nobody would make it again.
    Held(Arc<Entry>),
    /// One of the results of this.
    Result(Arc<Lineage>, usize),
}

impl Lineage {
    /// Waits until its arguments are packed.
    pub(super) async fn packed(&self) {
        loop {
            let mut packed = pin!(self.packed.notified());
            // Entered before the look, so that what comes after it is heard of.
            packed.as_mut().enable();
            if let Arguments::Packed(_) | Arguments::Dropped = self.state.lock().arguments {
                return;
            }
            packed.await;
        }
    }

    /// Arguments that are not there yet.
    fn unsettled(&self) -> Vec<Arc<Entry>> {
        let unsettled = RefCell::new(Vec::new());
        let task = match &self.state.lock().arguments {
            Arguments::OfTask(task, _) => task.clone(),
            // A call was sent with all of them.
            Arguments::OfCall(_) | Arguments::Packed(_) | Arguments::Dropped => return Vec::new(),
        };
        let look = |argument: &Arc<Entry>| {
            unsettled.borrow_mut().extend((!argument.is_settled()).then(|| argument.clone()));
            None
        };
        drop(task.behind(&look));
        unsettled.into_inner()
    }

    fn put(&self, arguments: Arguments) {
        let former = std::mem::replace(&mut self.state.lock().arguments, arguments);
        drop(former);
        self.packed.notify_waiters();
    }

    /// Encodes the arguments. Blocks.
    fn pack(self: &Arc<Self>, node: &Node) {
        let arguments = self.state.lock().arguments.clone();
        let packed = match arguments {
            Arguments::OfTask(task, terms) => {
                // It encodes values of the user's types.
                let recipe = catch_unwind(AssertUnwindSafe(|| task.recipe())).ok().flatten();
                recipe.map(|Recipe { packed, name, make }| (packed, Work::Task(name, make, terms)))
            }
            Arguments::OfCall(call) => call.pack().map(|packed| (packed, Work::Call(call))),
            Arguments::Packed(_) | Arguments::Dropped => return,
        };
        let Some((packed, work)) = packed else { return self.put(Arguments::Dropped) };
        let packed::Packed { body, enclosed, passed } = packed;
        let mut bytes = LINEAGE_ENTRY + body.len() as u64;
        let passed = passed.into_iter().map(|(position, entry)| {
            let passed = node.passed(entry);
            if let Passed::Held(entry) = &passed {
                bytes += entry.bytes_here();
            }
            (position, passed)
        });
        let passed = passed.collect();
        self.put(Arguments::Packed(Arc::new(Packed { body, enclosed, passed, work })));
        let over = self.ledger.put(self.number, Arc::downgrade(self), bytes);
        over.iter().filter_map(Weak::upgrade).for_each(|oldest| oldest.put(Arguments::Dropped));
    }
}

impl Drop for Lineage {
    /// What hangs on it goes with it: in a list, as chains are longer than a stack is deep.
    fn drop(&mut self) {
        self.ledger.forget(self.number);
        let mut left = vec![std::mem::take(&mut self.state.get_mut().arguments)];
        while let Some(arguments) = left.pop() {
            let Arguments::Packed(packed) = arguments else { continue };
            for (_, passed) in Arc::into_inner(packed).into_iter().flat_map(|packed| packed.passed) {
                if let Passed::Result(of, _) = passed
                    && let Some(mut of) = Arc::into_inner(of)
                {
                    left.push(std::mem::take(&mut of.state.get_mut().arguments));
                }
            }
        }
    }
}

/// What a node keeps to make results again.
pub(in crate::node) struct Lineages {
    ledger: Arc<Ledger<Lineage>>,
    next: AtomicU64,
    /// Of what runs again: by its results.
    again: Mutex<FxHashMap<ObjectId, Weak<Lineage>>>,
    /// Held while it is decided what runs again: each once.
    pub(super) deciding: Mutex<()>,
}

impl Lineages {
    pub(super) fn new(most: u64) -> Self {
        let ledger = Arc::new(Ledger { most, kept: Mutex::default() });
        Lineages { ledger, next: AtomicU64::new(0), again: Mutex::default(), deciding: Mutex::default() }
    }
}

/// Who takes how many bytes, in the order of their numbers.
struct Ledger<T> {
    most: u64,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    bytes: u64,
    all: BTreeMap<u64, (Weak<T>, u64)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept { bytes: 0, all: BTreeMap::new() }
    }
}

impl<T> Ledger<T> {
    /// Notes what one takes. Gives those that must go for it, the first ones first.
    fn put(&self, number: u64, of: Weak<T>, bytes: u64) -> Vec<Weak<T>> {
        let mut kept = self.kept.lock();
        kept.bytes = kept.bytes.saturating_add(bytes);
        if let Some((_, former)) = kept.all.insert(number, (of, bytes)) {
            kept.bytes = kept.bytes.saturating_sub(former);
        }
        let mut over = Vec::new();
        while kept.bytes > self.most
            && let Some((_, (oldest, bytes))) = kept.all.pop_first()
        {
            kept.bytes = kept.bytes.saturating_sub(bytes);
            over.push(oldest);
        }
        over
    }

    fn forget(&self, number: u64) {
        let mut kept = self.kept.lock();
        if let Some((_, bytes)) = kept.all.remove(&number) {
            kept.bytes = kept.bytes.saturating_sub(bytes);
        }
    }
}

/// Told when what ran again is over.
struct Over(Weak<Node>, Weak<Entry>, ObjectId);

impl Watch for Over {
    fn settled(self: Arc<Self>, _: usize) {
        let Some(node) = self.0.upgrade() else { return };
        let lineage = node.tasks().lineages.again.lock().remove(&self.2);
        let failed = self.1.upgrade().is_some_and(|result| matches!(result.outcome(), Some(Err(_))));
        // How often it was tried in vain is not said.
        if failed && let Some(lineage) = lineage.and_then(|lineage| lineage.upgrade()) {
            lineage.state.lock().retries = 0;
        }
    }
}

impl Node {
    /// Values of a task's results lie at other nodes: each result, and what its value is. Said before the results are settled.
    pub(super) fn lie_elsewhere(self: &Arc<Self>, queued: &Queued, values: &[(&Arc<Entry>, &Arc<Entry>)]) {
        if values.is_empty() {
            return;
        }
        let made = self.made_by(queued);
        values.iter().for_each(|(result, value)| self.leads(result, value, made.clone()));
    }

    /// How the results of a task were made.
    fn made_by(self: &Arc<Self>, queued: &Queued) -> Made {
        let again = self.ran_again(queued.task.result().id(), queued.retries, queued.attempt);
        if let Some(lineage) = again {
            return Made::Again(lineage);
        }
        if queued.retries == 0 {
            return Made::Once;
        }
        let Queued { task, kind, priority, retries, attempt, .. } = queued.clone();
        let parts = task.more().map_or(&[][..], |more| more.parts());
        let is_several = !parts.is_empty();
        let all = if is_several { parts } else { std::slice::from_ref(task.result()) };
        let results = all.iter().map(|result| (result.id(), Arc::downgrade(result))).collect();
        let arguments = Arguments::OfTask(task, Terms { is_several, kind, priority });
        Made::Again(self.remember(State { arguments, results, retries, attempt }))
    }

    /// The value of a call's reply lies at another node, as this object.
    pub(in crate::node) fn call_replied(self: &Arc<Self>, reply: &Arc<Entry>, value: &Arc<Entry>, how: Replied) {
        let made = match how {
            Replied::ByOneThatEnds(actor) => Made::ByOneThatEnds(actor),
            Replied::Once => Made::Once,
            Replied::Repeats(call, retries) => {
                let retries = u32::from(retries);
                let again = self.ran_again(reply.id(), retries, 0);
                Made::Again(again.unwrap_or_else(|| {
                    let results = vec![(reply.id(), Arc::downgrade(reply))];
                    self.remember(State { arguments: Arguments::OfCall(call), results, retries, attempt: 0 })
                }))
            }
        };
        if self.is_orphan(value) {
            let why = || Lost::NotRepeated { why: "its node ended as it answered".to_owned() };
            return reply.settle(Err(Arc::new(Fault::lost(reply.id(), made.beyond().unwrap_or_else(why)))));
        }
        self.leads(reply, value, made);
        reply.settle(Ok(Content::Elsewhere(value.clone())));
    }

    /// What is known of a result that was made again, whose task or call has these attempts left.
    fn ran_again(&self, result: ObjectId, retries: u32, attempt: u32) -> Option<Arc<Lineage>> {
        let lineage = self.tasks().lineages.again.lock().get(&result).and_then(Weak::upgrade)?;
        let mut state = lineage.state.lock();
        (state.retries, state.attempt) = (retries, attempt);
        drop(state);
        Some(lineage)
    }

    fn remember(self: &Arc<Self>, state: State) -> Arc<Lineage> {
        let lineages = &self.tasks().lineages;
        let lineage = Arc::new(Lineage {
            number: lineages.next.fetch_add(1, Ordering::Relaxed),
            ledger: lineages.ledger.clone(),
            state: Mutex::new(state),
            packed: Notify::new(),
        });
        self.spawn(Box::pin(self.clone().pack(lineage.clone())));
        lineage
    }

    /// Packs arguments once it is known of each where it lies: answers of tasks may overtake those of tasks before them.
    async fn pack(self: Arc<Self>, lineage: Arc<Lineage>) {
        for argument in lineage.unsettled() {
            // Whatever becomes of it.
            drop(argument.settling().await);
        }
        let (node, packed) = (self.clone(), lineage.clone());
        if self.runtime().spawn_blocking(move || packed.pack(&node)).await.is_err() {
            lineage.put(Arguments::Dropped);
        }
    }

    /// What this lineage is of is about to run again, for this result.
    pub(super) fn runs_again(self: &Arc<Self>, result: &Arc<Entry>, lineage: &Arc<Lineage>) {
        self.tasks().lineages.again.lock().insert(result.id(), Arc::downgrade(lineage));
        let over: Arc<dyn Watch> = Arc::new(Over(Arc::downgrade(self), Arc::downgrade(result), result.id()));
        result.watch(&over, 0);
    }

    /// How an argument is kept.
    fn passed(&self, entry: Arc<Entry>) -> Passed {
        let lineage = entry.leads_to().and_then(|value| match self.made(value.id()) {
            Some(Made::Again(lineage)) => Some(lineage),
            _ => None,
        });
        let place = lineage.and_then(|lineage| {
            let place = lineage.state.lock().results.iter().position(|(id, _)| *id == entry.id());
            place.map(|place| (lineage, place))
        });
        place.map_or_else(|| Passed::Held(entry), |(lineage, place)| Passed::Result(lineage, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_is_forgotten_takes_nothing() {
        let ledger = Ledger { most: 100, kept: Mutex::default() };
        let all: Vec<Arc<u32>> = (0..5).map(Arc::new).collect();
        let put = |n: usize, bytes| {
            let over = ledger.put(n as u64, Arc::downgrade(&all[n]), bytes);
            over.iter().filter_map(|over| over.upgrade().map(|over| *over)).collect::<Vec<_>>()
        };
        assert!(put(1, 40).is_empty() && put(0, 40).is_empty());
        assert_eq!(put(2, 40), [0], "in the order of their numbers, not of their coming");
        ledger.forget(1);
        ledger.forget(0);
        assert!(put(3, 60).is_empty());
        assert_eq!(put(4, 101), [2, 3, 4], "one that is too large does not stay either");
        assert_eq!(ledger.kept.lock().bytes, 0);
        assert!(ledger.kept.lock().all.is_empty());
        assert!(put(0, 10).is_empty() && put(0, 20).is_empty());
        assert_eq!(ledger.kept.lock().bytes, 20, "what is said again counts once");
    }
}
