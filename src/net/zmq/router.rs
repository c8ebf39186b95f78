//! A listening lane: one ROUTER, one receive loop.

use super::{Command, Commands, Events, LAST_WORDS, Loop, Served, Ward, events, hang_up, options};
use crate::net::connection::Door;
use crate::net::counters::Count;
use crate::net::guard::{Guard, PeerIdentity as GuardedPeer};
use crate::net::peers::{Crowd, PeerName, Peers};
use crate::net::preface::Lane;
use crate::net::session::Closed;
use crate::net::transport::{Gone, Step, Wire};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use std::any::Any;
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeromq::util::PeerIdentity;
use zeromq::{
    RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqError, ZmqMessage,
};

struct RouterWire {
    name: PeerName,
    identity: Bytes,
    half: RouterSendHalf,
    guard: Weak<Guard>,
    commands: Commands,
    closing: AtomicBool,
}

impl Wire for RouterWire {
    fn send(&self, message: Bytes) -> BoxFuture<'_, Result<(), Gone>> {
        async move {
            let mut message = ZmqMessage::from(message);
            message.push_front(self.identity.clone());
            self.half.clone().send(message).await.map_err(|_| Gone)
        }
        .boxed()
    }

    fn admit(&self) {
        if let Some(guard) = self.guard.upgrade() {
            guard.admit(&GuardedPeer(self.name));
        }
    }

    fn close(&self) {
        if !self.closing.swap(true, Ordering::Relaxed) {
            // A loop that has ended has ended its connections.
            let _ = self.commands.send(Command::Close(self.name));
        }
    }
}

/// Listens for one lane. Dropping what comes beside the loop ends the accepting.
pub(super) async fn listen(
    listener: UnixListener,
    door: Arc<Door>,
    lane: Lane,
    ward: Ward,
) -> Result<(Loop, Box<dyn Any + Send>), ZmqError> {
    let mut socket = RouterSocket::with_options(options());
    let backend = socket.backend();
    let events = events(&backend);
    socket.bind_listener(listener).await?;
    let accepting = Box::new(std::mem::take(socket.binds()));
    let (half, receive) = socket.split();
    let (commands, orders) = mpsc::unbounded_channel();
    let peers = Peers::new(
        door.clone(),
        lane,
        match ward {
            Ward::Folder => Crowd::Bounded,
            Ward::Guard(_) => Crowd::Guarded,
        },
    );
    let router = Router { door, peers, socket: Served(backend), half, receive, commands: commands.clone(), ward };
    let task = tokio::spawn(router.run(events, orders));
    Ok((Loop { commands, task }, accepting))
}

struct Router {
    door: Arc<Door>,
    peers: Peers,
    socket: Served,
    half: RouterSendHalf,
    receive: RouterRecvHalf,
    commands: Commands,
    ward: Ward,
}

impl Router {
    async fn run(mut self, mut events: Events, mut orders: mpsc::UnboundedReceiver<Command>) {
        let mut alarm = pin!(tokio::time::sleep_until(Instant::now()));
        loop {
            let deadline = self.peers.deadline();
            if let Some(deadline) = deadline.filter(|&deadline| alarm.deadline() != deadline) {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Command::Close(name)) => {
                        self.peers.ended(name, Closed::Here);
                        self.disconnect(name, Hurry::Flush);
                    }
                    Some(Command::End) | None => break,
                },
                Some(event) = events.next() => self.event(event),
                message = self.receive.recv() => match message {
                    Ok(message) => self.message(message),
                    // recv never fails on a ROUTER that blocks without clients.
                    Err(_) => break,
                },
                () = alarm.as_mut(), if deadline.is_some() => {
                    while let Some(name) = self.peers.expire(Instant::now()) {
                        self.disconnect(name, Hurry::Now);
                    }
                }
            }
        }
        self.peers.end_all();
        hang_up(orders);
    }

    fn event(&mut self, event: SocketEvent) {
        match event {
            // Told before or after the first message, and maybe after the peer's end. A guarded peer says its preface
            // at once, and its guard ends it if it says no more.
            SocketEvent::Accepted(_, peer) if self.ward.guard().is_none() => {
                if let Some(name) = self.known(&peer) {
                    let Router { peers, half, commands, ward, .. } = self;
                    peers.connected(name, || wire(name, half, commands, ward));
                }
            }
            SocketEvent::Disconnected(peer) => {
                if let Some(name) = name(&peer) {
                    self.peers.ended(name, Closed::Peer);
                }
            }
            SocketEvent::AcceptFailed(_) => self.door.counters.add(Count::AcceptFailed),
            _ => {}
        }
    }

    fn message(&mut self, message: ZmqMessage) {
        let parts = message.into_vecdeque();
        let Some(name) = parts.front().and_then(|identity| self.known(identity)) else { return };
        if parts.len() != 2 {
            self.door.counters.add(Count::RefusedMultipart);
            self.peers.ended(name, Closed::Protocol);
            return self.disconnect(name, Hurry::Now);
        }
        let Router { peers, half, commands, ward, .. } = self;
        if peers.message(name, &parts[1], || wire(name, half, commands, ward)) == Step::Leave {
            self.disconnect(name, Hurry::Now);
        }
    }

    /// The name of a peer whose identity was made on this side; any other peer is disconnected.
    fn known(&self, identity: &[u8]) -> Option<PeerName> {
        let known = name(identity).filter(|&name| self.ward.made(name));
        if known.is_none() {
            self.door.counters.add(Count::RefusedIdentity);
            if let Ok(identity) = PeerIdentity::try_from(identity) {
                self.socket.0.peer_disconnected(&identity);
            }
        }
        known
    }

    /// zeromq writes what it has queued before it closes. A guarded peer that does not read it is cut off in the end.
    fn disconnect(&self, name: PeerName, hurry: Hurry) {
        if let Ok(identity) = PeerIdentity::try_from(&name[..]) {
            self.socket.0.peer_disconnected(&identity);
        }
        match (self.ward.guard().cloned(), hurry) {
            (Some(guard), Hurry::Now) => guard.close(&GuardedPeer(name)),
            (Some(guard), Hurry::Flush) => {
                tokio::spawn(async move {
                    tokio::time::sleep(LAST_WORDS).await;
                    guard.close(&GuardedPeer(name));
                });
            }
            (None, _) => {}
        }
    }
}

/// How a peer is disconnected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hurry {
    /// It is refused.
    Now,
    /// What was sent before is to arrive.
    Flush,
}

fn wire(name: PeerName, half: &RouterSendHalf, commands: &Commands, ward: &Ward) -> Arc<dyn Wire> {
    let (identity, half, commands) = (Bytes::copy_from_slice(&name), half.clone(), commands.clone());
    Arc::new(RouterWire {
        name,
        identity,
        half,
        guard: ward.guard().map(Arc::downgrade).unwrap_or_default(),
        commands,
        closing: AtomicBool::new(false),
    })
}

fn name(identity: &[u8]) -> Option<PeerName> {
    identity.try_into().ok()
}
