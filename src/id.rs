//! Identities. Numbers that only rise are given once and never reused, so that what is stale can be refused.
//!
//! ```text
//! node id      = SHA-256 of the node's static Noise public key, 32 bytes: the id dialled is the id proved
//! life         = one life of a node, given by the head at Join (PROTOCOLS §2)
//! actor id     = life of its spawner . serial within that life
//! object id    = life of its owner . serial within that life
//! incarnation  = placement . restart
//! ```

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One life of a node: given by the head at `Join`, never reused. Zero is no life.
    Life
}
number! {
    /// One reign of a head: rises with each start of it.
    Epoch
}
number! {
    /// The number under which an actor was put on a node; within one actor it only rises.
    Placement
}

number! {
    /// The head's allowance of slots on one node to one owner; rises, and is never reused.
    GrantId
}

impl Placement {
    /// Of an actor that its spawner placed: the only one that it has. The head's rise from one.
    pub const BY_SPAWNER: Placement = Placement(0);

    /// Whether the spawner put it there: it is put nowhere else after that.
    #[must_use]
    pub const fn is_by_spawner(self) -> bool {
        self.0 == 0
    }
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; $len]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        /// The first eight bytes in hexadecimal: enough to tell identities apart in a log.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

bytes_id! {
    /// The SHA-256 of a node's static public key.
    NodeId, 32
}
bytes_id! {
    /// A cluster's identity, bound into every handshake.
    ClusterId, 16
}

/// An actor's identity, made by its spawner: unique in the cluster without asking anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorId {
    /// The spawner's life.
    pub life: Life,
    /// Counts the actors that this life spawned.
    pub serial: u64,
}

impl ActorId {
    /// The node itself: no life spawns an actor zero.
    pub(crate) const fn of_node(life: Life) -> Self {
        ActorId { life, serial: 0 }
    }

    pub(crate) const fn is_node(self) -> bool {
        self.serial == 0
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.serial)
    }
}

/// A placement group's identity, made by the life that asks for it: unique in the cluster without asking anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId {
    /// The life that asked for it.
    pub life: Life,
    /// Counts the groups that this life asked for.
    pub serial: u64,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.serial)
    }
}

/// An object's identity, made by its owner: unique in the cluster without asking anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The owner's life.
    pub life: Life,
    /// Counts the objects of this life.
    pub serial: u64,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.serial)
    }
}

/// Which run of an actor's state: an actor that restarts, in place or elsewhere, begins a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Incarnation {
    /// Where it was put.
    pub placement: Placement,
    /// How often it was started again there; raised by its host alone.
    pub restart: u32,
}

/// A stable name's 64-bit FNV-1a hash with its signature's: what a request calls a type, constructor or method by.
/// Computed at compile time; a clash within one process is refused when the types register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub u64);

impl Key {
    /// The key of `name` with `signature`, both spelled as the macros spell them (`crate::Type.method`, `(u64) -> u64`).
    #[must_use]
    pub const fn of(name: &str, signature: &str) -> Key {
        Key(fnv(fnv(0xcbf2_9ce4_8422_2325, name.as_bytes()), signature.as_bytes()))
    }

    /// The key of what has `more` to its name.
    pub(crate) const fn and(self, more: &str) -> Key {
        Key(fnv(self.0, more.as_bytes()))
    }
}

const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    (hash ^ 0xff).wrapping_mul(0x0100_0000_01b3)
}
