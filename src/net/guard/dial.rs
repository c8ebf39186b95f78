//! The dialling side: TCP and its opening first, then one connection of this process over a private Unix socket.

use super::relay::{Control, Order, Relay};
use super::sockets::{Opening, OpeningError, configure, open_local};
use super::zmtp::{GREETING_AND_READY_BYTES, Kind, Violation, write_greeting_and_ready};
use super::{Ending, Limits};
use crate::net::counters::{Count, Counters};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Why no guarded connection could be made.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum DialError {
    /// Nobody answered at the address.
    #[error("cannot connect to {remote}: {source}")]
    Unreachable {
        /// `host:port`.
        remote: String,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever answered said nothing, or not enough, in time.
    #[error("{remote} did not answer as a Mobula node in time: is it the right port?")]
    Silent {
        /// `host:port`.
        remote: String,
    },
    /// The connection was accepted and closed at once: the peer is at its bounds, or shuts down.
    #[error("{remote} closed the connection before its greeting: it may have too many")]
    Closed {
        /// `host:port`.
        remote: String,
    },
    /// Whoever answered is no Mobula node.
    #[error("{remote} is no Mobula node: {violation}")]
    Refused {
        /// `host:port`.
        remote: String,
        /// What it sent.
        violation: Violation,
    },
    /// The private socket cannot be bound.
    #[error("cannot bind the private socket {}: {source}", socket.display())]
    Socket {
        /// Its path.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The dialling side of the guard, for one connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct DialGuard {
    control: Arc<Control>,
    counters: Arc<Counters>,
    socket: PathBuf,
    ended: watch::Receiver<Option<Ending>>,
}

impl DialGuard {
    /// Connects to `remote` (`host:port`), speaks the opening with its guard, and binds `socket`, a path in a folder of
    /// mode 0700, for one DEALER of this process, which sends the preface. The relay runs on the current runtime.
    ///
    /// The limit on the handshake's time counts from the call of this function. Cancel-safe: dropped, it leaves nothing.
    ///
    /// # Errors
    /// Each way in which there is no such peer, told apart.
    pub async fn dial(
        remote: &str,
        socket: PathBuf,
        limits: &Limits,
        counters: Arc<Counters>,
    ) -> Result<DialGuard, DialError> {
        let deadline = Instant::now() + limits.handshake_time;
        let opened = timeout_at(deadline, open(remote)).await;
        let (tcp, inbound) = opened.unwrap_or_else(|_| Err(DialError::Silent { remote: remote.to_owned() }))?;
        let listener = match UnixListener::bind(&socket) {
            Ok(listener) => listener,
            Err(source) => return Err(DialError::Socket { socket, source }),
        };
        let door = OneDoor { listener, path: socket.clone() };
        let control = Arc::new(Control::default());
        let (ending, ended) = watch::channel(None);
        let (limits, told, counted) = (limits.clone(), control.clone(), counters.clone());
        counters.add(Count::GuardDialled);
        tokio::spawn(async move {
            let last = relay(tcp, inbound, door, &limits, &told, deadline).await;
            counted.add(Count::GuardEnded);
            counted.add(last.count());
            ending.send_replace(Some(last));
        });
        Ok(DialGuard { control, counters, socket, ended })
    }

    /// Where the DEALER connects.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The handshake is done: longer frames pass, and there is no deadline any more.
    pub fn admit(&self) {
        if self.control.tell(Order::Admitted) {
            self.counters.add(Count::GuardAdmitted);
        }
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.control.tell(Order::Close);
    }

    /// Waits for the connection's end: a DEALER is not told of it. Cancel-safe.
    pub async fn ended(&self) -> Ending {
        let mut ended = self.ended.clone();
        let ending = ended.wait_for(Option::is_some).await;
        ending.ok().and_then(|ending| *ending).unwrap_or(Ending::Closed)
    }
}

impl Drop for DialGuard {
    fn drop(&mut self) {
        self.control.tell(Order::Close);
    }
}

async fn open(remote: &str) -> Result<(TcpStream, Opening), DialError> {
    let unreachable = |source| DialError::Unreachable { remote: remote.to_owned(), source };
    let mut tcp = TcpStream::connect(remote).await.map_err(unreachable)?;
    configure(&tcp).map_err(unreachable)?;
    let mut greeting = Vec::with_capacity(GREETING_AND_READY_BYTES);
    write_greeting_and_ready(Kind::Dealer, None, &mut greeting);
    tcp.write_all(&greeting).await.map_err(unreachable)?;
    let mut inbound = Opening::new();
    match inbound.greeting_and_ready(&mut tcp, Kind::Router).await {
        Ok(()) => Ok((tcp, inbound)),
        Err(OpeningError::Closed) => Err(DialError::Closed { remote: remote.to_owned() }),
        Err(OpeningError::Refused(violation)) => Err(DialError::Refused { remote: remote.to_owned(), violation }),
    }
}

async fn relay(
    tcp: TcpStream,
    inbound: Opening,
    door: OneDoor,
    limits: &Limits,
    control: &Control,
    deadline: Instant,
) -> Ending {
    let opened = tokio::select! {
        biased;
        ending = control.ended() => return ending,
        opened = timeout_at(deadline, door.open()) => opened,
    };
    match opened {
        Ok(Ok((local, outbound))) => {
            let relay = Relay::new(tcp, local, inbound.rest(), outbound.rest(), limits).dialled();
            relay.run(control, deadline).await
        }
        Ok(Err(_)) => Ending::LocalClosed,
        Err(_) => Ending::Timeout,
    }
}

/// A private Unix socket that one connection of this process comes through; with it the socket goes.
struct OneDoor {
    listener: UnixListener,
    path: PathBuf,
}

impl OneDoor {
    /// Takes the first connection of this process that speaks. Until then the socket stays: whoever only looks whether
    /// somebody listens finds it, and is passed over.
    async fn open(self) -> io::Result<(UnixStream, Opening)> {
        loop {
            let (mut local, _) = self.listener.accept().await?;
            if !is_of_this_process(&local) {
                continue;
            }
            let Ok(mut outbound) = open_local(&mut local, (Kind::Router, None), Kind::Dealer, &[]).await else {
                continue;
            };
            let spoken = outbound.read(&mut local, |bytes| Ok((!bytes.is_empty()).then_some(((), 0))));
            if spoken.await.is_ok() {
                return Ok((local, outbound));
            }
        }
    }
}

impl Drop for OneDoor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // the folder goes with the node in any case
    }
}

fn is_of_this_process(local: &UnixStream) -> bool {
    local.peer_cred().is_ok_and(|peer| peer.pid().is_none_or(|pid| u32::try_from(pid) == Ok(std::process::id())))
}
