//! Links: two actors of which the end of one, unless it was stopped, is the end of the other.
//!
//! ```text
//! a: ctx.link(&b) ─▶ a's node waits for the end of b ─▶ ends a
//!        └─ link ──▶ b's node waits for the end of a ─▶ ends b
//! ```
//!
//! Each half is a wait for an end on the node of the one that would end by it, whoever asked for the link. So neither needs the
//! other's node to be told of anything.

use futures_util::future::{AbortHandle, BoxFuture, abortable};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;

use super::args::{Arguments, Form, Unresolved};
use super::context::ActorContext;
use super::dispatch::Actor;
use super::ending::{end_of, ended};
use super::error::{CallError, EndReason, Executed};
use super::frame;
use super::handle::{Elsewhere, Handle, Route};
use super::inbox::Inbox;
use super::remote::ask::{AboutEnd, NodeAsk, Plain, answer_value, nonsense};
use super::remote::host::{Incoming, answer_fault};
use super::remote::placed::{Binding, Lost, Placed};
use super::remote::{Caller, Envelope, Outgoing, RemoteActor, encode_request};
use crate::id::{ActorId, Key, Placement};
use crate::limits::LINKS;
use crate::wire::codec;
use crate::wire::packet::{CallFault, Flags};

const LINK: Key = Key::of("mobula", "link");
const UNLINK: Key = Key::of("mobula", "unlink");

/// Why two actors are not linked, or not unlinked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// One of them has as many links as it may.
    #[error("one of the actors has {limit} links already, as many as it may: unlink it from some")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The other's node could not be asked.
    #[error("the node of the other actor: {0}")]
    Call(CallError),
}

/// An actor's links: with whom, and what ends the wait for their ends.
#[derive(Default)]
pub(super) struct Links(Mutex<BTreeMap<ActorId, AbortHandle>>);

impl<A: Actor> ActorContext<A> {
    /// Links this actor with another, wherever it lives: when one of them ends otherwise than by a stop, the other is ended, too,
    /// by [`Linked`](EndReason::Linked), which names the one that ended first. It ends as by a kill, whatever it does. An actor
    /// that has ended so already ends this one at once.
    ///
    /// Two actors are linked once, whichever asks how often. To be started again in place is no end, and links stay. One that is
    /// placed again on another node has no links there before it makes them, and those with it still end when it does. Neither
    /// keeps the other.
    ///
    /// # Errors
    /// [`LinkError::TooMany`], or the other's node cannot be asked: then they are not linked.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the other may not end with this one: [`unlink`](ActorContext::unlink) undoes what there is.
    pub fn link<H: Handle>(&self, other: &H) -> impl Future<Output = Result<(), LinkError>> + Send + use<A, H> {
        let (inbox, other) = (self.inbox().clone(), other.as_ref().weakened());
        async move {
            let id = other.id();
            if id == inbox.id() {
                return Ok(());
            }
            let ending = H::from_ref(other.clone()).ended();
            inbox.follow(id, Box::pin(async move { ending.await.unwrap_or(EndReason::Unknown) }))?;
            let linked = match other.route() {
                Route::Local(other) => {
                    let me = inbox.clone();
                    other.to.follow(inbox.id(), Box::pin(async move { ended(&me).await }))
                }
                Route::Elsewhere(there) => ask_elsewhere(there, LINK, &inbox).await,
            };
            if linked.is_err() {
                inbox.unfollow(id);
            }
            linked
        }
    }

    /// Undoes a link, whichever of both asked for it. An end that came before may still end either.
    ///
    /// # Errors
    /// The other's node cannot be asked: then the other may still end with this actor.
    pub fn unlink<H: Handle>(&self, other: &H) -> impl Future<Output = Result<(), LinkError>> + Send + use<A, H> {
        let (inbox, other) = (self.inbox().clone(), other.as_ref().weakened());
        async move {
            inbox.unfollow(other.id());
            match other.route() {
                Route::Local(other) => {
                    other.to.unfollow(inbox.id());
                    Ok(())
                }
                Route::Elsewhere(there) => ask_elsewhere(there, UNLINK, &inbox).await,
            }
        }
    }
}

impl<A: Actor> Inbox<A> {
    /// Ends this actor when another does, unless that is stopped. Once for each.
    pub(super) fn follow(
        self: &Arc<Self>,
        other: ActorId,
        end: BoxFuture<'static, EndReason>,
    ) -> Result<(), LinkError> {
        let mut links = self.links().0.lock();
        if links.contains_key(&other) {
            return Ok(());
        }
        if links.len() >= LINKS {
            return Err(LinkError::TooMany { limit: LINKS });
        }
        let inbox = self.clone();
        let (work, abort) = abortable(async move {
            let reason = tokio::select! {
                biased;
                _ = ended(&inbox) => EndReason::Stopped,
                reason = end => reason,
            };
            inbox.links().0.lock().remove(&other);
            if !reason.is_normal() {
                inbox.mailbox().close(reason.linked_to(other));
            }
        });
        links.insert(other, abort);
        drop(links);
        self.host().spawn(Box::pin(async move {
            let _ = work.await;
        }));
        Ok(())
    }

    /// Does so no more.
    pub(super) fn unfollow(&self, other: ActorId) {
        let link = self.links().0.lock().remove(&other);
        if let Some(link) = link {
            link.abort();
        }
    }
}

/// Who asks for a link: on which node it is, the request itself says.
#[derive(Serialize, Deserialize)]
struct Linking {
    actor: ActorId,
    type_key: Key,
    placement: Placement,
}

impl Linking {
    fn of<A: Actor>(inbox: &Inbox<A>) -> Self {
        Linking { actor: inbox.id(), type_key: A::type_name().key(), placement: inbox.placement() }
    }
}

impl Arguments for Linking {
    fn form(&self) -> Form {
        Form::NONE
    }
    fn each<'a>(&'a mut self, _: &mut dyn FnMut(&'a mut dyn Unresolved)) {}
}

/// Asks an actor's node to link it, or not. One that has ended has no links: who asks hears of its end as well.
async fn ask_of(actor: &Arc<RemoteActor>, method: Key, me: Linking) -> Result<(), LinkError> {
    match ask(actor, method, me).await {
        Ok(true) | Err(CallError::ActorDied { .. } | CallError::NodeDied { .. }) => Ok(()),
        Ok(false) => Err(LinkError::TooMany { limit: LINKS }),
        Err(error) => Err(LinkError::Call(error)),
    }
}

/// Whether it did.
async fn ask(actor: &Arc<RemoteActor>, method: Key, mut me: Linking) -> Result<bool, CallError> {
    let caller = frame::caller();
    let envelope = Envelope {
        flags: Flags::ASK,
        actor: actor.id,
        placement: actor.placement,
        method,
        retries: 0,
        caller,
        up: None,
    };
    let ask = NodeAsk::new(actor.id, actor.peer.node(), ("link", ""));
    let caller: Arc<dyn Caller> = ask.clone();
    encode_request(&envelope, &*actor.peer, &mut me, |packet, enclosed| {
        actor.peer.request(actor.stream(0), Outgoing { packet, deadline: None, enclosed }, &caller)
    })?;
    match poll_fn(|cx| ask.poll(cx)).await? {
        Plain::Value(_, body) => codec::decode(&body).map_err(|_| nonsense()),
        Plain::App(..) | Plain::Elsewhere(_) => Err(nonsense()),
    }
}

/// The same of an actor wherever it is; what has ended needs no asking.
async fn ask_elsewhere<A: Actor>(there: &Elsewhere, method: Key, me: &Arc<Inbox<A>>) -> Result<(), LinkError> {
    match there {
        Elsewhere::Remote(actor) => ask_of(&actor.to, method, Linking::of(me)).await,
        Elsewhere::Placed(actor) => ask_placed(&actor.to, method, me).await,
        Elsewhere::Gone(..) => Ok(()),
    }
}

/// The same of an actor that the head has placed, wherever it is.
async fn ask_placed<A: Actor>(actor: &Arc<Placed>, method: Key, me: &Arc<Inbox<A>>) -> Result<(), LinkError> {
    loop {
        let there = match actor.whereabouts().await {
            Ok(Binding::There(there)) => there,
            Ok(Binding::Here(_)) => {
                let Some(other) = me.host().hosting(actor.id) else { return Ok(()) };
                if method == UNLINK {
                    other.unlinked(me.id());
                    return Ok(());
                }
                let inbox = me.clone();
                return other.linked(me.id(), Box::pin(async move { ended(&inbox).await }));
            }
            // Who asks hears of that as well.
            Err(Some(_)) => return Ok(()),
            Err(None) => return Err(LinkError::Call(actor.refused(&EndReason::NodeDied))),
        };
        match ask(&there, method, Linking::of(me)).await {
            Err(CallError::NodeDied { .. }) => actor.lost(&there, Lost::LinkEnded),
            Err(CallError::ActorDied { reason: EndReason::Unknown, .. }) => actor.lost(&there, Lost::NotHere),
            Ok(true) | Err(CallError::ActorDied { .. }) => return Ok(()),
            Ok(false) => return Err(LinkError::TooMany { limit: LINKS }),
            Err(error) => return Err(LinkError::Call(error)),
        }
    }
}

/// Takes a request that links an actor of this node with one of the peer's, or unlinks them.
pub(super) fn serve<A: Actor>(inbox: &Arc<Inbox<A>>, incoming: &Incoming<'_>) -> AboutEnd {
    let method = incoming.request.method;
    if method != LINK && method != UNLINK {
        return AboutEnd::Not;
    }
    let (peer, arrival) = (incoming.peer, incoming.arrival);
    let begun = peer.begin(arrival, inbox.share());
    inbox.stream_left(begun.closes);
    if arrival.tell || !begun.runs {
        return AboutEnd::Taken;
    }
    let Linking { actor, type_key, placement } = match codec::decode(incoming.request.body) {
        Ok(linking) => linking,
        Err(error) => {
            let message = error.to_string();
            answer_fault(&**peer, arrival.call, Executed::No, CallFault::Decode { message: &message });
            return AboutEnd::Taken;
        }
    };
    let done = if method == LINK {
        let host = inbox.host().clone();
        let other = host.resolve(actor, type_key, peer.life(), placement);
        inbox.follow(actor, Box::pin(end_of(actor, other, host))).is_ok()
    } else {
        inbox.unfollow(actor);
        true
    };
    answer_value(&**peer, arrival.call, &done);
    AboutEnd::Taken
}
