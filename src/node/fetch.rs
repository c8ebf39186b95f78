//! Reading an object that another node owns: asked of its owner as a call of the node itself. The answer is where it lies, for
//! who may read it there; else its bytes, in pieces that fit into a packet.
//!
//! ```text
//! request body = serial u64 . offset u64 . how u8         of an object of the asked life
//!                                                          (0: its bytes, 1: where it lies will do: PROTOCOLS §4.1, `Pin`)
//! value        = form u8 (0 packed, 1 plain) . length u64 . bytes from the offset on
//!                the first piece encloses the object's references
//!              | 2 . length u64 . segment u64 . offset u64     plain, and pinned for who asks (§4.1, `Pinned`)
//! error        = why it cannot be had, encoded
//! ```

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};

use super::lend::ATTACH;
use super::link::PeerLink;
use super::runtime::Node;
use crate::actor::error::{CallError, Executed};
use crate::actor::remote::ask::{NodeAsk, Plain};
use crate::actor::remote::host::{Incoming, Served};
use crate::actor::remote::{Caller, Outgoing, Peer, with_scratch};
use crate::id::{ActorId, Key, ObjectId};
use crate::limits::{OBJECT_PIECE, OBJECT_PIECES};
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::{Entry, Outcome as Settled};
use crate::object::error::{Fault, GetError};
use crate::object::home::Home;
use crate::object::lent::Lent;
use crate::store::Location;
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::{Answer, CallFault, Flags, Outcome};

/// What the request is called.
const READ: Key = Key::of("mobula", "object");
/// Form and length.
const HEADER: usize = 9;
/// The form of what lies elsewhere.
const PINNED: u8 = 2;

/// What who asks can use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Bytes,
    InPlace,
}

/// One piece of an object.
struct Piece {
    form: Form,
    length: u64,
    bytes: Bytes,
    enclosed: Enclosed,
}

/// What an owner answers.
enum Read {
    Piece(Piece),
    /// It is pinned, in the owner's store.
    Pinned(Location),
    /// The value is another object's.
    Elsewhere(Arc<Entry>),
}

impl Read {
    fn of(body: Vec<u8>, enclosed: Enclosed) -> Option<Read> {
        if body.first() != Some(&PINNED) {
            return Piece::read(body, enclosed).map(Read::Piece);
        }
        let [length, segment, offset] = [0, 1, 2].map(|field| number(&body[1..], 8 * field));
        let whole = body.len() == 1 + 3 * 8;
        whole.then_some(Read::Pinned(Location { segment: segment?, offset: offset?, length: length? }))
    }
}

impl Piece {
    fn read(body: Vec<u8>, enclosed: Enclosed) -> Option<Piece> {
        let body = Bytes::from(body);
        let form = match body.first()? {
            0 => Form::Packed,
            1 => Form::Plain,
            _ => return None,
        };
        let length = u64::from_le_bytes(body.get(1..HEADER)?.try_into().ok()?);
        Some(Piece { form, length, bytes: body.slice(HEADER..), enclosed })
    }

    /// Whether it is as long as an object's first piece is.
    fn is_first(&self) -> bool {
        self.bytes.len() as u64 == self.length.min(OBJECT_PIECE as u64)
    }
}

impl Node {
    /// Fetches the value of an object that another life owns, and settles its entry.
    pub(super) async fn fetch_object(self: Arc<Self>, entry: Arc<Entry>) {
        let outcome = self.read_object(entry.id()).await;
        entry.settle(outcome.map_err(Arc::new));
    }

    pub(super) async fn read_object(self: &Arc<Self>, object: ObjectId) -> Result<Content, Fault> {
        let lost = |why: &str| GetError::Lost { object, why: why.to_owned() };
        let link = self.link_to(object.life).ok_or_else(|| lost("the node that owned it has ended"))?;
        let attached = self.store_of(&link).await;
        let how = if attached.is_some() { How::InPlace } else { How::Bytes };
        let mut read = ask(&link, object, 0, how).await?;
        if let (Read::Pinned(location), Some(attached)) = (&read, attached) {
            match attached.view(*location).await {
                Ok(view) => {
                    let home: Weak<dyn Home> = Arc::downgrade(self) as Weak<dyn Home>;
                    return Ok(Content::Lent(Lent::new(object, home, view)));
                }
                Err(error) => match self.not_viewed(object.life, error) {
                    Some(message) => return Err(GetError::Codec { message }),
                    None => read = ask(&link, object, 0, How::Bytes).await?,
                },
            }
        }
        let first = match read {
            Read::Piece(piece) => piece,
            Read::Elsewhere(next) => return Ok(Content::Elsewhere(next)),
            Read::Pinned(_) => return Err(nonsense()),
        };
        let whole = usize::try_from(first.length).map_err(|_| lost("it is larger than this process's memory"))?;
        if !first.is_first() {
            return Err(nonsense());
        }
        let mut body = first.bytes;
        if body.len() < whole {
            body = rest(&link, object, body, whole).await?;
        }
        let node = Some(self.here().clone());
        Ok(Content::Encoded(Encoded { form: first.form, body, enclosed: first.enclosed, node }))
    }

    /// A peer asks the node itself: for an object, or to run a task.
    pub(super) fn serve_node(&self, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        match incoming.request.method {
            READ => self.serve_object(incoming),
            ATTACH => self.serve_attach(incoming),
            _ => return self.shared().run_for_peer(incoming),
        }
        None
    }

    fn serve_object(&self, incoming: &Incoming<'_>) {
        let body = incoming.request.body;
        let (Some(serial), Some(offset), Some(how)) = (number(body, 0), number(body, 8), body.get(16)) else {
            incoming.refuse(CallFault::Decode { message: "a request for an object names its serial and an offset" });
            return;
        };
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        if !peer.begin(arrival, u32::MAX).runs {
            return;
        }
        let object = ObjectId { life: self.last_life(), serial };
        let Some(entry) = self.exposed(object) else {
            let why = "its owner has let it go".to_owned();
            return answer_fault(&*peer, arrival.call, &GetError::Lost { object, why });
        };
        let how = if *how == 1 { How::InPlace } else { How::Bytes };
        let mut answering = Box::pin(self.shared().answer_read(entry, peer.clone(), arrival.call, offset, how));
        // Most are at hand, and answered here and now.
        if answering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            peer.spawn_linked(answering);
        }
    }

    async fn answer_read(self: Arc<Self>, entry: Arc<Entry>, peer: Arc<dyn Peer>, call: u64, offset: u64, how: How) {
        let settled = match entry.settling().await {
            Ok(Content::Elsewhere(next)) => Ok(Content::Elsewhere(next)),
            Ok(Content::Kept(kept)) if how == How::InPlace => match self.pin(&kept, peer.life()).await {
                Ok(Some(location)) => return answer_pinned(&*peer, call, location),
                // Its bytes then, or why they cannot be had.
                Ok(None) | Err(_) => Content::Kept(kept).brought(entry.id()).await,
            },
            Ok(content) => content.brought(entry.id()).await,
            Err(fault) => Err(fault),
        };
        answer(&*peer, call, &entry, settled, offset);
    }
}

fn number(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?))
}

/// Asks the owner for what follows an offset.
async fn ask(link: &Arc<PeerLink>, object: ObjectId, offset: u64, how: How) -> Result<Read, Fault> {
    let mut body = object.serial.to_le_bytes().to_vec();
    body.extend_from_slice(&offset.to_le_bytes());
    body.push(u8::from(how == How::InPlace));
    match ask_node(link, READ, &body).await {
        Ok(Plain::Value(enclosed, body)) => Read::of(body, enclosed).ok_or_else(nonsense),
        Ok(Plain::Elsewhere(enclosed)) => Entry::of_enclosed(&enclosed).map(Read::Elsewhere).ok_or_else(nonsense),
        Ok(Plain::App(_, fault)) => Err(codec::decode(&fault)
            .unwrap_or_else(|error| GetError::Codec { message: format!("the owner's reason: {error}") })),
        Err(error) => Err(GetError::Lost { object, why: error.to_string() }),
    }
}

/// Asks something of a node itself.
pub(super) async fn ask_node(link: &Arc<PeerLink>, method: Key, body: &[u8]) -> Result<Plain, CallError> {
    let ask = NodeAsk::new(ActorId::of_node(link.party().life), link.party().node, ("object", ""));
    let caller: Arc<dyn Caller> = ask.clone();
    with_scratch(|_, packet| {
        link.to_node(Flags::ASK, method, List::EMPTY, body).encode(packet);
        let enclosed = &Enclosed::default();
        link.request(link.node_stream(), Outgoing { packet, deadline: None, enclosed }, &caller)
    })?;
    poll_fn(|cx| ask.poll(cx)).await
}

/// What follows the first piece, several pieces under way at once.
async fn rest(link: &Arc<PeerLink>, object: ObjectId, first: Bytes, whole: usize) -> Result<Bytes, Fault> {
    // What is declared is reserved as it comes.
    let mut body = BytesMut::with_capacity(whole.min(OBJECT_PIECE * OBJECT_PIECES));
    body.extend_from_slice(&first);
    let mut offsets = (OBJECT_PIECE..whole).step_by(OBJECT_PIECE);
    let mut under_way = FuturesOrdered::new();
    loop {
        while under_way.len() < OBJECT_PIECES
            && let Some(offset) = offsets.next()
        {
            under_way.push_back(ask(link, object, offset as u64, How::Bytes));
        }
        let Some(piece) = under_way.next().await else { break };
        match piece? {
            Read::Piece(piece) if piece.bytes.len() == OBJECT_PIECE.min(whole - body.len()) => {
                body.extend_from_slice(&piece.bytes)
            }
            _ => return Err(nonsense()),
        }
    }
    Ok(body.freeze())
}

fn nonsense() -> Fault {
    GetError::Codec { message: "the owner sent what is no piece of an object".to_owned() }
}

fn answer_pinned(peer: &dyn Peer, call: u64, location: Location) {
    let Location { segment, offset, length } = location;
    with_scratch(|body, packet| {
        body.push(PINNED);
        [length, segment, offset].iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body } }.encode(packet);
        peer.answer(call, packet, &Enclosed::default());
    });
}

fn answer(peer: &dyn Peer, call: u64, entry: &Entry, settled: Settled, offset: u64) {
    if let Ok(Content::Elsewhere(next)) = &settled {
        let enclosed = next.enclosed();
        return with_scratch(|_, packet| {
            Answer { call, outcome: Outcome::Elsewhere { refs: List::Items(&enclosed.refs) } }.encode(packet);
            peer.answer(call, packet, &enclosed);
        });
    }
    let encoded = settled
        .map_err(|fault| (*fault).clone())
        .and_then(|content| entry.encoded(&content).map_err(|error| GetError::Codec { message: error.to_string() }));
    let encoded = match encoded {
        Ok(encoded) => encoded,
        Err(fault) => return answer_fault(peer, call, &fault),
    };
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(encoded.body.len());
    let to = from.saturating_add(OBJECT_PIECE).min(encoded.body.len());
    let none = Enclosed::default();
    let enclosed = if offset == 0 { &encoded.enclosed } else { &none };
    with_scratch(|body, packet| {
        body.push(u8::from(encoded.form == Form::Plain));
        body.extend_from_slice(&(encoded.body.len() as u64).to_le_bytes());
        body.extend_from_slice(&encoded.body[from..to]);
        let refs = List::Items(&enclosed.refs);
        Answer { call, outcome: Outcome::Value { refs, body } }.encode(packet);
        peer.answer(call, packet, enclosed);
    });
}

fn answer_fault(peer: &dyn Peer, call: u64, fault: &Fault) {
    with_scratch(|body, packet| {
        let outcome = match codec::encode(fault, body) {
            Ok(()) => Outcome::App { refs: List::EMPTY, body },
            Err(_) => Outcome::Error { executed: Executed::Yes, fault: CallFault::ReferenceLost },
        };
        Answer { call, outcome }.encode(packet);
        peer.answer(call, packet, &Enclosed::default());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Option<Read> {
        Read::of(body.to_vec(), Enclosed::default())
    }

    #[test]
    fn what_an_owner_answers_is_taken_whole_or_not_at_all() {
        let piece = [&[1][..], &3_u64.to_le_bytes(), b"abc"].concat();
        assert!(matches!(read(&piece), Some(Read::Piece(Piece { form: Form::Plain, length: 3, .. }))));
        assert!((0..HEADER).all(|short| read(&piece[..short]).is_none()), "without a form and a length it is none");
        let pinned = [&[PINNED][..], &5_u64.to_le_bytes(), &1_u64.to_le_bytes(), &64_u64.to_le_bytes()].concat();
        let location = Location { segment: 1, offset: 64, length: 5 };
        assert!(matches!(read(&pinned), Some(Read::Pinned(at)) if at == location));
        assert!((1..pinned.len()).all(|short| read(&pinned[..short]).is_none()));
        assert!(read(&[&pinned[..], &[0]].concat()).is_none());
        assert!(read(&[&[3][..], &piece[1..]].concat()).is_none(), "no such form");
    }

    #[test]
    fn a_piece_that_is_not_as_long_as_it_says_is_refused() {
        let lies = |bytes: usize, length: u64| {
            let bytes = Bytes::from(vec![0; bytes]);
            Piece { form: Form::Plain, length, bytes, enclosed: Enclosed::default() }
        };
        assert!(lies(3, 3).is_first() && lies(0, 0).is_first());
        assert!(lies(OBJECT_PIECE, OBJECT_PIECE as u64 + 1).is_first(), "more follows");
        for (bytes, length) in [(2, 3), (4, 3), (3, u64::MAX), (0, 1), (OBJECT_PIECE + 1, 1 << 40)] {
            assert!(!lies(bytes, length).is_first(), "{bytes} bytes of {length}");
        }
    }
}
