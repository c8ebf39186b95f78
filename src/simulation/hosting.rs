//! The host's side of calls: actors that stand for user code, with mailboxes, slots and scripted handlers.

use super::Bug;
use super::checks::calls::{End, mailbox};
use super::checks::lives::Present;
use super::checks::saves::Save;
use super::checks::{Rule, hold};
use super::handlers::Frame;
use super::load::CPUS;
use super::node::Node;
use super::script::{At, Blocks, Kind, Script};
use super::stage::{Stage, Within};
use crate::actor::core::course::Lost;
use crate::actor::core::saved::Saved;
use crate::actor::core::tally::{Restarts, Tally};
use crate::clock::Moment;
use crate::directory::request::Gone;
use crate::id::{ActorId, Incarnation, Life, Placement};
use crate::limits::{MAILBOX_CAPACITY, STREAM_CREDIT};
use crate::node::core::link::{Acks, Answered, Arrival, Begin};
use crate::wire::bytes::List;
use crate::wire::packet::{Answer, CallFault, End as ActorEnd, Executed, Flags, Outcome, Request, Settle, Work};
use std::collections::{BTreeMap, VecDeque};

/// Where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Here,
    Link(Life, Arrival),
}

/// A call in a mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) call: u64,
    pub(super) from: From,
    pub(super) expires: Option<Moment>,
    /// It had begun in an earlier incarnation, and is first in line again.
    pub(super) again: bool,
}

/// Methods that share slots: they begin in order.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) mailbox: VecDeque<Entry>,
    local: usize,
    streams: BTreeMap<(Life, u32), usize>,
    pub(super) running: u32,
    slots: u32,
}

/// What becomes of an actor that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its constructor runs.
    Made,
    Runs,
    /// One of its methods has panicked, and what runs beside it is being ended.
    Ends,
    /// It is started again: after a pause its constructor runs.
    Remade,
}

#[derive(Debug)]
pub(super) struct Actor {
    pub(super) placement: Placement,
    pub(super) ephemeral: bool,
    pub(super) phase: Phase,
    pub(super) restart: u32,
    /// What its restarts in place have come to.
    pub(super) tally: Tally,
    pub(super) saved: Saved<Save>,
    /// What was saved is on its way to the head.
    pub(super) sends_saved: bool,
    pub(super) draining: Option<Gone>,
    maker: Option<Entry>,
    pub(super) groups: [Group; 2],
}

impl Actor {
    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation { placement: self.placement, restart: self.restart }
    }

    pub(super) fn idle(&self) -> bool {
        self.groups.iter().all(|group| group.mailbox.is_empty() && group.running == 0)
    }
}

impl Group {
    fn push(&mut self, entry: Entry) -> super::checks::Checked {
        let (mut remote, mut credit) = (0, 0);
        match entry.from {
            From::Here => self.local += 1,
            From::Link(life, arrival) => {
                let count = self.streams.entry((life, arrival.stream)).or_default();
                *count += 1;
                (remote, credit) = (*count, STREAM_CREDIT as usize);
            }
        }
        self.mailbox.push_back(entry);
        mailbox(self.local, remote, credit)
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.mailbox.pop_front()?;
        if !entry.again {
            match entry.from {
                From::Here => self.local -= 1,
                From::Link(life, arrival) => {
                    let stream = (life, arrival.stream);
                    if let Some(count) = self.streams.get_mut(&stream) {
                        *count -= 1;
                        if *count == 0 {
                            self.streams.remove(&stream);
                        }
                    }
                }
            }
        }
        Some(entry)
    }

    fn share(&self) -> u32 {
        (MAILBOX_CAPACITY / self.streams.len().max(1)) as u32
    }
}

impl Node {
    /// An actor is here from now on; its constructor runs.
    pub(super) fn host_for(
        &mut self,
        stage: &mut Stage,
        (id, placement): (ActorId, Placement),
        restarts: Restarts,
        maker: Option<Entry>,
    ) {
        let Some(life) = self.life() else { return };
        let tally = Tally::new(restarts, self.now(stage));
        self.ended.remove(&id);
        let group = |slots| Group { slots, ..Group::default() };
        let actor = Actor {
            placement,
            ephemeral: maker.is_some(),
            phase: Phase::Made,
            restart: 0,
            tally,
            saved: Saved::default(),
            sends_saved: false,
            draining: None,
            maker,
            groups: [group(1), group(1 + stage.user.below(4) as u32)],
        };
        if self.actors.contains_key(&id) {
            self.actor_ends(stage, id, Gone::Lost);
        }
        self.actors.insert(id, actor);
        stage.note(60, self.index as u64, id.serial, || format!("node {} makes {id} as {placement}", self.index));
        let appears = stage.lives.appears(id, Present { node: self.index, life, placement });
        stage.check(appears);
        let taken = self.taken(stage);
        let fits = stage.tasks.fits(life, taken, CPUS);
        stage.check(fits);
        let takes = stage.user.micros(1, 8_000);
        stage.queue.after(takes, self.within(Within::Made(id, placement)));
    }

    /// A constructor has returned.
    pub(super) fn made(&mut self, stage: &mut Stage, id: ActorId, placement: Placement) {
        let may_begin = self.may_begin(stage);
        let here = self.actors.get(&id).filter(|actor| may_begin && actor.placement == placement);
        let Some(phase) = here.map(|actor| actor.phase) else { return };
        match phase {
            Phase::Runs | Phase::Ends => return,
            Phase::Remade => return self.remade(stage, id),
            Phase::Made => {}
        }
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.phase = Phase::Runs;
        match actor.maker.take() {
            Some(maker) => self.answer(stage, maker, Executed::Yes, None),
            None => self.report_made(stage, id, placement),
        }
        (0..2).for_each(|group| self.pump(stage, id, group));
    }

    /// A call of this node to an actor of this node.
    pub(super) fn enqueue_here(&mut self, stage: &mut Stage, call: u64) {
        let (key, deadline) = (stage.calls[call as usize].key, stage.calls[call as usize].deadline);
        let placement = self.routes.get(&key.actor).map_or(Placement(0), |route| route.placement);
        let expires = deadline.map(|deadline| stage.clocks[self.machine].at(deadline));
        let entry = Entry { call, from: From::Here, expires, again: false };
        if stage.calls[call as usize].kind == Kind::Make {
            if self.host.refuses(stage, key.actor) {
                return self.end(stage, call, End::Failed(Executed::No));
            }
            stage.calls[call as usize].at = At::Here;
            let begins = stage.ledger.begins(call, Incarnation { placement, restart: 0 });
            stage.check(begins);
            let restarts = super::load::restarts(stage);
            return self.host_for(stage, (key.actor, placement), restarts, Some(entry));
        }
        let here = |actor: &&mut Actor| actor.placement == placement && actor.draining.is_none();
        let Some(actor) = self.actors.get_mut(&key.actor).filter(here) else {
            return self.not_there(stage, call, Lost::NotHere);
        };
        let group = &mut actor.groups[key.group as usize];
        if group.local >= MAILBOX_CAPACITY {
            return self.end(stage, call, End::Failed(Executed::No));
        }
        let held = group.push(entry);
        stage.check(held);
        stage.calls[call as usize].at = At::Here;
        if stage.calls[call as usize].kind == Kind::Tell {
            self.end(stage, call, End::Told);
        }
        self.pump(stage, key.actor, key.group as usize);
    }

    /// Its caller leaves a call that is in a mailbox of this node, or runs.
    pub(super) fn leaves_here(&mut self, stage: &mut Stage, call: u64) -> Executed {
        let key = stage.calls[call as usize].key;
        if let Some(actor) = self.actors.get_mut(&key.actor) {
            let group = &mut actor.groups[key.group as usize];
            if let Some(at) = group.mailbox.iter().position(|entry| entry.call == call && entry.from == From::Here) {
                let again = group.mailbox.remove(at).is_some_and(|entry| entry.again);
                group.local -= usize::from(!again);
                return if again { Executed::Maybe } else { Executed::No };
            }
        }
        let frame = self.frames.iter().find(|(_, frame)| frame.entry.call == call).map(|(id, _)| *id);
        if let Some(frame) = frame {
            self.cancel_frame(stage, frame);
        }
        Executed::Maybe
    }

    /// A request of a peer's.
    pub(super) fn request_arrives(&mut self, stage: &mut Stage, life: Life, arrival: Arrival, packet: &[u8]) {
        let (Ok(Work::Request(request)), now) = (Work::decode(packet), self.now(stage)) else { return };
        let call = request.method.0;
        let expires = request.time_left.map(|left| now + left);
        let entry = Entry { call, from: From::Link(life, arrival), expires, again: false };
        let Some(own) = self.life() else { return };
        self.attach(stage, life, &request.refs);
        if request.actor.is_node() {
            return self.errand_arrives(stage, life, arrival, call);
        }
        if let Some((actor, incarnation)) = request.caller {
            if !self.admits(stage, now, actor, incarnation) {
                return self.refuse(stage, entry, request.placement, CallFault::Stale);
            }
            let accepted = stage.lives.accepts(own, actor, incarnation);
            stage.check(accepted);
        }
        if request.flags.has(Flags::SPAWN) {
            return self.make_for(stage, entry, &request);
        }
        let here = |actor: &&mut Actor| actor.placement == request.placement && actor.draining.is_none();
        let Some(actor) = self.actors.get_mut(&request.actor).filter(here) else {
            return self.refuse(stage, entry, request.placement, CallFault::NotHere);
        };
        let group = stage.calls[call as usize].key.group as usize;
        let held = actor.groups[group].push(entry);
        stage.check(held);
        self.pump(stage, request.actor, group);
        self.see_to_acks(stage);
    }

    fn make_for(&mut self, stage: &mut Stage, entry: Entry, request: &Request<'_>) {
        if self.host.refuses(stage, request.actor) {
            return self.refuse(stage, entry, request.placement, CallFault::NoResources);
        }
        let (now, From::Link(life, arrival)) = (self.now(stage), entry.from) else { return };
        let Some(peer) = self.links.get_mut(&life) else { return };
        let begun = peer.link.begin(now, arrival, MAILBOX_CAPACITY as u32);
        self.touched(stage, life);
        if begun.begin == Begin::Gone {
            return;
        }
        let begins = stage.ledger.begins(entry.call, Incarnation { placement: request.placement, restart: 0 });
        stage.check(begins);
        let restarts = super::load::restarts(stage);
        self.host_for(stage, (request.actor, request.placement), restarts, Some(entry));
    }

    /// A call that did not begin, and will not.
    fn refuse(&mut self, stage: &mut Stage, entry: Entry, placement: Placement, fault: CallFault<'_>) {
        if entry.again {
            return self.answer(stage, entry, Executed::Maybe, Some(fault));
        }
        let refused = stage.ledger.refused(entry.call, Incarnation { placement, restart: 0 });
        stage.check(refused);
        if let From::Link(life, arrival) = entry.from
            && arrival.tell
        {
            let now = self.now(stage);
            if let Some(peer) = self.links.get_mut(&life) {
                peer.link.begin(now, arrival, MAILBOX_CAPACITY as u32);
            }
            return self.touched(stage, life);
        }
        self.answer(stage, entry, Executed::No, Some(fault));
    }

    /// Answers a call: without a fault, by a value.
    pub(super) fn answer(&mut self, stage: &mut Stage, entry: Entry, executed: Executed, fault: Option<CallFault<'_>>) {
        let handles = match entry.from {
            From::Link(_, arrival) if fault.is_none() && !arrival.tell && stage.user.one_in(4) => {
                self.some_handles(stage, 2)
            }
            _ => Vec::new(),
        };
        let enclosed = match entry.from {
            From::Link(life, _) if !handles.is_empty() => self.enclose(stage, life, &handles),
            _ => Vec::new(),
        };
        let (value, error) = (Outcome::Value { refs: List::Items(&enclosed), body: &[1; 12] }, |fault| {
            Outcome::Error { executed, fault }
        });
        let outcome = fault.map_or(value, error);
        match entry.from {
            From::Here if stage.calls[entry.call as usize].at != At::Over => {
                self.answer_arrives(stage, entry.call, &outcome);
            }
            From::Here => {}
            From::Link(_, arrival) if arrival.tell => {}
            From::Link(life, arrival) => {
                let now = self.now(stage);
                let mut packet = Vec::new();
                Settle::Answer(Answer { call: arrival.call, outcome }).encode(&mut packet);
                let peer = self.links.get_mut(&life);
                let answered = peer.map_or(Answered::Gone, |peer| peer.link.answer(now, arrival.call, &packet));
                if answered == Answered::Gone {
                    self.not_sent(stage, life, enclosed);
                    // Taken back meanwhile: it only leaves the mailbox.
                    if let Some(peer) = self.links.get_mut(&life).filter(|_| executed == Executed::No) {
                        peer.link.begin(now, arrival, MAILBOX_CAPACITY as u32);
                    }
                }
                self.touched(stage, life);
            }
        }
        self.let_go(stage, handles);
    }

    /// Begins what may begin.
    pub(super) fn pump(&mut self, stage: &mut Stage, id: ActorId, group: usize) {
        while self.may_begin(stage) {
            let now = self.now(stage);
            let Some(actor) = self.actors.get_mut(&id).filter(|actor| actor.phase == Phase::Runs) else { return };
            let incarnation = actor.incarnation();
            let lane = &mut actor.groups[group];
            if lane.running >= lane.slots {
                return;
            }
            let Some(entry) = lane.pop() else { return };
            let share = lane.share();
            let tell = stage.calls[entry.call as usize].kind == Kind::Tell;
            if !tell && entry.expires.is_some_and(|expires| expires <= now) {
                self.refuse(stage, entry, incarnation.placement, CallFault::TimeUp);
                continue;
            }
            if let From::Link(life, arrival) = entry.from
                && !entry.again
            {
                let Some(peer) = self.links.get_mut(&life) else { continue };
                let begun = peer.link.begin(now, arrival, share);
                self.touched(stage, life);
                if begun.begin == Begin::Gone {
                    continue;
                }
            }
            self.begin(stage, id, group, entry, incarnation);
        }
    }

    fn begin(&mut self, stage: &mut Stage, id: ActorId, group: usize, entry: Entry, incarnation: Incarnation) {
        let begins = stage.ledger.begins(entry.call, incarnation);
        stage.check(begins);
        let former = self.frames.values().any(|frame| frame.actor == id && frame.restart != incarnation.restart);
        stage.check(hold(!former, Rule::I7, || format!("{id} begins as {incarnation:?} beside what ran before")));
        let fence = (self.core.reign().unwrap_or_default().epoch, incarnation);
        let passes = stage.lives.passes(id, fence);
        stage.check(passes);
        stage.note(61, entry.call, incarnation.placement.0, || {
            format!("call {} begins in {id} {incarnation:?}", entry.call)
        });
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.groups[group].running += 1;
        self.frame += 1;
        let (frame, script) = (self.frame, stage.calls[entry.call as usize].script);
        let (takes, blocks) = match script {
            Script::Return(takes) | Script::Fail(takes) | Script::Panic(takes) => (takes, Blocks::No),
            Script::Hold(takes, blocks) => (takes, blocks),
            Script::Ask(..) => (stage.user.micros(1, 50), Blocks::No),
            Script::Stream(_, pause) => (pause, Blocks::No),
        };
        let takes = if stage.calm { takes.min(std::time::Duration::from_millis(1)) } else { takes };
        let ends_at = stage.queue.now + takes;
        if let From::Link(life, arrival) = entry.from
            && !arrival.tell
        {
            self.serving.insert((life, arrival.call), frame);
        }
        let group = group as u8;
        let restart = incarnation.restart;
        let fresh =
            Frame { actor: id, restart, group, entry, script, blocks, ends_at, asks: None, asked: false, items: 0 };
        self.frames.insert(frame, fresh);
        stage.queue.at(ends_at, self.within(Within::Frame(frame)));
    }

    pub(super) fn actor_drains(&mut self, stage: &mut Stage, id: ActorId, why: Gone) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.draining = Some(why);
        self.ends_if_drained(stage, id);
    }

    /// An actor that is to end does so once nothing runs and nothing waits.
    pub(super) fn ends_if_drained(&mut self, stage: &mut Stage, id: ActorId) {
        let drained = self.actors.get(&id).filter(|actor| actor.idle());
        if let Some(why) = drained.and_then(|actor| actor.draining.clone()) {
            self.actor_ends(stage, id, why);
        }
    }

    /// An actor is no more: who waits for it is told.
    pub(super) fn actor_ends(&mut self, stage: &mut Stage, id: ActorId, why: Gone) {
        let (Some(mut actor), Some(life)) = (self.actors.remove(&id), self.life()) else { return };
        stage.note(63, self.index as u64, id.serial, || format!("{id} ends on node {}: {why}", self.index));
        stage.lives.vanishes(id, life);
        let fault = CallFault::ActorDied(ActorEnd::Killed);
        let frames: Vec<u64> = self.frames.iter().filter(|(_, frame)| frame.actor == id).map(|(id, _)| *id).collect();
        for frame in frames {
            let Some(frame) = self.drop_frame(stage, frame) else { continue };
            let executed = if stage.has(Bug::DeniesBegun) { Executed::No } else { Executed::Yes };
            self.answer(stage, frame.entry, executed, Some(fault));
        }
        if let Some(maker) = actor.maker.take() {
            self.answer(stage, maker, Executed::Yes, Some(fault));
        }
        for entry in actor.groups.iter_mut().flat_map(|group| std::mem::take(&mut group.mailbox)) {
            self.refuse(stage, entry, actor.placement, fault);
        }
        self.tell_ends(stage, id, &why);
        if stage.has(Bug::ForgetsEnd) {
            return;
        }
        if actor.ephemeral {
            self.report_free(stage, id);
        } else {
            self.report_ended(stage, id, actor.placement, why);
        }
    }

    /// Whether an actor is here under this placement.
    pub(super) fn hosts(&self, actor: ActorId, placement: Placement) -> bool {
        self.actors.get(&actor).is_some_and(|here| here.placement == placement)
    }

    /// Calls in this node's mailboxes.
    pub(super) fn held(&self) -> usize {
        self.actors.values().flat_map(|actor| &actor.groups).map(|group| group.mailbox.len()).sum()
    }

    /// Work is acknowledged late while the mailboxes hold too much.
    pub(super) fn see_to_acks(&mut self, stage: &mut Stage) {
        let acks = if self.held() > self.withholds_above { Acks::Withheld } else { Acks::Given };
        if self.acks != acks {
            self.acks = acks;
            let lives: Vec<Life> = self.links.keys().copied().collect();
            for life in lives {
                if let Some(peer) = self.links.get_mut(&life) {
                    peer.link.set_acks(acks);
                }
                self.touched(stage, life);
            }
        }
    }
}
