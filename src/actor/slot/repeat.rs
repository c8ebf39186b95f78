//! A call that is made once more: its reply lay where it ran, and that node has ended (PROTOCOLS §7).

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::placed::Again as Sent;
use super::submit::{Fill, Sink};
use super::{Listener, Slot, Stage, State, Wants};
use crate::actor::args;
use crate::actor::dispatch::Method;
use crate::actor::handle::ActorRef;
use crate::actor::lifetime::Keeps;
use crate::actor::packed::{Packed, Unpacking};
use crate::actor::remote::anew::Again;
use crate::actor::remote::placed::{Placed, Resend as _};
use crate::id::ActorId;
use crate::object::entry::Entry;
use crate::wire::codec::DecodeError;

/// How the reply of a call was made that lies at another node.
pub(crate) enum Replied {
    /// By an actor that its spawner has placed, which ends with its node.
    ByOneThatEnds(ActorId),
    /// By a call that may not run once more.
    Once,
    /// By one that may, so often.
    Repeats(Arc<dyn Repeat>, u8),
}

/// What it takes to make a call once more.
pub(crate) trait Repeat: Send + Sync {
    /// Its arguments, encoded; once. None if they do not encode.
    fn pack(&self) -> Option<Packed>;
    /// Its place among the calls of its actor from this node.
    fn order(&self) -> u64;
    /// Why its actor has ended for good, if that is known.
    fn why_not(&self) -> Option<String>;
    /// Makes it once more: its reply settles `reply`. It may be tried so often beside.
    ///
    /// # Errors
    /// Its arguments do not decode.
    fn repeat(&self, arguments: Unpacking<'_>, reply: Arc<Entry>, retries: u8) -> Result<(), DecodeError>;
}

struct Repeated<M: Method> {
    to: Arc<Placed>,
    order: u64,
    message: Mutex<Option<M>>,
    fill: &'static Fill<M::Reply, M::Error>,
}

/// What it takes to make a call again that was answered.
pub(super) fn repeated<M: Method>(sent: Sent<M>, fill: &'static Fill<M::Reply, M::Error>) -> Arc<dyn Repeat> {
    let Sent { message, out, .. } = sent;
    let (to, order) = (out.actor().clone(), out.order());
    Arc::new(Repeated { to, order, message: Mutex::new(Some(message)), fill })
}

impl<M: Method> Repeat for Repeated<M> {
    fn pack(&self) -> Option<Packed> {
        let mut message = self.message.lock().take()?;
        // It encodes values of the user's types.
        catch_unwind(AssertUnwindSafe(|| Packed::of(&mut message))).ok().flatten()
    }

    fn order(&self) -> u64 {
        self.order
    }

    fn why_not(&self) -> Option<String> {
        self.to.why_gone().map(|reason| reason.to_string())
    }

    fn repeat(&self, arguments: Unpacking<'_>, reply: Arc<Entry>, retries: u8) -> Result<(), DecodeError> {
        let (message, caller) = (arguments.unpack::<M>()?, Listener::Object(Sink::anew(reply, self.fill)));
        let state = State { ran: true, ..State::new(message, Wants::Reply, caller, false, retries) };
        // Whoever wants the reply does not keep the actor.
        let to = ActorRef::placed(self.to.clone(), Keeps::Weak);
        self.to.make_again(self.order, Slot::new(to, None, state));
        Ok(())
    }
}

impl<M: Method> Slot<M> {
    /// The first of its arguments that is not there yet.
    fn unsettled(&self) -> Option<Arc<Entry>> {
        match &mut self.state.lock().stage {
            Stage::Made(message) => args::references(message).into_iter().find(|entry| !entry.is_settled()),
            _ => None,
        }
    }
}

impl<M: Method> Again for Slot<M> {
    fn ready(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(argument) = self.unsettled() {
                // Whatever becomes of it.
                drop(argument.settling().await);
            }
        })
    }

    fn leave(&self) -> bool {
        match self.put_values(|message| args::leave(message, |_| false)) {
            Ok(goes) => goes,
            Err(error) => {
                self.give_up(error);
                false
            }
        }
    }
}
