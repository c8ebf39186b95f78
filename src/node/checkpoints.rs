//! Where what is saved of an actor lies until its next host wants it (PROTOCOLS §2.10, §2.13): with the head, or, if it is too
//! large for that, with another node.
//!
//! ```text
//! host ── keep [X]: actor, edition ──▶ keeper                reads X, and keeps its bytes in its own store
//! host ── Checkpoint {1 . keeper, edition} ──▶ head ── Host {saved: the same} ──▶ next host ── kept: actor, edition ──▶ keeper
//! host ── let go: actor, from, to ──▶ former keepers                                      ◀──────────── [X'] ─────────
//! keeper ── Locate {actor} ──▶ head; keeper ── needs: actor, placement, editions ──▶ host    those that are needed; others go
//!
//! state at the head = 0 . references . body | 1 . (keeper, edition)
//! ```
//!
//! What a host does not let go of (it died, or has not heard that the head knows) goes when its keeper asks: now and then it asks
//! about everything that it keeps. When a keeper ends, its hosts have another one keep what they saved last.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::core::kept::{Edition, Given, Keeping};
use super::fetch::{answer_elsewhere, answer_error, ask_node, ask_node_about, begin_ask};
use super::runtime::Node;
use super::spawn::join_arguments;
use crate::actor::checkpoint::CheckpointError;
use crate::actor::error::EndReason;
use crate::actor::inbox::Host;
use crate::actor::remote::ask::{Plain, answer_value};
use crate::actor::remote::host::Incoming;
use crate::actor::restart::Kept;
use crate::directory::AskError;
use crate::directory::request::{Checkpoint, Locate, LocateError, NotKept};
use crate::id::{ActorId, Key, Life, Placement};
use crate::limits::{BODY_INLINE, KEEPERS_TRIED, KEPT_ASKED, KEPT_LOOK};
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::Fault;
use crate::object::get::Value;
use crate::object::lost::Lost;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::CallFault;

/// What the requests are called.
pub(super) const KEEP: Key = Key::of("mobula", "keep checkpoint");
pub(super) const KEPT: Key = Key::of("mobula", "kept checkpoint");
pub(super) const LET_GO: Key = Key::of("mobula", "let go of checkpoints");
pub(super) const NEEDS: Key = Key::of("mobula", "needs checkpoints");

/// Checkpoints of this node's actors that it gave to others, and those of others that it keeps.
#[derive(Default)]
pub(super) struct Checkpoints(Mutex<State>);

#[derive(Default)]
struct State {
    given: Given,
    keeping: Keeping<Held>,
    /// Whether the task runs that asks about what is kept.
    looks: bool,
}

/// One that is kept, and which life gave it.
struct Held {
    entry: Arc<Entry>,
    of: Life,
}

/// What the head keeps of a checkpoint.
enum Standing<'a> {
    /// All of it: its references, then its body.
    Here(&'a [u8]),
    /// Who has it.
    With(Life, Edition),
}

impl<'a> Standing<'a> {
    fn put(&self) -> Bytes {
        let mut state = Vec::new();
        match self {
            Standing::Here(saved) => {
                state.reserve_exact(saved.len() + 1);
                state.push(0);
                state.extend_from_slice(saved);
            }
            Standing::With(keeper, edition) => {
                let (keeper, Edition { placement, number }) = (keeper.0, edition);
                state.push(1);
                [keeper, placement.0, *number].iter().for_each(|part| state.extend_from_slice(&part.to_le_bytes()));
            }
        }
        state.into()
    }

    fn read(state: &'a [u8]) -> Option<Self> {
        match state.split_first()? {
            (0, saved) => Some(Standing::Here(saved)),
            (1, rest) => match rest.as_chunks() {
                ([keeper, placement, number], []) => {
                    let [keeper, placement, number] = [keeper, placement, number].map(|part| u64::from_le_bytes(*part));
                    Some(Standing::With(Life(keeper), Edition { placement: Placement(placement), number }))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl Checkpoints {
    /// The life is over, and with it what it hosted and kept.
    pub(super) fn clear(&self) {
        let kept = {
            let mut state = self.0.lock();
            state.given.clear();
            state.keeping.clear()
        };
        kept.for_each(drop);
    }

    fn let_go(&self, actor: ActorId, gone: impl FnMut(Edition) -> bool) {
        let gone = self.0.lock().keeping.let_go(actor, gone);
        drop(gone);
    }
}

/// Why a node does not keep a checkpoint, or cannot give it.
type Refused = String;

impl Node {
    /// Has what was saved of an actor kept for its next host. Goes on if it is dropped: what the head knows is known here.
    pub(super) fn have_saved(
        &self,
        actor: ActorId,
        edition: Edition,
        saved: Bytes,
    ) -> BoxFuture<'static, Result<(), CheckpointError>> {
        let saving = self.runtime().spawn(self.shared().save_checkpoint(actor, edition, saved));
        let over = |error: tokio::task::JoinError| CheckpointError::Unknown { why: error.to_string() };
        Box::pin(async move { saving.await.map_err(over)? })
    }

    async fn save_checkpoint(
        self: Arc<Self>,
        actor: ActorId,
        edition: Edition,
        saved: Bytes,
    ) -> Result<(), CheckpointError> {
        let (state, keeper) = match saved.len() > BODY_INLINE {
            false => (Standing::Here(&saved).put(), None),
            true => {
                let keeper = self.have_kept(actor, edition, saved).await?;
                (Standing::With(keeper, edition).put(), Some(keeper))
            }
        };
        let Edition { placement, number } = edition;
        let error = match self.client().ask(Checkpoint { actor, placement, number, state }).await {
            Ok(Ok(())) => {
                let former = self.checkpoints().0.lock().given.is_safe(actor, edition, keeper);
                self.tell_keepers(actor, former, &(Edition::FIRST..edition));
                return Ok(());
            }
            Ok(Err(NotKept::Stale | NotKept::NotKnown)) => CheckpointError::Stale,
            Ok(Err(NotKept::Full)) => CheckpointError::Full,
            // The head has ended this node's life, and may have placed its actors elsewhere.
            Err(AskError::LifeOver { .. }) => CheckpointError::Stale,
            Ok(Err(error @ NotKept::TooLarge { .. })) => CheckpointError::Unknown { why: error.to_string() },
            Err(error) => CheckpointError::Unknown { why: error.to_string() },
        };
        if matches!(error, CheckpointError::Stale | CheckpointError::Full) {
            self.tell_keepers(actor, keeper, &edition.alone());
        }
        Err(error)
    }

    /// Gives a checkpoint to a node that keeps it.
    async fn have_kept(
        self: &Arc<Self>,
        actor: ActorId,
        edition: Edition,
        saved: Bytes,
    ) -> Result<Life, CheckpointError> {
        let bytes = saved.len();
        let entry = Entry::settled(Host::next_object(&**self), Ok(Content::plain(saved)));
        let mut why = "no other node of the cluster could, nor is its head one".to_owned();
        let mut tried = Vec::new();
        while tried.len() < KEEPERS_TRIED
            && let Some(keeper) = self.keeper_for(actor, &tried)
        {
            tried.push(keeper);
            self.checkpoints().0.lock().given.give(actor, keeper);
            match self.give_checkpoint(keeper, (actor, edition), &entry).await {
                Ok(()) => return Ok(keeper),
                Err(refused) => why = refused,
            }
        }
        Err(CheckpointError::NoKeeper { bytes, why })
    }

    /// Who is to keep an actor's checkpoints: who did last, else one that hosts actors, else the head's own node.
    fn keeper_for(&self, actor: ActorId, tried: &[Life]) -> Option<Life> {
        let former = self.checkpoints().0.lock().given.keeper(actor);
        let me = self.last_life();
        let head = self.head();
        self.known(|known| {
            let may = |life: &Life| *life != me && !tried.contains(life);
            let is_well = |life: &Life| known.get(*life).is_some_and(|member| !member.suspect);
            if let Some(former) = former.filter(|former| may(former) && is_well(former)) {
                return Some(former);
            }
            let fit = known.iter().filter(|member| member.hosts && !member.suspect).map(|member| member.life);
            let fit: Vec<Life> = fit.filter(may).collect();
            let index = usize::try_from(actor.serial).unwrap_or(0).checked_rem(fit.len());
            index.map(|index| fit[index]).or_else(|| known.of_node(head).filter(may))
        })
    }

    async fn give_checkpoint(
        self: &Arc<Self>,
        keeper: Life,
        which: (ActorId, Edition),
        entry: &Arc<Entry>,
    ) -> Result<(), Refused> {
        let link = self.link_to(keeper).ok_or("the node that was to keep it has ended")?;
        let body = encoded(&which);
        match ask_node_about(&link, KEEP, &Entry::enclosed_all(&[entry]), &body).await {
            Ok(Plain::Value(..)) => Ok(()),
            Ok(Plain::App(_, fault)) => Err(said(&fault)),
            Ok(Plain::Elsewhere(_)) => Err("it answered what it was not asked".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Those who keep something of an actor need these no more. Nobody waits for that.
    fn tell_keepers(&self, actor: ActorId, keepers: impl IntoIterator<Item = Life>, gone: &Range<Edition>) {
        let body = encoded(&(actor, gone.start, gone.end));
        for link in keepers.into_iter().filter_map(|keeper| self.link_to(keeper)) {
            drop(begin_ask(&link, LET_GO, &Enclosed::default(), &body));
        }
    }

    /// An actor has ended that the head knows: nobody will want what was saved of it, unless it is placed again.
    pub(super) fn checkpoints_over(&self, actor: ActorId, reason: &EndReason) {
        let keepers = self.checkpoints().0.lock().given.over(actor);
        // Of one that is not made yet, or that ends with its node, that is for its keeper to find out.
        if !matches!(reason, EndReason::NodeDied | EndReason::ShutDown | EndReason::NotConstructed) {
            self.tell_keepers(actor, keepers, &(Edition::FIRST..Edition::END));
        }
    }

    /// Lives have ended: what they kept for actors here is given to others.
    pub(super) fn keepers_ended(&self, ended: impl Fn(Life) -> bool) {
        let lost = self.checkpoints().0.lock().given.ended(ended);
        for hosted in lost.into_iter().filter_map(|actor| self.actors().get(actor)) {
            hosted.save_again();
        }
    }

    /// What the head has of an actor's checkpoint, which is placed here: it comes when it is awaited.
    pub(super) fn saved(self: &Arc<Self>, actor: ActorId, state: &[u8]) -> BoxFuture<'static, Result<Kept, String>> {
        let node = self.clone();
        match Standing::read(state) {
            Some(Standing::Here(saved)) => {
                let kept = self.arrived_checkpoint(saved);
                Box::pin(async move { kept })
            }
            Some(Standing::With(keeper, edition)) => {
                Box::pin(async move { node.bring_checkpoint(actor, keeper, edition).await })
            }
            None => Box::pin(async { Err("it is cut off".to_owned()) }),
        }
    }

    fn arrived_checkpoint(&self, saved: &[u8]) -> Result<Kept, String> {
        let (enclosed, body) = self.split_arguments(saved).map_err(|_| "it is cut off".to_owned())?;
        Ok(Kept::arrived(body, enclosed, self.here().clone()))
    }

    async fn bring_checkpoint(self: Arc<Self>, actor: ActorId, keeper: Life, edition: Edition) -> Result<Kept, String> {
        self.checkpoints().0.lock().given.came(actor, edition, keeper);
        let brought = async {
            let entry = self.kept_by(keeper, actor, edition).await?;
            let value = Value::of(entry.clone()).await.map_err(|fault| fault.to_string())?;
            entry.encoded(&value).map_err(|error| error.to_string())
        };
        let of_keeper = |why| format!("it lay with another node, of life {keeper}, and cannot be had: {why}");
        let encoded = brought.await.map_err(of_keeper)?;
        self.arrived_checkpoint(&encoded.body)
    }

    /// What a node keeps of an actor, which may be this one.
    async fn kept_by(self: &Arc<Self>, keeper: Life, actor: ActorId, edition: Edition) -> Result<Arc<Entry>, Refused> {
        if keeper == self.last_life() {
            let state = self.checkpoints().0.lock();
            return state
                .keeping
                .get(actor, edition)
                .map(|held| held.entry.clone())
                .ok_or_else(|| "it is gone".to_owned());
        }
        let link = self.link_to(keeper).ok_or("that node has ended")?;
        match ask_node(&link, KEPT, &encoded(&(actor, edition))).await {
            Ok(Plain::Elsewhere(enclosed)) => Entry::of_enclosed(&enclosed).ok_or_else(|| "it is nothing".to_owned()),
            Ok(Plain::App(_, fault)) => Err(said(&fault)),
            Ok(Plain::Value(..)) => Err("it answered what it was not asked".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// An actor runs here that was made of what this very node keeps: another one is to.
    pub(super) fn keeps_its_own(&self, actor: ActorId) {
        if self.checkpoints().0.lock().given.keeper(actor) == Some(self.last_life())
            && let Some(hosted) = self.actors().get(actor)
        {
            hosted.save_again();
        }
    }

    /// A peer gives this node a checkpoint to keep.
    pub(super) fn serve_keep(&self, incoming: &Incoming<'_>) {
        let entry = Entry::of_enclosed(&incoming.enclosed).filter(|entry| entry.id().life == incoming.peer.life());
        let which = codec::decode::<(ActorId, Edition)>(incoming.request.body);
        let (Some(entry), Ok((actor, edition))) = (entry, which) else {
            incoming.refuse(CallFault::Decode { message: "a checkpoint to keep is an object of its host's" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        let (node, peer, call) = (self.shared(), incoming.peer.clone(), incoming.arrival.call);
        peer.clone().spawn_linked(Box::pin(async move {
            match node.adopt(entry).await {
                Ok(entry) => {
                    node.hold_checkpoint(actor, edition, Held { entry, of: peer.life() });
                    answer_value(&*peer, call, &());
                }
                Err(fault) => answer_error(&*peer, call, &*fault),
            }
        }));
    }

    fn hold_checkpoint(self: &Arc<Self>, actor: ActorId, edition: Edition, held: Held) {
        let (former, looks) = {
            let mut state = self.checkpoints().0.lock();
            (state.keeping.keep(actor, edition, held), std::mem::replace(&mut state.looks, true))
        };
        drop(former);
        if !looks {
            self.runtime().spawn(look_after(Arc::downgrade(self)));
        }
    }

    /// A peer hosts an actor anew, and wants what this node keeps of it.
    pub(super) fn serve_kept(&self, incoming: &Incoming<'_>) {
        let Ok((actor, edition)) = codec::decode::<(ActorId, Edition)>(incoming.request.body) else {
            incoming.refuse(CallFault::Decode { message: "a checkpoint is an actor's, and of an edition" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        let (peer, call) = (&**incoming.peer, incoming.arrival.call);
        let entry = self.checkpoints().0.lock().keeping.get(actor, edition).map(|held| held.entry.clone());
        match entry {
            Some(entry) => answer_elsewhere(peer, call, &entry),
            None => answer_error(peer, call, &Fault::lost(Host::next_object(self), Lost::LetGo)),
        }
    }

    /// A peer needs these of its actor no more.
    pub(super) fn serve_let_go(&self, incoming: &Incoming<'_>) {
        let Ok((actor, from, to)) = codec::decode::<(ActorId, Edition, Edition)>(incoming.request.body) else {
            incoming.refuse(CallFault::Decode {
                message: "checkpoints that are let go of are an actor's, from one to another",
            });
            return;
        };
        if incoming.begin() {
            self.checkpoints().let_go(actor, |edition| (from..to).contains(&edition));
            answer_value(&**incoming.peer, incoming.arrival.call, &());
        }
    }

    /// A keeper asks which of an actor's checkpoints are needed here. None if the actor is not here under that placement.
    pub(super) fn serve_needs(&self, incoming: &Incoming<'_>) {
        let Ok((actor, placement, kept)) = codec::decode::<(ActorId, Placement, Vec<Edition>)>(incoming.request.body)
        else {
            incoming.refuse(CallFault::Decode {
                message: "a keeper asks about an actor, its placement, and what it keeps",
            });
            return;
        };
        if incoming.begin() {
            answer_value(&**incoming.peer, incoming.arrival.call, &self.needed(actor, placement, &kept));
        }
    }

    fn needed(&self, actor: ActorId, placement: Placement, kept: &[Edition]) -> Option<Vec<Edition>> {
        let hosted = self.actors().get(actor).filter(|hosted| hosted.placement() == placement);
        hosted.map(|_| self.checkpoints().0.lock().given.needed(actor, placement, kept))
    }

    /// Asks the host of an actor what of it is still to be kept here.
    async fn ask_about_kept(self: &Arc<Self>, actor: ActorId) {
        let kept = self.checkpoints().0.lock().keeping.editions(actor);
        let located = match self.client().ask(Locate { actor, after: Placement(0) }).await {
            Ok(Ok(located)) => located,
            Ok(Err(LocateError::Ended(_))) => {
                return self.checkpoints().let_go(actor, |edition| kept.contains(&edition));
            }
            // A head that has no journal may not have heard of it yet, if the node that gave it lives.
            Ok(Err(LocateError::NotKnown(_))) => return self.let_go_of_ended(actor),
            Err(_) => return,
        };
        let needed = match located.life == self.last_life() {
            true => self.needed(actor, located.placement, &kept),
            false => {
                let Some(link) = self.link_to(located.life) else { return };
                match ask_node(&link, NEEDS, &encoded(&(actor, located.placement, &kept))).await {
                    Ok(Plain::Value(_, needed)) => codec::decode(&needed).unwrap_or_default(),
                    Ok(_) | Err(_) => None,
                }
            }
        };
        if let Some(needed) = needed {
            self.checkpoints().let_go(actor, |edition| kept.contains(&edition) && !needed.contains(&edition));
        }
    }

    fn let_go_of_ended(&self, actor: ActorId) {
        let givers: BTreeSet<Life> = {
            let state = self.checkpoints().0.lock();
            let held =
                state.keeping.editions(actor).into_iter().filter_map(|edition| state.keeping.get(actor, edition));
            held.map(|held| held.of).collect()
        };
        if givers.into_iter().all(|giver| self.known(|known| known.has_ended(giver))) {
            self.checkpoints().let_go(actor, |_| true);
        }
    }
}

/// Asks about what is kept, for as long as anything is.
async fn look_after(node: Weak<Node>) {
    loop {
        tokio::time::sleep(KEPT_LOOK).await;
        let Some(node) = node.upgrade() else { return };
        let actors = {
            let mut state = node.checkpoints().0.lock();
            let actors = state.keeping.ask(KEPT_ASKED);
            state.looks = actors.is_some();
            actors
        };
        let Some(actors) = actors else { return };
        for actor in actors {
            let node = node.clone();
            node.clone().runtime().spawn(async move {
                node.ask_about_kept(actor).await;
                node.checkpoints().0.lock().keeping.has_asked(actor);
            });
        }
    }
}

fn encoded(body: &impl serde::Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    // Numbers always encode.
    let _ = codec::encode(body, &mut out);
    out
}

/// Why the other node refuses, in its words.
fn said(fault: &[u8]) -> Refused {
    codec::decode::<Fault>(fault).map_or_else(|error| error.to_string(), |fault| fault.to_string())
}

/// What is saved of an actor, as it is kept: its references, then its body.
pub(super) fn of(saved: &Kept) -> Bytes {
    join_arguments(saved.refs(), saved.body())
}
