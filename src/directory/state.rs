//! The head as a pure state machine: `apply(now, event, &mut effects)`. Its rules are in `request/`, one file each.
//!
//! Effects are carried out in their order; `Journal` is durable before what follows it is sent (L3).

use crate::clock::Moment;
use crate::directory::actors::Actors;
use crate::directory::answers::Admitted;
use crate::directory::elders::Elders;
use crate::directory::fence::Reign;
use crate::directory::grants::Grants;
use crate::directory::groups::Groups;
use crate::directory::lease::{Leases, Silence};
use crate::directory::lives::Lives;
use crate::directory::message::{Ask, Command, FromHead, News, Reply, Request, RequestId, Settled, ToHead};
use crate::directory::record::Record;
use crate::directory::request::{Change, DeadNodes, JournalStatus, LifeEnd, MemberLog, Trusts};
use crate::id::{Epoch, Life, NodeId};
use crate::limits;
use std::collections::VecDeque;
use std::time::Duration;

/// What a head is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This start: above every earlier one of this cluster.
    pub reign: Reign,
    /// How long a life goes on without a beat.
    pub lease: Duration,
    /// Silence after which nothing new is placed on a node.
    pub suspect_after: Duration,
}

impl Config {
    /// A head with the usual times.
    #[must_use]
    pub const fn new(reign: Reign) -> Config {
        Config { reign, lease: limits::LEASE, suspect_after: limits::SUSPECT_AFTER }
    }
}

/// Whether a node lives by beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// A process of its own: by a lease.
    Lease,
    /// The head's own process: they end together.
    Pace,
}

/// Where a message comes from: a session of the control lane, or this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// Unique in the head's process; later ones are higher.
    pub id: u64,
    /// Whom the handshake proved.
    pub node: NodeId,
    /// How its lives are kept.
    pub keeps: Keeps,
}

/// What happens to a head.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message arrived.
    Said(Door, ToHead),
    /// A door closed; no more comes from it.
    Closed(u64),
    /// Time passed; due at [`Directory::deadline`].
    Tick,
}

/// What a head does about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write this down before what follows.
    Journal(Record),
    /// Say this at that door, if it is still open.
    Send(u64, FromHead),
    /// Close a door: its node breaks the rules.
    Close(u64),
    /// A node knows a later head: stop at once.
    Abdicate(Epoch),
}

/// Effects in the order in which they must be carried out.
#[derive(Debug, Default)]
pub struct Effects(VecDeque<Effect>);

impl Effects {
    /// None yet.
    #[must_use]
    pub fn new() -> Effects {
        Effects::default()
    }

    /// The next one to carry out.
    pub fn pop(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }

    pub(super) fn journal(&mut self, record: Record) {
        self.push(Effect::Journal(record));
    }
}

/// The head's state.
#[derive(Debug)]
pub struct Directory {
    pub(super) config: Config,
    pub(super) lives: Lives,
    pub(super) leases: Leases,
    pub(super) members: MemberLog,
    pub(super) actors: Actors,
    pub(super) elders: Elders,
    pub(super) grants: Grants,
    pub(super) groups: Groups,
    pub(super) trusts: Trusts,
    pub(super) dead: DeadNodes,
    pub(super) journal: Option<JournalStatus>,
    started: Moment,
    /// Nodes have come back that obeyed an earlier head.
    succeeds: bool,
    abdicated: bool,
}

impl Directory {
    /// A head that starts, with the records of its journal: every life in them counts as leased from now (§2.7), and
    /// nothing is placed on a node before it has rejoined.
    pub fn start(now: Moment, config: Config, records: impl IntoIterator<Item = Record>) -> Directory {
        let mut directory = Directory {
            config,
            lives: Lives::default(),
            leases: Leases::new(config.lease, config.suspect_after),
            members: MemberLog::default(),
            actors: Actors::default(),
            elders: Elders::default(),
            grants: Grants::default(),
            groups: Groups::default(),
            trusts: Trusts::default(),
            dead: DeadNodes::default(),
            journal: None,
            started: now,
            succeeds: false,
            abdicated: false,
        };
        directory.grants.begin_in(config.reign.epoch);
        for record in records {
            directory.replay(record);
        }
        directory.replayed(now);
        directory
    }

    /// A node has come back that obeyed an earlier head: others may yet come.
    pub(super) fn succeed(&mut self) {
        self.succeeds = true;
    }

    /// Whether nodes of an earlier head may yet come back: until a lease after this one's start, within which they have
    /// heard of it or fenced themselves.
    pub(super) fn expects_nodes(&self) -> bool {
        self.succeeds && self.grants.now < self.started + self.config.lease
    }

    /// Numbers the lives to come above `last`: for a head without a journal, which must give no number again that an
    /// earlier start of it gave.
    pub fn begin_after(&mut self, last: Life) {
        self.lives.begin_after(last);
    }

    /// What is shown of its journal from now on.
    pub fn keeps_journal(&mut self, journal: JournalStatus) {
        self.journal = Some(journal);
    }

    /// This start of the head.
    #[must_use]
    pub fn reign(&self) -> Reign {
        self.config.reign
    }

    /// When `Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        [self.leases.deadline(), self.members.push_due(), self.grants.deadline()].into_iter().flatten().min()
    }

    /// The last event was dealt with by then. If the demand was looked at, and for long, the next look waits for as long again:
    /// so others have half a core at least, however much waits.
    pub fn done_by(&mut self, now: Moment) {
        let took = self.grants.looks_from.take().map_or(Duration::ZERO, |from| now.since(from));
        if took > limits::DEMAND_SHORT {
            self.grants.rest = self.grants.rest.max(now + took);
        }
    }

    /// One event, and what follows from it.
    pub fn apply(&mut self, now: Moment, event: Event, effects: &mut Effects) {
        if self.abdicated {
            return;
        }
        self.grants.now = now;
        match event {
            Event::Said(door, message) => self.said(now, door, message, effects),
            Event::Closed(door) => self.closed(door),
            Event::Tick => {}
        }
        while let Some((life, silence)) = self.leases.overdue(now) {
            match silence {
                Silence::Suspect => self.suspect(life),
                Silence::Over => self.end_life(now, life, LifeEnd::Silence, effects),
            }
        }
        self.allot(now, effects);
        self.push_members(now, effects);
    }

    fn said(&mut self, now: Moment, door: Door, message: ToHead, effects: &mut Effects) {
        match message {
            ToHead::Join(join) => self.join(now, door, join, effects),
            ToHead::Rejoin(rejoin) => self.rejoin(now, door, rejoin, effects),
            ToHead::Beat(beat) => self.beat(now, door, beat, effects),
            ToHead::Leave(leave) => self.leave(now, door, leave, effects),
            ToHead::Ask(ask) => self.ask(now, door, ask, effects),
            ToHead::Settle(life, settled) if self.lives.at_door(door.id) == Some(life) => self.settle(life, &settled),
            ToHead::Settle(..) => {}
            ToHead::Status { number, query } => {
                let page = self.status(query);
                self.say(door.id, News::Status { number, page }, effects);
            }
        }
    }

    /// Requests come over the door that a life opened last; what an older one still brings is asked again over that.
    fn ask(&mut self, now: Moment, door: Door, ask: Ask, effects: &mut Effects) {
        if self.lives.at_door(door.id) != Some(ask.life) {
            return;
        }
        self.settle(ask.life, &Settled::These(ask.settled));
        let Some(living) = self.lives.get_mut(ask.life).filter(|living| living.known) else { return };
        match living.answers.admit(ask.request) {
            Admitted::Open => {}
            Admitted::TooMany => effects.push(Effect::Close(door.id)),
            Admitted::Again(reply) => self.say(door.id, News::Answer { request: ask.request, reply }, effects),
            Admitted::New => {
                if let Some(reply) = self.carry_out(now, ask.life, ask.request, ask.what, effects) {
                    self.answer(ask.life, ask.request, reply, effects);
                }
            }
        }
    }

    fn settle(&mut self, life: Life, settled: &Settled) {
        let given_up = self.lives.get_mut(life).map(|living| living.answers.settle(settled)).unwrap_or_default();
        for (request, actor) in given_up {
            if let Some(actor) = self.actors.all.get_mut(&actor) {
                actor.askers.retain(|asker| (asker.life, asker.request) != (life, request));
            }
        }
    }

    /// The answer, unless it comes later.
    fn carry_out(
        &mut self,
        now: Moment,
        life: Life,
        id: RequestId,
        what: Request,
        effects: &mut Effects,
    ) -> Option<Reply> {
        match what {
            Request::Spawn(spawn) => self.spawn(life, id, spawn, effects),
            Request::GetOrSpawn(request) => self.get_or_spawn(life, id, request, effects),
            Request::Choose(choose) => self.choose(life, id, choose, effects),
            Request::GiveUp(given_up) => {
                self.give_up(life, given_up, effects);
                Some(Reply::Reported(Ok(())))
            }
            Request::Locate(locate) => self.locate(life, id, locate),
            Request::Lookup(lookup) => self.lookup(life, id, &lookup),
            Request::End(end) => self.end(life, id, end, effects),
            Request::Hosted(hosted) => Some(Reply::Reported(self.hosted(life, hosted, effects))),
            Request::Ended(ended) => Some(Reply::Reported(self.ended(life, ended, effects))),
            Request::Checkpoint(checkpoint) => Some(Reply::Kept(self.checkpoint(life, checkpoint, effects))),
            Request::StillKept(kept) => Some(Reply::StillKept(self.still_kept(&kept))),
            Request::Died(died) => Some(Reply::Died(self.died(now, life, &died, effects))),
            Request::Want(want) => Some(Reply::Wanted(self.want(life, id, want))),
            Request::GiveBack(back) => {
                self.give_back(life, back, effects);
                Some(Reply::Reported(Ok(())))
            }
            Request::CreateGroup(create) => self.create_group(life, id, create, effects),
            Request::RemoveGroup(remove) => {
                self.remove_group(remove.group, effects);
                Some(Reply::Reported(Ok(())))
            }
            Request::Entrust(entrust) => Some(Reply::Entrusted(self.entrust(life, entrust, effects))),
            Request::Withdraw(withdraw) => {
                self.withdraw(life, withdraw, effects);
                Some(Reply::Reported(Ok(())))
            }
            Request::Heirs(heirs) => Some(Reply::Heirs(self.heirs(&heirs))),
            Request::Retire(retire) => Some(Reply::Retired(self.retire(life, retire, effects))),
            Request::DialMe(dial) => Some(Reply::Dialled(self.dial_me(life, &dial, effects))),
        }
    }

    pub(super) fn answer(&mut self, life: Life, request: RequestId, reply: Reply, effects: &mut Effects) {
        let Some(living) = self.lives.get_mut(life) else { return };
        living.answers.answered(request, &reply);
        // An actor's own process has joined a moment ago: who is told of that knows it.
        if reply.names().and_then(|named| self.lives.get(named)).is_some_and(|named| named.join.claims.is_some()) {
            self.catch_up(life, effects);
        }
        self.tell(life, News::Answer { request, reply }, effects);
    }

    /// Says something to a life; lost if it has no door, and then asked or told again at its next one.
    pub(super) fn tell(&self, life: Life, news: News, effects: &mut Effects) {
        if let Some(door) = self.lives.get(life).and_then(|living| living.door) {
            self.say(door, news, effects);
        }
    }

    pub(super) fn say(&self, door: u64, news: News, effects: &mut Effects) {
        effects.push(Effect::Send(door, FromHead { reign: self.config.reign, news }));
    }

    pub(super) fn order(&mut self, life: Life, what: Command, effects: &mut Effects) {
        // A life of an earlier reign still counts that one's orders; when it rejoins, it is told what is due.
        let Some(living) = self.lives.get_mut(life).filter(|living| living.known) else { return };
        let order = living.orders.give(life, what);
        self.tell(life, News::Order(order), effects);
    }

    fn closed(&mut self, door: u64) {
        if let Some(life) = self.lives.detach(door) {
            self.suspect(life);
        }
    }

    /// Silent, or its door closed. No proof of anything: nothing moves (§2.4).
    pub(super) fn suspect(&mut self, life: Life) {
        let Some(living) = self.lives.get_mut(life) else { return };
        if living.keeps == Keeps::Lease && !living.set_suspect(true) {
            self.leases.suspect(life);
            self.members.log(Change::Suspect(life));
        }
    }

    pub(super) fn abdicate(&mut self, met: Epoch, effects: &mut Effects) {
        self.abdicated = true;
        effects.push(Effect::Abdicate(met));
    }
}

#[cfg(test)]
mod tests;
