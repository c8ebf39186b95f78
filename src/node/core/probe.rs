//! Cycles of waits (PROTOCOLS §5), as functions over a view of this node that the shell supplies.
//!
//! ```text
//! frame --wait--> call --begun--------> frame --wait--> call ..
//!                      --queued, or
//!                        without credit-> the frames in the slots it needs --wait--> ..
//!                      --not begun-----> what its arguments come of: calls, tasks ..
//! ```
//!
//! [`reentrant`] finds the cycle of one chain of asks when the request arrives. [`start`] and [`follow`] find any other:
//! a wait sends a probe after its call, it goes along what that call waits for, and when it comes back to the wait that
//! sent it, that wait is in a cycle. A probe stops at waits with a higher id than its origin's: of each cycle, only the
//! wait with the highest id is a victim.
//!
//! Waits count as all needed: so do those of a `select`, and the slots of a group are all waited for.

use crate::id::{ActorId, Life};
use crate::limits::{PROBE_FIRST, PROBE_HOPS, PROBE_LAST, PROBE_WAITS};
use crate::wire::bytes::List;
use crate::wire::packet::{Frame, Hop, ProbeTo, WaitId};
use std::collections::BTreeSet;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How long a wait pauses before its next probe, having sent so many.
#[must_use]
pub fn pause(sent: u32) -> Duration {
    PROBE_FIRST.saturating_mul(1_u32.checked_shl(sent).unwrap_or(u32::MAX)).min(PROBE_LAST)
}

/// The slots that a call needs before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// `&mut self`: nothing else may run.
    All,
    /// `&self` in a group: one of its slots.
    One {
        /// How many slots are free.
        free: u32,
    },
}

/// Whether a call whose chain is `chain` can never begin while `occupants` run: they wait for it themselves. Gives the
/// actors that wait for one another.
#[must_use]
pub fn reentrant(chain: &List<'_, Frame>, occupants: &[Frame], needs: Needs) -> Option<Vec<ActorId>> {
    let above = |occupant: &Frame| chain.iter().position(|frame| frame == *occupant);
    let first = match needs {
        Needs::All => occupants.iter().filter_map(above).min(),
        Needs::One { free: 0 } => {
            occupants.iter().map(above).collect::<Option<Vec<_>>>().and_then(|above| above.into_iter().min())
        }
        Needs::One { .. } => None,
    };
    Some(chain.iter().skip(first?).map(|frame| frame.actor).collect())
}

/// A call that a probe follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A call from this node to an actor of this node, by the shell's name for it.
    Local(u64),
    /// A call from this node, or waiting for credit here, to an actor of a peer.
    Remote {
        /// The peer.
        peer: Life,
        /// The call.
        to: ProbeTo,
    },
}

/// A call that a probe has reached: its callee is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// By a call inside this node.
    Local(u64),
    /// Over the link with a peer.
    From {
        /// The caller's life.
        peer: Life,
        /// The call.
        to: ProbeTo,
    },
}

/// Why the call has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It has one, or was never here.
    Gone,
    /// It runs as this frame.
    Begun(u64),
    /// It waits for these frames to leave their slots.
    Queued(Vec<u64>),
    /// It waits for all of these itself: its arguments, or what makes it.
    Leads(Vec<Target>),
}

/// A wait of a frame of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Names it.
    pub id: WaitId,
    /// Whom it waits for.
    pub actor: ActorId,
    /// The call.
    pub on: Target,
}

/// What the shell knows of this node's calls and frames.
pub trait View {
    /// Why a call to an actor of this node has no answer yet.
    fn held(&self, call: Reached) -> Held;
    /// What a frame of this node waits for; nothing, if it runs.
    fn waits(&self, frame: u64) -> Vec<Wait>;
}

/// What is to be done about a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it on.
    Send {
        /// To this peer.
        peer: Life,
        /// After this call.
        to: ProbeTo,
        /// The waits that it went along.
        path: Vec<Hop>,
    },
    /// The wait that sent it is in a cycle: it ends in `Deadlock`.
    Deadlock {
        /// The wait.
        wait: WaitId,
        /// The actors that wait for one another.
        cycle: Vec<ActorId>,
    },
}

/// Sends the probe of a wait of this node.
pub fn start(view: &impl View, wait: &Wait) -> Vec<Step> {
    let mut walk = Walk::new(view, wait.id, BTreeSet::new(), Vec::new());
    walk.go_along(wait, &[]);
    walk.run()
}

/// A probe arrived from `peer`.
pub fn follow(view: &impl View, peer: Life, to: ProbeTo, origin: WaitId, path: &List<'_, Hop>) -> Vec<Step> {
    let ahead = vec![(Reached::From { peer, to }, path.iter().collect())];
    Walk::new(view, origin, path.iter().map(|hop| hop.wait).collect(), ahead).run()
}

/// A probe on its way through this node.
struct Walk<'a, V> {
    view: &'a V,
    origin: WaitId,
    seen: BTreeSet<WaitId>,
    ahead: Vec<(Reached, Vec<Hop>)>,
    /// How often it was led on without a wait between.
    led: usize,
    steps: Vec<Step>,
}

impl<'a, V: View> Walk<'a, V> {
    fn new(view: &'a V, origin: WaitId, seen: BTreeSet<WaitId>, ahead: Vec<(Reached, Vec<Hop>)>) -> Self {
        Walk { view, origin, seen, ahead, led: 0, steps: Vec::new() }
    }

    fn run(mut self) -> Vec<Step> {
        while let Some((call, path)) = self.ahead.pop() {
            let frames = match self.view.held(call) {
                Held::Gone => continue,
                Held::Begun(frame) => vec![frame],
                Held::Queued(frames) => frames,
                Held::Leads(targets) => {
                    self.led += targets.len();
                    if self.led <= PROBE_WAITS {
                        targets.into_iter().for_each(|target| self.lead(target, &path));
                    }
                    continue;
                }
            };
            let waits: Vec<_> = frames.iter().map(|frame| self.view.waits(*frame)).collect();
            // A frame that runs will leave its slot: nobody waits for ever.
            if waits.iter().any(Vec::is_empty) {
                continue;
            }
            let waits: Vec<_> = waits.into_iter().flatten().collect();
            if waits.iter().any(|wait| wait.id == self.origin) {
                let cycle = path.iter().map(|hop| hop.actor).collect();
                self.steps.retain(|step| matches!(step, Step::Send { .. }));
                self.steps.push(Step::Deadlock { wait: self.origin, cycle });
                return self.steps;
            }
            waits.iter().for_each(|wait| self.go_along(wait, &path));
        }
        self.steps
    }

    fn go_along(&mut self, wait: &Wait, path: &[Hop]) {
        let far = path.len() >= PROBE_HOPS || self.seen.len() >= PROBE_WAITS;
        if wait.id > self.origin || far || !self.seen.insert(wait.id) {
            return;
        }
        let mut path = path.to_vec();
        path.push(Hop { wait: wait.id, actor: wait.actor });
        self.go_on(wait.on, path);
    }

    /// Follows what is no wait of its own. Over a link it counts as a hop: else two nodes might lead to each other for ever.
    fn lead(&mut self, target: Target, path: &[Hop]) {
        let mut path = path.to_vec();
        if let Target::Remote { peer, .. } = target {
            if path.len() >= PROBE_HOPS {
                return;
            }
            path.push(Hop { wait: WaitId { life: peer, serial: 0 }, actor: ActorId::of_node(peer) });
        }
        self.go_on(target, path);
    }

    fn go_on(&mut self, target: Target, path: Vec<Hop>) {
        match target {
            Target::Local(call) => self.ahead.push((Reached::Local(call), path)),
            Target::Remote { peer, to } => self.steps.push(Step::Send { peer, to, path }),
        }
    }
}
