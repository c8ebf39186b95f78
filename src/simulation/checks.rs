//! What must hold whatever happens: PROTOCOLS I1 to I6, L1 to L6, R1 to R4 and Q1 to Q5, each kept by a ledger of what was seen. The ledgers know
//! nothing of the machines that are checked: they are told of packets, calls, records and begins, and compare.
//!
//! ```text
//! packets  I1 I5   what was sent under each number, what was applied, what is on its way
//! calls    I2 I3 I4 I6   first sends, begins, attempts, refusals, ends
//! lives    L1 L2 L3 L4 L5   what is on disk, who hosts what, who accepted what
//! saves    L6   what was saved of actors, what they were made of
//! references  R1 R2 R3 R4   who refers to which object, whose hands it went through
//! supervision   who runs of a supervisor's children, and in which order it was started
//! tasks    Q1 Q2 Q3 Q4   where tasks are, what they take where they run
//! ```

use std::fmt;

pub(super) mod calls;
pub(super) mod groups;
pub(super) mod lives;
pub(super) mod packets;
pub(super) mod references;
pub(super) mod saves;
pub(super) mod supervision;
pub(super) mod tasks;

#[cfg(test)]
mod tests;

/// A numbered invariant of PROTOCOLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Each packet is applied at most once, in channel order.
    I1,
    /// A call begins at most once in an incarnation.
    I2,
    /// Calls of a stream begin in order of first send.
    I3,
    /// A call begins once, and once more for each retry that it has.
    Attempts,
    /// No is never said of a call that began.
    I4,
    /// A link holds no more than its windows, a mailbox no more than its capacity and the credit given.
    I5,
    /// Every ask ends, once.
    I6,
    /// Of an actor's runs on a node none begins before all that ran in the former one has ended.
    I7,
    /// Never two incarnations of an actor that both may begin calls.
    L1,
    /// Who accepted an incarnation, or a life, accepts no earlier one.
    L2,
    /// Nothing is said or placed again before it is on disk.
    L3,
    /// No life ends by time before a full lease.
    L4,
    /// Epochs only rise, and at most one head is obeyed.
    L5,
    /// A run of an actor never saves its state over what a later one has saved, and each is made of what was saved last.
    L6,
    /// An object lives while a handle or a packet refers to it and no life involved has ended.
    R1,
    /// Once nothing refers to it, it is freed.
    R2,
    /// No count is ever below zero.
    R3,
    /// A lost reference is said to be lost, and only such a one.
    R4,
    /// Nothing of a node is taken twice; under a grant never more than slots × depth tasks are pushed.
    Q1,
    /// No task is lost, pushed twice, or run more often than it may.
    Q2,
    /// Tasks of one class and priority are pushed under a grant in the order of submission, unless they were pushed before.
    Q3,
    /// No task is ready while a slot of its class idles.
    Q4,
    /// Nothing is wanted, and no slot held, when nothing is queued or pushed.
    Q5,
    /// A task begins after the one whose result it takes.
    Behind,
    /// A placement group has all its bundles or none, each where its packing says, and nobody is in another.
    AllOrNothing,
    /// A supervisor's children run once each, in the order of its strategy, and are started again as often as it may.
    Supervised,
    /// When all is mended, head and nodes agree who lives, what runs where and what it takes.
    Settled,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

pub(super) type Checked<T = ()> = Result<T, Violation>;

/// An error unless `holds`.
pub(super) fn hold(holds: bool, rule: Rule, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { rule, what: what() }) }
}
