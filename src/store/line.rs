//! The line of those who wait for room. First come, first served, the largest too: nobody overtakes, not even who would
//! not wait.

use super::segment::{self, Segment};
use super::table::{Full, Room, Slot, Table};
use super::view::Draft;
use super::weight::Weight;
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
    wants: Wants,
}

/// What somebody waits for, of so many bytes.
enum Wants {
    Draft(usize, oneshot::Sender<Result<Draft, StoreError>>),
    Weight(usize, oneshot::Sender<Result<Weight, StoreError>>),
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
                    // Others may give theirs back.
                    let waits = segment::is_out_of_descriptors(&error);
                    Err(if waits { Refused::Full } else { Refused::System(error) })
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
            Err(StoreError::NoRoom { .. }) => self.in_line(length, wait, |served| Wants::Draft(length, served)).await,
            ready => ready,
        }
    }

    /// Counts a value in the process's own memory now, or not.
    pub(super) fn weigh_now(self: &Arc<Self>, bytes: usize) -> Result<Weight, StoreError> {
        if bytes > self.capacity {
            return Err(StoreError::TooLarge { length: bytes, capacity: self.capacity });
        }
        let mut state = self.state.lock();
        let counted = !state.is_waited_for() && state.table.weigh(bytes).is_ok();
        let (effects, spill) = (state.table.has_effects(), self.wants_to_spill(&state));
        drop(state);
        if effects {
            self.carry_out();
        }
        if spill {
            self.wake();
        }
        if counted { Ok(Weight::new(bytes, self)) } else { Err(self.no_room(bytes)) }
    }

    /// Counts it when there is room and everybody ahead has been served.
    pub(super) async fn weigh(self: &Arc<Self>, bytes: usize, wait: Duration) -> Result<Weight, StoreError> {
        match self.weigh_now(bytes) {
            Err(StoreError::NoRoom { .. }) => self.in_line(bytes, wait, |served| Wants::Weight(bytes, served)).await,
            ready => ready,
        }
    }

    /// Counts what is there already.
    pub(super) fn weigh_anyway(self: &Arc<Self>, bytes: usize) -> Weight {
        let mut state = self.state.lock();
        state.table.weigh_anyway(bytes);
        let spill = self.wants_to_spill(&state);
        drop(state);
        if spill {
            self.wake();
        }
        Weight::new(bytes, self)
    }

    /// What was counted is gone.
    pub(super) fn lighten(self: &Arc<Self>, bytes: usize) {
        let mut state = self.state.lock();
        state.table.lighten(bytes);
        let settle = state.is_waited_for();
        drop(state);
        if settle {
            self.settle();
        }
    }

    /// Waits behind everybody ahead.
    async fn in_line<T>(
        self: &Arc<Self>,
        length: usize,
        wait: Duration,
        wants: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Wants,
    ) -> Result<T, StoreError> {
        let (served, mut serving) = oneshot::channel();
        let place = {
            let mut state = self.state.lock();
            if state.line.len() >= limits::STORE_LINE {
                return Err(StoreError::LineFull);
            }
            let number = state.next;
            state.next += 1;
            state.line.push_back(Waiter { number, wants: wants(served) });
            Place { shared: self, number }
        };
        // Room may have come between the look and the place in the line.
        self.settle();
        self.wake();
        let answer = tokio::time::timeout(wait, &mut serving).await;
        drop(place);
        match answer {
            Ok(Ok(served)) => served,
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
            while self.serve_first() {}
            // What the first lacks may have been released just now: a descriptor.
            if !self.carry_out() {
                return;
            }
        }
    }

    /// Serves the first in the line, if there is one and room for it. Who has gone meanwhile leaves it here, and dropping it makes
    /// room for the next.
    fn serve_first(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        match state.line.front().map(|first| &first.wants) {
            None => false,
            Some(&Wants::Draft(length, _)) => {
                let answer = match state.take(length) {
                    Ok(slot) => Ok(Draft::new(slot, length, self)),
                    Err(Refused::System(error)) => Err(StoreError::System(error)),
                    Err(Refused::Full) => return false,
                };
                let first = state.line.pop_front();
                drop(state);
                if let Some(Waiter { wants: Wants::Draft(_, served), .. }) = first {
                    drop(served.send(answer));
                }
                true
            }
            Some(&Wants::Weight(bytes, _)) => {
                if state.table.weigh(bytes).is_err() {
                    return false;
                }
                let weight = Weight::new(bytes, self);
                let first = state.line.pop_front();
                drop(state);
                if let Some(Waiter { wants: Wants::Weight(_, served), .. }) = first {
                    drop(served.send(Ok(weight)));
                }
                true
            }
        }
    }

    /// Unmaps what was released, and tells readers what to unmap. Whether anything was released.
    pub(super) fn carry_out(&self) -> bool {
        let effects = self.state.lock().table.effects();
        let released = !effects.released.is_empty();
        if !effects.is_empty() {
            drop(effects.released);
            self.readers.retire(&effects.retire);
        }
        released
    }
}
