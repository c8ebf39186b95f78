//! Objects read in place by processes of this host (PROTOCOLS §4), both ends: this node as the owner, whose store others map,
//! and as a reader, which maps those of others.
//!
//! ```text
//! reader ── attach: boot 16 bytes . namespace ──▶ owner     a call of the node itself
//!        ◀── ticket 32 bytes . reader u64 . path ──         or the method's own error, without a body: it shares nothing
//!        ══ the store's socket ══ (store/transfer)
//! ```

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fetch::ask_node;
use super::link::PeerLink;
use super::machine;
use super::runtime::Node;
use super::store::Sharing;
use crate::actor::remote::ask::Plain;
use crate::actor::remote::host::Incoming;
use crate::actor::remote::{Peer, with_scratch};
use crate::clock::{self, Moment};
use crate::id::{Key, Life};
use crate::limits::{ATTACH_PAUSE, STORE_GREETING};
use crate::net::Folder;
use crate::store::{Attached, Kept, Location, MappingError, ReaderId, Server, StoreError, Ticket, TransferError};
use crate::wire::bytes::List;
use crate::wire::codec::Enclosed;
use crate::wire::packet::{Answer, Outcome};

/// What the request is called.
pub(super) const ATTACH: Key = Key::of("mobula", "attach");
/// The name of the store's socket in its folder.
const SOCKET: &str = "store";
const BOOT: usize = 16;

mod ahead;
mod moved;

/// Who reads this node's store, and whose this node reads.
#[derive(Default)]
pub(super) struct Lending {
    readers: Mutex<FxHashMap<Life, Reader>>,
    /// Made when the first reader comes.
    door: tokio::sync::Mutex<Option<Doorway>>,
    owners: Mutex<FxHashMap<Life, Owner>>,
    /// Held while a value moves into the store.
    moving: tokio::sync::Mutex<()>,
}

/// The store's socket.
struct Doorway {
    path: PathBuf,
    /// Dropped in this order.
    _server: Server,
    _folder: Folder,
}

/// Who reads this node's store.
#[derive(Clone, Copy)]
struct Reader {
    id: ReaderId,
    /// It has connected, and has asked for an object over that connection.
    reads: bool,
}

/// Another node's store: asked for once, or once more after it could not be had.
type Owner = Arc<tokio::sync::OnceCell<Asked>>;

/// What came of that.
enum Asked {
    Reads(Lender),
    /// It shares nothing with this node.
    SharesNothing,
    /// It could not be had at that time.
    Failed(Moment),
}

impl Asked {
    fn lender(&self) -> Option<&Lender> {
        match self {
            Asked::Reads(lender) => Some(lender),
            Asked::SharesNothing | Asked::Failed(_) => None,
        }
    }
}

impl Lending {
    /// What came of asking for a life's store, if that is not to be tried again.
    fn owner(&self, life: Life, now: Moment) -> Owner {
        let mut owners = self.owners.lock();
        let owner = owners.entry(life).or_default();
        if let Some(Asked::Failed(at)) = owner.get()
            && now.since(*at) >= ATTACH_PAUSE
        {
            *owner = Owner::default();
        }
        owner.clone()
    }
}

/// Another node's store, as this node reads it.
#[derive(Clone)]
pub(super) struct Lender {
    pub(super) attached: Attached,
    /// What that store calls this connection.
    pub(super) reader: u64,
}

impl Node {
    /// A peer asks for this node's store.
    pub(super) fn serve_attach(&self, incoming: &Incoming<'_>) {
        let same = incoming
            .request
            .body
            .split_at_checked(BOOT)
            .is_some_and(|(boot, namespace)| boot == machine::boot() && namespace == self.namespace().as_bytes());
        let shares = same && self.sharing() == Sharing::InPlace;
        if !incoming.begin() {
            return;
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        if !shares {
            return answer(&*peer, arrival.call, None);
        }
        let node = self.shared();
        peer.clone().spawn_linked(Box::pin(async move {
            let admitted = node.admit_reader(peer.life()).await;
            answer(&*peer, arrival.call, admitted.as_ref().map(|(id, ticket, path)| (*id, ticket, path.as_path())));
        }));
    }

    async fn admit_reader(self: &Arc<Self>, reader: Life) -> Option<(ReaderId, Ticket, PathBuf)> {
        let store = self.store().ok()?;
        let path = self.doorway().await?;
        let (id, ticket) = match store.issue_ticket() {
            Ok(issued) => issued,
            Err(error) => {
                tracing::warn!(%error, "a process of this host cannot read this node's store");
                return None;
            }
        };
        let former = self.lending().readers.lock().insert(reader, Reader { id, reads: false });
        if let Some(former) = former {
            store.revoke(former.id);
        }
        // Its link may have ended meanwhile: whoever sees to that has not seen this reader, or sees it too.
        if self.links().get(reader).is_none_or(|link| link.is_over()) {
            self.lending_ended(|life| life == reader);
            return None;
        }
        Some((id, ticket, path))
    }

    /// The store's socket.
    async fn doorway(self: &Arc<Self>) -> Option<PathBuf> {
        let mut door = self.lending().door.lock().await;
        if let Some(door) = &*door {
            return Some(door.path.clone());
        }
        let store = self.store().ok()?;
        let made = tokio::task::spawn_blocking(move || {
            let folder = Folder::private().map_err(|error| error.to_string())?;
            let path = folder.join(SOCKET);
            let server = store.serve(&path).map_err(|error| error.to_string())?;
            Ok::<_, String>(Doorway { path, _server: server, _folder: folder })
        });
        match made.await {
            Ok(Ok(made)) => Some(door.insert(made).path.clone()),
            Ok(Err(error)) => {
                tracing::warn!(error, "processes of this host cannot read this node's store");
                None
            }
            Err(_) => None,
        }
    }

    /// Pins an object for a peer that reads this store over this connection; none if it does not any more, or the object is
    /// no more in memory.
    ///
    /// # Errors
    /// The object cannot be brought into memory.
    pub(super) async fn pin(&self, kept: &Kept, peer: Life, id: ReaderId) -> Result<Option<Location>, StoreError> {
        let is_it =
            self.lending().readers.lock().get_mut(&peer).filter(|reader| reader.id == id).is_some_and(|reader| {
                reader.reads = true;
                true
            });
        if !is_it {
            return Ok(None);
        }
        let stored = kept.get().await?;
        match self.store()?.pin(&stored, id) {
            Ok(location) => Ok(Some(location)),
            // Its socket has ended.
            Err(_) => Ok(None),
        }
    }

    /// Ends a pin that the reader was not told of.
    pub(super) fn unpin(&self, location: Location, reader: ReaderId) {
        if let Some(store) = self.node_store().made() {
            store.unpin(location, reader);
        }
    }

    /// The store of a link's other end, if it is of this host and lets this node read it.
    pub(super) async fn store_of(&self, link: &Arc<PeerLink>) -> Option<Lender> {
        if self.sharing() == Sharing::Never {
            return None;
        }
        let owner = self.lending().owner(link.party().life, clock::now());
        owner.get_or_init(|| self.attach_to(link)).await.lender().cloned()
    }

    /// Asks a node for its store. All who want something of it wait for this.
    async fn attach_to(&self, link: &Arc<PeerLink>) -> Asked {
        let node = link.party().node;
        let mut body = machine::boot().to_vec();
        body.extend_from_slice(self.namespace().as_bytes());
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(%node, %error, "a node of this host does not let this one read its store for now");
            Asked::Failed(clock::now())
        };
        let answer = match ask_node(link, ATTACH, &body).await {
            Ok(Plain::Value(_, answer)) => answer,
            Ok(_) => return Asked::SharesNothing,
            // With its link its store is of no use.
            Err(_) => return Asked::Failed(clock::now()),
        };
        let Some((ticket, (reader, path))) =
            answer.split_first_chunk().and_then(|(ticket, rest)| Some((ticket, rest.split_first_chunk()?)))
        else {
            return Asked::SharesNothing;
        };
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        let ticket = Ticket::from_bytes(*ticket);
        match tokio::time::timeout(STORE_GREETING, Attached::connect(&path, &ticket)).await {
            Ok(Ok(attached)) => Asked::Reads(Lender { attached, reader: u64::from_le_bytes(*reader) }),
            Ok(Err(error)) => failed(&error),
            Err(late) => failed(&late),
        }
    }

    /// Why an object could not be viewed, if that is the owner's fault; none if its bytes may still be had. The next one asks
    /// for the store anew if its connection is closed.
    pub(super) fn not_viewed(&self, owner: Life, error: TransferError) -> Option<String> {
        match error {
            TransferError::OutOfRange { .. } | TransferError::Malformed => Some(error.to_string()),
            TransferError::Mapping(why) if !matches!(*why, MappingError::System(_)) => Some(why.to_string()),
            TransferError::Mapping(_) => None,
            _ => {
                self.lending().owners.lock().remove(&owner);
                None
            }
        }
    }

    /// Lives have ended, or this node's links with them.
    pub(super) fn lending_ended(&self, ended: impl Fn(Life) -> bool) {
        let lending = self.lending();
        let readers: Vec<Reader> = {
            let mut readers = lending.readers.lock();
            readers.extract_if(|life, _| ended(*life)).map(|(_, reader)| reader).collect()
        };
        if let Some(store) = self.node_store().made() {
            readers.into_iter().for_each(|reader| store.revoke(reader.id));
        }
        let owners: Vec<Owner> = {
            let mut owners = lending.owners.lock();
            owners.extract_if(|life, _| ended(*life)).map(|(_, owner)| owner).collect()
        };
        drop(owners);
    }

    /// This node leaves: nobody new reads its store. Whoever does goes on.
    pub(super) fn lending_over(&self) {
        self.lending_ended(|_| true);
        // One that is being made is dropped with the node.
        if let Ok(mut door) = self.lending().door.try_lock() {
            drop(door.take());
        }
    }
}

fn answer(peer: &dyn Peer, call: u64, admitted: Option<(ReaderId, &Ticket, &Path)>) {
    with_scratch(|body, packet| {
        let outcome = match admitted {
            Some((id, ticket, path)) => {
                body.extend_from_slice(ticket.as_bytes());
                body.extend_from_slice(&id.number().to_le_bytes());
                body.extend_from_slice(path.as_os_str().as_bytes());
                Outcome::Value { refs: List::EMPTY, body }
            }
            None => Outcome::App { refs: List::EMPTY, body },
        };
        Answer { call, outcome }.encode(packet);
        peer.answer(call, packet, &Enclosed::default());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_could_not_be_had_is_asked_for_again_after_a_while_and_one_that_is_not_shared_is_not() {
        let (lending, now) = (Lending::default(), clock::now());
        let asked = |life| lending.owner(Life(life), now);
        assert!(asked(1).set(Asked::Failed(now)).is_ok() && asked(2).set(Asked::SharesNothing).is_ok());
        let known = |life, at| lending.owner(Life(life), at).get().is_some();
        assert!(known(1, now) && known(2, now));
        assert!(!known(1, now + ATTACH_PAUSE), "it is asked for again");
        assert!(known(2, now + ATTACH_PAUSE));
    }
}
