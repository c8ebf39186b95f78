//! A wait that a frame has begun, and what becomes of it if it is in a circle.

use parking_lot::Mutex;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::{Chain, Wait};
use crate::id::ActorId;

/// A wait of a frame, until this is dropped.
pub(crate) struct BegunWait<W> {
    frame: Arc<Chain>,
    at: NonZeroU32,
    wait: Arc<W>,
}

impl<W: Wait + 'static> BegunWait<W> {
    pub(crate) fn new(frame: Arc<Chain>, wait: Arc<W>) -> Self {
        let at = frame.wait(wait.clone());
        BegunWait { frame, at, wait }
    }
}

impl<W> BegunWait<W> {
    pub(crate) fn frame(&self) -> &Arc<Chain> {
        &self.frame
    }

    pub(crate) fn wait(&self) -> &W {
        &self.wait
    }
}

impl<W> Drop for BegunWait<W> {
    fn drop(&mut self) {
        self.frame.over(self.at);
    }
}

/// The circle that a wait is in, once a probe has found it: for who polls the wait.
#[derive(Default)]
pub(crate) struct Circle(Mutex<State>);

#[derive(Default)]
struct State {
    cycle: Option<Vec<ActorId>>,
    waker: Option<Waker>,
}

impl Circle {
    /// It, once; else `cx` is woken when it is found.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Option<Vec<ActorId>> {
        // A waker is other people's code: made and dropped outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.0.lock();
        let (former, cycle) = (state.waker.replace(waker), state.cycle.take());
        drop(state);
        drop(former);
        cycle
    }

    /// It is found.
    pub(crate) fn found(&self, cycle: Vec<ActorId>) {
        let mut state = self.0.lock();
        state.cycle = Some(cycle);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
