//! The accepting side: it speaks the opening with whoever connects, and only then connects to the lane's ROUTER.

use super::relay::{Relay, answer_frame, linger, say_busy};
use super::seats::{Seat, Seats};
use super::sockets::{Opening, OpeningError, configure, connect_local, open_local};
use super::zmtp::{GREETING_AND_READY_BYTES, Kind, PeerIdentity, Violation, first_message, write_greeting_and_ready};
use super::{Ending, Limits};
use crate::limits::{ACCEPT_BACKLOG, ACCEPT_PAUSE};
use crate::net::counters::{Count, Counters};
use crate::net::preface::{Lane, PREFACE_BYTES, PrefaceError, preface, read_preface};
use parking_lot::Mutex;
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The shortest pause after a failure to accept.
const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(5);
/// How long a newcomer waits at most for those that gave way to be gone, on a runtime that user code may have blocked.
const SETTLING: Duration = Duration::from_millis(50);

/// Where a lane's connections go.
#[derive(Clone, Debug)]
pub struct Door {
    /// The Unix socket of the lane's ROUTER, in a folder of mode 0700.
    pub socket: PathBuf,
    /// The runtime that relays the lane: that of its ROUTER, so that no message changes threads on its way.
    pub runtime: Handle,
}

/// The accepting side of the guard. Dropping it ends its connections; [`Guard::shutdown`] waits for their end as well.
pub struct Guard {
    address: SocketAddr,
    seats: Arc<Seats>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    doors: [Door; Lane::ALL.len()],
    seats: Arc<Seats>,
}

impl Guard {
    /// Binds `address` and accepts on the runtime it is called on; `doors` are in the order of the lanes' numbers.
    /// `ended` is told of each connection whose identity a ROUTER may know, once, when it ends; it must not wait.
    ///
    /// # Errors
    /// If the address cannot be bound.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen(
        address: SocketAddr,
        doors: [Door; Lane::ALL.len()],
        limits: Limits,
        counters: Arc<Counters>,
        ended: impl Fn(PeerIdentity, Ending) + Send + Sync + 'static,
    ) -> io::Result<Guard> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(ACCEPT_BACKLOG)?;
        let address = listener.local_addr()?;
        let seats = Seats::new(limits, counters, Box::new(ended));
        let shared = Arc::new(Shared { doors, seats: seats.clone() });
        let accepting = tokio::spawn(accept(listener, shared));
        Ok(Guard { address, seats, accepting: Mutex::new(Some(accepting)) })
    }

    /// What was bound, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handshake of this connection is done: longer frames pass, and it has no deadline any more.
    pub fn admit(&self, identity: &PeerIdentity) {
        self.seats.admit(identity);
    }

    /// Ends this connection; one that has ended is left alone.
    pub fn close(&self, identity: &PeerIdentity) {
        self.seats.close(identity);
    }

    /// Connections that have not ended.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seats.len()
    }

    /// Ends the listener and all connections, and waits until they are gone. Cancel-safe: the end is under way.
    pub async fn shutdown(&self) {
        self.seats.close_all();
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await; // it was told to end: how is of no interest
        }
        self.seats.emptied().await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.seats.close_all();
        if let Some(accepting) = self.accepting.lock().take() {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let counters = shared.seats.counters();
    let mut pause = ACCEPT_PAUSE_FIRST;
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => {
                pause = ACCEPT_PAUSE_FIRST;
                counters.add(Count::GuardAccepted);
                let _ = timeout(SETTLING, shared.seats.settled()).await; // else `enter` refuses
                let seat = identity().and_then(|identity| shared.seats.enter(from.ip(), identity));
                match seat {
                    Some(seat) => drop(tokio::spawn(connection(shared.clone(), tcp, from, seat))),
                    None => counters.add(Count::GuardTooMany),
                }
            }
            Err(error) => {
                counters.add(Count::GuardAcceptFailed);
                if !is_of_one_connection(&error) {
                    tracing::warn!(%error, ?pause, "cannot accept connections; pausing");
                    sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE);
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// 16 random bytes; `None` if the kernel has none to give, which ends in the refusal of a connection.
fn identity() -> Option<PeerIdentity> {
    let mut bytes = [0; 16];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    (filled == bytes.len()).then_some(PeerIdentity(bytes))
}

/// From the first byte to the hand-over to the lane's runtime.
async fn connection(shared: Arc<Shared>, mut tcp: TcpStream, from: SocketAddr, mut seat: Seat) {
    let deadline = Instant::now() + shared.seats.limits().handshake_time;
    let control = seat.control();
    let opened = tokio::select! {
        biased;
        ending = control.ended() => Err(ending),
        opened = timeout_at(deadline, open(&shared, &mut tcp, &mut seat)) => opened.unwrap_or(Err(Ending::Timeout)),
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(ending) => {
            match ending {
                Ending::WireVersion { .. } => linger(&mut tcp, &control).await,
                Ending::CrowdedOut => say_busy(&tcp),
                _ => {}
            }
            tracing::debug!(%from, %ending, "guarded connection ended in its opening");
            return seat.end(ending);
        }
    };
    let door = &shared.doors[usize::from(opened.lane.number())];
    let here = Handle::current().id() == door.runtime.id();
    let moving = if here { Ok(Moving::Here(tcp, opened.local)) } else { Moving::away(tcp, opened.local) };
    let Ok(moving) = moving else { return seat.end(Ending::LocalClosed) };
    let limits = shared.seats.limits().clone();
    let relaying = async move {
        let Ok((tcp, local)) = moving.arrive() else { return seat.end(Ending::LocalClosed) };
        let relay = Relay::new(tcp, local, opened.inbound.rest(), opened.outbound.rest(), &limits);
        let ending = relay.run(&control, deadline).await;
        tracing::debug!(%from, %ending, "guarded connection ended");
        seat.end(ending);
    };
    drop(door.runtime.spawn(relaying));
}

/// A connection whose ROUTER has taken it.
struct Opened {
    lane: Lane,
    local: UnixStream,
    inbound: Opening,
    outbound: Opening,
}

async fn open(shared: &Shared, tcp: &mut TcpStream, seat: &mut Seat) -> Result<Opened, Ending> {
    configure(tcp).map_err(|_| Ending::PeerClosed)?;
    let mut greeting = Vec::with_capacity(GREETING_AND_READY_BYTES);
    write_greeting_and_ready(Kind::Router, None, &mut greeting);
    tcp.write_all(&greeting).await.map_err(|_| Ending::PeerClosed)?;
    let mut inbound = Opening::new();
    inbound.greeting_and_ready(tcp, Kind::Dealer).await.map_err(OpeningError::of_peer)?;
    let read = inbound.read(tcp, |bytes| Ok(first_message(bytes)?.map(|(message, end)| (read_preface(message), end))));
    let lane = match read.await.map_err(OpeningError::of_peer)? {
        Ok(lane) => lane,
        Err(PrefaceError::WireVersion { theirs }) => {
            let ending = Ending::WireVersion { theirs };
            tcp.write_all(&answer_frame()).await.map_err(|_| ending)?;
            return Err(ending);
        }
        Err(PrefaceError::NotMobula | PrefaceError::Malformed) => return Err(Ending::Refused(Violation::Preface)),
    };
    let door = &shared.doors[usize::from(lane.number())];
    let mut local = connect_local(&door.socket).await.map_err(|_| Ending::LocalClosed)?;
    let identity = seat.present();
    let first = [&[0, PREFACE_BYTES as u8], &preface(lane)[..]].concat();
    let outbound = open_local(&mut local, (Kind::Dealer, Some(&identity)), Kind::Router, &first)
        .await
        .map_err(|_| Ending::LocalClosed)?;
    Ok(Opened { lane, local, inbound, outbound })
}

/// Both sockets on their way from one runtime's reactor to another's.
enum Moving {
    Here(TcpStream, UnixStream),
    Away(std::net::TcpStream, std::os::unix::net::UnixStream),
}

impl Moving {
    fn away(tcp: TcpStream, local: UnixStream) -> io::Result<Moving> {
        Ok(Moving::Away(tcp.into_std()?, local.into_std()?))
    }

    fn arrive(self) -> io::Result<(TcpStream, UnixStream)> {
        match self {
            Moving::Here(tcp, local) => Ok((tcp, local)),
            Moving::Away(tcp, local) => Ok((TcpStream::from_std(tcp)?, UnixStream::from_std(local)?)),
        }
    }
}
