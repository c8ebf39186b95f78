//! The transport over ZeroMQ: the only folder that names zeromq, and zeromq is never given bytes of a stranger. On `ipc://`
//! a folder that only this user can enter keeps strangers out; on `tcp://` the guard stands in between, on both sides.
//!
//! A listening lane is one ROUTER with one receive loop, a dialled lane one DEALER with another. A loop always polls:
//! a disconnect shows only while `recv` is polled, and a peer can only be disconnected from there. What sessions want
//! of it comes as a [`Command`].

mod dealer;
mod router;

use super::address::Address;
use super::connection::{Dialing, Door};
use super::folder::Folder;
use super::guard::{self, DialGuard, Guard};
use super::peers::PeerName;
use super::preface::Lane;
use super::threads::Threads;
use super::transport::Transport;
use super::{DialError, NetError};
use futures_channel::mpsc as futures_mpsc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zeromq::{MultiPeerBackend, SocketEvent, SocketOptions, ZmqError};

/// Connects and disconnects that wait for a receive loop. zeromq's own 1,024 can overflow, and a lost disconnect is a
/// session that never ends; more peers than this cannot have descriptors.
const EVENTS: usize = 1 << 20;
/// How long what was sent before a close may take to be written, where a guard can cut it off.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a close waits for a listener's own clean-up, in steps of a millisecond.
const CLEAN_UP: u32 = 200;

type Backend = Arc<dyn MultiPeerBackend>;
type Events = futures_mpsc::Receiver<SocketEvent>;

/// The sockets of one node.
pub(crate) struct Zmq {
    threads: Threads,
    loops: Mutex<Vec<Loop>>,
    listening: tokio::sync::Mutex<Vec<Listening>>,
    /// Where the sockets of dial guards are, once there has been one.
    dialling: tokio::sync::Mutex<Option<Arc<Folder>>>,
    dialled: AtomicU64,
}

/// What keeps an address listening.
struct Listening {
    folder: Folder,
    guard: Option<Arc<Guard>>,
    /// zeromq's accept tasks: they end when these are dropped.
    accepting: Vec<Box<dyn Any + Send>>,
}

struct Loop {
    commands: Commands,
    task: tokio::task::JoinHandle<()>,
}

/// At most one for each connection, and one to end: that bounds the channel.
enum Command {
    Close(PeerName),
    End,
}

type Commands = mpsc::UnboundedSender<Command>;

impl Zmq {
    pub(crate) fn new() -> Result<Zmq, NetError> {
        Ok(Zmq {
            threads: Threads::start()?,
            loops: Mutex::default(),
            listening: tokio::sync::Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            dialled: AtomicU64::new(0),
        })
    }

    /// A ROUTER a lane, in a folder of their own.
    async fn listen_in(&self, folder: Folder, door: &Arc<Door>, ward: &Ward) -> Result<Listening, NetError> {
        let mut listening = Listening { folder, guard: None, accepting: Vec::new() };
        for lane in Lane::ALL {
            let (listener, door, ward) = (listening.folder.listen(lane)?, door.clone(), ward.clone());
            let router = self.threads.run(lane, router::listen(listener, door, lane, ward)).await?;
            let (running, held) = router.map_err(|error| NetError::Socket { lane, reason: error.to_string() })?;
            self.keep(running);
            listening.accepting.push(held);
        }
        Ok(listening)
    }

    /// A ROUTER a lane, and the guard in front of them.
    async fn listen_tcp(&self, address: &Address, door: &Arc<Door>) -> Result<Address, NetError> {
        let failed = |error: io::Error| match (address.to_string(), error.kind()) {
            (address, io::ErrorKind::AddrInUse) => NetError::InUse { address },
            (address, _) => NetError::Tcp { address, error },
        };
        let at = address.host_port().unwrap_or_default();
        let Address::Tcp { host, .. } = address else { return Err(NetError::Unsupported { address: at }) };
        let at = tokio::net::lookup_host(at).await.and_then(|mut found| found.next().ok_or_else(no_address));
        let at = at.map_err(failed)?;
        let guard: Arc<OnceLock<Arc<Guard>>> = Arc::default();
        let mut listening = self.listen_in(Folder::private()?, door, &Ward::Guard(guard.clone())).await?;
        let doors = Lane::ALL.map(|lane| guard::Door {
            socket: listening.folder.join(lane.name()),
            runtime: self.threads.of(lane).clone(),
        });
        let (limits, counters) = (guard_limits(door), door.counters.clone());
        // The ROUTERs see for themselves whose connection ended.
        let listen = async move { Guard::listen(at, doors, limits, counters, |_, _| ()) };
        let made = Arc::new(self.threads.run(Lane::Control, listen).await?.map_err(failed)?);
        let port = made.address().port();
        listening.guard = Some(guard.get_or_init(|| made).clone());
        self.listening.lock().await.push(listening);
        Ok(Address::Tcp { host: host.clone(), port })
    }

    async fn dial_ipc(&self, path: PathBuf, dialing: Dialing) -> Result<(), DialError> {
        let (to, after, lane) = (dialing.to.clone(), dialing.door.limits.handshake_time, dialing.lane);
        let dealer = self.threads.run(lane, async move { dealer::dial(&path, None, dialing).await });
        let dealer = dealer.await.map_err(|_| DialError::Closed)?;
        self.keep(dealer.map_err(|error| dial_error(error, to, after))?);
        Ok(())
    }

    /// The guard connects and speaks the opening; then a DEALER dials the guard's private socket.
    async fn dial_tcp(&self, remote: String, dialing: Dialing) -> Result<(), DialError> {
        let (to, after, lane) = (dialing.to.clone(), dialing.door.limits.handshake_time, dialing.lane);
        let folder = self.dialling().await?;
        let socket = folder.join(&self.dialled.fetch_add(1, Ordering::Relaxed).to_string());
        let work = async move {
            let (limits, counters) = (guard_limits(&dialing.door), dialing.door.counters.clone());
            let guard = DialGuard::dial(&remote, socket.clone(), &limits, counters).await;
            let guard = guard.map_err(|error| guarded_dial_error(error, dialing.to.clone(), after))?;
            dealer::dial(&socket, Some(guard), dialing).await.map_err(|error| dial_error(error, to, after))
        };
        self.keep(self.threads.run(lane, work).await.map_err(|_| DialError::Closed)??);
        Ok(())
    }

    async fn dialling(&self) -> Result<Arc<Folder>, DialError> {
        let mut dialling = self.dialling.lock().await;
        if let Some(folder) = &*dialling {
            return Ok(folder.clone());
        }
        let folder = Folder::private().map_err(|error| DialError::Local { error: io::Error::other(error) })?;
        Ok(dialling.insert(Arc::new(folder)).clone())
    }

    fn keep(&self, running: Loop) {
        let mut loops = self.loops.lock();
        if loops.len() == loops.capacity() {
            loops.retain(|running| !running.task.is_finished());
        }
        loops.push(running);
    }
}

impl Transport for Zmq {
    fn listen<'a>(&'a self, address: &'a Address, door: &'a Arc<Door>) -> BoxFuture<'a, Result<Address, NetError>> {
        async move {
            match address {
                Address::Ipc { folder } => {
                    let listening = self.listen_in(Folder::take(Path::new(folder))?, door, &Ward::Folder).await?;
                    self.listening.lock().await.push(listening);
                    Ok(address.clone())
                }
                Address::Tcp { .. } => self.listen_tcp(address, door).await,
                Address::Memory { .. } => Err(NetError::Unsupported { address: address.to_string() }),
            }
        }
        .boxed()
    }

    fn dial(&self, dialing: Dialing) -> BoxFuture<'_, Result<(), DialError>> {
        match (dialing.to.socket(dialing.lane), dialing.to.host_port()) {
            (Some(path), _) => self.dial_ipc(path, dialing).boxed(),
            (None, Some(remote)) => self.dial_tcp(remote, dialing).boxed(),
            (None, None) => async move { Err(DialError::Unsupported { to: dialing.to }) }.boxed(),
        }
    }

    fn control(&self) -> Handle {
        self.threads.of(Lane::Control).clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            let mut listening: Vec<_> = self.listening.lock().await.drain(..).collect();
            listening.iter_mut().for_each(|listening| listening.accepting.clear());
            let loops: Vec<_> = self.loops.lock().drain(..).collect();
            loops.iter().for_each(|running| drop(running.commands.send(Command::End)));
            for running in loops {
                // One that panicked has ended as well.
                let _ = running.task.await;
            }
            for Listening { folder, guard, .. } in listening {
                if let Some(guard) = guard {
                    guard.shutdown().await;
                }
                released(&folder).await;
            }
            self.dialling.lock().await.take();
            self.threads.stop().await;
        }
        .boxed()
    }
}

impl Drop for Zmq {
    fn drop(&mut self) {
        self.loops.lock().iter().for_each(|running| drop(running.commands.send(Command::End)));
    }
}

/// Waits until zeromq's accept tasks have removed their sockets, so that the folder can go after them.
async fn released(folder: &Folder) {
    for _ in 0..CLEAN_UP {
        if Lane::ALL.iter().all(|lane| !folder.join(lane.name()).exists()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

fn guard_limits(door: &Door) -> guard::Limits {
    guard::Limits {
        handshake_time: door.limits.handshake_time,
        handshakes: door.limits.handshakes,
        ..guard::Limits::default()
    }
}

fn dial_error(error: ZmqError, to: Address, after: Duration) -> DialError {
    match error {
        ZmqError::ConnectTimeout(_) => DialError::TimedOut { to, after },
        ZmqError::Network(error) => DialError::Unreachable { to, error },
        error => DialError::Unreachable { to, error: io::Error::other(error.to_string()) },
    }
}

fn guarded_dial_error(error: guard::DialError, to: Address, after: Duration) -> DialError {
    match error {
        guard::DialError::Unreachable { source: error, .. } => DialError::Unreachable { to, error },
        guard::DialError::Silent { .. } => DialError::TimedOut { to, after },
        guard::DialError::Closed { .. } => DialError::Busy { to },
        guard::DialError::Refused { violation: reason, .. } => DialError::NotMobula { to, reason },
        guard::DialError::Socket { source: error, .. } => DialError::Local { error },
    }
}

fn options() -> SocketOptions {
    let mut options = SocketOptions::default();
    // zeromq keeps the first buffer of every connection that a ROUTER ever had, of a stranger's too (the identity is a
    // slice of it, and stays in a queue). It grows as soon as a peer fills it.
    options.read_buffer(256, 1 << 20, 4);
    options
}

fn events(backend: &Backend) -> Events {
    let (sender, events) = futures_mpsc::channel(EVENTS);
    backend.monitor().lock().replace(sender);
    events
}

/// A socket that a receive loop serves: it goes with its loop, however that ends.
struct Served(Backend);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.monitor().lock().take();
        self.0.shutdown();
    }
}

/// The end of a receive loop. Sessions may outlive it, and its channel would keep its waker for them: with it the
/// task's runtime, whose descriptors are the control thread's.
fn hang_up(mut orders: mpsc::UnboundedReceiver<Command>) {
    orders.close();
    while let Some(Some(_)) = orders.recv().now_or_never() {}
}

/// What keeps strangers from a ROUTER, and makes the identities of its peers.
#[derive(Clone)]
enum Ward {
    /// Its folder. zeromq makes the identities: version 4 UUIDs.
    Folder,
    /// The guard, which listens after its ROUTERs do. It makes the identities and bounds the handshakes.
    Guard(Arc<OnceLock<Arc<Guard>>>),
}

impl Ward {
    fn made(&self, name: PeerName) -> bool {
        match self {
            Ward::Folder => name[6] >> 4 == 4 && name[8] >> 6 == 2,
            Ward::Guard(_) => true,
        }
    }

    fn guard(&self) -> Option<&Arc<Guard>> {
        match self {
            Ward::Folder => None,
            Ward::Guard(guard) => guard.get(),
        }
    }
}
