//! Objects that are given to another owner (PROTOCOLS §3.8), so that they outlive the node that made them.
//!
//! ```text
//! a holder ── give [X]: life u64, or 0 ──▶ owner ── adopt [X] ──▶ new owner       reads X, and makes X' of its bytes
//!                                                ◀──── [X'] ─────                 an object like any other of its
//!                                          owner ── given [X, X'] ──▶ each life that holds X
//!                                          owner ── Entrust {X, X'} ──▶ head
//! ```
//!
//! From then on X is X' at all of these: its owner answers by X', references travel as X', and counts are those of X', which
//! the new owner keeps. What the owner's end leaves (references that were on their way, claims of others) finds X' by asking
//! the head once. It needs no count of its own: who holds X also holds X', and lets both go at once.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::fetch::{answer_elsewhere, answer_error, ask_node_about};
use super::runtime::Node;
use crate::actor::inbox::Host;
use crate::actor::remote::ask::{Plain, answer_value};
use crate::actor::remote::host::Incoming;
use crate::directory::request::{Entrust, Heirs};
use crate::id::{Key, Life, NodeId, ObjectId};
use crate::limits::{HEIRS, OBJECT_HOPS, STORED};
use crate::object::body::Body;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::{Entry, Outcome as Settled};
use crate::object::error::{Fault, GetError, GiveError};
use crate::object::get::Value;
use crate::object::home::Home;
use crate::object::lost::Lost;
use crate::wire::codec;
use crate::wire::packet::{CallFault, Counted};

/// What the requests are called.
pub(super) const GIVE: Key = Key::of("mobula", "give");
pub(super) const ADOPT: Key = Key::of("mobula", "adopt");
pub(super) const GIVEN: Key = Key::of("mobula", "given");

/// Who is to have an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// Whom its owner finds that outlives it.
    Anyone,
    /// This life.
    Life(Life),
}

impl Taker {
    fn read(body: &[u8]) -> Option<Taker> {
        match u64::from_le_bytes(body.try_into().ok()?) {
            0 => Some(Taker::Anyone),
            life => Some(Taker::Life(Life(life))),
        }
    }

    fn body(self) -> [u8; 8] {
        match self {
            Taker::Anyone => 0_u64.to_le_bytes(),
            Taker::Life(life) => life.0.to_le_bytes(),
        }
    }
}

/// Objects of this node that are being given, until the head and all holders know: whoever wants the same joins.
#[derive(Default)]
pub(super) struct Givings(Mutex<FxHashMap<ObjectId, Giving>>);

#[derive(Clone)]
struct Giving {
    to: Taker,
    done: Shared<BoxFuture<'static, Result<(), GiveError>>>,
}

impl Node {
    /// Has an object given to another owner, and that known to all who need it. Goes on if it is dropped.
    pub(crate) async fn give_object(self: &Arc<Self>, entry: &Arc<Entry>, to: Taker) -> Result<(), GiveError> {
        let (node, mut entry) = (self.clone(), entry.clone());
        let giving = self.runtime().spawn(async move {
            for _ in 0..OBJECT_HOPS {
                if let Some(next) = entry.given_to() {
                    node.see_known(&entry).await?;
                    if to == Taker::Anyone {
                        return Ok(());
                    }
                    entry = next;
                    continue;
                }
                if entry.id().life != node.last_life() {
                    return node.have_given(&entry, to).await;
                }
                let giving = node.giving(&entry, to);
                let given = giving.done.await;
                if giving.to == to {
                    return given;
                }
                // It was to go elsewhere: whether it did is seen now.
            }
            Err(GiveError::NotGiven { object: entry.id(), why: "it is given on and on".to_owned() })
        });
        giving.await.unwrap_or(Err(GiveError::ShutDown))
    }

    /// The giving of an object of this node: the one that is under way, or a new one.
    fn giving(self: &Arc<Self>, entry: &Arc<Entry>, to: Taker) -> Giving {
        let (node, entry, object) = (self.clone(), entry.clone(), entry.id());
        let mut givings = self.givings().0.lock();
        let start = || {
            let given = self.runtime().spawn(async move {
                let given = node.give_own(&entry, to).await;
                let over = node.givings().0.lock().remove(&object);
                drop(over);
                given
            });
            Giving { to, done: given.map(|given| given.unwrap_or(Err(GiveError::ShutDown))).boxed().shared() }
        };
        givings.entry(object).or_insert_with(start).clone()
    }

    /// Waits until what became of an object that was given away is known to the head: else it would be lost with its former
    /// owner for those who were not told.
    async fn see_known(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), GiveError> {
        let object = entry.id();
        if object.life == self.last_life() {
            let giving = self.givings().0.lock().get(&object).cloned();
            return match giving {
                Some(giving) => giving.done.await,
                // The head may not have been there to be told.
                None => self.entrust(object, entry.travelling().id()).await,
            };
        }
        match self.have_given(entry, Taker::Anyone).await {
            Ok(()) => Ok(()),
            // Its owner has ended meanwhile, or cannot be asked: then the head is.
            Err(error) => match self.heirs(vec![object]).await {
                Some(heirs) if heirs.contains_key(&object) => Ok(()),
                _ => Err(GiveError::Unknown { object, why: error.to_string() }),
            },
        }
    }

    /// Tells the head whose an object of this node is now.
    async fn entrust(&self, object: ObjectId, to: ObjectId) -> Result<(), GiveError> {
        let unknown = |why: String| GiveError::Unknown { object, why };
        let known = self.client().ask(Entrust { object, to }).await;
        known.map_err(|error| unknown(error.to_string()))?.map_err(|error| unknown(error.to_string()))
    }

    /// Asks the owner of an object to give it.
    async fn have_given(&self, entry: &Arc<Entry>, to: Taker) -> Result<(), GiveError> {
        let object = entry.id();
        let ended = || GiveError::NotThere { object, why: "the node that owned it has ended".to_owned() };
        let link = self.link_when_met(object.life).await.ok_or_else(ended)?;
        match ask_node_about(&link, GIVE, &Entry::enclosed_all(&[entry]), &to.body()).await {
            Ok(Plain::Value(..)) => Ok(()),
            Ok(Plain::App(_, error)) => Err(codec::decode(&error).unwrap_or_else(|error| nonsense(object, &error))),
            Ok(Plain::Elsewhere(_)) => Err(nonsense(object, &"an object, where none was asked for")),
            Err(error) => Err(GiveError::NotGiven { object, why: error.to_string() }),
        }
    }

    /// The life that is to have an object of this one; none if it is in the best hands already.
    fn taker(&self, object: ObjectId, to: Taker) -> Result<Option<Life>, GiveError> {
        let me = object.life;
        let life = match to {
            Taker::Life(life) => Some(life),
            Taker::Anyone => self.known(|known| {
                let head = known.of_node(self.head());
                // Nothing of a cluster outlives the process of its head.
                if head == Some(me) {
                    return Ok(None);
                }
                let chosen = known.host(object.serial, |life| *life != me).or(head);
                chosen.map(Some).ok_or(GiveError::NoTaker { object })
            })?,
        };
        Ok(life.filter(|life| *life != me))
    }

    async fn give_own(self: &Arc<Self>, entry: &Arc<Entry>, to: Taker) -> Result<(), GiveError> {
        let object = entry.id();
        let to = self.taker(object, to)?;
        let not_there = |fault: Arc<Fault>| GiveError::NotThere { object, why: fault.to_string() };
        let content = entry.settling().await.map_err(not_there)?;
        let Some(to) = to else {
            // It stays, and its value comes here if that is another's still.
            return match content {
                Content::Elsewhere(next) if next.id().life != object.life => {
                    self.have_given(&next.travelling(), Taker::Life(object.life)).await
                }
                _ => Ok(()),
            };
        };
        // Its memory is to be free as soon as the other has it, whoever has not heard of that yet.
        drop(content);
        let refused = |why: String| GiveError::NotGiven { object, why };
        let link = self.link_to(to).ok_or_else(|| refused("the node that was to have it has ended".to_owned()))?;
        let adopted = match ask_node_about(&link, ADOPT, &Entry::enclosed_all(&[entry]), &[]).await {
            Ok(Plain::Elsewhere(enclosed)) => Entry::of_enclosed(&enclosed).filter(|adopted| adopted.id().life == to),
            Ok(Plain::App(_, fault)) => return Err(refused(said(&fault))),
            Ok(Plain::Value(..)) => None,
            Err(error) => return Err(refused(error.to_string())),
        };
        let adopted = adopted.ok_or_else(|| nonsense(object, &"no object of its own"))?;
        if !entry.give(adopted.clone()) {
            return Err(nonsense(object, &"this very object"));
        }
        let holders = self.count(|state, _| {
            state.given.insert(adopted.id(), object);
            state.refs.holders(Counted::Object(object))
        });
        let told = Entry::enclosed_all(&[entry, &adopted]);
        let tell = holders.into_iter().filter_map(|life| self.link_to(life)).map(|link| {
            let told = &told;
            // Whoever cannot be told asks for it as it asks for any, or finds it by the head.
            async move { drop(ask_node_about(&link, GIVEN, told, &[]).await) }
        });
        let (known, _) = tokio::join!(self.entrust(object, adopted.id()), join_all(tell));
        known
    }

    /// An object of this node is to be given to another.
    pub(super) fn serve_give(&self, incoming: &Incoming<'_>) {
        let entry = Entry::of_enclosed(&incoming.enclosed).filter(|entry| entry.id().life == self.last_life());
        let (Some(entry), Some(to)) = (entry, Taker::read(incoming.request.body)) else {
            incoming.refuse(CallFault::Decode { message: "only an object of this node is this node's to give" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        let node = self.shared();
        self.runtime().spawn(async move {
            // Whoever asks may not have heard that it was given already.
            match node.give_object(&entry, to).await {
                Ok(()) => answer_value(&*peer, arrival.call, &()),
                Err(error) => answer_error(&*peer, arrival.call, &error),
            }
        });
    }

    /// A peer gives this node an object of its own.
    pub(super) fn serve_adopt(&self, incoming: &Incoming<'_>) {
        let entry = Entry::of_enclosed(&incoming.enclosed).filter(|entry| entry.id().life == incoming.peer.life());
        let Some(entry) = entry else {
            incoming.refuse(CallFault::Decode { message: "a node gives an object of its own" });
            return;
        };
        if !incoming.begin() {
            return;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        let node = self.shared();
        peer.clone().spawn_linked(Box::pin(async move {
            match node.adopt(entry).await {
                Ok(adopted) => answer_elsewhere(&*peer, arrival.call, &adopted),
                Err(fault) => answer_error(&*peer, arrival.call, &*fault),
            }
        }));
    }

    /// An object of this node's own with the value of another's.
    pub(super) async fn adopt(self: &Arc<Self>, of: Arc<Entry>) -> Result<Arc<Entry>, Arc<Fault>> {
        let object = of.id();
        let content = match Value::of(of.clone()).await? {
            // What was pulled lies in this node's own store.
            Content::Encoded(_)
                if let Some(Ok(Content::Lent(lent))) = of.followed().ok().and_then(|of| of.outcome())
                    && let Some(pulled) = lent.copy() =>
            {
                pulled.for_good();
                Content::Kept(pulled)
            }
            // Where they are, they may be another process's memory.
            Content::Encoded(Encoded { form: Form::Plain, body, .. }) if body.len() >= STORED => {
                let no_room = |error: crate::store::StoreError| {
                    let why = format!("node {} cannot keep it: {error}", self.id());
                    Arc::new(GetError::lost(object, Lost::Unreadable(why)))
                };
                let mut draft = self.draft(body.len()).await.map_err(no_room)?;
                draft.write_in_turns(&body).await;
                Content::Kept(self.store().map_err(no_room)?.keep(draft.seal()))
            }
            Content::Encoded(small @ Encoded { form: Form::Plain, .. }) => {
                Content::Encoded(Encoded { body: Body::copied(&small.body), ..small })
            }
            content => content,
        };
        Ok(Entry::settled(Host::next_object(&**self), Ok(content)))
    }

    /// Its owner has given an object away that is held here.
    pub(super) fn serve_given(&self, incoming: &Incoming<'_>) {
        let entry = |hold: &Option<codec::Hold>| hold.clone().and_then(|hold| hold.downcast::<Entry>().ok());
        let entries = match &incoming.enclosed.holds[..] {
            [object, to] => entry(object).zip(entry(to)),
            _ => None,
        };
        let Some((object, to)) = entries.filter(|(object, _)| object.id().life == incoming.peer.life()) else {
            incoming.refuse(CallFault::Decode { message: "a node says of its own objects what they are now" });
            return;
        };
        if incoming.begin() {
            object.give(to);
            answer_value(&**incoming.peer, incoming.arrival.call, &());
        }
    }

    /// Objects whose owners have ended, or let them go: those that were given to others are found there, and of the rest is
    /// said what is told here.
    pub(super) fn orphaned(self: &Arc<Self>, orphans: Vec<(Arc<Entry>, Arc<Fault>)>) {
        let node = self.clone();
        self.runtime().spawn(async move {
            let mut is_away = false;
            for some in orphans.chunks(HEIRS) {
                let objects = some.iter().map(|(entry, _)| entry.id()).collect();
                // A head that is away is not waited for again and again.
                let heirs = if is_away { None } else { node.heirs(objects).await };
                is_away = heirs.is_none();
                let heirs = heirs.unwrap_or_default();
                for (entry, fault) in some {
                    match heirs.get(&entry.id()) {
                        Some(heir) => drop(entry.give(heir.clone())),
                        None => node.recover(entry, fault.clone()).await,
                    }
                }
            }
        });
    }

    /// What objects are that were given to others, as far as they are to be had; none if the head is away.
    async fn heirs(self: &Arc<Self>, objects: Vec<ObjectId>) -> Option<BTreeMap<ObjectId, Arc<Entry>>> {
        let known = self.client().ask(Heirs { objects }).await.ok()?;
        let home: Weak<dyn Home> = Arc::downgrade(self) as Weak<dyn Home>;
        let heir = |to: ObjectId| self.count(|state, effects| state.told_of(to, home.clone(), effects));
        Some(known.into_iter().filter_map(|(object, to)| Some((object, heir(to)?))).collect())
    }

    /// The value of an object that another life owned when it was read before.
    pub(super) async fn read_wherever(self: &Arc<Self>, object: ObjectId) -> Settled {
        let next = match self.read_object(object).await {
            Ok(Content::Elsewhere(next)) => next,
            Err(fault @ GetError::Lost { .. }) => {
                let heir = self.heirs(vec![object]).await.unwrap_or_default().remove(&object);
                match heir {
                    Some(heir) => heir,
                    None if self.made(object).is_some() => self.made_again(object).await.map_err(Arc::new)?,
                    None => return Err(Arc::new(fault)),
                }
            }
            outcome => return outcome.map_err(Arc::new),
        };
        Value::of(next).await
    }

    /// The life of a node that is a member.
    pub(crate) fn life_of(&self, node: NodeId) -> Option<Life> {
        self.known(|known| known.of_node(node))
    }
}

/// Why another node does not do it, in its words.
pub(super) fn said(fault: &[u8]) -> String {
    let fault: Result<Fault, _> = codec::decode(fault);
    fault.map_or_else(|error| error.to_string(), |fault| fault.to_string())
}

fn nonsense(object: ObjectId, what: &impl std::fmt::Display) -> GiveError {
    GiveError::NotGiven { object, why: format!("the other node answered what it was not asked: {what}") }
}
