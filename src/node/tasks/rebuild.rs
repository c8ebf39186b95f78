//! Running tasks and actors' calls again whose results are lost (PROTOCOLS §7): what is to run is decided at once, then it runs
//! like any other.
//!
//! Results that hang one on the other are made again in the order of their arguments, each once. They are pending meanwhile,
//! so that whoever wants one waits for it as for any.

use rustc_hash::FxHashSet;
use std::sync::Arc;

use super::lineage::{Arguments, Lineage, Packed, Passed, Terms, Work};
use super::owner::Queued;
use crate::actor::inbox::Host as _;
use crate::actor::packed::Unpacking;
use crate::id::ObjectId;
use crate::limits::LINEAGE_DEPTH;
use crate::node::runtime::Node;
use crate::object::entry::{Entry, Making};
use crate::object::error::{Fault, GetError};
use crate::object::lost::Lost;
use crate::task::recipe::{Coming, Makes};
use crate::task::returns::More;
use crate::wire::codec::DecodeError;

/// Why nothing runs again.
enum Stop {
    For(Lost),
    /// Not yet.
    Unpacked(Arc<Lineage>),
}

/// A task or call whose arguments are looked through.
struct Looked {
    lineage: Arc<Lineage>,
    packed: Arc<Packed>,
    next: usize,
}

/// What is decided.
#[derive(Default)]
struct Decided {
    /// Values that are lost, and the results that they were of.
    lost: Vec<(Arc<Entry>, Arc<Entry>)>,
    runs: Vec<Run>,
}

/// What runs again.
struct Run {
    lineage: Arc<Lineage>,
    packed: Arc<Packed>,
    passed: Vec<(u32, Arc<Entry>)>,
    results: Vec<Arc<Entry>>,
    retries: u32,
    attempt: u32,
}

/// Objects that are looked at, kept until that is over: the last reference to one may fall, which is other people's code.
type Seen = Vec<Arc<Entry>>;

impl Node {
    /// Has a result of this node made again whose value, `lost`, was at a node that has ended; and first those that it hangs
    /// on. Done when its task is submitted: the result is pending then, or has another value already.
    pub(in crate::node) async fn rebuild(
        self: &Arc<Self>,
        lost: ObjectId,
        result: &Arc<Entry>,
        lineage: &Arc<Lineage>,
    ) -> Result<(), Lost> {
        loop {
            let (mut seen, lineage) = (Seen::new(), lineage.clone());
            let decided = {
                let _one = self.tasks().lineages.deciding.lock();
                self.decide(lost, result, lineage, &mut seen)
            };
            drop(seen);
            match decided {
                Ok(decided) => {
                    self.run_again(decided);
                    return Ok(());
                }
                Err(Stop::For(why)) => return Err(why),
                Err(Stop::Unpacked(lineage)) => lineage.packed().await,
            }
        }
    }

    fn decide(
        &self,
        lost: ObjectId,
        result: &Arc<Entry>,
        lineage: Arc<Lineage>,
        seen: &mut Seen,
    ) -> Result<Decided, Stop> {
        let value = result.leads_to();
        let is_it = value.as_ref().is_some_and(|value| value.id() == lost);
        seen.extend(value);
        // Somebody else has missed it before.
        if !is_it {
            return Ok(Decided::default());
        }
        let order = self.order(lineage, seen)?;
        let mut decided = Decided::default();
        for Looked { lineage, packed, .. } in order {
            decided.put(self, lineage, packed, seen);
        }
        Ok(decided)
    }

    /// The tasks that must run, those before others on whose results these hang.
    fn order(&self, last: Arc<Lineage>, seen: &mut Seen) -> Result<Vec<Looked>, Stop> {
        let (mut order, mut known) = (Vec::new(), FxHashSet::from_iter([last.number]));
        let mut path = vec![look(last)?];
        while let Some(top) = path.last_mut() {
            let packed = top.packed.clone();
            let Some((_, passed)) = packed.passed.get(top.next) else {
                order.extend(path.pop());
                continue;
            };
            top.next += 1;
            match passed {
                Passed::Held(entry) => {
                    if let Some(why) = self.is_beyond(entry, seen) {
                        return Err(Stop::For(Lost::Argument { object: entry.id(), why: Box::new(why) }));
                    }
                }
                Passed::Result(of, place) => {
                    let (object, there) = of.result(*place);
                    let is_there = there.as_ref().is_some_and(|entry| !self.is_missing(entry, seen));
                    seen.extend(there);
                    if is_there || !known.insert(of.number) {
                        continue;
                    }
                    let looked = match path.len() < LINEAGE_DEPTH {
                        true => look(of.clone()),
                        false => Err(Stop::For(Lost::TooDeep)),
                    };
                    path.push(looked.map_err(|stop| stop.at(object))?);
                }
            }
        }
        Ok(order)
    }

    /// Whether the value of a result lay at a node that has ended, and nothing of it is here.
    fn is_missing(&self, result: &Arc<Entry>, seen: &mut Seen) -> bool {
        let Some(value) = result.leads_to() else { return false };
        let missing = self.has_gone(&value);
        seen.push(value);
        missing
    }

    /// Why an object is lost that nobody would make again, if it is.
    fn is_beyond(&self, object: &Arc<Entry>, seen: &mut Seen) -> Option<Lost> {
        let last = object.followed().ok()?;
        let why = self.has_gone(&last).then(|| self.beyond(last.id())).flatten();
        seen.push(last);
        why
    }

    /// A task did not run where it was sent, since an argument of it is lost there: it is queued again, if that is made again
    /// or can be had here.
    pub(super) fn argument_missed(self: &Arc<Self>, queued: Queued, value: ObjectId, fault: Fault) {
        let node = self.clone();
        self.spawn(Box::pin(async move {
            if !node.is_lost(value).await {
                return queued.task.fail(fault);
            }
            match node.made_again(value).await {
                Ok(_) => node.enqueue_again(queued),
                Err(GetError::Lost { object, why, .. }) => {
                    queued.task.fail(GetError::absent((object, why.to_string())));
                }
                Err(_) => queued.task.fail(fault),
            }
        }));
    }

    fn run_again(self: &Arc<Self>, decided: Decided) {
        let Decided { lost, mut runs } = decided;
        for (value, result) in lost {
            value.give(result);
        }
        // Calls go in the order of their first sending, whatever hangs on them.
        runs.sort_by_key(|run| match &run.packed.work {
            Work::Task(..) => None,
            Work::Call(call) => Some(call.order()),
        });
        for run in runs {
            let results = run.results.clone();
            if let Err(error) = self.run_once_more(run) {
                let fault: Arc<Fault> = Arc::new(GetError::Codec { message: error.to_string() });
                results.iter().for_each(|result| result.settle(Err(fault.clone())));
            }
        }
    }

    fn run_once_more(self: &Arc<Self>, run: Run) -> Result<(), DecodeError> {
        let Run { lineage, packed, passed, results, retries, attempt } = run;
        let Packed { body, enclosed, work, .. } = &*packed;
        let arguments = Unpacking { body, enclosed: enclosed.clone(), left_out: passed, here: self.here() };
        match work {
            Work::Task(name, make, terms) => {
                let Terms { is_several, kind, priority } = terms.clone();
                let whole = match (is_several, &results[..]) {
                    (false, [result]) => result.clone(),
                    _ => Entry::pending(self.next_object(), None),
                };
                let more = is_several.then(|| Arc::new(More::Parts(results.clone())));
                let (result, name) = (whole.clone(), name.clone());
                let task = make(Coming { arguments, result, name, more: Makes::These(more) })?;
                task.standing().is_of(&task);
                task.standing().again();
                results.iter().for_each(|result| result.made_by(Making::Task(task.standing().clone())));
                self.runs_again(&whole, &lineage);
                self.enqueue_again(Queued { task, kind, priority, retries, attempt, sent: false, behind: false });
                Ok(())
            }
            Work::Call(call) => {
                let Some(reply) = results.into_iter().next() else { return Ok(()) };
                self.runs_again(&reply, &lineage);
                call.repeat(arguments, reply, u8::try_from(retries).unwrap_or(u8::MAX))
            }
        }
    }
}

/// Looks whether what made a result may run again.
fn look(lineage: Arc<Lineage>) -> Result<Looked, Stop> {
    let (retries, arguments) = {
        let state = lineage.state.lock();
        (state.retries, state.arguments.clone())
    };
    if retries == 0 {
        return Err(Stop::For(Lost::NoRetries));
    }
    let packed = match arguments {
        Arguments::Packed(packed) => packed,
        Arguments::Dropped => return Err(Stop::For(Lost::Evicted)),
        Arguments::OfTask(..) | Arguments::OfCall(_) => return Err(Stop::Unpacked(lineage)),
    };
    if let Work::Call(call) = &packed.work
        && let Some(why) = call.why_not()
    {
        return Err(Stop::For(Lost::NotRepeated { why }));
    }
    Ok(Looked { lineage, packed, next: 0 })
}

impl Stop {
    /// Of an argument, named once however deep it lies: reasons that hold each other would grow with every task.
    fn at(self, object: ObjectId) -> Stop {
        match self {
            Stop::For(Lost::TooDeep) => Stop::For(Lost::TooDeep),
            Stop::For(why) => Stop::For(Lost::Argument { object, why: Box::new(why) }),
            Stop::Unpacked(lineage) => Stop::Unpacked(lineage),
        }
    }
}

impl Lineage {
    /// One of its results, if it is referred to.
    fn result(&self, place: usize) -> (ObjectId, Option<Arc<Entry>>) {
        match self.state.lock().results.get(place) {
            Some((id, entry)) => (*id, entry.upgrade()),
            None => (ObjectId { life: crate::id::Life(0), serial: 0 }, None),
        }
    }
}

impl Decided {
    /// It runs again: its results are pending from here on.
    fn put(&mut self, node: &Node, lineage: Arc<Lineage>, packed: Arc<Packed>, seen: &mut Seen) {
        let mut state = lineage.state.lock();
        let mut results = Vec::with_capacity(state.results.len());
        let mut is_pending = false;
        for (id, known) in &mut state.results {
            let Some(result) = known.upgrade() else {
                *id = node.next_object();
                let result = Entry::pending(*id, Some(node.promised().again()));
                *known = Arc::downgrade(&result);
                results.push(result);
                is_pending = true;
                continue;
            };
            if let Some(value) = result.leads_to() {
                if node.has_gone(&value)
                    && let Some(value) = result.renew(value.id(), Some(node.promised().again()))
                {
                    self.lost.push((value, result.clone()));
                    is_pending = true;
                }
                seen.push(value);
            }
            results.push(result);
        }
        // Its values are there, or nobody can say that they are not.
        if !is_pending {
            drop(state);
            return seen.extend(results);
        }
        (state.retries, state.attempt) = (state.retries.saturating_sub(1), state.attempt.saturating_add(1));
        let (retries, attempt) = (state.retries, state.attempt);
        drop(state);
        let there = |passed: &Passed| match passed {
            Passed::Held(entry) => Some(entry.clone()),
            Passed::Result(of, place) => of.result(*place).1,
        };
        // Each is there: it was seen, or is a result of a run before this one.
        let passed = packed.passed.iter().filter_map(|(at, passed)| Some((*at, there(passed)?))).collect();
        self.runs.push(Run { lineage, packed, passed, results, retries, attempt });
    }
}
