//! Distributed reference counting (PROTOCOLS §3): Birrell's network objects, for objects and for actors' lifetimes.
//!
//! ```text
//! owner    peer.sent[X] = n     how often X went to that life, or was claimed by it, less what it gave back
//! holder   peer.held[X] = {holds, transit, got, claiming, inside}      of what that life owns
//! sender   peer.transit[X] = n  how often this node, not the owner, sent X there and has not heard of it since
//!
//! sent[B] = got at B + X in packets to B + n in releases on their way + n in `Claimed` on their way
//! ```
//!
//! A thing that another life owns is *safe* here in one of three ways, the first that applies:
//!
//! - **counted**: `got > 0`, the owner knows;
//! - **claiming**: whoever sent it holds it until it hears `Landed`, which this node says after `Claimed`;
//! - **inside** a held object Y: the owner of Y holds X for as long as Y lives, and X's entry holds Y.
//!
//! It is *needed* while there are holds, packets in transit, an open claim, or things that are safe inside of it. What
//! is not needed is given back, all that was got, in one release. Nothing depends on the order of packets but for
//! this: a release of what was claimed follows `Claimed`. So references may travel in either channel, and counts in
//! whatever order the outbox has them.
//!
//! The shell holds this in a lock. Effects leave in a list, in order, and are carried out outside of it: tokens are
//! given back and never dropped in here, for their drop may be the user's.

use crate::clock::Moment;
use crate::id::Life;
use crate::wire::packet::Counted;
use outbox::{Announced, Outbox};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod holder;
mod lives;
mod outbox;
mod owner;
mod settle;

#[cfg(test)]
mod tests;

pub use outbox::{Kind, Said};
pub use settle::Breach;

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// There is something to say to this life: [`Refs::take`] until it gives nothing, before which this is not said again.
    Say(Life),
    /// Nobody elsewhere holds this any more: drop it.
    Free(T),
    /// What is held of this here is lost: reading it is a typed error from now on (R4). The shell forgets its entry, so
    /// that one which arrives later is another; the holds stay, and are let go like any.
    Lost(Counted, Loss),
}

/// Effects, in order.
pub type Effects<T> = Vec<Effect<T>>;

/// Why a reference leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The owner counts no reference to it any more: a node that held it for this one has ended.
    #[error("its owner has let it go, since a node through which the reference came has ended")]
    Gone,
    /// The life that owned it has ended.
    #[error("the node that owned it has ended")]
    OwnerDied,
}

/// What became of a reference that this node wants to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a hold that was taken must be let go once"]
pub enum Hold<T> {
    /// This node owns it: the token keeps it, there is nothing to let go.
    Own(T),
    /// One hold was taken, to be let go by one [`Refs::unhold`]. It may be used at once.
    Taken,
    /// It is lost, and no hold was taken.
    Lost(Loss),
}

/// How much is in the tables, for counters and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load {
    /// Things of this node that other lives hold.
    pub exposed: usize,
    /// Things of other lives that are held here.
    pub held: usize,
    /// Pairs of thing and receiver that this node holds for.
    pub transit: usize,
    /// Things whose senders wait to hear that they have landed.
    pub landing: usize,
    /// Counts that were not taken yet.
    pub unsaid: usize,
    /// Lives that ended not long ago.
    pub ending: usize,
}

/// The references between this life and all others. `T` keeps a thing alive at its owner.
#[derive(Debug)]
pub struct Refs<T> {
    me: Life,
    /// What other lives hold of this one.
    exposed: BTreeMap<Counted, Exposed<T>>,
    peers: BTreeMap<Life, Peer>,
    /// Who sent what is being claimed, how often: they hear `Landed` after `Claimed`.
    landing: BTreeMap<Counted, Vec<(Life, u64)>>,
    /// By the object: what is safe inside of it. No list is empty.
    inside: BTreeMap<Counted, BTreeSet<Counted>>,
    /// When which life is forgotten, the first one first.
    graces: VecDeque<(Moment, Life)>,
}

#[derive(Debug)]
struct Exposed<T> {
    token: T,
    /// In how many lives' `sent` it is.
    lives: usize,
}

/// What is known of a life's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Living,
    /// It has ended, and its grace has not.
    Ending,
    /// Remembered only for what is still held of it here, all of it lost.
    Ended,
}

/// All about one other life.
#[derive(Debug, Default)]
struct Peer {
    phase: Phase,
    sent: BTreeMap<Counted, u64>,
    transit: BTreeMap<Counted, u64>,
    held: BTreeMap<Counted, Held>,
    outbox: Outbox,
}

/// A thing of another life that is held here.
#[derive(Debug, Default)]
struct Held {
    /// Of entries, containers, and packets that were not read yet.
    holds: u64,
    /// Those of packets that this node sent to others than the owner.
    transit: u64,
    /// How often the owner counts this node.
    got: u64,
    /// Whether a claim is open.
    claiming: bool,
    /// What makes it safe while `got` is zero.
    inside: Option<Counted>,
}

impl Held {
    fn is_safe(&self) -> bool {
        self.got > 0 || self.claiming || self.inside.is_some()
    }

    /// By itself, not for what is inside of it.
    fn is_needed(&self) -> bool {
        self.holds > 0 || self.transit > 0 || self.claiming
    }
}

impl Peer {
    fn is_idle(&self) -> bool {
        let Peer { phase, sent, transit, held, outbox } = self;
        *phase != Phase::Ending && sent.is_empty() && transit.is_empty() && held.is_empty() && outbox.is_idle()
    }
}

/// Takes `n` of how often a thing is counted, and gives how often it still is.
///
/// # Errors
/// It was counted only so often, and still is.
fn take_away(counts: &mut BTreeMap<Counted, u64>, counted: Counted, n: u64) -> Result<u64, u64> {
    let Entry::Occupied(mut count) = counts.entry(counted) else { return Err(0) };
    let left = count.get().checked_sub(n).ok_or(*count.get())?;
    match left {
        0 => drop(count.remove()),
        left => *count.get_mut() = left,
    }
    Ok(left)
}

impl<T: Clone> Refs<T> {
    /// No references.
    #[must_use]
    pub const fn new(me: Life) -> Self {
        Self {
            me,
            exposed: BTreeMap::new(),
            peers: BTreeMap::new(),
            landing: BTreeMap::new(),
            inside: BTreeMap::new(),
            graces: VecDeque::new(),
        }
    }

    /// The life whose references these are.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.me
    }

    /// The other lives that something is known about.
    pub fn lives(&self) -> impl Iterator<Item = Life> {
        self.peers.keys().copied()
    }

    /// How much is in the tables.
    #[must_use]
    pub fn load(&self) -> Load {
        let all = |of: fn(&Peer) -> usize| self.peers.values().map(of).sum();
        Load {
            exposed: self.exposed.len(),
            held: all(|peer| peer.held.len()),
            transit: all(|peer| peer.transit.len()),
            landing: self.landing.len(),
            unsaid: all(|peer| peer.outbox.len()),
            ending: self.graces.len(),
        }
    }

    /// The next packet of counts for a life, if there is anything to say to it. A life that turns out to have ended, or
    /// never to be reached, is reported by [`Refs::node_ended`] instead, however often that was done.
    pub fn take(&mut self, to: Life) -> Option<Said> {
        let peer = self.peers.get_mut(&to)?;
        let said = peer.outbox.take();
        self.prune(to);
        said
    }

    /// Puts a count into a life's outbox; one that has ended hears nothing.
    fn say(&mut self, to: Life, kind: Kind, counted: Counted, n: u64, effects: &mut Effects<T>) {
        let peer = self.peers.entry(to).or_default();
        if peer.phase != Phase::Living {
            return;
        }
        if peer.outbox.put(kind, counted, n) == Announced::Now {
            effects.push(Effect::Say(to));
        }
    }

    fn has_ended(&self, life: Life) -> bool {
        self.peers.get(&life).is_some_and(|peer| peer.phase != Phase::Living)
    }

    /// Forgets a life about which nothing is known.
    fn prune(&mut self, life: Life) {
        if self.peers.get(&life).is_some_and(Peer::is_idle) {
            self.peers.remove(&life);
        }
    }
}
