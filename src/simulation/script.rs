//! What user code does here: scripts of handlers, drawn when a call is made.

use super::random::Random;
use super::references::Handle as Reference;
use super::stage::{Handle, Run};
use crate::id::{ActorId, Incarnation, Life};
use crate::node::core::link::Ticket;
use crate::wire::packet::Ref;
use std::time::Duration;

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Script {
    /// Works, then returns.
    Return(Duration),
    /// Works, then returns an error of its own.
    Fail(Duration),
    /// Works, then panics.
    Panic(Duration),
    /// Asks another actor, waits so long at most, then returns.
    Ask(Handle, Duration),
    /// Does not let go: where it is blocking, not even when it should.
    Hold(Duration, Blocks),
    /// So many items, each after a pause, then returns.
    Stream(u32, Duration),
}

/// Whether a handler ends at its next await when its node is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    No,
    Yes,
}

/// What kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ask,
    Tell,
    Stream,
    /// Makes an ephemeral actor.
    Make,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// Code outside of any actor.
    Outside,
    /// A handler, by its frame.
    Frame(u64),
}

/// Where a call is at its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In the line of its route.
    Route,
    /// With a link.
    Link(Life, Ticket),
    /// In a mailbox of its own node, or begun.
    Here,
    /// It has ended.
    Over,
}

/// A node's calls to one actor's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) actor: ActorId,
    pub(super) group: u8,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) caller: Run,
    pub(super) waiter: Waiter,
    pub(super) key: Key,
    /// When it was first polled, among those of its route.
    pub(super) order: u64,
    pub(super) kind: Kind,
    pub(super) script: Script,
    /// Attempts left.
    pub(super) retries: u32,
    /// An earlier attempt may have run.
    pub(super) may_have_run: bool,
    /// Stops waiting, by the world's clock.
    pub(super) deadline: Option<crate::clock::Moment>,
    /// `#[method(cancel)]`: dropped when its caller drops it.
    pub(super) cancels: bool,
    pub(super) size: usize,
    /// References among its arguments, which it holds until it has ended; and as they were sent last.
    pub(super) references: Vec<Reference>,
    pub(super) enclosed: Vec<Ref>,
    pub(super) from: Option<(ActorId, Incarnation)>,
    pub(super) at: At,
    /// It was sent where its route leads, and may have to be sent again.
    pub(super) out: bool,
    /// Items that wait to be taken: their packets' lengths. The next one's number.
    pub(super) items: std::collections::VecDeque<usize>,
    pub(super) next_item: u64,
}

impl Script {
    /// A handler's script; `other` is someone it might ask.
    pub(super) fn draw(random: &mut Random, kind: Kind, other: Option<Handle>, calm: bool) -> Script {
        if kind == Kind::Stream {
            return Script::Stream(random.below(40) as u32, random.micros(1, 3_000));
        }
        match random.below(100) {
            0..2 if !calm => Script::Panic(random.micros(1, 20_000)),
            2..6 => Script::Fail(random.micros(1, 5_000)),
            6..22 if other.is_some() => {
                other.map_or(Script::Return(Duration::ZERO), |other| Script::Ask(other, random.millis(50, 4_000)))
            }
            22..24 if !calm => {
                let blocks = if random.one_in(3) { Blocks::Yes } else { Blocks::No };
                Script::Hold(random.millis(500, 15_000), blocks)
            }
            24..40 if !calm => Script::Return(random.micros(1_000, 30_000)),
            _ => Script::Return(random.micros(1, 500)),
        }
    }
}
