//! A dialled lane: one DEALER, one receive loop.

use super::{Command, Commands, Events, LAST_WORDS, Loop, Served, events, hang_up, options};
use crate::net::connection::{Connection, Dialing, Door};
use crate::net::counters::Count;
use crate::net::guard::DialGuard;
use crate::net::session::Closed;
use crate::net::transport::{Gone, Step, Wire};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqError, ZmqMessage,
};

/// zeromq tries a missing socket again and again; after this long a dial asks for itself whether anyone is there.
const PROBE_AFTER: Duration = Duration::from_millis(20);

struct DealerWire {
    half: tokio::sync::Mutex<DealerSendHalf>,
    guard: Option<Arc<DialGuard>>,
    commands: Commands,
    closing: AtomicBool,
}

impl Wire for DealerWire {
    fn send(&self, message: Bytes) -> BoxFuture<'_, Result<(), Gone>> {
        async move { self.half.lock().await.send(ZmqMessage::from(message)).await.map_err(|_| Gone) }.boxed()
    }

    fn admit(&self) {
        if let Some(guard) = &self.guard {
            guard.admit();
        }
    }

    fn close(&self) {
        if !self.closing.swap(true, Ordering::Relaxed) {
            // A loop that has ended has ended its connection.
            let _ = self.commands.send(Command::End);
        }
    }
}

/// Connects to a Unix socket, of a listener or of this dial's own guard, and begins the handshake.
pub(super) async fn dial(path: &Path, guard: Option<DialGuard>, dialing: Dialing) -> Result<Loop, ZmqError> {
    let mut options = options();
    options.connect_timeout(dialing.deadline.saturating_duration_since(Instant::now()));
    let mut socket = DealerSocket::with_options(options);
    let backend = socket.backend();
    let events = events(&backend);
    let endpoint = format!("ipc://{}", path.display());
    tokio::select! {
        connected = socket.connect(&endpoint) => connected?,
        error = nobody(path), if guard.is_none() => return Err(error.into()),
    }
    let (half, receive) = socket.split();
    let (commands, orders) = mpsc::unbounded_channel();
    let (half, guard) = (tokio::sync::Mutex::new(half), guard.map(Arc::new));
    let wire = DealerWire { half, guard: guard.clone(), commands: commands.clone(), closing: AtomicBool::new(false) };
    let door = dialing.door.clone();
    let dealer =
        Dealer { door, connection: dialing.connected(Arc::new(wire)), socket: Served(backend), receive, guard };
    let task = tokio::spawn(dealer.run(events, orders));
    Ok(Loop { commands, task })
}

/// Resolves if a dial takes long and nobody listens.
async fn nobody(path: &Path) -> io::Error {
    tokio::time::sleep(PROBE_AFTER).await;
    match tokio::net::UnixStream::connect(path).await {
        Err(error) => error,
        Ok(somebody) => {
            drop(somebody);
            std::future::pending().await
        }
    }
}

struct Dealer {
    door: Arc<Door>,
    connection: Connection,
    socket: Served,
    receive: DealerRecvHalf,
    guard: Option<Arc<DialGuard>>,
}

impl Dealer {
    async fn run(mut self, mut events: Events, mut orders: mpsc::UnboundedReceiver<Command>) {
        let mut alarm = pin!(tokio::time::sleep_until(self.connection.deadline().unwrap_or_else(Instant::now)));
        let mut scratch = Vec::new();
        let why = loop {
            tokio::select! {
                biased;
                _ = orders.recv() => break Some(Closed::Here),
                Some(event) = events.next() => if let SocketEvent::Disconnected(_) = event {
                    break Some(Closed::Peer);
                },
                message = self.receive.recv() => match message.map(ZmqMessage::into_vecdeque) {
                    Ok(parts) if parts.len() == 1 => {
                        if self.connection.message(&parts[0], &mut scratch) == Step::Leave {
                            break Some(Closed::Here);
                        }
                    }
                    Ok(_) => {
                        self.door.counters.add(Count::RefusedMultipart);
                        break Some(Closed::Protocol);
                    }
                    Err(_) => break Some(Closed::Peer),
                },
                () = alarm.as_mut(), if self.connection.deadline().is_some() => break None,
            }
        };
        match why {
            Some(why) => self.connection.ended(why),
            None => self.connection.expired(),
        }
        hang_up(orders);
        drop(self.socket);
        if let Some(guard) = self.guard {
            // What was sent before is written; a peer that does not read it is cut off in the end.
            let _ = tokio::time::timeout(LAST_WORDS, guard.ended()).await;
            guard.close();
        }
    }
}
