//! A head and some nodes on a virtual clock and network that loses sessions, stops nodes, kills them and the head. Drives
//! the pure cores; L1 to L5 are checked after every step.

use super::*;
use crate::directory::message::{Ask, How, Request, Settled};
use crate::directory::request::{Boot, Died, End, Ended, Gone, Hosted, Hosting, Locate, Rejoin, Spawn, Standing};
use crate::directory::testing::{join, name, node, spawn};
use crate::directory::{Config, Directory, Door, Effect as HeadEffect, Effects, Event, Keeps, Record};
use crate::id::{ActorId, Epoch, Placement};
use crate::limits::LEASE;
use std::collections::{BTreeMap, BTreeSet};

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub(super) struct Node {
    pub(super) core: NodeLife,
    n: u8,
    /// What this host's clock is ahead of the world's.
    ahead: u64,
    pub(super) stopped: bool,
    pub(super) dead: bool,
    pub(super) cut_off: bool,
    door: Option<Door>,
    to_head: VecDeque<(Door, ToHead)>,
    from_head: VecDeque<FromHead>,
    pub(super) hosted: BTreeMap<ActorId, (Placement, Standing)>,
    pub(super) open: BTreeMap<RequestId, Request>,
    last_request: u64,
    serial: u64,
    attempts: u64,
    /// The highest placement of each actor that it was told of.
    located: BTreeMap<ActorId, Placement>,
    highest_epoch: Epoch,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Moment,
    pub(super) head: Option<Directory>,
    pub(super) journal: Vec<Record>,
    epoch: u64,
    head_started: Moment,
    heard: BTreeMap<Life, Moment>,
    doors: u64,
    pub(super) nodes: Vec<Node>,
}

impl World {
    pub(super) fn new(seed: u64, nodes: u8) -> World {
        let node_at = |n: u8| Node {
            core: NodeLife::new(Join { boot: Boot([n % 2; 16]), hosts: n > 0, ..join(n, u64::from(n)) }, Stuck::Exit),
            n,
            ahead: u64::from(n) * 1_000_000_007,
            stopped: false,
            dead: false,
            cut_off: false,
            door: None,
            to_head: VecDeque::new(),
            from_head: VecDeque::new(),
            hosted: BTreeMap::new(),
            open: BTreeMap::new(),
            last_request: 0,
            serial: 0,
            attempts: 1_000 * u64::from(n),
            located: BTreeMap::new(),
            highest_epoch: Epoch(0),
        };
        let mut world = World {
            random: Random(seed),
            now: Moment(1_000_000_000_000),
            head: None,
            journal: Vec::new(),
            epoch: 0,
            head_started: Moment(0),
            heard: BTreeMap::new(),
            doors: 0,
            nodes: (0..nodes).map(node_at).collect(),
        };
        world.start_head();
        world
    }

    pub(super) fn start_head(&mut self) {
        if self.head.is_none() {
            self.epoch += 1;
            let config = Config::new(Reign { epoch: Epoch(self.epoch), instance: self.epoch });
            self.head_started = self.now;
            self.heard.clear();
            self.head = Some(Directory::start(self.now, config, self.journal.clone()));
        }
    }

    pub(super) fn kill_head(&mut self) {
        self.head = None;
        for n in 0..self.nodes.len() {
            self.cut(n);
            self.nodes[n].to_head.clear();
        }
    }

    /// Applies an event at the head. Killed in the middle, it carries out only the first effects.
    fn at_head(&mut self, event: Event, carried_out: usize) {
        let Some(head) = &mut self.head else { return };
        if let Event::Said(
            _,
            ToHead::Beat(Beat { life, .. }) | ToHead::Rejoin(Rejoin { beat: Beat { life, .. }, .. }),
        ) = &event
        {
            self.heard.insert(*life, self.now);
        }
        let mut effects = Effects::new();
        head.apply(self.now, event, &mut effects);
        for _ in 0..carried_out {
            match effects.pop() {
                None => return,
                Some(HeadEffect::Journal(record)) => self.record(record),
                Some(HeadEffect::Send(door, message)) => {
                    let at = self.nodes.iter_mut().find(|node| node.door.is_some_and(|at| at.id == door));
                    at.into_iter().for_each(|node| node.from_head.push_back(message.clone()));
                }
                Some(HeadEffect::Close(door)) => {
                    let at = self.nodes.iter().position(|node| node.door.is_some_and(|at| at.id == door));
                    at.into_iter().for_each(|n| self.cut(n));
                }
                Some(HeadEffect::Abdicate(epoch)) => panic!("L5: a head of {} met {epoch}", self.epoch),
            }
        }
        self.kill_head();
    }

    fn record(&mut self, record: Record) {
        match &record {
            Record::Began { life, .. } => drop(self.heard.insert(*life, self.now)),
            Record::NodeEnded { life, why: LifeEnd::Silence } => {
                let heard = self.heard.get(life).copied().unwrap_or_default().max(self.head_started);
                assert!(
                    self.now.since(heard) >= LEASE,
                    "L4: {life} ended {:?} after it was heard",
                    self.now.since(heard)
                );
            }
            Record::Placed { actor, placement, .. } => {
                let before = self.journal.iter().rev().find_map(|record| match record {
                    Record::Placed { actor: same, placement, host, .. } if same == actor => Some((*placement, *host)),
                    _ => None,
                });
                if let Some((earlier, host)) = before {
                    assert!(*placement > earlier, "placements of {actor} rise");
                    let ended = self
                        .journal
                        .iter()
                        .any(|record| matches!(record, Record::NodeEnded { life, .. } if *life == host));
                    let has_it =
                        self.nodes.iter().any(|node| node.core.life() == Some(host) && node.hosts(*actor, earlier));
                    assert!(ended || !has_it, "L3: {actor} placed again before the end of {host} was journaled");
                }
            }
            _ => {}
        }
        self.journal.push(record);
    }

    pub(super) fn tick_head(&mut self) {
        if self.head.as_ref().and_then(Directory::deadline).is_some_and(|at| at <= self.now) {
            self.at_head(Event::Tick, usize::MAX);
        }
    }

    /// Delivers the oldest message of a node's. Now and then the head dies of it.
    pub(super) fn deliver_to_head(&mut self, n: usize, carried_out: usize) {
        if self.head.is_some()
            && let Some((door, message)) = self.nodes[n].to_head.pop_front()
        {
            self.at_head(Event::Said(door, message), carried_out);
        }
    }

    pub(super) fn deliver_to_node(&mut self, n: usize) {
        if !self.nodes[n].runs() {
            return;
        }
        if let Some(message) = self.nodes[n].from_head.pop_front() {
            let now = self.nodes[n].clock(self.now);
            self.nodes[n].highest_epoch = self.nodes[n].highest_epoch.max(message.reign.epoch);
            assert_eq!(self.nodes[n].highest_epoch, message.reign.epoch, "L5");
            let mut effects = Vec::new();
            self.nodes[n].core.said(now, message, &mut effects);
            self.carry_out(n, effects);
        }
    }

    pub(super) fn tick_node(&mut self, n: usize) {
        let now = self.nodes[n].clock(self.now);
        if self.nodes[n].runs() && self.nodes[n].core.deadline().is_some_and(|at| at <= now) {
            let mut effects = Vec::new();
            self.nodes[n].core.tick(now, &mut effects);
            self.carry_out(n, effects);
        }
    }

    pub(super) fn cut(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(door) = node.door.take() else { return };
        node.from_head.clear();
        // What is on its way may still arrive at the head, or be lost.
        if self.random.below(2) == 0 {
            node.to_head.clear();
        }
        node.core.detached();
        if self.random.below(2) == 0 {
            self.at_head(Event::Closed(door.id), usize::MAX);
        }
    }

    /// No way to the head until that is taken back.
    pub(super) fn cut_off(&mut self, n: usize) {
        self.nodes[n].cut_off = true;
        self.cut(n);
    }

    pub(super) fn dial(&mut self, n: usize) {
        let node = &self.nodes[n];
        if self.head.is_none() || node.door.is_some() || node.cut_off || !node.runs() {
            return;
        }
        self.doors += 1;
        let now = self.nodes[n].clock(self.now);
        let door = Door { id: self.doors, node: node.core.join.node, keeps: Keeps::Lease };
        self.nodes[n].door = Some(door);
        let mut effects = Vec::new();
        self.nodes[n].core.attached(now, &mut effects);
        let goes_on = self.nodes[n].core.life().is_some();
        self.carry_out(n, effects);
        if goes_on {
            self.nodes[n].ask_again();
        }
    }

    fn carry_out(&mut self, n: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(message) => self.nodes[n].say(message),
                Effect::Rejoin(beat) => {
                    let of = |(actor, (placement, standing)): (&ActorId, &(Placement, Standing))| Hosting {
                        actor: *actor,
                        placement: *placement,
                        standing: standing.clone(),
                    };
                    let hosted = self.nodes[n].hosted.iter().map(of).collect();
                    self.nodes[n].say(ToHead::Rejoin(Rejoin {
                        beat,
                        hosted,
                        reserved: Vec::new(),
                        holdings: Default::default(),
                    }));
                    self.nodes[n].ask_again();
                }
                Effect::Begun(life, _) => {
                    assert!(self.nodes[n].hosted.is_empty(), "{life} begins with no actors");
                    self.nodes[n].ask_again();
                }
                Effect::Fence(..) | Effect::Departed | Effect::Dial(_) | Effect::Waits(..) | Effect::Status(..) => {}
                Effect::Exit => {
                    self.nodes[n].dead = true;
                    self.cut(n);
                }
                Effect::Refused(why) => panic!("refused: {why}"),
                Effect::Redial => self.cut(n),
                Effect::Distrust(stale) => panic!("L5: {stale}"),
                Effect::Obey(command) => self.nodes[n].obey(command),
                Effect::Answer(request, reply) => self.nodes[n].answered(request, reply),
            }
        }
    }

    /// All that ran under a fenced life has ended.
    pub(super) fn empty(&mut self, n: usize) {
        if self.nodes[n].runs() && matches!(self.nodes[n].core.phase, Phase::Fenced { .. }) {
            let node = &mut self.nodes[n];
            node.hosted.clear();
            node.open.clear();
            node.attempts += 1;
            let (attempt, now) = (node.attempts, node.clock(self.now));
            let mut effects = Vec::new();
            node.core.emptied(now, attempt, &mut effects);
            self.carry_out(n, effects);
        }
    }

    /// An actor there finishes its constructor, or, if it is to, panics.
    pub(super) fn progress(&mut self, n: usize, panics: bool) {
        let now = self.nodes[n].clock(self.now);
        if !self.nodes[n].runs() || !self.nodes[n].core.may_begin(now) || self.nodes[n].hosted.is_empty() {
            return;
        }
        let at = self.random.below(self.nodes[n].hosted.len() as u64) as usize;
        let Some((actor, (placement, standing))) = self.nodes[n].hosted.iter().nth(at).map(|(a, p)| (*a, p.clone()))
        else {
            return;
        };
        match standing {
            Standing::Making => {
                self.nodes[n].hosted.insert(actor, (placement, Standing::Running));
                self.nodes[n].ask(Hosted { actor, placement, made: Ok(()) });
            }
            Standing::Running if panics => self.nodes[n].end(actor, placement, Gone::Panicked("boom".into())),
            Standing::Running | Standing::Ended(_) => {}
        }
    }

    pub(super) fn spawn(&mut self, n: usize) {
        let (named, restarts, detached) =
            (self.random.below(3), self.random.below(4) as u32, self.random.below(2) == 0);
        let node = &mut self.nodes[n];
        let Some(life) = node.core.life() else { return };
        node.serial += 1;
        let name = (named == 0).then(|| name(if detached { "one" } else { "two" }));
        let serial = node.serial;
        node.ask(Spawn { name, restarts, detached, ..spawn(life, serial) });
    }

    pub(super) fn spawn_restartable(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let life = node.core.life().expect("a life");
        node.ask(Spawn { restarts: 1, ..spawn(life, 1) });
    }

    pub(super) fn disturb(&mut self, n: usize) {
        let known: Vec<(ActorId, Placement)> = self.nodes[n].located.iter().map(|(a, p)| (*a, *p)).collect();
        if known.is_empty() {
            return;
        }
        let (actor, after) = known[self.random.below(known.len() as u64) as usize];
        match self.random.below(3) {
            0 => self.nodes[n].ask(End { actor, how: How::Stop }),
            1 => self.nodes[n].ask(End { actor, how: How::Kill }),
            _ => self.nodes[n].ask(Locate { actor, after }),
        }
    }

    pub(super) fn kill(&mut self, n: usize) {
        self.nodes[n].dead = true;
        self.cut(n);
        let (dead, boot) = (node(self.nodes[n].n), self.nodes[n].core.join.boot);
        let Some(life) = self.nodes[n].core.life() else { return };
        for witness in self.nodes.iter_mut().filter(|witness| !witness.dead && witness.core.join.boot == boot) {
            witness.ask(Died { node: dead, life: Some(life) });
        }
    }

    /// A node's process is started again, as a new one of the same identity.
    pub(super) fn revive(&mut self, n: usize) {
        if self.nodes[n].dead {
            let node = &mut self.nodes[n];
            node.attempts += 1;
            let join = Join { attempt: node.attempts, ..node.core.join.clone() };
            node.core = NodeLife::new(join, Stuck::Exit);
            (node.dead, node.stopped) = (false, false);
            node.hosted.clear();
            node.open.clear();
        }
    }

    /// L1: of each actor at most one incarnation may begin calls, on whatever node.
    pub(super) fn check(&self) {
        let mut begins: BTreeMap<ActorId, (u8, Placement)> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| !node.dead && node.core.may_begin(node.clock(self.now))) {
            for (actor, (placement, standing)) in &node.hosted {
                if !matches!(standing, Standing::Ended(_))
                    && let Some(other) = begins.insert(*actor, (node.n, *placement))
                {
                    panic!("L1: {actor} may begin calls at {other:?} and at {:?}", (node.n, placement));
                }
            }
        }
    }

    pub(super) fn living(&self) -> BTreeSet<Life> {
        self.nodes.iter().filter(|node| !node.dead).filter_map(|node| node.core.life()).collect()
    }
}

impl Node {
    fn runs(&self) -> bool {
        !self.dead && !self.stopped
    }

    pub(super) fn clock(&self, world: Moment) -> Moment {
        Moment(world.0 + self.ahead)
    }

    fn say(&mut self, message: ToHead) {
        if let Some(door) = self.door {
            self.to_head.push_back((door, message));
        }
    }

    fn ask(&mut self, request: impl Into<Request>) {
        if self.core.life().is_some() {
            self.last_request += 1;
            let (id, what) = (RequestId(self.last_request), request.into());
            self.open.insert(id, what.clone());
            self.say_ask(id, what);
        }
    }

    fn say_ask(&mut self, request: RequestId, what: Request) {
        if let Some(life) = self.core.life() {
            self.say(ToHead::Ask(Ask { life, request, settled: Vec::new(), what }));
        }
    }

    fn ask_again(&mut self) {
        let Some(life) = self.core.life() else { return };
        self.say(ToHead::Settle(life, Settled::AllBut(self.open.keys().copied().collect())));
        for (id, what) in self.open.clone() {
            self.say_ask(id, what);
        }
    }

    fn hosts(&self, actor: ActorId, placement: Placement) -> bool {
        self.hosted
            .get(&actor)
            .is_some_and(|(at, standing)| *at == placement && !matches!(standing, Standing::Ended(_)))
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Host(host) => {
                let id = host.spawn.actor;
                if self.hosted.get(&id).is_none_or(|(placement, _)| *placement < host.placement) {
                    self.hosted.insert(id, (host.placement, Standing::Making));
                }
            }
            Command::End { actor, placement, why, .. } if self.hosts(actor, placement) => {
                self.end(actor, placement, why)
            }
            Command::End { .. }
            | Command::Move { .. }
            | Command::Grant(_)
            | Command::Recall { .. }
            | Command::Revoke { .. }
            | Command::Vacate { .. } => {}
        }
    }

    /// An ended actor stays in the table until the head has acknowledged its end.
    fn end(&mut self, actor: ActorId, placement: Placement, why: Gone) {
        self.hosted.insert(actor, (placement, Standing::Ended(why.clone())));
        self.ask(Ended { actor, placement, why });
    }

    fn answered(&mut self, request: RequestId, reply: Reply) {
        let what = self.open.remove(&request);
        match (what, reply) {
            (Some(Request::Ended(ended)), Reply::Reported(_)) => {
                let acknowledged = (ended.placement, Standing::Ended(ended.why));
                if self.hosted.get(&ended.actor) == Some(&acknowledged) {
                    self.hosted.remove(&ended.actor);
                }
            }
            (Some(Request::Hosted(hosted)), Reply::Reported(Err(_))) if self.hosts(hosted.actor, hosted.placement) => {
                self.hosted.remove(&hosted.actor);
            }
            (Some(Request::Spawn(_)), Reply::Spawned(Ok(spawned))) => self.learn(spawned.actor, spawned.placement),
            (Some(Request::Locate(locate)), Reply::Located(Ok(located))) => {
                assert!(located.placement > locate.after, "L2: a later placement was asked for");
                self.learn(locate.actor, located.placement);
            }
            _ => {}
        }
    }

    fn learn(&mut self, actor: ActorId, placement: Placement) {
        let highest = self.located.entry(actor).or_insert(placement);
        *highest = (*highest).max(placement);
    }
}
