//! Why an object is lost, and is not made again (PROTOCOLS §7).

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;
use crate::limits::LINEAGE_DEPTH;

/// Why an object is lost: its bytes are nowhere any more, and nobody makes it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The node that owned it has ended, and it was in nobody else's care.
    #[error("the node that owned it has ended")]
    OwnerDied,
    /// Its owner counts no reference to it any more: a node through which this one came has ended.
    #[error("its owner has let it go")]
    LetGo,
    /// The life of this node has ended in which it was referred to here, as its owner sees it: the node was cut off for a lease,
    /// and lives another one. It may be there yet.
    #[error("this node was cut off from the cluster while it referred to it, and lives another life")]
    HolderEnded,
    /// The node where it lay has ended, and its task, or the call of an actor, may not run once more.
    #[error(
        "the node where it lay has ended, and what made it, a task or a call, has no further attempt: give it `retries`"
    )]
    NoRetries,
    /// The node where it lay has ended, and what its task was called with was dropped to make room for others'.
    #[error(
        "the node where it lay has ended, and how it was made is not kept any more: allow more of `lineage_memory`"
    )]
    Evicted,
    /// The node where it lay has ended, and the actor whose reply it is does not make it again: that has ended for good, or no
    /// further try was left when another node ended.
    #[error("the node where it lay has ended, and the actor whose reply it is did not make it again: {why}")]
    NotRepeated {
        /// What became of the actor, or of the call.
        why: String,
    },
    /// The node where it lay has ended, and too many tasks would have to run again, each for the next.
    #[error(
        "the node where it lay has ended, and it hangs on more than {LINEAGE_DEPTH} lost results, one on the other"
    )]
    TooDeep,
    /// The node where it lay has ended, and it is an item of a stream.
    #[error("the node where it lay has ended, and items of streams are not made again")]
    Streamed,
    /// The node where it lay has ended, and an argument of its task, or of one that this one hangs on, is lost.
    #[error("the node where it lay has ended, and it hangs on {object}, which is lost as well: {why}")]
    Argument {
        /// The argument.
        object: ObjectId,
        /// Why that is lost.
        why: Box<Lost>,
    },
    /// It is there, or was, and its bytes cannot be read.
    #[error("{0}")]
    Unreadable(String),
}
