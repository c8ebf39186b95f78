//! Why an object cannot be had.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

use super::failure::{Never, Part, WireError, text_of};
use super::lost::Lost;
use crate::directory::request::WantError;
use crate::id::{ActorId, Life, NodeId, ObjectId};
use crate::schedule::InvalidOption;
use crate::wire::codec;
use crate::wire::packet::Executed;

/// Why an object cannot be had: what makes it failed, or it is lost. Of a task, why it has no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GetError<E = Never> {
    /// What makes it returned this error.
    #[error("{0}")]
    App(E),
    /// What makes it panicked.
    #[error("`{what}` panicked: {message} (it ran)")]
    Panicked {
        /// The task, with the name that it was given if it was, or the method.
        what: String,
        /// The panic's message.
        message: String,
    },
    /// What makes it failed by an error of another type than the reference says, or a wait for it is none that its task may
    /// make.
    #[error("{message}")]
    Call {
        /// What the error says.
        message: String,
        /// Whether it may have run.
        executed: Executed,
    },
    /// An option of the task that makes it is not allowed.
    #[error("{0} (it did not run)")]
    Invalid(InvalidOption),
    /// No slot comes for the task that makes it: no node has it or what it takes, or its placement group is gone.
    #[error("{why} ({executed})")]
    NotPlaced {
        /// What is missing.
        why: WantError,
        /// Whether it may have run: it may where its placement group was removed under it.
        executed: Executed,
    },
    /// The head, which alone gives slots for the task that makes it, has been away for too long.
    #[error(
        "the head has been away for {waited:?}, and gives no slot: look whether it runs and can be reached (it did not run)"
    )]
    HeadAway {
        /// For how long it was waited for.
        waited: Duration,
    },
    /// What makes it was cancelled.
    #[error("it was cancelled ({executed})")]
    Cancelled {
        /// Whether it may have run.
        executed: Executed,
    },
    /// The node that was making it ended.
    #[error("node {node} died ({executed})")]
    NodeDied {
        /// The node.
        node: NodeId,
        /// Whether it may have run.
        executed: Executed,
    },
    /// The actor whose method makes it ended before it answered.
    #[error("actor {actor} is gone: {why} ({executed})")]
    ActorDied {
        /// The actor.
        actor: ActorId,
        /// Why it ended.
        why: String,
        /// Whether the method may have run.
        executed: Executed,
    },
    /// Another call made the actor whose method makes it panic, and the actor was started again.
    #[error("actor {actor} was started again while the call ran ({executed})")]
    ActorRestarted {
        /// The actor.
        actor: ActorId,
        /// Whether the method may have run.
        executed: Executed,
    },
    /// The node of the actor whose method makes it is silent, though not known to be dead.
    #[error("node {node} has not been heard of for {silent:?} ({executed})")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// For how long.
        silent: Duration,
        /// Whether the method may have run.
        executed: Executed,
    },
    /// Who called the method that makes it, or waits for it in a method or task, waited for itself: the wait was part of a cycle
    /// of waits, or would have closed one. What makes it goes on.
    #[error("a cycle of calls that wait for each other: {} ({executed})", cycle.iter().map(ActorId::to_string).collect::<Vec<_>>().join(" -> "))]
    Deadlock {
        /// The actors along the cycle that are waited for; the first and the last are the same.
        cycle: Vec<ActorId>,
        /// Whether the method may have run: `No` where the call would have closed the cycle.
        executed: Executed,
    },
    /// The caller of the method that makes it is an earlier run of an actor that has been started again since: its calls are
    /// refused.
    #[error("the calling actor has been started again elsewhere: this run of it is stale ({executed})")]
    Stale {
        /// Whether the method may have run in an earlier try.
        executed: Executed,
    },
    /// Caller and actor were compiled from different sources, or who submitted the task that makes it and who was to run it.
    #[error(
        "the actor's node has no method `{method}{signature}`: build both processes from the same source ({executed})"
    )]
    UnknownMethod {
        /// The method that was called, or the task.
        method: String,
        /// Its signature where it was called.
        signature: String,
        /// Whether it may have run in an earlier try.
        executed: Executed,
    },
    /// Arguments, reply, an item or the method's own error could not be encoded.
    #[error("{what} cannot be encoded: {message} ({executed})")]
    Encode {
        /// What of the call.
        what: Part,
        /// What the encoder said.
        message: String,
        /// Whether what makes it may have run.
        executed: Executed,
    },
    /// Arguments, reply, an item or the method's own error could not be decoded.
    #[error("{what} cannot be decoded: {message} ({executed})")]
    Decode {
        /// What of the call.
        what: Part,
        /// What the decoder said.
        message: String,
        /// Whether what makes it may have run.
        executed: Executed,
    },
    /// What was to be sent is larger than a message may be.
    #[error("{what} of {bytes} bytes cannot travel inside a message of at most {limit}: split it ({executed})")]
    TooLarge {
        /// What of the call.
        what: Part,
        /// Its size, encoded.
        bytes: usize,
        /// The bound.
        limit: usize,
        /// Whether what makes it may have run.
        executed: Executed,
    },
    /// `.timeout(..)` ran out.
    #[error("{what}: nothing within {after:?}, it was {waiting} ({executed})")]
    Timeout {
        /// What was waited for: the task with its name if it was given one, the call, or the object.
        what: String,
        /// The bound.
        after: Duration,
        /// What it was waiting for.
        waiting: String,
        /// Whether it may have run.
        executed: Executed,
    },
    /// As many tasks are queued as may be, or as many calls and tasks submitted.
    #[error(
        "{limit} are submitted already: wait for some of them, or submit tasks by `submit_wait().await` (it did not run)"
    )]
    QueueFull {
        /// The bound.
        limit: usize,
    },
    /// As many threads of the node wait in synchronous tasks as may.
    #[error("{limit} threads of the node wait in synchronous tasks already: wait in asynchronous ones")]
    NestingTooDeep {
        /// The bound.
        limit: usize,
    },
    /// An argument that was passed by reference cannot be had.
    #[error("argument {object} cannot be had: {why} ({executed})")]
    Argument {
        /// The argument.
        object: ObjectId,
        /// Why not.
        why: String,
        /// Whether what makes it may have run in an earlier try.
        executed: Executed,
    },
    /// A queued task's arguments waited on disk, and are lost.
    #[error("its arguments waited on disk and cannot be had: {why} (it did not run)")]
    ArgumentsLost {
        /// What is wrong with them.
        why: String,
    },
    /// The object is lost.
    #[error("object {object} (of life {owner}) is lost: {why}")]
    Lost {
        /// The object.
        object: ObjectId,
        /// The life of the node that owns it.
        owner: Life,
        /// Why.
        why: Lost,
    },
    /// The object is on disk, and cannot be read for now: another try may find it.
    #[error("object {object} was moved to disk and cannot be brought back now: {why}")]
    OnDisk {
        /// The object.
        object: ObjectId,
        /// Why not.
        why: String,
    },
    /// The value has another type than its reference says.
    #[error("the object is no `{expected}`")]
    WrongType {
        /// The reference's type.
        expected: String,
    },
    /// The value could not be encoded or decoded.
    #[error("the object's value: {message}")]
    Codec {
        /// What the codec said.
        message: String,
    },
    /// The cluster that it belonged to was shut down in this process.
    #[error("its cluster was shut down")]
    ShutDown,
}

/// Why an object was not given to another owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum GiveError {
    /// It has no value that could be given.
    #[error("object {object} cannot be given: {why}")]
    NotThere {
        /// The object.
        object: ObjectId,
        /// Why not.
        why: String,
    },
    /// No member is there that would outlive its owner.
    #[error("nobody can keep object {object}: no other node of the cluster hosts actors, nor is its head known")]
    NoTaker {
        /// The object.
        object: ObjectId,
    },
    /// That node is no member.
    #[error("node {node} is no member of the cluster")]
    NoNode {
        /// The node.
        node: NodeId,
    },
    /// The other node does not take it, or who owns it does not give it.
    #[error("object {object} stays where it is: {why}")]
    NotGiven {
        /// The object.
        object: ObjectId,
        /// Why.
        why: String,
    },
    /// It has moved, and those who held it know; others could not ask the head for it after its former owner's end.
    #[error("object {object} has moved, but the head does not know where to: {why}")]
    Unknown {
        /// The object, as it was.
        object: ObjectId,
        /// Why not.
        why: String,
    },
    /// The cluster was shut down in this process.
    #[error("its cluster was shut down")]
    ShutDown,
}

/// What an error says of whether what makes the object may have run, or else what is known of all such errors.
macro_rules! said_of {
    ($error:expr) => {
        match $error {
            GetError::App(_)
            | GetError::Panicked { .. }
            | GetError::OnDisk { .. }
            | GetError::WrongType { .. }
            | GetError::Codec { .. } => Err(Executed::Yes),
            GetError::Call { executed, .. }
            | GetError::NotPlaced { executed, .. }
            | GetError::Cancelled { executed }
            | GetError::NodeDied { executed, .. }
            | GetError::ActorDied { executed, .. }
            | GetError::ActorRestarted { executed, .. }
            | GetError::Unreachable { executed, .. }
            | GetError::Deadlock { executed, .. }
            | GetError::Encode { executed, .. }
            | GetError::Decode { executed, .. }
            | GetError::TooLarge { executed, .. }
            | GetError::UnknownMethod { executed, .. }
            | GetError::Argument { executed, .. }
            | GetError::Stale { executed }
            | GetError::Timeout { executed, .. } => Ok(executed),
            GetError::Invalid(_)
            | GetError::HeadAway { .. }
            | GetError::QueueFull { .. }
            | GetError::ArgumentsLost { .. } => Err(Executed::No),
            GetError::NestingTooDeep { .. } | GetError::Lost { .. } | GetError::ShutDown => Err(Executed::Maybe),
        }
    };
}

impl<E> GetError<E> {
    /// An object that is lost.
    pub(crate) fn lost(object: ObjectId, why: Lost) -> Self {
        GetError::Lost { object, owner: object.life, why }
    }

    /// Whether it is that an object is lost.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, GetError::Lost { .. })
    }

    /// Whether what makes it may have run.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match said_of!(self) {
            Ok(executed) => *executed,
            Err(known) => known,
        }
    }

    /// An argument of what goes for the first time cannot be had.
    pub(crate) fn absent((object, why): (ObjectId, String)) -> Self {
        GetError::Argument { object, why, executed: Executed::No }
    }

    /// The error of what may have run in an earlier try, whatever became of the last one.
    pub(crate) fn after_a_try(mut self) -> Self {
        if let Ok(executed) = said_of!(&mut self) {
            *executed = executed.after_a_try();
        }
        self
    }

    /// The maker's own error as `app` makes it.
    pub(crate) fn map_app<F>(self, app: impl FnOnce(E) -> GetError<F>) -> GetError<F> {
        match self {
            GetError::App(error) => app(error),
            GetError::Panicked { what, message } => GetError::Panicked { what, message },
            GetError::Call { message, executed } => GetError::Call { message, executed },
            GetError::Invalid(option) => GetError::Invalid(option),
            GetError::NotPlaced { why, executed } => GetError::NotPlaced { why, executed },
            GetError::HeadAway { waited } => GetError::HeadAway { waited },
            GetError::Cancelled { executed } => GetError::Cancelled { executed },
            GetError::NodeDied { node, executed } => GetError::NodeDied { node, executed },
            GetError::ActorDied { actor, why, executed } => GetError::ActorDied { actor, why, executed },
            GetError::ActorRestarted { actor, executed } => GetError::ActorRestarted { actor, executed },
            GetError::Unreachable { node, silent, executed } => GetError::Unreachable { node, silent, executed },
            GetError::Deadlock { cycle, executed } => GetError::Deadlock { cycle, executed },
            GetError::Stale { executed } => GetError::Stale { executed },
            GetError::UnknownMethod { method, signature, executed } => {
                GetError::UnknownMethod { method, signature, executed }
            }
            GetError::Encode { what, message, executed } => GetError::Encode { what, message, executed },
            GetError::Decode { what, message, executed } => GetError::Decode { what, message, executed },
            GetError::TooLarge { what, bytes, limit, executed } => GetError::TooLarge { what, bytes, limit, executed },
            GetError::Timeout { what, after, waiting, executed } => {
                GetError::Timeout { what, after, waiting, executed }
            }
            GetError::QueueFull { limit } => GetError::QueueFull { limit },
            GetError::NestingTooDeep { limit } => GetError::NestingTooDeep { limit },
            GetError::Argument { object, why, executed } => GetError::Argument { object, why, executed },
            GetError::ArgumentsLost { why } => GetError::ArgumentsLost { why },
            GetError::Lost { object, owner, why } => GetError::Lost { object, owner, why },
            GetError::OnDisk { object, why } => GetError::OnDisk { object, why },
            GetError::WrongType { expected } => GetError::WrongType { expected },
            GetError::Codec { message } => GetError::Codec { message },
            GetError::ShutDown => GetError::ShutDown,
        }
    }
}

impl<E: WireError> GetError<E> {
    /// As an object keeps it, for references of whatever error type.
    pub(crate) fn into_fault(self) -> Fault {
        self.map_app(|error| {
            let (mut body, text) = (Vec::new(), text_of(&error));
            // An error that does not encode still says what it is.
            let _ = codec::encode(&error, &mut body);
            GetError::App(Coded { body: body.into(), text })
        })
    }

    /// What a reference whose maker fails with `E` gives.
    pub(crate) fn from_fault(fault: Fault) -> Self {
        fault.map_app(|coded| match codec::decode(&coded.body) {
            Ok(error) => GetError::App(error),
            Err(_) => GetError::Call { message: coded.text, executed: Executed::Yes },
        })
    }
}

/// A failure as an object keeps it.
pub(crate) type Fault = GetError<Coded>;

/// An error of user code, encoded, and its text for those who do not know its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coded {
    pub(crate) body: Bytes,
    pub(crate) text: String,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
