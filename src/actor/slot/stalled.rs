//! A call's slot while an argument that was passed by reference is not there yet.

use std::mem;
use std::sync::{Arc, Weak};

use super::{Slot, Stage};
use crate::actor::args;
use crate::actor::bring::{self, Absent, Gathered, Gathering, Next};
use crate::actor::dispatch::Method;
use crate::actor::error::CallError;
use crate::actor::line::{InLine, Line, Missing};
use crate::actor::mailbox::{Entry, Place};
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
    /// The line that it must stand in.
    #[inline]
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        self.to.line(|| self.state.lock().by_reference)
    }

    /// Puts values in the places of the references that it was passed. `false` if its caller has dropped it.
    fn resolve(&self) -> Result<bool, CallError> {
        match self.to.goes_away() {
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
        resolved.map(|()| true).map_err(CallError::absent)
    }
}

impl<M: Method> Stalled<M> {
    pub(super) fn new(call: Arc<Slot<M>>, flags: Flags, deadline: Option<Moment>, line: &Arc<Line>) -> Arc<Self> {
        Arc::new(Stalled { call, flags, deadline, line: Arc::downgrade(line), gathering: Gathering::default() })
    }

    /// Has values brought, and the line told.
    fn bring(self: Arc<Self>, gathered: Gathered) {
        let call = self.call.clone();
        let Some(host) = call.to.here() else { return };
        host.spawn(Box::pin(async move {
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
            if self.call.to.goes_away() {
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

    fn is_abandoned(&self) -> bool {
        Entry::is_abandoned(&*self.call)
    }

    fn go(self: Arc<Self>) {
        let call = &self.call;
        let absent = self.gathering.absent().map_err(CallError::absent);
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
