//! Values that must be brought before a message can have them in the places of its references: from disk.

use std::sync::Arc;

use super::args::{Arguments, references};
use crate::id::ObjectId;
use crate::object::entry::{Entry, Outcome};
use crate::object::get::Value;

/// Values that stay at hand while this is held.
pub(crate) struct Brought {
    _values: Vec<Outcome>,
}

/// The objects that a message refers to whose values are there, but not at hand.
pub(crate) fn absent<M: Arguments>(message: &mut M) -> Vec<Arc<Entry>> {
    if !message.has_references() {
        return Vec::new();
    }
    references(message).into_iter().filter(|entry| entry.is_settled() && entry.at_hand().is_none()).collect()
}

/// Brings the values of objects.
///
/// # Errors
/// Which one cannot be had, and why.
pub(crate) async fn bring(objects: Vec<Arc<Entry>>) -> Result<Brought, (ObjectId, String)> {
    let ids: Vec<ObjectId> = objects.iter().map(|object| object.id()).collect();
    let values = futures_util::future::join_all(objects.into_iter().map(Value::of)).await;
    match ids.into_iter().zip(&values).find_map(|(id, value)| Some((id, value.as_ref().err()?.to_string()))) {
        Some(failed) => Err(failed),
        None => Ok(Brought { _values: values }),
    }
}
