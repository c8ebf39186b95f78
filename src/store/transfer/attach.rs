//! The reader's end: maps segments as they are needed, and says what it is done with.

use super::super::Location;
use super::super::readers::Ticket;
use super::super::segment::{Mapping, MappingError};
use super::TransferError;
use super::frame::{FRAME, Refusal, ToOwner, ToReader, greeting};
use super::socket::{Received, own_uid, peer_uid, receive, send};
use crate::limits;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

/// Another process's store, of this host. Clones are the same connection; it ends with the last of them and of the views.
#[derive(Clone)]
pub struct Attached {
    link: Arc<Link>,
}

/// An object in another process's store, read in place. It stays there until the last clone is dropped.
#[derive(Clone)]
pub struct Foreign {
    view: Arc<View>,
}

/// Dropped in this order: nothing is read when the pin ends.
struct View {
    mapped: Arc<Mapped>,
    pin: Pinned,
}

/// A pin that the owner made for this process, which ends when this is dropped.
struct Pinned {
    location: Location,
    link: Arc<Link>,
    /// Shared with an [`Ending`], if there is one.
    end: Option<Arc<AtomicU8>>,
}

/// The end of a view of which the owner may hear in another way than over its store's socket: while this is there, the view
/// does not tell of it. When this is dropped the owner is told here, as ever.
pub struct Ending {
    end: Arc<AtomicU8>,
    location: Location,
    link: Arc<Link>,
}

/// The view is there, and another tells of its end.
const WATCHED: u8 = 0;
/// It has ended, and nobody has told.
const ENDED: u8 = 1;
/// It tells of its end by itself, or the owner was told.
const LEFT: u8 = 2;

impl Ending {
    /// Whether the view has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end.load(Ordering::Acquire) == ENDED
    }

    /// The owner was told that the view has ended, which it had.
    pub fn told(self) {
        self.end.store(LEFT, Ordering::Release);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.end.swap(LEFT, Ordering::AcqRel) == ENDED {
            self.link.unpin(self.location);
        }
    }
}

/// Dropped in this order: what is mapped goes before the socket does (T2), of which the tasks may have lost their half
/// with their runtime.
struct Link {
    segments: Mutex<Segments>,
    outbox: Arc<Outbox>,
    tasks: [AbortHandle; 2],
    _socket: OwnedFd,
}

#[derive(Default)]
struct Segments {
    known: FxHashMap<u64, Known>,
    /// Why there will be no more.
    closed: Option<TransferError>,
}

enum Known {
    /// The owner was asked for it; these wait.
    Asked(Vec<oneshot::Sender<Result<Arc<Mapped>, TransferError>>>),
    Mapped(Arc<Mapped>),
}

/// A segment that is mapped; the owner is told when it is no more.
struct Mapped {
    segment: u64,
    /// There until dropped.
    mapping: Option<Mapping>,
    outbox: Arc<Outbox>,
}

/// What the owner is to be told, in order.
#[derive(Default)]
struct Outbox {
    messages: Mutex<Vec<ToOwner>>,
    some: Notify,
}

impl Attached {
    /// Connects to the store that is served at `path`. Needs a tokio runtime, on which two small tasks stay. Dropping
    /// the future spends the ticket or does not.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached, is another user's, or refuses the ticket.
    pub async fn connect(path: &Path, ticket: &Ticket) -> Result<Attached, TransferError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| TransferError::NoRuntime)?;
        let failed = |error| TransferError::Unreachable { path: path.to_owned(), error: Arc::new(error) };
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        let uid = peer_uid(&stream).map_err(failed)?;
        if uid != own_uid() {
            return Err(TransferError::OtherUser { path: path.to_owned(), uid });
        }
        // Whoever is refused is closed, perhaps before all was sent: the answer says more than the failure to send.
        let sent = send(&stream, &greeting(ticket), None).await;
        let mut inbox = Inbox::new(stream);
        match inbox.next().await? {
            ToReader::Welcome => sent.map_err(failed)?,
            ToReader::Refused(Refusal::Version) => return Err(TransferError::Version),
            ToReader::Refused(Refusal::Ticket) => return Err(TransferError::Ticket),
            ToReader::Segment { .. } | ToReader::Retire { .. } => return Err(TransferError::Malformed),
        }
        let socket = inbox.stream.as_fd().try_clone_to_owned().map_err(failed)?;
        let outbox = Arc::new(Outbox::default());
        let sending = runtime.spawn(Arc::clone(&outbox).run(Arc::clone(&inbox.stream))).abort_handle();
        let link = Arc::new_cyclic(|link| {
            let receiving = runtime.spawn(inbox.run(Weak::clone(link))).abort_handle();
            Link { segments: Mutex::default(), outbox, tasks: [sending, receiving], _socket: socket }
        });
        Ok(Attached { link })
    }

    /// Views an object. The location must come from the owner, who pinned it for this process ([`Store::pin`]), once for
    /// each call: the pin ends with the view, and also if there is an error or the future is dropped. Reading what is
    /// not pinned would be reading memory that the owner may be writing.
    ///
    /// # Errors
    ///
    /// If the segment is not what it should be, or the owner is gone.
    ///
    /// [`Store::pin`]: crate::store::Store::pin
    pub async fn view(&self, location: Location) -> Result<Foreign, TransferError> {
        let pin = Pinned { location, link: Arc::clone(&self.link), end: None };
        let mapped = self.link.mapped(location.segment).await?;
        match mapped.bytes(location) {
            Some(_) => Ok(Foreign { view: Arc::new(View { mapped, pin }) }),
            None => Err(TransferError::OutOfRange { location }),
        }
    }

    /// The same at once, and how its owner is told of its end: none if the segment is not mapped here yet, and then the pin
    /// has ended.
    ///
    /// # Errors
    ///
    /// As [`Attached::view`].
    pub fn view_mapped(&self, location: Location) -> Result<Option<(Foreign, Ending)>, TransferError> {
        let mut pin = Pinned { location, link: Arc::clone(&self.link), end: None };
        let mapped = match self.link.segments.lock().known.get(&location.segment) {
            Some(Known::Mapped(mapped)) => Arc::clone(mapped),
            Some(Known::Asked(_)) | None => return Ok(None),
        };
        if mapped.bytes(location).is_none() {
            return Err(TransferError::OutOfRange { location });
        }
        let end = Arc::clone(pin.end.insert(Arc::new(AtomicU8::new(WATCHED))));
        let ending = Ending { end, location, link: Arc::clone(&self.link) };
        Ok(Some((Foreign { view: Arc::new(View { mapped, pin }) }, ending)))
    }

    /// Segments that are mapped here.
    #[must_use]
    pub fn segments(&self) -> usize {
        let segments = self.link.segments.lock();
        segments.known.values().filter(|known| matches!(known, Known::Mapped(_))).count()
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({} segments)", self.segments())
    }
}

impl Deref for Foreign {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.view.mapped.bytes(self.view.pin.location).unwrap_or(&[])
    }
}

impl AsRef<[u8]> for Foreign {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({:?})", self.view.pin.location)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let ends = |end: &AtomicU8| end.compare_exchange(WATCHED, ENDED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !self.end.as_deref().is_some_and(ends) {
            self.link.unpin(self.location);
        }
    }
}

impl Mapped {
    fn bytes(&self, location: Location) -> Option<&[u8]> {
        self.mapping.as_ref()?.pinned(location.offset, location.length)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        drop(self.mapping.take());
        self.outbox.push(ToOwner::Unmapped { segment: self.segment });
    }
}

impl Link {
    fn unpin(&self, Location { segment, offset, .. }: Location) {
        self.outbox.push(ToOwner::Unpin { segment, offset });
    }

    /// The segment, asked for if it is not known yet.
    async fn mapped(&self, segment: u64) -> Result<Arc<Mapped>, TransferError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut segments = self.segments.lock();
            if let Some(error) = &segments.closed {
                return Err(error.clone());
            }
            match segments.known.get_mut(&segment) {
                Some(Known::Mapped(mapped)) => return Ok(Arc::clone(mapped)),
                Some(Known::Asked(waiting)) => waiting.push(answer),
                None => {
                    segments.known.insert(segment, Known::Asked(vec![answer]));
                    self.outbox.push(ToOwner::Ask { segment });
                }
            }
        }
        answered.await.unwrap_or(Err(TransferError::Closed))
    }

    /// Does what the owner says.
    fn heed(&self, message: ToReader, files: &mut VecDeque<Option<OwnedFd>>) -> Result<(), TransferError> {
        match message {
            ToReader::Segment { segment, length } => {
                let mapping = match files.pop_front() {
                    Some(Some(file)) => Mapping::open(&file, length),
                    Some(None) => Err(MappingError::System(rustix::io::Errno::MFILE.into())),
                    None => return Err(TransferError::Malformed),
                };
                self.map(segment, mapping)
            }
            ToReader::Retire { segment } => {
                let mut segments = self.segments.lock();
                if !matches!(segments.known.get(&segment), Some(Known::Mapped(_))) {
                    return Err(TransferError::Malformed);
                }
                let retired = segments.known.remove(&segment);
                drop(segments);
                // It is unmapped here, or with the last view, which the owner knows of as a pin.
                drop(retired);
                Ok(())
            }
            ToReader::Welcome | ToReader::Refused(_) => Err(TransferError::Malformed),
        }
    }

    fn map(&self, segment: u64, mapping: Result<Mapping, MappingError>) -> Result<(), TransferError> {
        let mapped = mapping
            .map_err(|error| TransferError::Mapping(Arc::new(error)))
            .map(|mapping| Arc::new(Mapped { segment, mapping: Some(mapping), outbox: Arc::clone(&self.outbox) }));
        let mut segments = self.segments.lock();
        let Some(Known::Asked(waiting)) = segments.known.remove(&segment) else {
            // Nobody asked, or it is mapped already: the connection ends with this.
            return Err(TransferError::Malformed);
        };
        match &mapped {
            Ok(mapped) => drop(segments.known.insert(segment, Known::Mapped(Arc::clone(mapped)))),
            Err(_) => self.outbox.push(ToOwner::Unmapped { segment }),
        }
        drop(segments);
        // Who does not wait any more has ended its pin.
        waiting.into_iter().for_each(|waiting| drop(waiting.send(mapped.clone())));
        Ok(())
    }

    /// There will be no more segments. Views stay, and the socket stays as long as they do.
    fn close(&self, error: TransferError) {
        let mut segments = self.segments.lock();
        segments.closed = Some(error.clone());
        let known = std::mem::take(&mut segments.known);
        drop(segments);
        for known in known.into_values() {
            if let Known::Asked(waiting) = known {
                waiting.into_iter().for_each(|waiting| drop(waiting.send(Err(error.clone()))));
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Outbox {
    fn push(&self, message: ToOwner) {
        self.messages.lock().push(message);
        self.some.notify_one();
    }

    /// Sends what there is, all at once, and waits for more.
    async fn run(self: Arc<Self>, stream: Arc<UnixStream>) {
        let mut bytes = Vec::new();
        loop {
            let messages = std::mem::take(&mut *self.messages.lock());
            if messages.is_empty() {
                self.some.notified().await;
                continue;
            }
            bytes.clear();
            messages.iter().for_each(|message| bytes.extend_from_slice(&message.encode()));
            if send(&stream, &bytes, None).await.is_err() {
                // The owner has gone, and its pins with it.
                return;
            }
        }
    }
}

/// What comes from the owner.
struct Inbox {
    stream: Arc<UnixStream>,
    buffer: Box<[u8]>,
    filled: usize,
    /// Those of messages that were not heeded yet; none for one that this process had no descriptor left for.
    files: VecDeque<Option<OwnedFd>>,
}

impl Inbox {
    fn new(stream: UnixStream) -> Inbox {
        let buffer = vec![0; limits::STORE_READ].into_boxed_slice();
        Inbox { stream: Arc::new(stream), buffer, filled: 0, files: VecDeque::new() }
    }

    /// The next message. Its descriptor is the first of `files`.
    async fn next(&mut self) -> Result<ToReader, TransferError> {
        loop {
            if let Some(frame) = self.buffer[..self.filled].first_chunk::<FRAME>() {
                let message = ToReader::decode(frame).map_err(|_| TransferError::Malformed)?;
                self.buffer.copy_within(FRAME..self.filled, 0);
                self.filled -= FRAME;
                return Ok(message);
            }
            let mut files = VecDeque::new();
            match receive(&self.stream, &mut self.buffer[self.filled..], &mut files).await {
                Ok(Received { bytes: 0, .. }) | Err(_) => return Err(TransferError::Closed),
                // More than one in a message, which no honest owner sends.
                Ok(Received { cut: true, .. }) if !files.is_empty() => return Err(TransferError::Malformed),
                Ok(Received { bytes, cut }) => {
                    self.filled += bytes;
                    self.files.extend(files.into_iter().map(Some));
                    self.files.extend(cut.then_some(None));
                }
            }
            // The kernel ends a read behind a message with a descriptor: there never are two.
            if self.files.len() > 1 {
                return Err(TransferError::Malformed);
            }
        }
    }

    async fn run(mut self, link: Weak<Link>) {
        loop {
            let message = self.next().await;
            let Some(link) = link.upgrade() else { return };
            if let Err(error) = message.and_then(|message| link.heed(message, &mut self.files)) {
                if matches!(error, TransferError::Malformed) {
                    tracing::warn!("the owner of a store sent what no owner sends");
                }
                return link.close(error);
            }
        }
    }
}
