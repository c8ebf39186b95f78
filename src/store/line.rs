//! The line of those who wait for room. First come, first served, the largest too: nobody overtakes, not even who would
//! not wait.

use super::segment::Segment;
use super::table::{Full, Room, Slot, Table};
use super::view::Draft;
use super::{Shared, StoreError};
use crate::clock;
use crate::limits;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What a store's lock protects.
pub(super) struct State {
    pub(super) table: Table,
    line: VecDeque<Waiter>,
    next: u64,
    /// The housekeeper knows that there are warm segments.
    pub(super) cooling: bool,
}

struct Waiter {
    number: u64,
    length: usize,
    served: oneshot::Sender<Result<Draft, StoreError>>,
}

/// Why there is no memory now.
enum Refused {
    Full,
    System(io::Error),
}

impl State {
    pub(super) fn new(table: Table) -> State {
        State { table, line: VecDeque::new(), next: 0, cooling: false }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.line.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<Slot, Refused> {
        match self.table.allocate(length) {
            Ok(Room::Slot(slot)) => Ok(slot),
            // Under the lock: it takes 20 µs, seldom, and whoever comes next finds the segment.
            Ok(Room::Grow(growth)) => match Segment::create(growth.id, growth.bytes) {
                Ok(space) => Ok(self.table.grown(growth, space, length)),
                Err(error) => {
                    self.table.not_grown(growth);
                    Err(Refused::System(error))
                }
            },
            Err(Full) => Err(Refused::Full),
        }
    }
}

/// A place in the line, until dropped.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        // Whoever was served is not in the line any more. Numbers rise along it.
        let left = state.line.binary_search_by_key(&self.number, |waiter| waiter.number).ok();
        let was_first = left == Some(0);
        let left = left.and_then(|at| state.line.remove(at));
        drop(state);
        drop(left);
        if was_first {
            self.shared.settle();
        }
    }
}

impl Shared {
    /// Memory now, or an error.
    pub(super) fn draft_now(self: &Arc<Self>, length: usize) -> Result<Draft, StoreError> {
        let mut state = self.state.lock();
        let taken = match state.is_waited_for() {
            true => Err(Refused::Full),
            false => state.take(length),
        };
        let effects = state.table.has_effects();
        let spill = self.wants_to_spill(&state);
        let fits = taken.is_ok() || state.table.fits(length);
        drop(state);
        if effects {
            self.carry_out();
        }
        if spill {
            self.wake();
        }
        match taken {
            Ok(slot) => Ok(Draft::new(slot, length, self)),
            Err(Refused::System(error)) => Err(StoreError::System(error)),
            Err(Refused::Full) if fits => Err(self.no_room(length)),
            Err(Refused::Full) => Err(StoreError::TooLarge { length, capacity: self.capacity }),
        }
    }

    /// Memory when there is room and everybody ahead has been served.
    pub(super) async fn draft(self: &Arc<Self>, length: usize, wait: Duration) -> Result<Draft, StoreError> {
        match self.draft_now(length) {
            Err(StoreError::NoRoom { .. }) => {}
            ready => return ready,
        }
        let (served, mut serving) = oneshot::channel();
        let place = {
            let mut state = self.state.lock();
            if state.line.len() >= limits::STORE_LINE {
                return Err(StoreError::LineFull);
            }
            let number = state.next;
            state.next += 1;
            state.line.push_back(Waiter { number, length, served });
            Place { shared: self, number }
        };
        // Room may have come between the look and the place in the line.
        self.settle();
        self.wake();
        let answer = tokio::time::timeout(wait, &mut serving).await;
        drop(place);
        match answer {
            Ok(Ok(draft)) => draft,
            // The line is only left by its `Place` or with an answer.
            Ok(Err(_)) => Err(self.no_room(length)),
            // It may have been served in the very moment.
            Err(_) => serving.try_recv().unwrap_or_else(|_| Err(self.no_room(length))),
        }
    }

    /// Takes memory back.
    pub(super) fn free(self: &Arc<Self>, slot: Slot) {
        let mut state = self.state.lock();
        state.table.free(slot);
        let cool = !state.cooling && state.table.totals().warm > 0;
        if cool {
            state.cooling = true;
            state.table.begin_cooling(clock::now());
        }
        let settle = state.is_waited_for();
        let effects = state.table.has_effects();
        drop(state);
        if cool {
            self.wake();
        }
        if settle {
            self.settle();
        } else if effects {
            self.carry_out();
        }
    }

    /// Serves those who wait, in order, as far as there is room.
    pub(super) fn settle(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            let Some(length) = state.line.front().map(|first| first.length) else { break };
            let answer = match state.take(length) {
                Ok(slot) => Ok(Draft::new(slot, length, self)),
                Err(Refused::System(error)) => Err(StoreError::System(error)),
                Err(Refused::Full) => break,
            };
            let first = state.line.pop_front();
            drop(state);
            // Who has gone meanwhile leaves the draft here, and dropping it makes room for the next.
            drop(first.map(|first| first.served.send(answer)));
        }
        self.carry_out();
    }

    /// Unmaps what was released, and tells readers what to unmap.
    pub(super) fn carry_out(&self) {
        let effects = self.state.lock().table.effects();
        if !effects.is_empty() {
            drop(effects.released);
            self.readers.retire(&effects.retire);
        }
    }
}
