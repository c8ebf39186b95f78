//! A call's slot while an argument that was passed by reference is not there yet.

use parking_lot::Mutex;
use std::mem;
use std::sync::{Arc, Weak};

use super::{Slot, Stage};
use crate::actor::args;
use crate::actor::bring::{self, Brought};
use crate::actor::dispatch::Method;
use crate::actor::error::CallError;
use crate::actor::line::{InLine, Line, Missing};
use crate::actor::mailbox::{Entry as _, Place};
use crate::clock::Moment;
use crate::id::ObjectId;
use crate::object::entry::Entry;
use crate::wire::packet::Flags;

/// A call in line.
pub(super) struct Stalled<M: Method> {
    pub(super) call: Arc<Slot<M>>,
    pub(super) flags: Flags,
    pub(super) deadline: Option<Moment>,
    /// Where it stands.
    line: Weak<Line>,
    bringing: Mutex<Bringing>,
}

/// Arguments that are there, and must be brought to be at hand.
enum Bringing {
    NotYet,
    UnderWay,
    Done(Result<Brought, (ObjectId, String)>),
}

impl<M: Method> Slot<M> {
    /// The line that it must stand in: it was passed a reference, or follows a call that waits there.
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        // There is none yet where no call was ever passed a reference: most calls look no further.
        let line = self.route()?.line()?.get()?;
        (line.is_occupied() || self.state.lock().by_reference).then(|| line.clone())
    }

    /// Puts values in the places of the references that it was passed; `false` if one is not there yet, or a call before it
    /// waits.
    pub(super) fn resolve_now(self: &mut Arc<Self>) -> Result<bool, CallError> {
        let Some(line) = self.line() else { return Ok(true) };
        if line.is_occupied() {
            return Ok(false);
        }
        // Nobody else knows it yet.
        let Some(slot) = Arc::get_mut(self) else { return Ok(false) };
        let Stage::Made(message) = &mut slot.state.get_mut().stage else { return Ok(true) };
        if args::references(message).iter().any(|entry| entry.at_hand().is_none()) {
            return Ok(false);
        }
        args::resolve(message).map_err(|(object, why)| CallError::Argument { object, why })?;
        Ok(true)
    }

    /// Puts values in the places of the references that it was passed, outside of the lock: decoding them is user code.
    /// `false` if its caller has dropped it.
    fn resolve(&self) -> Result<bool, CallError> {
        let mut message = {
            let mut state = self.state.lock();
            match mem::replace(&mut state.stage, Stage::Resolving) {
                Stage::Made(message) => message,
                other => {
                    state.stage = other;
                    return Ok(false);
                }
            }
        };
        let resolved = args::resolve(&mut message);
        let mut state = self.state.lock();
        if !matches!(state.stage, Stage::Resolving) {
            drop(state);
            return Ok(false);
        }
        state.stage = Stage::Made(message);
        drop(state);
        resolved.map(|()| true).map_err(|(object, why)| CallError::Argument { object, why })
    }
}

impl<M: Method> Stalled<M> {
    pub(super) fn new(call: Arc<Slot<M>>, flags: Flags, deadline: Option<Moment>, line: &Arc<Line>) -> Arc<Self> {
        let (line, bringing) = (Arc::downgrade(line), Mutex::new(Bringing::NotYet));
        Arc::new(Stalled { call, flags, deadline, line, bringing })
    }

    /// Has arguments brought that are not at hand; whether the call waits for that.
    fn brings(self: &Arc<Self>, absent: Vec<Arc<Entry>>) -> bool {
        let mut bringing = self.bringing.lock();
        match &*bringing {
            Bringing::Done(_) => return false,
            Bringing::UnderWay => return true,
            Bringing::NotYet if absent.is_empty() => return false,
            Bringing::NotYet => *bringing = Bringing::UnderWay,
        }
        drop(bringing);
        let stalled = self.clone();
        self.call.run_beside(Box::pin(async move {
            let brought = bring::bring(absent).await;
            *stalled.bringing.lock() = Bringing::Done(brought);
            if let Some(line) = stalled.line.upgrade() {
                line.advance();
            }
        }));
        true
    }

    fn failed(&self) -> Result<(), CallError> {
        match &*self.bringing.lock() {
            Bringing::Done(Err((object, why))) => Err(CallError::Argument { object: *object, why: why.clone() }),
            _ => Ok(()),
        }
    }
}

impl<M: Method> InLine for Stalled<M> {
    fn missing(self: Arc<Self>) -> Option<Missing> {
        let absent = {
            let mut state = self.call.state.lock();
            let Stage::Made(message) = &mut state.stage else { return None };
            if let Some(entry) = args::references(message).into_iter().find(|entry| !entry.is_settled()) {
                return Some(Missing::Value(entry));
            }
            bring::absent(message)
        };
        self.brings(absent).then_some(Missing::Brought)
    }

    fn go(self: Arc<Self>) {
        let call = &self.call;
        let sent = match self.failed().and_then(|()| call.resolve()) {
            Ok(true) => call.send(self.flags, self.deadline),
            Ok(false) => return,
            Err(error) => Err(error),
        };
        match sent {
            Ok(Place::Admitted) => call.admitted(),
            Ok(Place::InLine) => {}
            Err(error) => call.finish(Err(error.widen())),
        }
    }
}
