//! A request under way, as the one who asked holds it.

use super::{AskError, Client, Later};
use crate::clock;
use crate::directory::message::{Question, RequestId};
use crate::schedule::Why;
use crate::wire::packet::Executed;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// A request under way.
#[must_use = "a request that is dropped is given up"]
pub struct Asking<Q> {
    client: Client,
    id: RequestId,
    timer: Option<Pin<Box<Sleep>>>,
    question: PhantomData<fn() -> Q>,
}

impl<Q> fmt::Debug for Asking<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asking").field(&self.id).finish()
    }
}

impl<Q> Asking<Q> {
    pub(super) fn new(client: Client, id: RequestId) -> Self {
        Asking { client, id, timer: None, question: PhantomData }
    }

    /// What it waits for at the head, if it does.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        self.reason().why()
    }

    /// The same, for whoever does not hold the request.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason { client: self.client.clone(), id: self.id }
    }
}

/// What a request waits for, as long as it is under way.
#[derive(Clone, Debug)]
pub struct Reason {
    client: Client,
    id: RequestId,
}

impl Reason {
    /// What it waits for at the head, if it does.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        self.client.0.state.lock().open.get(&self.id).and_then(|open| open.why.clone())
    }
}

impl<Q: Question> Future for Asking<Q> {
    type Output = Result<Q::Answer, AskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.client.0.clone();
        let until = {
            let mut later = Later::default();
            let waker = context.waker().clone();
            let mut state = shared.state.lock();
            let Some(open) = state.open.get_mut(&self.id) else {
                return Poll::Ready(Err(AskError::LifeOver { executed: Executed::Maybe }));
            };
            if let Some(reply) = open.reply.take() {
                later.over.extend(state.open.remove(&self.id));
                return Poll::Ready(Q::answer(reply).ok_or(AskError::Nonsense));
            }
            later.replaced = open.waker.replace(waker);
            match state.open.get(&self.id).map(|open| state.failure(open, shared.head_wait)) {
                Some(Ok(until)) => until,
                Some(Err(error)) => {
                    drop(state);
                    self.client.give_up(self.id);
                    return Poll::Ready(Err(error));
                }
                None => None,
            }
        };
        let Some(until) = until else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(until.since(clock::now()))));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let executed = shared.state.lock().open.get(&self.id).map_or(Executed::Maybe, |open| match open.said {
            true => Executed::Maybe,
            false => Executed::No,
        });
        self.client.give_up(self.id);
        Poll::Ready(Err(AskError::HeadAway { waited: shared.head_wait, executed }))
    }
}

impl<Q> Drop for Asking<Q> {
    fn drop(&mut self) {
        self.client.give_up(self.id);
    }
}
