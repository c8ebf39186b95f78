//! `Answer`: what becomes of an ask. Every ask gets exactly one, and an error says whether the call may have run.
//!
//! ```text
//! answer   = 11 . call varint . outcome
//! outcome  = 00 . refs . body                         a value
//!          | 01 . refs . body                         the method's own error
//!          | 02 . executed u8 (0 no, 1 maybe, 2 yes) . fault
//!          | 03 . refs                                a value that is an object of the answering node: one reference
//! fault    = tag u8 . fields                          texts are cut to 1 KiB by who writes them
//! end      = tag u8 . [text]                          why an actor is no more
//! ```

use super::{ANSWER, Ref, body};
use crate::id::{ActorId, ObjectId};
use crate::limits::{CYCLE_ACTORS, FAULT_TEXT, MESSAGE_REFS};
use crate::wire::bytes::{Element, List, Reader, WireError, put_text, put_varint};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The one answer of an ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<'a> {
    /// The work number of its request.
    pub call: u64,
    /// What became of it.
    pub outcome: Outcome<'a>,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// The method returned this.
    Value {
        /// The references inside the body.
        refs: List<'a, Ref>,
        /// The value.
        body: &'a [u8],
    },
    /// The method returned a value that no packet carries: it is an object of the answering node now.
    Elsewhere {
        /// The one reference to it.
        refs: List<'a, Ref>,
    },
    /// The method ran, and returned this error.
    App {
        /// The references inside the body.
        refs: List<'a, Ref>,
        /// The error.
        body: &'a [u8],
    },
    /// Mobula could not bring a reply.
    Error {
        /// Whether the method began.
        executed: Executed,
        /// Why not.
        fault: CallFault<'a>,
    },
}

impl<'a> Outcome<'a> {
    /// The references inside its body.
    #[must_use]
    pub const fn refs(&self) -> List<'a, Ref> {
        match self {
            Outcome::Value { refs, .. } | Outcome::App { refs, .. } | Outcome::Elsewhere { refs } => *refs,
            Outcome::Error { .. } => List::EMPTY,
        }
    }
}

/// Whether a call that ended in an error may have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Executed {
    /// It never began: sending it again runs it once.
    No,
    /// It may have begun, and may have finished.
    Maybe,
    /// It began.
    Yes,
}

impl Executed {
    /// Of a call that may have run in an earlier try, what is known of the last one.
    pub(crate) const fn after_a_try(self) -> Self {
        match self {
            Executed::No => Executed::Maybe,
            known => known,
        }
    }
}

impl fmt::Display for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Executed::No => "the call did not run",
            Executed::Maybe => "the call may have run",
            Executed::Yes => "the call ran",
        })
    }
}

/// Why a call has no reply.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallFault<'a> {
    /// The actor is not at this placement.
    NotHere,
    /// The actor is no more.
    ActorDied(End<'a>),
    /// The actor was started again while the call was in its hands.
    ActorRestarted,
    /// The method panicked.
    Panicked {
        /// What it said.
        message: &'a str,
    },
    /// The host was not compiled with this actor type.
    UnknownType,
    /// The host's actor type has no such method or constructor, or one of another signature.
    UnknownMethod,
    /// The arguments do not decode as the method's.
    Decode {
        /// What is wrong with them.
        message: &'a str,
    },
    /// The reply could not be encoded.
    Encode {
        /// What is wrong with it.
        message: &'a str,
    },
    /// The reply is larger than a packet carries.
    ReplyTooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// Its caller took it back before it began.
    Cancelled,
    /// Its caller's time was up before it began.
    TimeUp,
    /// It waits for itself.
    Deadlock {
        /// The actors that wait for one another.
        cycle: List<'a, ActorId>,
    },
    /// A later incarnation of the calling actor has been seen.
    Stale,
    /// The mailbox has no room, and the call would not wait.
    MailboxFull,
    /// The chain of asks is longer than any that is not endless.
    ChainTooLong,
    /// The host's life is fenced, or it is leaving: nothing new begins there.
    Fenced,
    /// The grant has ended.
    NoGrant,
    /// The host has not the resources that the actor was to have.
    NoResources,
    /// A reference among the arguments is lost.
    ReferenceLost,
    /// An object that was passed by reference cannot be had.
    Argument {
        /// Which object.
        object: ObjectId,
        /// Why not.
        message: &'a str,
    },
    /// The caller's node left so many answers unread that this one was not kept.
    Unread,
}

/// Why an actor is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End<'a> {
    /// It was stopped.
    Stopped,
    /// It was killed.
    Killed,
    /// It panicked, and may not start again.
    Panicked {
        /// What it said.
        message: &'a str,
    },
    /// It failed once more than it may be started again.
    RestartsSpent {
        /// How often it may be.
        restarts: u32,
        /// What failed last.
        message: &'a str,
    },
    /// It could not be made of its checkpoint.
    NotRestored {
        /// Why.
        message: &'a str,
    },
    /// It supervised others, which failed once more than they may be started again.
    ChildrenFailed {
        /// How often they may be.
        restarts: u32,
        /// Which failed last, and why.
        message: &'a str,
    },
    /// It was linked with one that ended.
    Linked {
        /// The one that ended first.
        actor: ActorId,
        /// Why that did.
        message: &'a str,
    },
    /// Its constructor failed, so it never was.
    NeverStarted {
        /// Why.
        message: &'a str,
    },
    /// The node that owned it ended.
    OwnerEnded,
    /// Its node ended.
    NodeEnded,
    /// Its node is shutting down.
    NodeStopped,
}

impl<'a> Answer<'a> {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(ANSWER);
        put_varint(out, self.call);
        let value = |out: &mut Vec<u8>, tag: u8, refs: &List<'a, Ref>, body: &[u8]| {
            out.push(tag);
            refs.put(out);
            out.extend_from_slice(body);
        };
        match &self.outcome {
            Outcome::Value { refs, body } => value(out, 0, refs, body),
            Outcome::App { refs, body } => value(out, 1, refs, body),
            Outcome::Elsewhere { refs } => value(out, 3, refs, &[]),
            Outcome::Error { executed, fault } => {
                out.extend_from_slice(&[2, *executed as u8]);
                fault.put(out);
            }
        }
    }

    /// The work number of the request that a settle packet answers; none if it is no answer. What became of it is read by who
    /// needs that.
    #[inline]
    pub fn call_of(packet: &[u8]) -> Result<Option<u64>, WireError> {
        match packet {
            [ANSWER, rest @ ..] => Reader::new(rest).varint("a call").map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn read(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let call = reader.varint("a call")?;
        let outcome = match reader.u8("an outcome")? {
            0 => Outcome::Value { refs: List::read(&mut reader, MESSAGE_REFS)?, body: body(reader)? },
            1 => Outcome::App { refs: List::read(&mut reader, MESSAGE_REFS)?, body: body(reader)? },
            2 => {
                let executed = match reader.u8("whether a call began")? {
                    0 => Executed::No,
                    1 => Executed::Maybe,
                    2 => Executed::Yes,
                    tag => return Err(WireError::Tag { what: "whether a call began", tag }),
                };
                let fault = CallFault::read(&mut reader)?;
                reader.end("an answer")?;
                Outcome::Error { executed, fault }
            }
            3 => {
                let refs = List::read(&mut reader, 1)?;
                reader.end("an answer")?;
                Outcome::Elsewhere { refs }
            }
            tag => return Err(WireError::Tag { what: "an outcome", tag }),
        };
        Ok(Answer { call, outcome })
    }
}

impl<'a> CallFault<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, tag: u8, message: &str| {
            out.push(tag);
            put_text(out, message, FAULT_TEXT);
        };
        match *self {
            CallFault::NotHere => out.push(1),
            CallFault::ActorDied(end) => {
                out.push(2);
                end.put(out);
            }
            CallFault::ActorRestarted => out.push(3),
            CallFault::Panicked { message } => text(out, 4, message),
            CallFault::UnknownType => out.push(5),
            CallFault::UnknownMethod => out.push(6),
            CallFault::Decode { message } => text(out, 7, message),
            CallFault::Encode { message } => text(out, 8, message),
            CallFault::ReplyTooLarge { bytes } => {
                out.push(9);
                put_varint(out, bytes);
            }
            CallFault::Cancelled => out.push(10),
            CallFault::TimeUp => out.push(11),
            CallFault::Deadlock { cycle } => {
                out.push(12);
                cycle.put(out);
            }
            CallFault::Stale => out.push(13),
            CallFault::MailboxFull => out.push(14),
            CallFault::ChainTooLong => out.push(15),
            CallFault::Fenced => out.push(16),
            CallFault::NoGrant => out.push(17),
            CallFault::NoResources => out.push(18),
            CallFault::ReferenceLost => out.push(19),
            CallFault::Unread => out.push(20),
            CallFault::Argument { object, message } => {
                out.push(21);
                object.put(out);
                put_text(out, message, FAULT_TEXT);
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match reader.u8("a fault")? {
            1 => CallFault::NotHere,
            2 => CallFault::ActorDied(End::read(reader)?),
            3 => CallFault::ActorRestarted,
            4 => CallFault::Panicked { message: reader.text(FAULT_TEXT, "a panic's message")? },
            5 => CallFault::UnknownType,
            6 => CallFault::UnknownMethod,
            7 => CallFault::Decode { message: reader.text(FAULT_TEXT, "a fault's message")? },
            8 => CallFault::Encode { message: reader.text(FAULT_TEXT, "a fault's message")? },
            9 => CallFault::ReplyTooLarge { bytes: reader.varint("a reply's size")? },
            10 => CallFault::Cancelled,
            11 => CallFault::TimeUp,
            12 => CallFault::Deadlock { cycle: List::read(reader, CYCLE_ACTORS)? },
            13 => CallFault::Stale,
            14 => CallFault::MailboxFull,
            15 => CallFault::ChainTooLong,
            16 => CallFault::Fenced,
            17 => CallFault::NoGrant,
            18 => CallFault::NoResources,
            19 => CallFault::ReferenceLost,
            20 => CallFault::Unread,
            21 => CallFault::Argument {
                object: ObjectId::read(reader)?,
                message: reader.text(FAULT_TEXT, "a fault's message")?,
            },
            tag => return Err(WireError::Tag { what: "a fault", tag }),
        })
    }
}

impl<'a> End<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            End::Stopped => out.push(1),
            End::Killed => out.push(2),
            End::Panicked { message } => {
                out.push(3);
                put_text(out, message, FAULT_TEXT);
            }
            End::NeverStarted { message } => {
                out.push(4);
                put_text(out, message, FAULT_TEXT);
            }
            End::NotRestored { message } => {
                out.push(9);
                put_text(out, message, FAULT_TEXT);
            }
            End::OwnerEnded => out.push(5),
            End::NodeEnded => out.push(6),
            End::NodeStopped => out.push(7),
            End::RestartsSpent { restarts, message } => {
                out.push(8);
                put_varint(out, u64::from(restarts));
                put_text(out, message, FAULT_TEXT);
            }
            End::ChildrenFailed { restarts, message } => {
                out.push(10);
                put_varint(out, u64::from(restarts));
                put_text(out, message, FAULT_TEXT);
            }
            End::Linked { actor, message } => {
                out.push(11);
                actor.put(out);
                put_text(out, message, FAULT_TEXT);
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match reader.u8("an actor's end")? {
            1 => End::Stopped,
            2 => End::Killed,
            3 => End::Panicked { message: reader.text(FAULT_TEXT, "a panic's message")? },
            4 => End::NeverStarted { message: reader.text(FAULT_TEXT, "an actor's end")? },
            5 => End::OwnerEnded,
            6 => End::NodeEnded,
            7 => End::NodeStopped,
            8 => End::RestartsSpent {
                restarts: reader.varint32("a count of restarts")?,
                message: reader.text(FAULT_TEXT, "an actor's end")?,
            },
            9 => End::NotRestored { message: reader.text(FAULT_TEXT, "an actor's end")? },
            10 => End::ChildrenFailed {
                restarts: reader.varint32("a count of restarts")?,
                message: reader.text(FAULT_TEXT, "an actor's end")?,
            },
            11 => End::Linked { actor: ActorId::read(reader)?, message: reader.text(FAULT_TEXT, "an actor's end")? },
            tag => return Err(WireError::Tag { what: "an actor's end", tag }),
        })
    }
}
