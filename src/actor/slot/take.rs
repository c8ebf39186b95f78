//! A call's slot as its cell, or its caller, comes to have it alone.

use std::mem;
use std::sync::Arc;

use super::{Awaited, Listener, Slot, Stage, State};
use crate::actor::dispatch::Method;
use crate::actor::frame::Above;

/// A call that begins.
pub(super) enum Taken<M: Method> {
    /// Its caller waits for nothing, and has let go of it.
    Told(M),
    /// An object waits for it.
    Submitted(M, Awaited<M>),
    /// Its caller may wait, and these for its caller.
    Asked(M, Arc<Slot<M>>, Above),
    /// Its caller has dropped it.
    Abandoned,
}

impl<M: Method> Slot<M> {
    /// The call itself, if nobody shares it.
    #[inline]
    pub(super) fn own(self: Arc<Self>) -> Result<Self, Arc<Self>> {
        // Nobody can come to share what one owner holds, so the count may be read before the attempt.
        if Arc::strong_count(&self) == 1 { Arc::try_unwrap(self) } else { Err(self) }
    }

    /// The message, once.
    #[inline]
    pub(super) fn take(self: Arc<Self>) -> Taken<M> {
        match self.own() {
            Ok(slot) => {
                let State { stage, caller, .. } = slot.state.into_inner();
                match (stage, caller) {
                    (Stage::Made(message), Listener::Object(sink)) => {
                        Taken::Submitted(message, Awaited { sink, to: slot.to })
                    }
                    (Stage::Made(message), _) => Taken::Told(message),
                    _ => Taken::Abandoned,
                }
            }
            Err(slot) => {
                let mut state = slot.state.lock();
                if !matches!(state.stage, Stage::Made(_)) {
                    return Taken::Abandoned;
                }
                let Stage::Made(message) = mem::replace(&mut state.stage, Stage::Begun(None)) else {
                    return Taken::Abandoned;
                };
                let above = Self::above(slot.up.as_ref(), state.wants);
                drop(state);
                Taken::Asked(message, slot, above)
            }
        }
    }
}
