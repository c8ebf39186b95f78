//! What actors save of themselves (PROTOCOLS §2.10), around the real [`Saved`](crate::actor::core::saved): numbered here, sent
//! to the head one at a time, and what the next run is made of, here or elsewhere. A saved state consists of which it is.

use super::Bug;
use super::checks::saves::Save;
use super::node::Node;
use super::requests::Purpose;
use super::stage::Stage;
use crate::actor::core::tally::Restarts;
use crate::directory::request::{Checkpoint, NotKept};
use crate::id::{ActorId, Placement};

impl Node {
    /// The head puts an actor here: its constructor runs, or it is made of what was saved.
    pub(super) fn host(
        &mut self,
        stage: &mut Stage,
        (id, placement): (ActorId, Placement),
        restarts: Restarts,
        of: Option<Save>,
    ) {
        let made = stage.saves.makes(id, placement, of);
        stage.check(made);
        self.host_for(stage, (id, placement), restarts, None);
        if let Some(actor) = self.actors.get_mut(&id)
            && let Some(save) = of
        {
            actor.saved.begin_with(save);
        }
    }

    /// A method of an actor saves its state, if it may be made again of that.
    pub(super) fn saves(&mut self, stage: &mut Stage, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id).filter(|actor| actor.tally.limit() > 0) else { return };
        let save = Save { placement: actor.placement, number: actor.saved.number() + 1 };
        stage.note(65, id.serial, save.number, || format!("{id} saves {save:?}"));
        let (_, former) = actor.saved.take(save);
        if let Some(former) = former.filter(|_| stage.has(Bug::KeepsFormer)) {
            actor.saved.begin_with(former);
        }
        let saves = stage.saves.saves(id, save);
        stage.check(saves);
        self.sends_saved(stage, id);
    }

    /// What was saved last goes to the head, if that may place the actor again, and nothing is on its way there.
    fn sends_saved(&mut self, stage: &mut Stage, id: ActorId) {
        let may = |actor: &&mut super::hosting::Actor| !actor.ephemeral && !actor.sends_saved;
        let Some(actor) = self.actors.get_mut(&id).filter(may) else { return };
        let Some((number, save)) = actor.saved.unsafe_at(actor.saved.number()) else { return };
        actor.sends_saved = true;
        let placement = actor.placement;
        self.ask(stage, Checkpoint { actor: id, placement, number, state: save.encoded() }, Purpose::Save);
    }

    /// The head has answered, or cannot be asked.
    pub(super) fn saved(&mut self, stage: &mut Stage, what: &Checkpoint, answer: Option<Result<(), NotKept>>) {
        let Checkpoint { actor: id, placement, number, .. } = *what;
        let save = Save { placement, number };
        let checked = match answer {
            Some(Ok(())) => stage.saves.keeps(id, save),
            Some(Err(NotKept::Stale)) => stage.saves.refuses(id, save),
            Some(Err(_)) | None => Ok(()),
        };
        stage.check(checked);
        let Some(actor) = self.actors.get_mut(&id).filter(|actor| actor.placement == placement) else { return };
        actor.sends_saved = false;
        if answer == Some(Ok(())) {
            actor.saved.is_safe(number);
        }
        if actor.saved.number() > number {
            self.sends_saved(stage, id);
        }
    }
}
