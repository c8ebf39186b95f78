//! A call's slot as its cell, or its caller, comes to have it alone.

use std::mem;
use std::sync::Arc;

use super::{Awaited, Listener, Slot, Stage};
use crate::actor::dispatch::Method;
use crate::actor::frame::Above;
use crate::sync::alone::alone;

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
    /// The message, once.
    #[inline]
    pub(super) fn take(self: Arc<Self>) -> Taken<M> {
        let alone = alone(self).and_then(|mut slot| match slot.state.get_mut().retries {
            0 => Ok(slot),
            // It may be needed again.
            _ => Err(Arc::new(slot)),
        });
        match alone {
            Ok(mut slot) => {
                // Looked at where it lies: it was moved once already.
                let state = slot.state.get_mut();
                match mem::replace(&mut state.stage, Stage::Over) {
                    Stage::Made(message) => match mem::take(&mut state.caller) {
                        Listener::Object(sink) => Taken::Submitted(message, Awaited { sink, to: slot.to.take() }),
                        _ => Taken::Told(message),
                    },
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
