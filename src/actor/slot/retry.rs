//! A call's slot that is tried again in the next run of its actor (PROTOCOLS §1.14).

use std::mem;
use std::sync::Arc;

use super::{Slot, Stage, Wants};
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed};
use crate::actor::reply::{Arriving, Reply};
use crate::actor::restart::Kept;
use crate::wire::packet::Flags;

impl<M: Method> Slot<M> {
    /// What it takes to try one with retries again, if its actor may be started again.
    pub(super) fn keep(&self, message: &M) -> Option<Box<Kept>> {
        if <M::Reply as Reply>::Arriving::FLAGS.has(Flags::STREAM) {
            return None;
        }
        let inbox = self.local()?;
        inbox.renewal()?;
        // One that cannot be encoded is not tried again.
        Kept::of(message, inbox.host()).ok().map(Box::new)
    }

    /// Takes it back for the next run; whether it goes again.
    pub(super) fn again(self: &Arc<Self>, kept: &Kept, frame: u64) -> bool {
        let Some(inbox) = self.local() else { return false };
        let (Some(renewal), Ok(message)) = (inbox.renewal(), kept.message()) else { return false };
        let mut state = self.state.lock();
        let waits = matches!(state.stage, Stage::Begun(_)) && state.wants != Wants::Nothing;
        if !waits || state.retries == 0 {
            drop(state);
            return false;
        }
        (state.retries, state.ran) = (state.retries - 1, true);
        let former = mem::replace(&mut state.stage, Stage::Made(message));
        drop(state);
        drop(former);
        renewal.returns(frame, self.clone());
        true
    }

    /// Its actor's node has it run once more: that is one of the tries that are left.
    pub(super) fn tried(&self) -> bool {
        let mut state = self.state.lock();
        let left = state.retries.checked_sub(1).filter(|_| matches!(state.stage, Stage::Away));
        if let Some(left) = left {
            (state.retries, state.ran) = (left, true);
        }
        left.is_some()
    }

    /// Whether it goes again where its actor is after its node has ended: it never left, or is tried again.
    pub(super) fn tries_again(&self, error: &CallError) -> bool {
        let mut state = self.state.lock();
        let tried = state.retries > 0 && !<M::Reply as Reply>::Arriving::FLAGS.has(Flags::STREAM);
        match error {
            CallError::NodeDied { executed: Executed::No, .. } => true,
            CallError::NodeDied { .. } if tried => {
                (state.retries, state.ran) = (state.retries - 1, true);
                true
            }
            _ => false,
        }
    }
}
