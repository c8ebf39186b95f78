//! Objects whose values lay at a node that has ended (PROTOCOLS §7): who owns them has them made again, others ask the owner
//! anew. A value that nobody waits for is looked for when somebody does.
//!
//! ```text
//! X, of its owner ── Elsewhere ──▶ Y, of the life where it lies       leads: Y ─▶ X, and how X was made
//! that life ends:  Y is X from here on, and X pending:   its task or call again      at its owner
//!                                                        its owner is asked anew    anywhere else
//! ```

use std::sync::{Arc, Weak};

use super::fetch::{How, Read, ask};
use super::runtime::Node;
use super::tasks::lineage::Lineage;
use crate::id::{ActorId, Life, ObjectId};
use crate::limits::OBJECT_HOPS;
use crate::object::content::{Content, Encoded};
use crate::object::entry::{Entry, Outcome as Settled};
use crate::object::error::{Fault, GetError};
use crate::object::get::Value;
use crate::object::lost::Lost;

/// What an object is the value of.
#[derive(Clone)]
pub(super) struct Lead {
    of: Weak<Entry>,
    made: Made,
}

/// How it was made.
#[derive(Clone)]
pub(super) enum Made {
    /// Its owner knows, and is not this node.
    Elsewhere,
    /// By a task or a call that may not run again.
    Once,
    /// By an actor that has ended with its node.
    ByOneThatEnds(ActorId),
    /// As an item of a stream.
    Streamed,
    /// By one that may.
    Again(Arc<Lineage>),
}

impl Made {
    /// Why it is not made again, if that is known already.
    pub(super) fn beyond(&self) -> Option<Lost> {
        match self {
            Made::Once => Some(Lost::NoRetries),
            Made::ByOneThatEnds(actor) => {
                Some(Lost::NotRepeated { why: format!("actor {actor} has ended with that node") })
            }
            Made::Streamed => Some(Lost::Streamed),
            Made::Again(_) | Made::Elsewhere => None,
        }
    }
}

impl Node {
    /// The value of an object is that of another life's. Said before it is settled so.
    pub(super) fn leads(&self, from: &Arc<Entry>, to: &Arc<Entry>, made: Made) {
        // An orphan does not say when it goes.
        if !to.is_borrowed() {
            return;
        }
        let lead = Lead { of: Arc::downgrade(from), made };
        let former = self.count(|state, _| state.leads.insert(to.id(), lead));
        drop(former);
    }

    fn lead(&self, value: ObjectId) -> Option<Lead> {
        self.count(|state, _| state.leads.get(&value).cloned())
    }

    /// How an object was made whose value this is.
    pub(super) fn made(&self, value: ObjectId) -> Option<Made> {
        self.lead(value).map(|lead| lead.made)
    }

    /// Whether a life has ended that is not this node's. What is lost with it is heard of while its link is being ended.
    pub(super) fn is_over(&self, life: Life) -> bool {
        let link_is_over = || self.links().get(life).is_some_and(|link| link.is_over());
        life != self.last_life() && (self.known(|known| known.has_ended(life)) || link_is_over())
    }

    /// Whether a value lay at a node that has ended, and nothing of it is here.
    pub(super) fn has_gone(&self, value: &Arc<Entry>) -> bool {
        value.is_borrowed() && !value.is_given() && self.is_over(value.id().life) && !is_left(value)
    }

    /// Why a value that is lost is not made again.
    pub(super) fn beyond(&self, value: ObjectId) -> Option<Lost> {
        self.made(value).map_or(Some(Lost::OwnerDied), |made| made.beyond())
    }

    /// A value is lost, and nobody was given it: whatever it is the value of is made again, if somebody waits for it.
    pub(super) async fn recover(self: &Arc<Self>, value: &Arc<Entry>, fault: Arc<Fault>) {
        let object = value.id();
        let Some(lead) = self.lead(object) else { return value.settle(Err(fault)) };
        // What came after that end is asked for by nobody, whoever waits for it. It is what it was the value of, which is.
        if !value.is_borrowed() {
            return match lead.of.upgrade() {
                Some(of) => drop(value.give(of)),
                None => value.settle(Err(fault)),
            };
        }
        if !value.is_awaited() {
            return;
        }
        match self.make_again(object, &lead).await {
            Ok(of) => drop(value.give(of)),
            Err(fault) => value.settle(Err(Arc::new(fault))),
        }
    }

    /// The object whose value this was, which is lost: it is made again, or has another value already.
    pub(super) async fn made_again(self: &Arc<Self>, value: ObjectId) -> Result<Arc<Entry>, Fault> {
        let lead = self.lead(value).ok_or_else(|| GetError::lost(value, Lost::OwnerDied))?;
        self.make_again(value, &lead).await
    }

    async fn make_again(self: &Arc<Self>, value: ObjectId, lead: &Lead) -> Result<Arc<Entry>, Fault> {
        let of = lead.of.upgrade().ok_or_else(|| GetError::lost(value, Lost::OwnerDied))?;
        let lost = |why| GetError::lost(of.id(), why);
        let Some(known) = of.leads_to().filter(|known| known.id() == value) else { return Ok(of) };
        if known.is_given() {
            return Ok(of);
        }
        if let Some(left) = left(&known) {
            of.moved(left);
            return Ok(of);
        }
        match &lead.made {
            Made::Once | Made::ByOneThatEnds(_) | Made::Streamed => {
                return Err(lost(lead.made.beyond().unwrap_or(Lost::OwnerDied)));
            }
            Made::Again(lineage) => self.rebuild(value, &of, lineage).await.map_err(lost)?,
            Made::Elsewhere => {
                // Of two who miss it one asks.
                if let Some(known) = of.renew(value, None) {
                    known.give(of.clone());
                    let (node, of) = (self.clone(), of.clone());
                    self.runtime().spawn(async move { node.ask_anew(&of, value).await });
                }
            }
        }
        Ok(of)
    }

    /// Asks the owner what the value of an object is, now that what it said is lost.
    pub(super) async fn ask_anew(self: &Arc<Self>, of: &Arc<Entry>, lost: ObjectId) {
        let (object, mut lost) = (of.id(), lost);
        for _ in 0..OBJECT_HOPS {
            match self.read_anew(object, lost).await {
                // Its owner has not heard of that end either.
                Ok(Content::Elsewhere(next)) if self.is_orphan(&next) => lost = next.id(),
                outcome => {
                    if let Ok(Content::Elsewhere(next)) = &outcome {
                        self.leads(of, next, Made::Elsewhere);
                    }
                    return of.settle(outcome.map_err(Arc::new));
                }
            }
        }
        of.settle(Err(Arc::new(of.astray())));
    }

    async fn read_anew(self: &Arc<Self>, object: ObjectId, lost: ObjectId) -> Result<Content, Fault> {
        let link = self.link_when_met(object.life).await;
        let link = link.ok_or_else(|| GetError::lost(object, Lost::OwnerDied))?;
        match ask(&link, object, How::Instead(lost)).await? {
            Read::Whole(form, body, enclosed) => Ok(Content::Encoded(Encoded::at(self.here(), form, body, enclosed))),
            Read::Large(large) => self.pull(&link, object, large).await,
            Read::Elsewhere(next) => Ok(Content::Elsewhere(next)),
            Read::Pinned(_) | Read::There => Err(super::fetch::nonsense()),
        }
    }

    /// Whether an object arrived of a life that had ended before.
    pub(super) fn is_orphan(&self, object: &Arc<Entry>) -> bool {
        !object.is_borrowed() && !object.is_given() && object.id().life != self.last_life()
    }

    /// The same as its owner answers it. What others cannot read it may read for them: then it is its bytes.
    pub(super) async fn instead_of(self: &Arc<Self>, entry: &Arc<Entry>, lost: ObjectId) -> Settled {
        if self.is_lost(lost).await {
            self.made_again(lost).await.map_err(Arc::new)?;
        }
        match entry.settling().await? {
            Content::Elsewhere(next) if next.id() == lost => Value::of(next).await,
            Content::Elsewhere(next) => Ok(Content::Elsewhere(next)),
            content => content.brought(entry.id()).await,
        }
    }

    /// Whether a value cannot be had where it lies: who lives there is asked, and waited for until its life ends. This node
    /// does not ask itself: of its own objects it has told all it knows when it was asked for them.
    pub(super) async fn is_lost(&self, value: ObjectId) -> bool {
        if value.life == self.last_life() {
            return false;
        }
        match self.link_when_met(value.life).await {
            Some(link) => ask(&link, value, How::Holders).await.is_err_and(|fault| fault.is_lost()),
            None => true,
        }
    }
}

/// Whether another life's value is here.
fn is_left(value: &Arc<Entry>) -> bool {
    match value.outcome() {
        Some(Ok(Content::Lent(lent))) => lent.is_left(),
        Some(Ok(Content::Encoded(_) | Content::Kept(_) | Content::Live(_))) => true,
        Some(Ok(Content::Elsewhere(_)) | Err(_)) | None => false,
    }
}

/// What is here of it, now that its life is over.
fn left(value: &Arc<Entry>) -> Option<Content> {
    match value.outcome()? {
        Ok(Content::Lent(lent)) => lent.left(),
        Ok(content @ (Content::Encoded(_) | Content::Kept(_) | Content::Live(_))) => Some(content),
        Ok(Content::Elsewhere(_)) | Err(_) => None,
    }
}
