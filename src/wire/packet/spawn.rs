//! The body of a request that makes an actor: what the host must know before the constructor runs, then its arguments.
//!
//! ```text
//! spawn    = type u64 . lifetime u8 (0 owned, 1 detached) . restarts varint . window varint (ms, 0 none)
//!          . namespace text . named u8 . [name text] . resources . arguments (what is left)
//! resource = name text . ten-thousandths varint
//! ```

use crate::id::Key;
use crate::limits::{NAME_BYTES, RESOURCES, RESTART_WINDOW};
use crate::wire::bytes::{Element, List, Reader, WireError, put_text, put_varint};
use std::time::Duration;

/// What an actor's life hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It ends with the node that spawned it, and with its last handle.
    Owned,
    /// It ends when it is stopped.
    Detached,
}

/// So much of a named resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount<'a> {
    /// The resource's name.
    pub name: &'a str,
    /// Ten-thousandths of its unit.
    pub units: u64,
}

impl<'a> Element<'a> for Amount<'a> {
    const WHAT: &'static str = "a list of resources";

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self.name, NAME_BYTES);
        put_varint(out, self.units);
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Amount { name: reader.text(NAME_BYTES, "a resource's name")?, units: reader.varint("a resource's amount")? })
    }
}

/// How to make an actor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spawn<'a> {
    /// The actor's type.
    pub type_key: Key,
    /// What its life hangs on.
    pub lifetime: Lifetime,
    /// How often its host may start it again after a panic.
    pub restarts: u32,
    /// The time within which it may do so as often; over the actor's whole life if there is none. To the millisecond.
    pub window: Option<Duration>,
    /// The namespace it belongs to.
    pub namespace: &'a str,
    /// Its name there; only the head gives names, the host shows it.
    pub name: Option<&'a str>,
    /// What was reserved for it.
    pub resources: List<'a, Amount<'a>>,
    /// The constructor's arguments.
    pub arguments: &'a [u8],
}

impl<'a> Spawn<'a> {
    /// Appends the body. Names over `NAME_BYTES` were refused when the spawn was built.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.type_key.0.to_le_bytes());
        out.push(self.lifetime as u8);
        put_varint(out, u64::from(self.restarts));
        put_varint(out, self.window.map_or(0, |window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX)));
        put_text(out, self.namespace, NAME_BYTES);
        out.push(u8::from(self.name.is_some()));
        if let Some(name) = self.name {
            put_text(out, name, NAME_BYTES);
        }
        self.resources.put(out);
        out.extend_from_slice(self.arguments);
    }

    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Spawn {
            type_key: Key(reader.u64("an actor's type")?),
            lifetime: match reader.u8("a lifetime")? {
                0 => Lifetime::Owned,
                1 => Lifetime::Detached,
                tag => return Err(WireError::Tag { what: "a lifetime", tag }),
            },
            restarts: reader.varint32("a count of restarts")?,
            window: match reader.varint("a window of restarts")? {
                0 => None,
                window => Some(Duration::from_millis(window).min(RESTART_WINDOW)),
            },
            namespace: reader.text(NAME_BYTES, "a namespace")?,
            name: match reader.u8("whether an actor has a name")? {
                0 => None,
                1 => Some(reader.text(NAME_BYTES, "an actor's name")?),
                tag => return Err(WireError::Tag { what: "whether an actor has a name", tag }),
            },
            resources: List::read(&mut reader, RESOURCES)?,
            arguments: reader.rest(),
        })
    }
}
