//! Calls that go again in a later run of their actor, on the same node: before they do, their caller's node counts that.
//!
//! ```text
//! host ── tried [call u64] ──▶ caller's node      the number of its request
//!      ◀───── () ───────────                      it has one try less; an error: nobody waits for it any more
//! ```
//!
//! A host that dies takes with it whatever it has not said. As every try but the first is counted before it begins, a call is
//! tried as often as it may be, over all nodes that its actor was on, and never once more.

use futures_util::future::BoxFuture;
use std::future::poll_fn;

use super::fetch::begin_ask;
use super::link::PeerLink;
use crate::actor::error::Executed;
use crate::actor::remote::ask::{Plain, answer_value};
use crate::actor::remote::host::{Incoming, answer_fault};
use crate::id::Key;
use crate::limits::UNREACHABLE_AFTER;
use crate::wire::codec::Enclosed;
use crate::wire::packet::CallFault;

/// What the request is called.
pub(super) const TRIED: Key = Key::of("mobula", "tried");

/// Has the peer count that a call of its own goes again: whether it does, before it counts as silent.
pub(super) fn count(link: &PeerLink, call: u64) -> BoxFuture<'static, bool> {
    let ask = begin_ask(link, TRIED, &Enclosed::default(), &call.to_le_bytes());
    Box::pin(async move {
        let Ok(ask) = ask else { return false };
        let counted = tokio::time::timeout(UNREACHABLE_AFTER, poll_fn(|cx| ask.poll(cx))).await;
        matches!(counted, Ok(Ok(Plain::Value(..))))
    })
}

/// A call to the peer goes again there.
pub(super) fn serve(incoming: &Incoming<'_>) {
    let Ok(call) = incoming.request.body.try_into().map(u64::from_le_bytes) else {
        incoming.refuse(CallFault::Decode { message: "a request that goes again is named by its number" });
        return;
    };
    if !incoming.begin() {
        return;
    }
    match incoming.peer.went_again(call) {
        true => answer_value(&**incoming.peer, incoming.arrival.call, &()),
        false => answer_fault(&**incoming.peer, incoming.arrival.call, Executed::Yes, CallFault::Cancelled),
    }
}
