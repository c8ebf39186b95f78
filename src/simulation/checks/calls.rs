//! I2, I3, I4, I6 and attempts: calls, from their first send to their end.

use super::{Checked, Rule, hold};
use crate::id::{ActorId, Incarnation, Life};
use crate::limits::MAILBOX_CAPACITY;
use crate::wire::packet::Executed;
use std::collections::BTreeMap;

/// All calls of one node to one actor's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream {
    pub(crate) caller: Life,
    pub(crate) actor: ActorId,
    pub(crate) group: u8,
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ran, and answered.
    Value,
    /// A tell got its number.
    Told,
    /// An error.
    Failed(Executed),
    /// The caller, or its node's life, is no more.
    Gone,
}

#[derive(Debug)]
struct Call {
    stream: Stream,
    order: u64,
    /// Attempts that it may have.
    most: u32,
    begun: Vec<Incarnation>,
    refused: Vec<Incarnation>,
    end: Option<End>,
}

/// Every call there was.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: BTreeMap<u64, Call>,
    begun: BTreeMap<(Stream, Incarnation), u64>,
    open: usize,
}

impl Calls {
    /// A call's first poll.
    pub(crate) fn opens(&mut self, call: u64, stream: Stream, order: u64, most: u32) {
        self.open += 1;
        self.calls.insert(call, Call { stream, order, most, begun: Vec::new(), refused: Vec::new(), end: None });
    }

    /// It begins to run.
    pub(crate) fn begins(&mut self, id: u64, incarnation: Incarnation) -> Checked {
        let Some(call) = self.calls.get_mut(&id) else {
            return hold(false, Rule::I2, || format!("call {id} begins, but was never made"));
        };
        hold(!call.begun.contains(&incarnation), Rule::I2, || format!("call {id} begins twice in {incarnation:?}"))?;
        hold(!call.refused.contains(&incarnation), Rule::I4, || {
            format!("call {id} begins in {incarnation:?}, which said No of it")
        })?;
        hold(call.end != Some(End::Failed(Executed::No)), Rule::I4, || {
            format!("call {id} begins in {incarnation:?} after its caller was told No")
        })?;
        call.begun.push(incarnation);
        hold(call.begun.len() as u32 <= call.most, Rule::Attempts, || {
            format!("call {id}, which may begin {} times, begins again: {:?}", call.most, call.begun)
        })?;
        let last = self.begun.entry((call.stream, incarnation)).or_default();
        hold(call.order > *last, Rule::I3, || {
            format!("call {id}, sent as number {} of {:?}, begins after number {last}", call.order, call.stream)
        })?;
        *last = call.order;
        Ok(())
    }

    /// The host of an incarnation says that it did not run it.
    pub(crate) fn refused(&mut self, id: u64, incarnation: Incarnation) -> Checked {
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        hold(!call.begun.contains(&incarnation), Rule::I4, || {
            format!("No is said of call {id}, begun in {incarnation:?}")
        })?;
        call.refused.push(incarnation);
        Ok(())
    }

    /// Its caller is told.
    pub(crate) fn ends(&mut self, id: u64, end: End) -> Checked {
        let Some(call) = self.calls.get_mut(&id) else {
            return hold(false, Rule::I6, || format!("call {id} ends, but was never made"));
        };
        hold(call.end.is_none(), Rule::I6, || format!("call {id} ends with {end:?} after {:?}", call.end))?;
        hold(end != End::Failed(Executed::No) || call.begun.is_empty(), Rule::I4, || {
            format!("the caller of {id} is told No, but it began in {:?}", call.begun)
        })?;
        hold(end != End::Value || !call.begun.is_empty(), Rule::I1, || {
            format!("call {id} is answered, but never began")
        })?;
        call.end = Some(end);
        self.open -= 1;
        Ok(())
    }

    /// All is quiet: none may be left.
    pub(crate) fn all_ended(&self) -> Checked {
        let open: Vec<_> = self.calls.iter().filter(|(_, call)| call.end.is_none()).collect();
        hold(open.is_empty(), Rule::I6, || {
            let first: Vec<_> = open.iter().take(4).collect();
            format!("{} calls never end: {first:?}", open.len())
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn begun(&self) -> usize {
        self.calls.values().map(|call| call.begun.len()).sum()
    }
}

/// I5 of a mailbox that holds `local` calls of its own node and `remote` ones under `credit`.
pub(crate) fn mailbox(local: usize, remote: usize, credit: usize) -> Checked {
    hold(local <= MAILBOX_CAPACITY && remote <= credit, Rule::I5, || {
        format!("a mailbox holds {local} local calls, and {remote} others where {credit} had credit")
    })
}
