//! A call that was not sent yet and is a slot already, since it will leave the process: its draft and its slot are one allocation.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::draft::{Draft, noted};
use super::{Drafted, Listener, Pending, Sink, Slot, Stage, State, Turn, Waits, Wants};
use crate::actor::args;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed};
use crate::actor::frame;
use crate::actor::handle::ActorRef;

/// A call that was not sent yet, as its caller holds it.
pub(crate) trait Unsent<T, E>: Pending<T, E> {
    /// How often it is tried again in later runs of its actor.
    fn retry(&mut self, retries: u8);
    /// As [`Drafted::submit`].
    fn submit(self: Arc<Self>, sink: Sink<T, E>);
    /// As [`Drafted::ask`].
    fn ask(self: Arc<Self>, limit: Option<Duration>, caller: &Waker) -> Result<Arc<dyn Pending<T, E>>, CallError>;
    /// As [`Drafted::tell`].
    fn tell(self: Arc<Self>, turn: Turn) -> Result<Waits<T, E>, CallError>;
    /// As a draft, which may have to be given back.
    fn into_draft(self: Arc<Self>) -> Result<Box<dyn Drafted<T, E>>, CallError>;
}

impl<M: Method> Slot<M> {
    /// Apart, so that calls to actors of this process are made where they are asked.
    #[inline(never)]
    pub(crate) fn unsent(to: ActorRef<M::Actor>, message: M) -> Arc<Self> {
        let by_reference = noted(&to, &message);
        Slot::new(to, None, State::new(message, Wants::Nothing, Listener::Nobody, by_reference, M::RETRIES))
    }

    /// It is about to be sent. Nobody else knows it yet.
    #[inline]
    fn prepare(self: &mut Arc<Self>, wants: Wants, caller: Listener<M::Reply, M::Error>) {
        if let Some(slot) = Arc::get_mut(self) {
            slot.up = frame::origin();
            let state = slot.state.get_mut();
            (state.wants, state.caller) = (wants, caller);
        }
    }
}

impl<M: Method> Unsent<M::Reply, M::Error> for Slot<M> {
    fn retry(&mut self, retries: u8) {
        self.state.get_mut().retries = retries;
    }

    fn submit(mut self: Arc<Self>, sink: Sink<M::Reply, M::Error>) {
        let passed = match &mut *self.state.lock() {
            State { by_reference: true, stage: Stage::Made(message), .. } => args::references(message),
            _ => Vec::new(),
        };
        sink.made_by(self.to.id(), M::KEY, &passed);
        self.prepare(Wants::Reply, Listener::Object(sink));
        self.send_submitted();
    }

    fn ask(
        mut self: Arc<Self>,
        limit: Option<Duration>,
        caller: &Waker,
    ) -> Result<Arc<dyn Pending<M::Reply, M::Error>>, CallError> {
        self.prepare(Wants::Reply, Listener::Task(caller.clone()));
        self.send_asked(limit)
    }

    fn tell(mut self: Arc<Self>, turn: Turn) -> Result<Waits<M::Reply, M::Error>, CallError> {
        self.prepare(Wants::Room, Listener::Nobody);
        self.send_told(turn)
    }

    fn into_draft(self: Arc<Self>) -> Result<Box<dyn Drafted<M::Reply, M::Error>>, CallError> {
        let unknown = || CallError::Cancelled { executed: Executed::No };
        // Nobody else knows it yet.
        let Slot { to, state, .. } = Arc::into_inner(self).ok_or_else(unknown)?;
        let State { stage, by_reference, retries, .. } = state.into_inner();
        let Stage::Made(message) = stage else { return Err(unknown()) };
        Ok(Box::new(Draft::again(to, message, by_reference, retries)))
    }
}
