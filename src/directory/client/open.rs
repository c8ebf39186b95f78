//! A request that is not settled: what is asked or reported, and how far it is.

use crate::clock::{self, Moment};
use crate::directory::message::{How, Reply, Request};
use crate::directory::request::{End, Ended, GetOrSpawn, GiveUp, Gone};
use crate::id::{ActorId, Life, Placement};
use crate::schedule::Why;
use std::task::Waker;
use tokio::sync::oneshot;

/// Nothing is ever sent: the end of the channel is the message.
#[derive(Debug)]
pub(super) enum Never {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Someone waits for the answer.
    Asked,
    /// Nobody does: it only has to arrive.
    Report,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) what: Request,
    pub(super) kept: Kept,
    pub(super) asked: Moment,
    /// At some door, so that the head may have carried it out.
    pub(super) said: bool,
    /// At this door, and not answered.
    pub(super) under_way: bool,
    /// It was of a life that is over.
    pub(super) over: bool,
    pub(super) reply: Option<Reply>,
    pub(super) why: Option<Why>,
    pub(super) waker: Option<Waker>,
    /// Dropped with this: tells whoever waits for a report to arrive.
    _told: Option<oneshot::Sender<Never>>,
}

impl Open {
    pub(super) fn new(what: Request, kept: Kept, told: Option<oneshot::Sender<Never>>) -> Open {
        let asked = clock::now();
        let (said, under_way, over, reply, why, waker) = (false, false, false, None, None, None);
        Open { what, kept, asked, said, under_way, over, reply, why, waker, _told: told }
    }

    /// The life that it makes an actor for.
    pub(super) fn life(&self) -> Option<Life> {
        match &self.what {
            Request::Spawn(spawn) => Some(spawn.actor.life),
            Request::GetOrSpawn(GetOrSpawn(spawn)) => Some(spawn.actor.life),
            Request::Choose(choose) => Some(choose.actor.life),
            _ => None,
        }
    }

    /// What undoes a request whose answer nobody takes.
    pub(super) fn undo(&self) -> Option<Request> {
        if !self.said {
            return None;
        }
        let kill = |actor: ActorId| End { actor, how: How::Kill }.into();
        match &self.what {
            Request::Spawn(spawn) => Some(kill(spawn.actor)),
            // It may be somebody else's by now.
            Request::GetOrSpawn(request) => Some(GiveUp { actor: request.0.actor }.into()),
            // Without resources it may wait, too.
            Request::Choose(choose) => {
                Some(Ended { actor: choose.actor, placement: Placement(0), why: Gone::Killed }.into())
            }
            _ => None,
        }
    }
}
