//! A call's slot while an argument that was passed by reference is not there yet.

use std::mem;
use std::sync::{Arc, Weak};

use super::{Slot, Stage};
use crate::actor::args;
use crate::actor::bring::{self, Absent, Gathered, Gathering, Next};
use crate::actor::dispatch::Method;
use crate::actor::error::CallError;
use crate::actor::handle::{Elsewhere, Route};
use crate::actor::line::{InLine, Line, Missing};
use crate::actor::mailbox::{Entry as _, Place};
use crate::clock::Moment;
use crate::wire::packet::Flags;

/// A call in line.
pub(super) struct Stalled<M: Method> {
    pub(super) call: Arc<Slot<M>>,
    pub(super) flags: Flags,
    pub(super) deadline: Option<Moment>,
    /// Where it stands.
    line: Weak<Line>,
    gathering: Gathering,
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
        let away = self.goes_away();
        // Nobody else knows it yet.
        let Some(slot) = Arc::get_mut(self) else { return Ok(false) };
        let Stage::Made(message) = &mut slot.state.get_mut().stage else { return Ok(true) };
        let gathered = bring::gather(message);
        if args::references(message).iter().any(|entry| !entry.is_settled()) || !(away || gathered.is_whole()) {
            return Ok(false);
        }
        let resolved = if away { args::leave(message, |_| false) } else { args::resolve(message) };
        resolved.map_err(|(object, why)| CallError::Argument { object, why })?;
        Ok(true)
    }

    /// Puts values in the places of the references that it was passed. `false` if its caller has dropped it.
    fn resolve(&self) -> Result<bool, CallError> {
        match self.goes_away() {
            true => self.put_values(|message| args::leave(message, |_| false)),
            false => self.put_values(args::resolve),
        }
    }

    /// Puts values in the places of references, outside of the lock: decoding them is user code. `false` if its caller has
    /// dropped it.
    pub(super) fn put_values(&self, put: impl FnOnce(&mut M) -> Result<(), Absent>) -> Result<bool, CallError> {
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
        let resolved = put(&mut message);
        let mut state = self.state.lock();
        if !matches!(state.stage, Stage::Resolving) {
            drop(state);
            return Ok(false);
        }
        state.stage = Stage::Made(message);
        drop(state);
        resolved.map(|()| true).map_err(|(object, why)| CallError::Argument { object, why })
    }

    /// Whether it goes to another node, which has references brought that are read where the objects lie.
    fn goes_away(&self) -> bool {
        match self.route() {
            Some(Route::Elsewhere(there)) => match &**there {
                Elsewhere::Remote(_) => true,
                Elsewhere::Placed(actor) => actor.inbox().is_none(),
                Elsewhere::Gone(..) => false,
            },
            Some(Route::Local(_)) | None => false,
        }
    }
}

impl<M: Method> Stalled<M> {
    pub(super) fn new(call: Arc<Slot<M>>, flags: Flags, deadline: Option<Moment>, line: &Arc<Line>) -> Arc<Self> {
        Arc::new(Stalled { call, flags, deadline, line: Arc::downgrade(line), gathering: Gathering::default() })
    }

    /// Has values brought, and the line told.
    fn bring(self: Arc<Self>, gathered: Gathered) {
        let call = self.call.clone();
        call.run_beside(Box::pin(async move {
            self.gathering.done(gathered.bring().await);
            if let Some(line) = self.line.upgrade() {
                line.advance();
            }
        }));
    }
}

impl<M: Method> InLine for Stalled<M> {
    fn missing(self: Arc<Self>) -> Option<Missing> {
        let next = {
            let mut state = self.call.state.lock();
            let Stage::Made(message) = &mut state.stage else { return None };
            if let Some(entry) = args::references(message).into_iter().find(|entry| !entry.is_settled()) {
                return Some(Missing::Value(entry));
            }
            if self.call.goes_away() {
                return None;
            }
            self.gathering.next(|| bring::gather(message))
        };
        match next {
            Next::Goes => None,
            Next::Waits => Some(Missing::Brought),
            Next::Brings(gathered) => {
                self.bring(gathered);
                Some(Missing::Brought)
            }
        }
    }

    fn go(self: Arc<Self>) {
        let call = &self.call;
        let absent = self.gathering.absent().map_err(|(object, why)| CallError::Argument { object, why });
        let sent = match absent.and_then(|()| call.resolve()) {
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
