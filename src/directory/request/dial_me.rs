//! `DialMe`: a peer that listens nowhere is asked to dial (§1.4).

use crate::directory::message::{Caller, News};
use crate::directory::state::{Directory, Effects};
use crate::id::{Life, NodeId};
use serde::{Deserialize, Serialize};

/// Asks a peer to dial the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialMe {
    /// The peer's life.
    pub peer: Life,
}

/// Why it cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum DialMeError {
    /// Its life has ended.
    #[error("node life {0} has ended")]
    Ended(Life),
    /// It has no session with the head now.
    #[error("node {0} has no session with the head now: ask again")]
    Away(NodeId),
    /// The asker listens nowhere either.
    #[error("neither node listens for others: give one of them an address to listen on")]
    NoAddress,
}

impl Directory {
    pub(in crate::directory) fn dial_me(
        &mut self,
        life: Life,
        dial: &DialMe,
        effects: &mut Effects,
    ) -> Result<(), DialMeError> {
        let asker = self.lives.get(life).ok_or(DialMeError::Ended(life))?;
        let peer = self.lives.get(dial.peer).ok_or(DialMeError::Ended(dial.peer))?;
        if asker.join.addresses.is_empty() {
            return Err(DialMeError::NoAddress);
        }
        if peer.door.is_none() {
            return Err(DialMeError::Away(peer.join.node));
        }
        let caller = Caller { life, node: asker.join.node, addresses: asker.join.addresses.clone() };
        self.tell(dial.peer, News::DialMe(caller), effects);
        Ok(())
    }
}
