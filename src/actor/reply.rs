//! Replies: a value, or a stream of items.

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::error::{CallError, Executed, Part, panic_message};
use super::remote::items::{Consumer, Inflow, pump};
use super::remote::{Here, NodeRef, Peer, check_bound, encode_unbounded, with_scratch};
use crate::object::body::Body;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::Entry;
use crate::wire::bytes::List;
use crate::wire::codec::{self, DecodeError, Enclosed};
use crate::wire::packet::{Answer, Flags, Outcome};

/// What a method may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel as a reply",
    label = "needs `Serialize + Deserialize`, and to own what it holds"
)]
pub trait Reply: Sized + Send + 'static {
    /// What a caller on another node keeps until the answer comes.
    #[doc(hidden)]
    type Arriving: Arriving<Self>;
    /// The method that gave it, for the errors that a stream may still meet.
    #[doc(hidden)]
    #[must_use]
    fn of(self, method: &'static str) -> Self {
        let _ = method;
        self
    }
    /// Sends it to a caller on another node.
    #[doc(hidden)]
    fn answer(self, to: &Answering);
}

/// A reply on its way to a caller on this node.
#[doc(hidden)]
pub trait Arriving<R>: Default + Send + 'static {
    /// What the request says of it.
    const FLAGS: Flags;
    /// An item, whose packet had this length; gives the reply if it is the first.
    fn item(&mut self, from: &Asked, enclosed: Enclosed, body: &[u8], length: usize) -> Option<R>;
    /// The final value; gives the reply unless an item did.
    fn value(&mut self, from: &Asked, enclosed: Enclosed, body: &[u8]) -> Result<Option<R>, DecodeError>;
    /// No more comes; gives the error back unless an item was given.
    fn failed(&mut self, error: CallError) -> Option<CallError>;
}

/// A call over a link, where it was asked.
#[doc(hidden)]
#[derive(Clone)]
pub struct Asked {
    pub(crate) peer: Arc<dyn Peer>,
    pub(crate) ticket: u64,
}

impl Asked {
    pub(crate) fn here(&self) -> &NodeRef {
        self.peer.here()
    }
}

/// A call over a link, where it is answered.
#[doc(hidden)]
#[derive(Clone)]
pub struct Answering {
    pub(crate) peer: Arc<dyn Peer>,
    pub(crate) call: u64,
    /// Of a streaming reply.
    pub(crate) consumer: Option<Arc<Consumer>>,
}

impl Answering {
    /// Sends an encodable value, or the method's own error.
    pub(crate) fn send<T: Serialize + 'static>(&self, value: &T, what: Part) {
        with_scratch(|body, packet| {
            let encoded = encode_unbounded(what, Executed::Yes, value, body);
            let bounded = encoded.and_then(|enclosed| match check_bound(what, Executed::Yes, body.len()) {
                Err(_) if what == Part::Reply => self.keep(body, enclosed).map(Kept::Object),
                Err(error) => Err(error),
                Ok(()) => Ok(Kept::Nothing(enclosed)),
            });
            let (elsewhere, enclosed) = match bounded {
                Ok(Kept::Nothing(enclosed)) => (false, enclosed),
                Ok(Kept::Object(enclosed)) => (true, enclosed),
                Err(error) => return super::remote::host::send_fault(self, &error),
            };
            let refs = List::Items(&enclosed.refs);
            let outcome = match what {
                Part::Error => Outcome::App { refs, body },
                _ if elsewhere => Outcome::Elsewhere { refs },
                _ => Outcome::Value { refs, body },
            };
            Answer { call: self.call, outcome }.encode(packet);
            self.peer.answer(self.call, packet, &enclosed);
        });
    }

    /// A reply that no packet carries becomes an object of this node; gives the reference to it.
    fn keep(&self, body: &[u8], enclosed: Enclosed) -> Result<Enclosed, CallError> {
        let here = self.peer.here();
        let host = here.downcast_ref::<Here>().and_then(|here| here.0.upgrade());
        let host = host.ok_or(CallError::Cancelled { executed: Executed::Yes })?;
        let content = Content::Encoded(Encoded::at(here, Form::Packed, Body::copied(body), enclosed));
        let content = match host.promised().home() {
            Some(home) => home.counted(content),
            None => content,
        };
        Ok(Entry::settled(host.next_object(), Ok(content)).enclosed())
    }
}

/// Whether a reply became an object, and what its answer encloses.
enum Kept {
    Nothing(Enclosed),
    Object(Enclosed),
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Reply for T {
    type Arriving = OneValue;

    fn answer(self, to: &Answering) {
        to.send(&self, Part::Reply);
    }
}

/// A plain value arrives whole.
#[doc(hidden)]
#[derive(Default)]
pub struct OneValue;

impl<T: DeserializeOwned> Arriving<T> for OneValue {
    const FLAGS: Flags = Flags::ASK;

    fn item(&mut self, _: &Asked, _: Enclosed, _: &[u8], _: usize) -> Option<T> {
        None
    }

    fn value(&mut self, from: &Asked, enclosed: Enclosed, body: &[u8]) -> Result<Option<T>, DecodeError> {
        codec::decode_message(body, enclosed, from.here()).map(Some)
    }

    fn failed(&mut self, error: CallError) -> Option<CallError> {
        Some(error)
    }
}

/// The items of a streaming reply.
pub struct Streamed<T> {
    method: &'static str,
    source: Source<T>,
}

enum Source<T> {
    /// The method's own stream, in this process.
    Method(Pin<Box<dyn Stream<Item = T> + Send>>),
    /// What arrives from the actor's node.
    Link(Arc<Inflow<T>>),
    /// It ended, or panicked.
    Over,
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Reply for Streamed<T> {
    type Arriving = Option<Arc<Inflow<T>>>;

    fn of(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn answer(self, to: &Answering) {
        pump(self, to.clone());
    }
}

impl<T: DeserializeOwned + Send + 'static> Arriving<Streamed<T>> for Option<Arc<Inflow<T>>> {
    const FLAGS: Flags = Flags::STREAM;

    fn item(&mut self, from: &Asked, enclosed: Enclosed, body: &[u8], length: usize) -> Option<Streamed<T>> {
        let (inflow, reply) = open(self, from);
        match codec::decode_message(body, enclosed, from.here()) {
            Ok(item) => inflow.push(item, length),
            Err(error) => {
                let (what, message) = (Part::Item, error.to_string());
                inflow.fail(CallError::Decode { what, message, executed: Executed::Yes });
            }
        }
        reply
    }

    fn value(&mut self, from: &Asked, _: Enclosed, _: &[u8]) -> Result<Option<Streamed<T>>, DecodeError> {
        let (inflow, reply) = open(self, from);
        inflow.end();
        Ok(reply)
    }

    fn failed(&mut self, error: CallError) -> Option<CallError> {
        match self {
            Some(inflow) => {
                inflow.fail(error);
                None
            }
            None => Some(error),
        }
    }
}

/// The inflow, and the reply to give if it was not open yet.
fn open<T: Send + 'static>(
    arriving: &mut Option<Arc<Inflow<T>>>,
    from: &Asked,
) -> (Arc<Inflow<T>>, Option<Streamed<T>>) {
    if let Some(inflow) = arriving {
        return (inflow.clone(), None);
    }
    let inflow = Arc::new(Inflow::new(from.clone()));
    *arriving = Some(inflow.clone());
    (inflow.clone(), Some(Streamed { method: "", source: Source::Link(inflow) }))
}

impl<T> Streamed<T> {
    /// What a method returned.
    pub fn new(items: impl Stream<Item = T> + Send + 'static) -> Self {
        Streamed { method: "", source: Source::Method(Box::pin(items)) }
    }
}

impl<T> fmt::Debug for Streamed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match self.source {
            Source::Method(_) => "this process",
            Source::Link(_) => "another node",
            Source::Over => "nowhere any more",
        };
        f.debug_struct("Streamed").field("method", &self.method).field("from", &from).finish()
    }
}

impl<T> Stream for Streamed<T> {
    type Item = Result<T, CallError>;

    /// A panic of the method's stream becomes its last item.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = match &mut self.source {
            Source::Over => return Poll::Ready(None),
            Source::Link(inflow) => Ok(inflow.poll_next(cx)),
            Source::Method(items) => catch_unwind(AssertUnwindSafe(|| items.as_mut().poll_next(cx)))
                .map(|item| item.map(|item| item.map(Ok))),
        };
        let polled = polled.unwrap_or_else(|panic| {
            let (method, message) = (self.method.into(), panic_message(&*panic));
            Poll::Ready(Some(Err(CallError::Panicked { method, message })))
        });
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.source = Source::Over;
        }
        polled
    }
}

impl<T> Unpin for Streamed<T> {}

impl<T> Drop for Streamed<T> {
    fn drop(&mut self) {
        if let Source::Link(inflow) = &self.source {
            inflow.cancel();
        }
    }
}

/// Has no other use than the span at which generated code calls it.
#[doc(hidden)]
pub const fn assert_reply<R: Reply>() {}
