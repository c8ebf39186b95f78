//! The actor behind a queue: its items, and who waits for them or for room, each in line.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tokio::sync::oneshot;

use super::error::QueueError;
use crate::limits::{MESSAGE_REFS, QUEUE_ITEMS, QUEUE_WAITING};
use crate::object::parcel::Parcel;
use mobula_macros::{actor, methods};

/// What a caller does where it would have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Patience {
    Wait,
    GiveUp,
}

/// Holds a queue's items.
#[actor(name = "mobula::Queue")]
pub(crate) struct Keeper {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Parcel>,
    takers: VecDeque<Taker>,
    putters: VecDeque<Putter>,
    putter: u64,
    closed: bool,
}

/// A caller that waits for items.
struct Taker {
    ticket: u64,
    most: usize,
    items: oneshot::Sender<Vec<Parcel>>,
}

/// A caller that waits for room.
struct Putter {
    number: u64,
    items: Vec<Parcel>,
    room: oneshot::Sender<()>,
}

/// What is to be told once the lock is let go.
#[derive(Default)]
struct Deals {
    given: Vec<(oneshot::Sender<Vec<Parcel>>, Vec<Parcel>)>,
    admitted: Vec<oneshot::Sender<()>>,
    refused: Vec<Taker>,
}

// Each group runs more calls at once than may wait in it: one that would be too many is told so, and is not in the way.
const _: () = assert!(QUEUE_WAITING < 4_200);

#[methods(concurrency = 16, groups(put = 4_200, take = 4_200))]
impl Keeper {
    #[constructor]
    pub(crate) fn bounded(capacity: usize) -> Result<Self, QueueError> {
        match capacity {
            1..=QUEUE_ITEMS => Ok(Keeper { capacity, state: Mutex::default() }),
            _ => Err(QueueError::Capacity { capacity, limit: QUEUE_ITEMS }),
        }
    }

    /// Puts all of the items, or none.
    #[method(group = "put", cancel)]
    pub(crate) async fn put(&self, items: Vec<Parcel>, patience: Patience) -> Result<(), QueueError> {
        let waiting = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(QueueError::Closed);
            }
            if items.len() > self.capacity {
                return Err(QueueError::TooMany { items: items.len(), capacity: self.capacity });
            }
            let fits = state.putters.is_empty() && state.items.len() + items.len() <= self.capacity;
            if !fits && patience == Patience::GiveUp {
                return Err(QueueError::Full { capacity: self.capacity });
            }
            if !fits && state.putters.len() >= QUEUE_WAITING {
                return Err(QueueError::Waiting { limit: QUEUE_WAITING });
            }
            let (room, admitted) = oneshot::channel();
            state.putter += 1;
            let number = state.putter;
            state.putters.push_back(Putter { number, items, room });
            WaitsForRoom { keeper: self, number, admitted }
        };
        self.settle();
        waiting.admitted().await
    }

    /// Takes up to `most` items, and waits for the first. None: it gave up, or was withdrawn.
    #[method(group = "take", cancel)]
    pub(crate) async fn take(&self, ticket: u64, most: usize, patience: Patience) -> Result<Vec<Parcel>, QueueError> {
        let waiting = {
            let mut state = self.state.lock();
            if state.items.is_empty() && patience == Patience::GiveUp {
                return if state.closed { Err(QueueError::Closed) } else { Ok(Vec::new()) };
            }
            if state.items.is_empty() && state.takers.len() >= QUEUE_WAITING {
                return Err(QueueError::Waiting { limit: QUEUE_WAITING });
            }
            let (items, given) = oneshot::channel();
            state.takers.push_back(Taker { ticket, most: most.max(1), items });
            WaitsForItems { keeper: self, ticket, given }
        };
        self.settle();
        waiting.given().await
    }

    /// Who waits under this ticket waits no more.
    #[method(group = "take")]
    pub(crate) fn withdraw(&self, ticket: u64) {
        let withdrawn = self.state.lock().withdraw(ticket);
        if let Some(taker) = withdrawn {
            let _ = taker.items.send(Vec::new());
        }
    }

    /// Items that were given to somebody who no longer waited: they come first.
    #[method(group = "take")]
    pub(crate) fn give_back(&self, items: Vec<Parcel>) {
        self.put_back(items);
        self.settle();
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Callers that wait for an item.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().takers.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Nothing is put any more; what is there can be taken. Gives how many that are.
    pub(crate) fn close(&self) -> usize {
        let (putters, left) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.putters), state.items.len())
        };
        drop(putters);
        self.settle();
        left
    }
}

impl Keeper {
    /// Gives items to those that wait for them, and room to those that wait for it, until nothing is left to give.
    fn settle(&self) {
        loop {
            let Deals { given, admitted, refused } = self.state.lock().deal(self.capacity);
            drop(refused);
            if given.is_empty() && admitted.is_empty() {
                return;
            }
            for room in admitted {
                let _ = room.send(());
            }
            // Who was dropped meanwhile takes nothing with it.
            for (taker, items) in given.into_iter().rev() {
                if let Err(items) = taker.send(items) {
                    self.put_back(items);
                }
            }
        }
    }

    fn put_back(&self, items: Vec<Parcel>) {
        let mut state = self.state.lock();
        for item in items.into_iter().rev() {
            state.items.push_front(item);
        }
    }
}

impl State {
    fn deal(&mut self, capacity: usize) -> Deals {
        let mut deals = Deals::default();
        loop {
            let before = deals.given.len() + deals.admitted.len();
            while let Some(putter) = self.putters.pop_front_if(|next| self.items.len() + next.items.len() <= capacity) {
                self.items.extend(putter.items);
                deals.admitted.push(putter.room);
            }
            while !self.items.is_empty()
                && let Some(taker) = self.takers.pop_front()
            {
                let most = self.carried(taker.most);
                deals.given.push((taker.items, self.items.drain(..most).collect()));
            }
            if deals.given.len() + deals.admitted.len() == before {
                break;
            }
        }
        if self.closed && self.items.is_empty() {
            deals.refused.extend(self.takers.drain(..));
        }
        deals
    }

    /// How many of the first items go to somebody who wants at most so many: what one reply refers to.
    fn carried(&self, most: usize) -> usize {
        let mut references = 0;
        let fits = self.items.iter().take(most).take_while(|item| {
            references += item.references();
            references <= MESSAGE_REFS
        });
        fits.count().max(1)
    }

    fn withdraw(&mut self, ticket: u64) -> Option<Taker> {
        let place = self.takers.iter().position(|taker| taker.ticket == ticket)?;
        self.takers.remove(place)
    }
}

/// A `take` that waits: dropped at its await, what it was given goes back.
struct WaitsForItems<'a> {
    keeper: &'a Keeper,
    ticket: u64,
    given: oneshot::Receiver<Vec<Parcel>>,
}

impl WaitsForItems<'_> {
    async fn given(mut self) -> Result<Vec<Parcel>, QueueError> {
        (&mut self.given).await.map_err(|_| QueueError::Closed)
    }
}

impl Drop for WaitsForItems<'_> {
    fn drop(&mut self) {
        let withdrawn = self.keeper.state.lock().withdraw(self.ticket);
        drop(withdrawn);
        self.given.close();
        if let Ok(items) = self.given.try_recv() {
            self.keeper.put_back(items);
            self.keeper.settle();
        }
    }
}

/// A `put` that waits: dropped at its await, its items leave the line.
struct WaitsForRoom<'a> {
    keeper: &'a Keeper,
    number: u64,
    admitted: oneshot::Receiver<()>,
}

impl WaitsForRoom<'_> {
    async fn admitted(mut self) -> Result<(), QueueError> {
        (&mut self.admitted).await.map_err(|_| QueueError::Closed)
    }
}

impl Drop for WaitsForRoom<'_> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.keeper.state.lock();
            let place = state.putters.iter().position(|putter| putter.number == self.number);
            place.and_then(|place| state.putters.remove(place))
        };
        let was_in_line = left.is_some();
        drop(left);
        if was_in_line {
            // It may have stood before smaller ones.
            self.keeper.settle();
        }
    }
}
