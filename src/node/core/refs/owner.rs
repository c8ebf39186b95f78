//! The owner's side: who holds what is owned here (PROTOCOLS §3.1, §3.2, §3.3).

use super::settle::Breach;
use super::{Effect, Effects, Exposed, Hold, Kind, Loss, Refs, take_away};
use crate::id::Life;
use crate::wire::packet::Counted;
use std::collections::btree_map::Entry;

impl<T: Clone> Refs<T> {
    /// A packet for `to` is made, and has `n` references to a thing that this node owns and `token` keeps. Called before
    /// the packet can reach the link.
    pub fn send(&mut self, counted: Counted, token: &T, to: Life, n: u64) {
        debug_assert_eq!(counted.owner(), self.me, "what others own is sent on");
        if n == 0 {
            return;
        }
        match self.peers.entry(to).or_default().sent.entry(counted) {
            Entry::Occupied(mut known) => *known.get_mut() += n,
            Entry::Vacant(first) => {
                first.insert(n);
                let exposed = || Exposed { token: token.clone(), lives: 0 };
                self.exposed.entry(counted).or_insert_with(exposed).lives += 1;
            }
        }
    }

    /// An object of this node holds a thing of this node (PROTOCOLS §3.4), until [`Refs::unhold`]. A token inside the object
    /// would keep it, and yet whoever reads it out of the object could not claim it: it has to be found here.
    pub fn contain(&mut self, counted: Counted, token: &T) {
        self.send(counted, token, self.me, 1);
    }

    /// A packet for which [`Refs::send`] or [`Refs::sent_on`] was called never got a number of its link, and never will.
    pub fn unsend(&mut self, counted: Counted, to: Life, n: u64, effects: &mut Effects<T>) {
        // As many as are left: what its link counted may have ended with that, and then there is nothing to take.
        if counted.owner() == self.me {
            let _ = self.subtract(counted, to, n.min(self.sent(counted, to)), effects);
        } else {
            let _ = self.let_land(counted, to, n.min(self.transit(counted, to)), effects);
        }
        self.prune(to);
    }

    /// What keeps a thing of this node that some other life holds: nobody else may find it.
    #[must_use]
    pub fn find(&self, counted: Counted) -> Option<T> {
        self.exposed.get(&counted).map(|exposed| exposed.token.clone())
    }

    /// How often a life holds a thing of this node, as far as it is known here.
    #[must_use]
    pub fn sent(&self, counted: Counted, to: Life) -> u64 {
        self.peers.get(&to).and_then(|peer| peer.sent.get(&counted)).copied().unwrap_or(0)
    }

    /// The other lives that hold a thing of this node.
    #[must_use]
    pub fn holders(&self, counted: Counted) -> Vec<Life> {
        let others = self.peers.iter().filter(|(life, _)| **life != self.me);
        others.filter(|(_, peer)| peer.sent.contains_key(&counted)).map(|(life, _)| *life).collect()
    }

    pub(super) fn own(&self, counted: Counted) -> Hold<T> {
        self.find(counted).map_or(Hold::Lost(Loss::Gone), Hold::Own)
    }

    pub(super) fn on_claim(
        &mut self,
        from: Life,
        counted: Counted,
        n: u64,
        effects: &mut Effects<T>,
    ) -> Result<(), Breach> {
        if counted.owner() != self.me {
            return Err(Breach::NotOwner(counted));
        }
        let Some(exposed) = self.exposed.get_mut(&counted) else {
            self.say(from, Kind::Gone, counted, n, effects);
            return Ok(());
        };
        let sent = self.peers.entry(from).or_default().sent.entry(counted).or_insert(0);
        exposed.lives += usize::from(*sent == 0);
        *sent = sent.checked_add(n).ok_or(Breach::TooMany)?;
        self.say(from, Kind::Claimed, counted, n, effects);
        Ok(())
    }

    pub(super) fn on_release(
        &mut self,
        from: Life,
        counted: Counted,
        n: u64,
        effects: &mut Effects<T>,
    ) -> Result<(), Breach> {
        if counted.owner() != self.me {
            return Err(Breach::NotOwner(counted));
        }
        self.subtract(counted, from, n, effects).map_err(|had| Breach::Released { counted, had, n })
    }

    /// Takes `n` of what a life has of a thing.
    ///
    /// # Errors
    /// It has no more than so many, and none was taken.
    fn subtract(&mut self, counted: Counted, life: Life, n: u64, effects: &mut Effects<T>) -> Result<(), u64> {
        let peer = self.peers.get_mut(&life).ok_or(0u64)?;
        if take_away(&mut peer.sent, counted, n)? == 0 {
            self.uncount(counted, effects);
        }
        Ok(())
    }

    /// One life less holds a thing.
    pub(super) fn uncount(&mut self, counted: Counted, effects: &mut Effects<T>) {
        let Entry::Occupied(mut exposed) = self.exposed.entry(counted) else { return };
        exposed.get_mut().lives -= 1;
        if exposed.get().lives == 0 {
            effects.push(Effect::Free(exposed.remove().token));
        }
    }
}
