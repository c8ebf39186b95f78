//! What is known of an object while it is pending, and who waits for it.

use std::any::Any;
use std::sync::{Arc, Weak};
use std::task::Waker;

use super::{Entry, Until, Watch};
use crate::id::{ActorId, Key};
use crate::object::lent::Lent;
use crate::object::promised::Promised;

/// What makes an object.
#[derive(Clone)]
pub(crate) enum Making {
    /// A task, as higher layers know it.
    Task(Arc<dyn Any + Send + Sync>),
    /// A call. Boxed: an idle object has room for this, too.
    Call(Box<MadeBy>),
}

/// A call that makes an object.
#[derive(Clone)]
pub(crate) struct MadeBy {
    pub(crate) actor: ActorId,
    pub(crate) method: Key,
    /// What it was passed.
    pub(crate) passed: Vec<Weak<Entry>>,
}

/// Names a watcher of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(u32);

pub(super) enum Watcher {
    Task(Waker),
    Watch(Arc<dyn Watch>, usize),
}

impl Watcher {
    pub(super) fn tell(self) {
        match self {
            Watcher::Task(waker) => waker.wake(),
            Watcher::Watch(watch, key) => watch.settled(key),
        }
    }
}

struct Seated {
    seat: Seat,
    until: Until,
    watcher: Watcher,
}

/// Most have one watcher, or none.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) promised: Option<Promised>,
    /// What makes it, as those know it that may cancel it.
    pub(super) making: Option<Making>,
    elsewhere: Elsewhere,
    next: u32,
    first: Option<Seated>,
    #[expect(clippy::box_collection, reason = "there are millions of objects, and few have more than one watcher")]
    more: Option<Box<Vec<Seated>>>,
}

/// What is known of an object that another life owns.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Elsewhere {
    #[default]
    Unasked,
    /// Its owner was asked whether there is a value.
    Asked,
    /// There is one.
    There,
    /// It was asked for.
    Fetched,
    /// It was asked for, and its owner has said meanwhile that there is one.
    FetchedThere,
}

impl Pending {
    pub(super) fn promised(promised: Option<Promised>) -> Self {
        Pending { promised, ..Pending::default() }
    }

    /// Of what is asked for by who makes this.
    pub(super) fn fetched(promised: Option<Promised>) -> Self {
        Pending { promised, elsewhere: Elsewhere::Fetched, ..Pending::default() }
    }

    /// Whether its owner was asked, and somebody may wait for what it says.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.elsewhere, Elsewhere::Asked | Elsewhere::Fetched | Elsewhere::FetchedThere)
    }

    /// Whether its owner is to be asked now.
    pub(super) fn asks(&mut self, until: Until) -> bool {
        let next = match (until, self.elsewhere) {
            (Until::Here, Elsewhere::Unasked | Elsewhere::Asked) => Elsewhere::Fetched,
            (Until::Here, Elsewhere::There) => Elsewhere::FetchedThere,
            (Until::Anywhere, Elsewhere::Unasked) => Elsewhere::Asked,
            _ => return false,
        };
        self.elsewhere = next;
        true
    }

    pub(super) fn is_there(&self) -> bool {
        matches!(self.elsewhere, Elsewhere::There | Elsewhere::FetchedThere)
    }

    /// Its owner says that there is a value: those who wait for no more.
    pub(super) fn there(&mut self) -> Vec<Watcher> {
        self.elsewhere = match self.elsewhere {
            Elsewhere::Fetched | Elsewhere::FetchedThere => Elsewhere::FetchedThere,
            Elsewhere::Unasked | Elsewhere::Asked | Elsewhere::There => Elsewhere::There,
        };
        let first = self.first.take_if(|first| first.until == Until::Anywhere);
        let more = self.more.iter_mut().flat_map(|more| more.extract_if(.., |seated| seated.until == Until::Anywhere));
        first.into_iter().chain(more).map(|seated| seated.watcher).collect()
    }

    pub(super) fn sit(&mut self, until: Until, watcher: Watcher) -> Seat {
        let seat = Seat(self.next);
        self.next = self.next.wrapping_add(1);
        let seated = Seated { seat, until, watcher };
        match self.first {
            None => self.first = Some(seated),
            Some(_) => self.more.get_or_insert_default().push(seated),
        }
        seat
    }

    /// Tells everybody that there is nothing to wait for: `lent` was pinned for those who read it now.
    pub(super) fn tell(self, lent: Option<Arc<Lent>>) {
        let Pending { promised, first, more, .. } = self;
        if let Some(promised) = promised {
            promised.kept();
        }
        let told = || first.iter().chain(more.iter().flat_map(|more| more.iter()));
        if let Some(lent) = lent
            && !told().any(|seated| matches!(seated.watcher, Watcher::Task(_)))
        {
            // Those who only want to know that it is there may be long in reading it, if they ever do.
            lent.unpin();
        }
        first.into_iter().chain(more.into_iter().flat_map(|more| *more)).for_each(|seated| seated.watcher.tell());
    }

    pub(super) fn find(&mut self, seat: Seat) -> Option<&mut Watcher> {
        let mut all = self.first.iter_mut().chain(self.more.iter_mut().flat_map(|more| more.iter_mut()));
        all.find(|seated| seated.seat == seat).map(|seated| &mut seated.watcher)
    }

    /// Gives whoever sat there, to be dropped outside of the lock.
    pub(super) fn leave(&mut self, seat: Seat) -> Option<Watcher> {
        let seated = match &self.first {
            Some(first) if first.seat == seat => self.first.take(),
            _ => {
                let more = self.more.as_mut()?;
                more.iter().position(|seated| seated.seat == seat).map(|index| more.swap_remove(index))
            }
        };
        seated.map(|seated| seated.watcher)
    }

    /// How often somebody took a seat.
    #[cfg(test)]
    pub(super) fn seats(&self) -> u32 {
        self.next
    }
}
