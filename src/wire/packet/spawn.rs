//! The body of a request that makes an actor: what the host must know before the constructor runs, then its arguments.
//!
//! ```text
//! spawn    = type u64 . lifetime u8 (0 owned, 1 detached) . restarts varint . window varint (ms, 0 none)
//!          . namespace text . named u8 . [name text] . resources . [epoch varint . bundle] . arguments (what is left)
//! resource = name text . ten-thousandths varint
//! bundle   = 00 | 01 . group | 02 . group . index varint           epoch and bundle if there are resources
//! group    = life varint . serial varint
//! ```

use crate::id::{Epoch, GroupId, Key, Life};
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

/// Which head reserved something, and of which bundle.
type Reservation = (Epoch, Option<(GroupId, Option<u32>)>);

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
    /// What was reserved for it ..
    pub resources: List<'a, Amount<'a>>,
    /// .. by which head ..
    pub epoch: Epoch,
    /// .. and of which bundle, or of any of a group, if not of the node.
    pub bundle: Option<(GroupId, Option<u32>)>,
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
        if !self.resources.is_empty() {
            self.put_reservation(out);
        }
        out.extend_from_slice(self.arguments);
    }

    fn put_reservation(&self, out: &mut Vec<u8>) {
        put_varint(out, self.epoch.0);
        let group = |out: &mut Vec<u8>, tag: u8, group: GroupId| {
            out.push(tag);
            put_varint(out, group.life.0);
            put_varint(out, group.serial);
        };
        match self.bundle {
            None => out.push(0),
            Some((of, None)) => group(out, 1, of),
            Some((of, Some(index))) => {
                group(out, 2, of);
                put_varint(out, u64::from(index));
            }
        }
    }

    fn read_reservation(reader: &mut Reader<'a>) -> Result<Reservation, WireError> {
        let epoch = Epoch(reader.varint("a head's epoch")?);
        let group = |reader: &mut Reader<'a>| -> Result<GroupId, WireError> {
            let life = Life(reader.varint("a placement group")?);
            Ok(GroupId { life, serial: reader.varint("a placement group")? })
        };
        let bundle = match reader.u8("a bundle")? {
            0 => None,
            1 => Some((group(reader)?, None)),
            2 => Some((group(reader)?, Some(reader.varint32("a bundle")?))),
            tag => return Err(WireError::Tag { what: "a bundle", tag }),
        };
        Ok((epoch, bundle))
    }

    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let type_key = Key(reader.u64("an actor's type")?);
        let lifetime = match reader.u8("a lifetime")? {
            0 => Lifetime::Owned,
            1 => Lifetime::Detached,
            tag => return Err(WireError::Tag { what: "a lifetime", tag }),
        };
        let restarts = reader.varint32("a count of restarts")?;
        let window = match reader.varint("a window of restarts")? {
            0 => None,
            window => Some(Duration::from_millis(window).min(RESTART_WINDOW)),
        };
        let namespace = reader.text(NAME_BYTES, "a namespace")?;
        let name = match reader.u8("whether an actor has a name")? {
            0 => None,
            1 => Some(reader.text(NAME_BYTES, "an actor's name")?),
            tag => return Err(WireError::Tag { what: "whether an actor has a name", tag }),
        };
        let resources = List::read(&mut reader, RESOURCES)?;
        let (epoch, bundle) = match resources.is_empty() {
            true => (Epoch::default(), None),
            false => Self::read_reservation(&mut reader)?,
        };
        let arguments = reader.rest();
        Ok(Spawn { type_key, lifetime, restarts, window, namespace, name, resources, epoch, bundle, arguments })
    }
}
