//! An actor that panics is started again where it is (PROTOCOLS §1.14), as often as the real [`Tally`](crate::actor::core::tally)
//! says: what runs beside ends, then after a pause its constructor runs, and begun calls with retries come first.

use super::Bug;
use super::hosting::{Entry, Phase};
use super::node::Node;
use super::script::{At, Blocks, Kind};
use super::stage::{Stage, Within};
use crate::directory::request::Gone;
use crate::id::ActorId;
use crate::wire::packet::{CallFault, Executed};

impl Node {
    /// A handler panics.
    pub(super) fn panics(&mut self, stage: &mut Stage, id: u64) {
        let Some(frame) = self.frames.get(&id).copied() else { return };
        stage.note(62, frame.entry.call, 0, || format!("call {} panics", frame.entry.call));
        let Some(actor) = self.actors.get_mut(&frame.actor) else { return };
        if actor.draining.is_some() || actor.tally.limit() == 0 {
            self.leaves_run(stage, id, Some(CallFault::Panicked { message: "boom" }));
            return self.actor_ends(stage, frame.actor, Gone::Panicked("boom".into()));
        }
        actor.phase = Phase::Ends;
        let beside = self.frames.iter().filter(|(_, beside)| beside.actor == frame.actor);
        // What does not let go is waited for.
        let ends = beside.filter(|(of, beside)| **of == id || beside.blocks == Blocks::No).map(|(of, _)| *of);
        let ends: Vec<u64> = ends.collect();
        for of in ends.into_iter().rev() {
            let fault = if of == id { CallFault::Panicked { message: "boom" } } else { CallFault::ActorRestarted };
            let goes_again = self.goes_again(stage, of);
            self.leaves_run(stage, of, Some(fault).filter(|_| !goes_again));
        }
        self.run_over(stage, frame.actor);
    }

    /// Whether a call that began goes again in the next run: it is at the front of its line then.
    fn goes_again(&mut self, stage: &mut Stage, frame: u64) -> bool {
        let Some(frame) = self.frames.get(&frame).copied() else { return false };
        let reorders = stage.has(Bug::ReordersRetries);
        let counts = !stage.has(Bug::RetriesForever);
        let call = &mut stage.calls[frame.entry.call as usize];
        let may = call.retries > 0 && frame.items == 0 && call.kind == Kind::Ask && call.at != At::Over;
        let Some(actor) = self.actors.get_mut(&frame.actor).filter(|_| may) else { return false };
        call.retries -= u32::from(counts);
        call.may_have_run = true;
        let mailbox = &mut actor.groups[frame.group as usize].mailbox;
        let entry = Entry { again: true, ..frame.entry };
        if reorders {
            mailbox.push_back(entry)
        } else {
            mailbox.push_front(entry)
        }
        true
    }

    /// A call is no part of this run any more; with a fault it is answered.
    fn leaves_run(&mut self, stage: &mut Stage, id: u64, fault: Option<CallFault<'_>>) {
        let Some(frame) = self.drop_frame(stage, id) else { return };
        if let Some(actor) = self.actors.get_mut(&frame.actor) {
            actor.groups[frame.group as usize].running -= 1;
        }
        let panicked = matches!(fault, Some(CallFault::Panicked { .. }));
        if fault.is_some() {
            self.answer(stage, frame.entry, if panicked { Executed::Yes } else { Executed::Maybe }, fault);
        }
    }

    /// Something has ended that ran when the actor panicked: after the last of it the actor is started again.
    pub(super) fn run_over(&mut self, stage: &mut Stage, id: ActorId) {
        let runs = self.frames.values().any(|frame| frame.actor == id) && !stage.has(Bug::RestartsBeside);
        let Some(actor) = self.actors.get_mut(&id).filter(|actor| !runs && actor.phase == Phase::Ends) else { return };
        if actor.draining.is_none() || !actor.idle() {
            return self.starts_again(stage, id);
        }
        self.ends_if_drained(stage, id);
    }

    /// A run has failed, or did not come to be.
    fn starts_again(&mut self, stage: &mut Stage, id: ActorId) {
        let now = self.now(stage);
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let Some(pause) = actor.tally.failed(now) else {
            let restarts = actor.tally.limit();
            return self.actor_ends(stage, id, Gone::RestartsSpent { restarts, text: "boom".into() });
        };
        actor.phase = Phase::Remade;
        actor.restart += u32::from(!stage.has(Bug::RetriesInPlace));
        let (restart, placement) = (actor.restart, actor.placement);
        stage.note(64, id.serial, u64::from(restart), || format!("{id} is started again in {pause:?}: run {restart}"));
        let takes = stage.user.micros(1, 2_000);
        stage.queue.after(pause + takes, self.within(Within::Made(id, placement)));
    }

    /// Its constructor has run again, or failed.
    pub(super) fn remade(&mut self, stage: &mut Stage, id: ActorId) {
        if !stage.calm && stage.user.one_in(10) {
            return self.starts_again(stage, id);
        }
        let now = self.now(stage);
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.tally.runs(now);
        actor.phase = Phase::Runs;
        let made = stage.saves.makes_again(id, actor.placement, actor.saved.last().copied());
        stage.check(made);
        (0..2).for_each(|group| self.pump(stage, id, group));
        self.ends_if_drained(stage, id);
    }
}
