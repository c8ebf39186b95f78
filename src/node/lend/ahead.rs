//! Where an argument lies rides beside it, in the request that its owner sends (PROTOCOLS §4.1): its reader need not ask.
//!
//! ```text
//! owner    an argument in memory, for who reads this store ──▶ pinned ── the request never leaves ──▶ unpinned
//!                                                                │
//! reader   told by the owner itself, over the connection that the pin is for
//!             ├─ the segment is mapped ──▶ viewed, until the message is over or its views are
//!             └─ it is not ──▶ unpinned, and asked for when it is needed
//! ```
//!
//! Pins that are told of another connection, or by another node, are nobody's: the first end with that connection.

use std::sync::{Arc, Weak};

use super::Lender;
use crate::id::{Life, ObjectId};
use crate::node::runtime::Node;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::GetError;
use crate::object::home::Home;
use crate::object::lent::Lent;
use crate::store::{Location, ReaderId, Store};
use crate::wire::codec::{Enclosed, Hold};
use crate::wire::packet::{Pin, Ref};

impl Node {
    /// Pins the arguments of a request that lie in this node's store, if the peer reads it and they may be pinned unasked.
    pub(in crate::node) fn pin_arguments(&self, to: Life, enclosed: &mut Enclosed) {
        if !enclosed.refs.iter().any(|reference| matches!(reference, Ref::Argument { .. })) {
            return;
        }
        let reader = self.lending().readers.lock().get(&to).filter(|reader| reader.reads).map(|reader| reader.id);
        let Some((reader, store)) = reader.zip(self.node_store().made()) else { return };
        let (lists, me) = (enclosed.lists_mut(), self.last_life());
        for (reference, hold) in lists.refs.iter_mut().zip(&lists.holds) {
            if let Ref::Argument { position, object } = *reference
                && object.life == me
                && let Some(pin) = hold.as_ref().and_then(|hold| pin(&store, hold, reader))
            {
                *reference = Ref::Pinned { position, object, pin };
            }
        }
    }

    /// A request never left: its arguments are pinned for nobody.
    pub(in crate::node) fn unpin_arguments(&self, enclosed: &Enclosed) {
        for reference in &enclosed.refs {
            if let Ref::Pinned { pin, .. } = reference {
                self.unpin_argument(*pin);
            }
        }
    }

    /// Ends a pin of which its reader says nothing over the store's socket.
    pub(in crate::node) fn unpin_argument(&self, pin: Pin) {
        self.unpin(location(pin), ReaderId::from_number(pin.reader));
    }

    /// An argument of a peer's request, pinned as it says; `counted` is its object. What it says is believed of its own store
    /// only.
    pub(in crate::node) fn pinned_arrived(&self, from: Life, object: ObjectId, pin: Pin, counted: Hold) -> Hold {
        let lender = self.lender(from).filter(|lender| lender.reader == pin.reader && object.life == from);
        let Some(lender) = lender else { return counted };
        let settled = match lender.attached.view_mapped(location(pin)) {
            Ok(Some(view)) => {
                let home: Weak<dyn Home> = Arc::downgrade(&self.shared()) as Weak<dyn Home>;
                Ok(Content::Lent(Lent::argument(object, home, view, counted)))
            }
            Ok(None) => return counted,
            Err(error) => match self.not_viewed(from, error) {
                Some(message) => Err(Arc::new(GetError::Codec { message })),
                None => return counted,
            },
        };
        Entry::settled(object, settled)
    }

    /// The store of a life that this node reads already.
    fn lender(&self, owner: Life) -> Option<Lender> {
        self.lending().owners.lock().get(&owner)?.get()?.lender().cloned()
    }
}

/// Pins an object if it is in memory, and may be.
fn pin(store: &Store, object: &Hold, reader: ReaderId) -> Option<Pin> {
    let entry = object.clone().downcast::<Entry>().ok()?;
    let Some(Ok(Content::Kept(kept))) = entry.outcome() else { return None };
    let Location { segment, offset, length } = store.pin_ahead(&kept.in_memory()?, reader)?;
    Some(Pin { reader: reader.number(), segment, offset, length })
}

fn location(pin: Pin) -> Location {
    let Pin { segment, offset, length, .. } = pin;
    Location { segment, offset, length }
}
