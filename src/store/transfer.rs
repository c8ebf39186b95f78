//! Between a store and the processes of its host that read it: descriptors of segments, once each; pins that end; and
//! segments that are given back (PROTOCOLS §4).
//!
//! ```text
//! owner   Server ── accepts ── a task a reader: tickets, Ask, Unpin, Unmapped ──▶ readers, table
//!            ║ Unix socket, same user at both ends, open for as long as the reader maps anything
//! reader  Attached ── a task each for what comes and what goes ── view ──▶ Foreign ── last drop ──▶ Unpin
//! ```
//!
//! - **T1** A pin ends by `Unpin` or because the *reader's* end of the socket is closed. An owner that is done with a
//!   reader (it misbehaves, or its ticket was revoked) shuts its own half, and waits for the other.
//! - **T2** A reader closes its socket after it has unmapped everything, whatever becomes of its runtime.

mod attach;
mod frame;
mod serve;
mod socket;

pub use attach::{Attached, Ending, Foreign};
pub use serve::{ServeError, Server};

use super::Location;
use super::segment::MappingError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// Why another process's object cannot be viewed.
#[non_exhaustive]
#[derive(Clone, Debug, Error)]
pub enum TransferError {
    /// Nobody listens there.
    #[error("the store at {} cannot be reached: {error}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// It is another user's store.
    #[error("the store at {} belongs to user {uid}; a store is read by processes of its own user only", path.display())]
    OtherUser {
        /// The socket.
        path: PathBuf,
        /// The store's user.
        uid: u32,
    },
    /// The ticket was used, revoked, or never issued.
    #[error("the store refuses the ticket: each is good for one connection; ask its owner for another")]
    Ticket,
    /// Another version of Mobula.
    #[error("the store speaks another version; run the same version of Mobula in all processes of a host")]
    Version,
    /// The store ended, or closed this connection.
    #[error("the store's owner has closed the connection; fetch the object's bytes instead")]
    Closed,
    /// The owner says what no owner says.
    #[error("the store's owner sent what no owner sends; the connection is closed")]
    Malformed,
    /// What the owner sent is not mapped.
    #[error(transparent)]
    Mapping(Arc<MappingError>),
    /// The location lies outside of its segment.
    #[error("{location:?} lies outside of its segment; it is not a location that this store gave")]
    OutOfRange {
        /// Where the object should be.
        location: Location,
    },
    /// There is no tokio runtime, or it is ending.
    #[error("there is no tokio runtime here, or it is ending; attach to stores within one")]
    NoRuntime,
}
