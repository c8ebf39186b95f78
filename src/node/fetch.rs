//! Reading an object that another node owns: asked of its owner as a call of the node itself. The answer is where it lies, for
//! who may read it there; else its bytes if they fit into a packet, or who has them: then they are pulled (`pull.rs`).
//!
//! ```text
//! request body = serial u64 . 0                            of an object of the asked life: its bytes
//!              | serial u64 . 1 . reader u64               where it lies will do, for this connection (PROTOCOLS §4.1, `Pin`)
//!              | serial u64 . 2                            who has it, again
//!              | serial u64 . 3                            whether there is a value, once there is
//!              | serial u64 . 4 . life u64 . serial u64    it was that object's value, which is lost (§7)
//! value        = form u8 (0 packed, 1 plain) . bytes       a small one; encloses the object's references
//!              | 2 . length u64 . segment u64 . offset u64     plain, and pinned for who asks (§4.1, `Pinned`)
//!              | form u8 (3 packed, 4 plain) . length u64 . lives u64 ..
//!                a large one, and who has it beside its owner; encloses its references the first time
//!              | 5                                         there is a value
//! error        = why it cannot be had, encoded
//! ```

use bytes::Bytes;
use std::future::poll_fn;
use std::sync::{Arc, Weak};

use super::bulk::{DIAL, HOLDS};
use super::checkpoints::{KEEP, KEPT, LET_GO};
use super::give::{ADOPT, GIVE, GIVEN};
use super::isolated::ISOLATE;
use super::lend::{ATTACH, Lender};
use super::link::PeerLink;
use super::missed::MISSED;
use super::recover::Made;
use super::runtime::Node;
use super::tried::{self, TRIED};
use crate::actor::error::{CallError, Executed, Never};
use crate::actor::remote::ask::{NodeAsk, Plain};
use crate::actor::remote::host::{Incoming, Served};
use crate::actor::remote::{Caller, Outgoing, Peer, Sent, with_scratch};
use crate::actor::slot::to_get_error;
use crate::id::{ActorId, Key, Life, ObjectId};
use crate::limits::{HOLDERS_NAMED, OBJECT_PIECE};
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::home::Home;
use crate::object::lent::Lent;
use crate::object::lost::Lost;
use crate::store::{Location, ReaderId};
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::{Answer, CallFault, Flags, Outcome};

mod serve;

/// What the request is called.
pub(super) const READ: Key = Key::of("mobula", "object");
/// The forms of what is not inside of the answer.
const PINNED: u8 = 2;
const PACKED: u8 = 3;
const PLAIN: u8 = 4;
const THERE: u8 = 5;

/// What who asks can use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Bytes,
    /// It reads the owner's store, which calls it this.
    InPlace(ReaderId),
    Holders,
    /// It wants no bytes.
    There,
    /// What it has in the place of this.
    Instead(ObjectId),
}

impl How {
    fn put(self, out: &mut Vec<u8>) {
        match self {
            How::Bytes => out.push(0),
            How::InPlace(reader) => {
                out.push(1);
                out.extend_from_slice(&reader.number().to_le_bytes());
            }
            How::Holders => out.push(2),
            How::There => out.push(3),
            How::Instead(ObjectId { life, serial }) => {
                out.push(4);
                [life.0, serial].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            }
        }
    }

    fn read(body: &[u8]) -> Option<How> {
        match body {
            [0] => Some(How::Bytes),
            [1, reader @ ..] => Some(How::InPlace(ReaderId::from_number(u64::from_le_bytes(reader.try_into().ok()?)))),
            [2] => Some(How::Holders),
            [3] => Some(How::There),
            [4, lost @ ..] if lost.len() == 2 * 8 => {
                Some(How::Instead(ObjectId { life: Life(number(lost, 0)?), serial: number(lost, 8)? }))
            }
            _ => None,
        }
    }
}

/// A large object, and who has it.
pub(super) struct Large {
    pub(super) form: Form,
    pub(super) length: u64,
    pub(super) holders: Vec<Life>,
    pub(super) enclosed: Enclosed,
}

/// What an owner answers.
pub(super) enum Read {
    /// All of it.
    Whole(Form, Bytes, Enclosed),
    Large(Large),
    /// It is pinned, in the owner's store.
    Pinned(Location),
    /// The value is another object's.
    Elsewhere(Arc<Entry>),
    /// There is a value.
    There,
}

impl Read {
    fn of(body: Vec<u8>, enclosed: Enclosed) -> Option<Read> {
        let (form, rest) = body.split_first()?;
        let length = number(rest, 0);
        Some(match *form {
            0 | 1 => {
                let form = if *form == 0 { Form::Packed } else { Form::Plain };
                Read::Whole(form, Bytes::from(body).slice(1..), enclosed)
            }
            PINNED if rest.len() == 3 * 8 => {
                Read::Pinned(Location { length: length?, segment: number(rest, 8)?, offset: number(rest, 16)? })
            }
            PACKED | PLAIN => {
                let form = if *form == PACKED { Form::Packed } else { Form::Plain };
                let (lives, []) = rest.get(8..)?.as_chunks() else { return None };
                let holders = lives.iter().map(|life| Life(u64::from_le_bytes(*life))).collect();
                let large = length? > OBJECT_PIECE as u64 && lives.len() <= HOLDERS_NAMED;
                return large.then_some(Read::Large(Large { form, length: length?, holders, enclosed }));
            }
            THERE if rest.is_empty() => Read::There,
            _ => return None,
        })
    }
}

impl Node {
    /// Fetches the value of an object that another life owns, and settles its entry.
    pub(super) async fn fetch_object(self: Arc<Self>, object: ObjectId, entry: Weak<Entry>) {
        let read = self.read_object(object).await;
        // With its last reference it is nobody's, unless another one has come meanwhile.
        let Some(entry) = entry.upgrade().or_else(|| self.borrowed(object)) else { return };
        let outcome = match read {
            // Its owner may have given it to another one before it ended.
            Err(fault @ GetError::Lost { .. }) => return self.orphaned(vec![(entry, Arc::new(fault))]),
            outcome => outcome,
        };
        let large = match &outcome {
            // Its owner has not heard yet that the node where it lay has ended.
            Ok(Content::Elsewhere(next)) if self.is_orphan(next) => return self.ask_anew(&entry, next.id()).await,
            Ok(Content::Elsewhere(next)) => {
                self.leads(&entry, next, Made::Elsewhere);
                false
            }
            Ok(Content::Lent(lent)) => lent.copy().is_some(),
            Ok(Content::Encoded(encoded)) => encoded.body.len() > OBJECT_PIECE,
            _ => false,
        };
        entry.settle(outcome.map_err(Arc::new));
        // Whoever is told of this copy finds it.
        if let Some(link) = self.links().get(object.life).filter(|_| large) {
            self.has_copy(object, &link);
        }
    }

    /// Learns when an object that another life owns has a value, and leaves that where it is.
    pub(super) async fn look_for_object(self: Arc<Self>, entry: Arc<Entry>) {
        let object = entry.id();
        let answer = match self.link_when_met(object.life).await {
            Some(link) => ask(&link, object, How::There).await,
            None => Err(owner_ended(object)),
        };
        match answer {
            Ok(Read::There) => entry.is_elsewhere(),
            // Its owner has not heard yet that the node where it lay has ended.
            Ok(Read::Elsewhere(next)) if self.is_orphan(&next) => self.ask_anew(&entry, next.id()).await,
            Ok(Read::Elsewhere(next)) => {
                self.leads(&entry, &next, Made::Elsewhere);
                entry.settle(Ok(Content::Elsewhere(next)));
            }
            Ok(Read::Whole(..) | Read::Large(_) | Read::Pinned(_)) => entry.settle(Err(Arc::new(nonsense()))),
            // Its owner may have given it to another one before it ended.
            Err(fault @ GetError::Lost { .. }) => self.orphaned(vec![(entry, Arc::new(fault))]),
            Err(fault) => entry.settle(Err(Arc::new(fault))),
        }
    }

    pub(super) async fn read_object(self: &Arc<Self>, object: ObjectId) -> Result<Content, Fault> {
        let link = self.link_when_met(object.life).await.ok_or_else(|| owner_ended(object))?;
        let lender = self.store_of(&link).await;
        let in_place = |lender: &Lender| How::InPlace(ReaderId::from_number(lender.reader));
        let mut read = ask(&link, object, lender.as_ref().map_or(How::Bytes, in_place)).await?;
        if let (Read::Pinned(location), Some(lender)) = (&read, lender) {
            match lender.attached.view(*location).await {
                Ok(view) => {
                    let home: Weak<dyn Home> = Arc::downgrade(self) as Weak<dyn Home>;
                    return Ok(Content::Lent(Lent::new(object, home, view)));
                }
                Err(error) => match self.not_viewed(object.life, error) {
                    Some(message) => return Err(GetError::Codec { message }),
                    None => read = ask(&link, object, How::Bytes).await?,
                },
            }
        }
        match read {
            Read::Whole(form, body, enclosed) => Ok(Content::Encoded(Encoded::at(self.here(), form, body, enclosed))),
            Read::Large(large) => self.pull(&link, object, large).await,
            Read::Elsewhere(next) => Ok(Content::Elsewhere(next)),
            Read::Pinned(_) | Read::There => Err(nonsense()),
        }
    }

    /// A peer asks the node itself: for an object, or to run a task.
    pub(super) fn serve_node(&self, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        match incoming.request.method {
            READ => self.serve_object(incoming),
            ATTACH => self.serve_attach(incoming),
            DIAL => self.serve_dial(incoming),
            HOLDS => self.serve_holds(incoming),
            GIVE => self.serve_give(incoming),
            ADOPT => self.serve_adopt(incoming),
            GIVEN => self.serve_given(incoming),
            KEEP => self.serve_keep(incoming),
            KEPT => self.serve_kept(incoming),
            LET_GO => self.serve_let_go(incoming),
            ISOLATE => self.serve_isolate(incoming),
            TRIED => tried::serve(incoming),
            MISSED => self.serve_missed(incoming),
            _ => return self.shared().run_for_peer(incoming),
        }
        None
    }
}

fn number(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?))
}

/// Asks the owner.
pub(super) async fn ask(link: &Arc<PeerLink>, object: ObjectId, how: How) -> Result<Read, Fault> {
    let mut body = object.serial.to_le_bytes().to_vec();
    how.put(&mut body);
    match ask_node(link, READ, &body).await {
        Ok(Plain::Value(enclosed, body)) => Read::of(body, enclosed).ok_or_else(nonsense),
        Ok(Plain::Elsewhere(enclosed)) => Entry::of_enclosed(&enclosed).map(Read::Elsewhere).ok_or_else(nonsense),
        Ok(Plain::App(_, fault)) => Err(codec::decode(&fault)
            .unwrap_or_else(|error| GetError::Codec { message: format!("the owner's reason: {error}") })),
        Err(CallError::NodeDied { .. }) => Err(GetError::lost(object, Lost::OwnerDied)),
        // Its owner lives, and so does the object.
        Err(error) => Err(to_get_error::<Never>(error).into_fault()),
    }
}

/// Asks something of a node itself.
pub(super) async fn ask_node(link: &Arc<PeerLink>, method: Key, body: &[u8]) -> Result<Plain, CallError> {
    ask_node_about(link, method, &Enclosed::default(), body).await
}

/// The same, about these objects.
pub(super) async fn ask_node_about(
    link: &Arc<PeerLink>,
    method: Key,
    enclosed: &Enclosed,
    body: &[u8],
) -> Result<Plain, CallError> {
    let ask = begin_ask(link, method, enclosed, body)?;
    poll_fn(|cx| ask.poll(cx)).await
}

/// Asks it now, in line with what is asked before and after; the answer may be left alone. A node that falls silent is waited
/// for: what it has is not lost before its life ends, and whoever waits no longer says so to the `get`.
pub(super) fn begin_ask(
    link: &PeerLink,
    method: Key,
    enclosed: &Enclosed,
    body: &[u8],
) -> Result<Arc<NodeAsk>, CallError> {
    ask_by(PeerLink::request_patiently, link, method, enclosed, body)
}

/// The same, but a node that falls silent is not waited for.
pub(super) fn begin_ask_while_heard(
    link: &PeerLink,
    method: Key,
    enclosed: &Enclosed,
    body: &[u8],
) -> Result<Arc<NodeAsk>, CallError> {
    ask_by(PeerLink::request, link, method, enclosed, body)
}

fn ask_by(
    request: impl FnOnce(&PeerLink, u64, Outgoing<'_>, &Arc<dyn Caller>) -> Result<Sent, CallError>,
    link: &PeerLink,
    method: Key,
    enclosed: &Enclosed,
    body: &[u8],
) -> Result<Arc<NodeAsk>, CallError> {
    let ask = NodeAsk::new(ActorId::of_node(link.party().life), link.party().node, ("object", ""));
    let caller: Arc<dyn Caller> = ask.clone();
    with_scratch(|_, packet| {
        link.to_node(Flags::ASK, method, List::Items(&enclosed.refs), body).encode(packet);
        request(link, link.node_stream(), Outgoing { packet, deadline: None, enclosed }, &caller)
    })?;
    Ok(ask)
}

fn owner_ended(object: ObjectId) -> Fault {
    GetError::lost(object, Lost::OwnerDied)
}

pub(super) fn nonsense() -> Fault {
    GetError::Codec { message: "the owner sent what is no piece of an object".to_owned() }
}

/// The value is that of another object.
pub(super) fn answer_elsewhere(peer: &dyn Peer, call: u64, next: &Arc<Entry>) {
    let enclosed = next.enclosed();
    with_scratch(|_, packet| {
        Answer { call, outcome: Outcome::Elsewhere { refs: List::Items(&enclosed.refs) } }.encode(packet);
        peer.answer(call, packet, &enclosed);
    });
}

/// Why it cannot be had, or done.
pub(super) fn answer_error(peer: &dyn Peer, call: u64, error: &impl serde::Serialize) {
    with_scratch(|body, packet| {
        let outcome = match codec::encode(error, body) {
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

    fn numbers(form: u8, numbers: &[u64]) -> Vec<u8> {
        let mut body = vec![form];
        numbers.iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        body
    }

    #[test]
    fn what_an_owner_answers_is_taken_whole_or_not_at_all() {
        assert!(matches!(read(&[1, 7, 8]), Some(Read::Whole(Form::Plain, bytes, _)) if bytes == [7, 8][..]));
        assert!(matches!(read(&[0]), Some(Read::Whole(Form::Packed, bytes, _)) if bytes.is_empty()));
        assert!(read(&[]).is_none() && read(&[6, 7, 8]).is_none(), "no such form");
        assert!(matches!(read(&[THERE]), Some(Read::There)) && read(&[THERE, 0]).is_none());
        let pinned = numbers(PINNED, &[5, 1, 64]);
        let location = Location { segment: 1, offset: 64, length: 5 };
        assert!(matches!(read(&pinned), Some(Read::Pinned(at)) if at == location));
        assert!((1..pinned.len()).all(|short| read(&pinned[..short]).is_none()));
        assert!(read(&[&pinned[..], &[0]].concat()).is_none());
    }

    #[test]
    fn a_large_object_is_larger_than_a_packet_and_its_holders_are_few() {
        let large = numbers(PLAIN, &[1 << 20, 7, 8]);
        assert!(matches!(read(&large), Some(Read::Large(Large { form: Form::Plain, length, holders, .. }))
            if length == 1 << 20 && holders == [Life(7), Life(8)]));
        for short in (1..9).chain([10, 16, 18]) {
            assert!(read(&large[..short]).is_none(), "{short} bytes");
        }
        assert!(read(&numbers(PACKED, &[OBJECT_PIECE as u64])).is_none());
        assert!(read(&numbers(PACKED, &[OBJECT_PIECE as u64 + 1])).is_some());
        assert!(read(&numbers(PACKED, &[&[1 << 20][..], &[7; HOLDERS_NAMED]].concat())).is_some());
        assert!(read(&numbers(PACKED, &[&[1 << 20][..], &[7; HOLDERS_NAMED + 1]].concat())).is_none());
    }
}
