//! Where what is saved of an actor lies until its next host wants it (PROTOCOLS §2.10, §2.13): with the head, or, if it is too
//! large for that, with another node.
//!
//! ```text
//! host ── keep [X]: actor, edition ──▶ keeper                reads X, and keeps its bytes in its own store
//! host ── Checkpoint {keeper, edition} ──▶ head ── Host {saved: the same} ──▶ next host ── kept: actor, edition ──▶ keeper
//! host ── let go: actor, from, to ──▶ former keepers                                  ◀──────────── [X'] ─────────
//! keeper ── StillKept {actors} ──▶ head                      which are needed: the others go
//!
//! state at the head = references . body | PREFIX . keeper . placement . number     no list of references is as long as that says
//! ```
//!
//! What a host does not let go of (it died, or has not heard that the head knows) goes when its keeper asks the head: now and then
//! it asks about all that it keeps. When a keeper ends, its hosts have another one keep what they saved last.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;

use super::core::kept::{Edition, Given, Keeping};
use super::fetch::{answer_elsewhere, answer_error, ask_node, begin_ask, begin_ask_while_heard};
use super::give::said;
use super::runtime::Node;
use crate::actor::checkpoint::CheckpointError;
use crate::actor::error::Executed;
use crate::actor::inbox::Host;
use crate::actor::remote::ask::{Plain, answer_value};
use crate::actor::remote::host::{Incoming, answer_fault};
use crate::actor::restart::Kept;
use crate::directory::AskError;
use crate::directory::request::{Checkpoint, NotKept, StillKept};
use crate::id::{ActorId, Key, Life, Placement};
use crate::limits::{BODY_INLINE, KEEPERS_TRIED, KEPT_AGAIN, KEPT_ASKED, KEPT_GIVEN, KEPT_LOOK, KEPT_TRIES};
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::get::Value;
use crate::object::home::Home;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::CallFault;

/// What the requests are called.
pub(super) const KEEP: Key = Key::of("mobula", "keep checkpoint");
pub(super) const KEPT: Key = Key::of("mobula", "kept checkpoint");
pub(super) const LET_GO: Key = Key::of("mobula", "let go of checkpoints");

/// Checkpoints of this node's actors that it gave to others, and those of others that it keeps.
pub(super) struct Checkpoints {
    state: Mutex<State>,
    /// How many are given at once.
    turns: Semaphore,
}

#[derive(Default)]
struct State {
    given: Given,
    keeping: Keeping<Arc<Entry>>,
    /// Whether the task runs that asks about what is kept.
    looks: bool,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints { state: Mutex::default(), turns: Semaphore::new(KEPT_GIVEN) }
    }
}

impl Checkpoints {
    /// The life is over, and with it what it hosted and kept.
    pub(super) fn clear(&self) {
        let kept = {
            let mut state = self.state.lock();
            state.given.clear();
            state.keeping.clear()
        };
        kept.for_each(drop);
    }

    fn let_go(&self, actor: ActorId, gone: impl FnMut(Edition) -> bool) {
        let gone = self.state.lock().keeping.let_go(actor, gone);
        drop(gone);
    }
}

/// What the head keeps of a checkpoint.
enum AtHead<'a> {
    /// All of it: its references, then its body.
    Whole(&'a [u8]),
    /// Who has it.
    Keeper(Life, Edition),
}

/// What the head keeps begins so where a keeper has the rest: a number of references that there cannot be.
const PREFIX: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

impl<'a> AtHead<'a> {
    fn of_keeper(keeper: Life, Edition { placement, number }: Edition) -> Bytes {
        let numbers = [keeper.0, placement.0, number].map(u64::to_le_bytes);
        [&PREFIX[..], numbers.as_flattened()].concat().into()
    }

    fn read(state: &'a [u8]) -> Option<Self> {
        let Some(rest) = state.strip_prefix(&PREFIX) else { return Some(AtHead::Whole(state)) };
        let ([keeper, placement, number], []) = rest.as_chunks() else { return None };
        let [keeper, placement, number] = [keeper, placement, number].map(|part| u64::from_le_bytes(*part));
        Some(AtHead::Keeper(Life(keeper), Edition { placement: Placement(placement), number }))
    }
}

impl Node {
    /// Has what was saved of an actor kept for its next host.
    pub(super) async fn save_checkpoint(
        self: Arc<Self>,
        actor: ActorId,
        edition: Edition,
        saved: Bytes,
    ) -> Result<(), CheckpointError> {
        let (state, keeper) = match saved.len() > BODY_INLINE {
            false => (saved, None),
            true => {
                let keeper = self.have_kept(actor, edition, saved).await?;
                (AtHead::of_keeper(keeper, edition), Some(keeper))
            }
        };
        let Edition { placement, number } = edition;
        let outcome = match self.client().ask(Checkpoint { actor, placement, number, state }).await {
            Ok(Ok(())) => {
                let former = self.checkpoints().state.lock().given.is_safe(actor, edition, keeper);
                self.let_keepers_go(actor, former, Some(Edition::FIRST..edition));
                Ok(())
            }
            Ok(Err(refused)) => {
                self.let_keepers_go(actor, keeper, Some(edition.alone()));
                Err(match refused {
                    NotKept::Stale | NotKept::NotKnown => CheckpointError::Stale,
                    NotKept::Full => CheckpointError::Full,
                    NotKept::TooLarge { .. } => CheckpointError::Unknown { why: refused.to_string() },
                })
            }
            // The head has ended this node's life, and may have placed its actors elsewhere.
            Err(AskError::LifeOver { .. }) => Err(CheckpointError::Stale),
            Err(error) => Err(CheckpointError::Unknown { why: error.to_string() }),
        };
        // Either may have ended meanwhile, when nobody looked for this.
        match self.actors().get(actor) {
            None => self.checkpoints_over(actor),
            Some(_) if keeper.is_some_and(|keeper| self.known(|known| known.has_ended(keeper))) => {
                self.keepers_ended(|life| Some(life) == keeper);
            }
            Some(_) => {}
        }
        outcome
    }

    /// Gives a checkpoint to a node that keeps it.
    async fn have_kept(
        self: &Arc<Self>,
        actor: ActorId,
        edition: Edition,
        saved: Bytes,
    ) -> Result<Life, CheckpointError> {
        // When one ends, all its actors look for another at once, and each copies its state.
        let _turn = self.checkpoints().turns.acquire().await;
        let bytes = saved.len();
        let entry = Entry::settled(Host::next_object(&**self), Ok(Home::counted(&**self, Content::plain(saved))));
        let mut why = "no other node of the cluster could, nor is its head one".to_owned();
        let mut tried = Vec::new();
        while tried.len() < KEEPERS_TRIED
            && let Some(keeper) = self.keeper_for(actor, &tried)
        {
            if !self.actors().is_placed(actor) {
                return Err(CheckpointError::Stale);
            }
            tried.push(keeper);
            self.checkpoints().state.lock().given.give(actor, keeper);
            match self.give_checkpoint(keeper, (actor, edition), &entry).await {
                Ok(()) => return Ok(keeper),
                Err(refused) => why = refused,
            }
        }
        Err(CheckpointError::NoKeeper { bytes, why })
    }

    /// Who is to keep an actor's checkpoints: who did last, else one that hosts actors, else the head's own node. Not one with
    /// which this node would end.
    fn keeper_for(&self, actor: ActorId, tried: &[Life]) -> Option<Life> {
        let former = self.checkpoints().state.lock().given.keeper(actor);
        let (me, parent) = (self.last_life(), self.only().and_then(|only| only.of.claim).map(|claim| claim.host));
        let may = |life: &Life| *life != me && Some(*life) != parent && !tried.contains(life);
        self.known(|known| {
            let is_well = |life: &Life| known.get(*life).is_some_and(|member| !member.suspect);
            let others = || known.host(actor.serial, may).or_else(|| known.of_node(self.head()).filter(may));
            former.filter(|former| may(former) && is_well(former)).or_else(others)
        })
    }

    async fn give_checkpoint(
        self: &Arc<Self>,
        keeper: Life,
        which: (ActorId, Edition),
        entry: &Arc<Entry>,
    ) -> Result<(), String> {
        let link = self.link_to(keeper).ok_or("the node that was to keep it has ended")?;
        // One that falls silent is not waited for: another one is asked.
        let ask = begin_ask_while_heard(&link, KEEP, &Entry::enclosed_all(&[entry]), &encoded(&which));
        let ask = ask.map_err(|error| error.to_string())?;
        match poll_fn(|cx| ask.poll(cx)).await {
            Ok(Plain::Value(..)) => Ok(()),
            Ok(Plain::App(_, fault)) => Err(said(&fault)),
            Ok(Plain::Elsewhere(_)) => Err("it answered what it was not asked".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Those who keep something of an actor need these no more; if it is not said which, the head is to say that. Nobody waits
    /// for it.
    fn let_keepers_go(&self, actor: ActorId, keepers: impl IntoIterator<Item = Life>, gone: Option<Range<Edition>>) {
        let body = encoded(&(actor, gone.map(|gone| (gone.start, gone.end))));
        for link in keepers.into_iter().filter_map(|keeper| self.link_to(keeper)) {
            drop(begin_ask(&link, LET_GO, &Enclosed::default(), &body));
        }
    }

    /// Whether actors' checkpoints lie here.
    pub(super) fn keeps_checkpoints(&self) -> bool {
        !self.checkpoints().state.lock().keeping.is_empty()
    }

    /// An actor is here no more, or never came to be.
    pub(super) fn checkpoints_over(&self, actor: ActorId) {
        let keepers = self.checkpoints().state.lock().given.over(actor);
        self.let_keepers_go(actor, keepers, None);
    }

    /// Lives have ended: what they kept for actors here is given to others.
    pub(super) fn keepers_ended(&self, ended: impl Fn(Life) -> bool) {
        let lost = self.checkpoints().state.lock().given.ended(ended);
        for hosted in lost.into_iter().filter_map(|actor| self.actors().get(actor)) {
            hosted.save_again();
        }
    }

    /// An actor runs here: if what it was made of lies here as well, or nowhere any more, another node is to keep it.
    pub(super) fn checkpoint_came(&self, actor: ActorId) {
        if self.checkpoints().state.lock().given.is_alone(actor, self.last_life())
            && let Some(hosted) = self.actors().get(actor)
        {
            hosted.save_again();
        }
    }

    /// What the head has of the checkpoint of an actor that it places here: it comes when it is awaited.
    pub(super) fn saved(self: &Arc<Self>, actor: ActorId, state: &[u8]) -> BoxFuture<'static, Result<Kept, String>> {
        let node = self.clone();
        match AtHead::read(state) {
            Some(AtHead::Whole(saved)) => {
                let kept = self.arrived_checkpoint(saved);
                Box::pin(async move { kept })
            }
            Some(AtHead::Keeper(keeper, edition)) => {
                self.checkpoints().state.lock().given.came(actor, edition, keeper);
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
        let mut left = KEPT_TRIES;
        loop {
            left -= 1;
            let why = match self.read_kept(actor, keeper, edition).await {
                Ok(saved) => return self.arrived_checkpoint(&saved),
                Err(why) => why,
            };
            if left == 0 || keeper == self.last_life() || self.known(|known| known.has_ended(keeper)) {
                return Err(format!("it lay with another node, of life {keeper}, and cannot be had: {why}"));
            }
            // Its keeper lives: what failed was the way.
            tokio::time::sleep(KEPT_AGAIN).await;
        }
    }

    async fn read_kept(self: &Arc<Self>, actor: ActorId, keeper: Life, edition: Edition) -> Result<Bytes, String> {
        let entry = self.kept_by(keeper, actor, edition).await?;
        let value = Value::of(entry.clone()).await.map_err(|fault| fault.to_string())?;
        entry.encoded(&value).map(|encoded| encoded.body.into()).map_err(|error| error.to_string())
    }

    /// What a node keeps of an actor, which may be this one.
    async fn kept_by(self: &Arc<Self>, keeper: Life, actor: ActorId, edition: Edition) -> Result<Arc<Entry>, String> {
        if keeper == self.last_life() {
            let entry = self.checkpoints().state.lock().keeping.get(actor, edition).cloned();
            return entry.ok_or_else(|| "it is gone".to_owned());
        }
        let link = self.link_to(keeper).ok_or("that node has ended")?;
        match ask_node(&link, KEPT, &encoded(&(actor, edition))).await {
            Ok(Plain::Elsewhere(enclosed)) => Entry::of_enclosed(&enclosed).ok_or_else(|| "it is nothing".to_owned()),
            Ok(Plain::App(..) | Plain::Value(..)) => Err("it answered what it was not asked".to_owned()),
            Err(error) => Err(error.to_string()),
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
        let (node, life) = (self.shared(), self.last_life());
        let (peer, call) = (incoming.peer.clone(), incoming.arrival.call);
        peer.clone().spawn_linked(Box::pin(async move {
            match node.adopt(entry).await {
                Ok(entry) => {
                    node.hold_checkpoint(life, (actor, edition), entry);
                    answer_value(&*peer, call, &());
                }
                Err(fault) => answer_error(&*peer, call, &*fault),
            }
        }));
    }

    /// Keeps what was given in this life of the node.
    fn hold_checkpoint(self: &Arc<Self>, life: Life, (actor, edition): (ActorId, Edition), entry: Arc<Entry>) {
        let (former, looks) = {
            let mut state = self.checkpoints().state.lock();
            if life != self.last_life() {
                return;
            }
            (state.keeping.keep(actor, edition, entry), std::mem::replace(&mut state.looks, true))
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
        let entry = self.checkpoints().state.lock().keeping.get(actor, edition).cloned();
        match entry {
            Some(entry) => answer_elsewhere(peer, call, &entry),
            None => answer_fault(peer, call, Executed::Yes, CallFault::ReferenceLost),
        }
    }

    /// A peer needs these of its actor no more; or the head is to say which are.
    pub(super) fn serve_let_go(&self, incoming: &Incoming<'_>) {
        let Ok((actor, gone)) = codec::decode::<(ActorId, Option<(Edition, Edition)>)>(incoming.request.body) else {
            incoming.refuse(CallFault::Decode { message: "checkpoints that are let go of are an actor's" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        match gone {
            Some((from, to)) => self.checkpoints().let_go(actor, |edition| (from..to).contains(&edition)),
            None => {
                let node = self.shared();
                self.runtime().spawn(async move { node.ask_about_kept(vec![actor]).await });
            }
        }
        answer_value(&**incoming.peer, incoming.arrival.call, &());
    }

    /// Asks the head what of these actors is still to be kept here.
    async fn ask_about_kept(self: &Arc<Self>, actors: Vec<ActorId>) {
        // What comes while the head is asked is not what it was asked about.
        let kept: Vec<Vec<Edition>> = {
            let state = self.checkpoints().state.lock();
            actors.iter().map(|actor| state.keeping.editions(*actor)).collect()
        };
        if kept.iter().all(Vec::is_empty) {
            return;
        }
        // A head that is away is asked again.
        let Ok(needed) = self.client().ask(StillKept { actors: actors.clone() }).await else { return };
        for ((actor, kept), needed) in actors.into_iter().zip(kept).zip(needed) {
            self.checkpoints().let_go(actor, |edition| kept.contains(&edition) && !edition.is_needed(needed));
        }
    }
}

/// Asks about what is kept, for as long as anything is.
async fn look_after(node: Weak<Node>) {
    loop {
        tokio::time::sleep(KEPT_LOOK).await;
        let Some(node) = node.upgrade() else { return };
        let actors = {
            let mut state = node.checkpoints().state.lock();
            let actors = state.keeping.next(KEPT_ASKED);
            state.looks = !actors.is_empty();
            actors
        };
        if actors.is_empty() {
            return;
        }
        node.ask_about_kept(actors).await;
    }
}

fn encoded(body: &impl serde::Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    // Numbers always encode.
    let _ = codec::encode(body, &mut out);
    out
}
