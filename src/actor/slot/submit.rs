//! A call's slot as what makes an object: nobody polls it, its reply settles the object.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Waker;

use super::placed::inbox_of;
use crate::actor::dispatch::Method;
use crate::actor::error::{CallError, Executed, Never, WireError};
use crate::actor::frame::Serves;
use crate::actor::handle::{ActorRef, Route};
use crate::actor::inbox::Host;
use crate::actor::job::Outcome;
use crate::id::{ActorId, Key, Life, ObjectId};
use crate::object::content::Content;
use crate::object::entry::{Entry, MadeBy, Making};
use crate::object::error::{Fault, GetError};
use crate::object::lost::Lost;
use crate::object::param::Param;

/// Whom a call's reply goes to.
#[derive(Default)]
pub(crate) enum Listener<T: 'static, E: 'static> {
    /// Nobody yet, or no more.
    #[default]
    Nobody,
    /// The task that polls the call.
    Task(Waker),
    /// An object.
    Object(Sink<T, E>),
}

impl<T, E> Listener<T, E> {
    pub(crate) fn wake(self) {
        if let Listener::Task(waker) = self {
            waker.wake();
        }
    }
}

/// The object that a call's reply settles. Dropped before, it says that nothing will come.
pub(crate) struct Sink<T: 'static, E: 'static> {
    entry: Arc<Entry>,
    fill: &'static Fill<T, E>,
}

/// How an object is settled by a reply.
pub(crate) struct Fill<T: 'static, E: 'static> {
    settle: fn(&Entry, Result<T, CallError<E>>),
    /// By that of a call that is made once more.
    anew: Option<&'static Fill<T, E>>,
}

struct Fills<T, E>(PhantomData<(T, E)>);

impl<T: Param<Owned = T>, E: WireError> Fills<T, E> {
    const ANEW: Fill<T, E> = Fill { settle: settle_anew::<T, E>, anew: None };
    const FIRST: Fill<T, E> = Fill { settle: settle::<T, E>, anew: Some(&Self::ANEW) };
}

impl<T, E> Sink<T, E> {
    /// Settles `entry`.
    pub(crate) fn new(entry: Arc<Entry>) -> Self
    where
        T: Param<Owned = T>,
        E: WireError,
    {
        Sink { entry, fill: const { &Fills::<T, E>::FIRST } }
    }

    /// Settles `entry` by the reply of a call that is made once more.
    pub(super) fn anew(entry: Arc<Entry>, fill: &'static Fill<T, E>) -> Self {
        Sink { entry, fill: fill.anew.unwrap_or(fill) }
    }

    /// Says which call it is.
    pub(super) fn made_by(&self, actor: ActorId, method: Key, passed: &[Arc<Entry>]) {
        let passed = passed.iter().map(Arc::downgrade).collect();
        self.entry.made_by(Making::Call(Box::new(MadeBy { actor, method, passed })));
    }

    pub(super) fn of(&self) -> (&Arc<Entry>, &'static Fill<T, E>) {
        (&self.entry, self.fill)
    }

    pub(crate) fn fill(&self, result: Result<T, CallError<E>>) {
        (self.fill.settle)(&self.entry, result);
    }
}

impl<T, E> Drop for Sink<T, E> {
    fn drop(&mut self) {
        // Nothing happens if it was filled.
        if !self.entry.is_settled() {
            self.entry.settle(Err(Arc::new(GetError::ShutDown)));
        }
    }
}

/// A submitted call that runs: its slot is gone, for nobody can ask it for anything.
pub(super) struct Awaited<M: Method> {
    pub(super) sink: Sink<M::Reply, M::Error>,
    pub(super) to: ActorRef<M::Actor>,
}

impl<M: Method> Outcome<M> for Awaited<M> {
    fn finish(&self, result: Result<M::Reply, CallError<M::Error>>) {
        self.sink.fill(result);
    }

    fn poll_cancelled(&self, _: &Waker) -> bool {
        false
    }

    fn abandoned(&self) -> CallError {
        match self.to.route() {
            Route::Local(inbox) => inbox.abandoned(),
            Route::Elsewhere(there) if let Some(inbox) = inbox_of::<M>(there) => inbox.abandoned(),
            Route::Elsewhere(_) => CallError::Cancelled { executed: Executed::Yes },
        }
    }

    fn serves(&self) -> Serves {
        Serves::Object(self.sink.entry.id())
    }
}

fn settle<T: Param<Owned = T>, E: WireError>(entry: &Entry, result: Result<T, CallError<E>>) {
    entry.settle(match result {
        Ok(value) => Ok(Content::of::<T>(T::share(value))),
        Err(error) => Err(Arc::new(to_get_error(error).into_fault())),
    });
}

/// The same of a call that was made once more, for a reply that is lost: it stays lost if its actor has ended.
fn settle_anew<T: Param<Owned = T>, E: WireError>(entry: &Entry, result: Result<T, CallError<E>>) {
    match result {
        Err(error @ (CallError::ActorDied { .. } | CallError::NodeDied { .. })) => {
            entry.settle(Err(Arc::new(Fault::lost(entry.id(), Lost::NotRepeated { why: error.to_string() }))));
        }
        result => settle(entry, result),
    }
}

/// A call's error as who asks for its object is told.
pub(crate) fn to_get_error<E>(error: CallError<E>) -> GetError<E> {
    match error.into_app::<Never>() {
        Ok(error) => GetError::App(error),
        Err(CallError::App(never)) => match never {},
        Err(CallError::Panicked { method, message }) => GetError::Panicked { what: method, message },
        Err(CallError::Cancelled { executed }) => GetError::Cancelled { executed },
        Err(CallError::NodeDied { node, executed }) => GetError::NodeDied { node, executed },
        Err(CallError::ActorDied { actor, reason, executed }) => {
            GetError::ActorDied { actor, why: reason.to_string(), executed }
        }
        Err(CallError::ActorRestarted { actor, executed }) => GetError::ActorRestarted { actor, executed },
        Err(CallError::Unreachable { node, silent, executed }) => GetError::Unreachable { node, silent, executed },
        Err(CallError::Timeout { after, waiting, executed }) => {
            GetError::Timeout { what: "the call".to_owned(), after, waiting: waiting.to_string(), executed }
        }
        Err(CallError::Argument { object, why, executed }) => GetError::Argument { object, why, executed },
        Err(CallError::Deadlock { cycle, executed }) => GetError::Deadlock { cycle, executed },
        Err(CallError::UnknownMethod { method, signature, executed }) => {
            GetError::UnknownMethod { method, signature, executed }
        }
        Err(CallError::Encode { what, message, executed }) => GetError::Encode { what, message, executed },
        Err(CallError::Decode { what, message, executed }) => GetError::Decode { what, message, executed },
        Err(CallError::TooLarge { what, bytes, limit, executed }) => {
            GetError::TooLarge { what, bytes, limit, executed }
        }
        Err(CallError::Stale { executed }) => GetError::Stale { executed },
    }
}

/// An object of the node that a call is made on; it has failed already if too many are promised.
pub(crate) fn promise(here: Option<Arc<dyn Host>>) -> Arc<Entry> {
    // Without a node the call fails at once, and nobody will ask elsewhere.
    let Some(host) = here else { return Entry::pending(ObjectId { life: Life(0), serial: 0 }, None) };
    host.promised().promise(host.next_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::error::Part;
    use crate::id::ActorId;

    #[test]
    fn who_submits_a_call_is_told_of_what_met_it_on_its_way_what_who_asks_is() {
        let (one, other) = (ActorId { life: Life(1), serial: 1 }, ActorId { life: Life(2), serial: 1 });
        let (what, executed, message) = (Part::Reply, Executed::Maybe, "no text".to_owned());
        let errors: [(CallError, GetError); 6] = [
            (
                CallError::Deadlock { cycle: vec![one, other, one], executed },
                GetError::Deadlock { cycle: vec![one, other, one], executed },
            ),
            (CallError::Stale { executed }, GetError::Stale { executed }),
            (
                CallError::UnknownMethod { method: "add".to_owned(), signature: "(u64)".to_owned(), executed },
                GetError::UnknownMethod { method: "add".to_owned(), signature: "(u64)".to_owned(), executed },
            ),
            (
                CallError::Encode { what, message: message.clone(), executed },
                GetError::Encode { what, message: message.clone(), executed },
            ),
            (
                CallError::Decode { what, message: message.clone(), executed },
                GetError::Decode { what, message, executed },
            ),
            (
                CallError::TooLarge { what, bytes: 70_000, limit: 65_536, executed },
                GetError::TooLarge { what, bytes: 70_000, limit: 65_536, executed },
            ),
        ];
        for (asked, submitted) in errors {
            let (text, executed) = (asked.to_string(), asked.executed());
            let told = to_get_error(asked);
            assert_eq!(told, submitted);
            assert_eq!((told.to_string(), told.executed()), (text.clone(), executed));
            // As the object keeps it, and gives it to who holds it.
            let kept: GetError = GetError::from_fault(told.into_fault());
            assert_eq!(kept.to_string(), text);
        }
    }
}
