//! An object of another node's. Of a process of this host it is read where it lies: its bytes are at hand while somebody views
//! them. Where that fails later on, or was never possible, there is a copy, which goes when memory is short and is had again.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

use super::content::{Content, kept_now};
use super::entry::Outcome;
use super::error::{Fault, GetError};
use super::home::Home;
use super::lost::Lost;
use crate::id::ObjectId;
use crate::store::{Ending, Foreign, Kept, StoreError, Stored};
use crate::wire::codec::Hold;

/// Such an object.
pub(crate) struct Lent {
    object: ObjectId,
    home: Weak<dyn Home>,
    place: Mutex<Place>,
    length: usize,
    /// Held by the one that has it pinned anew, or brought.
    asking: tokio::sync::Mutex<()>,
    /// Of an argument.
    argument: Option<Argument>,
}

/// An argument's own view, which came with it.
struct Argument {
    /// Counts the object here: no entry of its own does.
    _counted: Hold,
    /// None once the owner was told.
    ending: Mutex<Option<Ending>>,
}

/// Where it is read.
enum Place {
    /// Where it lies. A pin ends with the last view under it: a reference alone keeps an object from going to disk no more than
    /// its owner does.
    There {
        /// Until somebody has viewed it, or what it was fetched for would have to be fetched again; gone if nobody is to.
        first: Option<Arc<Foreign>>,
        last: Weak<Foreign>,
    },
    /// It cannot be read where it lies: what came instead.
    Here {
        copy: Content,
        /// Until somebody has viewed it, as well: it has just come.
        fresh: Option<Content>,
    },
}

/// Keeps the pin.
struct View(Arc<Foreign>);

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Lent {
    /// An object that its owner has pinned just now.
    pub(crate) fn new(object: ObjectId, home: Weak<dyn Home>, view: Foreign) -> Arc<Self> {
        Lent::of(object, home, view, None)
    }

    /// One that its owner has pinned for an argument, which has it for itself: others are not to wait for that to be read.
    pub(crate) fn argument(
        object: ObjectId,
        home: Weak<dyn Home>,
        (view, ending): (Foreign, Ending),
        counted: Hold,
    ) -> Arc<Self> {
        let argument = Argument { _counted: counted, ending: Mutex::new(Some(ending)) };
        Lent::of(object, home, view, Some(argument))
    }

    fn of(object: ObjectId, home: Weak<dyn Home>, view: Foreign, argument: Option<Argument>) -> Arc<Self> {
        let (length, first) = (view.len(), Arc::new(view));
        let place = Mutex::new(Place::There { last: Arc::downgrade(&first), first: Some(first) });
        Arc::new(Lent { object, home, place, length, asking: tokio::sync::Mutex::new(()), argument })
    }

    /// One that was pulled into this node's store just now.
    pub(crate) fn pulled(object: ObjectId, home: Weak<dyn Home>, (copy, fresh): (Kept, Stored)) -> Arc<Self> {
        let (length, fresh) = (copy.len(), Some(Content::plain(Bytes::from_owner(fresh))));
        let place = Mutex::new(Place::Here { copy: Content::Kept(copy), fresh });
        Arc::new(Lent { object, home, place, length, asking: tokio::sync::Mutex::new(()), argument: None })
    }

    /// Its bytes' number.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The copy in this node's store, if there is one.
    pub(crate) fn copy(&self) -> Option<Kept> {
        match &*self.place.lock() {
            Place::Here { copy: Content::Kept(kept), .. } => Some(kept.clone()),
            Place::Here { .. } | Place::There { .. } => None,
        }
    }

    /// Whether it could be read if its owner were gone.
    pub(crate) fn is_left(&self) -> bool {
        match &*self.place.lock() {
            Place::There { first, last } => first.is_some() || last.strong_count() > 0,
            Place::Here { copy: Content::Kept(kept), .. } => kept.is_there(),
            Place::Here { .. } => true,
        }
    }

    /// What can be read now that its owner is gone: a copy is kept for good, on disk too.
    pub(crate) fn left(&self) -> Option<Content> {
        let mut place = self.place.lock();
        let Place::Here { copy, fresh } = &mut *place else {
            drop(place);
            return self.now();
        };
        // Kept as a view, it would be viewed for ever.
        let (copy, fresh) = (copy.clone(), fresh.take());
        drop(place);
        drop(fresh);
        match copy {
            Content::Kept(kept) => kept.for_good().then_some(Content::Kept(kept)),
            copy => Some(copy),
        }
    }

    /// Whether it was an argument's, and its views have ended: whoever answers may tell the owner.
    pub(crate) fn is_over(&self) -> bool {
        let over = |argument: &Argument| argument.ending.lock().as_ref().is_some_and(Ending::is_over);
        self.argument.as_ref().is_some_and(over)
    }

    /// The owner was told so.
    pub(crate) fn told(&self) {
        if let Some(ending) = self.argument.as_ref().and_then(|argument| argument.ending.lock().take()) {
            ending.told();
        }
    }

    fn view(&self) -> Option<Arc<Foreign>> {
        match &mut *self.place.lock() {
            Place::There { first, last } => first.take().or_else(|| last.upgrade()),
            Place::Here { .. } => None,
        }
    }

    /// Ends the pin that it came with, if nobody has viewed it yet.
    pub(super) fn unpin(&self) {
        let mut place = self.place.lock();
        let first = match &mut *place {
            Place::There { first, .. } => (first.take(), None),
            Place::Here { fresh, .. } => (None, fresh.take()),
        };
        drop(place);
        drop(first);
    }

    /// Its value, if it is at hand.
    pub(crate) fn now(&self) -> Option<Content> {
        let mut place = self.place.lock();
        let Place::Here { copy, fresh } = &mut *place else {
            drop(place);
            return self.view().map(|view| Content::plain(Bytes::from_owner(View(view))));
        };
        let (copy, fresh) = (copy.clone(), fresh.take());
        drop(place);
        fresh.or_else(|| copy.at_hand().ok())
    }

    /// It is read here from now on, or there once more.
    fn replace(&self, by: Place) {
        let former = std::mem::replace(&mut *self.place.lock(), by);
        drop(former);
    }

    /// Has it pinned again, by its owner.
    pub(crate) async fn bring(&self) -> Outcome {
        let _one = self.asking.lock().await;
        if let Some(content) = self.now() {
            return Ok(content);
        }
        if let Some(kept) = self.copy() {
            match kept.get().await {
                // It is had again.
                Err(StoreError::Evicted) => {}
                _ => return kept_now(self.object, &kept).await,
            }
        }
        let home = self.home.upgrade().ok_or_else(|| Arc::new(GetError::ShutDown))?;
        match home.read(self.object).await? {
            // Its bytes had to come: into this node's own store, if they are many. Who has been told that they are here looks
            // for them here.
            Content::Lent(again) if let Some(kept) = again.copy() => {
                self.replace(Place::Here { copy: Content::Kept(kept), fresh: None });
                again.now().ok_or_else(|| Arc::new(self.ended()))
            }
            Content::Lent(again) => {
                let view = again.view().ok_or_else(|| Arc::new(self.ended()))?;
                self.replace(Place::There { first: None, last: Arc::downgrade(&view) });
                Ok(Content::plain(Bytes::from_owner(View(view))))
            }
            content => {
                self.replace(Place::Here { copy: content.clone(), fresh: None });
                Ok(content)
            }
        }
    }

    fn ended(&self) -> Fault {
        GetError::lost(self.object, Lost::Unreadable("its view ended before it was read".to_owned()))
    }
}
