//! What a session costs over the socket that carries it: two nodes on two cores, each with a runtime of one thread. The
//! rows of one run are compared with each other; the bare socket and bare zeromq are the controls.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobula::net::memory::{MemoryNetwork, Weather};
use mobula::net::{
    Address, Closed, ClusterKey, Identity, Inlet, Lane, Limits, Medium, Net, NetConfig, Receiver, Refused, Role,
    Session, rehearse,
};
use std::hint::black_box;
use std::sync::{Arc, mpsc as blocking};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

const SMALL: usize = 100;
const BATCH: usize = 64 << 10;
/// Batches under way at once.
const DEPTH: usize = 8;

criterion_group!(benches, round_trips, batches, handshakes);
criterion_main!(benches);

fn round_trips(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip of 100 B");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    let runtime = on_core(0);
    let mut bare = runtime.block_on(Bare::connect());
    group.bench_function("bare unix socket", |b| b.iter_custom(|times| runtime.block_on(bare.trips(times))));
    let mut zmq = runtime.block_on(Zmq::connect());
    group.bench_function("zeromq ipc", |b| b.iter_custom(|times| runtime.block_on(zmq.trips(SMALL, 1, times))));
    for (name, at) in ADDRESSES {
        let mut peer = runtime.block_on(Peer::connect(at));
        group.bench_function(name, |b| b.iter_custom(|times| runtime.block_on(peer.trips(SMALL, 1, times))));
    }
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("echoed batches of 64 KiB");
    group.measurement_time(Duration::from_secs(3)).sample_size(20).throughput(Throughput::Bytes(BATCH as u64));
    let runtime = on_core(0);
    let mut zmq = runtime.block_on(Zmq::connect());
    group.bench_function("zeromq ipc", |b| b.iter_custom(|times| runtime.block_on(zmq.trips(BATCH, DEPTH, times))));
    for (name, at) in ADDRESSES {
        let mut peer = runtime.block_on(Peer::connect(at));
        group.bench_function(name, |b| b.iter_custom(|times| runtime.block_on(peer.trips(BATCH, DEPTH, times))));
    }
}

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    let (cluster, head) = ClusterKey::generate().unwrap();
    let worker = Identity::generate().unwrap();
    group.bench_function("both sides, no socket", |b| {
        b.iter(|| assert!(rehearse(black_box(&cluster), (&worker, Role::Worker), (&head, Role::Head))));
    });
    let runtime = on_core(0);
    for (name, at) in ADDRESSES {
        let peer = runtime.block_on(Peer::connect(at));
        group.bench_function(name, |b| {
            b.iter(|| runtime.block_on(async { peer.dial().await.close(Closed::Here) }));
        });
    }
    group.bench_function("session in memory", |b| {
        let (near, far) = runtime.block_on(async {
            let network = MemoryNetwork::new(1, Weather::default());
            let medium = |name: &str| Medium::Memory { network: network.clone(), name: name.to_owned() };
            let far = start(&cluster, medium("far"), Some("memory://far".parse().unwrap()), Arc::new(Echo)).await;
            (start(&cluster, medium("near"), None, Arc::new(Echo)).await, far)
        });
        b.iter(|| {
            runtime.block_on(async {
                let session = near.0.dial(far.1, &far.0.addresses()[0], Lane::Calls).await.unwrap();
                session.close(Closed::Here);
            });
        });
    });
}

const ADDRESSES: [(&str, &str); 2] = [("session, ipc", "ipc"), ("session, tcp through the guard", "tcp://127.0.0.1:0")];

fn on_core(core: usize) -> Runtime {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `peer` on the other core until the process ends, and gives what it reports first.
fn elsewhere<T: Send + 'static, F: Future<Output = ()>>(
    peer: impl FnOnce(blocking::Sender<T>) -> F + Send + 'static,
) -> T {
    let (report, reported) = blocking::channel();
    std::thread::spawn(move || on_core(core_affinity::get_core_ids().unwrap().len() - 1).block_on(peer(report)));
    reported.recv().unwrap()
}

fn folder() -> String {
    tempfile::Builder::new().prefix("session").tempdir().unwrap().keep().display().to_string()
}

// ---- the controls ----

struct Bare(UnixStream);

impl Bare {
    async fn connect() -> Bare {
        let path = folder() + "/echo";
        let at = path.clone();
        elsewhere(move |report| async move {
            let listener = UnixListener::bind(at).unwrap();
            report.send(()).unwrap();
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut body = [0; SMALL];
            while socket.read_exact(&mut body).await.is_ok() {
                socket.write_all(&body).await.unwrap();
            }
        });
        Bare(UnixStream::connect(path).await.unwrap())
    }

    async fn trips(&mut self, times: u64) -> Duration {
        let mut body = [7; SMALL];
        let start = Instant::now();
        for _ in 0..times {
            self.0.write_all(&body).await.unwrap();
            self.0.read_exact(&mut body).await.unwrap();
        }
        start.elapsed()
    }
}

struct Zmq(DealerSocket);

impl Zmq {
    async fn connect() -> Zmq {
        let at = format!("ipc://{}/zmq", folder());
        let bind = at.clone();
        elsewhere(move |report| async move {
            let mut socket = RouterSocket::new();
            socket.bind(&bind).await.unwrap();
            report.send(()).unwrap();
            while let Ok(message) = socket.recv().await {
                socket.send(message).await.unwrap();
            }
        });
        let mut socket = DealerSocket::new();
        socket.connect(&at).await.unwrap();
        Zmq(socket)
    }

    async fn trips(&mut self, size: usize, depth: usize, times: u64) -> Duration {
        let body = bytes::Bytes::from(vec![7; size]);
        let start = Instant::now();
        for trip in 0..times + depth as u64 - 1 {
            if trip < times {
                self.0.send(ZmqMessage::from(body.clone())).await.unwrap();
            }
            if trip + 1 >= depth as u64 {
                self.0.recv().await.unwrap();
            }
        }
        start.elapsed()
    }
}

// ---- sessions ----

/// Sends back whatever arrives, from one task a session, as a lane does.
struct Echo;

struct EchoInlet(mpsc::UnboundedSender<Vec<u8>>);

impl Receiver for Echo {
    fn session(&self, session: Session) -> Result<Box<dyn Inlet>, Refused> {
        let (sender, mut batches) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                if session.send(&batch).await.is_err() {
                    break;
                }
            }
        });
        Ok(Box::new(EchoInlet(sender)))
    }
}

impl Inlet for EchoInlet {
    fn receive(&mut self, plaintext: &[u8]) {
        self.0.send(plaintext.to_vec()).ok();
    }

    fn closed(&mut self, _: Closed) {}
}

/// Tells how long each batch was that arrived.
struct Lengths(mpsc::UnboundedSender<usize>);

impl Receiver for Lengths {
    fn session(&self, _: Session) -> Result<Box<dyn Inlet>, Refused> {
        Ok(Box::new(Lengths(self.0.clone())))
    }
}

impl Inlet for Lengths {
    fn receive(&mut self, plaintext: &[u8]) {
        self.0.send(plaintext.len()).ok();
    }

    fn closed(&mut self, _: Closed) {}
}

type Started = (Net, mobula::id::NodeId);

async fn start(cluster: &ClusterKey, medium: Medium, listen: Option<Address>, receiver: Arc<dyn Receiver>) -> Started {
    let identity = Identity::generate().unwrap();
    let (id, cluster, limits) = (identity.node_id(), cluster.clone(), Limits::default());
    let listen = listen.into_iter().collect();
    let config = NetConfig { identity, cluster, role: Role::Worker, listen, limits, medium };
    (Net::start(config, receiver).await.unwrap(), id)
}

struct Peer {
    net: Net,
    far: (Address, mobula::id::NodeId),
    session: Session,
    lengths: mpsc::UnboundedReceiver<usize>,
}

impl Peer {
    async fn connect(at: &'static str) -> Peer {
        let (cluster, _) = ClusterKey::generate().unwrap();
        let keys = cluster.clone();
        let far = elsewhere(move |report| async move {
            let at = if at == "ipc" { format!("ipc://{}/node", folder()) } else { at.to_owned() };
            let (net, id) = start(&keys, Medium::Sockets, Some(at.parse().unwrap()), Arc::new(Echo)).await;
            report.send((net.addresses()[0].clone(), id)).unwrap();
            std::future::pending::<()>().await;
        });
        let (sender, lengths) = mpsc::unbounded_channel();
        let (net, _) = start(&cluster, Medium::Sockets, None, Arc::new(Lengths(sender))).await;
        let session = net.dial(far.1, &far.0, Lane::Calls).await.unwrap();
        Peer { net, far, session, lengths }
    }

    async fn dial(&self) -> Session {
        self.net.dial(self.far.1, &self.far.0, Lane::Calls).await.unwrap()
    }

    async fn trips(&mut self, size: usize, depth: usize, times: u64) -> Duration {
        let body = vec![7; size];
        let start = Instant::now();
        for trip in 0..times + depth as u64 - 1 {
            if trip < times {
                self.session.send(&body).await.unwrap();
            }
            if trip + 1 >= depth as u64 {
                assert_eq!(self.lengths.recv().await, Some(size));
            }
        }
        start.elapsed()
    }
}
