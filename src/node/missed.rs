//! An argument of a call that is lost where the call waits for it: who made the call knows whose value it is, and has that made
//! again (PROTOCOLS §7).
//!
//! ```text
//! host ── missed [life u64 . serial u64] ──▶ caller's node      the object that it was passed
//!      ◀── the object whose value that was ──                   pending, or with another value; an error: why it has none
//!                                                               a value: the caller's node finds nothing wrong with it
//! ```

use futures_util::future::BoxFuture;
use std::future::poll_fn;

use super::fetch::{answer_elsewhere, answer_error, begin_ask};
use super::link::PeerLink;
use super::runtime::Node;
use crate::actor::remote::Instead;
use crate::actor::remote::ask::{Plain, answer_value};
use crate::actor::remote::host::Incoming;
use crate::id::{Key, Life, ObjectId};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::CallFault;

/// What the request is called.
pub(super) const MISSED: Key = Key::of("mobula", "missed");

/// Asks the peer, which passed this object, for another in its place.
pub(super) fn ask(link: &PeerLink, object: ObjectId) -> BoxFuture<'static, Instead> {
    let body = [object.life.0.to_le_bytes(), object.serial.to_le_bytes()].concat();
    let ask = begin_ask(link, MISSED, &Enclosed::default(), &body);
    Box::pin(async move {
        let Ok(ask) = ask else { return Instead::Nothing };
        match poll_fn(|cx| ask.poll(cx)).await {
            Ok(Plain::Elsewhere(enclosed)) => Entry::of_enclosed(&enclosed).map_or(Instead::Nothing, Instead::Object),
            Ok(Plain::App(_, fault)) => match codec::decode::<Fault>(&fault) {
                Ok(fault @ GetError::Lost { object, .. }) => Instead::Lost(object, fault.to_string()),
                _ => Instead::Nothing,
            },
            Ok(Plain::Value(..)) | Err(_) => Instead::Nothing,
        }
    })
}

impl Node {
    /// A call of this node waits at the peer for an argument that is lost there.
    pub(super) fn serve_missed(&self, incoming: &Incoming<'_>) {
        let (numbers, []) = incoming.request.body.as_chunks() else { return refuse(incoming) };
        let [life, serial] = numbers else { return refuse(incoming) };
        let missed = ObjectId { life: Life(u64::from_le_bytes(*life)), serial: u64::from_le_bytes(*serial) };
        if !incoming.begin() {
            return;
        }
        let (node, peer, call) = (self.shared(), incoming.peer.clone(), incoming.arrival.call);
        incoming.peer.spawn_linked(Box::pin(async move {
            if !node.is_lost(missed).await {
                return answer_value(&*peer, call, &());
            }
            match node.made_again(missed).await {
                Ok(of) => answer_elsewhere(&*peer, call, &of),
                Err(fault) => answer_error(&*peer, call, &fault),
            }
        }));
    }
}

fn refuse(incoming: &Incoming<'_>) {
    incoming.refuse(CallFault::Decode { message: "what is missed is named by its life and serial" });
}
