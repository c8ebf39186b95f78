//! References as they travel: the typed list beside a body, and the counts that owners and holders exchange.
//!
//! ```text
//! ref      = 01 . actor . type u64 . host life varint . placement varint . kept u8 (0 counted, 1 detached, 2 weak)
//!          | 02 . object
//!          | 03 . position varint . object          an argument of the message: its value is this object's
//!          | 04 . position varint . object . reader varint . segment varint . offset varint . length varint
//!                                      the same, pinned in the sender's store for who reads that (PROTOCOLS §4.1)
//! count    = (01 . actor | 02 . object) . run varint . n varint
//!                                      those of one life from `serial` on, `run` of them, n each
//! object   = life varint . serial varint
//! ```

use crate::id::{ActorId, Key, Life, ObjectId, Placement};
use crate::wire::bytes::{Element, Reader, WireError, put_varint};
use std::fmt;

const ACTOR: u8 = 1;
const OBJECT: u8 = 2;
const ARGUMENT: u8 = 3;
const PINNED: u8 = 4;

/// A reference inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ref {
    /// A handle of an actor.
    Actor {
        /// Which actor.
        actor: ActorId,
        /// The key of its type.
        type_key: Key,
        /// The life of the node that hosts it, as far as the sender knew.
        host: Life,
        /// Where it was put, as far as the sender knew.
        placement: Placement,
        /// What the handle does for it.
        kept: Kept,
    },
    /// A reference to an object.
    Object {
        /// Which object.
        object: ObjectId,
    },
    /// An object in whose place an argument of the message is to have its value.
    Argument {
        /// The how many-th argument.
        position: u32,
        /// Which object.
        object: ObjectId,
    },
    /// The same, of an object that its owner sends: it lies pinned for the receiver, who reads the owner's store.
    Pinned {
        /// The how many-th argument.
        position: u32,
        /// Which object.
        object: ObjectId,
        /// Where it lies.
        pin: Pin,
    },
}

/// A place in a store, which stays as it is for one reader until that says that it is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What the store calls the reader: a process that connected anew is another.
    pub reader: u64,
    /// The segment.
    pub segment: u64,
    /// Bytes before it in the segment.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// What a handle does for its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// It keeps the actor, and the life that spawned it counts it.
    Counted,
    /// Nothing: the head owns the actor.
    Detached,
    /// Nothing: others may keep the actor.
    Weak,
}

impl Ref {
    /// What its owner counts; nothing for a handle that keeps nothing.
    #[must_use]
    pub const fn counted(&self) -> Option<Counted> {
        match *self {
            Ref::Actor { actor, kept: Kept::Counted, .. } => Some(Counted::Actor(actor)),
            Ref::Actor { kept: Kept::Detached | Kept::Weak, .. } => None,
            Ref::Object { object } | Ref::Argument { object, .. } | Ref::Pinned { object, .. } => {
                Some(Counted::Object(object))
            }
        }
    }

    /// The how many-th argument of the message has this object's value, if one has.
    #[must_use]
    pub const fn position(&self) -> Option<u32> {
        match *self {
            Ref::Argument { position, .. } | Ref::Pinned { position, .. } => Some(position),
            Ref::Actor { .. } | Ref::Object { .. } => None,
        }
    }
}

impl Element<'_> for Ref {
    const WHAT: &'static str = "a list of references";

    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Ref::Actor { actor, type_key, host, placement, kept } => {
                out.push(ACTOR);
                actor.put(out);
                out.extend_from_slice(&type_key.0.to_le_bytes());
                put_varint(out, host.0);
                put_varint(out, placement.0);
                out.push(match kept {
                    Kept::Counted => 0,
                    Kept::Detached => 1,
                    Kept::Weak => 2,
                });
            }
            Ref::Object { object } => {
                out.push(OBJECT);
                object.put(out);
            }
            Ref::Argument { position, object } => {
                out.push(ARGUMENT);
                put_varint(out, u64::from(position));
                object.put(out);
            }
            Ref::Pinned { position, object, pin } => {
                out.push(PINNED);
                put_varint(out, u64::from(position));
                object.put(out);
                let Pin { reader, segment, offset, length } = pin;
                [reader, segment, offset, length].iter().for_each(|number| put_varint(out, *number));
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        match reader.u8("a reference")? {
            ACTOR => Ok(Ref::Actor {
                actor: ActorId::read(reader)?,
                type_key: Key(reader.u64("a reference")?),
                host: Life(reader.varint("a reference")?),
                placement: Placement(reader.varint("a reference")?),
                kept: match reader.u8("a reference")? {
                    0 => Kept::Counted,
                    1 => Kept::Detached,
                    2 => Kept::Weak,
                    tag => return Err(WireError::Tag { what: "what a handle keeps", tag }),
                },
            }),
            OBJECT => Ok(Ref::Object { object: ObjectId::read(reader)? }),
            ARGUMENT => {
                let position = reader.varint32("an argument's position")?;
                Ok(Ref::Argument { position, object: ObjectId::read(reader)? })
            }
            PINNED => {
                let position = reader.varint32("an argument's position")?;
                let object = ObjectId::read(reader)?;
                let mut number = || reader.varint("a pin");
                let pin = Pin { reader: number()?, segment: number()?, offset: number()?, length: number()? };
                Ok(Ref::Pinned { position, object, pin })
            }
            tag => Err(WireError::Tag { what: "a reference", tag }),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Counted {
    /// An actor's lifetime.
    Actor(ActorId),
    /// An object.
    Object(ObjectId),
}

impl Counted {
    /// The life that counts it: the spawner's, or the object's owner's.
    #[must_use]
    pub const fn owner(&self) -> Life {
        match *self {
            Counted::Actor(actor) => actor.life,
            Counted::Object(object) => object.life,
        }
    }

    /// The thing of the same kind and owner whose serial is `steps` higher.
    #[must_use]
    pub const fn step(&self, steps: u64) -> Option<Counted> {
        match *self {
            Counted::Actor(ActorId { life, serial }) => match serial.checked_add(steps) {
                Some(serial) => Some(Counted::Actor(ActorId { life, serial })),
                None => None,
            },
            Counted::Object(ObjectId { life, serial }) => match serial.checked_add(steps) {
                Some(serial) => Some(Counted::Object(ObjectId { life, serial })),
                None => None,
            },
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Counted::Actor(actor) => write!(f, "actor {actor}"),
            Counted::Object(object) => write!(f, "object {object}"),
        }
    }
}

/// So many references to each of a run of things with rising serials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The first of the run.
    pub first: Counted,
    /// How many things.
    pub run: u32,
    /// How many references to each.
    pub n: u64,
}

impl Element<'_> for Count {
    const WHAT: &'static str = "a list of counts";

    fn put(&self, out: &mut Vec<u8>) {
        match self.first {
            Counted::Actor(actor) => {
                out.push(ACTOR);
                actor.put(out);
            }
            Counted::Object(object) => {
                out.push(OBJECT);
                object.put(out);
            }
        }
        put_varint(out, u64::from(self.run));
        put_varint(out, self.n);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let first = match reader.u8("a count")? {
            ACTOR => Counted::Actor(ActorId::read(reader)?),
            OBJECT => Counted::Object(ObjectId::read(reader)?),
            tag => return Err(WireError::Tag { what: "a count", tag }),
        };
        Ok(Count { first, run: reader.varint32("a count's run")?, n: reader.varint("a count")? })
    }
}
