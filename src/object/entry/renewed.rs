//! An object that is made again, or asked for again: its value was another's, which is lost (PROTOCOLS §7).

use std::sync::Arc;

use super::{Entry, Pending, State};
use crate::id::ObjectId;
use crate::object::content::Content;
use crate::object::promised::Promised;

impl Entry {
    /// It is pending from now on, if its value is still that of `lost`: gives that entry. `promised` counts it until it is
    /// settled once more; of another owner's it is asked for by who calls this.
    pub(crate) fn renew(&self, lost: ObjectId, promised: Option<Promised>) -> Option<Arc<Entry>> {
        let mut state = self.state.lock();
        if !matches!(&*state, State::Settled(Ok(Content::Elsewhere(next)), _) if next.id == lost) {
            drop(state);
            if let Some(promised) = promised {
                promised.kept();
            }
            return None;
        }
        let pending = Pending::fetched(promised);
        let former = std::mem::replace(&mut *state, State::Pending(pending));
        drop(state);
        match former {
            State::Settled(Ok(Content::Elsewhere(next)), _) => Some(next),
            State::Settled(..) | State::Pending(_) | State::Given(_) => None,
        }
    }

    /// The object whose value this one's is, as far as it was told.
    pub(crate) fn leads_to(&self) -> Option<Arc<Entry>> {
        match &*self.state.lock() {
            State::Settled(Ok(Content::Elsewhere(next)), _) => Some(next.clone()),
            _ => None,
        }
    }

    /// Whether another owner's value was asked for and has not come.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(&*self.state.lock(), State::Pending(pending) if pending.is_awaited())
    }
}
