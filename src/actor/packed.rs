//! Arguments of a task or of a call, encoded and kept, so that it can be made once more (PROTOCOLS §7).

use bytes::Bytes;
use std::sync::Arc;

use super::args::{self, Arguments};
use super::remote::NodeRef;
use crate::object::entry::Entry;
use crate::wire::codec::{self, DecodeError, Enclosed, Hold};

/// Such arguments.
pub(crate) struct Packed {
    pub(crate) body: Bytes,
    /// What is inside of the arguments.
    pub(crate) enclosed: Enclosed,
    /// Arguments that are references: their positions, and to what.
    pub(crate) passed: Vec<(u32, Arc<Entry>)>,
}

impl Packed {
    /// None if they do not encode. User code.
    pub(crate) fn of<M: Arguments + serde::Serialize>(message: &mut M) -> Option<Packed> {
        let passed = args::positions(message, |entry| Some(entry.clone()));
        let mut body = Vec::new();
        let enclosed = args::encode(message, &mut body, codec::encode_arguments).ok()?;
        Some(Packed::encoded(body.into(), &enclosed, passed))
    }

    /// What was encoded before.
    pub(crate) fn encoded(body: Bytes, enclosed: &Enclosed, passed: Vec<(u32, Arc<Entry>)>) -> Packed {
        Packed { body, enclosed: without_values(enclosed), passed }
    }
}

/// Arguments as they are taken up again, or as they arrived.
pub(crate) struct Unpacking<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) enclosed: Enclosed,
    /// Arguments that the message says elsewhere: their positions, and the objects that they refer to.
    pub(crate) left_out: Vec<(u32, Arc<Entry>)>,
    pub(crate) here: &'a NodeRef,
}

impl Unpacking<'_> {
    /// # Errors
    /// What their types say.
    pub(crate) fn unpack<M: serde::de::DeserializeOwned>(self) -> Result<M, DecodeError> {
        let left_out = self.left_out.into_iter().map(|(position, entry)| (position, entry as Hold)).collect();
        codec::decode_arguments(self.body, self.enclosed, left_out, self.here)
    }
}

/// Without what the arguments that are references lead to: it is looked for anew.
fn without_values(enclosed: &Enclosed) -> Enclosed {
    let holds = enclosed.refs.iter().zip(&enclosed.holds);
    let holds = holds.map(|(of, hold)| hold.clone().filter(|_| of.position().is_none())).collect();
    Enclosed::new(enclosed.refs.clone(), holds)
}
