//! Calls to an actor that are made once more for replies that are lost (PROTOCOLS §7): they have their arguments before they go,
//! in the order of their first sending.
//!
//! ```text
//! made again ─▶ waits for its arguments; those that were first sent after it wait behind it ─▶ sent, on a stream of its own
//! ```
//!
//! A call can only hang on what was there before it was first sent. So one that waits here never waits for one behind it, and
//! none that waits for its reply, here or at the actor's node, is in its way.

use futures_util::future::{BoxFuture, Either, select};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::Notify;

use super::placed::{Entered, How, Placed, Queued, Resend};
use crate::actor::error::EndReason;
use crate::wire::packet::Flags;

/// Such a call.
pub(crate) trait Again: Resend {
    /// Waits until its arguments are there. It may be waited for anew.
    fn ready(self: Arc<Self>) -> BoxFuture<'static, ()>;
    /// Has those in their places that do not travel as references. Whether it goes; else who wants its reply was told.
    fn leave(&self) -> bool;
}

/// How it is sent.
const HOW: How = How { flags: Flags::ASK, deadline: None, anew: true };

/// Those of one actor.
#[derive(Default)]
pub(crate) struct Anew {
    state: Mutex<State>,
    /// Told when one comes.
    came: Notify,
}

#[derive(Default)]
struct State {
    /// By their order.
    waiting: BTreeMap<u64, Arc<dyn Again>>,
    /// Somebody lets them go.
    moving: bool,
}

impl Placed {
    /// Makes a call once more that had this place in the order of first sending.
    pub(crate) fn make_again(self: &Arc<Self>, order: u64, call: Arc<dyn Again>) {
        let Some(host) = self.here() else {
            return call.give_up(self.refused(&EndReason::ShutDown));
        };
        let moves = {
            let mut state = self.anew().state.lock();
            state.waiting.insert(order, call);
            !std::mem::replace(&mut state.moving, true)
        };
        match moves {
            true => host.spawn(Box::pin(self.clone().let_go())),
            false => self.anew().came.notify_waiters(),
        }
    }

    async fn let_go(self: Arc<Self>) {
        loop {
            let mut came = pin!(self.anew().came.notified());
            // Entered before the look, so that what comes after it is heard of.
            came.as_mut().enable();
            let first = {
                let mut state = self.anew().state.lock();
                let first = state.waiting.first_key_value().map(|(order, call)| (*order, call.clone()));
                state.moving = first.is_some();
                first
            };
            let Some((order, call)) = first else { return };
            if let Either::Left(_) = select(call.clone().ready(), came).await {
                drop(self.anew().state.lock().waiting.remove(&order));
                self.send_again(order, call).await;
            }
        }
    }

    async fn send_again(self: &Arc<Self>, order: u64, call: Arc<dyn Again>) {
        if !call.leave() {
            return;
        }
        let queued = || Queued { call: call.clone(), how: HOW };
        let sent = match self.enter_anew(order, queued) {
            Ok(Entered::Goes(to, out)) => call.resend(&to, out, HOW),
            Ok(Entered::Waits) => None,
            Err(reason) => return call.give_up(self.refused(&reason)),
        };
        if let Some(sent) = sent {
            sent.await;
        }
    }
}
