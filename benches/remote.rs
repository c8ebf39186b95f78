//! Asks to an actor in a worker process, over a Unix socket and, through the guard, over TCP. The controls send the same
//! 100 bytes there and back over bare sockets. The caller keeps to the first core, whoever answers to the last.

use bytes::Bytes;
use core_affinity::CoreId;
use criterion::{Criterion, Throughput};
use mobula::prelude::*;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{LazyLock, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};

const BODY: usize = 100;
/// Calls that are sent, then all awaited.
const BURST: usize = 1_000;

fn main() {
    LazyLock::force(&CORES);
    if std::env::var("MOBULA_ROLE").is_ok_and(|role| role == "worker") {
        pin(Core::Last);
    }
    mobula::enter();
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = current_thread();
    let [ipc, tcp] = runtime.block_on(async {
        [echo(Cluster::local().workers(1)).await, echo(Cluster::local().workers(1).listen("tcp://127.0.0.1:0")).await]
    });
    pin(Core::First); // not before: worker processes inherit it
    round_trips(&mut criterion, &runtime, &ipc.1, &tcp.1);
    bursts(&mut criterion, &runtime, &ipc.1, &tcp.1);
    criterion.final_summary();
    runtime.block_on(async { tokio::join!(ipc.0.shutdown(), tcp.0.shutdown()) });
}

#[actor]
struct Echo;

#[methods]
impl Echo {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn echo(&mut self, body: Bytes) -> Bytes {
        body
    }
}

async fn echo(cluster: mobula::ClusterBuilder) -> (Cluster, EchoHandle) {
    let cluster = cluster.await.unwrap();
    let echo = Echo::spawn(&cluster).await.unwrap();
    (cluster, echo)
}

fn round_trips(c: &mut Criterion, runtime: &Runtime, ipc: &EchoHandle, tcp: &EchoHandle) {
    let mut group = c.benchmark_group("round trip of 100 B");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3)).sample_size(20);
    let mut unix = runtime.block_on(bare_unix());
    group.bench_function("bare unix socket", |b| b.iter_custom(|times| runtime.block_on(trips(&mut unix, times))));
    group.bench_function("ask, ipc", |b| b.iter_custom(|times| runtime.block_on(asks(ipc, times))));
    let mut bare = runtime.block_on(bare_tcp());
    group.bench_function("bare tcp", |b| b.iter_custom(|times| runtime.block_on(trips(&mut bare, times))));
    group.bench_function("ask, tcp", |b| b.iter_custom(|times| runtime.block_on(asks(tcp, times))));
}

fn bursts(c: &mut Criterion, runtime: &Runtime, ipc: &EchoHandle, tcp: &EchoHandle) {
    let mut group = c.benchmark_group("1,000 asks at a time");
    group.throughput(Throughput::Elements(BURST as u64)).measurement_time(Duration::from_secs(3)).sample_size(20);
    for (name, echo) in [("ipc", ipc), ("tcp", tcp)] {
        group.bench_function(name, |b| b.iter(|| runtime.block_on(burst(echo))));
    }
}

async fn asks(echo: &EchoHandle, times: u64) -> Duration {
    let body = Bytes::from(vec![7; BODY]);
    let start = Instant::now();
    for _ in 0..times {
        assert_eq!(echo.echo(body.clone()).await.unwrap().len(), BODY);
    }
    start.elapsed()
}

async fn burst(echo: &EchoHandle) {
    let body = Bytes::from(vec![7; BODY]);
    let mut calls: Vec<_> = (0..BURST).map(|_| echo.echo(body.clone())).collect();
    for call in &mut calls {
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut *call).poll(cx))).await;
        assert!(first.is_pending(), "an answer needs a round trip");
    }
    for call in calls {
        assert_eq!(call.await.unwrap().len(), BODY);
    }
}

// ---- the controls ----

async fn bare_unix() -> UnixStream {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let at = path.clone();
    on_last_core(|ready| async move {
        let listener = UnixListener::bind(at).unwrap();
        ready.send(()).unwrap();
        answer(listener.accept().await.unwrap().0).await;
    });
    UnixStream::connect(path).await.unwrap()
}

async fn bare_tcp() -> TcpStream {
    let address = on_last_core(|ready| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready.send(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().await.unwrap().0;
        socket.set_nodelay(true).unwrap();
        answer(socket).await;
    });
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let mut body = [0; BODY];
    while socket.read_exact(&mut body).await.is_ok() && socket.write_all(&body).await.is_ok() {}
}

async fn trips(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), times: u64) -> Duration {
    let mut body = [7; BODY];
    let start = Instant::now();
    for _ in 0..times {
        socket.write_all(&body).await.unwrap();
        socket.read_exact(&mut body).await.unwrap();
    }
    start.elapsed()
}

/// Runs `serve` on the last core until the process ends, and gives what it says when it is ready.
fn on_last_core<T: Send + 'static, F: Future<Output = ()>>(
    serve: impl FnOnce(mpsc::Sender<T>) -> F + Send + 'static,
) -> T {
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(|| {
        pin(Core::Last);
        current_thread().block_on(serve(ready));
    });
    is_ready.recv().unwrap()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The first and the last core, found out before this process keeps to one of them.
static CORES: LazyLock<[CoreId; 2]> = LazyLock::new(|| {
    let cores = core_affinity::get_core_ids().unwrap();
    [*cores.first().unwrap(), *cores.last().unwrap()]
});

#[derive(Clone, Copy)]
enum Core {
    First = 0,
    Last = 1,
}

/// Keeps this thread, and those that it starts, to a core.
fn pin(core: Core) {
    assert!(core_affinity::set_for_current(CORES[core as usize]));
}
