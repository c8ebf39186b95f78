//! Streams of results: the producer's end, which a node polls, and the caller's.
//!
//! ```text
//! function ─▶ Produces ─▶ its node ═ items ═▶ Items ─▶ ObjectRefStream     at most STREAM_ITEMS wait in `Items`,
//!                             ◀═════ room ══════                           and the producer is not polled beyond that
//! ```
//!
//! Each item is an object of the caller's node; one that no packet carries stays where it was made, and its object leads
//! there. If the task is run once more, as many items as came before are left out.

use futures_core::Stream;
use parking_lot::Mutex;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::returns::{Cancel, More, Promised};
use crate::actor::error::Never;
use crate::actor::remote::Peer;
use crate::actor::remote::items::{Consumer, Inflow, Upstream};
use crate::actor::reply::Streamed;
use crate::actor::slot::to_get_error;
use crate::limits::STREAM_ITEMS;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::failure::WireError;
use crate::object::param::Param;
use crate::object::reference::ObjectRef;

/// The stream that a function returned, whatever its items are.
#[doc(hidden)]
pub struct Produces(pub(crate) Box<dyn Producer>);

pub(crate) trait Producer: Send {
    /// The next item; an error is the last.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Content, Fault>>>;
}

impl Produces {
    pub(super) fn of<T: Param<Owned = T>>(items: Streamed<T>) -> Self {
        Produces(Box::new(items))
    }
}

impl<T: Param<Owned = T>> Producer for Streamed<T> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Content, Fault>>> {
        Pin::new(self).poll_next(cx).map(|item| {
            item.map(|item| match item {
                Ok(item) => Ok(Content::of::<T>(T::share(item))),
                Err(error) => Err(to_get_error::<Never>(error).into_fault()),
            })
        })
    }
}

/// The items of a task that came and were not taken.
pub(crate) struct Items {
    inflow: Inflow<Arc<Entry>, Arc<Fault>, Source>,
    count: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    /// Items that were given on, and those that this attempt has made.
    given: u64,
    made: u64,
}

/// Where the items of an attempt come from.
struct Source(Mutex<From>);

enum From {
    /// It is not known yet. Lengths of items that were taken meanwhile.
    Nowhere(Vec<usize>),
    /// A task of this node.
    Here(Arc<Consumer>),
    /// A link, under this ticket.
    Link(Arc<dyn Peer>, u64),
}

impl Upstream for Source {
    fn took(&self, length: usize) {
        let mut from = self.0.lock();
        match &mut *from {
            From::Nowhere(lengths) => lengths.push(length),
            From::Here(consumer) => {
                let consumer = consumer.clone();
                drop(from);
                consumer.room();
            }
            From::Link(peer, ticket) => {
                let (peer, ticket) = (peer.clone(), *ticket);
                drop(from);
                peer.took_item(ticket, length);
            }
        }
    }

    /// The task is cancelled by its result.
    fn cancel(&self) {}
}

impl Default for Items {
    fn default() -> Self {
        let source = Source(Mutex::new(From::Nowhere(Vec::new())));
        Items { inflow: Inflow::new(source), count: Mutex::default() }
    }
}

impl Items {
    /// An attempt begins elsewhere: where its items come from is said by [`comes_from`](Items::comes_from).
    pub(crate) fn begins(&self) {
        self.begins_from(From::Nowhere(Vec::new()));
    }

    /// An attempt begins on this node. Gives what says that there is room.
    pub(crate) fn begins_here(&self) -> Arc<Consumer> {
        let consumer: Arc<Consumer> = Arc::default();
        self.begins_from(From::Here(consumer.clone()));
        consumer
    }

    fn begins_from(&self, from: From) {
        self.count.lock().made = 0;
        let former = std::mem::replace(&mut *self.inflow.from().0.lock(), from);
        drop(former);
    }

    /// This attempt's items come over a link.
    pub(crate) fn comes_from(&self, peer: &Arc<dyn Peer>, ticket: u64) {
        let former = std::mem::replace(&mut *self.inflow.from().0.lock(), From::Link(peer.clone(), ticket));
        if let From::Nowhere(taken) = former {
            taken.into_iter().for_each(|length| peer.took_item(ticket, length));
        }
    }

    /// The next item of this attempt, whose packet had this length.
    pub(crate) fn push(&self, item: Arc<Entry>, length: usize) {
        let mut count = self.count.lock();
        count.made += 1;
        let is_new = count.made > count.given;
        count.given = count.given.max(count.made);
        drop(count);
        match is_new {
            true => self.inflow.push(item, length),
            // An earlier attempt gave it.
            false => self.inflow.from().took(length),
        }
    }

    /// The same of a task of this node; back if as many wait as may.
    pub(crate) fn try_push(&self, item: Arc<Entry>) -> Result<(), Arc<Entry>> {
        if self.inflow.len() >= STREAM_ITEMS as usize {
            return Err(item);
        }
        self.push(item, 0);
        Ok(())
    }

    /// All have come.
    pub(crate) fn end(&self) {
        self.inflow.end();
        self.begins();
    }

    pub(crate) fn fail(&self, fault: Arc<Fault>) {
        self.inflow.fail(fault);
        self.begins();
    }
}

/// The results of a task that streams: a stream of references, each as soon as its value was made. It ends after its first
/// error: the function's own, a panic, or the end of the node that it ran on. What came before stays usable, also when the
/// stream is gone.
///
/// The function is not asked for more while 16 items ([`STREAM_ITEMS`]) wait to be taken. Dropping the stream cancels the task.
/// Cancel-safe: a `next().await` that is dropped takes nothing.
///
/// ```
/// use futures::{Stream, StreamExt, stream};
/// # use mobula::prelude::*;
/// #[task]
/// fn chunks(text: String, length: usize) -> impl Stream<Item = String> {
///     let letters: Vec<char> = text.chars().collect();
///     stream::iter((0..letters.len()).step_by(length.max(1))).map(move |at| letters[at..].iter().take(length).collect())
/// }
///
/// #[task]
/// fn shout(text: String) -> String {
///     text.to_uppercase()
/// }
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::local().await?;
/// let mut parts: ObjectRefStream<String> = chunks::submit(&cluster, "abcdefgh", 3);
/// let mut loud = Vec::new();
/// while let Some(part) = parts.next().await {
///     loud.push(shout::submit(&cluster, part?)); // a reference, as any other
/// }
/// assert_eq!(cluster.get_all(&loud).await?, ["ABC", "DEF", "GH"]);
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels the task"]
pub struct ObjectRefStream<T, E = Never> {
    more: Option<Arc<More>>,
    cancel: Option<Cancel>,
    of: PhantomData<fn() -> (T, E)>,
}

impl<T, E> ObjectRefStream<T, E> {
    pub(super) fn new(of: Promised) -> Self {
        ObjectRefStream { more: of.more, cancel: of.cancel, of: PhantomData }
    }
}

impl<T, E: WireError> Stream for ObjectRefStream<T, E> {
    type Item = Result<ObjectRef<T, E>, GetError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(items) = self.more.as_deref().and_then(More::items) else { return Poll::Ready(None) };
        let item = std::task::ready!(items.inflow.poll_next(cx));
        if !matches!(item, Some(Ok(_))) {
            (self.more, self.cancel) = (None, None);
        }
        Poll::Ready(item.map(|item| match item {
            Ok(entry) => Ok(ObjectRef::new(entry)),
            Err(fault) => Err(GetError::from_fault(Arc::unwrap_or_clone(fault))),
        }))
    }
}

impl<T, E> Unpin for ObjectRefStream<T, E> {}

impl<T, E> Drop for ObjectRefStream<T, E> {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}

impl<T, E> fmt::Debug for ObjectRefStream<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectRefStream").field("is_over", &self.more.is_none()).finish_non_exhaustive()
    }
}
