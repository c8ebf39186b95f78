//! A call's slot as its cell, or its caller, comes to have it alone.

use std::mem;
use std::sync::Arc;

use super::{Awaited, Listener, Slot, Stage};
use crate::actor::dispatch::Method;
use crate::actor::frame::Above;
use crate::actor::restart::Kept;
use crate::sync::alone::alone;

/// A call that begins.
pub(super) enum Taken<M: Method> {
    /// Its caller waits for nothing, and has let go of it.
    Told(M),
    /// An object waits for it.
    Submitted(M, Awaited<M>),
    /// Its caller may wait, and these for its caller; with what it takes to try it again.
    Asked(M, (Arc<Slot<M>>, Option<Box<Kept>>), Above),
    /// Its caller has dropped it.
    Abandoned,
}

impl<M: Method> Slot<M> {
    /// The message, once.
    #[inline(always)]
    pub(super) fn take(self: Arc<Self>) -> Taken<M> {
        match alone(self) {
            Ok(mut slot) => {
                // Looked at where it lies: it was moved once already.
                let state = slot.state.get_mut();
                if state.retries > 0 {
                    return Arc::new(slot).take_shared();
                }
                match mem::replace(&mut state.stage, Stage::Over) {
                    Stage::Made(message) => match mem::take(&mut state.caller) {
                        Listener::Object(sink) => Taken::Submitted(message, Awaited { sink, to: slot.to }),
                        _ => Taken::Told(message),
                    },
                    _ => Taken::Abandoned,
                }
            }
            Err(slot) => slot.take_shared(),
        }
    }

    /// The message of one whose caller waits, or that may be needed again.
    #[inline(always)]
    fn take_shared(self: Arc<Self>) -> Taken<M> {
        let mut state = self.state.lock();
        if !matches!(state.stage, Stage::Made(_)) {
            return Taken::Abandoned;
        }
        let Stage::Made(message) = mem::replace(&mut state.stage, Stage::Begun(None)) else {
            return Taken::Abandoned;
        };
        let (above, retries) =
            (self.waiter(&state).map_or(Above::Nobody, |frame| Above::Here(frame.clone())), state.retries);
        drop(state);
        let kept = if retries > 0 { self.keep(&message) } else { None };
        Taken::Asked(message, (self, kept), above)
    }
}
