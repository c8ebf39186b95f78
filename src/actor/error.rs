//! What a call, a spawn and an actor may end in. Every error says whether the call may have executed.

use crate::id::{ActorId, NodeId, ObjectId};
use crate::limits::FAULT_TEXT;
use crate::wire::packet::End;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub(crate) use crate::object::failure::panic_message;
pub use crate::object::failure::{Failure, Never, Part, WireError};
pub use crate::wire::packet::Executed;

/// Why an actor is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// `stop` was asked of it, or it stopped itself.
    #[error("it was stopped")]
    Stopped,
    /// `kill` was asked of it.
    #[error("it was killed")]
    Killed,
    /// One of its methods panicked.
    #[error("it panicked in {message}")]
    Panicked {
        /// The method and the panic's message.
        message: String,
    },
    /// It panicked once more than it may be started again.
    #[error("it was started again {restarts} times, which is as often as it may be, and then failed in {message}")]
    RestartsSpent {
        /// How often it may be.
        restarts: u32,
        /// What failed last, the method or its constructor, and what that said.
        message: String,
    },
    /// It could not be made of its checkpoint.
    #[error("it could not be made of its checkpoint: {message}")]
    NotRestored {
        /// Why not.
        message: String,
    },
    /// It was a supervisor, and a child of it ended once more than children may be started again.
    #[error(
        "its children were started again {restarts} times, which is as often as they may be, and then failed: {message}"
    )]
    ChildrenFailed {
        /// How often they may be.
        restarts: u32,
        /// The child that failed last, and why.
        message: String,
    },
    /// An actor that it was [linked](crate::ActorContext::link) with ended, or one that that was linked with, and so on.
    #[error("it was linked with actor {}, which ended: {}", .0.actor, .0.message)]
    Linked(Box<FirstEnd>),
    /// Its constructor failed, panicked or was dropped: it never was.
    #[error("its constructor did not succeed")]
    NotConstructed,
    /// The node that hosted it died, left or was cut off.
    #[error("its node died")]
    NodeDied,
    /// The node that spawned it died, and it was not detached.
    #[error("the node that spawned it died, and it is not detached")]
    OwnerDied,
    /// The cluster it belonged to was shut down in this process.
    #[error("its cluster was shut down")]
    ShutDown,
    /// Its node does not know of it: it ended long ago, or never was.
    #[error("its node knows of no such actor")]
    Unknown,
}

/// The end that was the first of those of linked actors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstEnd {
    /// Whose it was.
    pub actor: ActorId,
    /// Why that ended.
    pub message: String,
}

impl EndReason {
    /// Whether it ended as it was meant to: it was stopped, or nobody held it any more.
    #[must_use]
    pub const fn is_normal(&self) -> bool {
        matches!(self, EndReason::Stopped)
    }

    /// With no more text than travels.
    pub(crate) fn shortened(mut self) -> Self {
        let message = match &mut self {
            EndReason::Panicked { message }
            | EndReason::RestartsSpent { message, .. }
            | EndReason::NotRestored { message }
            | EndReason::ChildrenFailed { message, .. } => message,
            EndReason::Linked(first) => &mut first.message,
            _ => return self,
        };
        message.truncate(message.floor_char_boundary(FAULT_TEXT));
        self
    }

    /// What the end of this actor is to one that is linked with it.
    pub(crate) fn linked_to(self, actor: ActorId) -> Self {
        match self {
            EndReason::Linked(_) => self,
            why => EndReason::Linked(Box::new(FirstEnd { actor, message: why.to_string() })).shortened(),
        }
    }

    /// As it travels.
    pub(crate) fn to_wire(&self) -> Option<End<'_>> {
        Some(match self {
            EndReason::Stopped => End::Stopped,
            EndReason::Killed => End::Killed,
            EndReason::Panicked { message } => End::Panicked { message },
            EndReason::RestartsSpent { restarts, message } => End::RestartsSpent { restarts: *restarts, message },
            EndReason::NotRestored { message } => End::NotRestored { message },
            EndReason::ChildrenFailed { restarts, message } => End::ChildrenFailed { restarts: *restarts, message },
            EndReason::Linked(first) => End::Linked { actor: first.actor, message: &first.message },
            EndReason::NotConstructed => End::NeverStarted { message: "" },
            EndReason::NodeDied => End::NodeEnded,
            EndReason::OwnerDied => End::OwnerEnded,
            EndReason::ShutDown => End::NodeStopped,
            EndReason::Unknown => return None,
        })
    }

    /// As it arrived.
    pub(crate) fn from_wire(end: End<'_>) -> Self {
        match end {
            End::Stopped => EndReason::Stopped,
            End::Killed => EndReason::Killed,
            End::Panicked { message } => EndReason::Panicked { message: message.into() },
            End::RestartsSpent { restarts, message } => EndReason::RestartsSpent { restarts, message: message.into() },
            End::NotRestored { message } => EndReason::NotRestored { message: message.into() },
            End::ChildrenFailed { restarts, message } => {
                EndReason::ChildrenFailed { restarts, message: message.into() }
            }
            End::Linked { actor, message } => EndReason::Linked(Box::new(FirstEnd { actor, message: message.into() })),
            End::NeverStarted { .. } => EndReason::NotConstructed,
            End::OwnerEnded => EndReason::OwnerDied,
            End::NodeEnded => EndReason::NodeDied,
            End::NodeStopped => EndReason::ShutDown,
        }
    }
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E = Never> {
    /// The method returned this error.
    #[error("{0}")]
    App(E),
    /// The method panicked, and its actor ended, or was started again.
    #[error("method `{method}` panicked: {message} (the call ran)")]
    Panicked {
        /// The method.
        method: String,
        /// The panic's message.
        message: String,
    },
    /// The actor ended before it answered.
    #[error("actor {actor} is gone: {reason} ({executed})")]
    ActorDied {
        /// The actor.
        actor: ActorId,
        /// Why it ended.
        reason: EndReason,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// Another call made the actor panic while this one ran, and the actor was started again.
    #[error("actor {actor} was started again while the call ran ({executed})")]
    ActorRestarted {
        /// The actor.
        actor: ActorId,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// The actor's node ended before it answered.
    #[error("node {node} died ({executed})")]
    NodeDied {
        /// The node.
        node: NodeId,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// The actor's node is silent, though not known to be dead.
    #[error("node {node} has not been heard of for {silent:?} ({executed})")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// For how long.
        silent: Duration,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// `.timeout(..)` ran out.
    #[error("no reply within {after:?}: it was {waiting} ({executed})")]
    Timeout {
        /// The bound.
        after: Duration,
        /// What it was waiting for.
        waiting: Waiting,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// It was cancelled before it began, or at an await of a method marked `cancel`.
    #[error("the call was cancelled ({executed})")]
    Cancelled {
        /// Whether the call may have run.
        executed: Executed,
    },
    /// Its caller waited for itself: the wait was part of a cycle of waits, or would have closed one.
    #[error("a cycle of calls that wait for each other: {} ({executed})", cycle.iter().map(ActorId::to_string).collect::<Vec<_>>().join(" -> "))]
    Deadlock {
        /// The actors along the cycle; the first and the last are the same.
        cycle: Vec<ActorId>,
        /// Whether the call may have run: `No` where it would have closed the cycle.
        executed: Executed,
    },
    /// Caller and actor were compiled from different sources.
    #[error(
        "the actor's node has no method `{method}{signature}`: build both processes from the same source ({executed})"
    )]
    UnknownMethod {
        /// The method that was called.
        method: String,
        /// Its signature where it was called.
        signature: String,
        /// Whether the call may have run in an earlier try.
        executed: Executed,
    },
    /// The arguments or the reply could not be encoded.
    #[error("{what} cannot be encoded: {message} ({executed})")]
    Encode {
        /// Arguments or reply.
        what: Part,
        /// What the encoder said.
        message: String,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// The arguments or the reply could not be decoded.
    #[error("{what} cannot be decoded: {message} ({executed})")]
    Decode {
        /// Arguments or reply.
        what: Part,
        /// What the decoder said.
        message: String,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// What was to be sent is larger than a message may be.
    #[error("{what} of {bytes} bytes cannot travel inside a message of at most {limit}: split it ({executed})")]
    TooLarge {
        /// Arguments, reply or item.
        what: Part,
        /// Its size, encoded.
        bytes: usize,
        /// The bound.
        limit: usize,
        /// Whether the call may have run.
        executed: Executed,
    },
    /// An argument that was passed by reference cannot be had.
    #[error("argument {object} cannot be had: {why} ({executed})")]
    Argument {
        /// The argument.
        object: ObjectId,
        /// Why not.
        why: String,
        /// Whether the call may have run in an earlier try.
        executed: Executed,
    },
    /// The caller is an earlier run of an actor that has been started again since: its calls are refused.
    #[error("the calling actor has been started again elsewhere: this run of it is stale ({executed})")]
    Stale {
        /// Whether the call may have run in an earlier try.
        executed: Executed,
    },
}

/// What a call that has no reply yet waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Waiting {
    /// It is in the actor's mailbox, behind others.
    InMailbox,
    /// The method runs.
    Running,
    /// An argument that was passed by reference is not there yet.
    ForArguments,
    /// Its actor is not where it was: the head places it again, or is asked where it is.
    ForActor,
    /// The host of the actor has given no credit for it yet.
    ForCredit,
    /// It is on its way, or its reply is.
    OnTheWay,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiting::InMailbox => "in the actor's mailbox, behind other calls",
            Waiting::Running => "running",
            Waiting::ForArguments => "waiting for an argument that was passed by reference",
            Waiting::ForActor => "waiting for its actor, which the head places again, or is asked for",
            Waiting::ForCredit => "waiting for the actor's node to take it",
            Waiting::OnTheWay => "on its way to the actor's node, or running there",
        })
    }
}

/// What an error says of whether its call may have run; none of one that the method itself ended in.
macro_rules! said_of {
    ($error:expr) => {
        match $error {
            CallError::App(_) | CallError::Panicked { .. } => None,
            CallError::ActorDied { executed, .. }
            | CallError::ActorRestarted { executed, .. }
            | CallError::NodeDied { executed, .. }
            | CallError::Unreachable { executed, .. }
            | CallError::Timeout { executed, .. }
            | CallError::Cancelled { executed }
            | CallError::Deadlock { executed, .. }
            | CallError::Encode { executed, .. }
            | CallError::Decode { executed, .. }
            | CallError::TooLarge { executed, .. }
            | CallError::UnknownMethod { executed, .. }
            | CallError::Argument { executed, .. }
            | CallError::Stale { executed } => Some(executed),
        }
    };
}

impl<E> CallError<E> {
    /// An argument of a call that goes for the first time cannot be had.
    pub(crate) fn absent((object, why): (ObjectId, String)) -> Self {
        CallError::Argument { object, why, executed: Executed::No }
    }

    /// Whether the call may have run. An [`App`](CallError::App) error is the method's own, so it did.
    #[must_use]
    pub fn executed(&self) -> Executed {
        said_of!(self).map_or(Executed::Yes, |executed| *executed)
    }

    /// The error of a call with this limit: its actor's node, which looks at the clock too, says only that the time is up.
    pub(crate) fn over(mut self, limit: Option<Duration>) -> Self {
        if let (CallError::Timeout { after, .. }, Some(limit)) = (&mut self, limit) {
            *after = limit;
        }
        self
    }

    /// The error of a call that may have run in an earlier try, whatever became of the last one.
    pub(crate) fn after_a_try(mut self) -> Self {
        if let Some(executed) = said_of!(&mut self) {
            *executed = executed.after_a_try();
        }
        self
    }

    /// The method's own error, or the error that any method may meet.
    ///
    /// # Errors
    /// Everything but [`App`](CallError::App), under whatever type of it the caller wants.
    pub fn into_app<F>(self) -> Result<E, CallError<F>> {
        Err(match self {
            CallError::App(error) => return Ok(error),
            CallError::Panicked { method, message } => CallError::Panicked { method, message },
            CallError::ActorDied { actor, reason, executed } => CallError::ActorDied { actor, reason, executed },
            CallError::ActorRestarted { actor, executed } => CallError::ActorRestarted { actor, executed },
            CallError::NodeDied { node, executed } => CallError::NodeDied { node, executed },
            CallError::Unreachable { node, silent, executed } => CallError::Unreachable { node, silent, executed },
            CallError::Timeout { after, waiting, executed } => CallError::Timeout { after, waiting, executed },
            CallError::Cancelled { executed } => CallError::Cancelled { executed },
            CallError::Deadlock { cycle, executed } => CallError::Deadlock { cycle, executed },
            CallError::UnknownMethod { method, signature, executed } => {
                CallError::UnknownMethod { method, signature, executed }
            }
            CallError::Encode { what, message, executed } => CallError::Encode { what, message, executed },
            CallError::Decode { what, message, executed } => CallError::Decode { what, message, executed },
            CallError::TooLarge { what, bytes, limit, executed } => {
                CallError::TooLarge { what, bytes, limit, executed }
            }
            CallError::Argument { object, why, executed } => CallError::Argument { object, why, executed },
            CallError::Stale { executed } => CallError::Stale { executed },
        })
    }
}

impl CallError<Never> {
    /// The same error where methods fail with `E`.
    pub fn widen<E>(self) -> CallError<E> {
        match self.into_app() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }
}
