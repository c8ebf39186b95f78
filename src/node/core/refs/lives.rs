//! Lives that end (PROTOCOLS §3.7).
//!
//! What the life owned is lost at once. What it held, and what was on its way to it, stays for a grace: it may have sent
//! references on, and whoever got them claims them meanwhile. No other timer ends a hold.

use super::{Effect, Effects, Loss, Refs};
use crate::clock::Moment;
use crate::id::Life;
use crate::limits::REFS_GRACE;

impl<T: Clone> Refs<T> {
    /// A life has ended, or the link with it, which is the same for references: no packet of it is applied any more, and
    /// none is sent to it. Harmless when said again, as it is when something turns up that should be said to it.
    pub fn node_ended(&mut self, life: Life, now: Moment, effects: &mut Effects<T>) {
        let peer = self.peers.entry(life).or_default();
        if !std::mem::replace(&mut peer.ended, true) {
            self.graces.push_back((now + REFS_GRACE, life));
        }
        peer.outbox = super::Outbox::default();
        let lost = std::mem::take(&mut peer.held);
        self.landing.retain(|_, senders| {
            senders.retain(|(sender, _)| *sender != life);
            !senders.is_empty()
        });
        for (counted, held) in &lost {
            if held.holds > 0 {
                effects.push(Effect::Lost(*counted, Loss::OwnerDied));
            }
            self.say_landed(*counted, effects);
            self.empty(*counted, effects);
            if let Some(outer) = held.inside {
                self.step_out_of(outer, *counted, effects);
            }
        }
    }

    /// When [`Refs::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.graces.front().map(|(end, _)| *end)
    }

    /// Forgets the lives whose grace is over.
    pub fn tick(&mut self, now: Moment, effects: &mut Effects<T>) {
        while let Some((end, life)) = self.graces.front().copied()
            && end <= now
        {
            self.graces.pop_front();
            let Some(peer) = self.peers.remove(&life) else { continue };
            peer.sent.into_keys().for_each(|counted| self.uncount(counted, effects));
            peer.transit.into_iter().for_each(|(counted, n)| self.landed(counted, n, effects));
        }
    }
}
