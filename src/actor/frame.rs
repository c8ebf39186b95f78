//! Frames: which call of which actor is being polled, up the chain who waits for it, and what it waits for (PROTOCOLS §5).
//!
//! The job sets a frame around each poll of a method; [`Call`](super::call::Call) reads it when it is first polled.
//! What a method spawns has none: what that waits for, the method need not wait for. A task has one from its first wait on,
//! whose home is its node.
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
use smallvec::SmallVec;
use std::mem;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::job::Access;
use crate::clock::Moment;
use crate::id::{ActorId, Incarnation, Life, ObjectId};
use crate::limits::CHAIN_FRAMES;
use crate::wire::packet::{Frame, ProbeTo};

mod begun;
mod scope;
mod waits;

pub(crate) use begun::{BegunWait, Circle};
pub(crate) use scope::{Task, caller, caller_of, enter, enter_task, origin, unwaited, within};
use waits::{Waiting, Waits};

/// The frames of a chain: most are short.
pub(crate) type Frames = SmallVec<[Frame; 2]>;

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

/// Which call or task a frame runs, to find the frame by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// One whose caller does not wait.
    Nobody,
    /// One of this node: where it lies in memory.
    Here(usize),
    /// One of a peer: its life, and the call's number.
    Peer(Life, u64),
    /// What makes this object of this node, whoever waits for it.
    Object(ObjectId),
}

/// Whose frames they are: an actor, or a node with its tasks.
pub(crate) trait FrameHome: Send + Sync {
    /// The actor, or the node as one.
    fn id(&self) -> ActorId;
    /// Which run of it this is.
    fn incarnation(&self) -> Incarnation;
    /// Whether it has ended with the life of its node, and the head may have placed it again since.
    fn is_fenced(&self) -> bool;
    /// A frame of it waits for the first time.
    fn occupied(self: Arc<Self>, frame: &Arc<Chain>);
    /// Such a frame has ended.
    fn left(&self, frame: &Chain);
    /// Its frames that have waited. If there is none, the node is told when there is one again.
    fn watch(&self) -> Vec<Arc<Chain>>;
}

/// A frame, those that wait for it, and what it waits for.
pub(crate) struct Chain {
    id: Frame,
    /// What it occupies.
    access: Access,
    serves: Serves,
    above: Above,
    depth: usize,
    home: Arc<dyn FrameHome>,
    waits: Mutex<Waits>,
}

impl Chain {
    /// The frame of a call that begins, and that `above` wait for. `home` keeps its actor's table.
    pub(crate) fn new(id: Frame, access: Access, serves: Serves, above: Above, home: Arc<dyn FrameHome>) -> Arc<Chain> {
        let depth = 1 + match &above {
            Above::Nobody => 0,
            Above::Here(above) => above.depth,
            Above::There(frames) => frames.len(),
        };
        Arc::new(Chain { id, access, serves, above, depth, home, waits: Mutex::default() })
    }

    /// What an actor runs beside the calls that are polled: frames are numbered from one on.
    fn origin(home: Arc<dyn FrameHome>) -> Arc<Chain> {
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
    pub(crate) fn frames(&self) -> Frames {
        let mut frames = Frames::with_capacity(self.depth);
        let mut next = Some(self);
        while let Some(chain) = next {
            frames.push(chain.id);
            next = match &chain.above {
                Above::Here(above) => Some(above),
                Above::There(above) => {
                    frames.extend(above.iter().rev().copied());
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
        let at = waits.insert(Waiting::new(wait));
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

/// What a frame may wait for: an ask, room for a tell, an actor's end, an object.
pub(crate) trait Wait: Send + Sync {
    /// Whom it is asked of; of what a task makes, its node.
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
    /// It has not begun, and waits for all of these itself: its arguments, or what makes the object.
    Leads(Vec<Arc<dyn Wait>>),
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
