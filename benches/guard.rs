//! What the guard costs: a DEALER and a ROUTER on two cores, over a Unix socket and through both guards over TCP.
//! The rows of one run are compared with each other.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mobula::net::guard::zmtp::{Allowance, Frames};
use mobula::net::guard::{DialGuard, Door, Guard, Limits, PeerIdentity};
use mobula::net::preface::{Lane, preface};
use std::hint::black_box;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use zeromq::{DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

const SMALL: usize = 100;
const BATCH: usize = 64 << 10;
/// Batches under way at once.
const DEPTH: usize = 8;

criterion_group!(benches, round_trips, batches, checking);
criterion_main!(benches);

fn round_trips(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip of 100 B");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    let runtime = on_core(0);
    group.bench_function("bare tcp", |b| {
        let mut socket = runtime.block_on(bare_tcp());
        b.iter_custom(|times| {
            runtime.block_on(async {
                let mut body = [7; SMALL];
                let start = Instant::now();
                for _ in 0..times {
                    socket.write_all(&body).await.unwrap();
                    socket.read_exact(&mut body).await.unwrap();
                }
                start.elapsed()
            })
        });
    });
    for way in [Way::Ipc, Way::Guarded] {
        let mut peer = runtime.block_on(Peer::connect(way));
        group.bench_function(way.name(), |b| b.iter_custom(|times| runtime.block_on(peer.trips(SMALL, 1, times))));
    }
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("echoed batches of 64 KiB");
    group.measurement_time(Duration::from_secs(3)).sample_size(20).throughput(Throughput::Bytes(BATCH as u64));
    let runtime = on_core(0);
    for way in [Way::Ipc, Way::Guarded] {
        let mut peer = runtime.block_on(Peer::connect(way));
        group.bench_function(way.name(), |b| b.iter_custom(|times| runtime.block_on(peer.trips(BATCH, DEPTH, times))));
    }
}

fn checking(c: &mut Criterion) {
    let mut group = c.benchmark_group("headers checked in 64 KiB");
    for body in [SMALL, 250, 60_000] {
        let mut frame = vec![2];
        frame.extend_from_slice(&(body as u64).to_be_bytes());
        frame.resize(9 + body, 7);
        let bytes = frame.repeat(BATCH / frame.len());
        group.throughput(Throughput::Elements((bytes.len() / frame.len()) as u64));
        group.bench_function(BenchmarkId::from_parameter(body), |b| {
            b.iter(|| Frames::new(1 << 20, Allowance::Admitted).pass(black_box(&bytes)));
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Ipc,
    Guarded,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Ipc => "zeromq over a Unix socket",
            Way::Guarded => "zeromq through both guards over TCP",
        }
    }
}

fn on_core(core: usize) -> Runtime {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs `serve` on the other core, until the process ends, and gives what it says when it is ready.
fn elsewhere<T: Send + 'static, F: Future<Output = ()>>(
    serve: impl FnOnce(mpsc::Sender<T>) -> F + Send + 'static,
) -> T {
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(|| on_core(1).block_on(serve(ready)));
    is_ready.recv().unwrap()
}

async fn bare_tcp() -> tokio::net::TcpStream {
    let address = elsewhere(|ready| async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready.send(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut body = [0; SMALL];
        while socket.read_exact(&mut body).await.is_ok() && socket.write_all(&body).await.is_ok() {}
    });
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

struct Peer {
    dealer: DealerSocket,
    _guard: Option<DialGuard>,
    _folder: tempfile::TempDir,
}

impl Peer {
    async fn connect(way: Way) -> Peer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let address = elsewhere(move |ready| async move { serve(&path, ready).await });
        let (socket, guard) = match way {
            Way::Ipc => (folder.path().join("Calls"), None),
            Way::Guarded => {
                let socket = folder.path().join("dealer");
                let limits = Limits::default();
                let guard = DialGuard::dial(&address, socket.clone(), &limits, Arc::default()).await.unwrap();
                (socket, Some(guard))
            }
        };
        let mut dealer = DealerSocket::new();
        dealer.connect(&format!("ipc://{}", socket.display())).await.unwrap();
        dealer.send(ZmqMessage::from(preface(Lane::Calls).to_vec())).await.unwrap();
        dealer.recv().await.unwrap();
        if let Some(guard) = &guard {
            guard.admit();
        }
        Peer { dealer, _guard: guard, _folder: folder }
    }

    async fn trips(&mut self, length: usize, depth: usize, times: u64) -> Duration {
        let body = bytes::Bytes::from(vec![7; length]);
        let start = Instant::now();
        for _ in 0..depth.min(times as usize) {
            self.dealer.send(body.clone().into()).await.unwrap();
        }
        for done in 1..=times {
            self.dealer.recv().await.unwrap();
            if done + depth as u64 <= times {
                self.dealer.send(body.clone().into()).await.unwrap();
            }
        }
        start.elapsed()
    }
}

/// A ROUTER that echoes, behind a guard and on a Unix socket at once; it admits who speaks.
async fn serve(folder: &Path, ready: mpsc::Sender<String>) {
    let runtime = tokio::runtime::Handle::current();
    let doors = Lane::ALL.map(|lane| Door { socket: socket(folder, lane), runtime: runtime.clone() });
    let mut router = RouterSocket::new();
    router.bind_listener(UnixListener::bind(&doors[1].socket).unwrap()).await.unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let guard = Guard::listen(address, doors, Limits::default(), Arc::default(), |_, _| {}).unwrap();
    ready.send(guard.address().to_string()).unwrap();
    while let Ok(message) = router.recv().await {
        if message.get(1).is_some_and(|body| body[..] == preface(Lane::Calls)) {
            let identity = message.get(0).and_then(|identity| identity[..].try_into().ok());
            guard.admit(&PeerIdentity(identity.unwrap()));
        }
        let _ = router.send(message).await; // the peer may be gone
    }
}

fn socket(folder: &Path, lane: Lane) -> PathBuf {
    folder.join(format!("{lane:?}"))
}
