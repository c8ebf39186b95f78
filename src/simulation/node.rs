//! A node's process around the real [`NodeLife`]: its session with the head, its timers, its lives and their ends. Links are
//! in `links`, requests to the head in `requests`, the caller's side of calls in `routes`, the host's in `hosting`.

use super::Bug;
use super::faults::Fault;
use super::handlers::Frame;
use super::hosting::Actor;
use super::links::{Session, Watched};
use super::network::{Lane, Place, Side, What, Whose, Wire};
use super::owning::Owner;
use super::references::References;
use super::requests::Requests;
use super::routes::Route;
use super::running::Host;
use super::script::{At, Blocks, Waiter};
use super::stage::{Event, Run, Stage, Within};
use super::supervising::Supervisors;
use crate::clock::Moment;
use crate::directory::request::{Gone, Holdings, Join, Rejoin};
use crate::directory::{News, Reign, Stale, ToHead};
use crate::id::{ActorId, Life, NodeId, Placement};
use crate::limits::{FENCE_AT, HANDSHAKE_TIME, LEASE};
use crate::node::core::callers::Callers;
use crate::node::core::life::{Effect, Fenced, NodeLife, Stuck};
use crate::node::core::link::Acks;
use crate::wire::packet::Executed;
use std::collections::BTreeMap;
use std::time::Duration;

/// The session with the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Closed {
        dial_at: Moment,
    },
    /// Since then.
    Dialing(u64, Moment),
    Open(u64),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) run: u32,
    pub(super) machine: usize,
    pub(super) id: NodeId,
    pub(super) up: bool,
    pub(super) still: bool,
    pub(super) missed: Vec<Event>,
    pub(super) core: NodeLife,
    pub(super) control: Control,
    pub(super) head_seen: Moment,
    pub(super) requests: Requests,
    pub(super) links: BTreeMap<Life, Watched>,
    /// Connections of the calls lane.
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) routes: BTreeMap<ActorId, Route>,
    pub(super) actors: BTreeMap<ActorId, Actor>,
    /// Actors of the head that ended here, until it knows.
    pub(super) ended: BTreeMap<ActorId, (Placement, Gone)>,
    pub(super) frames: BTreeMap<u64, Frame>,
    pub(super) frame: u64,
    /// Frames by the call that they answer.
    pub(super) serving: BTreeMap<(Life, u64), u64>,
    pub(super) callers: Callers,
    /// Of the life that is lived.
    pub(super) references: Option<References>,
    /// Lives that there is something to say to, and that are not known yet.
    pub(super) unmet: Vec<Life>,
    pub(super) owner: Owner,
    pub(super) host: Host,
    pub(super) supervisors: Supervisors,
    pub(super) serial: u64,
    pub(super) attempts: u64,
    pub(super) withholds_above: usize,
    pub(super) acks: Acks,
    /// The life that was fenced, until all that ran under it is gone.
    pub(super) fenced: Option<Life>,
    /// For the planted bug: when the head's last answer came.
    answered_at: Moment,
    pub(super) wake_at: Moment,
}

impl Node {
    pub(super) fn new(index: usize, machine: usize, join: Join) -> Node {
        let stuck = if join.hosts { Stuck::Exit } else { Stuck::Stay };
        Node {
            index,
            run: 0,
            machine,
            id: join.node,
            up: false,
            still: false,
            missed: Vec::new(),
            core: NodeLife::new(join, stuck),
            control: Control::Closed { dial_at: Moment(0) },
            head_seen: Moment(0),
            requests: Requests::default(),
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            routes: BTreeMap::new(),
            actors: BTreeMap::new(),
            ended: BTreeMap::new(),
            frames: BTreeMap::new(),
            frame: 0,
            serving: BTreeMap::new(),
            callers: Callers::default(),
            references: None,
            unmet: Vec::new(),
            owner: Owner::new(),
            host: Host::default(),
            supervisors: Supervisors::default(),
            serial: 0,
            attempts: 0,
            withholds_above: 200,
            acks: Acks::Given,
            fenced: None,
            answered_at: Moment(0),
            wake_at: Moment(u64::MAX),
        }
    }

    pub(super) fn here(&self) -> Run {
        Run { index: self.index, run: self.run }
    }

    pub(super) fn place(&self) -> Place {
        Place::Node { index: self.index, run: self.run }
    }

    pub(super) fn now(&self, stage: &Stage) -> Moment {
        stage.now(self.machine)
    }

    pub(super) fn life(&self) -> Option<Life> {
        self.core.life()
    }

    /// Whether calls may begin, and batches be sent, now.
    pub(super) fn may_begin(&self, stage: &Stage) -> bool {
        let now = self.now(stage);
        if stage.has(Bug::LeaseFromAnswer) && (self.life().is_some() || self.fenced.is_some()) {
            return now < self.answered_at + LEASE.mul_f64(FENCE_AT);
        }
        self.core.may_begin(now)
    }

    pub(super) fn within(&self, within: Within) -> Event {
        Event::Within(self.here(), within)
    }

    /// Something happens in this process.
    pub(super) fn happens(&mut self, stage: &mut Stage, within: Within) {
        if self.still {
            self.missed.push(self.within(within));
            return;
        }
        match within {
            Within::Timer => {
                self.timers(stage);
                self.see_to_acks(stage);
            }
            Within::Flush(life) => self.flush(stage, life),
            Within::Frame(frame) => self.frame_goes_on(stage, frame),
            Within::Made(actor, placement) => self.made(stage, actor, placement),
            Within::Take(call) => self.take_item(stage, call),
            Within::TimeUp(call) => self.caller_leaves(stage, call, "its time is up"),
            Within::Drop(call) => self.caller_leaves(stage, call, "it is dropped"),
            Within::Act => self.act(stage),
            Within::Open(parcel) => self.open(stage, parcel),
            Within::Bury => self.bury(stage),
            Within::Ran(id) => self.ran(stage, id),
            Within::Emptied(life) => self.emptied(stage, life),
            Within::Tend(supervisor) => self.pause_over(stage, supervisor),
            Within::Kill(supervisor, actor) => self.kills_child(stage, supervisor, actor),
            Within::Ended(watch, how) => self.hears_end(stage, watch, how),
        }
        self.schedule(stage);
    }

    pub(super) fn arrives(&mut self, stage: &mut Stage, id: u64, side: Side, whose: Whose, what: What) {
        match whose.lane {
            Lane::Control => self.control(stage, id, what),
            Lane::Calls => self.session(stage, id, side, whose, what),
        }
        self.schedule(stage);
    }

    fn control(&mut self, stage: &mut Stage, id: u64, what: What) {
        let expected = match self.control {
            Control::Dialing(dialed, _) | Control::Open(dialed) => dialed == id,
            Control::Closed { .. } => false,
        };
        if !expected {
            return;
        }
        match what {
            What::Opened => {
                self.control = Control::Open(id);
                self.head_seen = self.now(stage);
                let mut effects = Vec::new();
                self.core.attached(self.now(stage), &mut effects);
                self.carry_out(stage, effects);
                self.ask_again(stage);
            }
            What::Message(Wire::FromHead(message)) => {
                if matches!(message.news, News::Beaten { .. } | News::Joined(_)) {
                    self.answered_at = self.now(stage);
                }
                let mut effects = Vec::new();
                self.core.said(self.now(stage), *message, &mut effects);
                let reign = self.core.reign().unwrap_or_default();
                let obeys = stage.lives.obeys(self.index, self.run, reign);
                stage.check(obeys);
                self.carry_out(stage, effects);
                self.meets(stage);
            }
            What::Message(_) => {}
            What::Closed => self.head_lost(stage),
        }
    }

    fn head_lost(&mut self, stage: &mut Stage) {
        if let Control::Open(_) = self.control {
            self.head_seen = self.now(stage);
        }
        let pause = stage.shell.millis(20, 300);
        self.control = Control::Closed { dial_at: self.now(stage) + pause };
        self.core.detached();
    }

    pub(super) fn say(&mut self, stage: &mut Stage, message: ToHead) {
        if let Control::Open(id) = self.control {
            stage.network.send(&mut stage.queue, id, Side::Dialer, Wire::ToHead(Box::new(message)));
        }
    }

    fn carry_out(&mut self, stage: &mut Stage, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.say(stage, message),
                Effect::Rejoin(beat) => {
                    let (hosted, reserved) = (self.standing(), self.reserved(stage));
                    let holdings = Holdings { lent: self.host.lendings(beat.epoch), ..self.owner.holdings() };
                    self.say(stage, ToHead::Rejoin(Rejoin { beat, hosted, reserved, holdings }));
                    self.ask_again(stage);
                    self.want_anew(stage);
                }
                Effect::Begun(life, reign) => self.begun(stage, life, reign),
                Effect::Fence(life, why) => self.fence(stage, life, why),
                Effect::Exit if stage.has(Bug::LeaseFromAnswer) => {}
                Effect::Exit => return self.exits(stage, "it exits with 75"),
                Effect::Refused(why) => {
                    stage.note(20, self.index as u64, 0, || format!("node {} is refused: {why}", self.index));
                    return self.exits(stage, "it was refused");
                }
                Effect::Redial => {
                    if let Control::Dialing(id, _) | Control::Open(id) = self.control {
                        stage.network.close(&mut stage.queue, id, Side::Dialer);
                    }
                    self.head_lost(stage);
                }
                Effect::Distrust(Stale::LowerEpoch { .. }) => {}
                Effect::Distrust(split) => {
                    let only = super::checks::hold(false, super::checks::Rule::L5, || split.to_string());
                    stage.check(only);
                }
                Effect::Obey(command) => self.obey(stage, command),
                Effect::Departed => self.departed(stage),
                Effect::Answer(request, reply) => self.answered(stage, request, reply),
                Effect::Waits(..) | Effect::Status(..) => {}
                Effect::Dial(caller) => self.asked_to_dial(stage, caller.life, caller.node),
            }
        }
    }

    fn begun(&mut self, stage: &mut Stage, life: Life, reign: Reign) {
        stage.note(21, self.index as u64, life.0, || format!("node {} lives as {life} under head {reign}", self.index));
        self.host.serves(reign.epoch);
        self.references = Some(References::new(life));
        self.unmet.clear();
        self.want_anew(stage);
        self.ask_again(stage);
    }

    /// The life is over: nothing begins, nothing leaves; its calls fail; its handlers end at their next await.
    fn fence(&mut self, stage: &mut Stage, life: Life, why: Fenced) {
        stage.note(22, self.index as u64, life.0, || format!("node {} fences life {life}: {why}", self.index));
        self.fenced = Some(life);
        if stage.has(Bug::LeaseFromAnswer) && why == Fenced::LeaseRanOut {
            // Goes on as if the lease counted from the answer.
            let until = stage.clocks[self.machine].when(self.answered_at + LEASE.mul_f64(FENCE_AT));
            stage.queue.at(until, self.within(Within::Emptied(life)));
            return;
        }
        self.end_life(stage, life);
    }

    fn end_life(&mut self, stage: &mut Stage, life: Life) {
        stage.life_over(life);
        self.references = None;
        self.supervisors = Supervisors::default();
        for (id, session) in std::mem::take(&mut self.sessions) {
            stage.network.close(&mut stage.queue, id, session.side);
        }
        self.tasks_between_lives(stage);
        self.fail_errands(stage);
        self.routes.clear();
        self.requests.life_over();
        self.fail_open_calls(stage);
        let stuck = |frame: &Frame| frame.blocks == Blocks::Yes;
        let longest = self.frames.values().filter(|frame| stuck(frame)).map(|frame| frame.ends_at).max();
        let pause = stage.shell.millis(1, 40);
        let at = longest.unwrap_or_default().max(stage.queue.now + pause);
        stage.queue.at(at, self.within(Within::Emptied(life)));
    }

    /// All its handlers have ended, and with them the actors.
    fn emptied(&mut self, stage: &mut Stage, life: Life) {
        if self.fenced != Some(life) {
            return;
        }
        if !self.links.is_empty() || !self.routes.is_empty() {
            self.end_life(stage, life);
        }
        self.fenced = None;
        self.drop_actors(stage);
        let now = self.now(stage);
        self.attempts += 1;
        let attempt = (self.attempts << 32) | (stage.shell.next() >> 32);
        let mut effects = Vec::new();
        self.core.emptied(now, attempt, &mut effects);
        self.carry_out(stage, effects);
    }

    fn drop_actors(&mut self, stage: &mut Stage) {
        self.actors.clear();
        self.ended.clear();
        self.frames.clear();
        self.serving.clear();
        self.callers.clear();
        stage.lives.process_gone(self.index);
    }

    /// Its own calls end with its life.
    fn fail_open_calls(&mut self, stage: &mut Stage) {
        let here = self.here();
        for id in 0..stage.calls.len() {
            let call = &stage.calls[id];
            if call.caller == here && call.at != At::Over {
                let unsent = call.at == At::Route && !call.may_have_run;
                let executed = if unsent { Executed::No } else { Executed::Maybe };
                let outside = call.waiter == Waiter::Outside;
                let end = super::checks::calls::End::Failed(executed);
                let end = if outside { end } else { super::checks::calls::End::Gone };
                stage.calls[id].at = At::Over;
                stage.calls[id].references.clear();
                stage.call_ends(id as u64, end);
            }
        }
    }

    /// A peer knows this life as ended.
    pub(super) fn refused_by_peer(&mut self, stage: &mut Stage) {
        let mut effects = Vec::new();
        self.core.refused_by_peer(self.now(stage), &mut effects);
        self.carry_out(stage, effects);
    }

    pub(super) fn leave(&mut self, stage: &mut Stage) {
        let mut effects = Vec::new();
        self.core.leave(self.now(stage), &mut effects);
        self.carry_out(stage, effects);
        self.die(stage, Duration::ZERO, "it leaves");
    }

    pub(super) fn start(&mut self, stage: &mut Stage, join: Join) {
        let stuck = if join.hosts { Stuck::Exit } else { Stuck::Stay };
        let (id, now) = (join.node, self.now(stage));
        let fresh = Node::new(self.index, self.machine, join.clone());
        let (run, serial, attempts) = (self.run + 1, self.serial, self.attempts + 1);
        *self = Node { run, serial, attempts, up: true, head_seen: now, ..fresh };
        self.core = NodeLife::new(join, stuck);
        self.control = Control::Closed { dial_at: now };
        self.withholds_above = [20, 200, 2_000][stage.shell.index(3)];
        stage.network.listeners.insert(self.place(), self.listener());
        stage.note(23, self.index as u64, u64::from(self.run), || format!("node {} starts as {id}", self.index));
        let first = stage.user.millis(1, 200);
        stage.queue.after(first, self.within(Within::Act));
        self.schedule(stage);
    }

    /// The process ends itself; whoever watches over it starts it again.
    fn exits(&mut self, stage: &mut Stage, why: &str) {
        self.die(stage, Duration::ZERO, why);
        let pause = stage.shell.millis(50, 2_000);
        stage.queue.after(pause, Event::Fault(Fault::Start(self.index)));
    }

    /// The process is no more.
    pub(super) fn die(&mut self, stage: &mut Stage, silence: Duration, how: &str) {
        if !std::mem::take(&mut self.up) {
            return;
        }
        stage.note(24, self.index as u64, 0, || format!("node {} is no more: {how}", self.index));
        stage.network.died(&mut stage.queue, self.place(), silence);
        self.life().into_iter().for_each(|life| stage.life_over(life));
        self.references = None;
        stage.tasks.process_gone(self.index, self.host.attempts());
        (self.owner, self.host, self.supervisors) = (Owner::new(), Host::default(), Supervisors::default());
        (self.still, self.fenced) = (false, None);
        self.missed.clear();
        let here = self.here();
        for id in 0..stage.calls.len() {
            if stage.calls[id].caller == here && stage.calls[id].at != At::Over {
                stage.calls[id].at = At::Over;
                stage.calls[id].references.clear();
                stage.call_ends(id as u64, super::checks::calls::End::Gone);
            }
        }
        self.drop_actors(stage);
        self.links.clear();
        self.sessions.clear();
        self.routes.clear();
        self.wake_at = Moment(u64::MAX);
    }

    fn timers(&mut self, stage: &mut Stage) {
        if stage.queue.now < self.wake_at {
            return;
        }
        self.wake_at = Moment(u64::MAX);
        let now = self.now(stage);
        if self.core.deadline().is_some_and(|at| at <= now) {
            let mut effects = Vec::new();
            self.core.tick(now, &mut effects);
            self.carry_out(stage, effects);
        }
        self.dial_head(stage);
        self.give_up_on_head(stage);
        self.tick_links(stage);
        self.tick_references(stage);
        self.tick_queue(stage);
    }

    fn dial_head(&mut self, stage: &mut Stage) {
        let now = self.now(stage);
        if let Control::Closed { dial_at } = self.control
            && dial_at <= now
            && self.up
        {
            let head = stage.head_listener();
            let id = stage.network.connect(&mut stage.queue, Lane::Control, self.listener(), head);
            self.control = Control::Dialing(id, now);
        }
        if let Control::Dialing(id, since) = self.control
            && now.since(since) >= HANDSHAKE_TIME
        {
            stage.network.close(&mut stage.queue, id, Side::Dialer);
            self.head_lost(stage);
        }
    }

    pub(super) fn schedule(&mut self, stage: &mut Stage) {
        if !self.up {
            return;
        }
        let dial = match self.control {
            Control::Closed { dial_at } => Some(dial_at),
            Control::Dialing(_, since) => Some(since + HANDSHAKE_TIME),
            Control::Open(_) => None,
        };
        let references = self.references.as_ref().and_then(References::deadline);
        let (links, queue) = (self.links_deadline(), self.owner.deadline());
        let deadlines = [self.core.deadline(), dial, self.head_wait_over(), links, references, queue];
        let Some(deadline) = deadlines.into_iter().flatten().min() else { return };
        let at = stage.clocks[self.machine].when(deadline).max(stage.queue.now);
        if at < self.wake_at {
            self.wake_at = at;
            stage.queue.at(at, self.within(Within::Timer));
        }
    }
}
