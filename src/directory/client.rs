//! A node's side of its requests to the head: asked again at each new door until answered, bounded, and ended by
//! [`AskError::HeadAway`] when the head stays away.
//!
//! ```text
//! ask ─▶ open ──said at the door──▶ answered ─▶ done: told with the next request, so that the head forgets it
//! ```
//!
//! A door is a function: for a head in this process it applies the request and gives the answer before it returns.

use crate::clock::{self, Moment};
use crate::directory::candidates::Candidates;
use crate::directory::message::{Ask, Question, Reply, Request, RequestId, Settled, ToHead};
use crate::directory::request::{Candidate, Choose, ChooseError};
use crate::id::Life;
use crate::limits::{HEAD_WAIT, QUESTIONS, REQUESTS};
use crate::schedule::Why;
use crate::wire::packet::Executed;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;

mod asking;
mod open;
pub use asking::{Asking, Reason};
use open::{Kept, Never, Open};

/// Answers told done in a message of their own, when no request comes to carry them.
const DONE_ALONE: usize = 64;

/// Says something to the head; must not wait.
pub type Say = Arc<dyn Fn(ToHead) + Send + Sync>;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The head has been away for too long.
    #[error(
        "the head has been away for {waited:?}{}: look whether it runs and can be reached; \
         calls to actors whose place is known go on meanwhile",
        perhaps(*.executed)
    )]
    HeadAway {
        /// For how long the request waited for it.
        waited: Duration,
        /// Whether the head may have carried it out.
        executed: Executed,
    },
    /// The answer is to another question.
    #[error("the head answered something else than was asked: run the same version of mobula on head and node")]
    Nonsense,
    /// The asking node's life is over.
    #[error("this node's life in the cluster is over{}", perhaps(*.executed))]
    LifeOver {
        /// Whether the head may have carried it out.
        executed: Executed,
    },
}

impl AskError {
    /// Whether the head may have carried the request out.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            AskError::HeadAway { executed, .. } | AskError::LifeOver { executed } => *executed,
            AskError::Nonsense => Executed::Maybe,
        }
    }
}

fn perhaps(executed: Executed) -> &'static str {
    match executed {
        Executed::No => "; the request was not carried out",
        Executed::Maybe | Executed::Yes => "; the request may have been carried out",
    }
}

/// Whether the node has a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// It has, or will have.
    #[default]
    Living,
    /// One is over, and the next one has not attached: requests wait for it.
    Between,
    /// There will be none.
    Over,
}

/// A report under way. Ready once the head has it, or the life that reported is over.
#[derive(Debug)]
pub struct Arrives(oneshot::Receiver<Never>);

impl Arrives {
    /// Whether there is nothing to wait for.
    pub fn is_done(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

impl Future for Arrives {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

/// Of what is asked, and of what is reported.
#[derive(Clone, Copy, Default)]
struct Each<T> {
    asked: T,
    reports: T,
}

impl<T> Each<T> {
    fn of(&mut self, kept: Kept) -> &mut T {
        match kept {
            Kept::Asked => &mut self.asked,
            Kept::Report => &mut self.reports,
        }
    }
}

#[derive(Default)]
struct State {
    door: Option<(Life, Say)>,
    away_since: Moment,
    phase: Phase,
    last: RequestId,
    open: BTreeMap<RequestId, Open>,
    /// Open ones not yet said at this door.
    unsaid: Each<BTreeSet<RequestId>>,
    /// How many were said at this door and not answered.
    under_way: Each<usize>,
    /// Counts doors opened and closed, so that opening one notices what came in between.
    doors: u64,
    done: Vec<RequestId>,
    candidates: Candidates,
}

/// What waits until the lock is free: wakers are other people's code, and so is what the end of a report tells. Made before
/// the lock is taken, so that it is dropped after.
#[derive(Default)]
struct Later {
    wakers: Vec<Waker>,
    /// Of one who waits with another now: only dropped.
    replaced: Option<Waker>,
    over: Vec<Open>,
}

impl Later {
    fn wake(&mut self, open: &mut Open) {
        self.wakers.extend(open.waker.take());
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.over.clear();
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

struct Shared {
    state: Mutex<State>,
    head_wait: Duration,
}

/// A node's requests to the head. Clones are the same.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("open", &self.0.state.lock().open.len()).finish_non_exhaustive()
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new(HEAD_WAIT)
    }
}

impl Client {
    /// A client whose requests wait this long for a head that is away.
    #[must_use]
    pub fn new(head_wait: Duration) -> Client {
        let state = State { away_since: clock::now(), ..State::default() };
        Client(Arc::new(Shared { state: Mutex::new(state), head_wait }))
    }

    /// How long its requests wait for a head that is away.
    #[must_use]
    pub fn head_wait(&self) -> Duration {
        self.0.head_wait
    }

    /// `life` can speak to the head: its `Join`, `Rejoin` or `Beat` was said at this door. What is open is asked (again).
    pub fn attached(&self, life: Life, say: Say) {
        let (settled, door) = {
            let mut later = Later::default();
            let mut state = self.0.state.lock();
            state.close_door();
            if state.phase == Phase::Over {
                return;
            }
            state.phase = Phase::Living;
            state.end_those(&mut later, |open| open.life().is_some_and(|of| of != life));
            let mut unsaid: Each<BTreeSet<RequestId>> = Each::default();
            for (id, open) in state.open.iter().filter(|(_, open)| open.reply.is_none() && !open.over) {
                unsaid.of(open.kept).insert(*id);
            }
            state.unsaid = unsaid;
            let waiting = state.open.iter().filter(|(_, open)| open.said && open.reply.is_none());
            (Settled::AllBut(waiting.map(|(id, _)| *id).collect()), state.doors)
        };
        // First word at the door: nothing is asked there before.
        say(ToHead::Settle(life, settled));
        {
            let mut state = self.0.state.lock();
            if state.doors != door {
                return;
            }
            state.door = Some((life, say));
        }
        self.say_what_may_be_said();
    }

    /// The door has closed.
    pub fn detached(&self) {
        let mut later = Later::default();
        let mut state = self.0.state.lock();
        state.close_door();
        // Who waits looks at the clock from now on.
        state.open.values_mut().for_each(|open| later.wake(open));
    }

    /// The life is over, and with it what it asked and what it was to make. What was not said yet and any life may ask waits
    /// for the next one.
    pub fn life_over(&self) {
        let mut later = Later::default();
        let mut state = self.0.state.lock();
        state.end_life(&mut later, Phase::Between);
        state.end_those(&mut later, |open| open.said || open.life().is_some());
    }

    /// There will be no other life: all that is asked fails.
    pub fn close(&self) {
        let mut later = Later::default();
        let mut state = self.0.state.lock();
        state.end_life(&mut later, Phase::Over);
        state.end_those(&mut later, |_| true);
    }

    /// Membership has this version now: kept answers to `Choose` of earlier ones hold no longer.
    pub fn members(&self, version: u64) {
        self.0.state.lock().candidates.members(version);
    }

    /// The head answered.
    pub fn answered(&self, request: RequestId, reply: Reply) {
        let settle = {
            let mut later = Later::default();
            let mut state = self.0.state.lock();
            state.done.push(request);
            match state.open.get_mut(&request) {
                Some(open) if open.reply.is_none() => {
                    let kept = open.kept;
                    later.wake(open);
                    open.reply = Some(reply);
                    let was_under_way = usize::from(std::mem::take(&mut open.under_way));
                    *state.under_way.of(kept) -= was_under_way;
                    if kept == Kept::Report {
                        later.over.extend(state.open.remove(&request));
                    }
                }
                _ => {}
            }
            let alone = state.done.len() >= DONE_ALONE && !state.has_unsaid();
            let done = alone.then(|| std::mem::take(&mut state.done));
            done.and_then(|done| state.door.clone().map(|(life, say)| (life, say, done)))
        };
        if let Some((life, say, done)) = settle {
            say(ToHead::Settle(life, Settled::These(done)));
        }
        self.say_what_may_be_said();
    }

    /// A request waits at the head, for this.
    pub fn waits(&self, request: RequestId, why: Why) {
        let mut later = Later::default();
        if let Some(open) = self.0.state.lock().open.get_mut(&request) {
            open.why = Some(why);
            later.wake(open);
        }
    }

    /// Asks. A request that is dropped unanswered is undone as far as it can be: what it spawned is killed, what it reserved
    /// is given back, and what it would have got or spawned is killed unless others have asked for it.
    pub fn ask<Q: Question>(&self, question: Q) -> Asking<Q> {
        let id = self.open(question.into(), Kept::Asked, None);
        Asking::new(self.clone(), id)
    }

    /// Says what nobody waits for and what must arrive while the life lasts.
    pub fn report(&self, report: impl Into<Request>) {
        self.open(report.into(), Kept::Report, None);
    }

    /// Reports, and tells when the head has it.
    pub fn report_until_known(&self, report: impl Into<Request>) -> Arrives {
        let (told, arrives) = oneshot::channel();
        self.open(report.into(), Kept::Report, Some(told));
        Arrives(arrives)
    }

    /// Whether the head may not have all that was reported.
    #[must_use]
    pub fn has_reports(&self) -> bool {
        self.0.state.lock().open.values().any(|open| open.kept == Kept::Report)
    }

    /// A node for an ephemeral actor: by the head's last answer while that holds, else by the head, and then `asked` is told.
    ///
    /// # Errors
    /// The head has no answer, or refuses.
    pub async fn choose(
        &self,
        choose: Choose,
        asked: impl FnOnce(Reason),
    ) -> Result<Result<Candidate, ChooseError>, AskError> {
        if let Some(candidate) = self.chosen(&choose) {
            return Ok(Ok(candidate));
        }
        let spawner = choose.actor.life;
        let asking = self.ask(choose.clone());
        asked(asking.reason());
        let chosen = match asking.await? {
            Ok(chosen) => chosen,
            Err(error) => return Ok(Err(error)),
        };
        let first = chosen.candidates.first().copied().ok_or(ChooseError::Full);
        if choose.needs.resources.is_empty() && chosen.candidates.len() > 1 {
            let mut state = self.0.state.lock();
            state.candidates.keep(&choose, chosen, spawner);
            return Ok(state.candidates.next(&choose).map_or(first, Ok));
        }
        if choose.needs.resources.is_empty() && first.is_ok() {
            self.0.state.lock().candidates.keep(&choose, chosen, spawner);
        }
        Ok(first)
    }

    /// The node for an ephemeral actor without resources, if the head's last answer still holds.
    #[must_use]
    pub fn chosen(&self, choose: &Choose) -> Option<Candidate> {
        if !choose.needs.resources.is_empty() {
            return None;
        }
        self.0.state.lock().candidates.next(choose)
    }

    fn open(&self, what: Request, kept: Kept, told: Option<oneshot::Sender<Never>>) -> RequestId {
        let id = {
            let mut state = self.0.state.lock();
            state.last = RequestId(state.last.0 + 1);
            let id = state.last;
            if kept == Kept::Asked || state.phase == Phase::Living {
                let mut open = Open::new(what, kept, told);
                open.over = state.phase == Phase::Over;
                state.open.insert(id, open);
                state.unsaid.of(kept).insert(id);
            }
            id
        };
        self.say_what_may_be_said();
        id
    }

    fn say_what_may_be_said(&self) {
        loop {
            let (say, ask) = {
                let mut state = self.0.state.lock();
                let Some(next) = state.next_to_say() else { return };
                next
            };
            say(ToHead::Ask(ask));
        }
    }

    /// Nobody waits any more.
    fn give_up(&self, id: RequestId) {
        let open = {
            let mut state = self.0.state.lock();
            let Some(open) = state.open.remove(&id) else { return };
            state.unsaid.of(open.kept).remove(&id);
            if open.under_way {
                *state.under_way.of(open.kept) -= 1;
                state.done.push(id);
            }
            open
        };
        if let Some(undo) = open.undo() {
            self.report(undo);
        }
        self.say_what_may_be_said();
    }
}

impl State {
    fn end_life(&mut self, later: &mut Later, phase: Phase) {
        self.close_door();
        self.phase = phase;
        self.unsaid = Each::default();
        self.candidates.forget();
        let reports = self.open.iter().filter(|(_, open)| open.kept == Kept::Report);
        let reports: Vec<RequestId> = reports.map(|(id, _)| *id).collect();
        later.over.extend(reports.iter().filter_map(|id| self.open.remove(id)));
    }

    fn end_those(&mut self, later: &mut Later, which: impl Fn(&Open) -> bool) {
        for open in self.open.values_mut().filter(|open| open.reply.is_none() && which(open)) {
            open.over = true;
            later.wake(open);
        }
    }

    fn close_door(&mut self) {
        self.doors += 1;
        if self.door.take().is_some() {
            self.away_since = clock::now();
        }
        self.done.clear();
        self.under_way = Each::default();
        self.open.values_mut().for_each(|open| open.under_way = false);
    }

    fn has_unsaid(&self) -> bool {
        !(self.unsaid.asked.is_empty() && self.unsaid.reports.is_empty())
    }

    fn next_to_say(&mut self) -> Option<(Say, Ask)> {
        let (life, say) = self.door.clone()?;
        loop {
            let request = self.pop_unsaid()?;
            let Some(open) = self.open.get_mut(&request) else { continue };
            if open.reply.is_some() {
                continue;
            }
            (open.said, open.under_way) = (true, true);
            *self.under_way.of(open.kept) += 1;
            let (settled, what) = (std::mem::take(&mut self.done), open.what.clone());
            return Some((say, Ask { life, request, settled, what }));
        }
    }

    /// The first that may be said. Questions may wait at the head until something is reported: they leave room for reports.
    fn pop_unsaid(&mut self) -> Option<RequestId> {
        let Each { asked, reports } = self.under_way;
        if asked + reports >= REQUESTS {
            return None;
        }
        let question = self.unsaid.asked.first().filter(|_| asked < QUESTIONS);
        let report = self.unsaid.reports.first();
        let first = match (question, report) {
            (Some(question), Some(report)) if question < report => &mut self.unsaid.asked,
            (_, Some(_)) => &mut self.unsaid.reports,
            (Some(_), None) => &mut self.unsaid.asked,
            (None, None) => return None,
        };
        first.pop_first()
    }

    /// Why a request that waits fails, or until when it may wait for the head.
    fn failure(&self, open: &Open, head_wait: Duration) -> Result<Option<Moment>, AskError> {
        let executed = if open.said { Executed::Maybe } else { Executed::No };
        if open.over {
            return Err(AskError::LifeOver { executed });
        }
        if self.door.is_some() {
            return Ok(None);
        }
        let from = self.away_since.max(open.asked);
        let waited = clock::now().since(from);
        if waited >= head_wait { Err(AskError::HeadAway { waited, executed }) } else { Ok(Some(from + head_wait)) }
    }
}

#[cfg(test)]
mod tests;
