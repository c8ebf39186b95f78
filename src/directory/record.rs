//! What the head must not forget, in the order in which it happened. A head that starts applies the records of its journal
//! to an empty state; a record is written before anything that follows from it is said (L3). How they are kept: `journal`.

use crate::directory::message::How;
use crate::directory::request::{CreateGroup, Gone, Join, LifeEnd, Spawn};
use crate::id::{ActorId, GroupId, Life, ObjectId, Placement};
use crate::schedule::Resources;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One change of the head's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A life began.
    Began {
        /// Its number, above all earlier ones.
        life: Life,
        /// Who joined, and with what.
        join: Arc<Join>,
    },
    /// A life ended.
    NodeEnded {
        /// Its number.
        life: Life,
        /// Why.
        why: LifeEnd,
    },
    /// An actor was asked for; its name is taken.
    Spawned {
        /// All about it.
        spawn: Arc<Spawn>,
    },
    /// An actor was put somewhere.
    Placed {
        /// Which.
        actor: ActorId,
        /// Above its earlier ones.
        placement: Placement,
        /// Where.
        host: Life,
        /// How often it may yet be placed again.
        restarts: u32,
        /// In which of its placement group's bundles, if it is in a group.
        bundle: Option<u32>,
    },
    /// A process of its own has joined as this life, which makes it. Its room stays where it was put.
    Claimed {
        /// Which.
        actor: ActorId,
        /// The process's life.
        life: Life,
    },
    /// Its constructor has returned there.
    Hosted {
        /// Which.
        actor: ActorId,
    },
    /// What was saved of it, in the place of what was before.
    Checkpointed {
        /// Which.
        actor: ActorId,
        /// The placement that saved it.
        placement: Placement,
        /// Which it is of those.
        number: u64,
        /// What was saved.
        state: Bytes,
    },
    /// It is to end, and is not placed again.
    Ending {
        /// Which.
        actor: ActorId,
        /// How.
        how: How,
        /// What is said of it.
        why: Gone,
    },
    /// A placement group was asked for; its name is taken.
    Grouped {
        /// All about it.
        create: Arc<CreateGroup>,
    },
    /// Its bundles were placed, all of them.
    GroupPlaced {
        /// Which.
        group: GroupId,
        /// Where each bundle is.
        hosts: Vec<Life>,
    },
    /// It was removed, or ended with who asked for it.
    GroupGone {
        /// Which.
        group: GroupId,
    },
    /// It has ended; its name is free.
    Gone {
        /// Which.
        actor: ActorId,
        /// Why.
        why: Gone,
    },
    /// An object was given to another owner.
    Entrusted {
        /// What it was.
        object: ObjectId,
        /// What it is.
        to: ObjectId,
    },
    /// Nobody asks for it any more.
    Withdrawn {
        /// What it was.
        object: ObjectId,
    },
    /// Lives up to this one were given. Like those that follow, only said by [`Directory::records`].
    ///
    /// [`Directory::records`]: crate::directory::Directory::records
    Given {
        /// The last of them.
        life: Life,
    },
    /// An actor waits to be placed again.
    Unplaced {
        /// Which.
        actor: ActorId,
        /// Its last one.
        placement: Placement,
        /// How often it may yet be placed again.
        restarts: u32,
    },
    /// Some bundles of a group are placed, and the others wait for room.
    GroupHeld {
        /// Which.
        group: GroupId,
        /// Where each bundle is, if it is anywhere.
        hosts: Vec<Option<Life>>,
    },
    /// A placement group was removed long ago: it is not made again.
    GroupBuried {
        /// Which.
        group: GroupId,
    },
    /// A bundle of a group that was removed, in which actors are still ending: it goes with the last of them, by the
    /// `GroupGone` that follows.
    Closing {
        /// Which group.
        group: GroupId,
        /// Which bundle.
        index: u32,
        /// Where it is.
        host: Life,
        /// What it holds.
        total: Resources,
    },
}
