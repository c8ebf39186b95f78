//! Every bound in one place, each with its reason. Times are of `CLOCK_BOOTTIME`.

use std::time::Duration;

/// The wire's version: peers of another one are refused in clear, before any key exchange.
pub const WIRE_VERSION: u16 = 1;

// ---- actors ----
/// Calls a mailbox takes before callers wait for room: what Ray leaves unbounded.
pub const MAILBOX_CAPACITY: usize = 1_024;
/// Calls a cell runs before it lets other tasks of its thread go on.
pub const CELL_BUDGET: usize = 128;

// ---- messages ----
/// A body up to this size travels inside its packet; a larger one is an object.
pub const BODY_INLINE: usize = 64 << 10;
/// How deeply a body may nest: rmp-serde's own default of 1,024 overflows small stacks.
pub const BODY_DEPTH: usize = 64;
/// References and handles one message may carry.
pub const MESSAGE_REFS: usize = 16 << 10;
/// Frames a chain of asks may have: beyond it the asks are surely recursive.
pub const CHAIN_FRAMES: usize = 64;
/// The longest name of an actor, type, method, namespace, resource or label, in bytes.
pub const NAME_BYTES: usize = 256;

// ---- links (PROTOCOLS §1) ----
/// Bytes of work a sender may have unacknowledged; the receiver may raise it.
pub const WORK_WINDOW: usize = 1 << 20;
/// The most a receiver may raise it to.
pub const WORK_WINDOW_MAX: usize = 8 << 20;
/// Bytes of settle a sender may have unacknowledged.
pub const SETTLE_WINDOW: usize = 8 << 20;
/// Packets of one channel that may be unacknowledged.
pub const WINDOW_PACKETS: u64 = 65_536;
/// Acknowledgements go alone after this many received bytes ..
pub const ACK_BYTES: usize = 64 << 10;
/// .. or this long after the first unacknowledged packet.
pub const ACK_DELAY: Duration = Duration::from_millis(5);
/// Requests a stream may send without a credit of the host.
pub const STREAM_CREDIT: u32 = 256;
/// The least credit a host shrinks a stream to.
pub const STREAM_CREDIT_MIN: u32 = 16;
/// Items a streaming reply may run ahead of its consumer.
pub const STREAM_ITEMS: u32 = 16;
/// Bytes of items a streaming reply may run ahead of its consumer.
pub const STREAM_BYTES: usize = 256 << 10;
/// Plaintext one batch may hold: one ZeroMQ message. Large enough to amortise the socket, small enough to pipeline.
pub const BATCH_BYTES: usize = 256 << 10;
/// What a dialer may send before the peer's `Hello`.
pub const BEFORE_HELLO_BYTES: usize = 1 << 10;
/// Noise's largest message less its tag and the two bytes of a record's length.
pub const RECORD_PLAINTEXT: usize = 65_519;

// ---- sockets and handshakes ----
/// The longest ZMTP frame from a peer whose handshake is not done.
pub const FRAME_BEFORE_HANDSHAKE: usize = 1 << 10;
/// The longest ZMTP frame from a peer whose handshake is done.
pub const FRAME_AFTER_HANDSHAKE: usize = 1 << 20;
/// How long a peer may take from connecting to the end of its handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// Handshakes under way at once.
pub const HANDSHAKES: usize = 256;
/// Connections the guard relays at once.
pub const CONNECTIONS: usize = 4_096;
/// Connections from one address at once.
pub const CONNECTIONS_PER_ADDRESS: usize = 512;
/// The buffer of each direction of a guarded connection.
pub const RELAY_BUFFER: usize = 64 << 10;

// ---- lives (PROTOCOLS §2) ----
/// How long a node lives on without a beat.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a node beats.
pub const BEAT: Duration = Duration::from_secs(1);
/// Silence after which nothing new is placed on a node.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(5);
/// Silence of a peer after which asks without retries fail.
pub const UNREACHABLE_AFTER: Duration = Duration::from_secs(5);
/// How long what needs the head waits for it.
pub const HEAD_WAIT: Duration = Duration::from_secs(10);
/// The part of its lease at which a node fences itself.
pub const FENCE_AT: f64 = 0.8;
/// The part of its lease at which a worker process with a running handler exits.
pub const EXIT_AT: f64 = 0.9;

// ---- cycles of waits (PROTOCOLS §5) ----
/// A wait sends its first probe after this.
pub const PROBE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between probes of one wait.
pub const PROBE_LAST: Duration = Duration::from_millis(1_600);

// ---- clusters ----
/// Worker processes `Cluster::local().workers(n)` starts at most.
pub const WORKERS: usize = 256;
/// Nodes one head serves.
pub const NODES: usize = 4_096;
/// Actor types, methods and constructors one node may advertise.
pub const ADVERTISED: usize = 65_536;

const _: () = assert!(RECORD_PLAINTEXT + 16 <= 65_535, "a record is at most Noise's largest message");
const _: () = assert!(BATCH_BYTES < FRAME_AFTER_HANDSHAKE, "a sealed batch passes the guard");
const _: () = assert!(BODY_INLINE < BATCH_BYTES, "a packet fits into a batch");
const _: () = assert!(FENCE_AT < EXIT_AT && EXIT_AT < 1.0, "a node fences, then exits, before its lease ends");
