//! Every bound in one place, each with its reason. Times are of `CLOCK_BOOTTIME`.

use std::time::Duration;

/// The wire's version: peers of another one are refused in clear, before any key exchange.
pub const WIRE_VERSION: u16 = 1;

// ---- actors ----
/// Calls a mailbox takes before callers wait for room: what Ray leaves unbounded.
pub const MAILBOX_CAPACITY: usize = 1_024;
/// Calls a cell takes out of its mailbox at once: enough that senders seldom meet it at the lock.
pub const MAILBOX_BATCH: usize = 64;
/// How often an actor that holds a mailbox full of calls, and can begin none, looks which of them nobody waits for any more.
pub const MAILBOX_SWEEP: Duration = Duration::from_millis(100);
/// How long whoever finds a call's or a mailbox's lock taken, again and again, sleeps between two looks: it is held for some tens
/// of nanoseconds, unless its holder has lost its processor.
pub const LOCK_NAP: Duration = Duration::from_micros(50);
/// Calls a cell runs before it lets other tasks of its thread go on: more than a sender brings in one turn of its own (128), so
/// that it goes to rest in the turn in which it has served them.
pub const CELL_BUDGET: usize = 256;
/// Calls that an idle actor's mailbox keeps room for, 24 bytes each: what a task sends in one turn (128 calls, and one that
/// waits for its next turn) fits, or else a busy actor would allocate anew in each of its turns.
pub const MAILBOX_KEPT: usize = 256;

/// Calls and tasks that one node has submitted and that are not settled, beside as many tasks as it may have queued
/// (`max_queued`); a further one fails at once, or waits if it is submitted by `submit_wait`.
pub const SUBMITTED: usize = 4_000_000;

/// Actors one node hosts: about 10 GB of idle ones.
pub const HOSTED_ACTORS: usize = 10_000_000;

/// Synchronous tasks that stand on one stack, each run by the one that waits for it.
pub const NESTED_TASKS: u32 = 64;
/// Threads of one node that run synchronous tasks and blocking methods, where these wait for each other; what comes beyond waits
/// for one. As many as tokio has for blocking work.
pub const COMPUTE_THREADS: usize = 512;
/// Threads of one node that may wait in synchronous tasks: each holds its stack.
pub const PARKED_THREADS: usize = 256;
/// Tasks from the end of a line that are looked at for the one that is waited for: it was submitted of late.
pub const CLAIM_LOOKS: usize = 1_024;
/// How often a parked thread that may go on but has no slot yet looks whether it was cancelled.
pub const RESUME_LOOK: Duration = Duration::from_millis(50);

/// Processes of its machine that a node watches for their ends, at a descriptor each: with two, each is still watched when
/// it ends together with one that watches it.
pub const NEIGHBOURS: usize = 2;

// ---- supervision ----
/// Actors whose ends one actor may wait to be told of: each is a task of a few hundred bytes, and a call that waits.
pub const MONITORS: usize = 65_536;
/// Actors that one actor may be linked with: each is a task of a few hundred bytes, and a call that waits.
pub const LINKS: usize = 65_536;
/// Ended actors of which a node can still say why they did: who begins to watch one too late is told so.
pub const ENDS_REMEMBERED: usize = 4_096;
/// Actors of other nodes whose placement a node remembers because they have called it: all that called within the seconds
/// until the head is heard again, about 50 MB of them. Calls of further ones are refused until then.
pub const CALLERS: usize = 1 << 20;
/// The pause before the head is asked again where an actor is whose end is watched, when it could not be.
pub const SEEK_PAUSE: Duration = Duration::from_secs(1);
/// Children of one supervisor: looks for one go through all of them.
pub const CHILDREN: usize = 4_096;
/// How often a supervisor starts children again, if it is not told otherwise, within [`INTENSITY_WINDOW`]: more is a fault that
/// a fresh start does not mend.
pub const INTENSITY: u32 = 3;
/// See [`INTENSITY`].
pub const INTENSITY_WINDOW: Duration = Duration::from_secs(5);
/// How long a child may take to stop before it is killed, if its supervisor is not told otherwise.
pub const CHILD_STOP: Duration = Duration::from_secs(5);
/// The pause before a node is asked again to kill a child, when it could not be.
pub const KILL_PAUSE: Duration = Duration::from_secs(1);

// ---- queues and groups of actors ----
/// Items one queue may hold: about 2 GB of small ones.
pub const QUEUE_ITEMS: usize = 1 << 24;
/// Callers that may wait for a queue's items, and as many for its room: each is a call that runs.
pub const QUEUE_WAITING: usize = 4_096;
/// Members one group may have: its list is one message.
pub const GROUP_MEMBERS: usize = MESSAGE_REFS;
/// Members that are called at once.
pub const GROUP_CALLS: usize = 256;

// ---- restarts ----
/// How long an actor must have run for its next restart to be at once again.
pub const RESTART_CALM: Duration = Duration::from_secs(10);
/// The pause before the second restart in a row; the first is at once, and each further pause is twice as long ..
pub const RESTART_PAUSE_FIRST: Duration = Duration::from_millis(10);
/// .. up to this: an actor that fails whenever it is made takes next to nothing of its node, and is back within seconds once
/// it no longer fails.
pub const RESTART_PAUSE_LAST: Duration = Duration::from_secs(5);
/// The longest window that restarts are counted within: each of them is remembered for as long, and there are at most two in
/// any ten seconds once pauses have grown.
pub const RESTART_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

// ---- messages ----
/// A body up to this size travels inside its packet; a larger one is an object.
pub const BODY_INLINE: usize = 64 << 10;
/// A larger argument travels as a reference to an object, if it is one: it is encoded once, and brought once to each node that
/// reads it. A smaller one travels inside the message: so do four of them, and nothing is asked for.
pub const ARGUMENT_INLINE: usize = BODY_INLINE / 4;
/// Bytes of an object that one answer brings; a header stands before them. A longer object is pulled in chunks.
pub const OBJECT_PIECE: usize = BODY_INLINE - (1 << 10);
/// Objects that lead to one another before a value comes. Each is a node that answered by an object of another, so that
/// more are surely a circle.
pub const OBJECT_HOPS: usize = 64;
/// Objects of a `get_all` that are read ahead of the one that is next: as many round trips at once.
pub const GET_AHEAD: usize = 64;
/// How deeply a body may nest: rmp-serde's own default of 1,024 overflows small stacks.
pub const BODY_DEPTH: usize = 64;
/// References and handles one message may carry.
pub const MESSAGE_REFS: usize = 16 << 10;
/// Frames a chain of asks may have: beyond it the asks are surely recursive.
pub const CHAIN_FRAMES: usize = 64;
/// Actors a deadlock names, and hops a probe takes: a longer cycle of waits is found when it shortens.
pub const CYCLE_ACTORS: usize = PROBE_HOPS;
/// Hops one probe may take.
pub const PROBE_HOPS: usize = 256;
/// Bytes of a message that explains a fault: enough to act on, and no way to fill a peer's memory.
pub const FAULT_TEXT: usize = 1 << 10;
/// Named resources one actor may ask for.
pub const RESOURCES: usize = 64;
/// Attempts a call may ask for beyond its first.
pub const RETRIES: u32 = 1 << 16;
/// Results that one task may have by themselves: as many as tuples that are read at a glance, and an answer has room for each.
pub const RETURNS: usize = 8;
/// References of one of several results that travel inside of its answer; one that has more stays where it was made.
pub const PART_REFS: usize = MESSAGE_REFS / (2 * RETURNS);
/// The longest name of an actor, type, method, namespace, resource or label, in bytes.
pub const NAME_BYTES: usize = 256;

// ---- the store (PROTOCOLS §4) ----
/// Plain objects from this size on lie in the store: a smaller one travels inside of one packet, which costs less than a pin
/// and its end.
pub const STORED: usize = BODY_INLINE;
/// Bytes that are copied into the store at once, for half a millisecond; then others of the thread go on.
pub const STORE_COPY: usize = 4 << 20;
/// Objects from this size on are copied into the store past the caches, which would keep little of them for who reads them.
pub const STORE_STREAMED: usize = 32 << 20;
/// How long a new object waits for room: enough to move gigabytes to disk.
pub const STORE_WAIT: Duration = Duration::from_secs(30);
/// The memory of a machine that does not tell how much it has.
pub const STORE_UNKNOWN: usize = 1 << 30;
/// Objects from this size on have segments of their own: recycling one costs nothing beside writing it.
pub const OWN_SEGMENT: usize = 4 << 20;
/// The segments that smaller objects share: one costs 19 µs and a descriptor, and goes back to the system as a whole.
pub const SHARED_SEGMENT: usize = 32 << 20;
/// A shared segment is at most this part of its store, so that a small store, too, has several.
pub const SHARED_SEGMENT_PART: usize = 16;
/// How long a free segment stays: writing warm pages is seven times as fast as writing fresh ones.
pub const WARM: Duration = Duration::from_secs(30);
/// Free segments are at most this part of their store: the others' memory is better used by others.
pub const WARM_PART: usize = 4;
/// The part of its process's descriptors that a store's segments may take, one each: connections may take most of the others.
pub const SEGMENTS_PART: usize = 4;
/// How often the store looks for segments that stayed long enough, while it has any.
pub const WARM_LOOK: Duration = Duration::from_secs(5);
/// Creations that may wait for room at once.
pub const STORE_LINE: usize = 65_536;
/// How long what brings a spilled object back waits for room.
pub const RESTORE_WAIT: Duration = Duration::from_secs(60);
/// The part of its capacity beyond which a store spills although nobody waits, so that few ever have to.
pub const SPILL_FROM: f64 = 0.8;
/// Objects that are written to disk at once: one write at a time seldom keeps a disk busy, and many only share it.
pub const SPILLS: usize = 2;
/// The pause after a spill that failed: a full disk seldom empties sooner.
pub const SPILL_PAUSE: Duration = Duration::from_secs(5);
/// Records of one file, in bytes: a file goes with its last record, so it is not much longer than what one queue's worth is.
pub const LOG_FILE: u64 = 64 << 20;
/// Folders of dead stores that one start removes.
pub const SPILL_SWEPT: usize = 64;
/// Processes that may read one store: as many as may connect to a node.
pub const STORE_READERS: usize = 4_096;
/// The part of a store that pins of those may hold who have not asked for an object yet: the others are asked for when they
/// are needed, or what waits in lines elsewhere would leave no room here.
pub const PINNED_AHEAD: f64 = 0.5;
/// How long a reader may take to present its ticket, and an owner to welcome it; it can hold no pin yet.
pub const STORE_GREETING: Duration = Duration::from_secs(3);
/// How long bytes are sent for after a store of this host could not be read, before that is tried again: a try may hold up who
/// reads for [`STORE_GREETING`].
pub const ATTACH_PAUSE: Duration = Duration::from_secs(30);
/// Readers that may be about to present their tickets.
pub const STORE_GREETINGS: usize = 64;
/// Bytes that are read at once from a reader, or from an owner: hundreds of messages.
pub const STORE_READ: usize = 8 << 10;

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
/// Requests a stream may send without a credit of the host: as many as a caller of the same node may have waiting.
pub const STREAM_CREDIT: u32 = MAILBOX_CAPACITY as u32;
/// The least credit a host shrinks a stream to.
pub const STREAM_CREDIT_MIN: u32 = 16;
/// Streams one node may have open at another's actors; further ones wait for a number.
pub const STREAMS: u32 = 65_536;
/// Bytes of settle that may wait for its window: beyond it no more of the peer's work is acknowledged, and items of streams wait.
pub const SETTLE_BACKLOG: usize = 64 << 20;
/// Beyond this a peer leaves its answers unread, and they are not kept; beyond twice as much the link is broken. Of calls that it
/// was taken before, a slow peer may have so much to come.
pub const SETTLE_UNREAD: usize = 256 << 20;
/// A silent peer that something is expected of is asked for a sign of life this often.
pub const KEEPALIVE: Duration = Duration::from_secs(1);
/// Items a streaming reply may run ahead of its consumer.
pub const STREAM_ITEMS: u32 = 16;
/// Bytes of items a streaming reply may run ahead of its consumer.
pub const STREAM_BYTES: usize = 256 << 10;
/// Plaintext one batch may hold: one ZeroMQ message. Large enough to amortise the socket, small enough to pipeline.
pub const BATCH_BYTES: usize = 256 << 10;
/// Calls that [`ask_all`](crate::ask_all) sends before others have their turn. Fewer make more messages of them, more leave the
/// other side idle.
pub const ASKED_AT_ONCE: usize = 256;
/// Requests that are sent in one go are on their way once there are so many bytes of them, while others follow: enough that it
/// takes longer to make them than to wake another thread.
pub const BURST: usize = 8 << 10;
/// The longest packet: a full batch less room for its header. What is longer has too many references in one message.
pub const PACKET_BYTES: usize = BATCH_BYTES - 2 * BATCH_HEADER;
/// What a batch's header and the heads of its sections take at most.
pub const BATCH_HEADER: usize = 128;
/// Packets are resent and forgotten by sections of about this size: few to keep track of, none large to hold on to.
pub const SECTION_BYTES: usize = 64 << 10;
/// What a dialer may send before the peer's `Hello`.
pub const BEFORE_HELLO_BYTES: usize = 1 << 10;
/// Noise's largest message less its tag and the two bytes of a record's length.
pub const RECORD_PLAINTEXT: usize = 65_519;
/// The longest batch whose sealed form, 16 records of 18 bytes more each, fits into [`FRAME_AFTER_HANDSHAKE`].
pub const MESSAGE_PLAINTEXT: usize = FRAME_AFTER_HANDSHAKE - 16 * 18;
/// Records one session may seal in a direction: far below the 2^64 that Noise allows, reached in hours of full load.
pub const SESSION_RECORDS: u64 = 1 << 32;
/// Bytes one session may seal in a direction: at 2^34 blocks AES-GCM still cannot be told from noise (RFC 8446, 5.5).
pub const SESSION_BYTES: u64 = 1 << 38;

// ---- the bulk lane ----
/// Bytes of an object that one message of the bulk lane brings: as many as a batch, for the same reasons.
pub const OBJECT_CHUNK: usize = BATCH_BYTES;
/// Chunks that one pull has asked of one holder and not had: enough that the holder never waits for the next ask.
pub const PULL_CHUNKS: usize = 8;
/// Holders that one pull asks at once: more would not fill its own line better, and would take places from other pulls.
pub const PULL_SOURCES: usize = 4;
/// Chunks that all pulls together have asked of one node and not had: 8 MB wait there for a peer that reads nothing.
pub const BULK_ASKS: usize = 4 * PULL_CHUNKS;
/// Pulls of one object that one holder serves at once: soon they are holders themselves, and n nodes have it after about log n
/// times that, where a holder that served all would be done with all at the very end.
pub const HOLDER_PULLS: usize = 2;
/// Shorter objects are sent to whoever asks: they are there before another holder could be found.
pub const PULL_FREE: usize = 1 << 20;
/// A pull that has asked a holder for nothing this long has left its place there to others.
pub const PULL_IDLE: Duration = Duration::from_secs(1);
/// When nothing has come for so long, a pull asks others for what is under way as well: a silent holder is not waited for.
pub const PULL_STALL: Duration = Duration::from_secs(1);
/// Holders that an owner names at once: twice as many as a pull asks, for some may be busy.
pub const HOLDERS_NAMED: usize = 2 * PULL_SOURCES;
/// Holders that an owner remembers for one object: as many as there may be nodes.
pub const HOLDERS: usize = NODES;
/// A session of the bulk lane over which nothing came this long while something was asked for is closed: slower than 26 kB/s is
/// silent.
pub const BULK_SILENCE: Duration = Duration::from_secs(10);
/// A session of the bulk lane over which nothing was asked for so long is closed: the next pull opens another in a few round trips.
pub const BULK_IDLE: Duration = Duration::from_secs(10);
/// A holder that brings what it was asked for from disk says so this often.
pub const BULK_WAIT: Duration = Duration::from_secs(1);
/// How long one chunk may take, whatever else the session brings: what is on disk comes back within [`RESTORE_WAIT`].
pub const CHUNK_TIME: Duration = Duration::from_secs(90);
/// How long a session of the bulk lane may take to come about: dials, and a peer that cannot be dialled and is asked to dial.
pub const BULK_OPEN: Duration = Duration::from_secs(10);
/// Rounds in which no holder sends anything before a pull gives up, each after the pause that dials have.
pub const PULL_ROUNDS: u32 = 6;
/// The part of a store that may be memory of pulls under way: what else is needed there, such as what others pull and is to be
/// brought from disk, does not wait for them.
pub const PULLS_PART: usize = 2;
/// How long an object that was pulled waits for room in the store. Then it goes into the process's own memory: a reader is not
/// refused for what others keep.
pub const PULL_ROOM: Duration = Duration::from_secs(2);

// ---- sockets and handshakes ----
/// The longest ZMTP frame from a peer whose handshake is not done.
pub const FRAME_BEFORE_HANDSHAKE: usize = 1 << 10;
/// The longest ZMTP frame from a peer whose handshake is done.
pub const FRAME_AFTER_HANDSHAKE: usize = 1 << 20;
/// Bytes that pass the guard before the handshake is done; what a peer sends beyond them waits in its own socket.
pub const BYTES_BEFORE_HANDSHAKE: usize = 4 << 10;
/// How long a peer may take from connecting to the end of its handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// Handshakes under way at once.
pub const HANDSHAKES: usize = 256;
/// Certificates beside a node's credentials, none yet: with them a handshake's message fits its frame.
pub const CERTIFICATE_BYTES: usize = 512;
/// Connections the guard relays at once.
pub const CONNECTIONS: usize = 4_096;
/// Connections from one address at once.
pub const CONNECTIONS_PER_ADDRESS: usize = 512;
/// The buffer of each direction of a guarded connection.
pub const RELAY_BUFFER: usize = 64 << 10;
/// The same before its handshake is done: a stranger costs no more.
pub const RELAY_BUFFER_BEFORE_HANDSHAKE: usize = 2 << 10;
/// How long the last bytes to a peer may take when its connection is ended in order.
pub const LINGER: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted: a burst of dials beyond it would wait for TCP's retries, a second and more.
pub const ACCEPT_BACKLOG: u32 = 1_024;
/// The longest pause after a failure to accept: without one, a node out of descriptors spins.
pub const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Descriptors that guarded connections leave to the rest of the process.
pub const DESCRIPTORS_SPARED: usize = 512;
/// TCP asks a silent peer for a sign of life after this ..
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(10);
/// .. and again after each of these ..
pub const TCP_KEEPALIVE_PAUSE: Duration = Duration::from_secs(5);
/// .. and gives up after so many.
pub const TCP_KEEPALIVE_PROBES: u32 = 4;
/// TCP gives a peer up that has taken no byte for this long: by then its lease is over.
pub const TCP_USER_TIMEOUT: Duration = LEASE;

/// Bytes of one peer's requests that may wait in a node's mailboxes before its work is acknowledged no further. Those that wait
/// for values of their arguments are bounded by the credit of their streams alone.
pub const HELD_BYTES: usize = 32 << 20;
/// The pause after a dial that failed; it doubles ..
pub const REDIAL_FIRST: Duration = Duration::from_millis(5);
/// .. up to this.
pub const REDIAL_LAST: Duration = Duration::from_millis(500);

// ---- lives (PROTOCOLS §2) ----
/// How long a node lives on without a beat.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a node beats.
pub const BEAT: Duration = Duration::from_secs(1);
/// A node with a lease looks at the clock that it is counted by at least this often: other clocks stand still in a suspend.
pub const LEASE_LOOK: Duration = Duration::from_millis(250);
/// Silence after which nothing new is placed on a node.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(5);
/// Silence of a peer after which asks without retries fail.
pub const UNREACHABLE_AFTER: Duration = Duration::from_secs(5);
/// Bytes of records after which a head writes its state in their place, or twice what that took if it is more. The state of
/// 100,000 actors takes about as much, so that writing it seldom costs more than the records did.
pub const JOURNAL_LOG: u64 = 32 << 20;
/// Bytes of records after which the journal begins another block: what one checksum covers.
pub const JOURNAL_BLOCK: usize = 256 << 10;
/// Bytes of its file that a journal keeps in memory: it is read once, and then only written.
pub const JOURNAL_CACHE: usize = 32 << 20;
/// The pause before a head tries again to write what its journal did not take: a full disk seldom empties sooner.
pub const JOURNAL_PAUSE: Duration = Duration::from_secs(1);
/// What a head has to say that may wait for its journal: as much as all nodes may have asked and be owed. Beyond it nothing is
/// written, for whatever reason, and the head gives up.
pub const JOURNAL_HELD: usize = 4 << 20;
/// The first epoch of a head that has a journal: those below are counted one by one, by heads whose grants are numbered
/// otherwise.
pub const EPOCH_FIRST: u64 = 1 << 23;
/// Epochs between two starts of a head that has a journal: grants of each are numbered within its own, 256 in one of these.
pub const EPOCHS_APART: u64 = 1 << 20;
/// How long what needs the head waits for it.
pub const HEAD_WAIT: Duration = Duration::from_secs(10);
/// The part of its lease at which a node fences itself.
pub const FENCE_AT: f64 = 0.8;
/// The part of its lease at which a worker process with a running handler exits.
pub const EXIT_AT: f64 = 0.9;

/// How long actors and tasks of a worker that is told to end may take: less than the 30 s that Kubernetes gives before it kills.
pub const DRAIN: Duration = Duration::from_secs(20);
/// How long a node that leaves waits for the head's word: then it goes without, and its lease ends its life.
pub const FAREWELL: Duration = Duration::from_millis(500);

/// Connections that are served over HTTP at a time: others wait to be accepted.
pub const HTTP_CONNECTIONS: usize = 64;
/// How long a request over HTTP may take to arrive, and its answer to be read.
pub const HTTP_TIME: Duration = Duration::from_secs(10);
/// How long the head may take over the answer.
pub const HTTP_ANSWER: Duration = Duration::from_secs(5);

/// How often a node that leaves when it is idle looks whether it is.
pub const IDLE_LOOK: Duration = Duration::from_millis(250);
/// How long what was on its way to a node takes at most until it is there, once nothing more is sent: what comes later is told that
/// the node has left.
pub const RETIRING: Duration = Duration::from_millis(250);
/// How long a node is idle before it leaves, where it was started for what others had no room for.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether more worker processes are wanted. What is wanted at one look is started at the next, if it still is.
pub const SCALE_LOOK: Duration = Duration::from_millis(100);
/// The pause after worker processes have ended before they had joined: each further one in a row is twice as long.
pub const SCALE_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest.
pub const SCALE_PAUSE_LAST: Duration = Duration::from_secs(10);

/// Actors in processes of their own that one node starts: each is a process, with some threads and a few megabytes.
pub const ISOLATED_ACTORS: usize = 1_024;
/// How long such a process may take to join, and then waits for its actor.
pub const ISOLATED_JOIN: Duration = Duration::from_secs(30);
/// Bytes of data that such a process takes by itself, the stacks of its threads above all, where its memory is limited.
pub const ISOLATED_OWN: u64 = 64 << 20;
/// Bytes of memory that the store of such a process has, at most: its objects are its actor's replies.
pub const ISOLATED_STORE: usize = 64 << 20;

// ---- references (PROTOCOLS §3) ----
/// How long a life that ended stays counted: claims of those that it had sent references on to arrive first.
pub const REFS_GRACE: Duration = Duration::from_secs(2);
/// Counts one packet has when this node makes it: of 36 bytes each at most, so that it fits.
pub const COUNTS: usize = 4 << 10;
/// Things that one packet's counts may name together: a run of them takes few bytes, and time for each thing.
pub const COUNTED_THINGS: u64 = MESSAGE_REFS as u64;

// ---- cycles of waits (PROTOCOLS §5) ----
/// A wait sends its first probe after this.
pub const PROBE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between probes of one wait.
pub const PROBE_LAST: Duration = Duration::from_millis(1_600);

// ---- tasks ----
/// Tasks one owner may have queued: a few hundred bytes each, beyond it `submit` fails.
pub const QUEUED_TASKS: usize = 4 << 20;
/// Bytes of queued tasks' arguments that a node keeps in memory: those of later tasks are written to disk.
pub const QUEUE_MEMORY: u64 = 64 << 20;
/// Bytes that a node keeps, if it is not told otherwise, for making lost results of its tasks again: what these were called
/// with, and values that are kept for that alone. Beyond it the oldest are dropped.
pub const LINEAGE_MEMORY: u64 = 128 << 20;
/// What such a task takes of it beside its arguments.
pub const LINEAGE_ENTRY: u64 = 512;
/// Lost results that hang one on the other and are made again for one that is wanted: more would be an hour's work that
/// nobody expects of a read, and a chain without end is one of an iteration that should keep a result now and then.
pub const LINEAGE_DEPTH: usize = 256;
/// Arguments so short, encoded, are a part of their task's half kilobyte: neither counted nor written to disk.
pub const QUEUE_SMALL: usize = 128;
/// Kinds of task, by function and needs, that one owner may have at a time: the head keeps a want for each.
pub const TASK_CLASSES: usize = 4_096;
/// Wants that the head keeps for one owner: those of classes that it has just given back may be there still.
pub const CLAIMS: usize = 2 * TASK_CLASSES;
/// Tasks are pushed so far ahead of a slot that its node stays busy over a round trip and a late owner ..
pub const PUSH_AHEAD: Duration = Duration::from_millis(5);
/// .. but at least so many a slot, or each would wait a round trip for the next ..
pub const PUSH_DEPTH_MIN: u32 = 2;
/// .. and at most so many: half a megabyte of the longest specs, however short the tasks.
pub const PUSH_DEPTH_MAX: u32 = 1_024;
/// Slots that stay unused so long are given back: within it a burst reuses them without the head.
pub const GRANT_IDLE: Duration = Duration::from_millis(500);
/// A lower want, and a little higher one, is told this late: a queue that empties and fills tells neither.
pub const WANT_PAUSE: Duration = Duration::from_millis(100);
/// A want that is not met is told again this often, so that its owner learns of a new reason.
pub const WANT_AGAIN: Duration = Duration::from_secs(5);
/// An owner wants no more slots than its known work keeps busy this long: more would idle before they are used.
pub const WANT_WORK: Duration = Duration::from_millis(10);
/// Unbegun tasks worth less time than this are not fetched back for an idle slot: the round trip costs as much.
pub const RECALL_WORTH: Duration = Duration::from_millis(1);
/// Tasks that one recall asks back: the answer, with a number of nine bytes for each, fits a packet.
pub const RECALLED: u32 = 4_096;
/// Results of a grant's tasks that its node keeps for tasks behind them: as many as are pushed for one slot at most.
pub const RESULTS_KEPT: usize = PUSH_DEPTH_MAX as usize;
/// The longest result that is kept so, encoded: together a megabyte.
pub const RESULT_KEPT: usize = 1 << 10;
/// Arguments of one task that may be results of tasks before it.
pub const LEFT_OUT: usize = 64;
/// Tasks of one grant that a thread runs one after another before it lets other work of the pool go first.
pub const TASKS_IN_A_ROW: usize = 64;

/// Tasks that declare no resources and may run on a node at once, for each of its CPUs: they are short or wait for others,
/// so more than one keeps a CPU busy, and a node that took all would only queue them.
pub const WEIGHTLESS_SLOTS: u32 = 4;
/// Grants that one owner may hold, and a node takes, or remembers as over.
pub const GRANTS: usize = 65_536;
/// Actors and bundles that came later and were placed where an elder waits for room: then that keeps rooms for itself. Fewer
/// would let room idle that comes back soon anyway.
pub const PLACED_BEFORE: u64 = 64;
/// Of classes of tasks that hold no slot so many of the eldest are counted for that.
pub const HUNGRY_COUNTED: usize = 256;
/// Orders about grants that one owner may have unacknowledged: beyond it, it gets no more until its next beat, and beyond
/// twice as many nothing is asked back of it.
pub const GRANT_ORDERS: usize = 4_096;
/// Orders that a node obeys before it acknowledges them with a beat of their own: well before there are as many as may be.
pub const ORDERS_A_BEAT: u64 = GRANT_ORDERS as u64 / 4;
/// Slots held for so long are asked back for a class that holds none at all, whatever the shares: where there are more
/// classes than slots, each runs in turn, for a time that is long beside what a turn costs.
pub const GRANT_TURN: Duration = Duration::from_millis(100);
/// Slots that one look at the demand asks back at most: what is left comes with the next look.
pub const RECALLS_AT_ONCE: u32 = 64;
/// A look at demand that is not met is followed by so much rest for each room and grant looked at: it takes half a core at most.
pub const DEMAND_REST: Duration = Duration::from_nanos(500);
/// One that took longer than this is followed by as long a rest, however little it seemed to look at.
pub const DEMAND_SHORT: Duration = Duration::from_millis(2);
/// Rooms and grants a look may take without a rest: a small cluster answers at once.
pub const DEMAND_FREE: u32 = 2_048;
/// Bundles of one placement group: their best nodes are sought in one step.
pub const GROUP_BUNDLES: usize = 256;
/// Looks at a node that a search for a group's places takes, once none was found in the usual way: half a millisecond.
pub const GROUP_SEARCH: usize = 16_384;
/// Who waits for a placement group of another node asks how it stands after this ..
pub const LISTED_FIRST: Duration = Duration::from_millis(10);
/// .. and less and less often, but at least this often.
pub const LISTED_LAST: Duration = Duration::from_secs(1);
/// Placement groups that find no room and are looked at in one look at the demand: so many of the eldest, and of the others.
pub const GROUPS_A_LOOK: usize = 16;
/// Placement groups one head keeps.
pub const GROUPS: usize = 16_384;
/// Objects that one head knows to have been given to other owners: 2 MB. Those of owners that have ended make room.
pub const ENTRUSTED: usize = 32_768;
/// Objects of ended owners that one question to the head is about: the answer is in pieces of the control lane.
pub const HEIRS: usize = 1_024;

// ---- clusters ----
/// Worker processes `Cluster::local().workers(n)` starts at most.
pub const WORKERS: usize = 256;
/// Nodes one head serves.
pub const NODES: usize = 4_096;
/// Actor types, methods and constructors one node may advertise.
pub const ADVERTISED: usize = 65_536;

const _: () =
    assert!(2 * MAILBOX_BATCH < MAILBOX_CAPACITY, "who waits for room stands behind two batches, one call more");
// ---- the head ----
/// Named, detached and restartable actors and reservations one head keeps: each costs it a few hundred bytes and its
/// constructor's arguments.
pub const DIRECTORY_ACTORS: usize = 1 << 18;
/// Nodes that are asked, one after the other, to keep a checkpoint that is too large for the head.
pub const KEEPERS_TRIED: usize = 3;
/// A node that keeps checkpoints asks the head this often whether they are needed: what a host that died did not let go of goes
/// then.
pub const KEPT_LOOK: Duration = Duration::from_secs(1);
/// Actors about which it asks at once.
pub const KEPT_ASKED: usize = 1_024;
/// Checkpoints that a node gives away at once: each is copied, and when a keeper ends, all that it kept is given to others.
pub const KEPT_GIVEN: usize = 4;
/// What was saved and could not be given or brought is tried again after this.
pub const KEPT_AGAIN: Duration = Duration::from_secs(1);
/// How often a keeper that lives is asked for what it keeps before its actor ends.
pub const KEPT_TRIES: u32 = 3;
/// The longest pause between tries.
pub const KEPT_AGAIN_LAST: Duration = Duration::from_secs(30);
/// Bytes of constructors' arguments and checkpoints one head keeps: they are needed for as long as an actor may be placed again.
pub const DIRECTORY_ARGUMENTS: usize = 1 << 30;
/// Ended actors whose end the head can still explain, and removed placement groups that it does not make again, of each.
pub const TOMBSTONES: usize = 65_536;
/// Requests to the head a node may have unanswered; its callers wait beyond. The head remembers as many answers a node.
pub const REQUESTS: usize = 4_096;
/// How many of those may be questions, which may wait at the head for what others report to be free: reports never stand
/// behind them.
pub const QUESTIONS: usize = REQUESTS / 4 * 3;
/// Changes of membership the head remembers: a node further behind gets the whole list.
pub const MEMBER_CHANGES: usize = 8_192;
/// Changes of membership are told at most this often (ends of lives at once): 4,096 nodes that join together would else
/// cause sixteen million messages.
pub const MEMBERS_PAUSE: Duration = Duration::from_millis(10);
/// How long what a life owns waits until this node has heard of that life, which may have joined a moment ago: hundreds of times
/// what the head takes to tell. One of which nobody hears is none.
pub const MEETING: Duration = Duration::from_secs(5);
/// Nodes among which a spawner spreads the actors that declare no resources.
pub const CANDIDATES: usize = 256;
/// Nodes an error names; of more it gives the number.
pub const NAMED_NODES: usize = 16;
/// Addresses one node may advertise: a few interfaces.
pub const ADDRESSES: usize = 16;
/// Labels of one node, and conditions of one selector.
pub const LABELS: usize = 64;
/// Selectors that are tried one after the other for one actor or task.
pub const SELECTORS: usize = 8;
/// Values one condition may list.
pub const LABEL_VALUES: usize = 64;
/// The longest text of a failure that is kept and sent on, in bytes; the rest is cut.
pub const FAILURE_TEXT: usize = 4 << 10;
/// Dead nodes whose belated join is refused: as many as one head serves.
pub const DEAD_NODES: usize = NODES;
/// Entries of one page of `status`.
pub const STATUS_PAGE: usize = 1_024;
/// Beats a node remembers while none is answered: a lease of them.
pub const BEATS: usize = 64;
/// Plaintext of one piece of a control message: well below a batch, so that a beat never waits long behind one.
pub const CONTROL_PIECE: usize = 64 << 10;
/// The longest control message: what a node advertises at most, or the list of all members.
pub const CONTROL_MESSAGE: usize = 8 << 20;
/// Control messages that wait for one session: beyond it the session is closed, and its successor is told what it missed,
/// which fits: two orders for each actor, those about grants, and as many answers and beats as may be due.
pub const CONTROL_QUEUE: usize = 2 * DIRECTORY_ACTORS + 2 * REQUESTS + GRANTS + 2 * GRANT_ORDERS;

const _: () = assert!(OBJECT_CHUNK + 64 < MESSAGE_PLAINTEXT, "a chunk and its header are one message");
const _: () = assert!(PULL_CHUNKS <= BULK_ASKS, "one pull may ask for all that it may");
const _: () = assert!(HOLDERS_NAMED * 8 + 64 < OBJECT_PIECE, "the holders fit into an answer");
const _: () = assert!(CONTROL_PIECE < BATCH_BYTES, "a piece of a control message fits into a batch");
const _: () = assert!(RECORD_PLAINTEXT + 16 <= 65_535, "a record is at most Noise's largest message");
const _: () = assert!(MESSAGE_PLAINTEXT / RECORD_PLAINTEXT < 16, "the longest batch has 16 records");
const _: () = assert!(CERTIFICATE_BYTES + 256 < FRAME_BEFORE_HANDSHAKE, "credentials fit a handshake's frame");
const _: () = assert!(BYTES_BEFORE_HANDSHAKE > FRAME_BEFORE_HANDSHAKE, "the guard passes a frame of each kind");
const _: () = assert!(BATCH_BYTES < FRAME_AFTER_HANDSHAKE, "a sealed batch passes the guard");
const _: () = assert!(BODY_INLINE < PACKET_BYTES, "a body fits into a packet, and a packet into a batch");
const _: () = assert!(PACKET_BYTES < WORK_WINDOW && PACKET_BYTES < SETTLE_WINDOW, "an empty window takes any packet");
const _: () = assert!(COUNTS * 36 < PACKET_BYTES && COUNTS <= MESSAGE_REFS, "a packet of counts fits, and is read");
const _: () = assert!(RECALLED as usize * 9 + 16 < BODY_INLINE, "the answer to a recall fits into a packet");
const _: () = assert!(FENCE_AT < EXIT_AT && EXIT_AT < 1.0, "a node fences, then exits, before its lease ends");
/// Waits one probe goes along within a node: a wider one costs more than the cycle that it might find.
pub const PROBE_WAITS: usize = 4_096;
/// Actors and frames whose waits a node looks at before other tasks of the thread go on.
pub const PROBE_BURST: usize = 256;
/// A look at all waits is followed by so many times its duration of rest: a twentieth of a core at most.
pub const PROBE_REST: u32 = 19;
