//! Values that must be brought before a message can have them in the places of its references: from disk, from other nodes.

use parking_lot::Mutex;
use std::sync::Arc;

use super::args::{Arguments, references};
use crate::id::ObjectId;
use crate::object::entry::{Entry, Outcome};
use crate::object::error::Fault;
use crate::object::get::Value;

/// Which object cannot be had, and why.
pub(crate) type Absent = (ObjectId, String);

/// The values of a message's references: those at hand stay so while this is held.
pub(crate) struct Gathered {
    at_hand: Vec<Outcome>,
    away: Vec<Arc<Entry>>,
}

/// Gathers what is at hand. What is lost is not: who passed it may have another in its place.
pub(crate) fn gather<M: Arguments>(message: &mut M) -> Gathered {
    let mut gathered = Gathered::none();
    if message.has_references() {
        for entry in references(message) {
            match entry.at_hand() {
                Some(outcome) if !outcome.as_ref().is_err_and(|fault| fault.is_lost()) => {
                    gathered.at_hand.push(outcome)
                }
                _ => gathered.away.push(entry),
            }
        }
    }
    gathered
}

impl Gathered {
    /// Of a message that nobody waits for.
    pub(crate) fn none() -> Self {
        Gathered { at_hand: Vec::new(), away: Vec::new() }
    }

    /// Whether nothing must be brought.
    pub(crate) fn is_whole(&self) -> bool {
        self.away.is_empty()
    }

    /// Brings the others; then all stay at hand while the result is held.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub(crate) async fn bring(self) -> Result<Gathered, Absent> {
        self.try_bring().await.map_err(|(object, fault)| (object, fault.to_string()))
    }

    /// The same.
    ///
    /// # Errors
    /// The first that cannot be had, and the fault itself.
    pub(crate) async fn try_bring(self) -> Result<Gathered, (ObjectId, Arc<Fault>)> {
        let Gathered { mut at_hand, away } = self;
        let ids: Vec<ObjectId> = away.iter().map(|object| object.id()).collect();
        let brought = futures_util::future::join_all(away.into_iter().map(Value::of)).await;
        match ids.into_iter().zip(&brought).find_map(|(id, value)| Some((id, value.as_ref().err()?.clone()))) {
            Some(absent) => Err(absent),
            None => {
                at_hand.extend(brought);
                Ok(Gathered { at_hand, away: Vec::new() })
            }
        }
    }
}

/// The values of one call in line.
#[derive(Default)]
pub(crate) struct Gathering(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    NotYet,
    UnderWay,
    Done(Result<Gathered, Absent>),
}

/// What a call in line does next.
pub(crate) enum Next {
    /// It goes.
    Goes,
    /// It waits for who brings its values.
    Waits,
    /// It has them brought, and waits.
    Brings(Gathered),
}

impl Gathering {
    /// Asked by one at a time. Gathering may drop what nobody waits for any more: outside of the lock.
    pub(crate) fn next(&self, gather: impl FnOnce() -> Gathered) -> Next {
        match &*self.0.lock() {
            State::Done(_) => return Next::Goes,
            State::UnderWay => return Next::Waits,
            State::NotYet => {}
        }
        let gathered = gather();
        if gathered.is_whole() {
            self.done(Ok(gathered));
            return Next::Goes;
        }
        *self.0.lock() = State::UnderWay;
        Next::Brings(gathered)
    }

    /// They were brought, or were not.
    pub(crate) fn done(&self, brought: Result<Gathered, Absent>) {
        *self.0.lock() = State::Done(brought);
    }

    /// Which could not be.
    pub(crate) fn absent(&self) -> Result<(), Absent> {
        match &*self.0.lock() {
            State::Done(Err(absent)) => Err(absent.clone()),
            _ => Ok(()),
        }
    }
}
