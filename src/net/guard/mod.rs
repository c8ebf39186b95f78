//! The guard: nothing of zeromq touches TCP. zeromq reserves whatever frame length a peer declares, before any
//! authentication, so a relay on both sides of TCP speaks the opening itself and checks every header before it passes.
//!
//! ```text
//!  dialling node                                              accepting node
//!  DEALER ── Unix socket ── DialGuard ══════ TCP ══════ Guard ── Unix socket of the lane's ROUTER
//!            greeting, READY          greeting, READY          greeting, READY with the identity
//!            preface, handshake, batches ───────────────────────────────────▶
//!            ◀────────────────────────────────────────── handshake, batches
//! ```
//!
//! 1. Before the handshake is done, frames of at most 1 KiB pass, 4 KiB in all, within 3 s; larger ones up to 1 MiB wait.
//! 2. After it (`admit`), frames of at most 1 MiB pass. A message has one part; there are no commands after READY.
//! 3. A peer never chooses its identity: the guard makes 16 random bytes for each connection.
//! 4. Connections and unfinished handshakes are bounded, in all and for each address; an unfinished handshake gives way
//!    to a newer connection, that of the address with the most of them first, and is told that the node is busy.
//! 5. Whichever end closes, both are closed.

mod dial;
mod listen;
mod relay;
mod seats;
mod sockets;
pub mod zmtp;

pub use dial::{DialError, DialGuard};
pub use listen::{Door, Guard};
pub use zmtp::{PeerIdentity, Violation};

use super::counters::Count;
use crate::limits;
use std::time::Duration;
use thiserror::Error;

/// The guard's bounds; the defaults are those of [`crate::limits`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest frame from a peer whose handshake is not done.
    pub frame_before_handshake: usize,
    /// The longest frame from a peer whose handshake is done.
    pub frame_after_handshake: usize,
    /// Bytes that pass before the handshake is done.
    pub bytes_before_handshake: usize,
    /// From connecting to the end of the handshake.
    pub handshake_time: Duration,
    /// Unfinished handshakes at once.
    pub handshakes: usize,
    /// Connections at once.
    pub connections: usize,
    /// Connections from one address at once: an IPv4 address, or a /64 of IPv6.
    pub connections_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_before_handshake: limits::FRAME_BEFORE_HANDSHAKE,
            frame_after_handshake: limits::FRAME_AFTER_HANDSHAKE,
            bytes_before_handshake: limits::BYTES_BEFORE_HANDSHAKE,
            handshake_time: limits::HANDSHAKE_TIME,
            handshakes: limits::HANDSHAKES,
            connections: limits::CONNECTIONS.min(sockets::connections_by_descriptors()),
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
        }
    }
}

/// Why a guarded connection ended.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Ending {
    /// This node closed it.
    #[error("this node closed the connection")]
    Closed,
    /// The remote peer closed or lost it.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// The node's own socket behind the guard closed, or could not be reached.
    #[error("the node's own socket behind the guard closed")]
    LocalClosed,
    /// The handshake was not done in time.
    #[error("the handshake was not done in time")]
    Timeout,
    /// Its unfinished handshake gave way to a newer connection.
    #[error("the handshake gave way to a newer connection: too many were under way")]
    CrowdedOut,
    /// The peer speaks another wire version.
    #[error(
        "the peer speaks wire version {theirs}, this node {}: run the same version of mobula on both",
        limits::WIRE_VERSION
    )]
    WireVersion {
        /// The peer's version, which nothing proves yet.
        theirs: u16,
    },
    /// The peer sent what no peer of ours sends.
    #[error(transparent)]
    Refused(#[from] Violation),
}

impl Ending {
    const fn count(self) -> Count {
        match self {
            Ending::Closed => Count::GuardClosed,
            Ending::PeerClosed => Count::GuardPeerClosed,
            Ending::LocalClosed => Count::GuardLocalClosed,
            Ending::Timeout => Count::GuardTimeout,
            Ending::CrowdedOut => Count::GuardCrowdedOut,
            Ending::WireVersion { .. } => Count::GuardWireVersion,
            Ending::Refused(violation) => match violation {
                Violation::Greeting => Count::GuardGreeting,
                Violation::Ready => Count::GuardReady,
                Violation::Identity => Count::GuardIdentity,
                Violation::Preface => Count::GuardPreface,
                Violation::FrameTooLong { .. } => Count::GuardFrameTooLong,
                Violation::Multipart => Count::GuardMultipart,
                Violation::Command => Count::GuardCommand,
                Violation::ReservedFlags => Count::GuardReservedFlags,
            },
        }
    }
}
