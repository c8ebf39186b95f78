//! A node's side of its life (PROTOCOLS §2): joining, beats, the lease and its fence, rejoining a head that started anew.
//!
//! ```text
//! joining ──Joined──▶ living ──0.8 of the lease without an answered beat, or Ended──▶ fenced ──emptied──▶ joining
//!                                                       fenced at 0.9 of the lease, handlers still running ──▶ exit
//! ```
//!
//! The lease counts from when the answered beat was *sent*, so it ends here before it ends at the head (L1). Nothing may
//! begin, and nothing may be sent, at or after [`NodeLife::fence_at`]: who begins or sends compares the clock with it last.

use crate::clock::Moment;
use crate::directory::message::{Caller, Command, News, Order, Reply, RequestId, ToHead};
use crate::directory::request::{Beat, Join, JoinError, Joined, Leave, LifeEnd, Page};
use crate::directory::{Fence, FromHead, KnownLives, Reign, Stale, known::Departures};
use crate::id::Life;
use crate::limits::{BEAT, BEATS, EXIT_AT, FENCE_AT, ORDERS_A_BEAT, SUSPECT_AFTER};
use crate::schedule::Why;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a life that must end does about handlers that do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// A worker process exits.
    Exit,
    /// The process is the user's own: it stays, fenced.
    Stay,
}

/// Why a node fences itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fenced {
    /// No beat was answered for 0.8 of the lease.
    #[error("the head has answered no beat for 0.8 of the lease: it is unreachable, or this process stood still")]
    LeaseRanOut,
    /// The head says so.
    #[error("the head ended this life: {0}")]
    Ended(LifeEnd),
    /// A peer knows this life as ended.
    #[error("a peer knows this life as ended")]
    PeerKnows,
    /// This node left.
    #[error("this node left the cluster")]
    Left,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this to the head.
    Send(ToHead),
    /// Say `Rejoin` with this beat and all that runs here.
    Rejoin(Beat),
    /// A life has begun.
    Begun(Life, Reign),
    /// The life is over: nothing begins, batches are dropped, handlers cancelled. [`NodeLife::emptied`] when all is gone.
    Fence(Life, Fenced),
    /// Handlers still run: exit with 75.
    Exit,
    /// The head refuses this node; it is not asked again.
    Refused(JoinError),
    /// The session is silent, or skipped something: open another.
    Redial,
    /// Two heads reign, or a replaced one speaks: say so, loudly for the first.
    Distrust(Stale),
    /// Carry this out, and report it by a request.
    Obey(Command),
    /// Lives have ended: [`KnownLives::has_ended`] says which.
    Departed,
    /// A request's answer.
    Answer(RequestId, Reply),
    /// What a request waits for.
    Waits(RequestId, Why),
    /// A peer wants to be dialled.
    Dial(Caller),
    /// A page of a look at the cluster.
    Status(u64, Page),
}

/// What beats say about the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Actors that run here.
    pub actors: u64,
}

#[derive(Debug)]
enum Phase {
    /// `asked`: when `Join` was said on the session that is open.
    Joining {
        asked: Option<Moment>,
    },
    Living(Living),
    Fenced {
        exit_at: Option<Moment>,
    },
    /// Left, or refused for good.
    Over,
}

#[derive(Debug)]
struct Living {
    life: Life,
    /// None: it ends with the head's process.
    lease: Option<Duration>,
    /// When the last answered beat was sent.
    counted_from: Moment,
    beats: VecDeque<(u64, Moment)>,
    last_beat: u64,
    next_beat: Moment,
    orders: u64,
    /// The last of them that a beat has said.
    orders_said: u64,
}

impl Living {
    fn part_of_lease(&self, part: f64) -> Moment {
        self.lease.map_or(Moment(u64::MAX), |lease| self.counted_from + lease.mul_f64(part))
    }
}

impl Living {
    /// When handlers that do not end become the process's end: while the lease lasts before others may have its actors, and
    /// after that a tenth of a lease from now, so that what can be dropped is.
    fn exit_at(&self, now: Moment) -> Moment {
        let (before, Some(lease)) = (self.part_of_lease(EXIT_AT), self.lease) else { return Moment(u64::MAX) };
        if now < before { before } else { now + lease.mul_f64(EXIT_AT - FENCE_AT) }
    }
}

/// A node's life, and what it knows of head and members.
#[derive(Debug)]
pub struct NodeLife {
    join: Join,
    stuck: Stuck,
    phase: Phase,
    fence: Fence,
    known: KnownLives,
    vitals: Vitals,
    /// When the open session was last heard of (or opened).
    session: Option<Moment>,
    /// Whether a beat was answered over it.
    answered: bool,
    caught_up: Moment,
}

impl NodeLife {
    /// A node that will join as `join` says, whose attempt is this one's random number.
    #[must_use]
    pub fn new(join: Join, stuck: Stuck) -> NodeLife {
        let (phase, fence, known) = (Phase::Joining { asked: None }, Fence::default(), KnownLives::default());
        let (vitals, caught_up) = (Vitals::default(), Moment(0));
        NodeLife { join, stuck, phase, fence, known, vitals, session: None, answered: false, caught_up }
    }

    /// The life being lived.
    #[must_use]
    pub fn life(&self) -> Option<Life> {
        match &self.phase {
            Phase::Living(living) => Some(living.life),
            _ => None,
        }
    }

    /// From when on nothing begins and nothing is sent. The far future for a node of the head's own process.
    #[must_use]
    pub fn fence_at(&self) -> Moment {
        match &self.phase {
            Phase::Living(living) => living.part_of_lease(FENCE_AT),
            _ => Moment(0),
        }
    }

    /// Whether something may begin now.
    #[must_use]
    pub fn may_begin(&self, now: Moment) -> bool {
        now < self.fence_at()
    }

    /// The head that is obeyed.
    #[must_use]
    pub fn reign(&self) -> Option<Reign> {
        self.fence.reign()
    }

    /// The members, as far as they are known.
    #[must_use]
    pub fn known(&self) -> &KnownLives {
        &self.known
    }

    /// All that the head had told its members before this moment is known here. A head in the same process tells this node
    /// before it tells others.
    #[must_use]
    pub fn caught_up(&self) -> Moment {
        match &self.phase {
            Phase::Living(living) if living.lease.is_none() => Moment(u64::MAX),
            _ => self.caught_up,
        }
    }

    /// What the next beats say.
    pub fn set_vitals(&mut self, vitals: Vitals) {
        self.vitals = vitals;
    }

    /// When [`NodeLife::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Living(living) if living.lease.is_none() => None,
            Phase::Living(living) => {
                let spoken = self.session.map(|heard| living.next_beat.min(heard + SUSPECT_AFTER));
                Some(spoken.map_or(living.part_of_lease(FENCE_AT), |at| at.min(living.part_of_lease(FENCE_AT))))
            }
            Phase::Fenced { exit_at, .. } => *exit_at,
            Phase::Joining { asked } => asked.and(self.session).map(|heard| heard + SUSPECT_AFTER),
            Phase::Over => None,
        }
    }

    /// A session with the head is open.
    pub fn attached(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.tick(now, effects);
        (self.session, self.answered) = (Some(now), false);
        match &mut self.phase {
            Phase::Joining { asked } => {
                *asked = Some(now);
                effects.push(Effect::Send(ToHead::Join(Arc::new(self.join.clone()))));
            }
            Phase::Living(_) => self.beat(now, effects),
            Phase::Fenced { .. } | Phase::Over => {}
        }
    }

    /// The session with the head has closed.
    pub fn detached(&mut self) {
        self.session = None;
        if let Phase::Joining { asked } = &mut self.phase {
            *asked = None;
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Living(living) if now >= living.part_of_lease(FENCE_AT) => {
                let exit_at = living.exit_at(now);
                self.fence(Fenced::LeaseRanOut, exit_at, effects);
                self.exit_if_due(now, effects);
            }
            Phase::Living(living) if living.lease.is_some() && self.session.is_some() && now >= living.next_beat => {
                self.beat(now, effects);
            }
            Phase::Fenced { .. } => self.exit_if_due(now, effects),
            _ => {}
        }
        let leased = !matches!(&self.phase, Phase::Living(living) if living.lease.is_none());
        if leased
            && !matches!(self.phase, Phase::Over)
            && self.session.is_some_and(|heard| now >= heard + SUSPECT_AFTER)
        {
            self.detached();
            effects.push(Effect::Redial);
        }
    }

    /// All that ran under the fenced life is gone: joins anew, under this random number.
    pub fn emptied(&mut self, now: Moment, attempt: u64, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Fenced { .. }) {
            return;
        }
        self.join.attempt = attempt;
        self.phase = Phase::Joining { asked: None };
        if self.session.is_some() {
            self.attached(now, effects);
        }
    }

    /// A peer refused this life as ended.
    pub fn refused_by_peer(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.end(now, Fenced::PeerKnows, effects);
    }

    /// Leaves the cluster for good; the head answers `Ended`.
    pub fn leave(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(life) = self.life() {
            self.end(now, Fenced::Left, effects);
            if self.session.is_some() {
                effects.push(Effect::Send(ToHead::Leave(Leave { life })));
            }
        }
        self.phase = Phase::Over;
    }

    /// The head has spoken. What a head that is not to be obeyed says is dropped.
    pub fn said(&mut self, now: Moment, message: FromHead, effects: &mut Vec<Effect>) {
        self.tick(now, effects);
        let before = self.fence.reign();
        if let Err(stale) = self.fence.admit(message.reign) {
            return effects.push(Effect::Distrust(stale));
        }
        if before != self.fence.reign() {
            self.known.new_reign();
            if let Phase::Living(living) = &mut self.phase {
                (living.orders, living.orders_said) = (0, 0);
            }
        }
        self.session = self.session.map(|_| now);
        match message.news {
            News::Joined(joined) => self.joined(now, joined, effects),
            News::JoinRefused { attempt, why } if attempt == self.join.attempt => self.refused(why, effects),
            News::JoinRefused { .. } => {}
            News::WhoAreYou { life } if self.life() == Some(life) => self.rejoin(now, effects),
            News::WhoAreYou { .. } => {}
            News::Beaten { life, beat } => self.beaten(life, beat),
            News::Ended { life, why } if self.life() == Some(life) => self.end(now, Fenced::Ended(why), effects),
            News::Ended { .. } => {}
            News::Order(order) => self.obey(now, order, effects),
            News::Answer { request, reply } => effects.push(Effect::Answer(request, reply)),
            News::Waits { request, why } => effects.push(Effect::Waits(request, why)),
            News::Members(members) => match self.known.learn(members) {
                Ok(Departures::None) => {}
                Ok(Departures::Some) => effects.push(Effect::Departed),
                Err(_) => self.redial(effects),
            },
            News::DialMe(caller) => effects.push(Effect::Dial(caller)),
            News::Status { number, page } => effects.push(Effect::Status(number, page)),
        }
    }

    fn joined(&mut self, now: Moment, joined: Joined, effects: &mut Vec<Effect>) {
        let Phase::Joining { asked: Some(counted_from) } = self.phase else { return };
        if joined.attempt != self.join.attempt {
            return;
        }
        let (life, lease) = (joined.life, joined.lease);
        // Of the next join: by then another head may have spoken.
        self.join.served = self.fence.reign().unwrap_or_default().epoch;
        let (beats, next_beat) = (VecDeque::new(), now + BEAT);
        let living = Living { life, lease, counted_from, beats, last_beat: 0, next_beat, orders: 0, orders_said: 0 };
        self.phase = Phase::Living(living);
        // A list of everyone has no gap.
        if self.known.learn(crate::directory::message::Members::All(joined.members)) == Ok(Departures::Some) {
            effects.push(Effect::Departed);
        }
        effects.push(Effect::Begun(life, self.fence.reign().unwrap_or_default()));
        self.tick(now, effects);
    }

    fn refused(&mut self, why: JoinError, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.phase = Phase::Over;
            effects.push(Effect::Refused(why));
        }
    }

    fn beaten(&mut self, life: Life, beat: u64) {
        let Phase::Living(living) = &mut self.phase else { return };
        if living.life != life {
            return;
        }
        while let Some(&(number, sent)) = living.beats.front().filter(|(number, _)| *number <= beat) {
            living.beats.pop_front();
            if number == beat {
                living.counted_from = living.counted_from.max(sent);
                // The first answer of a session comes before what the one before it lost.
                if std::mem::replace(&mut self.answered, true) {
                    self.caught_up = self.caught_up.max(sent);
                }
            }
        }
    }

    /// Who is given many orders acknowledges them between its beats, and a life without a lease has no others.
    fn obey(&mut self, now: Moment, order: Order, effects: &mut Vec<Effect>) {
        let Phase::Living(living) = &mut self.phase else { return };
        if order.life != living.life || order.number <= living.orders {
            return;
        }
        if order.number > living.orders + 1 {
            return self.redial(effects);
        }
        living.orders = order.number;
        effects.push(Effect::Obey(order.what));
        if living.orders - living.orders_said >= ORDERS_A_BEAT {
            self.beat(now, effects);
        }
    }

    fn redial(&mut self, effects: &mut Vec<Effect>) {
        self.detached();
        effects.push(Effect::Redial);
    }

    fn beat(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(beat) = self.next_beat(now) {
            effects.push(Effect::Send(ToHead::Beat(beat)));
        }
    }

    fn rejoin(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(beat) = self.next_beat(now) {
            effects.push(Effect::Rejoin(beat));
        }
    }

    fn next_beat(&mut self, now: Moment) -> Option<Beat> {
        let Phase::Living(living) = &mut self.phase else { return None };
        living.last_beat += 1;
        living.orders_said = living.orders;
        living.next_beat = now + BEAT;
        living.beats.push_back((living.last_beat, now));
        if living.beats.len() > BEATS {
            living.beats.pop_front();
        }
        Some(Beat {
            life: living.life,
            epoch: self.fence.reign().unwrap_or_default().epoch,
            number: living.last_beat,
            orders: living.orders,
            members: self.known.version(),
            actors: self.vitals.actors,
        })
    }

    /// Someone else knows that the life is over, and may have placed its actors again: handlers that run on get a tenth of
    /// the lease, as they would from 0.8 to 0.9.
    fn end(&mut self, now: Moment, why: Fenced, effects: &mut Vec<Effect>) {
        let Phase::Living(living) = &self.phase else { return };
        let exit_at = living.lease.map_or(Moment(u64::MAX), |lease| now + lease.mul_f64(EXIT_AT - FENCE_AT));
        self.fence(why, exit_at, effects);
    }

    fn fence(&mut self, why: Fenced, exit_at: Moment, effects: &mut Vec<Effect>) {
        let Phase::Living(living) = &self.phase else { return };
        let life = living.life;
        let exit_at = (self.stuck == Stuck::Exit).then_some(exit_at);
        self.phase = Phase::Fenced { exit_at };
        effects.push(Effect::Fence(life, why));
    }

    fn exit_if_due(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Phase::Fenced { exit_at, .. } = &mut self.phase
            && exit_at.is_some_and(|at| now >= at)
        {
            *exit_at = None;
            effects.push(Effect::Exit);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
