//! A value that lies elsewhere in its process than before: in the store, where others read it.

use super::{Entry, State};
use crate::object::content::Content;

impl Entry {
    /// Its value lies elsewhere in this process from now on.
    pub(crate) fn moved(&self, to: Content) {
        let mut state = self.state.lock();
        let former = match &mut *state {
            State::Settled(outcome @ Ok(_), shared) => {
                (std::mem::replace(outcome, Ok(to)).ok(), shared.as_mut().and_then(|shared| shared.encoded.take()))
            }
            State::Settled(Err(_), _) | State::Pending(_) | State::Given(_) => (Some(to), None),
        };
        drop(state);
        drop(former);
    }
}
