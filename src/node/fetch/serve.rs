//! The owner's end of a read: most objects are at hand, and answered where the request arrives. What must be brought, moved or
//! encoded is answered when it has been, and holds nothing up meanwhile.

use std::sync::Arc;
use std::task::{Context, Waker};

use super::{How, PACKED, PINNED, PLAIN, THERE, answer_elsewhere, answer_error, number};
use crate::actor::remote::host::Incoming;
use crate::actor::remote::{Peer, with_scratch};
use crate::id::ObjectId;
use crate::limits::{HOLDERS_NAMED, OBJECT_PIECE};
use crate::node::runtime::Node;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::{Entry, Outcome as Settled};
use crate::object::error::{Fault, GetError};
use crate::object::lost::Lost;
use crate::store::Location;
use crate::wire::bytes::List;
use crate::wire::codec::{Enclosed, panic_message};
use crate::wire::packet::{Answer, CallFault, Outcome};

impl Node {
    pub(super) fn serve_object(&self, incoming: &Incoming<'_>) {
        let body = incoming.request.body;
        let Some(how) = body.get(8..).and_then(How::read) else {
            incoming.refuse(CallFault::Decode { message: "a request for an object names its serial, and how" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        let object = ObjectId { life: self.last_life(), serial: number(body, 0).unwrap_or_default() };
        let Some(entry) = self.exposed(object) else {
            return answer_error(&*peer, arrival.call, &Fault::lost(object, Lost::LetGo));
        };
        // Who asks for it has no copy, or has lost it.
        entry.held_by(peer.life(), false);
        let mut answering = Box::pin(self.shared().answer_read(entry, peer.clone(), arrival.call, how));
        // Most are at hand, and answered here and now.
        if answering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            peer.spawn_linked(answering);
        }
    }

    async fn answer_read(self: Arc<Self>, entry: Arc<Entry>, peer: Arc<dyn Peer>, call: u64, how: How) {
        if let How::Instead(lost) = how {
            let settled = self.instead_of(&entry, lost).await;
            return self.answer(&*peer, call, &entry, settled, how).await;
        }
        let settled = match (entry.settling().await, how) {
            (Ok(Content::Elsewhere(next)), _) => Ok(Content::Elsewhere(next)),
            (Ok(_), How::There) => return answer_there(&*peer, call),
            (Ok(content), How::InPlace(reader)) => match self.in_store(&entry, content).await {
                Content::Kept(kept) => match self.pin(&kept, peer.life(), reader).await {
                    Ok(Some(location)) => {
                        if !answer_pinned(&*peer, call, location) {
                            self.unpin(location, reader);
                        }
                        return;
                    }
                    // Its bytes then, or why they cannot be had.
                    Ok(None) | Err(_) => Content::Kept(kept).brought(entry.id()).await,
                },
                content => content.brought(entry.id()).await,
            },
            // Who has it is known without its bytes, which may be on disk.
            (Ok(Content::Kept(kept)), How::Holders) if kept.len() > OBJECT_PIECE => {
                return self.answer_large(&*peer, call, &entry, (Form::Plain, kept.len()), &Enclosed::default());
            }
            (Ok(content), How::Bytes | How::Holders | How::Instead(_)) => content.brought(entry.id()).await,
            (Err(fault), _) => Err(fault),
        };
        self.answer(&*peer, call, &entry, settled, how).await;
    }

    async fn answer(&self, peer: &dyn Peer, call: u64, entry: &Arc<Entry>, settled: Settled, how: How) {
        let encoded = match settled {
            Ok(Content::Elsewhere(next)) => return answer_elsewhere(peer, call, &next),
            Ok(content) => self.encoded(entry, content).await,
            Err(fault) => Err((*fault).clone()),
        };
        let Encoded { form, body, enclosed, .. } = match encoded {
            Ok(encoded) => encoded,
            Err(fault) => return answer_error(peer, call, &fault),
        };
        let enclosed = if how == How::Holders { Enclosed::default() } else { enclosed };
        if body.len() > OBJECT_PIECE {
            return self.answer_large(peer, call, entry, (form, body.len()), &enclosed);
        }
        with_scratch(|out, packet| {
            out.push(u8::from(form == Form::Plain));
            out.extend_from_slice(&body);
            Answer { call, outcome: Outcome::Value { refs: List::Items(&enclosed.refs), body: out } }.encode(packet);
            peer.answer(call, packet, &enclosed);
        });
    }

    /// As it travels. What its type's own code is to encode, and may be long, is encoded by a thread that may take that long: where
    /// requests arrive, all others would wait.
    async fn encoded(&self, entry: &Arc<Entry>, content: Content) -> Result<Encoded, Fault> {
        let unencoded = |why: String| GetError::Codec { message: why };
        if content.encodes_at_once() || entry.is_encoded() {
            return entry.encoded_at(self, &content).map_err(|error| unencoded(error.to_string()));
        }
        let (node, entry) = (self.shared(), entry.clone());
        match self.runtime().spawn_blocking(move || entry.encoded_at(&*node, &content)).await {
            Ok(encoded) => encoded.map_err(|error| unencoded(error.to_string())),
            Err(ended) if ended.is_panic() => {
                Err(unencoded(format!("its type panicked: {}", panic_message(&*ended.into_panic()))))
            }
            Err(_) => Err(GetError::ShutDown),
        }
    }

    /// A large one's length, and who has it.
    fn answer_large(
        &self,
        peer: &dyn Peer,
        call: u64,
        entry: &Entry,
        (form, length): (Form, usize),
        enclosed: &Enclosed,
    ) {
        with_scratch(|out, packet| {
            out.push(if form == Form::Plain { PLAIN } else { PACKED });
            out.extend_from_slice(&(length as u64).to_le_bytes());
            self.name_holders(entry, out);
            Answer { call, outcome: Outcome::Value { refs: List::Items(&enclosed.refs), body: out } }.encode(packet);
            peer.answer(call, packet, enclosed);
        });
    }

    /// Names some that have a copy, and forgets those that have ended.
    fn name_holders(&self, entry: &Entry, out: &mut Vec<u8>) {
        for life in entry.holders(HOLDERS_NAMED) {
            match self.node_of(life).is_some() {
                true => out.extend_from_slice(&life.0.to_le_bytes()),
                false => entry.held_by(life, false),
            }
        }
    }
}

/// Whether it will be told.
fn answer_pinned(peer: &dyn Peer, call: u64, location: Location) -> bool {
    let Location { segment, offset, length } = location;
    with_scratch(|body, packet| {
        body.push(PINNED);
        [length, segment, offset].iter().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
        Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body } }.encode(packet);
        peer.answer(call, packet, &Enclosed::default())
    })
}

fn answer_there(peer: &dyn Peer, call: u64) {
    with_scratch(|_, packet| {
        Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body: &[THERE] } }.encode(packet);
        peer.answer(call, packet, &Enclosed::default());
    });
}
