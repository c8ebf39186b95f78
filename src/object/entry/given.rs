//! An object that its owner gave to another one (PROTOCOLS §3.8).

use std::sync::Arc;

use super::{Entry, State};
use crate::limits::OBJECT_HOPS;

impl Entry {
    /// Whether it is another owner's now.
    pub(crate) fn is_given(&self) -> bool {
        matches!(*self.state.lock(), State::Given(_))
    }

    /// What it is at the owner that it was given to.
    pub(crate) fn given_to(&self) -> Option<Arc<Entry>> {
        match &*self.state.lock() {
            State::Given(to) => Some(to.clone()),
            State::Pending(_) | State::Settled(..) => None,
        }
    }

    /// As it travels: what was given to another owner travels as that one's, which needs the former no more.
    pub(crate) fn travelling(self: &Arc<Self>) -> Arc<Entry> {
        let mut entry = self.clone();
        for _ in 0..OBJECT_HOPS {
            let Some(to) = entry.given_to() else { break };
            entry = to;
        }
        entry
    }

    /// It is another owner's from now on, as that object: whoever waits is told, and what was known of its value is forgotten.
    /// Whether it was not given before; one that has failed stays as it is.
    pub(crate) fn give(self: &Arc<Self>, to: Arc<Entry>) -> bool {
        // Never to itself, however long the way: each object that was given is a new one of its owner's.
        if to.travelling().id == self.id {
            return false;
        }
        let mut state = self.state.lock();
        let former = match &*state {
            State::Settled(Err(_), _) | State::Given(_) => return false,
            State::Settled(Ok(_), _) | State::Pending(_) => std::mem::replace(&mut *state, State::Given(to)),
        };
        drop(state);
        if let State::Pending(pending) = former {
            pending.tell(None);
        }
        true
    }
}
