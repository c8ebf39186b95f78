//! `GiveUp`: whoever asked for the actor of a name, made if there is none, waits for it no more. What was made for it ends,
//! unless others have asked by that name too: they hold it, or are about to.

use crate::directory::message::How;
use crate::directory::request::Gone;
use crate::directory::state::{Directory, Effects};
use crate::id::{ActorId, Life};
use serde::{Deserialize, Serialize};

/// Nobody waits for what `GetOrSpawn` would have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// The id that it would have had: of the asking life.
    pub actor: ActorId,
}

impl Directory {
    pub(in crate::directory) fn give_up(&mut self, life: Life, GiveUp { actor }: GiveUp, effects: &mut Effects) {
        if actor.life == life && self.actors.all.get(&actor).is_some_and(|actor| !actor.shared) {
            self.end_actor(actor, How::Kill, Gone::Killed, effects);
        }
    }

    /// Somebody else than its spawner asks for it by its name. In no journal: a head that starts takes it to be so of all.
    pub(super) fn share(&mut self, id: ActorId) {
        if let Some(actor) = self.actors.all.get_mut(&id) {
            actor.shared = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::request::{GetOrSpawn, Lookup, Spawn};
    use crate::directory::testing::{Head, name, spawn};

    fn made(life: Life, serial: u64) -> Spawn {
        Spawn { name: Some(name("a")), detached: true, ..spawn(life, serial) }
    }

    fn is_ending(head: &Head, actor: ActorId) -> bool {
        head.directory.actors.all.get(&actor).is_none_or(|actor| actor.ending.is_some())
    }

    #[test]
    fn who_gives_up_what_it_made_ends_it_only_if_nobody_else_asked_for_it() {
        let mut head = Head::new();
        let (_, one, other) = (head.worker(1), head.driver(2), head.driver(3));
        let first = GetOrSpawn(made(one, 1));
        let actor = first.0.actor;
        let asked = head.asks(one, first.clone());
        head.asks_again(one, asked, first);
        head.asked(one, GiveUp { actor }).unwrap();
        head.obeys(actor);
        assert_eq!(head.gone(actor), Some(Gone::Killed), "asked for again, but by the same");

        let mine = head.asks(one, GetOrSpawn(made(one, 2)));
        let theirs = head.asks(other, GetOrSpawn(made(other, 1)));
        let actor = ActorId { life: one, serial: 2 };
        head.obeys(actor);
        assert_eq!(head.answer::<GetOrSpawn>(mine), head.answer::<GetOrSpawn>(theirs));
        head.asked(one, GiveUp { actor }).unwrap();
        assert!(!is_ending(&head, actor), "another holds it");
    }

    #[test]
    fn what_was_looked_up_or_made_under_an_earlier_head_is_not_ended_by_who_gives_it_up() {
        let mut head = Head::new();
        let (worker, one, other) = (head.worker(1), head.driver(2), head.driver(3));
        for serial in [1, 2] {
            let spawn = Spawn { name: Some(name(&serial.to_string())), ..made(one, serial) };
            head.asks(one, GetOrSpawn(spawn));
            head.obeys(ActorId { life: one, serial });
        }
        let kind = spawn(one, 1).kind;
        head.asked(other, Lookup { name: name("1"), kind }).unwrap();
        head.asked(one, GiveUp { actor: ActorId { life: one, serial: 1 } }).unwrap();
        let mut head = head.restarted();
        head.rejoins(worker, 1);
        head.rejoins(one, 2);
        head.asked(one, GiveUp { actor: ActorId { life: one, serial: 2 } }).unwrap();
        assert!([1, 2].iter().all(|serial| !is_ending(&head, ActorId { life: one, serial: *serial })));
    }
}
