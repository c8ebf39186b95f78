//! From bytes on sockets to authenticated sessions. Knows nothing of actors, links or the directory.
//!
//! ```text
//! Net ── transport (zmq | memory) ── receive loop a lane ── Peers ── Connection: handshake, then records
//!  │                                                                      │
//!  └─ dial ─> Session: seals, sends                     Receiver, Inlet <─┘  opened batches
//! ```
//!
//! A batch that is sent goes from its task to the socket, and one that arrives from the socket to its [`Inlet`],
//! without a task or a channel in between.

pub mod address;
mod connection;
pub mod counters;
mod folder;
pub mod guard;
mod handshake;
pub mod identity;
pub mod memory;
mod peers;
pub mod preface;
mod record;
pub mod session;
mod threads;
mod transport;
mod zmq;

pub use address::{Address, AddressError};
pub use counters::{Count, Counters};
pub(crate) use folder::Folder;
#[doc(hidden)]
pub use handshake::rehearse;
pub use identity::{ClusterKey, Identity, KeyError, KeyTextError, PublicKey, Role};
pub use preface::Lane;
pub use record::RecordError;
pub use session::{Closed, Inlet, Receiver, Refused, SendError, Session};

use crate::id::{ClusterId, NodeId};
use crate::limits;
use connection::{Dialing, Door};
use handshake::Party;
use memory::MemoryNetwork;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;
use transport::Transport;

/// What [`Net::start`] is given.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The node's key pair.
    pub identity: Identity,
    /// The cluster it belongs to.
    pub cluster: ClusterKey,
    /// What it is there. The head's identity is the one that the cluster key pins.
    pub role: Role,
    /// Where it listens: nowhere, for a driver.
    pub listen: Vec<Address>,
    /// Bounds of its handshakes.
    pub limits: Limits,
    /// What carries its messages.
    pub medium: Medium,
}

/// Bounds of a node's handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one may take.
    pub handshake_time: Duration,
    /// How many peers may be at it.
    pub handshakes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { handshake_time: limits::HANDSHAKE_TIME, handshakes: limits::HANDSHAKES }
    }
}

/// Removes the sockets that processes of this user left behind when they were killed.
pub(crate) fn sweep_dead() {
    folder::sweep_dead();
}

/// What carries a node's messages.
#[derive(Clone, Debug)]
pub enum Medium {
    /// ZeroMQ over Unix sockets and, behind the guard, TCP.
    Sockets,
    /// A network inside this process.
    Memory {
        /// The network.
        network: MemoryNetwork,
        /// The node's name there: what cuts call it, and where it listens if it does.
        name: String,
    },
}

/// One node's sockets: listens, dials, and hands sessions to a [`Receiver`].
pub struct Net {
    door: Arc<Door>,
    transport: Arc<dyn Transport>,
    addresses: Vec<Address>,
    closed: AtomicBool,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Net {
    /// Listens on every address of `config`, on each lane. Called on the runtime that the calls and bulk lanes use.
    ///
    /// # Errors
    /// An address cannot be listened on; nothing listens then.
    pub async fn start(config: NetConfig, receiver: Arc<dyn Receiver>) -> Result<Net, NetError> {
        let NetConfig { identity, cluster, role, listen, limits, medium } = config;
        if (role == Role::Head) != (identity.node_id() == cluster.head()) {
            return Err(NetError::NotTheHead);
        }
        let door = Arc::new(Door::new(Party { identity, cluster, role }, receiver, limits));
        let transport: Arc<dyn Transport> = match medium {
            Medium::Sockets => Arc::new(zmq::Zmq::new()?),
            Medium::Memory { network, name } => Arc::new(memory::Memory::new(network, name)),
        };
        let mut net = Net { door, transport, addresses: Vec::new(), closed: AtomicBool::new(false) };
        for address in &listen {
            match net.transport.listen(address, &net.door).await {
                Ok(bound) => net.addresses.push(bound),
                Err(error) => {
                    net.close().await;
                    return Err(error);
                }
            }
        }
        Ok(net)
    }

    /// Where it listens, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Connects to a lane of the node `peer` at `to`: one connection, one handshake, one session. The receiver is asked
    /// for the inlet before this returns.
    ///
    /// Cancel-safe: abandoned, it leaves no session.
    ///
    /// # Errors
    /// Says what stands in the way and what to do; nothing is tried twice.
    pub async fn dial(&self, peer: NodeId, to: &Address, lane: Lane) -> Result<Session, DialError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(DialError::Closed);
        }
        let deadline = Instant::now() + self.door.limits.handshake_time;
        let (done, answer) = oneshot::channel();
        let dialing = Dialing { door: self.door.clone(), to: to.clone(), peer, lane, deadline, done };
        self.transport.dial(dialing).await?;
        answer.await.unwrap_or(Err(DialError::Closed))
    }

    /// The runtime of the control lane, on a thread of its own: for what must not be delayed by what users run.
    #[must_use]
    pub fn control(&self) -> tokio::runtime::Handle {
        self.transport.control()
    }

    /// What has happened on its sockets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.door.counters
    }

    /// Ends every session and stops listening. When it returns, sockets, folders, tasks and threads are gone.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.transport.close().await;
    }
}

/// Why a node cannot listen.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum NetError {
    /// Someone listens there.
    #[error("{address} is in use by another process: give this node an address of its own")]
    InUse {
        /// The address.
        address: String,
    },
    /// A folder of sockets that others could enter.
    #[error(
        "{path} is not this user's own folder: make it a directory of mode 0700 (`chmod 700 {path}`), or give one that does not exist"
    )]
    Shared {
        /// The folder.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot make sockets in {path}: {error}")]
    Folder {
        /// The folder or socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A TCP address that cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Tcp {
        /// The address.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// ZeroMQ refuses a socket.
    #[error("cannot listen on the {} lane: {reason}", lane.name())]
    Socket {
        /// The lane.
        lane: Lane,
        /// What it says.
        reason: String,
    },
    /// This medium has no such addresses.
    #[error("this node cannot listen on {address}")]
    Unsupported {
        /// The address.
        address: String,
    },
    /// The control lane's thread cannot be started.
    #[error("cannot start the control lane's thread: {0}")]
    Thread(io::Error),
    /// The role and the identity contradict each other.
    #[error(
        "the head is the node whose key the cluster key pins: start the head with that identity, and no other node with it"
    )]
    NotTheHead,
    /// The node was closed meanwhile.
    #[error("the node was closed while it started")]
    Closed,
}

/// Why a dial failed.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum DialError {
    /// Nobody listens there.
    #[error("nobody can be reached at {to} ({error}): check the address, and that the node runs")]
    Unreachable {
        /// The address.
        to: Address,
        /// What the system says.
        error: io::Error,
    },
    /// This node cannot make the socket that its own guard listens on.
    #[error("this node cannot make a private socket: {error}")]
    Local {
        /// What the system says.
        error: io::Error,
    },
    /// Someone listens who is no node.
    #[error("{to} is no Mobula node ({reason}): check the port")]
    NotMobula {
        /// The address.
        to: Address,
        /// What they sent.
        reason: guard::Violation,
    },
    /// Someone does, but the handshake did not end.
    #[error("{to} did not finish a handshake within {after:?}: it is stopped or overloaded, or no Mobula node")]
    TimedOut {
        /// The address.
        to: Address,
        /// How long that was.
        after: Duration,
    },
    /// A node of another version.
    #[error("{to} speaks wire version {theirs}, this node {ours}: run the same version of mobula on both")]
    WireVersion {
        /// The address.
        to: Address,
        /// This node's version.
        ours: u16,
        /// The peer's.
        theirs: u16,
    },
    /// The peer hung up on the first message, as one does that has another key.
    #[error(
        "{to} does not answer this node's key (cluster {cluster}): give both nodes the same file of `mobula key new`. If they have it, the node stopped just then"
    )]
    WrongKey {
        /// The address.
        to: Address,
        /// This node's cluster.
        cluster: ClusterId,
    },
    /// Another member of the cluster listens there.
    #[error("at {to} is node {proved}, not {dialled}: the address is out of date, or another node has taken it")]
    WrongPeer {
        /// The address.
        to: Address,
        /// Who was dialled.
        dialled: NodeId,
        /// Who is there.
        proved: NodeId,
    },
    /// The peer's role contradicts its key.
    #[error("{to} claims a role that its key does not prove: only the node with the pinned key is the head")]
    BadCredentials {
        /// The address.
        to: Address,
    },
    /// Someone on the way changes bytes, or the peer is broken.
    #[error("what {to} answered does not open: something on the way alters the connection")]
    Altered {
        /// The address.
        to: Address,
    },
    /// The connection ended at the handshake's end.
    #[error(
        "{to} hung up at the end of the handshake: it does not accept this node's credentials, or stopped just then"
    )]
    HungUp {
        /// The address.
        to: Address,
    },
    /// Too many others connect at the same time.
    #[error("{to} is busy with other handshakes: try again in a moment")]
    Busy {
        /// The address.
        to: Address,
    },
    /// The peer's receiver does not want the session.
    #[error("{to} refused the session: {why}")]
    Refused {
        /// The address.
        to: Address,
        /// Its reason.
        why: Refused,
    },
    /// This node's own receiver does not want it.
    #[error("this node does not want the session: {why}")]
    RefusedHere {
        /// Its reason.
        why: Refused,
    },
    /// This medium has no such addresses.
    #[error("this node cannot dial {to}")]
    Unsupported {
        /// The address.
        to: Address,
    },
    /// The system's cryptography failed.
    #[error("the handshake could not begin: {reason}")]
    Cryptography {
        /// What it says.
        reason: String,
    },
    /// This node is closed.
    #[error("this node's sockets are closed")]
    Closed,
}
