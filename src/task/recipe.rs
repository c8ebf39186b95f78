//! How a task is made of arguments that are encoded: of those that arrive, and of those that are kept for another run.

use bytes::Bytes;
use std::sync::Arc;

use super::returns::{More, Returns};
use super::slot::{Message, Runnable, TaskSlot};
use super::spec::Task;
use crate::actor::args;
use crate::actor::remote::NodeRef;
use crate::id::ObjectId;
use crate::object::entry::Entry;
use crate::wire::codec::{self, DecodeError, Enclosed, Hold};

/// A task as it arrives.
pub(crate) struct Coming<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) enclosed: Enclosed,
    /// Positions of arguments that are results of this node's tasks, and those.
    pub(crate) left_out: Vec<(u32, Arc<Entry>)>,
    pub(crate) here: &'a NodeRef,
    pub(crate) result: Arc<Entry>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) more: Makes<'a>,
}

/// What a task makes beside its result.
pub(crate) enum Makes<'a> {
    /// New objects.
    New(&'a dyn Fn() -> ObjectId),
    /// These.
    These(Option<Arc<More>>),
}

/// Makes a task of arguments that arrived.
pub(crate) fn arrived<K: Task>(coming: Coming<'_>) -> Result<Arc<dyn Runnable>, DecodeError> {
    let Coming { body, enclosed, left_out, here, result, name, more } = coming;
    let left_out = left_out.into_iter().map(|(position, entry)| (position, entry as Hold)).collect();
    let message = codec::decode_arguments(body, enclosed, left_out, here)?;
    let more = match more {
        Makes::New(next_object) => K::Reply::SHAPE.more(next_object),
        Makes::These(more) => more,
    };
    Ok(TaskSlot::<K>::new(message, result, more, name))
}

/// What it takes to make a task once more.
pub(crate) struct Recipe {
    pub(crate) body: Bytes,
    /// What is inside of the arguments.
    pub(crate) enclosed: Enclosed,
    /// Arguments that are references: their positions, and to what.
    pub(crate) passed: Vec<(u32, Arc<Entry>)>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) make: fn(Coming<'_>) -> Result<Arc<dyn Runnable>, DecodeError>,
}

/// The recipe of a task with these arguments. Blocks if they are on disk.
pub(super) fn recipe<K: Task>(message: Message<K>, name: Option<&str>) -> Option<Recipe> {
    let (body, enclosed, passed) = match message {
        Message::Here(mut message) => encoded(&mut message)?,
        Message::Long(mut long) => encoded(&mut long.message)?,
        Message::OnDisk(on_disk) => (on_disk.read().ok()?, on_disk.enclosed.clone(), on_disk.passed.clone()),
        Message::Taken => return None,
    };
    let (body, name) = (Bytes::from(body), name.map(Into::into));
    Some(Recipe { body, enclosed: without_values(&enclosed), passed, name, make: arrived::<K> })
}

type Encoded = (Vec<u8>, Enclosed, Vec<(u32, Arc<Entry>)>);

fn encoded<K: Task>(message: &mut K) -> Option<Encoded> {
    let passed = args::positions(message, |entry| Some(entry.clone()));
    let mut body = Vec::new();
    let enclosed = codec::encode_arguments(message, &mut body).ok()?;
    Some((body, enclosed, passed))
}

/// Without what the arguments that are references lead to: it is looked for anew.
fn without_values(enclosed: &Enclosed) -> Enclosed {
    let holds = enclosed.refs.iter().zip(&enclosed.holds);
    let holds = holds.map(|(of, hold)| hold.clone().filter(|_| of.position().is_none())).collect();
    Enclosed::new(enclosed.refs.clone(), holds)
}
