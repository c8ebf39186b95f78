//! The head's fence: (epoch, instance) on everything it sends. A node obeys the highest epoch it has met and, within an
//! epoch, one instance (PROTOCOLS §2, L5).

use crate::id::Epoch;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One start of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Reign {
    /// Rises with each start.
    pub epoch: Epoch,
    /// Random for each start: tells apart two heads that believe in one epoch.
    pub instance: u64,
}

impl fmt::Display for Reign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:08x})", self.epoch, self.instance)
    }
}

/// Why a packet of a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stale {
    /// It comes from a head that was replaced.
    #[error("a head of epoch {was} still speaks; epoch {is} has begun")]
    LowerEpoch {
        /// The epoch it claims.
        was: Epoch,
        /// The epoch that this node obeys.
        is: Epoch,
    },
    /// Two heads run with one epoch.
    #[error(
        "two heads reign in epoch {epoch} (instances {one:08x} and {other:08x}): stop one of them; \
         did two start from copies of one journal?"
    )]
    SplitHead {
        /// The epoch of both.
        epoch: Epoch,
        /// The instance that this node obeys.
        one: u64,
        /// The other.
        other: u64,
    },
}

/// What a packet's reign means to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The head it knows.
    Same,
    /// The first head it meets, or a later one: it must be told what runs here before it grants anything.
    New,
}

/// The reign that a node obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fence(Option<Reign>);

impl Fence {
    /// Lets a packet of `reign` in, or refuses it.
    ///
    /// # Errors
    /// A lower epoch, or the same epoch with another instance.
    pub fn admit(&mut self, reign: Reign) -> Result<Met, Stale> {
        let Some(known) = self.0 else {
            self.0 = Some(reign);
            return Ok(Met::New);
        };
        if reign.epoch < known.epoch {
            return Err(Stale::LowerEpoch { was: reign.epoch, is: known.epoch });
        }
        if reign.epoch > known.epoch {
            self.0 = Some(reign);
            return Ok(Met::New);
        }
        if reign.instance != known.instance {
            return Err(Stale::SplitHead { epoch: reign.epoch, one: known.instance, other: reign.instance });
        }
        Ok(Met::Same)
    }

    /// The reign that is obeyed; none before the first packet.
    #[must_use]
    pub fn reign(&self) -> Option<Reign> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(epoch: u64, instance: u64) -> Reign {
        Reign { epoch: Epoch(epoch), instance }
    }

    #[test]
    fn a_node_obeys_the_highest_epoch_and_one_instance_of_it() {
        let mut fence = Fence::default();
        assert_eq!(fence.admit(reign(3, 7)), Ok(Met::New));
        assert_eq!(fence.admit(reign(3, 7)), Ok(Met::Same));
        assert_eq!(fence.admit(reign(2, 9)), Err(Stale::LowerEpoch { was: Epoch(2), is: Epoch(3) }));
        assert_eq!(fence.admit(reign(3, 8)), Err(Stale::SplitHead { epoch: Epoch(3), one: 7, other: 8 }));
        assert_eq!(fence.reign(), Some(reign(3, 7)));
        assert_eq!(fence.admit(reign(4, 1)), Ok(Met::New));
        assert!(fence.admit(reign(3, 7)).is_err());
    }
}
