//! `Lookup`: the actor that holds a name, once it is made.

use crate::directory::actors::{Asker, Want};
use crate::directory::message::{Reply, RequestId};
use crate::directory::request::{ActorType, FullName};
use crate::directory::state::Directory;
use crate::id::{ActorId, Key, Life};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The actor of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name.
    pub name: FullName,
    /// The type it must be of.
    pub kind: ActorType,
}

/// Why there is no such actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody holds the name.
    #[error("no actor is named `{0}`: it was not spawned, has ended, or is in another namespace")]
    NotFound(Arc<str>),
    /// It is of another type.
    #[error("the actor named {name} is a `{is}`, not a `{asked}`")]
    OtherType {
        /// The name.
        name: FullName,
        /// Its type.
        is: Arc<str>,
        /// The type asked for.
        asked: Arc<str>,
    },
}

impl Directory {
    pub(in crate::directory) fn lookup(&mut self, life: Life, request: RequestId, lookup: &Lookup) -> Option<Reply> {
        let Some(holder) = self.actors.names.get(&lookup.name).copied() else {
            return Some(Reply::Found(Err(LookupError::NotFound(lookup.name.name.clone()))));
        };
        if self.is_of_type(holder, lookup.kind.key) {
            self.share(holder);
            return self.await_actor(holder, Asker { life, request, want: Want::Found });
        }
        let is = self.actors.all.get(&holder).map_or_else(|| "".into(), |actor| actor.spawn.kind.name.clone());
        let (name, asked) = (lookup.name.clone(), lookup.kind.name.clone());
        Some(Reply::Found(Err(LookupError::OtherType { name, is, asked })))
    }

    pub(super) fn is_of_type(&self, actor: ActorId, key: Key) -> bool {
        self.actors.all.get(&actor).is_some_and(|actor| actor.spawn.kind.key == key)
    }
}
