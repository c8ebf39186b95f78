//! Frames: which call of which actor is being polled, up the chain who waits for it, and what it waits for (PROTOCOLS §5).
//!
//! The job sets a frame around each poll of a method; [`Call`](super::call::Call) reads it when it is first polled.
//! Tasks that a method spawns have none: what they wait for, the method need not wait for.
//!
//! What else an actor runs that the head may place again (its constructor, synchronous methods, `on_stop`, timers) has an
//! *origin* only: nobody waits for it, but what it calls carries which run of the actor it is (PROTOCOLS §2). So does what a
//! method calls, also what it submits and does not wait for.
//!
//! ```text
//! outer frame <--above-- frame --waits--> call, call ..      a frame that has waited stands in its actor's table
//! ```
//!
//! Only what waits costs: the first wait of a frame enters it into its actor's table, where probes find it, and its end
//! takes it out. So a frame that is not in the table runs, or has never waited: nobody waits for it for ever.

use parking_lot::Mutex;
use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;

use super::error::CallError;
use super::inbox::Hosted;
use super::job::Access;
use crate::clock::Moment;
use crate::id::{ActorId, Incarnation, Life};
use crate::limits::CHAIN_FRAMES;
use crate::wire::packet::{Frame, ProbeTo};

/// Who waits for a frame, innermost first.
#[derive(Clone, Default)]
pub(crate) enum Above {
    /// Nobody: its caller is no method, or does not wait for it.
    #[default]
    Nobody,
    /// A frame of this node.
    Here(Arc<Chain>),
    /// Frames of other nodes, the outermost first.
    There(Arc<[Frame]>),
}

impl Above {
    /// As it arrived.
    pub(crate) fn from_wire(frames: impl Iterator<Item = Frame>) -> Self {
        let mut frames = frames.peekable();
        if frames.peek().is_none() { Above::Nobody } else { Above::There(frames.collect()) }
    }
}

/// Which call a frame runs, to find the frame by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// One whose caller does not wait.
    Nobody,
    /// One of this node: where it lies in memory.
    Here(usize),
    /// One of a peer: its life, and the call's number.
    Peer(Life, u64),
}

/// A frame, those that wait for it, and what it waits for.
pub(crate) struct Chain {
    id: Frame,
    /// What it occupies.
    access: Access,
    serves: Serves,
    above: Above,
    depth: usize,
    home: Arc<dyn Hosted>,
    waits: Mutex<Waits>,
}

impl Chain {
    /// The frame of a call that begins, and that `above` wait for. `home` keeps its actor's table.
    pub(crate) fn new(id: Frame, access: Access, serves: Serves, above: Above, home: Arc<dyn Hosted>) -> Arc<Chain> {
        let depth = 1 + match &above {
            Above::Nobody => 0,
            Above::Here(above) => above.depth,
            Above::There(frames) => frames.len(),
        };
        Arc::new(Chain { id, access, serves, above, depth, home, waits: Mutex::default() })
    }

    /// What an actor runs beside the calls that are polled: frames are numbered from one on.
    fn origin(home: Arc<dyn Hosted>) -> Arc<Chain> {
        let id = Frame { actor: home.id(), frame: 0 };
        Chain::new(id, Access::Exclusive, Serves::Nobody, Above::Nobody, home)
    }

    /// Whether it is a call's: others may wait for it, and it may wait.
    pub(crate) fn is_frame(&self) -> bool {
        self.id.frame != 0
    }

    /// The actor and which run of it this is, if the head may place it again.
    pub(crate) fn caller(&self) -> Option<(ActorId, Incarnation)> {
        let incarnation = self.home.incarnation();
        (!incarnation.placement.is_by_spawner()).then_some((self.id.actor, incarnation))
    }

    /// Whether the life of its node has ended, and its actor may run elsewhere by now.
    pub(crate) fn is_fenced(&self) -> bool {
        self.home.is_fenced()
    }

    pub(crate) fn id(&self) -> Frame {
        self.id
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    pub(crate) fn serves(&self) -> Serves {
        self.serves
    }

    /// Whether asks have nested deeper than a chain may be.
    pub(crate) fn is_too_deep(&self) -> bool {
        self.depth > CHAIN_FRAMES
    }

    /// The frames, the outermost first: as they travel.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(self.depth);
        let mut next = Some(self);
        while let Some(chain) = next {
            frames.push(chain.id);
            next = match &chain.above {
                Above::Here(above) => Some(above),
                Above::There(above) => {
                    frames.extend(above.iter().rev());
                    None
                }
                Above::Nobody => None,
            };
        }
        frames.reverse();
        frames
    }

    /// Whether a frame of this actor is in it.
    pub(crate) fn passes(&self, actor: ActorId) -> bool {
        let mut next = self;
        loop {
            match &next.above {
                _ if next.id.actor == actor => return true,
                Above::Here(above) => next = above,
                Above::There(above) => return above.iter().any(|frame| frame.actor == actor),
                Above::Nobody => return false,
            }
        }
    }

    /// The frame begins to wait; the number takes the wait back.
    pub(crate) fn wait(self: &Arc<Self>, wait: Arc<dyn Wait>) -> NonZeroU32 {
        let mut waits = self.waits.lock();
        let at = waits.insert(Waiting { wait, serial: 0, due: None, sent: 0 });
        let enters = !mem::replace(&mut waits.entered, true);
        drop(waits);
        if enters {
            self.home.clone().occupied(self);
        }
        at
    }

    /// The frame waits no more for this.
    pub(crate) fn over(&self, at: NonZeroU32) {
        let wait = self.waits.lock().remove(at);
        drop(wait);
    }

    /// The frame has ended.
    pub(crate) fn leave(&self) {
        let entered = mem::take(&mut self.waits.lock().entered);
        if entered {
            self.home.left(self);
        }
    }

    /// Whether it waits for anything.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.lock().count > 0
    }

    /// What it waits for: the number, the wait, and where it stands; `number` gives a new number. Nothing, if the frame is
    /// about to go on.
    pub(crate) fn waits(&self, mut number: impl FnMut() -> u64) -> Vec<(u64, Arc<dyn Wait>, Place)> {
        let mut waits = Vec::new();
        self.waits.lock().each(|waiting| {
            waits.push((waiting.number(&mut number), waiting.wait.clone(), Place::Over));
        });
        for (_, wait, place) in &mut waits {
            *place = wait.place();
        }
        if waits.iter().any(|(.., place)| *place == Place::Over) {
            waits.clear();
        }
        waits
    }

    /// The waits whose next probe is due. `pause` says how long each pauses having sent so many; one that was not seen
    /// before pauses first.
    pub(crate) fn due(
        &self,
        now: Moment,
        pause: impl Fn(u32) -> std::time::Duration,
        mut number: impl FnMut() -> u64,
    ) -> Vec<(u64, Arc<dyn Wait>)> {
        let mut found = Vec::new();
        self.waits.lock().each(|waiting| match waiting.due {
            None => waiting.due = Some(now + pause(0)),
            Some(due) if due <= now => {
                waiting.sent = waiting.sent.saturating_add(1);
                waiting.due = Some(now + pause(waiting.sent));
                found.push((waiting.number(&mut number), waiting.wait.clone()));
            }
            Some(_) => {}
        });
        found
    }
}

/// What a frame may wait for: an ask, room for a tell, an actor's end.
pub(crate) trait Wait: Send + Sync {
    /// Whom it is asked of.
    fn actor(&self) -> ActorId;
    /// Where it stands.
    fn place(&self) -> Place;
    /// Why it has no answer yet, if its actor is here.
    fn held(&self) -> Held;
    /// It is in a cycle of waits of these actors: it ends.
    fn deadlock(&self, cycle: Vec<ActorId>);
}

/// Where a wait stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its frame is about to go on.
    Over,
    /// With an actor of this node.
    Here,
    /// With a peer, or waiting for its credit.
    There(Life, ProbeTo),
}

/// Why a call has no answer yet.
pub(crate) enum Held {
    /// It will have one: it runs, or nothing is known to hold it up.
    Not,
    /// It runs as this frame, which waits.
    Begun(Arc<Chain>),
    /// It waits for these.
    Queued(Blockers),
}

/// The frames that a call waits for to leave their slots: they wait themselves.
pub(crate) enum Blockers {
    /// Each of them must leave; if there is none, nothing holds up the call.
    All(Vec<Arc<Chain>>),
    /// One of them must leave: they are all that its group has room for.
    Any(Vec<Arc<Chain>>),
}

impl Blockers {
    pub(crate) fn frames(&self) -> &[Arc<Chain>] {
        let (Blockers::All(frames) | Blockers::Any(frames)) = self;
        frames
    }
}

/// The waits of a frame: the first lies in place, for most frames wait for one call at a time.
#[derive(Default)]
struct Waits {
    /// Whether the frame is in its actor's table.
    entered: bool,
    count: u32,
    /// The number of the first free place in `more`, or 0.
    free: u32,
    first: Option<Waiting>,
    /// Place `n` has number `n + 2`.
    more: Vec<Slot>,
}

enum Slot {
    Waiting(Waiting),
    /// And the number of the next free one, or 0.
    Free(u32),
}

struct Waiting {
    wait: Arc<dyn Wait>,
    /// Its number among the waits of this node, once a probe saw it.
    serial: u64,
    /// When it sends its next probe.
    due: Option<Moment>,
    sent: u32,
}

impl Waiting {
    fn number(&mut self, number: impl FnOnce() -> u64) -> u64 {
        if self.serial == 0 {
            self.serial = number();
        }
        self.serial
    }
}

impl Waits {
    fn insert(&mut self, waiting: Waiting) -> NonZeroU32 {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(waiting);
            return NonZeroU32::MIN;
        }
        let number = match self.free {
            0 => {
                self.more.push(Slot::Waiting(waiting));
                self.more.len() as u32 + 1
            }
            number => {
                if let Some(slot) = self.more.get_mut(number as usize - 2)
                    && let Slot::Free(next) = mem::replace(slot, Slot::Waiting(waiting))
                {
                    self.free = next;
                }
                number
            }
        };
        NonZeroU32::MIN.saturating_add(number - 1)
    }

    fn remove(&mut self, at: NonZeroU32) -> Option<Waiting> {
        let removed = match at.get() {
            1 => self.first.take(),
            number => {
                let slot = self.more.get_mut(number as usize - 2)?;
                match mem::replace(slot, Slot::Free(self.free)) {
                    Slot::Waiting(waiting) => {
                        self.free = number;
                        Some(waiting)
                    }
                    free @ Slot::Free(_) => {
                        *slot = free;
                        None
                    }
                }
            }
        };
        self.count -= u32::from(removed.is_some());
        removed
    }

    fn each(&mut self, mut look: impl FnMut(&mut Waiting)) {
        self.first.iter_mut().for_each(&mut look);
        for slot in &mut self.more {
            if let Slot::Waiting(waiting) = slot {
                look(waiting);
            }
        }
    }
}

thread_local! {
    /// One of the two scopes that Mobula keeps per thread; the other is the encoding's.
    static CURRENT: Cell<Option<Arc<Chain>>> = const { Cell::new(None) };
}

/// The frame of the method that is being polled on this thread, or what else an actor runs there.
#[inline]
pub(crate) fn origin() -> Option<Arc<Chain>> {
    let chain = CURRENT.take();
    CURRENT.set(chain.clone());
    chain
}

/// The actor that calls from there and which run of it this is, if the head may place it again.
///
/// # Errors
/// The life of that run's node has ended.
pub(crate) fn caller_of(origin: Option<&Arc<Chain>>) -> Result<Option<(ActorId, Incarnation)>, CallError> {
    let caller = origin.and_then(|origin| origin.caller());
    let is_fenced = || origin.is_some_and(|origin| origin.is_fenced());
    if caller.is_some() && is_fenced() { Err(CallError::Stale) } else { Ok(caller) }
}

/// The actor that runs on this thread and which run of it this is, if the head may place it again.
pub(crate) fn caller() -> Option<(ActorId, Incarnation)> {
    origin()?.caller()
}

/// Runs what is an actor's, and no call of it.
pub(crate) async fn within<T>(home: Arc<dyn Hosted>, work: impl Future<Output = T>) -> T {
    let (mut origin, mut work) = (Some(Chain::origin(home)), pin!(work));
    poll_fn(|cx| enter(&mut origin, || work.as_mut().poll(cx))).await
}

/// Polls with `chain` as the current frame; restores the former also when `poll` panics.
pub(crate) fn enter<R>(chain: &mut Option<Arc<Chain>>, poll: impl FnOnce() -> R) -> R {
    struct Restore<'a>(&'a mut Option<Arc<Chain>>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            *self.0 = CURRENT.replace(self.0.take());
        }
    }
    let former = CURRENT.replace(chain.take());
    *chain = former;
    let _restore = Restore(chain);
    poll()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Never(u64);

    impl Wait for Never {
        fn actor(&self) -> ActorId {
            ActorId { life: Life(1), serial: self.0 }
        }
        fn place(&self) -> Place {
            Place::Here
        }
        fn held(&self) -> Held {
            Held::Not
        }
        fn deadlock(&self, _: Vec<ActorId>) {}
    }

    proptest! {
        #[test]
        fn a_frame_keeps_each_wait_until_it_is_over(steps in prop::collection::vec((any::<bool>(), 0_usize..64), 0..200)) {
            let (mut waits, mut known) = (Waits::default(), Vec::new());
            for (serial, (add, which)) in (1_u64..).zip(steps) {
                if add || known.is_empty() {
                    let wait = Arc::new(Never(serial));
                    known.push((waits.insert(Waiting { wait, serial: 0, due: None, sent: 0 }), serial));
                } else {
                    let (at, serial) = known.swap_remove(which % known.len());
                    prop_assert_eq!(waits.remove(at).map(|waiting| waiting.wait.actor().serial), Some(serial));
                    prop_assert!(waits.remove(at).is_none());
                }
                let mut found = Vec::new();
                waits.each(|waiting| found.push(waiting.wait.actor().serial));
                let mut expected: Vec<_> = known.iter().map(|(_, serial)| *serial).collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(waits.count as usize, known.len());
                prop_assert!(waits.more.len() <= 200);
            }
        }
    }
}
