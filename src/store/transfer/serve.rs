//! The owner's end: accepts readers, hands descriptors over, and takes pins back.

use super::super::Shared;
use super::super::readers::{Admitted, Keeper, Misbehaved, ReaderId};
use super::super::segment::Segment;
use super::frame::{FRAME, GREETING, Refusal, ToOwner, ToReader, ticket};
use super::socket::{own_uid, peer_uid, send};
use crate::limits;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// Why readers cannot be served.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum ServeError {
    /// Others could connect.
    #[error("{} is not this user's alone; put the store's socket into a folder with mode 0700", path.display())]
    OpenFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("no readers can be served at {}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is no tokio runtime.
    #[error("there is no tokio runtime here; serve readers within one")]
    NoRuntime,
}

/// Accepts readers until dropped. Those that have connected stay.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    accepting: AbortHandle,
}

impl Server {
    pub(in crate::store) fn start(shared: &Arc<Shared>, path: &Path) -> Result<Server, ServeError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ServeError::NoRuntime)?;
        let failed = |error| ServeError::Socket { path: path.to_owned(), error };
        let folder = path.parent().unwrap_or(Path::new("."));
        let metadata = fs::metadata(folder).map_err(failed)?;
        if !metadata.is_dir() || metadata.uid() != own_uid() || metadata.mode() & 0o077 != 0 {
            return Err(ServeError::OpenFolder { path: folder.to_owned() });
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let accepting = runtime.spawn(accept(listener, Arc::downgrade(shared))).abort_handle();
        Ok(Server { path: path.to_owned(), accepting })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        // A socket that cannot be removed refuses connections; a start there says that it is in use.
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, shared: Weak<Shared>) {
    let greetings = Arc::new(Semaphore::new(limits::STORE_GREETINGS));
    loop {
        let Ok(greeting) = Arc::clone(&greetings).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Weak::clone(&shared);
                tokio::spawn(async move {
                    let greeted = tokio::time::timeout(limits::STORE_GREETING, greet(&stream, &shared)).await;
                    drop(greeting);
                    if let Ok(Some(Admitted { reader, retired, keeper })) = greeted {
                        Conversation { stream, shared, reader, _keeper: keeper }.run(retired).await;
                    }
                });
            }
            // Out of descriptors, most likely: without a pause this would spin.
            Err(error) => {
                tracing::warn!(%error, "a store cannot accept a reader");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who shows a good ticket, as the user whose store it is, is a reader. Attaching it is the last that happens here, for
/// from then on its pins end with its socket.
async fn greet(stream: &UnixStream, shared: &Weak<Shared>) -> Option<Admitted> {
    match peer_uid(stream) {
        Ok(uid) if uid == own_uid() => {}
        refused => {
            tracing::warn!(?refused, "a process of another user tried to read a store");
            return None;
        }
    }
    let mut greeting = [0; GREETING];
    let mut filled = 0;
    while filled < GREETING {
        stream.readable().await.ok()?;
        match stream.try_read(&mut greeting[filled..]) {
            Ok(0) => return None,
            Ok(read) => filled += read,
            Err(error) if is_passing(&error) => {}
            Err(_) => return None,
        }
    }
    let refusal = match ticket(&greeting) {
        Ok(ticket) => {
            let shared = shared.upgrade()?;
            match shared.readers.attach(&shared, ticket) {
                Some(admitted) => return Some(admitted),
                None => Refusal::Ticket,
            }
        }
        Err(refusal) => refusal,
    };
    // It may have gone meanwhile.
    let _ = send(stream, &ToReader::Refused(refusal).encode(), None).await;
    None
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// One reader, from its ticket to the end of its socket.
struct Conversation {
    stream: UnixStream,
    shared: Weak<Shared>,
    reader: ReaderId,
    _keeper: Arc<Keeper>,
}

/// Why a conversation ended.
enum End {
    /// The reader's end is closed: it reads nothing any more.
    Closed,
    /// The store has gone, which it does not while anything is pinned for this reader.
    StoreGone,
    /// The reader did what no reader does.
    Misbehaved,
    /// The system does not say what the reader does; its pins stay.
    Unknown(io::Error),
}

impl From<Misbehaved> for End {
    fn from(_: Misbehaved) -> End {
        End::Misbehaved
    }
}

impl Conversation {
    async fn run(self, retired: mpsc::UnboundedReceiver<u64>) {
        let mut end = self.converse(retired).await;
        if let End::Misbehaved = end {
            tracing::warn!(reader = ?self.reader, "a reader of a store sent what no reader sends, and is closed");
            self.shut();
            end = self.wait_for_end().await;
        }
        match end {
            End::Closed => {
                if let Some(shared) = self.shared.upgrade() {
                    shared.reader_ended(self.reader);
                }
            }
            End::Unknown(error) => tracing::warn!(%error, "a reader of a store is out of sight; its pins stay"),
            End::StoreGone | End::Misbehaved => {}
        }
    }

    /// Tells the reader that nothing more comes. It still may end its pins.
    fn shut(&self) {
        // If the other end is gone already, reading says so.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }

    async fn converse(&self, retired: mpsc::UnboundedReceiver<u64>) -> End {
        let mut retired = Some(retired);
        let (mut buffer, mut filled) = (vec![0; limits::STORE_READ], 0);
        self.say(ToReader::Welcome, None).await;
        loop {
            let next = async {
                match &mut retired {
                    Some(retired) => retired.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                segment = next => match segment {
                    Some(segment) => self.say(ToReader::Retire { segment }, None).await,
                    None if self.shared.strong_count() == 0 => return End::StoreGone,
                    // Its ticket was revoked.
                    None => {
                        retired = None;
                        self.shut();
                    }
                },
                ready = self.stream.readable() => {
                    match ready.and_then(|()| self.stream.try_read(&mut buffer[filled..])) {
                        Ok(0) => return End::Closed,
                        Ok(read) => filled += read,
                        Err(error) if is_passing(&error) => continue,
                        Err(error) => return ended(error),
                    }
                    let whole = filled / FRAME * FRAME;
                    for frame in buffer[..whole].as_chunks().0 {
                        if let Err(end) = self.heed(frame).await {
                            return end;
                        }
                    }
                    buffer.copy_within(whole..filled, 0);
                    filled -= whole;
                }
            }
        }
    }

    /// Says something, unless the reader has gone, which reading will tell.
    async fn say(&self, message: ToReader, segment: Option<&Segment>) {
        let _ = send(&self.stream, &message.encode(), segment.map(Segment::file)).await;
    }

    /// Does what a message asks for.
    async fn heed(&self, frame: &[u8; FRAME]) -> Result<(), End> {
        let shared = self.shared.upgrade().ok_or(End::StoreGone)?;
        match ToOwner::decode(frame).map_err(|_| End::Misbehaved)? {
            ToOwner::Unpin { segment, offset } => drop(shared.readers.unpin(self.reader, (segment, offset))?),
            ToOwner::Unmapped { segment } => {
                shared.readers.unmap(self.reader, segment)?;
                shared.state.lock().table.unmap(segment);
                shared.settle();
            }
            ToOwner::Ask { segment } => {
                if shared.readers.map(self.reader, segment)? {
                    let mapped = shared.state.lock().table.map(segment).ok_or(End::Misbehaved)?;
                    drop(shared);
                    let message = ToReader::Segment { segment, length: mapped.length() as u64 };
                    self.say(message, Some(&mapped)).await;
                }
            }
        }
        Ok(())
    }

    /// Whatever it says, it may still be reading: until its end of the socket is closed.
    async fn wait_for_end(&self) -> End {
        let mut ignored = vec![0; limits::STORE_READ];
        loop {
            match self.stream.readable().await.and_then(|()| self.stream.try_read(&mut ignored)) {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return ended(error),
            }
        }
    }
}

fn ended(error: io::Error) -> End {
    match error.kind() {
        // It closed its end with something of ours unread.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Closed,
        _ => End::Unknown(error),
    }
}
