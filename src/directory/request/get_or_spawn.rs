//! `GetOrSpawn`: the actor that holds a name, or a new one that takes it: one step, so that of many who ask one spawns and
//! all get the same actor.

use crate::directory::actors::{Asker, Want};
use crate::directory::message::{Reply, RequestId};
use crate::directory::request::{Invalid, Spawn, SpawnError};
use crate::directory::state::{Directory, Effects};
use crate::id::Life;
use serde::{Deserialize, Serialize};

/// The actor of a name, made if there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GetOrSpawn(
    /// What is made if the name, which must be given, is free.
    pub Spawn,
);

impl Directory {
    pub(in crate::directory) fn get_or_spawn(
        &mut self,
        life: Life,
        id: RequestId,
        request: GetOrSpawn,
        effects: &mut Effects,
    ) -> Option<Reply> {
        let spawn = request.0;
        let Some(name) = &spawn.name else { return Some(Reply::Spawned(Err(SpawnError::Invalid(Invalid::Name)))) };
        match self.actors.names.get(name).copied() {
            None => self.spawn(life, id, spawn, effects),
            Some(holder) if self.is_of_type(holder, spawn.kind.key) => {
                if holder != spawn.actor {
                    self.share(holder);
                }
                self.await_actor(holder, Asker { life, request: id, want: Want::Spawned })
            }
            Some(holder) => Some(Reply::Spawned(Err(self.name_taken(holder)))),
        }
    }
}
