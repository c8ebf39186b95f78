//! How a task is made of arguments that are encoded: of those that arrive, and of those that are kept for another run.

use std::sync::Arc;

use super::returns::{More, Returns};
use super::slot::{Message, Runnable, TaskSlot};
use super::spec::Task;
use crate::actor::packed::{Packed, Unpacking};
use crate::id::ObjectId;
use crate::object::entry::Entry;
use crate::wire::codec::DecodeError;

/// A task as it arrives. Arguments that are left out are results of this node's tasks.
pub(crate) struct Coming<'a> {
    pub(crate) arguments: Unpacking<'a>,
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
    let Coming { arguments, result, name, more } = coming;
    let message = arguments.unpack()?;
    let more = match more {
        Makes::New(next_object) => K::Reply::SHAPE.more(next_object),
        Makes::These(more) => more,
    };
    Ok(TaskSlot::<K>::new(message, result, more, name))
}

/// Makes a task.
pub(crate) type Make = fn(Coming<'_>) -> Result<Arc<dyn Runnable>, DecodeError>;

/// What it takes to make a task once more.
pub(crate) struct Recipe {
    pub(crate) packed: Packed,
    pub(crate) name: Option<Box<str>>,
    pub(crate) make: Make,
}

/// The recipe of a task with these arguments. Blocks if they are on disk.
pub(super) fn recipe<K: Task>(message: Message<K>, name: Option<&str>) -> Option<Recipe> {
    let packed = match message {
        Message::Here(mut message) => Packed::of(&mut message)?,
        Message::Long(mut long) => Packed::of(&mut long.message)?,
        Message::OnDisk(on_disk) => {
            Packed::encoded(on_disk.read().ok()?.into(), &on_disk.enclosed, on_disk.passed.clone())
        }
        Message::Taken => return None,
    };
    Some(Recipe { packed, name: name.map(Into::into), make: arrived::<K> })
}
