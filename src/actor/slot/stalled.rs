//! A call's slot while an argument that was passed by reference is not there yet.

use std::sync::Arc;

use super::{Slot, Stage};
use crate::actor::args;
use crate::actor::dispatch::Method;
use crate::actor::error::CallError;
use crate::actor::line::{InLine, Line};
use crate::actor::mailbox::{Entry as _, Place};
use crate::clock::Moment;
use crate::object::entry::Entry;
use crate::wire::packet::Flags;

/// A call in line.
pub(super) struct Stalled<M: Method> {
    pub(super) call: Arc<Slot<M>>,
    pub(super) flags: Flags,
    pub(super) deadline: Option<Moment>,
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
        let mut state = self.state.lock();
        let Stage::Made(message) = &mut state.stage else { return Ok(true) };
        if args::references(message).iter().any(|entry| !entry.is_settled()) {
            return Ok(false);
        }
        args::resolve(message).map_err(|(object, why)| CallError::Argument { object, why })?;
        Ok(true)
    }
}

impl<M: Method> InLine for Stalled<M> {
    fn missing(&self) -> Option<Arc<Entry>> {
        let mut state = self.call.state.lock();
        let Stage::Made(message) = &mut state.stage else { return None };
        args::references(message).into_iter().find(|entry| !entry.is_settled())
    }

    fn go(self: Arc<Self>) {
        let call = &self.call;
        let resolved = match &mut call.state.lock().stage {
            Stage::Made(message) => args::resolve(message),
            // Its caller has dropped it.
            _ => return,
        };
        let sent = resolved.map_err(|(object, why)| CallError::Argument { object, why });
        match sent.and_then(|()| call.send(self.flags, self.deadline)) {
            Ok(Place::Admitted) => call.admitted(),
            Ok(Place::InLine) => {}
            Err(error) => call.finish(Err(error.widen())),
        }
    }
}
