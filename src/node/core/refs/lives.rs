//! Lives that end (PROTOCOLS §3.7).
//!
//! What the life owned is lost at once, and stays known as lost while there are holds of it. What it held, and what was on its way to it, stays for a grace: it may have sent
//! references on, and whoever got them claims them meanwhile. No other timer ends a hold.

use super::outbox::Outbox;
use super::{Effect, Effects, Held, Loss, Phase, Refs};
use crate::clock::Moment;
use crate::id::Life;
use crate::limits::REFS_GRACE;

impl<T: Clone> Refs<T> {
    /// A life has ended, or the link with it, which is the same for references: no packet of it is applied any more, and
    /// none is sent to it. Harmless when said again, as it is when something turns up that should be said to it.
    pub fn node_ended(&mut self, life: Life, now: Moment, effects: &mut Effects<T>) {
        let peer = self.peers.entry(life).or_default();
        if peer.phase == Phase::Living {
            peer.phase = Phase::Ending;
            self.graces.push_back((now + REFS_GRACE, life));
        }
        peer.outbox = Outbox::default();
        // Entries stay for as long as they have holds: or else one let go later could be taken for another's.
        let holds = |(counted, held): (&_, &Held)| {
            (held.holds > 0).then(|| (*counted, Held { holds: held.holds, ..Held::default() }))
        };
        let left = peer.held.iter().filter_map(holds).collect();
        let lost = std::mem::replace(&mut peer.held, left);
        self.landing.retain(|_, senders| {
            senders.retain(|(sender, _)| *sender != life);
            !senders.is_empty()
        });
        for (counted, held) in &lost {
            if held.is_safe() && held.holds > 0 {
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
            let Some(peer) = self.peers.get_mut(&life) else { continue };
            peer.phase = Phase::Ended;
            let (sent, transit) = (std::mem::take(&mut peer.sent), std::mem::take(&mut peer.transit));
            self.prune(life);
            sent.into_keys().for_each(|counted| self.uncount(counted, effects));
            transit.into_iter().for_each(|(counted, n)| self.landed(counted, n, effects));
        }
    }
}
