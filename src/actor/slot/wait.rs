//! A call as something that its caller's frame waits for (PROTOCOLS §5).

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::away::Away;
use super::{Listener, Slot, Stage, State, Wants};
use crate::actor::args;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed, Waiting};
use crate::actor::frame::{Chain, Held, Place, Serves, Wait};
use crate::actor::job::Access;
use crate::id::ActorId;
use crate::sync::brief::MutexGuard;
use crate::wire::packet::{Flags, ProbeTo};

impl<M: Method> Slot<M> {
    /// Asks inside of a frame. It is known to wait before anyone can begin the call and ask back.
    pub(super) fn ask_in(self: &Arc<Self>, frame: &Arc<Chain>, limit: Option<Duration>) -> Result<(), CallError> {
        self.begin_wait(frame);
        let cycle = self.to.check_cycle(frame, Access::of::<M>());
        let asked = cycle.and_then(|()| self.push(Flags::ASK, limit).map(drop));
        if asked.is_err() {
            self.end_wait();
        }
        asked
    }

    pub(super) fn begin_wait(self: &Arc<Self>, frame: &Arc<Chain>) {
        let at = frame.wait(self.clone());
        self.state.lock().wait = Some(at);
    }

    pub(super) fn end_wait(&self) {
        let Some(frame) = &self.up else { return };
        let at = self.state.lock().wait.take();
        if let Some(at) = at {
            frame.over(at);
        }
    }

    /// The frame that waits for the call: who told or submitted it goes on.
    pub(super) fn waiter(&self, state: &State<M>) -> Option<&Arc<Chain>> {
        let waits = state.wants == Wants::Reply && !matches!(state.caller, Listener::Object(_));
        self.up.as_ref().filter(|origin| waits && origin.is_frame())
    }

    /// Whether it is called by a run whose node's life has ended: it leaves this process no more.
    pub(super) fn is_fenced(&self) -> bool {
        self.up.as_ref().is_some_and(|origin| origin.is_fenced())
    }

    /// Its caller waits no more. Says how far it had come.
    pub(super) fn withdraw(&self, mut state: MutexGuard<'_, State<M>>) -> (Waiting, Executed) {
        state.wants = Wants::Nothing;
        let ran = state.ran;
        // Its end is other people's code: it comes once the lock is free.
        let former = mem::take(&mut state.caller);
        let (waiting, executed) = match &mut state.stage {
            Stage::Made(message) => {
                let for_arguments = message.has_references();
                let message = mem::replace(&mut state.stage, Stage::Over);
                drop(state);
                drop(message);
                let inbox = self.local();
                if let Some(inbox) = &inbox {
                    inbox.mailbox().abandoned();
                }
                let waiting = match inbox {
                    _ if for_arguments => Waiting::ForArguments,
                    Some(_) => Waiting::InMailbox,
                    None => Waiting::ForActor,
                };
                // What stood behind it for its arguments' sake goes on.
                if !ran && let Some(line) = self.line() {
                    line.abandoned();
                }
                (waiting, Executed::No)
            }
            Stage::Resolving => {
                // Whoever puts the values in finds that nobody waits, and goes on with the line.
                state.stage = Stage::Over;
                drop(state);
                (Waiting::ForArguments, Executed::No)
            }
            Stage::Away => {
                let away = state.away.take();
                state.stage = Stage::Over;
                drop(state);
                self.cancel_remote(away)
            }
            Stage::Begun(cell) => {
                let cell = cell.take();
                drop(state);
                if let Some(cell) = cell {
                    cell.wake();
                }
                (Waiting::Running, Executed::Yes)
            }
            Stage::Done(_) | Stage::Over => {
                let reply = mem::replace(&mut state.stage, Stage::Over);
                drop(state);
                let executed = match &reply {
                    Stage::Done(Err(error)) => error.executed(),
                    _ => Executed::Yes,
                };
                drop(reply);
                (Waiting::Running, executed)
            }
        };
        drop(former);
        (waiting, if ran { executed.after_a_try() } else { executed })
    }

    /// Those of its arguments that it waits for, if it does.
    fn missing(&self) -> Option<Vec<Arc<dyn Wait>>> {
        let here = self.to.here()?;
        let mut state = self.state.lock();
        let references = match &mut state.stage {
            Stage::Made(message) if message.has_references() => args::references(message),
            _ => return None,
        };
        drop(state);
        let missing = references.iter().filter(|entry| !entry.is_there()).map(|entry| here.object_wait(entry));
        Some(missing.collect::<Vec<_>>()).filter(|missing| !missing.is_empty())
    }

    /// The call by the object that it makes, or by its place in memory, which it keeps while it waits.
    pub(super) fn serves(&self) -> Serves {
        match &self.state.lock().caller {
            Listener::Object(sink) => Serves::Object(sink.of().0.id()),
            Listener::Nobody | Listener::Task(_) => Serves::Here(std::ptr::from_ref(self).addr()),
        }
    }
}

impl<M: Method> Wait for Slot<M> {
    fn actor(&self) -> ActorId {
        self.to.id()
    }

    fn place(&self) -> Place {
        let state = self.state.lock();
        match (&state.stage, state.away.as_ref().and_then(|away| self.remote(away)), &state.away) {
            _ if state.wants == Wants::Told => Place::Over,
            (Stage::Done(_) | Stage::Over, ..) => Place::Over,
            (Stage::Away, Some(to), Some(away)) => {
                let standing = away.ticket().and_then(|ticket| to.peer.standing(ticket));
                let to_wire = |call| ProbeTo { actor: to.id, method: M::KEY, call };
                standing.map_or(Place::Over, |call| Place::There(to.peer.life(), to_wire(call)))
            }
            // It is being sent, or its answer is being read.
            (Stage::Away, ..) => Place::Over,
            (Stage::Made(_) | Stage::Resolving | Stage::Begun(_), ..) => Place::Here,
        }
    }

    fn held(&self) -> Held {
        if let Some(missing) = self.missing() {
            return Held::Leads(missing);
        }
        let Some(inbox) = self.local() else { return Held::Not };
        let begun = match self.state.lock().stage {
            Stage::Made(_) | Stage::Resolving => false,
            Stage::Begun(_) => true,
            Stage::Away | Stage::Done(_) | Stage::Over => return Held::Not,
        };
        match begun {
            true => inbox.running(self.serves()),
            false => Held::Queued(inbox.blockers(Access::of::<M>())),
        }
    }

    fn deadlock(&self, cycle: Vec<ActorId>) {
        let mut state = self.state.lock();
        let over = match state.stage {
            Stage::Made(_) | Stage::Resolving | Stage::Begun(_) => state.wants == Wants::Told,
            Stage::Away => matches!(state.away, None | Some(Away::Reading(_))),
            Stage::Done(_) | Stage::Over => true,
        };
        if over || state.wants == Wants::Nothing {
            return;
        }
        let caller = mem::take(&mut state.caller);
        let (_, executed) = self.withdraw(state);
        let mut state = self.state.lock();
        let error = Box::new(CallError::Deadlock { cycle, executed });
        let former = mem::replace(&mut state.stage, Stage::Done(Err(error)));
        let later = mem::take(&mut state.caller);
        drop(state);
        drop(former);
        caller.wake();
        later.wake();
    }
}
