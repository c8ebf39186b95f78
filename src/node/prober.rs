//! Looks after what the frames of this node wait for: sends their probes, and passes on those of others (PROTOCOLS §5).
//!
//! ```text
//! first wait of a frame --> watched homes ---every 100 ms--> waits that are due --> start --+--> probes over links
//!                                                              a peer's probe --> follow --+--> a victim's wait ends
//! ```
//!
//! A wait that is over before the next look costs nothing here, and without waits nothing runs.

use parking_lot::Mutex;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::core::probe::{self, Held, Needs, Reached, Step, Target, View, pause};
use super::fetch::READ;
use super::link::PeerLink;
use super::runtime::Node;
use crate::actor::frame::{self, Blockers, Chain, FrameHome, Place, Serves};
use crate::actor::inbox::Host;
use crate::clock;
use crate::id::ActorId;
use crate::limits::{PROBE_BURST, PROBE_FIRST, PROBE_REST, PROBE_WAITS};
use crate::wire::bytes::List;
use crate::wire::packet::{Frame, Probe, WaitId};

/// The actors with waiting frames, and the node itself if its tasks have any.
#[derive(Default)]
pub(super) struct Prober {
    watched: Mutex<Watched>,
    /// Counts the waits that a probe has seen.
    waits: AtomicU64,
}

#[derive(Default)]
struct Watched {
    homes: Vec<Weak<dyn FrameHome>>,
    /// Whether the task that looks after them runs.
    runs: bool,
}

impl Prober {
    /// The next number of a wait.
    pub(super) fn number(&self) -> u64 {
        1 + self.waits.fetch_add(1, Ordering::Relaxed)
    }
}

impl Node {
    /// Frames of this home wait.
    pub(super) fn watch(&self, home: &Arc<dyn FrameHome>) {
        let mut watched = self.prober().watched.lock();
        watched.homes.push(Arc::downgrade(home));
        let runs = std::mem::replace(&mut watched.runs, true);
        drop(watched);
        if !runs {
            self.runtime().spawn(look_after(Arc::downgrade(&self.shared())));
        }
    }

    /// Whether a call can never begin, since those that keep it from beginning wait for it. Gives the cycle.
    pub(super) fn find_reentrance(chain: &[Frame], blockers: &Blockers) -> Option<Vec<ActorId>> {
        let occupants: Vec<_> = blockers.frames().iter().map(|frame| frame.id()).collect();
        let needs = match blockers {
            Blockers::All(_) => Needs::All,
            Blockers::Any(_) => Needs::One { free: 0 },
        };
        let mut cycle = probe::reentrant(&List::Items(chain), &occupants, needs)?;
        cycle.extend(cycle.first().copied());
        Some(cycle)
    }

    /// A probe arrived over a link.
    pub(super) fn follow(&self, link: &PeerLink, probe: &Probe<'_>) {
        let view = Here::new(self);
        let steps = probe::follow(&view, link.party().life, probe.to, probe.origin, &probe.path);
        self.carry_on(&view, probe.origin, steps);
    }

    fn start_probe(&self, serial: u64, wait: &Arc<dyn frame::Wait>) {
        let view = Here::new(self);
        if let Some(wait) = view.see(serial, wait, wait.place()) {
            self.carry_on(&view, wait.id, probe::start(&view, &wait));
        }
    }

    fn carry_on(&self, view: &Here<'_>, origin: WaitId, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send { peer, to, path } => {
                    if let Some(link) = self.links().get(peer) {
                        link.send_probe(&Probe { to, origin, path: List::Items(&path) });
                    }
                }
                Step::Deadlock { wait, mut cycle } => {
                    // Tasks stand between actors, and have no names.
                    cycle.retain(|actor| !actor.is_node());
                    cycle.splice(0..0, cycle.last().copied());
                    if let Some(victim) = view.victim(wait) {
                        tracing::warn!(?cycle, "calls wait for each other: one of them ends");
                        victim.deadlock(cycle);
                    }
                }
            }
        }
    }

    /// Sends the probes that are due. False if nobody waits.
    async fn look_at_waits(&self) -> bool {
        let homes = std::mem::take(&mut self.prober().watched.lock().homes);
        let (mut waiting, mut looked) = (Vec::with_capacity(homes.len()), 0_usize);
        for home in homes {
            rests(&mut looked).await;
            let Some(frames) = home.upgrade().map(|home| home.watch()) else { continue };
            if !frames.is_empty() {
                waiting.push(home);
            }
            let now = clock::now();
            for frame in frames {
                rests(&mut looked).await;
                for (serial, wait) in frame.due(now, pause, || self.prober().number()) {
                    self.start_probe(serial, &wait);
                }
            }
        }
        let mut watched = self.prober().watched.lock();
        watched.homes.append(&mut waiting);
        watched.runs = !watched.homes.is_empty();
        watched.runs
    }
}

/// Lets others of its thread go on, now and then.
async fn rests(looked: &mut usize) {
    *looked += 1;
    if looked.is_multiple_of(PROBE_BURST) {
        tokio::task::yield_now().await;
    }
}

/// Looks after the waits of a node for as long as there are any.
async fn look_after(node: Weak<Node>) {
    let mut rest = PROBE_FIRST;
    loop {
        tokio::time::sleep(rest).await;
        let Some(node) = node.upgrade() else { return };
        let began = clock::now();
        if !node.look_at_waits().await {
            return;
        }
        rest = PROBE_FIRST.max(clock::now().since(began) * PROBE_REST);
    }
}

/// This node, as one probe goes through it. Frames and calls have the numbers under which they were met.
struct Here<'a> {
    node: &'a Node,
    met: RefCell<Met>,
}

#[derive(Default)]
struct Met {
    calls: Vec<Arc<dyn frame::Wait>>,
    frames: Vec<Arc<Chain>>,
    waits: Vec<(WaitId, Arc<dyn frame::Wait>)>,
}

impl<'a> Here<'a> {
    fn new(node: &'a Node) -> Self {
        Here { node, met: RefCell::default() }
    }

    /// A wait as the core knows it; nothing, if it is over.
    fn see(&self, serial: u64, wait: &Arc<dyn frame::Wait>, place: Place) -> Option<probe::Wait> {
        let id = WaitId { life: Host::life(self.node), serial };
        let on = self.target(wait, place)?;
        self.met.borrow_mut().waits.push((id, wait.clone()));
        Some(probe::Wait { id, actor: wait.actor(), on })
    }

    fn target(&self, wait: &Arc<dyn frame::Wait>, place: Place) -> Option<Target> {
        match place {
            Place::Over => None,
            Place::There(peer, to) => Some(Target::Remote { peer, to }),
            Place::Here => {
                let calls = &mut self.met.borrow_mut().calls;
                calls.push(wait.clone());
                Some(Target::Local(calls.len() as u64 - 1))
            }
        }
    }

    fn victim(&self, id: WaitId) -> Option<Arc<dyn frame::Wait>> {
        self.met.borrow().waits.iter().find(|(met, _)| *met == id).map(|(_, wait)| wait.clone())
    }

    fn meet(&self, frame: &Arc<Chain>) -> u64 {
        let frames = &mut self.met.borrow_mut().frames;
        frames.push(frame.clone());
        frames.len() as u64 - 1
    }

    fn held_here(&self, call: u64) -> frame::Held {
        let wait = usize::try_from(call).ok().and_then(|call| self.met.borrow().calls.get(call).cloned());
        wait.map_or(frame::Held::Not, |wait| wait.held())
    }

    fn held_for(&self, peer: crate::id::Life, to: crate::wire::packet::ProbeTo) -> frame::Held {
        if to.actor.is_node() && to.method == READ {
            return to.call.map_or(frame::Held::Not, |serial| self.node.object_held(serial));
        }
        let begun = match to.call {
            None => None,
            Some(call) => match self.node.links().get(peer).and_then(|link| link.has_begun(call)) {
                None => return frame::Held::Not,
                Some(begun) => begun.then_some(Serves::Peer(peer, call)),
            },
        };
        // What a node runs for a peer is a task.
        if to.actor.is_node() {
            return begun.map_or(frame::Held::Not, |task| self.node.task_running(task));
        }
        self.node.actors().get(to.actor).map_or(frame::Held::Not, |actor| actor.held(to.method, begun))
    }
}

impl View for Here<'_> {
    fn held(&self, call: Reached) -> Held {
        let held = match call {
            Reached::Local(call) => self.held_here(call),
            Reached::From { peer, to } => self.held_for(peer, to),
        };
        match held {
            frame::Held::Not => Held::Gone,
            frame::Held::Begun(frame) => Held::Begun(self.meet(&frame)),
            frame::Held::Queued(blockers) => {
                Held::Queued(blockers.frames().iter().map(|frame| self.meet(frame)).collect())
            }
            frame::Held::Leads(waits) => {
                let waits = waits.iter().take(PROBE_WAITS);
                Held::Leads(waits.filter_map(|wait| self.target(wait, wait.place())).collect())
            }
        }
    }

    fn waits(&self, frame: u64) -> Vec<probe::Wait> {
        let frame = usize::try_from(frame).ok().and_then(|frame| self.met.borrow().frames.get(frame).cloned());
        let waits = frame.map(|frame| frame.waits(|| self.node.prober().number())).unwrap_or_default();
        waits.iter().filter_map(|(serial, wait, place)| self.see(*serial, wait, *place)).collect()
    }
}
