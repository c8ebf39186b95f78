//! The holder's side: what other lives own (PROTOCOLS §3.1 to §3.4).
//!
//! A hold is taken by [`Refs::arrived`], [`Refs::hold`] or [`Refs::hold_inside`], and let go by [`Refs::unhold`]. The
//! owner hears of the first and of the last.

use super::settle::Breach;
use super::{Effect, Effects, Held, Hold, Kind, Loss, Refs, take_away};
use crate::id::Life;
use crate::wire::packet::Counted;
use std::collections::btree_map::Entry;

impl<T: Clone> Refs<T> {
    /// A packet of `from` is here, and this is one of the references beside its body: called for each of them, in the
    /// step in which the packet is applied and whether or not the body decodes. The hold is the packet's until it was
    /// read: without it, another handle's end could give back what this packet brought before anyone decodes it.
    pub fn arrived(&mut self, from: Life, counted: Counted, effects: &mut Effects<T>) -> Hold<T> {
        let owner = counted.owner();
        if owner == self.me {
            self.say(from, Kind::Landed, counted, 1, effects);
            return self.own(counted);
        }
        if self.has_ended(owner) {
            if owner != from {
                self.say(from, Kind::Landed, counted, 1, effects);
            }
            return Hold::Lost(Loss::OwnerDied);
        }
        let held = self.enter(counted);
        held.holds += 1;
        if owner == from {
            held.got += 1;
            if let Some(outer) = held.inside.take() {
                self.step_out_of(outer, counted, effects);
            }
        } else if held.got > 0 {
            self.say(from, Kind::Landed, counted, 1, effects);
        } else {
            let senders = self.landing.entry(counted).or_default();
            match senders.iter_mut().find(|(life, _)| *life == from) {
                Some((_, n)) => *n += 1,
                None => senders.push((from, 1)),
            }
            self.claim(counted, effects);
        }
        Hold::Taken
    }

    /// One more hold: of an entry of the shell, or of a container that this node owns (PROTOCOLS §3.4). A reference that
    /// came by other means, from the head by its name, is claimed by this too.
    pub fn hold(&mut self, counted: Counted, effects: &mut Effects<T>) -> Hold<T> {
        let owner = counted.owner();
        if owner == self.me {
            return self.own(counted);
        }
        if self.has_ended(owner) {
            return Hold::Lost(Loss::OwnerDied);
        }
        let held = self.enter(counted);
        held.holds += 1;
        let (safe, outer) = (held.is_safe(), held.inside);
        let outlives = outer.is_some_and(|outer| self.held(outer).is_none_or(|outer| !outer.is_needed()));
        if !safe || outlives {
            self.claim(counted, effects);
        }
        Hold::Taken
    }

    /// One hold of what was decoded out of an object that is held here. Nothing is said about it while `outer` is needed
    /// for other reasons; after that it is claimed, and `outer` is let go when the owner has counted it.
    pub fn hold_inside(&mut self, counted: Counted, outer: Counted, effects: &mut Effects<T>) -> Hold<T> {
        let shelter = counted != outer && self.held(outer).is_some_and(|outer| outer.is_safe());
        let owner = counted.owner();
        if !shelter || owner == self.me || self.has_ended(owner) {
            return self.hold(counted, effects);
        }
        let held = self.enter(counted);
        held.holds += 1;
        if !held.is_safe() {
            held.inside = Some(outer);
            self.inside.entry(outer).or_default().insert(counted);
        }
        Hold::Taken
    }

    /// Lets one hold go, of a thing of another life or of one that was contained.
    pub fn unhold(&mut self, counted: Counted, effects: &mut Effects<T>) {
        if counted.owner() == self.me {
            return self.unsend(counted, self.me, 1, effects);
        }
        if let Some(held) = self.held(counted) {
            held.holds = held.holds.saturating_sub(1);
            if !held.is_needed() {
                self.review(counted, effects);
            }
        }
    }

    /// A packet for `to` is made, and has `n` references to a thing that is held here. It stays held until `to` says that
    /// they landed, also if `to` is the owner: a release may overtake the packet.
    pub fn sent_on(&mut self, counted: Counted, to: Life, n: u64) {
        debug_assert_ne!(counted.owner(), self.me, "what this node owns is sent");
        if n == 0 {
            return;
        }
        *self.peers.entry(to).or_default().transit.entry(counted).or_insert(0) += n;
        if let Some(held) = self.held(counted) {
            held.transit += n;
        }
    }

    /// How often this node holds a thing of another life for references on their way to `to`.
    #[must_use]
    pub fn transit(&self, counted: Counted, to: Life) -> u64 {
        self.peers.get(&to).and_then(|peer| peer.transit.get(&counted)).copied().unwrap_or(0)
    }

    pub(super) fn on_landed(
        &mut self,
        from: Life,
        counted: Counted,
        n: u64,
        effects: &mut Effects<T>,
    ) -> Result<(), Breach> {
        self.let_land(counted, from, n, effects).map_err(|had| Breach::Landed { counted, had, n })
    }

    /// Lets go of `n` holds for packets to `to`.
    ///
    /// # Errors
    /// There are no more than so many, and none was let go.
    pub(super) fn let_land(&mut self, counted: Counted, to: Life, n: u64, effects: &mut Effects<T>) -> Result<(), u64> {
        let peer = self.peers.get_mut(&to).ok_or(0u64)?;
        take_away(&mut peer.transit, counted, n)?;
        self.landed(counted, n, effects);
        Ok(())
    }

    pub(super) fn landed(&mut self, counted: Counted, n: u64, effects: &mut Effects<T>) {
        if let Some(held) = self.held(counted) {
            held.transit = held.transit.saturating_sub(n);
            if !held.is_needed() {
                self.review(counted, effects);
            }
        }
    }

    pub(super) fn held(&mut self, counted: Counted) -> Option<&mut Held> {
        self.peers.get_mut(&counted.owner())?.held.get_mut(&counted)
    }

    /// The entry of a thing, with what was about to be given back.
    fn enter(&mut self, counted: Counted) -> &mut Held {
        let peer = self.peers.entry(counted.owner()).or_default();
        let outbox = &mut peer.outbox;
        let fresh = || Held { got: outbox.take_back(Kind::Release, counted), ..Held::default() };
        peer.held.entry(counted).or_insert_with(fresh)
    }

    /// Asks the owner to count a thing that it does not count, unless it was asked.
    fn claim(&mut self, counted: Counted, effects: &mut Effects<T>) {
        let open = self.held(counted).filter(|held| held.got == 0 && !held.claiming);
        if let Some(held) = open {
            held.claiming = true;
            self.say(counted.owner(), Kind::Claim, counted, 1, effects);
        }
    }

    /// What a thing was inside of is not needed any more. One that is only in the way of what is inside of it is not
    /// claimed: it goes when that was.
    fn outlive(&mut self, counted: Counted, effects: &mut Effects<T>) {
        if self.held(counted).is_some_and(|held| held.is_needed()) {
            self.claim(counted, effects);
        }
    }

    /// The owner counts it, or it is lost: what it was inside of is not needed for it.
    pub(super) fn step_out(&mut self, counted: Counted, effects: &mut Effects<T>) {
        if let Some(outer) = self.held(counted).and_then(|held| held.inside.take()) {
            self.step_out_of(outer, counted, effects);
        }
    }

    pub(super) fn step_out_of(&mut self, outer: Counted, counted: Counted, effects: &mut Effects<T>) {
        self.leave(counted, outer);
        self.give_back(outer, effects);
    }

    fn leave(&mut self, counted: Counted, outer: Counted) {
        if let Some(inside) = self.inside.get_mut(&outer) {
            inside.remove(&counted);
            if inside.is_empty() {
                self.inside.remove(&outer);
            }
        }
    }

    /// A hold of a thing went, or its claim was answered: if nothing needs it, it is given back. If only what is inside of
    /// it does, that is claimed.
    pub(super) fn review(&mut self, counted: Counted, effects: &mut Effects<T>) {
        let Some(inside) = self.inside.get(&counted) else { return self.give_back(counted, effects) };
        let inside: Vec<_> = inside.iter().copied().collect();
        if self.held(counted).is_some_and(|held| !held.is_needed()) {
            inside.into_iter().for_each(|inner| self.outlive(inner, effects));
        }
    }

    /// Gives a thing back if nothing needs it, then what it was inside of if nothing needs that, and so on.
    fn give_back(&mut self, counted: Counted, effects: &mut Effects<T>) {
        let mut next = Some(counted);
        while let Some(counted) = next.take() {
            if self.inside.contains_key(&counted) {
                return;
            }
            let owner = counted.owner();
            let Some(peer) = self.peers.get_mut(&owner) else { return };
            let Entry::Occupied(held) = peer.held.entry(counted) else { return };
            if held.get().is_needed() {
                return;
            }
            let held = held.remove();
            if held.got > 0 {
                self.say(owner, Kind::Release, counted, held.got, effects);
            } else {
                self.prune(owner);
            }
            if let Some(outer) = held.inside {
                self.leave(counted, outer);
            }
            next = held.inside;
        }
    }

    /// An object was lost: what was safe inside of it asks its owners.
    pub(super) fn empty(&mut self, outer: Counted, effects: &mut Effects<T>) {
        for counted in self.inside.remove(&outer).into_iter().flatten() {
            if let Some(held) = self.held(counted) {
                held.inside = None;
                self.claim(counted, effects);
            }
        }
    }

    /// Tells those that sent a thing that it has landed.
    pub(super) fn say_landed(&mut self, counted: Counted, effects: &mut Effects<T>) {
        for (sender, n) in self.landing.remove(&counted).into_iter().flatten() {
            self.say(sender, Kind::Landed, counted, n, effects);
        }
    }

    /// The answer to a claim. `Gone` is not the last word on a thing that came from its owner meanwhile.
    pub(super) fn on_answer(&mut self, kind: Kind, counted: Counted, effects: &mut Effects<T>) -> Result<(), Breach> {
        let claim = self.held(counted).filter(|held| held.claiming);
        let held = claim.ok_or(Breach::Unasked(counted))?;
        held.claiming = false;
        held.got += u64::from(kind == Kind::Claimed);
        let (counts, holds) = (held.got > 0, held.holds > 0);
        self.say_landed(counted, effects);
        self.step_out(counted, effects);
        if !counts {
            if holds {
                effects.push(Effect::Lost(counted, Loss::Gone));
            }
            self.empty(counted, effects);
        }
        self.review(counted, effects);
        Ok(())
    }
}
