//! Which frames of an actor wait, or of a node's tasks, and what they keep others from (PROTOCOLS §5.2, §5.3).
//!
//! A frame is entered by its first wait and taken out by its end, so calls that never wait cost nothing here. A slot
//! whose frame is not in the table, or does not wait at present, is free or will be: nobody waits for it for ever.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::Arc;

use super::frame::{Blockers, Chain, Serves};
use super::job::Access;

/// The table: there is none while nothing waits, for most actors are idle.
#[derive(Default)]
pub(crate) struct Occupied {
    table: Mutex<Option<Box<Table>>>,
}

/// By serial number.
type Table = FxHashMap<u64, Arc<Chain>>;

impl Occupied {
    /// A frame waits for the first time. True if the node is to be told of the actor.
    pub(crate) fn enter(&self, frame: &Arc<Chain>) -> bool {
        let mut table = self.table.lock();
        let fresh = table.is_none();
        table.get_or_insert_default().insert(frame.id().frame, frame.clone());
        fresh
    }

    /// A frame has ended.
    pub(crate) fn leave(&self, frame: &Chain) {
        let left = self.table.lock().as_mut().and_then(|table| table.remove(&frame.id().frame));
        drop(left);
    }

    /// The frames in the table. If there is none, the node need not look again before it is told.
    pub(crate) fn watch(&self) -> Vec<Arc<Chain>> {
        let mut table = self.table.lock();
        let frames: Vec<_> = table.iter().flat_map(|table| table.values().cloned()).collect();
        if frames.is_empty() {
            *table = None;
        }
        frames
    }

    /// The frame that runs this call, if it ever waited.
    pub(crate) fn running(&self, call: Serves) -> Option<Arc<Chain>> {
        self.table.lock().as_ref()?.values().find(|frame| frame.serves() == call).cloned()
    }

    /// The waiting frames that keep a call from beginning. `room` is how many run at once in its group; `held_back` says
    /// that a call which wants the actor for itself holds back those behind it.
    pub(super) fn blockers(&self, access: Access, room: usize, held_back: bool) -> Blockers {
        let table = self.table.lock();
        let waiting = table.iter().flat_map(|table| table.values()).filter(|frame| frame.is_waiting());
        let waiting: Vec<_> = waiting.cloned().collect();
        drop(table);
        if access == Access::Exclusive || waiting.iter().any(|frame| frame.access() == Access::Exclusive) {
            return Blockers::All(waiting);
        }
        let of_group: Vec<_> = waiting.iter().filter(|frame| frame.access() == access).cloned().collect();
        if of_group.len() >= room {
            return Blockers::Any(of_group);
        }
        // There is a place for it, so it has not come that far: what stands before it wants them all gone.
        Blockers::All(if held_back { waiting } else { Vec::new() })
    }
}
