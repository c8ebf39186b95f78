//! The line of calls whose arguments are not there yet: a call that was passed a reference waits here for its value, and
//! holds back what its node calls of that actor after it, so that order holds (PROTOCOLS §1.8).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use super::error::panic_message;
use crate::object::entry::{Entry, Watch};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// A call in line.
pub(crate) trait InLine: Send + Sync {
    /// What it waits for, if it waits for anything.
    fn missing(self: Arc<Self>) -> Option<Missing>;
    /// Its arguments are there, and nothing stands before it: it is sent.
    fn go(self: Arc<Self>);
    /// Whether its caller has dropped it, which has the line [told](Line::abandoned).
    fn is_abandoned(&self) -> bool {
        false
    }
}

/// What a call in line waits for.
pub(crate) enum Missing {
    /// An argument that is not there yet.
    Value(Arc<Entry>),
    /// Arguments that are being brought: whoever brings them tells the line.
    Brought,
}

/// One line: of one actor's callers on this node.
#[derive(Default)]
pub(crate) struct Line {
    /// Whether anything stands in it, for callers who need not look in.
    occupied: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: VecDeque<Arc<dyn InLine>>,
    /// How many of them were abandoned, at most.
    tombstones: usize,
    /// Someone lets calls go ..
    moving: bool,
    /// .. and is to look again.
    again: bool,
    /// What tells this line that it is settled: watched once, however many look.
    watched: Option<Weak<Entry>>,
}

impl Line {
    pub(crate) fn is_occupied(&self) -> bool {
        self.occupied.load(Ordering::Acquire)
    }

    /// Enters a call; it goes before this returns if nothing holds it back.
    pub(crate) fn enter(self: &Arc<Self>, call: Arc<dyn InLine>) {
        {
            let mut state = self.state.lock();
            state.calls.push_back(call);
            self.occupied.store(true, Ordering::Release);
        }
        self.advance();
    }

    /// A call in it was abandoned: what stood behind it may go.
    pub(crate) fn abandoned(self: &Arc<Self>) {
        self.state.lock().tombstones += 1;
        self.advance();
    }

    /// Lets calls go, up to the first that misses an argument. One at a time does; who comes meanwhile has it look again.
    pub(crate) fn advance(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.moving, true) {
            state.again = true;
            return;
        }
        loop {
            state.again = false;
            let swept = state.sweep();
            if !swept.is_empty() {
                drop(state);
                drop(swept);
                state = self.state.lock();
            }
            let Some(first) = state.calls.front().cloned() else { break };
            drop(state);
            // Who is told that a call went may panic. The line must not stand still for that.
            let goes = catch_unwind(AssertUnwindSafe(|| self.goes(&first))).unwrap_or_else(|panic| {
                tracing::error!(panic = panic_message(&*panic), "who was told of a call in line panicked");
                true
            });
            let gone = if goes { self.state.lock().calls.pop_front() } else { None };
            drop((first, gone));
            state = self.state.lock();
            if !goes && !state.again {
                break;
            }
        }
        state.moving = false;
        self.occupied.store(!state.calls.is_empty(), Ordering::Release);
    }

    /// Lets the first call go unless it misses an argument.
    fn goes(self: &Arc<Self>, first: &Arc<dyn InLine>) -> bool {
        loop {
            match first.clone().missing() {
                None => break,
                Some(Missing::Value(entry)) if !self.watches(&entry) => {}
                Some(Missing::Value(_) | Missing::Brought) => return false,
            }
        }
        first.clone().go();
        true
    }

    /// Has `entry` tell this line when it is settled; `false` if it is already.
    fn watches(self: &Arc<Self>, entry: &Arc<Entry>) -> bool {
        let known = Arc::downgrade(entry);
        {
            let mut state = self.state.lock();
            if state.watched.as_ref().is_some_and(|watched| watched.ptr_eq(&known)) {
                return true;
            }
            state.watched = Some(known);
        }
        let watch: Arc<dyn Watch> = self.clone();
        let watches = entry.watch(&watch, 0).is_some();
        if !watches {
            self.state.lock().watched = None;
        }
        watches
    }
}

impl State {
    /// Takes abandoned calls out once they outnumber the others: who lets calls go does, since it knows the first.
    fn sweep(&mut self) -> Vec<Arc<dyn InLine>> {
        if self.tombstones <= self.calls.len() / 2 {
            return Vec::new();
        }
        self.tombstones = 0;
        let (swept, left) = std::mem::take(&mut self.calls).into_iter().partition(|call| call.is_abandoned());
        self.calls = Vec::into(left);
        swept
    }
}

impl Watch for Line {
    fn settled(self: Arc<Self>, _: usize) {
        self.state.lock().watched = None;
        self.advance();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Waits for values that never come.
    #[derive(Default)]
    struct Waits(AtomicBool);

    impl InLine for Waits {
        fn missing(self: Arc<Self>) -> Option<Missing> {
            Some(Missing::Brought)
        }

        fn go(self: Arc<Self>) {}

        fn is_abandoned(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn calls_that_were_abandoned_do_not_pile_up_behind_one_that_waits() {
        let (line, stays) = (Arc::new(Line::default()), Arc::new(Waits::default()));
        line.enter(stays.clone());
        for _ in 0..10_000 {
            let leaves = Arc::new(Waits::default());
            line.enter(leaves.clone());
            leaves.0.store(true, Ordering::Relaxed);
            line.abandoned();
        }
        let calls = line.state.lock().calls.len();
        assert!((1..=3).contains(&calls), "{calls}");
        assert!(line.is_occupied() && Arc::strong_count(&stays) > 1, "who waits stays");
    }
}
