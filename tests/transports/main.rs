//! What every transport promises, tried on each.

mod conformance;
mod endings;
mod node;
mod strangers;
mod tap;
mod weather;

use mobula::net::memory::{End, MemoryNetwork, Weather};
use mobula::net::{Address, Count, Lane, Medium};
use std::cell::Cell;
use std::time::Duration;

/// A transport under test: makes addresses, and puts a tap in front of one.
pub(crate) trait Harness {
    /// What counts a peer of another wire version.
    const WIRE_VERSION: Count = Count::RefusedVersion;
    /// What counts a peer whose time is up.
    const TIMEOUT: Count = Count::HandshakeTimeout;

    fn new() -> Self;
    fn medium(&self) -> Medium;
    /// An address to listen on.
    fn address(&self) -> Address;
    /// An address where nobody listens.
    fn nowhere(&self) -> Address {
        self.address()
    }
    /// An address where `tap` stands between a dialer and the calls lane of `target`.
    fn tapped(&self, target: &Address, tap: tap::Tap) -> impl Future<Output = Address>;
}

/// ZeroMQ over Unix sockets.
pub(crate) struct Ipc {
    folder: tempfile::TempDir,
    next: Cell<u32>,
}

impl Harness for Ipc {
    fn new() -> Ipc {
        Ipc { folder: tempfile::tempdir().unwrap(), next: Cell::default() }
    }

    fn medium(&self) -> Medium {
        Medium::Sockets
    }

    fn address(&self) -> Address {
        self.next.set(self.next.get() + 1);
        format!("ipc://{}/{}", self.folder.path().display(), self.next.get()).parse().unwrap()
    }

    async fn tapped(&self, target: &Address, tap: tap::Tap) -> Address {
        let address = self.address();
        let [at, target] = [&address, target].map(|address| address.socket(Lane::Calls).unwrap());
        std::fs::create_dir(at.parent().unwrap()).unwrap();
        tap::zmq(&format!("ipc://{}", at.display()), &format!("ipc://{}", target.display()), tap).await;
        address
    }
}

/// ZeroMQ over TCP, with a guard on both sides.
pub(crate) struct Tcp;

impl Harness for Tcp {
    const WIRE_VERSION: Count = Count::GuardWireVersion;
    const TIMEOUT: Count = Count::GuardTimeout;

    fn new() -> Tcp {
        Tcp
    }

    fn medium(&self) -> Medium {
        Medium::Sockets
    }

    fn address(&self) -> Address {
        "tcp://127.0.0.1:0".parse().unwrap()
    }

    fn nowhere(&self) -> Address {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        format!("tcp://127.0.0.1:{port}").parse().unwrap()
    }

    async fn tapped(&self, target: &Address, tap: tap::Tap) -> Address {
        tap::zmq("tcp://127.0.0.1:0", &target.to_string(), tap).await.parse().unwrap()
    }
}

/// Nodes inside this process.
pub(crate) struct Memory {
    network: MemoryNetwork,
    next: Cell<u32>,
}

impl Memory {
    fn name(&self) -> String {
        self.next.set(self.next.get() + 1);
        self.next.get().to_string()
    }
}

impl Harness for Memory {
    fn new() -> Memory {
        let weather = Weather { delay: Duration::from_micros(10), jitter: Duration::from_millis(3), loss: 0 };
        Memory { network: MemoryNetwork::new(42, weather), next: Cell::default() }
    }

    fn medium(&self) -> Medium {
        Medium::Memory { network: self.network.clone(), name: self.name() }
    }

    fn address(&self) -> Address {
        format!("memory://{}", self.name()).parse().unwrap()
    }

    async fn tapped(&self, target: &Address, mut tap: tap::Tap) -> Address {
        let name = self.name();
        let tap = Box::new(move |from, nth, message| {
            let way = if from == End::Dialer { tap::Way::ToListener } else { tap::Way::ToDialer };
            tap(way, nth, message)
        });
        self.network.tap(&name, target.to_string().trim_start_matches("memory://"), tap);
        format!("memory://{name}").parse().unwrap()
    }
}

conformance!(ipc: Ipc, tcp: Tcp, memory: Memory);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_listener_says_so_and_recovers() {
    conformance::a_busy_listener_says_so_and_recovers(&Ipc::new()).await;
    conformance::a_busy_listener_says_so_and_recovers(&Memory::new()).await;
}
