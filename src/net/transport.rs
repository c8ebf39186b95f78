//! What is below a session: something that moves whole messages in order over connections. Two implementations, `zmq`
//! and `memory`, and one conformance suite (`tests/transports.rs`).
//!
//! A transport runs the receive loops and owns each `Connection` on one of them; a connection answers through its
//! [`Wire`]. A loop never waits for a wire.

use super::address::Address;
use super::connection::{Dialing, Door};
use super::{DialError, NetError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The connection is over: nothing can be sent on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The sending end of one connection.
pub(crate) trait Wire: Send + Sync + 'static {
    /// Queues one message behind those sent before.
    fn send(&self, message: Bytes) -> BoxFuture<'_, Result<(), Gone>>;

    /// The peer has proved itself: lifts what held it to handshakes.
    fn admit(&self);

    /// Ends the connection after what was sent before. Its receive loop then ends it with `Connection::ended`.
    fn close(&self);
}

/// A way to listen and to dial.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Accepts connections on every lane of `address`, until closed. Returns the address as it was bound.
    fn listen<'a>(&'a self, address: &'a Address, door: &'a Arc<Door>) -> BoxFuture<'a, Result<Address, NetError>>;

    /// Connects to where `dialing` says, before its deadline, and goes on with the connection that it becomes.
    fn dial(&self, dialing: Dialing) -> BoxFuture<'_, Result<(), DialError>>;

    /// The runtime of the control lane, where nothing that users run delays a beat.
    fn control(&self) -> Handle;

    /// Ends every connection and loop, and takes back what the file system was given.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a receive loop does about a connection after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Goes on.
    Stay,
    /// The connection is over: the loop drops it and tells the peer.
    Leave,
}
